"""Segmenting in the panel: the Segment button that becomes Cancel, the progress, and where the network runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .errors import HLFDError
from .phases import ADDING, EXPLAINING, LOADING, MEASURING, PREPARING, SEGMENTING, STARTING, WRITING
from .slicer_ct import problem_with
from .slicer_later import later
from .slicer_model_panel import ModelPanel
from .slicer_packages import ensure_packages, missing_packages
from .slicer_results import problem_with_output
from .slicer_run import SegmentationRun
from .slicer_scene_result import SceneResult
from .slicer_status_bar import tell
from .slicer_texts import time_text
from .slicer_watch import Watch
from .worker_protocol import Device, DevicesResult

AUTO = "auto"


class RunPanel:
    """The controls of a run.

    Args:
        ui: the panel's widgets.
        logic: the module's logic.
        models: the chosen model.
        on_problem: called with a sentence to show, "" for none.
    """

    def __init__(self, ui: Any, logic: Any, models: ModelPanel, on_problem: Callable[[str], None]) -> None:
        self.ui = ui
        self._logic = logic
        self._models = models
        self._on_problem = on_problem
        self._parameters: Any = None
        self._run: SegmentationRun | None = None
        self._cancelling = False
        # Looks again whether the CT can be segmented when it gets a transform, or other voxels.
        events = vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._watch = Watch(self.refresh, *events)
        self._devices: list[Device] = []
        self._asked_devices = False
        # Looked up when the panel is opened: it takes too long for every move of a slider.
        self._missing: list[str] = []
        ui.segmentButton.connect("clicked(bool)", self._on_clicked)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._on_device)
        ui.roiSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._on_roi_added)
        self._fill_devices(DevicesResult([Device("cpu", _("Processor"))]))

    def attach(self, parameters: Any) -> None:
        """Follows a parameter node; None while there is no scene."""
        self._parameters = parameters
        self._missing = missing_packages()
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
            try:
                self._logic.askDevices(self._fill_devices, self._devices_unknown)
            except HLFDError as error:
                self._devices_unknown(str(error))

    def cancel(self) -> None:
        """Ends the run that is under way; nothing where there is none."""
        if self._run:
            self._cancelling = True
            self._run.cancel()
            self.refresh()

    def refresh(self) -> None:
        """Makes the button, its hint and the progress say what can be done now."""
        self._watch.follow(self._parameters.inputVolume if self._parameters else None)
        running = self._run is not None
        problem = None if running else self._problem()
        button = self.ui.segmentButton
        button.setText(self._button_text())
        button.setEnabled(problem is None and not self._cancelling)
        button.setToolTip(problem or (_("End the run. Nothing of it stays.") if running else _("Segment the CT.")))
        hint = "" if running else problem or self._hint()
        self.ui.hintLabel.setText(hint)
        self.ui.hintLabel.setVisible(bool(hint))
        self.ui.progressBar.setVisible(running)
        self.ui.phaseLabel.setVisible(running)
        self.ui.inputSelector.setEnabled(not running)
        self.ui.advancedCollapsibleButton.setEnabled(not running)
        self._models.set_enabled(not running)
        self._show_device()

    def _button_text(self) -> str:
        if self._cancelling:
            return _("Cancelling...")
        return _("Cancel") if self._run else _("Segment")

    def _problem(self) -> str | None:
        """Why nothing can be segmented now."""
        if not self._parameters:
            return _("The scene is being closed.")
        if problem := problem_with(self._parameters.inputVolume):
            return problem
        chosen = self._models.chosen
        if chosen is None or chosen.problem:
            return chosen.problem if chosen else _("Choose a model, or import one.")
        output = self._parameters.outputSegmentation
        return problem_with_output(output, self._parameters.inputVolume) if output else None

    def _hint(self) -> str:
        """What to know before one segments."""
        hints = []
        if self._missing:
            hint = _("Not installed yet: {names}. Segment asks before it installs.")
            hints.append(hint.format(names=", ".join(self._missing)))
        if self._parameters.roi:
            region = _("Only the region '{name}' will be segmented (Advanced).")
            hints.append(region.format(name=self._parameters.roi.GetName()))
        return "\n".join(hints)

    # A run

    def _on_clicked(self, clicked: bool) -> None:
        if self._run:
            self.cancel()
        else:
            self._start()

    def _start(self) -> None:
        self._on_problem("")
        try:
            ensure_packages(self._on_problem)
            self._on_problem("")
            self._missing = []
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
            onCancelled=self._on_ended,
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
        wanted = slicer.util.confirmYesNoDisplay(
            question.format(sentence=sentence), _("HLFD Segmentation: not a CT in HU")
        )
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
        self._parameters.result = result.node

    def _on_failed(self, sentence: str) -> None:
        self._on_problem(sentence)
        self._on_ended()

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
