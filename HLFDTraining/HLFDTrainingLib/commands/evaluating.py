"""`hlfd evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from HLFDSegmentationLib.errors import InputError, OutputError

from .new_command import new_command

if TYPE_CHECKING:
    from HLFDSegmentationLib.model_package import ModelPackage
    from HLFDSegmentationLib.tasks import Task

    from ..cases import Case
    from ..runs.run_folder import RunFolder

HOW_TO_READ = """Mean ± standard deviation over the cases (their number); a dash where a figure has no meaning.
  dice                    overlap of segmented and annotated: 1 is the same, 0 none
  voe                     volumetric overlap error: 0 is the same, 1 no overlap
  rvd                     (segmented - annotated volume) / annotated volume: below 0 where too little is segmented
  absolute_rvd            rvd without its sign, so that too much and too little do not cancel
  hd95_mm                 95th percentile of the distance between the surfaces, mm
  lesion_sensitivity      share of the annotated lesions that were touched
  false_positive_lesions  segmented lesions that touch no annotated one, a case"""


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = new_command(commands, "evaluate", _evaluate, "Measure a model on annotated cases that it has not seen.")
    parser.add_argument("model", help="name or folder of a model, or a training run (its student)")
    parser.add_argument("cases", type=Path, nargs="?", help="folder or cases.json; a run's own test cases by default")
    parser.add_argument(
        "--task", help="name or file of the task that values of your own pairs are of, or a model with that task"
    )
    written = parser.add_mutually_exclusive_group(required=True)
    written.add_argument("-o", "--output", type=Path, help="CSV file to write")
    written.add_argument("--all", action="store_true", help="compare all networks of a run; written in its folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def _evaluate(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.output.output_folder import check_makeable

    from ..evaluation import evaluate
    from ..figure_tables import summary_table, write_metrics_csv
    from ..metrics import summarize
    from ..packaging import stage_as_package
    from ..progress import ProgressBar
    from ..runs.run_folder import RunFolder, check_no_comparison

    check_no_comparison(Path(options.model))
    _check_no_weights(Path(options.model))
    run = RunFolder(Path(options.model))
    if options.all:
        return _compare(run, options)
    if options.task and options.cases is None:
        raise InputError("--task tells what the values of cases mean that you name. Leave it out, or name CASES.")
    _check_new(options.output)
    check_makeable(options.output)
    with stage_as_package(run, "student") if run.started else nullcontext(find_package(options.model)) as package:
        if not run.started:
            print(_not_known_again(package))
        cases = _cases_to_measure_on(options, package.task, run)
        with closing(ProgressBar()) as bar:
            figures = evaluate(package, cases, device=options.device, progress=bar)
    # Where one of both cannot be written, the other is: measuring may have taken hours.
    try:
        _check_new(options.output)
        write_metrics_csv(figures, options.output)
    finally:
        print(f"Measured: {_named(package, run)}.\n\n{summary_table(summarize(figures))}")
        print(f"\n{HOW_TO_READ}")
    return 0


def _named(package: ModelPackage, run: RunFolder) -> str:
    """What was measured: an installed model and a run may have one name."""
    if run.started:
        return f"the student of the training run in {run.path.absolute()}"
    return f"the model '{package.name}' in {package.path.absolute()}"


def _check_no_weights(path: Path) -> None:
    """Raises InputError with the way to a run where a path is weights of it: a model made of them does not know its
    patients any more."""
    from HLFDSegmentationLib.command_text import quoted

    from ..runs.earlier_runs import run_of_weights

    if path.is_file() and path.suffix == ".pt":
        run = run_of_weights(path)
        named = quoted(run.path) if run else "RUN"
        raise InputError(
            f"{path} has weights alone. Name the training run that they are of, whose student is measured: "
            f"`hlfd evaluate {named} -o FILE`."
        )


def _check_new(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{path} is there already. Choose another name.")


def _cases_to_measure_on(options: argparse.Namespace, task: Task, run: RunFolder) -> list[Case]:
    """The cases that are named, or a run's test cases, found fit to be measured on."""
    from ..annotations.checked_cases import check_measurable
    from ..evaluation import check_test_cases

    if options.cases is not None:
        cases = _named_cases(options, task, run)
        check_measurable(cases, task)
        if run.started:
            _check_unseen(run, cases)
        return cases
    if not run.started:
        raise InputError("Say which cases to measure the model on: hlfd evaluate MODEL CASES -o FILE.")
    cases = list(run.split(run.plan()).test)
    if not cases:
        raise InputError(
            f"The run in {run.path} has no test cases: it had too few patients. Name annotated cases that it has not "
            "seen: hlfd evaluate RUN CASES -o FILE."
        )
    check_test_cases(run, cases)
    return cases


def _named_cases(options: argparse.Namespace, task: Task, run: RunFolder) -> list[Case]:
    """The cases; what a run was trained for tells what the values of pairs stand for, but a model's task need not."""
    from HLFDSegmentationLib.model_store import find_task

    from ..cases import check_values_explained, find_cases

    if options.task is None and not run.started:
        check_values_explained(options.cases)
    return find_cases(options.cases, task, pairs_task=find_task(options.task) if options.task else None)


def _not_known_again(package: ModelPackage) -> str:
    names = ", ".join(data["name"] for data in package.training_data) or "nothing"
    return (
        f"Note: which patients this model has learned from is not known here. Its package names: {names}. Figures of "
        "patients among these flatter it.\n"
    )


def _check_unseen(run: RunFolder, cases: Sequence[Case]) -> None:
    from ..annotations.ct_fingerprints import image_fingerprint
    from ..runs.earlier_runs import parts_of, patients_by_ct

    seen = {patient for patient, part in parts_of(run).items() if part != "test"}
    patient_of = patients_by_ct(run)
    known = sorted(
        case.name
        for case in cases
        if case.patient in seen or (patient_of and patient_of.get(image_fingerprint(case.ct) or "") in seen)
    )
    if known:
        raise InputError(
            f"The run, or one that it started from, has learned from {len(known)} of these cases, or chosen its model "
            f"by them, first {known[0]}: figures of them would flatter it. Leave them out, or leave out CASES to "
            "measure on the run's test cases."
        )


def _compare(run: RunFolder, options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.output.output_folder import check_makeable

    from ..comparison_table import compare_run, comparison_text
    from ..progress import ProgressBar

    if not run.started or options.cases or options.task:
        raise InputError("--all compares the networks of a training run on its own test cases: hlfd evaluate RUN --all")
    check_makeable(run.comparison)
    with closing(ProgressBar()) as bar:
        models = compare_run(run, device=options.device, progress=bar)
    print(comparison_text(models))
    print(f"\n{HOW_TO_READ}")
    return 0
