"""`hlfd train`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from HLFDSegmentationLib.errors import HLFDError, OutputError, TrainingError

from ..plan import Precision, TrainingPlan
from ..runs.process_files import LOG, OLD_LOG, PROCESS
from ..runs.run_state import STOPPED_STATUS
from .new_command import new_command

if TYPE_CHECKING:
    from ..cases import Case
    from ..estimate import Estimate
    from ..runs.run_events import Event, Report
    from ..runs.run_folder import RunFolder
    from ..split import Split
    from ..trainer import TrainingRun

OF_ITS_PROCESS = (PROCESS, LOG, OLD_LOG)
"""In the folder of a run before it is begun, where `training_process` begins it."""
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
"""Options of `hlfd train` that a run keeps from its beginning: entries of its plan, and `epochs` for two of them. Only
the device may be another one where it goes on."""


def add_train(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = new_command(commands, "train", _train, "Train a teacher on annotated cases and distil it into a student.")
    parser.add_argument("cases", type=Path, nargs="?", help="folder or cases.json (docs/cases.md); not with --resume")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    parser.add_argument(
        "--task", help="name or file of a task, or a model whose task it is (default: abdomen; none for your own pairs)"
    )
    parser.add_argument("--teacher", help="network of the teacher")
    parser.add_argument("--student", help="network of the student")
    parser.add_argument("--method", help="distillation method, without options (default: hlfd)")
    parser.add_argument("--teacher-weights", metavar="RUN|MODEL|FILE", help="take the teacher from there")
    parser.add_argument("--student-weights", metavar="RUN|MODEL|FILE", help="go on learning from the student there")
    parser.add_argument(
        "--undistilled", action="store_true", default=None, help="also train the student alone, to compare with"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="of teacher and student; the head between them has its own two")
    length.add_argument("--hours", type=hours, help="as many epochs as this time allows, measured on this computer")
    parser.add_argument("--estimate", action="store_true", help="tell time, memory and disk it takes; train nothing")
    parser.add_argument("--batch", type=int, help="slices a step and process")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate")
    parser.add_argument("--precision", choices=get_args(Precision), help="of the networks")
    parser.add_argument("--seed", type=int, help="of weights, order, random changes and split")
    parser.add_argument("--split", type=Path, metavar="FILE", help="a split.json, in place of a split by the seed")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps; with --resume, from now on")
    parser.add_argument("--json", action="store_true", help="progress as one JSON object a line (docs/training.md)")


def hours(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of hours above 0, as 1.5.")
    return value


def _train(options: argparse.Namespace) -> int:
    from ..runs.run_folder import RunFolder

    folder = RunFolder(options.output)
    if options.resume:
        _check_resumed(options)
    if options.estimate:
        return _tell_estimate(folder, options)

    from ..runs.processes import joined_processes
    from ..runs.stop_signal import StopSignal
    from ..trainer import TrainingRun

    with joined_processes(_device(folder, options)) as processes:
        if options.hours and processes.world > 1:
            raise TrainingError("--hours measures one process. Give --epochs where several train together.")
        # Not yet asked to stop at a step: until the run is begun, stopping leaves nothing.
        with _begun(folder, options) if processes.first else nullcontext(_say_nothing) as report:
            processes.wait()
            with StopSignal() as stop:
                run = TrainingRun(folder, report=report, stop_requested=lambda: stop.requested, processes=processes)
                return _run(run, options)


def _device(folder: RunFolder, options: argparse.Namespace) -> str:
    """Where the run is to train. Raises TrainingError where one is to be resumed that is not there."""
    if options.resume:
        return _resumed_plan(folder, options).device
    return options.device or "auto"


@contextmanager
def _begun(folder: RunFolder, options: argparse.Namespace) -> Iterator[Report]:
    """The report of a run that is begun, or made ready to go on; in this block, nobody else trains in its folder."""
    from ..runs.run_lock import training_in

    report = _reporter(options)
    # Reading the cases takes minutes, and where they are refused, nothing is left of the run, its lock included.
    begin = _resumption(folder, options) if options.resume else _beginning(folder, options, report)
    with training_in(folder.path, new=not options.resume):
        begin()
        yield folder.logging(report)


def _run(run: TrainingRun, options: argparse.Namespace) -> int:
    from HLFDSegmentationLib.command_text import quoted
    from HLFDSegmentationLib.devices import is_out_of_memory

    from ..learning.stage import Stopped

    try:
        run.run()
    except Stopped:
        run.report({"event": "stopped", "resume": f"hlfd train -o {quoted(options.output)} --resume"})
        return STOPPED_STATUS
    except HLFDError as error:
        _tell_error(run, error)
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        short = TrainingError(
            "The memory does not suffice to go on. What was learned until the last checkpoint is kept. Close other "
            "programs and continue (in a terminal with --resume), or begin anew with a smaller batch."
        )
        _tell_error(run, short)
        raise short from error
    return 0


def _tell_error(run: TrainingRun, error: HLFDError) -> None:
    # It may be the very file of the events that cannot be written.
    with suppress(OutputError):
        run.report({"event": "error", "message": str(error)})


def _reporter(options: argparse.Namespace) -> Report:
    from ..progress import TrainingProgress, json_lines

    return json_lines if _as_json(options) else TrainingProgress()


def _as_json(options: argparse.Namespace) -> bool:
    return options.json or not sys.stdout.isatty()


def _say_nothing(_event: Event) -> None:
    """The report of a process beside the first one."""


def _beginning(folder: RunFolder, options: argparse.Namespace, report: Report) -> Callable[[], None]:
    """What begins the run that the options ask for, whose cases were checked."""
    from ..runs.run_start import start_run

    plan, cases, split = _new_run(folder, options)
    measured = None
    if options.hours:
        plan, measured = _measured(plan, split, folder, options, report)
        _tell(measured, options, report)

    def begin() -> None:
        start_run(folder, plan, cases, split)
        if measured:
            folder.write("estimate.json", measured.to_dict())

    return begin


def _resumption(folder: RunFolder, options: argparse.Namespace) -> Callable[[], None]:
    """What makes a run ready to go on, on another device than before where one is named."""
    from HLFDSegmentationLib.devices import choose_device

    if options.device:
        choose_device(options.device)

    def store() -> None:
        plan = _resumed_plan(folder, options)
        if plan != folder.plan():
            folder.write_plan(plan)

    return store


def _resumed_plan(folder: RunFolder, options: argparse.Namespace) -> TrainingPlan:
    plan = folder.plan()
    return replace(plan, device=options.device) if options.device else plan


def _tell_estimate(folder: RunFolder, options: argparse.Namespace) -> int:
    from ..runs.earlier_runs import keep_patients_by_ct
    from ..runs.run_events import all_events, epochs_done

    report = _reporter(options)
    if not options.resume:
        plan, _, split = _new_run(folder, options)
        _tell(_measured(plan, split, folder, options, report)[1], options, report)
        return 0
    plan = _resumed_plan(folder, options)
    if folder.finished:
        raise TrainingError(f"The training in {folder.path} is finished: nothing is left to do.")
    done = epochs_done(all_events(folder.events))
    # The panel begins a run without the checks of `_new_run`, and measures it before.
    keep_patients_by_ct(folder, folder.split(plan))
    if options.hours and done:
        raise TrainingError("A run of which epochs are trained keeps its plan. Leave out --hours.")
    _, measured = _measured(plan, folder.split(plan), folder, options, report)
    left = {stage: max(0, epochs - done.get(stage, 0)) for stage, epochs in measured.epochs.items()}
    _tell(replace(measured, epochs=left), options, report)
    return 0


def _tell(measured: Estimate, options: argparse.Namespace, report: Report) -> None:
    from ..estimate import estimate_text

    if _as_json(options):
        report({"event": "estimate", **measured.to_dict()})
    else:
        print(estimate_text(measured), flush=True)


def _measured(
    plan: TrainingPlan,
    split: Split,
    folder: RunFolder,
    options: argparse.Namespace,
    report: Report,
) -> tuple[TrainingPlan, Estimate]:
    """The plan, with the epochs for --hours where they are given, and what it takes."""
    from ..estimate import epochs_for, estimate

    measured = estimate(plan, split, folder.path, report)
    return epochs_for(options.hours * 3600, plan, measured) if options.hours else (plan, measured)


def _new_run(folder: RunFolder, options: argparse.Namespace) -> tuple[TrainingPlan, list[Case], Split]:
    """What the options ask for, with cases that were checked."""
    from HLFDSegmentationLib.output.output_folder import LITTLE_SPACE, check_makeable

    from ..annotations.checked_cases import CHECKS, check_usable
    from ..cases import check_values_explained, find_cases
    from ..runs.earlier_runs import split_for
    from ..runs.given_weights import check_plan
    from ..runs.run_folder import check_unused

    if options.cases is None:
        raise TrainingError("Say which cases to train on: hlfd train CASES -o RUN. To go on with a run, use --resume.")
    if folder.started:
        raise TrainingError(f"{folder.path} holds a training run already. Use --resume, or choose another folder.")
    if not options.estimate:
        check_makeable(folder.path, LITTLE_SPACE)
        check_unused(folder.path, allowed=(CHECKS, *OF_ITS_PROCESS))
    if options.task is None:
        check_values_explained(options.cases)
    plan = _plan(options)
    check_plan(plan)
    cases = find_cases(options.cases, plan.task)
    split = _given_split(options.split, plan, cases) if options.split else split_for(plan, cases)
    check_usable(cases, plan.task, split, None if options.estimate else folder.path / CHECKS)
    return plan, cases, split


def _given_split(path: Path, plan: TrainingPlan, cases: list[Case]) -> Split:
    """The split of a file, where nobody is judged by whom the plan's teacher or student has learned from."""
    from ..runs.earlier_runs import check_named_as_met
    from ..runs.given_weights import check_judged
    from ..split import read_split

    check_named_as_met(plan, cases)
    split = read_split(path, cases)
    check_judged(plan, split)
    return split


def _plan(options: argparse.Namespace) -> TrainingPlan:
    from HLFDSegmentationLib.model_store import DEFAULT_TASK, find_task

    from ..distillers import needs_teacher

    chosen = {name: getattr(options, name) for name in PLAN_OPTIONS if getattr(options, name) is not None}
    epochs = chosen.pop("epochs", None)
    lengths = {} if epochs is None else {"teacher_epochs": epochs, "student_epochs": epochs}
    plan = TrainingPlan(task=find_task(chosen.pop("task", DEFAULT_TASK)), **chosen, **lengths)
    unused = next((name for name in ("teacher_weights", "teacher") if getattr(options, name)), None)
    if unused and not needs_teacher(plan.method, plan.method_options):
        raise TrainingError(
            f"The method '{plan.method}' trains the student alone, so --{unused.replace('_', '-')} would not be used. "
            "Leave it out, or name a method that distills."
        )
    return plan


def _check_resumed(options: argparse.Namespace) -> None:
    """Refuses what a run that was begun would not follow."""
    kept = [name for name in PLAN_OPTIONS if name != "device"]  # which another computer may not have
    given = [f"--{name.replace('_', '-')}" for name in kept if getattr(options, name) is not None]
    given += ["--split"] if options.split else []
    given += ["CASES"] if options.cases else []
    given += ["--hours"] if options.hours and not options.estimate else []
    if given:
        raise TrainingError(
            f"A run that was begun keeps its cases and its plan. Leave out {', '.join(given)}, or begin a new run."
        )
