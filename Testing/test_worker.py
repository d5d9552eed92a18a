"""The worker process and the client that starts, asks, cancels, replaces and ends it."""

from __future__ import annotations

import base64
import io
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from generated_cases import TASK, blob_case
from HLFDSegmentationLib.child_process import worker_client
from HLFDSegmentationLib.child_process.raw_images import read_raw, write_raw
from HLFDSegmentationLib.child_process.worker_client import WorkerClient, worker_command
from HLFDSegmentationLib.child_process.worker_jobs import Jobs, _around_label
from HLFDSegmentationLib.child_process.worker_protocol import (
    Cancelled,
    CancelRequest,
    DevicesRequest,
    Failed,
    Finished,
    LayerMap,
    Progress,
    RawImage,
    Reading,
    ReportRequest,
    SegmentRequest,
    request_line,
)
from HLFDSegmentationLib.color_maps import AttentionColors
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.output.private_folder import OWNER, PREFIX, PrivateFolder, remove_stale
from HLFDSegmentationLib.phases import EXPLAINING, LOADING, MEASURING, SEGMENTING, STARTING, WRITING
from HLFDSegmentationLib.pipeline import NOT_HU
from HLFDSegmentationLib.quantification import measure
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDSegmentationLib.worker import Worker, _log
from test_report import Page, color_in, decoded

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX systems")
PATIENCE_SECONDS = 120
PATIENT = "Zoë_Doe_1950 患者"


@pytest.fixture(scope="module")
def client():
    """One client for nearly all tests: it must survive whatever they do to its worker."""
    client = WorkerClient(worker_command(sys.executable))
    yield client
    client.close()
    assert workers() == []


@pytest.fixture
def folder(client):
    folder = client.private_folder() / PATIENT
    folder.mkdir()
    yield folder
    shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def jobs():
    """The worker's jobs within this process."""
    return Jobs()


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """A temporary folder in which nobody else leaves anything."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def workers(process: psutil.Process | None = None) -> list[psutil.Process]:
    """The processes under this one, or under another one, that are a worker or its launcher."""
    children = (process or psutil.Process()).children(recursive=True)
    return [child for child in children if "HLFDSegmentationLib.worker" in _command(child)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # It has just ended.
        return ""


def only_worker() -> int:
    (worker,) = workers()
    return worker.pid


def wait_until(condition, what: str):
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def events_until_end(client, *jobs) -> list:
    """All events until every one of the jobs has ended."""
    events = []

    def ended() -> bool:
        events.extend(client.poll())
        return set(jobs) <= {event.job for event in events if not isinstance(event, Progress)}

    wait_until(ended, f"jobs {jobs} have ended")
    return events


def last(client, job):
    return [event for event in events_until_end(client, job) if event.job == job][-1]


def answer(client, request):
    event = last(client, client.submit(request))
    assert isinstance(event, Finished), event
    return event.result


def failure(client, request) -> Failed:
    event = last(client, client.submit(request))
    assert isinstance(event, Failed), event
    assert event.message.endswith(".") and "Traceback" not in event.message
    return event


def wait_for_phase(client, job, phase):
    def reached() -> bool:
        events = [event for event in client.poll() if event.job == job]
        assert all(isinstance(event, Progress) for event in events), events
        return any(event.phase == phase for event in events)

    wait_until(reached, f"job {job} is {phase}")


def raw_ct(folder: Path, slices: int = 6) -> RawImage:
    return write_raw(blob_case(1, slices)[0], folder / "ct.raw")


def segment_request(results, package, ct=None, **changes) -> SegmentRequest:
    ct = ct or raw_ct(results)
    arguments = {
        "ct": ct,
        "model": str(package),
        "device": "cpu",
        "tumor_threshold": None,
        "attention": False,
        "probabilities": False,
        "folder": str(results),
        "allow_not_hu": False,
        "region": None,
        "whole": ct.grid,
        "whole_not_hu": None,
        "whole_cautions": (),
        "dicom_files": (),
    }
    return SegmentRequest(**arguments | changes)


# Jobs


def test_segments_as_the_library_does(client, folder, untrained_package):
    ct = blob_case(1)[0]
    ct.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    result = answer(
        client,
        segment_request(
            folder, untrained_package, write_raw(ct, folder / "ct.raw"), attention=True, probabilities=True
        ),
    )
    package = read_package(untrained_package)
    expected_shares = [np.zeros(ct.GetSize()[::-1], np.float32) for _ in TASK.labels]
    expected = Segmenter(package, "cpu").segment(ct, attention=True, signed=True, probabilities=expected_shares)
    labels = read_raw(result.labels)
    assert sitk.Hash(labels) == sitk.Hash(expected.labels) and sitk.GetArrayViewFromImage(labels).any()
    assert labels.GetDirection() == ct.GetDirection() and labels.GetSpacing() == ct.GetSpacing()
    assert (result.device, result.model_name, result.not_hu) == ("cpu", "untrained", None)
    assert (result.cautions, result.notes) == (expected.cautions, expected.notes)
    assert result.measures == measure(labels, ct, TASK)
    slices = AxialSlices(ct, TASK)
    assert [(one.label, one.layer) for one in result.maps] == [(one.label, one.layer) for one in expected.attention]
    for told, one in zip(result.maps, expected.attention):
        image, layer_image = read_raw(told.image), slices.layer_image(one.maps)
        # What is far from the label is left out, and with it nothing but zeros.
        shown = np.flatnonzero(one.slices_with_label).tolist()
        first, last = max(0, shown[0] - 1), min(len(one.maps), shown[-1] + 2)
        assert np.allclose(sitk.GetArrayViewFromImage(image), one.maps[first:last], atol=1e-5)
        assert not one.maps[:first].any() and not one.maps[last:].any()
        assert np.allclose(image.GetOrigin(), layer_image.TransformIndexToPhysicalPoint((0, 0, first)))
        assert told.empty == one.empty
        focus = one.focus
        numbers = focus and [focus.segment, focus.organ, focus.segment_ratio, focus.organ_ratio]
        told_numbers = [told.focus_segment, told.focus_organ, told.segment_ratio, told.organ_ratio]
        assert told_numbers == (pytest.approx(numbers) if numbers else [None] * 4)
    assert any(one.focus and one.focus.segment < one.focus.organ for one in expected.attention)
    assert [one.label for one in result.probabilities] == [label.name for label in TASK.labels]
    shares = np.stack([sitk.GetArrayFromImage(read_raw(one.image)) for one in result.probabilities])
    assert shares.min() >= 0 and shares.sum(axis=0).max() <= 1.0001 and shares.max() > 0.3
    for told, share in zip(shares, expected_shares, strict=True):
        assert np.allclose(told, share, atol=1e-5)
    assert stat.S_IMODE(folder.parents[1].stat().st_mode) == 0o700 or sys.platform == "win32"


def test_progress_tells_phases_in_order(client, folder, untrained_package):
    job = client.submit(segment_request(folder, untrained_package, attention=True))
    assert client.running
    told = [event for event in events_until_end(client, job) if isinstance(event, Progress)]
    assert not client.running and client.alive
    assert list(dict.fromkeys(event.phase for event in told)) == [
        STARTING,
        LOADING,
        SEGMENTING,
        EXPLAINING,
        MEASURING,
        WRITING,
    ]
    fractions = [event.fraction for event in told]
    assert fractions == sorted(fractions) and 0 <= min(fractions) <= max(fractions) <= 1


def test_jobs_are_done_in_turn_by_one_warm_worker(client, folder, untrained_package):
    ct = raw_ct(folder)
    answer(client, DevicesRequest())
    pid = only_worker()
    jobs = [
        client.submit(request)
        for request in (segment_request(folder, untrained_package, ct), DevicesRequest(), DevicesRequest())
    ]
    ends = [event for event in events_until_end(client, *jobs) if not isinstance(event, Progress)]
    assert [event.job for event in ends] == jobs
    assert all(isinstance(event, Finished) for event in ends)
    assert ends[2].result.devices[-1].name == "cpu" and "CPU" in ends[2].result.devices[-1].title
    assert only_worker() == pid


def test_a_private_folder_that_the_system_cleaned_away_is_made_anew(client):
    cleaned = client.private_folder().parent
    shutil.rmtree(cleaned)
    again = client.private_folder()
    assert again.is_dir() and again.parent != cleaned
    client.close()
    assert not again.exists()


def test_not_hu_is_refused_and_marked_where_it_is_wanted(client, folder, untrained_package):
    picture = sitk.Cast(sitk.Abs(blob_case(1)[0]) / 4, sitk.sitkUInt8)
    ct = write_raw(picture, folder / "picture.raw")
    refused = failure(client, segment_request(folder, untrained_package, ct))
    assert refused.kind == "not_hu" and "picture" in refused.message
    result = answer(client, segment_request(folder, untrained_package, ct, allow_not_hu=True))
    assert result.not_hu == NOT_HU + refused.message


def test_what_the_values_of_the_whole_ct_tell_is_told_of_some_of_its_slices(client, folder, untrained_package):
    """Of slices that show air around the patient, too, by a little other numbers."""
    hu = np.full((20, 100, 100), -1000.0)
    hu[:, 20:80, 20:80] = -100
    hu[:, 30:70, 30:70] = 50
    hu += 60 + np.random.default_rng(5).normal(0, 15, hu.shape)
    ct = write_raw(sitk.GetImageFromArray(hu.astype(np.int16)), folder / "slices.raw")
    alone = answer(client, segment_request(folder, untrained_package, ct))
    (of_slices,) = [caution for caution in alone.cautions if "too high, by about" in caution]
    whole = replace(ct.grid, shape=(200, 100, 100))
    told = {"whole": whole, "whole_cautions": ("The whole is too high.",)}
    result = answer(client, segment_request(folder, untrained_package, ct, **told))
    assert "The whole is too high." in result.cautions and of_slices not in result.cautions
    assert len(result.cautions) == len(alone.cautions)
    told |= {"whole_cautions": ()}
    assert of_slices in answer(client, segment_request(folder, untrained_package, ct, **told)).cautions


def test_that_the_whole_ct_does_not_tell_how_it_lies_is_told_of_some_of_its_slices(client, folder, untrained_package):
    plain = {"spacing": (1.0, 1.0, 1.0), "direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}
    ct = raw_ct(folder)
    whole = replace(ct.grid, shape=(60, *ct.grid.shape[1:]), origin=(0.0, 0.0, 0.0), **plain)
    ct = replace(ct, grid=replace(ct.grid, origin=(0.0, 0.0, 20.0), **plain))
    cautions = answer(client, segment_request(folder, untrained_package, ct, whole=whole)).cautions
    assert any("axes without a turn" in caution for caution in cautions)


def test_a_label_is_explained_with_a_slice_beside_it_as_far_as_there_is_one():
    image = sitk.GetImageFromArray(np.arange(10, dtype=np.float32).reshape(10, 1, 1))
    with_label = np.zeros(10, bool)
    with_label[4:6] = True
    assert sitk.GetArrayFromImage(_around_label(image, with_label)).ravel().tolist() == [3, 4, 5, 6]
    with_label[[0, 9]] = True
    assert _around_label(image, with_label).GetSize()[2] == 10


def test_report_with_readings(client, folder, untrained_package, tmp_path):
    request = segment_request(folder, untrained_package, attention=True)
    result = answer(client, request)
    destination = tmp_path / "Bericht für 患者.html"
    readings = (
        Reading("liver", "encoder5", None, "on target", "calm"),
        Reading("liver tumor", "decoder2", 3, "misled", "<script>alert(1)</script> Gefäß"),
    )
    report = ReportRequest(
        request.ct,
        result.labels,
        tuple(result.maps[:3]),
        request.model,
        "cpu",
        "CT 3",
        ("A note.",),
        ("Not HU.",),
        ("liver tumor",),
        readings,
        str(destination),
    )
    assert answer(client, report).file == str(destination)
    page = destination.read_text(encoding="utf-8")
    for text in ("CT 3", "A note.", "Not HU.", "on target", "misled", "lesion 3", "whole segment", "Gefäß", "encoder5"):
        assert text in page
    # The letters of a picture can be any.
    page = re.sub(r"base64,[\w+/=]+", "", page).replace("http-equiv", "")
    assert "<script" not in page and "http" not in page
    assert page.count('<tr class="segment') == 1  # Of what the user deleted, "none" would be said of the patient.
    assert [path.name for path in tmp_path.iterdir()] == [destination.name]


def test_a_report_shows_what_speaks_for_a_label_and_not_what_speaks_against_it(
    client, folder, untrained_package, tmp_path
):
    """In a map that is -1 on the left of the picture and 0.5 on the right, the right has the strongest color."""
    ct, label = blob_case(1)
    signed = np.tile(np.float32([-1, -1, 0.5, 0.5]), (6, 4, 1))
    image = write_raw(AxialSlices(ct, TASK).layer_image(signed), folder / "map.raw")
    layer_map = LayerMap("liver tumor", "encoder5", image, False, 0.32, 0.5, 3.2, 2.5)
    report = ReportRequest(
        write_raw(ct, folder / "ct.raw"),
        write_raw(label, folder / "labels.raw"),
        (layer_map,),
        str(untrained_package),
        "cpu",
        "CT 3",
        (),
        (),
        (),
        (),
        str(tmp_path / "report.html"),
    )
    answer(client, report)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {"32% in liver tumor (3.2×)", "50% in liver with tumors (2.5×)"} <= set(page.texts)
    (picture,) = [image for image in page.all("img") if image["alt"].startswith("Attention of encoder5")]
    pixels = decoded(base64.b64decode(picture["src"].partition(",")[2]))
    third = pixels.shape[1] // 3
    assert color_in(pixels[:, :third]).max() < 5
    assert np.median(pixels[:, :third]) > 80  # what speaks against it does not darken the CT
    strongest = AttentionColors().rgb[-1]
    grays = pixels[:, -third:] - 0.65 * strongest  # the CT shows through
    assert np.median(np.ptp(grays, axis=-1)) < 3


# What goes wrong is told in sentences, and the worker stays


def damaged(package: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(package, tmp_path / "damaged")
    with open(copy / "models" / "model.pt", "ab") as weights:
        weights.write(b"x")
    return copy


def with_nan(folder: Path) -> RawImage:
    ct = sitk.Cast(blob_case(1)[0], sitk.sitkFloat32)
    ct[3, 3, 3] = float("nan")
    return write_raw(ct, folder / "nan.raw")


def cut_short(folder: Path) -> RawImage:
    ct = raw_ct(folder)
    os.truncate(ct.file, 100)
    return ct


@pytest.mark.parametrize(
    ("kind", "words", "changes"),
    [
        ("model", "no such folder", lambda folder, package, tmp: {"model": str(tmp / "nothing")}),
        ("model", "changed", lambda folder, package, tmp: {"model": str(damaged(package, tmp))}),
        ("input", "between 0 and 1", lambda folder, package, tmp: {"tumor_threshold": 2.0}),
        ("input", "no device", lambda folder, package, tmp: {"device": "cuda:99"}),
        ("input", "no number", lambda folder, package, tmp: {"ct": with_nan(folder)}),
        ("input", "100 bytes", lambda folder, package, tmp: {"ct": cut_short(folder)}),
        ("output", "temporary folder", lambda folder, package, tmp: {"folder": str(folder / "nothing")}),
    ],
)
def test_failures_are_told_and_the_worker_stays(client, folder, untrained_package, tmp_path, kind, words, changes):
    answer(client, DevicesRequest())
    pid = only_worker()
    failed = failure(client, segment_request(folder, untrained_package, **changes(folder, untrained_package, tmp_path)))
    assert failed.kind == kind and words in failed.message
    assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"
    assert only_worker() == pid


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["labels.raw", "map0.raw", "probability1.raw"])
def test_full_disk(client, folder, untrained_package, name):
    (folder / name).symlink_to("/dev/full")
    job = client.submit(segment_request(folder, untrained_package, attention=True, probabilities=True))
    *progress, failed = events_until_end(client, job)
    assert failed.kind == "output" and "No space left" in failed.message and "Free some space" in failed.message
    # How much the maps will take is not known before.
    assert (SEGMENTING in {event.phase for event in progress}) == (name == "map0.raw")


def test_too_little_space_for_attention_is_told_before_the_network_runs(jobs, tmp_path, untrained_package, monkeypatch):
    request = segment_request(tmp_path, untrained_package, attention=True)
    few = request.ct.size_bytes // 4
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=10**12, free=few))
    phases = []
    with pytest.raises(OutputError, match=r"No space left.*Free some space"):
        jobs.do(request, lambda phase, share: phases.append(phase))
    assert set(phases) == {LOADING}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_an_idle_worker_gives_back_what_its_jobs_have_freed(jobs):
    count, size = 2000, 50_000
    freed = [b"x" * size for _ in range(count)]
    after_them = b"x" * size  # glibc gives back by itself what lies at the end.
    del freed
    before = psutil.Process().memory_info().rss
    jobs.rest()
    assert before - psutil.Process().memory_info().rss > count * size / 2
    assert after_them


def test_a_model_that_is_removed_or_exchanged_is_noticed(client, folder, untrained_package, tmp_path):
    model = shutil.copytree(untrained_package, tmp_path / "untrained")
    answer(client, segment_request(folder, model))
    weights = model / "models" / "model.pt"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert failure(client, segment_request(folder, model)).kind == "model"
    weights.write_bytes(content)
    answer(client, segment_request(folder, model))
    shutil.rmtree(model)
    removed = failure(client, segment_request(folder, model))
    assert removed.kind == "model" and "no such folder" in removed.message


def test_the_log_names_no_patient(client, folder, untrained_package):
    failure(client, segment_request(folder, untrained_package, folder=str(folder / "nothing")))
    wait_until(lambda: "OutputError" in client.log, "the log tells of the error")
    assert PATIENT not in client.log and str(folder) not in client.log


def test_the_log_names_no_file_that_is_missing(capsys):
    _log(FileNotFoundError(2, "No such file or directory", f"/home/x/{PATIENT}/ct.nrrd"))
    told = capsys.readouterr().err
    assert "FileNotFoundError" in told and PATIENT not in told


# Cancel


@pytest.mark.parametrize("phase", [SEGMENTING, EXPLAINING])
def test_cancel_stops_the_job_and_keeps_the_worker(client, folder, untrained_package, phase, monkeypatch):
    monkeypatch.setattr(worker_client, "CANCEL_SECONDS", PATIENCE_SECONDS)  # A busy machine may be slow.
    ct = raw_ct(folder, slices=400)
    answer(client, DevicesRequest())
    pid = only_worker()
    job = client.submit(segment_request(folder, untrained_package, ct, attention=True))
    wait_for_phase(client, job, phase)
    client.cancel(job)
    assert events_until_end(client, job) == [Cancelled(job)]
    assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"
    assert only_worker() == pid


def test_a_waiting_job_is_cancelled_and_the_running_one_goes_on(client, folder, untrained_package):
    running = client.submit(segment_request(folder, untrained_package, raw_ct(folder, slices=100)))
    waiting = client.submit(DevicesRequest())
    client.cancel(waiting)
    ends = [event for event in events_until_end(client, running, waiting) if not isinstance(event, Progress)]
    assert ends[0] == Cancelled(waiting)
    assert ends[1].job == running and isinstance(ends[1], Finished)


def test_a_job_that_was_cancelled_while_it_waited_is_never_begun():
    worker = Worker(io.BytesIO(), io.BytesIO(), None)
    for job, request in ((1, DevicesRequest()), (2, DevicesRequest()), (2, CancelRequest())):
        worker._take(job, request)
    assert worker._next(0) == (1, DevicesRequest())
    assert worker._next(0) is None


def test_cancelling_what_has_ended_does_nothing(client):
    job = client.submit(DevicesRequest())
    events_until_end(client, job)
    client.cancel(job)
    client.cancel(12345)
    assert client.poll() == [] and not client.running


@POSIX
def test_a_worker_that_does_not_answer_is_replaced(client, folder, untrained_package):
    """And the job that waited behind the cancelled one is done by the new one."""
    job = client.submit(segment_request(folder, untrained_package, raw_ct(folder, slices=400)))
    wait_for_phase(client, job, SEGMENTING)
    waiting = client.submit(DevicesRequest())
    pid = only_worker()
    os.kill(pid, signal.SIGSTOP)
    client.cancel(job)
    ends = [event for event in events_until_end(client, job, waiting) if not isinstance(event, Progress)]
    assert ends[0] == Cancelled(job)
    assert ends[1].job == waiting and isinstance(ends[1], Finished)
    wait_until(lambda: gone(pid), "the old worker is gone")
    assert only_worker() != pid


# Death


@POSIX
def test_a_killed_worker_fails_its_job_only(client, folder, untrained_package):
    job = client.submit(segment_request(folder, untrained_package, raw_ct(folder, slices=400)))
    wait_for_phase(client, job, SEGMENTING)
    waiting = client.submit(DevicesRequest())
    os.kill(only_worker(), signal.SIGKILL)
    ends = [event for event in events_until_end(client, job, waiting) if not isinstance(event, Progress)]
    assert isinstance(ends[0], Failed) and ends[0].job == job and ends[0].kind == "memory"
    assert "ended by the system" in ends[0].message and "Close other programs" in ends[0].message
    assert ends[1].job == waiting and isinstance(ends[1], Finished)
    # An idle one is replaced without a word.
    os.kill(only_worker(), signal.SIGKILL)
    wait_until(lambda: not workers(), "the worker is gone")
    assert client.poll() == []
    assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"


def test_jobs_fail_where_no_new_worker_can_be_started(temporary_folder, monkeypatch):
    told = 'import os, sys, time; print(\'{"event": "ready", "pid": %d}\' % os.getpid(), flush=True); time.sleep(0.5)'
    client = WorkerClient([sys.executable, "-c", f"{told}; sys.exit(3)"])
    jobs = [client.submit(DevicesRequest()) for _ in range(2)]

    def full(_client):
        raise OutputError("The temporary folder is full.")

    monkeypatch.setattr(WorkerClient, "_private", full)
    ends = events_until_end(client, *jobs)
    assert [(end.job, end.kind, end.message) for end in ends] == [
        (job, "start", "The temporary folder is full.") for job in jobs
    ]
    client.cancel(jobs[0])
    assert not client.running and client.poll() == []
    client.close()


OF_ANOTHER_VERSION = """
import json, os, sys
print(json.dumps({"event": "ready", "pid": os.getpid()}), flush=True)
for line in sys.stdin:
    told = {"event": "result", "job": json.loads(line)["job"], "request": "devices", "result": {}}
    print(json.dumps(told), flush=True)
"""


def test_an_answer_of_another_version_is_told_as_that():
    """HLFD's files were exchanged while Slicer was open, and the worker has been started since."""
    client = WorkerClient([sys.executable, "-c", OF_ANOTHER_VERSION])
    try:
        failed = failure(client, DevicesRequest())
        assert "HLFD was changed" in failed.message and "Restart 3D Slicer" in failed.message
        assert "DevicesResult" in client.log and not client.running
    finally:
        client.close()


def running_as(code: str) -> list[str]:
    """A command that does something before, or beside, running the worker."""
    run = "import runpy; runpy.run_module('HLFDSegmentationLib.worker', run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", f"{code}\n{run}"]


@POSIX
def test_too_little_memory(untrained_package):
    client = WorkerClient(running_as("import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))"))
    try:
        folder = client.private_folder()
        ct = raw_ct(folder)
        huge = RawImage(ct.file, "int16", type(ct.grid)((6 << 8, 2048, 2048), *list(vars(ct.grid).values())[1:]))
        os.truncate(ct.file, huge.size_bytes)  # Without writing it.
        failed = failure(client, segment_request(folder, untrained_package, huge))
        assert failed.kind == "memory" and "segment fewer slices of it" in failed.message
        assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"
    finally:
        client.close()


def test_a_network_that_is_too_large_for_the_memory_is_told_as_that(folder, untrained_package):
    shortage = """
import torch
from HLFDSegmentationLib.networks.network import SegmentationNetwork
def forward(self, images):
    raise torch.OutOfMemoryError("out of memory")
SegmentationNetwork.forward = forward
"""
    client = WorkerClient(running_as(shortage))
    try:
        failed = failure(client, segment_request(folder, untrained_package))
        assert failed.kind == "memory" and "not enough memory to run the network on a single slice" in failed.message
    finally:
        client.close()


def test_the_memory_of_the_graphics_card_is_left_to_others_after_every_job(folder, untrained_package, monkeypatch):
    """Slicer draws with it, also after a job that failed."""
    noting = """
import os
from HLFDSegmentationLib.child_process import worker_jobs
def note():
    with open(os.environ["RELEASED"], "a") as file:
        file.write("x")
worker_jobs.release_memory = note
"""
    released = folder / "released"
    monkeypatch.setenv("RELEASED", str(released))
    client = WorkerClient(running_as(noting))
    try:
        answer(client, segment_request(folder, untrained_package))
        wait_until(lambda: released.is_file() and len(released.read_text()) == 1, "the memory is released")
        failure(client, segment_request(folder, folder / "no model"))
        wait_until(lambda: len(released.read_text()) == 2, "the memory is released again")
    finally:
        client.close()


@pytest.mark.parametrize(
    "told", ["CUDA error: device-side assert triggered", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "HIP error: 719"]
)
def test_a_graphics_card_that_fails_is_told_as_that_and_the_next_job_gets_a_new_process(
    told, folder, untrained_package, monkeypatch
):
    """Its fault closes the card to the process for good."""
    fault = (
        f"""
told = {told!r}
"""
        + """
import os, pathlib
from HLFDSegmentationLib.networks.network import SegmentationNetwork
broken = []
def forward(self, images, usual=SegmentationNetwork.forward):
    once = pathlib.Path(os.environ["FAILED_ONCE"])
    if not once.exists():
        once.touch()
        broken.append(True)
    if broken:
        raise RuntimeError(told)
    return usual(self, images)
SegmentationNetwork.forward = forward
"""
    )
    monkeypatch.setenv("FAILED_ONCE", str(folder / "failed once"))
    client = WorkerClient(running_as(fault))
    try:
        failed = failure(client, segment_request(folder, untrained_package))
        assert failed.kind == "unexpected" and "choose CPU as the device" in failed.message
        assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"
    finally:
        client.close()


def test_a_job_that_waits_is_not_failed_by_the_card_s_fault_of_the_one_before(folder, untrained_package, monkeypatch):
    fault = """
import os, pathlib
from HLFDSegmentationLib.networks.network import SegmentationNetwork
def forward(self, images, usual=SegmentationNetwork.forward):
    once = pathlib.Path(os.environ["FAILED_ONCE"])
    if not once.exists():
        once.touch()
        raise RuntimeError("CUDA error: device-side assert triggered")
    return usual(self, images)
SegmentationNetwork.forward = forward
"""
    monkeypatch.setenv("FAILED_ONCE", str(folder / "failed once"))
    client = WorkerClient(running_as(fault))
    try:
        first, second = (client.submit(segment_request(folder, untrained_package)) for _ in range(2))
        events = events_until_end(client, second)
        ends = {event.job: type(event) for event in events if not isinstance(event, Progress)}
        assert ends == {first: Failed, second: Finished}
    finally:
        client.close()


def test_its_threads_leave_the_processor_to_others(folder, untrained_package, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    tell = """
import os, sys
from HLFDSegmentationLib.worker import Worker
run = Worker.run
def told(self, seconds):
    print("turns", os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules, file=sys.stderr)
    run(self, seconds)
Worker.run = told
"""
    command = [sys.executable, "-c", f"{tell}\nfrom HLFDSegmentationLib.worker import main; main()"]
    client = WorkerClient(command)
    try:
        answer(client, DevicesRequest())
        wait_until(lambda: "turns 3000 False" in client.log, "the log tells it")
    finally:
        client.close()


def test_a_failure_that_is_nobodys_leaves_its_traceback_in_the_log(folder, untrained_package):
    no_numbers = """
import torch
from HLFDSegmentationLib.networks.network import SegmentationNetwork
SegmentationNetwork.forward = lambda self, images: torch.full((len(images), 3, *images.shape[2:]), torch.nan)
"""
    client = WorkerClient(running_as(no_numbers))
    try:
        failed = failure(client, segment_request(folder, untrained_package))
        assert failed.kind == "unexpected" and "values that are no numbers" in failed.message
        wait_until(lambda: "inference.py" in client.log, "the log tells where")
    finally:
        client.close()


@pytest.mark.parametrize(
    "error", ["ImportError('DLL load failed')", "OSError('[WinError 126] DLL load failed: c10.dll')"]
)
def test_a_pytorch_that_does_not_load(error, tmp_path, folder, untrained_package, monkeypatch):
    (tmp_path / "torch.py").write_text(f"raise {error}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    client = WorkerClient(worker_command(sys.executable))
    try:
        for _ in range(2):
            failed = failure(client, segment_request(folder, untrained_package))
            assert failed.kind == "missing" and "DLL load failed" in failed.message
            assert "PyTorch is installed, but cannot be loaded" in failed.message
            assert "module PyTorch Utils" in failed.message
    finally:
        client.close()


def test_missing_package(tmp_path, folder, untrained_package, monkeypatch):
    (tmp_path / "SimpleITK.py").write_text("raise ImportError('a part is not there')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    client = WorkerClient(worker_command(sys.executable))
    try:
        failed = failure(client, segment_request(folder, untrained_package))
        assert failed.kind == "missing" and "not installed completely: a part is not there" in failed.message
    finally:
        client.close()


@pytest.mark.parametrize("command", [["/no/such/python"], [sys.executable, "-c", "import sys; sys.exit(3)"]])
def test_a_worker_that_cannot_be_started(command):
    client = WorkerClient(command)
    try:
        for _ in range(2):
            assert failure(client, DevicesRequest()).kind == "start"
        assert not client.running
    finally:
        client.close()


@POSIX
def test_a_launcher_whose_python_was_ended_by_the_system_tells_of_the_memory(folder, untrained_package):
    """Slicer's launcher hides how its Python ended: it ends with 1, and a line on its log."""
    code = """
import subprocess, sys
status = subprocess.call([sys.executable, *sys.argv[1:]])
if status:
    print("error: [python-real] exit abnormally - Report the problem.", file=sys.stderr, flush=True)
sys.exit(1 if status else 0)
"""
    client = WorkerClient([sys.executable, "-c", code, *worker_command(sys.executable)[1:]])
    try:
        job = client.submit(segment_request(folder, untrained_package, raw_ct(folder, slices=400), attention=True))
        wait_for_phase(client, job, SEGMENTING)
        (launcher,) = (one for one in workers() if code in one.cmdline())
        (launched,) = workers(launcher)
        launched.kill()
        failed = last(client, job)
        assert isinstance(failed, Failed) and failed.kind == "memory"
    finally:
        client.close()


def test_files_in_the_current_folder_are_not_taken_for_modules(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    client = WorkerClient(worker_command(sys.executable))
    try:
        assert answer(client, DevicesRequest()).devices
    finally:
        client.close()


def test_what_libraries_print_is_no_event():
    noise = "import threading, os; print('hello', flush=True); threading.Timer(1, lambda: os.write(1, b'{')).start()"
    client = WorkerClient(running_as(noise))
    try:
        for _ in range(2):
            assert answer(client, DevicesRequest()).devices
    finally:
        client.close()


# The end


def test_idle_worker_ends_and_comes_back(temporary_folder):
    client = WorkerClient(worker_command(sys.executable), idle_seconds=0.05)
    try:
        for _ in range(2):
            assert answer(client, DevicesRequest()).devices
            wait_until(lambda: not client.alive, "the worker has ended")
            assert client.poll() == []
    finally:
        client.close()
    assert list(temporary_folder.iterdir()) == []


@pytest.fixture
def stranger():
    """Another program, to which the system has given a process number that was a worker's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as program:
        yield program
        program.kill()


def ended_well(stranger) -> list[str]:
    """A launcher that ended after its worker had, whose number is a stranger's by now."""
    code = f'print(\'{{"event": "ready", "pid": {stranger.pid}}}\', flush=True)'
    return [sys.executable, "-c", code]


@POSIX
def test_after_an_idle_worker_no_stranger_is_ended(stranger):
    client = WorkerClient(ended_well(stranger))
    client._started()
    wait_until(lambda: not client.alive, "the worker has ended")
    client.close()
    assert stranger.poll() is None


@POSIX
def test_closing_ends_no_stranger_where_nobody_has_heard_of_the_workers_end(stranger, monkeypatch):
    """Slicer at its end: no thread of Python's has run since."""
    heard = threading.Event()
    monkeypatch.setattr(worker_client._Process, "_bury", lambda process, popen, listener: heard.set())
    client = WorkerClient(ended_well(stranger))
    client._started()
    assert heard.wait(PATIENCE_SECONDS)
    launcher = client._process._popen
    wait_until(lambda: gone(launcher.pid), "the launcher has ended")
    client.close()
    assert stranger.poll() is None and launcher.returncode == 0


def test_close_leaves_nothing(temporary_folder, untrained_package):
    client = WorkerClient(worker_command(sys.executable))
    folder = client.private_folder()
    client.submit(segment_request(folder, untrained_package, attention=True))
    own = wait_until(lambda: [one for one in workers() if str(folder.parent) in one.cmdline()], "there is a worker")
    client.close()
    assert gone(own[0].pid) and not client.alive and not client.running and client.poll() == []
    assert list(temporary_folder.iterdir()) == []
    client.close()


LAUNCHER = "import subprocess, sys; sys.exit(subprocess.call([sys.executable] + sys.argv[1:]))"
"""As Slicer's own: the process that is started is not the one that works."""

WITH_CHILD = """
import os, subprocess, threading, time
def start_child():
    while os.getpgrp() != os.getpid():  # The worker does not lead its own group yet.
        time.sleep(0.01)
    subprocess.Popen(['sleep', '1000'])
threading.Thread(target=start_child, daemon=True).start()
"""

PARENT = """
import sys, time
from pathlib import Path
from HLFDSegmentationLib.child_process.worker_client import WorkerClient
from HLFDSegmentationLib.child_process.worker_protocol import SegmentRequest, parse_request
client = WorkerClient(sys.argv[2:])
client.submit(parse_request(Path(sys.argv[1]).read_bytes())[1])
phase = None
while True:
    for event in client.poll():
        if getattr(event, "phase", None) != phase:
            phase = getattr(event, "phase", None)
            print(phase or event, flush=True)
    time.sleep(0.02)
"""


@POSIX
@pytest.mark.parametrize("state", ["idle", "working", "stuck"])
def test_nothing_outlives_the_parent(temporary_folder, untrained_package, state, tmp_path_factory):
    """Killed without warning, with a launcher between and a child of the worker, whatever the worker is doing."""
    files = tmp_path_factory.mktemp("files")
    request = files / "request.json"
    segment = segment_request(files, untrained_package, raw_ct(files, slices=2000), attention=True)
    request.write_bytes(request_line(1, DevicesRequest() if state == "idle" else segment))
    environment = {**os.environ, "TMPDIR": str(temporary_folder)}
    if state == "stuck":  # In a call that never comes back.
        (files / "torch.py").write_text("import time; time.sleep(1000)\n")
        environment["PYTHONPATH"] = os.pathsep.join([str(files), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", LAUNCHER, *running_as(WITH_CHILD)[1:]]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(request), *command],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        told = {"idle": "Finished", "working": SEGMENTING, "stuck": STARTING}[state]
        for line in parent.stdout:
            if line.startswith(told):
                break
        tree = wait_until(
            lambda: (
                (found := psutil.Process(parent.pid).children(recursive=True))
                and any("sleep" in one.name() for one in found)
                and found
            ),
            "launcher, worker and its child run",
        )
        assert len(tree) == 3
        assert list(temporary_folder.iterdir())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    for process in tree:
        wait_until(lambda pid=process.pid: gone(pid), f"{process} is gone")
    assert list(temporary_folder.iterdir()) == []


@POSIX
def test_a_worker_whose_launcher_was_killed_is_ended_too(folder, untrained_package):
    client = WorkerClient([sys.executable, "-c", LAUNCHER, *worker_command(sys.executable)[1:]])
    try:
        assert answer(client, DevicesRequest()).devices
        (launcher,) = (one for one in workers() if LAUNCHER in one.cmdline())
        (worker,) = workers(launcher)
        launcher.kill()
        assert answer(client, segment_request(folder, untrained_package)).model_name == "untrained"
    finally:
        client.close()
    wait_until(lambda: gone(worker.pid), "the worker is gone")


@POSIX
def test_a_living_folder_whose_lock_was_cleaned_away_is_kept(temporary_folder):
    """Systems remove what is old in their temporary folders, one file after the other."""
    client = WorkerClient(worker_command(sys.executable))
    try:
        first = client.private_folder()
        (first.parent / OWNER).unlink()
        second = client.private_folder()
        long_ago = time.time() - 3600
        os.utime(first.parent, (long_ago, long_ago))
        with PrivateFolder():  # another window of Slicer
            assert first.is_dir() and second.is_dir()
    finally:
        client.close()
    assert not first.exists() and not second.exists()


def test_a_private_folder_that_is_just_being_made_is_left(temporary_folder):
    """Its lock comes in a moment."""
    fresh = temporary_folder / f"{PREFIX}fresh"
    fresh.mkdir()
    remove_stale()
    assert fresh.is_dir()
    os.utime(fresh, (0, 0))
    remove_stale()
    assert not fresh.exists()


@POSIX
def test_leftovers_of_the_dead_are_removed_and_nothing_else(temporary_folder):
    """A process that was killed together with its worker left its folder; another one is alive."""
    code = (
        "import os, sys; from HLFDSegmentationLib.output.private_folder import PrivateFolder;"
        "f = PrivateFolder(); (f.new_folder() / 'ct.raw').write_bytes(b'secret'); print(f.path, flush=True);"
        "sys.stdin.read(); os._exit(1)"
    )
    others = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary_folder)},
        )
        for _ in range(2)
    ]
    dead, living = (Path(other.stdout.readline().strip()) for other in others)
    (temporary_folder / "hlfd-other").mkdir()
    others[0].communicate()
    long_ago = time.time() - 3600
    for folder in (dead, living):
        os.utime(folder, (long_ago, long_ago))
    client = WorkerClient(worker_command(sys.executable))
    try:
        client.private_folder()
        assert not dead.exists() and living.exists() and (temporary_folder / "hlfd-other").exists()
    finally:
        client.close()
        others[1].communicate()


def test_broken_lines_are_answered_and_end_of_input_is_the_end():
    command = [*worker_command(sys.executable), "--idle-seconds", str(PATIENCE_SECONDS)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    lines = [b"hello\n", b"\xff\xfe\n", b'{"job": 7, "request": "dance"}\n', b'{"job": 8, "request": "segment"}\n']
    for line in lines:
        worker.stdin.write(line)
    worker.stdin.flush()
    told = [worker.stdout.readline() for _ in range(1 + len(lines))]
    assert b'"ready"' in told[0] and str(worker.pid).encode() in told[0]
    assert [b'"error"' in line for line in told[1:]] == [True] * 4
    assert b'"job": 7' in told[3] and b'"job": 8' in told[4]
    worker.stdin.close()
    worker.wait(PATIENCE_SECONDS)
    worker.stdout.close()


KILLED_BEHIND_A_SHELL = """
import json, os, sys
print(json.dumps({"event": "ready", "pid": os.getpid()}), flush=True)
job = json.loads(sys.stdin.readline())["job"]
told = {"event": "progress", "job": job, "phase": "starting", "fraction": 0.0, "seconds_left": None}
print(json.dumps(told), flush=True)
sys.exit(137)
"""


def test_a_launcher_that_ends_as_shells_do_whose_program_was_killed_tells_of_the_memory():
    client = WorkerClient([sys.executable, "-c", KILLED_BEHIND_A_SHELL])
    try:
        assert failure(client, DevicesRequest()).kind == "memory"
    finally:
        client.close()
