"""A model's figures on annotated cases: whole CTs, segmented as a user would segment them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, InputError
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.tasks import Task

from .annotations.case_check import check_geometry, first_error
from .annotations.case_files import Looked, look_at
from .cases import Case, case_groups, classes_of
from .metrics import CaseMetrics, measure_case
from .runs.earlier_runs import known_files
from .runs.run_folder import RunFolder


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
        figures.append(segment_case(segmenter, case).figures())
    return figures


def check_test_cases(run: RunFolder, cases: Sequence[Case]) -> dict[str, Looked]:
    """Refuses a run's test cases where figures of them would not be of what the run was begun with.

    Args:
        run: begun.
        cases: its test cases.

    Returns:
        What their files are, by case name.

    Raises:
        CasesError: a CT or a label is another one than before; or, where the run does not know what they were, the
            label does not lie on the CT's grid.
        InputError: such a file cannot be read.
    """
    stored = known_files(run)
    looked = look_at(cases, stored)
    known = {name for name, before in stored.items() if before.get("ct") and before.get("label")}
    for case in cases:
        if case.name not in known:
            findings = list(check_geometry(case, read_ct(case.ct), read_label(case.label)))
            if problem := first_error(findings):
                raise CasesError(problem)
    return looked


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
        device: where the network ran to the end, which is the CPU where a GPU's memory was too small.
    """

    case: Case
    task: Task
    ct: sitk.Image
    prediction: np.ndarray
    truth: np.ndarray
    seconds: float
    device: str

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
    truth = classes_of(_annotation(case), case, segmenter.task)
    started = time.monotonic()
    found = segmenter.segment(ct)
    seconds = time.monotonic() - started
    prediction = sitk.GetArrayFromImage(found.labels)
    return SegmentedCase(case, segmenter.task, ct, prediction, truth, seconds, found.device)


def _annotation(case: Case) -> np.ndarray:
    try:
        return sitk.GetArrayFromImage(read_label(case.label))
    except InputError as error:
        raise CasesError(
            f"Case {case.name}: {error} Put its annotation back where it was, or leave the case out."
        ) from error
