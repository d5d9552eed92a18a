"""The stand-in Slicer itself: its scene, files, views, message boxes and module loading behave as Slicer's do."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MODULE_FILE = """
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

SEEN = []


class Counting(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Counting")
        slicer.app.connect("startupCompleted()", lambda: SEEN.append("started"))


class CountingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = CountingLogic()
        self.button = qt.QPushButton("Count")
        self.button.connect("clicked(bool)", self.onCount)
        self.layout.addWidget(self.button)
        SEEN.append("set up")

    def onCount(self, checked=False):
        with slicer.util.tryWithErrorDisplay("Counting failed."):
            self.logic.count()

    def enter(self):
        SEEN.append("entered in sight" if self.button.visible else "entered")

    def exit(self):
        SEEN.append("left")

    def cleanup(self):
        self.removeObservers()
        SEEN.append("cleaned up")


class CountingLogic(ScriptedLoadableModuleLogic):
    def count(self):
        raise ValueError("there is nothing to count")


class CountingTest(ScriptedLoadableModuleTest):
    def test_something(self):
        SEEN.append("tested")
"""


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    path = tmp_path / "Counting" / "Counting.py"
    path.parent.mkdir()
    path.write_text(MODULE_FILE, encoding="utf-8")
    return path


def add_volume(slicer, name: str, voxels: np.ndarray, spacing=(1.0, 1.0, 1.0)):
    node = slicer.util.addVolumeFromArray(voxels, name=name)
    node.SetSpacing(*spacing)
    node.CreateDefaultDisplayNodes()
    return node


def add_segmentation(slicer, ct, labels: np.ndarray):
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(labelmap, labels)
    labelmap.CopyOrientation(ct)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labelmap, segmentation)
    slicer.mrmlScene.RemoveNode(labelmap)
    return segmentation


def ball(shape: tuple[int, int, int], center: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices(shape)
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, center)) <= radius**2


# ---- scene and files


def test_each_test_has_a_fresh_scene(slicer_shell):
    scene = slicer_shell.mrmlScene
    add_volume(slicer_shell, "ct", np.zeros((4, 5, 6), np.int16))
    layout = slicer_shell.app.layoutManager().layoutLogic().GetLayoutNode()
    layout.AddLayoutDescription(
        901, '<layout><item><view class="vtkMRMLSliceNode" singletontag="Extra"/></item></layout>'
    )
    slicer_shell.app.layoutManager().setLayout(901)
    slicer_shell.app.layoutManager().sliceWidget("Red").mrmlSliceNode().SetSliceOffset(17)
    from slicer_shell.scene import clear_scene

    clear_scene()
    assert slicer_shell.mrmlScene is scene
    assert not slicer_shell.util.getNodesByClass("vtkMRMLVolumeNode")
    assert set(slicer_shell.app.layoutManager().sliceViewNames()) == {"Red", "Yellow", "Green"}
    assert slicer_shell.app.layoutManager().layout == layout.SlicerLayoutFourUpView
    assert slicer_shell.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset() == 0


@pytest.mark.parametrize("ending", ["nrrd", "nii.gz", "mha"])
def test_a_volume_comes_back_from_its_file(slicer_shell, tmp_path, ending):
    voxels = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)
    ct = add_volume(slicer_shell, "ct", voxels, (0.7, 0.8, 2.5))
    assert slicer_shell.util.saveNode(ct, str(tmp_path / f"ct.{ending}"), {})
    loaded = slicer_shell.util.loadVolume(str(tmp_path / f"ct.{ending}"), {"name": "again"})
    assert loaded.GetName() == "again"
    assert (slicer_shell.util.arrayFromVolume(loaded) == voxels).all()
    assert np.allclose(loaded.GetSpacing(), (0.7, 0.8, 2.5))


def test_a_file_that_does_not_exist_is_an_error(slicer_shell, tmp_path):
    with pytest.raises(RuntimeError, match="does not exist"):
        slicer_shell.util.loadVolume(str(tmp_path / "nothing.nrrd"), {})


def test_a_segmentation_comes_back_from_its_file(slicer_shell, tmp_path):
    labels = ball((12, 20, 20), (6, 10, 10), 4).astype(np.uint8)
    ct = add_volume(slicer_shell, "ct", np.zeros(labels.shape, np.int16), (1, 1, 3))
    segmentation = add_segmentation(slicer_shell, ct, labels)
    segment_id = segmentation.GetSegmentation().GetNthSegmentID(0)
    assert (slicer_shell.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, ct) == labels).all()
    assert slicer_shell.util.saveNode(segmentation, str(tmp_path / "s.seg.nrrd"), {})
    loaded = slicer_shell.util.loadSegmentation(str(tmp_path / "s.seg.nrrd"), {"name": "again"})
    assert loaded.GetName() == "again"
    assert loaded.GetSegmentation().GetNumberOfSegments() == 1


def test_a_saved_scene_comes_back(slicer_shell, tmp_path):
    voxels = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    ct = add_volume(slicer_shell, "ct", voxels)
    table = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "measures")
    slicer_shell.util.updateTableFromArray(table, [np.arange(3.0)], ["volume"])
    logic = slicer_shell.ScriptedLoadableModule.ScriptedLoadableModuleLogic()
    logic.getParameterNode().SetParameter("threshold", "0.5")
    logic.getParameterNode().SetNodeReferenceID("input", ct.GetID())
    assert slicer_shell.util.saveScene(str(tmp_path / "scene.mrb"), {})

    slicer_shell.mrmlScene.Clear(False)
    assert slicer_shell.mrmlScene.GetFirstNodeByName("ct") is None
    slicer_shell.util.loadScene(str(tmp_path / "scene.mrb"), {})

    assert (slicer_shell.util.arrayFromVolume(slicer_shell.util.getNode("ct")) == voxels).all()
    assert list(slicer_shell.util.arrayFromTableColumn(slicer_shell.util.getNode("measures"), "volume")) == [0, 1, 2]
    assert logic.getParameterNode().GetParameter("threshold") == "0.5"
    assert logic.getParameterNode().GetNodeReference("input").GetName() == "ct"
    hierarchy = slicer_shell.mrmlScene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemByDataNode(slicer_shell.util.getNode("ct"))


def test_the_subject_hierarchy_follows_the_scene(slicer_shell):
    hierarchy = slicer_shell.mrmlScene.GetSubjectHierarchyNode()
    ct = add_volume(slicer_shell, "ct", np.zeros((4, 4, 4), np.int16))
    assert hierarchy.GetItemOwnerPluginName(hierarchy.GetItemByDataNode(ct)) == "Volumes"
    hidden = slicer_shell.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(True)
    slicer_shell.mrmlScene.AddNode(hidden)
    assert not hierarchy.GetItemByDataNode(hidden)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)
    slicer_shell.mrmlScene.RemoveNode(ct)
    assert hierarchy.GetNumberOfItemChildren(study) == 0


def test_closing_the_scene_resets_the_parameter_node_and_keeps_it(slicer_shell):
    logic = slicer_shell.ScriptedLoadableModule.ScriptedLoadableModuleLogic()
    node = logic.getParameterNode()
    node.SetParameter("threshold", "0.5")
    slicer_shell.mrmlScene.Clear(False)
    assert logic.getParameterNode() is node
    assert node.GetParameter("threshold") == ""
    assert len(logic.getAllParameterNodes()) == 1


# ---- views


def test_a_slice_view_shows_background_foreground_segmentation_and_legend(slicer_shell, slice_views):
    ct = add_volume(slicer_shell, "ct", np.full((10, 64, 64), 40, np.int16))
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevelMinMax(0, 80)
    heat = np.zeros((10, 64, 64), np.float32)
    heat[:, 8:24, 8:24] = 1
    heat_map = add_volume(slicer_shell, "map", heat)
    display = heat_map.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRed")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetApplyThreshold(True)
    display.SetLowerThreshold(0.5)
    slicer_shell.util.setSliceViewerLayers(background=ct, fit=True)
    plain = slice_views.render_slice_view("Red").astype(int)
    middle = plain[60:260, 60:260]
    assert abs(middle - 127).max() <= 2, "the CT fills the view in the gray of its window"

    slicer_shell.util.setSliceViewerLayers(foreground=heat_map, foregroundOpacity=0.5)
    colored = slice_views.render_slice_view("Red").astype(int)
    red = colored[..., 0] - colored[..., 1] > 40
    assert 0.04 < red.mean() < 0.09, "the map covers a sixteenth of the view, and below its threshold nothing"
    rows, columns = np.nonzero(red)
    # Right and anterior of the patient are at the left and the top of an axial view, and the map lies low on both axes.
    assert columns.min() > 160
    assert rows.min() > 160

    segmentation = add_segmentation(slicer_shell, ct, ball((10, 64, 64), (5, 44, 44), 9).astype(np.uint8))
    segmentation.GetSegmentation().GetNthSegment(0).SetColor(0, 1, 0)
    slicer_shell.app.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSliceByOffsetting(44, 44, 5)
    segmented = slice_views.render_slice_view("Red").astype(int)
    green = segmented[..., 1] - segmented[..., 0] > 30
    assert green[:160, :160].any()
    assert not green[160:, 160:].any()

    legend = slicer_shell.modules.colors.logic().AddDefaultColorLegendDisplayNode(heat_map)
    with_legend = slice_views.render_slice_view("Red").astype(int)
    assert (with_legend != segmented).any(axis=2).sum() > 500
    legend.SetVisibility(False)
    assert (slice_views.render_slice_view("Red") == segmented).all()


def test_a_legend_older_than_the_view_is_drawn_too(slicer_shell, slice_views):
    layout = slicer_shell.app.layoutManager().layoutLogic().GetLayoutNode()
    layout.AddLayoutDescription(
        902, '<layout><item><view class="vtkMRMLSliceNode" singletontag="New"/></item></layout>'
    )
    ct = add_volume(slicer_shell, "ct", np.zeros((4, 16, 16), np.int16))
    legend = slicer_shell.modules.colors.logic().AddDefaultColorLegendDisplayNode(ct)
    slicer_shell.app.layoutManager().setLayout(902)
    slicer_shell.util.setSliceViewerLayers(background=ct, fit=True)
    with_legend = slice_views.render_slice_view("New")
    legend.SetVisibility(False)
    assert (with_legend != slice_views.render_slice_view("New")).any(axis=2).sum() > 500


def test_a_markup_is_drawn(slicer_shell, slice_views):
    ct = add_volume(slicer_shell, "ct", np.zeros((9, 32, 32), np.int16))
    slicer_shell.util.setSliceViewerLayers(background=ct, fit=True)
    slicer_shell.app.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSliceByOffsetting(16, 16, 4)
    before = slice_views.render_slice_view("Red")
    point = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "lesion")
    point.CreateDefaultDisplayNodes()
    point.AddControlPoint(16, 16, 4)
    assert (slice_views.render_slice_view("Red") != before).any()


def test_a_custom_layout_brings_its_views(slicer_shell):
    manager = slicer_shell.app.layoutManager()
    changes = []
    manager.connect("layoutChanged(int)", changes.append)
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(
        903,
        """<layout type="horizontal">
        <item><view class="vtkMRMLSliceNode" singletontag="Left">
            <property name="orientation" action="default">Coronal</property></view></item>
        <item><view class="vtkMRMLPlotViewNode" singletontag="Plot"/></item></layout>""",
    )
    manager.setLayout(903)
    assert changes == [903]
    assert manager.shown_views() == ["Left", "Plot"]
    assert manager.sliceWidget("Left").mrmlSliceNode().GetOrientation() == "Coronal"
    assert manager.plotWidget(0).mrmlPlotViewNode().GetLayoutName() == "Plot"
    logic = slicer_shell.app.applicationLogic().GetSliceLogicByLayoutName("Left")
    assert logic is manager.sliceWidget("Left").sliceLogic()
    assert manager.sliceWidget("Nowhere") is None


def test_a_chart_is_drawn_from_its_table_with_a_caption(slicer_shell, slice_views):
    from slicer_shell import plots

    table = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "focus")
    slicer_shell.util.updateTableFromArray(table, [np.arange(5.0), np.array([1, 4, 2, 8, 5.0])], ["layer", "focus"])
    series = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "focus")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("layer")
    series.SetYColumnName("focus")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetColor(0, 0, 1)
    series.SetLineWidth(4)
    chart = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    empty = plots.draw_chart(chart).astype(int)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    drawn = plots.draw_chart(chart).astype(int)
    blue = (drawn[..., 2] - drawn[..., 0]) > 100
    assert blue.sum() > 300
    assert not ((empty[..., 2] - empty[..., 0]) > 100).any()
    assert (drawn[-20:, :260] < 200).any(), "the caption is at the bottom"
    series.SetYColumnName("nothing")
    with pytest.raises(ValueError, match="no numbers in column 'nothing'"):
        plots.draw_chart(chart)


def test_screenshots_go_to_the_folder_that_is_asked_for(slicer_shell, slice_views, tmp_path, monkeypatch):
    import qt
    from slicer_shell import screenshots

    monkeypatch.setenv("HLFD_SCREENSHOTS", str(tmp_path / "pictures"))
    ct = add_volume(slicer_shell, "ct", np.zeros((4, 16, 16), np.int16))
    slicer_shell.util.setSliceViewerLayers(background=ct, fit=True)
    slice_view = slice_views.save_slice_view("Green", "green", (200, 100))
    label = screenshots.grab(qt.QLabel("hello"), "label")
    assert {slice_view.parent, label.parent} == {tmp_path / "pictures"}
    image = qt.QImage(str(slice_view))
    assert (image.width(), image.height()) == (200, 100)


# ---- application, message boxes, modules


def test_a_module_file_is_loaded_shown_left_and_unloaded(slicer_shell, module_file):
    from slicer_shell.modules import load_module_file

    module = load_module_file(module_file)
    seen = sys.modules["Counting"].SEEN
    slicer_shell.app.start_up()
    assert (module.title, seen) == ("Counting", ["started"])
    slicer_shell.util.mainWindow().show()
    slicer_shell.util.selectModule("Counting")
    widget = slicer_shell.util.getModuleWidget("Counting")
    assert widget is slicer_shell.modules.CountingWidget
    assert widget.parent.isEntered
    assert Path(widget.resourcePath("UI/x.ui")) == module_file.parent / "Resources" / "UI" / "x.ui"
    slicer_shell.app.main_window.moduleSelector().leave()
    assert not widget.parent.isEntered
    slicer_shell.selfTests["Counting"]()
    slicer_shell.app.moduleManager().unload("Counting")
    assert seen == ["started", "set up", "entered in sight", "left", "tested", "cleaned up"]
    assert not slicer_shell.app.moduleManager().isLoaded("Counting")


def test_the_user_sees_the_error_of_a_slot(slicer_shell, module_file):
    import qt
    from slicer_shell import dialogs, signals
    from slicer_shell.modules import load_module_file

    load_module_file(module_file)
    dialogs.answer(qt.QMessageBox.Ok)
    slicer_shell.util.getModuleWidget("Counting").button.click()
    assert "Counting failed.\n\nthere is nothing to count" in dialogs.shown[0]
    # tryWithErrorDisplay raises it again, which Slicer prints: the fixture would make a failure of it.
    assert "there is nothing to count" in signals.slot_errors.pop()


def test_the_user_answers_a_question(slicer_shell):
    import qt
    from slicer_shell import dialogs

    dialogs.answer(qt.QMessageBox.Cancel, qt.QMessageBox.Ok)
    assert not slicer_shell.util.confirmOkCancelDisplay("Download 2 GB?")
    assert slicer_shell.util.confirmOkCancelDisplay("Download 2 GB?")
    assert "Download 2 GB?" in dialogs.shown[1]


def test_without_main_window_errors_are_only_logged(slicer_shell, caplog):
    with slicer_shell.app.without_main_window():
        slicer_shell.util.errorDisplay("it failed")
        assert slicer_shell.app.layoutManager() is None
        assert slicer_shell.util.mainWindow() is None
    assert "it failed" in caplog.text
    assert slicer_shell.util.mainWindow() is not None


def test_sample_data_are_made_by_a_click_and_not_by_a_download(slicer_shell, tmp_path):
    import SampleData
    from slicer_shell.sample_data import click_on_sample

    made = []
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="HLFD",
        sampleName="generated",
        uris=(tmp_path / "ct.nrrd").as_uri(),
        fileNames="ct.nrrd",
        nodeNames="ct",
        customDownloader=made.append,
    )
    click_on_sample("generated")
    assert [source.sampleName for source in made] == ["generated"]
    with pytest.raises(RuntimeError):
        SampleData.downloadSample("generated")


def test_packages_are_missing_until_they_are_installed(slicer_shell):
    import importlib.metadata

    import qt
    from PyTorchUtils import PyTorchUtilsLogic
    from slicer_shell import dialogs
    from slicer_shell.packaging_stand_ins import packages

    assert slicer_shell.packaging.pip_check(["numpy>=1.26", "monai"])
    packages.absent = {"monai", "torch"}
    assert not slicer_shell.packaging.pip_check("monai")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("torch")
    dialogs.answer(qt.QMessageBox.Cancel)
    with pytest.raises(RuntimeError, match="declined"):
        slicer_shell.packaging.pip_ensure("monai>=1.5", requester="HLFD")
    dialogs.answer(qt.QMessageBox.Ok)
    slicer_shell.packaging.pip_ensure("monai>=1.5", requester="HLFD")
    dialogs.answer(qt.QMessageBox.Cancel)
    assert PyTorchUtilsLogic().installTorch(askConfirmation=True) is None
    packages.outcome = "offline"
    with pytest.raises(subprocess.CalledProcessError):
        PyTorchUtilsLogic().installTorch()
    packages.outcome = "works"
    assert PyTorchUtilsLogic().installTorch(torchVersionRequirement=">=2.10").__name__ == "torch"
    assert packages.installed == ["monai>=1.5", "torch", "torch>=2.10"]


def test_what_slots_and_observers_raise_and_unexpected_dialogs_fail_a_test(tmp_path):
    (tmp_path / "test_bad.py").write_text(
        """
def test_slot(slicer_shell):
    slicer_shell.app.connect("aboutToQuit()", lambda: 1 / 0)
    slicer_shell.app.quit()


def test_observer(slicer_shell):
    node = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: [][1])
    node.Modified()


def test_dialog(slicer_shell):
    try:
        slicer_shell.util.errorDisplay("boo")
    except Exception:
        pass


def test_answer(slicer_shell):
    from slicer_shell import dialogs

    dialogs.answer(1)


def test_good(slicer_shell):
    pass
""",
        encoding="utf-8",
    )
    (tmp_path / "conftest.py").write_text(
        "from slicer_shell.fixtures import slice_views, slicer_shell\n", encoding="utf-8"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "5 passed, 4 errors" in result.stdout
    for reason in ("ZeroDivisionError", "IndexError", "nobody expected the dialog", "no dialog came"):
        assert reason in result.stdout
