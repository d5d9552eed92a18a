"""Tasks of a user's own: an organ, with or without its tumors, kept as files."""

from __future__ import annotations

import re
from dataclasses import replace
from math import ceil
from pathlib import Path

from HLFDSegmentationLib.errors import OutputError, TaskError
from HLFDSegmentationLib.output.safe_files import write_json
from HLFDSegmentationLib.tasks import (
    KIDNEY,
    KIDNEY_COLOR,
    KIDNEY_TUMOR_COLOR,
    LIVER,
    LIVER_COLOR,
    TASKS,
    Code,
    Task,
    load_task,
    organ_label,
    tumor_label,
)

KNOWN_ORGANS = {"liver": LIVER, "kidney": KIDNEY, "kidneys": KIDNEY}
PRIVATE_SCHEME = "99HLFD"
"""DICOM: schemes whose names begin with 99 are private. It stands for organs whose code nobody looked up."""

MOST_NAME_BYTES = 100
"""Of a task or a training: files are called by it and more, and a file's name has 255 bytes at most."""


FIELD_MM = 384
"""Width of what the network learns from: that of most bodies. Finer pixels need more of them, and more time."""

INPUT_LIMITS = (64, 512)
"""Rows and columns of slices: smaller ones leave the deepest layers nothing, larger ones need a large graphics card."""

TWO_IN_A_BODY = {"kidney", "kidneys", "adrenal", "adrenals", "adrenal gland", "adrenal glands", "lung", "lungs"}


def new_task(organ: str, *, tumors: bool, window: tuple[float, float], spacing: float, parts: int = 1) -> Task:
    """A task for an organ.

    Args:
        organ: its name, as the user calls it.
        tumors: whether tumors in it are segmented, too.
        window: lowest and highest HU that the network distinguishes.
        spacing: size of the network's pixels in mm.
        parts: how many separate pieces the organ has in one body.

    Raises:
        TaskError: no name, or a window or spacing that makes no sense.
    """
    name = " ".join(organ.lower().split())
    identifier = re.sub(r"\W+", "-", name).encode()[:MOST_NAME_BYTES].decode(errors="ignore").strip("-")
    if not identifier:
        raise TaskError("The organ has no name. Write what is to be segmented, such as: pancreas.")
    code = KNOWN_ORGANS.get(name, Code(PRIVATE_SCHEME, identifier, name.capitalize()))
    labels = [organ_label(1, name, LIVER_COLOR if code == LIVER else KIDNEY_COLOR, code, parts)]
    if tumors:
        labels.append(tumor_label(2, f"{name} tumor", KIDNEY_TUMOR_COLOR, code, organ=1))
    title = f"{name.capitalize()} and its tumors" if tumors else name.capitalize()
    return Task(
        name=f"{identifier}-tumor" if tumors else identifier,
        title=title,
        labels=tuple(labels),
        window=window,
        input_size=_input_size(spacing),
        spacing=spacing,
    )


def parts_in_body(organ: str) -> int:
    """How many of an organ a body has, where its name tells; 1 otherwise."""
    return 2 if " ".join(organ.lower().split()) in TWO_IN_A_BODY else 1


def _input_size(spacing: float) -> tuple[int, int]:
    """The fewest rows and columns that show `FIELD_MM`, of those that networks take."""
    smallest, largest = INPUT_LIMITS
    pixels = ceil(FIELD_MM / max(spacing, FIELD_MM / largest) / 32) * 32
    return (max(smallest, pixels),) * 2


def keep_task(task: Task, folder: Path) -> Path:
    """Writes a task to a file named after it, and gives the file.

    Raises:
        TaskError: there is another task of this name.
        OutputError: it cannot be written.
    """
    path = folder / f"{task.name}.json"
    if task.name in TASKS or (path.is_file() and not _holds(path, task)):
        raise TaskError(
            f"There is a task '{task.name}' already. Choose it in the list, or give the organ another name."
        )
    try:
        # Not what the trainings' folder lies in: its disk may be away.
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}. Choose another folder.") from error
    write_json(path, task.to_dict())
    return path


def free_name(task: Task, folder: Path) -> Task:
    """The task, under another name where another one has its name already."""
    number, named = 1, task
    while named.name in TASKS or ((path := folder / f"{named.name}.json").is_file() and not _holds(path, named)):
        number += 1
        named = replace(task, name=f"{task.name}-{number}")
    return named


def _holds(path: Path, task: Task) -> bool:
    try:
        return load_task(path) == task
    except TaskError:
        return False


def kept_tasks(folder: Path) -> tuple[dict[str, Task], list[str]]:
    """The tasks in a folder by the path of their files, and a sentence for each file that holds none."""
    tasks, problems = {}, []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        paths = []
    except OSError as error:
        return {}, [f"{folder} cannot be read: {error.strerror}. Choose another folder for the trainings."]
    for path in paths:
        try:
            tasks[str(path)] = load_task(path)
        except TaskError as error:
            problems.append(str(error))
    return tasks, problems
