"""The folder layouts in which public CT data sets with annotations come, and the one for a user's own."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from HLFDSegmentationLib.errors import CasesError, TaskError
from HLFDSegmentationLib.output.output_folder import MEASURES
from HLFDSegmentationLib.tasks import BACKGROUND, KIDNEY, LIVER, Label, Task

LabelNames = dict[int, tuple[str, ...]]
"""Voxel value of a label file -> names of the task's labels that it may stand for."""

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")

ALL_IMAGE_SUFFIXES = (*IMAGE_SUFFIXES, ".mhd", ".nhdr", ".hdr", ".img", ".dcm")
"""Also of files that are not understood in pairs of one's own, and are not passed over there."""

RUN_FILE = "plan.json"
"""By which the folder of a training run is known."""

ORGANS = {"liver": LIVER, "kidney": KIDNEY}
"""What public data sets call an organ -> its code, by which it is known in a task of any language."""

logger = logging.getLogger(__name__)


class Files(NamedTuple):
    """The files of one annotated case."""

    name: str
    ct: Path
    label: Path


@dataclass(frozen=True)
class Layout:
    """One way to lay out annotated cases in a folder.

    Attributes:
        title: what it is called in messages.
        pattern: what its files look like, in messages.
        files: lists a folder's cases; empty where the folder has another layout. Raises CasesError.
        labels: what the values of the folder's label files stand for in a task. Raises CasesError.
    """

    title: str
    pattern: str
    files: Callable[[Path], list[Files]]
    labels: Callable[[Path, Task], LabelNames]


def image_name(path: Path) -> str:
    """A file's name without the suffixes of an image format."""
    for suffix in IMAGE_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name


def _kits_files(folder: Path) -> list[Files]:
    _check_no_result(folder)
    images = _by_folder(folder, "imaging.nii.gz")
    # KiTS21 has one file for each annotator; the majority of them is what its authors score against.
    labels = _by_folder(folder, "segmentation.nii.gz") | _by_folder(folder, "aggregated_MAJ_seg.nii.gz")
    return _pair(images, labels, folder)


def _check_no_result(folder: Path) -> None:
    """A model's result has the name of an annotation of KiTS, and not its values."""
    for path in _files_below(folder):
        if path.name == "segmentation.nii.gz" and (path.parent / MEASURES).is_file():
            raise CasesError(
                f"{path} is a result of 'hlfd segment' and no annotation. Correct it in 3D Slicer, and lay it beside "
                "its CT, as NAME/label.nii.gz with NAME/ct.nii.gz."
            )


def _by_folder(folder: Path, file_name: str) -> dict[str, Path]:
    return _unique((path.parent.name, path) for path in _files_below(folder) if path.name == file_name)


def _files_below(folder: Path) -> Iterator[Path]:
    return (parent / file for parent, _, files in _walk(folder) for file in files)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """A folder and those below, as `os.walk` gives them; linked ones are followed, and none is given twice."""
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_unreadable):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if _is_users(Path(name)))
        yield Path(parent), folders, sorted(files)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _refuse_unreadable(error)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise CasesError(
        f"{error.filename} cannot be read ({error.strerror}), and cases that lie in it would be missing. "
        "Get the right to read it, or move it elsewhere."
    ) from error


def _lits_files(folder: Path) -> list[Files]:
    return _pair(_by_number(folder, "volume"), _by_number(folder, "segmentation"), folder)


def _by_number(folder: Path, stem: str) -> dict[str, Path]:
    found = ((re.fullmatch(rf"{stem}-(\d+)\.nii(\.gz)?", path.name), path) for path in _files_below(folder))
    return _unique((f"volume-{match[1]}", path) for match, path in found if match)


def _unique(found: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name, path in found:
        if name in paths:
            raise CasesError(f"Case {name} is there twice: {paths[name]} and {path}. Leave one of them.")
        paths[name] = path
    return paths


def _pair(images: dict[str, Path], labels: dict[str, Path], folder: Path) -> list[Files]:
    """Files of the cases that have both. The public test cases have no annotation and are left out."""
    without_ct = sorted(labels.keys() - images.keys())
    if without_ct:
        raise CasesError(
            f"{folder}: annotations without a CT beside them: {len(without_ct)}, first {labels[without_ct[0]]}. "
            "Download the CTs of the data set too, or move these annotations elsewhere."
        )
    unlabeled = len(images.keys() - labels.keys())
    if unlabeled:
        logger.warning("%d CTs have no annotation and are left out.", unlabeled)
    return [Files(name, images[name], labels[name]) for name in labels]


def _pair_files(folder: Path) -> list[Files]:
    found, halves, others = [], [], []
    for child in (path for path in _listed(folder) if path.is_dir() and _is_users(path)):
        ct, label = _image(child, "ct"), _image(child, "label")
        if ct and label:
            found.append(Files(child.name, ct, label))
        elif ct or label:
            halves.append(f"{child.name} has no '{'label' if ct else 'ct'}' file")
        elif image := next(_images(child), None):
            others.append(f"{child.name} has no 'ct' and no 'label' file ({image})")
    others += [f"{path.name} lies in no folder of its own" for path in _listed(folder) if _is_loose_image(path)]
    if halves or (found and others):
        raise CasesError(
            f"{folder}: {', '.join(halves + others)}. Add what is missing, or rename it (docs/cases.md tells how files "
            "are called), or move it elsewhere."
        )
    return found


def _images(folder: Path) -> Iterator[str]:
    """Images at any depth, but for those that a training run keeps in its folder."""
    for parent, folders, files in _walk(folder):
        if RUN_FILE in files:
            folders.clear()
        else:
            images = (parent / name for name in files if _is_image(Path(name)))
            yield from (path.relative_to(folder).as_posix() for path in images)


def _is_image(path: Path) -> bool:
    """DICOM files often have no suffix, or are called by numbers with dots between."""
    has_suffix = path.suffix.strip(".0123456789")
    return _is_users(path) and (not has_suffix or path.name.lower().endswith(ALL_IMAGE_SUFFIXES))


def _is_loose_image(path: Path) -> bool:
    """What has no suffix is a README there rather than an image."""
    return path.is_file() and _is_users(path) and path.name.lower().endswith(ALL_IMAGE_SUFFIXES)


def _is_users(path: Path) -> bool:
    """Not what systems and file managers leave."""
    return not path.name.startswith((".", "__MACOSX"))


def _image(folder: Path, stem: str) -> Path | None:
    """The only image `stem.*` of a folder, or its DICOM folder `stem`; where there is none, one in capital letters."""
    files = {f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES}
    listed = _listed(folder)
    alike = [path for path in listed if path.name.lower() == stem and path.is_dir()]
    alike += [path for path in listed if path.name.lower() in files and path.is_file()]
    found = [path for path in alike if path.name == path.name.lower()] or alike
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CasesError(f"{folder} has more than one '{stem}': {names}. Leave one of them.")
    return found[0] if found else None


def _msd_files(folder: Path) -> list[Files]:
    if not (folder / "dataset.json").is_file():
        return []
    try:
        return [
            Files(image_name(Path(item["image"])), folder / item["image"], folder / item["label"])
            for item in _dataset_json(folder)["training"]
        ]
    except (KeyError, TypeError) as error:
        raise CasesError(
            f"{folder / 'dataset.json'} has no list 'training' of entries with 'image' and 'label'. "
            "Use the file that came with the data set, or describe the cases in a cases.json (see docs/cases.md)."
        ) from error


def _dataset_json(folder: Path) -> Any:
    path = folder / "dataset.json"
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CasesError(
            f"{path} cannot be read as JSON: {error}. Use the file that came with the data set."
        ) from error


def _kits_labels(_folder: Path, task: Task) -> LabelNames:
    kidney = _organ_of(task, "kidney", "KiTS")
    # The challenge scores cysts as part of "kidney and masses", and a cyst is not a tumor.
    return {1: (kidney.name,), 2: (_tumor_of(task, kidney).name,), 3: (kidney.name,)}


def _lits_labels(_folder: Path, task: Task) -> LabelNames:
    liver = _organ_of(task, "liver", "LiTS")
    return {1: (liver.name,), 2: (_tumor_of(task, liver).name,)}


def _own_labels(_folder: Path, task: Task) -> LabelNames:
    return {label.value: (label.name,) for label in task.labels}


WITHOUT_TUMORS = {"tumor", "cyst", "cysts", "vessel", "vessels", "vein", "veins", "artery", "arteries"}
"""Words in names of structures of which a tumor that is only called "tumor" cannot be one."""


def _msd_labels(folder: Path, task: Task) -> LabelNames:
    """Labels matched by name; a structure that the task does not have is background."""
    try:
        names = {int(value): _plain_name(name) for value, name in _dataset_json(folder)["labels"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CasesError(
            f"{folder / 'dataset.json'} has no 'labels' that name each voxel value. "
            "Use the file that came with the data set, or describe the cases in a cases.json (see docs/cases.md)."
        ) from error
    names.pop(BACKGROUND, None)
    organs = [organ for organ in task.organs if any(_is_organ(organ, name) for name in names.values())]
    owners = sorted({name for name in names.values() if not WITHOUT_TUMORS & set(name.split())})
    if "tumor" in names.values() and organs and len(owners) > 1:
        raise CasesError(
            f"dataset.json names a tumor and {', '.join(owners)}, so it is not known whose tumor it is. "
            "Describe the cases in a cases.json (see docs/cases.md)."
        )
    labels: LabelNames = {value: _named(name, organs, task) for value, name in names.items()}
    if not any(labels.values()):
        raise CasesError(_nothing_in_common(f"{folder / 'dataset.json'}", ", ".join(names.values()), task))
    return _with_tumors_in_it(labels, task)


def _with_tumors_in_it(labels: LabelNames, task: Task) -> LabelNames:
    """An organ whose tumors have no value of their own is outlined with them: which a voxel is, is left open."""
    told = {name for names in labels.values() for name in names}
    whole: dict[tuple[str, ...], tuple[str, ...]] = {}
    for organ in task.organs:
        tumors = tuple(tumor.name for tumor in task.tumors_of(organ))
        if not told & set(tumors):
            whole[(organ.name,)] = (organ.name, *tumors)
    return {value: whole.get(names, names) for value, names in labels.items()}


def _named(name: str, organs: list[Label], task: Task) -> tuple[str, ...]:
    """The task's label that a data set calls `name`, as a tuple of one; empty where there is none."""
    for label in task.labels:
        if _plain_name(label.name) == name or (label.role == "organ" and _is_organ(label, name)):
            return (label.name,)
    for organ in organs:
        if name in ("tumor", f"{_plain_name(organ.name)} tumor"):
            return (_tumor_of(task, organ).name,)
    return ()


def _plain_name(name: str) -> str:
    """A label's name in the words that task labels use."""
    words = re.split(r"[\s_-]+", str(name).strip().lower())
    tumors = {"tumour", "tumours", "tumors", "cancer", "lesion", "lesions"}
    return " ".join("tumor" if word in tumors else word for word in words)


def _is_organ(label: Label, name: str) -> bool:
    return name in (_plain_name(label.name), _plain_name(label.type.meaning), _coded_name(label))


def _coded_name(organ: Label) -> str | None:
    """What public data sets call the organ that a label has the code of."""
    coded = (organ.type.scheme, organ.type.value)
    return next((name for name, code in ORGANS.items() if coded == (code.scheme, code.value)), None)


def _organ_of(task: Task, name: str, data_set: str) -> Label:
    for organ in task.organs:
        if _is_organ(organ, name):
            return organ
    raise CasesError(_nothing_in_common(f"{data_set} data", f"{name}, {name} tumor", task))


def _nothing_in_common(source: str, names: str, task: Task) -> str:
    known = ", ".join(label.name for label in task.labels)
    return (
        f"{source}: annotates {names}, and none of it is a label of the task '{task.name}' ({known}). "
        "Choose another task, or describe the cases in a cases.json (see docs/cases.md)."
    )


def _tumor_of(task: Task, organ: Label) -> Label:
    """The label that an organ's tumors have in the task; where the task has none, they are part of the organ."""
    tumors = task.tumors_of(organ)
    if len(tumors) <= 1:
        return tumors[0] if tumors else organ
    try:
        return task.label(f"{organ.name} tumor")
    except TaskError as error:
        raise CasesError(
            f"The task '{task.name}' has {len(tumors)} labels for tumors of the {organ.name}, and the data set one. "
            "Describe the cases in a cases.json that says which it is (see docs/cases.md)."
        ) from error


def labels_of_pairs(folder: Path, drawn_for: Task, task: Task) -> LabelNames:
    """What the values of a user's own pairs stand for in another task than the one that they were drawn for.

    A structure that the task does not have is background; tumors of an organ that has none there are part of it. An
    organ that was drawn without tumors of its own may hold them.

    Args:
        folder: of the pairs, for messages.
        drawn_for: tells what each value means.
        task: whose labels are wanted.

    Raises:
        CasesError: the tasks have nothing in common, or it is not known which of several tumors is meant.
    """
    labels = {label.value: _known_as(label, drawn_for, task) for label in drawn_for.labels}
    if not any(labels.values()):
        names = ", ".join(label.name for label in drawn_for.labels)
        raise CasesError(_nothing_in_common(str(folder), names, task))
    return _with_tumors_in_it(labels, task)


def _known_as(label: Label, drawn_for: Task, task: Task) -> tuple[str, ...]:
    """The task's label that another task's label is, as a tuple of one; empty where there is none."""
    if label.name in {known.name for known in task.labels}:
        return (label.name,)
    organ = _same_organ(drawn_for.organ_of(label), task)
    if organ is None:
        return ()
    return (organ.name if label.role == "organ" else _tumor_of(task, organ).name,)


def _same_organ(organ: Label, task: Task) -> Label | None:
    """The task's organ of this name or code. A code that several of them have, as left and right, tells neither."""
    by_name = [known for known in task.organs if known.name == organ.name]
    code = _coded_name(organ)
    by_code = [known for known in task.organs if code and _coded_name(known) == code]
    found = by_name or by_code
    return found[0] if len(found) == 1 else None


def own_pairs(folder: Path) -> bool:
    """Whether a folder holds pairs of the user's own, whose label values nothing but the task explains."""
    return bool(_pair_files(folder))


OWN_PAIRS = Layout("your own pairs", "NAME/ct.nii.gz with NAME/label.nii.gz", _pair_files, _own_labels)
"""The one layout of which only the task tells what its values stand for."""

LAYOUTS = (
    Layout("KiTS", "case_00000/imaging.nii.gz with case_00000/segmentation.nii.gz", _kits_files, _kits_labels),
    Layout("LiTS", "volume-0.nii with segmentation-0.nii", _lits_files, _lits_labels),
    Layout("Medical Segmentation Decathlon", "dataset.json with imagesTr and labelsTr", _msd_files, _msd_labels),
    OWN_PAIRS,
)
