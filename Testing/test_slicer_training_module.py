"""The module HLFD Training: what its panel offers, what plan comes of it, and what it refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import CasesError, HLFDError, OutputError, TrainingError
from HLFDSegmentationLib.networks import STUDENTS, TEACHERS
from HLFDSegmentationLib.slicer_tools.slicer_message import BREAK
from HLFDSegmentationLib.tasks import TASKS, load_task
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.distillers import DISTILLERS, find_distiller
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.earlier_runs import keep_patients_by_ct, known_files, parts_met, parts_of
from HLFDTrainingLib.runs.process_identity import computer_name
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import split_by_patient
from slicer_module_window import answer, type_into
from slicer_training_cases import MODULE_FILES, SEGMENTS, TrainingModule, add_annotated_ct


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A user without models and trainings."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HLFD_MODELS", str(folder / "models"))
    return folder


@pytest.fixture
def panel(slicer_shell, home, monkeypatch):
    """The module as it is before PyTorch is installed: it starts no process."""
    from slicer_shell.packaging_stand_ins import packages

    monkeypatch.setattr(sys, "path", list(sys.path))
    packages.absent = {"torch"}
    return TrainingModule(slicer_shell, home / "trainings")


def begin_run(folder: Path, task=TASKS["liver-tumor"], **plan) -> RunFolder:
    """A run that has got to its student, as far as a panel can tell."""
    cases = find_cases(write_cases(folder.parent / "files of cases", 4), TASK)
    run = RunFolder(folder)
    start_run(run, TrainingPlan(task=task, **plan), cases, split_by_patient(cases))
    for stage in ("teacher", "student"):
        run.stage(stage).mkdir()
        (run.stage(stage) / "best.pt").touch()
    return run


def texts(combo) -> list[str]:
    return [combo.itemText(index) for index in range(combo.count)]


def passed_by_tab(panel, start, presses: int) -> list[str]:
    """The names of the controls to which Tab brings the keyboard, one after another."""
    import qt

    window, passed = panel.slicer.util.mainWindow(), []
    start.setFocus()
    for _press in range(presses):
        for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
            qt.QApplication.sendEvent(window.focusWidget(), qt.QKeyEvent(kind, qt.Qt.Key_Tab, qt.Qt.NoModifier))
        passed.append(window.focusWidget().objectName)
    return passed


# The module in Slicer's list


def test_the_module_introduces_itself(panel):
    module = panel.module
    assert module.title == "HLFD Training"
    assert module.categories == ["Segmentation"]
    assert module.dependencies == ["HLFDSegmentation"]
    assert "research use only" in module.helpText and "Nothing is uploaded" in module.helpText
    assert "10.1109/ISBI56570.2024.10635141" in module.acknowledgementText
    assert not module.icon.isNull()


def test_scene_saved_in_a_layout_of_the_module_shows_it_before_the_panel_is_opened(slicer_shell, home, monkeypatch):
    from HLFDTrainingLib.slicer_scene.slicer_own_layout import STUDENT, TRUTH, TRUTH_LAYOUT
    from slicer_shell.modules import load_module_file

    monkeypatch.setattr(sys, "path", list(sys.path))
    for file in MODULE_FILES:
        load_module_file(file)
    slicer_shell.app.start_up()
    file = home / "scene.mrml"
    tag = "vtkMRMLLayoutNode"
    file.write_text(f'<MRML><Layout id="{tag}1" singletonTag="{tag}" currentViewArrangement="{TRUTH_LAYOUT}"/></MRML>')
    slicer_shell.util.loadScene(str(file))
    assert slicer_shell.app.layoutManager().shown_views() == [TRUTH, STUDENT]


def test_the_panel_fits_the_width_of_slicers_panel(panel):
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.ui.resultCollapsibleButton.collapsed = False
    panel.slicer.app.processEvents()
    top = panel.module.widgetRepresentation()
    assert top.minimumSizeHint.width() <= 450
    panel.slicer.util.mainWindow().resize(450, 1200)
    panel.slicer.app.processEvents()
    assert all(widget.width > 250 for widget in (panel.ui.installNameEdit, panel.ui.testCaseCombo))


def test_long_names_and_large_letters_do_not_widen_the_panel(panel):
    import qt

    top, usual, name = panel.module.widgetRepresentation(), qt.QApplication.font(), 6 * "Abdominaluntersuchung"
    _ct, drawn = add_annotated_ct(0, name, "Patient")
    panel.ui.addFromSceneButton.click()
    panel.slicer.mrmlScene.RemoveNode(drawn)
    panel.widget.trainingPanel.set_problem(f"{name} cannot be read.")
    panel.slicer.app.processEvents()
    labels = (panel.ui.casesSummaryLabel, panel.ui.trainHintLabel)
    assert all(label.visible and name in label.text.replace(BREAK, "") for label in labels)
    assert top.minimumSizeHint.width() <= 450
    qt.QApplication.setFont(qt.QFont(usual.family(), 16))
    try:
        panel.slicer.app.processEvents()
        assert top.minimumSizeHint.width() <= 500
    finally:
        qt.QApplication.setFont(usual)


def test_tab_comes_from_the_tables_to_what_follows(panel):
    for number in range(3):
        add_annotated_ct(number, f"CT {number}", f"Patient {number}")
    panel.ui.addFromSceneButton.click()
    panel.slicer.app.processEvents()
    passed = passed_by_tab(panel, panel.ui.taskCombo, 60)
    wanted = ["casesTable", "checkButton", "rolesTable", "methodCombo", "trainButton"]
    assert [name for name in passed if name in wanted][: len(wanted)] == wanted
    for table in (panel.ui.casesTable, panel.ui.rolesTable):
        cell = next(filter(None, (table.cellWidget(0, column) for column in range(table.columnCount))))
        assert passed_by_tab(panel, cell, 1) == passed_by_tab(panel, table, 1)


def test_the_task_comes_first_as_what_the_segments_are_is_guessed_by_it(panel):
    order, widget = [], panel.ui.messageLabel
    while "messageLabel" not in order:
        widget = widget.nextInFocusChain()
        order.append(widget.objectName)
    wanted = ["taskCombo", "newTaskButton", "addFromSceneButton", "casesTable", "methodCombo", "trainButton"]
    assert [name for name in order if name in wanted] == wanted
    assert panel.ui.casesCollapsibleButton.isAncestorOf(panel.ui.taskCombo)


def test_a_screen_reader_can_name_every_control(panel):
    import qt

    labels = [label for label in panel.ui.messageLabel.parentWidget().findChildren(qt.QLabel) if label.text[-1:] == ":"]
    assert len(labels) > 15 and all(label.buddy() for label in labels)
    named = (panel.ui.casesTable, panel.ui.rolesTable, panel.ui.outcomeTable, panel.ui.trainingProgress)
    assert all(widget.accessibleName for widget in named)


def test_without_cases_nothing_can_be_started_and_the_panel_says_why(panel):
    assert not panel.ui.trainButton.enabled
    assert not panel.ui.estimateButton.enabled
    assert "case" in panel.ui.trainHintLabel.text.lower()


@pytest.mark.parametrize("reloaded", ["HLFDSegmentation", "HLFDTraining"])
def test_reloading_one_module_leaves_neither_with_classes_of_before(panel, reloaded):
    modules = panel.slicer.modules
    panel.slicer.util.selectModule("HLFDSegmentation")
    getattr(modules, f"{reloaded}Widget").onReload()
    now = sys.modules["HLFDSegmentationLib.errors"].HLFDError
    assert now is not HLFDError
    for name in ("HLFDSegmentation", "HLFDTraining"):
        assert sys.modules[name].HLFDError is now
        assert type(getattr(modules, f"{name}Widget")) is getattr(sys.modules[name], f"{name}Widget")
    assert sys.modules["HLFDTrainingLib.slicer_panels.slicer_plan_panel"].HLFDError is now


# The plan


def test_the_untouched_plan_is_that_of_hlfd_train(panel):
    panel.parameters.byTime = False
    usual = TrainingPlan(task=TASKS["liver-tumor"], teacher_epochs=60, student_epochs=60)
    options = {"temperature": 4.0, "beta": 0.9, "lambda_": 0.1}
    assert TrainingPlan.from_dict(panel.plan) == replace(usual, method_options=options)


def test_the_defaults_that_tooltips_tell_are_those_of_the_methods(panel):
    from inspect import signature

    arguments = signature(find_distiller("hlfd")).parameters
    options = panel.plan["method_options"]
    assert options == {name: arguments[name].default for name in options}
    for spin, value in (
        (panel.ui.betaSpin, "0.9"),
        (panel.ui.lambdaSpin, "0.1"),
        (panel.ui.temperatureSpin, "4"),
        (panel.ui.learningRateSpin, "0.001"),
        (panel.ui.batchSpin, "8"),
        (panel.ui.seedSpin, "0"),
    ):
        assert f"Default {value}" in spin.toolTip and float(value) == spin.value
        low, high = re.search(r"range ([\d.]+)(?: \(.*?\))? to ([\d.]*\d)", spin.toolTip).groups()
        assert (float(low), float(high)) == (spin.minimum, spin.maximum)


def test_every_method_is_offered_and_takes_the_options_of_its_plan(panel):
    from inspect import signature

    from HLFDTrainingLib.slicer_panels.slicer_plan_panel import method_titles

    titles = dict(method_titles())
    assert {*titles, "hlfd:corrected"} == set(DISTILLERS)  # which is another name of hlfd
    for method, title in titles.items():
        panel.choose(panel.ui.methodCombo, title)
        assert panel.plan["method"] == method
        assert set(panel.plan["method_options"]) <= set(signature(DISTILLERS[method]).parameters)


def test_every_network_is_offered(panel):
    from HLFDTrainingLib.slicer_panels.slicer_plan_panel import network_titles

    assert texts(panel.ui.teacherCombo) == [network_titles()[name] for name in TEACHERS]
    assert texts(panel.ui.studentCombo) == [network_titles()[name] for name in STUDENTS]


def test_without_distillation_there_is_no_teacher_and_nothing_to_compare_with(panel):
    panel.ui.undistilledCheck.setChecked(True)
    assert panel.plan["undistilled"]
    panel.choose(panel.ui.methodCombo, "No distillation")
    assert not panel.plan["undistilled"]
    for widget in (panel.ui.teacherCombo, panel.ui.teacherSourceCombo, panel.ui.betaSpin, panel.ui.undistilledCheck):
        assert not widget.enabled and widget.toolTip == "Not used by this method."
    panel.choose(panel.ui.methodCombo, "KD")
    assert panel.ui.betaSpin.toolTip == "Not used by this method."
    assert panel.ui.temperatureSpin.enabled and "Default 4" in panel.ui.temperatureSpin.toolTip


def test_before_the_worker_has_told_of_devices_the_cpu_is_offered(panel):
    assert texts(panel.ui.deviceCombo) == ["Automatic: the fastest", "CPU"]
    panel.choose(panel.ui.deviceCombo, "CPU")
    assert panel.parameters.device == panel.plan["device"] == "cpu"


def test_a_time_or_epochs_can_be_given(panel):
    assert panel.ui.hoursSpin.visible and not panel.ui.epochsSpin.visible
    assert panel.widget.planPanel.hours == 1.0
    panel.choose(panel.ui.lengthCombo, "By epochs")
    assert panel.ui.epochsSpin.visible and not panel.ui.hoursSpin.visible
    panel.ui.epochsSpin.setValue(7)
    assert panel.widget.planPanel.hours is None
    assert (panel.plan["teacher_epochs"], panel.plan["student_epochs"]) == (7, 7)


def test_a_crop_is_what_the_network_sees(panel):
    panel.choose(panel.ui.cropCombo, "128")
    assert panel.plan["task"]["input_size"] == (128, 128)
    panel.choose(panel.ui.cropCombo, "As the task says")
    assert panel.plan["task"]["input_size"] == TASKS["liver-tumor"].input_size


def test_advanced_values_reach_the_plan(panel):
    for spin, value in (
        (panel.ui.betaSpin, 0.5),
        (panel.ui.lambdaSpin, 0.25),
        (panel.ui.temperatureSpin, 2.0),
        (panel.ui.learningRateSpin, 0.0005),
        (panel.ui.batchSpin, 4),
        (panel.ui.seedSpin, 3),
    ):
        spin.setValue(value)
    plan = panel.plan
    assert plan["method_options"] == {"temperature": 2.0, "beta": 0.5, "lambda_": 0.25}
    assert (plan["learning_rate"], plan["batch"], plan["seed"]) == (0.0005, 4, 3)


@pytest.mark.parametrize("point", [".", ","])
def test_a_number_that_is_typed_is_the_one_that_is_planned(panel, point):
    """Slicer writes a parameter back into its box at each key; a box of its own must not lose the next one by it."""
    boxes = {"hours": "8.5", "beta": "0.5", "lambda_": "0.25", "temperature": "12.5", "learningRate": "0.00025"}
    names = {"lambda_": "lambdaSpin"}
    for name, text in boxes.items():
        box = getattr(panel.ui, names.get(name, f"{name}Spin"))
        type_into(box, text.replace(".", point))
        assert (name, getattr(panel.parameters, name), box.value) == (name, float(text), float(text))


def test_a_number_with_more_decimals_is_shown_as_it_is_planned_and_can_be_made_0(panel):
    panel.parameters.lambda_ = 0.0004
    panel.slicer.app.processEvents()
    assert panel.ui.lambdaSpin.value == panel.plan["method_options"]["lambda_"] == 0.0004
    type_into(panel.ui.lambdaSpin, "0")
    assert panel.plan["method_options"]["lambda_"] == 0


def test_what_was_chosen_is_saved_with_the_scene_and_a_training_is_not(panel, tmp_path):
    panel.choose(panel.ui.methodCombo, "KD")
    panel.ui.batchSpin.setValue(5)
    path = tmp_path / "scene.mrb"
    assert panel.slicer.util.saveScene(str(path))
    panel.slicer.mrmlScene.Clear()
    panel.slicer.app.processEvents()
    assert panel.plan["method"] == "hlfd" and panel.plan["batch"] == 8
    panel.slicer.util.loadScene(str(path))
    panel.slicer.app.processEvents()
    assert panel.plan["method"] == "kd"
    assert panel.ui.methodCombo.currentText.startswith("KD") and panel.ui.batchSpin.value == 5


def save_plan(panel, file: Path) -> None:
    """Leaves a scene file with the plan as it is, and an empty scene."""
    assert panel.slicer.util.saveScene(str(file))
    panel.slicer.mrmlScene.Clear()
    panel.slicer.app.processEvents()


def add_scene(panel, file: Path) -> None:
    panel.slicer.util.loadScene(str(file), {"clear": False})
    panel.slicer.app.processEvents()


def test_a_scene_that_is_added_changes_no_plan_that_is_worked_on(panel, tmp_path):
    """It may be a colleague's, added for its annotated CTs; its folder of trainings is on another computer."""
    panel.choose(panel.ui.methodCombo, "KD")
    panel.parameters.runsFolder = str(tmp_path / "colleague")
    save_plan(panel, tmp_path / "colleague.mrb")

    panel.choose(panel.ui.methodCombo, "AT")
    panel.parameters.runsFolder = str(panel.runs_folder)
    add_scene(panel, tmp_path / "colleague.mrb")
    assert panel.plan["method"] == "at" and panel.ui.methodCombo.currentText.startswith("AT")
    assert panel.widget.planPanel.runs_folder == panel.runs_folder
    panel.ui.batchSpin.setValue(6)
    assert panel.plan["batch"] == 6


def test_a_scene_that_is_added_changes_no_plan_once_there_are_cases(panel, tmp_path):
    panel.choose(panel.ui.methodCombo, "KD")
    panel.parameters.runsFolder = ""
    save_plan(panel, tmp_path / "colleague.mrb")
    add_annotated_ct(0, "CT", "Patient")
    panel.ui.addFromSceneButton.click()
    add_scene(panel, tmp_path / "colleague.mrb")
    assert panel.plan["method"] == "hlfd"


def test_a_scene_that_is_added_before_anything_was_begun_brings_its_plan(panel, tmp_path):
    panel.choose(panel.ui.methodCombo, "KD")
    save_plan(panel, tmp_path / "scene.mrb")
    add_scene(panel, tmp_path / "scene.mrb")
    assert panel.plan["method"] == "kd"


def test_a_scene_in_the_place_of_the_former_brings_its_plan(panel, tmp_path):
    panel.choose(panel.ui.methodCombo, "KD")
    save_plan(panel, tmp_path / "scene.mrb")
    panel.choose(panel.ui.methodCombo, "AT")
    add_annotated_ct(0, "CT", "Patient")
    panel.ui.addFromSceneButton.click()
    panel.slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": True})
    panel.slicer.app.processEvents()
    assert panel.plan["method"] == "kd"


def test_what_a_button_has_to_say_is_seen_whatever_is_collapsed_or_scrolled_away(panel, tmp_path):
    import qt

    area, window = qt.QScrollArea(), panel.slicer.util.mainWindow()
    area.setWidgetResizable(True)
    top = window.takeCentralWidget()
    top.setMinimumHeight(1500)
    area.setWidget(top)
    window.setCentralWidget(area)
    window.resize(450, 400)
    panel.ui.runCollapsibleButton.collapsed = True
    panel.slicer.app.processEvents()
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum)
    empty = tmp_path / "empty"
    empty.mkdir()
    answer(str(empty))

    panel.ui.addFolderButton.click()
    panel.slicer.app.processEvents()
    assert "empty" in panel.message and "empty" in panel.status
    seen = panel.ui.messageLabel.visibleRegion().boundingRect()
    assert not seen.isEmpty() and seen.height() == panel.ui.messageLabel.height


def test_a_training_stays_in_sight_when_the_scene_is_closed(panel, tmp_path):
    """Its folder was chosen by hand: without it, nobody could stop the training from the panel."""
    run = begin_run(tmp_path / "elsewhere" / "run")
    panel.ui.runFolderEdit.setCurrentPath(str(run.path.parent))
    panel.wait(lambda: panel.widget.trainingPanel.shown == run.path, 10)
    panel.slicer.mrmlScene.Clear()
    panel.slicer.app.processEvents()
    assert panel.widget.trainingPanel.shown == run.path
    assert Path(panel.ui.runFolderEdit.currentPath) == run.path.parent


def test_a_folder_whose_disk_is_away_is_told_and_not_made_elsewhere(panel, tmp_path):
    folder = tmp_path / "disk" / "trainings"
    panel.parameters.runsFolder = str(folder)
    panel.slicer.app.processEvents()
    assert panel.ui.stageLabel.text == f"The folder {folder} is not there. Connect its disk, or choose another folder."
    from HLFDTrainingLib.new_task import keep_task
    from HLFDTrainingLib.slicer_panels.slicer_training_start import _new_draft

    with pytest.raises(OutputError, match="No such file"):
        _new_draft(folder)
    with pytest.raises(OutputError, match="No such file"):
        keep_task(replace(TASKS["liver-tumor"], name="own"), folder / "tasks")
    assert not folder.parent.exists()


def test_a_folder_that_may_not_be_looked_into_is_told_and_the_panel_goes_on(panel, tmp_path, monkeypatch):
    """As a colleague's, which came with the scene."""
    private = tmp_path / "private"

    def refusing(look):
        def refused(path, *arguments, **named):
            if private in path.parents:
                raise PermissionError(13, "Permission denied", str(path))
            return look(path, *arguments, **named)

        return refused

    for name in ("stat", "iterdir", "glob"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    panel.parameters.runsFolder = str(private / "trainings")
    panel.slicer.app.processEvents()
    assert Path(panel.ui.runFolderEdit.currentPath) == private / "trainings"
    assert "Choose another folder" in panel.ui.messageLabel.text


# Tasks


def fill_new_task(*organs: str, tumors: bool = True, told: list[str] | None = None):
    """The user tries these names one after the other; what the dialog says to each is told."""

    def fill(dialog):
        from qt import QCheckBox, QDialogButtonBox, QDoubleSpinBox, QLabel, QLineEdit

        dialog.findChild(QCheckBox, "tumorsCheck").setChecked(tumors)
        type_into(dialog.findChild(QDoubleSpinBox, "spacingSpin"), "2,5")
        ok = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.Ok)
        for organ in organs:
            dialog.findChild(QLineEdit, "organEdit").setText(organ)
            ok.click()
            if told is not None:
                told.append(dialog.findChild(QLabel, "problemLabel").text if ok.enabled else ok.toolTip)
        return dialog.result()

    return fill


def test_a_task_of_ones_own_becomes_a_task_file_and_is_chosen(panel):
    answer(fill_new_task("Pancreas"))
    panel.ui.newTaskButton.click()
    assert panel.ui.taskCombo.currentText == "Pancreas and its tumors"
    task = load_task(panel.runs_folder / "tasks" / "pancreas-tumor.json")
    assert [label.name for label in task.labels] == ["pancreas", "pancreas tumor"]
    assert task.spacing == 2.5 and task.tumors_of(task.labels[0])
    assert TrainingPlan.from_dict(panel.plan).task == task


def test_a_task_of_a_paired_organ_keeps_both_and_pixels_of_any_size_show_a_body(panel):
    """With one part, results would lose a kidney; with 384 pixels of 0.5 mm, training would see a third of a liver."""
    answer(fill_new_task("Kidneys"))
    panel.ui.newTaskButton.click()
    task = load_task(panel.runs_folder / "tasks" / "kidneys-tumor.json")
    assert task.labels[0].parts == 2
    assert task.input_size == (160, 160)  # of 2.5 mm
    from HLFDTrainingLib.new_task import new_task

    sizes = [new_task("liver", tumors=False, window=(0, 1), spacing=mm).input_size[0] for mm in (0.3, 0.8, 1, 1.6, 10)]
    assert sizes == [512, 480, 384, 256, 64]


def test_a_task_of_a_very_long_name_is_kept(panel):
    answer(fill_new_task("Nebenschilddrüse " * 5 + "Epithelkörper"))
    panel.ui.newTaskButton.click()
    assert panel.plan["task"]["name"].startswith("nebenschilddrüse") and not panel.message
    assert len(list((panel.runs_folder / "tasks").iterdir())) == 1


def test_how_many_in_a_body_follows_the_name_until_the_user_says_it(panel):
    seen = []

    def fill(dialog):
        from qt import QLineEdit, QSpinBox

        organ, parts = dialog.findChild(QLineEdit, "organEdit"), dialog.findChild(QSpinBox, "partsSpin")
        for name in ("kid", "Kidney", "pancreas", "adrenal  glands"):
            organ.setText(name)
            seen.append(parts.value)
        parts.setValue(3)
        organ.setText("kidney")
        seen.append(parts.value)
        return 0

    answer(fill)
    panel.ui.newTaskButton.click()
    assert seen == [1, 2, 1, 2, 3]


def test_a_task_file_with_a_mistake_is_told(panel):
    file = panel.runs_folder / "tasks" / "spleen.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    panel.widget.planPanel.refresh()
    assert str(file) in panel.message
    assert len(texts(panel.ui.taskCombo)) == len(TASKS)


def test_a_task_that_cannot_be_made_is_told_in_the_dialog_which_stays_open(panel):
    told = []
    answer(fill_new_task(" ", "?", "Liver", "Pancreas", told=told))
    panel.ui.newTaskButton.click()
    assert told[0] == "Name the organ first." and "no name" in told[1] and "already" in told[2]
    assert not panel.message and panel.plan["task"]["name"] == "pancreas-tumor"


def test_a_new_task_that_is_cancelled_changes_nothing(panel):
    answer(0)
    panel.ui.newTaskButton.click()
    assert not panel.message and not (panel.runs_folder / "tasks").exists()


def test_a_folder_that_is_typed_is_looked_into_when_it_is_whole(panel, tmp_path):
    other = tmp_path / "other trainings"
    begin_run(other / "first")
    typing = panel.widget.planPanel._typing
    usual = typing.interval
    typing.setInterval(60_000)  # Longer than any machine takes for one letter.
    seen = set()
    for length in range(len(str(tmp_path)), len(str(other)) + 1):
        panel.ui.runFolderEdit.setCurrentPath(str(other)[:length])
        panel.parameters.epochs = 10 + length
        panel.slicer.app.processEvents()
        seen.add(panel.parameters.runsFolder)
    assert seen == {str(panel.runs_folder)}
    typing.setInterval(usual)
    typing.start()
    panel.wait(lambda: panel.parameters.runsFolder == str(other))
    assert texts(panel.ui.runsCombo)[0].startswith("first")


@pytest.mark.parametrize(("typed", "meant"), [("~/here", "here"), ("here", "here"), ("/tmp/here", "/tmp/here")])
def test_a_folder_is_understood_as_it_is_written(panel, home, typed, meant):
    panel.ui.runFolderEdit.setCurrentPath(typed)
    panel.wait(lambda: panel.widget.planPanel.runs_folder != panel.runs_folder, 10)
    assert panel.widget.planPanel.runs_folder == home / meant
    assert panel.ui.runFolderEdit.currentPath == typed


# Teachers and students that are there already


def test_the_teacher_of_an_earlier_training_can_be_taken(panel):
    run = begin_run(panel.runs_folder / "first", teacher="raunet")
    panel.leave()
    panel.open()
    panel.widget.planPanel.refresh()
    panel.choose(panel.ui.teacherSourceCombo, "first")
    assert (panel.plan["teacher_weights"], panel.plan["teacher"]) == (str(run.path), "raunet")
    assert not panel.ui.teacherCombo.enabled
    shutil.rmtree(run.path)
    panel.widget.planPanel.refresh()
    assert "not there any more" in panel.widget.planPanel.problem


def test_a_training_that_is_shown_is_offered_as_a_teacher_at_once(panel):
    assert texts(panel.ui.teacherSourceCombo) == ["Train one on your cases"]
    begin_run(panel.runs_folder / "first")
    panel.widget.trainingPanel.set_folder(panel.runs_folder)
    assert texts(panel.ui.teacherSourceCombo)[1:] == ["first"]


def test_a_module_that_is_unloaded_leaves_neither_its_charts_nor_its_layouts(panel):
    from training_runs import epoch_event, tell

    slicer = panel.slicer
    before = slicer.app.layoutManager().layout
    run = begin_run(panel.runs_folder / "first")
    tell(run, epoch_event("teacher", 1, 0.5), epoch_event("student", 1, 0.5))
    panel.widget.trainingPanel.set_folder(panel.runs_folder)
    panel.ui.showChartsButton.click()
    assert slicer.app.layoutManager().layout != before
    panel.widget.cleanup()
    assert slicer.app.layoutManager().layout == before
    assert not [node for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode") if "HLFD" in node.GetName()]


def test_a_teacher_that_has_hardly_learned_says_so_in_the_list(panel):
    from training_runs import epoch_event, tell

    tell(begin_run(panel.runs_folder / "first", teacher="raunet"), epoch_event("teacher", 1, 0.1))
    panel.widget.planPanel.refresh()
    panel.choose(panel.ui.teacherSourceCombo, "first (epoch 1 of 2)")
    assert panel.plan["teacher_weights"] == str(panel.runs_folder / "first")


def test_an_installed_model_for_other_labels_or_pixels_is_no_teacher(panel, home):
    answer(fill_new_task("Pancreas"))
    panel.ui.newTaskButton.click()
    assert texts(panel.ui.teacherSourceCombo) == ["Train one on your cases"]
    panel.choose(panel.ui.taskCombo, TASKS["abdomen"].title)
    # The model that ships with HLFD has pixels of 2 mm, and the task 1 mm: a student gets used to that.
    assert texts(panel.ui.teacherSourceCombo) == ["Train one on your cases"]
    assert len(texts(panel.ui.studentSourceCombo)) == 2


def test_the_patients_of_an_installed_model_are_those_of_its_training_or_nobody_knows_them(panel):
    from HLFDSegmentationLib.model_store import find_package
    from HLFDTrainingLib.runs.installed_note import note_installed

    panel.choose(panel.ui.taskCombo, TASKS["abdomen"].title)
    assert not panel.ui.startNoteLabel.visible
    package = find_package("abdomen-mobilenetv2-hlfd")
    panel.choose(panel.ui.studentSourceCombo, package.title)
    assert panel.plan["student_weights"] == package.name
    assert panel.ui.startNoteLabel.visible and "Nobody knows" in panel.ui.startNoteLabel.text
    run = begin_run(panel.runs_folder / "first", task=package.task)
    note_installed(run.path, package.name, package.weights_sha256)
    panel.widget.planPanel.refresh()
    assert panel.ui.studentSourceCombo.currentText == package.title and panel.widget.planPanel.problem == ""
    assert panel.plan["student_weights"] == str(run.stage("student") / "best.pt")
    assert parts_met([panel.plan["student_weights"]]) == parts_of(run)
    assert not panel.ui.startNoteLabel.visible
    shutil.rmtree(run.path)
    panel.widget.planPanel.refresh()
    assert panel.widget.planPanel.problem == "" and panel.plan["student_weights"] == package.name


def test_the_next_training_goes_on_from_a_student(panel):
    run = begin_run(
        panel.runs_folder / "first", task=replace(TASKS["kidney-tumor"], input_size=(64, 64)), student="resnet18-unet"
    )
    panel.widget.onContinueFrom(run.path)
    plan = panel.plan
    assert plan["student_weights"] == plan["teacher_weights"] == str(run.path)
    assert plan["task"] == run.plan().task.to_dict()
    assert plan["student"] == "resnet18-unet" and not panel.ui.studentCombo.enabled
    assert panel.ui.taskCombo.currentText == TASKS["kidney-tumor"].title
    assert panel.ui.studentCombo.toolTip == "It is that of the student that is gone on from."


def test_the_task_of_a_student_is_kept_under_a_free_name_where_another_one_has_its_name(panel):
    other = replace(TASKS["abdomen"], spacing=2.5)
    panel.widget.onContinueFrom(begin_run(panel.runs_folder / "first", task=other).path)
    assert "The plan now goes on from 'first'" in panel.message
    assert panel.plan["task"]["name"] == "abdomen-2" and panel.plan["task"]["spacing"] == 2.5
    assert load_task(panel.runs_folder / "tasks" / "abdomen-2.json").labels == other.labels


def test_what_the_plan_goes_on_from_is_told_and_the_plan_is_seen(panel):
    run = begin_run(panel.runs_folder / "first")
    panel.ui.planCollapsibleButton.collapsed = True
    panel.widget.onContinueFrom(run.path)
    assert panel.message == "The plan now goes on from 'first'. Press Train."
    assert not panel.ui.planCollapsibleButton.collapsed


def test_patients_of_the_student_that_is_gone_on_from_stay_in_their_parts(panel, monkeypatch):
    """Otherwise it would be tested on patients that it has learned from."""
    kept = []
    monkeypatch.setattr(panel.widget.casesPanel, "keep_parts", kept.append)
    run = begin_run(panel.runs_folder / "first")
    panel.widget.onContinueFrom(run.path)
    assert kept[-1] == parts_of(run) != {}


def test_a_student_whose_patients_cannot_be_read_is_told(panel):
    run = begin_run(panel.runs_folder / "first")
    (run.path / "split.json").write_text("[", encoding="utf-8")
    panel.widget.onContinueFrom(run.path)
    assert "split.json" in panel.message and "Press Train" not in panel.message


# Names and folders


def test_a_training_never_gets_the_folder_of_another(panel):
    panel.parameters.runName = "Liver: 20/cases"
    first = panel.widget.planPanel.new_run_folder()
    assert first.parent == panel.runs_folder and first.name == "Liver_ 20_cases"
    first.mkdir(parents=True)
    assert panel.widget.planPanel.new_run_folder() != first


# The logic, for scripts


@pytest.fixture
def logic(panel):
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    return panel.widget.logic


def test_scripts_are_told_which_packages_are_missing(panel, tmp_path):
    with pytest.raises(HLFDError, match="PyTorch"):
        panel.widget.logic.startTraining(tmp_path, {"task": "liver-tumor"}, tmp_path / "run")


def test_what_is_no_training_cannot_be_continued(logic, tmp_path):
    with pytest.raises(TrainingError, match="no training"):
        logic.continueTraining(tmp_path)


def test_a_plan_that_makes_no_sense_is_refused(logic, tmp_path):
    write_cases(tmp_path / "cases", 4)
    with pytest.raises(TrainingError, match="no student network 'u-net'"):
        logic.startTraining(tmp_path / "cases", {"task": "liver-tumor", "student": "u-net"}, tmp_path / "run")
    with pytest.raises(TrainingError, match="no precision 'half'"):
        logic.startTraining(tmp_path / "cases", {"task": "liver-tumor", "precision": "half"}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_script_trains_only_with_cases_that_were_checked(logic, tmp_path):
    cases = write_cases(tmp_path / "cases", 4)
    (cases / "case2" / "label.nii.gz").write_bytes(b"no image")
    with pytest.raises(CasesError, match=r"Case case2: .*label.nii.gz cannot be read .* or leave the case out"):
        logic.startTraining(cases, {"task": "liver-tumor"}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_script_trains_in_an_empty_folder_only(logic, tmp_path):
    cases, mine = write_cases(tmp_path / "cases", 4), tmp_path / "mine"
    mine.mkdir()
    (mine / "split.json").write_text("by hand")
    with pytest.raises(OutputError, match=r"already holds split.json. Choose a new folder"):
        logic.startTraining(cases, {"task": TASK.to_dict()}, mine)
    assert [path.name for path in mine.iterdir()] == ["split.json"] and (mine / "split.json").read_text() == "by hand"


@pytest.mark.parametrize(
    ("plan", "told"),
    [({"method": "hlfdd"}, "no distillation method 'hlfdd'"), ({"student_weights": "nobody"}, "nobody")],
    ids=["method", "weights"],
)
def test_a_script_is_told_at_once_what_cannot_be_carried_out(logic, tmp_path, plan, told):
    cases = write_cases(tmp_path / "cases", 4)
    with pytest.raises(HLFDError, match=told):
        logic.startTraining(cases, {"task": TASK.to_dict(), "device": "cpu", **plan}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_script_cannot_judge_a_student_by_whom_it_has_learned_from(logic, tmp_path, monkeypatch):
    from HLFDTrainingLib.runs import given_weights

    first = begin_run(tmp_path / "first", task=TASK)
    monkeypatch.setattr(given_weights, "find_weights", lambda *_arguments: {})
    cases = tmp_path / "files of cases"
    split = split_by_patient(find_cases(cases, TASK))
    other = replace(split, train=split.test, test=split.train)
    plan = {"task": TASK.to_dict(), "device": "cpu", "student_weights": str(first.path)}
    with pytest.raises(TrainingError, match="has learned from patient"):
        logic.startTraining(cases, plan, tmp_path / "run", split=other)
    assert not (tmp_path / "run").exists()


def test_a_script_starts_stops_and_continues_a_training(logic, tmp_path):
    cases = write_cases(tmp_path / "cases", 4)
    plan = {"task": TASK.to_dict(), "student": "mobilenetv2-unet", "method": "none", "batch": 2, "device": "cpu"}
    training = logic.startTraining(cases, {**plan, "student_epochs": 3}, tmp_path / "runs/first", name="small livers")
    assert training.state.name == "running"
    logic.stop(tmp_path / "runs/first")
    wait_for_end(training)
    assert training.state.name == "stopped", training.state.sentence
    again = logic.continueTraining(tmp_path / "runs/first")
    wait_for_end(again)
    assert again.state.name == "finished", again.state.sentence
    assert [row.name for row in logic.trainings(tmp_path / "runs")] == ["small livers"]


def wait_for_end(training) -> None:
    end = time.monotonic() + 120
    while training.state.name == "running" and time.monotonic() < end:
        time.sleep(0.1)


def test_stopping_what_does_not_run_does_nothing(logic, panel):
    run = begin_run(panel.runs_folder / "first")
    logic.stop(run.path)
    assert not run.stop_file.exists()
    assert [row.name for row in logic.trainings(panel.runs_folder)] == ["first"]


# Before a training begins


@pytest.fixture
def preparing(panel):
    """The panel while the steps of a training with four cases are being measured."""
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    for number in range(4):
        add_annotated_ct(number, f"CT {number}", f"Patient {number}")
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.estimateButton.enabled, 30)
    panel.ui.estimateButton.click()
    panel.wait(lambda: "Measuring" in panel.ui.stageLabel.text)
    assert panel.ui.estimateButton.text == "Cancel" and not panel.ui.trainButton.enabled
    assert "Measuring" in panel.ui.estimateLabel.text and panel.ui.estimateLabel.visible
    return panel


def drafts(panel) -> list[Path]:
    return list(panel.runs_folder.glob(".*"))


def test_a_preparation_that_is_cancelled_leaves_the_panel_as_it_was(preparing):
    preparing.ui.estimateButton.click()
    assert preparing.ui.estimateButton.text == "Estimate time and memory" and not preparing.ui.estimateLabel.visible
    assert preparing.ui.trainButton.enabled and not preparing.message
    assert preparing.widget.logic.trainings(preparing.runs_folder) == []


def test_a_preparation_that_is_cancelled_leaves_no_copies_of_cts(preparing):
    [draft] = drafts(preparing)
    assert list(draft.rglob("ct.nrrd"))
    preparing.ui.estimateButton.click()
    assert drafts(preparing) == []
    preparing.ui.trainButton.click()
    preparing.wait(lambda: "Measuring" in preparing.ui.stageLabel.text, 60)
    assert preparing.ui.trainButton.text == "Cancel" and len(drafts(preparing)) == 1
    preparing.ui.trainButton.click()
    assert drafts(preparing) == [] and not preparing.message


def test_what_a_slicer_that_crashed_was_preparing_is_removed_and_what_others_prepare_is_not(preparing, tmp_path):
    from HLFDTrainingLib.slicer_panels.slicer_training_start import remove_abandoned

    [own] = drafts(preparing)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_this_slicer = own.name.removeprefix(".preparing-").rpartition("-")[0]
    kinds = {
        "crashed": f"{computer_name()}-{ended.pid}-0123456789ab-1",
        "number used again": f"{computer_name()}-{os.getpid()}-0123456789ab-1",
        "crashed, its start not known": f"{computer_name()}-{ended.pid}-1700000000000000000",
        "elsewhere": f"far-away-{ended.pid}-0123456789ab-1",
        "alive": f"{of_this_slicer}-1",
        "alive, its start not known": f"{computer_name()}-{os.getpid()}-1700000000000000000",
        "other": "notes",
    }
    made = {kind: preparing.runs_folder / f".preparing-{name}" for kind, name in kinds.items()}
    for folder in made.values():
        folder.mkdir()
    remove_abandoned(preparing.runs_folder)
    kept = {own, made["alive"], made["alive, its start not known"], made["other"]}
    assert set(drafts(preparing)) == {*kept, made["elsewhere"]}
    for folder in made.values():
        if folder.exists():
            os.utime(folder, (0, 0))
    remove_abandoned(preparing.runs_folder)
    assert set(drafts(preparing)) == kept
    preparing.parameters.runsFolder = str(tmp_path)
    made["crashed"].mkdir()
    preparing.parameters.runsFolder = str(preparing.runs_folder)
    assert not made["crashed"].exists()


def test_a_deleted_segmentation_ends_a_preparation(preparing):
    preparing.slicer.mrmlScene.RemoveNode(preparing.slicer.util.getNode("CT 1 segmentation"))
    preparing.wait(lambda: preparing.ui.estimateButton.text == "Estimate time and memory", 10)
    assert "Start it again" in preparing.message and drafts(preparing) == []
    assert "gone" in preparing.ui.trainHintLabel.text


def test_another_case_ends_a_preparation(preparing):
    add_annotated_ct(9, "CT 9", "Patient 9")
    preparing.ui.addFromSceneButton.click()
    assert preparing.ui.estimateButton.text == "Estimate time and memory"
    assert "Start it again" in preparing.message
    assert drafts(preparing) == []


def test_another_plan_ends_a_preparation(preparing):
    preparing.ui.undistilledCheck.setChecked(True)
    assert preparing.ui.estimateButton.text == "Estimate time and memory"
    assert "Start it again" in preparing.message and preparing.ui.trainButton.enabled
    preparing.parameters.runName = "renamed"
    assert "Start it again" in preparing.message
    assert len(drafts(preparing)) == 1  # What was written serves the next one,
    preparing.widget.cleanup()
    assert drafts(preparing) == []  # and goes with Slicer.


def test_closing_the_scene_ends_a_preparation(preparing):
    preparing.slicer.mrmlScene.Clear()
    preparing.slicer.app.processEvents()
    assert drafts(preparing) == []
    assert not preparing.ui.trainButton.enabled and "Start it again" in preparing.message


def test_an_estimate_is_told_in_words_with_its_warnings(panel):
    estimate = {
        "epochs": {"teacher": 12, "student": 20},
        "seconds": {"reading": 20, "teacher": 1500, "student": 6000},
        "total": 7520,
        "memory_bytes": 2.2e9,
        "disk_bytes": 3.4e8,
        "warnings": ["The disk is small."],
    }
    panel.widget.planPanel.show_estimate(estimate)
    text = panel.ui.estimateLabel.text
    for part in ("about 2.1 h", "teacher: about 25 min. Epochs: 12", "2.2 GB", "340 MB", "Warning: The disk is small."):
        assert part in text


def test_going_on_from_a_student_keeps_the_options_of_its_method(panel, home):
    run = begin_run(home / "run", method="hlfd", method_options={"temperature": 2.0, "beta": 0.5, "lambda_": 0.3})
    panel.widget.planPanel.continue_from(run.path)
    assert panel.plan["method_options"] == {"temperature": 2.0, "beta": 0.5, "lambda_": 0.3}


def test_a_training_from_before_a_color_changed_can_be_gone_on_from(panel):
    task = TASKS["kidney-tumor"]
    brown = replace(task, labels=(replace(task.labels[0], color=(185, 102, 83)), *task.labels[1:]))
    panel.widget.onContinueFrom(begin_run(panel.runs_folder / "run", task=brown).path)
    assert "another name" not in panel.message and panel.ui.taskCombo.currentText == task.title
    assert TrainingPlan.from_dict(panel.plan).task == task and panel.plan["student_weights"]


def test_going_on_from_a_usual_student_does_not_keep_what_was_set_before(panel, home):
    panel.parameters.beta, panel.parameters.temperature = 0.3, 7.0
    run = begin_run(home / "run", method="hlfd", method_options={})
    panel.widget.planPanel.continue_from(run.path)
    assert panel.plan["method_options"] == {"temperature": 4.0, "beta": 0.9, "lambda_": 0.1}


def test_going_on_takes_the_variant_and_refuses_options_that_the_panel_does_not_have(panel, home):
    """A student must not learn on in silence by another method than the one it has learned by."""
    full = begin_run(home / "full", method="hlfd", method_options={"variant": "full", "beta": 0.5})
    panel.widget.planPanel.continue_from(full.path)
    assert (panel.plan["method"], panel.plan["method_options"]["beta"]) == ("hlfd:full", 0.5)
    other = begin_run(home / "others" / "other", method="hlfd", method_options={"resize": "smaller", "beta": 0.7})
    with pytest.raises(HLFDError, match=r"no such settings as this training .*resize smaller"):
        panel.widget.planPanel.continue_from(other.path)
    assert panel.plan["method_options"]["beta"] == 0.5


def test_after_a_check_a_training_can_be_started_whatever_was_planned_meanwhile(panel):
    for number in range(4):
        add_annotated_ct(number, f"CT {number}", f"Patient {number}")
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.trainButton.enabled and panel.ui.checkButton.enabled, 30)
    panel.ui.checkButton.click()
    assert not panel.ui.trainButton.enabled and not panel.ui.estimateButton.enabled
    panel.ui.undistilledCheck.setChecked(True)
    panel.wait(lambda: panel.ui.checkButton.text == "Check", 60)
    assert panel.ui.trainButton.enabled and panel.ui.estimateButton.enabled


@pytest.fixture
def measured(panel, monkeypatch):
    """The panel with four cases whose steps need no measuring; `started` are the folders of trainings that began."""
    from HLFDTrainingLib.slicer_panels import slicer_training_start
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = set()
    monkeypatch.setattr(slicer_training_start, "Child", MeasuredAtOnce)
    panel.started = []
    monkeypatch.setattr(panel.widget.trainingPanel, "start", lambda run, name="": panel.started.append(run))
    for number in range(4):
        add_annotated_ct(number, f"CT {number}", f"Patient {number}")
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.estimateButton.enabled, 30)
    return panel


ESTIMATE = {
    "event": "estimate",
    "epochs": {"teacher": 1, "head": 1, "student": 1},
    "seconds": {"reading": 1, "teacher": 1, "head": 1, "student": 1},
    "total": 4,
    "memory_bytes": 1e9,
    "disk_bytes": 1e9,
    "warnings": [],
}


class MeasuredAtOnce:
    """In place of the process that measures steps."""

    def __init__(self, arguments, on_line, on_ended) -> None:
        import qt

        def end() -> None:
            on_line(json.dumps(ESTIMATE))
            on_ended("")

        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", end)
        self._timer.start(0)

    def cancel(self) -> None:
        self._timer.stop()


def train(panel) -> None:
    panel.ui.trainButton.click()
    panel.wait(lambda: panel.ui.trainButton.text != "Cancel", 60)


def estimate(panel) -> None:
    panel.ui.estimateButton.click()
    panel.wait(lambda: panel.ui.estimateButton.text != "Cancel", 60)


def test_a_training_of_a_very_long_name_begins(measured):
    measured.parameters.runName = "Lebertumörchen und Nierenzysten " * 9
    train(measured)
    [run] = measured.started
    assert (run / "plan.json").is_file() and run.name.startswith("Lebertumörchen")


@pytest.mark.parametrize("wanted", [False, True])
def test_a_training_that_may_not_fit_begins_only_where_the_user_agrees(measured, monkeypatch, wanted):
    import qt
    from slicer_shell import dialogs

    monkeypatch.setitem(ESTIMATE, "warnings", ["Training needs about 90 GB of memory."])
    dialogs.answer(qt.QMessageBox.Ok if wanted else qt.QMessageBox.Cancel)
    train(measured)
    assert any("90 GB" in question for question in dialogs.shown)
    assert len(measured.started) == int(wanted)


def refusing(error: Exception):
    def refuse(*_arguments) -> None:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("step", "error"),
    [("start_run", OutputError("the disk is full")), ("replace_waiting", PermissionError(13, "in use"))],
    ids=["written", "renamed"],
)
def test_a_beginning_that_fails_leaves_no_half_of_a_training_and_can_be_tried_again(step, error, measured, monkeypatch):
    estimate(measured)
    with monkeypatch.context() as patch:
        patch.setattr(f"HLFDTrainingLib.slicer_panels.slicer_training_start.{step}", refusing(error))
        train(measured)
    assert str(error.args[-1]) in measured.message
    assert measured.started == measured.widget.logic.trainings(measured.runs_folder) == []
    assert [path.name for path in measured.runs_folder.iterdir() if not path.name.startswith(".")] == []
    train(measured)
    [run] = measured.started
    assert RunFolder(run).split(RunFolder(run).plan()).train


def test_an_estimate_is_shown_beside_its_own_plan_only(measured):
    estimate(measured)
    measured.parameters.undistilled = True
    assert not measured.ui.estimateLabel.visible
    measured.parameters.undistilled = False
    assert measured.ui.estimateLabel.visible and "The whole training" in measured.ui.estimateLabel.text


def test_an_estimate_ends_with_the_scene_that_it_was_measured_in(measured):
    estimate(measured)
    assert measured.ui.estimateLabel.visible
    measured.slicer.mrmlScene.Clear(0)
    assert not measured.ui.estimateLabel.visible
    assert list(measured.runs_folder.glob(".*")) == []


def test_an_estimate_ends_with_the_folder_of_trainings_that_its_files_lie_in(measured, tmp_path):
    estimate(measured)
    before = measured.runs_folder
    measured.parameters.runsFolder = str(tmp_path / "other")
    assert not measured.ui.estimateLabel.visible
    assert list(before.glob(".*")) == []


def test_a_drawing_that_is_corrected_while_the_cases_are_written_is_not_left_out(measured, monkeypatch):
    from HLFDTrainingLib.slicer_panels import slicer_training_start

    drawn = measured.slicer.util.getNode("CT 0 segmentation")

    def corrected_then_measured(*arguments):
        segmentation = drawn.GetSegmentation()
        segmentation.GetSegment(segmentation.GetNthSegmentID(0)).SetName("spleen")
        return MeasuredAtOnce(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(slicer_training_start, "Child", corrected_then_measured)
        train(measured)
    assert measured.started == [] and "Start it again" in measured.message


@pytest.mark.parametrize("corrected", [False, True])
def test_saving_the_scene_while_steps_are_measured_ends_nothing_and_a_correction_does(
    measured, monkeypatch, tmp_path, corrected
):
    from HLFDTrainingLib.slicer_panels import slicer_training_start

    util = measured.slicer.util
    for number in range(4):
        ct, node = util.getNode(f"CT {number}"), util.getNode(f"CT {number} segmentation")
        liver, tumor = (util.arrayFromSegmentBinaryLabelmap(node, key, ct) for key in SEGMENTS.values())
        util.updateSegmentBinaryLabelmapFromArray(liver | tumor, node, SEGMENTS[1], ct)

    def saved_then_measured(*arguments):
        if corrected:
            util.updateSegmentBinaryLabelmapFromArray(liver, node, SEGMENTS[2], ct)
        assert util.saveScene(str(tmp_path / "scene.mrb"))
        return MeasuredAtOnce(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(slicer_training_start, "Child", saved_then_measured)
        train(measured)
    assert len(measured.started) == (0 if corrected else 1)
    assert ("Start it again" in measured.message) == corrected


def test_while_it_is_prepared_the_user_reads_to_keep_slicer_open_and_can_cancel_where_it_was_begun(measured):
    ui = measured.ui
    ui.trainButton.click()
    assert "Keep Slicer open until the training has started" in ui.stageLabel.text
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Cancel", True)
    assert (ui.estimateButton.text, ui.estimateButton.enabled) == ("Estimate time and memory", False)
    assert "being prepared" in ui.estimateButton.toolTip and not ui.estimateLabel.visible
    ui.trainButton.click()
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Train", True)
    assert measured.started == [] and not measured.message
    ui.estimateButton.click()
    assert "Writing" in ui.stageLabel.text and "Keep Slicer open" not in ui.stageLabel.text
    assert ui.estimateLabel.visible and "Writing" in ui.estimateLabel.text
    ui.estimateButton.click()


def test_a_double_click_on_estimate_does_not_cancel_it(measured, monkeypatch):
    monkeypatch.setattr(measured.slicer.app, "doubleClickInterval", 60_000)
    measured.ui.estimateButton.click()
    measured.ui.estimateButton.click()
    assert measured.ui.estimateButton.text == "Cancel"
    measured.wait(lambda: "The whole training" in measured.ui.estimateLabel.text, 60)


def test_cases_that_were_written_and_are_gone_are_written_again(measured):
    estimate(measured)
    for draft in drafts(measured):
        shutil.rmtree(draft)
    train(measured)
    assert len(measured.started) == 1 and not measured.message


def add_files(panel, folder: Path) -> Path:
    """Two more cases, which are files of other patients."""
    cases = write_cases(folder / "cases", 6)
    for number in range(4):
        shutil.rmtree(cases / f"case{number}")
    answer(str(cases))
    panel.ui.addFolderButton.click()
    return cases


def test_a_label_file_that_is_changed_after_the_estimate_is_read_again(measured, tmp_path):
    """Corrected, it must be learned from as it is; spoiled, it must be refused."""
    cases = add_files(measured, tmp_path)
    measured.wait(lambda: measured.ui.estimateButton.enabled, 30)
    estimate(measured)
    assert not measured.message
    (cases / "case5" / "label.nii.gz").write_bytes(b"no image")
    train(measured)
    assert measured.started == [] and "Case case5:" in measured.message and "label.nii.gz" in measured.message
    assert not measured.ui.estimateLabel.visible


def test_a_training_goes_by_the_files_that_were_checked(measured, tmp_path):
    """Whatever is changed between the check and the trainer's first look is refused by the trainer."""
    cases = add_files(measured, tmp_path)
    measured.wait(lambda: measured.ui.trainButton.enabled, 30)
    train(measured)
    run = RunFolder(measured.started[0])
    split = run.split(run.plan())
    assert set(known_files(run)) == {"CT 0", "CT 1", "CT 2", "CT 3", "case4", "case5"}
    keep_patients_by_ct(run, split)
    shutil.copy(cases / "case4" / "label.nii.gz", cases / "case5" / "label.nii.gz")
    with pytest.raises(CasesError, match="Case case5: the label in"):
        keep_patients_by_ct(run, split)


def test_a_folder_of_trainings_that_vanishes_while_steps_are_measured_is_told_in_words(measured, monkeypatch, tmp_path):
    from HLFDTrainingLib.slicer_panels import slicer_training_start

    disk = tmp_path / "disk"
    disk.mkdir()
    measured.parameters.runsFolder = str(disk)

    def unplugged(*arguments):
        shutil.rmtree(disk)
        return MeasuredAtOnce(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(slicer_training_start, "Child", unplugged)
        train(measured)
    assert measured.started == []
    assert f"The folder for the trainings is no longer there: {disk}." in measured.message


def test_a_mistake_while_preparing_is_told_and_the_panel_is_free_again(measured, monkeypatch):
    def broken() -> Path:
        raise RuntimeError("not thought of")

    monkeypatch.setattr(measured.widget.planPanel, "new_run_folder", broken)
    train(measured)
    assert "mistake in the program" in measured.message
    assert measured.ui.trainButton.enabled


def test_options_that_the_panel_cannot_have_are_told_and_nothing_is_changed(panel, home):
    run = begin_run(home / "run", method="hlfd", method_options={"beta": 0.5, "temperature": 0.5})
    before = panel.plan
    panel.widget.onContinueFrom(run.path)
    assert "temperature 0.5" in panel.message and "in a terminal" in panel.message
    assert panel.plan == before


def test_a_cancelled_command_leaves_nothing_in_the_temporary_folder(panel, tmp_path, monkeypatch):
    """An estimate reads CTs into one of its own, and is killed where the user cancels it."""
    from HLFDSegmentationLib.slicer_tools.slicer_python import start_python
    from HLFDTrainingLib.slicer_scene import slicer_child

    told = tmp_path / "told.py"
    told.write_text("import tempfile, time\nprint(tempfile.mkdtemp(), flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(
        slicer_child, "start_python", lambda _folders, _module, **options: start_python([tmp_path], "told", **options)
    )
    lines: list[str] = []
    child = slicer_child.Child([], lines.append, lines.append)
    panel.wait(lambda: lines)
    assert Path(lines[0]).is_dir()
    child.cancel()
    assert not Path(lines[0]).exists()
