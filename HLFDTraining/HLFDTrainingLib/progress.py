"""Progress for a person at a terminal, or as one JSON object a line for a program."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import TextIO

from .runs.event_sentences import SENTENCES
from .runs.run_events import Event


class ProgressBar:
    """Shows a phase and the share of it that is done: a moving line on a terminal, a line a phase elsewhere."""

    WIDTH = 30

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.moving = self.stream.isatty()
        self.phase = ""
        self.started = time.monotonic()

    def __call__(self, phase: str, share: float) -> None:
        """Takes the phase and its share, 0 to 1."""
        if phase != self.phase:
            self.close()
            self.phase, self.started = phase, time.monotonic()
            if not self.moving:
                print(f"{phase} ...", file=self.stream, flush=True)
        if self.moving:
            filled = round(share * self.WIDTH)
            bar = "#" * filled + "." * (self.WIDTH - filled)
            passed = time.monotonic() - self.started
            # Before that nobody can tell.
            left = f"{passed * (1 - share) / share:5.0f} s left" if share > 0 and passed >= 1 else " " * 12
            print(f"\r{self.phase:<12} [{bar}] {share:4.0%} {left} ", end="", file=self.stream, flush=True)

    def close(self) -> None:
        """Ends the line of the current phase."""
        if self.moving and self.phase:
            print(file=self.stream, flush=True)
        self.phase = ""


def json_lines(event: Event) -> None:
    """Prints an event as one line of JSON (docs/training.md has the schema)."""
    print(json.dumps(event), flush=True)


class TrainingProgress:
    """Shows training events at a terminal. What `error` tells is left to the command, which ends with it.

    Where the terminal is closed, the training goes on, or stops with a checkpoint, without it.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.bar = ProgressBar(stream)

    def __call__(self, event: Event) -> None:
        """Takes one event; docs/training.md has its entries."""
        with suppress(OSError):
            self._show(event)

    def _show(self, event: Event) -> None:
        kind = event["event"]
        if kind == "step":
            self.bar(f"{event['stage']} {event['epoch']}/{event['epochs']}", event["step"] / event["steps"])
        elif kind == "reading":
            self.bar("reading", event["done"] / max(1, event["of"]))
        else:
            self.bar.close()
            if kind == "stopped":
                print(f"Stopped. To go on: {event['resume']}", flush=True)
            elif kind in SENTENCES:
                print(SENTENCES[kind](event), flush=True)
