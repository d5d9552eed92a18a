"""The networks of a finished run beside each other on its test cases: teacher, student, student without a teacher."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from HLFDSegmentationLib import __version__
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.output.private_folder import remove_tree
from HLFDSegmentationLib.output.safe_files import replacing

from .annotations.case_files import Looked
from .cases import Case
from .evaluation import check_test_cases, segment_case
from .figure_tables import summary_table, summary_text, without_nan
from .kept_figures import MeasuredCase, kept_or_measured
from .metrics import METRICS, CaseMetrics, Summary, summarize, summary_of
from .network_cost import network_cost
from .packaging import stage_as_package
from .runs.run_folder import RunFolder

COMPARED = ("teacher", "student", "undistilled")

MEASURING = "measuring"
"""Folder of a run with the figures of single cases, until all are measured."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ModelFigures:
    """What one network achieves and costs.

    Attributes:
        stage: one of `COMPARED`.
        network: its name.
        method: by which it learned; "none" is on the labels alone.
        parameters: how many.
        gmacs: billions of multiply-adds for one slice of the task's input size.
        seconds: for segmenting a test case, reading the files left out.
        devices: where that ran; the CPU, too, where a GPU's memory was too small for a case.
        labels: by label and by `METRICS` the summary over the test cases.
        cases: the figures of each test case.
    """

    stage: str
    network: str
    method: str
    parameters: int
    gmacs: float
    seconds: Summary
    devices: tuple[str, ...]
    labels: dict[str, dict[str, Summary]]
    cases: tuple[CaseMetrics, ...]


def compare_run(run: RunFolder, device: str, progress: Progress | None = None) -> list[ModelFigures]:
    """Measures the networks that a finished run has trained on its test cases.

    Writes `comparison.json` and, a row for each network and label, `comparison.csv` in the run's folder. Cases that
    were measured before this was ended are not measured again.

    Args:
        run: the run.
        device: see `choose_device`.
        progress: called with what is being measured and the share that is done.

    Raises:
        TrainingError: the run is not finished, or has no test cases.
        InputError, CasesError: a case can no longer be used, or is not the one that the run was begun with.
        OutputError: the files cannot be written.
    """
    run.result()  # which a run has when it is finished
    plan = run.plan()
    cases = run.split(plan).test
    if not cases:
        raise TrainingError(
            "The run has no test cases to compare its networks on: it had too few patients to set some aside. "
            "Begin a run with more patients."
        )
    looked = check_test_cases(run, cases)
    stages = [stage for stage in plan.stages if stage in COMPARED]
    models = []
    for number, stage in enumerate(stages):

        def tell(case: str, share: float, stage: str = stage, number: int = number) -> None:
            if progress:
                progress(f"{stage}: {case}", (number + share) / len(stages))

        models.append(_measure_stage(run, stage, cases, looked, device, tell))
    run.write(run.comparison.name, without_nan({"models": [asdict(model) for model in models]}))
    _write_csv(models, run.comparison.with_suffix(".csv"))
    remove_tree(run.path / MEASURING)
    return models


def _measure_stage(
    run: RunFolder,
    stage: str,
    cases: Sequence[Case],
    looked: Mapping[str, Looked],
    device: str,
    progress: Progress,
) -> ModelFigures:
    with stage_as_package(run, stage) as package:
        segmenter = Segmenter(package, device)
        cost = network_cost(package.load_network(), *package.task.input_size)
    # What a device loads for its first network is no part of what a CT takes.
    segmenter.segment(sitk.Image(64, 64, 2, sitk.sitkInt16))
    measured = []
    for number, case in enumerate(cases):
        progress(case.name, number / len(cases))
        identity = (__version__, package.weights_sha256, device, case.name, case.labels, looked[case.name])
        measured.append(kept_or_measured(run.path / MEASURING, identity, partial(_measure_case, segmenter, case)))
    figures = tuple(one.figures for one in measured)
    return ModelFigures(
        stage=stage,
        network=package.network_name,
        method=package.method,
        parameters=cost.parameters,
        gmacs=cost.macs / 1e9,
        seconds=summary_of([one.seconds for one in measured]),
        devices=tuple(dict.fromkeys(one.device for one in measured)),
        labels=summarize(figures),
        cases=figures,
    )


def _measure_case(segmenter: Segmenter, case: Case) -> MeasuredCase:
    """The CT is not kept beside the next one."""
    segmented = segment_case(segmenter, case)
    return MeasuredCase(segmented.figures(), segmented.seconds, segmented.device)


def comparison_text(models: Sequence[ModelFigures]) -> str:
    """A table of the costs and one for each label, as Markdown."""
    lines = ["| network | parameters | GMACs | seconds a CT |", "|---|---|---|---|"]
    lines += [
        f"| {_title(model)} | {model.parameters / 1e6:.2f} M | {model.gmacs:.2f} | {_seconds_text(model)} |"
        for model in models
    ]
    for label in models[0].labels:
        rows = {_title(model): model.labels[label] for model in models}
        lines += ["", f"{label}:", "", summary_table(rows, of="network")]
    return "\n".join(lines)


def _seconds_text(model: ModelFigures) -> str:
    several = f" ({', '.join(model.devices)})" if len(model.devices) > 1 else ""
    return f"{summary_text(model.seconds)}{several}"


def _title(model: ModelFigures) -> str:
    return f"{model.stage} ({model.network})"


def _write_csv(models: Sequence[ModelFigures], path: Path) -> None:
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        rows = [_row(model, label) for model in models for label in model.labels]
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _row(model: ModelFigures, label: str) -> dict[str, Any]:
    figures = {**{metric: model.labels[label][metric] for metric in METRICS}, "seconds": model.seconds}
    columns = {f"{name}_{part}": value for name, found in figures.items() for part, value in asdict(found).items()}
    return {
        "stage": model.stage,
        "network": model.network,
        "method": model.method,
        "label": label,
        "parameters": model.parameters,
        "gmacs": round(model.gmacs, 4),
        **{
            name: "" if math.isnan(value) else round(value, 5) if isinstance(value, float) else value
            for name, value in columns.items()
        },
    }
