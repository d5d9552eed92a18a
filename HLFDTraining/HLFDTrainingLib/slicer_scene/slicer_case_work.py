"""Work on the cases that takes longer than a window may stand still: done in short steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import qt
from HLFDSegmentationLib.errors import CasesError, HLFDError
from HLFDSegmentationLib.output.private_folder import remove_tree
from slicer.i18n import tr as _

from ..annotations.case_files import Looked
from ..cases import ALL_CASES
from ..scene.case_list import CaseList
from ..split import Split
from .slicer_case_check import check_files
from .slicer_case_export import DATA_FOLDER, export_cases
from .slicer_cases import Nodes

STEP_MS = 10
EXPORTED = 0.7
"""Share of the work that is done when all cases are written and have yet to be read again."""

Value = TypeVar("Value")
Steps = Generator[float, None, Value]


class CaseWork:
    """Something that goes on in short steps, driven by a timer.

    Args:
        steps: every `yield` ends a step and tells the share that is done.
        on_finished: called with what the steps return.
        on_failed: called with a sentence.
        on_progress: called with the share that is done.
        on_ended: called at the end, whatever it is, before the others.
    """

    def __init__(
        self,
        steps: Steps[Value],
        on_finished: Callable[[Value], None],
        on_failed: Callable[[str], None],
        on_progress: Callable[[float], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._on_finished = on_finished
        self._on_failed = on_failed
        self._on_progress = on_progress
        self._on_ended = on_ended
        self._timer = qt.QTimer()
        self._timer.setInterval(STEP_MS)
        self._timer.connect("timeout()", self._advance)
        self._timer.start()

    @property
    def running(self) -> bool:
        """Whether its end is still to be told."""
        return bool(self._timer.active)

    def cancel(self) -> None:
        """Ends it; what was written is removed, and nobody is called but `on_ended`."""
        if self.running:
            self._timer.stop()
            self._steps.close()
            self._on_ended()

    def _advance(self) -> None:
        try:
            share = next(self._steps)
        except StopIteration as end:
            self._end(self._on_finished, end.value)
        except HLFDError as error:
            self._end(self._on_failed, str(error))
        except Exception:
            logging.exception("HLFD: the cases could not be written")
            self._end(
                self._on_failed,
                _("The cases could not be written because of a mistake in the program. View > Error Log tells more."),
            )
        else:
            self._on_progress(share)

    def _end(self, tell: Callable[[Any], None], what: Any) -> None:
        self._timer.stop()
        self._on_ended()
        tell(what)


class WrittenCases(NamedTuple):
    """Cases as files: the cases.json, how they are split, and what the files were when they were checked."""

    file: Path
    split: Split
    looked: Mapping[str, Looked]


def write_and_check(cases: CaseList, nodes: Nodes, folder: Path) -> Steps[WrittenCases]:
    """Writes the cases of a table into a folder and reads them again.

    What is found goes into the table. Where something fails, nothing is left in the folder.

    Raises:
        CasesError: a case cannot be written, or not be trained with.
    """
    task = cases.task
    with ExitStack() as undo:
        exporting = export_cases(list(cases.rows), cases.file_cases(), nodes, task, folder, cases.seed)
        cases_file, split = yield from _part(exporting, 0.0, EXPORTED)
        undo.callback(remove_tree, folder / DATA_FOLDER)
        undo.callback(cases_file.unlink, missing_ok=True)
        cases.findings, looked = yield from _part(check_files(cases_file, task, split), EXPORTED, 1.0)
        for name, found in cases.findings.items():
            if wrong := [one.sentence for one in found if one.severity == "error"]:
                raise CasesError(
                    wrong[0] if name == ALL_CASES else _("Case {name}: {problem}").format(name=name, problem=wrong[0])
                )
        undo.pop_all()
    return WrittenCases(cases_file, split, looked)


def _part(steps: Steps[Value], low: float, high: float) -> Steps[Value]:
    """The steps as a part of something longer."""
    try:
        while True:
            yield low + (high - low) * next(steps)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
