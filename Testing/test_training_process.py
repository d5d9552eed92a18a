"""A trainer that goes on without Slicer: how it is found, stopped, and what is told when it ends."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.child_process.process_tree import LAUNCHED_ENDED, end_tree, ended_by_system
from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDTrainingLib.runs.process_files import ProcessFiles
from HLFDTrainingLib.runs.process_identity import UNSEEN, _start_by_ps, computer_name, start_of
from HLFDTrainingLib.runs.run_lock import RunLock, training_in
from HLFDTrainingLib.runs.run_state import state_of
from HLFDTrainingLib.runs.training_process import TrainingProcess
from HLFDTrainingLib.runs.training_watch import Log, Orders, Watch
from training_runs import take_away

WAIT = 300


def wait_until(condition, seconds: float = WAIT):
    """The first true value of the condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


SLEEP = python("import time; print('ready', flush=True); time.sleep(600)")


def ended(process: TrainingProcess):
    return wait_until(lambda: process.state if process.state.name != "running" else None)


def processes_of(run: Path) -> list[psutil.Process]:
    """The watch first, then the trainer; waits for both."""

    def both() -> list[int]:
        processes = [pid for pid, _ in json.loads((run / "process" / "lock.json").read_text())["processes"]]
        return processes if len(processes) > 1 else []

    return [psutil.Process(pid) for pid in wait_until(both)]


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def started():
    """Starts processes, and ends those that a failed test leaves."""
    processes = []

    def start(run: Path, command: list[str], environment: Mapping[str, str] = os.environ, **options) -> TrainingProcess:
        processes.append(TrainingProcess.start(run, command, environment, **options))
        return processes[-1]

    yield start
    for process in processes:
        if process.state.name == "running" and not RunLock(process.run_folder).holder().elsewhere:
            with suppress(psutil.NoSuchProcess):  # two of one run: the first has ended its processes
                for one in processes_of(process.run_folder):
                    one.kill()


def trainer_ready(process: TrainingProcess) -> bool:
    return "ready" in process.log


# Starting and finding


def test_importing_it_loads_nothing_but_the_standard_library():
    code = (
        "import sys, HLFDTrainingLib.runs.training_process, HLFDTrainingLib.runs.run_list;"
        "import HLFDTrainingLib.scene.scene_checks;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'monai', 'numpy', 'SimpleITK', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_trainer_outlives_the_program_that_started_it_and_is_found_again(tmp_path):
    code = f"""
from HLFDTrainingLib.runs.training_process import TrainingProcess
import os, time
process = TrainingProcess.start({str(tmp_path)!r}, {SLEEP!r}, os.environ)
while "ready" not in process.log: time.sleep(0.02)
print("started", flush=True)
time.sleep(600)
"""
    shell = subprocess.Popen(python(code), stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout.readline() == b"started\n"
    os.killpg(shell.pid, signal.SIGKILL)
    shell.communicate()
    found = TrainingProcess(tmp_path)
    _, trainer = processes_of(tmp_path)
    assert found.state.name == "running" and trainer.is_running()
    trainer.kill()
    assert ended(found).name == "crashed"
    assert not (tmp_path / "process" / "lock.json").exists()


def test_trainer_finds_both_libraries(tmp_path, started):
    code = "import HLFDSegmentationLib, HLFDTrainingLib; print('found')"
    process = started(tmp_path, python(code), {})
    ended(process)
    assert "found" in process.log


def test_a_trainer_whose_run_is_moved_ends_and_writes_nothing_more(tmp_path, started):
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_text("{}")
    process = started(run, SLEEP)
    wait_until(lambda: trainer_ready(process))
    running = processes_of(run)
    # A network drive that is away for a moment does not end it.
    run.rename(tmp_path / "moved")
    time.sleep(1)
    (tmp_path / "moved").rename(run)
    time.sleep(1)
    assert not any(gone(one) for one in running)
    run.rename(tmp_path / "moved")
    wait_until(lambda: all(gone(one) for one in running))
    assert not run.exists()


@pytest.fixture
def watch(tmp_path, monkeypatch) -> Watch:
    """Of a run whose trainer goes on for a second; in this process, which keeps its own answer to SIGTERM."""
    monkeypatch.setattr(signal, "signal", lambda *_arguments: None)
    (tmp_path / "plan.json").write_text("{}")
    return new_watch(tmp_path)


def new_watch(run: Path) -> Watch:
    return Watch(Orders(RunLock(run).take(), str(run), tuple(python("import time; time.sleep(1)")), 30, 300))


def end_of(watch: Watch) -> dict:
    watch.run()
    return json.loads(watch.files.end.read_text())


def test_a_trainer_is_left_alone_while_its_network_disk_does_not_answer(watch, monkeypatch):
    take_away(monkeypatch, watch.files.plan, watch.files.stop, watch.files.lock)
    assert end_of(watch) == {"status": 0, "message": None, "last_line": "", "stop_asked": False}


def test_a_single_look_does_not_take_a_run_for_moved(watch, monkeypatch):
    """As after a night of sleep, when the network is not back yet."""
    monkeypatch.setattr("HLFDTrainingLib.runs.training_watch.SECONDS_GONE", 0.1)
    watch._look_for_run()
    time.sleep(0.2)
    with monkeypatch.context() as away:
        take_away(away, watch.files.plan)
        watch._look_for_run()
        assert not watch.moved
    time.sleep(0.2)
    watch._look_for_run()
    assert not watch.moved


def test_a_disk_that_is_away_is_waited_for_and_a_run_that_was_moved_on_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.runs.training_watch.SECONDS_GONE", 0.1)
    disk = tmp_path / "disk"
    (disk / "run").mkdir(parents=True)
    (disk / "run" / "plan.json").write_text("{}")
    watch = new_watch(disk / "run")
    watch._look_for_run()
    disk.rename(tmp_path / "away")
    for _ in range(2):
        watch._look_for_run()
        assert not watch.moved
        time.sleep(0.2)
    disk.mkdir()
    watch._look_for_run()
    assert watch.moved


def test_a_run_that_was_not_seen_when_its_trainer_began_is_missed_later(tmp_path, monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.runs.training_watch.SECONDS_GONE", 0.1)
    (tmp_path / "plan.json").write_text("{}")
    with monkeypatch.context() as away:
        take_away(away, tmp_path / "plan.json")
        watch = new_watch(tmp_path)
    watch._look_for_run()
    assert not watch.moved
    watch.files.plan.unlink()
    watch._look_for_run()
    time.sleep(0.2)
    watch._look_for_run()
    assert watch.moved


def test_only_a_trainer_that_could_not_be_started_is_said_to_need_its_packages(watch, monkeypatch):
    def fail(*_arguments, **_options) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        assert "could not be started" in end_of(watch)["message"]
    again = new_watch(watch.files.run)
    monkeypatch.setattr(again, "_wait", fail)
    told = end_of(again)["message"]
    assert "could not be watched any more" in told and "packages" not in told


def test_the_state_of_a_run_on_a_disk_that_does_not_answer_is_told(watch, monkeypatch):
    watch.files.result.write_text("{}")
    watch.run()
    assert state_of(watch.files.run).name == "finished"
    take_away(monkeypatch, watch.files.run)
    assert state_of(watch.files.run).name == "crashed"


def test_given_environment_is_the_trainers(tmp_path, started):
    process = started(
        tmp_path, python("import os; print(os.environ['COLOR'], os.environ.get('HOME'))"), environment={"COLOR": "blue"}
    )
    ended(process)
    assert "blue None" in process.log


def test_missing_interpreter_is_a_sentence_and_leaves_the_run_free(tmp_path, started):
    with pytest.raises(TrainingError, match="could not be started"):
        started(tmp_path, ["/no/such/python", "-c", "pass"])
    assert TrainingProcess(tmp_path).state.name == "stopped"
    assert ended(started(tmp_path, python("pass"))).name == "crashed"


def test_interpreter_that_cannot_start_the_watch_is_told(tmp_path, started):
    process = started(tmp_path, ["/bin/false", "-c", "pass"])
    assert ended(process).name == "crashed"
    assert TrainingProcess(tmp_path).state.name == "crashed"


# One trainer a run


def test_second_trainer_is_refused(tmp_path, started):
    process = started(tmp_path, SLEEP)
    with pytest.raises(TrainingError, match="already"):
        started(tmp_path, SLEEP)
    with pytest.raises(TrainingError, match="already"), training_in(tmp_path):
        pass
    assert process.state.name == "running"


def test_of_many_starts_at_once_one_wins(tmp_path):
    code = f"""
from HLFDSegmentationLib.output import safe_files
from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDTrainingLib.runs.run_lock import RunLock
from datetime import datetime, timedelta, timezone
from pathlib import Path
import os, time
folder = Path({str(tmp_path)!r})
try:
    RunLock(folder).take()
    (folder / f"won-{{os.getpid()}}").touch()
except TrainingError:
    (folder / f"refused-{{os.getpid()}}").touch()
while len([*folder.glob("won-*"), *folder.glob("refused-*")]) < 6:
    time.sleep(0.02)
"""
    processes = [subprocess.Popen(python(code)) for _ in range(6)]
    assert [process.wait(WAIT) for process in processes] == [0] * 6
    assert len([*tmp_path.glob("won-*")]) == 1


def dead_holder(run: Path, **changes) -> None:
    finished = subprocess.Popen(python("pass"))
    start = start_of(finished.pid)
    finished.wait()
    (run / "process").mkdir(parents=True)
    place = [(run / "process").stat().st_ino, str(run / "process")]
    holder = {
        "token": "t",
        "computer": computer_name(),
        "processes": [[finished.pid, start]],
        "place": place,
        **changes,
    }
    (run / "process" / "lock.json").write_text(json.dumps(holder))


def test_lock_of_a_dead_trainer_is_taken_over(tmp_path, started):
    dead_holder(tmp_path)
    assert TrainingProcess(tmp_path).state.name == "crashed"
    assert "interrupted" in TrainingProcess(tmp_path).state.sentence
    assert started(tmp_path, SLEEP).state.name == "running"


def test_another_program_with_the_same_number_is_not_taken_for_the_trainer(tmp_path, started):
    dead_holder(tmp_path, processes=[[os.getpid(), "started on another day"]])
    assert TrainingProcess(tmp_path).state.name == "crashed"
    assert started(tmp_path, SLEEP).state.name == "running"


def test_trainer_on_another_computer_is_named_and_not_taken_over(tmp_path, started):
    dead_holder(tmp_path, computer="cluster-7")
    state = TrainingProcess(tmp_path).state
    assert state.name == "running" and "cluster-7" in state.sentence
    with pytest.raises(TrainingError, match="cluster-7"):
        started(tmp_path, SLEEP)
    RunLock(tmp_path).break_elsewhere()
    assert started(tmp_path, SLEEP).state.name == "running"


def test_a_lock_that_cannot_be_read_is_not_free(tmp_path, monkeypatch):
    lock = RunLock(tmp_path)
    lock.take()
    read_text = Path.read_text

    def refuse(path, **options):
        if path.name == "lock.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_text(path, **options)

    with monkeypatch.context() as windows:
        windows.setattr(Path, "read_text", refuse)
        windows.setattr(time, "sleep", lambda _seconds: None)
        with pytest.raises(OutputError, match=r"lock\.json cannot be read"):
            RunLock(tmp_path).take()
    assert lock.holder().alive


def test_a_start_that_cannot_tidy_up_keeps_no_lock(tmp_path):
    (tmp_path / "stop").mkdir()
    with pytest.raises(OutputError, match="stop"):
        RunLock(tmp_path).take()
    assert RunLock(tmp_path).holder() is None


def test_a_trainer_whose_lock_was_taken_over_does_not_release_it(tmp_path):
    lock = RunLock(tmp_path)
    token = lock.take()
    lock.release("of the trainer that had it before")
    assert lock.holder().token == token
    lock.release(token)
    assert lock.holder() is None


def test_a_lock_of_this_computer_is_not_broken_as_one_of_elsewhere(tmp_path):
    lock = RunLock(tmp_path)
    token = lock.take()
    lock.break_elsewhere()
    assert lock.holder().token == token


def test_a_new_trainer_forgets_what_the_last_one_left(tmp_path):
    lock = RunLock(tmp_path / "run")
    lock.files.folder.mkdir(parents=True)
    left = (lock.files.stop, lock.files.end, lock.files.step)
    for path in left:
        path.write_text("{}")
    lock.take()
    assert not any(path.exists() for path in left)


def test_a_trainer_whose_run_is_moved_before_it_began_makes_no_run_at_the_old_place(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_text("{}")
    watch = new_watch(run)
    run.rename(tmp_path / "moved")
    watch.run()
    monkeypatch.setenv("HLFD_RUN_LOCK", watch.orders.token)
    with pytest.raises(OutputError, match="run"), training_in(run, new=False):
        pass
    assert not run.exists()


def test_a_trainer_that_fails_because_its_run_was_moved_leaves_no_run_at_the_old_place(tmp_path, watch, monkeypatch):
    moved = tmp_path.with_name(f"{tmp_path.name} moved")
    monkeypatch.setattr(watch, "_wait", lambda _trainer: tmp_path.rename(moved))
    watch.run()
    assert not tmp_path.exists() and (moved / "plan.json").is_file()
    moved.rename(tmp_path)


def test_half_written_checkpoints_of_a_killed_trainer_are_removed(tmp_path):
    left = tmp_path / "student" / ".last.pt.abc.part"
    left.mkdir(parents=True)
    (left / "last.pt").write_bytes(b"half")
    with training_in(tmp_path):
        assert not left.exists()


def test_a_training_begins_though_what_a_killed_trainer_left_cannot_be_looked_for(tmp_path, monkeypatch):
    def away(_folder, _pattern):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "glob", away)
    with training_in(tmp_path):
        assert RunLock(tmp_path).holder().alive
    assert RunLock(tmp_path).holder() is None


def test_a_copy_of_a_run_is_not_trained_where_the_run_is(tmp_path):
    run, copy = tmp_path / "run", tmp_path / "copy"
    RunLock(run).take()
    shutil.copytree(run, copy)
    assert state_of(run).name == "running" and state_of(copy).name == "stopped"
    RunLock(copy).take()
    assert state_of(copy).name == "running"
    run.rename(tmp_path / "renamed")
    assert state_of(tmp_path / "renamed").name == "running"


def test_a_lock_holds_on_a_disk_that_numbers_its_folders_anew(tmp_path):
    RunLock(tmp_path).take()
    file = tmp_path / "process" / "lock.json"
    lock = json.loads(file.read_text())
    file.write_text(json.dumps({**lock, "place": [lock["place"][0] + 1, lock["place"][1]]}))
    assert state_of(tmp_path).name == "running"


def test_a_process_is_known_by_its_start_until_it_is_reaped():
    process = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    start = start_of(process.pid)
    assert start and start == start_of(process.pid) != start_of(os.getpid())
    process.kill()
    wait_until(lambda: start_of(process.pid) is None)  # a zombie by now
    process.wait()
    assert start_of(process.pid) is None


def test_a_lock_of_another_users_process_on_windows_is_left(tmp_path, monkeypatch):
    """Which may be alive, and cannot be asked for its start."""
    dead_holder(tmp_path)
    monkeypatch.setattr("HLFDTrainingLib.runs.process_identity.start_of", lambda pid: UNSEEN)
    assert state_of(tmp_path).name == "running"
    with pytest.raises(TrainingError):
        RunLock(tmp_path).take()


@pytest.mark.parametrize(
    ("status", "platform", "told"),
    [
        (0xC0000005, "win32", "ended by a fault in a program library (0xc0000005)"),
        (1, "win32", "was interrupted"),
        (1, "linux", "ended unexpectedly: status 1"),
        (-11, "linux", "ended by a fault in a program library (SIGSEGV)"),
    ],
)
def test_an_end_without_a_word_is_told_by_its_status(status, platform, told, tmp_path, monkeypatch):
    files = ProcessFiles(tmp_path)
    files.folder.mkdir(parents=True)
    log = Log(files)
    log.follow(io.BytesIO(b'{"event": "epoch", "stage": "student", "epoch": 3}\n'))
    end = {"status": status, "message": log.error, "last_line": log.last, "stop_asked": False}
    files.end.write_text(json.dumps(end))
    monkeypatch.setattr("HLFDTrainingLib.runs.run_state.sys.platform", platform)
    state = state_of(tmp_path)
    assert state.name == "crashed" and told in state.sentence and "event" not in state.sentence


@pytest.mark.parametrize(
    ("status", "platform", "name", "told"),
    [
        (-9, "linux", "crashed", "did not stop in time"),
        (137, "linux", "crashed", "did not stop in time"),
        (1, "win32", "crashed", "did not stop in time"),
        (-15, "linux", "crashed", "was interrupted"),
        (0, "linux", "stopped", "was stopped"),
    ],
)
def test_a_trainer_that_did_not_stop_by_itself_is_not_called_stopped(
    status, platform, name, told, tmp_path, monkeypatch
):
    """It has left no checkpoint."""
    files = ProcessFiles(tmp_path)
    files.folder.mkdir()
    files.end.write_text(json.dumps({"status": status, "message": None, "last_line": "", "stop_asked": True}))
    monkeypatch.setattr("HLFDTrainingLib.runs.run_state.sys.platform", platform)
    state = state_of(tmp_path)
    assert state.name == name and told in state.sentence


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps here")
def test_start_by_ps_as_on_a_mac():
    process = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    start = datetime.strptime(_start_by_ps(process.pid), "%a %b %d %H:%M:%S %Y").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - start) < timedelta(minutes=10)  # wherever the computer is
    process.kill()
    wait_until(lambda: _start_by_ps(process.pid) is None)
    process.wait()


def test_a_mac_keeps_its_name_in_every_network(monkeypatch):
    def named(command, **_options):
        return subprocess.CompletedProcess(command, 0, stdout="Reading-Room-7\n")

    computer_name.cache_clear()
    try:
        with monkeypatch.context() as mac:
            mac.setattr(sys, "platform", "darwin")
            mac.setattr(subprocess, "run", named)
            mac.setattr(platform, "node", lambda: "dhcp-113.hospital.example")
            assert computer_name() == "Reading-Room-7"
    finally:
        computer_name.cache_clear()


def test_windows_ends_processes_by_its_own_program(monkeypatch):
    """A taskkill.exe beside a scene is not run; where the system forbids its own, the process is ended all the same."""
    ran, killed = [], []

    def forbidden(command, **_options):
        ran.append(command)
        raise PermissionError(errno.EACCES, "blocked by group policy")

    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        windows.setenv("SYSTEMROOT", "/windows")
        windows.setattr(subprocess, "CREATE_NO_WINDOW", 0, raising=False)
        windows.setattr(subprocess, "Popen", forbidden)
        windows.setattr(os, "kill", lambda pid, _signal: killed.append(pid))
        end_tree(4711)
    assert ran[0][0] == "/windows/System32/taskkill.exe" and killed == [4711]


def test_a_crash_on_windows_is_not_called_a_lack_of_memory(monkeypatch):
    """Slicer's launcher says of every crash there what it says elsewhere of a process that the system ended."""
    said = f"error: [python-real] {LAUNCHED_ENDED} - Report the problem."
    assert ended_by_system(said)
    monkeypatch.setattr(sys, "platform", "win32")
    assert not ended_by_system(said)


# Stopping


def test_trainer_that_obeys_the_stop_file_is_left_alone(tmp_path, started):
    code = f"""
import os, sys, time
print("ready", flush=True)
while not os.path.exists({str(tmp_path / "stop")!r}): time.sleep(0.02)
print("saved")
sys.exit(130)
"""
    process = started(tmp_path, python(code))
    wait_until(lambda: trainer_ready(process))
    TrainingProcess(tmp_path).stop()
    assert ended(process).name == "stopped"
    assert "saved" in process.log


def test_trainer_that_does_not_stop_is_terminated_then_killed(tmp_path, started):
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("terminated", flush=True))
print("ready", flush=True)
while True: time.sleep(1)
"""
    process = started(tmp_path, python(code), terminate_after=0.1, kill_after=3)
    wait_until(lambda: trainer_ready(process))
    process.stop()
    state = ended(process)
    assert state.name == "crashed" and "did not stop in time" in state.sentence
    assert process.log.count("terminated") == 1


def test_a_logout_stops_trainer_and_watch_with_a_checkpoint(tmp_path, started):
    """As systemd ends a session's processes; a closed terminal says so twice."""
    code = """
import sys, time
from HLFDTrainingLib.runs.stop_signal import StopSignal
with StopSignal() as stop:
    print("ready", flush=True)
    while not stop.requested: time.sleep(0.02)
    time.sleep(0.5)
print("saved", flush=True)
sys.exit(130)
"""
    process = started(tmp_path, python(code))
    wait_until(lambda: trainer_ready(process))
    for one in processes_of(tmp_path):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
            one.send_signal(number)
            time.sleep(0.02)
    assert ended(process).name == "stopped"
    assert "saved" in process.log


def test_signals_that_come_again_do_not_put_off_the_end(watch):
    watch._ask_to_stop()
    asked = watch.stop_asked_at
    watch._ask_to_stop()
    assert watch.stop_asked_at == asked


def test_what_the_trainer_started_ends_with_it(tmp_path, started):
    code = f"""
import subprocess
child = subprocess.Popen({SLEEP!r}, stdout=subprocess.DEVNULL)
print("child", child.pid, "ready", flush=True)
child.wait()
"""
    process = started(tmp_path, python(code))
    wait_until(lambda: trainer_ready(process))
    child = psutil.Process(int(process.log.split()[1]))
    processes_of(tmp_path)[1].kill()
    ended(process)
    wait_until(lambda: gone(child))


def test_new_start_forgets_an_old_request_to_stop(tmp_path, started):
    (tmp_path / "stop").touch()
    process = started(tmp_path, SLEEP, terminate_after=0.1, kill_after=0.2)
    wait_until(lambda: trainer_ready(process))
    time.sleep(1)
    assert process.state.name == "running"


# Why it ended


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "crashed", "memory runs out"),
        ("import sys; sys.exit(137)", "crashed", "memory runs out"),
        ("import os; os.abort()", "crashed", "SIGABRT"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "crashed", "graphics card"),
        ("raise ValueError('boom')", "crashed", "boom"),
        ("import sys; sys.exit('hlfd: a.nii could not be written: the disk is full.')", "crashed", "disk is full"),
        ('print(\'{"event": "error", "message": "The loss is no number."}\'); exit(1)', "crashed", "no number"),
        ("exit(130)", "stopped", "Continue"),
        ("pass", "crashed", "without a result"),
    ],
)
def test_end_is_told(tmp_path, started, code, name, words):
    state = ended(started(tmp_path, python(code)))
    assert state.name == name and words in state.sentence


@pytest.fixture
def launcher(tmp_path) -> list[str]:
    """An interpreter like PythonSlicer: it starts Python and ends at once by SIGTERM; a crash gets the exit code 1."""
    script = tmp_path / "PythonSlicer"
    script.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\ncode=$?\n[ $code -gt 128 ] && exit 1\nexit $code\n')
    script.chmod(0o700)
    return [str(script)]


def test_what_ended_python_is_told_though_a_launcher_started_it(tmp_path, started, launcher):
    state = ended(started(tmp_path / "run", [*launcher, "-c", "import os; os.kill(os.getpid(), 9)"]))
    assert state.name == "crashed" and "memory runs out" in state.sentence


def test_request_to_stop_reaches_python_though_a_launcher_started_it(tmp_path, started, launcher):
    code = """
import signal, sys, time
def save(*_):
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True: time.sleep(1)
"""
    process = started(tmp_path / "run", [*launcher, "-c", code], terminate_after=0.1)
    wait_until(lambda: trainer_ready(process))
    process.stop()
    assert ended(process).name == "stopped"
    assert "saved" in process.log


def test_finished_run_is_told(tmp_path, started):
    process = started(tmp_path, python(f"open({str(tmp_path / 'result.json')!r}, 'w').write('{{}}')"))
    assert ended(process).name == "finished"


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ({"event": "stopped"}, "stopped"),
        ({"event": "error", "message": "No."}, "crashed"),
        ({"event": "epoch"}, "crashed"),
    ],
)
def test_run_of_a_terminal_is_judged_by_its_last_event(tmp_path, last, name):
    (tmp_path / "events.jsonl").write_text(json.dumps({"event": "reading"}) + "\n" + json.dumps(last) + "\n")
    assert TrainingProcess(tmp_path).state.name == name


def test_killed_watch_takes_the_trainer_along_and_frees_the_run(tmp_path, started):
    process = started(tmp_path, python("import time\nwhile True: print('ready', flush=True); time.sleep(0.05)"))
    wait_until(lambda: trainer_ready(process))
    processes_of(tmp_path)[0].kill()
    assert ended(process).name == "crashed"
    assert started(tmp_path, SLEEP).state.name == "running"


# Log and events


def test_log_is_bounded_and_steps_are_kept_apart(tmp_path, started):
    code = """
import json
print("x" * 200_000)
for number in range(10_000):
    print(json.dumps({"event": "step", "step": number}))
    print("a line of 350 characters " + "." * 325)
print("the end")
"""
    process = started(tmp_path, python(code))
    ended(process)
    sizes = [(tmp_path / name).stat().st_size for name in ("log.txt", "log.old.txt")]
    assert sum(sizes) < 3_000_000
    assert process.log.endswith("the end\n") and "step" not in process.log
    assert process.step["event"] == "step"


def test_events_come_once_each_and_only_when_they_are_whole(tmp_path):
    events = TrainingProcess(tmp_path).events
    path = tmp_path / "events.jsonl"
    assert events() == []
    path.write_bytes(b'{"event": "reading", "done": 1}\n{"event": "epo')
    assert events() == [{"event": "reading", "done": 1}]
    assert events() == []
    with open(path, "ab") as stream:
        stream.write(b'ch", "epoch": 1}\n')
    assert events() == [{"event": "epoch", "epoch": 1}]


def test_damaged_lines_are_skipped_and_the_event_after_half_a_line_is_kept(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'\xff\x00\x00\n{"event": "epoch", "dice": {"liver": 0.5}{"stage": "student", "event": "epoch", "epoch": 2}\n'
        b'[1]\n{"dice": {"liver": 0.5}}\n{"event": "stopped"}\n'
    )
    events = TrainingProcess(tmp_path).events()
    assert [event["event"] for event in events] == ["epoch", "stopped"]
    assert events[0]["epoch"] == 2


# The real trainer, killed at random moments


OPTIONS = ["--method", "none", "--batch", "2", "--device", "cpu", "--json"]


def train(run: Path, *arguments: str | Path) -> TrainingProcess:
    command = [sys.executable, "-m", "HLFDTrainingLib.cli", "train", *map(str, arguments), "-o", str(run)]
    return TrainingProcess.start(run, command, {**os.environ, "OMP_NUM_THREADS": "1"})


def begin(folder: Path, run: Path, epochs: int = 4) -> TrainingProcess:
    task = folder / "task.json"
    task.write_text(json.dumps(TASK.to_dict()))
    cases = write_cases(folder / f"cases of {run.name}", 3, slices=5)
    return train(run, cases, "--task", task, "--epochs", epochs, *OPTIONS)


def resume(run: Path) -> TrainingProcess:
    return train(run, "--resume", "--json")


def test_killed_and_stopped_trainer_goes_on_and_finishes(tmp_path):
    run = tmp_path / "run"
    process = begin(tmp_path, run, epochs=12)
    wait_until(lambda: any(event["event"] == "epoch" for event in process.events()))
    processes_of(run)[1].kill()
    assert "kept" in ended(process).sentence
    process = resume(run)
    wait_until(lambda: process.step is not None)
    assert process.step["epoch"] > 1
    TrainingProcess(run).stop()
    assert ended(process).name == "stopped"
    process = resume(run)
    assert ended(process).name == "finished", process.log


def test_bad_cases_are_told_in_the_state(tmp_path):
    state = ended(train(tmp_path / "run", tmp_path / "nothing here", *OPTIONS))
    assert state.name == "crashed" and "does not exist" in state.sentence


@pytest.mark.slow
def test_trainer_killed_ten_times_ends_as_one_that_was_never_killed(tmp_path):
    import torch

    generator = random.Random(2)
    epochs = 40  # So many that no machine is done before the last kill.
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = begin(tmp_path, killed, epochs=epochs)
    wait_until((killed / "plan.json").is_file)
    for _ in range(10):
        if generator.random() < 0.7:  # in the midst of the training; otherwise while it starts
            wait_until(lambda: process.step)  # noqa: B023
        time.sleep(generator.uniform(0, 1.5))
        for one in generator.sample(processes_of(killed), generator.choice((1, 2))):
            one.kill()
        assert ended(process).name == "crashed"
        process = resume(killed)
    assert ended(process).name == "finished", process.log
    assert not list(killed.rglob("*.part"))
    assert ended(begin(tmp_path, whole, epochs=epochs)).name == "finished"
    first, second = (torch.load(run / "student" / "last.pt", weights_only=True)["learner"] for run in (whole, killed))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
