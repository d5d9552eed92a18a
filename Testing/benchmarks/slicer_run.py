"""From the click on Segment to the result in the scene, side by side with `hlfd segment`; and the event loop.

    python Testing/benchmarks/slicer_run.py CT [--repeats 2]

Both ways segment the same CT with the model that ships, without attention and with it, in turn. The start-up of neither
counts: the worker is warm, and the command line's libraries are loaded beforehand. Prints Markdown tables: wall-clock
seconds, and CPU seconds of all processes, which hold on a machine that is busy with other things, too.
To reach: at most 2 s more than the command line; the event loop blocked for at most 100 ms during a run, but for the
one step that brings the segmentation into the scene (400 ms). Slicer's views do not draw here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTING))

import psutil  # noqa: E402
from slicer_shell.fixtures import require_shell  # noqa: E402

TICK_MS = 5
SLOWEST = 5

COMMAND_LINE = """
import json, sys, time, psutil
from HLFDSegmentationLib.child_process.worker_jobs import Jobs
import HLFDSegmentationLib.pipeline
from HLFDTrainingLib.cli import main
Jobs()
process = psutil.Process()
cpu, wall = sum(process.cpu_times()[:2]), time.perf_counter()
code = main(sys.argv[1:])
print("COST", json.dumps([time.perf_counter() - wall, sum(process.cpu_times()[:2]) - cpu]))
sys.exit(code)
"""


@dataclass
class Cost:
    """Seconds of wall-clock, of CPU of all processes together, and of it Slicer's own process."""

    wall: float
    cpu: float
    slicer: float = 0.0


@dataclass
class Gap:
    """A time in which the event loop did nothing else: in all, and of it the thread's own CPU time."""

    wall_ms: float
    cpu_ms: float
    phase: str


class Loop:
    """Qt's event loop, as Slicer runs it, and how long it is blocked: the gaps between the ticks of a timer.

    Args:
        panel: whose runs are watched.
    """

    def __init__(self, panel) -> None:
        from slicer_shell.pyside import QtCore

        self.gaps: list[Gap] = []
        self._panel = panel
        self._last = 0.0, 0.0
        self._loop = QtCore.QEventLoop()
        self._timer = QtCore.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)

    def run(self) -> None:
        """One run, from the click to its end."""
        self.gaps.clear()
        self._last = time.perf_counter(), time.thread_time()
        self._timer.start()
        self._panel.ui.segmentButton.click()
        self._loop.exec()
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        wall, cpu = (1000 * (end - begin) for begin, end in zip(self._last, now))
        self.gaps.append(Gap(wall, cpu, self._panel.ui.phaseLabel.text))
        self._last = now
        if not self._panel.running:
            self._loop.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ct", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}\n")
    print(
        "| attention | hlfd segment | click to result | more | CPU: hlfd segment | click to result (Slicer) | ratio |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    gaps: list[Gap] = []
    with warm_panel(arguments.ct) as panel:
        loop = Loop(panel)
        panel.parameters.attention = False
        in_panel(panel, loop)
        for attention in (False, True):
            panel.parameters.attention = attention
            costs = []
            for _ in range(arguments.repeats):
                costs.append((by_command_line(arguments.ct, attention), in_panel(panel, loop)))
                gaps += loop.gaps
            told, shown = map(median, zip(*costs))
            print(
                f"| {'yes' if attention else 'no'} | {told.wall:.1f} s | {shown.wall:.1f} s "
                f"| {shown.wall - told.wall:+.1f} s | {told.cpu:.1f} s | {shown.cpu:.1f} s ({shown.slicer:.1f} s) "
                f"| {shown.cpu / told.cpu:.2f} |",
                flush=True,
            )
    print(f"\n| event loop blocked ({len(gaps)} ticks) | of it own CPU | while |\n|---|---|---|")
    for gap in sorted(gaps, key=lambda gap: -gap.wall_ms)[:SLOWEST]:
        print(f"| {gap.wall_ms:.0f} ms | {gap.cpu_ms:.0f} ms | {gap.phase} |")
    print("\n| most own CPU without a tick | of so long | while |\n|---|---|---|")
    for gap in sorted(gaps, key=lambda gap: -gap.cpu_ms)[:SLOWEST]:
        print(f"| {gap.cpu_ms:.0f} ms | {gap.wall_ms:.0f} ms | {gap.phase} |")


@contextmanager
def warm_panel(ct: Path) -> Iterator:
    """The panel with the CT and a worker that has started."""
    require_shell()
    import SimpleITK as sitk
    import slicer
    from slicer_cases import add_volume
    from slicer_panel_cases import MODULE_FILE, Panel
    from slicer_shell.modules import load_module_file
    from slicer_shell.packaging_stand_ins import packages

    with packages.in_place():
        module = load_module_file(MODULE_FILE)
        add_volume(sitk.ReadImage(str(ct)), "CT")
        yield Panel(slicer, module)
        slicer.modules.HLFDSegmentationWidget.cleanup()


def in_panel(panel, loop: Loop) -> Cost:
    """One run, from the click until the panel shows the result."""
    results = len(panel.results())
    slicer, everything, wall = cpu_of(psutil.Process()), cpu_of_all(), time.perf_counter()
    loop.run()
    cost = Cost(time.perf_counter() - wall, cpu_of_all() - everything, cpu_of(psutil.Process()) - slicer)
    if len(panel.results()) == results:
        sys.exit(f"the run failed: {panel.message}")
    panel.slicer.mrmlScene.RemoveNode(panel.results()[-1].node)
    return cost


def by_command_line(ct: Path, attention: bool) -> Cost:
    """One run of `hlfd segment`, without what it imports."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["segment", str(ct), "-o", f"{folder}/result", *["--attention"] * attention]
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND_LINE, *options],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    return Cost(*json.loads(ended.stdout.decode().rpartition("COST")[2]))


def cpu_of_all() -> float:
    """CPU seconds of this process and of those that it started and that are still there."""
    return sum(map(cpu_of, [psutil.Process(), *psutil.Process().children(recursive=True)]))


def cpu_of(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, what) for cost in costs) for what in ("wall", "cpu", "slicer")))


if __name__ == "__main__":
    main()
