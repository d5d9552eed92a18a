"""`hlfd compare`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from HLFDSegmentationLib.errors import TrainingError

from ..plan import Augmentation, Precision, TrainingPlan
from ..runs.run_state import STOPPED_STATUS
from .new_command import new_command

if TYPE_CHECKING:
    from ..cases import Case
    from ..compare.rows import Row
    from ..runs.run_events import Event, Report
    from ..split import Split


def add_compare(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    text = "Compare distillation methods: many students of one teacher, measured alike (docs/compare.md)."
    parser = new_command(commands, "compare", _compare, text)
    parser.add_argument("cases", type=Path, help="folder or cases.json (docs/cases.md)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the comparison; goes on with it")
    parser.add_argument("--methods", type=words, required=True, help="with commas between: none,kd,hlfd:full:beta=0.5")
    parser.add_argument("--students", type=words, default=[TrainingPlan.student], help="networks, with commas between")
    parser.add_argument("--seeds", type=whole_numbers, default=[0], help="of the students, with commas between")
    parser.add_argument(
        "--task", help="name or file of a task, or a model whose task it is (default: abdomen; none for your own pairs)"
    )
    parser.add_argument("--teacher", help="network of the teacher")
    parser.add_argument("--teacher-weights", metavar="RUN|MODEL|FILE", help="take the teacher from there")
    parser.add_argument("--epochs", type=int, help="of the students")
    parser.add_argument("--teacher-epochs", type=int, help="of the teacher")
    parser.add_argument("--head-epochs", type=int, help="of the head that HLFD reads the teacher with")
    parser.add_argument("--batch", type=int, help="slices a step")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate")
    parser.add_argument("--augmentation", choices=get_args(Augmentation), help="changes of the slices")
    parser.add_argument("--precision", choices=get_args(Precision), help="of the networks")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--teacher-seed", type=int, help="of the teacher, and of the split")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--split", type=Path, metavar="FILE", help="the split.json of a run")
    parts.add_argument("--fractions", type=fractions, help="shares of the patients (default: 0.7,0.1,0.2)")
    parser.add_argument(
        "--scheduler", type=address, metavar="ADDRESS", help="dask scheduler; without it, this computer trains"
    )
    parser.add_argument("--workers", type=one_or_more, help="rows that are trained at a time on this computer")
    parser.add_argument("--threads", type=one_or_more, default=1, help="of each row, on a CPU (default: 1)")
    parser.add_argument("--json", action="store_true", help="progress as one JSON object a line (docs/compare.md)")


def words(text: str) -> list[str]:
    """What stands between commas."""
    found = text.split(",")
    if not all(found):
        raise argparse.ArgumentTypeError(f"'{text}' has nothing before, between or after a comma.")
    return found


def whole_numbers(text: str) -> list[int]:
    """Numbers with commas between them."""
    try:
        return [int(word) for word in words(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not whole numbers with commas between, as 0,1,2.") from error


def one_or_more(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on.")
    return int(text)


def address(text: str) -> str:
    """Where a dask scheduler listens: a host and a port, and before them how it is spoken to."""
    if not re.fullmatch(r"([a-z]+://)?\S+:\d+", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no host and port, as tcp://HOST:8786.")
    return text


def fractions(text: str) -> tuple[float, ...]:
    """Shares for training, validation and test."""
    try:
        training, validation, test = map(float, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not three shares with commas between, for training, validation and test, as 0.7,0.1,0.2."
        ) from error
    return training, validation, test


def _compare(options: argparse.Namespace) -> int:
    from ..compare.comparison import compare
    from ..learning.stage import Stopped
    from ..runs.stop_signal import StopSignal

    wanted = _wanted(options)
    if not options.json:
        _tell_of_missing_none(options)
    with StopSignal() as stop:
        try:
            compare(
                options.output,
                *wanted,
                scheduler=options.scheduler,
                workers=options.workers,
                threads=options.threads,
                report=_reporter(options),
                stop_requested=lambda: stop.requested,
            )
        except Stopped:
            if not options.json:
                print("Stopped. Repeat the command to go on.")
            return STOPPED_STATUS
    if not options.json:
        print((options.output / "table.md").read_text(encoding="utf-8"))
        print(f"Report: {options.output / 'report.html'}")
    return 0


def _wanted(options: argparse.Namespace) -> tuple[TrainingPlan, list[Case], Split, list[Row]]:
    """What the options ask for, checked before anything is trained: minutes would be lost otherwise."""
    from HLFDSegmentationLib.output.output_folder import LITTLE_SPACE, check_makeable

    from ..annotations.checked_cases import CHECKS, check_usable
    from ..compare.comparison import check_comparison
    from ..compare.folder import ComparisonFolder
    from ..compare.rows import rows_of

    if options.teacher_weights and options.teacher_epochs and not ComparisonFolder(options.output).begun:
        raise TrainingError(
            "With --teacher-weights no teacher is trained, so --teacher-epochs would not be used. Leave out either."
        )
    if options.scheduler is not None and options.workers is not None:
        raise TrainingError(
            "With --scheduler the rows run on the workers that were started for it, so --workers would not be used. "
            "Leave out either."
        )
    plan = _plan(options)
    rows = rows_of(options.methods, options.students, options.seeds)
    cases, split = _cases_and_split(options, plan)
    check_makeable(options.output, LITTLE_SPACE)
    check_comparison(options.output, plan, split, rows, options.scheduler)
    check_usable(cases, plan.task, split, options.output / CHECKS)
    return plan, cases, split, rows


def _tell_of_missing_none(options: argparse.Namespace) -> None:
    if "none" not in options.methods and not any((options.output / "rows").glob("none_*")):
        print("The method none is not among these, so there will be no differences to it. Add it at any time.")


def _plan(options: argparse.Namespace) -> TrainingPlan:
    from HLFDSegmentationLib.model_store import DEFAULT_TASK, find_task

    from ..cases import check_values_explained

    chosen = {
        "teacher": options.teacher,
        "teacher_weights": options.teacher_weights,
        "teacher_epochs": options.teacher_epochs,
        "head_epochs": options.head_epochs,
        "student_epochs": options.epochs,
        "batch": options.batch,
        "learning_rate": options.learning_rate,
        "augmentation": options.augmentation,
        "precision": options.precision,
        "seed": options.teacher_seed,
        "device": options.device,
    }
    if options.task is None:
        check_values_explained(options.cases)
    task = find_task(options.task or DEFAULT_TASK)
    return TrainingPlan(task=task, **{name: value for name, value in chosen.items() if value is not None})


def _cases_and_split(options: argparse.Namespace, plan: TrainingPlan) -> tuple[list[Case], Split]:
    from ..cases import find_cases
    from ..split import read_split, split_by_patient

    cases = find_cases(options.cases, plan.task)
    if options.split:
        return cases, read_split(options.split, cases)
    shares = {"fractions": options.fractions} if options.fractions else {}
    return cases, split_by_patient(cases, seed=plan.seed, **shares)


def _reporter(options: argparse.Namespace) -> Report:
    from ..progress import json_lines

    return json_lines if options.json else _tell


def _tell(event: Event) -> None:
    if event["event"] == "comparison":
        print(f"{event['rows']} rows; to do: {', '.join(event['to_do']) or 'nothing'}", flush=True)
    elif event["event"] == "job":
        more = f", {event['seconds']:.0f} s of training" if "seconds" in event else ""
        more += f": {event['message']}" if "message" in event else ""
        print(f"[{event['done']}/{event['of']}] {event['job']}: {event['state']}{more}", flush=True)
    elif event["event"] == "waiting":
        print(event["message"], flush=True)
