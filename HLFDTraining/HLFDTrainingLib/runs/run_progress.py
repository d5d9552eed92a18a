"""How much of a run is done, and about how long the rest takes. Loads nothing but the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from .run_events import Event, epochs_done
from .training_curves import curves_of

EPOCHS_AVERAGED = 3


@dataclass(frozen=True)
class RunProgress:
    """Where a run is.

    Attributes:
        stage: the one that it is in; "" before the first, and "reading" while slices are read.
        epoch, epochs: the one that is going on, and how many the stage has.
        step, steps: within the epoch (within the reading); 0 where it is not known.
        fraction: of the time of all stages, 0 to 1; none where it is not known.
        seconds_left: of all stages; none where it is not known.
    """

    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    fraction: float | None = None
    seconds_left: float | None = None


def progress_of(events: Sequence[Event], step: Event | None) -> RunProgress:
    """Where a run is that is going on.

    Args:
        events: of the run so far (docs/training.md).
        step: the event of the last step.

    Raises KeyError or TypeError where events are damaged.
    """
    left = seconds_left(events, step)
    stages: list[Event] = next((event["stages"] for event in reversed(events) if event["event"] == "plan"), [])
    reading = events[-1] if events and events[-1]["event"] == "reading" else None
    done = epochs_done(events)
    current = next((stage for stage in stages if done.get(stage["stage"], 0) < stage["epochs"]), None)
    if current is None or (reading and reading["done"] < reading["of"] and step is None):
        found = reading or {"done": 0, "of": 0}
        return RunProgress("reading" if reading else "", step=found["done"], steps=found["of"])
    name, epoch = current["stage"], done.get(current["stage"], 0) + 1
    inside = step if step and (step["stage"], step["epoch"]) == (name, epoch) else None
    return RunProgress(
        name,
        epoch,
        current["epochs"],
        inside["step"] if inside else 0,
        inside["steps"] if inside else current["steps"],
        _fraction(events, stages, left, inside),
        left,
    )


def _fraction(events: Sequence[Event], stages: Sequence[Event], left: float | None, step: Event | None) -> float | None:
    if left is None:
        return None
    planned = {stage["stage"] for stage in stages}
    curves = [each for stage, each in curves_of(events).items() if stage in planned]
    spent = sum(each.seconds for each in curves)
    if step:
        spent += step.get("seconds", 0.0)
    return spent / (spent + left) if spent + left > 0 else None


def seconds_left(events: Sequence[Event], step: Event | None = None) -> float | None:
    """About how long the rest of a run takes, or none where nothing is known of it yet.

    An epoch of a stage that has not begun is taken to be as long as one of the stage before.

    Args:
        events: of the run so far (docs/training.md).
        step: the event of the last step, for the first epoch and for the share that is done of the present one. Those
            of older versions tell no seconds: their first epoch is not measured before its end.
    """
    stages = next((event["stages"] for event in reversed(events) if event["event"] == "plan"), None)
    if stages is None:
        return None
    measured, epochs = _seconds_of_epochs(events), epochs_done(events)
    total, seconds, known = 0.0, 0.0, False
    for stage in stages:
        name = stage["stage"]
        done = epochs.get(name, 0)
        share = _share_of_epoch(step, name, done)
        if measured.get(name):
            seconds, known = fmean(measured[name][-EPOCHS_AVERAGED:]), True
        elif step and share and "seconds" in step:
            seconds, known = step["seconds"] / share, True
        total += seconds * max(0.0, stage["epochs"] - done - share)
    return total if known else None


def _seconds_of_epochs(events: Sequence[Event]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    for event in events:
        if event["event"] == "epoch":
            seconds.setdefault(event["stage"], []).append(event["seconds"])
    return seconds


def _share_of_epoch(step: Event | None, stage: str, done: int) -> float:
    """How many of the steps are done of the epoch after the ones that are done, 0 to 1; 0 where it is not known."""
    if step is None or step.get("stage") != stage or step.get("epoch") != done + 1:
        return 0.0
    return step["step"] / step["steps"]
