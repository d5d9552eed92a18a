"""Reads the events of a training run while the trainer writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

READ_AT_ONCE = 4_000_000
LAST_BYTES = 65_536

Event = dict[str, Any]
"""What a trainer tells; docs/training.md has the entries."""

Report = Callable[[Event], None]
"""Receives one event at a time."""


class EventFollower:
    """Gives the events that were added to a file since it was asked before.

    A line that is still being written is left for the next time. Lines that are damaged, as by a computer that went
    down, are skipped.

    Args:
        path: `events.jsonl` of a run; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def __call__(self) -> list[Event]:
        """The new events; none when the file cannot be read now."""
        try:
            with open(self.path, "rb") as stream:
                if stream.seek(0, 2) < self._offset:
                    self._offset = 0
                stream.seek(self._offset)
                content = stream.read(READ_AT_ONCE)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and len(content) == READ_AT_ONCE:
            whole = content  # no event is this long
        self._offset += len(whole)
        return _events_in(whole)


def all_events(path: Path) -> list[Event]:
    """Every whole event of a file."""
    follow = EventFollower(path)
    events: list[Event] = []
    while new := follow():
        events += new
    return events


def epochs_done(events: Iterable[Event]) -> dict[str, int]:
    """How many epochs each stage has behind it by its last event; an event may be lost, and a stage begin anew."""
    return {event["stage"]: event["epoch"] for event in events if event["event"] == "epoch"}


def last_event(path: Path) -> Event | None:
    """The last whole event of a file; none where there is none."""
    events = last_events(path)
    return events[-1] if events else None


def last_events(path: Path) -> list[Event]:
    """Whole events at the end of a file, as many as `LAST_BYTES` hold: fast, however long the file is."""
    return _events_in(end_of(path, LAST_BYTES))


def end_of(path: Path, count: int) -> bytes:
    """The last bytes of a file, so many at most; none where it cannot be read now."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - count))
            return stream.read()
    except OSError:
        return b""


def event_of(line: str) -> dict[str, Any]:
    """The event, or another JSON object, that a line is; empty for all other lines."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _events_in(content: bytes) -> list[Event]:
    lines = content.decode("utf-8", errors="replace").split("\n")
    return [event for line in lines if (event := _event_in(line)) is not None]


def _event_in(line: str) -> Event | None:
    """The event of a line. A trainer that was killed leaves half an event, and the next one goes on in its line."""
    start = line.find("{")
    while start >= 0:
        try:
            event = json.loads(line[start:])
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            return event
        start = line.find("{", start + 1)
    return None
