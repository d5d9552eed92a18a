"""What a person reads of the events of a training, at a terminal and in the log of a run."""

from __future__ import annotations

import json
from collections.abc import Callable

from .run_events import Event


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
    tell = _IN_LOG.get(event["event"])
    return tell(event) if tell else None


def _stages(event: Event) -> str:
    epochs = ", ".join(f"{stage['stage']} {stage['epochs']}" for stage in event["stages"])
    unusable = f"\n{event['unusable']}" if event["unusable"] else ""
    return f"epochs: {epochs}; on {event['device_title']}, in {event['precision']}{unusable}"


def _epoch(event: Event) -> str:
    loss = sum(event["terms"].values())
    return f"{event['stage']}: epoch {event['epoch']} of {event['epochs']}, loss {loss:.4f}, {_dice(event['dice'])}"


def _finished(event: Event) -> str:
    alone = event.get("undistilled")
    beside = f"\nWithout distillation, epoch {alone['best_epoch']}: {_dice(alone['validation_dice'])}" if alone else ""
    return (
        f"Finished. The student {event['student']} (method {event['method']}) is that of epoch {event['best_epoch']}, "
        f"chosen by the {event['chosen_by']}: {_dice(event['validation_dice'])}{beside}"
    )


def _dice(by_label: dict[str, float | None]) -> str:
    measured = ", ".join(f"{name} {value:.3f}" for name, value in by_label.items() if value is not None)
    return f"validation Dice {measured}" if measured else "validation Dice could not be measured"


def _measuring(event: Event) -> str:
    return "reading the cases' labels ..." if event["stage"] == "reading" else f"measuring the {event['stage']} ..."


SENTENCES: dict[str, Callable[[Event], str]] = {
    "measuring": _measuring,
    "plan": _stages,
    "epoch": _epoch,
    "finished": _finished,
}
"""Sentences of the events that a terminal and a log tell alike."""

_IN_LOG: dict[str, Callable[[Event], str]] = {
    **SENTENCES,
    "reading": lambda event: f"reading: {event['done']} of {event['of']}",
    # Whoever reads the log goes on with a button, not with the command of the event.
    "stopped": lambda event: "stopped; the state is kept",
    "error": lambda event: f"error: {event['message']}",
}
