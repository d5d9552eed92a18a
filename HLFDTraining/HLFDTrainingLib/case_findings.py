"""The program that checks written cases beside Slicer: `python -m HLFDTrainingLib.case_findings CASES TASK SPLIT`.

Its arguments are JSON files. It prints the share of the cases that is done, line by line, and at the end, in one line,
what was found: a list of [case, severity, sentence].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from HLFDSegmentationLib.tasks import load_task

from .case_check import check_cases
from .cases import find_cases
from .split import Split


def main() -> None:
    """Checks the cases that the command line names."""
    cases_file, task_file, split_file = map(Path, sys.argv[1:])
    task = load_task(task_file)
    cases = find_cases(cases_file, task)
    split = Split.from_dict(json.loads(split_file.read_text(encoding="utf-8")), cases)
    findings = check_cases(cases, task, lambda _name, share: print(share), split=split)
    print(json.dumps([[one.case, one.severity, f"{one.problem} {one.remedy}"] for one in findings]))


if __name__ == "__main__":
    main()
