"""What docs/experiments.md tells of folds, of other trainings and of tumors, by the figures that are kept there.

    python Testing/experiments/kept_differences.py docs

Prints, in points of Dice, the differences to the student alone in each fold of the experiments that have folds; how
much HLFD's difference changes from an experiment to the same with more steps, and to its repeat with as many, over the
cases that both have; its mean over an experiment and its repeat, and how much changes between these in a fold; how far
the students are from their teacher; and how little of the tumors is found without distillation. Experiments without
kept figures are left out.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from experiments import STUDENT
from experiments_results import RESULTS, comparisons, kept_file, read_shown
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.records import Record, read_records
from HLFDTrainingLib.compare.rows import BASELINE
from HLFDTrainingLib.compare.statistics import BySeed, Difference, by_seed, case_means, difference
from HLFDTrainingLib.compare.wording import p_text

LONGER = (
    ("liver_slices", "longer_training"),
    ("repeated_liver_slices", "longer_training"),
    ("painted_liver_lesions", "longer_painted_lesions"),
    ("repeated_painted_lesions", "longer_painted_lesions"),
    ("kidney_slices", "longer_kidney_slices"),
)
REPEATED = (
    ("liver_slices", "repeated_liver_slices"),
    ("painted_liver_lesions", "repeated_painted_lesions"),
    ("longer_kidney_slices", "repeated_kidney_slices"),
)
TUMORS = ("liver tumor", "kidney tumor")
LITTLE = 0.1


def records_by_fold(kept: Path) -> list[list[Record]]:
    """The figures of each comparison of an experiment; more than one where it has folds."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        with zipfile.ZipFile(kept) as archive:
            archive.extractall(folder)
        return [read_records([one]).cases for one in comparisons(Path(folder))]


def dice(records: Iterable[Record], label: str, method: str) -> BySeed:
    """The Dice of a method with the student of the experiments."""
    return by_seed([one for one in records if (one.label, one.method) == (label, method)], "dice")


def _labels(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(one.label for one in records))


def tell_folds(name: str, folds: Sequence[Sequence[Record]]) -> Iterator[str]:
    """For each label and method, the difference in each fold."""
    for label in _labels(folds[0]):
        for method in dict.fromkeys(one.method for one in folds[0]):
            if method not in (TEACHER, BASELINE):
                found = [_to_student_alone(one, label, method).mean for one in folds]
                yield f"{name}, {label}, {method}, by fold: {', '.join(f'{100 * mean:+.1f}' for mean in found)}"


def _to_student_alone(records: Sequence[Record], label: str, method: str) -> Difference:
    patients = {one.case: one.patient for one in records}
    return difference(dice(records, label, method), dice(records, label, BASELINE), patients)


def tell_other(names: tuple[str, str], first: Sequence[Record], other: Sequence[Record]) -> Iterator[str]:
    """For each label, how HLFD's difference in another training differs from that in the first."""
    patients = {one.case: one.patient for one in (*first, *other)}
    for label in _labels(first):
        before, after = ({0: _differences(records, label)} for records in (first, other))
        yield f"{names[1]} less {names[0]}, {label}, hlfd: {in_points(difference(after, before, patients))}"


def in_points(found: Difference) -> str:
    """A difference in points of Dice, with its standard error and p."""
    return f"{100 * found.mean:+.1f} ± {100 * found.standard_error:.1f}, p {p_text(found.p)}"


def tell_repeated(names: tuple[str, str], first: Sequence[Record], second: Sequence[Record]) -> Iterator[str]:
    """For each label, HLFD's difference as the mean of two trainings of everything, teachers included."""
    patients = {one.case: one.patient for one in first}
    for label in _labels(first):
        one, other = (_differences(records, label) for records in (first, second))
        both = {case: (one[case] + other[case]) / 2 for case in one.keys() & other.keys()}
        found = difference({0: both}, {0: dict.fromkeys(both, 0.0)}, patients)
        yield f"{names[0]} and {names[1]}, {label}, hlfd: {in_points(found)}"


def tell_changes(
    names: tuple[str, str], first: Sequence[Sequence[Record]], second: Sequence[Sequence[Record]]
) -> Iterator[str]:
    """For each label, how much another training of everything changes, where there are folds in one at most."""
    where = ", in a fold" if len(first) > 1 else ""
    for label in _labels(first[0]):
        alone, hlfd = 100 * np.abs(_of_folds(second, label) - _of_folds(first, label)).max(axis=0)
        yield (
            f"{names[0]} to {names[1]}, {label}{where}: the student alone changes by up to {alone:.1f}, "
            f"hlfd's difference by up to {hlfd:.1f}"
        )


def _of_folds(folds: Iterable[Sequence[Record]], label: str) -> np.ndarray:
    """In each fold, the mean Dice of the student alone, and HLFD's difference to it."""
    return np.array(
        [
            (
                np.mean(list(case_means(dice(fold, label, BASELINE)).values())),
                _to_student_alone(fold, label, "hlfd").mean,
            )
            for fold in folds
        ]
    )


def tell_teacher(name: str, records: Sequence[Record]) -> Iterator[str]:
    """For each label, how far the students are from the teacher, alone and taught by KD and HLFD."""
    patients = {one.case: one.patient for one in records}
    methods = [method for method in (BASELINE, "kd", "hlfd") if any(one.method == method for one in records)]
    for label in _labels(records):
        teacher = {0: case_means(dice(records, label, TEACHER))}
        for method in methods:
            student = {0: case_means(dice(records, label, method))}
            yield f"{name}, {label}, {method} less teacher: {in_points(difference(student, teacher, patients))}"


def _differences(records: Sequence[Record], label: str) -> dict[str, float]:
    alone = dice(records, label, BASELINE)
    found: BySeed = {
        seed: {case: value - alone[seed][case] for case, value in cases.items()}
        for seed, cases in dice(records, label, "hlfd").items()
    }
    return case_means(found)


def tell_tumors(name: str, records: Sequence[Record]) -> Iterator[str]:
    """How well the student alone finds tumors, in the test cases that have one."""
    shown = [one for one in records if not math.isnan(one.values["lesion_sensitivity"])]
    for label in TUMORS:
        found = np.array(list(case_means(dice(shown, label, BASELINE)).values()))
        if len(found):
            error = _to_student_alone(records, label, "hlfd").standard_error
            yield (
                f"{name}, {label}, student alone: {len(found)} cases, median Dice {np.median(found):.2f}, below "
                f"{LITTLE} in {(found < LITTLE).mean():.0%}; standard error of HLFD's difference {100 * error:.1f}"
            )


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    docs = parser.parse_args().docs
    kept = {name: result for name, result in RESULTS.items() if kept_file(result.kept, docs).is_file()}
    folds = {name: records_by_fold(kept_file(result.kept, docs)) for name, result in kept.items()}
    for name, of_folds in folds.items():
        if len(of_folds) > 1:
            print(*tell_folds(name, of_folds), sep="\n")
    read_all = {name: read_shown(result, docs).cases for name, result in kept.items()}
    cases = {name: [one for one in records if one.student == STUDENT] for name, records in read_all.items()}
    for names in (*LONGER, *REPEATED):
        if set(names) <= cases.keys():
            print(*tell_other(names, *(cases[name] for name in names)), sep="\n")
    for names in REPEATED:
        if set(names) <= cases.keys():
            print(*tell_repeated(names, *(cases[name] for name in names)), sep="\n")
            print(*tell_changes(names, *(folds[name] for name in names)), sep="\n")
    for name, records in cases.items():
        taught_by = [one for one in read_all[name] if one.method == TEACHER]
        print(*tell_teacher(name, [*records, *taught_by]), sep="\n")
        print(*(f"{line}\n" for line in tell_tumors(name, records)), sep="", end="")


if __name__ == "__main__":
    main()
