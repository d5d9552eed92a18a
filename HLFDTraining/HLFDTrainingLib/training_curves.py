"""What the events of a run say about its course: curves of each stage, how much is done, and a log for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from .run_events import epochs_done
from .run_list import seconds_left

NAN = math.nan
Event = dict[str, Any]


@dataclass
class StageCurves:
    """The course of one stage.

    Attributes:
        stage: its name.
        planned: how many epochs it has.
        epochs: those that are done, in their order.
        terms: mean of each term of the loss, an entry an epoch; NaN where there was none.
        dice: validation Dice of each label, an entry an epoch; NaN where it could not be measured.
        best: validation Dice of each label in the epoch that is kept; labels that could not be measured are left out.
        seconds: spent so far.
    """

    stage: str
    planned: int = 0
    epochs: list[int] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    dice: dict[str, list[float]] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def curves_of(events: Iterable[Event]) -> dict[str, StageCurves]:
    """The curves of each stage that has finished an epoch, in the order of training.

    Raises KeyError or TypeError where events are damaged.
    """
    by_stage: dict[str, dict[int, Event]] = {}
    for event in events:
        if event["event"] == "epoch":
            # Where an epoch was repeated after a crash, the later one counts.
            by_stage.setdefault(event["stage"], {})[event["epoch"]] = event
    return {stage: _curves(stage, [epochs[key] for key in sorted(epochs)]) for stage, epochs in by_stage.items()}


def _curves(stage: str, events: Sequence[Event]) -> StageCurves:
    best = next((event for event in events if event["epoch"] == events[-1]["best_epoch"]), events[-1])
    return StageCurves(
        stage,
        planned=events[-1]["epochs"],
        epochs=[event["epoch"] for event in events],
        terms=_columns([event["terms"] for event in events]),
        dice=_columns([event["dice"] for event in events]),
        best={label: dice for label, dice in best["dice"].items() if dice is not None},
        seconds=sum(event.get("seconds", 0.0) for event in events),
    )


def _columns(rows: Sequence[dict[str, float | None]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [NAN if row.get(name) is None else row[name] for row in rows] for name in names}


@dataclass(frozen=True)
class Progress:
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


def progress_of(events: Sequence[Event], step: Event | None = None) -> Progress:
    """Where a run is that is going on.

    Args:
        events: of the run so far (docs/training.md).
        step: the event of the last step.

    Raises KeyError or TypeError where events are damaged.
    """
    left = seconds_left(list(events), step)
    stages = next((event["stages"] for event in reversed(events) if event["event"] == "plan"), [])
    reading = events[-1] if events and events[-1]["event"] == "reading" else None
    done = epochs_done(events)
    current = next((stage for stage in stages if done.get(stage["stage"], 0) < stage["epochs"]), None)
    if current is None or (reading and reading["done"] < reading["of"] and step is None):
        found = reading or {"done": 0, "of": 0}
        return Progress("reading" if reading else "", step=found["done"], steps=found["of"])
    name, epoch = current["stage"], done.get(current["stage"], 0) + 1
    inside = step if step and (step["stage"], step["epoch"]) == (name, epoch) else None
    return Progress(
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
        of_epoch = [each.seconds / len(each.epochs) for each in curves if each.stage == step["stage"]]
        share = step["step"] / max(1, step["steps"])
        whole = fmean(of_epoch) if of_epoch else step["seconds_left_in_epoch"] / max(1e-6, 1 - share)
        spent += share * whole if share < 1 or of_epoch else 0.0
    return spent / (spent + left) if spent + left > 0 else None


def readable_log(log: str) -> str:
    """The log of a trainer with its events as sentences; all other lines stay as they are."""
    lines = (_readable(line) for line in log.splitlines())
    return "\n".join(line for line in lines if line is not None)


def _readable(line: str) -> str | None:
    """A line of the log; none for an event that says nothing to a person."""
    try:
        event = json.loads(line)
        return _sentence(event) if isinstance(event, dict) and "event" in event else line
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


def _sentence(event: Event) -> str | None:
    kind = event["event"]
    if kind == "plan":
        return "plan: " + ", ".join(f"{stage['stage']} {stage['epochs']} epochs" for stage in event["stages"])
    if kind == "reading":
        return f"reading slices: {event['done']} of {event['of']}"
    if kind == "epoch":
        loss = sum(event["terms"].values())
        dice = ", ".join(
            f"{label} {'-' if value is None else f'{value:.3f}'}" for label, value in event["dice"].items()
        )
        return f"{event['stage']} {event['epoch']}/{event['epochs']}: loss {loss:.4f}; validation Dice {dice}"
    if kind == "finished":
        dice = ", ".join(
            f"{label} {value:.3f}" for label, value in event["validation_dice"].items() if value is not None
        )
        return f"finished: epoch {event['best_epoch']} of the student is the best; validation Dice {dice}"
    if kind == "error":
        return f"error: {event['message']}"
    return {"stopped": "stopped; the state is kept"}.get(kind)
