"""Segmenting in the panel: the Segment button that becomes Cancel, the progress, and where the network runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..child_process.worker_protocol import VOXEL_BYTES, Device, DevicesResult
from ..errors import HLFDError, InputError
from ..phases import ADDING, EXPLAINING, LOADING, MEASURING, PREPARING, SEGMENTING, STARTING, WRITING
from ..slicer_scene.slicer_ct import part_of, problem_with
from ..slicer_scene.slicer_results import problem_with_output
from ..slicer_scene.slicer_run import SegmentationRun
from ..slicer_scene.slicer_scene_result import SceneResult
from ..slicer_scene.slicer_watch import Watch
from ..slicer_scene.slicer_worker import ask_devices
from ..slicer_tools.slicer_careful_question import confirm_carefully
from ..slicer_tools.slicer_double_click import without_double_clicks
from ..slicer_tools.slicer_kept_focus import KeptFocus
from ..slicer_tools.slicer_later import later, rest_timer
from ..slicer_tools.slicer_layout import layout_node
from ..slicer_tools.slicer_linked_views import composites_of, each_alone, is_own
from ..slicer_tools.slicer_message import breakable
from ..slicer_tools.slicer_packages import ensure_packages, missing_packages, missing_sentences
from ..slicer_tools.slicer_reasons import Reasons
from ..slicer_tools.slicer_shown_volumes import shown_volumes
from ..slicer_tools.slicer_status_bar import tell
from ..slicer_tools.slicer_texts import time_text
from .slicer_model_panel import ModelPanel
from .slicer_view_content import set_background

AUTO = "auto"

LARGE_GB = 1.0
"""Probability volumes that take more memory are told of before the run."""


class RunPanel(VTKObservationMixin):
    """The controls of a run.

    Args:
        ui: the panel's widgets.
        logic: the module's logic.
        models: the chosen model.
        on_problem: called with a sentence to show, "" for none.
        on_news: called with a sentence on what goes on, or went as the user wanted.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        models: ModelPanel,
        on_problem: Callable[[str], None],
        on_news: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.ui = ui
        self._logic = logic
        self._models = models
        self._on_problem = on_problem
        self._on_news = on_news
        self._reasons = Reasons()
        self._focus = KeptFocus(ui.segmentButton)
        self._parameters: Any = None
        self._run: SegmentationRun | None = None
        self._cancelling = False
        # Looks again whether the CT can be segmented when it gets a transform, or other voxels.
        events = vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._watch = Watch(self.refresh, *events)
        # Slicer changes one view after the other.
        self._views_timer = rest_timer(self.refresh)
        # Its handles are dragged.
        self._region_watch = Watch(self._views_timer.start, vtk.vtkCommand.ModifiedEvent)
        self._devices: list[Device] = []
        self._asked_devices = False
        # Looked up when the panel is opened, and only while some are missing: each move of a slider would wait for it.
        self._missing: list[str] = []
        ui.segmentButton.connect("clicked(bool)", without_double_clicks(self._on_clicked))
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._on_device)
        ui.roiSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._on_roi_added)
        self._fill_devices(DevicesResult([Device("cpu", _("CPU"))]))

    def attach(self, parameters: Any) -> None:
        """Follows a parameter node; None while there is no scene."""
        self._parameters = parameters
        self._missing = missing_packages()
        if parameters is None:
            self._views_timer.stop()
            self.removeObservers()
        self.refresh()

    def _on_roi_added(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """A new box goes around the CT: Slicer's has no size, so that it could neither be seen nor moved."""
        roi.CreateDefaultDisplayNodes()
        if self._parameters and self._parameters.inputVolume:
            bounds = [0.0] * 6
            self._parameters.inputVolume.GetRASBounds(bounds)
            low, high = np.array(bounds[::2]), np.array(bounds[1::2])
            roi.SetCenter(*((low + high) / 2).tolist())
            roi.SetSize(*(high - low).tolist())

    def warm_up(self) -> None:
        """Starts the worker in the background and asks it for the devices, where all that it needs is installed."""
        if not self._asked_devices and not self._missing:
            self._asked_devices = True
            ask_devices(self._fill_devices, self._devices_unknown)

    def cancel(self) -> None:
        """Ends the run that is under way; nothing where there is none."""
        if self._run:
            self._cancelling = True
            self._run.cancel()
            self.refresh()

    def refresh(self) -> None:
        """Makes the button, its hint and the progress say what can be done now."""
        self._watch.follow(self._parameters.inputVolume if self._parameters else None)
        self._region_watch.follow(self._parameters.roi if self._parameters else None)
        self._follow_views()
        running = self._run is not None
        problem = None if running else self._problem()
        if self._missing:
            self._missing = missing_packages()
        button = self.ui.segmentButton
        button.setText(self._button_text())
        self._focus.set_enabled(problem is None and not self._cancelling)
        button.setToolTip(problem or (_("End the run. Nothing of it stays.") if running else _("Segment the CT.")))
        hint = "" if running else problem or self._hint()
        self.ui.hintLabel.setText(breakable(hint))
        self.ui.hintLabel.setVisible(bool(hint))
        self.ui.progressBar.setVisible(running)
        self.ui.phaseLabel.setVisible(running)
        reason = _("Wait for the run to end, or cancel it.") if running else ""
        for widget in (self.ui.inputSelector, self.ui.advancedCollapsibleButton):
            self._reasons.set(widget, reason)
        self._models.lock(reason)
        self._show_device()

    def _follow_views(self) -> None:
        """The hint tells whether the views show the CT."""
        scene = slicer.mrmlScene
        for node in (*composites_of(scene), layout_node(scene)) if self._parameters else ():
            if node is not None and not self.hasObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_views):
                self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_views)

    def _on_views(self, caller: object, event: str) -> None:
        self._views_timer.start()

    def _button_text(self) -> str:
        if self._cancelling:
            return _("Cancelling…")
        return _("Cancel") if self._run else _("Segment")

    def _problem(self) -> str | None:
        """Why nothing can be segmented now."""
        if not self._parameters:
            return _("The scene is being closed.")
        if problem := problem_with(self._parameters.inputVolume):
            return problem
        if problem := self._models.problem:
            return problem
        output = self._parameters.outputSegmentation
        return problem_with_output(output, self._parameters.inputVolume) if output else None

    def _hint(self) -> str:
        """What to know before one segments."""
        hints = []
        if self._missing:
            hints.append(" ".join([*missing_sentences(self._missing), _("Segment asks before it installs.")]))
        if self._parameters.roi:
            region = _("Only the region '{name}' will be segmented (Advanced).")
            hints.append(region.format(name=self._parameters.roi.GetName()))
        shown = shown_volumes(slicer.mrmlScene)
        if shown and self._parameters.inputVolume not in shown:
            other = _("The slice views show '{name}', not the CT that is chosen here.")
            hints.append(other.format(name=shown[0].GetName()))
        if (gigabytes := self._probability_gigabytes()) > LARGE_GB:
            large = _("The probability volumes will take {gigabytes:.1f} GB of memory.")
            hints.append(large.format(gigabytes=gigabytes))
        return "\n".join(hints)

    def _probability_gigabytes(self) -> float:
        """How much memory the probability volumes will take in Slicer; 0 where none are asked for."""
        chosen = self._models.chosen
        if not self._parameters.probabilities or chosen is None or chosen.package is None:
            return 0.0
        try:
            region = part_of(self._parameters.inputVolume, self._parameters.roi).region
        except InputError:  # The region lies beside the CT, which the run will tell.
            return 0.0
        voxels = math.prod(last - first + 1 for first, last in zip(region[::2], region[1::2]))
        return len(chosen.package.task.labels) * voxels * VOXEL_BYTES["float32"] / 1e9

    # A run

    def _on_clicked(self, clicked: bool) -> None:
        if self._run:
            self.cancel()
        else:
            self._start()

    def _start(self) -> None:
        self._on_problem("")
        try:
            ensure_packages(self._on_news)
            self._on_problem("")
            self.refresh()
            self.warm_up()
            chosen = self._models.chosen
            if self._parameters and chosen:
                self._run = self._new_run(self._parameters, chosen.name)
                self._on_progress(PREPARING, 0.0, None)
        except HLFDError as error:
            self._on_problem(str(error))
        self.refresh()

    def _new_run(self, parameters: Any, model: str) -> SegmentationRun:
        return self._logic.segment(
            parameters.inputVolume,
            model=model,
            attention=parameters.attention,
            device=parameters.device,
            tumorThreshold=parameters.tumorThreshold if parameters.useTumorThreshold else None,
            roi=parameters.roi,
            outputSegmentation=parameters.outputSegmentation,
            probabilities=parameters.probabilities,
            onProgress=self._on_progress,
            onNotHU=self._on_not_hu,
            onFinished=self._on_finished,
            onError=self._on_failed,
            onCancelled=self._on_cancelled,
            wait=False,
        )

    def _on_progress(self, phase: str, fraction: float, seconds_left: float | None) -> None:
        # Without a range the bar shows that something goes on, though nobody knows how far it is.
        self.ui.progressBar.setRange(0, 100 if fraction else 0)
        self.ui.progressBar.setValue(round(100 * fraction))
        text = phases().get(phase, phase)
        if seconds_left is not None:
            text = _("{phase}, {time} left").format(phase=text, time=time_text(seconds_left))
        self.ui.phaseLabel.setText(text)

    def _on_not_hu(self, sentence: str) -> None:
        # Not within the run's step: the dialog waits for the user while the run waits for the answer.
        later(lambda: self._ask_not_hu(sentence))

    def _ask_not_hu(self, sentence: str) -> None:
        question = _(
            "{sentence}\n\nThe network knows CT in Hounsfield units only. Of anything else its result is most likely "
            "wrong. Segment it all the same? The result will be marked."
        )
        wanted = confirm_carefully(question.format(sentence=sentence), _("HLFD Segmentation: not a CT in HU"))
        if not self._run:
            return
        if wanted:
            self._run.go_on()
        else:
            self.cancel()

    def _on_finished(self, result: SceneResult) -> None:
        # First of all: whatever comes of showing the result, the button must be a Segment button again.
        self._on_ended()
        tell(_("The run has ended: {name}").format(name=result.name))
        if not self._parameters:
            return
        if self._parameters.result is result.node:
            # Added to the result that is shown: the parameter does not change, and what is shown has to.
            self._parameters.segment = result.newest_like(self._parameters.segment) or self._parameters.segment
            self._parameters.parameterNode.Modified()
        self.show(result)

    def show(self, result: SceneResult) -> None:
        """Shows a result, and its CT under it where the views do not show it. While the panel is attached."""
        parameters = self._parameters
        shows_map = parameters.showMap
        is_open = self.ui.segmentCollapsibleButton.visible
        if is_open and result.ct is not None:
            # A map gives back what the views showed before it: another CT would lie under these segments again.
            parameters.showMap = False
            _see_to_background(result.ct)
        parameters.result = result.node
        parameters.showMap = shows_map

    def _on_failed(self, sentence: str) -> None:
        self._on_problem(sentence)
        self._on_ended()

    def _on_cancelled(self) -> None:
        by_user = self._cancelling
        self._on_ended()
        gone = _("The run was ended, as its CT or its segmentation is no longer in the scene. Nothing was added.")
        self._on_news(_("Cancelled. Nothing was added.") if by_user else gone)

    def _on_ended(self) -> None:
        self._run, self._cancelling = None, False
        self.refresh()

    # Devices

    def _fill_devices(self, answer: DevicesResult) -> None:
        self._devices = [Device(AUTO, _("Automatic: the fastest")), *answer.devices]
        combo = self.ui.deviceComboBox
        blocked = combo.blockSignals(True)
        combo.clear()
        combo.addItems([device.title for device in self._devices])
        combo.blockSignals(blocked)
        self._show_device()

    def _devices_unknown(self, sentence: str) -> None:
        logging.warning("HLFD: the devices are not known: %s", sentence)
        self._asked_devices = False

    def _show_device(self) -> None:
        wanted = self._parameters.device if self._parameters else AUTO
        combo = self.ui.deviceComboBox
        blocked = combo.blockSignals(True)
        if wanted not in [device.name for device in self._devices]:
            # Of a scene from another computer: what will be asked for has to be seen.
            self._devices.append(Device(wanted, _("{device} (not found here)").format(device=wanted)))
            combo.addItem(self._devices[-1].title)
        combo.setCurrentIndex([device.name for device in self._devices].index(wanted))
        combo.blockSignals(blocked)

    def _on_device(self, index: int) -> None:
        if self._parameters and index >= 0:
            self._parameters.device = self._devices[index].name


def _see_to_background(ct: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Shows a CT in the views where none of them shows it. It may lie far from what they showed."""
    scene = slicer.mrmlScene
    if ct in shown_volumes(scene):
        return
    composites = [each for each in composites_of(scene) if not is_own(each)]
    with each_alone(composites):
        for composite in composites:
            set_background(composite, ct)


def phases() -> dict[str, str]:
    """What a user reads for each phase of a run."""
    return {
        PREPARING: _("Preparing the CT"),
        STARTING: _("Starting"),
        LOADING: _("Loading the model"),
        SEGMENTING: _("Segmenting"),
        EXPLAINING: _("Computing the attention"),
        MEASURING: _("Measuring"),
        WRITING: _("Finishing"),
        ADDING: _("Adding the results"),
    }
