"""The cases in the panel: gathering them, saying what their segments are, splitting, checking and writing them."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from HLFDSegmentationLib.errors import CasesError, HLFDError
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .case_list import CaseList
from .cases import find_cases
from .scene_cases import NOT_USED, CaseRow, RowProblem
from .slicer_case_export import GONE, export_cases
from .slicer_cases import (
    Nodes,
    ct_problem,
    image_of,
    read_scene,
    rows_of_scene,
    segmentation_of,
    segmentations_of,
    selected_nodes,
    volumes_of,
)
from .slicer_cases_table import CT, NAME, PATIENT, SEGMENTATION, SPLIT, CasesTable, Shown, add_combo
from .split import PARTS, Split

SEGMENT_NAME, ROLE = range(2)
STEP_MS = 10
UNKNOWN = "?"
