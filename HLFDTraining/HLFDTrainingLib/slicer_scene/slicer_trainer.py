"""Starts the trainer of a run from Slicer."""

from __future__ import annotations

from pathlib import Path

import slicer
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.slicer_tools.slicer_packages import require_packages
from HLFDSegmentationLib.slicer_tools.slicer_python import interpreter
from slicer.i18n import tr as _

from ..runs.run_folder import RunFolder
from ..runs.training_process import TrainingProcess


def start_trainer(run: Path) -> TrainingProcess:
    """Starts or goes on with the training in a folder that `start_run` has filled, and comes back at once.

    Raises:
        HLFDError: there is no run, packages are missing, or a trainer is at work there.
    """
    require_packages()
    if not RunFolder(run).started:
        raise TrainingError(_("{folder} holds no training. Choose the folder of one.").format(folder=run))
    command = [interpreter(), "-m", "HLFDTrainingLib.cli", "train", "--resume", "--json", "-o", str(run)]
    return TrainingProcess.start(run, command, slicer.util.startupEnvironment())
