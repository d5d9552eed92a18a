"""The module itself on the stand-in Slicer: its file loaded, its panel drawn, its buttons clicked, its nodes inspected.

Real: the module and its library, the worker process, Slicer's MRML, segmentation and slice logic, Qt's widgets.
"""

import gc
import html
import json
import re
import shutil
import sys
from dataclasses import asdict, replace
from unittest.mock import MagicMock

import numpy as np
import pytest
from slicer_module_window import PANEL_WIDTH, answer, asked, hastily, press, type_into
from slicer_panel_cases import MODEL, SEGMENT, Panel, choose_in, foreground


def red_offset(slicer) -> float:
    return slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceOffset()


def snapshot(node) -> tuple:
    """All that a user could see of a volume."""
    import slicer

    matrix = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(node)).tobytes()
    return node.GetName(), matrix, slicer.util.arrayFromVolume(node).tobytes(), node.GetTransformNodeID()


def _ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


# The module in Slicer's list


def test_the_module_introduces_itself(load):
    module = load()
    assert module.title == "HLFD Segmentation"
    assert module.categories == ["Segmentation"]
    assert "research use only" in module.helpText and "Nothing is uploaded" in module.helpText
    assert "10.1109/ISBI56570.2024.10635141" in module.acknowledgementText
    assert not module.icon.isNull()


def test_loading_the_module_starts_nothing(load):
    load()
    worker = sys.modules["HLFDSegmentationLib.slicer_scene.slicer_worker"]
    assert not worker._shared


# What can be segmented


def test_an_empty_scene(panel):
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.hintLabel.text == panel.ui.segmentButton.toolTip == "Choose the CT to segment."
    assert not panel.ui.resultControls.visible and not panel.ui.reviewControls.visible
    assert panel.ui.advancedCollapsibleButton.collapsed and panel.ui.deviceComboBox.itemText(1) == "CPU"
    panel.picture("panel_empty")


def test_the_first_ct_is_chosen_when_the_module_is_opened(quick):
    panel = quick
    assert panel.ui.inputSelector.currentNode() is panel.ct
    assert panel.ui.segmentButton.enabled and not panel.ui.hintLabel.visible
    panel.picture("panel_ready")


def test_of_two_cts_of_one_name_the_chosen_one_is_taken(quick):
    from slicer_cases import add_ct
    from slicer_shell.pyside import QtWidgets

    other = add_ct()
    other.SetName(quick.ct.GetName())
    names = quick.ui.inputSelector.findChild(QtWidgets.QComboBox)
    assert [names.itemText(index) for index in range(names.count)].count(other.GetName()) == 2
    choose_in(quick.ui.inputSelector, other)
    assert quick.parameters.inputVolume is other


def test_the_memory_that_large_probability_volumes_take_is_told_before(quick):
    """For each label of the model a volume as large as the CT, or as the region of it."""
    from slicer_cases import add_roi

    image = quick.slicer.vtkOrientedImageData()
    image.SetDimensions(640, 512, 500)  # Two labels of four bytes: 1.31 GB. Nobody touches these voxels.
    image.AllocateScalars(3, 1)
    large = quick.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Large CT")
    large.SetAndObserveImageData(image)
    quick.parameters.inputVolume = large
    assert not quick.ui.hintLabel.visible
    quick.parameters.probabilities = True
    assert quick.ui.hintLabel.text == "The probability volumes will take 1.3 GB of memory."
    quick.parameters.roi = roi = add_roi((320, 256, 250), (100, 100, 100))
    assert "GB" not in quick.ui.hintLabel.text
    roi.SetSize(640, 512, 450)
    quick.slicer.app.processEvents()
    assert "1.2 GB" in quick.ui.hintLabel.text
    roi.SetCenter(320, 256, 400)
    quick.slicer.app.processEvents()
    assert "GB" not in quick.ui.hintLabel.text
    quick.parameters.roi = None
    quick.parameters.inputVolume = quick.ct
    assert not quick.ui.hintLabel.visible


@pytest.fixture
def two_cts(quick):
    """The panel with its CT, and another one that the views show, as after loading it."""
    from slicer_cases import add_ct

    quick.other = add_ct(1, "CT 2")
    quick.slicer.util.setSliceViewerLayers(background=quick.other)
    quick.slicer.app.processEvents()
    return quick


def backgrounds(slicer) -> list:
    views = ("Red", "Green", "Yellow")
    composites = [slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode() for view in views]
    return [slicer.mrmlScene.GetNodeByID(one.GetBackgroundVolumeID() or "") for one in composites]


def test_of_two_cts_the_panel_chooses_the_one_that_the_views_show(panel):
    from slicer_cases import add_ct

    add_ct()
    shown = add_ct(1, "CT 2")
    panel.slicer.util.setSliceViewerLayers(background=shown)
    panel.open_again()
    assert panel.parameters.inputVolume is shown


def test_the_panel_says_that_the_views_show_another_ct(two_cts):
    panel, slicer = two_cts, two_cts.slicer
    assert panel.ui.segmentButton.enabled
    assert panel.ui.hintLabel.text == "The slice views show 'CT 2', not the CT that is chosen here."
    slicer.app.layoutManager().sliceWidget("Green").mrmlSliceCompositeNode().SetBackgroundVolumeID(panel.ct.GetID())
    slicer.app.processEvents()
    assert not panel.ui.hintLabel.visible
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer.app.processEvents()
    assert "'CT 2'" in panel.ui.hintLabel.text


@pytest.mark.parametrize("left", [False, True])
def test_a_result_is_seen_on_its_own_ct(two_cts, left):
    """Unless the user is in another module by then."""
    panel = two_cts
    panel.ui.segmentButton.click()
    if left:
        panel.leave()
    panel.wait(lambda: panel.widget.runPanel._run is None)
    assert backgrounds(panel.slicer) == 3 * [panel.other if left else panel.ct]


def test_a_result_is_seen_on_its_own_ct_also_when_the_map_of_another_goes(reviewed, small_model):
    from slicer_cases import add_ct
    from slicer_shell.packaging_stand_ins import packages

    panel, packages.absent = reviewed, set()
    panel.open_again()
    panel.choose_model(small_model)
    panel.ui.showMapCheckBox.click()
    panel.parameters.inputVolume = ct = add_ct(1, "CT 2")
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert backgrounds(panel.slicer) == 3 * [ct] and foreground(panel.slicer) in panel.results()[-1].maps
    panel.ui.showMapCheckBox.click()
    assert backgrounds(panel.slicer) == 3 * [ct]


def in_sight(slicer, volume) -> bool:
    """Whether the middle of every slice view lies in a volume."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    nodes = [slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode() for view in ("Red", "Green", "Yellow")]
    middles = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3] for node in nodes]
    return all((low < middle).all() and (middle < high).all() for middle in middles)


def test_the_views_go_to_a_result_whose_ct_lies_elsewhere(two_cts):
    """Scanners count from places of their own: the views would stay black."""
    panel, slicer = two_cts, two_cts.slicer
    panel.ct.SetOrigin(100, -300, -1200)
    slicer.util.setSliceViewerLayers(background=panel.other, foreground=panel.other, fit=True)
    assert in_sight(slicer, panel.other) and not in_sight(slicer, panel.ct)
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert in_sight(slicer, panel.ct)


def test_the_views_stay_on_what_is_seen_where_the_other_ct_lies_there_too(reviewed, tmp_path):
    """As two phases of one scan do: a lesion that is looked at is compared in both."""
    from slicer_cases import add_ct
    from slicer_review_cases import add_reviewed_case

    other = add_reviewed_case(tmp_path, model="b", ct=add_ct(1, "CT 2"))
    red = reviewed.slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetFieldOfView(20, 20, 1)
    choose_in(reviewed.ui.resultSelector, other.node)
    assert backgrounds(reviewed.slicer) == 3 * [other.ct]
    assert red.GetFieldOfView()[:2] == (20, 20)


@pytest.mark.parametrize("shown", ["its CT", "another volume", "a map", "a map over another volume"])
def test_a_result_that_the_user_chooses_is_seen_on_its_own_ct(reviewed, tmp_path, shown):
    from slicer_cases import add_ct
    from slicer_review_cases import add_reviewed_case

    other = add_reviewed_case(tmp_path, model="b", ct=add_ct(1, "CT 2"))
    if "another volume" in shown:
        reviewed.slicer.util.setSliceViewerLayers(background=add_ct(2, "MR"))
    reviewed.parameters.showMap = "a map" in shown
    choose_in(reviewed.ui.resultSelector, other.node)
    assert backgrounds(reviewed.slicer) == 3 * [other.ct]
    assert reviewed.parameters.showMap == ("a map" in shown) == (foreground(reviewed.slicer) in other.maps)
    reviewed.parameters.showMap = False
    assert backgrounds(reviewed.slicer) == 3 * [other.ct] and foreground(reviewed.slicer) is None


def test_views_that_show_the_ct_are_left_alone_when_a_run_ends(two_cts):
    panel, slicer = two_cts, two_cts.slicer
    green = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceCompositeNode()
    green.SetBackgroundVolumeID(panel.ct.GetID())
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert backgrounds(slicer) == [panel.other, panel.ct, panel.other]


def test_an_attention_map_is_not_taken_for_the_ct(reviewed):
    reviewed.parameters.inputVolume = None
    reviewed.slicer.mrmlScene.RemoveNode(reviewed.result.ct)
    reviewed.open_again()
    assert reviewed.parameters.inputVolume is None


def test_the_button_says_why_it_is_disabled_and_looks_again(panel):
    from slicer_cases import add_bending_transform, add_ct

    ct = add_ct()
    panel.open_again()
    add_bending_transform(ct)
    assert not panel.ui.segmentButton.enabled
    assert "bends" in panel.ui.segmentButton.toolTip and "bends" in panel.ui.hintLabel.text
    panel.picture("panel_refused_transform")
    ct.SetAndObserveTransformNodeID(None)
    assert panel.ui.segmentButton.enabled


def test_without_the_packages_the_panel_says_what_will_be_asked(panel):
    import qt
    from slicer_cases import add_ct
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = {"torch", "monai"}
    add_ct()
    panel.open_again()
    assert panel.ui.segmentButton.enabled
    assert "Not installed yet: PyTorch 2.10 or newer, MONAI 1.5 or newer. Segment asks" in panel.ui.hintLabel.text
    answer(qt.QMessageBox.Cancel)
    panel.ui.segmentButton.click()
    assert "HLFD cannot compute anything" in panel.message
    assert not panel.running and panel.ui.segmentButton.text == "Segment"
    panel.picture("panel_packages_declined")


def test_the_panel_says_that_packages_are_being_installed(quick, monkeypatch):
    """There is little else to see, for minutes."""
    import qt
    from slicer_shell.packaging_stand_ins import packages

    install, said = packages.install, []
    monkeypatch.setattr(packages, "install", lambda *names: (said.append(quick.message), install(*names)))
    packages.absent = {"torch", "monai"}
    answer(qt.QMessageBox.Ok)
    quick.ui.segmentButton.click()
    assert len(said) == 2 and all("Slicer stands still" in sentence for sentence in said)
    assert quick.message == "" and quick.running
    quick.wait_for_end()


# Models


def test_the_default_model_tells_what_it_is_and_stays(panel):
    about = panel.ui.modelAboutLabel.text
    assert "liver" in about and "MB" in about and "CC-BY-NC-SA" in about and "Dice" in about
    assert not panel.ui.removeModelButton.enabled
    assert "ships with HLFD" in panel.ui.removeModelButton.toolTip


def test_a_student_of_ones_own_tells_how_good_it_was(load):
    """Its figures are named by the cases that they were measured on."""
    from dataclasses import replace

    load()
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.slicer_panels.slicer_model_panel import about

    figures = {
        "liver": {"validation_dice": 0.91, "validation_patients": 1, "test_dice": 0.94, "test_patients": 3},
        "kidney": {"dice": 0.5, "dice_with_tumors": 0.7, "patients": 4},
    }
    text = about(replace(find_package(), metrics=figures))
    assert "liver 0.94 on test cases (3 patients), 0.91 on the cases that chose it (1 patient)" in text
    assert "kidney 0.50, with tumors 0.70 (4 patients)" in text
    assert "Dice not measured: liver tumor, kidney tumor" in text


def test_a_model_is_imported_and_a_damaged_one_refused(panel, untrained_package, models, tmp_path):
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    answer(str(untrained_package))
    panel.ui.importFolderButton.click()
    assert panel.message == "" and panel.parameters.model == MODEL
    assert (models / MODEL / "models" / "model.pt").is_file()
    assert "CC0-1.0" in panel.ui.modelAboutLabel.text and "Dice not measured" in panel.ui.modelAboutLabel.text

    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(b"PK no zip")
    answer(str(damaged))
    panel.ui.importZipButton.click()
    assert "damaged.zip" in panel.message
    assert [folder.name for folder in models.iterdir()] == [MODEL]
    panel.picture("panel_model_refused")


def test_nothing_else_is_imported_or_removed_while_a_model_is_imported(
    panel, small_model, untrained_package, models, monkeypatch
):
    panel.open_again()
    panel.choose_model(small_model)
    buttons = panel.ui.importZipButton, panel.ui.importFolderButton, panel.ui.removeModelButton, panel.ui.modelComboBox
    seen = []

    def importing(source):
        panel.widget.runPanel.refresh()  # As when a view changes meanwhile.
        seen.extend((button.enabled, button.toolTip) for button in buttons)
        return small_model

    monkeypatch.setattr("HLFDSegmentationLib.slicer_panels.slicer_model_panel.import_model", importing)
    answer(str(untrained_package))
    panel.ui.importFolderButton.click()
    assert [enabled for enabled, _ in seen] == [False] * 4
    assert all("being imported" in told for _, told in seen)
    assert all(button.enabled for button in buttons)


def test_a_model_cannot_be_checked_where_no_program_starts(panel, untrained_package, monkeypatch):
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    monkeypatch.setattr("HLFDSegmentationLib.slicer_tools.slicer_python.interpreter", lambda: "/nowhere/PythonSlicer")
    answer(str(untrained_package))
    panel.ui.importFolderButton.click()
    assert "could not be started" in panel.message and "No such file" in panel.message


def test_a_closed_file_dialog_imports_nothing(panel):
    answer("", "")
    panel.ui.importZipButton.click()
    panel.ui.importFolderButton.click()
    assert panel.message == ""


def test_a_model_is_removed_after_a_question_only(panel, small_model, models):
    import qt

    panel.choose_model(small_model)
    assert panel.ui.removeModelButton.enabled
    answer(hastily)
    panel.ui.removeModelButton.click()
    assert (models / MODEL).is_dir()
    answer(qt.QMessageBox.Yes)
    panel.ui.removeModelButton.click()
    assert not (models / MODEL).exists()
    assert MODEL in asked()[0] and "Reports of results that it made cannot be exported until then" in asked()[0]
    assert not panel.ui.removeModelButton.enabled
    assert panel.parameters.model == panel.widget.modelPanel.chosen.name != MODEL


def test_a_question_is_asked_carefully_also_without_a_main_window(slicer_shell, monkeypatch):
    from HLFDSegmentationLib.slicer_tools.slicer_careful_question import confirm_carefully

    def with_yes_by_enter(*_, **__):
        pytest.fail("Slicer's own question takes Enter for Yes.")

    monkeypatch.setattr(slicer_shell.util, "confirmYesNoDisplay", with_yes_by_enter)
    with slicer_shell.app.without_main_window():
        answer(hastily)
        assert not confirm_carefully("Delete it?", "HLFD")
    assert "Delete it?" in asked()[0]


def test_of_two_default_models_the_user_chooses(quick, tmp_path, write_untrained, monkeypatch):
    """As where HLFD was unpacked over an older one."""
    from generated_cases import TASK

    for name in ("newer", "older"):
        write_untrained(tmp_path / "shipped" / name, name)
    monkeypatch.setattr("HLFDSegmentationLib.model_store.shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr("HLFDSegmentationLib.model_store.DEFAULT_TASK", TASK.name)
    quick.open_again()
    assert quick.parameters.model == MODEL and quick.ui.segmentButton.enabled  # It was chosen in the scene.
    quick.choose_model("")
    assert quick.ui.modelComboBox.currentText == quick.parameters.model == "" and not quick.ui.segmentButton.enabled
    for label in (quick.ui.hintLabel, quick.ui.modelAboutLabel):
        assert "several default models (newer, older)" in label.text and "choose one of them" in label.text
    quick.ui.modelComboBox.setCurrentIndex(0)
    quick.open_again()
    assert quick.parameters.model == "newer" and quick.ui.segmentButton.enabled and not quick.ui.hintLabel.visible


def test_models_of_one_title_are_told_apart(panel, small_model, models, write_untrained):
    """As all are that `hlfd package` makes of one task, network and method."""
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()  # The model is made by what is there.
    combo = panel.ui.modelComboBox
    panel.choose_model(small_model)
    assert combo.currentText == "Untrained"
    write_untrained(models / "second", "Untrained")
    panel.choose_model(small_model)
    assert combo.currentText == "Untrained (untrained)"
    assert "Untrained (second)" in [combo.itemText(row) for row in range(combo.count)]


def test_the_tooltip_of_a_model_shows_each_sign_of_its_title(panel, models, write_untrained):
    import qt
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    write_untrained(models / "cysts", "Liver & <cysts>")
    panel.choose_model("cysts")
    document = qt.QTextDocument()
    document.setHtml(panel.ui.modelComboBox.toolTip)
    assert document.toPlainText() == panel.ui.modelComboBox.currentText == "Liver & <cysts>"


def test_a_damaged_model_cannot_segment(quick, models):
    (models / MODEL / "models" / "model.pt").write_bytes(b"changed")
    quick.choose_model(MODEL)
    assert not quick.ui.segmentButton.enabled
    assert "model.pt" in quick.ui.modelAboutLabel.text


# Runs, with the real worker


def test_from_the_click_to_the_report(quick, tmp_path):
    panel, before = quick, snapshot(quick.ct)
    panel.ui.probabilitiesCheckBox.click()
    panel.wait(lambda: panel.ui.deviceComboBox.count > 2 or "thread" in panel.ui.deviceComboBox.itemText(1))
    panel.ui.segmentButton.click()
    assert panel.running and panel.ui.segmentButton.text == "Cancel" and panel.ui.segmentButton.enabled
    assert not panel.ui.inputSelector.enabled and not panel.ui.importZipButton.enabled
    panel.wait(lambda: panel.ui.phaseLabel.text != "Preparing the CT")
    panel.picture("panel_running")
    panel.wait_for_end()

    assert panel.message == ""
    (result,) = panel.results()
    assert panel.ui.resultSelector.currentNode() is result.node
    assert result.ct is panel.ct and result.model == MODEL
    assert result.layers[0] == "encoder1" and result.layers[-1] == "decoder2" and len(result.layers) == 9
    assert len(result.probabilities) == 2
    assert panel.ui.measuresTable.mrmlTableNode() is result.measures_table
    assert panel.ui.reviewControls.visible and not panel.ui.reviewHintLabel.visible
    assert snapshot(panel.ct) == before
    assert panel.ui.segmentButton.text == "Segment"
    panel.picture("panel_result")

    panel.ui.misledRadioButton.click()
    destination = tmp_path / "out" / "report.html"
    answer(str(destination))
    panel.ui.exportReportButton.click()
    panel.wait(lambda: panel.ui.exportReportButton.enabled)
    assert "misled" in destination.read_text(encoding="utf-8")
    assert str(destination) in panel.message

    panel.ui.segmentButton.click()
    panel.wait(lambda: "Preparing" not in panel.ui.phaseLabel.text)
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert len(panel.results()) == 1 and panel.message == "Cancelled. Nothing was added."

    panel.ui.segmentButton.click()
    panel.wait(lambda: "Preparing" not in panel.ui.phaseLabel.text)
    panel.slicer.mrmlScene.RemoveNode(panel.ct)
    panel.wait_for_end()
    assert "its CT or its segmentation is no longer in the scene" in panel.message
    assert not panel.ui.segmentButton.enabled

    panel.slicer.mrmlScene.Clear(False)
    assert not panel.ui.resultControls.visible


def test_a_double_click_does_not_cancel_what_it_starts(quick, monkeypatch):
    monkeypatch.setattr(quick.slicer.app, "doubleClickInterval", 10_000)
    quick.ui.segmentButton.click()
    quick.ui.segmentButton.click()
    assert quick.running and quick.ui.segmentButton.text == "Cancel"
    monkeypatch.setattr(quick.slicer.app, "doubleClickInterval", 0)
    quick.ui.segmentButton.click()
    assert quick.ui.segmentButton.text == "Cancelling…"
    quick.wait_for_end()
    assert quick.message == quick.status.removeprefix("HLFD: ") == "Cancelled. Nothing was added."


def test_a_run_that_is_cancelled_by_a_key_can_be_begun_again_by_it(quick):
    """The button is grey while the run ends, and the key must not reach what comes after it meanwhile."""
    import qt

    window = quick.slicer.util.mainWindow()
    quick.ui.segmentButton.setFocus()
    for runs in (True, False, True):
        press(window.focusWidget(), qt.Qt.Key_Space)
        if not runs:
            quick.wait_for_end()
        assert quick.running == runs and not quick.ui.resultsCollapsibleButton.collapsed
    press(window.focusWidget(), qt.Qt.Key_Space)
    press(window.focusWidget(), qt.Qt.Key_Tab)
    moved = window.focusWidget()
    quick.wait_for_end()
    assert window.focusWidget() == moved != quick.ui.segmentButton  # The user went on.


@pytest.mark.parametrize("did", ["nothing", "typed", "went to another program and back"])
def test_the_focus_of_a_button_that_was_grey_is_not_taken_from_who_works_elsewhere(slicer_shell, did):
    """The key would press the button."""
    import qt
    from HLFDSegmentationLib.slicer_tools.slicer_kept_focus import KeptFocus

    window = qt.QWidget()
    layout, button, line = qt.QVBoxLayout(window), qt.QPushButton(), qt.QLineEdit()
    layout.addWidget(button)
    layout.addWidget(line)
    focus = KeptFocus(button)
    button.setFocus()
    focus.set_enabled(False)
    assert window.focusWidget() == line
    if did == "typed":
        type_into(line, "liver")
    elif did != "nothing":
        press(line, qt.Qt.Key_Alt)
    focus.set_enabled(True)
    assert window.focusWidget() == (line if did == "typed" else button)


def test_a_second_run_into_the_shown_result_shows_its_own_figures(quick):
    quick.ui.segmentButton.click()
    quick.wait_for_end()
    (result,) = quick.results()
    first = quick.ui.measuresTable.mrmlTableNode()
    quick.parameters.outputSegmentation = result.node
    quick.ui.segmentButton.click()
    quick.wait_for_end()
    assert quick.message == "" and len(result.measures_tables) == 2
    assert quick.ui.measuresTable.mrmlTableNode() is result.measures_table is not first


def are_seen(*results) -> list[bool]:
    """Whether the views show the segments of each result."""
    return [bool(result.node.GetDisplayNode().GetVisibility()) for result in results]


def test_the_result_that_the_user_chooses_is_seen_alone(quick):
    """Filled segments of two results over each other cannot be told apart. A run hides nothing by itself."""
    from slicer_cases import add_ct

    own = quick.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    own.CreateDefaultDisplayNodes()
    for _run in range(2):
        quick.ui.segmentButton.click()
        quick.wait_for_end()
    quick.parameters.inputVolume = add_ct(1, "CT 2")
    quick.ui.segmentButton.click()
    quick.wait_for_end()
    first, second, of_other_ct = quick.results()
    assert are_seen(first, second, of_other_ct) == [True, True, True]
    choose_in(quick.ui.resultSelector, first.node)
    assert are_seen(first, second, of_other_ct) == [True, False, False] and own.GetDisplayNode().GetVisibility()
    choose_in(quick.ui.resultSelector, second.node)
    assert are_seen(first, second, of_other_ct) == [False, True, False]
    choose_in(quick.ui.resultSelector, of_other_ct.node)
    assert are_seen(first, second, of_other_ct) == [False, False, True] and own.GetDisplayNode().GetVisibility()


def test_a_panel_that_cannot_show_the_parameters_once_hears_the_user_afterwards(quick):
    class Unreadable:
        def connectGui(self, ui):  # noqa: N802, Slicer's
            raise RuntimeError("no such parameter")

    with pytest.raises(RuntimeError):
        quick.widget.setParameterNode(Unreadable())
    assert not quick.widget.isShowingParameters
    quick.widget.initializeParameterNode()


def test_coming_back_after_a_run_turns_no_view_and_hides_no_result(two_cts):
    """The panel's selectors follow the result then, and Slicer tells of that as of a choice of the user's."""
    panel = two_cts
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    panel.slicer.util.setSliceViewerLayers(background=panel.other)
    panel.ui.segmentButton.click()
    panel.leave()
    panel.wait(lambda: panel.widget.runPanel._run is None)
    panel.open()
    first, second = panel.results()
    assert panel.ui.resultSelector.currentNode() is second.node
    assert backgrounds(panel.slicer) == 3 * [panel.other]
    assert are_seen(first, second) == [True, True]


def test_an_image_that_is_no_ct_is_segmented_only_if_the_user_wants(quick):
    import qt

    panel = quick
    ct = panel.slicer.util.arrayFromVolume(panel.ct).copy()
    panel.slicer.util.updateVolumeFromArray(panel.ct, np.full((6, 64, 64), 7, np.int16))
    answer(hastily)
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert not panel.results() and "all the same?" in asked()[0]

    answer(qt.QMessageBox.Yes)
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    (result,) = panel.results()
    assert result.newest_run.not_hu
    assert panel.ui.notesLabel.text.startswith("<b>Most likely wrong")
    assert panel.ui.notesLabel.textFormat == qt.Qt.RichText
    panel.picture("panel_not_ct")

    panel.slicer.util.updateVolumeFromArray(panel.ct, ct)
    panel.parameters.outputSegmentation = result.node
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert [bool(run.not_hu) for run in result.runs] == [True, False]
    notes = panel.ui.notesLabel.text.split("<br>")
    (caution,) = (place for place, note in enumerate(notes) if note.startswith("<b>Most likely wrong"))
    assert notes[caution - 1].startswith("Of an earlier run with ")
    for key in result.segments_of_run(1).values():
        result.node.GetSegmentation().RemoveSegment(key)
    panel.widget.resultPanel.refresh()
    assert "Most likely wrong" not in panel.ui.notesLabel.text


def test_a_new_region_goes_around_the_ct(quick):
    """Slicer's new box has no size: it cannot be seen, and nothing can be moved."""
    roi = quick.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    quick.ui.roiSelector.nodeAddedByUser.emit(roi)
    of_roi, of_ct = [0.0] * 6, [0.0] * 6
    roi.GetRASBounds(of_roi)
    quick.ct.GetRASBounds(of_ct)
    assert of_roi == pytest.approx(of_ct)
    assert roi.GetDisplayNode() is not None


def test_a_fault_in_the_worker_is_in_slicers_log(quick, caplog):
    from HLFDSegmentationLib.child_process.worker_protocol import Failed
    from HLFDSegmentationLib.slicer_scene.slicer_worker import shared_worker

    worker = shared_worker()
    worker._client._log.append("Traceback: what the worker said")
    worker._client._told += [Failed(1, "input", "no CT"), Failed(2, "unexpected", "Something unexpected happened.")]
    worker._deliver()
    (record,) = (one for one in caplog.records if one.levelname == "ERROR")
    assert "unexpected" in record.getMessage() and "what the worker said" in record.getMessage()


def test_the_logic_without_a_window(slicer_shell, load, small_model):
    from slicer_cases import add_ct

    load()
    from HLFDSegmentationLib.errors import HLFDError

    from HLFDSegmentation import HLFDSegmentationLogic

    ct, told = add_ct(), []
    with slicer_shell.app.without_main_window():
        logic = HLFDSegmentationLogic()
        result = logic.segment(
            ct,
            model=small_model,
            onProgress=lambda phase, share, seconds_left: told.append(share),
            onFinished=lambda finished: told.append(finished),
        )
        assert result.ct is ct and not result.layers
        assert told[-1] == result and told[:-1] == sorted(told[:-1])

        with pytest.raises(HLFDError, match="HU"):
            logic.segment(add_flat_image(), model=small_model)
        with pytest.raises(HLFDError, match="Choose the CT"):
            logic.segment(None)
        with pytest.raises(HLFDError, match="no model 'unknown'"):
            logic.segment(ct, model="unknown")

        scene, ended = slicer_shell.mrmlScene, []
        scene.StartState(scene.BatchProcessState)
        with pytest.raises(HLFDError, match="wait=False"):
            logic.segment(ct, model=small_model)
        logic.segment(ct, model=small_model, wait=False, onFinished=ended.append)
        scene.EndState(scene.BatchProcessState)
        wait_without_window(lambda: ended)

        refused = []

        def wait_within(finished):
            with pytest.raises(HLFDError, match="wait=False"):
                logic.segment(ct, model=small_model)
            refused.append(finished)

        logic.segment(ct, model=small_model, wait=False, onFinished=wait_within)
        wait_without_window(lambda: refused)

        ended = []
        run = logic.segment(ct, model=small_model, wait=False, onCancelled=lambda: ended.append("cancelled"))
        assert run.running
        run.cancel()
        wait_without_window(lambda: ended)
        assert ended == ["cancelled"]


def test_a_script_takes_a_region_a_threshold_and_its_own_segmentation_and_writes_a_report(
    slicer_shell, load, small_model, tmp_path
):
    from slicer_cases import add_ct, add_roi

    load()
    from HLFDSegmentation import HLFDSegmentationLogic

    ct, logic, bounds = add_ct(), HLFDSegmentationLogic(), np.zeros(6)
    ct.GetRASBounds(bounds)
    middle, size = bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1)
    own = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    whole = logic.segment(ct, model=small_model)
    result = logic.segment(
        ct,
        model=small_model,
        tumorThreshold=0.95,
        roi=add_roi(middle, (size[0] / 2, size[1], size[2])),
        outputSegmentation=own,
    )
    assert result.node is own and whole.segments == ["liver", "liver tumor"] and result.segments == ["liver"]
    of_liver = np.zeros(6)
    own.GetBounds(of_liver)
    assert np.ptp(of_liver[:2]) <= size[0] / 2 + 5.0  # and a voxel
    assert logic.exportReport(result, tmp_path / "report.html") == str(tmp_path / "report.html")
    assert "liver" in (tmp_path / "report.html").read_text(encoding="utf-8")

    assert logic.segment(add_flat_image(), model=small_model, allowNotHU=True).newest_run.not_hu
    asked, ended = [], []
    run = logic.segment(
        add_flat_image(), model=small_model, wait=False, onNotHU=asked.append, onFinished=lambda end: ended.append(end)
    )
    wait_without_window(lambda: asked)
    assert "HU" in asked[0] and run.running
    run.go_on()
    wait_without_window(lambda: ended)


def add_flat_image():
    import SimpleITK as sitk
    from slicer_cases import add_volume

    image = sitk.GetImageFromArray(np.full((6, 64, 64), 7, np.int16))
    return add_volume(image, "no CT")


def wait_without_window(condition) -> None:
    from slicer_shell.application import process_events_until

    process_events_until(condition, 60)


def test_slicers_end_is_the_workers_end(quick):
    worker = sys.modules["HLFDSegmentationLib.slicer_scene.slicer_worker"].shared_worker()
    quick.ui.segmentButton.click()
    quick.wait(lambda: worker._client.alive)
    quick.slicer.app.quit()
    assert not worker._client.alive


# The attention review


def test_walking_through_the_layers(reviewed):
    panel, result = reviewed, reviewed.result
    assert panel.ui.segmentComboBox.currentText == SEGMENT
    panel.ui.showMapCheckBox.click()
    for index, layer in enumerate(result.layers):
        panel.ui.layerSlider.value = index
        assert panel.parameters.layer == layer and layer in panel.ui.layerLabel.text
        for view in ("Red", "Green", "Yellow"):
            assert foreground(panel.slicer, view) is result.map_node(SEGMENT, layer)
    panel.ui.showMapCheckBox.click()
    assert foreground(panel.slicer) is None


@pytest.mark.parametrize("seen", ["nothing", "chartButton", "mosaicButton"])
def test_who_moves_the_layer_slider_sees_the_layer(reviewed, seen):
    """The map comes where nothing else shows what the slider changes."""
    panel = reviewed
    if seen != "nothing":
        getattr(panel.ui, seen).click()
    panel.parameters.layer = "encoder1"
    panel.open_again()
    assert not panel.ui.showMapCheckBox.checked
    panel.ui.layerSlider.value = 3
    assert panel.ui.showMapCheckBox.checked == (seen == "nothing")
    assert (foreground(panel.slicer) is panel.result.map_node(SEGMENT, "encoder4")) == (seen == "nothing")


def test_a_volume_that_is_loaded_takes_the_place_of_the_map_and_stays(reviewed, tmp_path):
    panel, slicer = reviewed, reviewed.slicer
    assert slicer.util.saveNode(panel.result.ct, str(tmp_path / "pet.nrrd"))
    panel.ui.showMapCheckBox.click()
    pet = slicer.util.loadVolume(str(tmp_path / "pet.nrrd"))
    panel.wait(lambda: not panel.ui.showMapCheckBox.checked, seconds=5)
    panel.ui.opacitySlider.value = 0.3
    for view in ("Red", "Green", "Yellow"):
        composite = slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == pet.GetID() and foreground(slicer, view) is None
    panel.ui.showMapCheckBox.click()
    assert foreground(slicer) is panel.result.map_node(SEGMENT, panel.parameters.layer)


@pytest.mark.parametrize("views", [("Red",), ("Red", "Green", "Yellow")])
def test_a_map_lies_over_no_ct_that_the_user_shows_in_place_of_its_own(reviewed, views):
    """As with the eye in the Data module, which leaves the foreground as it is."""
    from slicer_cases import add_ct

    panel, slicer = reviewed, reviewed.slicer
    panel.ui.showMapCheckBox.click()
    other = add_ct(1, "CT 2")
    for view in views:
        slicer.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode().SetBackgroundVolumeID(other.GetID())
    panel.wait(lambda: foreground(slicer) is None, seconds=5)
    assert panel.ui.showMapCheckBox.checked == (views == ("Red",))
    map_node = panel.result.map_node(SEGMENT, panel.parameters.layer)
    for view, shown in zip(("Red", "Green", "Yellow"), backgrounds(slicer)):
        assert (shown is other) == (view in views)
        assert foreground(slicer, view) is (None if view in views else map_node)


def test_arrow_keys_walk_through_the_layers(reviewed):
    from slicer_shell.pyside import QtCore, QtGui, QtWidgets

    slider = reviewed.ui.layerSlider
    slider.value = 3
    for key, expected in ((QtCore.Qt.Key_Right, "encoder5"), (QtCore.Qt.Key_Left, "encoder4")):
        press = QtGui.QKeyEvent(QtCore.QEvent.KeyPress, key, QtCore.Qt.NoModifier)
        QtWidgets.QApplication.sendEvent(slider, press)
        assert reviewed.parameters.layer == expected


def test_the_look_reaches_the_views(reviewed):
    panel, result = reviewed, reviewed.result
    panel.ui.showMapCheckBox.click()
    panel.ui.layerSlider.value = 4
    display = result.map_node(SEGMENT, "encoder5").GetDisplayNode()
    panel.ui.opacitySlider.value = 0.3
    composite = panel.slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)

    def opacities() -> list[float]:
        color = [0.0] * 4
        table = display.GetColorNode()
        return [table.GetColor(index, color) and color[3] for index in range(table.GetNumberOfColors())]

    panel.ui.thresholdSlider.value = 0.5
    assert opacities()[100] == 0 and opacities()[200] > 0

    def colors() -> tuple:
        color = [0.0] * 4
        display.GetColorNode().GetColor(200, color)
        return tuple(color)

    before = colors()
    panel.ui.colorMapComboBox.setCurrentIndex(1)
    assert colors() != before
    panel.ui.signedCheckBox.click()
    assert display.GetWindowLevelMin() == -1 and not panel.ui.colorMapComboBox.enabled
    legends = panel.slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert len(legends) == 1
    panel.ui.legendCheckBox.click()
    assert not panel.slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")


def test_going_to_the_maximum_and_to_the_lesions(reviewed):
    from generated_cases import SPACING_MM
    from slicer_review_cases import BUSIEST

    panel = reviewed
    panel.ui.mostAttentionButton.click()
    assert red_offset(panel.slicer) == pytest.approx(BUSIEST * SPACING_MM[2])
    rows = [panel.ui.lesionList.item(row).text() for row in range(panel.ui.lesionList.count)]
    assert len(rows) == 3 and "1.0 mL" in rows[1] and "10 mm" in rows[1]
    panel.ui.lesionList.setCurrentRow(2)
    assert red_offset(panel.slicer) == pytest.approx(2 * SPACING_MM[2])
    assert "lesion 2" in panel.ui.readingLabel.text


def test_a_message_with_a_long_path_does_not_widen_the_panel(panel):
    path = "\\".join(
        ["C:", "Users", "Administrator", "Documents", "patient_0123_abdomen_portal_venous_phase_1mm_recon.nii.gz"]
    )
    top = panel.module.widgetRepresentation()
    narrow = top.minimumSizeHint.width()
    panel.widget.showProblem(f"{path} cannot be read.")
    panel.slicer.app.processEvents()
    assert top.minimumSizeHint.width() <= max(narrow, 450)
    assert panel.message == f"{path} cannot be read."


def test_what_is_in_the_scene_when_the_panel_is_opened_does_not_widen_it(slicer_shell, load, tmp_path):
    """As Slicer's node selectors do, which are as wide as the longest name that they find at first."""
    from HLFDSegmentationLib.slicer_tools.slicer_message import BREAK
    from slicer_review_cases import add_reviewed_case
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = {"torch"}
    result = add_reviewed_case(tmp_path, model=72 * "m")
    result.ct.SetName(f"6: Abdomen portal venous 1.0 Br40 S3 {84 * 'x'}")
    result.node.SetName(f"{result.ct.GetName()} segmented")
    (tmp_path / "other").mkdir()
    other = add_reviewed_case(tmp_path / "other", model=72 * "n", ct=result.ct)
    roi = slicer_shell.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", 72 * "w")
    panel = Panel(slicer_shell, load())
    panel.show_result(result)
    panel.parameters.roi, panel.parameters.comparedResult, panel.parameters.device = roi, other.node, 72 * "d"
    panel.ui.compareButton.click()
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.slicer.app.processEvents()
    texts = panel.ui.hintLabel.text + panel.ui.readingLabel.text
    assert all(72 * letter in texts.replace(BREAK, "") for letter in "wm")
    assert panel.module.widgetRepresentation().minimumSizeHint.width() <= PANEL_WIDTH
    assert panel.ui.compareSelector.width > 1.5 * panel.ui.compareButton.width


def test_the_title_of_a_reading_shows_each_sign_of_a_name(reviewed):
    reviewed.widget.reviewPanel._readings._segment = "uterus & ovary"
    reviewed.widget.reviewPanel._readings._show_reading()
    assert "uterus & ovary" in reviewed.ui.readingLabel.text


def click_on(view, row: int, column: int = 0) -> None:
    """A click on a row of a list or a table."""
    from slicer_shell.pyside import QtCore, QtGui, QtWidgets

    place = view.visualRect(view.model().index(row, column)).center()
    viewport = view.viewport()
    for kind in (QtCore.QEvent.MouseButtonPress, QtCore.QEvent.MouseButtonRelease):
        left, none = QtCore.Qt.LeftButton, QtCore.Qt.NoModifier
        event = QtGui.QMouseEvent(kind, place, viewport.mapToGlobal(place), left, left, none)
        QtWidgets.QApplication.sendEvent(viewport, event)


def press_enter(view, row: int, column: int) -> None:
    from slicer_shell.pyside import QtCore, QtGui, QtWidgets

    view.setCurrentIndex(view.model().index(row, column))
    for kind in (QtCore.QEvent.KeyPress, QtCore.QEvent.KeyRelease):
        event = QtGui.QKeyEvent(kind, QtCore.Qt.Key_Return, QtCore.Qt.NoModifier)
        QtWidgets.QApplication.sendEvent(view, event)


def test_a_lesion_is_gone_to_again_by_another_click(reviewed, monkeypatch):
    panel, places = reviewed, []
    monkeypatch.setattr(panel.widget.reviewPanel._readings, "_on_lesion", places.append)
    (_one, first), (_two, second) = panel.result.lesions(SEGMENT)
    for row, expected in ((1, [first]), (1, [first, first]), (2, [first, first, second]), (0, [first, first, second])):
        click_on(panel.ui.lesionList, row)
        panel.slicer.app.processEvents()
        assert places == expected


def test_a_click_in_the_table_goes_to_lesion_and_segment(reviewed):
    """Also of a result without attention, which has no list of lesions."""
    from generated_cases import SPACING_MM

    panel = reviewed
    for node in panel.result.maps:
        panel.slicer.mrmlScene.RemoveNode(node)
    panel.parameters.parameterNode.Modified()
    panel.slicer.app.processEvents()
    assert not panel.ui.lesionList.visible
    for row, slices in ((1, [4]), (2, [2]), (0, [1, 2, 3, 4])):
        click_on(panel.ui.measuresTable, row, 2)
        assert any(red_offset(panel.slicer) == pytest.approx(k * SPACING_MM[2]) for k in slices)
    press_enter(panel.ui.measuresTable, 1, 2)
    assert red_offset(panel.slicer) == pytest.approx(4 * SPACING_MM[2])


@pytest.mark.parametrize("moved_mm", [0, 100])
def test_a_place_in_a_note_can_be_clicked(reviewed, moved_mm):
    """As by the keyboard. The CT may have been moved since. In older scenes, places are told by whole numbers."""
    import qt
    from generated_cases import SPACING_MM, blob_case
    from HLFDSegmentationLib.axial_volume import AxialVolume
    from HLFDSegmentationLib.slicer_scene.slicer_ct import part_of
    from HLFDSegmentationLib.slicer_scene.slicer_scene_result import RUNS_ATTRIBUTE
    from slicer_cases import add_transform, shift

    panel, result = reviewed, reviewed.result
    places = [AxialVolume(blob_case(0)[0]).place(np.array([k, 20, 30])) for k in (1, 4)]
    told_to_voxel = part_of(result.ct).told_to_voxel.ravel().tolist()
    places[1] = re.sub(r"\.\d", "", places[1])
    note = f"Left & right: {'; '.join(places)}."
    run = replace(result.newest_run, notes=[note], told_to_voxel=told_to_voxel)
    result.node.SetAttribute(RUNS_ATTRIBUTE, json.dumps([asdict(run)]))
    if moved_mm:
        add_transform(shift(0, 0, moved_mm), result.ct, result.node)
    panel.widget.resultPanel.refresh()
    label = panel.ui.notesLabel
    assert re.sub("<.*?>", "", label.text).endswith(html.escape(note))
    label.setFocus()
    for k in (1, 4):
        press(label, qt.Qt.Key_Tab)
        press(label, qt.Qt.Key_Return)
        right, anterior, superior = -30 * SPACING_MM[0], -20 * SPACING_MM[1], k * SPACING_MM[2] + moved_mm
        crosshair = panel.slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        assert crosshair.GetCrosshairRAS() == pytest.approx((right, anterior, superior), abs=0.06)
        assert red_offset(panel.slicer) == pytest.approx(superior, abs=0.06)
    panel.picture("panel_places")
    panel.slicer.mrmlScene.RemoveNode(result.ct)
    label.linkActivated.emit("1,2,3")
    panel.slicer.app.processEvents()
    assert label.text.endswith(html.escape(note))  # Without links, as they would lead nowhere.


@pytest.mark.parametrize("told_to_voxel", [[1.0, 2.0], "abc", [None] * 16])
def test_a_note_is_shown_also_where_its_places_are_damaged_in_the_scene(reviewed, told_to_voxel):
    from HLFDSegmentationLib.slicer_scene.slicer_scene_result import RUNS_ATTRIBUTE

    result, note = reviewed.result, "Look at L 4.0, P 3.0, S 2.0 mm."
    run = replace(result.newest_run, notes=[note], told_to_voxel=told_to_voxel)
    result.node.SetAttribute(RUNS_ATTRIBUTE, json.dumps([asdict(run)]))
    reviewed.widget.resultPanel.refresh()
    assert reviewed.ui.notesLabel.text.endswith(note)


def test_places_in_notes_are_where_the_worker_saw_them_in_a_ct_that_a_transform_stretches(quick):
    from HLFDSegmentationLib.slicer_scene.slicer_ct import part_of
    from slicer_cases import add_transform

    add_transform(np.diag([1.0, 1.0, 2.0, 1.0]), quick.ct)
    part = part_of(quick.ct)
    quick.ui.segmentButton.click()
    quick.wait_for_end()
    (result,) = quick.results()
    left, posterior, superior = part.grid.origin
    to_voxel = np.reshape(result.newest_run.told_to_voxel, (4, 4))
    assert to_voxel @ [-left, -posterior, superior, 1.0] == pytest.approx([0, 0, 0, 1], abs=1e-6)


def test_what_to_know_of_the_map_of_a_lesion_is_told_below_the_reading(reviewed):
    panel, note, result = reviewed, reviewed.ui.lesionNoteLabel, reviewed.result
    key = result.segment_id(SEGMENT)
    voxels = panel.slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, result.ct)
    voxels[4, :2, :2] = 1
    panel.slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result.node, key, result.ct)
    assert not note.visible
    list_top = panel.ui.lesionList.y
    panel.ui.lesionList.setCurrentRow(2)
    assert not note.visible
    panel.ui.lesionList.setCurrentRow(1)
    assert note.visible and "lesion 1" in note.text and "other pieces" in note.text and "threshold" not in note.text
    panel.ui.layerSlider.value = 0  # It shows the map.
    panel.ui.thresholdSlider.value = 0.55
    assert "lower the threshold" in note.text
    panel.picture("panel_lesion_note")
    assert panel.ui.lesionList.y == list_top  # or the mouse that chose a lesion would be over another one
    panel.ui.lesionList.setCurrentRow(2)
    assert not note.visible
    panel.ui.thresholdSlider.value = 0.65
    assert note.visible and "lower the threshold" in note.text and "other pieces" not in note.text
    panel.ui.showMapCheckBox.click()
    assert not note.visible
    panel.ui.mosaicButton.click()
    assert "lower the threshold" in note.text


def test_where_an_organs_lesions_are_is_told(quick):
    import qt

    quick.ui.segmentButton.click()
    quick.wait_for_end()
    rows, segments = quick.ui.lesionList, quick.ui.segmentComboBox
    for segment in ("liver", "liver tumor"):
        segments.setCurrentIndex(segments.findText(segment))
        texts = [rows.item(row).text() for row in range(rows.count)]
        assert ("Lesions are listed under the tumor segments" in texts) == (segment == "liver")
    segments.setCurrentIndex(segments.findText("liver"))
    assert not int(rows.item(rows.count - 1).flags()) & (qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
    click_on(rows, rows.count - 1)
    assert rows.currentRow == 0
    quick.picture("panel_organ")


@pytest.mark.parametrize("rows", [3, 40])
def test_list_and_table_are_as_high_as_what_is_in_them(reviewed, rows):
    panel, table = reviewed, reviewed.result.measures_table
    for number in range(table.GetNumberOfRows(), rows):
        table.AddEmptyRow()
        for column, text in (("segment", SEGMENT), ("lesion", str(number)), ("volume_mL", "1")):
            table.SetCellText(table.GetNumberOfRows() - 1, table.GetColumnIndex(column), text)
        for column in ("center_R_mm", "center_A_mm", "center_S_mm", "longest_axial_diameter_mm"):
            table.SetCellText(table.GetNumberOfRows() - 1, table.GetColumnIndex(column), "1")
    panel.parameters.result = None
    panel.show_result(panel.result)
    panel.picture(f"panel_{rows}_rows")
    cells, lesions = panel.ui.measuresTable, panel.ui.lesionList
    last = cells.visualRect(cells.model().index(rows - 1, 0)).bottom()
    assert lesions.count == rows
    if rows == 3:
        assert abs(cells.viewport().height - last) < 5
        assert not cells.verticalScrollBar().visible and not lesions.verticalScrollBar().visible
        assert lesions.height < 80
    else:
        assert (cells.height, lesions.height) == (380, 170)


@pytest.mark.parametrize(("share", "told"), [("0.0036", "0.4 %"), ("0.0962", "9.6 %"), ("0.424", "42 %")])
def test_the_panel_rounds_a_focus_as_the_report_does(reviewed, share, told):
    table = reviewed.result.focus_table
    for row in range(table.GetNumberOfRows()):
        table.SetCellText(row, table.GetColumnIndex("Focus"), share)
    reviewed.ui.layerSlider.value = reviewed.result.layers.index("decoder4")
    assert reviewed.ui.layerLabel.text == f"decoder4 · focus {told}"


def test_a_layer_without_attention_says_so(reviewed):
    from slicer_review_cases import EMPTY

    panel = reviewed
    panel.ui.showMapCheckBox.click()
    panel.ui.layerSlider.value = panel.result.layers.index(EMPTY)
    assert panel.ui.layerLabel.text == EMPTY
    assert "its positive map is empty" in panel.ui.reviewHintLabel.text
    panel.ui.mostAttentionButton.click()
    assert "Choose another layer" in panel.ui.reviewHintLabel.text and panel.message == ""
    panel.ui.layerSlider.value = 0
    assert not panel.ui.reviewHintLabel.visible


def test_chart_and_mosaic(reviewed):
    panel = reviewed
    layout = panel.slicer.app.layoutManager()
    before = layout.layout
    panel.ui.chartButton.click()
    (chart,) = panel.slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert SEGMENT in chart.GetTitle()
    panel.ui.layerSlider.value = 7
    panel.ui.mostAttentionButton.click()
    panel.ui.mosaicButton.click()
    first = panel.ui.mosaicLabel.pixmap
    assert panel.ui.mosaicLabel.visible and first.width() > 300
    panel.picture("panel_review")
    picture = panel.ui.mosaicLabel.pixmap.toImage()
    panel.slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSliceByOffsetting(0, 0, 16)
    panel.wait(lambda: panel.ui.mosaicLabel.pixmap.toImage() != picture)
    for button in (panel.ui.chartButton, panel.ui.mosaicButton):
        button.click()
    assert not panel.slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert layout.layout == before and not panel.ui.mosaicLabel.visible


def test_all_layers_of_what_a_transform_bends_are_refused_in_a_sentence(reviewed):
    from slicer_cases import add_bending_transform

    add_bending_transform(reviewed.result.ct)
    reviewed.ui.mosaicButton.click()
    assert "under the transform 'Bending'" in reviewed.ui.mosaicLabel.text
    reviewed.result.ct.SetAndObserveTransformNodeID(None)
    reviewed.parameters.opacity = 0.5
    reviewed.wait(lambda: not reviewed.ui.mosaicLabel.text, seconds=5)


def test_the_mosaic_is_as_wide_as_the_panel_and_never_widens_it(reviewed, monkeypatch):
    from slicer_shell.pyside import QtWidgets

    panel, ui, window = reviewed, reviewed.ui, reviewed.slicer.util.mainWindow()
    narrow = ui.reviewControls.minimumSizeHint.width()
    ui.mosaicButton.click()
    for width in (700, 420):
        window.resize(width, window.height)
        panel.wait(lambda: ui.mosaicLabel.pixmap.width() == ui.mosaicLabel.width, seconds=5)
    assert ui.reviewControls.minimumSizeHint.width() == narrow
    review_panel = sys.modules["HLFDSegmentationLib.slicer_panels.slicer_review_panel"]
    pixmap_of, made = review_panel.pixmap_of, []
    monkeypatch.setattr(review_panel, "pixmap_of", lambda *picture: made.append(pixmap_of(*picture)) or made[-1])
    monkeypatch.setattr(QtWidgets.QLabel, "devicePixelRatioF", lambda label: 2.0)
    panel.parameters.opacity = 0.5
    panel.wait(lambda: made, seconds=5)
    assert (made[-1].width(), made[-1].devicePixelRatio()) == (2 * ui.mosaicLabel.width, 2)


def test_a_mosaic_that_cannot_be_shown_says_so_in_its_place_until_it_can(reviewed, monkeypatch):
    from HLFDSegmentationLib.errors import OutputError

    def refuse(*_arguments):
        raise OutputError("The disk is full.")

    panel, shown = reviewed, reviewed.ui.mosaicLabel
    with monkeypatch.context() as full:
        full.setattr("HLFDSegmentationLib.slicer_panels.slicer_review_panel.pixmap_of", refuse)
        panel.ui.mosaicButton.click()
        assert shown.text == "The disk is full." and panel.message == ""
    panel.parameters.opacity = 0.5
    panel.wait(lambda: not shown.text, seconds=5)
    assert not shown.pixmap.isNull()


def test_a_picture_that_the_disk_takes_none_of_is_told(reviewed, monkeypatch):
    """VTK's writer tells of nothing."""
    monkeypatch.setattr("HLFDSegmentationLib.slicer_tools.slicer_pictures.vtk.vtkPNGWriter", MagicMock())
    reviewed.ui.mosaicButton.click()
    assert "Free some space" in reviewed.ui.mosaicLabel.text


def test_a_map_goes_with_its_ct(reviewed):
    panel = reviewed
    panel.parameters.showMap = True
    assert foreground(panel.slicer)
    panel.slicer.mrmlScene.RemoveNode(panel.result.ct)
    panel.wait(lambda: foreground(panel.slicer) is None, seconds=5)
    assert panel.ui.reviewHintLabel.text


def test_a_view_without_a_name_is_a_users(reviewed):
    """A script or another extension may have added one."""
    panel = reviewed
    panel.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    panel.parameters.showMap = True
    assert foreground(panel.slicer)
    panel.slicer.mrmlScene.Clear(0)
    assert foreground(panel.slicer) is None and panel.message == ""


def test_readings_belong_to_layer_and_lesion(reviewed, tmp_path):
    panel = reviewed
    panel.ui.layerSlider.value = 0
    panel.ui.onTargetRadioButton.click()
    panel.ui.commentLineEdit.text = "follows the margin"
    panel.ui.commentLineEdit.editingFinished.emit()
    panel.ui.layerSlider.value = 1
    assert panel.ui.notReadRadioButton.checked and panel.ui.commentLineEdit.text == ""
    panel.ui.lesionList.setCurrentRow(1)
    panel.ui.misledRadioButton.click()
    panel.ui.layerSlider.value = 0
    panel.ui.lesionList.setCurrentRow(0)
    assert panel.ui.onTargetRadioButton.checked and panel.ui.commentLineEdit.text == "follows the margin"

    destination = tmp_path / "readings.csv"
    answer(str(destination))
    panel.ui.exportReadingsButton.click()
    whose = f'"{panel.result.name}",{panel.result.model}'
    assert destination.read_text(encoding="utf-8-sig").splitlines()[1:] == [
        f"{whose},{SEGMENT},encoder1,,on target,follows the margin",
        f"{whose},{SEGMENT},encoder2,1,misled,",
    ]
    panel.ui.notReadRadioButton.click()
    panel.ui.commentLineEdit.text = ""
    panel.ui.commentLineEdit.editingFinished.emit()
    assert panel.result.readings_table.GetNumberOfRows() == 1


def test_what_was_typed_is_kept_where_it_was_typed(reviewed, tmp_path):
    """Also when a run ends meanwhile, and shows its own result."""
    from slicer_review_cases import add_reviewed_case

    panel = reviewed
    (tmp_path / "other").mkdir()
    other = add_reviewed_case(tmp_path / "other", model="undistilled", ct=panel.result.ct)
    comment = panel.ui.commentLineEdit
    comment.setFocus()
    comment.insert("at the margin")
    panel.parameters.parameterNode.Modified()
    assert comment.text == "at the margin"
    panel.parameters.result = other.node
    assert comment.text == "" and other.readings_table is None
    panel.show_result(panel.result)
    assert comment.text == "at the margin"


def test_readings_that_cannot_be_written_are_a_sentence(reviewed, tmp_path):
    (tmp_path / "file").touch()
    answer(str(tmp_path / "file" / "readings.csv"))
    reviewed.ui.exportReadingsButton.click()
    assert "could not be written" in reviewed.message


def test_comparing_two_results(reviewed, tmp_path):
    from slicer_review_cases import add_reviewed_case

    panel = reviewed
    layout = panel.slicer.app.layoutManager()
    before = layout.layout
    panel.ui.compareButton.click()
    assert "Choose the result to compare with" in panel.message and not panel.ui.compareButton.checked

    (tmp_path / "other").mkdir()
    other = add_reviewed_case(tmp_path / "other", model="undistilled", ct=panel.result.ct)
    panel.parameters.comparedResult = other.node
    panel.ui.showMapCheckBox.click()
    panel.ui.compareButton.click()
    assert panel.message == "" and layout.layout != before
    panel.ui.layerSlider.value = 5
    layer = panel.parameters.layer
    assert foreground(panel.slicer, "HLFDLeft") is panel.result.map_node(SEGMENT, layer)
    assert foreground(panel.slicer, "HLFDRight") is other.map_node(SEGMENT, layer)
    panel.picture("panel_compare")
    panel.ui.compareButton.click()
    assert layout.layout == before
    assert foreground(panel.slicer) is panel.result.map_node(SEGMENT, layer)


def test_both_compared_results_are_seen_while_they_are_compared(reviewed, tmp_path):
    from slicer_review_cases import add_reviewed_case

    panel = reviewed
    others = []
    for name in ("undistilled", "third"):
        (tmp_path / name).mkdir()
        others.append(add_reviewed_case(tmp_path / name, model=name, ct=panel.result.ct))
    choose_in(panel.ui.resultSelector, others[1].node)
    choose_in(panel.ui.resultSelector, panel.result.node)
    panel.parameters.comparedResult = others[0].node
    assert are_seen(panel.result, *others) == [True, False, False]
    panel.ui.compareButton.click()
    assert are_seen(panel.result, *others) == [True, True, False]
    choose_in(panel.ui.resultSelector, others[1].node)
    assert not panel.ui.compareButton.checked
    assert are_seen(panel.result, *others) == [False, False, True]


@pytest.fixture
def compared(reviewed, tmp_path):
    """The panel with two results side by side."""
    from slicer_review_cases import add_reviewed_case

    (tmp_path / "other").mkdir()
    reviewed.other = add_reviewed_case(tmp_path / "other", model="undistilled", ct=reviewed.result.ct)
    reviewed.parameters.comparedResult = reviewed.other.node
    reviewed.ui.compareButton.click()
    assert reviewed.ui.compareButton.checked and not reviewed.ui.showMapCheckBox.enabled
    return reviewed


def test_a_reading_while_comparing_says_of_which_result_it_is(compared):
    title = compared.ui.readingLabel.text
    assert title.startswith("View 1") and compared.result.model in title
    compared.ui.onTargetRadioButton.click()
    assert compared.result.readings_table is not None and compared.other.readings_table is None
    compared.ui.compareButton.click()
    assert compared.ui.readingLabel.text.startswith("Your reading: ")


def test_all_layers_are_those_of_the_slice_that_is_compared(compared):
    """The red view, hidden meanwhile, stays where it is."""
    from generated_cases import SPACING_MM
    from HLFDSegmentationLib.slicer_panels.slicer_comparison import LEFT

    def picture():
        return panel.ui.mosaicLabel.pixmap.toImage()

    def drawn_anew_where(view, k) -> bool:
        panel.wait(lambda: not panel.widget.reviewPanel._mosaic_timer.active, seconds=5)
        before = picture()
        node = panel.slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
        node.JumpSliceByOffsetting(0, 0, k * SPACING_MM[2])
        panel.wait(lambda: not panel.widget.reviewPanel._mosaic_timer.active, seconds=5)
        return picture() != before

    panel = compared
    panel.ui.mosaicButton.click()
    assert drawn_anew_where(LEFT, 1) and not drawn_anew_where("Red", 4)
    panel.ui.compareButton.click()
    assert not drawn_anew_where(LEFT, 2) and drawn_anew_where("Red", 1)
    panel.ui.compareButton.click()
    assert drawn_anew_where(LEFT, 4)


@pytest.mark.parametrize("left", [False, True])
def test_another_layout_ends_the_comparison(compared, left):
    """In its views the two segmentations would be missing."""
    panel, slicer = compared, compared.slicer
    if left:
        panel.leave()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    slicer.app.processEvents()
    for result in (panel.result, panel.other):
        assert list(result.node.GetDisplayNode().GetViewNodeIDs()) == []
    assert not panel.ui.compareButton.checked and panel.ui.showMapCheckBox.enabled
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("deleted", ["result", "other"])
def test_a_compared_result_that_is_deleted_ends_the_comparison(compared, left, deleted):
    panel = compared
    if left:
        panel.leave()
    kept = panel.other if deleted == "result" else panel.result
    panel.slicer.mrmlScene.RemoveNode(getattr(panel, deleted).node)
    panel.slicer.app.processEvents()
    assert list(kept.node.GetDisplayNode().GetViewNodeIDs()) == []
    assert not panel.ui.compareButton.checked


def test_compared_results_leave_the_memory_when_they_are_deleted(compared):
    import qt
    import vtk

    panel, kept = compared, vtk.vtkWeakReference()
    kept.Set(panel.other.node)
    panel.slicer.app.processEvents()
    panel.ui.compareButton.click()
    panel.slicer.mrmlScene.RemoveNode(panel.other.node)
    panel.slicer.app.processEvents()
    panel.other = None
    # Qt deletes later only where control comes back to its own loop, of which a test has none.
    qt.QCoreApplication.sendPostedEvents(None, int(qt.QEvent.DeferredDelete))
    gc.collect()
    assert kept.Get() is None


def test_a_result_without_attention_says_how_to_get_it(reviewed):
    panel = reviewed
    for node in panel.result.maps:
        panel.slicer.mrmlScene.RemoveNode(node)
    panel.parameters.parameterNode.Modified()
    assert not panel.ui.reviewControls.visible
    assert "Switch it on under Advanced" in panel.ui.reviewHintLabel.text


def test_readings_and_report_of_a_result_without_maps_can_be_exported(reviewed, tmp_path):
    panel = reviewed
    panel.ui.misledRadioButton.click()
    for node in panel.result.maps:
        panel.slicer.mrmlScene.RemoveNode(node)
    panel.parameters.parameterNode.Modified()
    assert panel.ui.exportReportButton.visible and panel.ui.exportReadingsButton.visible
    destination = tmp_path / "readings.csv"
    answer(str(destination))
    panel.ui.exportReadingsButton.click()
    assert "misled" in destination.read_text(encoding="utf-8-sig")
    panel.picture("panel_without_maps")


def test_without_the_packages_export_report_asks_as_segment_does(reviewed):
    """It told of a call to make in Python."""
    import qt
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = {"torch"}
    reviewed.open_again()
    answer(qt.QMessageBox.Cancel)
    reviewed.ui.exportReportButton.click()
    assert "HLFD cannot compute anything" in reviewed.message and "Logic()" not in reviewed.message
    answer(qt.QMessageBox.Ok, "")
    reviewed.ui.exportReportButton.click()
    assert packages.absent == set() and reviewed.message == ""
    assert "Not installed" not in reviewed.ui.hintLabel.text


def test_the_report_of_a_result_whose_model_was_removed_says_what_to_import(reviewed, tmp_path):
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    answer(str(tmp_path / "report.html"))
    reviewed.ui.exportReportButton.click()
    assert "model 'student' that made this result, and that is not installed here. Import it" in reviewed.message
    assert "Segments and readings stay" in reviewed.message
    assert reviewed.ui.exportReportButton.enabled and not (tmp_path / "report.html").exists()


def test_what_a_button_has_to_say_is_seen_whatever_is_collapsed_or_scrolled_away(reviewed):
    reviewed.ui.segmentCollapsibleButton.collapsed = True
    reviewed.ui.compareButton.click()
    assert "Choose the result to compare with" in reviewed.message
    assert "Choose the result to compare with" in reviewed.status


def test_good_news_leave_the_panel_where_it_is_scrolled_to(reviewed):
    from slicer_shell.pyside import QtWidgets

    panel, window = reviewed, reviewed.slicer.util.mainWindow()
    area = QtWidgets.QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(panel.module.widgetRepresentation())
    window.setCentralWidget(area)
    panel.slicer.app.processEvents()  # Until then the window is at least as high as the panel.
    window.resize(460, 400)
    panel.slicer.app.processEvents()
    bar = area.verticalScrollBar()
    bar.setValue(bar.maximum)
    panel.widget.showNews("The report is written.")
    panel.slicer.app.processEvents()
    assert bar.value > 100 and panel.message == "The report is written."
    panel.widget.showProblem("The disk is full.")
    panel.slicer.app.processEvents()
    assert bar.value < 20
    area.takeWidget()


def test_what_is_gray_says_why(compared, small_model):
    from slicer_shell.packaging_stand_ins import packages

    panel, ui = compared, compared.ui
    for widget in (ui.chartButton, ui.showMapCheckBox):
        assert not widget.enabled and widget.toolTip == "End Side by side first."
    ui.compareButton.click()
    assert ui.chartButton.enabled and "Show a chart" in ui.chartButton.toolTip
    ui.signedCheckBox.click()
    assert ui.colorMapComboBox.toolTip == "A signed map has colors of its own."
    ui.signedCheckBox.click()
    assert "Color map of the attention" in ui.colorMapComboBox.toolTip
    packages.absent = set()
    panel.open_again()
    panel.choose_model(small_model)
    in_a_run = ui.inputSelector, ui.modelComboBox, ui.importZipButton, ui.removeModelButton
    usual = [widget.toolTip for widget in in_a_run]
    ui.segmentButton.click()
    assert {widget.toolTip for widget in in_a_run} == {"Wait for the run to end, or cancel it."}
    assert not any(widget.enabled for widget in in_a_run)
    panel.wait_for_end()
    assert [widget.toolTip for widget in in_a_run] == usual and all(widget.enabled for widget in in_a_run)


def test_each_label_is_of_a_control_for_keyboard_and_screen_reader(panel):
    from slicer_shell.pyside import QtWidgets

    labels = panel.module.widgetRepresentation().findChildren(QtWidgets.QLabel)
    titles = [label for label in labels if label.text.endswith(":")]
    assert len(titles) == 16 and all(label.buddy() is not None for label in titles)
    keys = [label.text[label.text.index("&") + 1].upper() for label in titles if "&" in label.text]
    assert len(set(keys)) == len(keys) and not set(keys) & set("FEVH")  # Slicer's menus
    assert panel.ui.layerTitleLabel.text == "&Layer:" and panel.ui.layerTitleLabel.buddy() is panel.ui.layerSlider
    named = panel.ui.measuresTable, panel.ui.lesionList, panel.ui.commentLineEdit, panel.ui.progressBar
    assert all(widget.accessibleName for widget in named)
    assert panel.ui.mosaicLabel.accessibleName and panel.ui.tumorThresholdSlider.accessibleName


def test_tab_goes_on_behind_the_table_of_measures(reviewed):
    import qt

    window = reviewed.slicer.util.mainWindow()
    reviewed.ui.measuresTable.setFocus()
    visited = []
    for _key in range(60):
        press(window.focusWidget(), qt.Qt.Key_Tab)
        visited.append(window.focusWidget().objectName)
    assert {"show3DButton", "layerSlider", "compareButton"} <= set(visited)


@pytest.mark.parametrize("typed", ["0,35", "0.35"])
def test_a_number_is_typed_with_a_comma_or_a_point(reviewed, typed):
    import qt

    reviewed.ui.advancedCollapsibleButton.collapsed = False
    reviewed.ui.tumorThresholdCheckBox.click()
    for parameter, slider in (
        ("tumorThreshold", reviewed.ui.tumorThresholdSlider),
        ("opacity", reviewed.ui.opacitySlider),
        ("threshold", reviewed.ui.thresholdSlider),
    ):
        type_into(slider.findChild(qt.QLineEdit, "qt_spinbox_lineedit").parentWidget(), typed)
        assert slider.value == getattr(reviewed.parameters, parameter) == pytest.approx(0.35)


def test_what_was_told_of_one_patient_does_not_stay_beside_another(quick):
    from slicer_cases import add_ct

    other = add_ct(1, "CT 2")
    roi = quick.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    for selector, node in ((quick.ui.roiSelector, roi), (quick.ui.roiSelector, None), (quick.ui.inputSelector, other)):
        quick.widget.showProblem("The region of interest 'ROI' does not meet the CT.")
        choose_in(selector, node)
        assert quick.message == ""
    quick.widget.showNews("The report is written: Doe_John_report.html")
    quick.slicer.mrmlScene.Clear(0)
    assert quick.message == ""


def test_what_is_told_can_be_copied(panel):
    import qt

    for name in ("messageLabel", "hintLabel", "notesLabel", "reviewHintLabel", "lesionNoteLabel", "modelAboutLabel"):
        assert int(getattr(panel.ui, name).textInteractionFlags) & int(qt.Qt.TextSelectableByMouse)


def test_the_end_of_a_run_is_told_in_whatever_module_is_open(quick, models):
    quick.ui.segmentButton.click()
    quick.leave()
    run_panel = quick.widget.runPanel
    quick.wait(lambda: run_panel._run is None)
    (result,) = quick.results()
    assert result.name in quick.status
    quick.open()
    quick.ui.segmentButton.click()
    quick.leave()
    run_panel._run._on_failed("The graphics card failed.")
    assert "The graphics card failed." in quick.status
    quick.open()
    quick.ui.segmentButton.click()
    quick.wait_for_end()


# The scene


def test_a_saved_scene_brings_all_back(reviewed, tmp_path):
    panel = reviewed
    panel.ui.layerSlider.value = 2
    panel.ui.opacitySlider.value = 0.35
    panel.ui.diffuseRadioButton.click()
    panel.ui.colorMapComboBox.setCurrentIndex(1)
    panel.parameters.tumorThreshold = 0.25
    path = str(tmp_path / "scene.mrb")
    assert panel.slicer.util.saveScene(path)
    panel.slicer.mrmlScene.Clear(False)
    panel.wait(lambda: not panel.ui.reviewControls.visible)
    assert panel.parameters.tumorThreshold == 0.5

    panel.slicer.util.loadScene(path)
    panel.slicer.app.processEvents()
    (result,) = panel.results()
    assert panel.ui.resultSelector.currentNode() is result.node
    assert panel.parameters.layer == "encoder3" and panel.ui.layerSlider.value == 2
    assert panel.ui.opacitySlider.value == pytest.approx(0.35)
    assert panel.ui.tumorThresholdSlider.value == pytest.approx(0.25)
    assert panel.ui.diffuseRadioButton.checked
    assert (panel.parameters.colorMap, panel.ui.colorMapComboBox.currentText) == ("ember", "Violet to yellow")
    assert panel.ui.lesionList.count == 3
    assert panel.ui.measuresTable.mrmlTableNode() is result.measures_table
    assert foreground(panel.slicer) is result.map_node(SEGMENT, "encoder3")


def test_a_loaded_scene_shows_the_results_that_it_was_saved_with(reviewed, tmp_path):
    from slicer_review_cases import add_reviewed_case

    add_reviewed_case(tmp_path, model="b", ct=reviewed.result.ct)
    path = str(tmp_path / "scene.mrb")
    assert reviewed.slicer.util.saveScene(path)
    reviewed.slicer.mrmlScene.Clear(False)
    reviewed.slicer.util.loadScene(path)
    reviewed.slicer.app.processEvents()
    first, second = reviewed.results()
    assert reviewed.ui.resultSelector.currentNode() is first.node
    assert are_seen(first, second) == [True, True]


def test_a_scene_that_is_added_changes_neither_ct_nor_output(reviewed, tmp_path):
    """Another patient's CT must not be segmented because a scene was added meanwhile."""
    panel = reviewed
    panel.parameters.outputSegmentation = panel.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    chosen = panel.parameters.inputVolume, panel.parameters.outputSegmentation, panel.parameters.result
    assert None not in chosen
    file = tmp_path / "other.mrml"
    file.write_text('<MRML><Volume id="vtkMRMLScalarVolumeNode1" name="A other"/></MRML>')
    panel.slicer.util.loadScene(str(file))
    panel.slicer.app.processEvents()
    assert (panel.parameters.inputVolume, panel.parameters.outputSegmentation, panel.parameters.result) == chosen
    assert panel.ui.inputSelector.currentNode() is chosen[0]


def test_closing_the_scene_with_everything_open(reviewed):
    panel = reviewed
    for button in (panel.ui.showMapCheckBox, panel.ui.chartButton, panel.ui.mosaicButton, panel.ui.show3DButton):
        button.click()
    panel.slicer.mrmlScene.Clear(False)
    panel.slicer.app.processEvents()
    assert not panel.ui.resultControls.visible and not panel.ui.reviewControls.visible
    assert not panel.ui.chartButton.checked and not panel.ui.segmentButton.enabled
    assert foreground(panel.slicer) is None


@pytest.mark.parametrize("victim", ["result", "ct", "table", "focus", "map"])
def test_any_node_may_be_deleted(reviewed, victim):
    panel, result = reviewed, reviewed.result
    for button in (panel.ui.showMapCheckBox, panel.ui.chartButton, panel.ui.mosaicButton):
        button.click()
    node = {
        "result": result.node,
        "ct": result.ct,
        "table": result.measures_table,
        "focus": result.focus_table,
        "map": result.map_node(SEGMENT, "decoder2"),
    }[victim]
    panel.slicer.mrmlScene.RemoveNode(node)
    panel.slicer.app.processEvents()
    assert ("no longer in the scene" in panel.ui.notesLabel.text) == (victim == "ct")
    for value in (0, 3, 8):
        panel.ui.layerSlider.value = value
    panel.ui.mostAttentionButton.click()
    panel.ui.onTargetRadioButton.click()
    panel.ui.lesionList.setCurrentRow(0)
    panel.open_again()
    assert panel.ui.reviewControls.visible == (victim != "result")


@pytest.mark.parametrize("name", ["inputVolume", "roi", "outputSegmentation", "result", "comparedResult"])
def test_nothing_is_chosen_in_place_of_a_deleted_node(slicer_shell, quick, name):
    """Slicer's selectors go on to a neighbor: another region, or a segmentation of the user's that a run adds to."""
    kinds = {"inputVolume": "vtkMRMLScalarVolumeNode", "roi": "vtkMRMLMarkupsROINode"}
    nodes = [
        slicer_shell.mrmlScene.AddNewNodeByClass(kinds.get(name, "vtkMRMLSegmentationNode")) for _number in range(3)
    ]
    if "esult" in name:
        for node in nodes:
            node.SetAttribute("HLFD.Model", "m")
    setattr(quick.parameters, name, nodes[1])
    slicer_shell.app.processEvents()
    selector = quick.widget.nodeSelectors()[name]
    assert selector.currentNode() is nodes[1]
    slicer_shell.mrmlScene.RemoveNode(nodes[1])
    slicer_shell.app.processEvents()
    assert getattr(quick.parameters, name) is None and selector.currentNode() is None


def test_the_maps_of_a_deleted_result_go_with_it(slicer_shell, reviewed):
    """They are in no list of nodes, and as large as the CT."""
    slicer_shell.app.start_up()
    maps = reviewed.result.maps
    slicer_shell.mrmlScene.RemoveNode(reviewed.result.node)
    assert maps and all(node.GetScene() is None for node in maps)
    assert reviewed.result.ct is None or reviewed.ui.inputSelector.currentNode() is not None


def test_a_model_that_is_not_installed_here_is_not_replaced_in_silence(quick):
    quick.parameters.model = "of-another-computer"
    quick.open_again()
    assert "of-another-computer (not installed)" in quick.ui.modelComboBox.currentText
    assert "not installed here" in quick.ui.modelAboutLabel.text and not quick.ui.segmentButton.enabled
    assert quick.parameters.model == "of-another-computer"
    quick.choose_model(MODEL)
    assert quick.parameters.model == MODEL and quick.ui.segmentButton.enabled


def test_a_device_that_this_computer_does_not_have_is_shown_and_can_be_changed(quick):
    combo = quick.ui.deviceComboBox
    quick.parameters.device = "cuda:7"
    assert "cuda:7" in combo.currentText
    combo.setCurrentIndex(0)
    assert quick.parameters.device == "auto"


def test_the_measures_have_headings_and_cannot_be_typed_over(reviewed):
    import qt

    cells = reviewed.ui.measuresTable.model()
    assert cells.headerData(0, qt.Qt.Horizontal) == "Segment"
    assert cells.index(0, 0).data() == SEGMENT
    assert not int(cells.flags(cells.index(0, 0))) & qt.Qt.ItemIsEditable


def test_the_measures_begin_with_what_a_radiologist_wants(reviewed):
    import qt

    panel, view = reviewed, reviewed.ui.measuresTable

    def columns() -> list[str]:
        header, cells = view.horizontalHeader(), view.model()
        order = [header.logicalIndex(place) for place in range(header.count())]
        return [cells.headerData(column, qt.Qt.Horizontal) for column in order if not view.isColumnHidden(column)]

    wanted = ["Segment", "Lesion", "Volume [mL]", "Diameter [mm]"]
    assert columns()[:4] == wanted and not {"Center R [mm]", "Slice", "SD [HU]", "Note"} & set(columns())
    panel.picture("panel_measures")
    table = panel.result.measures_table
    assert table.GetColumnDescription("longest_axial_diameter_mm") == "Longest axial diameter of a lesion."
    assert "without its tumors" in table.GetColumnDescription("volume_mL")
    assert table.GetColumnIndex("sd_HU") >= 0 and table.GetColumnIndex("longest_axial_diameter_mm") > 3
    table.AddEmptyRow()
    panel.parameters.result = None
    panel.show_result(panel.result)
    assert columns()[:4] == wanted and "SD [HU]" not in columns()


def test_a_map_without_its_file_is_no_empty_attention(reviewed):
    panel = reviewed
    panel.ui.showMapCheckBox.click()
    for node in panel.result.maps:
        node.SetAndObserveImageData(None)
    panel.open_again()
    assert not panel.ui.reviewControls.visible and ".mrb" in panel.ui.reviewHintLabel.text
    assert foreground(panel.slicer) is None


@pytest.mark.parametrize("left", [False, True])
def test_a_ct_that_is_deleted_leaves_the_memory(quick, left):
    """Also while another module is open."""
    import vtk

    panel, kept = quick, vtk.vtkWeakReference()
    kept.Set(panel.ct)
    if left:
        panel.leave()
    panel.slicer.mrmlScene.RemoveNode(panel.ct)
    panel.ct = None
    gc.collect()
    assert panel.ui.inputSelector.currentNode() is None
    assert kept.Get() is None


def test_entering_the_module_again_and_again_leaves_nothing_behind(panel):
    for _visit in range(4):
        panel.open_again()
    gc.collect()
    kind = type(panel.widget._parameterNode)
    assert sum(type(one) is kind for one in gc.get_objects()) == 1


def test_showing_surfaces(reviewed):
    panel = reviewed
    display = panel.result.node.GetDisplayNode()
    panel.ui.show3DButton.click()
    assert panel.result.node.GetSegmentation().ContainsRepresentation("Closed surface") and display.GetVisibility3D()
    panel.ui.show3DButton.click()
    assert not display.GetVisibility3D()


# The module's life


def test_leaving_the_module_keeps_the_views(reviewed):
    panel = reviewed
    panel.ui.showMapCheckBox.click()
    shown = foreground(panel.slicer)
    panel.open_again()
    assert foreground(panel.slicer) is shown is not None
    assert panel.ui.showMapCheckBox.checked


def test_reloading_the_module(reviewed):
    panel = reviewed
    old = panel.widget
    panel.ui.showMapCheckBox.click()
    panel.widget.onReload()
    assert panel.widget is not old
    assert panel.ui.resultSelector.currentNode() is panel.result.node
    panel.ui.layerSlider.value = 1
    assert foreground(panel.slicer) is panel.result.map_node(SEGMENT, "encoder2")


def test_unloading_the_module_gives_the_views_back(reviewed):
    panel = reviewed
    panel.ui.showMapCheckBox.click()
    panel.ui.chartButton.click()
    panel.slicer.app.moduleManager().unload("HLFDSegmentation")
    assert foreground(panel.slicer) is None
    assert not panel.slicer.util.getNodesByClass("vtkMRMLPlotChartNode")


@pytest.mark.parametrize("ending", ["unload", "reload"])
def test_the_worker_ends_with_the_module(quick, ending):
    worker = sys.modules["HLFDSegmentationLib.slicer_scene.slicer_worker"].shared_worker()
    quick.wait(lambda: worker._client.alive)
    if ending == "unload":
        quick.slicer.app.moduleManager().unload("HLFDSegmentation")
    else:
        quick.widget.onReload()
    assert not worker._client.alive


# Sample data


def test_a_scene_saved_while_comparing_shows_its_views_before_the_panel_is_opened(slicer_shell, load, tmp_path):
    from HLFDSegmentationLib.slicer_panels.slicer_comparison import LAYOUT, PLOT, SIDES

    load()
    slicer_shell.app.start_up()
    file, tag = tmp_path / "scene.mrml", "vtkMRMLLayoutNode"
    file.write_text(f'<MRML><Layout id="{tag}1" singletonTag="{tag}" currentViewArrangement="{LAYOUT}"/></MRML>')
    slicer_shell.util.loadScene(str(file))
    assert slicer_shell.app.layoutManager().shown_views() == [*SIDES, PLOT]


def test_sample_data_are_registered_and_taken_from_the_cache(panel, monkeypatch, tmp_path):
    import SampleData
    import SimpleITK as sitk
    from generated_cases import blob_case
    from HLFDSegmentationLib.slicer_scene import slicer_sample_data
    from slicer_shell.sample_data import click_on_sample

    panel.slicer.app.start_up()
    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory("HLFD")
    assert source.sampleName == "HLFD generated CT"
    cached = slicer_sample_data._file()
    sitk.WriteImage(blob_case(0)[0], str(cached))
    try:
        click_on_sample("HLFD generated CT")
        SampleData.downloadSample("HLFD generated CT")
    finally:
        cached.unlink()
    clicked, _downloaded = panel.slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    display = clicked.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-150, 250)


def test_a_second_click_while_the_ct_is_generated_starts_nothing(panel, monkeypatch):
    """Slicer draws while it is generated, and the button can be clicked."""
    import SimpleITK as sitk
    from generated_cases import blob_case
    from HLFDSegmentationLib.slicer_scene import slicer_sample_data
    from HLFDSegmentationLib.slicer_tools.slicer_python import Finished
    from slicer_shell.sample_data import click_on_sample

    cached, started = slicer_sample_data._file(), []

    def generate(module: str, path: str) -> Finished:
        started.append(module)
        if len(started) == 1:
            click_on_sample("HLFD generated CT")
        sitk.WriteImage(blob_case(0)[0], path)
        return Finished(0, "", "")

    panel.slicer.app.start_up()
    monkeypatch.setattr(slicer_sample_data, "run_python", generate)
    try:
        click_on_sample("HLFD generated CT")
    finally:
        cached.unlink(missing_ok=True)
    assert len(started) == len(panel.slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1


def test_a_generated_ct_that_cannot_be_made_is_told(panel, monkeypatch):
    import qt
    from HLFDSegmentationLib.slicer_tools import slicer_python
    from slicer_shell.sample_data import click_on_sample

    answer(qt.QMessageBox.Ok)
    panel.slicer.app.start_up()
    monkeypatch.setattr(slicer_python, "interpreter", lambda: shutil.which("false"))
    with pytest.raises(Exception, match="could not be generated"):
        click_on_sample("HLFD generated CT")
    assert "could not be generated" in asked()[-1]


@pytest.mark.slow
def test_the_modules_own_test_passes(quick):
    """It generates the sample CT, segments it with the model that ships, and walks through the layers."""
    quick.slicer.selfTests["HLFDSegmentation"](msec=0)


def test_the_modules_own_test_is_no_failure_without_pytorch(panel, monkeypatch):
    monkeypatch.setattr("HLFDSegmentation.missing_packages", lambda: ["torch"])
    panel.slicer.selfTests["HLFDSegmentation"](msec=0)
