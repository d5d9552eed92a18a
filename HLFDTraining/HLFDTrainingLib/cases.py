"""Annotated cases: what one is, what its annotator looked for, and where cases are found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.output.safe_files import write_json
from HLFDSegmentationLib.tasks import BACKGROUND, TASKS, Task

from .annotations.layouts import LAYOUTS, OWN_PAIRS, LabelNames, Layout, labels_of_pairs, own_pairs

CASES_FILE = "cases.json"

ALL_CASES = "all cases"
"""Stands for a case's name in what concerns them together."""


@dataclass(frozen=True)
class Case:
    """One CT and its annotation.

    Attributes:
        name: what the case is called in messages and tables; no two cases have the same.
        patient: cases of the same patient are never split apart.
        ct: image file or DICOM folder.
        label: image file on the CT's grid.
        labels: voxel value in the label file -> names of the task's labels that it may stand for. One name: the
            value means it. Several: the annotator did not tell them apart, {1: ("liver", "liver tumor")} is a mask of
            the liver with its tumors. None: something else, background to the task. A label of the task that stands
            under no value was not looked for, and is unknown in this case.
        window: HU range that the stored image was cut to; none for full CT.
        repeat: how often training sees the case's slices in an epoch, to balance data sets of unlike size.
    """

    name: str
    patient: str
    ct: Path
    label: Path
    labels: LabelNames
    window: tuple[float, float] | None = None
    repeat: int = 1


def case_groups(case: Case, task: Task) -> list[int]:
    """For each class of the task, the lowest of the classes that the annotation does not tell from it.

    Labels that were not looked for are in the background's group, 0. See `partial_labels`.

    Raises:
        CasesError: the case's values contradict each other, or name a label that the task does not have.
    """
    groups = [BACKGROUND] * task.num_classes
    for classes in _classes(case, task).values():
        for value in classes:
            groups[value] = min(classes)
    return groups


def target_values(case: Case, task: Task) -> dict[int, int]:
    """Voxel value of the label file -> representative class of its group (see `case_groups`); 0 stays 0.

    Raises:
        CasesError: as `case_groups`.
    """
    representatives = {value: min(classes, default=BACKGROUND) for value, classes in _classes(case, task).items()}
    return {BACKGROUND: BACKGROUND, **representatives}


def classes_of(annotation: np.ndarray, case: Case, task: Task) -> np.ndarray:
    """The classes that the values of a case's label file stand for, each the representative of its group (uint8).

    Raises:
        CasesError: as `case_groups`.
    """
    classes = np.zeros(annotation.shape, np.uint8)
    for value, representative in target_values(case, task).items():
        classes[annotation == value] = representative
    return classes


def _classes(case: Case, task: Task) -> dict[int, frozenset[int]]:
    """Voxel value -> classes that it may stand for."""
    known = {label.name: label.value for label in task.labels}
    unknown = sorted({name for names in case.labels.values() for name in names} - known.keys())
    if unknown:
        raise CasesError(
            f"Case {case.name}: the task '{task.name}' has no label '{unknown[0]}'. Its labels are {', '.join(known)}. "
            "Correct the name under 'labels' of the case, or choose another task."
        )
    classes = {value: frozenset(known[name] for name in names) for value, names in case.labels.items()}
    for value, ours in classes.items():
        for other, theirs in classes.items():
            if ours & theirs and ours != theirs:
                name = task.label(min(ours & theirs)).name
                raise CasesError(
                    f"Case {case.name}: '{name}' stands under the values {value} and {other}, together with different "
                    "labels. Give it one value, or give both values the same list of labels."
                )
    return classes


def find_cases(source: Path, task: Task, pairs_task: Task | None = None) -> list[Case]:
    """The annotated cases of a folder or of a cases.json, sorted by name.

    A folder holds a cases.json, or has one of `layouts.LAYOUTS`; docs/cases.md describes both. The images are not
    opened: `check_cases` does that.

    Args:
        source: the folder or file.
        task: the labels that the cases are wanted for.
        pairs_task: what the values stand for where nothing in the folder says it; the task itself by default.

    Raises:
        CasesError: nothing is found, the folder mixes layouts, or the labels do not fit the task.
    """
    source = Path(source)
    if not source.exists():
        raise CasesError(f"{source} does not exist. Give the folder of the annotated cases, or a cases.json.")
    if source.is_dir() and (source / CASES_FILE).is_file():
        source = source / CASES_FILE
    cases = _find_in_folder(source, task, pairs_task or task) if source.is_dir() else read_cases_json(source)
    for case in cases:
        _classes(case, task)
    return sorted(cases, key=lambda case: case.name)


def check_values_explained(source: Path) -> None:
    """Refuses a folder where only the task says what label values stand for, to be called where none was named.

    Raises:
        CasesError: there are such cases; the message names the tasks.
    """
    source = Path(source)
    if source.is_dir() and not (source / CASES_FILE).is_file() and own_pairs(source):
        meanings = (
            f"{task.name} ({', '.join(f'{label.value} {label.name}' for label in task.labels)})"
            for task in TASKS.values()
        )
        raise CasesError(
            f"The values of the label files in {source} stand for what the task says, and no task was named. Name it "
            f"with --task: {'; '.join(meanings)}; or the file of a task of your own."
        )


def _find_in_folder(folder: Path, task: Task, pairs_task: Task) -> list[Case]:
    found = {layout: files for layout in LAYOUTS if (files := layout.files(folder))}
    if len(found) != 1:
        problem = f"{folder}: no annotated cases were found." if not found else _mixed(folder, found)
        understood = "; ".join(f"{layout.pattern} ({layout.title})" for layout in LAYOUTS)
        raise CasesError(f"{problem} These layouts are understood: {understood}; or a cases.json. See docs/cases.md.")
    [(layout, all_files)] = found.items()
    drawn_for_another = layout is OWN_PAIRS and pairs_task is not task
    labels = labels_of_pairs(folder, pairs_task, task) if drawn_for_another else layout.labels(folder, task)
    return [Case(files.name, files.name, files.ct, files.label, labels) for files in all_files]


def _mixed(folder: Path, found: Iterable[Layout]) -> str:
    titles = " and ".join(layout.title for layout in found)
    return f"{folder} mixes the layouts of {titles}, so it is not clear what its label values mean. Separate them."


def read_cases_json(path: Path) -> list[Case]:
    """The cases that a file lists (schema: docs/cases.md). Paths are relative to the file's folder.

    Raises:
        CasesError: the file cannot be read, or an entry is missing or wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repeats)
    except (OSError, ValueError, RecursionError) as error:
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else error
        raise CasesError(
            f"{path} is no cases.json: it cannot be read as JSON ({why}). "
            "Give the folder of the annotated cases, or a cases.json; see docs/cases.md."
        ) from error
    entries = data.get("cases") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise CasesError(f"{path} lists no cases. It must hold one object with a list 'cases'; see docs/cases.md.")
    return [_case_from_json(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _without_repeats(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON file. Raises ValueError where an entry is there twice, of which one would be lost."""
    names = [name for name, _ in entries]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"the entry '{repeated[0]}' is there twice in one object: leave one of them")
    return dict(entries)


def _case_from_json(path: Path, number: int, entry: Any) -> Case:
    try:
        _check_entry(entry)
        window = entry.get("window")
        # Windows goes up by ".." in the path as it is written, and does not follow links and drives' letters before.
        folder = path.parent.resolve()
        return Case(
            name=str(entry["name"]),
            patient=str(entry.get("patient", entry["name"])),
            ct=folder / entry["ct"],
            label=folder / entry["label"],
            labels=_labels_from_json(entry["labels"]),
            window=_window_from_json(window) if window is not None else None,
            repeat=_repeat_from_json(entry.get("repeat", 1)),
        )
    except ValueError as error:
        raise CasesError(f"{path}: case number {number}: {error}. See docs/cases.md.") from error


ENTRIES = {"name": (str, int), "ct": (str,), "label": (str,), "labels": (dict,)}
OPTIONAL_ENTRIES = {"patient": (str, int), "window": (list, type(None)), "repeat": (int,)}


def _check_entry(entry: Any) -> None:
    """Raises ValueError where an entry is missing, unknown or of another kind than it must be."""
    if not isinstance(entry, dict):
        raise ValueError("it is no object in braces")
    known = {**ENTRIES, **OPTIONAL_ENTRIES}
    if missing := [name for name in ENTRIES if name not in entry]:
        raise ValueError(f"the entry '{missing[0]}' is missing")
    # A misspelt 'patient' would put one patient into training and test.
    if unknown := [name for name in entry if name not in known]:
        raise ValueError(f"there is no entry '{unknown[0]}'; there are {', '.join(known)}")
    for name, value in entry.items():
        if not isinstance(value, known[name]):
            kinds = {str: "text", int: "a whole number", dict: "an object in braces", list: "a list"}
            wanted = " or ".join(kinds[kind] for kind in known[name] if kind in kinds)
            raise ValueError(f"'{name}' must be {wanted}")


def _labels_from_json(data: dict[str, Any]) -> LabelNames:
    labels: LabelNames = {}
    for value, names in data.items():
        listed = (names,) if isinstance(names, str) else names
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"'{value}' under 'labels' must be a voxel value, a whole number from 1 on")
        if int(value) in labels:
            raise ValueError(f"the voxel value {int(value)} is there twice under 'labels'")
        if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
            raise ValueError(f"'{value}' under 'labels' must have the name of a label, or a list of names")
        labels[int(value)] = tuple(listed)
    if not labels:
        raise ValueError("'labels' must say what each voxel value from 1 on stands for")
    return labels


def _window_from_json(data: list[float]) -> tuple[float, float]:
    if len(data) != 2 or not all(isinstance(value, int | float) for value in data) or not data[0] < data[1]:
        raise ValueError("'window' must be [lowest HU, highest HU]")
    return float(data[0]), float(data[1])


def _repeat_from_json(data: int) -> int:
    if data < 1:
        raise ValueError("'repeat' must be a whole number from 1 on")
    return data


def write_cases_json(cases: Iterable[Case], path: Path) -> None:
    """Writes cases to a file that `find_cases` reads, with paths relative to its folder.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    write_json(path, {"cases": [_case_to_json(case, path.parent) for case in cases]})


def _case_to_json(case: Case, folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": case.name,
        "patient": case.patient,
        "ct": _relative(case.ct, folder),
        "label": _relative(case.label, folder),
        "labels": {str(value): list(names) for value, names in case.labels.items()},
    }
    if case.window is not None:
        entry["window"] = list(case.window)
    if case.repeat != 1:
        entry["repeat"] = case.repeat
    return entry


def _relative(path: Path, folder: Path) -> str:
    # Folders that are links are followed, as the system follows them before it goes up by "..". A file that is a link
    # keeps its name, which tells its format.
    path = path.parent.resolve() / path.name
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive of a Windows computer
        return path.as_posix()
