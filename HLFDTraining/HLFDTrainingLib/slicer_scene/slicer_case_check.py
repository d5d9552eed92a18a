"""Written cases are read and checked by a process of its own, so that Slicer goes on drawing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple

from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.output.safe_files import write_json
from HLFDSegmentationLib.slicer_tools.slicer_python import end_python, start_python
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _

from ..annotations.case_files import Looked
from ..runs.training_process import LIBRARY_FOLDERS
from ..scene.scene_checks import RowProblem
from ..split import Split

Findings = dict[str, list[RowProblem]]
"""By case name; what concerns them together under `ALL_CASES`."""


class Checked(NamedTuple):
    """What reading the cases has shown.

    Attributes:
        findings: what is wrong or strange with them.
        files: that were read, by case name.
    """

    findings: Findings
    files: dict[str, Looked]


def check_files(cases_file: Path, task: Task, split: Split) -> Generator[float, None, Checked]:
    """Reads all cases of a cases.json, and looks also at the parts of their split.

    Every `yield` ends a short step, and tells the share that is done. Closing the generator ends the process.

    Raises:
        CasesError: the process could not do its work.
        OutputError: it cannot be started, or the temporary folder cannot be used.
    """
    with PrivateFolder() as folder:
        return (yield from _checked(cases_file, task, split, folder.path))


def _checked(cases_file: Path, task: Task, split: Split, folder: Path) -> Generator[float, None, Checked]:
    task_file, split_file, said, log = (folder / name for name in ("task.json", "split.json", "said.txt", "log.txt"))
    for file, content in ((task_file, task), (split_file, split)):
        write_json(file, content.to_dict())
    arguments = map(str, (cases_file, task_file, split_file))
    process = start_python(
        LIBRARY_FOLDERS, "HLFDTrainingLib.annotations.case_findings", *arguments, output=said, log=log
    )
    try:
        while process.poll() is None:
            yield _share(said)
    finally:
        end_python(process)
    if process.returncode:
        reason = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise CasesError(
            _("The cases could not be checked: {reason}. Close other programs, and try again.").format(
                reason=reason or process.returncode
            )
        )
    told = json.loads(said.read_text(encoding="utf-8").rstrip().rpartition("\n")[2])
    return Checked(_by_case(told["found"]), told["files"])


def _share(said: Path) -> float:
    lines = said.read_text(encoding="utf-8").split()
    try:
        return float(lines[-1]) if lines else 0.0
    except ValueError:  # Half a line, or the findings.
        return 1.0


def _by_case(found: list[tuple[str, Literal["error", "warning"], str]]) -> Findings:
    findings = defaultdict(list)
    for case, severity, sentence in found:
        findings[case].append(RowProblem(severity, sentence))
    return dict(findings)
