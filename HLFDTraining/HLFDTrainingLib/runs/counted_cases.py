"""Which cases count for the figures of a label: those whose annotation shows it.

Of a label that is neither drawn nor found, Dice is 1, so that patients without a tumor would flatter a network that
never finds one. Loads nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Figures = Mapping[str, float | None]
"""`metrics.METRICS` of a label in a case, as JSON holds them: none for one without a meaning."""

ON_ALL_CASES = ("false_positive_lesions",)
"""Those that tell something of a network in a case without the label, too."""


def shows_label(figures: Figures) -> bool:
    """Whether the annotation of a case shows the label: RVD has a meaning there alone."""
    return figures["rvd"] is not None


def counted_values(metric: str, of_cases: Iterable[Figures]) -> list[float]:
    """The values of a metric in the cases that count for it, where they are known."""
    counted = [figures for figures in of_cases if metric in ON_ALL_CASES or shows_label(figures)]
    return [value for figures in counted if (value := figures[metric]) is not None]
