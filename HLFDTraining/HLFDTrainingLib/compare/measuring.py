"""What is measured of each network of a comparison, on the test cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import ModelPackage, read_package, write_package
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices

from ..cases import Case, case_groups
from ..evaluation import segment_case
from ..figure_tables import without_nan
from .focus import CaseFocus, Chosen, focus_of_case
from .label_slices import on_label_slices

FOCUS_FIGURES = ("focus_ratio", "focus", "organ_focus_ratio", "organ_focus")
"""The first is the one that is shown, and that methods are compared by."""


def measure_network(
    network: SegmentationNetwork,
    name: str,
    task: Task,
    cases: Sequence[Case],
    chosen: Chosen,
    *,
    device: str,
    before_each: Callable[[], None],
) -> dict[str, list[dict[str, Any]]]:
    """Figures of a network, as JSON holds them: null for one that has no meaning.

    Args:
        network: in evaluation mode.
        name: of the network.
        task: of the network.
        cases: the test cases.
        chosen: the slices that focus is measured on.
        device: see `choose_device`.
        before_each: called before each case; what it raises ends the measuring.

    Returns:
        "cases": for each case and label `metrics.METRICS` and `SLICE_METRICS`; "focus": for each case, label and layer
        `FOCUS_FIGURES`.

    Raises:
        InputError, CasesError: a case cannot be used.
    """
    found: dict[str, list[dict[str, Any]]] = {"cases": [], "focus": []}
    with _as_package(network, name, task) as package:
        segmenter = Segmenter(package, device)
    network = network.to(segmenter.device)
    for case in cases:
        before_each()
        segmented = segment_case(segmenter, case)
        slices = AxialSlices(segmented.ct, task)
        prediction, truth = (
            slices.labels_of(image_like(classes, segmented.ct)) for classes in (segmented.prediction, segmented.truth)
        )
        place = {"patient": case.patient, "case": case.name}
        groups = case_groups(case, task)
        of_slices = on_label_slices(prediction, truth, slices.spacing[::-1], groups, task)
        for label, metrics in segmented.figures().labels.items():
            values = {**asdict(metrics), **of_slices[label]}
            found["cases"].append({**place, "label": label, **without_nan(values)})
        asked = chosen.get(case.name, {})
        of_layers = focus_of_case(network, slices, truth, groups, asked, task, segmenter.device)
        found["focus"] += [{**place, "label": one.label, "layer": one.layer, **_focus(one)} for one in of_layers]
    return found


@contextmanager
def _as_package(network: SegmentationNetwork, name: str, task: Task) -> Iterator[ModelPackage]:
    """A package of the network in a private folder, for `Segmenter`, which users' models run in too."""
    with PrivateFolder() as folder:
        written = write_package(
            folder.path / "measured",
            network=network,
            network_name=name,
            task=task,
            name="measured",
            title="Measured",
            license="not stated",
            training_data=[],
            metrics={},
            card="# Measured\n",
            method="not stated",
            seeds={},
        )
        yield read_package(written)


def _focus(one: CaseFocus) -> dict[str, float | None]:
    if one.focus is None:
        return dict.fromkeys(FOCUS_FIGURES)
    organ = (one.focus.organ_ratio, one.focus.organ) if one.organ_known else (None, None)
    return dict(zip(FOCUS_FIGURES, (one.focus.segment_ratio, one.focus.segment, *organ)))
