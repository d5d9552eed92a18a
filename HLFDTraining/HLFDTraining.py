"""HLFD Training: one's own annotated cases are distilled into a small network that segments as they were drawn."""

# ruff: noqa: N802, N803, N806, N815, Slicer names methods and parameters in camelCase.

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import slicer
from HLFDSegmentationLib.child_process.worker_protocol import DevicesResult
from HLFDSegmentationLib.errors import CasesError, HLFDError
from HLFDSegmentationLib.slicer_scene.slicer_worker import ask_devices
from HLFDSegmentationLib.slicer_tools.slicer_double_click import without_double_clicks
from HLFDSegmentationLib.slicer_tools.slicer_message import show_message
from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages, missing_packages, require_packages
from HLFDSegmentationLib.slicer_tools.slicer_reload import forget_libraries, reload_where_open
from HLFDSegmentationLib.slicer_tools.slicer_scene_widget import SceneWidgetMixin
from HLFDSegmentationLib.tasks import load_task
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.earlier_runs import parts_met, split_for
from HLFDTrainingLib.runs.run_folder import RunFolder, check_unused
from HLFDTrainingLib.runs.run_list import RunRow, list_runs, rename_run, run_name
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.runs.training_process import TrainingProcess
from HLFDTrainingLib.slicer_panels.slicer_cases_panel import CasesPanel
from HLFDTrainingLib.slicer_panels.slicer_outcome_panel import OutcomePanel
from HLFDTrainingLib.slicer_panels.slicer_plan_panel import PlanPanel
from HLFDTrainingLib.slicer_panels.slicer_training_panel import TrainingPanel
from HLFDTrainingLib.slicer_panels.slicer_training_start import TrainingStart, remove_abandoned
from HLFDTrainingLib.slicer_scene.slicer_own_layout import look_after
from HLFDTrainingLib.slicer_scene.slicer_trainer import start_trainer
from HLFDTrainingLib.split import Split
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class HLFDTraining(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("HLFD Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["HLFDSegmentation"]
        parent.contributors = ["The HLFD developers"]
        parent.helpText = _(
            "Trains a small network that segments as you do, from CTs in which you have drawn organs and tumors: a "
            "large teacher learns from your cases, and a small student from both. For research use only; not for "
            "diagnosis. Nothing is uploaded: your images stay on this computer.<p>The tutorial is "
            "docs/slicer_training.md in HLFD's repository.</p>"
        )
        parent.acknowledgementText = _(
            "If you use HLFD, cite: Gorade V., Mittal S., Jha D., Bagci U.: <i>Rethinking Intermediate Layers Design "
            "in Knowledge Distillation for Kidney and Liver Tumor Segmentation</i>. ISBI 2024. "
            "<a href='https://doi.org/10.1109/ISBI56570.2024.10635141'>doi:10.1109/ISBI56570.2024.10635141</a>"
        )
        # A scene may be loaded before the panel is opened.
        slicer.app.connect("startupCompleted()", lambda: look_after(slicer.mrmlScene))


@parameterNodeWrapper
class HLFDTrainingParameterNode:
    """What the user chose; it is saved with the scene. How a training gets on stands in its folder."""

    task: str = "liver-tumor"
    method: str = "hlfd"
    teacherSource: str = ""
    teacher: str = "resnet50-unet"
    student: str = "mobilenetv2-unet"
    studentSource: str = ""
    byTime: bool = True
    hours: Annotated[float, WithinRange(0.05, 500.0)] = 1.0
    epochs: Annotated[int, WithinRange(1, 10000)] = 60
    undistilled: bool = False
    runName: str = ""
    runsFolder: str = ""
    beta: Annotated[float, WithinRange(0.0, 10.0)] = 0.9
    lambda_: Annotated[float, WithinRange(0.0, 10.0)] = 0.1
    temperature: Annotated[float, WithinRange(1.0, 20.0)] = 4.0
    learningRate: Annotated[float, WithinRange(0.00001, 0.1)] = 0.001
    batch: Annotated[int, WithinRange(1, 256)] = 8
    crop: int = 0
    seed: Annotated[int, WithinRange(0, 999999)] = 0
    device: str = "auto"


class HLFDTrainingWidget(ScriptedLoadableModuleWidget, SceneWidgetMixin):
    """The panel. Its parts lie in HLFDTrainingLib; here they are joined to each other and to the parameter node."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        SceneWidgetMixin.__init__(self)
        self._shownTask = self._shownFolder = None
        self._shownSources = ("", "")
        self._askedDevices = False
        self._closed = False

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HLFDTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = HLFDTrainingLogic()
        self.showProblem("")
        self.casesPanel = CasesPanel(self.ui, self.onCasesChanged, self.showProblem, self.refresh)
        self.planPanel = PlanPanel(self.ui, self.showProblem)
        self.outcomePanel = OutcomePanel(self.ui, self.onContinueFrom, self.casesPanel.add_case, self.showProblem)
        self.trainingPanel = TrainingPanel(self.ui, self.onTrain, self.onRunShown, self.showProblem)
        self.trainingStart = TrainingStart(
            self.casesPanel, self.planPanel, self.onPreparing, self.onPrepared, self.showProblem
        )
        self.ui.estimateButton.connect("clicked(bool)", without_double_clicks(self.onEstimate))

        self.observeScene()

    def cleanup(self) -> None:
        """Called when the module is reloaded or unloaded, and when Slicer ends. A training goes on."""
        self._closed = True
        self.trainingStart.forget()
        self.leaveScene()
        self.trainingPanel.close()
        self.outcomePanel.close()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.askDevices()

    def exit(self) -> None:
        """Called each time the user opens another module. What goes on goes on."""
        self.disconnectParameterNode()

    def onReload(self) -> None:
        """Reloads the libraries together with the module, and the other module that shares them."""
        forget_libraries()
        ScriptedLoadableModuleWidget.onReload(self)
        reload_where_open("HLFDSegmentation")

    def onSceneStartClose(self, caller: Any, event: str) -> None:
        """Called just before the scene is closed."""
        super().onSceneStartClose(caller, event)
        self.trainingStart.forget()

    def isAtWork(self) -> bool:
        """Whether there are cases, something is prepared or trained, or the plan is no longer as it was offered."""
        if self.casesPanel.rows or self.trainingStart.running or self.trainingPanel.running:
            return True
        node = self._parameterNode
        return any(node.getValue(name) != node.default(name).value for name in node.allParameters)

    def setParameterNode(self, parameterNode: HLFDTrainingParameterNode | None) -> None:
        """Shows a parameter node in the panel and follows its changes; None ends that."""
        super().setParameterNode(parameterNode)
        self.planPanel.attach(parameterNode)
        self._handOn()
        for panel in (self.casesPanel, self.trainingPanel, self.outcomePanel):
            panel.attach(parameterNode)
        self.refresh()

    def onParametersModified(self, caller: Any = None, event: str | None = None) -> None:
        """Makes the panel follow the parameter node."""
        self.planPanel.update()
        self._handOn()
        self.refresh()

    def onCasesChanged(self) -> None:
        """What was prepared holds no more."""
        self.trainingStart.forget()
        self.refresh()

    def refresh(self) -> None:
        """Says whether a training can be started, and if not, why."""
        problem = self.trainingStart.problem if self._parameterNode else _("The scene is being closed.")
        self.trainingPanel.set_problem(problem)
        if self.trainingStart.will_train:
            problem = _("A training is being prepared, for which the same is measured.")
        estimating = self.trainingStart.running and not self.trainingStart.will_train
        button = self.ui.estimateButton
        button.setText(_("Cancel") if estimating else _("Estimate time and memory"))
        button.setEnabled(estimating or not problem)
        tip = _(
            "Measure a few real steps on this computer, and tell how long the training will take and how much memory "
            "and disk it needs. Nothing is trained yet."
        )
        button.setToolTip(_("End the preparation. Nothing of it stays.") if estimating else problem or tip)

    # A training

    def onEstimate(self, clicked: bool) -> None:
        """Measures what the planned training takes; ends that where it is under way."""
        if self.trainingStart.running:
            self.trainingStart.cancel()
        else:
            self.trainingStart.estimate()

    def onTrain(self) -> None:
        """Prepares the planned training and starts it; ends the preparation where it is under way."""
        if self.trainingStart.running:
            self.trainingStart.cancel()
        else:
            self.trainingStart.train()

    def onPreparing(self, text: str) -> None:
        """Shows what is being prepared; "": nothing any more."""
        estimating = not self.trainingStart.will_train
        self.trainingPanel.set_busy(text, can_cancel=not estimating)
        self.planPanel.show_step(text if estimating else "")
        self.refresh()

    def onPrepared(self, run: Path, name: str) -> None:
        """Starts a training that was prepared, and shows it."""
        self.trainingPanel.start(run, name)
        self.planPanel.refresh()

    def onRunShown(self, run: Path | None) -> None:
        """Shows what a training has achieved. Called also when it has ended."""
        self.outcomePanel.show(run)
        self.planPanel.refresh()

    def onContinueFrom(self, run: Path) -> None:
        """Plans a training that goes on from a run's student."""
        try:
            self.planPanel.continue_from(run)
        except HLFDError as error:
            self.showProblem(str(error))
            return
        self.ui.planCollapsibleButton.collapsed = False
        if not self.ui.messageLabel.text:  # What came up meanwhile, as with the patients of that training, stays.
            sentence = _("The plan now goes on from '{name}'. Press Train.")
            self.showProblem(sentence.format(name=run_name(run)))

    def askDevices(self) -> None:
        """Asks HLFD Segmentation's worker once where networks can run, where what that needs is installed."""
        if not self._askedDevices and not missing_packages():
            self._askedDevices = True
            ask_devices(self.onDevices, self.onDevicesUnknown)

    def onDevices(self, answer: DevicesResult) -> None:
        """Offers the devices of this computer, where the panel is still there."""
        if not self._closed:
            self.planPanel.show_devices([(device.name, device.title) for device in answer.devices])

    def onDevicesUnknown(self, sentence: str) -> None:
        """They are asked for again when the module is entered again; the automatic choice is there all the same."""
        self._askedDevices = False

    def showProblem(self, sentence: str) -> None:
        """Shows what happened and what to do about it; "" takes it away."""
        show_message(self.ui.messageLabel, sentence)

    def _handOn(self) -> None:
        """Hands the task to the cases and the folder to the trainings, where they have changed."""
        if not self._parameterNode:
            return
        task, folder = self.planPanel.task, self.planPanel.runs_folder
        if task and task != self._shownTask:
            self._shownTask = task
            self.trainingStart.forget()
            self.casesPanel.set_task(task)
        if folder != self._shownFolder:
            self._shownFolder = folder
            self.trainingStart.forget()
            remove_abandoned(folder)
            self.trainingPanel.set_folder(folder)
        self.trainingStart.follow_plan()
        sources = self.planPanel.given_weights
        if sources != self._shownSources:
            self._shownSources = sources
            self._keepParts(sources)

    def _keepParts(self, sources: tuple[str, str]) -> None:
        """Whom student or teacher have learned from stays in the part of the split that they were in."""
        try:
            self.casesPanel.keep_parts(parts_met(sources))
        except HLFDError as error:
            self.showProblem(str(error))


class HLFDTrainingLogic(ScriptedLoadableModuleLogic):
    """Trains without the panel: in scripts, also with --no-main-window.

    >>> from HLFDTraining import HLFDTrainingLogic
    >>> training = HLFDTrainingLogic().startTraining("/data/cases", {"task": "liver-tumor"}, "/data/trainings/first")
    >>> training.state.name, training.state.sentence

    A training is a process of its own: it goes on when Slicer is closed, and is found again by its folder.
    """

    def getParameterNode(self) -> HLFDTrainingParameterNode:
        """The scene's parameter node, with types."""
        return HLFDTrainingParameterNode(super().getParameterNode())

    def installPackages(self) -> None:
        """Asks for and installs the Python packages that training needs. Raises PackagesMissingError."""
        ensure_packages()

    def startTraining(
        self,
        cases: str | Path,
        plan: TrainingPlan | Mapping[str, Any],
        runFolder: str | Path,
        split: Split | None = None,
        name: str = "",
    ) -> TrainingProcess:
        """Checks the cases, which takes some seconds for each, starts a training and comes back.

        Args:
            cases: folder with annotated cases, or a cases.json (docs/cases.md).
            plan: a TrainingPlan, or what it is made of; "task" may also be the name or file of a task.
            runFolder: new folder of the run; nothing else may be in it.
            split: of the cases; without it, they are divided by patient, and where the plan goes on from the student
                of an earlier run, its patients stay where they were.
            name: what the user reads.

        Raises:
            HLFDError: why nothing was started.
        """
        require_packages()
        # They read the files with SimpleITK, and the weights with torch.
        from HLFDTrainingLib.annotations.case_check import check_cases, first_error
        from HLFDTrainingLib.runs.given_weights import check_judged, check_plan

        run = RunFolder(Path(runFolder))
        check_unused(run.path)
        plan = plan if isinstance(plan, TrainingPlan) else _planFrom(plan)
        check_plan(plan)
        found = find_cases(Path(cases), plan.task)
        split = split or split_for(plan, found)
        check_judged(plan, split)
        if wrong := first_error(check_cases(found, plan.task, split=split)):
            raise CasesError(wrong)
        start_run(run, plan, found, split)
        if name:
            rename_run(run.path, name)
        return self.continueTraining(run.path)

    def continueTraining(self, run: str | Path) -> TrainingProcess:
        """Goes on with a training from where it stopped, and comes back at once. Raises HLFDError."""
        return start_trainer(Path(run))

    def stop(self, run: str | Path) -> None:
        """Asks a training to keep what it has learned and to end; nothing happens where none is under way."""
        TrainingProcess(run).stop()

    def trainings(self, folder: str | Path) -> list[RunRow]:
        """The trainings in a folder and their states, the one that changed last first. Raises HLFDError."""
        return list_runs(folder)


def _planFrom(data: Mapping[str, Any]) -> TrainingPlan:
    task = data.get("task", "")
    return TrainingPlan.from_dict({**data, "task": task if isinstance(task, dict) else load_task(task).to_dict()})


class HLFDTrainingTest(ScriptedLoadableModuleTest):
    """Runs in Slicer: cases of the scene come into the table, and what cannot be trained is refused."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **kwargs: Any) -> None:
        """Everything, in an empty scene."""
        self.setUp()
        self.test_panel()
        self.setUp()
        self.test_refusals()

    def test_panel(self) -> None:
        """Without cases the panel says what is missing; the plan is one that `hlfd train` takes."""
        slicer.util.selectModule("HLFDTraining")
        # A panel that is open already takes the parameter node of the emptied scene only now.
        slicer.app.processEvents()
        widget = slicer.modules.HLFDTrainingWidget
        self.assertFalse(widget.ui.trainButton.isEnabled())
        self.assertTrue(widget.ui.trainHintLabel.text)
        plan = widget.planPanel.plan()
        self.assertEqual(plan.method, "hlfd")
        self.delayDisplay("Passed")

    def test_refusals(self) -> None:
        """What cannot be trained is refused with a sentence."""
        with self.assertRaises(HLFDError):
            HLFDTrainingLogic().continueTraining(Path(slicer.app.temporaryPath) / "no training")
