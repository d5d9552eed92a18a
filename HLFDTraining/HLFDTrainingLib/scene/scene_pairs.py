"""Which segmentation of a scene belongs to which CT."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..annotations.segment_roles import SceneSegment, words_in

Bounds = tuple[float, float, float, float, float, float]
"""Lowest and highest x, y and z in mm in the scene, transforms applied, as Slicer's `GetRASBounds` gives them."""

ALIKE = 0.5
"""From this share of common words on, two names are taken to belong together."""

INSIDE = 0.9
"""Share of a segmentation that must lie in its CT; the rest is the rounding of surfaces."""

WORDS_OF_KINDS = words_in(
    "ct cect image imaging img volume vol scan series seg segmentation segmentations segment label labels labelmap "
    "mask annotation annotations truth gt manual contour contours nii gz nrrd mha dcm phase copy tumor tumour lesion "
    "liver kidney kidneys hlfd"
)
"""Words that tell what a node is, and not of whom."""


@dataclass(frozen=True)
class SceneImage:
    """An image volume of the scene, or the CT of a case that is files.

    Attributes:
        id: of its node.
        name: what the user reads.
        patient: the patient's name, where the scene knows it.
        of_run: `patient` is what a training run calls the patient of its case: no name, and not to be changed.
        patient_id: what the hospital calls the patient, where the scene knows it.
        study: identifier of the study, where the scene knows it.
        shape: voxels along z, y and x.
        is_ct: whether it can be a CT: no label map, one value a voxel, and no other modality by DICOM.
        bounds: where it lies; none where that is not known.
        of_file: it is the CT of a case that is files.
    """

    id: str
    name: str
    patient: str = ""
    patient_id: str = ""
    study: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    is_ct: bool = True
    bounds: Bounds | None = None
    of_run: bool = False
    of_file: bool = False


@dataclass(frozen=True)
class SceneSegmentation:
    """A segmentation of the scene.

    Attributes:
        id: of its node.
        name: what the user reads.
        segments: its segments.
        patient_id, study: as of an image.
        reference_image_id: the image that it was drawn on, where the scene knows it.
        bounds: where its segments lie; none where nothing is drawn or that is not known. Those of a labelmap, which is
            made smaller when it is saved: they make no other segmentation.
    """

    id: str
    name: str
    segments: tuple[SceneSegment, ...] = ()
    patient_id: str = ""
    study: str = ""
    reference_image_id: str | None = None
    bounds: Bounds | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Pair:
    """A CT and its segmentation, or one of them alone.

    Attributes:
        image_id: the CT; none for a segmentation whose CT was not found.
        segmentation_id: none for a CT whose segmentation was not found, or where the user must choose.
        reason: why they belong together, or why one was not found.
    """

    image_id: str | None
    segmentation_id: str | None
    reason: str


def suggest_pairs(images: Sequence[SceneImage], segmentations: Sequence[SceneSegmentation]) -> list[Pair]:
    """A pair for each CT, in their order, then one for each segmentation that found none.

    What a segmentation was drawn on decides. Without that, study and names are a guess, which place may support. Where
    two are as good as each other, none is taken, and the reason says so.
    """
    chosen: dict[str, list[tuple[SceneSegmentation, str]]] = defaultdict(list)
    alone: dict[str, str] = {}
    taken = {segmentation.reference_image_id for segmentation in segmentations}
    used = {image.name for image in images} | {segmentation.name for segmentation in segmentations}
    for segmentation in segmentations:
        image, reason = _image_for(segmentation, images, taken, used)
        if image is None:
            alone[segmentation.id] = reason
        else:
            chosen[image.id].append((segmentation, reason))
    pairs = [_pair(image, chosen[image.id]) for image in images if image.is_ct]
    return pairs + [Pair(None, segmentation_id, reason) for segmentation_id, reason in alone.items()]


def share_inside(inner: Bounds, outer: Bounds) -> float:
    """The share of one box that lies in another."""
    share = 1.0
    for low, high, outer_low, outer_high in zip(inner[::2], inner[1::2], outer[::2], outer[1::2]):
        overlap = min(high, outer_high) - max(low, outer_low)
        share *= max(0.0, overlap) / (high - low) if high > low else float(overlap >= 0)
    return share


def _pair(image: SceneImage, found: Sequence[tuple[SceneSegmentation, str]]) -> Pair:
    if not found:
        missing = "No segmentation was found for this CT. Draw one in the Segment Editor, or remove the row."
        return Pair(image.id, None, missing)
    if len(found) > 1:
        names = _listed(segmentation.name for segmentation, _ in found)
        return Pair(image.id, None, f"{len(found)} segmentations belong to this CT: {names}. Choose one of them.")
    [(segmentation, reason)] = found
    return Pair(image.id, segmentation.id, reason)


def _image_for(
    segmentation: SceneSegmentation, images: Sequence[SceneImage], taken: set[str | None], used: set[str]
) -> tuple[SceneImage | None, str]:
    """The CT of a segmentation and why, or none and why not."""
    for image in images:
        if image.id == segmentation.reference_image_id:
            if image.is_ct:
                return image, "It was drawn on this CT."
            return None, f"It was drawn on '{image.name}', which is no CT. Choose a CT that lies in the same place."
    free = [image for image in images if image.is_ct and image.id not in taken and not _contradict(segmentation, image)]
    evidence = {image.id: _evidence(segmentation, image, used) for image in free}
    best = max(map(len, evidence.values()), default=0)
    candidates = [image for image in free if len(evidence[image.id]) == best]
    if best == 0:
        return None, "No CT was found for this segmentation. Choose the one that it was drawn on."
    if len(candidates) > 1:
        names = _listed(image.name for image in candidates)
        return None, f"{len(candidates)} CTs fit this segmentation equally well: {names}. Choose the right one."
    return candidates[0], f"It fits this CT: {', '.join(evidence[candidates[0].id])}."


def _contradict(segmentation: SceneSegmentation, image: SceneImage) -> bool:
    if segmentation.patient_id and image.patient_id and segmentation.patient_id != image.patient_id:
        return True
    if segmentation.study and image.study and segmentation.study != image.study:
        return True
    return bool(segmentation.bounds and image.bounds and share_inside(segmentation.bounds, image.bounds) < INSIDE)


def _evidence(segmentation: SceneSegmentation, image: SceneImage, used: set[str]) -> list[str]:
    found = []
    if segmentation.study and segmentation.study == image.study:
        found.append("same study")
    if names_alike(*(_own_name(node.name, used) for node in (segmentation, image))):
        found.append("similar name")
    # Alone, it says nothing: most bodies lie in the same place of their scanner.
    if found and segmentation.bounds and image.bounds:
        found.append("it lies inside")
    return found


def _own_name(name: str, used: set[str]) -> str:
    """The name without the number that Slicer adds to one that is used already, in the order of loading."""
    before, _, number = name.rpartition("_")
    return before if number.isdigit() and before in used else name


def names_alike(one: str, other: str) -> bool:
    """Whether two names belong together, words such as "segmentation" and "CT" left out."""
    first, second = _identity(one), _identity(other)
    numbers = [{word for word in words if word.isdigit()} for words in (first, second)]
    if all(numbers) and not (numbers[0] <= numbers[1] or numbers[1] <= numbers[0]):
        return False
    common, all_words = sum((first & second).values()), sum((first | second).values())
    return bool(all_words) and common / all_words >= ALIKE


def _identity(name: str) -> Counter[str]:
    words = re.findall(r"\d+|[^\W\d_]+", name.lower())
    numbers_alike = (str(int(word)) if word.isdigit() else word for word in words)
    return Counter(word for word in numbers_alike if word not in WORDS_OF_KINDS)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
