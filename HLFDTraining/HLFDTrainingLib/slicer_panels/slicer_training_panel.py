"""A training in the panel: the Train button that becomes Cancel, then Stop; how far it is, charts, preview and log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
import slicer
from HLFDSegmentationLib.errors import HLFDError
from HLFDSegmentationLib.slicer_tools.slicer_careful_question import confirm_carefully
from HLFDSegmentationLib.slicer_tools.slicer_double_click import without_double_clicks
from HLFDSegmentationLib.slicer_tools.slicer_kept_focus import KeptFocus
from HLFDSegmentationLib.slicer_tools.slicer_message import breakable
from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages
from HLFDSegmentationLib.slicer_tools.slicer_reasons import Reasons
from HLFDSegmentationLib.slicer_tools.slicer_texts import time_text
from slicer.i18n import tr as _

from ..runs.event_sentences import readable_log
from ..runs.process_files import ProcessFiles, read_object, there
from ..runs.run_events import Event
from ..runs.run_folder import RunFolder
from ..runs.run_list import RunRow, describe_run, list_runs, rename_run, run_name
from ..runs.run_lock import RunLock
from ..runs.run_progress import RunProgress, progress_of
from ..runs.run_state import RunState
from ..runs.training_curves import StageCurves, curves_of
from ..runs.training_process import TrainingProcess
from ..slicer_scene.slicer_own_layout import register_layouts
from ..slicer_scene.slicer_trainer import start_trainer
from .slicer_charts import TrainingCharts
from .slicer_choice_combo import ChoiceCombo
from .slicer_preview import Colors, preview_pixmap, read_preview
from .slicer_texts import stage_titles

LOOK_MS = 500
AWAY_MS = 5000
"""Between two looks for a folder that is gone: asking a network disk that is away takes long."""
FULL = 1000
DAMAGED = "damaged"


class ShownRun:
    """What is known of the run that the panel shows.

    Args:
        folder: of the run.
        process: that was started there just now; it knows of a start that fails.
    """

    def __init__(self, folder: Path, process: TrainingProcess | None) -> None:
        self.folder = folder
        self.process = process or TrainingProcess(folder)
        self.events: list[Event] = []
        self.state = RunState("stopped", "")
        self.away = False
        self.stopping = False
        self.preview_drawn: float | None = None
        self.log = ""

    @property
    def running(self) -> bool:
        """Whether it was going on when it was looked at last."""
        return self.state.name == "running"

    @property
    def curves(self) -> dict[str, StageCurves]:
        """Of each stage; none where the events are damaged."""
        try:
            return curves_of(self.events)
        except (KeyError, TypeError):
            return {}

    @property
    def stage(self) -> str:
        """The stage to look at: the last one that has finished an epoch, at the end the student."""
        stages = list(self.curves)
        if self.state.name == "finished" and "student" in stages:
            return "student"
        return stages[-1] if stages else ""

    def look(self) -> int:
        """Reads what has changed, and gives the number of new events. Raises HLFDError."""
        self.away = not there(self.folder)
        if self.away:
            sentence = _(
                "The folder of this training is no longer there: {folder}. Put it back where it was, or choose "
                "another training."
            )
            self.state = RunState("crashed", sentence.format(folder=self.folder))
            return 0
        # In this order: after an end there are no events that were not read.
        self.state = self.process.state
        new = self.process.events()
        self.events += new
        return len(new)

    def progress(self) -> RunProgress:
        """Where it is. Raises KeyError or TypeError where its files are damaged."""
        return progress_of(self.events, self.process.step if self.running else None)


class TrainingPanel:
    """The controls of a training.

    Args:
        ui: the panel's widgets.
        on_train: called when a new training is wanted, which ends in a call of `start`, or is not wanted any more.
        on_shown: called with the folder of the run that is shown, none without one; also when its state has changed.
        show_problem: called with a sentence, "" for none.
    """

    def __init__(
        self,
        ui: Any,
        on_train: Callable[[], None],
        on_shown: Callable[[Path | None], None],
        show_problem: Callable[[str], None],
    ) -> None:
        self.ui = ui
        self._on_train = on_train
        self._on_shown = on_shown
        self._show_problem = show_problem
        self._folder: Path | None = None
        self._rows: list[RunRow] = []
        self._run: ShownRun | None = None
        self._hint = _("There are no cases yet.")
        self._busy = ""
        self._can_cancel = False
        self._reasons = Reasons()
        self._focus = KeptFocus(ui.trainButton)
        self._has_scene = False
        self._charts = TrainingCharts(slicer.mrmlScene)
        self._timer = qt.QTimer()
        self._timer.setInterval(LOOK_MS)
        self._timer.connect("timeout()", self._look)
        ui.trainButton.connect("clicked(bool)", without_double_clicks(self._on_train_clicked))
        ui.continueButton.connect("clicked(bool)", self._on_continue)
        self._runs = ChoiceCombo(ui.runsCombo, self._on_chosen)
        ui.showChartsButton.connect("toggled(bool)", self._on_charts)
        ui.logCollapsibleButton.connect("contentsCollapsed(bool)", self._on_log_opened)
        self._draw()

    @property
    def shown(self) -> Path | None:
        """The folder of the run that is shown."""
        return self._run.folder if self._run else None

    @property
    def running(self) -> bool:
        """Whether the run that is shown is going on."""
        return self._run is not None and self._run.running

    def attach(self, parameters: Any) -> None:
        """Follows the scene: none while it is closed and until the panel is opened again, when there are no charts."""
        self._has_scene = parameters is not None
        if parameters is None:
            self._charts.hide()
            return
        register_layouts(slicer.mrmlScene)
        self.refresh()
        self._draw_charts()

    def set_folder(self, folder: Path | str) -> None:
        """The folder that holds the runs. Shows the one that is going on, otherwise the one that changed last."""
        if self.shown and self.running and self._folder != Path(folder):
            sentence = _("The training '{name}' goes on in {folder}. Choose that folder again to see it.")
            self._show_problem(sentence.format(name=run_name(self.shown), folder=self._folder))
        self._folder = Path(folder)
        self._list_runs()
        running = next((row.folder for row in self._rows if row.state == "running"), None)
        self._show(running or (self._rows[0].folder if self._rows else None))

    def set_problem(self, sentence: str) -> None:
        """Why a new training cannot begin; "" where it can."""
        self._hint = sentence
        self._draw_buttons()

    def set_busy(self, text: str, *, can_cancel: bool) -> None:
        """Shows what is done before a training begins, as writing its cases.

        Args:
            text: what is done; "" at its end.
            can_cancel: whether the Train button began it, and ends it.
        """
        self._busy, self._can_cancel = text, can_cancel and bool(text)
        self._draw()

    def start(self, run: Path, name: str = "") -> None:
        """Starts a trainer in a folder that `start_run` has filled, or goes on there, and shows it.

        Args:
            run: the folder.
            name: the user's; "" leaves the one that it has.
        """
        process = None
        try:
            if name:
                rename_run(run, name)
            process = start_trainer(run)
        except HLFDError as error:
            self._show_problem(str(error))
        self._list_runs()
        self._show(run, process)

    def refresh(self) -> None:
        """Looks again which runs there are, and how the one that is shown gets on."""
        if self._folder is not None:
            self._list_runs()
        self._look()

    def close(self) -> None:
        """Ends the watching; the training itself goes on."""
        self._timer.stop()
        self._charts.hide()

    # Which run

    def _list_runs(self) -> None:
        try:
            self._rows = list_runs(self._folder) if self._folder else []
        except HLFDError as error:
            self._rows = []
            self._show_problem(str(error))
        self._fill_combo()

    def _fill_combo(self) -> None:
        names = Counter(row.name for row in self._rows)
        self._runs.fill([(row.folder, _run_title(row, several=names[row.name] > 1)) for row in self._rows])
        self._runs.show(self.shown)

    def _on_chosen(self, folder: Path) -> None:
        self._show_problem("")
        self._show(folder)

    def _show(self, folder: Path | None, process: TrainingProcess | None = None) -> None:
        self._run = ShownRun(folder, process) if folder else None
        self._fill_combo()
        self.ui.previewLabel.clear()
        self.ui.logText.clear()
        if self._run is None:
            self._timer.stop()
            self._draw()
            self._draw_charts()
            self._on_shown(None)
            return
        self._look(first=True)

    # Looking at it

    def _look(self, first: bool = False) -> None:
        run = self._run
        if run is None:
            return
        before, was_away = run.state.name, run.away
        try:
            new = run.look()
        except HLFDError as error:
            self._timer.stop()
            self._show_problem(str(error))
            return
        if was_away and not run.away:
            self._show_problem("")
        changed = run.state.name != before or run.away != was_away
        if changed and not first:
            run.stopping = False
            self._list_runs()
            if run.state.name == "crashed":
                self._show_problem(run.state.sentence)
        self._timer.setInterval(AWAY_MS if run.away else LOOK_MS)
        if run.running or run.away:
            self._timer.start()
        else:
            self._timer.stop()
        self._draw()
        self._draw_preview(run)
        self._draw_log()
        if new or first:
            self._draw_charts()
        if changed or first:
            self._on_shown(run.folder)

    def _draw(self) -> None:
        self._draw_buttons()
        try:
            stage, remaining, share = self._texts()
        except (KeyError, TypeError):
            stage, remaining, share = self._damaged(), "", None
        self.ui.stageLabel.setText(stage)
        self.ui.stageLabel.setVisible(bool(stage))
        self.ui.remainingLabel.setText(remaining)
        self.ui.remainingLabel.setVisible(bool(remaining))
        going_on = self.running or bool(self._busy)
        bar = self.ui.trainingProgress
        bar.setVisible(going_on or share is not None)
        # Without a range the bar shows that something goes on, though nobody knows how far it is.
        bar.setRange(0, 0 if share is None else FULL)
        bar.setValue(round(FULL * (share or 0.0)))

    def _draw_buttons(self) -> None:
        run = self._run
        hint = "" if self.running or self._busy else self._hint
        train = self.ui.trainButton
        train.setText(self._train_text())
        waiting = self._why_not_train(hint)
        self._focus.set_enabled(not waiting)
        train.setToolTip(waiting or self._train_tooltip())
        self.ui.trainHintLabel.setText(breakable(hint))
        self.ui.trainHintLabel.setVisible(bool(hint))
        self._reasons.set(self.ui.continueButton, self._why_not_continue())
        no_run = _("There is no training in this folder.")
        self._reasons.set(self.ui.runsCombo, _preparing() if self._busy else "" if self._rows else no_run)
        self._reasons.set(self.ui.showChartsButton, "" if run else no_run)

    @property
    def _stopping(self) -> bool:
        return self._run is not None and self._run.running and self._run.stopping

    def _train_text(self) -> str:
        if self._can_cancel:
            return _("Cancel")
        if self.running:
            return _("Stopping…") if self._stopping else _("Stop")
        return _("Train")

    def _why_not_train(self, hint: str) -> str:
        """Why the button that trains, cancels or stops is grey; "" where it is not."""
        if self._can_cancel:
            return ""
        if self._stopping:
            return _("The training ends after its step.")
        if self._busy and not self.running:
            return _("Time and memory are being measured. Wait until that has ended, or cancel it.")
        return hint

    def _train_tooltip(self) -> str:
        if self._can_cancel:
            return _("End the preparation. Nothing of it stays.")
        if self.running:
            return _("Leave a checkpoint and end the training. Nothing is lost; Continue goes on.")
        return _(
            "Write the cases and start the training. Keep Slicer open until it has started; then it goes on when "
            "Slicer is closed."
        )

    def _why_not_continue(self) -> str:
        """Why there is nothing to go on with; "" where there is."""
        run = self._run
        if self._busy:
            return _preparing()
        if run is None:
            return _("There is no training in this folder.")
        if run.state.name == "finished":
            return _("This training is finished.")
        if run.running and not self._elsewhere:
            return _("This training is going on.")
        if not there(run.folder):
            return _("The folder of this training is no longer there.")
        if not there(ProcessFiles(run.folder).plan):
            return _("In the folder of this training, plan.json is missing. Restore it from a copy.")
        return ""

    @property
    def _elsewhere(self) -> bool:
        """Whether the run is said to be going on on another computer."""
        if self._run is None or not self._run.running:
            return False
        holder = RunLock(self._run.folder).holder()
        return holder is not None and holder.elsewhere

    def _texts(self) -> tuple[str, str, float | None]:
        """What stage and time read, and the share that is done. Raises KeyError or TypeError for damaged files."""
        run = self._run
        if self._busy and (self._can_cancel or not self.running):
            return self._busy, "", None
        if run is None:
            return self._text_without_run(), "", None
        if run.state.name == "finished":
            return run.state.sentence, "", 1.0
        progress = run.progress()
        if run.running:
            return _stage_text(progress), _remaining_text(progress), progress.fraction
        if not run.away and (row := describe_run(run.folder)).state == DAMAGED:
            return row.sentence, "", None
        place = _place_text(progress) if progress.epochs else ""
        return "\n".join(filter(None, (run.state.sentence, place))), _left_text(progress), progress.fraction

    def _text_without_run(self) -> str:
        if self._folder and not there(self._folder) and not there(self._folder.parent):
            sentence = _("The folder {folder} is not there. Connect its disk, or choose another folder.")
            return sentence.format(folder=self._folder)
        return _("No training has been started in this folder yet.")

    def _damaged(self) -> str:
        return _(
            "The files of this training are damaged. Restore plan.json and events.jsonl in its folder from a copy, or "
            "begin a new training."
        )

    def _draw_charts(self) -> None:
        if not self.ui.showChartsButton.checked or self._run is None or not self._has_scene:
            self._charts.hide()
            return
        self._charts.show(self._run.curves, self._run.stage)

    def _draw_preview(self, run: ShownRun) -> None:
        """Draws the newest preview, if it is not drawn yet."""
        path = RunFolder(run.folder).preview(run.stage)
        try:
            changed = path.stat().st_mtime
        except OSError:
            return
        if changed == run.preview_drawn or not run.stage:
            return
        preview = read_preview(path)
        if preview is not None:
            with suppress(OSError, HLFDError):
                self.ui.previewLabel.setPixmap(preview_pixmap(preview, _colors(run.folder)))
                run.preview_drawn = changed

    def _draw_log(self) -> None:
        run = self._run
        if run is None or self.ui.logCollapsibleButton.collapsed:
            return
        log = run.process.log
        if log == run.log:
            return
        run.log = log
        bar = self.ui.logText.verticalScrollBar()
        at_end = bar.value == bar.maximum
        self.ui.logText.setPlainText(readable_log(log))
        if at_end:
            bar.setValue(bar.maximum)

    # Buttons

    def _on_train_clicked(self, clicked: bool) -> None:
        self._show_problem("")
        if self._can_cancel or self._run is None or not self._run.running:
            self._on_train()
            return
        try:
            self._run.process.stop()
            self._run.stopping = True
        except HLFDError as error:
            self._show_problem(str(error))
        self._draw()

    def _on_continue(self, clicked: bool) -> None:
        run = self._run
        if run is None:
            return
        self._show_problem("")
        try:
            ensure_packages()
            if self._elsewhere:
                if not _nothing_runs_elsewhere(run.state):
                    return
                RunLock(run.folder).break_elsewhere()
        except HLFDError as error:
            self._show_problem(str(error))
            return
        self.start(run.folder)

    def _on_charts(self, checked: bool) -> None:
        self._draw_charts()

    def _on_log_opened(self, collapsed: bool) -> None:
        self._draw_log()


def _nothing_runs_elsewhere(state: RunState) -> bool:
    question = _(
        "{state} Two trainers in one folder would destroy each other's work. Is nothing trained there any more, so "
        "that it can be continued here?"
    )
    return confirm_carefully(question.format(state=state.sentence), _("HLFD Training: continue here"))


def _preparing() -> str:
    return _("A training is being prepared or measured. Wait until that has ended.")


def _run_title(row: RunRow, *, several: bool) -> str:
    """A run's name and state; with its folder where several have this name."""
    states = {
        "running": _("running"),
        "stopped": _("stopped"),
        "crashed": _("interrupted"),
        "finished": _("finished"),
        DAMAGED: _("damaged"),
    }
    name = f"{row.name}, {row.folder.name}" if several else row.name
    return f"{name} ({states[row.state]})"


def _stage_text(progress: RunProgress) -> str:
    if progress.stage == "reading":
        return _("Reading the slices: {done} of {all}").format(done=progress.step, all=progress.steps)
    return _place_text(progress) if progress.stage else _("Starting")


def _place_text(progress: RunProgress) -> str:
    place = _("Stage: {stage}. Epoch {epoch} of {epochs}")
    if progress.step:
        place = _("Stage: {stage}. Epoch {epoch} of {epochs}, step {step} of {steps}")
    return place.format(
        stage=stage_titles()[progress.stage],
        epoch=progress.epoch,
        epochs=progress.epochs,
        step=progress.step,
        steps=progress.steps,
    )


def _remaining_text(progress: RunProgress) -> str:
    if progress.seconds_left is None:
        return _("How long it takes is known after some steps.")
    return _("{time} left, all stages together").format(time=time_text(progress.seconds_left))


def _left_text(progress: RunProgress) -> str:
    if progress.seconds_left is None:
        return ""
    return _("{time} to go when it is continued").format(time=time_text(progress.seconds_left))


def _colors(folder: Path) -> Colors:
    """Of each label of the run's task; none where the plan cannot be read."""
    plan = read_object(ProcessFiles(folder).plan) or {}
    try:
        return {label["value"]: tuple(label["color"]) for label in plan["task"]["labels"]}
    except (KeyError, TypeError):
        return {}
