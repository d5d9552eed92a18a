"""How long each network takes for one slice of 384x384, side by side.

    python Testing/benchmarks/network_speed.py [--threads 1] [--device cpu] [--repeats 5]

Prints milliseconds (median) of a forward pass, plain and with channels_last memory, and of a forward and backward
pass, in float32. Absolute times differ between machines and hours: compare the rows of one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from HLFDSegmentationLib.networks import NETWORKS, build_network
from HLFDTrainingLib.network_cost import network_cost

SIDE = 384


def milliseconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median time of some work, after a first run that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        times.append((perf_counter() - start) * 1000)
    return median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images = torch.rand(1, 1, SIDE, SIDE, device=arguments.device)

    print(f"{'network':18}{'GMACs':>8}{'forward':>10}{'channels_last':>15}{'and backward':>14}   (ms)")
    for name in NETWORKS:
        network = build_network(name, 2).to(arguments.device).eval()

        def forward(network: torch.nn.Module = network) -> torch.Tensor:
            return network(images)

        def backward(network: torch.nn.Module = network) -> None:
            network(images).square().mean().backward()

        with torch.no_grad():
            plain = milliseconds(forward, arguments.device, arguments.repeats)
        both = milliseconds(backward, arguments.device, arguments.repeats)
        network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            channels_last = milliseconds(forward, arguments.device, arguments.repeats)
        gmacs = network_cost(network, SIDE, SIDE).macs / 1e9
        print(f"{name:18}{gmacs:8.2f}{plain:10.0f}{channels_last:15.0f}{both:14.0f}", flush=True)


if __name__ == "__main__":
    main()
