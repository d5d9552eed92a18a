"""The course of each stage of a run, as curves. Loads nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .run_events import Event

NAN = math.nan


@dataclass
class StageCurves:
    """The course of one stage.

    Attributes:
        planned: how many epochs it has.
        epochs: those that are done, in their order.
        terms: mean of each term of the loss, an entry an epoch; NaN where there was none.
        dice: validation Dice of each label, an entry an epoch; NaN where it could not be measured.
        best: validation Dice of each label in the epoch that is kept; labels that could not be measured are left out.
        seconds: spent so far.
    """

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
    return {stage: _curves(epochs) for stage, epochs in epochs_of(events).items()}


def epochs_of(events: Iterable[Event]) -> dict[str, list[Event]]:
    """The epochs that each stage's network has behind it, in their order.

    Where an epoch was repeated after a crash, or a stage was begun anew, what came before from that epoch on is left
    out: another network has learned it.

    Raises KeyError or TypeError where events are damaged.
    """
    by_stage: dict[str, list[Event]] = {}
    for event in events:
        if event["event"] == "epoch":
            epochs = by_stage.setdefault(event["stage"], [])
            while epochs and epochs[-1]["epoch"] >= event["epoch"]:
                epochs.pop()
            epochs.append(event)
    return by_stage


def _curves(events: Sequence[Event]) -> StageCurves:
    best = next((event for event in events if event["epoch"] == events[-1]["best_epoch"]), events[-1])
    return StageCurves(
        planned=events[-1]["epochs"],
        epochs=[event["epoch"] for event in events],
        terms=_columns([event["terms"] for event in events]),
        dice=_columns([event["dice"] for event in events]),
        best={label: dice for label, dice in best["dice"].items() if dice is not None},
        seconds=sum(event["seconds"] for event in events),
    )


def _columns(rows: Sequence[dict[str, float | None]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [NAN if (value := row.get(name)) is None else value for row in rows] for name in names}
