"""A model's figures on annotated cases: whole CTs, segmented as a user would segment them."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, InputError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.label_files import read_label
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.safe_files import replacing
from HLFDSegmentationLib.tasks import Task

from .cases import Case, case_groups, target_values
from .metrics import METRICS, CaseMetrics, Summary, measure_case


def evaluate(
    package: ModelPackage,
    cases: Sequence[Case],
    *,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> list[CaseMetrics]:
    """Segments each case and compares it with its annotation, in what the annotator looked for.

    Args:
        package: the model.
        cases: none of which it has learned from.
        device: see `choose_device`.
        progress: called with the next case's name and the share of the cases that are done.

    Raises:
        InputError, CasesError: a case cannot be used.
    """
    segmenter = Segmenter(package, device)
    figures = []
    for number, case in enumerate(cases):
        if progress:
            progress(case.name, number / len(cases))
        figures.append(measure(segmenter, case)[0])
    return figures


def measure(segmenter: Segmenter, case: Case) -> tuple[CaseMetrics, float]:
    """The figures of one case, and the seconds that segmenting took, reading the files left out.

    Raises:
        InputError, CasesError: the case cannot be used.
    """
    segmented = segment_case(segmenter, case)
    return segmented.figures(), segmented.seconds


@dataclass(frozen=True)
class SegmentedCase:
    """A case with its segmentation.

    Attributes:
        case: the case.
        task: what was segmented.
        ct: its CT.
        prediction: predicted classes [z, y, x].
        truth: annotated classes [z, y, x], see `metrics.measure_case`.
        seconds: that segmenting took, reading the files left out.
    """

    case: Case
    task: Task
    ct: sitk.Image
    prediction: np.ndarray
    truth: np.ndarray
    seconds: float

    def figures(self) -> CaseMetrics:
        """How well the segmentation agrees with the annotation."""
        return measure_case(
            self.case.name,
            self.prediction,
            self.truth,
            spacing=self.ct.GetSpacing()[::-1],
            groups=case_groups(self.case, self.task),
            task=self.task,
        )


def segment_case(segmenter: Segmenter, case: Case) -> SegmentedCase:
    """Segments a case and reads its annotation.

    Raises:
        InputError, CasesError: the case cannot be used.
    """
    ct = read_ct(case.ct)
    truth = annotated_classes(case, segmenter.task)
    started = time.monotonic()
    labels = segmenter.segment(ct).labels
    seconds = time.monotonic() - started
    return SegmentedCase(case, segmenter.task, ct, sitk.GetArrayFromImage(labels), truth, seconds)


def annotated_classes(case: Case, task: Task) -> np.ndarray:
    """The classes [z, y, x] that a case's annotation shows, each the representative of its group.

    Raises:
        CasesError: the annotation cannot be read, or does not fit the task.
    """
    annotation = _annotation(case)
    truth = np.zeros(annotation.shape, np.uint8)
    for value, representative in target_values(case, task).items():
        truth[annotation == value] = representative
    return truth


def _annotation(case: Case) -> np.ndarray:
    try:
        return sitk.GetArrayFromImage(read_label(case.label))
    except InputError as error:
        raise CasesError(
            f"Case {case.name}: {error} Put its annotation back where it was, or leave the case out."
        ) from error


def write_metrics_csv(figures: Sequence[CaseMetrics], path: Path) -> None:
    """One row a case and label, with `METRICS` as columns; empty where a figure has no meaning. Raises OutputError."""
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ("case", "label", *METRICS))
        writer.writeheader()
        for case in figures:
            for label, metrics in case.labels.items():
                values = {name: "" if np.isnan(value) else f"{value:.5f}" for name, value in asdict(metrics).items()}
                if any(values.values()):
                    writer.writerow({"case": case.case, "label": label, **values})


def summary_table(
    summaries: dict[str, dict[str, Summary]], metrics: Sequence[str] = METRICS, *, of: str = "label"
) -> str:
    """Mean ± standard deviation (cases) of each label, or what else is summarized, and metric, as a Markdown table."""
    lines = [f"| {of} | {' | '.join(metrics)} |", "|---|" + "---|" * len(metrics)]
    for label, figures in summaries.items():
        cells = [summary_text(figures[metric]) for metric in metrics]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary_text(summary: Summary) -> str:
    """Mean ± standard deviation (cases), or a dash."""
    if not summary.n:
        return "-"
    spread = "" if np.isnan(summary.sd) else f" ± {summary.sd:.3f}"
    return f"{summary.mean:.3f}{spread} ({summary.n})"
