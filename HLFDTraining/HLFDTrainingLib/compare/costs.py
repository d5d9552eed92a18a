"""What the networks of a comparison cost: parameters, multiply-adds, time for a slice."""

from __future__ import annotations

import time
from contextlib import nullcontext
from statistics import median

import torch
from HLFDSegmentationLib.devices import choose_device, memory_format
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork

from ..network_cost import network_cost
from .folder import ComparisonFolder

SECONDS = 1.0
FEWEST, MOST = 3, 50


def measure_costs(folder: ComparisonFolder, threads: int) -> None:
    """Measures each network that the comparison has figures of, once, while nothing else is at work here.

    On the plan's device, or on the fastest one where this computer, which leads the others, has no such.
    """
    plan, costs = folder.plan, folder.costs()
    try:
        device = choose_device(plan.device)
    except InputError:
        device = choose_device()
    networks = {
        plan.teacher if run.path == folder.teacher.path else run.plan().student for run in folder.measured_runs()
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in sorted(networks - costs.keys()):
            network = build_network(name, plan.task.num_classes).eval()
            cost = network_cost(network, *plan.task.input_size)
            milliseconds = slice_milliseconds(network, plan.task.input_size, device)
            costs[name] = {
                "parameters": cost.parameters,
                "gmacs": round(cost.macs / 1e9, 4),
                "milliseconds": round(milliseconds, 2),
                "device": str(device),
            }
    finally:
        torch.set_num_threads(before)
    folder.keep_costs(costs)


@torch.inference_mode()
def slice_milliseconds(network: SegmentationNetwork, size: tuple[int, int], device: torch.device) -> float:
    """Milliseconds for one slice: the median of several, after a first one that does not count.

    On CUDA in half precision, as segmenting does.
    """
    network.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    slice_ = torch.zeros(1, 1, *size, device=device).to(memory_format=memory_format(device))
    taken: list[float] = []
    with torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext():
        network(slice_)
        while len(taken) < FEWEST or (sum(taken) < SECONDS and len(taken) < MOST):
            _wait_for(device)
            started = time.perf_counter()
            network(slice_)
            _wait_for(device)
            taken.append(time.perf_counter() - started)
    return median(taken) * 1000


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
