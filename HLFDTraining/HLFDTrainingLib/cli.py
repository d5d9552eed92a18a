"""The `hlfd` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HLFDSegmentationLib import __version__
from HLFDSegmentationLib.errors import HLFDError, InputError, OutputError, TrainingError

if TYPE_CHECKING:
    from HLFDSegmentationLib.pipeline import Result

    from .cases import Case
    from .estimate import Estimate
    from .plan import TrainingPlan
    from .run_folder import RunFolder
    from .split import Split

# Everything else is imported where a command needs it: `hlfd --help` must not wait seconds for torch and MONAI.

STOPPED = 130
CHECKS = "checks.csv"
OF_ITS_PROCESS = ("process", "log.txt", "log.old.txt")
"""In the folder of a run before it is begun, where `training_process` begins it (see `process_files`)."""
PLAN_OPTIONS = (
    "task",
    "teacher",
    "student",
    "method",
    "teacher_weights",
    "student_weights",
    "undistilled",
    "epochs",
    "batch",
    "learning_rate",
    "precision",
    "seed",
    "device",
)
"""Options of `hlfd train` that a run keeps from its beginning: entries of its plan, and `epochs` for two of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, or 1 after an error, whose sentence goes to standard error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except HLFDError as error:
        print(f"hlfd: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("hlfd: stopped.", file=sys.stderr)
        return STOPPED
    except MemoryError:
        print(
            "hlfd: the memory of this computer does not suffice. Close other programs, or crop the CT.", file=sys.stderr
        )
    except OSError as error:  # of a path that was not looked at before: its name is too long, its disk is gone
        print(
            f"hlfd: {error.filename or 'A file'} cannot be used: {error.strerror or error}. Check its name, its folder "
            "and its disk, or choose another one.",
            file=sys.stderr,
        )
    except RuntimeError as error:  # of torch or ITK, as from a GPU that this torch was not made for
        print(
            f"hlfd: this could not be done: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}. "
            "If a GPU was used, try --device cpu.",
            file=sys.stderr,
        )
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hlfd",
        description="Segment kidney and liver tumors in CT with small distilled networks, and see what each layer "
        "looks at. For research use only, not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"hlfd {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_explain(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_package(commands)
    _add_models(commands)
    _add_demo(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


# Segmenting


def _add_segment(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "segment", _segment, "Segment a CT and write labels, measures and a report.")
    parser.add_argument("ct", help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    _add_segment_options(parser)
    parser.add_argument("--attention", action="store_true", help="also the attention maps of every layer")
    parser.add_argument("--signed", action="store_true", help="signed attention maps instead of positive ones")


def _add_segment_options(parser: argparse.ArgumentParser) -> None:
    _add_model_options(parser)
    parser.add_argument("--tumor-threshold", type=float, metavar="P", help="a voxel is tumor from this probability on")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name or folder of a model; the one that ships with HLFD by default")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--force", action="store_true", help="use an image that does not look like CT in HU")


def _segment(options: argparse.Namespace) -> int:
    if options.signed and not options.attention:
        raise InputError("--signed tells how attention maps are made. Ask for them, too: --attention --signed.")
    _segment_and_tell(options, options.ct, options.output, attention=options.attention, signed=options.signed)
    return 0


def _segment_and_tell(
    options: argparse.Namespace, ct: str | Path, output: Path, *, attention: bool, signed: bool = False
) -> None:
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.pipeline import segment_to_folder

    from .progress import ProgressBar

    bar = ProgressBar()
    try:
        result = segment_to_folder(
            ct,
            output,
            find_package(options.model),
            device=options.device,
            tumor_threshold=options.tumor_threshold,
            attention=attention,
            signed=signed,
            force=options.force,
            progress=bar,
        )
    finally:
        bar.close()
    _tell_notes(result)
    for segment in result.measures:
        lesions = f", lesions: {len(segment.lesions)}" if segment.label.role == "tumor" else ""
        print(f"{segment.label.name:<14} {segment.volume_ml:8.1f} mL{lesions}")
    _tell_report(result)


def _tell_notes(result: Result) -> None:
    for sentence in [*result.warnings, *result.segmentation.notes]:
        print(f"Note: {sentence}")


def _tell_report(result: Result) -> None:
    print(f"Report: {result.folder / 'report.html'}")
    print("For research use only. Not for diagnosis.")


# Explaining


def _add_explain(commands: argparse._SubParsersAction) -> None:
    text = "Show what a model's layers look at for a segmentation that you give, such as a corrected one."
    parser = _command(commands, "explain", _explain, text)
    parser.add_argument("ct", help="NIfTI, NRRD or MHA file, or a folder with one DICOM series")
    parser.add_argument("segmentation", help="NIfTI, NRRD (also .seg.nrrd) or MHA file with the model's labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    _add_model_options(parser)
    parser.add_argument("--signed", action="store_true", help="signed attention maps instead of positive ones")


def _explain(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import find_package
    from HLFDSegmentationLib.pipeline import explain_to_folder

    from .progress import ProgressBar

    bar = ProgressBar()
    try:
        result = explain_to_folder(
            options.ct,
            options.segmentation,
            options.output,
            find_package(options.model),
            device=options.device,
            signed=options.signed,
            force=options.force,
            progress=bar,
        )
    finally:
        bar.close()
    _tell_notes(result)
    for layer in result.segmentation.attention:
        told = "no positive attention"
        if layer.focus:
            told = f"{layer.focus.segment:.0%} inside, {layer.focus.segment_ratio:.1f} times its share of the body"
        print(f"{layer.label:<14} {layer.layer:<9} {told}")
    _tell_report(result)
    return 0


# The demo


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "demo", _demo, "Segment a generated CT, or your own, and show every layer's attention.")
    parser.add_argument("ct", nargs="?", help="your own CT; without it one is generated")
    parser.add_argument("-o", "--output", type=Path, default=Path("hlfd-demo"), help="folder (default: hlfd-demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the generated CT: another seed, another patient")
    _add_segment_options(parser)


def _demo(options: argparse.Namespace) -> int:
    output = _unused(options.output)
    ct = options.ct
    if ct is None:
        from HLFDSegmentationLib.phantom import write_phantom

        print("Generating a CT ...", file=sys.stderr, flush=True)
        ct, _ = write_phantom(output / "generated_ct", options.seed)
    _segment_and_tell(options, ct, output / "result", attention=True)
    return 0


def _unused(folder: Path) -> Path:
    """The folder, or the first of FOLDER-2, FOLDER-3, ... that is not there yet."""
    number = 1
    candidate = folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


# Training


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "train", _train, "Train a teacher on annotated cases and distil it into a student.")
    parser.add_argument("cases", type=Path, nargs="?", help="folder or cases.json (docs/cases.md); not with --resume")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    parser.add_argument("--task", help="name or file of a task (default: abdomen; no default for pairs of your own)")
    parser.add_argument("--teacher", help="network of the teacher")
    parser.add_argument("--student", help="network of the student")
    parser.add_argument("--method", help="distillation method (default: hlfd)")
    parser.add_argument("--teacher-weights", metavar="RUN|MODEL|FILE", help="take the teacher from there")
    parser.add_argument("--student-weights", metavar="RUN|MODEL|FILE", help="go on learning from the student there")
    parser.add_argument(
        "--undistilled", action="store_true", default=None, help="also train the student alone, to compare with"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="of teacher and student")
    length.add_argument("--hours", type=hours, help="as many epochs as this time allows, measured on this computer")
    parser.add_argument("--estimate", action="store_true", help="tell time, memory and disk it takes; train nothing")
    parser.add_argument("--batch", type=int, help="slices a step and process")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), help="of the networks")
    parser.add_argument("--seed", type=int, help="of weights, order, random changes and split")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--json", action="store_true", help="progress as one JSON object a line (docs/training.md)")


def hours(text: str) -> float:
    """A time above 0; argparse names this function where it is none."""
    value = float(text)
    if not 0 < value < inf:
        raise ValueError
    return value


def _train(options: argparse.Namespace) -> int:
    from .run_folder import RunFolder

    folder = RunFolder(options.output)
    if options.resume:
        _check_resumed(options)
    if options.estimate:
        return _tell_estimate(folder, options)

    from .processes import joined_processes
    from .run_lock import training_in
    from .stage import Stopped
    from .stop_signal import StopSignal
    from .trainer import TrainingRun

    with joined_processes() as processes, StopSignal() as stop:
        report = _reporter(options) if processes.first else _say_nothing
        if options.hours and processes.world > 1:
            raise TrainingError("--hours measures one process. Give --epochs where several train together.")
        if not options.resume and processes.first:
            _start_run(folder, options, report)
        processes.wait()
        folder.plan()  # Where no run was begun, nothing is written.
        with training_in(folder.path) if processes.first else nullcontext():
            if processes.first:
                report = folder.logging(report)
            run = TrainingRun(folder, report=report, stop_requested=lambda: stop.requested, processes=processes)
            try:
                run.run()
            except Stopped:
                report({"event": "stopped", "resume": f"hlfd train -o {options.output} --resume"})
                return STOPPED
            except HLFDError as error:
                report({"event": "error", "message": str(error)})
                raise
    return 0


def _reporter(options: argparse.Namespace) -> Callable[[dict[str, Any]], None]:
    from .progress import TrainingProgress, json_lines

    return json_lines if _as_json(options) else TrainingProgress()


def _as_json(options: argparse.Namespace) -> bool:
    return options.json or not sys.stdout.isatty()


def _say_nothing(_event: dict[str, Any]) -> None:
    """The report of a process beside the first one."""


def _start_run(folder: RunFolder, options: argparse.Namespace, report: Callable[[dict[str, Any]], None]) -> None:
    plan, cases, split = _new_run(folder, options)
    if not options.hours:
        folder.start(plan, cases, split)
        return
    plan, measured = _measured(plan, split, folder, options, report)
    report({"event": "estimate", **measured.to_dict()})
    folder.start(plan, cases, split)
    folder.write("estimate.json", measured.to_dict())


def _tell_estimate(folder: RunFolder, options: argparse.Namespace) -> int:
    from .estimate import estimate_text

    report = _reporter(options)
    if options.resume:
        plan = folder.plan()
        split = folder.split(plan)
    else:
        plan, _, split = _new_run(folder, options)
    _, measured = _measured(plan, split, folder, options, report)
    if _as_json(options):
        report({"event": "estimate", **measured.to_dict()})
    else:
        print(estimate_text(measured))
    return 0


def _measured(
    plan: TrainingPlan,
    split: Split,
    folder: RunFolder,
    options: argparse.Namespace,
    report: Callable[[dict[str, Any]], None],
) -> tuple[TrainingPlan, Estimate]:
    """The plan, with the epochs for --hours where they are given, and what it takes."""
    from .estimate import epochs_for, estimate

    measured = estimate(plan, split, folder.path, report)
    return epochs_for(options.hours * 3600, plan, measured) if options.hours else (plan, measured)


def _new_run(folder: RunFolder, options: argparse.Namespace) -> tuple[TrainingPlan, list[Case], Split]:
    """What the options ask for, with cases that were checked."""
    from .cases import check_values_explained, find_cases
    from .checked_cases import check_usable
    from .given_weights import check_plan
    from .run_folder import check_unused, split_for

    if options.cases is None:
        raise TrainingError("Say which cases to train on: hlfd train CASES -o RUN. To go on with a run, use --resume.")
    if folder.started:
        raise TrainingError(f"{folder.path} holds a training run already. Use --resume, or choose another folder.")
    if not options.estimate:
        check_unused(folder.path, allowed=(CHECKS, *OF_ITS_PROCESS))
    if options.task is None:
        check_values_explained(options.cases)
    plan = _plan(options)
    check_plan(plan)
    cases = find_cases(options.cases, plan.task)
    check_usable(cases, plan.task, None if options.estimate else folder.path / CHECKS)
    return plan, cases, split_for(plan, cases)


def _plan(options: argparse.Namespace) -> TrainingPlan:
    from HLFDSegmentationLib.tasks import load_task

    from .plan import TrainingPlan

    chosen = {name: getattr(options, name) for name in PLAN_OPTIONS if getattr(options, name) is not None}
    epochs = chosen.pop("epochs", None)
    lengths = {} if epochs is None else {"teacher_epochs": epochs, "student_epochs": epochs}
    return TrainingPlan(task=load_task(chosen.pop("task", "abdomen")), **chosen, **lengths)


def _check_resumed(options: argparse.Namespace) -> None:
    """Refuses what a run that was begun would not follow."""
    given = [f"--{name.replace('_', '-')}" for name in PLAN_OPTIONS if getattr(options, name) is not None]
    given += ["CASES"] if options.cases else []
    given += ["--hours"] if options.hours and not options.estimate else []
    if given:
        raise TrainingError(
            f"A run that was begun keeps its cases and its plan. Leave out {', '.join(given)}, or begin a new run."
        )


# Evaluating and packaging


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "evaluate", _evaluate, "Measure a model on annotated cases that it has not seen.")
    parser.add_argument("model", help="name or folder of a model, or a training run (its student)")
    parser.add_argument("cases", type=Path, nargs="?", help="folder or cases.json; a run's own test cases by default")
    parser.add_argument("-o", "--output", type=Path, help="CSV file to write; not with --all")
    parser.add_argument("--all", action="store_true", help="compare all networks of a run; written in its folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def _evaluate(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import find_package

    from .cases import find_cases
    from .checked_cases import check_measurable
    from .evaluation import evaluate, summary_table, write_metrics_csv
    from .metrics import summarize
    from .packaging import student_as_package
    from .progress import ProgressBar
    from .run_folder import RunFolder

    run = RunFolder(Path(options.model))
    if options.all:
        return _compare(run, options)
    if options.output is None:
        raise InputError("Say where the figures are to be written: -o FILE.csv.")
    if options.output.exists():
        raise OutputError(f"{options.output} is there already. Choose another name.")
    with student_as_package(run) if run.started else nullcontext(find_package(options.model)) as package:
        if options.cases is not None:
            cases = find_cases(options.cases, package.task)
            check_measurable(cases, package.task)
            if run.started:
                _check_unseen(run, cases)
        elif run.started:
            cases = list(run.split(run.plan()).test)
            if not cases:
                raise InputError(
                    f"The run in {run.path} has no test cases: it had too few patients. Name annotated cases that it "
                    "has not seen: hlfd evaluate RUN CASES -o FILE."
                )
        else:
            raise InputError("Say which cases to measure the model on: hlfd evaluate MODEL CASES -o FILE.")
        figures = evaluate(package, cases, device=options.device, progress=ProgressBar())
    write_metrics_csv(figures, options.output)
    print(summary_table(summarize(figures)))
    return 0


def _check_unseen(run: RunFolder, cases: Sequence[Case]) -> None:
    seen = {patient for patient, part in run.parts().items() if part != "test"}
    known = sorted(case.name for case in cases if case.patient in seen)
    if known:
        raise InputError(
            f"The run, or one that it started from, has learned from {len(known)} of these cases, or chosen its model "
            f"by them, first {known[0]}: figures of them would flatter it. Leave them out, or leave out CASES to "
            "measure on the run's test cases."
        )


def _compare(run: RunFolder, options: argparse.Namespace) -> int:
    from .comparison_table import compare_run, comparison_text
    from .progress import ProgressBar

    if not run.started or options.cases or options.output:
        raise InputError("--all compares the networks of a training run on its own test cases: hlfd evaluate RUN --all")
    print(comparison_text(compare_run(run, device=options.device, progress=ProgressBar())))
    return 0


def _add_compare(commands: argparse._SubParsersAction) -> None:
    from .compare.command import add_options, compare_methods

    text = "Compare distillation methods: many students of one teacher, measured alike (docs/compare.md)."
    add_options(_command(commands, "compare", compare_methods, text))


def _add_package(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "package", _package, "Make a model package of a training run's student.")
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new .zip file or folder")
    parser.add_argument("--name", help="of the model: lowercase letters, digits, - and _ (default: from the output)")
    parser.add_argument("--title", help="what users read")
    parser.add_argument("--license", default="not stated", help="of the model")


def _package(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.package_files import is_package_name

    from .packaging import package_run
    from .run_folder import RunFolder

    name = options.name or options.output.name.removesuffix(".zip").lower()
    if not is_package_name(name):
        raise InputError(
            f"'{name}' cannot be the name of a model: that is lowercase letters, digits, - and _. Give one by --name."
        )
    path = package_run(
        RunFolder(options.run_folder),
        options.output,
        name=name,
        title=options.title,
        license=options.license,
    )
    print(f"Wrote {path}. Use it with: hlfd models import {path}")
    return 0


# Models


def _add_models(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("models", help="List, import, remove or verify models.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _command(actions, "list", _list_models, "List the installed models.")
    importing = _command(actions, "import", _import_model, "Check a model package and install it.")
    importing.add_argument("source", type=Path, help="zip file or folder")
    removing = _command(actions, "remove", _remove_model, "Delete an imported model.")
    removing.add_argument("name")
    verifying = _command(actions, "verify", _verify_model, "Check that a model is complete and unchanged.")
    verifying.add_argument("model", help="name, folder or zip file")


def _list_models(_options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import list_packages

    for stored in list_packages():
        if stored.package is None:
            print(f"{stored.name}: cannot be used. {stored.problem}")
            continue
        package = stored.package
        organs = ", ".join(label.name for label in package.task.labels)
        origin = "ships with HLFD" if stored.shipped else "imported"
        print(f"{package.name}: {package.title} ({organs}; {package.network_name}; {package.license}; {origin})")
    return 0


def _import_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import import_package

    print(f"Imported '{import_package(options.source).name}'.")
    return 0


def _remove_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import remove_package

    remove_package(options.name)
    print(f"Removed '{options.name}'.")
    return 0


def _verify_model(options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.model_store import verify_package

    package = verify_package(options.model)
    print(f"'{package.name}' is complete and unchanged.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
