"""The chart of what tuning HLFD gained on painted kidney tumors; experiments_results.py writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from experiments import SEEDS, STUDENT
from HLFDTrainingLib.compare.charts import DASHES, FIRST_COLOR, OTHER_COLORS, QUIET, Charts, Series, line_chart
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.records import Record
from HLFDTrainingLib.compare.rows import BASELINE
from HLFDTrainingLib.compare.statistics import BySeed, by_seed, case_means, difference
from HLFDTrainingLib.metrics import NAN

LABEL = "kidney tumor"
TUNED = {
    "beta": {0.3: "hlfd:beta=0.3", 0.9: "hlfd", 2.7: "hlfd:beta=2.7", 9: "hlfd:beta=9"},
    "lambda": {0.01: "hlfd:lambda_=0.01", 0.1: "hlfd", 0.3: "hlfd:lambda_=0.3", 1: "hlfd:lambda_=1"},
    "temperature": {1: "hlfd:temperature=1", 2: "hlfd:temperature=2", 4: "hlfd", 8: "hlfd:temperature=8"},
}


def tuning_charts(records: Sequence[Record]) -> Charts:
    """For each option HLFD's Dice by its value, beside those of the teacher and of each seed of the student alone.

    The standard error is that of the difference to the student alone with the same seed. Rows that were not run are
    left out.
    """
    of_label = [one for one in records if one.label == LABEL and (one.student == STUDENT or one.method == TEACHER)]
    dice = {
        method: by_seed([one for one in of_label if one.method == method], "dice")
        for method in (TEACHER, BASELINE, *(method for values in TUNED.values() for method in values.values()))
    }
    patients = {one.case: one.patient for one in of_label}
    return [_chart(option, methods, dice, patients) for option, methods in TUNED.items()]


def _chart(
    option: str, methods: Mapping[float, str], dice: Mapping[str, BySeed], patients: Mapping[str, str]
) -> Element:
    places = {value: math.log(value) for value, method in methods.items() if dice[method]}
    alone = dice[BASELINE]
    curve, errors = [], []
    for value, place in places.items():
        own = {SEEDS[0]: dice[methods[value]][SEEDS[0]]}
        mean, error = _mean(own), difference(own, alone, patients).standard_error
        curve.append((place, mean))
        errors += [(place, mean - error), (place, mean + error), (place, NAN)]
    ends = min(places.values()), max(places.values())
    series = [
        Series("hlfd", curve, FIRST_COLOR),
        Series("± standard error", errors, FIRST_COLOR, DASHES[2]),
        Series(TEACHER, [(x, _mean(dice[TEACHER])) for x in ends], OTHER_COLORS[0]),
        *(
            Series(f"{BASELINE}, seed {seed}", [(x, _mean({seed: alone[seed]})) for x in ends], QUIET, dashes)
            for seed, dashes in zip(sorted(alone), DASHES)
        ),
    ]
    ticks = [(place, f"{value:g}") for value, place in places.items()]
    return line_chart(f"Dice of {LABEL} by {option}", series, ticks)


def _mean(values: BySeed) -> float:
    means = case_means(values).values()
    return sum(means) / len(means)
