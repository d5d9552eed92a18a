"""The plan in the panel: what is learned, by which method, from which teacher, and for how long."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from HLFDSegmentationLib.errors import HLFDError, TaskError, TrainingError
from HLFDSegmentationLib.networks import STUDENTS, TEACHERS
from HLFDSegmentationLib.slicer_tools.slicer_later import rest_timer
from HLFDSegmentationLib.slicer_tools.slicer_reasons import Reasons
from HLFDSegmentationLib.slicer_tools.slicer_texts import time_text
from HLFDSegmentationLib.tasks import TASKS, Task
from slicer.i18n import tr as _

from ..new_task import MOST_NAME_BYTES, free_name, keep_task, kept_tasks
from ..plan import TrainingPlan
from ..runs.given_models import GivenModel, Role, given_models
from ..runs.run_folder import RunFolder
from .slicer_choice_combo import ChoiceCombo
from .slicer_new_task import ask_for_task
from .slicer_number_box import NumberBox
from .slicer_texts import size_text, stage_titles

TASKS_FOLDER = "tasks"
RUNS_FOLDER_SETTING = "HLFDTraining/RunsFolder"
CROPS = (64, 128, 192, 256, 320, 384, 448, 512)
METHOD_PARAMETERS = ("temperature", "beta", "lambda_")
HLFD_METHODS = ("hlfd", "hlfd:full", "hlfd:released")
TYPING_MS = 600


class PlanPanel:
    """The controls of the plan. Those that have a parameter's name in the .ui follow the parameter node by themselves.

    Args:
        ui: the panel's widgets.
        show_problem: called with a sentence to show.
    """

    def __init__(self, ui: Any, show_problem: Callable[[str], None]) -> None:
        self.ui = ui
        self._show_problem = show_problem
        self._parameters: Any = None
        self._tasks: Mapping[str, Task] = TASKS
        self._given: dict[str, dict[str, GivenModel]] = {"teacher": {}, "student": {}}
        self._listed: tuple[str, Path] | None = None
        self._step = self._estimate = ""
        self._reasons = Reasons()
        self._combos = {
            name: ChoiceCombo(combo, partial(self._choose, name))
            for name, combo in (
                ("task", ui.taskCombo),
                ("method", ui.methodCombo),
                ("teacherSource", ui.teacherSourceCombo),
                ("teacher", ui.teacherCombo),
                ("student", ui.studentCombo),
                ("studentSource", ui.studentSourceCombo),
                ("byTime", ui.lengthCombo),
                ("crop", ui.cropCombo),
                ("device", ui.deviceCombo),
            )
        }
        self._numbers = {
            name: NumberBox(box, partial(self._choose, name))
            for name, box in (
                ("hours", ui.hoursSpin),
                ("beta", ui.betaSpin),
                ("lambda_", ui.lambdaSpin),
                ("temperature", ui.temperatureSpin),
                ("learningRate", ui.learningRateSpin),
            )
        }
        self._combos["method"].fill(method_titles())
        self._combos["teacher"].fill([(name, network_titles()[name]) for name in TEACHERS])
        self._combos["student"].fill([(name, network_titles()[name]) for name in STUDENTS])
        self._combos["byTime"].fill([(True, _("By time")), (False, _("By epochs"))])
        self._combos["crop"].fill([(0, _("As the task says")), *((crop, f"{crop} × {crop}") for crop in CROPS)])
        self.show_devices([])
        ui.newTaskButton.connect("clicked(bool)", self._on_new_task)
        # Each key gives another path. On a network disk, looking into all of them would take long.
        self._typing = rest_timer(self._on_folder, TYPING_MS)
        ui.runFolderEdit.connect("currentPathChanged(QString)", lambda path: self._typing.start())
        ui.estimateLabel.setVisible(False)

    def attach(self, parameters: Any) -> None:
        """Follows a parameter node; None while there is no scene."""
        self._typing.stop()
        self._parameters = parameters
        if parameters:
            self.refresh()

    def refresh(self) -> None:
        """Reads again which tasks, models and earlier trainings there are."""
        self._listed = None
        self.update()

    def update(self) -> None:
        """Shows the parameters. To be called when they have changed, whoever changed them."""
        parameters = self._parameters
        if not parameters:
            return
        if self._listed != (parameters.task, self.runs_folder):
            self._listed = (parameters.task, self.runs_folder)
            self._list_tasks()
            self._list_given()
        for name, combo in self._combos.items():
            combo.show(getattr(parameters, name))
        for name, box in self._numbers.items():
            box.show(getattr(parameters, name))
        for role in ("teacher", "student"):
            if given := self._chosen(role):
                self._combos[role].show(given.network)
        for spin, shown in ((self.ui.hoursSpin, parameters.byTime), (self.ui.epochsSpin, not parameters.byTime)):
            # Qt 5 writes the text of a box anew where it is shown once more, also while a user is typing in it.
            if spin.isHidden() == shown:
                spin.setVisible(shown)
        self._draw_start_note()
        self._draw_reasons(parameters)
        edit = self.ui.runFolderEdit
        if not self._typing.active and not (edit.currentPath and _folder(edit.currentPath) == self.runs_folder):
            blocked = edit.blockSignals(True)
            edit.setCurrentPath(str(self.runs_folder))
            edit.blockSignals(blocked)

    # What is planned

    @property
    def task(self) -> Task | None:
        """The chosen task, with the chosen crop as its input size."""
        task = self._tasks.get(self._parameters.task) if self._parameters else None
        crop = self._parameters.crop if self._parameters else 0
        return replace(task, input_size=(crop, crop)) if task and crop else task

    @property
    def hours(self) -> float | None:
        """The time budget; none where epochs are given."""
        return self._parameters.hours if self._parameters.byTime else None

    @property
    def problem(self) -> str:
        """Why the plan cannot be carried out; "" where it can."""
        if not self._parameters:
            return _("The scene is being closed.")
        if self.task is None:
            return _("Choose a task: the one that was chosen is not on this computer.")
        for role, sentence in (
            ("teacher", _("The teacher that was chosen is not there any more. Choose another one, or train one.")),
            ("student", _("The student that was chosen to go on from is not there any more. Choose another start.")),
        ):
            source = getattr(self._parameters, f"{role}Source")
            if source and self._is_needed(role) and source not in self._given[role]:
                return sentence
        try:
            self.plan().check_input_size()
        except HLFDError as error:
            return str(error)
        return ""

    @property
    def given_weights(self) -> tuple[str, str]:
        """Where the weights are that student and teacher are to start from; "" where they start from nothing."""
        parameters, teacher, student = self._parameters, self._chosen("teacher"), self._chosen("student")
        return (
            student.weights if student else parameters.studentSource,
            teacher.weights if teacher else parameters.teacherSource,
        )

    def plan(self) -> TrainingPlan:
        """The plan. Raises HLFDError where it makes no sense."""
        parameters, task = self._parameters, self.task
        if task is None:
            raise TaskError(self.problem)
        teacher = self._chosen("teacher") if self._is_needed("teacher") else None
        student = self._chosen("student")
        return TrainingPlan(
            task=task,
            teacher=teacher.network if teacher else parameters.teacher,
            student=student.network if student else parameters.student,
            teacher_weights=teacher.weights if teacher else None,
            student_weights=student.weights if student else None,
            method=parameters.method,
            method_options=self._method_options(),
            undistilled=parameters.undistilled and parameters.method != "none",
            teacher_epochs=parameters.epochs,
            student_epochs=parameters.epochs,
            batch=parameters.batch,
            learning_rate=parameters.learningRate,
            seed=parameters.seed,
            device=parameters.device,
        )

    @property
    def runs_folder(self) -> Path:
        """The folder in which trainings are kept: the scene's, otherwise the one that was chosen last.

        A scene that is closed must not take a training that is going on out of sight.
        """
        chosen = self._parameters.runsFolder if self._parameters else ""
        chosen = chosen or slicer.app.userSettings().value(RUNS_FOLDER_SETTING)
        return _folder(chosen) if chosen else Path.home() / "HLFD trainings"

    @property
    def run_name(self) -> str:
        """What the user calls the next training."""
        return self._parameters.runName.strip() or (self.task.title if self.task else "")

    def new_run_folder(self) -> Path:
        """A folder for the next training that is not there yet, named after it."""
        name = re.sub(r"[^\w\- ]", "_", self.run_name).encode()[:MOST_NAME_BYTES].decode(errors="ignore").strip()
        name = name or "training"
        folder, number = self.runs_folder / name, 1
        while folder.exists():
            number += 1
            folder = self.runs_folder / f"{name} {number}"
        return folder

    def continue_from(self, run: Path) -> None:
        """Plans a training that goes on from a run's student, with its teacher, task and method. Raises HLFDError."""
        plan = RunFolder(run).plan()
        options = dict(plan.method_options)
        variant = options.pop("variant", None)
        method = f"{plan.method}:{variant}" if variant else plan.method
        self._take_options(options)
        task = replace(plan.task, input_size=self._usual_input_size(plan.task))
        parameters = self._parameters
        parameters.task = self._key_of(task)
        parameters.crop = 0 if plan.task == task else plan.task.input_size[0]
        parameters.method = method.removesuffix(":corrected")
        parameters.teacher, parameters.student = plan.teacher, plan.student
        self.refresh()
        parameters.studentSource = str(run)
        own = str(run) if str(run) in self._given["teacher"] else plan.teacher_weights or ""
        of_package = (model.source for model in self._given["teacher"].values() if model.weights == own)
        parameters.teacherSource = next(of_package, own)

    def _take_options(self, options: Mapping[str, Any]) -> None:
        """Sets a method's options; none where the panel does not have one of them, or not with its value."""
        before = {name: getattr(self._parameters, name) for name in METHOD_PARAMETERS}
        # Options that a run does not name had the values that they have in a new panel.
        usual = {name: self._parameters.default(name).value for name in METHOD_PARAMETERS}
        try:
            for name, value in {**usual, **options}.items():
                if name not in METHOD_PARAMETERS:
                    raise ValueError(name)
                setattr(self._parameters, name, value)
        except ValueError as error:
            for name, value in before.items():
                setattr(self._parameters, name, value)
            told = ", ".join(f"{name.rstrip('_')} {value}" for name, value in options.items())
            sentence = _(
                "The panel has no such settings as this training ({settings}). Go on from another, or in a terminal."
            )
            raise TrainingError(sentence.format(settings=told)) from error

    # What a training takes

    def show_estimate(self, estimate: Mapping[str, Any] | None) -> None:
        """Shows what a training takes on this computer; None takes it away."""
        self._estimate = estimate_text(estimate) if estimate else ""
        self._draw_estimate()

    def show_step(self, text: str) -> None:
        """Shows in the place of the estimate how far the measuring is; "" when it has ended."""
        self._step = text
        self._draw_estimate()

    def show_devices(self, devices: list[tuple[str, str]]) -> None:
        """Offers devices, by name and title, beside the automatic choice and the CPU."""
        self._combos["device"].fill(
            [("auto", _("Automatic: the fastest")), *(devices or [("cpu", _("CPU"))])],
        )
        if self._parameters:
            self._combos["device"].show(self._parameters.device)

    # Inside

    def _draw_estimate(self) -> None:
        text = self._step or self._estimate
        self.ui.estimateLabel.setText(text)
        self.ui.estimateLabel.setVisible(bool(text))

    def _chosen(self, role: str) -> GivenModel | None:
        """What is taken as teacher or student, while it is there; none where one is trained."""
        return self._given[role].get(getattr(self._parameters, f"{role}Source"))

    def _is_needed(self, role: str) -> bool:
        return role == "student" or self._parameters.method != "none"

    def _draw_reasons(self, parameters: Any) -> None:
        """Greys what the method does not use, and the network of what is trained already."""
        ui, unused, options = self.ui, _("Not used by this method."), self._method_options()
        teacher, student = self._chosen("teacher"), self._chosen("student")
        without_teacher = "" if self._is_needed("teacher") else unused
        given = _("It is that of the chosen teacher.") if teacher else ""
        self._reasons.set(ui.teacherSourceCombo, without_teacher)
        self._reasons.set(ui.teacherCombo, without_teacher or given)
        self._reasons.set(ui.studentCombo, _("It is that of the student that is gone on from.") if student else "")
        self._reasons.set(ui.undistilledCheck, without_teacher)
        for name, spin in (("beta", ui.betaSpin), ("lambda_", ui.lambdaSpin), ("temperature", ui.temperatureSpin)):
            self._reasons.set(spin, "" if name in options else unused)

    def _draw_start_note(self) -> None:
        """Says of which given networks nobody knows whom they have learned from."""
        needed = [model for role in self._given if (model := self._chosen(role)) and self._is_needed(role)]
        unknown = dict.fromkeys(model.title for model in needed if not model.patients_known)
        sentence = _(
            "Nobody knows here whose CTs '{model}' has learned from. Where they are among your cases to choose and to "
            "test with, the figures of the new student will be too good."
        )
        self.ui.startNoteLabel.setText("\n".join(sentence.format(model=title) for title in unknown))
        self.ui.startNoteLabel.setVisible(bool(unknown))

    def _method_options(self) -> dict[str, float]:
        parameters = self._parameters
        if parameters.method in ("none", "at"):
            return {}
        options = {"temperature": parameters.temperature}
        if parameters.method in HLFD_METHODS:
            options |= {"beta": parameters.beta, "lambda_": parameters.lambda_}
        return options

    def _choose(self, name: str, value: Any) -> None:
        if not self._parameters:
            return
        if name == "task":
            self._parameters.teacherSource = self._parameters.studentSource = ""
        setattr(self._parameters, name, value)

    def _list_tasks(self) -> None:
        kept, problems = kept_tasks(self.runs_folder / TASKS_FOLDER)
        if problems:
            self._show_problem(problems[0])
        self._tasks = {**TASKS, **kept}
        self._combos["task"].fill([(key, task.title) for key, task in self._tasks.items()])

    def _list_given(self) -> None:
        task = self.task
        firsts: dict[Role, str] = {"teacher": _("Train one on your cases"), "student": _("From nothing")}
        for role, first in firsts.items():
            try:
                found = given_models(role, task, self.runs_folder) if task else []
            except HLFDError as error:
                found = []
                self._show_problem(str(error))
            self._given[role] = {model.source: model for model in found}
            self._combos[f"{role}Source"].fill([("", first), *((model.source, _titled(model)) for model in found)])

    def _on_folder(self) -> None:
        path = self.ui.runFolderEdit.currentPath
        if self._parameters and path and _folder(path) != self.runs_folder:
            slicer.app.userSettings().setValue(RUNS_FOLDER_SETTING, str(_folder(path)))
            self._parameters.runsFolder = str(_folder(path))

    def _on_new_task(self, clicked: bool) -> None:
        folder = self.runs_folder / TASKS_FOLDER
        path = ask_for_task(lambda task: keep_task(task, folder))
        if path and self._parameters:
            self.refresh()
            self._choose("task", str(path))

    def _usual_input_size(self, task: Task) -> tuple[int, int]:
        """The input size that the task of this name has when no crop is chosen."""
        known = next((known for known in self._tasks.values() if known.name == task.name), task)
        return known.input_size

    def _key_of(self, task: Task) -> str:
        """The task's entry in the list; it is kept among the user's tasks where it has none."""
        for key, known in self._tasks.items():
            if known == task:
                return key
        folder = self.runs_folder / TASKS_FOLDER
        return str(keep_task(free_name(task, folder), folder))


def _folder(path: str) -> Path:
    """A folder as a user writes it: `~` is their own, and what is not absolute lies in it."""
    return Path.home() / os.path.expanduser(path)


def method_titles() -> list[tuple[str, str]]:
    """The methods and what a user reads for them, the default first."""
    return [
        ("hlfd", _("HLFD")),
        ("hlfd:full", _("HLFD, with the last layers too")),
        ("hlfd:released", _("HLFD, as first released")),
        ("kd", _("KD: knowledge distillation")),
        ("at", _("AT: attention transfer")),
        ("skd", _("SKD: structured distillation")),
        ("dkd", _("DKD: deep distillation, level to level")),
        ("hifd", _("HIFD: hierarchical features")),
        ("emkd", _("EMKD: efficient medical distillation")),
        ("none", _("No distillation: the labels alone")),
    ]


def network_titles() -> dict[str, str]:
    """What a user reads for each network."""
    return {
        "resnet50-unet": _("ResNet-50 U-Net"),
        "raunet": _("RAUNet"),
        "unet++": _("U-Net++"),
        "mobilenetv2-unet": _("MobileNetV2 U-Net (smallest)"),
        "resnet18-unet": _("ResNet-18 U-Net"),
    }


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """An estimate (docs/training.md) as a user reads it, with its warnings."""
    lines = [_("The whole training: {time}.").format(time=time_text(estimate["total"]))]
    for stage, seconds in estimate["seconds"].items():
        epochs = estimate["epochs"].get(stage)
        text = _("{part}: {time}") if epochs is None else _("{part}: {time}. Epochs: {epochs}")
        part = stage_titles().get(stage, stage)
        lines.append("– " + text.format(part=part, time=time_text(seconds), epochs=epochs))
    lines.append(
        _("Memory: {memory}. Disk: {disk}.").format(
            memory=size_text(estimate["memory_bytes"]), disk=size_text(estimate["disk_bytes"])
        )
    )
    lines += [_("Warning: {warning}").format(warning=warning) for warning in estimate["warnings"]]
    return "\n".join(lines)


def _titled(model: GivenModel) -> str:
    """What the user reads of a model that can be taken: one that has not learned to its end says so."""
    if model.unfinished is None:
        return model.title
    epoch, epochs = model.unfinished
    return _("{name} (epoch {epoch} of {epochs})").format(name=model.title, epoch=epoch, epochs=epochs)
