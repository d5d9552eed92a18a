"""The Cases section of HLFD Training as its user meets it: what is clicked, what the tables say, what is written."""

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import TASK, blob_case, write_cases
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.cases import find_cases
from slicer_annotated_cases import add_case, add_segmentation, save_scene, select, snapshot
from slicer_cases import add_ct, add_study, add_transform, shift, slicer
from slicer_module_window import press
from slicer_training_cases import PanelPart

NAME, CHECK, SPLIT, PATIENT, CT, SEGMENTATION, ROLES = range(7)


class Panel(PanelPart):
    """The section, and what its user does."""

    def __init__(self, slicer) -> None:
        from HLFDTrainingLib.slicer_panels.slicer_cases_panel import CasesPanel

        super().__init__(slicer)
        self.changes = 0
        self.cases = CasesPanel(self.ui, self.count, self.show_problem, lambda: None)
        self.cases.set_task(TASK)
        self.cases.attach(object())
        self.settle()

    def count(self) -> None:
        self.changes += 1

    def settle(self) -> None:
        for _ in range(3):
            slicer.app.processEvents()

    def click(self, name: str) -> None:
        getattr(self.ui, name).click()
        self.settle()

    def text(self, row: int, column: int) -> str:
        combo = self.ui.casesTable.cellWidget(row, column)
        return combo.currentText if combo else self.ui.casesTable.item(row, column).text()

    def column(self, column: int) -> list[str]:
        return [self.text(row, column) for row in range(self.ui.casesTable.rowCount)]

    def choose(self, row: int, column: int, text: str) -> None:
        combo = self.ui.casesTable.cellWidget(row, column)
        combo.setCurrentIndex(combo.findText(text))
        self.settle()

    def type(self, row: int, column: int, text: str) -> None:
        self.ui.casesTable.item(row, column).setText(text)
        self.settle()

    def choose_role(self, segment: str, role: str) -> None:
        table = self.ui.rolesTable
        (row,) = (index for index in range(table.rowCount) if table.item(index, 0).text() == segment)
        combo = table.cellWidget(row, 1)
        combo.setCurrentIndex(combo.findText(role))
        self.settle()

    def check(self) -> None:
        self.ui.checkButton.click()
        self.wait(lambda: self.ui.checkButton.text == "Check")
        self.settle()

    def write(self, folder: Path) -> tuple:
        """Waits for the end. Gives the cases.json and the split, or the sentence."""
        told = []
        shares = []
        self.cases.write_cases(
            folder,
            TASK,
            lambda written: told.append((written.file, written.split)),
            lambda text: told.append((text,)),
            shares.append,
        )
        self.wait(lambda: told)
        self.settle()
        assert shares == sorted(shares)
        return told[0]


@pytest.fixture
def panel(slicer_shell, monkeypatch):
    panel = Panel(slicer_shell)
    yield panel
    panel.cases.attach(None)


def test_cases_of_the_scene_are_written_and_nothing_in_the_scene_changes(panel, tmp_path):
    for number in range(4):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Fine"] * 4
    assert panel.cases.problem == ""
    assert sorted(panel.column(SPLIT)) == ["test", "train", "train", "validation"]
    before = snapshot()
    cases_file, split = panel.write(tmp_path)
    assert snapshot() == before
    found = find_cases(cases_file, TASK)
    assert [case.name for case in found] == [f"CT {number}" for number in range(4)]
    parts = dict(zip(panel.column(NAME), panel.column(SPLIT)))
    assert {case.name for case in split.test} == {name for name, part in parts.items() if part == "test"}
    assert len(split.train) == 2 and split.validation
    told = "Cases: 4. Patients: 4. To learn from: 2. To choose the best model with: 1. To test it on: 1."
    assert told in panel.ui.casesSummaryLabel.text


def test_the_split_is_that_of_the_command(panel, tmp_path):
    from HLFDTrainingLib.split import split_by_patient

    for number in range(5):
        ct, _node, _labels = add_case(number, f"CT {number}")
        add_study(ct, f"Patient {number}")
    panel.click("addFromSceneButton")
    cases_file, split = panel.write(tmp_path)
    assert split_by_patient(find_cases(cases_file, TASK)).to_dict() == split.to_dict()


def test_a_role_is_chosen_once_and_holds_for_all_rows_and_later_ones(panel):
    image, label = blob_case(0)
    for name in ("CT 1", "CT 2"):
        add_segmentation(add_ct(0, name), {"Leber": sitk.GetArrayFromImage(label) > 0}, f"{name} segmentation")
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Wrong", "Wrong"]
    assert "Say which segments are" in panel.cases.problem
    panel.choose_role("Leber", "liver")
    assert panel.column(CHECK) == ["Look", "Look"]
    add_segmentation(add_ct(0, "CT 3"), {"leber ": sitk.GetArrayFromImage(label) > 0}, "CT 3 segmentation")
    panel.click("addFromSceneButton")
    assert panel.column(ROLES) == ["liver: Leber", "liver: Leber", "liver: leber "]
    del image


def test_a_name_that_is_taken_away_comes_back_into_the_table(panel):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.type(1, NAME, "  ")
    assert panel.column(NAME) == ["CT 0", "CT 1"]
    panel.type(1, NAME, "CT 0")
    assert panel.column(CHECK) == ["Wrong", "Wrong"]


def test_all_cases_of_a_patient_move_together(panel):
    for number in range(4):
        ct, _node, _labels = add_case(number, f"CT {number}")
        add_study(ct, f"Patient {number // 2}")
    panel.click("addFromSceneButton")
    panel.choose(0, SPLIT, "validation")
    assert panel.column(SPLIT)[:2] == ["validation", "validation"]
    panel.type(2, PATIENT, "Patient 0")
    assert panel.column(SPLIT)[2] == "validation"


def test_what_was_moved_by_hand_is_asked_for_before_all_are_divided_anew(panel):
    import qt
    from slicer_shell import dialogs

    for number in range(4):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.click("splitAgainButton")
    assert dialogs.shown == []
    panel.choose(0, SPLIT, "validation")
    panel.choose(1, SPLIT, "validation")
    dialogs.answer(qt.QMessageBox.Cancel)
    panel.click("splitAgainButton")
    assert "What you moved by hand is lost" in dialogs.shown[0]
    assert panel.column(SPLIT)[:2] == ["validation", "validation"]
    dialogs.answer(qt.QMessageBox.Ok)
    panel.click("splitAgainButton")
    assert sorted(panel.column(SPLIT)) == ["test", "train", "train", "validation"]


def test_a_tooltip_shows_each_sign_of_a_name(panel):
    """Qt would take some of them for rich text."""
    import qt

    add_case(1, "T1 <i>")
    panel.click("addFromSceneButton")
    table, document = panel.ui.casesTable, qt.QTextDocument()
    for name in ("<img src=x> 4", "Liver & 'cysts'"):
        table.item(0, NAME).setText(name)
        panel.settle()
        document.setHtml(table.item(0, NAME).toolTip())
        assert document.toPlainText() == table.item(0, NAME).text() == name


def test_the_tables_are_worked_with_the_keyboard_and_columns_stay_as_wide_as_the_user_made_them(panel):
    import qt

    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.widget.show()
    cases, roles = panel.ui.casesTable, panel.ui.rolesTable
    cases.setColumnWidth(PATIENT, 321)
    roles.setColumnWidth(0, 123)
    for table, row, column, first in ((cases, 2, SPLIT, "train"), (roles, 1, 1, "liver")):
        table.setCurrentCell(row, column)
        press(table, qt.Qt.Key_F2)
        combo = panel.widget.focusWidget()
        press(combo, qt.Qt.Key_Home)
        panel.settle()
        assert combo.currentText == first
        for index in range(1, combo.count):
            press(combo, qt.Qt.Key_Down)
            panel.settle()
            assert combo is table.cellWidget(row, column) is panel.widget.focusWidget() and combo.currentIndex == index
        assert (table.currentRow(), table.currentColumn()) == (row, column)
    assert (cases.columnWidth(PATIENT), roles.columnWidth(0)) == (321, 123)


def test_a_name_that_is_being_written_is_not_lost_when_another_cell_has_changed(panel):
    import qt

    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.widget.show()
    table = panel.ui.casesTable
    table.setCurrentCell(0, PATIENT)
    table.editItem(table.item(0, PATIENT))
    (editor,) = table.findChildren(qt.QLineEdit)
    editor.setText("Anna")
    panel.choose(0, SPLIT, "test")
    assert editor.text == "Anna"
    table.setCurrentCell(1, PATIENT)
    panel.settle()
    assert panel.column(PATIENT) == ["Anna", "CT 1"]


def test_a_file_that_comes_in_the_place_of_a_node_shows_no_choice_of_nodes(panel, tmp_path):
    from slicer_shell import dialogs

    add_case()
    panel.click("addFromSceneButton")
    panel.ui.casesTable.selectRow(0)
    dialogs.answer(str(write_cases(tmp_path / "cases", 1)))
    panel.ui.removeCaseButton.click()
    panel.click("addFolderButton")
    assert panel.column(NAME) == ["case0"] and panel.text(0, CT) == "ct.nii.gz"


def test_a_ct_that_several_segmentations_claim_gets_the_chosen_one(panel):
    ct, _node, labels = add_case()
    add_segmentation(ct, {"liver": labels > 0, "tumor": labels == 2}, "second reader")
    panel.click("addFromSceneButton")
    assert panel.text(0, SEGMENTATION) == "Choose..."
    panel.choose(0, SEGMENTATION, "second reader")
    assert panel.text(0, SEGMENTATION) == "second reader"
    assert panel.text(0, CHECK) == "Fine"


def test_a_guess_is_shown_as_one_until_it_is_chosen(panel):
    """As of segmentations that were loaded from files of their own."""
    for number in range(2):
        _ct, node, _labels = add_case(number, f"CT {number}")
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Fine", "Look"] and panel.cases.problem == ""
    assert panel.column(SEGMENTATION) == ["CT 0 segmentation", "CT 1 segmentation (guess)"]
    assert "It fits this CT" not in panel.ui.casesSummaryLabel.text
    panel.ui.casesTable.selectRow(1)
    assert "It fits this CT: similar name" in panel.ui.casesSummaryLabel.text
    panel.choose(1, SEGMENTATION, "CT 1 segmentation")
    assert panel.column(CHECK) == ["Fine", "Fine"]
    assert panel.column(SEGMENTATION) == ["CT 0 segmentation", "CT 1 segmentation"]


def test_a_segmentation_whose_ct_was_deleted_is_not_given_to_the_only_ct_that_is_left(panel):
    ct, _node, _labels = add_case(0, "Smith")
    add_case(1, "Jones")
    add_ct(2, "Miller")
    slicer.mrmlScene.RemoveNode(ct)
    panel.click("addFromSceneButton")
    assert panel.column(SEGMENTATION) == ["Jones segmentation", "Smith segmentation"]
    assert panel.column(CT) == ["Jones", "Choose..."] and "Choose the one" in panel.cases.problem


def test_a_scene_with_a_result_alone_tells_how_a_corrected_one_is_taken(panel, monkeypatch):
    _ct, result, _labels = add_case(0, "Smith")
    result.SetAttribute("HLFD.Model", "abdomen")
    panel.click("addFromSceneButton")
    assert panel.column(NAME) == [] and "press Add from selection" in panel.message
    select(monkeypatch, slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(result))
    panel.click("addFromSelectionButton")
    assert panel.column(SEGMENTATION) == ["Smith segmentation"]


def test_the_check_reads_the_voxels_and_names_the_case(panel):
    add_case(0, "CT 1")
    add_case(1, "CT 2")
    slicer.util.arrayFromVolume(slicer.util.getNode("CT 2"))[:] = 100
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Fine", "Fine"]
    panel.check()
    assert panel.text(0, CHECK) == "Fine"
    assert panel.text(1, CHECK) == "Wrong"
    assert panel.message.startswith("Case CT 2:")
    assert panel.cases.problem.startswith("Case CT 2:")


def test_a_failed_check_leaves_no_files_and_can_be_repeated(panel, tmp_path):
    add_case(0, "CT 1")
    ct, _node, _labels = add_case(1, "CT 2")
    good = slicer.util.arrayFromVolume(ct).copy()
    slicer.util.updateVolumeFromArray(ct, good * 0 + 100)
    panel.click("addFromSceneButton")
    (sentence,) = panel.write(tmp_path)
    assert sentence.startswith("Case CT 2:")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    slicer.util.updateVolumeFromArray(ct, good)
    cases_file, _split = panel.write(tmp_path)
    assert cases_file.is_file()


def test_writing_can_be_cancelled(panel, tmp_path):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    told = []
    work = panel.cases.write_cases(tmp_path, TASK, told.append, told.append, lambda share: None)
    assert not panel.ui.addFromSceneButton.enabled and panel.cases.problem
    slicer.app.processEvents()
    work.cancel()
    assert panel.ui.addFromSceneButton.enabled and not panel.cases.problem
    assert not told and not [path for path in tmp_path.rglob("*") if path.is_file()]


def begin_check_of_two(panel, voxels):
    """A check goes on; gives the CT of the second case, and its voxels that a CT has."""
    add_case(0, "CT 1")
    ct, _node, _labels = add_case(1, "CT 2")
    good = slicer.util.arrayFromVolume(ct).copy()
    slicer.util.updateVolumeFromArray(ct, voxels(good))
    panel.click("addFromSceneButton")
    panel.ui.checkButton.click()
    assert panel.ui.checkButton.text == "Cancel"
    return ct, good


def test_a_check_ends_where_a_case_is_mended_meanwhile(panel):
    ct, good = begin_check_of_two(panel, lambda good: good * 0 + 100)
    slicer.util.updateVolumeFromArray(ct, good)
    panel.cases.refresh()
    assert panel.ui.checkButton.text == "Check" and "have changed while they were checked" in panel.message
    panel.settle()
    assert panel.column(CHECK) == ["Fine", "Fine"] and panel.cases.problem == ""
    panel.check()
    assert panel.column(CHECK) == ["Fine", "Fine"] and panel.message == ""


@pytest.mark.parametrize("mended", [True, False])
def test_a_check_tells_nothing_of_a_case_that_changed_unnoticed(panel, mended):
    ct, good = begin_check_of_two(panel, lambda good: good * 0 + 100 if mended else good)
    changes = panel.changes
    panel.wait(lambda: "Writing and checking the cases: 7" in panel.ui.casesSummaryLabel.text)
    slicer.util.updateVolumeFromArray(ct, good if mended else good * 0 + 100)
    panel.wait(lambda: panel.ui.checkButton.text == "Check")
    panel.settle()
    assert "have changed while they were checked" in panel.message and panel.changes > changes
    assert panel.column(CHECK) == ["Fine", "Fine"] and panel.cases.problem == ""
    panel.check()
    assert panel.column(CHECK) == ["Fine", "Fine" if mended else "Wrong"]


def test_a_check_can_be_cancelled(panel):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.ui.checkButton.click()
    assert panel.ui.checkButton.text == "Cancel" and panel.ui.checkButton.enabled
    assert panel.ui.addFolderButton.toolTip == "The cases are being checked."
    panel.click("checkButton")
    assert panel.ui.checkButton.text == "Check" and panel.ui.addFromSceneButton.enabled
    assert panel.message == "" and panel.cases.problem == ""
    panel.check()
    assert panel.column(CHECK) == ["Fine", "Fine"]


@pytest.mark.parametrize(
    ("python", "reason"), [("/nowhere/python", "could not be started"), ("false", "be checked: 1")]
)
def test_a_check_whose_program_fails_is_told_and_leaves_the_cases(panel, monkeypatch, python, reason):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    with monkeypatch.context() as patch:
        patch.setattr(
            "HLFDSegmentationLib.slicer_tools.slicer_python.interpreter", lambda: shutil.which(python) or python
        )
        panel.check()
    assert reason in panel.message and panel.ui.checkButton.enabled
    panel.check()
    assert panel.message == "" and panel.column(CHECK) == ["Fine"] * 2


def test_what_a_check_found_stays_where_nothing_is_removed(panel):
    add_case(0, "CT 1")
    add_case(1, "CT 2")
    slicer.util.arrayFromVolume(slicer.util.getNode("CT 2"))[:] = 100
    panel.click("addFromSceneButton")
    panel.check()
    panel.ui.casesTable.clearSelection()
    panel.click("removeCaseButton")
    assert "Mark the cases" in panel.message and panel.column(CHECK) == ["Fine", "Wrong"]
    panel.ui.casesTable.selectRow(1)
    panel.click("removeCaseButton")
    assert panel.message == "" and panel.column(NAME) == ["CT 1"]


def test_what_a_check_finds_wrong_makes_written_files_old(panel):
    begin_check_of_two(panel, lambda good: good * 0 + 100)
    changes = panel.changes
    panel.wait(lambda: panel.ui.checkButton.text == "Check")
    assert panel.column(CHECK) == ["Fine", "Wrong"] and panel.changes == changes + 1
    panel.check()
    assert panel.changes == changes + 2


def test_a_double_click_on_check_does_not_cancel_it(panel, monkeypatch):
    monkeypatch.setattr(slicer.app, "doubleClickInterval", 60_000)
    begin_check_of_two(panel, lambda good: good)
    panel.ui.checkButton.click()
    assert panel.ui.checkButton.text == "Cancel"
    panel.wait(lambda: panel.ui.checkButton.text == "Check")
    assert panel.message == "" and panel.column(CHECK) == ["Fine", "Fine"]


def test_the_cases_are_written_for_the_task_that_is_asked_for(panel, tmp_path):
    """Also where the panel has not heard of it yet."""
    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    told = []
    kidney = TASKS["kidney-tumor"]
    panel.cases.write_cases(tmp_path, kidney, told.append, told.append, lambda share: None)
    panel.wait(lambda: told)
    cases = find_cases(told[0].file, kidney)
    assert [case.labels for case in cases] == [{2: ("kidney tumor",)}] * 3


def test_cases_that_are_not_ready_are_not_written(panel, tmp_path):
    add_case()
    panel.click("addFromSceneButton")
    (sentence,) = panel.write(tmp_path)
    assert sentence.startswith("One case is not enough")


def test_a_deleted_ct_is_told_and_the_case_can_be_removed(panel):
    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("CT 1"))
    panel.settle()
    assert panel.text(1, CHECK) == "Wrong" and panel.cases.problem.startswith("Case CT 1: Its CT")
    panel.ui.casesTable.selectRow(1)
    panel.click("removeCaseButton")
    assert panel.column(NAME) == ["CT 0", "CT 2"]
    assert panel.cases.problem == ""


def test_a_deleted_ct_stays_in_its_row_by_name_until_another_is_chosen(panel):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("CT 1"))
    add_ct(1, "CT 1 read again")
    panel.settle()
    assert panel.column(CT) == ["CT 0", "CT 1 (gone)"]
    panel.choose(1, CT, "CT 1 read again")
    assert panel.column(CT) == ["CT 0", "CT 1 read again"]
    assert panel.column(CHECK) == ["Fine", "Fine"]


def test_what_is_wrong_is_told_of_the_marked_case_and_of_the_first_where_none_is_marked(panel):
    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    for name in ("CT 1", "CT 2"):
        slicer.mrmlScene.RemoveNode(slicer.util.getNode(name))
    panel.settle()
    panel.ui.casesTable.clearSelection()
    label = panel.ui.casesSummaryLabel
    assert "Case CT 1: Its CT" in label.text and "Case CT 2" not in label.text
    panel.ui.casesTable.selectRow(2)
    assert "Case CT 2: Its CT" in label.text and "Case CT 1" not in label.text
    panel.ui.casesTable.selectRow(0)
    assert "Case CT" not in label.text
    assert "Its CT" in panel.ui.casesTable.item(2, CHECK).toolTip()


def test_showing_the_cases_is_no_change_of_them(panel):
    from slicer_shell import dialogs

    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    assert panel.changes == 2, "they came, and their nodes were seen for the first time"
    slicer.util.getNode("CT 1").SetName("Renamed")
    panel.cases.refresh()
    panel.settle()
    panel.click("splitAgainButton")
    assert dialogs.shown == []


@pytest.mark.parametrize("name", ["CT 1", "CT 1 segmentation"])
def test_what_is_deleted_makes_written_files_old_once(panel, name):
    for number in range(3):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.cases.refresh()
    changes = panel.changes
    slicer.mrmlScene.RemoveNode(slicer.util.getNode(name))
    panel.settle()
    assert panel.changes > changes
    changes = panel.changes
    panel.cases.refresh()
    assert panel.changes == changes


def test_a_closed_scene_leaves_the_table_empty(panel):
    add_case()
    panel.click("addFromSceneButton")
    panel.cases.attach(None)
    slicer.mrmlScene.Clear(False)
    panel.cases.attach(object())
    assert panel.cases.rows == []
    assert panel.cases.problem.startswith("There are no cases yet")


def test_what_is_drawn_later_is_seen_and_makes_written_files_old(panel):
    _ct, node, labels = add_case()
    panel.click("addFromSceneButton")
    panel.cases.refresh()
    changes = panel.changes
    panel.cases.refresh()
    assert panel.changes == changes
    slicer.util.updateSegmentBinaryLabelmapFromArray((labels == 1).astype("uint8"), node, "tumor")
    panel.cases.refresh()
    assert panel.changes > changes
    changes = panel.changes
    node.GetSegmentation().RemoveSegment("tumor")
    panel.cases.refresh()
    assert panel.changes > changes and panel.text(0, CHECK) == "Look"
    panel.ui.casesTable.selectRow(0)
    assert "No segment is the liver tumor" in panel.ui.casesSummaryLabel.text


def test_saving_or_rendering_a_ct_is_no_change_of_its_case(panel):
    """Slicer's window for saving gives every node a place to be saved at, and rendering a display, when it opens."""
    ct, _node, _labels = add_case()
    panel.click("addFromSceneButton")
    panel.cases.refresh()
    changes = panel.changes
    ct.AddDefaultStorageNode()
    ct.AddAndObserveDisplayNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode").GetID())
    panel.cases.refresh()
    assert panel.changes == changes
    ct.SetOrigin(1, 2, 3)
    panel.cases.refresh()
    assert panel.changes > changes


@pytest.mark.parametrize("overlapping", [True, False])
def test_saving_the_scene_is_no_change_of_what_was_drawn(panel, tmp_path, overlapping):
    """It puts segments into as few labelmaps as it can, each of them new, with other values, and as small as can be."""
    ct, node, labels = add_case(overlapping=overlapping)
    slicer.mrmlScene.RemoveNode(node)
    liver, tumor = labels > (0 if overlapping else 1), labels == 2
    node = add_segmentation(ct, {"tumor": tumor, "liver": liver & (overlapping | ~tumor), "cyst": tumor & False})
    small = slicer.vtkOrientedImageData()
    painted = node.GetSegmentation().GetSegment("tumor").GetRepresentation("Binary labelmap")
    small.ShallowCopy(painted)
    k, j, i = ((int(at.min()), int(at.max())) for at in np.nonzero(tumor))
    small.SetExtent(*i, *j, *k)
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(painted, small, painted)
    panel.click("addFromSceneButton")
    panel.cases.refresh()
    changes = panel.changes
    bounds = [0.0] * 6, [0.0] * 6
    node.GetRASBounds(bounds[0])
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    node.GetRASBounds(bounds[1])
    assert (bounds[0] != bounds[1]) == overlapping
    panel.cases.refresh()
    assert panel.changes == changes
    tumor[np.unravel_index(tumor.argmax(), tumor.shape)] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(tumor.astype("uint8"), node, "tumor", ct)
    panel.cases.refresh()
    assert panel.changes > changes


def test_cases_of_a_folder_stay_where_they_are(panel, tmp_path):
    from slicer_shell import dialogs

    folder = write_cases(tmp_path / "cases", 3)
    dialogs.answer(str(folder))
    panel.click("addFolderButton")
    assert panel.column(NAME) == ["case0", "case1", "case2"]
    assert panel.column(CHECK) == ["Fine"] * 3
    add_case(5, "CT 5")
    panel.click("addFromSceneButton")
    cases_file, _split = panel.write(tmp_path / "run")
    found = {case.name: case for case in find_cases(cases_file, TASK)}
    assert found["case1"].ct.resolve() == folder / "case1" / "ct.nii.gz"
    assert found["case1"].labels == {1: ("liver",), 2: ("liver tumor",)}
    assert found["CT 5"].ct.is_relative_to(tmp_path / "run")


def test_what_the_voxels_of_files_show_of_all_cases_together_is_told(panel, tmp_path):
    from slicer_shell import dialogs

    folder = write_cases(tmp_path / "cases", 3)
    for label in folder.glob("*/label*"):
        image = sitk.ReadImage(str(label))
        sitk.WriteImage(image * sitk.Cast(image == 1, image.GetPixelID()), str(label))
    dialogs.answer(str(folder))
    panel.click("addFolderButton")
    assert "has no voxel in any case" not in panel.ui.casesSummaryLabel.text
    panel.check()
    assert "'liver tumor' was looked for, but has no voxel in any case" in panel.ui.casesSummaryLabel.text


def test_cases_of_files_without_anything_to_learn_are_refused(panel, tmp_path):
    from slicer_shell import dialogs

    folder = write_cases(tmp_path / "cases", 3)
    dialogs.answer(str(folder))
    panel.click("addFolderButton")
    for name, part in zip(panel.column(NAME), panel.column(SPLIT)):
        if part == "train":
            for label in (folder / name).glob("label*"):
                sitk.WriteImage(sitk.ReadImage(str(label)) * 0, str(label))
    panel.check()
    assert "None of the cases to learn from has a label" in panel.message
    assert "None of the cases to learn from has a label" in panel.cases.problem


def test_cases_of_a_folder_come_into_the_table_once(panel, tmp_path):
    from slicer_shell import dialogs

    folder = write_cases(tmp_path / "cases", 2)
    for told in ("", "The cases of this folder are in the table already."):
        dialogs.answer(str(folder))
        panel.click("addFolderButton")
        assert panel.message == told and panel.column(NAME) == ["case0", "case1"]
    panel.ui.casesTable.selectRow(0)
    panel.click("removeCaseButton")
    dialogs.answer(str(folder))
    panel.click("addFolderButton")
    assert panel.message == "Cases left out because their CT or annotation is in the table already: 1."
    assert sorted(panel.column(NAME)) == ["case0", "case1"]


def test_a_folder_without_cases_is_told(panel, tmp_path):
    from slicer_shell import dialogs

    dialogs.answer(str(tmp_path))
    panel.click("addFolderButton")
    assert "no annotated cases were found" in panel.message


def test_another_task_asks_anew_what_the_segments_are(panel):
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    assert panel.column(ROLES) == ["liver; liver tumor: tumor"] * 2
    panel.cases.set_task(TASKS["kidney-tumor"])
    panel.settle()
    assert panel.column(ROLES) == ["kidney tumor: tumor"] * 2
    assert panel.column(CHECK) == ["Look", "Look"]


def test_a_ct_that_cannot_be_written_is_told_in_the_table(panel):
    """And not only when a training begins."""
    ct, _node, _labels = add_case(0, "CT 0")
    ct.SetIJKToRASDirections(1, 0.3, 0, 0, 1, 0, 0, 0, 1)
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Wrong"]
    assert "do not stand at right angles" in panel.cases.problem


def test_cases_of_a_scene_file_come_beside_those_of_the_scene(panel, tmp_path):
    from slicer_shell import dialogs

    ct, _node, _labels = add_case(0, "CT 0")
    add_transform(shift(1, 2, 3), ct)
    file = save_scene(tmp_path / "saved.mrb")
    dialogs.answer(str(file))
    panel.click("addFromSceneButton")
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    panel.click("addSceneFileButton")
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.column(NAME) == ["CT 0", "CT 0 (2)"]
    panel.ui.casesTable.selectRow(1)
    panel.click("removeCaseButton")
    assert panel.column(NAME) == ["CT 0"]


@pytest.fixture
def scenes(monkeypatch):
    """Weak references to the scenes that were read from files."""
    from HLFDTrainingLib.slicer_panels import slicer_cases_panel

    read, scenes = slicer_cases_panel.read_scene, []

    def keep(path: Path):
        scene = read(path)
        scenes.append(weakref.ref(scene))
        return scene

    monkeypatch.setattr(slicer_cases_panel, "read_scene", keep)
    return scenes


def in_memory(scenes) -> list[bool]:
    gc.collect()
    return [scene() is not None for scene in scenes]


def test_a_scene_file_without_a_case_is_not_kept_in_memory(panel, tmp_path, scenes):
    from slicer_shell import dialogs

    add_ct()
    dialogs.answer(str(save_scene(tmp_path / "saved.mrb")))
    panel.click("addSceneFileButton")
    assert "No CT of this scene" in panel.message
    assert in_memory(scenes) == [False]


def test_a_scene_file_leaves_the_memory_with_the_last_of_its_cases(panel, tmp_path, scenes):
    from slicer_shell import dialogs

    for number in range(2):
        add_case(number, f"CT {number}")
    dialogs.answer(str(save_scene(tmp_path / "saved.mrb")))
    panel.click("addSceneFileButton")
    for kept in (True, False):
        panel.ui.casesTable.selectRow(0)
        panel.click("removeCaseButton")
        assert in_memory(scenes) == [kept]
    assert panel.column(NAME) == []


def test_a_corrected_result_is_added_as_a_case(panel):
    ct, node, _labels = add_case()
    node.SetAttribute("HLFD.Model", "student")
    panel.cases.add_case(ct, node)
    panel.settle()
    assert panel.message == "Added to the cases: CT 1 segmentation on CT 1."
    assert panel.text(0, SEGMENTATION) == node.GetName() and panel.text(0, CHECK) == "Fine"
    panel.cases.add_case(ct, node)
    assert "already" in panel.message


def test_a_corrected_result_without_a_reference_belongs_to_the_ct_that_it_is_added_with(panel):
    """As of one whose CT was deleted and read again."""
    _other, _drawn, _labels = add_case(1, "Other")
    ct, node, _labels = add_case(0, "CT 0")
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
    panel.cases.add_case(ct, node)
    panel.settle()
    assert panel.column(CT) == ["CT 0"] and panel.column(SEGMENTATION) == ["CT 0 segmentation"]
    assert panel.column(CHECK) == ["Fine"]


def test_patients_whom_a_student_has_met_stay_in_their_part(panel, tmp_path):
    for number in range(4):
        ct, _node, _labels = add_case(number, f"CT {number}")
        add_study(ct, f"Patient {number}")
    panel.click("addFromSceneButton")
    _file, split = panel.write(tmp_path / "first")
    parts = {case.patient: "train" for case in (*split.train, *split.validation)}
    changes = panel.changes
    panel.cases.keep_parts(parts)
    panel.settle()
    assert panel.changes > changes
    kept = {case.name for case in (*split.train, *split.validation)}
    assert all(row.part == "train" for row in panel.cases.rows if row.name in kept)
    changes = panel.changes
    panel.cases.keep_parts(parts)
    assert panel.changes == changes


def test_the_selection_is_added(panel, monkeypatch):
    ct, _node, _labels = add_case(0, "CT 1")
    add_case(1, "CT 2")
    select(monkeypatch, add_study(ct))
    panel.click("addFromSelectionButton")
    assert panel.column(CT) == ["CT 1"]
    select(monkeypatch)
    panel.click("addFromSelectionButton")
    assert panel.message.startswith("Select CTs")


def test_a_ct_gets_the_segmentation_that_is_drawn_later(panel, monkeypatch):
    image, label = blob_case(0)
    ct = add_ct(0)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    select(monkeypatch, hierarchy.GetItemByDataNode(ct))
    panel.click("addFromSelectionButton")
    assert panel.column(CHECK) == ["Wrong"]
    labels = sitk.GetArrayFromImage(label)
    add_segmentation(ct, {"liver": labels > 0, "tumor": labels == 2})
    panel.click("addFromSceneButton")
    assert panel.column(CHECK) == ["Fine"]
    del image


def test_leaving_while_cases_are_checked_ends_the_check_and_its_files(panel, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for number in range(2):
        add_case(number, f"CT {number}")
    panel.click("addFromSceneButton")
    panel.ui.checkButton.click()
    panel.wait(lambda: any(tmp_path.rglob("ct.nrrd")))
    panel.cases.attach(None)
    assert not list(tmp_path.rglob("*.nrrd"))
