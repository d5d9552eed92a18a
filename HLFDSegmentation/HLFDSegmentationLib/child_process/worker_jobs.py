"""What the worker does when it is asked: the requests of `worker_protocol`, with the library."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ..attention import Focus, LayerAttention
from ..cautions.hounsfield_offset import offset_cautions
from ..ct_files import BODY_HU, check_voxels
from ..devices import available_devices, device_title, release_memory
from ..errors import InputError, NotHUError
from ..hounsfield import voxels_problem
from ..image_files.dicom_loaded import modality_problem, series_cautions_and_doubts
from ..image_files.image_headers import untold_grid_cautions
from ..image_points import image_like
from ..inference import Segmentation, Segmenter
from ..model_package import ModelPackage, read_package
from ..phases import LOADING, MEASURING, WRITING
from ..pipeline import NOT_HU
from ..quantification import measure
from ..report import write_report
from ..volumes import AxialSlices
from .raw_images import check_results_fit, new_raw, read_raw, write_raw
from .worker_protocol import (
    Answer,
    Device,
    DevicesRequest,
    DevicesResult,
    LayerMap,
    Probability,
    RawImage,
    ReportRequest,
    ReportResult,
    Request,
    SegmentRequest,
    SegmentResult,
)

Tell = Callable[[str, float], None]
"""Called with a phase and the share of it that is done. What it raises ends the job."""


class Jobs:
    """Does one job after the other, and keeps the last model loaded in between."""

    def __init__(self) -> None:
        self._model = _LoadedModel()
        # The first gradient makes torch import for seconds; nobody waits for it now.
        one = torch.ones(1, requires_grad=True)
        torch.autograd.grad(one * 1, one, torch.ones(1))

    def do(self, request: Request, tell: Tell) -> Answer:
        """Does what is asked for.

        Raises:
            HLFDError: why it cannot be done.
        """
        match request:
            case SegmentRequest():
                return self._segment(request, tell)
            case ReportRequest():
                return _report(request, tell)
            case DevicesRequest():
                return DevicesResult([Device(name, device_title(name)) for name in available_devices()])
        raise TypeError(f"nothing is known of {type(request).__name__}")

    def rest(self) -> None:
        """Leaves memory to others: the graphics card's, as to Slicer, which draws with it, and the computer's.

        The model stays there.
        """
        release_memory()
        if sys.platform == "linux":
            # Of what a job has freed, glibc keeps hundreds of MB. Other C libraries have no such function.
            with suppress(AttributeError, OSError):
                ctypes.CDLL(None).malloc_trim(0)

    def _segment(self, request: SegmentRequest, tell: Tell) -> SegmentResult:
        tell(LOADING, 0)
        ct = _read_ct(request)
        not_hu = modality_problem(request.dicom_files) or _values_problem(request, ct)
        if not_hu and not request.allow_not_hu:
            raise NotHUError(not_hu)
        cautions, doubts = series_cautions_and_doubts(request.dicom_files)
        if not request.dicom_files:
            cautions = [*cautions, *untold_grid_cautions(request.whole)]
        package, segmenter = self._model.load(request.model, request.device)
        tell(LOADING, 1)
        folder = Path(request.folder)
        # The labels take their space now: a full disk is told before minutes of work, and not after them.
        labels_file, labels_voxels = new_raw(ct, "uint8", folder / "labels.raw")
        labels = package.task.labels if request.probabilities else ()
        files = [new_raw(ct, "float32", folder / f"probability{label.value}.raw") for label in labels]
        if request.attention:
            # Nobody knows yet what will be found: all maps together often take a byte for each voxel, or more.
            check_results_fit(folder, ct.GetNumberOfPixels())
        segmentation = segmenter.segment(
            ct,
            region=_part(request.region) if request.region else None,
            tumor_threshold=request.tumor_threshold,
            attention=request.attention,
            signed=True,
            probabilities=[voxels for _, voxels in files],
            progress=tell,
        )
        tell(MEASURING, 0)
        measures = measure(segmentation.labels, ct, package.task)
        tell(MEASURING, 1)
        labels_voxels[:] = sitk.GetArrayViewFromImage(segmentation.labels)
        maps = _write_maps(segmentation, AxialSlices(ct, package.task), folder, tell)
        return SegmentResult(
            labels=labels_file,
            measures=measures,
            maps=maps,
            probabilities=[Probability(label.name, raw) for label, (raw, _) in zip(labels, files)],
            cautions=[*cautions, *_cautions_of_whole(request, ct, segmentation.cautions)],
            notes=doubts + segmentation.notes,
            not_hu=NOT_HU + not_hu if not_hu else None,
            device=segmentation.device,
            model_name=package.name,
        )


class _LoadedModel:
    """The model of the last job, loaded again as soon as anything about its files has changed."""

    def __init__(self) -> None:
        self._key: object = None
        self._loaded: tuple[ModelPackage, Segmenter] | None = None

    def load(self, folder: str, device: str) -> tuple[ModelPackage, Segmenter]:
        key = (folder, device, _traces(Path(folder)))
        if self._loaded is None or key != self._key:
            self._loaded = None  # Two models at once need twice the memory.
            package = read_package(folder)
            self._loaded = package, Segmenter(package, device)
            self._key = key
        return self._loaded


def _traces(folder: Path) -> list[tuple[str, int, int, int]]:
    """What changes with any change of a folder's files, without reading them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(str(path), path.stat()) for path in files]
    return [(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for path, state in states]


def _part(region: tuple[int, ...]) -> tuple[slice, ...]:
    """A region of the request as a part [z, y, x] of the CT's array."""
    return tuple(slice(region[axis], region[axis + 1] + 1) for axis in (4, 2, 0))


def _is_some_slices(request: SegmentRequest) -> bool:
    return request.ct.grid != request.whole


def _read_ct(request: SegmentRequest) -> sitk.Image:
    ct = read_raw(request.ct)
    if _is_some_slices(request) and sitk.GetArrayViewFromImage(ct).max() <= BODY_HU:
        raise InputError("The slices around the region hold nothing but air. Move the region.")
    check_voxels(ct, "The image")
    return ct


def _values_problem(request: SegmentRequest, ct: sitk.Image) -> str | None:
    if _is_some_slices(request):
        return request.whole_not_hu
    return voxels_problem(sitk.GetArrayViewFromImage(ct))


def _cautions_of_whole(request: SegmentRequest, ct: sitk.Image, cautions: list[str]) -> list[str]:
    """Cautions with what the values of the whole CT tell, where they do, in place of those of some of its slices."""
    if not request.whole_cautions:
        return cautions
    of_slices = offset_cautions(sitk.GetArrayViewFromImage(ct))
    return [*request.whole_cautions, *(caution for caution in cautions if caution not in of_slices)]


def _write_maps(segmentation: Segmentation, slices: AxialSlices, folder: Path, tell: Tell) -> list[LayerMap]:
    maps = []
    for number, layer in enumerate(segmentation.attention):
        tell(WRITING, number / len(segmentation.attention))
        image = _around_label(slices.layer_image(layer.maps), layer.slices_with_label)
        maps.append(_layer_map(layer, write_raw(image, folder / f"map{number}.raw")))
    tell(WRITING, 1)
    return maps


def _around_label(map_image: sitk.Image, slices_with_label: np.ndarray) -> sitk.Image:
    """The slices of a map that hold its label, and one more on either side: the others are zeros that take memory."""
    slices = np.flatnonzero(slices_with_label)
    first, last = max(0, int(slices[0]) - 1), min(len(slices_with_label), int(slices[-1]) + 2)
    return map_image[:, :, first:last]


def _layer_map(layer: LayerAttention, image: RawImage) -> LayerMap:
    focus = layer.focus
    return LayerMap(
        label=layer.label,
        layer=layer.layer,
        image=image,
        empty=layer.empty,
        focus_segment=focus.segment if focus else None,
        focus_organ=focus.organ if focus else None,
        segment_ratio=focus.segment_ratio if focus else None,
        organ_ratio=focus.organ_ratio if focus else None,
    )


# Report


def _report(request: ReportRequest, tell: Tell) -> ReportResult:
    tell(WRITING, 0)
    package = read_package(request.model)
    ct, labels = read_raw(request.ct), read_raw(request.labels)
    measures = [one for one in measure(labels, ct, package.task) if one.label not in request.deleted]
    tell(WRITING, 0)
    slices = AxialSlices(ct, package.task)
    network_labels = slices.to_canvas(slices.labels_of(labels))
    grids = {(layer_map.label, layer_map.layer): layer_map.image for layer_map in request.maps}

    def image_of(layer: LayerAttention) -> sitk.Image:
        return image_like(layer.maps, read_raw(grids[layer.label, layer.layer]))

    write_report(
        Path(request.destination),
        ct=ct,
        ct_name=request.title,
        segmentation=Segmentation(
            labels,
            package.task,
            network_labels,
            cautions=[],  # They are among the warnings.
            notes=list(request.notes),
            attention=[_positive(layer_map) for layer_map in request.maps],
            device=request.device,
        ),
        measures=measures,
        package=package,
        warnings=request.warnings,
        image_of=image_of,
        readings=request.readings,
    )
    return ReportResult(request.destination)


def _positive(layer_map: LayerMap) -> LayerAttention:
    """The positive attention of a map, on its own scale of 0 to 1."""
    maps = sitk.GetArrayFromImage(read_raw(layer_map.image)).clip(0)
    if maps.any():
        maps /= maps.max()
    return LayerAttention(
        label=layer_map.label,
        layer=layer_map.layer,
        maps=maps,
        signed=False,
        slices_with_label=np.any(maps, axis=(1, 2)),
        focus=_focus(layer_map),
        empty=layer_map.empty,
    )


def _focus(layer_map: LayerMap) -> Focus | None:
    if layer_map.focus_segment is None or layer_map.focus_organ is None:
        return None
    return Focus(
        layer_map.focus_segment,
        layer_map.focus_organ,
        _share_of_body(layer_map.focus_segment, layer_map.segment_ratio),
        _share_of_body(layer_map.focus_organ, layer_map.organ_ratio),
    )


def _share_of_body(focus: float, ratio: float | None) -> float:
    # Without any focus the ratio is 0 whatever the share is.
    return focus / ratio if ratio else 1.0
