"""What is segmented: labels with terminology and colours, the CT window and the network's input."""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from .errors import TaskError

BACKGROUND = 0

PIXEL_LIMITS_MM = (0.1, 20.0)
LARGEST_INPUT = 4096
"""In pixels. What lies beyond these limits is no slice that a network sees, and would take all memory."""


@dataclass(frozen=True)
class Code:
    """A coded concept, such as SNOMED CT 10200004 "Liver"."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        """The form in which Slicer's terminology strings hold a code."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")
MORPHOLOGICALLY_ALTERED = Code("SCT", "49755003", "Morphologically Altered Structure")
MASS = Code("SCT", "4147007", "Mass")
LIVER = Code("SCT", "10200004", "Liver")
KIDNEY = Code("SCT", "64033007", "Kidney")


@dataclass(frozen=True)
class Label:
    """One label of a task.

    Attributes:
        value: voxel value in a segmentation, 1 or more.
        name: what a user reads, for example "liver tumor".
        role: "organ", or "tumor" for lesions that lie in or on an organ.
        color: red, green and blue, 0 to 255. Labels that differ in it alone are the same: colors have changed before.
        category: coded property category.
        type: coded property type.
        region: coded anatomic region of a tumor; none for an organ.
        organ: value of the organ that a tumor belongs to; none for an organ.
        parts: how many separate pieces an organ has in one body (liver 1, kidney 2); none for a tumor, and for an organ
            of which that is not known.
    """

    value: int
    name: str
    role: Literal["organ", "tumor"]
    color: tuple[int, int, int] = field(compare=False)
    category: Code
    type: Code
    region: Code | None = None
    organ: int | None = None
    parts: int | None = None

    @property
    def terminology(self) -> str:
        """The label's codes as the terminology string of a Slicer segment."""
        region = str(self.region) if self.region else "^^"
        return (
            f"Segmentation category and type - DICOM master list~{self.category}~{self.type}~^^"
            f"~Anatomic codes - DICOM master list~{region}~^^"
        )


FORBIDDEN = set('/\\:*?"<>|~^')
"""In names of labels: no file can be named so everywhere, or Slicer's terminology strings have another use for it."""


LONGEST_LABEL = 110
"""In bytes: files are named after it and more, and a file's name has 255 bytes at most."""


NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of letters and ends of lines."""


def is_line(text: str) -> bool:
    """Whether a stranger's text is one line that files can hold and that does nothing to a terminal."""
    return not any(unicodedata.category(letter) in NO_TEXT for letter in text)


def file_name(label: str) -> str:
    """What a label's name is in the names of files."""
    return label.replace(" ", "_")


@dataclass(frozen=True)
class Task:
    """What a network segments and what it is given to see.

    Attributes:
        name: identifier, for example "kidney-tumor".
        title: what a user reads.
        labels: the labels, in the order of their values 1, 2, 3, ...
        window: lowest and highest HU that the network distinguishes; they become 0 and 1 of its input.
        input_size: rows and columns of a training slice.
        spacing: size of the network's pixels in mm. Every CT is resampled in its axial plane to this spacing, so
            that an organ has the same size in pixels whatever the field of view.
    """

    name: str
    title: str
    labels: tuple[Label, ...]
    window: tuple[float, float]
    input_size: tuple[int, int]
    spacing: float

    def __post_init__(self) -> None:
        if not is_line(self.name):
            raise TaskError("The name of a task must be one line that can be printed.")
        if not is_line(self.title):
            raise self._wrong("the title must be one line that can be printed.")
        self._check_labels()
        for label in self.labels:
            self._check_label(label)
        if not -math.inf < self.window[0] < self.window[1] < math.inf:
            raise self._wrong("the window must be [lowest HU, highest HU].")
        low, high = PIXEL_LIMITS_MM
        if not low <= self.spacing <= high:
            raise self._wrong(f"the spacing must lie between {low:g} and {high:g} mm.")
        if not all(0 < pixels <= LARGEST_INPUT for pixels in self.input_size):
            raise self._wrong(f"the input size must lie between 1 and {LARGEST_INPUT} pixels.")

    def _check_labels(self) -> None:
        if not self.labels:
            raise TaskError(f"Task '{self.name}' has no labels. Give it at least one.")
        if [label.value for label in self.labels] != list(range(1, len(self.labels) + 1)):
            raise self._wrong("label values must be 1, 2, 3, ... in this order.")
        for label in self.labels:
            if not label.name.strip(" .") or not label.name.isprintable() or FORBIDDEN & set(label.name):
                raise self._wrong(
                    f"'{label.name}' cannot be the name of a label, after which files are named. Leave out "
                    f"{' '.join(sorted(FORBIDDEN))} and what cannot be printed."
                )
            if len(label.name.encode()) > LONGEST_LABEL:
                raise self._wrong(
                    f"the name '{label.name[:20]}...' of a label is too long: files are named after it. Take at most "
                    f"{LONGEST_LABEL} letters."
                )
        if len({file_name(label.name).casefold() for label in self.labels}) != len(self.labels):
            raise self._wrong(
                "two labels have the same name, or names that differ in spaces or capitals only, and files are named "
                "after them. Give each its own."
            )

    def _check_label(self, label: Label) -> None:
        if label.role not in ("organ", "tumor"):
            raise self._wrong(f"the role of '{label.name}' must be 'organ' or 'tumor'.")
        codes = filter(None, (label.category, label.type, label.region))
        if not all(is_line(text) for code in codes for text in astuple(code)):
            raise self._wrong(f"the codes of '{label.name}' must be texts of one line that can be printed.")
        if not all(0 <= value <= 255 for value in label.color):
            raise self._wrong(f"the color of '{label.name}' must hold values from 0 to 255.")
        if label.parts is not None and not (type(label.parts) is int and label.parts >= 1):
            raise self._wrong(f"'{label.name}' must have 1 part or more.")
        if label.role == "organ" and (label.organ is not None or label.region is not None):
            raise self._wrong(f"'{label.name}' is an organ, and only a tumor has the entries 'organ' and 'region'.")
        is_value = type(label.organ) is int  # `true` and 1.0 equal 1, and find no label.
        if label.role == "tumor" and not (is_value and label.organ in [organ.value for organ in self.organs]):
            raise self._wrong(f"tumor '{label.name}' must name the value of its organ.")

    def _wrong(self, what: str) -> TaskError:
        return TaskError(f"Task '{self.name}': {what}")

    @property
    def num_classes(self) -> int:
        """Number of network outputs: the labels and the background."""
        return len(self.labels) + 1

    @property
    def organs(self) -> tuple[Label, ...]:
        """The labels that are organs."""
        return tuple(label for label in self.labels if label.role == "organ")

    @property
    def tumors(self) -> tuple[Label, ...]:
        """The labels that are tumors."""
        return tuple(label for label in self.labels if label.role == "tumor")

    def label(self, key: int | str) -> Label:
        """The label with this value or name. Raises TaskError where there is none."""
        for label in self.labels:
            if key in (label.value, label.name):
                return label
        names = ", ".join(f"{label.value} ({label.name})" for label in self.labels)
        raise TaskError(f"Task '{self.name}' has no label '{key}'. Its labels are {names}.")

    def tumors_of(self, organ: Label) -> tuple[Label, ...]:
        """The tumors that belong to an organ."""
        return tuple(label for label in self.tumors if label.organ == organ.value)

    def values_with_tumors(self, organ: Label) -> list[int]:
        """The values of an organ and of the tumors that belong to it; of a tumor, its own."""
        return [organ.value, *(tumor.value for tumor in self.tumors_of(organ))]

    def organ_of(self, label: Label) -> Label:
        """The organ that a tumor belongs to; an organ itself."""
        return label if label.organ is None else self.label(label.organ)

    def to_dict(self) -> dict[str, Any]:
        """The task as JSON holds it; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        """A task from what `to_dict` gives. Raises TaskError where something is missing or wrong."""
        try:
            labels = tuple(_label_from_dict(item) for item in data["labels"])
            low, high = data["window"]
            rows, columns = data["input_size"]
            return cls(
                name=str(data["name"]),
                title=str(data["title"]),
                labels=labels,
                window=(float(low), float(high)),
                input_size=(int(rows), int(columns)),
                spacing=float(data["spacing"]),
            )
        except KeyError as error:
            raise TaskError(f"The task misses the entry {error}. Compare it with docs/tasks.md.") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise TaskError(f"The task has a wrong entry: {error}. Compare it with docs/tasks.md.") from error


def _label_from_dict(item: dict[str, Any]) -> Label:
    red, green, blue = item["color"]
    return Label(
        value=int(item["value"]),
        name=str(item["name"]),
        role=item["role"],
        color=(int(red), int(green), int(blue)),
        category=_code_from_dict(item["category"]),
        type=_code_from_dict(item["type"]),
        region=_code_from_dict(item["region"]) if item.get("region") else None,
        organ=item.get("organ"),
        parts=item.get("parts"),
    )


def _code_from_dict(item: dict[str, Any]) -> Code:
    return Code(**{name: str(text) for name, text in item.items()})  # A value is often written as a number.


def same_labels(one: Task, other: Task) -> bool:
    """Whether two tasks segment the same: their labels may have other names and colors, but not other codes."""
    return [label.terminology for label in one.labels] == [label.terminology for label in other.labels]


def same_input(one: Task, other: Task) -> bool:
    """Whether the networks of two tasks see a CT alike, in the same window and with pixels of the same size."""
    return (one.window, one.spacing) == (other.window, other.spacing)


def organ_label(value: int, name: str, color: tuple[int, int, int], code: Code, parts: int) -> Label:
    """An organ that has this many separate pieces in one body."""
    return Label(value, name, "organ", color, ANATOMICAL_STRUCTURE, code, parts=parts)


def tumor_label(value: int, name: str, color: tuple[int, int, int], region: Code, organ: int) -> Label:
    """The tumors of an organ, whose code is their region and whose label has this value."""
    return Label(value, name, "tumor", color, MORPHOLOGICALLY_ALTERED, MASS, region=region, organ=organ)


# The liver's colour is that of its code in Slicer. The kidney's there is so near to it that their outlines cannot be
# told apart: it is violet here, which differs for every kind of colour vision. Tumours are bright, to stand out.
LIVER_COLOR = (221, 130, 101)
KIDNEY_COLOR = (160, 110, 255)
LIVER_TUMOR_COLOR = (255, 225, 25)
KIDNEY_TUMOR_COLOR = (67, 220, 240)

INPUT_SIZE = (384, 384)
"""Rows and columns of a training slice, in the tasks here."""

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="kidney-tumor",
            title="Kidneys and kidney tumors",
            labels=(
                organ_label(1, "kidney", KIDNEY_COLOR, KIDNEY, parts=2),
                tumor_label(2, "kidney tumor", KIDNEY_TUMOR_COLOR, KIDNEY, organ=1),
            ),
            window=(-200.0, 300.0),
            input_size=INPUT_SIZE,
            spacing=1.0,
        ),
        Task(
            name="liver-tumor",
            title="Liver and liver tumors",
            labels=(
                organ_label(1, "liver", LIVER_COLOR, LIVER, parts=1),
                tumor_label(2, "liver tumor", LIVER_TUMOR_COLOR, LIVER, organ=1),
            ),
            window=(-40.0, 160.0),
            input_size=INPUT_SIZE,
            spacing=1.0,
        ),
        Task(
            name="abdomen",
            title="Liver, kidneys and their tumors",
            labels=(
                organ_label(1, "liver", LIVER_COLOR, LIVER, parts=1),
                organ_label(2, "kidney", KIDNEY_COLOR, KIDNEY, parts=2),
                tumor_label(3, "liver tumor", LIVER_TUMOR_COLOR, LIVER, organ=1),
                tumor_label(4, "kidney tumor", KIDNEY_TUMOR_COLOR, KIDNEY, organ=2),
            ),
            # The public slices that the first model is trained on are stored cut to about this window.
            window=(0.0, 250.0),
            input_size=INPUT_SIZE,
            spacing=1.0,
        ),
    )
}


def _check_entries(data: dict[str, Any], path: Path) -> None:
    """Raises TaskError for an entry that a task does not have: one that is mistyped would be left out unnoticed."""
    labels = data.get("labels")
    parts = [(Task, data), *((Label, item) for item in (labels if isinstance(labels, list) else []))]
    for kind, entries in parts:
        unknown = sorted(entries.keys() - {field.name for field in fields(kind)}) if isinstance(entries, dict) else []
        if unknown:
            what = kind.__name__.lower()
            raise TaskError(f"{path}: a {what} has no entry '{unknown[0]}'. Compare it with docs/tasks.md.")


def load_task(name_or_path: str | Path) -> Task:
    """A task by its name, or from a JSON file that holds what `Task.to_dict` gives (see docs/tasks.md).

    Raises:
        TaskError: no such task, or the file cannot be read or holds something else.
    """
    if str(name_or_path) in TASKS:
        return TASKS[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise TaskError(
            f"There is no task '{name_or_path}'. Use one of {', '.join(TASKS)}, or give the path of a task file."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise TaskError(f"The task file {path} cannot be read as JSON: {error}. See docs/tasks.md.") from error
    if not isinstance(data, dict):
        raise TaskError(f"The task file {path} must hold one JSON object. See docs/tasks.md.")
    _check_entries(data, path)
    try:
        return Task.from_dict(data)
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error
