"""Attention over the CT in Slicer's views: maps, colors, jumps, the focus chart and the mosaic."""

import time
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from HLFDSegmentationLib.color_maps import DEFAULT, AttentionColors, color_map
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.slicer_panels import slicer_mosaic
from HLFDSegmentationLib.slicer_panels.slicer_focus_chart import FocusChart
from HLFDSegmentationLib.slicer_panels.slicer_layer_view import LayerView
from HLFDSegmentationLib.slicer_panels.slicer_mosaic import mosaic
from HLFDSegmentationLib.slicer_scene import slicer_lesion_notes
from HLFDSegmentationLib.slicer_scene.slicer_attention_maps import place_in_result, place_of_most_attention, values_of
from HLFDSegmentationLib.slicer_scene.slicer_lesion_notes import notes_on_lesion
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult
from slicer_cases import add_bending_transform, add_ct, add_transform, shift, turn
from slicer_review_cases import BUSIEST, CELLS, EMPTY, FOCUS, LAYERS, SEGMENT, WITHOUT_TUMOR, add_reviewed_case

pytestmark = pytest.mark.usefixtures("slicer_shell")

VIEWS = ("Red", "Green", "Yellow")


@pytest.fixture
def result(slicer_shell, tmp_path) -> SceneResult:
    return add_reviewed_case(tmp_path)


@pytest.fixture
def view(slicer_shell) -> LayerView:
    layer_view = LayerView(slicer.mrmlScene)
    yield layer_view
    layer_view.hide()


def composite(name="Red"):
    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()


def slice_node(name="Red"):
    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()


def fit():
    for name in VIEWS:
        slicer.app.layoutManager().sliceWidget(name).sliceLogic().FitSliceToBackground()


def world_of(node, i, j, k):
    own = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(own)
    place = [0.0] * 3
    node.TransformPointToWorld(own.MultiplyPoint((i, j, k, 1.0))[:3], place)
    return place


def jump_to_most_attention(view, result, layer) -> bool:
    """What "Go to maximum" does; whether there is a maximum."""
    place = place_in_result(result, SEGMENT, layer, signed=view.signed)
    if place is not None:
        view.jump_to(place)
    return place is not None


def is_colored(picture):
    """Where a picture is not gray."""
    return np.ptp(picture.astype(int), axis=-1) > 12


def without_marks(picture, size=320):
    """The middle of a view: no legend, no orientation letters."""
    return picture[size // 4 : 3 * size // 4, size // 4 : size // 2]


# The maps


def test_each_layer_keeps_its_own_grid_and_lies_on_the_ct(result):
    for layer in LAYERS:
        node = result.map_node(SEGMENT, layer)
        assert node.GetImageData().GetDimensions() == (CELLS[layer], CELLS[layer], 6)
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        ct_bounds = [0.0] * 6
        result.ct.GetRASBounds(ct_bounds)
        assert bounds == pytest.approx(ct_bounds, abs=1e-6)
        assert node.GetHideFromEditors()


def test_layers_come_in_the_networks_order(result):
    assert tuple(result.layers) == LAYERS


def test_slices_without_the_tumor_hold_no_attention(result):
    for layer in LAYERS:
        values = values_of(result.map_node(SEGMENT, layer))
        assert not values[list(WITHOUT_TUMOR)].any()
        assert values[BUSIEST].any()


def test_a_map_moves_with_its_ct(slicer_shell, tmp_path):
    ct = add_ct()
    add_transform(shift(30, -20, 12) @ turn(20), ct)
    result = add_reviewed_case(tmp_path, ct=ct)
    node = result.map_node(SEGMENT, "encoder1")
    # The cell (8, 8) of 2 x 2 CT voxels has its center between the CT's voxels 16 and 17.
    assert world_of(node, 8, 8, 3) == pytest.approx(world_of(ct, 16.5, 16.5, 3), abs=1e-4)


# What the views show


def test_a_map_lies_over_the_ct_in_every_slice_view(result, view):
    view.show(result, SEGMENT, "decoder3")
    for name in VIEWS:
        assert composite(name).GetBackgroundVolumeID() == result.ct.GetID()
        assert composite(name).GetForegroundVolumeID() == result.map_node(SEGMENT, "decoder3").GetID()
        assert composite(name).GetForegroundOpacity() == view.opacity
    assert view.shown


@pytest.mark.parametrize("linked", [False, True])
def test_hiding_gives_a_pet_its_place_back(linked, result, view):
    """Also in linked views, each with the opacity that it had."""
    pet = add_ct(seed=1, name="PET")
    mr = add_ct(seed=2, name="MR")
    for name, opacity in zip(VIEWS, (0.35, 0.5, 0.0)):
        composite(name).SetForegroundVolumeID(pet.GetID())
        composite(name).SetForegroundOpacity(opacity)
        composite(name).SetBackgroundVolumeID(mr.GetID())
    composite("Green").SetCompositing(composite("Green").Add)
    for name in VIEWS:
        composite(name).SetLinkedControl(linked)
    result.node.GetDisplayNode().SetVisibility2DFill(True)
    for layer in LAYERS:
        view.show(result, SEGMENT, layer)
    view.hide()
    for name, opacity in zip(VIEWS, (0.35, 0.5, 0.0)):
        assert composite(name).GetForegroundVolumeID() == pet.GetID()
        assert composite(name).GetForegroundOpacity() == opacity
        assert composite(name).GetBackgroundVolumeID() == mr.GetID()
    assert composite("Green").GetCompositing() == composite("Green").Add
    assert result.node.GetDisplayNode().GetVisibility2DFill()
    assert slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") == []
    assert not view.shown


def test_segments_that_are_filled_without_an_outline_do_not_vanish(result, view):
    display = result.node.GetDisplayNode()
    display.SetVisibility2DFill(True)
    display.SetVisibility2DOutline(False)
    view.show(result, SEGMENT, "decoder3")
    assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
    view.hide()
    assert display.GetVisibility2DFill() and not display.GetVisibility2DOutline()


def test_a_volume_that_the_user_chose_meanwhile_stays(result, view):
    view.show(result, SEGMENT, "decoder3")
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    composite().SetForegroundOpacity(0.8)
    view.hide()
    assert composite().GetForegroundVolumeID() == pet.GetID()
    assert composite().GetForegroundOpacity() == 0.8


@pytest.mark.parametrize("chosen", ["foreground", "background", "nothing"])
def test_a_view_in_which_the_user_chose_another_volume_is_left_to_him(result, view, chosen):
    """Until the map is shown anew: who walks through the layers keeps a view to compare with."""
    pet = add_ct(seed=1, name="PET")
    composite("Yellow").SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    red = composite()
    if chosen == "background":
        red.SetBackgroundVolumeID(pet.GetID())
    else:
        red.SetForegroundVolumeID(pet.GetID() if chosen == "foreground" else None)
    red.SetForegroundOpacity(0.8)
    expected = (pet if chosen == "background" else result.ct).GetID(), pet.GetID() if chosen == "foreground" else None
    for layer in ("encoder2", "encoder1"):
        view.show(result, SEGMENT, layer)
        view.threshold = 0.3
        assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == expected
        for other in ("Green", "Yellow"):
            assert composite(other).GetForegroundVolumeID() == result.map_node(SEGMENT, layer).GetID()
    view.hide()
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == expected
    assert red.GetForegroundOpacity() == (0.8 if chosen == "foreground" else 0.0)
    assert composite("Yellow").GetForegroundVolumeID() == pet.GetID()
    view.show(result, SEGMENT, "decoder3")
    assert red.GetBackgroundVolumeID() == result.ct.GetID()
    assert red.GetForegroundVolumeID() == result.map_node(SEGMENT, "decoder3").GetID()


def test_a_view_shows_what_it_showed_before_where_the_users_own_choice_was_deleted(result, view):
    other, pet, third = (add_ct(seed=seed, name=name) for seed, name in ((1, "MR"), (2, "PET"), (3, "CT 2")))
    before = other.GetID(), pet.GetID()
    for name in VIEWS:
        composite(name).SetBackgroundVolumeID(other.GetID())
        composite(name).SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    composite().SetForegroundVolumeID(third.GetID())
    slicer.mrmlScene.RemoveNode(third)
    view.show(result, SEGMENT, "decoder2")
    view.hide()
    for name in VIEWS:
        assert (composite(name).GetBackgroundVolumeID(), composite(name).GetForegroundVolumeID()) == before


def test_another_map_is_shown_where_the_shown_one_was_deleted(result, view):
    view.show(result, SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(result.map_node(SEGMENT, "decoder3"))
    view.show(result, SEGMENT, "decoder2")
    assert composite().GetForegroundVolumeID() == result.map_node(SEGMENT, "decoder2").GetID()


def saved_and_opened_again(folder) -> SceneResult:
    path = str(folder / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path)
    (loaded,) = SceneResult.all(slicer.mrmlScene)
    return loaded


def test_a_pet_comes_back_also_where_the_scene_was_saved_with_a_map_over_it(result, view, tmp_path):
    pet = add_ct(seed=1, name="PET")
    mr = add_ct(seed=2, name="MR")
    composite().SetBackgroundVolumeID(mr.GetID())
    composite().SetForegroundVolumeID(pet.GetID())
    composite().SetForegroundOpacity(0.35)
    composite().SetCompositing(composite().Add)
    view.show(result, SEGMENT, "decoder3")
    loaded = saved_and_opened_again(tmp_path)
    opened = LayerView(slicer.mrmlScene)
    opened.show(loaded, SEGMENT, "encoder2")
    assert composite().GetForegroundVolumeID() == loaded.map_node(SEGMENT, "encoder2").GetID()
    opened.hide()
    shown = [composite().GetNodeReference(f"{layer}Volume").GetName() for layer in ("background", "foreground")]
    assert shown == ["MR", "PET"]
    assert (composite().GetForegroundOpacity(), composite().GetCompositing()) == (0.35, composite().Add)


def test_what_a_saved_scene_showed_before_is_forgotten_where_another_volume_was_chosen(result, view, tmp_path):
    """As where the module was not opened after loading it."""
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    loaded = saved_and_opened_again(tmp_path)
    mr = add_ct(seed=2, name="MR")
    composite().SetForegroundVolumeID(mr.GetID())
    opened = LayerView(slicer.mrmlScene)
    opened.show(loaded, SEGMENT, "encoder2")
    opened.hide()
    assert composite().GetForegroundVolumeID() == mr.GetID()


def test_a_pet_that_was_deleted_meanwhile_does_not_come_back(result, view):
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(pet)
    view.hide()
    assert composite().GetForegroundVolumeID() is None


def test_a_deleted_map_is_told_and_the_pet_comes_back(result, view):
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(result.map_node(SEGMENT, "decoder3"))
    view.opacity = 0.5
    assert "decoder3" in view.note
    assert not view.shown
    assert composite().GetForegroundVolumeID() == pet.GetID()


@pytest.mark.parametrize("deleted", [False, True])
def test_after_the_map_of_another_ct_its_ct_stays(result, view, tmp_path, deleted):
    """Not the CT of the patient before, nor black views where that one was deleted."""
    composite().SetBackgroundVolumeID(result.ct.GetID())
    view.show(result, SEGMENT, "decoder3")
    other = add_reviewed_case(tmp_path, model="other", ct=add_ct(seed=1, name="CT 2"))
    view.show(other, SEGMENT, "decoder3")
    if deleted:
        slicer.mrmlScene.RemoveNode(result.ct)
    view.hide()
    assert composite().GetBackgroundVolumeID() == other.ct.GetID()


def test_a_background_that_was_deleted_meanwhile_leaves_no_black_views(result, view):
    mr = add_ct(seed=1, name="MR")
    composite().SetBackgroundVolumeID(mr.GetID())
    view.show(result, SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(mr)
    view.hide()
    assert composite().GetBackgroundVolumeID() == result.ct.GetID()


def red_view() -> tuple:
    return slice_node().GetSliceOffset(), *slice_node().GetFieldOfView()


def test_a_ct_that_lies_far_from_what_the_views_show_is_in_sight(result, view):
    """Under its map, and so is what comes back after it: the views would be black."""
    mr = add_ct(seed=1, name="MR")
    mr.SetOrigin(0, 0, -900)
    slicer.util.setSliceViewerLayers(background=mr, fit=True)
    bounds = {}
    for volume in (mr, result.ct):
        bounds[volume] = [0.0] * 6
        volume.GetRASBounds(bounds[volume])
    view.show(result, SEGMENT, "decoder3")
    assert bounds[result.ct][4] < slice_node().GetSliceOffset() < bounds[result.ct][5]
    view.hide()
    assert bounds[mr][4] < slice_node().GetSliceOffset() < bounds[mr][5]


def test_views_stay_where_they_are_where_they_meet_the_ct(result, view):
    mr = add_ct(seed=1, name="MR")
    slicer.util.setSliceViewerLayers(background=mr, fit=True)
    view.jump_to(place_in_result(result, SEGMENT, "decoder3"))
    slice_node().SetFieldOfView(20, 20, 1)
    before = red_view()
    view.show(result, SEGMENT, "decoder3")
    assert red_view() == before
    view.hide()
    assert red_view() == before


@pytest.mark.parametrize(("dragged_mm", "moves"), [(60.0, False), (3000.0, True)])
def test_a_view_that_was_dragged_aside_moves_only_where_it_is_black(result, view, dragged_mm, moves):
    """It keeps in an origin of its own how far it was dragged."""
    mr = add_ct(seed=1, name="MR")
    slicer.util.setSliceViewerLayers(background=mr, fit=True)
    slice_node().SetXYZOrigin(dragged_mm, 0, 0)
    view.show(result, SEGMENT, "decoder3")
    assert (slice_node().GetXYZOrigin()[0] != dragged_mm) is moves


def test_a_map_of_another_scene_is_not_taken_for_the_shown_one(result, view, tmp_path):
    view.show(result, SEGMENT, "decoder3")
    added = add_reviewed_case(tmp_path, model="added", ct=add_ct(seed=1, name="CT 2"))
    assert not view.was_replaced
    for each in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        each.SetForegroundVolumeID(added.map_node(SEGMENT, "encoder2").GetID())
    assert view.was_replaced


@pytest.mark.parametrize("gone", ["result", "ct", "map", "color", "display", "legend", "scene"])
def test_whatever_is_deleted_nothing_breaks(result, view, gone):
    view.show(result, SEGMENT, "decoder3")
    map_node = result.map_node(SEGMENT, "decoder3")
    nodes = {
        "result": result.node,
        "ct": result.ct,
        "map": map_node,
        "color": map_node.GetDisplayNode().GetColorNode(),
        "display": map_node.GetScalarVolumeDisplayNode(),
        "legend": slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")[0],
    }
    if gone == "scene":
        slicer.mrmlScene.Clear(False)
    else:
        slicer.mrmlScene.RemoveNode(nodes[gone])
    view.threshold = 0.4
    view.signed = True
    view.legend = False
    jump_to_most_attention(view, result, "decoder3")
    view.jump_to((0.0, 0.0, 0.0))
    view.hide()
    view.show(result, SEGMENT, "encoder2")
    view.hide()


def test_a_ct_loaded_after_the_scene_was_closed_is_left_alone(result, view):
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    view.show(result, SEGMENT, "decoder3")
    slicer.mrmlScene.Clear(False)
    # New nodes get the IDs of the old ones, also of those that a script still holds, as this one does.
    new = [add_ct(seed=seed, name=f"new {seed}") for seed in range(15)]
    assert pet.GetID() in [node.GetID() for node in new]
    composite().SetBackgroundVolumeID(new[0].GetID())
    view.hide()
    assert composite().GetBackgroundVolumeID() == new[0].GetID()
    assert composite().GetForegroundVolumeID() is None


def test_the_colors_are_those_that_were_chosen(result, view, slice_views):
    view.show(result, SEGMENT, "decoder2")
    view.opacity, view.threshold, view.legend = 1.0, 0.1, False
    result.node.GetDisplayNode().SetVisibility(False)
    fit()
    jump_to_most_attention(view, result, "decoder2")
    for name in ("ember", "meadow", "ice"):
        view.color = name
        picture = slice_views.render_slice_view("Red")
        shown = without_marks(picture)[is_colored(without_marks(picture))].astype(float)
        known = 255 * color_map(name)
        distance = np.abs(shown[:, None] - known[None]).max(axis=-1).min(axis=1)
        assert len(shown) > 500
        assert distance.max() <= 2


@pytest.mark.parametrize("signed", [False, True])
def test_weak_attention_lets_the_ct_through(result, view, slice_views, signed):
    view.show(result, SEGMENT, "decoder2")
    view.legend, view.signed = False, signed
    result.node.GetDisplayNode().SetVisibility(False)
    fit()
    jump_to_most_attention(view, result, "decoder2")
    view.opacity = 0.0
    anatomy = without_marks(slice_views.render_slice_view("Red"))
    view.opacity = 0.7
    colored = []
    for threshold in (0.0, 0.3, 0.6):
        view.threshold = threshold
        picture = without_marks(slice_views.render_slice_view("Red"))
        colored.append(int(is_colored(picture).sum()))
        assert np.array_equal(picture[~is_colored(picture)], anatomy[~is_colored(picture)]) or threshold == 0.0
    assert colored[0] > colored[1] > colored[2] > 0
    view.threshold = 1.01
    assert np.array_equal(without_marks(slice_views.render_slice_view("Red")), anatomy)


def window_tool(name="Red"):
    """Slicer's window/level tool in a view."""
    logic = slicer.app.applicationLogic()
    return logic.GetViewDisplayableManagerByClassName(slice_node(name), "vtkMRMLScalarBarDisplayableManager")


def drag_window(slice_views, name="Red"):
    """What a drag of the mouse over the tumor does in Slicer's window/level tool."""
    slice_views.render_slice_view(name)
    manager = window_tool(name)
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    before = interaction.GetCurrentInteractionMode()
    interaction.SetCurrentInteractionMode(interaction.AdjustWindowLevel)
    for event, place in (("LeftButtonPressEvent", 160), ("MouseMoveEvent", 200), ("LeftButtonReleaseEvent", 200)):
        data = slicer.vtkMRMLInteractionEventData()
        data.SetType(getattr(vtk.vtkCommand, event))
        data.SetDisplayPosition([place, place])
        data.SetWorldPosition(slice_node(name).GetXYToRAS().MultiplyPoint((place, place, 0, 1))[:3])
        manager.GetWindowLevelWidget().ProcessInteractionEvent(data)
    interaction.SetCurrentInteractionMode(before)


def test_the_mouse_changes_the_window_of_the_ct_and_of_a_pet_without_a_map(result, view, slice_views):
    def windows():
        return [node.GetDisplayNode().GetWindow() for node in (result.ct, map_node, pet)]

    def changed(name="Red"):
        before = windows()
        drag_window(slice_views, name)
        return [one != other for one, other in zip(before, windows())]

    pet = add_ct(seed=1, name="PET")
    map_node = result.map_node(SEGMENT, "decoder3")
    for name in VIEWS:
        composite(name).SetForegroundVolumeID(pet.GetID())
        composite(name).SetForegroundOpacity(0.5)
        composite(name).SetBackgroundVolumeID(result.ct.GetID())
    fit()
    assert changed() == [False, False, True]
    view.show(result, SEGMENT, "decoder3")
    assert changed() == [True, False, False]
    composite().SetForegroundVolumeID(pet.GetID())
    assert changed() == [False, False, True]
    view.hide()
    assert changed("Green") == [False, False, True]


def test_a_pet_whose_window_the_user_keeps_from_the_mouse_stays_so(result, view, slice_views):
    def led() -> list[bool]:
        return [bool(window_tool(name).GetAdjustForegroundWindowLevelEnabled()) for name in ("Red", "Green")]

    for name in VIEWS:
        slice_views.render_slice_view(name)
    window_tool().SetAdjustForegroundWindowLevelEnabled(False)
    view.show(result, SEGMENT, "decoder3")
    assert led() == [False, False]
    view.show(result, SEGMENT, "decoder2")
    view.hide()
    assert led() == [False, True]
    window_tool().SetAdjustForegroundWindowLevelEnabled(True)


def spoil_colors(display):
    """What Slicer's presets, its window/level tool and its double click with Ctrl do to a volume."""
    gray = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "gray")
    gray.SetTypeToGrey()
    display.SetAndObserveColorNodeID(gray.GetID())
    display.SetWindowLevel(0.3, 0.9)
    display.AutoWindowLevelOn()


def look_of(display):
    scale = round(display.GetWindowLevelMin(), 6), round(display.GetWindowLevelMax(), 6)
    return scale, bool(display.GetAutoWindowLevel()), display.GetColorNode().GetName()


@pytest.mark.parametrize("signed", [False, True])
def test_a_map_keeps_its_scale_and_colors_whatever_is_done_to_its_display(result, view, signed):
    """Else weak attention was colored as strong, and what speaks against as weak attention for the segment."""
    view.signed = signed
    view.show(result, SEGMENT, "decoder3")
    display = result.map_node(SEGMENT, "decoder3").GetDisplayNode()
    expected = look_of(display)
    assert expected[1:] == (False, "HLFD attention colors")
    spoil_colors(display)
    slicer.app.processEvents()
    assert look_of(display) == expected
    display.SetWindowLevel(0.3, 0.9)
    slicer.app.processEvents()
    assert look_of(display) == expected
    spoil_colors(display)
    view.threshold = 0.3
    assert look_of(display)[:2] == expected[:2]
    view.hide()
    spoil_colors(display)
    slicer.app.processEvents()
    assert look_of(display)[1:] == (True, "gray")


def test_a_map_that_cannot_get_its_scale_does_not_freeze_slicer(result, view, monkeypatch):
    map_node = result.map_node(SEGMENT, "decoder3")
    slicer.util.arrayFromVolume(map_node)[2, 0, 0] = np.nan
    view.show(result, SEGMENT, "decoder3")
    tries = []
    monkeypatch.setattr(LayerView, "_color", lambda self, node, color=LayerView._color: tries.append(color(self, node)))
    for count in (1, 2):
        spoil_colors(map_node.GetDisplayNode())
        for _time in range(10):
            slicer.app.processEvents()
        assert len(tries) == count


def test_signed_shows_what_speaks_against_in_blue_without_another_volume(result, view, slice_views):
    view.show(result, SEGMENT, "decoder2")
    result.node.GetDisplayNode().SetVisibility(False)
    fit()
    jump_to_most_attention(view, result, "decoder2")
    view.opacity, view.legend, view.threshold = 1.0, False, 0.15
    view.color = "ember"  # It has no blue.
    volumes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")

    def bluish():
        picture = without_marks(slice_views.render_slice_view("Red")).astype(int)
        return int((picture[..., 2] > picture[..., 0] + 12).sum())

    assert bluish() == 0
    view.signed = True
    assert bluish() > 500
    view.signed = False
    assert bluish() == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes


def test_a_slice_without_the_tumor_shows_the_ct_alone(result, view, slice_views):
    view.show(result, SEGMENT, "decoder2")
    view.legend, view.threshold, view.signed = False, 0.0, True
    result.node.GetDisplayNode().SetVisibility(False)
    fit()
    view.jump_to(world_of(result.ct, 32, 32, WITHOUT_TUMOR[0]))
    assert not is_colored(without_marks(slice_views.render_slice_view("Red"))).any()


def test_the_legend_names_layer_and_segment_and_shows_the_threshold(result, view, slice_views):
    view.show(result, SEGMENT, "decoder2")
    fit()
    with_legend = slice_views.render_slice_view("Red")
    (legend,) = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert legend.GetTitleText() == f"decoder2\n{SEGMENT}"
    view.legend = False
    assert (slice_views.render_slice_view("Red") != with_legend)[:, 200:].any()
    view.legend = True
    view.show(result, SEGMENT, "encoder1")
    (legend,) = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert legend.GetTitleText() == f"encoder1\n{SEGMENT}"


def test_the_legend_can_be_read_over_bright_bowel(result, view, slice_views):
    slicer.util.arrayFromVolume(result.ct)[:] = 3000
    result.ct.GetImageData().Modified()
    result.node.GetDisplayNode().SetVisibility(False)
    view.opacity = 0.0
    view.show(result, SEGMENT, "decoder2")
    fit()
    with_legend = slice_views.render_slice_view("Red").astype(int)
    view.legend = False
    without = slice_views.render_slice_view("Red").astype(int)
    texts = with_legend[(with_legend != without).any(axis=-1) & ~is_colored(with_legend)]
    dark = texts.mean(axis=-1) < 128
    assert dark.sum() > 2000 and dark.mean() > 0.5


def test_the_legend_of_a_pet_goes_and_comes_with_the_pet(result, view, slice_views):
    pet = add_ct(seed=1, name="PET")
    composite().SetForegroundVolumeID(pet.GetID())
    view.legend = False
    view.show(result, SEGMENT, "decoder2")
    map_alone = slice_views.render_slice_view("Red")
    view.hide()
    slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(pet).SetTitleText("PET")
    with_pet = slice_views.render_slice_view("Red")
    view.show(result, SEGMENT, "decoder2")
    assert np.array_equal(slice_views.render_slice_view("Red"), map_alone)
    view.hide()
    assert np.array_equal(slice_views.render_slice_view("Red"), with_pet)


def test_three_layers_for_the_eye(result, view, slice_views):
    for layer in ("encoder2", "encoder5", "decoder2"):
        view.show(result, SEGMENT, layer)
        fit()
        jump_to_most_attention(view, result, layer)
        slice_views.save_slice_view("Red", f"attention_{layer}")


def test_an_empty_map_says_so_until_its_signed_map_is_shown(result, view):
    view.show(result, SEGMENT, EMPTY)
    assert EMPTY in view.note and SEGMENT in view.note
    assert not jump_to_most_attention(view, result, EMPTY)
    view.signed = True
    assert view.note == ""
    assert jump_to_most_attention(view, result, EMPTY)
    view.signed = False
    view.show(result, SEGMENT, "decoder2")
    assert view.note == ""


@pytest.mark.parametrize("strongest", [0.1, 1.0])
def test_the_strongest_attention_for_the_segment_has_the_strongest_color(result, view, slice_views, strongest):
    """A map's values are shares of the largest absolute one, which may speak against the segment."""
    node = result.map_node(SEGMENT, "decoder2")
    values = values_of(node)
    values[values > 0] *= strongest / values.max()
    node.GetImageData().Modified()
    view.show(result, SEGMENT, "decoder2")
    view.opacity, view.threshold, view.legend = 1.0, 0.2, False
    result.node.GetDisplayNode().SetVisibility(False)
    fit()
    jump_to_most_attention(view, result, "decoder2")
    picture = without_marks(slice_views.render_slice_view("Red"))
    brightest = picture[is_colored(picture)].astype(int).sum(axis=-1).max()
    assert brightest == pytest.approx(255 * color_map(DEFAULT)[-1].sum(), rel=0.15)
    assert is_colored(mosaic_of(result)).any()
    view.signed = True
    assert node.GetScalarVolumeDisplayNode().GetWindowLevelMax() == 1.0


def test_a_filled_segment_is_outlined_while_a_map_is_shown(result, view):
    display = result.node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    view.show(result, SEGMENT, "decoder2")
    view.hide()
    assert not display.GetVisibility2DFill()


def test_outlines_that_the_user_chose_after_a_map_stay_after_the_next(result, view):
    display = result.node.GetDisplayNode()
    for filled in (True, False):
        display.SetVisibility2DFill(filled)
        view.show(result, SEGMENT, "decoder2")
        view.hide()
        assert bool(display.GetVisibility2DFill()) is filled


# Jumps


@pytest.mark.parametrize("moved", [False, True])
def test_the_slice_with_most_attention_is_found_in_the_world(slicer_shell, tmp_path, view, moved):
    ct = add_ct()
    if moved:
        add_transform(shift(30, -20, 12) @ turn(180, "x"), ct)
    result = add_reviewed_case(tmp_path, ct=ct)
    view.show(result, SEGMENT, "encoder1")
    fit()
    assert jump_to_most_attention(view, result, "encoder1")
    node = result.map_node(SEGMENT, "encoder1")
    j, i = np.unravel_index(values_of(node)[BUSIEST].argmax(), (32, 32))
    place = world_of(node, i, j, BUSIEST)
    assert place_of_most_attention(node) == pytest.approx(place)
    # A sagittal view counts from right to left.
    offsets = [slice_node(name).GetSliceOffset() for name in VIEWS]
    assert offsets == pytest.approx([place[2], place[1], -place[0]])
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    assert crosshair.GetCrosshairRAS() == pytest.approx(place)


def test_a_jump_goes_to_each_lesion_and_moves_with_the_ct(result, view):
    view.show(result, SEGMENT, "encoder1")
    fit()
    for number, k in ((1, 4), (2, 2)):
        view.jump_to(dict(result.lesions(SEGMENT))[number])
        assert slice_node().GetSliceOffset() == pytest.approx(world_of(result.ct, 0, 0, k)[2])
    assert 3 not in dict(result.lesions(SEGMENT))
    add_transform(shift(0, 0, 100), result.ct, result.node)
    view.jump_to(dict(result.lesions(SEGMENT))[1])
    assert slice_node().GetSliceOffset() == pytest.approx(world_of(result.ct, 0, 0, 4)[2])


def test_a_zoomed_view_pans_only_to_what_it_would_not_show(result, view):
    view.show(result, SEGMENT, "encoder1")
    fit()
    red = slice_node()
    origin = red.GetXYZOrigin()
    view.jump_to(dict(result.lesions(SEGMENT))[1])
    assert red.GetXYZOrigin() == origin
    red.SetFieldOfView(20, 20, 1)
    red.SetXYZOrigin(100, 100, 0)
    view.jump_to(dict(result.lesions(SEGMENT))[1])
    place = dict(result.lesions(SEGMENT))[1]
    to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(red.GetXYToRAS(), to_xy)
    x, y = to_xy.MultiplyPoint((*place, 1.0))[:2]
    assert 0 <= x < red.GetDimensions()[0] and 0 <= y < red.GetDimensions()[1]


# The focus chart


@pytest.fixture
def chart(slicer_shell) -> FocusChart:
    focus_chart = FocusChart(slicer.mrmlScene)
    yield focus_chart
    focus_chart.restore()


def series_of(chart_node):
    return [chart_node.GetNthPlotSeriesNode(index) for index in range(chart_node.GetNumberOfPlotSeriesNodes())]


def points_of(series):
    table = series.GetTableNode()
    columns = [table.GetColumnIndex(series.GetLabelColumnName()), table.GetColumnIndex(series.GetYColumnName())]
    texts = [[table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows())]
    return [(name, float(value)) for name, value in texts]


def test_the_chart_holds_each_layers_focus_in_order_the_current_one_and_chance(result, chart):
    chart.show([result], SEGMENT, "decoder3")
    curve, chance, mark = series_of(chart.chart_node)
    names, values = zip(*points_of(curve))
    assert names == LAYERS
    assert np.allclose(values, [np.nan if FOCUS[layer] is None else FOCUS[layer] for layer in LAYERS], equal_nan=True)
    assert curve.GetName() == "student"
    assert [value for _name, value in points_of(chance)] == [1.0] * 9
    assert set(points_of(mark)) == {("decoder3", FOCUS["decoder3"])}
    assert mark.GetName() == "decoder3"
    assert chart.chart_node.GetXAxisTitle() == "1–5: encoder1–encoder5,  6–9: decoder5–decoder2"


def test_the_layers_of_a_tumor_can_be_told_apart_in_the_chart(result, chart, capfd):
    """The last layer's focus is often a hundred times that of the others; a focus of 0 has no logarithm."""
    from slicer_shell.plots import draw_chart

    ratios = (0.4, 0.5, 0.0, 0.7, 0.9, 1.2, 2.1, 4.46, 144.0)
    table = result.focus_table
    for row, ratio in enumerate(ratios):
        table.SetCellText(row, table.GetColumnIndex("FocusRatio"), str(ratio))
    chart.show([result], SEGMENT, LAYERS[2])
    node = chart.chart_node
    low, high = node.GetYAxisRange()
    drawn = [value for _name, value in points_of(series_of(node)[0])]
    assert node.GetYAxisLogScale() and 0 < low < min(drawn) < max(drawn) < high
    assert drawn == [ratio or 1 / 32 for ratio in ratios]
    places = dict(zip(drawn, np.log(np.array(drawn) / low) / np.log(high / low)))
    assert places[4.46] - places[0.4] > 0.1
    assert np.ptp(draw_chart(node)) > 0 and "ERR" not in "".join(capfd.readouterr())


def test_the_mark_walks_with_the_layer(result, chart):
    chart.show([result], SEGMENT, "decoder3")
    mark = series_of(chart.chart_node)[-1]
    chart.mark("encoder1")
    assert set(points_of(mark)) == {("encoder1", FOCUS["encoder1"])}
    chart.mark(EMPTY)
    assert points_of(mark) == []
    assert "not defined" in mark.GetName()


def test_two_results_differ_by_color_dashes_and_markers(result, chart, tmp_path):
    other = add_reviewed_case(tmp_path, model="undistilled", ct=result.ct)
    chart.show([result, other], SEGMENT, "decoder3")
    first, second, _chance, mark = series_of(chart.chart_node)
    assert (first.GetName(), second.GetName()) == ("1: student", "2: undistilled")
    for get in ("GetColor", "GetLineStyle", "GetMarkerStyle"):
        assert getattr(first, get)() != getattr(second, get)()
    assert len(points_of(mark)) == 2


def test_the_chart_comes_with_a_layout_that_has_a_plot_and_goes_without_a_trace(result, chart):
    layout = slicer.app.layoutManager()
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    chart.show([result], SEGMENT, "decoder3")
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    assert layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.chart_node.GetID()
    chart.restore()
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    added = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode")} - names
    assert not any("ocus" in name for name in added)


def test_the_chart_does_not_bring_back_a_layout_of_hlfds_own(result, chart):
    from HLFDTrainingLib.slicer_scene.slicer_own_layout import TRUTH_LAYOUT, own_layout

    layout = slicer.app.layoutManager()
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    own_layout(slicer.mrmlScene, TRUTH_LAYOUT).take()
    chart.show([result], SEGMENT, "decoder3")
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    chart.restore()
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


def test_the_users_own_chart_and_layout_come_back(result, chart):
    layout = slicer.app.layoutManager()
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "own")
    plot_view = layout.plotWidget(0).mrmlPlotViewNode()
    plot_view.SetPlotChartNodeID(own.GetID())
    chart.show([result], SEGMENT, "decoder3")
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpPlotView)
    chart.restore()
    assert plot_view.GetPlotChartNodeID() == own.GetID()
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpPlotView


def test_the_users_own_chart_comes_back_where_the_scene_was_saved_while_ours_was_shown(result, chart, tmp_path):
    from HLFDSegmentationLib.slicer_panels.slicer_scene_care import look_after

    look_after(slicer.mrmlScene)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "own")
    slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode().SetPlotChartNodeID(own.GetID())
    for segment in (SEGMENT, "liver"):
        chart.show([result], segment, "decoder3")
    saved_and_opened_again(tmp_path)
    plot_view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
    assert plot_view.GetPlotChartNode().GetName() == "own"


def test_the_chart_survives_what_is_deleted(result, chart):
    chart.show([result], SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(chart.chart_node)
    chart.mark("encoder1")
    chart.show([result], SEGMENT, "decoder3")
    slicer.mrmlScene.RemoveNode(result.focus_table)
    chart.show([result], SEGMENT, "decoder3")
    slicer.mrmlScene.Clear(False)
    chart.mark("encoder1")
    chart.restore()


def test_the_chart_for_the_eye(result, chart, slice_views, tmp_path, capfd):
    from slicer_shell.plots import save_chart

    other = add_reviewed_case(tmp_path, model="undistilled", ct=result.ct)
    chart.show([result, other], SEGMENT, "decoder3")
    save_chart(chart.chart_node, "focus_chart_of_two")
    chart.show([result], SEGMENT, "decoder3")
    save_chart(chart.chart_node, "focus_chart")
    assert "ERR" not in "".join(capfd.readouterr())


# The mosaic


def mosaic_of(result, **changes):
    colors = AttentionColors(**({"threshold": 0.2} | changes))
    return mosaic(result, SEGMENT, slice_node(), (300, 300), colors, opacity=0.6)


def test_the_mosaic_shows_what_the_slice_view_shows(result, view, slice_views):
    """Each tile is compared with the real slice view, drawn at the tile's size."""
    view.opacity, view.threshold, view.legend = 0.6, 0.2, False
    view.show(result, SEGMENT, LAYERS[0])
    result.node.GetDisplayNode().SetVisibility(False)
    red = slice_node()
    size = (304 - 4) // 3
    slice_views.render_slice_view("Red", (size, size))
    fit()
    jump_to_most_attention(view, result, LAYERS[0])
    # The outline of the segment is not in the slice view.
    result.node.GetSegmentation().RemoveSegment(result.segment_id(SEGMENT))
    for signed in (False, True):
        view.signed = signed
        picture = mosaic(result, SEGMENT, red, (304, 304), view.colors, opacity=0.6)
        for index, layer in enumerate(LAYERS):
            view.show(result, SEGMENT, layer)
            expected = slice_views.render_slice_view("Red", (size, size)).astype(int)
            row, column = divmod(index, 3)
            top, left = row * (size + 2), column * (size + 2)
            tile = picture[top : top + size, left : left + size].astype(int)
            # Above it is the layer's name, and why nothing is colored.
            inner = slice(40, 95), slice(5, 95)
            different = np.abs(tile[inner] - expected[inner]).max(axis=-1) > 6
            assert different.mean() < 0.01, layer


def test_the_mosaic_outlines_the_segment_and_names_the_layers(result, view):
    view.show(result, SEGMENT, "encoder1")
    fit()
    jump_to_most_attention(view, result, "encoder1")
    picture = mosaic_of(result)
    assert (picture == 255).all(axis=-1)[30:90, 20:90].sum() > 10
    for row in range(3):
        for column in range(3):
            corner = picture[row * 100 + 3 : row * 100 + 22, column * 100 + 3 : column * 100 + 70]
            assert (corner > 200).all(axis=-1).sum() > 20


def test_the_outline_in_the_mosaic_moves_with_the_segmentation(result, view):
    def outline():
        view.show(result, SEGMENT, "decoder2")
        fit()
        jump_to_most_attention(view, result, "decoder2")
        return (mosaic_of(result) == slicer_mosaic.OUTLINE_COLOR).all(axis=-1)

    before = outline()
    add_transform(shift(300, 0, 0), result.ct, result.node)
    assert before.any() and np.array_equal(outline(), before)


def test_the_mosaic_follows_the_slice_and_the_colors(result, view):
    view.show(result, SEGMENT, "encoder1")
    fit()
    jump_to_most_attention(view, result, "encoder1")
    busy = mosaic_of(result)
    assert not np.array_equal(mosaic_of(result, signed=True), busy)
    assert not np.array_equal(mosaic_of(result, name="ice"), busy)
    view.jump_to(world_of(result.ct, 32, 32, WITHOUT_TUMOR[0]))
    assert is_colored(busy).any()
    assert not is_colored(mosaic_of(result)).any()


@pytest.fixture
def captions(monkeypatch):
    """The captions of a mosaic by layer."""

    def of(result, segment=SEGMENT, **changes):
        texts = []
        with monkeypatch.context() as patched:
            patched.setattr(slicer_mosaic, "_write", lambda tile, text, pixel_ratio: texts.append(text))
            mosaic(result, segment, slice_node(), (300, 300), AttentionColors(**({"threshold": 0.2} | changes)))
        return dict(zip(LAYERS, texts))

    return of


def test_a_caption_says_why_nothing_is_colored(result, view, captions):
    view.show(result, SEGMENT, "encoder1")
    fit()
    view.jump_to(world_of(result.ct, 32, 32, 1))  # 0.4 of the strongest.
    told = captions(result)
    assert told["encoder1"] == "encoder1" and told[EMPTY] == f"{EMPTY}\nonly negative"
    assert captions(result, threshold=0.6)["encoder1"] == "encoder1\n< threshold"
    assert captions(result, threshold=0.6, signed=True)[EMPTY] == f"{EMPTY}\n< threshold"
    assert captions(result, segment="liver")["encoder1"] == "encoder1\nno map"
    view.jump_to(world_of(result.ct, 32, 32, WITHOUT_TUMOR[0]))
    assert set(captions(result).values()) == {f"{layer}\nno map here" for layer in LAYERS}


def test_each_caption_fits_into_a_tile_of_a_narrow_panel(result, view, captions):
    view.show(result, SEGMENT, "encoder1")
    fit()
    tile = (330 - 2 * slicer_mosaic.GAP) // slicer_mosaic.COLUMNS
    seen = set()
    for k, changes in ((1, {}), (1, {"threshold": 0.6}), (0, {}), (1, {"segment": "liver"})):
        view.jump_to(world_of(result.ct, 32, 32, k))
        for text in captions(result, **changes).values():
            assert slicer_mosaic._text_mask(text, 1.0).shape[1] <= tile
            seen.add(text.partition("\n")[2])
    assert seen == {"", "< threshold", "only negative", "no map here", "no map"}


@pytest.mark.parametrize("bent", ["ct", "segmentation"])
def test_a_mosaic_of_what_a_transform_bends_is_refused(result, bent):
    """It would show another place than the slice views, which bend what they show."""
    add_bending_transform({"ct": result.ct, "segmentation": result.node}[bent])
    with pytest.raises(InputError, match="under the transform 'Bending', which bends it"):
        mosaic_of(result)


# What must be known about the map in a lesion's slice


def notes(result, layer="encoder1", k=2, colors=None):
    return notes_on_lesion(result, SEGMENT, layer, (1, world_of(result.ct, 32, 32, k)), colors)


def add_piece(result, k, rows, columns):
    """One more piece of the tumor in a slice."""
    key = result.segment_id(SEGMENT)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, result.ct)
    voxels[k, rows, columns] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result.node, key, result.ct)


@pytest.mark.parametrize("moved", [False, True])
def test_other_pieces_in_the_slice_of_a_lesion_are_told(result, moved):
    if moved:
        add_transform(shift(30, -20, 12) @ turn(180, "x"), result.ct, result.node)
    assert notes(result) == []
    add_piece(result, 2, slice(2, 4), slice(2, 4))
    (told,) = notes(result)
    assert "other pieces of liver tumor" in told and "mostly of the largest" in told
    assert notes(result, k=3) == []
    assert notes(result, layer="decoder5") == [told]  # of 4 x 4 cells


def test_pixels_that_touch_by_a_corner_are_one_piece(result):
    key = result.segment_id(SEGMENT)
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, result.ct)
    voxels[:] = 0
    for x, y in ((10, 10), (11, 11), (10, 12), (12, 10), (13, 9)):
        voxels[2, y, x] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result.node, key, result.ct)
    assert notes(result) == []
    add_piece(result, 2, 12, 12)
    assert notes(result) == []
    add_piece(result, 2, 10, 14)
    assert notes(result) == []
    add_piece(result, 2, 10, 16)
    assert len(notes(result)) == 1


def test_a_speckled_segment_is_told_as_fast_as_any():
    comb = np.zeros((512, 512), bool)
    comb[:, ::2] = comb[0] = True
    started = time.perf_counter()
    assert slicer_lesion_notes._is_one_piece(comb)
    comb[0] = False
    assert not slicer_lesion_notes._is_one_piece(comb)
    assert time.perf_counter() - started < 2


def test_a_map_is_looked_at_in_the_pixels_of_its_ct_however_many_slices_that_has(result):
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT 2")
    slicer.util.updateVolumeFromArray(ct, np.zeros((200, 48, 64), np.int8))
    plane = slicer_lesion_notes._map_plane(result.map_node(SEGMENT, "encoder1"), 2, ct)
    assert plane.zeros().shape == (64, 64)


def test_it_is_told_why_the_slice_of_a_lesion_is_blank(result):
    def told(threshold=0.2, signed=False, **where):
        return " ".join(notes(result, colors=AttentionColors(threshold=threshold, signed=signed), **where))

    assert told(k=1) == told(k=2, threshold=0.5) == ""
    assert "is above the threshold" in told(k=1, threshold=0.5) and "lower the threshold" in told(k=1, threshold=0.5)
    assert "nothing in encoder3 speaks for the segment" in told(layer=EMPTY) and told(layer=EMPTY, signed=True) == ""
    assert "smaller than the pixels that the network sees" in told(k=WITHOUT_TUMOR[0])
    assert notes(result, k=1, colors=None) == notes(result, k=20) == []


@pytest.mark.parametrize("gone", ["result", "ct", "map", "segment", "straight"])
def test_what_is_known_of_a_lesion_without(result, gone):
    place = world_of(result.ct, 32, 32, 2)
    if gone == "straight":
        add_bending_transform(result.ct)
    elif gone == "segment":
        result.node.GetSegmentation().RemoveSegment(result.segment_id(SEGMENT))
    else:
        nodes = {"result": result.node, "ct": result.ct, "map": result.map_node(SEGMENT, "encoder1")}
        slicer.mrmlScene.RemoveNode(nodes[gone])
    assert notes_on_lesion(result, SEGMENT, "encoder1", (1, place), AttentionColors()) == []


@pytest.mark.parametrize("gone", ["result", "ct", "map", "segment", "scene"])
def test_a_mosaic_of_what_is_left(result, view, gone):
    view.show(result, SEGMENT, "encoder1")
    fit()
    if gone == "scene":
        slicer.mrmlScene.Clear(False)
    elif gone == "segment":
        result.node.GetSegmentation().RemoveSegment(result.segment_id(SEGMENT))
    else:
        nodes = {"result": result.node, "ct": result.ct, "map": result.map_node(SEGMENT, "encoder4")}
        slicer.mrmlScene.RemoveNode(nodes[gone])
    assert mosaic_of(result).shape == (300, 300, 3)


# Saved and loaded


def test_a_saved_scene_brings_maps_and_colors_back(result, view, tmp_path):
    values = values_of(result.map_node(SEGMENT, "decoder3")).copy()
    view.color, view.threshold = "ember", 0.4
    view.show(result, SEGMENT, "decoder3")
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    reload(path)
    (loaded,) = SceneResult.all(slicer.mrmlScene)
    assert tuple(loaded.layers) == LAYERS
    node = loaded.map_node(SEGMENT, "decoder3")
    assert np.array_equal(values_of(node), values)
    colors = node.GetDisplayNode().GetColorNode()
    rgba = [0.0] * 4
    colors.GetColor(255, rgba)
    assert rgba == pytest.approx([*color_map("ember")[-1], 1.0], abs=0.01)
    colors.GetColor(80, rgba)
    assert rgba[3] == 0
    again = LayerView(slicer.mrmlScene)
    again.show(loaded, SEGMENT, "decoder3")
    again.hide()
    assert composite().GetForegroundVolumeID() is None


def reload(path: Path):
    slicer.mrmlScene.Clear(False)
    slicer.app.applicationLogic().OpenSlicerDataBundle(str(path), str(path.parent))
