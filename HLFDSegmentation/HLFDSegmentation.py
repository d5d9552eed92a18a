"""HLFD Segmentation: a CT is segmented by a small network, and what each of its layers looks at is read."""

# ruff: noqa: N802, N803, N806, N815, Slicer names methods and parameters in camelCase.

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest import SkipTest

import slicer
import vtk
from HLFDSegmentationLib.errors import HLFDError, InputError
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.output.private_folder import remove_tree
from HLFDSegmentationLib.slicer_panels.slicer_comparison import register_layout
from HLFDSegmentationLib.slicer_panels.slicer_model_panel import ModelPanel
from HLFDSegmentationLib.slicer_panels.slicer_result_panel import ResultPanel
from HLFDSegmentationLib.slicer_panels.slicer_review_panel import ReviewPanel
from HLFDSegmentationLib.slicer_panels.slicer_run_panel import RunPanel
from HLFDSegmentationLib.slicer_panels.slicer_scene_care import look_after
from HLFDSegmentationLib.slicer_scene.slicer_ct import problem_with
from HLFDSegmentationLib.slicer_scene.slicer_readings import Readings
from HLFDSegmentationLib.slicer_scene.slicer_report import report_request
from HLFDSegmentationLib.slicer_scene.slicer_results import show_alone
from HLFDSegmentationLib.slicer_scene.slicer_run import SegmentationRun
from HLFDSegmentationLib.slicer_scene.slicer_sample_data import load_generated_ct, register_sample_data
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult
from HLFDSegmentationLib.slicer_scene.slicer_watch import ResultWatch
from HLFDSegmentationLib.slicer_scene.slicer_worker import Ending, Question, close_shared_worker, ignore, shared_worker
from HLFDSegmentationLib.slicer_tools.slicer_decimal_comma import DecimalComma
from HLFDSegmentationLib.slicer_tools.slicer_file_dialog import ask_for_file
from HLFDSegmentationLib.slicer_tools.slicer_later import later
from HLFDSegmentationLib.slicer_tools.slicer_message import show_message
from HLFDSegmentationLib.slicer_tools.slicer_packages import ensure_packages, missing_packages, require_packages
from HLFDSegmentationLib.slicer_tools.slicer_reload import forget_libraries, reload_where_open
from HLFDSegmentationLib.slicer_tools.slicer_scene_widget import SceneWidgetMixin
from HLFDSegmentationLib.slicer_tools.slicer_shown_volumes import shown_volumes
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class HLFDSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("HLFD Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The HLFD developers"]
        parent.helpText = _(
            "Segments liver, kidneys and their tumors in CT with a small distilled network, and shows for each of its "
            "layers what it looks at. For research use only; not for diagnosis. Nothing is uploaded: your images stay "
            "on this computer.<p>Load a CT, press Segment, then walk through the layers under Attention review. "
            "Sample Data has a generated CT to try it with. The tutorial is docs/slicer_segmentation.md in HLFD's "
            "repository.</p>"
        )
        parent.acknowledgementText = _(
            "If you use HLFD, cite: Gorade V., Mittal S., Jha D., Bagci U.: <i>Rethinking Intermediate Layers Design "
            "in Knowledge Distillation for Kidney and Liver Tumor Segmentation</i>. ISBI 2024. "
            "<a href='https://doi.org/10.1109/ISBI56570.2024.10635141'>doi:10.1109/ISBI56570.2024.10635141</a>"
        )
        icon = Path(self.resourcePath("Icons/HLFDSegmentation.svg"))
        slicer.app.connect("startupCompleted()", lambda: register_sample_data(icon))
        # Scenes are loaded and results deleted also where the panel was never opened.
        slicer.app.connect("startupCompleted()", lambda: look_after(slicer.mrmlScene))


@parameterNodeWrapper
class HLFDSegmentationParameterNode:
    """What the user chose; it is saved with the scene."""

    inputVolume: vtkMRMLScalarVolumeNode
    model: str = ""
    device: str = "auto"
    roi: vtkMRMLMarkupsROINode
    outputSegmentation: vtkMRMLSegmentationNode
    attention: bool = True
    probabilities: bool = False
    useTumorThreshold: bool = False
    tumorThreshold: Annotated[float, WithinRange(0.05, 0.95)] = 0.5
    result: vtkMRMLSegmentationNode
    comparedResult: vtkMRMLSegmentationNode
    segment: str = ""
    layer: str = ""
    showMap: bool = False
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.2
    colorMap: str = ""
    signed: bool = False
    legend: bool = True


class HLFDSegmentationWidget(ScriptedLoadableModuleWidget, SceneWidgetMixin):
    """The panel. Its parts lie in HLFDSegmentationLib; here they are joined to the parameter node and to the scene."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        SceneWidgetMixin.__init__(self)
        self.resultWatch = ResultWatch(self.showResult)

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HLFDSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = HLFDSegmentationLogic()
        register_layout(slicer.mrmlScene)
        self.showProblem("")
        self.modelPanel = ModelPanel(self.ui, self.onModelChosen, self.showProblem)
        self.runPanel = RunPanel(self.ui, self.logic, self.modelPanel, self.showProblem, self.showNews)
        self.reviewPanel = ReviewPanel(self.ui, self.showProblem)
        self.resultPanel = ResultPanel(self.ui, self.reviewPanel.jump_to)
        self.ui.exportReportButton.connect("clicked(bool)", self.onExportReport)
        sliders = self.ui.tumorThresholdSlider, self.ui.opacitySlider, self.ui.thresholdSlider
        self.decimalCommas = [DecimalComma(slider) for slider in sliders]
        for name, selector in self.nodeSelectors().items():
            selector.connect("nodeActivated(vtkMRMLNode*)", partial(self.onNodeActivated, name))

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.observeScene()

    def cleanup(self) -> None:
        """Called when the module is reloaded or unloaded, and when Slicer ends."""
        self.leaveScene()
        self.runPanel.cancel()
        close_shared_worker()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.modelPanel.refresh()
        self.runPanel.warm_up()

    def exit(self) -> None:
        """Called each time the user opens another module. What the views show stays."""
        self.disconnectParameterNode()

    def onReload(self) -> None:
        """Reloads the libraries together with the module, and the other module that shares them."""
        forget_libraries()
        ScriptedLoadableModuleWidget.onReload(self)
        reload_where_open("HLFDTraining")

    def isAtWork(self) -> bool:
        """Whether a CT or a result is chosen."""
        return bool(self._parameterNode.inputVolume or self._parameterNode.result)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: Any, event: str, node: slicer.vtkMRMLNode) -> None:
        """Called just before a node is deleted.

        A node selector of an open panel goes on to another node, which nobody has chosen, when its own is deleted. It
        observes the same event with a lower priority.
        """
        if not self._parameterNode:
            return
        isShown = self.shownResult is not None and self.shownResult.ct is node
        chosen = [name for name in self.nodeSelectors() if self._parameterNode.getValue(name) is node]
        for name in chosen:
            setattr(self._parameterNode, name, None)
        if chosen or isShown:
            later(self.onNodeRemoved)

    def onNodeRemoved(self) -> None:
        """Called when a node that was chosen, or the shown result's CT, is deleted; the panel may be gone by then."""
        if self._parameterNode:
            self.showResult()

    def initializeParameterNode(self) -> None:
        """Takes the scene's parameter node; makes one where there is none."""
        super().initializeParameterNode()
        if not self._parameterNode.inputVolume and (volume := _volumeToSegment()):
            self._parameterNode.inputVolume = volume

    def setParameterNode(self, parameterNode: HLFDSegmentationParameterNode | None) -> None:
        """Shows a parameter node in the panel and follows its changes; None ends that."""
        super().setParameterNode(parameterNode)
        for panel in (self.runPanel, self.resultPanel, self.reviewPanel):
            panel.attach(parameterNode)
        self.resultWatch.follow(self.shownResult)
        if parameterNode:
            self.modelPanel.choose(parameterNode.model)

    def onParametersModified(self, caller: Any = None, event: str | None = None) -> None:
        """Makes the panel follow the parameter node."""
        self.runPanel.refresh()
        self.showResult()

    @property
    def shownResult(self) -> SceneResult | None:
        """The result that the panel shows."""
        return SceneResult.of(self._parameterNode.result) if self._parameterNode else None

    def showResult(self) -> None:
        """Makes table, notes and attention follow the shown result, and the CT under it."""
        self.resultWatch.follow(self.shownResult)
        self.resultPanel.refresh()
        self.reviewPanel.refresh()

    def nodeSelectors(self) -> dict[str, Any]:
        """The selectors of nodes by their parameter."""
        return {
            "inputVolume": self.ui.inputSelector,
            "roi": self.ui.roiSelector,
            "outputSegmentation": self.ui.outputSelector,
            "result": self.ui.resultSelector,
            "comparedResult": self.ui.compareSelector,
        }

    def onNodeActivated(self, name: str, node: slicer.vtkMRMLNode | None) -> None:
        """Keeps a chosen node: with Qt 6 Slicer's connection hears nothing where it has the name of the one before."""
        if not self._parameterNode or self.isShowingParameters:
            return
        self.showProblem("")  # What was told was about what was chosen before.
        setattr(self._parameterNode, name, node)
        if name == "result" and (result := SceneResult.of(node)):
            self.runPanel.show(result)
            show_alone(result)

    def onModelChosen(self, name: str) -> None:
        """Keeps the chosen model in the parameter node."""
        if self._parameterNode:
            self._parameterNode.model = name
            self.runPanel.refresh()

    def onExportReport(self, clicked: bool) -> None:
        """Asks where to, and writes the report of the shown result."""
        result = self.shownResult
        try:
            ensure_packages(self.showNews)
            self.showProblem("")
            self.runPanel.refresh()
        except HLFDError as error:
            self.showProblem(str(error))
            return
        path = ask_for_file(_("Export the report"), "report.html", _("Web page (*.html)"))
        if not path or not result:
            return
        button = self.ui.exportReportButton

        def end(show: Callable[[str], None], sentence: str) -> None:
            button.setEnabled(True)
            show(sentence)

        button.setEnabled(False)
        self.showNews(_("The report is being written…"))
        try:
            self.logic.exportReport(
                result,
                path,
                lambda file: end(self.showNews, _("The report is written: {file}").format(file=file)),
                partial(end, self.showProblem),
                wait=False,
            )
        except HLFDError as error:
            end(self.showProblem, str(error))
        except Exception:
            logging.exception("HLFD: the report could not be written")
            end(
                self.showProblem,
                _("The report could not be written because of a mistake in the program. View > Error Log tells more."),
            )

    def showProblem(self, sentence: str) -> None:
        """Shows what happened and what to do about it; "" takes it away."""
        show_message(self.ui.messageLabel, sentence)

    def showNews(self, sentence: str) -> None:
        """Shows what goes on, or went well."""
        show_message(self.ui.messageLabel, sentence, is_news=True)


def _volumeToSegment() -> vtkMRMLScalarVolumeNode | None:
    """The volume that the views show, else the first one that a user sees: attention maps are volumes, too."""
    volumes = [*shown_volumes(slicer.mrmlScene), *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    return next((volume for volume in volumes if not problem_with(volume) and not volume.GetHideFromEditors()), None)


class HLFDSegmentationLogic(ScriptedLoadableModuleLogic):
    """Segments without the panel: in scripts, also with --no-main-window.

    >>> from HLFDSegmentation import HLFDSegmentationLogic
    >>> result = HLFDSegmentationLogic().segment(slicer.util.getNode("CT"), attention=True)
    >>> result.segments, result.layers, result.measures_table
    """

    def getParameterNode(self) -> HLFDSegmentationParameterNode:
        """The scene's parameter node, with types."""
        return HLFDSegmentationParameterNode(super().getParameterNode())

    def installPackages(self) -> None:
        """Asks for and installs the Python packages that segmenting needs. Raises PackagesMissingError."""
        ensure_packages()

    def segment(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        model: str | Path | None = None,
        attention: bool = False,
        device: str = "auto",
        tumorThreshold: float | None = None,
        roi: vtkMRMLMarkupsROINode | None = None,
        outputSegmentation: vtkMRMLSegmentationNode | None = None,
        probabilities: bool = False,
        allowNotHU: bool = False,
        onProgress: Callable[[str, float, float | None], None] | None = None,
        onNotHU: Callable[[str], None] | None = None,
        onFinished: Callable[[SceneResult], None] | None = None,
        onError: Callable[[str], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
        wait: bool = True,
    ) -> SceneResult | SegmentationRun | None:
        """Segments a CT, and adds the result to the scene.

        Args:
            volumeNode: the CT in HU. It is not changed.
            model: name of an installed model, or folder of a package; without it, the one that ships with HLFD.
            attention: also make the attention maps of every layer.
            device: "auto" (the fastest), "cpu", "cuda", "cuda:N" or "mps".
            tumorThreshold: a voxel is tumor from this probability on; without it, where tumor is the most likely label.
            roi: segment only the box of voxels around this region of interest.
            outputSegmentation: add the segments to this segmentation; without it, a new one is made.
            probabilities: also make the probability maps.
            allowNotHU: segment an image that does not look like CT in HU all the same; the result is marked.
            onProgress: called with the phase, the share that is done (0 to 1), and the seconds left (None: not known).
            onNotHU: called with a sentence where the image does not look like CT in HU; the run then waits for
                `go_on` or `cancel`. Without it, such a run fails.
            onFinished: called with the result.
            onError: called with a sentence.
            onCancelled: called when the run was cancelled, or the CT or the scene was closed meanwhile.
            wait: come back when the run has ended; Slicer goes on drawing meanwhile.

        Returns:
            With `wait`, the result, None where the run was cancelled; without it, the run, whose `cancel` ends it.

        Raises:
            HLFDError: why nothing was segmented. Without `wait`, only what can be told at once; the rest goes to
                `onError`.
        """
        require_packages()
        if problem := problem_with(volumeNode):
            raise InputError(problem)
        if wait and slicer.mrmlScene.IsBatchProcessing():
            # A run stands still while others are in the middle of changing the scene.
            raise InputError(
                _(
                    "Within a batch of changes to the scene (StartState), the end of a segmentation cannot be waited "
                    "for. End the batch first, or use wait=False."
                )
            )
        end = Ending()
        worker = shared_worker()
        run = SegmentationRun(
            worker.desk(),
            volumeNode,
            model=find_package(model).path,
            device=device,
            tumor_threshold=tumorThreshold,
            attention=attention,
            probabilities=probabilities,
            roi_node=roi,
            output_node=outputSegmentation,
            allow_not_hu=allowNotHU,
            on_progress=onProgress or ignore,
            on_not_hu=onNotHU,
            on_finished=end.good(onFinished),
            on_failed=end.bad(onError),
            on_cancelled=onCancelled or ignore,
        )
        worker.add(run)
        return end.wait(worker, run) if wait else run

    def exportReport(
        self,
        result: SceneResult,
        path: str | Path,
        onFinished: Callable[[str], None] | None = None,
        onError: Callable[[str], None] | None = None,
        wait: bool = True,
    ) -> str | None:
        """Writes the self-contained HTML report of a result, with the readings that were made.

        Args:
            result: what `segment` gave, or `SceneResult.of` a segmentation node. Its CT must be in the scene.
            path: the HTML file.
            onFinished: called with the path of the file.
            onError: called with a sentence.
            wait: come back when it is written, with its path; Slicer goes on drawing meanwhile.

        Raises:
            HLFDError: why it was not written; see `segment`.
        """
        require_packages()
        end = Ending()
        worker = shared_worker()
        desk = worker.desk()
        folder = desk.private_folder()
        try:
            with slicer.util.WaitCursor():
                request = report_request(result, Readings(result).all(), Path(path).absolute(), folder)
        except BaseException:
            # Also when the user interrupts: nothing of the patient's may stay in the temporary folder.
            remove_tree(folder)
            raise
        question = Question(
            desk,
            request,
            lambda answer: (remove_tree(folder), end.good(onFinished)(answer.file)),
            lambda sentence: (remove_tree(folder), end.bad(onError)(sentence)),
        )
        worker.add(question)
        return end.wait(worker, question) if wait else None


class HLFDSegmentationTest(ScriptedLoadableModuleTest):
    """Runs in Slicer: the generated CT is segmented, and its attention is walked through."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **kwargs: Any) -> None:
        """Everything, in an empty scene."""
        self.setUp()
        try:
            self.test_segmentAndReview()
        except SkipTest as reason:
            # The "Test" button would show it as a failure.
            self.delayDisplay(str(reason))
        self.setUp()
        self.test_refusals()

    def test_segmentAndReview(self) -> None:
        """From the CT to the last layer, through the logic and the panel."""
        if missing_packages():
            self.skipTest("PyTorch is not installed here. HLFD Segmentation installs it on first use, after asking.")
        self.delayDisplay("Segmenting the generated CT")
        ct = load_generated_ct()
        result = HLFDSegmentationLogic().segment(ct, attention=True)
        self.assertIn("liver", result.segments)
        self.assertEqual(result.layers[0], "encoder1")
        self.assertEqual(result.layers[-1], "decoder2")
        self.assertIs(result.ct, ct)
        self.assertGreater(result.measures_table.GetNumberOfRows(), 0)

        self.delayDisplay("Walking through the layers")
        slicer.util.selectModule("HLFDSegmentation")
        widget = slicer.modules.HLFDSegmentationWidget
        parameters = widget.logic.getParameterNode()
        parameters.result = result.node
        parameters.showMap = True
        for index, layer in enumerate(result.layers):
            widget.ui.layerSlider.value = index
            self.assertEqual(parameters.layer, layer)
            composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
            shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
            self.assertIs(shown, result.map_node(parameters.segment, layer))
        parameters.showMap = False
        self.delayDisplay("Passed")

    def test_refusals(self) -> None:
        """What cannot be segmented is refused with a sentence."""
        with self.assertRaises(HLFDError):
            HLFDSegmentationLogic().segment(None)
