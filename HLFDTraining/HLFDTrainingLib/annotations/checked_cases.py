"""Cases that can be trained with, or a table of what is wrong with them."""

from __future__ import annotations

import csv
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output.safe_files import replacing
from HLFDSegmentationLib.tasks import Task

from ..cases import ALL_CASES, Case
from ..progress import ProgressBar
from ..split import Split
from .case_check import Finding, check_cases

CHECKS = "checks.csv"
"""In the folder of a run or of a comparison: what is found in its cases."""

COLUMNS = {"case": 20, "severity": 8, "problem": 50, "remedy": 36}
"""The fields of a finding and their widths in `findings_table`, in characters."""


def check_usable(cases: Sequence[Case], task: Task, split: Split, findings_file: Path | None) -> None:
    """Shows what is found in the cases to train with on standard error.

    Args:
        cases: to be checked.
        task: that they are for.
        split: that they are divided by.
        findings_file: CSV file for the findings; none to write nothing.

    Raises:
        TrainingError: a case cannot be trained with.
    """
    _show_and_refuse(_findings(cases, task, split), findings_file)


def check_measurable(cases: Sequence[Case], task: Task) -> None:
    """Shows what is found in the cases to measure a model on, on standard error.

    What concerns all cases together matters to training alone and is left out.

    Raises:
        TrainingError: a case cannot be measured on.
    """
    _show_and_refuse(_findings(cases, task, together=False), None)


def _findings(cases: Sequence[Case], task: Task, split: Split | None = None, *, together: bool = True) -> list[Finding]:
    with closing(ProgressBar()) as bar:
        return check_cases(cases, task, lambda name, share: bar("checking", share), split=split, together=together)


def _show_and_refuse(findings: Sequence[Finding], findings_file: Path | None) -> None:
    if findings:
        print(findings_table(findings), file=sys.stderr, flush=True)
    if findings_file and findings:
        write_findings_csv(findings, findings_file)
    elif findings_file and findings_file.is_file():
        findings_file.unlink()  # of cases that were mended since
    wrong = sorted({finding.case for finding in findings if finding.severity == "error"})
    if wrong == [ALL_CASES]:
        raise TrainingError("The cases cannot be used together; the table above says why and what to do.")
    if wrong:
        wrong = [case for case in wrong if case != ALL_CASES]
        which = f"Case {wrong[0]}" if len(wrong) == 1 else f"{len(wrong)} cases, first {wrong[0]},"
        raise TrainingError(
            f"{which} cannot be used; the table above says why and what to do. Mend what is wrong or leave it out, and "
            "start again."
        )


def findings_table(findings: Sequence[Finding]) -> str:
    """All findings as text for a terminal 120 characters wide, the texts broken into lines within their columns."""
    rows = [tuple(COLUMNS), tuple("-" * width for width in COLUMNS.values())]
    rows += [tuple(str(getattr(finding, column)) for column in COLUMNS) for finding in findings]
    return "\n".join(line for row in rows for line in _lines(row))


def _lines(row: Sequence[str]) -> Iterator[str]:
    cells = [textwrap.wrap(text, width) for text, width in zip(row, COLUMNS.values())]
    for parts in zip_longest(*cells, fillvalue=""):
        yield "  ".join(part.ljust(width) for part, width in zip(parts, COLUMNS.values())).rstrip()


def write_findings_csv(findings: Iterable[Finding], path: Path) -> None:
    """Writes the findings as a table with the columns case, severity, problem and remedy.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(Path(path)) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(finding, column) for column in COLUMNS] for finding in findings)
