"""The program that checks written cases beside Slicer.

`python -m HLFDTrainingLib.annotations.case_findings CASES TASK SPLIT`: its arguments are JSON files. It prints the
share of the cases that is done, line by line, and at the end, in one line, an object: what was `found`, a list of
[case, severity, sentence], and what the `files` were (`case_files.Looked`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from HLFDSegmentationLib.tasks import load_task

from ..cases import find_cases
from ..split import Split
from .case_check import check_cases
from .case_files import Looked, look_at


def main() -> None:
    """Checks the cases that the command line names."""
    cases_file, task_file, split_file = map(Path, sys.argv[1:])
    task = load_task(task_file)
    cases = {case.name: case for case in find_cases(cases_file, task)}
    split = Split.from_dict(json.loads(split_file.read_text(encoding="utf-8")), list(cases.values()))
    files: dict[str, Looked] = {}

    def next_case(name: str, share: float) -> None:
        print(share)
        files.update(look_at([cases[name]], {}))

    findings = check_cases(list(cases.values()), task, next_case, split=split)
    found = [[one.case, one.severity, f"{one.problem} {one.remedy}"] for one in findings]
    print(json.dumps({"found": found, "files": files}))


if __name__ == "__main__":
    main()
