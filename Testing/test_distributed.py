"""Several training processes do together what one would do alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import InputError
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.learning import stage as stage_file
from HLFDTrainingLib.learning.epoch_batches import EpochBatches
from HLFDTrainingLib.learning.slices import SliceDataset, collate
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.learning.validation import count_overlaps, mean_dice
from HLFDTrainingLib.runs.processes import Processes, joined_processes
from HLFDTrainingLib.runs.run_folder import RunFolder
from torch import distributed, multiprocessing, nn
from training_runs import small_stage


@pytest.mark.parametrize("count", [1, 7, 8, 9, 12])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_slice_exactly_once_an_epoch_over_all_processes(count, world):
    seen = Counter()
    steps = set()
    for rank in range(world):
        batches = EpochBatches(count, batch=4, seed=0, rank=rank, world=world)
        for requests, share in batches.epoch(epoch=5):
            if share:
                seen.update(number for _, number in requests)
        steps.add(sum(1 for _ in batches.epoch(5)))
    assert seen == Counter(range(count))
    assert steps == {batches.steps}


def test_order_changes_with_the_epoch_and_not_with_the_number_of_processes():
    alone = EpochBatches(10, batch=4, seed=0)
    together = [EpochBatches(10, batch=2, seed=0, rank=rank, world=2) for rank in range(2)]
    of_one = [sorted(number for _, number in requests) for requests, _ in alone.epoch(0)]
    of_both = [
        sorted(number for requests, share in step if share for _, number in requests)
        for step in zip(*(batches.epoch(0) for batches in together))
    ]
    assert of_one == of_both
    assert of_one != [sorted(number for _, number in requests) for requests, _ in alone.epoch(1)]


def test_each_seed_shows_the_slices_in_an_order_of_its_own():
    """Else the seeds of a comparison would differ less than trainings do."""
    orders = [[requests for requests, _ in EpochBatches(20, 4, seed).epoch(0)] for seed in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]


def frozen_learner():
    """A student with distillation from a teacher, its normalisation layers frozen."""
    from HLFDSegmentationLib.networks import build_network
    from HLFDTrainingLib.distillers import build_distiller

    torch.manual_seed(0)
    student, teacher = (build_network("mobilenetv2-unet", TASK.num_classes) for _ in range(2))
    learner = build_distiller("skd", student, teacher, TASK.num_classes).train()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return learner


def gradients(cases: Path, cache: Path, batch: int, processes) -> list[torch.Tensor]:
    """Of each step of an epoch, of all parameters, as one vector."""
    slices = SliceDataset(list_slices(find_cases(cases, TASK), TASK)[:5], TASK, cache)
    learner = frozen_learner()
    parallel = processes.wrap(learner)
    batches = EpochBatches(len(slices), batch, 0, processes.rank, processes.world)
    found = []
    for requests, share in batches.epoch(0):
        images, target = collate([slices[request] for request in requests])
        _, terms = parallel(images, target if share else target.forgotten())
        learner.zero_grad()
        (sum(terms.values()) * share).backward()
        found.append(torch.cat([p.grad.flatten() for p in learner.trainable_parameters() if p.grad is not None]))
    return found


class Pixelwise(nn.Module):
    """A stage's learner whose term depends on nothing but the images."""

    def __init__(self):
        super().__init__()
        self.student = nn.Conv2d(1, TASK.num_classes, 1)

    def trainable_parameters(self):
        return list(self.parameters())

    def forward(self, images, _target):
        logits = self.student(images)
        return logits, {"brightness": images.mean() + 0 * logits.mean()}


def _in_process(rank: int, cases: Path, folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
    with joined_processes() as processes:
        torch.save(gradients(cases, folder / f"cache{rank}", 2, processes), folder / f"gradients{rank}.pt")
        small_stage(Pixelwise(), cases, folder, 2, processes=processes).run()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Where two processes have left what they found, beside the cases."""
    folder = tmp_path_factory.mktemp("two")
    cases = write_cases(folder / "cases", 1)
    multiprocessing.spawn(_in_process, (cases, folder, free_port()), nprocs=2)
    return folder


def test_two_processes_give_the_gradient_of_one_with_the_doubled_batch(two, tmp_path):
    expected = gradients(two / "cases", tmp_path / "cache", 4, Processes())
    assert len(expected) == 2  # five slices: a whole step, and one in which the second process has no slice
    for rank in range(2):
        for ours, theirs in zip(expected, torch.load(two / f"gradients{rank}.pt")):
            # Sums in another order: single elements differ by more than the whole does.
            assert (theirs - ours).norm() < 2e-3 * ours.norm()


def test_terms_of_an_epoch_are_those_of_one_process_with_the_doubled_batch(two, tmp_path):
    terms = torch.load(two / "student" / "last.pt", weights_only=True)["state"]["history"][0]["terms"]
    alone = small_stage(Pixelwise(), two / "cases", tmp_path, 4).run()
    assert terms == pytest.approx(alone.history[0]["terms"])


@pytest.mark.parametrize(
    ("device", "gpus", "backend", "used"), [("cpu", 1, "gloo", []), ("auto", 2, "nccl", ["cuda:1"])]
)
def test_processes_meet_on_the_device_that_they_train_on(device, gpus, backend, used, monkeypatch):
    """More of them than GPUs, where they train on the CPU."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    devices = [*(f"cuda:{number}" for number in range(gpus)), "cpu"]
    monkeypatch.setattr("HLFDSegmentationLib.devices.available_devices", lambda: devices)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    met, chosen = [], []
    monkeypatch.setattr("torch.cuda.set_device", lambda one: chosen.append(str(one)))
    for name, what in {
        "is_nccl_available": lambda: True,
        "init_process_group": lambda backend, timeout: met.append(backend),
        "get_world_size": lambda: 2,
        "get_rank": lambda: 1,
        "destroy_process_group": lambda: None,
    }.items():
        monkeypatch.setattr(distributed, name, what)
    with joined_processes(device) as processes:
        assert (processes.rank, processes.world) == (1, 2)
    assert (met, chosen) == ([backend], used)


def test_processes_do_not_share_a_numbered_card(monkeypatch):
    """As where a run that was begun on it goes on under torchrun."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="cannot share cuda:0"), joined_processes("cuda:0"):
        pass


def _normalise(rank: int, folder: Path, port: int) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
    with joined_processes() as processes:
        network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        processes.wrap(network)(torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(rank)))
        before = network[1].running_mean.clone()
        processes.share_buffers(network)
        torch.save([before, network[1].running_mean], folder / f"means{rank}.pt")


def test_every_process_validates_the_network_that_the_first_one_keeps(tmp_path):
    """Normalisation layers have seen other slices in each."""
    multiprocessing.spawn(_normalise, (tmp_path, free_port()), nprocs=2)
    (kept, of_first), (seen, of_second) = (torch.load(tmp_path / f"means{rank}.pt") for rank in range(2))
    assert not torch.equal(kept, seen)
    assert torch.equal(of_first, kept) and torch.equal(of_second, kept)


class SecondOfTwo(Processes):
    """The second process, which does not wait for the first one."""

    def __init__(self):
        super().__init__(rank=1, world=2)

    def wrap(self, module):
        return module

    def gather(self, value):
        return [value]

    def wait(self):
        pass


def test_the_network_is_made_the_same_before_it_is_validated(tmp_path, monkeypatch):
    done = []

    def share(_processes, network):
        done.append(("shared", network))
        torch.save({"network": {}}, stage.best)  # what the first one writes

    monkeypatch.setattr(SecondOfTwo, "share_buffers", share)

    def counting(network, *arguments):
        done.append(("validated", network))
        return count_overlaps(network, *arguments)

    monkeypatch.setattr(stage_file, "count_overlaps", counting)
    cases = write_cases(tmp_path / "cases", 1)
    stage = small_stage(Pixelwise(), cases, tmp_path, 2, processes=SecondOfTwo())
    stage.run()
    assert done == [("shared", stage.learner.student), ("validated", stage.learner.student)]


@pytest.mark.slow
def test_torchrun_trains_one_student(tmp_path):
    import json

    cases = write_cases(tmp_path / "cases", 3, slices=4)
    task = tmp_path / "task.json"
    task.write_text(json.dumps(TASK.to_dict()))
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
    ]
    options = [
        "--method",
        "hlfd",
        "--teacher",
        "resnet18-unet",
        "--epochs",
        "2",
        "--batch",
        "2",
        "--device",
        "cpu",
        "--task",
        task,
        "--json",
    ]
    process = subprocess.run(
        [*command, "-m", "HLFDTrainingLib.cli", "train", cases, "-o", run, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    events = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    ends = [(event["stage"], event["epoch"]) for event in events if event["event"] == "epoch"]
    assert ends == [("teacher", 1), ("teacher", 2), ("head", 1), ("head", 2), ("student", 1), ("student", 2)]
    assert (run / "result.json").is_file()
    # What is kept is what was measured, though the other process's normalisation layers have seen other slices.
    folder = RunFolder(run)
    plan, best = folder.plan(), folder.best("student")
    slices = SliceDataset(list_slices(folder.split(plan).validation, plan.task), plan.task, tmp_path / "cache")
    counts = count_overlaps(folder.network("student"), slices, range(len(slices)), torch.device("cpu"))
    dice = mean_dice(counts)
    for label in plan.task.labels:
        assert best["dice"][label.name] == pytest.approx(float(dice[label.value]), abs=1e-2)
