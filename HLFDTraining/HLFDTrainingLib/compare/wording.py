"""How the tables of a comparison are worded, in Markdown and on the page alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..metrics import NAN
from ..plan import TrainingPlan
from .jobs import TEACHER
from .records import Record, Records
from .rows import BASELINE
from .statistics import FEWEST_PATIENTS, Difference, Spread
from .summary import TableRow

NOTHING = "–"
SIGNIFICANT = 0.05

FIGURES = (
    ("dice", "Dice", 3),
    ("slices_dice", "Dice on its slices", 3),
    ("voe", "VOE", 3),
    ("rvd", "RVD", 3),
    ("absolute_rvd", "absolute RVD", 3),
    ("hd95_mm", "HD95 mm", 1),
    ("lesion_sensitivity", "lesions found", 2),
    ("false_positive_lesions", "false lesions", 2),
    ("slices_hd95_mm", "HD95 mm on its slices", 1),
    ("slices_false_positive_lesions", "false lesions on its slices", 2),
)

BEFORE_THE_TABLES = (
    "The difference is that of the Dice to the same student without distillation (none) with the same seeds, over the "
    f"patients. Do not build on one whose adjusted p is {SIGNIFICANT:g} or more. What another training would change is "
    "told by the deviation over the seeds alone: take several. All columns are told below the tables."
)
HOW_TO_READ = (
    "Mean over the test cases (of each case's mean over the seeds) ± standard deviation over the cases; after the "
    "slash, where there are several seeds, the standard deviation over the seeds, of the cases that all of them "
    "have. The interval is of the mean Dice, by drawing patients. It is meant to hold the mean in 95 of 100 samples; "
    "with ten patients it does so in about 70 to 95, and of fewer than six there is none. The difference is that of "
    "the Dice to the same student without distillation (none) with the same seeds, ± its standard error over the "
    "patients; p is of the paired Wilcoxon test over the patients, of whom those without a difference do not count: "
    f"where fewer than six are left, their number stands in brackets, and p cannot fall below {SIGNIFICANT:g}. The "
    "adjusted p allows for the number of labels, students and methods: of the differences where it is below "
    f"{SIGNIFICANT:g}, at most one in twenty is expected to be chance in the choice of patients. None of this tells "
    "how much a student differs when it is trained again; the deviation over the seeds does, but for the teacher, "
    "which all seeds share. In folds it is mixed in: the patients of a fold share its trainings, and are counted as "
    "independent all the same. The rank is by Dice, among the methods with the same student, two of which are "
    "compared over the seeds and cases that both have, so that two may have the same one; behind is the difference "
    "to the one that is the farthest ahead, ± its standard error. Dice is 1 in a case that does not show the label "
    "where none is found, and 0 where some is; 'on its slices' leaves such cases out. Lower is better for VOE, "
    "absolute RVD, HD95 and false lesions. A number in brackets tells how many cases have a figure, where not all "
    "have, and with how many seeds; '41 to 65' that 65 have it with any seed, and 41 with the seed that has it in "
    "the fewest. There is no HD95 where nothing was found, which flatters who misses much, and a row that was not "
    "finished in every fold has the cases of some folds."
)
HOW_TO_READ_FOCUS = (
    "How many times more positive attention (Grad-CAM) the annotated region gets than if it were spread evenly over "
    "the body of each slice: mean over the cases and all seeds. A map that is even over the whole slice has less than "
    "1: the body's share of the slice. An arrow tells that it is more (↑) or less (↓) than with none, by the median of "
    "the patients' mean differences over the seeds and cases that both have: with each of several seeds alone, and "
    f"with an adjusted p below {SIGNIFICANT:g}, of the paired Wilcoxon test over the patients, and for the number of "
    "labels, layers and methods. That p does not see the seeds: in HLFD's own experiments two seeds of one method "
    f"have a p below {SIGNIFICANT:g} in 489 of 1008 pairs (49 %; of Dice in 13 %). One seed, also one in each fold, "
    "has no arrow, and three seeds agree by chance in one of four. So an arrow is a hint. A method with fewer seeds "
    "than none may have one that its mean does not show."
)


def measured_on(cases: Iterable[Record]) -> str:
    """How many test cases and patients the figures are of."""
    places = {(one.patient, one.case) for one in cases}
    patients = len({patient for patient, _ in places})
    text = f"Measured on {counted(len(places), 'test case')} of {counted(patients, 'patient')}."
    few = f" With so few patients p cannot fall below {SIGNIFICANT:g}, whatever the difference."
    return text + (few if patients < FEWEST_PATIENTS else "")


def trained_by(plans: Sequence[TrainingPlan], *, taught: bool) -> str:
    """How the networks of a comparison learned.

    Args:
        plans: of the comparison, or of each of its folds, of which only the epochs may differ.
        taught: whether there is a teacher.
    """
    plan = plans[0]
    epochs = "given" if plan.teacher_weights else _epochs(one.teacher_epochs for one in plans)
    teacher = f"Teacher {plan.teacher}, {epochs}. " if taught else ""
    return (
        f"Task '{plan.task.title}'. {teacher}Students {_epochs(one.student_epochs for one in plans)}, "
        f"{plan.batch} slices a step, learning rate {plan.learning_rate:g}, augmentation {plan.augmentation}."
    )


def differences(records: Records) -> str:
    """What a reader must know where not all networks learned with one arithmetic or by one version; else empty."""
    return _told_where_different(
        "Not all learned with the same arithmetic", records.arithmetic
    ) + _told_where_different("Not all networks were trained and measured by the same versions", records.versions)


def _told_where_different(sentence: str, by_row: Mapping[str, Collection[str]]) -> str:
    kinds = sorted(set().union(*by_row.values()))
    if len(kinds) < 2:
        return ""
    of_kinds = (f"{kind} ({', '.join(row for row, own in by_row.items() if kind in own)})" for kind in kinds)
    return f" {sentence}, by which rows may differ, too: {'; '.join(of_kinds)}."


def _epochs(numbers: Iterable[int]) -> str:
    fewest, most = min(found := list(numbers)), max(found)
    return counted(most, "epoch") if fewest == most else f"{fewest} to {most} epochs"


def counted(number: int, thing: str) -> str:
    """A number of things: "1 patient", "2 patients"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def labels_of(rows: Iterable[TableRow]) -> list[str]:
    """The labels in their order."""
    return list(dict.fromkeys(row.label for row in rows))


def figure_table(rows: Sequence[TableRow], label: str) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of a label's table; figures that have no meaning for the label are left out."""
    rows = [row for row in rows if row.label == label]
    dice, *others = FIGURES
    others = [figure for figure in others if any(row.figures[figure[0]].cases for row in rows)]
    compared = ("interval", "difference", "p", "adjusted p", "rank", "behind")
    heading = ["method", "student", "seeds", dice[1], *compared, *(title for _, title, _ in others)]
    most = max((row.figures["dice"].cases for row in rows), default=0)
    cells = []
    for row in rows:
        leading = row.figures["dice"]
        shown = [_counted(row.figures[name], digits, most, leading.seeds) for name, _, digits in (dice, *others)]
        compared_with_none = (interval_text(leading), *_compared(row, rows))
        cells.append([row.method, row.student, str(leading.seeds), shown[0], *compared_with_none, *shown[1:]])
    return heading, cells


def _counted(found: Spread, digits: int, cases: int, seeds: int) -> str:
    """The figure, and over how many cases and seeds it is where these are fewer than `cases` and `seeds`."""
    of_seeds = f"{found.fewest_cases} to " if found.fewest_cases < found.cases else ""
    counts = [f"{of_seeds}{found.cases}"] if found.fewest_cases < cases else []
    counts += [f"{found.seeds} of {seeds} seeds"] if found.seeds < seeds else []
    return spread_text(found, digits) + (f" ({', '.join(counts)})" if found.cases and counts else "")


def _compared(row: TableRow, rows: Sequence[TableRow]) -> list[str]:
    """Cells that compare a row with others of its label."""
    ps = [_tested(row.difference), p_text(row.difference.adjusted_p)] if row.difference else [NOTHING, NOTHING]
    difference = difference_text(row.difference) + _of_seeds(row.difference, row, BASELINE, rows)
    behind = difference_text(row.behind) + _of_seeds(row.behind, row, row.behind_method, rows)
    behind += f" ({row.behind_method})" if row.behind_method else ""
    return [difference, *ps, str(row.rank or NOTHING), behind]


def _of_seeds(found: Difference | None, row: TableRow, other: str, rows: Sequence[TableRow]) -> str:
    """Over how many seeds a difference is, where one of both has more: it need not be that of their means."""
    both = [one for one in rows if one.student == row.student and one.method in (row.method, other)]
    most = max((one.figures["dice"].seeds for one in both), default=0)
    return f" ({found.seeds} of {most} seeds)" if found and found.cases and found.seeds < most else ""


def _tested(found: Difference) -> str:
    """p, and of how many patients where these are too few for one below `SIGNIFICANT`."""
    few = found.cases and found.differing_patients < FEWEST_PATIENTS
    return p_text(found.p) + (f" ({counted(found.differing_patients, 'patient')})" if few else "")


def focus_table(rows: Sequence[TableRow], label: str) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of a label's focus: a line for each method and student, a column for each layer."""
    rows = [row for row in rows if row.label == label]
    layers = list(dict.fromkeys(row.layer for row in rows))
    by_line: dict[tuple[str, str], dict[str, TableRow]] = {}
    for row in rows:
        by_line.setdefault((row.method, row.student), {})[row.layer] = row
    cells = [[*line, *(_focus_text(of_layers.get(layer)) for layer in layers)] for line, of_layers in by_line.items()]
    return ["method", "student", *layers], cells


def _focus_text(row: TableRow | None) -> str:
    mean = row.figures["focus_ratio"].mean if row else NAN
    if row is None or math.isnan(mean):
        return NOTHING
    return f"{mean:.2f}{_arrow(row.difference)}"


def _arrow(found: Difference | None) -> str:
    if found is None or not found.seeds_agree or not found.adjusted_p < SIGNIFICANT:
        return ""
    return "↑" if found.median > 0 else "↓"


def cost_table(costs: dict[str, dict[str, Any]], rows: Sequence[TableRow]) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of what the networks cost, the teacher first."""
    teachers = {row.student for row in rows if row.method == TEACHER}
    names = sorted(costs, key=lambda name: (name not in teachers, name))
    of_teacher = next((costs[name]["gmacs"] for name in names if name in teachers), NAN)
    cells = [
        [
            f"{name}{' (teacher)' if name in teachers else ''}",
            f"{costs[name]['parameters'] / 1e6:.2f} M",
            f"{costs[name]['gmacs']:.2f}",
            NOTHING if math.isnan(of_teacher) else f"{of_teacher / costs[name]['gmacs']:.1f}",
            f"{costs[name]['milliseconds']:.1f} ({costs[name]['device']})",
        ]
        for name in names
    ]
    return ["network", "parameters", "GMACs", "teacher's GMACs / its", "ms a slice"], cells


def spread_text(found: Spread, digits: int) -> str:
    """Mean ± deviation over the cases / over the seeds."""
    if not found.cases:
        return NOTHING
    over_cases = "" if math.isnan(found.sd_cases) else f" ± {found.sd_cases:.{digits}f}"
    over_seeds = "" if math.isnan(found.sd_seeds) else f" / {found.sd_seeds:.{digits}f}"
    return f"{found.mean:.{digits}f}{over_cases}{over_seeds}".replace("-", "−")


def difference_text(found: Difference | None) -> str:
    """A difference ± its standard error."""
    if found is None or not found.cases:
        return NOTHING
    error = "" if math.isnan(found.standard_error) else f" ± {found.standard_error:.3f}"
    return f"{found.mean:+.3f}{error}".replace("-", "−")


def interval_text(found: Spread) -> str:
    """The interval of the mean."""
    return NOTHING if math.isnan(found.low) else f"{found.low:.3f} to {found.high:.3f}"


def p_text(p: float) -> str:
    """A probability; very small ones are not told digit by digit."""
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
