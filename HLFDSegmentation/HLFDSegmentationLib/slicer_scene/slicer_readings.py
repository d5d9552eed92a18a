"""The radiologist's reading of the layers, kept in a table node that is saved with the scene."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from urllib.parse import unquote

import slicer
import vtk
from slicer.i18n import tr as _

from ..errors import HLFDError
from ..output.safe_files import replacing
from ..readings import Reading
from .slicer_scene_result import SceneResult, rows_of, text_column

ON_TARGET, DIFFUSE, MISLED = VERDICTS = ("on target", "diffuse", "misled")
"""As the table, the CSV and the report hold them."""

COLUMNS = ("segment", "layer", "lesion", "verdict", "comment")


class Readings:
    """The readings of one result. The table node is made with the first reading; it may be deleted at any moment.

    >>> readings = Readings(result)
    >>> readings.set("liver tumor", "decoder3", None, ON_TARGET, "follows the margin")
    >>> readings.set("liver tumor", "decoder3", 2, MISLED, "on the gallbladder")
    >>> readings.write_csv("readings.csv")
    """

    def __init__(self, result: SceneResult) -> None:
        self._result = result

    def get(self, segment: str, layer: str, lesion: int | None = None) -> Reading | None:
        """The reading of a layer for a lesion of a segment, or for the segment as a whole; None before it is read."""
        wanted = (segment, layer, lesion)
        return next((r for r in self.all() if (r.segment, r.layer, r.lesion) == wanted), None)

    def set(self, segment: str, layer: str, lesion: int | None, verdict: str, comment: str = "") -> None:
        """Keeps a reading in place of the earlier one.

        Args:
            segment: name of the segment.
            layer: name of the layer.
            lesion: number of the lesion; none for the segment as a whole.
            verdict: one of `VERDICTS`; "" where there is only a comment. With neither, the reading is removed.
            comment: any text.

        Raises:
            ValueError: no such verdict.
            HLFDError: the segmentation was deleted.
        """
        if verdict not in (*VERDICTS, ""):
            raise ValueError(f"'{verdict}' is none of the verdicts {', '.join(VERDICTS)}.")
        if not self._result.exists:
            raise HLFDError(_("The segmentation is no longer in the scene, so its readings cannot be kept."))
        # Half a surrogate pair, as broken clipboards paste it, would abort Slicer when VTK decodes it.
        comment = comment.encode(errors="replace").decode().strip()
        kept = [r for r in self.all() if (r.segment, r.layer, r.lesion) != (segment, layer, lesion)]
        if verdict or comment:
            kept.append(Reading(segment, layer, lesion, verdict, comment))
        elif self._table() is None:
            return
        self._write(sorted(kept, key=self._order))

    def all(self) -> list[Reading]:
        """Every reading: by segment, layer, and lesion; the segment as a whole before its lesions."""
        table = self._table()
        rows = rows_of(table) if table is not None else []
        return [_reading(row) for row in rows if row["lesion"].isdecimal() or not row["lesion"]]

    def write_csv(self, path: str | Path) -> None:
        """Writes every reading to a CSV file, complete or not at all: `COLUMNS`, before them whose readings they are.

        It is UTF-8 with the mark by which spreadsheets know that.

        Raises:
            OutputError: the file cannot be written.
        """
        result = self._result
        with replacing(Path(path)) as part, open(part, "w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.writer(stream)
            writer.writerow(("result", "model", *COLUMNS))
            writer.writerows((result.name, result.model_of(each.segment), *_texts(each)) for each in self.all())

    def _order(self, reading: Reading) -> tuple[int, int, int]:
        segments, layers = self._result.segments, self._result.layers
        return (
            segments.index(reading.segment) if reading.segment in segments else len(segments),
            layers.index(reading.layer) if reading.layer in layers else len(layers),
            reading.lesion or 0,
        )

    def _table(self) -> slicer.vtkMRMLTableNode | None:
        """The table, unless it is gone or no longer has our columns."""
        table = self._result.readings_table if self._result.exists else None
        return table if table is not None and all(table.GetColumnIndex(name) >= 0 for name in COLUMNS) else None

    def _write(self, readings: list[Reading]) -> None:
        node = self._table() or self._add_table()
        table = vtk.vtkTable()
        columns = zip(*map(_texts, readings)) if readings else [()] * len(COLUMNS)
        for name, texts in zip(COLUMNS, columns):
            table.AddColumn(text_column(name, map(_encoded, texts)))
        node.SetAndObserveTable(table)

    def _add_table(self) -> slicer.vtkMRMLTableNode:
        scene = self._result.node.GetScene()
        name = _("{result} readings").format(result=self._result.name)
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
        self._result.readings_table = node
        return node


def _texts(reading: Reading) -> tuple[str, str, str, str, str]:
    lesion = "" if reading.lesion is None else str(reading.lesion)
    return reading.segment, reading.layer, lesion, reading.verdict, reading.comment


def _reading(row: dict[str, str]) -> Reading:
    segment, layer, lesion, verdict, comment = (unquote(row[column]) for column in COLUMNS)
    return Reading(segment, layer, int(lesion) if lesion else None, verdict, comment)


def _encoded(text: str) -> str:
    """The text for a cell of a table node, in which what Slicer's table files lose is written as in a URL.

    In those files a # begins a comment, and double quotes and line breaks are not escaped.
    """
    return re.sub(r'[\x00-\x1f"#%]', lambda found: f"%{ord(found[0]):02X}", text)
