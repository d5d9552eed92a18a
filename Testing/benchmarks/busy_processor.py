"""How much longer a network takes beside other programs, with and without `busy_processor.wait_asleep`.

    python Testing/benchmarks/busy_processor.py

As many programs as there are cores compute while a student segments slices in all threads; both ways alternate. Linux
only: elsewhere torch has other threads.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

REPEATS = 3
OTHERS = """
import torch
torch.set_num_threads(1)
layer, image = torch.nn.Conv2d(32, 32, 3), torch.rand(8, 32, 96, 96)
while True:
    layer(image).sum().backward()
"""
SLICES = """
import sys, time
if sys.argv[1] == "asleep":
    from HLFDSegmentationLib.child_process.busy_processor import wait_asleep
    wait_asleep()
import torch
from HLFDSegmentationLib.networks import build_network
network, image = build_network("mobilenetv2-unet", 5).eval(), torch.rand(1, 1, 224, 224)
with torch.inference_mode():
    network(image)
    started = time.perf_counter()
    for _ in range(20):
        network(image)
print((time.perf_counter() - started) / 20)
"""


def seconds(way: str) -> float:
    """Of a slice, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", SLICES, way], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def compare(title: str) -> None:
    """Prints the seconds of both ways and their ratio."""
    found = {way: [] for way in ("turning", "asleep")}
    for _ in range(REPEATS):
        for way in found:
            found[way].append(seconds(way))
    turning, asleep = (statistics.median(values) for values in found.values())
    print(f"{title}: {turning:.3f} s a slice, with wait_asleep {asleep:.3f} s, ratio {turning / asleep:.1f}")


def main() -> None:
    """Measures on this computer as it is, and beside other programs."""
    compare("As it is")
    with ExitStack() as others:
        for _ in range(os.cpu_count() or 1):
            program = others.enter_context(subprocess.Popen([sys.executable, "-c", OTHERS]))
            others.callback(program.kill)
        time.sleep(5)
        compare("Busy")


if __name__ == "__main__":
    main()
