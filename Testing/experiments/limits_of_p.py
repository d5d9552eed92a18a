"""What p in the tables of docs/experiments.md does not tell, by the figures that are kept there.

    python Testing/experiments/limits_of_p.py docs

It tells what other patients would change. This prints how often the same test takes two seeds of one method for two
methods, by Dice and by focus, in how many of the layers whose focus has a low p all seeds have the same sign, and what
is left of the differences once p is adjusted for all tables together, in place of each by itself. Experiments without
kept figures are left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from experiments_results import RESULTS, kept_file, kept_tables, read_shown
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.measuring import FOCUS_FIGURES
from HLFDTrainingLib.compare.records import Record
from HLFDTrainingLib.compare.statistics import adjusted, by_seed, difference
from HLFDTrainingLib.compare.summary import TableRow
from HLFDTrainingLib.compare.wording import SIGNIFICANT

MOST_SEEDS = 3


def seed_differences(records: Sequence[Record], figure: str) -> Iterator[float]:
    """The p of each label, layer, student, method and pair of its seeds."""
    patients = {one.case: one.patient for one in records}
    groups = defaultdict(list)
    for one in records:
        if one.method != TEACHER:
            groups[one.label, one.layer, one.student, one.method].append(one)
    for group in groups.values():
        values = by_seed(group, figure)
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
    # That at 128 pixels shows a part of the ablation's rows again.
    kept.pop("painted_kidney_volumes_128", None)
    tables = {name: kept_tables(name, docs) for name in kept}
    _tell_agreement({name: focus for name, (_, focus) in tables.items()})
    _tell_all_tables({name: cases for name, (cases, _) in tables.items()})


if __name__ == "__main__":
    main()
