"""A training followed in HLFD Training's panel, on the stand-in Slicer: its file drawn, its buttons clicked.

Real: run folders, the processes that watch a trainer, Slicer's nodes. The trainer itself is real in one test; in the
others a small program is in its place.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from slicer_module_window import hastily
from slicer_training_cases import PanelPart
from training_runs import (
    PLAN,
    begin_run,
    epoch_event,
    plan_event,
    step_event,
    take_away,
    tell,
    trainer,
    write_preview,
    write_step,
)


class Panel(PanelPart):
    """The part of the panel, and what its user does and sees."""

    def __init__(self, slicer) -> None:
        from HLFDTrainingLib.slicer_panels.slicer_training_panel import TrainingPanel

        super().__init__(slicer)
        self.shown = []
        self.trainings_wanted = 0
        self.panel = TrainingPanel(self.ui, self.want_training, self.shown.append, self.show_problem)
        self.panel.attach(True)
        self.widget.show()

    def want_training(self) -> None:
        self.trainings_wanted += 1

    def wait_for_end(self) -> None:
        self.wait(lambda: not self.panel.running)

    def texts(self) -> list[str]:
        combo = self.ui.runsCombo
        return [combo.itemText(index) for index in range(combo.count)]


@pytest.fixture
def panel(slicer_shell):
    made = Panel(slicer_shell)
    yield made
    made.panel.close()


@pytest.fixture
def started():
    """Starts a program in a run's folder as its trainer, and ends it after the test."""
    from HLFDTrainingLib.runs.training_process import TrainingProcess

    runs = []

    def start(folder):
        process = TrainingProcess.start(folder.path, trainer(folder), os.environ)
        runs.append(process)
        return process

    yield start
    for process in runs:
        if process.run_folder.is_dir():
            watched = processes_of(process.run_folder)
            process.stop()
            for left in psutil.wait_procs(watched, timeout=10)[1]:
                left.kill()


def processes_of(run: Path) -> list[psutil.Process]:
    """Watch and trainer of a run, as far as they are there."""
    try:
        lock = json.loads((run / "process" / "lock.json").read_text())
    except OSError:
        return []
    # Until the watch takes it over, the lock is held for the process that starts it: this one.
    return [psutil.Process(pid) for pid, _start in lock["processes"] if psutil.pid_exists(pid) and pid != os.getpid()]


def kill_trainer(panel: Panel, run: Path) -> None:
    panel.wait(lambda: len(processes_of(run)) == 2)
    processes_of(run)[1].kill()


def chart_nodes(slicer) -> list:
    kinds = ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode")
    return [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]


def dice_and_loss(panel: Panel) -> tuple:
    charts = panel.panel._charts
    return charts._dice.node, charts._loss.node


def column(chart, series: str) -> list[float]:
    """The numbers of a series of a chart."""
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        node = chart.GetNthPlotSeriesNode(number)
        if node.GetName() == series:
            values = node.GetTableNode().GetTable().GetColumnByName(node.GetYColumnName())
            return [values.GetValue(row) for row in range(values.GetNumberOfTuples())]
    raise LookupError(series)


def series_names(chart) -> list[str]:
    return [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]


TEACHER = (plan_event(), epoch_event("teacher", 1, 0.4), epoch_event("teacher", 2, 0.8), epoch_event("head", 1, 0.7))


# What is going on


def test_without_a_training_the_panel_says_so(panel, tmp_path):
    panel.panel.set_folder(tmp_path / "not there yet")
    panel.panel.set_problem("Add a case.")
    assert panel.panel.shown is None and panel.shown == [None]
    assert "No training" in panel.ui.stageLabel.text
    assert not panel.ui.trainButton.enabled and not panel.ui.continueButton.enabled
    assert panel.ui.trainHintLabel.text == panel.ui.trainButton.toolTip == "Add a case."
    panel.panel.set_problem("")
    assert panel.ui.trainButton.enabled and panel.ui.trainButton.text == "Train"
    panel.ui.trainButton.click()
    assert panel.trainings_wanted == 1


def test_while_a_training_is_prepared_it_says_what_is_done_and_train_is_cancel(panel, tmp_path):
    panel.panel.set_folder(tmp_path)
    panel.panel.set_problem("")
    panel.panel.set_busy("Writing the cases", can_cancel=True)
    assert panel.ui.stageLabel.text == "Writing the cases" and panel.ui.trainingProgress.visible
    button = panel.ui.trainButton
    assert (button.text, button.enabled) == ("Cancel", True) and "Nothing of it stays" in button.toolTip
    assert not panel.ui.continueButton.enabled and "being prepared" in panel.ui.continueButton.toolTip
    button.click()
    assert panel.trainings_wanted == 1
    panel.panel.set_busy("", can_cancel=True)
    assert (button.text, button.enabled) == ("Train", True) and not panel.ui.trainingProgress.visible


def test_while_a_training_is_estimated_it_cannot_be_begun_and_the_button_says_why(panel, tmp_path):
    panel.panel.set_folder(tmp_path)
    panel.panel.set_problem("")
    panel.panel.set_busy("Writing the cases", can_cancel=False)
    button = panel.ui.trainButton
    assert (button.text, button.enabled) == ("Train", False) and "being measured" in button.toolTip


def test_a_second_click_of_a_double_click_does_nothing(panel, tmp_path, monkeypatch):
    monkeypatch.setattr(panel.slicer.app, "doubleClickInterval", 60_000)
    panel.panel.set_folder(tmp_path)
    panel.panel.set_problem("")
    panel.ui.trainButton.click()
    panel.ui.trainButton.click()
    assert panel.trainings_wanted == 1


def test_a_click_that_comes_while_another_is_served_does_nothing(slicer_shell):
    """Slicer delivers clicks while it shows that it waits."""
    from HLFDSegmentationLib.slicer_tools.slicer_double_click import without_double_clicks

    served = []

    def serve(checked):
        served.append(checked)
        if checked:
            click(False)

    click = without_double_clicks(serve)
    click(True)
    assert served == [True]


def test_a_training_that_goes_on_is_found_again_with_stage_epoch_and_time(panel, tmp_path, started):
    run, newer = begin_run(tmp_path / "first"), begin_run(tmp_path / "second")
    tell(run, *TEACHER, epoch_event("student", 1, 0.5))
    started(run)
    write_step(run, step_event("student", 2, 3))
    tell(newer, plan_event())
    panel.panel.set_folder(tmp_path)
    assert panel.panel.shown == run.path and panel.panel.running
    assert sorted(panel.texts()) == ["first (running)", "second (interrupted)"]
    assert panel.ui.runsCombo.currentText == "first (running)"
    assert "student" in panel.ui.stageLabel.text and "Epoch 2 of 4, step 3 of 10" in panel.ui.stageLabel.text
    # 2.7 epochs of the student and 4 of the undistilled one are left, 10 s each; 43 s are done.
    assert panel.ui.remainingLabel.text == "about 67 s left, all stages together"
    assert panel.ui.trainingProgress.value == pytest.approx(1000 * 43 / 110, abs=2)
    assert panel.ui.trainButton.text == "Stop" and panel.ui.trainButton.enabled
    assert not panel.ui.continueButton.enabled and panel.ui.continueButton.toolTip == "This training is going on."
    panel.panel.set_busy("Another plan is estimated", can_cancel=False)
    assert panel.ui.trainButton.text == "Stop" and panel.ui.trainButton.enabled
    assert "Epoch 2 of 4, step 3 of 10" in panel.ui.stageLabel.text
    assert panel.ui.remainingLabel.text == "about 67 s left, all stages together"
    assert panel.ui.trainingProgress.value == pytest.approx(1000 * 43 / 110, abs=2)
    panel.panel.set_busy("Another one is prepared", can_cancel=True)
    panel.ui.trainButton.click()
    assert panel.trainings_wanted == 1 and panel.panel.running and panel.ui.trainButton.text == "Cancel"
    assert panel.ui.stageLabel.text == "Another one is prepared"


def test_reading_the_slices_is_shown(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    started(run)
    tell(run, plan_event(), {"event": "reading", "done": 0, "of": 250}, {"event": "reading", "done": 100, "of": 250})
    panel.panel.set_folder(tmp_path)
    assert panel.ui.stageLabel.text == "Reading the slices: 100 of 250"


def test_new_epochs_come_by_themselves(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    tell(run, plan_event())
    started(run)
    panel.panel.set_folder(tmp_path)
    panel.ui.showChartsButton.click()
    tell(run, epoch_event("teacher", 1, 0.4))
    panel.wait(lambda: "Epoch 2 of 2" in panel.ui.stageLabel.text)
    dice, _loss = dice_and_loss(panel)
    assert column(dice, "liver")[0] == 0.4


# Stopping and going on


def test_stop_keeps_the_run_and_continue_is_offered(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER)
    started(run)
    panel.panel.set_folder(tmp_path)
    panel.ui.trainButton.click()
    assert panel.ui.trainButton.text == "Stopping…" and not panel.ui.trainButton.enabled
    panel.wait_for_end()
    assert "stopped" in panel.ui.stageLabel.text and "Epoch 1 of 4" in panel.ui.stageLabel.text
    assert panel.ui.remainingLabel.text == "about 80 s to go when it is continued"
    assert panel.ui.continueButton.enabled and panel.ui.trainButton.text == "Train"
    assert panel.ui.continueButton.toolTip == "Go on with the chosen training where it stopped."
    assert panel.texts() == ["run (stopped)"] and panel.shown == [run.path, run.path]
    assert panel.message == ""


def test_the_keyboard_is_at_the_button_again_when_the_training_has_stopped(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER)
    started(run)
    panel.panel.set_folder(tmp_path)
    panel.panel.set_problem("")
    panel.ui.trainButton.setFocus()
    panel.ui.trainButton.click()
    assert not panel.ui.trainButton.enabled and panel.widget.focusWidget() is not panel.ui.trainButton
    panel.wait_for_end()
    assert panel.widget.focusWidget() is panel.ui.trainButton


def test_the_keyboard_stays_where_the_user_went_while_a_training_stopped(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER)
    started(run)
    panel.panel.set_folder(tmp_path)
    panel.panel.set_problem("")
    panel.ui.trainButton.setFocus()
    panel.ui.trainButton.click()
    panel.ui.runNameEdit.setFocus()
    panel.wait_for_end()
    assert panel.widget.focusWidget() is panel.ui.runNameEdit


def test_a_killed_trainer_is_told_and_can_be_continued(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER)
    started(run)
    panel.panel.set_folder(tmp_path)
    kill_trainer(panel, run.path)
    panel.wait_for_end()
    assert "memory runs out" in panel.message and "is kept" in panel.message
    assert panel.ui.continueButton.enabled and panel.texts() == ["run (interrupted)"]


def test_a_folder_that_is_removed_is_told(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    process = started(run)
    panel.panel.set_folder(tmp_path)
    panel.wait(lambda: len(processes_of(run.path)) == 2)
    for one in processes_of(process.run_folder):
        one.kill()
        one.wait()
    shutil.rmtree(run.path)
    panel.wait_for_end()
    assert "no longer there" in panel.message and "no longer there" in panel.ui.stageLabel.text
    assert not panel.ui.continueButton.enabled and panel.texts() == []


def test_a_training_without_its_plan_cannot_be_continued(panel, tmp_path):
    run = begin_run(tmp_path / "run")
    (run.path / "process").mkdir(exist_ok=True)
    (run.path / "plan.json").unlink()
    panel.panel.set_folder(tmp_path)
    assert panel.panel.shown == run.path
    assert not panel.ui.continueButton.enabled and "plan.json is missing" in panel.ui.continueButton.toolTip


def test_a_training_whose_folder_was_away_for_a_moment_is_followed_again(panel, tmp_path, started, monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.slicer_panels.slicer_training_panel.AWAY_MS", 50)
    run = begin_run(tmp_path / "run")
    started(run)
    panel.panel.set_folder(tmp_path)
    assert panel.panel.running
    with monkeypatch.context() as away:
        take_away(away, run.path)
        panel.wait(lambda: "no longer there" in panel.message)
        assert "no longer there" in panel.ui.stageLabel.text and not panel.ui.continueButton.enabled
    panel.wait(lambda: panel.panel.running)
    assert panel.message == "" and panel.ui.trainButton.text == "Stop"


def test_another_folder_does_not_hide_a_running_training_without_a_word(panel, tmp_path, started):
    run = begin_run(tmp_path / "first" / "run")
    started(run)
    panel.panel.set_folder(tmp_path / "first")
    assert panel.panel.running and panel.message == ""
    panel.panel.set_folder(tmp_path / "second")
    assert f"'run' goes on in {tmp_path / 'first'}" in panel.message


def test_trainings_of_one_name_are_told_apart_by_their_folders(panel, tmp_path):
    from HLFDTrainingLib.runs.run_list import rename_run

    for folder, name in (("liver", "liver"), ("liver 2", "liver"), ("kidney", "kidney")):
        rename_run(begin_run(tmp_path / folder).path, name)
    panel.panel.set_folder(tmp_path)
    assert sorted(panel.texts()) == ["kidney (stopped)", "liver, liver (stopped)", "liver, liver 2 (stopped)"]


def test_damaged_files_are_told(panel, tmp_path):
    run = begin_run(tmp_path / "run")
    tell(run, plan_event(), {"event": "epoch"})
    panel.panel.set_folder(tmp_path)
    assert "damaged" in panel.ui.stageLabel.text


def test_two_trainers_in_one_folder_are_refused(panel, tmp_path, started):
    run = begin_run(tmp_path / "run")
    started(run)
    panel.panel.start(run.path)
    assert "training is going on already" in panel.message and panel.panel.running


def test_a_lock_of_another_computer_is_broken_when_the_user_says_so(panel, tmp_path):
    from slicer_shell import dialogs

    run = begin_run(tmp_path / "run")
    lock = {"token": "x", "computer": "another", "processes": [[1, "1"]], "place": [1, "/there"]}
    (run.path / "process").mkdir()
    (run.path / "process" / "lock.json").write_text(json.dumps(lock))
    panel.panel.set_folder(tmp_path)
    assert panel.panel.running and panel.ui.continueButton.enabled
    dialogs.answer(hastily)
    panel.ui.continueButton.click()
    assert "another" in dialogs.shown[0] and (run.path / "process" / "lock.json").exists()


def test_without_the_packages_continuing_says_what_is_missing(panel, tmp_path):
    import qt
    from slicer_shell import dialogs
    from slicer_shell.packaging_stand_ins import packages

    packages.absent = {"torch"}
    begin_run(tmp_path / "run")
    panel.panel.set_folder(tmp_path)
    dialogs.answer(qt.QMessageBox.Cancel)
    panel.ui.continueButton.click()
    assert "PyTorch" in panel.message and not panel.panel.running


# Charts


@pytest.fixture
def charted(panel, tmp_path):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER, epoch_event("student", 1, 0.5), epoch_event("student", 2, None))
    panel.panel.set_folder(tmp_path)
    panel.ui.showChartsButton.click()
    panel.run = run
    return panel


def test_charts_show_each_term_each_label_and_the_teacher_to_beat(charted):
    from slicer_shell.plots import save_chart

    dice, loss = dice_and_loss(charted)
    assert series_names(loss) == ["segmentation", "ufd_encoder1"]
    assert column(loss, "segmentation") == [1.0, 0.5] and column(loss, "ufd_encoder1") == [0.5, 0.25]
    assert series_names(dice) == ["liver", "liver tumor", "liver, teacher", "liver tumor, teacher"]
    assert column(dice, "liver")[0] == 0.5 and np.isnan(column(dice, "liver")[1])
    assert column(dice, "liver, teacher") == [0.8, 0.8] and column(dice, "liver tumor, teacher") == [0.4, 0.4]
    assert {"HLFDTrainingDice", "HLFDTrainingLoss"} <= set(charted.slicer.app.layoutManager().shown_views())
    save_chart(dice, "training_dice")
    save_chart(loss, "training_loss")


def test_charts_are_kept_out_of_the_users_scene(charted):
    nodes = chart_nodes(charted.slicer)
    assert len(nodes) > 6
    assert all(node.GetHideFromEditors() and not node.GetSaveWithScene() for node in nodes)


def test_charts_go_and_the_layout_comes_back(charted):
    charted.ui.showChartsButton.click()
    assert chart_nodes(charted.slicer) == []
    assert charted.slicer.app.layoutManager().layout == charted.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_charts_go_with_the_panel(charted):
    settings = charted.slicer.app.userSettings()
    settings.setValue("MainWindow/layout", charted.slicer.app.layoutManager().layout)
    charted.panel.close()
    assert chart_nodes(charted.slicer) == []
    assert int(settings.value("MainWindow/layout")) == charted.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_a_layout_that_the_user_chose_meanwhile_stays(charted):
    layout = charted.slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    charted.slicer.app.layoutManager().setLayout(layout)
    charted.ui.showChartsButton.click()
    assert charted.slicer.app.layoutManager().layout == layout


def test_deleted_charts_come_back_with_the_next_epoch(charted):
    charted.slicer.mrmlScene.RemoveNode(dice_and_loss(charted)[0])
    tell(charted.run, epoch_event("student", 3, 0.6))
    charted.panel.refresh()
    dice, _loss = dice_and_loss(charted)
    assert column(dice, "liver")[2] == 0.6


def test_charts_survive_a_closed_scene(charted):
    charted.panel.attach(None)
    charted.slicer.mrmlScene.Clear(False)
    assert chart_nodes(charted.slicer) == []
    charted.panel.attach(True)
    dice, loss = dice_and_loss(charted)
    assert column(dice, "liver")[0] == 0.5 and column(loss, "segmentation") == [1.0, 0.5]
    assert {"HLFDTrainingDice", "HLFDTrainingLoss"} <= set(charted.slicer.app.layoutManager().shown_views())


def test_charts_do_not_take_over_a_scene_of_another_module(charted):
    """The scene was closed while another module is open, and the training goes on."""
    charted.panel.attach(None)
    charted.slicer.mrmlScene.Clear(False)
    layout = charted.slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    charted.slicer.app.layoutManager().setLayout(layout)
    tell(charted.run, epoch_event("student", 3, 0.6))
    charted.panel.refresh()
    assert charted.slicer.app.layoutManager().layout == layout and chart_nodes(charted.slicer) == []
    charted.panel.attach(True)
    assert chart_nodes(charted.slicer)


# Preview and log


def test_preview_shows_truth_and_prediction(panel, tmp_path):
    run = begin_run(tmp_path / "run")
    tell(run, *TEACHER)
    write_preview(run, "head")
    panel.panel.set_folder(tmp_path)
    picture = panel.ui.previewLabel.pixmap
    picture = picture() if callable(picture) else picture
    assert (picture.width(), picture.height()) == (2 * 128 + 6, 128)


def test_captions_of_the_preview_are_whole_and_read_on_any_slice(panel):
    import qt
    from HLFDTrainingLib.slicer_panels.slicer_preview import GAP, Preview, preview_pixmap

    app, usual = qt.QApplication, qt.QApplication.font()
    app.setFont(qt.QFont(usual.family(), 16))
    try:
        white, nothing = np.full((128, 128), 255, np.uint8), np.zeros((128, 128), np.uint8)
        picture = preview_pixmap(Preview(white, nothing, nothing), {}).toImage()
    finally:
        app.setFont(usual)
    for left in (0, 128 + GAP):
        caption = np.array([[picture.pixelColor(left + x, y).red() for x in range(30)] for y in range(20)])
        assert caption.min() < 110 and caption.max() > 240
        assert caption[:3].max() < 110  # the ground goes on above the letters


def test_picture_has_the_labels_in_their_colors():
    from HLFDTrainingLib.slicer_panels.slicer_preview import Preview, picture_of

    image = np.zeros((64, 64), np.uint8)
    truth = np.zeros_like(image)
    truth[20:30, 20:30] = 2
    picture = picture_of(Preview(image, truth, image), {2: (0, 200, 0)})
    left, right = picture[:, :128], picture[:, 134:]
    assert tuple(left[2 * 20, 2 * 20]) == (0, 200, 0) and tuple(left[2 * 25, 2 * 25]) == (0, 70, 0)
    assert not right.any()


def test_damaged_preview_is_left_out(tmp_path):
    from HLFDTrainingLib.slicer_panels.slicer_preview import read_preview

    (tmp_path / "preview.npz").write_bytes(b"half a file")
    assert read_preview(tmp_path / "preview.npz") is None
    assert read_preview(tmp_path / "none.npz") is None


def test_log_reads_as_sentences(panel, tmp_path):
    run = begin_run(tmp_path / "run")
    lines = [json.dumps(epoch_event("student", 2, None)), "a warning", json.dumps(step_event("student", 3, 1))]
    (run.path / "log.txt").write_text("\n".join(lines))
    panel.panel.set_folder(tmp_path)
    panel.ui.logCollapsibleButton.collapsed = False
    text = panel.ui.logText.toPlainText()
    assert text.splitlines()[:2] == [
        "student: epoch 2 of 4, loss 0.7500, validation Dice could not be measured",
        "a warning",
    ]


# With the real trainer


def test_a_real_training_is_started_stopped_continued_and_finished(panel, tmp_path):
    from dataclasses import replace

    from slicer_shell.screenshots import grab

    plan = replace(PLAN, teacher_epochs=1, student_epochs=8, undistilled=False)
    run = begin_run(tmp_path / "run", plan)
    panel.panel.set_folder(tmp_path)
    panel.panel.start(run.path, "small livers")
    assert panel.panel.running and panel.texts() == ["small livers (running)"]
    panel.wait(lambda: "Epoch" in panel.ui.stageLabel.text)
    panel.ui.trainButton.click()
    panel.wait_for_end()
    assert panel.texts() == ["small livers (stopped)"] and panel.message == ""
    panel.ui.continueButton.click()
    assert panel.panel.running
    panel.ui.showChartsButton.click()
    panel.wait_for_end()
    assert panel.texts() == ["small livers (finished)"] and "finished" in panel.ui.stageLabel.text
    assert panel.ui.trainingProgress.value == 1000 and run.finished
    dice, loss = dice_and_loss(panel)
    assert len(column(dice, "liver")) == 8 and "segmentation" in series_names(loss)
    assert not panel.ui.continueButton.enabled and panel.ui.continueButton.toolTip == "This training is finished."
    assert grab(panel.widget, "training_finished").stat().st_size > 4000
