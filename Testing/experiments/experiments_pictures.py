"""Draws slices of the experiments: what was painted, and what the networks make of test slices.

    python Testing/experiments/experiments_pictures.py WORK FOLDER

WORK is that of experiments.py. The pictures in FOLDER hold slices of the data sets, whose licences they come under. An
experiment that WORK does not have is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from docs_pictures import side_by_side
from experiments import EXPERIMENTS, FULL_PIXELS, STUDENT
from experiments_results import comparisons
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.cases import Case, classes_of
from HLFDTrainingLib.compare.folder import ComparisonFolder
from HLFDTrainingLib.compare.rows import Row
from HLFDTrainingLib.compare.shared_runs import teacher_network
from HLFDTrainingLib.learning.orientations import cut_to
from scipy import ndimage

WHITE = 255
EXAMPLES = 3
SHOWN_WINDOW = (0.0, 250.0)
"""What the real slices were cut to."""


def main() -> None:
    """Draws whatever WORK has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, experiment in EXPERIMENTS.items():
        folders = comparisons(arguments.work / experiment.folder)
        if folders:
            write_picture(examples(folders[0]), arguments.folder / f"{name}_examples.png")
    for name, draw in PAINTED.items():
        if (arguments.work / name / "cases").is_dir():
            write_picture(draw(arguments.work), arguments.folder / f"{name}_painted.png")


def examples(folder: Path) -> list[list[np.ndarray]]:
    """Rows of pictures: a test slice as annotated, and as teacher, none and HLFD say, of those that are there."""
    files = ComparisonFolder(folder)
    rows = [files.row(Row(method, STUDENT, 0)) for method in ("none", "hlfd")]
    networks = [teacher_network(files.teacher)] if files.figures_file(files.teacher).is_file() else []
    networks += [run.network("student") for run in rows if files.figures_file(run).is_file()]
    plan = files.plan
    tests = files.teacher.split(plan).test
    chosen = [tests[len(tests) * number // EXAMPLES] for number in range(min(EXAMPLES, len(tests)))]
    return [example(case, plan.task, networks) for case in chosen]


@torch.inference_mode()
def example(case: Case, task: Task, networks: Sequence[SegmentationNetwork]) -> list[np.ndarray]:
    """The slice of a case with most tumor, or most organ where there is none, as annotated and as each network says."""
    slices = AxialSlices(read_ct(case.ct), task)
    annotation = slices.labels_of(sitk.ReadImage(str(case.label)))
    classes = classes_of(annotation, case, task)
    tumor = np.isin(classes, [label.value for label in task.tumors])
    index = int((tumor if tumor.any() else classes > 0).sum(axis=(1, 2)).argmax())
    image = slices.images(index, index + 1)
    low, high = task.window
    hu = image[0, 0] * (high - low) + low
    found = [network(torch.from_numpy(image)).argmax(1)[0].numpy() for network in networks]
    labels = (slices.to_canvas(classes[index : index + 1])[0], *found)
    return [enlarged(fitted(outlined(hu, label, task), task.input_size)) for label in labels]


def painted_liver_lesions(work: Path) -> list[list[np.ndarray]]:
    """Rows of pictures: a real slice, the same with painted lesions, and their outlines."""
    task = EXPERIMENTS["painted_liver_lesions"].task
    found = {path.name.split("_")[1]: path for path in sorted((work / "painted_liver_lesions/cases").glob("*_0"))}
    rows = []
    for folder in found.values():
        hu, label = volume_of(folder)
        real = work / "liver_slices/cases" / "_".join(folder.name.split("_")[2:4])
        before = [grey(volume_of(real)[0][0])] if real.is_dir() else []
        rows.append([*before, grey(hu[0]), outlined(hu[0], label[0], task)])
    return rows


def painted_kidney_volumes(work: Path) -> list[list[np.ndarray]]:
    """Rows of pictures: real slices; then slices of painted volumes, plain and outlined."""
    task = EXPERIMENTS["painted_kidney_volumes"].task
    reals = sorted(path for path in (work / "kidney_slices/cases").glob("case*") if path.is_dir())
    rows = [[real_kidney(reals[len(reals) * n // 4]) for n in range(4)]] if reals else []
    whole = sorted(path for path in (work / "painted_kidney_volumes/cases").glob("painted*"))
    for folder in (whole[len(whole) * n // 4] for n in range(4)):
        hu, label = volume_of(folder)
        index = int((label == 2).sum(axis=(1, 2)).argmax())
        near = max(0, index - len(hu) // 4)
        rows.append(
            [
                grey(hu[near]),
                outlined(hu[near], label[near], task),
                grey(hu[index]),
                outlined(hu[index], label[index], task),
            ]
        )
    return rows


PAINTED: dict[str, Callable[[Path], list[list[np.ndarray]]]] = {
    "painted_liver_lesions": painted_liver_lesions,
    "painted_kidney_volumes": painted_kidney_volumes,
}


def real_kidney(folder: Path) -> np.ndarray:
    """A real slice at the painted ones' pixel size, 256x256 around its middle."""
    task = EXPERIMENTS["painted_kidney_volumes"].task
    hu = read_ct(folder / "ct.nii.gz")
    slices = AxialSlices(hu, replace(task, window=(0.0, 250.0)))
    image = slices.images(0, 1)[0, 0] * 250
    return fitted(grey(image), task.input_size)


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture (H, W, 3), cut or filled with black to a size."""
    return cut_to(torch.from_numpy(picture).movedim(2, 0), size).movedim(0, 2).numpy()


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A small picture with each pixel repeated, up to `FULL_PIXELS`."""
    times = max(1, FULL_PIXELS[0] // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def volume_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A case's CT and label [z, y, x]."""
    return tuple(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nii.gz"))) for name in ("ct", "label"))


def grey(hu: np.ndarray) -> np.ndarray:
    """A slice (H, W) as a picture (H, W, 3)."""
    low, high = SHOWN_WINDOW
    shown = ((hu.astype(np.float32) - low) / (high - low)).clip(0, 1) * WHITE
    return np.repeat(shown[..., None], 3, axis=2).astype(np.uint8)


def outlined(hu: np.ndarray, label: np.ndarray, task: Task) -> np.ndarray:
    """A slice with its labels' outlines in their colors. A value without a label is drawn as the organ (cysts are)."""
    picture = grey(hu)
    known = {label.value for label in task.labels}
    label = np.where(np.isin(label, [0, *known]), label, task.organs[0].value)
    for one in task.labels:
        inside = label == one.value
        picture[inside & ~ndimage.binary_erosion(inside)] = one.color
    return picture


def write_picture(rows: Sequence[Sequence[np.ndarray]], path: Path) -> None:
    """Pictures of one size in rows as one file, white between them."""
    width = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], WHITE)
    lines = [side_by_side([*row, *[blank] * (width - len(row))]) for row in rows]
    sitk.WriteImage(sitk.GetImageFromArray(np.concatenate(lines), isVector=True), str(path))


if __name__ == "__main__":
    main()
