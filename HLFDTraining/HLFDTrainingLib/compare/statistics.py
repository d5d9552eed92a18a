"""Mean, spread and paired differences of a figure over cases and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import false_discovery_control, wilcoxon

from ..metrics import NAN
from .records import Record

DRAWS = 5000
"""Of the bootstrap."""

FEWEST_PATIENTS = 6
"""With fewer, no p falls below 0.05: the exact paired Wilcoxon test over n patients gives 2 / 2ⁿ at least. Intervals by
drawing so few hold the mean far less often than they say."""

BySeed = dict[int, dict[str, float]]
"""By seed and case, a figure that has a meaning there."""


@dataclass(frozen=True)
class Spread:
    """A figure of one method and student.

    Attributes:
        mean: over the cases, of each case's mean over the seeds.
        sd_cases: standard deviation (n - 1) of the cases' means.
        sd_seeds: standard deviation (n - 1) of the seeds' means over the cases that all of them have.
        low, high: 95 % interval of `mean`, by drawing patients with replacement; NaN of fewer than `FEWEST_PATIENTS`.
        cases: how many have the figure with any seed.
        fewest_cases: how many have it with the seed that has it in the fewest.
        seeds: how many have it.
    """

    mean: float
    sd_cases: float
    sd_seeds: float
    low: float
    high: float
    cases: int
    fewest_cases: int
    seeds: int


@dataclass(frozen=True)
class Difference:
    """A method minus another, as the student alone, case by case.

    Attributes:
        mean: over the cases.
        standard_error: of `mean`, from patient to patient: the cases of one, such as single slices, depend on each
            other.
        median: over the patients' means, as the test; one patient who differs much does not move it.
        p: of the two-sided Wilcoxon signed-rank test over the patients' means.
        patients, cases, seeds: those that both have.
        differing_patients: those whose mean is not 0, which alone count in the test.
        seeds_agree: whether there are several seeds, and with each alone the median has the sign of `median`.
        adjusted_p: for the number of tests in a table, see `adjusted`; NaN for a difference alone.
    """

    mean: float
    standard_error: float
    median: float
    p: float
    patients: int
    cases: int
    seeds: int
    differing_patients: int
    seeds_agree: bool
    adjusted_p: float = NAN


def by_seed(records: Iterable[Record], figure: str) -> BySeed:
    """The figure of one method and student, where it has a meaning."""
    found: BySeed = {}
    for record in records:
        if not math.isnan(record.values[figure]):
            found.setdefault(record.seed, {})[record.case] = record.values[figure]
    return found


def case_means(values: BySeed) -> dict[str, float]:
    """The mean over the seeds of each case that has the figure with any of them."""
    chosen = list(values.values())
    cases = dict.fromkeys(case for of_seed in chosen for case in of_seed)
    return {case: float(np.mean([of_seed[case] for of_seed in chosen if case in of_seed])) for case in cases}


def spread(values: BySeed, patient_of: Mapping[str, str]) -> Spread:
    """Mean and spread over cases and seeds.

    Args:
        values: of one method and student.
        patient_of: each case's patient.
    """
    means = case_means(values)
    if not means:
        return Spread(NAN, NAN, NAN, NAN, NAN, 0, 0, 0)
    low, high = _interval(means, patient_of)
    return Spread(
        mean=float(np.mean(list(means.values()))),
        sd_cases=_deviation(list(means.values())),
        sd_seeds=_seeds_deviation(values),
        low=low,
        high=high,
        cases=len(means),
        fewest_cases=min(map(len, values.values())),
        seeds=len(values),
    )


def difference(values: BySeed, base: BySeed, patient_of: Mapping[str, str]) -> Difference:
    """How much higher the figure is than that of the baseline, over the seeds and cases that both have."""
    seeds = values.keys() & base.keys()
    differences = _differences(values, base)
    if not differences:
        return Difference(NAN, NAN, NAN, NAN, 0, 0, len(seeds), 0, False)
    patients = _by_patient(differences, patient_of)
    of_patients = _patient_means(patients)
    differing = of_patients[of_patients != 0]
    median = float(np.median(of_patients))
    of_seeds = [one for seed in sorted(seeds) if (one := _differences({seed: values[seed]}, base))]
    medians = [float(np.median(_patient_means(_by_patient(one, patient_of)))) for one in of_seeds]
    return Difference(
        mean=float(np.mean(list(differences.values()))),
        standard_error=_standard_error(patients),
        median=median,
        p=_signed_rank_p(differing),
        patients=len(patients),
        cases=len(differences),
        seeds=len(seeds),
        differing_patients=len(differing),
        seeds_agree=len(medians) > 1 and all(of_seed * median > 0 for of_seed in medians),
    )


def adjusted(ps: Sequence[float]) -> list[float]:
    """The p of several tests, adjusted for their number; NaN stays.

    Of the differences with an adjusted p below a bound, at most that share is expected to be chance (the false
    discovery rate: Benjamini and Hochberg 1995, Controlling the False Discovery Rate).
    """
    known = [p for p in ps if not math.isnan(p)]
    found = iter(false_discovery_control(known).tolist() if known else ())
    return [p if math.isnan(p) else next(found) for p in ps]


def _signed_rank_p(differences: np.ndarray) -> float:
    """p of the Wilcoxon test of differences other than 0, as its author drops the others (Wilcoxon 1945).

    With those that are 0, SciPy takes the normal approximation also for the few for which there is an exact test.
    """
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def mean_difference(values: BySeed, base: BySeed) -> float:
    """The mean of `difference` alone; NaN where they have nothing in common."""
    differences = _differences(values, base)
    return float(np.mean(list(differences.values()))) if differences else NAN


def _differences(values: BySeed, base: BySeed) -> dict[str, float]:
    """Case by case, the mean over the seeds with which both have the figure of it."""
    pairs = {
        seed: {case: ours - base[seed][case] for case, ours in of_seed.items() if case in base[seed]}
        for seed, of_seed in sorted(values.items())
        if seed in base
    }
    return case_means(pairs)


def _by_patient(values: Mapping[str, float], patient_of: Mapping[str, str]) -> list[list[float]]:
    patients: dict[str, list[float]] = {}
    for case, value in values.items():
        patients.setdefault(patient_of[case], []).append(value)
    return list(patients.values())


def _patient_means(patients: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([np.mean(cases) for cases in patients])


def _deviation(values: Sequence[float] | np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def _seeds_deviation(values: BySeed) -> float:
    """Over the cases of all seeds: of different ones, means differ also where the seeds do not."""
    common = [case for case in next(iter(values.values())) if all(case in of_seed for of_seed in values.values())]
    if not common:
        return NAN
    return _deviation([float(np.mean([of_seed[case] for case in common])) for of_seed in values.values()])


def _standard_error(patients: Sequence[Sequence[float]]) -> float:
    """Of the mean over all cases, where patients are drawn, and not cases: that of a ratio (Cochran, 1977, 2.11)."""
    if len(patients) < 2:
        return NAN
    sums, counts = _sums_and_counts(patients)
    residuals = sums - counts * sums.sum() / counts.sum()
    return float(np.sqrt(len(patients) / (len(patients) - 1) * np.square(residuals).sum()) / counts.sum())


def _sums_and_counts(patients: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([sum(cases) for cases in patients], float), np.array([len(cases) for cases in patients], float)


def _interval(means: Mapping[str, float], patient_of: Mapping[str, str]) -> tuple[float, float]:
    """Cases of one patient are drawn together."""
    patients = _by_patient(means, patient_of)
    if len(patients) < FEWEST_PATIENTS:
        return NAN, NAN
    sums, counts = _sums_and_counts(patients)
    drawn = _draws(len(patients))
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), (2.5, 97.5))
    return float(low), float(high)


@cache
def _draws(patients: int) -> np.ndarray:
    """(DRAWS, patients): how often each patient was drawn, of as many with replacement."""
    return np.random.default_rng(0).multinomial(patients, np.full(patients, 1 / patients), size=DRAWS).astype(float)
