"""From the table of cases and the plan to a training that runs: cases are written, steps are measured, the run begins.

Until then all lies in a hidden folder beside the trainings. It gets its name in one step, so that there is never half
of a training; while neither cases nor task change, it serves again.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import slicer
from HLFDSegmentationLib.errors import HLFDError, OutputError
from HLFDSegmentationLib.output.private_folder import remove_tree
from HLFDSegmentationLib.output.safe_files import replace_waiting
from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages
from slicer.i18n import tr as _

from ..annotations.case_files import unchanged
from ..cases import find_cases
from ..plan import TrainingPlan
from ..runs.process_files import ProcessFiles, there
from ..runs.process_identity import UNSEEN, computer_name, start_of
from ..runs.run_events import event_of
from ..runs.run_folder import RunFolder
from ..runs.run_start import start_run
from ..slicer_scene.slicer_case_work import WrittenCases
from ..slicer_scene.slicer_child import Child
from .slicer_cases_panel import CasesPanel
from .slicer_plan_panel import PlanPanel
from .slicer_texts import stage_titles

DRAFT_PREFIX = ".preparing-"
OLD_SECONDS = 86400
MARK_LETTERS = 12
MEASURED = "measured"

Measured = Mapping[str, Any]


class Asked(NamedTuple):
    """What is to be trained, and in how many hours; none where the plan says how many epochs."""

    plan: TrainingPlan
    hours: float | None


class Written(NamedTuple):
    """The cases as files in the draft."""

    draft: Path
    cases: WrittenCases

    @property
    def holds(self) -> bool:
        """Whether they are there, and the files that were checked are the same."""
        return there(self.cases.file) and unchanged(self.cases.split.cases, self.cases.looked)


class TrainingStart:
    """Prepares trainings and starts them, one at a time.

    Args:
        cases: the table of cases.
        plan: the plan.
        on_step: called with what is being prepared, "" at the end.
        on_prepared: called with the folder of a run that can be started, and with the name that the user gave it.
        show_problem: called with a sentence.
    """

    def __init__(
        self,
        cases: CasesPanel,
        plan: PlanPanel,
        on_step: Callable[[str], None],
        on_prepared: Callable[[Path, str], None],
        show_problem: Callable[[str], None],
    ) -> None:
        self._cases = cases
        self._plan_panel = plan
        self._on_step = on_step
        self._on_prepared = on_prepared
        self._show_problem = show_problem
        self._draft: Path | None = None
        self._written: Written | None = None
        self._measured: tuple[Asked, Measured] | None = None
        self._asked: Asked | None = None
        self._work: Any = None
        self._train_then = False

    @property
    def problem(self) -> str:
        """Why no training can be started now; "" where one can."""
        return self._cases.problem or self._plan_panel.problem

    @property
    def running(self) -> bool:
        """Whether something is being prepared."""
        return self._asked is not None

    @property
    def will_train(self) -> bool:
        """Whether what is being prepared is a training that begins then, and not only an estimate."""
        return self.running and self._train_then

    def estimate(self) -> None:
        """Measures what the planned training takes."""
        self._prepare(train_then=False)

    def train(self) -> None:
        """Prepares the planned training and starts it."""
        self._prepare(train_then=True)

    def cancel(self) -> None:
        """Ends what is being prepared, and removes the copies of CTs that were written for it."""
        self._break_off()
        self._remove_draft()

    def follow_plan(self) -> None:
        """Ends the preparation of another plan than the panel's, and shows the figures that were measured for this."""
        planned = self._planned()
        if self.running and planned != self._asked:
            self._give_up()
        self._plan_panel.show_estimate(self._measured[1] if self._measured and self._measured[0] == planned else None)

    def forget(self) -> None:
        """Forgets what was prepared, because cases, task or folder have changed; measured figures hold no more."""
        if self.running:
            self._give_up()
        self._measured = None
        self._plan_panel.show_estimate(None)
        self._remove_draft()

    # Step by step

    def _prepare(self, *, train_then: bool) -> None:
        if self.running:
            return
        self._show_problem("")
        try:
            ensure_packages()
            self._cases.refresh()
            asked, problem = self._planned(), self.problem
            if asked is None or problem:
                self._show_problem(problem)
                return
            if self._written and not self._written.holds:
                self.forget()  # A file of a folder was changed, or another Slicer has tidied up.
            self._asked = asked
            self._train_then = train_then
            if self._written:
                self._measure(asked, self._written)
            else:
                self._write_cases(asked)
        except HLFDError as error:
            self._end(str(error))

    def _write_cases(self, asked: Asked) -> None:
        draft = self._draft = self._draft or _new_draft(self._plan_panel.runs_folder)
        self._tell(_("Writing the cases"))
        self._work = self._cases.write_cases(
            draft,
            asked.plan.task,
            self._safely(lambda cases: self._on_written(asked, Written(draft, cases))),
            self._end,
            lambda share: self._tell(_("Writing the cases: {share:.0%}").format(share=share)),
        )

    def _on_written(self, asked: Asked, written: Written) -> None:
        self._written = written
        self._measure(asked, written)

    def _measure(self, asked: Asked, written: Written) -> None:
        if self._measured and self._measured[0] == asked:
            self._on_measured(asked, written, self._measured[1])
            return
        remove_tree(written.draft / MEASURED)
        trial = RunFolder(written.draft / MEASURED)
        file, split, looked = written.cases
        start_run(trial, asked.plan, find_cases(file, asked.plan.task), split, looked)
        hours = ["--hours", str(asked.hours)] if asked.hours else []
        self._tell(_("Measuring a few steps on this computer"))
        self._work = Child(
            ["train", "-o", str(trial.path), "--resume", "--estimate", "--json", *hours],
            partial(self._on_line, asked),
            self._safely(partial(self._on_measuring_ended, asked, written)),
        )

    def _planned(self) -> Asked | None:
        """What the panel says now; none where it makes no sense."""
        if self._plan_panel.problem:
            return None
        return Asked(self._plan_panel.plan(), self._plan_panel.hours)

    def _on_line(self, asked: Asked, line: str) -> None:
        event = event_of(line)
        if event.get("event") == "measuring":
            title = stage_titles().get(event["stage"], event["stage"])
            self._tell(_("Measuring a few steps on this computer: {stage}").format(stage=title))
        elif event.get("event") == "estimate":
            self._measured = (asked, event)

    def _on_measuring_ended(self, asked: Asked, written: Written, problem: str) -> None:
        _check_there(written)
        remove_tree(written.draft / MEASURED)
        if problem:
            self._end(problem)
        elif not self._measured or self._measured[0] != asked:
            self._end(_("The measuring ended without figures. Close other programs, and try again."))
        else:
            self._on_measured(asked, written, self._measured[1])

    def _on_measured(self, asked: Asked, written: Written, estimate: Measured) -> None:
        self._plan_panel.show_estimate(estimate)
        # What was drawn while the cases were written would not be learned from.
        self._cases.refresh()
        if self.running and not written.holds:
            self.forget()
        if not self.running:
            return
        # While the user is asked, the scene may be closed, which ends the preparation.
        if self._train_then and self._wanted(estimate) and self.running:
            self._start(asked, written, estimate)
        else:
            self._end("")

    def _wanted(self, estimate: Measured) -> bool:
        """Asks where something will not fit."""
        if not estimate["warnings"]:
            return True
        question = _("{warnings}\n\nTrain all the same?").format(warnings="\n\n".join(estimate["warnings"]))
        return slicer.util.confirmOkCancelDisplay(question, _("HLFD Training: this may not fit"))

    def _start(self, asked: Asked, written: Written, estimate: Measured) -> None:
        plan = asked.plan
        if asked.hours:
            epochs = {f"{stage}_epochs": count for stage, count in estimate["epochs"].items() if stage != "undistilled"}
            plan = replace(plan, **epochs)
        run = self._plan_panel.new_run_folder()
        _check_there(written)
        draft = RunFolder(written.draft)
        remove_tree(draft.path / MEASURED)
        file, split, looked = written.cases
        draft.write("estimate.json", dict(estimate))
        start_run(draft, plan, find_cases(file, plan.task), split, looked)
        try:
            replace_waiting(draft.path, run)
        except OSError as error:
            ProcessFiles(draft.path).plan.unlink(missing_ok=True)  # It is still to be begun.
            sentence = _("{run} cannot be made: {reason}. Choose another name or folder.")
            raise OutputError(sentence.format(run=run, reason=error.strerror)) from error
        self._draft = self._written = None
        self._end("")
        self._on_prepared(run, self._plan_panel.run_name)

    def _tell(self, step: str) -> None:
        note = _("Keep Slicer open until the training has started.")
        self._on_step(f"{step}\n{note}" if self._train_then else step)

    def _break_off(self) -> None:
        if self._work is not None:
            self._work.cancel()
        self._end("")

    def _remove_draft(self) -> None:
        self._written = None
        if self._draft:
            remove_tree(self._draft)
            self._draft = None

    def _give_up(self) -> None:
        self._break_off()
        self._show_problem(_("Cases or plan have changed, which ended the preparation. Start it again."))

    def _end(self, sentence: str) -> None:
        self._work = self._asked = None
        self._on_step("")
        if sentence:
            self._show_problem(sentence)

    def _safely(self, step: Callable[..., None]) -> Callable[..., None]:
        """The step that ends the preparation with a sentence where it fails."""

        def go_on(*arguments: Any) -> None:
            self._work = None
            try:
                step(*arguments)
            except HLFDError as error:
                self._end(str(error))
            except Exception:
                logging.exception("HLFD: a training could not be prepared")
                self._end(
                    _(
                        "The training could not be prepared because of a mistake in the program. View > Error Log "
                        "tells more."
                    )
                )

        return go_on


def _check_there(written: Written) -> None:
    """Raises OutputError where the draft is gone, which the user does not know of."""
    if not there(written.cases.file):
        sentence = _(
            "The folder for the trainings is no longer there: {folder}. Put it back where it was, or choose another "
            "one, and try again."
        )
        raise OutputError(sentence.format(folder=written.draft.parent))


def remove_abandoned(runs_folder: Path) -> None:
    """Removes what a Slicer that crashed was preparing: it holds CTs. Folders that cannot be removed are left."""
    with suppress(OSError):
        for draft in runs_folder.glob(f"{DRAFT_PREFIX}*"):
            if draft.is_dir() and _is_abandoned(draft):
                shutil.rmtree(draft, ignore_errors=True)


def _is_abandoned(draft: Path) -> bool:
    """Its process has ended. Of another computer, whose processes are not known here: it is old."""
    # Without the mark: the start of its process was not known when it was named.
    named = re.fullmatch(rf"{re.escape(DRAFT_PREFIX)}(.+?)-(\d+)(?:-([0-9a-f]{{{MARK_LETTERS}}}))?-\d+", draft.name)
    if named and named[1] == computer_name():
        start = start_of(int(named[2]))
        return start is None or bool(start != UNSEEN and named[3] and named[3] != _mark_of(start))
    return bool(named) and time.time() - draft.stat().st_mtime > OLD_SECONDS


def _mark_of(start: str | None) -> str:
    """Tells a process, by its start, from a later one of the same number, in a name; "" where that is not known."""
    return sha256(start.encode()).hexdigest()[:MARK_LETTERS] if start else ""


def _new_draft(runs_folder: Path) -> Path:
    """A hidden folder beside the trainings."""
    owner = [computer_name(), str(os.getpid()), _mark_of(start_of(os.getpid())), str(time.time_ns())]
    draft = runs_folder / (DRAFT_PREFIX + "-".join(filter(None, owner)))
    try:
        # Not what it lies in: its disk may be away.
        runs_folder.mkdir(exist_ok=True)
        draft.mkdir()
    except OSError as error:
        sentence = _("The folder {folder} cannot be written: {reason}. Choose another folder for the trainings.")
        raise OutputError(sentence.format(folder=runs_folder, reason=error.strerror)) from error
    return draft
