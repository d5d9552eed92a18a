"""What the teacher says of a slice: computed once for all runs, and the same as if it were computed anew."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.distillers import Distiller, build_distiller
from HLFDTrainingLib.distillers.unified_head import UnifiedHead
from HLFDTrainingLib.learning import constant_store
from HLFDTrainingLib.learning.constant_store import ConstantStore, _Rows
from HLFDTrainingLib.learning.head_learner import HeadLearner
from HLFDTrainingLib.learning.slices import SliceDataset, collate
from HLFDTrainingLib.learning.stage import StageState, load_trained_state
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.learning.teacher_constants import TeacherConstants, open_store
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.trainer import TrainingRun
from training_runs import assert_same, begin

PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet18-unet",
    student="mobilenetv2-unet",
    augmentation="orientations",
    teacher_epochs=1,
    head_epochs=1,
    student_epochs=1,
    batch=4,
    seed=3,
    device="cpu",
)


@pytest.fixture(autouse=True)
def any_disk(monkeypatch):
    """These tests leave no checkpoints that need space."""
    monkeypatch.setattr(constant_store, "KEPT_FREE", 0)


@pytest.fixture(scope="module")
def cases_folder(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), 4, slices=5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, cases_folder) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "run"
    train(path, cases_folder, replace(PLAN, method="kd"))
    return path


@pytest.fixture
def teacher_runs(monkeypatch) -> list[int]:
    """How many images the teacher was shown, a number for each time."""
    seen: list[int] = []
    computing = Distiller.teacher_constants

    def counting(self, images, target, wanted):
        wanted = list(wanted)
        if wanted:
            seen.append(len(images))
        return computing(self, images, target, wanted)

    monkeypatch.setattr(Distiller, "teacher_constants", counting)
    return seen


def train(path: Path, cases_folder: Path, plan: TrainingPlan, constants: Path | None = None) -> dict[str, torch.Tensor]:
    """The student that a run ends with."""
    folder = begin(path, cases_folder, plan)
    TrainingRun(folder, constants=constants).run()
    return torch.load(folder.stage("student") / "last.pt", weights_only=True)["learner"]


@pytest.mark.parametrize(("method", "precision"), [("hlfd", "bfloat16"), ("emkd", "float32")])
def test_kept_constants_change_no_bit_of_the_student(method, precision, teacher, teacher_runs, cases_folder, tmp_path):
    plan = replace(PLAN, method=method, precision=precision, teacher_weights=str(teacher))
    computed = train(tmp_path / "computed", cases_folder, plan)
    every_slice = len(teacher_runs)
    teacher_runs.clear()
    kept = train(tmp_path / "kept", cases_folder, plan, tmp_path / "constants")
    assert len(teacher_runs) <= every_slice
    teacher_runs.clear()
    read = train(tmp_path / "read", cases_folder, plan, tmp_path / "constants")
    assert teacher_runs == []
    assert_same(computed, kept)
    assert_same(computed, read)


def test_methods_seeds_and_students_share_what_they_have_in_common(teacher_runs, cases_folder, tmp_path):
    cases = find_cases(cases_folder, TASK)[:2]
    listed = list_slices(cases, TASK)
    network = build_network("resnet18-unet", TASK.num_classes)

    def learn(method: str, student: str, seed: int, epochs: int) -> None:
        slices = SliceDataset(listed, TASK, tmp_path / "slices", augmentation="orientations", seed=seed)
        distiller = build_distiller(method, build_network(student, TASK.num_classes), network, TASK.num_classes)
        store = open_store(tmp_path / "constants", network, listed, TASK.input_size, torch.device("cpu"), None)
        constants = TeacherConstants(distiller, slices, store, listed)
        for epoch in range(epochs):
            requests = [(epoch, number) for number in range(len(slices))]
            constants(*collate([slices[request] for request in requests]), requests)

    learn("skd", "mobilenetv2-unet", seed=0, epochs=40)
    assert 0.9 * 8 * len(listed) < len(teacher_runs) <= 8 * len(listed)
    teacher_runs.clear()
    learn("kd", "resnet18-unet", seed=1, epochs=4)
    learn("at", "mobilenetv2-unet", seed=2, epochs=4)
    assert len(teacher_runs) < 5


def test_another_teacher_has_constants_of_its_own(teacher, teacher_runs, cases_folder, tmp_path):
    plan = replace(PLAN, method="at", teacher_weights=str(teacher))
    train(tmp_path / "one", cases_folder, plan, tmp_path / "constants")
    teacher_runs.clear()
    plan = replace(plan, teacher_weights=None, seed=9)
    train(tmp_path / "other", cases_folder, plan, tmp_path / "constants")
    assert len(teacher_runs) == 10


def test_damaged_constants_are_computed_anew(teacher, teacher_runs, cases_folder, tmp_path):
    plan = replace(PLAN, method="hlfd", teacher_weights=str(teacher))
    expected = train(tmp_path / "first", cases_folder, plan, tmp_path / "constants")
    files = sorted((tmp_path / "constants").rglob("*.npy"))
    for number, file in enumerate(files):
        content = bytearray(file.read_bytes())
        if number % 3 == 0:
            content[-1000::50] = bytes(byte ^ 255 for byte in content[-1000::50])
        elif number % 3 == 1:
            del content[len(content) // 2 :]
        else:
            content[:] = b"no array"
        file.write_bytes(content)
    teacher_runs.clear()
    assert_same(train(tmp_path / "second", cases_folder, plan, tmp_path / "constants"), expected)
    assert len(teacher_runs) == 10
    teacher_runs.clear()
    assert_same(train(tmp_path / "third", cases_folder, plan, tmp_path / "constants"), expected)
    assert teacher_runs == []


@pytest.mark.parametrize("free", [0, 5_000_000_000])
def test_a_full_disk_keeps_no_more_constants_and_changes_no_bit_of_the_student(
    free, teacher, teacher_runs, cases_folder, tmp_path, monkeypatch, caplog
):
    """What is kept saves time, and nothing else: a comparison of days must not end by it, nor for want of the space."""
    plan = replace(PLAN, method="hlfd", teacher_weights=str(teacher), student_epochs=2)
    computed = train(tmp_path / "computed", cases_folder, plan)
    write, written = _Rows.write, []

    def write_until_full(self, *arguments) -> None:
        if free == 0 and len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(self)
        write(self, *arguments)

    monkeypatch.setattr(_Rows, "write", write_until_full)
    # Three more fill the disk as far as it may be filled.
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=10**12, free=free - len(written) * 400_000_000)
    )
    monkeypatch.setattr(constant_store, "KEPT_FREE", 4_000_000_000 if free else -5_000_000_000)
    assert_same(train(tmp_path / "full", cases_folder, plan, tmp_path / "constants"), computed)
    assert len(written) == 3
    [told] = [record.getMessage() for record in caplog.records if record.name.startswith("HLFD")]
    assert "Free some space" in told and str(tmp_path / "constants") in told


def test_a_file_that_takes_all_its_space_at_once_is_not_made_where_too_little_is_left(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(constant_store, "KEPT_FREE", 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=10**12, free=5000))
    value = torch.zeros(100)
    ConstantStore(tmp_path / "sparse", rows=50).write("value", 0, 1, value)
    monkeypatch.setattr(constant_store.sys, "platform", "win32")
    with pytest.raises(OutputError):
        ConstantStore(tmp_path / "whole", rows=50).write("value", 0, 1, value)
    assert not list((tmp_path / "whole").iterdir())
    ConstantStore(tmp_path / "few", rows=5).write("value", 0, 1, value)


def test_constants_are_kept_only_where_slices_come_back(cases_folder, tmp_path):
    train(tmp_path / "run", cases_folder, replace(PLAN, augmentation="anatomical"), tmp_path / "constants")
    assert not (tmp_path / "constants").exists()


# The store


VALUES = [torch.arange(6.0).reshape(2, 3), torch.tensor(7.5), torch.randn(3, 4, 5).bfloat16(), torch.ones(9).half()]


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back_as_they_are(tmp_path, value):
    ConstantStore(tmp_path, 5).write("a", 3, 17, value)
    back = ConstantStore(tmp_path, 5).read("a", 3, 17)
    assert back.dtype == value.dtype and torch.equal(back, value)


def test_what_was_not_written_or_is_of_something_else_is_not_there(tmp_path):
    store = ConstantStore(tmp_path, 5)
    store.write("a", 3, 17, torch.zeros(4))
    assert store.read("b", 3, 17) is None
    assert [row for row in range(5) if store.read("a", row, 17) is not None] == [3]
    assert store.read("a", 3, 18) is None
    assert store.read("a", 0, 0) is None
    assert ConstantStore(tmp_path, 6).read("a", 3, 17) is None


def test_a_file_of_other_values_is_replaced(tmp_path):
    ConstantStore(tmp_path, 5).write("a", 3, 17, torch.zeros(4))
    np.save(tmp_path / "b.npy", np.zeros(5))
    store = ConstantStore(tmp_path, 5)
    for name, value in (("a", torch.ones(6)), ("b", torch.ones(2, 2))):
        store.write(name, 1, 17, value)
        assert torch.equal(store.read(name, 1, 17), value)
        assert torch.equal(ConstantStore(tmp_path, 5).read(name, 1, 17), value)
    assert store.read("a", 3, 17) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]


FILL = """
import sys, torch
from HLFDTrainingLib.learning import constant_store
from HLFDTrainingLib.learning.constant_store import ConstantStore
constant_store.KEPT_FREE = 0
store = ConstantStore(sys.argv[1], 400)
print("ready", flush=True)
sys.stdin.readline()
order = torch.randperm(400, generator=torch.Generator().manual_seed(int(sys.argv[2]))).tolist()
for row in order:
    if store.read("a", row, row) is None:
        store.write("a", row, row, torch.full((64, 64), float(row)))
        print(row, flush=True)
"""


def test_processes_fill_a_store_together_and_one_of_them_is_killed(tmp_path):
    fillers = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, str(tmp_path), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for seed in range(2)
    ]
    for filler in fillers:
        assert filler.stdout.readline() == "ready\n"
    for filler in fillers:
        filler.stdin.write("go\n")
        filler.stdin.flush()
    for _ in range(30):
        fillers[0].stdout.readline()
    fillers[0].kill()
    fillers[0].communicate()
    written, _ = fillers[1].communicate(timeout=60)
    store = ConstantStore(tmp_path, 400)
    values = [store.read("a", row, row) for row in range(400)]
    assert all(value is not None and bool((value == row).all()) for row, value in enumerate(values))
    assert 0 < len(written.split()) <= 400
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize(("device", "kept"), [("cpu", TeacherConstants), ("cuda", type(None))])
def test_a_gpu_runs_the_teacher_instead_of_reading_what_it_said(device, kept, cases_folder, tmp_path, monkeypatch):
    """No GPU is needed for it: who moves a network there is the stage."""
    run = TrainingRun(begin(tmp_path / "run", cases_folder, replace(PLAN, method="kd")))
    slices = run.read_slices()
    monkeypatch.setattr(run, "device", torch.device(device))
    monkeypatch.setattr(run, "trained_teacher", lambda *_: build_network(PLAN.teacher, TASK.num_classes))
    given = {}

    class Noted:
        """A stage that trains nothing."""

        def __init__(self, name, *_arguments, constants, **_named):
            given[name] = constants

        def run(self):
            return StageState()

    run.stage_type = Noted
    run.train_stages(*slices)
    assert isinstance(given["student"], kept)


def kept_of_first_slice(cases_folder, folder: Path, method: str, seeds: tuple[int, int], brighter: float = 0.0):
    """What a teacher, and the unified head where the method has one, say of a slice; both have random weights."""
    listed = list_slices(find_cases(cases_folder, TASK), TASK)
    slices = SliceDataset(listed, TASK, folder / "slices", augmentation="orientations", seed=0)
    of_teacher, of_head = seeds
    torch.manual_seed(of_teacher)
    teacher, student = (build_network("resnet18-unet", TASK.num_classes) for _ in range(2))
    torch.manual_seed(of_head)
    head = UnifiedHead(teacher, TASK.num_classes) if method == "hlfd" else None
    distiller = build_distiller(method, student, teacher, TASK.num_classes, unified_head=head)
    store = open_store(folder / "constants", teacher, listed, TASK.input_size, torch.device("cpu"), None)
    images, target = collate([slices[0, 0]])
    return TeacherConstants(distiller, slices, store, listed)(images + brighter, target, [(0, 0)])


def test_what_is_kept_of_a_slice_is_that_teacher_s(cases_folder, tmp_path):
    one, other = (kept_of_first_slice(cases_folder, tmp_path, "kd", (seed, 0)) for seed in (0, 1))
    assert one.keys() == other.keys()
    assert all(not torch.allclose(one[constant], other[constant]) for constant in one)


def test_what_is_kept_of_a_slice_is_that_head_s(cases_folder, tmp_path):
    one, other = (kept_of_first_slice(cases_folder, tmp_path, "hlfd", (0, seed)) for seed in (0, 1))
    of_head = [constant for constant in one if constant.kind == "prediction" and len(constant.layers) > 1]
    assert of_head and all(not torch.allclose(one[constant], other[constant]) for constant in of_head)


def test_a_slice_that_was_changed_is_shown_to_the_teacher_again(cases_folder, teacher_runs, tmp_path):
    one, again, changed = (kept_of_first_slice(cases_folder, tmp_path, "kd", (0, 0), by) for by in (0.0, 0.0, 0.3))
    assert len(teacher_runs) == 2
    assert all(torch.equal(one[constant], again[constant]) for constant in one)
    assert all(not torch.allclose(one[constant], changed[constant]) for constant in one)


def test_what_depends_on_the_labels_of_a_slice_is_computed_anew_when_they_are_corrected(cases_folder, tmp_path):
    def kept(moved: int):
        slices = list_slices(find_cases(cases_folder, TASK), TASK)
        dataset = SliceDataset(slices, TASK, tmp_path / "slices", augmentation="orientations", seed=0)
        torch.manual_seed(0)
        teacher, student = (build_network("resnet18-unet", TASK.num_classes) for _ in range(2))
        distiller = build_distiller("emkd", student, teacher, TASK.num_classes)
        store = open_store(tmp_path / "constants", teacher, slices, TASK.input_size, torch.device("cpu"), None)
        images, target = collate([dataset[0, 0]])
        target = replace(target, classes=target.classes.roll(moved, 1))
        return TeacherConstants(distiller, dataset, store, slices)(images, target, [(0, 0)])

    one, corrected = kept(0), kept(20)
    contrasts = [constant for constant in one if constant.kind == "contrast"]
    assert contrasts and all(not torch.equal(one[constant], corrected[constant]) for constant in contrasts)


def test_each_precision_has_constants_of_its_own(tmp_path):
    teacher = build_network("mobilenetv2-unet", TASK.num_classes)
    precise, fast = (
        open_store(tmp_path, teacher, [], (64, 64), torch.device("cpu"), precision)
        for precision in (None, torch.bfloat16)
    )
    assert precise.folder != fast.folder


def test_weights_of_another_network_are_not_taken_for_a_heads(tmp_path):
    teacher = build_network("resnet18-unet", TASK.num_classes)
    learner = HeadLearner(teacher, UnifiedHead(teacher, TASK.num_classes))
    kept = {name: value for name, value in learner.student.state_dict().items() if name.startswith("head.")}
    load_trained_state(learner.student, kept, tmp_path)
    student = build_network("mobilenetv2-unet", TASK.num_classes).state_dict()
    for wrong in (student, {}, {name: value[:1] for name, value in kept.items() if value.ndim > 1}):
        with pytest.raises(TrainingError, match="weights of another network"):
            load_trained_state(learner.student, wrong, tmp_path)
