"""Two results of one CT side by side, and the user's layout and views as they were before."""

import numpy as np
import pytest
import slicer
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.slicer_panels.slicer_comparison import (
    LAYOUT,
    LEFT,
    PLOT,
    RIGHT,
    SIDES,
    Comparison,
    give_views_back,
    register_layout,
)
from HLFDSegmentationLib.slicer_panels.slicer_layer_view import LayerView
from HLFDSegmentationLib.slicer_panels.slicer_scene_care import look_after
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult
from HLFDSegmentationLib.slicer_tools.slicer_linked_views import composites_of, give_links_back, link_views
from slicer_cases import add_ct
from slicer_review_cases import SEGMENT, add_reviewed_case

pytestmark = pytest.mark.usefixtures("slicer_shell")


@pytest.fixture
def results(slicer_shell, tmp_path):
    student = add_reviewed_case(tmp_path)
    return student, add_reviewed_case(tmp_path, model="undistilled", ct=student.ct)


@pytest.fixture(params=["student first", "student second"])
def pair(results, request):
    return results if request.param == "student first" else results[::-1]


@pytest.fixture
def comparison(pair):
    made = Comparison(slicer.mrmlScene, *pair)
    yield made
    made.restore()


def layout():
    return slicer.app.layoutManager()


def widget(side):
    return layout().sliceWidget(side)


def shown(side):
    composite = widget(side).mrmlSliceCompositeNode()
    return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()


def test_each_side_shows_its_own_map_over_the_same_ct(pair, comparison):
    comparison.show(SEGMENT, "decoder3")
    assert layout().shown_views() == [LEFT, RIGHT, PLOT]
    for side, result in zip(SIDES, pair):
        assert shown(side) == (result.ct.GetID(), result.map_node(SEGMENT, "decoder3").GetID())
    comparison.show(SEGMENT, "encoder2")
    for side, result in zip(SIDES, pair):
        assert shown(side)[1] == result.map_node(SEGMENT, "encoder2").GetID()


def test_a_volume_that_is_loaded_does_not_come_between(pair, comparison, tmp_path):
    comparison.show(SEGMENT, "decoder3")
    before = [shown(side) for side in SIDES]
    assert slicer.util.saveNode(pair[0].ct, str(tmp_path / "pet.nrrd")) and slicer.util.loadVolume(
        str(tmp_path / "pet.nrrd")
    )
    assert [shown(side) for side in SIDES] == before


def test_each_layer_comes_to_both_sides_whatever_was_chosen_for_one(pair, comparison):
    """Heading and readings say whose it is."""
    comparison.show(SEGMENT, "decoder3")
    widget(LEFT).mrmlSliceCompositeNode().SetBackgroundVolumeID(add_ct(seed=1, name="MR").GetID())
    comparison.show(SEGMENT, "encoder2")
    assert shown(LEFT) == (pair[0].ct.GetID(), pair[0].map_node(SEGMENT, "encoder2").GetID())


def test_both_sides_share_one_scale(pair, comparison):
    comparison.show(SEGMENT, "decoder3")
    comparison.set(threshold=0.4, signed=True, opacity=0.7)
    displays = [result.map_node(SEGMENT, "decoder3").GetScalarVolumeDisplayNode() for result in pair]
    for display in displays:
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1.0, 1.0)
    assert displays[0].GetColorNode() is displays[1].GetColorNode()
    assert [widget(side).mrmlSliceCompositeNode().GetForegroundOpacity() for side in SIDES] == [0.7, 0.7]


def test_both_sides_keep_their_scale_when_one_is_changed(pair, comparison):
    """By Slicer's window/level tool, or by its double click with Ctrl."""
    comparison.show(SEGMENT, "decoder3")
    displays = [result.map_node(SEGMENT, "decoder3").GetDisplayNode() for result in pair]
    scales = [(display.GetWindowLevelMin(), display.GetWindowLevelMax()) for display in displays]
    displays[1].SetWindowLevel(0.3, 0.9)
    displays[1].AutoWindowLevelOn()
    slicer.app.processEvents()
    assert [(display.GetWindowLevelMin(), display.GetWindowLevelMax()) for display in displays] == scales
    assert not displays[1].GetAutoWindowLevel()


def test_both_focus_curves_are_in_the_chart_of_the_layout(pair, comparison):
    comparison.show(SEGMENT, "decoder3")
    chart = comparison.chart.chart_node
    names = [chart.GetNthPlotSeriesNode(index).GetName() for index in range(2)]
    assert names == [f"1: {pair[0].model}", f"2: {pair[1].model}"]
    plot_view = slicer.mrmlScene.GetSingletonNode(PLOT, "vtkMRMLPlotViewNode")
    assert plot_view.GetPlotChartNodeID() == chart.GetID()
    comparison.show(SEGMENT, "encoder2")
    assert comparison.chart.chart_node is chart
    assert chart.GetNthPlotSeriesNode(3).GetName() == "encoder2"


def test_moving_one_side_moves_the_other_and_no_view_of_the_user(comparison):
    red = layout().sliceWidget("Red").mrmlSliceNode()
    comparison.show(SEGMENT, "decoder3")
    offset = red.GetSliceOffset()
    logic = widget(LEFT).sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(logic.GetSliceOffset() + 8)
    logic.EndSliceOffsetInteraction()
    left, right = (widget(side).mrmlSliceNode().GetSliceOffset() for side in SIDES)
    assert left == right
    assert red.GetSliceOffset() == offset
    comparison.jump_to((-100.0, -100.0, 16.0))
    assert [widget(side).mrmlSliceNode().GetSliceOffset() for side in SIDES] == [16.0, 16.0]
    assert red.GetSliceOffset() == offset


def test_it_begins_with_the_whole_slice_that_holds_most_attention(comparison):
    comparison.show(SEGMENT, "decoder3")
    # In Slicer, new views get their size from the layout only now; in a narrow one a slice fitted before would be cut.
    for side in SIDES:
        widget(side).sliceLogic().ResizeSliceNode(200, 600)
    slicer.app.processEvents()
    left, right = (widget(side).mrmlSliceNode() for side in SIDES)
    assert left.GetSliceOffset() == right.GetSliceOffset() == pytest.approx(24.0)
    assert left.GetFieldOfView()[0] >= 320
    left.SetFieldOfView(100, 100, 1)
    comparison.show(SEGMENT, "encoder1")
    slicer.app.processEvents()
    assert left.GetFieldOfView()[0] == 100


def test_nothing_is_moved_once_another_layout_was_chosen(comparison):
    comparison.show(SEGMENT, "decoder3")
    left = widget(LEFT).mrmlSliceNode()
    offset = left.GetSliceOffset()
    layout().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.app.processEvents()
    assert left.GetSliceOffset() == offset


def test_each_segmentation_is_outlined_on_its_side_only(pair, comparison):
    comparison.show(SEGMENT, "decoder3")
    for side, result in zip(SIDES, pair):
        assert result.node.GetDisplayNode().GetViewNodeIDs() == (widget(side).mrmlSliceNode().GetID(),)
    comparison.restore()
    for result in pair:
        assert result.node.GetDisplayNode().GetViewNodeIDs() == ()


def test_the_users_layout_and_views_come_back(results, pair):
    conventional = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    layout().setLayout(conventional)
    pet = add_ct(seed=1, name="PET")
    red = layout().sliceWidget("Red")
    red.mrmlSliceCompositeNode().SetBackgroundVolumeID(results[0].ct.GetID())
    red.mrmlSliceCompositeNode().SetForegroundVolumeID(pet.GetID())
    red.mrmlSliceCompositeNode().SetForegroundOpacity(0.4)
    red.mrmlSliceNode().SetSliceOffset(7.0)
    comparison = Comparison(slicer.mrmlScene, *pair)
    comparison.show(SEGMENT, "decoder3")
    assert layout().layout == LAYOUT
    assert comparison.running
    comparison.restore()
    assert not comparison.running
    assert not red.mrmlSliceCompositeNode().GetHotLinkedControl()
    assert layout().layout == conventional
    assert shown("Red") == (results[0].ct.GetID(), pet.GetID())
    assert red.mrmlSliceCompositeNode().GetForegroundOpacity() == 0.4
    assert red.mrmlSliceNode().GetSliceOffset() == 7.0
    assert comparison.chart.chart_node is None


def test_a_scene_saved_while_comparing_shows_both_segmentations_everywhere(pair, comparison, slicer_shell, tmp_path):
    path = str(tmp_path / "scene.mrb")
    comparison.show(SEGMENT, "encoder1")
    assert slicer_shell.util.saveScene(path)
    comparison.restore()
    slicer_shell.mrmlScene.Clear(False)
    slicer_shell.util.loadScene(path)
    restricted, free = (result.node.GetDisplayNode() for result in SceneResult.all(slicer_shell.mrmlScene))
    # As it was saved, also where a module that another test has opened looks after this scene, too.
    restricted.SetViewNodeIDs([f"vtkMRMLSliceNode{SIDES[0]}"])
    free.SetViewNodeIDs(["vtkMRMLSliceNodeRed"])
    give_views_back(slicer_shell.mrmlScene)
    assert list(restricted.GetViewNodeIDs()) == []
    assert list(free.GetViewNodeIDs()) == ["vtkMRMLSliceNodeRed"]


def test_a_loaded_scene_shows_both_segmentations_everywhere_though_no_panel_was_opened(pair, comparison, tmp_path):
    look_after(slicer.mrmlScene)
    path = str(tmp_path / "scene.mrb")
    comparison.show(SEGMENT, "decoder3")
    assert slicer.util.saveScene(path)
    comparison.restore()
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path)
    assert views_of(SceneResult.all(slicer.mrmlScene)) == [[], []]


def test_slicer_starts_with_the_users_layout_where_it_was_closed_while_comparing(results, pair):
    users = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    layout().setLayout(users)
    settings = slicer.app.userSettings()
    comparison = Comparison(slicer.mrmlScene, *pair)
    comparison.show(SEGMENT, "decoder3")
    settings.setValue("MainWindow/layout", layout().layout)
    comparison.restore()
    assert int(settings.value("MainWindow/layout")) == users
    settings.setValue("MainWindow/layout", 7)
    comparison.show(SEGMENT, "decoder3")
    comparison.restore()
    assert int(settings.value("MainWindow/layout")) == 7


def test_a_segmentation_that_the_user_hid_is_seen_in_a_comparison_and_hidden_again(results):
    displays = [result.node.GetDisplayNode() for result in results]
    displays[1].SetVisibility(False)
    comparison = Comparison(slicer.mrmlScene, *results)
    comparison.show(SEGMENT, "decoder3")
    assert displays[1].GetVisibility()
    comparison.restore()
    assert displays[0].GetVisibility() and not displays[1].GetVisibility()


def test_the_users_views_are_linked_as_before_though_ours_were_linked_twice(slicer_shell):
    users = composites_of(slicer.mrmlScene)
    for composite in users:
        composite.SetHotLinkedControl(False)
    link_views(slicer.mrmlScene, [])
    for composite in users:  # As Slicer's slice controllers do then.
        composite.SetHotLinkedControl(True)
    link_views(slicer.mrmlScene, [])
    give_links_back(slicer.mrmlScene)
    assert users and not any(composite.GetHotLinkedControl() for composite in users)


def test_a_layout_that_the_user_chose_meanwhile_stays(comparison):
    comparison.show(SEGMENT, "decoder3")
    layout().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    comparison.restore()
    assert layout().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def views_of(results) -> list[list[str]]:
    return [list(result.node.GetDisplayNode().GetViewNodeIDs()) for result in results]


def test_in_another_layout_both_segmentations_are_in_all_views_again(pair):
    told = []
    comparison = Comparison(slicer.mrmlScene, *pair, on_end=lambda: told.append("ended"))
    comparison.show(SEGMENT, "decoder3")
    slicer.app.processEvents()
    assert comparison.running and not told
    layout().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.app.processEvents()
    assert views_of(pair) == [[], []] and not comparison.running and told == ["ended"]
    assert layout().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_result_that_is_deleted_leaves_the_other_in_all_views(pair, comparison, deleted):
    comparison.show(SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(pair[deleted].node)
    slicer.app.processEvents()
    assert views_of([pair[1 - deleted]]) == [[]] and layout().layout != LAYOUT


def test_a_layout_of_hlfds_own_is_not_taken_for_the_users(comparison):
    from HLFDTrainingLib.slicer_scene.slicer_own_layout import TRUTH_LAYOUT, own_layout

    users = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    layout().setLayout(users)
    truth = own_layout(slicer.mrmlScene, TRUTH_LAYOUT)
    truth.take()
    comparison.show(SEGMENT, "decoder3")
    comparison.restore()
    assert layout().layout == users
    comparison.show(SEGMENT, "decoder3")
    truth.take()
    comparison.restore()
    truth.give_back()
    assert layout().layout == users


def test_a_maximized_view_hides_neither_the_comparison_nor_what_was_before(comparison):
    """A double click maximizes a view; Slicer then draws that one alone, whatever the layout."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    def maximize(name):
        node.AddMaximizedViewNode(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode"))

    maximize("Red")
    comparison.show(SEGMENT, "decoder3")
    assert node.GetNumberOfMaximizedViewNodes() == 0
    maximize(LEFT)
    comparison.restore()
    assert node.GetNumberOfMaximizedViewNodes() == 0


def test_an_ordinary_layer_view_leaves_the_sides_alone(pair, comparison):
    comparison.show(SEGMENT, "decoder3")
    view = LayerView(slicer.mrmlScene)
    view.show(pair[0], SEGMENT, "encoder1")
    assert shown(RIGHT)[1] == pair[1].map_node(SEGMENT, "decoder3").GetID()
    view.hide()


def test_results_that_cannot_be_compared_are_told(results, tmp_path):
    student, undistilled = results
    with pytest.raises(InputError, match="same result"):
        Comparison(slicer.mrmlScene, student, student)
    with pytest.raises(InputError, match="not of the same CT"):
        Comparison(slicer.mrmlScene, student, add_reviewed_case(tmp_path, ct=add_ct(1, "CT 2")))
    slicer.mrmlScene.RemoveNode(undistilled.node)
    with pytest.raises(InputError, match="no longer in the scene"):
        Comparison(slicer.mrmlScene, student, undistilled)


@pytest.mark.parametrize("gone", ["result", "ct", "map", "focus", "views", "scene"])
def test_whatever_is_deleted_nothing_breaks(pair, comparison, gone):
    comparison.show(SEGMENT, "decoder3")
    nodes = {
        "result": pair[1].node,
        "ct": pair[1].ct,
        "map": pair[1].map_node(SEGMENT, "decoder3"),
        "focus": pair[1].focus_table,
        "views": widget(RIGHT).mrmlSliceNode(),
    }
    if gone == "scene":
        slicer.mrmlScene.Clear(False)
    else:
        slicer.mrmlScene.RemoveNode(nodes[gone])
    comparison.set(threshold=0.5)
    comparison.show(SEGMENT, "decoder3")
    comparison.jump_to((0.0, 0.0, 0.0))
    comparison.restore()
    assert layout().layout != LAYOUT


def test_a_side_without_a_map_says_so(pair, comparison):
    slicer.mrmlScene.RemoveNode(pair[1].map_node(SEGMENT, "decoder3"))
    comparison.show(SEGMENT, "decoder3")
    side = "2" if pair[1] is comparison.results[1] else "1"
    assert comparison.note.startswith(f"{side}: There is no attention map of decoder3")
    assert "\n" not in comparison.note


def test_the_layout_is_registered_once(slicer_shell):
    register_layout(slicer.mrmlScene)
    register_layout(slicer.mrmlScene)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode").IsLayoutDescription(LAYOUT)


def test_the_less_focused_side_is_colored_more_widely(pair, comparison, slice_views):
    from slicer_shell.plots import save_chart
    from slicer_shell.screenshots import save_picture

    comparison.set(legend=False)
    comparison.show(SEGMENT, "decoder3")
    pictures = {result.model: slice_views.render_slice_view(side) for result, side in zip(pair, SIDES)}
    colored = {model: (np.ptp(picture.astype(int), axis=-1) > 12).sum() for model, picture in pictures.items()}
    assert colored["undistilled"] > 1.5 * colored["student"] > 0
    comparison.set(legend=True)
    left, right = (slice_views.render_slice_view(side) for side in SIDES)
    for picture, model in ((left, pair[0].model), (right, pair[1].model)):
        assert (picture != pictures[model])[:, 200:].any()
    save_picture(np.concatenate([left, right], axis=1), "comparison")
    save_chart(comparison.chart.chart_node, "comparison_focus")
