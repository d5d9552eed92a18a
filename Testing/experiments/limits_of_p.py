"""What p in the tables of docs/experiments.md does not tell, by the figures that are kept there.

    python Testing/experiments/limits_of_p.py docs

It tells what other patients would change. This prints how often the same test takes two seeds of one method for two
methods, by Dice and by focus; in how many of the layers whose focus has a low p all seeds have the same sign, and how
many of the arrows that this gives the tables the median over the cases, in place of the patients, gave otherwise; what
is left of the differences once p is adjusted for all tables together, in place of each by itself; what is left of those
of one seed beside the lowest seed of the student alone; and how often intervals of few patients hold the mean.
Experiments without kept figures are left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from experiments import SEEDS, STUDENT
from experiments_results import RESULTS, kept_file, kept_tables, read_kept, read_shown
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.measuring import FOCUS_FIGURES
from HLFDTrainingLib.compare.records import Record
from HLFDTrainingLib.compare.rows import BASELINE
from HLFDTrainingLib.compare.statistics import BySeed, adjusted, by_seed, case_means, difference, spread
from HLFDTrainingLib.compare.summary import TableRow
from HLFDTrainingLib.compare.wording import SIGNIFICANT
from kept_differences import in_points

MOST_SEEDS = 3
FEW_PATIENTS, SAMPLES = 10, 200


def _by_place(records: Sequence[Record], figure: str) -> dict[tuple[str, str, str], dict[str, BySeed]]:
    """A figure by label, layer (of focus) and student, of each method."""
    groups = defaultdict(lambda: defaultdict(list))
    for one in records:
        groups[one.label, one.layer, one.student][one.method].append(one)
    return {
        place: {method: by_seed(group, figure) for method, group in of_place.items()}
        for place, of_place in groups.items()
    }


def seed_differences(records: Sequence[Record], figure: str) -> Iterator[float]:
    """The p of each label, layer, student, method and pair of its seeds."""
    patients = {one.case: one.patient for one in records}
    students = (
        values
        for of_place in _by_place(records, figure).values()
        for method, values in of_place.items()
        if method != TEACHER
    )
    for values in students:
        for first, second in combinations(sorted(values), 2):
            yield difference({0: values[first]}, {0: values[second]}, patients).p


def _tell_seeds(title: str, records: Mapping[str, Sequence[Record]], figure: str) -> None:
    told = {name: list(seed_differences(found, figure)) for name, found in records.items()}
    told["all"] = [p for found in told.values() for p in found]
    for name, found in told.items():
        if found:
            low = sum(p < SIGNIFICANT for p in found)
            print(f"{title}, {name}: {low} of {len(found)} pairs of seeds have a p below 0.05 ({low / len(found):.0%})")


def _tell_agreement(tables: Mapping[str, Sequence[TableRow]]) -> None:
    found = [row.difference for table in tables.values() for row in table if row.difference]
    low = [one for one in found if one.seeds == MOST_SEEDS and one.adjusted_p < SIGNIFICANT]
    agreeing = sum(one.seeds_agree for one in low)
    print(
        f"focus: of {len(low)} differences of three seeds with an adjusted p below 0.05, all seeds agree in {agreeing}"
    )


def _tell_all_tables(tables: Mapping[str, Sequence[TableRow]]) -> None:
    rows = [(name, row, row.difference) for name, table in tables.items() for row in table if row.difference]
    over_all = adjusted([found.p for _, _, found in rows])
    for (name, row, found), p in zip(rows, over_all, strict=True):
        if found.adjusted_p < SIGNIFICANT:
            print(
                f"{name}, {row.label}, {row.student}, {row.method}: {found.mean:+.3f}, {found.seeds} seeds, "
                f"adjusted p {found.adjusted_p:.3f}, and {p:.3f} of all {len(rows)} differences"
            )


def _tell_arrows(records: Mapping[str, Sequence[Record]], tables: Mapping[str, Sequence[TableRow]]) -> None:
    """Of the arrows of focus in the tables, and of those that there were when each case counted for itself."""
    now, before = set(), set()
    for name, table in tables.items():
        focus = _by_place(records[name], FOCUS_FIGURES[0])
        cases = {one.case: one.case for one in records[name]}
        for row in _low(table):
            of_place = focus[row.label, row.layer, row.student]
            of_cases = difference(of_place[row.method], of_place[BASELINE], cases)
            for found, arrows in ((row.difference, now), (of_cases, before)):
                if found.seeds_agree:
                    arrows.add((name, row.label, row.layer, row.title, found.median > 0))
    print(
        f"focus: {len(now)} arrows in the tables; by the median over the cases {len(before)}, {len(before - now)} of "
        f"them others, and {len(now - before)} of those now missing"
    )


def _low(table: Sequence[TableRow]) -> list[TableRow]:
    return [row for row in table if row.difference and row.difference.adjusted_p < SIGNIFICANT]


def _tell_other_seed(name: str, table: Sequence[TableRow], records: Sequence[Record]) -> None:
    """Differences of one seed with a low p, and that seed alone, beside the student alone of the lowest seed."""
    patients = {one.case: one.patient for one in records}
    low = [row for row in _low(table) if len(row.seeds) == 1]
    for place, of_place in _by_place(records, "dice").items():
        methods = [row.method for row in low if (row.label, row.layer, row.student) == place]
        alone = of_place.get(BASELINE, {})
        for method in (BASELINE, *methods) if methods and len(alone) > 1 else ():
            lowest = min(alone, key=lambda seed: np.mean(list(alone[seed].values())))
            found = difference({0: of_place[method][SEEDS[0]]}, {0: alone[lowest]}, patients)
            print(
                f"{name}, {place[0]}, {method} of seed {SEEDS[0]} less the student alone of seed {lowest}: "
                f"{in_points(found)}"
            )


def _tell_intervals(records: Mapping[str, Sequence[Record]]) -> None:
    """How often the interval of a few patients' mean holds that of all of the experiment, of whom they are drawn."""
    shares = [_held(of_patients) for found in records.values() for of_patients in _patients_alone(found)]
    print(
        f"intervals of {FEW_PATIENTS} patients hold the mean in {100 * min(shares):.0f} to {100 * max(shares):.0f} of "
        f"100 samples, by experiment and label; the median is {100 * np.median(shares):.0f}"
    )


def _patients_alone(records: Sequence[Record]) -> Iterator[np.ndarray]:
    """For each label, the mean Dice of each patient with the student alone."""
    patient_of = {one.case: one.patient for one in records}
    for (*_, student), of_place in _by_place(records, "dice").items():
        if student == STUDENT:
            patients = defaultdict(list)
            for case, dice in case_means(of_place[BASELINE]).items():
                patients[patient_of[case]].append(dice)
            yield np.array([np.mean(cases) for cases in patients.values()])


def _held(of_patients: np.ndarray) -> float:
    names = [str(number) for number in range(FEW_PATIENTS)]
    held = 0
    for sample in np.random.default_rng(0).choice(of_patients, (SAMPLES, FEW_PATIENTS)):
        found = spread({0: dict(zip(names, sample.tolist()))}, dict(zip(names, names)))
        held += found.low <= of_patients.mean() <= found.high
    return held / SAMPLES


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    docs = parser.parse_args().docs
    kept = {
        name: read_shown(result, docs) for name, result in RESULTS.items() if kept_file(result.kept, docs).is_file()
    }
    _tell_seeds("Dice", {name: found.cases for name, found in kept.items()}, "dice")
    _tell_seeds("focus", {name: found.focus for name, found in kept.items()}, FOCUS_FIGURES[0])
    _tell_arrows(
        {name: found.focus for name, found in kept.items()}, {name: kept_tables(name, docs)[1] for name in kept}
    )
    # That at 128 pixels shows a part of the ablation's rows again.
    kept.pop("painted_kidney_volumes_128", None)
    tables = {name: kept_tables(name, docs) for name in kept}
    _tell_agreement({name: focus for name, (_, focus) in tables.items()})
    _tell_all_tables({name: cases for name, (cases, _) in tables.items()})
    for name, (cases, _) in tables.items():
        _tell_other_seed(name, cases, read_kept(kept_file(RESULTS[name].kept, docs))[1].cases)
    _tell_intervals({name: found.cases for name, found in kept.items()})


if __name__ == "__main__":
    main()
