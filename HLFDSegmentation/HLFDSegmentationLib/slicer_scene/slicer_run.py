"""One run, from the CT in the scene to the results in the scene, in steps that are short enough for a timer."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import slicer
from slicer.i18n import tr as _

from ..child_process.worker_protocol import (
    Cancelled,
    Event,
    Failed,
    Finished,
    LayerMap,
    Probability,
    Progress,
    SegmentRequest,
    SegmentResult,
)
from ..errors import HLFDError, InputError
from ..fingerprints import voxels_fingerprint
from ..hounsfield import voxels_problem
from ..model_package import ModelPackage, read_package
from ..output.private_folder import remove_tree
from ..phases import ADDING, PREPARING
from ..tasks import Task
from .slicer_attention_maps import add_map
from .slicer_ct import Box, CtPart, Extent, box_within, part_of, write_raw
from .slicer_dicom import dicom_files
from .slicer_results import (
    add_focus,
    add_focus_table,
    add_measures_table,
    add_probability_node,
    add_segmentation_node,
    add_segments,
    box_of_labels,
    cut_rows,
    fill_voxels,
    fingerprints_of,
    needs_grid,
    new_voxels,
    problem_with_output,
    refer_to,
    remove_nodes,
    segment_names,
    with_display,
)
from .slicer_scene_result import SceneResult, SceneRun
from .slicer_worker import Desk

Value = TypeVar("Value")
Steps = Generator[None, None, Value]
"""Every `yield` ends a step; the next one begins when the timer fires again."""

CANCEL_SECONDS = 3.0
"""The worker's answer to a cancel is waited for so long; it comes within one second unless the worker was closed."""


class _Stopped(Exception):  # noqa: N818
    """The run ends without a result and without a sentence: the user wanted so, or deleted what it works on."""


class SegmentationRun:
    """Segments a CT of the scene. Nothing is done before the first `advance`.

    A run ends with exactly one call of `on_finished`, `on_failed` or `on_cancelled`, unless the worker is closed.
    By then its private files are gone and, unless it finished, everything that it had brought into the scene. It ends
    as cancelled, too, where the CT, the output segmentation or the scene goes away meanwhile.

    Args:
        desk: where to ask the worker.
        volume_node: the CT. Never changed.
        model: folder of the model package.
        device: see `SegmentRequest`.
        tumor_threshold: see `SegmentRequest`.
        attention: also bring the attention maps.
        probabilities: also bring the probability maps.
        roi_node: label only the box of voxels around this region of interest; None: all. The network looks at the whole
            of its slices all the same.
        output_node: add the segments to this segmentation; None: make a new one.
        allow_not_hu: segment an image that does not look like HU without asking. The result is marked all the same.
        on_progress: called with a phase (see `phases`), the share of the whole that is done, 0 to 1, and the seconds
            that are left, None where they are not known.
        on_not_hu: called with a sentence where the CT does not look like HU; the run then waits for `go_on` or
            `cancel`. None: such a run fails.
        on_finished: called with the result.
        on_failed: called with a sentence for the user.
        on_cancelled: called when nothing is left of the run.
    """

    def __init__(
        self,
        desk: Desk,
        volume_node: slicer.vtkMRMLScalarVolumeNode | None,
        *,
        model: Path,
        device: str,
        tumor_threshold: float | None,
        attention: bool,
        probabilities: bool,
        roi_node: slicer.vtkMRMLMarkupsROINode | None,
        output_node: slicer.vtkMRMLSegmentationNode | None,
        allow_not_hu: bool,
        on_progress: Callable[[str, float, float | None], None],
        on_not_hu: Callable[[str], None] | None,
        on_finished: Callable[[SceneResult], None],
        on_failed: Callable[[str], None],
        on_cancelled: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._ct: Any = volume_node  # One that is None ends the run before anything is asked of it.
        self._roi = roi_node
        self._output = output_node
        self._model = model
        self._request = partial(
            SegmentRequest,
            model=str(model),
            device=device,
            tumor_threshold=tumor_threshold,
            attention=attention,
            probabilities=probabilities,
        )
        self._allow_not_hu = allow_not_hu
        self._on_progress = on_progress
        self._on_not_hu = on_not_hu
        self._on_finished = on_finished
        self._on_failed = on_failed
        self._on_cancelled = on_cancelled

        self._scene: Any = None  # Known from the first pause on.
        self._needed: list[slicer.vtkMRMLNode] = []
        self._job: int | None = None
        self._undo = ExitStack()
        self._tidy = ExitStack()
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._future: Future | None = None
        self._steps: Steps[Callable[[], None]] | None = self._whole()
        self._busy = False

    @property
    def running(self) -> bool:
        """The run has not ended yet: `advance` is to be called."""
        return self._steps is not None

    def advance(self) -> None:
        """Does one short step. To be called by a timer, every 20 to 50 ms."""
        if self._busy or self._steps is None:
            return  # A dialog that a callback opened keeps the timer going.
        self._busy = True
        try:
            if (tell := self._step(self._steps)) is not None:
                self._steps = None
                tell()
        finally:
            self._busy = False

    def _step(self, steps: Steps[Callable[[], None]]) -> Callable[[], None] | None:
        """Goes on to the next pause; at the end gives what is to be told."""
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        except Exception as error:  # In taking back or tidying up: whoever waits must hear of an end all the same.
            return partial(self._on_failed, _sentence(error))
        return None

    def cancel(self) -> None:
        """Ends the run. One of the next steps calls `on_cancelled`, within about a second."""
        self._stop.set()

    def abandon(self) -> None:
        """Ends the run without a further call, as when Slicer quits; nothing of it stays in the scene."""
        self._steps = None
        self._stop.set()
        self._undo.close()
        self._thread.shutdown(wait=False)

    def go_on(self) -> None:
        """Answers `on_not_hu`: the user wants the image segmented all the same."""
        self._allow_not_hu = True

    def _whole(self) -> Steps[Callable[[], None]]:
        """The run with its end. Gives what is to be told."""
        tell = self._on_cancelled
        try:
            result = yield from self._run()
            self._undo.pop_all()
            tell = partial(self._on_finished, result)
        except _Stopped:
            pass
        except Exception as error:
            tell = partial(self._on_failed, _sentence(error))
        self._undo.close()
        yield from self._leave_nothing()
        return tell

    def _run(self) -> Steps[SceneResult]:
        self._on_progress(PREPARING, 0.0, None)
        part = self._look_at_nodes()
        whole = part_of(self._ct)
        fingerprint = yield from self._in_thread(voxels_fingerprint, whole.voxels)
        not_hu, cautions = yield from self._in_thread(_told_by_whole, whole, part)
        folder = self._desk.private_folder()
        self._tidy.callback(remove_tree, folder)
        package = yield from self._in_thread(read_package, self._model)
        image = yield from self._in_thread(write_raw, part.voxels, part.grid, folder / "ct.raw", self._stop)
        request = partial(
            self._request,
            ct=image,
            folder=str(folder),
            region=_region_in(part),
            whole=whole.grid,
            whole_not_hu=not_hu,
            whole_cautions=cautions,
        )
        answer = yield from self._ask(request)
        self._on_progress(ADDING, 1.0, None)
        return (yield from self._add(part, package, answer, fingerprint))

    def _look_at_nodes(self) -> CtPart:
        """Raises InputError where the run cannot begin."""
        if self._ct is not None and self._ct.GetScene() is None:
            raise InputError(_("The CT is no longer in the scene. Choose a CT."))
        part = part_of(self._ct, self._roi)
        self._check_output()
        self._scene = self._ct.GetScene()
        self._needed = [node for node in (self._ct, self._output) if node is not None]
        return part

    def _ask(self, request: Callable[..., SegmentRequest]) -> Steps[SegmentResult]:
        """The worker's answer. Raises InputError with its sentence where there is none."""
        while True:
            allow_not_hu = self._allow_not_hu
            self._job = self._desk.submit(request(allow_not_hu=allow_not_hu, dicom_files=dicom_files(self._ct)))
            event = yield from self._end_of_job()
            if isinstance(event, Finished):
                assert isinstance(event.result, SegmentResult)  # What was asked for.
                return event.result
            if isinstance(event, Cancelled):
                raise _Stopped
            if event.kind != "not_hu" or self._on_not_hu is None or allow_not_hu:
                raise InputError(event.message)
            self._on_not_hu(event.message)
            while not self._allow_not_hu:
                yield from self._pause()

    def _end_of_job(self) -> Steps[Finished | Failed | Cancelled]:
        while True:
            for event in self._heard():
                if not isinstance(event, Progress):
                    return event
                self._on_progress(event.phase, event.fraction, event.seconds_left)
            yield from self._pause()

    def _heard(self) -> list[Event]:
        """What the worker told of the job."""
        events = [event for event in self._desk.poll() if event.job == self._job]
        if any(not isinstance(event, Progress) for event in events):
            self._job = None
        return events

    def _check_still_fits(self, part: CtPart) -> None:
        """Raises InputError where results would lie beside the CT, or the output was changed so that it takes none."""
        self._check_output()
        if not part.lies_as(self._ct):
            raise InputError(
                _(
                    "'{name}' got another place while it was segmented, as by hardening a transform, so that the "
                    "segments would lie beside it. Segment it again."
                ).format(name=self._ct.GetName())
            )

    def _check_output(self) -> None:
        if self._output is not None and (problem := problem_with_output(self._output, self._ct)):
            raise InputError(problem)

    def _add(
        self, part: CtPart, package: ModelPackage, answer: SegmentResult, ct_fingerprint: str
    ) -> Steps[SceneResult]:
        """Brings what the worker found into the scene. Raises InputError where it cannot lie there any more."""
        self._check_still_fits(part)
        task = package.task
        box = yield from self._in_thread(box_of_labels, answer.labels)
        prints = yield from self._in_thread(fingerprints_of, answer.labels, box, part, task)
        node = self._output_node(part) or self._add_segmentation_node(part, answer)
        result = SceneResult(node)
        names = segment_names(node, task)
        run = SceneRun(
            model=answer.model_name,
            device=answer.device,
            cautions=answer.cautions,
            notes=[*answer.notes, *self._notes(part)],
            not_hu=answer.not_hu or "",
            fingerprints=prints,
            segments={label: names[label] for label in prints},
            weights=package.weights_sha256,
            key=uuid.uuid4().hex,
            ct_fingerprint=ct_fingerprint,
            labels=[label.name for label in task.labels],
            told_to_voxel=part.told_to_voxel.ravel().tolist(),
        )
        if box is not None:
            self._add_segments(result, part, task, answer, names, box, run)
        yield from self._pause()
        for one in answer.maps:
            self._add_map(result, part, one, names)
            yield from self._pause()
        for probability in answer.probabilities:
            yield from self._add_probability(result, part, probability, names)
        self._check_still_fits(part)  # Again, as many steps may have passed.
        self._add_tables(result, part, answer, names)
        result.add_run(run, self._ct)
        return result

    def _notes(self, part: CtPart) -> list[str]:
        if self._roi is None or part.region == part.whole:
            return []
        # Without the region's name, which may tell who the patient is: notes go into the report.
        return [_("Only a region of the CT was segmented: volumes, lesions and focus are of it alone.")]

    def _output_node(self, part: CtPart) -> slicer.vtkMRMLSegmentationNode | None:
        """The chosen segmentation. One as a script makes it gets what its segments are seen and edited with."""
        node = self._output
        if node is None:
            return None
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            _node, *display_nodes = with_display(node)
            self._undo.callback(remove_nodes, display_nodes)
        if needs_grid(node, self._ct):
            self._undo.callback(refer_to(node, self._ct, part))
        return node

    def _add_segmentation_node(self, part: CtPart, answer: SegmentResult) -> slicer.vtkMRMLSegmentationNode:
        name = _("{ct} segmentation ({model})").format(ct=self._ct.GetName(), model=answer.model_name)
        if answer.not_hu:
            name = _("{name}, not in HU").format(name=name)
        node = add_segmentation_node(self._ct, part, name)
        self._undo.callback(remove_nodes, with_display(node))
        self._needed.append(node)
        return node

    def _add_segments(
        self,
        result: SceneResult,
        part: CtPart,
        task: Task,
        answer: SegmentResult,
        names: dict[str, str],
        box: Box,
        run: SceneRun,
    ) -> None:
        """Of all steps the one that may take longer: every segment comes at once."""
        found = {measured.label for measured in answer.measures if measured.volume_ml > 0}
        labels = {names[label.name]: label for label in task.labels if label.name in found}
        keys = add_segments(result.node, self._ct, part, answer.labels, box, labels)
        for key, (segment, label) in zip(keys, labels.items()):
            self._undo.callback(result.node.GetSegmentation().RemoveSegment, key)
            result.mark_segment(key, segment=segment, label=label.name, run=run.key)

    def _add_map(self, result: SceneResult, part: CtPart, told: LayerMap, names: dict[str, str]) -> None:
        own = replace(told, image=replace(told.image, grid=part.to_own(told.image.grid)))
        node = add_map(self._scene, own, result.node, self._ct, names[told.label])
        self._undo.callback(remove_nodes, with_display(node))

    def _add_probability(
        self, result: SceneResult, part: CtPart, told: Probability, names: dict[str, str]
    ) -> Steps[None]:
        box = box_within(part.region, part.extent)
        voxels = new_voxels(part.region)
        yield from self._in_thread(fill_voxels, voxels, told.image, box)
        node = add_probability_node(result, self._ct, part, voxels, names[told.label])
        self._undo.callback(remove_nodes, with_display(node))
        yield from self._pause()

    def _add_tables(self, result: SceneResult, part: CtPart, answer: SegmentResult, names: dict[str, str]) -> None:
        note = " ".join(filter(None, (answer.not_hu, *answer.cautions)))
        self._undo.callback(
            remove_nodes, [add_measures_table(result, self._ct, part, names, answer.measures, note=note)]
        )
        if not answer.maps:
            return
        if (table := result.focus_table) is None:
            table = add_focus_table(result, self._ct)
            self._undo.callback(remove_nodes, [table])
        self._undo.callback(cut_rows, table, table.GetNumberOfRows())
        add_focus(table, names, answer.maps)

    def _in_thread(self, work: Callable[..., Value], *arguments: Any) -> Steps[Value]:
        """What a function gives that touches no node, and takes its time beside Slicer."""
        self._future = self._thread.submit(work, *arguments)
        yield from self._pause()
        while not self._future.done():
            yield from self._pause()
        return self._future.result()

    def _pause(self) -> Steps[None]:
        """Ends a step. Raises _Stopped where the next one must not come."""
        while True:
            yield
            if self._stop.is_set() or self._scene.IsClosing():
                raise _Stopped
            if any(node.GetScene() is not self._scene for node in self._needed):
                raise _Stopped
            if not self._scene.IsBatchProcessing():
                return

    def _leave_nothing(self) -> Steps[None]:
        """Sees to it that no job goes on and no file stays."""
        self._stop.set()
        if self._job is not None:
            self._desk.cancel(self._job)
        deadline = time.monotonic() + CANCEL_SECONDS
        while self._job is not None and time.monotonic() < deadline:
            yield
            self._heard()
        # Beside Slicer: a worker that is just being ended holds its files for a moment.
        tidied = self._thread.submit(self._tidy.close)
        self._thread.shutdown(wait=False)
        while not tidied.done():
            yield


def _region_in(part: CtPart) -> Extent | None:
    """What is to be labeled, counted in the voxels that the worker gets; none where it is all of them."""
    if part.region == part.extent:
        return None
    k, j, i = box_within(part.region, part.extent)
    return i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1


def _told_by_whole(whole: CtPart, part: CtPart) -> tuple[str | None, tuple[str, ...]]:
    """What the values of a CT tell where some of its slices need not: why it does not look like HU, and cautions.

    Nothing where the part is all of it: the worker looks at that.
    """
    if part.extent == whole.extent:
        return None, ()
    # Here, because the module must open without SciPy.
    from ..cautions.hounsfield_offset import offset_cautions

    return voxels_problem(whole.voxels), tuple(offset_cautions(whole.voxels))


def _sentence(error: Exception) -> str:
    if isinstance(error, HLFDError):
        return str(error)
    logging.error("HLFD: a segmentation run ended unexpectedly", exc_info=error)
    return _("The segmentation ended because of a mistake in the program. Try again; View > Error Log tells more.")
