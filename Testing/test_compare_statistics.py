"""The tables of a comparison, against figures computed by hand."""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from generated_cases import TASK
from HLFDSegmentationLib.errors import TrainingError
from HLFDTrainingLib.compare.charts import dice_charts, focus_charts, learning_charts, write_svg
from HLFDTrainingLib.compare.label_slices import on_label_slices
from HLFDTrainingLib.compare.measuring import FOCUS_FIGURES
from HLFDTrainingLib.compare.records import CASE_FIGURES, Record, method_order, write_records
from HLFDTrainingLib.compare.rows import Row, check_rows, read_method, rows_of
from HLFDTrainingLib.compare.statistics import adjusted, difference, spread
from HLFDTrainingLib.compare.summary import summarize_records
from HLFDTrainingLib.compare.wording import figure_table, focus_table
from HLFDTrainingLib.plan import TrainingPlan

NAN = math.nan
PLAN = TrainingPlan(task=TASK, teacher="resnet18-unet")


def record(method: str, seed: int, case: str, dice: float, patient: str | None = None) -> Record:
    return Record(method, "mobilenetv2-unet", seed, patient or case, case, "liver", "", {"dice": dice})


# Statistics


def test_mean_is_over_cases_of_the_means_over_seeds():
    values = {0: {"a": 0.2, "b": 0.6}, 1: {"a": 0.4, "b": 0.6}}
    found = spread(values, {"a": "a", "b": "b"})
    assert found.mean == pytest.approx(0.45)
    assert found.sd_cases == pytest.approx(np.std([0.3, 0.6], ddof=1))
    assert found.sd_seeds == pytest.approx(np.std([0.4, 0.5], ddof=1))
    assert (found.cases, found.fewest_cases, found.seeds) == (2, 2, 2)


def test_interval_draws_the_cases_of_a_patient_together():
    values = {0: {f"{patient}{number}": float(patient in "abc") for patient in "abcdef" for number in range(50)}}
    by_patient = spread(values, {case: case[0] for case in values[0]})
    by_case = spread(values, {case: case for case in values[0]})
    assert by_patient.low < 0.2 and by_patient.high > 0.8
    assert by_case.low > 0.4 and by_case.high < 0.6


def test_few_patients_have_no_interval():
    """Drawing two of two again and again holds their mean, and hardly ever that of all patients."""
    values = {0: {f"{patient}{number}": 0.1 * number for patient in "abcdef" for number in range(9)}}
    for patients, has_one in (("abcde", False), ("abcdef", True)):
        chosen = {0: {case: value for case, value in values[0].items() if case[0] in patients}}
        assert math.isnan(spread(chosen, {case: case[0] for case in values[0]}).low) != has_one


def test_seeds_without_some_cases_do_not_deviate_by_that():
    """One seed was not trained in two of four folds, and the trainings are the same."""
    cases = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.8}
    patients = {case: case for case in cases}
    fewer = {case: cases[case] for case in "cd"}
    assert spread({0: cases, 1: fewer}, patients).sd_seeds == 0
    assert spread({0: cases, 1: {**fewer, "d": 0.9}}, patients).sd_seeds == pytest.approx(np.std([0.7, 0.75], ddof=1))
    assert math.isnan(spread({0: {"a": 0.2}, 1: {"b": 0.4}}, patients).sd_seeds)


def test_it_is_told_with_how_few_cases_a_seed_has_the_figure():
    found = spread({0: {"a": 0.5, "b": 0.7}, 1: {"b": 0.7}}, {"a": "a", "b": "b"})
    assert (found.cases, found.fewest_cases, found.seeds) == (2, 1, 2)


def test_figure_without_meaning_everywhere_has_no_mean():
    found = spread({}, {})
    assert math.isnan(found.mean) and found.cases == 0


def exact_p(differences: list[float]) -> float:
    """The two-sided Wilcoxon signed-rank test, by going through all signs; no differences are equal or 0."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    observed = sum(rank for rank, value in zip(ranks, differences) if value > 0)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs) if sign) for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    tails = [np.mean([one <= observed for one in sums]), np.mean([one >= observed for one in sums])]
    return min(1.0, 2 * min(tails))


def test_difference_is_paired_over_the_seeds_and_cases_that_both_have():
    base = {0: {"a": 0.50, "b": 0.40, "c": 0.30, "d": 0.20, "e": 0.1}, 1: {"a": 0.0}}
    ours = {0: {"a": 0.55, "b": 0.52, "c": 0.31, "d": 0.17, "f": 0.9}, 2: {"a": 1.0}}
    found = difference(ours, base, {case: case for case in "abcdef"})
    expected = [0.05, 0.12, 0.01, -0.03]
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.standard_error == pytest.approx(np.std(expected, ddof=1) / 2)
    assert found.p == pytest.approx(exact_p(expected))
    assert (found.patients, found.cases, found.seeds) == (4, 4, 1)


def test_a_case_without_the_figure_in_one_seed_is_paired_within_the_others():
    """There is no focus on a case on which a layer has no positive attention."""
    base = {0: {"a": 9.0, "b": 1.0}, 1: {"a": 1.0, "b": 1.0}}
    found = difference({0: {"b": 2.0}, 1: {"a": 1.5, "b": 2.0}}, base, {"a": "a", "b": "b"})
    assert found.mean == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize(("second", "agree"), [(0.2, True), (0.0, False), (-0.05, False)])
def test_seeds_agree_only_where_each_differs_the_same_way(second, agree):
    base = {seed: dict.fromkeys("abc", 0.5) for seed in (0, 1)}
    values = {0: dict.fromkeys("abc", 0.6), 1: dict.fromkeys("abc", 0.5 + second)}
    found = difference(values, base, {case: case for case in "abc"})
    assert found.median > 0 and found.seeds_agree is agree


def test_test_is_over_patients_and_not_over_their_slices():
    slices = [f"{patient}{number}" for patient in "abc" for number in range(20)]
    base = {0: dict.fromkeys(slices, 0.5)}
    ours = {0: {case: 0.5 + {"a": 0.1, "b": 0.2, "c": 0.3}[case[0]] for case in slices}}
    found = difference(ours, base, {case: case[0] for case in slices})
    assert found.p == pytest.approx(0.25)  # the smallest that three patients allow
    assert (found.patients, found.cases) == (3, 60)


def test_standard_error_is_that_of_the_mean_over_unequally_many_cases():
    """Against the mean's deviation over all ways to draw as many patients."""
    rng = np.random.default_rng(0)
    of_patients = [rng.normal(0.1, 0.1) + rng.normal(0, 0.02, count) for count in rng.integers(1, 9, 200)]
    ours = {0: {f"{n}.{m}": value for n, cases in enumerate(of_patients) for m, value in enumerate(cases)}}
    found = difference(ours, {0: dict.fromkeys(ours[0], 0.0)}, {case: case.split(".")[0] for case in ours[0]})
    drawn = [np.concatenate([of_patients[n] for n in rng.integers(0, 200, 200)]).mean() for _ in range(2000)]
    assert found.mean == pytest.approx(np.concatenate(of_patients).mean())
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.1)


def test_patients_without_a_difference_take_no_part_in_the_test():
    """Dice 1 on both sides, as where there is no tumor and none is found."""
    names = [f"p{number}" for number in range(20)]
    base = {0: dict.fromkeys(names, 1.0)}
    ours = {0: {**base[0], **{name: 1 - 0.1 * n for n, name in enumerate(names[:5], start=1)}}}
    found = difference(ours, base, {name: name for name in names})
    assert found.p == pytest.approx(2 / 2**5)
    assert (found.patients, found.differing_patients, found.mean) == (20, 5, pytest.approx(-1.5 / 20))


def test_no_difference_at_all_is_no_proof():
    values = {0: {"a": 0.5, "b": 0.6}}
    assert difference(values, values, {"a": "a", "b": "b"}).p == 1.0


def test_median_is_not_moved_by_one_case():
    base = {0: dict.fromkeys("abcde", 0.5)}
    ours = {0: {**dict.fromkeys("abcd", 0.49), "e": 0.9}}
    found = difference(ours, base, {case: case for case in "abcde"})
    assert found.mean > 0 and found.median == pytest.approx(-0.01)


def test_p_is_adjusted_for_the_number_of_tests():
    # By hand: each p times the number of tests by its rank, and no more than those after it.
    assert adjusted([0.01, NAN, 0.04, 0.03, 0.005]) == pytest.approx([0.02, NAN, 0.04, 0.04, 0.02], nan_ok=True)
    assert adjusted([0.2]) == [0.2]
    assert adjusted([]) == []


# The table


@pytest.fixture
def table():
    dice = {"none": (0.5, 0.6), "kd": (0.6, 0.8), "hlfd": (0.55, NAN)}
    records = [record(m, 0, case, value) for m, values in dice.items() for case, value in zip("ab", values)]
    records.append(Record("teacher", "resnet18-unet", 0, "a", "a", "liver", "", {"dice": 0.9}))
    return summarize_records(records, ("dice",))


def test_ranks_are_those_of_the_students(table):
    # HLFD and none are compared on the case that both have.
    assert {row.method: row.rank for row in table} == {"none": 3, "kd": 1, "hlfd": 2, "teacher": None}
    assert {row.method: row.difference is None for row in table} == {
        "none": True,
        "kd": False,
        "hlfd": False,
        "teacher": True,
    }


def test_one_lucky_seed_does_not_rank_before_three():
    """HLFD is the better one with every seed; the other method was only run with the seed that is lucky for all."""
    lucky = {0: 0.1, 1: 0.0, 2: -0.02}
    records = [record("none", seed, "a", 0.5 + luck) for seed, luck in lucky.items()]
    records += [record("hlfd", seed, "a", 0.6 + luck) for seed, luck in lucky.items()]
    records += [record("skd", 0, "a", 0.66)]
    table = {row.method: row for row in summarize_records(records, ("dice",))}
    assert table["skd"].figures["dice"].mean > table["hlfd"].figures["dice"].mean
    assert [table[method].rank for method in ("hlfd", "skd", "none")] == [1, 2, 3]
    assert table["hlfd"].behind is None
    assert table["hlfd"].behind_method == ""
    assert table["skd"].behind.mean == pytest.approx(-0.04) and table["skd"].behind.seeds == 1
    assert table["skd"].behind_method == table["none"].behind_method == "hlfd"
    assert table["none"].behind.mean == pytest.approx(-0.1) and table["none"].behind.seeds == 3


def test_case_without_the_figure_is_left_out_of_the_pairs(table):
    of_hlfd = next(row for row in table if row.method == "hlfd")
    assert of_hlfd.difference.mean == pytest.approx(0.05)
    assert of_hlfd.difference.cases == 1 and of_hlfd.figures["dice"].cases == 1


def of_patients(method: str, values: dict[str, list[float]], layer: str = "") -> list[Record]:
    """Six patients with these figures."""
    return [
        Record(
            method, "mobilenetv2-unet", 0, f"p{n}", f"p{n}", "liver", layer, {name: v[n] for name, v in values.items()}
        )
        for n in range(6)
    ]


def test_every_further_method_makes_a_p_count_for_less():
    better = {"dice": [0.51, 0.52, 0.53, 0.54, 0.55, 0.56]}
    records = of_patients("none", {"dice": [0.5] * 6}) + of_patients("hlfd", better)

    def of_hlfd(records):
        return next(row.difference for row in summarize_records(records, ("dice",)) if row.method == "hlfd")

    alone = of_hlfd(records)
    others = [
        one for method in ("kd", "at") for one in of_patients(method, {"dice": [0.49, 0.52, 0.47, 0.54, 0.45, 0.56]})
    ]
    among_three = of_hlfd(records + others)
    assert alone.adjusted_p == alone.p == among_three.p == pytest.approx(2 / 2**6)
    assert among_three.adjusted_p == pytest.approx(3 * 2 / 2**6)


def focus_line(method: str, of_seeds: dict[str, list[dict[str, list[float]]]]) -> str:
    """What a table tells of a method's focus, by method and seed."""
    records = [
        replace(one, seed=seed, values={**dict.fromkeys(FOCUS_FIGURES, 0.0), **one.values})
        for of_method, seeds in of_seeds.items()
        for seed, values in enumerate(seeds)
        for one in of_patients(of_method, values, layer="encoder1")
    ]
    _, lines = focus_table(summarize_records(records, FOCUS_FIGURES), "liver")
    return {line[0]: line[2] for line in lines}[method]


NONE = {"focus_ratio": [2.0] * 6, "focus": [0.1] * 6}
LESS = {"focus_ratio": [1.9, 1.8, 1.7, 1.6, 1.5, 1.4]}


def test_arrow_is_of_the_focus_that_is_shown():
    """More of the attention lies on the tumor, by a smaller multiple: the tumors are of different sizes."""
    less = LESS | {"focus": [0.11, 0.09, 0.11, 0.09, 0.11, 0.09]}
    assert focus_line("none", {"none": [NONE] * 2, "hlfd": [less] * 2}) == "2.00"
    assert focus_line("hlfd", {"none": [NONE] * 2, "hlfd": [less] * 2}) == "1.65↓"


def test_arrow_is_of_several_seeds_that_agree():
    """The p over the patients is the same: it does not see that another training looks elsewhere."""
    much_less = {"focus_ratio": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    more = {"focus_ratio": [2.1, 2.2, 2.3, 2.4, 2.5, 2.6]}
    assert focus_line("hlfd", {"none": [NONE], "hlfd": [LESS]}) == "1.65"
    assert focus_line("hlfd", {"none": [NONE] * 3, "hlfd": [LESS]}) == "1.65"
    assert focus_line("hlfd", {"none": [NONE] * 2, "hlfd": [much_less, more]}) == "1.35"
    assert focus_line("hlfd", {"none": [NONE] * 2, "hlfd": [much_less, LESS]}).endswith("↓")
    assert focus_line("hlfd", {"none": [NONE] * 2, "hlfd": [more] * 2}) == "2.35↑"


def test_arrow_points_as_the_patients_do_and_not_as_the_one_with_most_slices():
    more = {f"p{number}": [0.5 + 0.1 * number] for number in range(8)} | {"p8": [-0.01] * 12}
    records = [
        replace(
            record(method, seed, f"{patient}.{number}", 0.0, patient),
            layer="encoder1",
            values=dict.fromkeys(FOCUS_FIGURES, 2.0 + (gain if method == "hlfd" else 0.0)),
        )
        for method in ("none", "hlfd")
        for seed in range(2)
        for patient, gains in more.items()
        for number, gain in enumerate(gains)
    ]
    _, lines = focus_table(summarize_records(records, FOCUS_FIGURES), "liver")
    assert {line[0]: line[2] for line in lines}["hlfd"] == "2.33↑"


def test_figure_that_not_all_cases_have_tells_how_many_have_it():
    values = {"a": (0.5, 8.0), "b": (0.0, NAN)}
    records = [
        Record(
            "none", "mobilenetv2-unet", 0, case, case, "liver", "", dict.fromkeys(CASE_FIGURES, dice) | {"hd95_mm": hd}
        )
        for case, (dice, hd) in values.items()
    ]
    heading, [cells] = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    shown = dict(zip(heading, cells))
    assert shown["HD95 mm"] == "8.0 (1)" and "(" not in shown["Dice"]


def test_figure_that_one_seed_alone_has_tells_so():
    """As a distance where the other seed's student found nothing: the seed that looks good is left."""
    records = [
        replace(record("none", seed, case, 0.0), values=dict.fromkeys(CASE_FIGURES, 0.5) | {"hd95_mm": hd})
        for seed, hd in ((0, 8.0), (1, NAN))
        for case in "ab"
    ]
    heading, [cells] = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    shown = dict(zip(heading, cells))
    assert shown["HD95 mm"] == "8.0 ± 0.0 (1 of 2 seeds)" and "seeds" not in shown["Dice"]


def test_misses_of_single_seeds_are_told():
    """Each seed finds something in another third of the cases, so that every case has a distance with one of them."""
    records = [
        replace(
            record("none", seed, str(case), 0.0),
            values=dict.fromkeys(CASE_FIGURES, 0.5) | {"hd95_mm": 5.0 if case % 3 == seed else NAN},
        )
        for seed in range(3)
        for case in range(9)
    ]
    heading, [cells] = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    shown = dict(zip(heading, cells))
    assert shown["HD95 mm"] == "5.0 ± 0.0 (3 to 9)" and "(" not in shown["Dice"]


def p_of_hlfd(dice_of_none: list[float], gains: list[float]) -> str:
    """What a table tells of p where the patients gain as much; NaN is a label that was not looked for."""
    records = [
        replace(record(method, 0, f"p{number}", 0.0), values=dict.fromkeys(CASE_FIGURES, alone + gain))
        for number, (alone, some) in enumerate(zip(dice_of_none, gains))
        for method, gain in (("none", 0.0), ("hlfd", some))
    ]
    heading, cells = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    return {line[0]: line[heading.index("p")] for line in cells}["hlfd"]


def test_p_of_few_patients_tells_how_few_differ():
    """There are many, but no p can fall below 0.05."""
    five = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert p_of_hlfd([0.5] * 5 + [1.0] * 15, five + [0.0] * 15) == "0.062 (5 patients)"  # 15 without a tumor
    assert p_of_hlfd([0.5] * 4 + [NAN] * 4, five[:4] + [0.0] * 4) == "0.125 (4 patients)"  # four not annotated
    assert p_of_hlfd([0.5] * 6, [*five, 0.06]) == "0.031"


def test_row_of_fewer_cases_than_the_others_tells_how_many():
    """As where it was not finished in every fold."""
    cases = {"none": range(10), "kd": range(6, 10)}
    records = [
        replace(record(method, 0, str(case), 0.0), values=dict.fromkeys(CASE_FIGURES, 0.1 * case))
        for method, of_method in cases.items()
        for case in of_method
    ]
    heading, cells = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    shown = {line[0]: line[heading.index("Dice")] for line in cells}
    assert shown["kd"].endswith("(4)") and "(" not in shown["none"]


def test_a_difference_over_fewer_seeds_than_the_means_tells_over_how_many():
    """The one seed is the better one of none's: a higher Dice than none's mean, and a negative difference to it."""
    dice = {("none", 0): 0.5, ("none", 1): 0.1, ("kd", 0): 0.4, ("hlfd", 0): 0.3, ("hlfd", 1): 0.2}
    records = [
        replace(record(method, seed, case, 0.0), values=dict.fromkeys(CASE_FIGURES, value))
        for (method, seed), value in dice.items()
        for case in "ab"
    ]
    heading, cells = figure_table(summarize_records(records, CASE_FIGURES), "liver")
    shown = {line[0]: dict(zip(heading, line)) for line in cells}
    assert shown["kd"]["Dice"] > shown["none"]["Dice"]
    assert shown["kd"]["difference"].startswith("−0.100") and shown["kd"]["difference"].endswith(" (1 of 2 seeds)")
    assert shown["kd"]["behind"].endswith(" (1 of 2 seeds) (none)")
    assert "seeds" not in shown["hlfd"]["difference"]


LONG = ["hlfd", *(f"hlfd:full:beta=0.5:lambda_=0.01:temperature={number}" for number in (2, 8))]


def test_long_names_are_not_cut_in_the_charts():
    """Two of them would look the same."""
    table = summarize_records([record(method, 0, "a", 0.5) for method in LONG], ("dice",))
    [dice] = dice_charts(table)
    [learning] = learning_charts({Row(method, "mobilenetv2-unet", 0): {1: [0.2], 2: [0.4]} for method in LONG})
    for chart, names in ((dice, [row.title for row in table]), (learning, LONG)):
        texts = {one.text: one for one in chart.iter() if one.tag == "text"}
        for name in names:
            x = float(texts[name].get("x"))
            room = x if texts[name].get("text-anchor") == "end" else float(chart.get("width")) - x
            assert room >= 6.5 * len(name)


def test_charts_of_long_names_are_whole_in_their_file(tmp_path):
    charts = dice_charts(summarize_records([record(method, 0, "a", 0.5) for method in LONG], ("dice",)))
    write_svg(charts, tmp_path / "dice.svg")
    width = ElementTree.parse(tmp_path / "dice.svg").getroot().get("width")
    assert width == charts[0].get("width") and int(width) > 760


def test_charts_of_short_names_are_as_wide_as_ever():
    [chart] = dice_charts(summarize_records([record("hlfd:released", 0, "a", 0.5)], ("dice",)))
    assert chart.get("width") == "760"


def test_learning_curve_ends_where_a_fold_ends():
    learning = {Row("none", "mobilenetv2-unet", 0): {1: [0.2, 0.4], 2: [0.4, 0.6], 3: [0.9]}}
    (chart,) = learning_charts(learning)
    (line,) = (one for one in chart.iter() if one.tag == "polyline")
    assert len(line.get("points").split()) == 2


def test_lines_are_told_apart_by_color_or_dashes():
    methods = ["none", "hlfd", *(f"hlfd:beta={number}" for number in range(1, 25))]
    learning = {Row(method, "mobilenetv2-unet", 0): {1: [0.2], 2: [0.4]} for method in methods}
    (chart,) = learning_charts(learning)
    looks = [(one.get("stroke"), one.get("stroke-dasharray")) for one in chart.iter() if one.tag == "polyline"]
    assert len(set(looks)) == len(looks) == len(methods)
    # On a dark page the gray ones have another color, by their class.
    assert {one.get("class") for one in chart.iter() if one.get("stroke") == "#57606a"} == {"base"}
    assert {one.get("class") for one in chart.iter() if one.get("stroke") == "#d8dee4"} == {"grid"}


def test_focus_of_early_layers_can_be_told_apart_beside_that_of_the_last():
    focus = {"none": {"encoder1": 1.0, "decoder2": 40.0}, "hlfd": {"encoder1": 2.0, "decoder2": 40.0}}
    records = [
        replace(record(method, 0, "a", 0.0), layer=layer, values=dict.fromkeys(FOCUS_FIGURES, ratio))
        for method, layers in focus.items()
        for layer, ratio in layers.items()
    ]
    (chart,) = focus_charts(summarize_records(records, FOCUS_FIGURES))
    lines = [one.get("points").split() for one in chart.iter() if one.tag == "polyline"]
    first, last = ([float(points[at].split(",")[1]) for points in lines] for at in (0, -1))
    assert abs(first[0] - first[1]) > 20 and last[0] == last[1]
    assert {"1", "4", "16"} <= {one.text for one in chart.iter() if one.tag == "text"}


def test_a_focus_of_nothing_is_drawn_at_the_bottom():
    nothing = replace(record("none", 0, "a", 0.0), layer="encoder1", values=dict.fromkeys(FOCUS_FIGURES, 0.0))
    (chart,) = focus_charts(summarize_records([nothing], FOCUS_FIGURES))
    assert "nan" not in "".join(one.get("points", "") for one in chart.iter())
    assert "≤ 0.031" in [one.text for one in chart.iter()]


def test_the_line_of_a_layer_without_focus_is_broken_and_ends_at_the_smallest_ratio_that_is_drawn():
    ratios = {"encoder1": 1.0, "encoder2": 2.0, "encoder3": NAN, "encoder4": 0.0, "encoder5": 0.001}
    records = [
        replace(record("none", 0, "a", 0.0), layer=layer, values=dict.fromkeys(FOCUS_FIGURES, ratio))
        for layer, ratio in ratios.items()
    ]
    (chart,) = focus_charts(summarize_records(records, FOCUS_FIGURES))
    lines = [one.get("points").split() for one in chart.iter() if one.tag == "polyline"]
    assert [len(points) for points in lines] == [2, 2]
    ticks = [one.text for one in chart.iter() if one.tag == "text" and one.text[0] in "≤0123456789"]
    assert "0.015625" not in ticks and any(tick.startswith("≤") for tick in ticks)


def test_records_are_kept_case_by_case(tmp_path):
    records = [record("kd", 0, "a", 0.5, patient="p"), record("kd", 0, "b", NAN, patient="p")]
    write_records(records, ("dice",), tmp_path / "cases.csv")
    with open(tmp_path / "cases.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["row"], row["patient"], row["case"], row["dice"]) for row in rows] == [
        ("kd_mobilenetv2-unet_seed0", "p", "a", "0.50000"),
        ("kd_mobilenetv2-unet_seed0", "p", "b", ""),
    ]


def test_teacher_and_baseline_stand_before_the_methods():
    methods = ["hlfd:beta=0.5", "hlfd:full", "kd", "none", "hlfd", "teacher"]
    assert sorted(methods, key=method_order) == ["teacher", "none", "kd", "hlfd", "hlfd:beta=0.5", "hlfd:full"]


# Figures on the slices that hold a label


def test_what_is_predicted_in_other_slices_does_not_count():
    truth, prediction = np.zeros((3, 4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)
    truth[0, :2, :2] = 2
    prediction[0, :2, :1] = 2
    prediction[1, :, :] = 2
    figures = on_label_slices(prediction, truth, (5, 1, 1), [0, 1, 2], TASK)
    assert figures["liver tumor"]["slices_dice"] == pytest.approx(2 * 2 / (4 + 2))
    assert figures["liver tumor"]["slices_voe"] == pytest.approx(0.5)
    assert figures["liver tumor"]["slices_rvd"] == pytest.approx(-0.5)
    assert figures["liver tumor"]["slices_false_positive_lesions"] == 0
    assert figures["liver tumor"]["slices_hd95_mm"] == pytest.approx(1)  # The outlines: in 3-D all pixels are surface.
    assert math.isnan(figures["liver"]["slices_dice"])


def test_lesions_and_distances_reach_from_slice_to_slice():
    truth, prediction = np.zeros((5, 9, 9), np.uint8), np.zeros((5, 9, 9), np.uint8)
    truth[1:3, :3, :3] = 2
    prediction[1:4, :3, :3] = 2
    prediction[1:3, 6:, 6:] = 2
    prediction[4, 5, 0] = 2
    figures = on_label_slices(prediction, truth, (5, 1, 1), [0, 1, 2], TASK)["liver tumor"]
    assert figures["slices_lesion_sensitivity"] == 1
    assert figures["slices_false_positive_lesions"] == 1
    assert figures["slices_rvd"] == pytest.approx(1)
    prediction[:, 6:, 6:] = 0
    figures = on_label_slices(prediction, truth, (5, 1, 1), [0, 1, 2], TASK)["liver tumor"]
    assert (figures["slices_dice"], figures["slices_hd95_mm"]) == (1, 0)


def test_label_that_was_not_looked_for_has_no_figures():
    full = np.ones((1, 2, 2), np.uint8)
    assert math.isnan(on_label_slices(full, full, (1, 1, 1), [0, 1, 0], TASK)["liver tumor"]["slices_dice"])


# Rows


def test_method_is_read_with_variant_and_options():
    assert read_method("none") == ("none", {})
    assert read_method("hlfd:full:beta=0.5:terms=ufd+ifd") == ("hlfd:full", {"beta": 0.5, "terms": "ufd,ifd"})
    assert read_method("hlfd:lambda_=0:resize=smaller") == ("hlfd", {"lambda_": 0, "resize": "smaller"})


def test_every_combination_is_a_row_with_a_name_of_its_own():
    rows = rows_of(["none", "hlfd:full", "hlfd:beta=0.5"], ["resnet18-unet", "mobilenetv2-unet"], [0, 1])
    assert len({row.name for row in rows}) == len(rows) == 12
    assert rows[0].name == "none_resnet18-unet_seed0"
    assert all(set(row.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-=.+") for row in rows)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "nothing to compare"),
        ([Row("magic", "mobilenetv2-unet", 0)], "no distillation method 'magic'"),
        ([Row("hlfd:gamma=1", "mobilenetv2-unet", 0)], "no option 'gamma'"),
        ([Row("hlfd:beta=much", "mobilenetv2-unet", 0)], "'hlfd:beta=much' cannot be used"),
        ([Row("hlfd:beta=nan", "mobilenetv2-unet", 0)], "beta must be a number, 0 or more"),
        ([Row("kd:temperature=4x", "mobilenetv2-unet", 0)], "temperature must be a number"),
        ([Row("kd:temperature=0", "mobilenetv2-unet", 0)], "greater than 0"),
        ([Row("hlfd:terms=1", "mobilenetv2-unet", 0)], "'hlfd:terms=1' cannot be used"),
        ([Row("none", "mobilenetv2-unet", -1)], "seed must be 0 or more"),
        ([Row("hlfd:resize=larger", "mobilenetv2-unet", 0)], "no resize 'larger'"),
        ([Row("../none", "mobilenetv2-unet", 0)], "is no distillation method"),
        ([Row("none", "vgg", 0)], "no student network 'vgg'"),
        ([Row("none", "mobilenetv2-unet", 0)] * 2, "is there twice"),
        (
            [Row(name, "mobilenetv2-unet", 0) for name in ("hlfd", "hlfd:corrected")],
            "hlfd, also written hlfd:corrected",
        ),
        ([Row(name, "mobilenetv2-unet", 0) for name in ("kd", "kd:temperature=4")], "also written kd:temperature=4"),
    ],
)
def test_row_that_cannot_be_trained_is_refused(rows, words):
    with pytest.raises(TrainingError, match=words):
        check_rows(rows, PLAN)


def test_the_interval_is_one_of_95_percent():
    values = {0: {f"case{number}": float(number) for number in range(100)}}
    found = spread(values, {case: case for case in values[0]})
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(range(100)) / 10, rel=0.05)
