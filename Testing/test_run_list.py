"""The list of training runs: what a user reads about each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from generated_cases import TASK
from HLFDSegmentationLib.errors import InputError, OutputError
from HLFDTrainingLib.runs.process_identity import computer_name, start_of
from HLFDTrainingLib.runs.run_list import describe_run, list_runs, rename_run
from HLFDTrainingLib.runs.run_progress import progress_of, seconds_left
from HLFDTrainingLib.runs.training_curves import curves_of

PLAN = {"task": TASK.to_dict(), "student": "mobilenetv2-unet", "method": "hlfd"}
STAGES = [
    {"stage": "teacher", "epochs": 3, "steps": 10},
    {"stage": "head", "epochs": 1, "steps": 10},
    {"stage": "student", "epochs": 4, "steps": 10},
]


def epoch(stage: str, number: int, seconds: float = 10.0) -> dict:
    epochs = next(entry["epochs"] for entry in STAGES if entry["stage"] == stage)
    measured = {"best_epoch": 1, "terms": {}, "dice": {}, "criterion": None}
    return {"stage": stage, "event": "epoch", "epoch": number, "epochs": epochs, "seconds": seconds, **measured}


def step(stage: str, number: int, of_epoch: int, each: float = 1.0) -> dict:
    return {"stage": stage, "event": "step", "epoch": of_epoch, "step": number, "steps": 10, "seconds": number * each}


BEGUN = {"event": "plan", "stages": STAGES}


def make_run(folder: Path, *events: dict, changed: float = 0.0) -> Path:
    (folder / "process").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for path in (folder / "plan.json", folder / "events.jsonl"):
        os.utime(path, (changed, changed))
    return folder


def make_running(folder: Path) -> None:
    place = [(folder / "process").stat().st_ino, str(folder / "process")]
    processes = [[os.getpid(), start_of(os.getpid())]]
    holder = {"token": "t", "computer": computer_name(), "processes": processes, "place": place}
    (folder / "process" / "lock.json").write_text(json.dumps(holder))


def test_running_run_shows_stage_epoch_and_time_left():
    events = [BEGUN, *(epoch("teacher", number) for number in (1, 2, 3)), epoch("head", 1, 4.0)]
    progress = progress_of(events, step("student", 5, of_epoch=1, each=1.2))
    assert (progress.stage, progress.epoch, progress.epochs, progress.step) == ("student", 1, 4, 5)
    assert progress.seconds_left == pytest.approx(3.5 * 12)


def test_stopped_run_shows_the_time_that_it_takes_to_go_on():
    progress = progress_of([BEGUN, epoch("teacher", 1), {"event": "stopped"}], None)
    assert progress.seconds_left == pytest.approx(2 * 10 + 10 + 4 * 10)


def test_runs_are_listed_from_the_last_changed_on(tmp_path):
    for name, changed in (("old", 100.0), ("new", 300.0), ("middle", 200.0)):
        make_run(tmp_path / name, {"event": "stopped"}, changed=changed)
    assert [row.name for row in list_runs(tmp_path)] == ["new", "middle", "old"]


def test_states_and_sentences(tmp_path):
    make_running(make_run(tmp_path / "running", BEGUN, epoch("teacher", 1)))
    make_run(tmp_path / "stopped", BEGUN, *(epoch("teacher", 1) for _ in range(1000)), {"event": "stopped"})
    failed = make_run(tmp_path / "failed", {"event": "error", "message": "The disk is full."})
    finished = make_run(tmp_path / "finished", BEGUN, epoch("student", 4), {"event": "finished"})
    (finished / "result.json").write_text("{}")
    rows = {row.folder: row for row in list_runs(tmp_path)}
    assert {folder.name: row.state for folder, row in rows.items()} == {
        "running": "running",
        "stopped": "stopped",
        "failed": "crashed",
        "finished": "finished",
    }
    assert rows[failed].sentence == "The disk is full."


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"task": 3, "student": "a", "method": "b"}', '{"task": {}}'])
def test_damaged_run_is_listed_with_a_sentence(tmp_path, content):
    make_run(tmp_path / "good", {"event": "stopped"}, changed=1.0)
    bad = make_run(tmp_path / "bad", BEGUN)
    (bad / "plan.json").write_text(content)
    rows = {row.name: row for row in list_runs(tmp_path)}
    assert rows["bad"].state == "damaged" and "plan.json" in rows["bad"].sentence
    assert rows["good"].state == "stopped"


def test_a_list_does_not_look_into_the_events_of_its_runs(tmp_path):
    """They are long, and the panel waits for the list: of the one that is chosen they are read."""
    make_run(tmp_path / "good", {"event": "stopped"})
    make_run(tmp_path / "bad", {"event": "epoch"}, {"event": "stopped"})
    assert {row.name: row.state for row in list_runs(tmp_path)} == {"good": "stopped", "bad": "stopped"}


def test_run_that_failed_before_its_plan_was_written_is_listed(tmp_path):
    (tmp_path / "run" / "process").mkdir(parents=True)
    end = {"status": 1, "message": "2 cases cannot be trained with."}
    (tmp_path / "run" / "process" / "end.json").write_text(json.dumps(end))
    [row] = list_runs(tmp_path)
    assert (row.state, row.sentence) == ("crashed", "2 cases cannot be trained with.")


def test_run_that_failed_while_it_was_stopped_says_why(tmp_path):
    make_run(tmp_path / "run", {"event": "stopped"})
    (tmp_path / "run" / "process").mkdir(parents=True, exist_ok=True)
    end = {"status": 1, "message": "The disk is full.", "stop_asked": True}
    (tmp_path / "run" / "process" / "end.json").write_text(json.dumps(end))
    [row] = list_runs(tmp_path)
    assert (row.state, row.sentence) == ("crashed", "The disk is full.")


def test_other_folders_and_files_are_left_out(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "comparison" / "process").mkdir(parents=True)
    (tmp_path / "comparison" / "comparison.json").write_text("{}")
    assert list_runs(tmp_path) == []


def test_missing_folder_has_no_runs_and_a_file_is_refused(tmp_path):
    assert list_runs(tmp_path / "nothing") == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Choose another folder"):
        list_runs(tmp_path / "file")


def test_run_can_be_renamed(tmp_path):
    run = make_run(tmp_path / "2026-01-01")
    rename_run(run, " Kidneys,\nsecond try ")
    assert describe_run(run).name == "Kidneys, second try"
    with pytest.raises(OutputError, match="is no letter"):
        rename_run(run, "Kidneys \ud800")
    assert describe_run(run).name == "Kidneys, second try"
    rename_run(run, "")
    assert describe_run(run).name == "2026-01-01"


def test_time_left_is_unknown_before_anything_was_measured():
    assert seconds_left([]) is None
    assert seconds_left([BEGUN]) is None
    of_older_version = {**step("teacher", 5, of_epoch=1), "seconds_left_in_epoch": 5.0}
    del of_older_version["seconds"]
    assert seconds_left([BEGUN], of_older_version) is None
    assert progress_of([BEGUN, epoch("teacher", 1)], {**of_older_version, "epoch": 2}).seconds_left == pytest.approx(65)


def test_time_left_in_the_first_epoch_is_told_by_its_steps():
    # Half of the first of 8 epochs took 5 s; while it is validated, its steps are all done.
    assert seconds_left([BEGUN], step("teacher", 5, of_epoch=1)) == pytest.approx(7.5 * 10)
    assert seconds_left([BEGUN], step("teacher", 10, of_epoch=1)) == pytest.approx(7 * 10)


def test_the_bar_never_goes_back_from_an_epoch_to_the_next_one():
    events, shares = [BEGUN], []
    for number in (1, 2):
        shares += [progress_of(events, step("teacher", done, of_epoch=number)).fraction for done in (8, 9, 10)]
        events.append(epoch("teacher", number, 12.0))
        # Until the first step of the next epoch, the trainer's last word is of the epoch that is done.
        shares.append(progress_of(events, step("teacher", 10, of_epoch=number)).fraction)
        shares.append(progress_of(events, step("teacher", 1, of_epoch=number + 1)).fraction)
    assert None not in shares and shares == sorted(shares)


def test_step_of_an_epoch_that_is_over_counts_nothing():
    events = [BEGUN, epoch("teacher", 1)]
    assert seconds_left(events, step("teacher", 10, of_epoch=1)) == seconds_left(events)


def test_curves_are_those_of_the_network_that_is_trained_now():
    """Not of one whose checkpoint was deleted, nor of an epoch that was lost in a crash."""
    events = [{**epoch("student", number), "terms": {"loss": place}} for place, number in enumerate((1, 2, 3, 3, 1, 2))]
    repeated, anew = (curves_of([BEGUN, *events[:count]])["student"] for count in (4, 6))
    assert (repeated.epochs, repeated.terms["loss"]) == ([1, 2, 3], [0, 1, 3])
    assert (anew.epochs, anew.terms["loss"], anew.seconds) == ([1, 2], [4, 5], 20)


def test_progress_is_told_by_the_last_epoch_of_a_stage():
    """An event may be lost with a full disk, and a stage begins anew where its checkpoint was removed."""
    epochs = STAGES[0]["epochs"]
    lost = [BEGUN, *(epoch("teacher", number) for number in range(1, epochs + 1) if number != 2)]
    assert progress_of(lost, None).stage == STAGES[1]["stage"]
    anew = [BEGUN, epoch("teacher", 1), epoch("teacher", 2), epoch("teacher", 1)]
    assert progress_of(anew, None).epoch == 2
    assert seconds_left(anew) == seconds_left([BEGUN, epoch("teacher", 1)])


def test_time_left_follows_the_latest_epochs():
    events = [BEGUN, *(epoch("student", number, seconds) for number, seconds in ((1, 100.0), (2, 10.0), (3, 10.0)))]
    slower = [BEGUN, *(epoch("student", number, seconds) for number, seconds in ((1, 10.0), (2, 10.0), (3, 100.0)))]
    assert seconds_left(slower) == seconds_left(events)  # three epochs are averaged
    assert seconds_left([*events, epoch("student", 4, 10.0)]) == pytest.approx(0.0)
