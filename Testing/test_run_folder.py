"""A training run's folder: what was damaged or exchanged in it is told, never a traceback."""

from __future__ import annotations

import builtins
import errno
import json
import os
import time

import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.errors import CasesError, TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDTrainingLib.annotations.case_files import look_at, unchanged
from HLFDTrainingLib.cases import Case
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.evaluation import check_test_cases
from HLFDTrainingLib.runs.earlier_runs import FINGERPRINTS, keep_patients_by_ct, patients_by_ct, run_of_weights
from HLFDTrainingLib.runs.origins import ORIGINS, origins_of
from HLFDTrainingLib.runs.run_events import all_events
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_state import state_of
from training_runs import begin_run


@pytest.fixture
def run(tmp_path):
    return begin_run(tmp_path / "run", cases=2)


@pytest.mark.parametrize("content", ["{}", '{"seed": 0, "train": 1, "validation": [], "test": []}', "[]", "null"])
def test_a_damaged_split_is_told(run, content):
    (run.path / "split.json").write_text(content, encoding="utf-8")
    with pytest.raises((CasesError, TrainingError), match=r"split\.json"):
        run.split(run.plan())


@pytest.mark.parametrize("content", [[], {"epoch": 1}, {"network": 1}])
def test_a_file_that_holds_no_network_is_told(run, content):
    run.stage("student").mkdir()
    torch.save(content, run.stage("student") / "best.pt")
    with pytest.raises(TrainingError, match="holds no network"):
        run.best("student")


def test_weights_are_not_taken_for_damaged_where_memory_runs_out(run, monkeypatch):
    run.stage("student").mkdir()
    torch.save({"network": {}}, run.stage("student") / "best.pt")

    def fill_the_memory(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(torch, "load", fill_the_memory)
    with pytest.raises(MemoryError):
        run.best("student")


def test_another_network_than_the_plans_is_told(run, capsys):
    other = build_network("resnet18-unet", run.plan().task.num_classes)
    run.stage("student").mkdir()
    torch.save({"network": other.state_dict(), "epoch": 1, "dice": {}}, run.stage("student") / "best.pt")
    run.write_result({})
    with pytest.raises(TrainingError, match="holds no mobilenetv2-unet"):
        run.network("student")
    (run.path / "split.json").write_text(json.dumps({}), encoding="utf-8")
    assert main(["package", str(run.path), "-o", str(run.path / "package"), "--license", "own"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_an_event_waits_while_another_program_has_the_file_open(run, monkeypatch):
    """As a backup does on Windows; a training of days does not end for that."""
    monkeypatch.setattr("HLFDTrainingLib.runs.run_folder.LONG_WAITS", [2.0] * 30)
    refusals, really_open = iter(range(20)), open

    def refusing(path, mode="r", **options):
        if path == run.events and mode == "a" and next(refusals, None) is not None:
            raise PermissionError(errno.EACCES, "open elsewhere", str(path))
        return really_open(path, mode, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    told = []
    run.logging(told.append)({"event": "epoch"})
    assert all_events(run.events) == told == [{"event": "epoch"}]


@pytest.mark.parametrize("content", ["", "[]", "\0" * 80], ids=["empty", "no object", "zeros"])
def test_a_run_whose_result_a_power_failure_emptied_can_be_continued(run, content):
    run.write_result({})
    assert run.finished and state_of(run.path).name == "finished"
    (run.path / "result.json").write_text(content)
    state = state_of(run.path)
    assert state.name != "finished" and not run.finished
    with pytest.raises(TrainingError, match="--resume"):
        run.result()


def test_a_file_that_a_finished_run_has_lost_is_named(run):
    run.write_result({})
    (run.path / ORIGINS).unlink()
    with pytest.raises(TrainingError, match=r"origins\.json is missing"):
        origins_of(run)


def test_a_folder_without_a_plan_is_told_to_hold_no_run(tmp_path):
    with pytest.raises(TrainingError, match="no training run"):
        RunFolder(tmp_path).plan()


def test_a_result_lies_on_the_disk_before_it_takes_its_name(run, monkeypatch):
    written = []
    monkeypatch.setattr(os, "fsync", lambda file: written.append((os.fstat(file).st_size, run.finished)))
    run.write_result({"student": "mobilenetv2-unet"})
    assert written == [((run.path / "result.json").stat().st_size, False)]


def test_weights_in_the_root_folder_are_of_no_run():
    assert run_of_weights("/best.pt") is None


def test_a_head_is_trained_where_the_variant_needs_one(run):
    plan = run.plan().to_dict() | {"method": "hlfd"}
    with_head, without = (
        type(run.plan()).from_dict({**plan, "method_options": {"variant": variant}}) for variant in ("full", "released")
    )
    assert "head" in with_head.stages and "head" not in without.stages


@pytest.mark.parametrize(("part", "told"), [("ct", "CT"), ("label", "label")])
def test_a_case_whose_file_was_changed_is_refused(run, part, told):
    split = run.split(run.plan())
    keep_patients_by_ct(run, split)
    keep_patients_by_ct(run, split)
    case = split.train[0]
    path = getattr(case, part)
    whole = path.read_bytes()
    other = getattr(split.validation[0], part).read_bytes()
    path.write_bytes(other)
    with pytest.raises(CasesError, match=f"Case {case.name}: the {told} in"):
        keep_patients_by_ct(run, split)
    path.write_bytes(whole)
    keep_patients_by_ct(run, split)


def test_a_test_label_that_was_shifted_is_refused_though_an_old_run_keeps_no_fingerprints(tmp_path):
    run = begin_run(tmp_path / "run", cases=4)
    (run.path / FINGERPRINTS).unlink(missing_ok=True)
    test = run.split(run.plan()).test
    check_test_cases(run, test)
    label = str(test[0].label)
    image = sitk.ReadImage(label)
    image.SetOrigin([value + 20 for value in image.GetOrigin()])
    sitk.WriteImage(image, label)
    with pytest.raises(CasesError, match="origin of the CT"):
        check_test_cases(run, test)


def test_files_that_are_as_they_were_are_not_read_again(run, monkeypatch):
    split = run.split(run.plan())
    keep_patients_by_ct(run, split)
    monkeypatch.setattr("HLFDTrainingLib.annotations.case_files.image_fingerprint", lambda path: 1 / 0)
    keep_patients_by_ct(run, split)


def test_a_look_at_files_tells_at_once_whether_one_has_changed(run):
    split = run.split(run.plan())
    before = look_at(split.train, {})
    assert unchanged(split.train, before)
    assert not unchanged(split.validation, before)
    split.train[0].label.write_bytes(b"another")
    assert not unchanged(split.train, before)
    split.train[0].label.unlink()
    assert not unchanged(split.train, before)


def test_what_a_file_manager_leaves_in_a_dicom_folder_is_no_change(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    (series / "slice1.dcm").write_bytes(b"one")
    (tmp_path / "label.nii.gz").write_bytes(b"label")
    case = Case("one", "P1", series, tmp_path / "label.nii.gz", {1: ("liver",)})
    before = look_at([case], {})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (series / name).write_bytes(b"left")
    assert look_at([case], before) == before
    (series / "slice2.dcm").write_bytes(b"two")
    with pytest.raises(CasesError, match="the CT in"):
        look_at([case], before)


@pytest.mark.parametrize("content", [b"", b"\0" * 20, b"{}", b"[]"])
def test_damaged_fingerprints_are_made_anew(run, content):
    (run.path / "fingerprints.json").write_bytes(content)
    keep_patients_by_ct(run, run.split(run.plan()))
    assert patients_by_ct(run)


def test_a_label_that_was_corrected_is_another_though_as_long_as_before(tmp_path):
    ct, label = tmp_path / "ct.nrrd", tmp_path / "label.nrrd"
    ct.write_bytes(b"ct")
    label.write_bytes(b"label")
    case = Case("one", "P1", ct, label, {1: ("liver",)})
    before = look_at([case], {})
    label.write_bytes(b"lebal")
    os.utime(label, (0, label.stat().st_mtime + 2))
    with pytest.raises(CasesError, match="the label in"):
        look_at([case], before)
