"""How far a job is as a whole, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..phases import EXPLAINING, LOADING, MEASURING, SEGMENTING, WRITING

WEIGHTS = {LOADING: 0.1, SEGMENTING: 1.0, EXPLAINING: 1.0, MEASURING: 0.1, WRITING: 0.1}
"""How long each phase takes compared with segmenting, before any has been seen."""

FIRST_SECONDS, FIRST_SHARE = 1.0, 0.02
"""Nothing is foretold from less."""


class Forecast:
    """Learns from each job, for the next one, how long its phases take.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._weights = dict(WEIGHTS)

    def begin(self, phases: Sequence[str]) -> None:
        """A job begins that goes through these phases in this order."""
        self._phases = phases
        self._begun = self._clock()
        self._ends: dict[str, float] = {}
        self._told = 0.0

    def update(self, phase: str, share: float) -> tuple[float, float | None]:
        """A share (0 to 1) of a phase is done: gives the share of the whole job, and the seconds left where known."""
        now = self._clock()
        self._ends[phase] = now
        weights = [self._weights[one] for one in self._phases]
        place = self._phases.index(phase)
        done = (sum(weights[:place]) + share * weights[place]) / sum(weights)
        self._told = max(self._told, done)
        elapsed = now - self._begun
        if elapsed < FIRST_SECONDS or self._told < FIRST_SHARE:
            return self._told, None
        return self._told, elapsed * (1 - self._told) / self._told

    def end(self) -> None:
        """The job came to its end."""
        begins = [self._begun, *self._ends.values()]
        seconds = {phase: end - begin for begin, (phase, end) in zip(begins, self._ends.items())}
        if seconds.get(SEGMENTING, 0) > 0:
            self._weights |= {phase: spent / seconds[SEGMENTING] for phase, spent in seconds.items()}
