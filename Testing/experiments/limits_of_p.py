"""What p in the tables of docs/experiments.md does not tell, by the figures that are kept there.

    python Testing/experiments/limits_of_p.py docs

It tells what other patients would change. This prints how often the same test takes two seeds of one method for two
methods, and what is left of the differences once p is adjusted for all tables together, in place of each by itself.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from experiments_results import RESULTS, Result, kept_file, of_rows, read_kept
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.records import Record
from HLFDTrainingLib.compare.statistics import adjusted, by_seed, difference
from HLFDTrainingLib.compare.summary import TableRow, summarize_records
from HLFDTrainingLib.compare.wording import SIGNIFICANT


def seed_differences(cases: Sequence[Record]) -> Iterator[float]:
    """The p of each label, student, method and pair of its seeds."""
    patients = {one.case: one.patient for one in cases}
    groups = defaultdict(list)
    for one in cases:
        if one.method != TEACHER:
            groups[one.label, one.student, one.method].append(one)
    for group in groups.values():
        values = by_seed(group, "dice")
        for first, second in combinations(sorted(values), 2):
            yield difference({0: values[first]}, {0: values[second]}, patients).p


def _tell_seeds(cases: Mapping[str, Sequence[Record]]) -> None:
    told = {name: list(seed_differences(found)) for name, found in cases.items()}
    told["all"] = [p for found in told.values() for p in found]
    for name, found in told.items():
        if found:
            print(f"{name}: {sum(p < SIGNIFICANT for p in found)} of {len(found)} pairs of seeds have a p below 0.05")


def _tell_all_tables(tables: Mapping[str, Sequence[TableRow]]) -> None:
    rows = [(name, row, row.difference) for name, table in tables.items() for row in table if row.difference]
    over_all = adjusted([found.p for _, _, found in rows])
    for (name, row, found), p in zip(rows, over_all, strict=True):
        if found.adjusted_p < SIGNIFICANT:
            print(
                f"{name}, {row.label}, {row.student}, {row.method}: {found.mean:+.3f}, {found.seeds} seeds, "
                f"adjusted p {found.adjusted_p:.3f}, and {p:.3f} of all {len(rows)} differences"
            )


def _read(result: Result, docs: Path) -> Sequence[Record]:
    return of_rows(read_kept(kept_file(result.kept, docs))[1], result.rows).cases


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    docs = parser.parse_args().docs
    cases = {name: _read(result, docs) for name, result in RESULTS.items()}
    _tell_seeds(cases)
    # That at 128 pixels shows a part of the ablation's rows again.
    tables = {name: found for name, found in cases.items() if name != "painted_kidney_volumes_128"}
    _tell_all_tables({name: summarize_records(found, ["dice"]) for name, found in tables.items()})


if __name__ == "__main__":
    main()
