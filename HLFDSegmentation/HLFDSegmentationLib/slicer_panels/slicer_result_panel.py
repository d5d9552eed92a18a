"""A result in the panel: its measures, its surfaces, and what to know before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..measures import COLUMNS_TO_LOOK_AT, RasPoint
from ..slicer_scene.slicer_changes import Changes
from ..slicer_scene.slicer_results import show_3d
from ..slicer_scene.slicer_scene_result import MODEL_ATTRIBUTE, SceneResult, SceneRun, place_of_voxel, rows_of

PLACE = re.compile(r"([RL]) (\d+(?:\.\d)?), ([AP]) (\d+(?:\.\d)?), ([SI]) (\d+(?:\.\d)?) mm")
"""How `AxialVolume.place` tells a place. In older scenes the numbers are whole."""


class ResultPanel:
    """The controls of a result.

    Args:
        ui: the panel's widgets.
        on_place: called with a place (RAS in the world, mm): of a lesion or segment whose row was clicked, or one that
            was clicked in the notes.
    """

    def __init__(self, ui: Any, on_place: Callable[[RasPoint], None]) -> None:
        self.ui = ui
        self._on_place = on_place
        self._parameters: Any = None
        self._measures: slicer.vtkMRMLTableNode | None = None
        self._looked = Changes()
        ui.measuresTable.verticalHeader().hide()
        ui.measuresTable.connect("clicked(QModelIndex)", self._on_cell)
        ui.measuresTable.connect("activated(QModelIndex)", self._on_cell)  # by Enter
        ui.notesLabel.connect("linkActivated(QString)", self._on_link)
        for selector in (ui.resultSelector, ui.compareSelector):
            selector.addAttribute("vtkMRMLSegmentationNode", MODEL_ATTRIBUTE)
        ui.show3DButton.connect("toggled(bool)", self._on_show_3d)

    def attach(self, parameters: Any) -> None:
        """Follows a parameter node; None while there is no scene."""
        self._parameters = parameters
        self.refresh()

    def refresh(self) -> None:
        """Shows the result that the parameter node names."""
        result = SceneResult.of(self._parameters.result) if self._parameters else None
        self.ui.resultControls.setVisible(result is not None)
        self._show_measures(result.measures_table if result else None)
        notes = [*self._changes(result), *_notes(result)] if result else []
        self.ui.notesLabel.setText("<br>".join(notes))
        self.ui.notesLabel.setVisible(bool(notes))
        blocked = self.ui.show3DButton.blockSignals(True)
        self.ui.show3DButton.setChecked(result is not None and _is_shown_3d(result.node))
        self.ui.show3DButton.blockSignals(blocked)

    def _changes(self, result: SceneResult) -> list[str]:
        """What was changed since the run, as rich text."""
        return [f"<b>{escape(sentence)}</b>" for sentence in self._looked.sentences(result)]

    def _show_measures(self, node: slicer.vtkMRMLTableNode | None) -> None:
        if node is not self._measures:
            self._measures = node
            self.ui.measuresTable.setMRMLTableNode(node)
            if node is not None:
                self._arrange_columns(node)
            self.ui.measuresTable.resizeColumnsToContents()

    def _arrange_columns(self, node: slicer.vtkMRMLTableNode) -> None:
        """In the view alone: the node keeps all its columns."""
        view, header = self.ui.measuresTable, self.ui.measuresTable.horizontalHeader()
        for column in range(node.GetNumberOfColumns()):
            view.setColumnHidden(column, node.GetColumnName(column) not in COLUMNS_TO_LOOK_AT)
        columns = [node.GetColumnIndex(name) for name in COLUMNS_TO_LOOK_AT]
        # Columns can be deleted in the Tables module.
        for place, column in enumerate(column for column in columns if column >= 0):
            header.moveSection(header.visualIndex(column), place)

    def _on_cell(self, index: Any) -> None:
        result = SceneResult.of(self._parameters.result) if self._parameters else None
        row = rows_of(self._measures)[index.row()] if self._measures is not None else {}
        place = _place_of(result, row) if result else None
        if place is not None:
            self._on_place(place)

    def _on_link(self, voxel: str) -> None:
        result = SceneResult.of(self._parameters.result) if self._parameters else None
        if result and result.ct is not None:
            self._on_place(place_of_voxel(result.ct, [float(number) for number in voxel.split(",")]))

    def _on_show_3d(self, checked: bool) -> None:
        result = SceneResult.of(self._parameters.result) if self._parameters else None
        if result:
            with slicer.util.WaitCursor():
                show_3d(result.node, checked)


def _place_of(result: SceneResult, row: Mapping[str, str]) -> RasPoint | None:
    """Where the lesion or the segment of a row of measures lies (RAS in the world, mm); None where it is gone."""
    segment, lesion = row.get("segment", ""), row.get("lesion")
    if lesion:
        return {str(number): place for number, place in result.lesions(segment)}.get(lesion)
    key = result.segment_id(segment)
    return result.node.GetSegmentCenterRAS(key) if key else None


def _notes(result: SceneResult) -> list[str]:
    """What to know of a result, as rich text: what makes it doubtful is bold. The newest run comes first."""
    missing = _("The CT of this result is no longer in the scene; or this is a copy, which has neither CT nor maps.")
    lines = [f"<b>{escape(missing)}</b>"] if result.ct is None else []
    lines += _notes_of(result.newest_run, result)
    earlier = list(enumerate(result.runs[:-1], start=1))
    for number, run in reversed(earlier):
        keys = result.segments_of_run(number).values()
        segments = ", ".join(result.node.GetSegmentation().GetSegment(key).GetName() for key in keys)
        if segments and (notes := _notes_of(run, result)):
            heading = _("Of an earlier run with {model} ({segments}):").format(model=run.model, segments=segments)
            lines += [escape(heading), *notes]
    return lines


def _notes_of(run: SceneRun, result: SceneResult) -> list[str]:
    to_voxel = _told_to_voxel(run) if result.ct is not None else None
    wrong = [_("Most likely wrong. {reason}").format(reason=run.not_hu)] if run.not_hu else []
    bold = [f"<b>{_with_links(sentence, to_voxel)}</b>" for sentence in (*wrong, *run.cautions)]
    return [*bold, *(_with_links(sentence, to_voxel) for sentence in run.notes)]


def _told_to_voxel(run: SceneRun) -> np.ndarray | None:
    """`SceneRun.told_to_voxel` (4, 4); None where the scene does not tell it."""
    try:
        matrix = np.array(run.told_to_voxel, float).reshape(4, 4)
    except (ValueError, TypeError):
        return None
    return matrix if np.isfinite(matrix).all() else None


def _with_links(sentence: str, to_voxel: np.ndarray | None) -> str:
    """A sentence of a run as rich text. Each place in it is a link to the CT's voxel there, if that is known."""
    if to_voxel is None:
        return escape(sentence)

    def link(place: re.Match[str]) -> str:
        letters, numbers = place.groups()[::2], place.groups()[1::2]
        ras = [float(number) if letter in "RAS" else -float(number) for letter, number in zip(letters, numbers)]
        voxel = to_voxel @ [*ras, 1.0]
        return f'<a href="{",".join(f"{number:.2f}" for number in voxel[:3])}">{place[0]}</a>'

    return PLACE.sub(link, escape(sentence))


def _is_shown_3d(node: slicer.vtkMRMLSegmentationNode) -> bool:
    display = node.GetDisplayNode()
    has_surfaces = node.GetSegmentation().ContainsRepresentation("Closed surface")
    return display is not None and has_surfaces and bool(display.GetVisibility3D())
