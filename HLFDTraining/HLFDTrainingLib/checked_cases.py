"""Cases that can be trained with, or a table of what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.tasks import Task

from .case_check import check_cases, findings_table, write_findings_csv
from .cases import Case


def check_usable(cases: Sequence[Case], task: Task, findings_file: Path | None) -> None:
    """Shows what is found in the cases on standard error.

    Args:
        cases: to be checked.
        task: that they are for.
        findings_file: CSV file for the findings; none to write nothing.

    Raises:
        TrainingError: a case cannot be trained with.
    """
    findings = check_cases(cases, task)
    if findings:
        print(findings_table(findings), file=sys.stderr, flush=True)
        if findings_file:
            write_findings_csv(findings, findings_file)
    wrong = sorted({finding.case for finding in findings if finding.severity == "error"})
    if wrong:
        raise TrainingError(
            f"{len(wrong)} cases cannot be trained with, first {wrong[0]}; the table above says why and what to do. "
            "Mend them or leave them out, and start again."
        )
