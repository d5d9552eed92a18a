"""What a network's labels are rid of: pieces apart from an organ, and specks of tumor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from ..measures import in_ml
from ..pieces import NEIGHBORS, among, find_pieces, piece_sizes, values_box
from ..tasks import BACKGROUND, Label, Task

MIN_NOTED_ML = 1.0

SMALLEST_LESION_MM = 5.0
"""Diameter of the ball that the smallest piece of tumor must fill. A smaller one cannot be told from noise: lesions are
measured from 10 mm on (RECIST 1.1, Eisenhauer et al. 2009)."""

CLOSE_SLICES_MM = 2.5
"""Slices this far apart or less show a lesion that counts in more than one of them."""

SMALLEST_PIECE = 0.1

WITHIN = 0.9
"""Of the voxels around a piece, those of an organ that it lies within."""

MOST_PLACES = 3
"""So many are told in a sentence of where something was that is no lesion. Specks have no place: they are noise."""

Place = Callable[[np.ndarray], str]
"""Tells in words where a voxel (z, y, x), whole or not, lies."""


def clean(labels: np.ndarray, task: Task, spacing: tuple[float, float, float], place: Place) -> list[str]:
    """Gives tumor that is no lesion to what it lies in, then drops what lies apart from an organ. Changes the labels.

    Args:
        labels: uint8 (Z, Y, X).
        task: says what they mean.
        spacing: mm along x, y and z.
        place: tells where tumor was that is there no more.

    Returns:
        Sentences for the user about what was changed.
    """
    absorbed = [note for tumor in task.tumors for note in absorb_specks(labels, tumor, spacing, place)]
    voxel_ml = float(np.prod(spacing)) / 1000
    apart = [keep_largest_pieces(labels, task, organ, voxel_ml, place) for organ in task.organs]
    return [*absorbed, *(note for note in apart if note)]


def absorb_specks(labels: np.ndarray, tumor: Label, spacing: tuple[float, float, float], place: Place) -> list[str]:
    """Gives pieces of a tumor that are no lesion to what they lie in, in place: specks, and what one slice alone shows.

    A speck is smaller than a ball of `SMALLEST_LESION_MM`; in a CT of a single slice, than a disk of this diameter.
    Where slices are `CLOSE_SLICES_MM` apart or less, so is a piece in one of them, however wide: the network sees one
    slice at a time, and noise or a vessel makes it call tumor what it does not in the slices beside it. At the ends of
    the CT the rest of a lesion may not be seen.

    A piece goes to the tumor's organ where it touches it, and else to most of what is around it. Voxels that touch at
    a corner belong together.

    Returns:
        Sentences for the user.
    """
    box = values_box(labels, [tumor.value])
    if box is None:
        return []
    around = _grown(box)
    near = labels[around]
    # A distance of 2.5 mm comes as 2.5000001 at times.
    close = spacing[2] < CLOSE_SLICES_MM * 1.001
    pieces, sizes = find_pieces(near == tumor.value)
    places = ndimage.find_objects(pieces)
    single = len(labels) == 1
    smallest = np.pi / 4 * SMALLEST_LESION_MM**2 if single else np.pi / 6 * SMALLEST_LESION_MM**3
    specks = (sizes > 0) & (sizes * np.prod(spacing[:2] if single else spacing) < smallest)
    alone = np.array([False, *(close and _is_alone(place[0], around[0].start, len(labels)) for place in places)])
    alone &= ~specks
    for number in np.flatnonzero(specks | alone):
        there = _grown(places[number - 1])
        piece = pieces[there] == number
        near[there][piece] = _surroundings(near[there], piece, tumor)
    ml = sizes[alone].sum() * np.prod(spacing) / 1000
    small = f"smaller than a {'disk' if single else 'ball'} of {SMALLEST_LESION_MM:g} mm in diameter"
    in_one_slice = f"in one slice alone, while slices are {spacing[2]:.3g} mm apart ({ml:.1f} mL)"
    notes = [_told(specks.sum(), "speck", tumor, small)] if specks.any() else []
    if alone.any():
        where = _where(pieces, sizes * alone, [side.start for side in around], place)
        notes.append(f"{_told(alone.sum(), 'place', tumor, in_one_slice)} {where}")
    return notes


def _told(count: int, kind: str, tumor: Label, reason: str) -> str:
    """The sentence about pieces that are no lesion."""
    found, verb = (f"1 {kind}", "was") if count == 1 else (f"{count} {kind}s", "were")
    return (
        f"{found} called {tumor.name} {verb} removed, and given to what lies around: {reason}, and so not to be told "
        "from noise. A real lesion of that kind is removed, too."
    )


def _where(pieces: np.ndarray, sizes: np.ndarray, start: Sequence[int], place: Place) -> str:
    """A sentence on where the centers of the largest pieces lie; those of size 0 do not count.

    Args:
        pieces: the number of each voxel's piece.
        sizes: of each piece, in voxels.
        start: the voxel (z, y, x) of the CT at which `pieces` begins.
        place: see `clean`.
    """
    largest = [number for number in np.argsort(-sizes, kind="stable")[:MOST_PLACES] if sizes[number]]
    places = "; ".join(place(np.mean(np.nonzero(pieces == number), axis=1) + start) for number in largest)
    which = f" (the {MOST_PLACES} largest pieces)" if np.count_nonzero(sizes) > MOST_PLACES else ""
    return f"Look at what was called tumor there{which}: {places}."


def _is_alone(slices: slice, offset: int, count: int) -> bool:
    """Whether a piece, in `slices` from `offset` on, lies in one slice alone, with others of the CT on both sides."""
    first, last = offset + slices.start, offset + slices.stop - 1
    return first == last and 0 < first < count - 1


def _grown(box: tuple[slice, ...]) -> tuple[slice, ...]:
    """The box with a voxel more on each side."""
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _surroundings(labels: np.ndarray, speck: np.ndarray, tumor: Label) -> int:
    """The value that a speck of tumor gets."""
    around = labels[_border(speck)]
    if tumor.organ is not None and tumor.organ in around:
        return tumor.organ
    return int(np.bincount(around, minlength=1).argmax())


def _border(piece: np.ndarray) -> np.ndarray:
    """The voxels around a piece."""
    return ndimage.binary_dilation(piece, NEIGHBORS) & ~piece


def keep_largest_pieces(labels: np.ndarray, task: Task, organ: Label, voxel_ml: float, place: Place) -> str | None:
    """Takes away all but the largest pieces of an organ with its tumors, in place.

    What lies within another organ is given to what surrounds it most; all else becomes background.

    As many pieces are kept as a body has of the organ. Voxels that touch at a corner belong together. An organ that is
    one piece in the body may be cut into several by the border of the CT, as in a single slice: a piece that reaches
    the same side of the CT as one of the largest is kept as well, if it has at least `SMALLEST_PIECE` of the largest.

    Returns:
        A sentence for the user, where more than 1 mL was dropped, or any tumor: it may be a lesion.
    """
    values = task.values_with_tumors(organ)
    box = values_box(labels, values)
    if organ.parts is None or box is None:
        return None
    around = _grown(box)
    near = labels[around]
    pieces, sizes = find_pieces(among(near, values))
    dropped = np.ones(len(sizes), dtype=bool)
    dropped[np.argsort(sizes, kind="stable")[-organ.parts :]] = False
    dropped[_cut_from(pieces, around, labels.shape, ~dropped) & (sizes >= SMALLEST_PIECE * sizes.max())] = False
    dropped[0] = False
    if not dropped.any():
        return None
    apart = dropped[pieces]
    lost = np.bincount(near[apart], minlength=task.num_classes) * voxel_ml
    tumor = np.where(apart & (near != organ.value), pieces, 0)
    given = _give_away(near, pieces, np.flatnonzero(dropped), task)
    if lost.sum() <= MIN_NOTED_ML and not any(lost[value] for value in values if value != organ.value):
        return None
    kept = "the largest piece" if organ.parts == 1 else f"the {organ.parts} largest pieces"
    what = " and ".join(f"{in_ml(lost[value])} called {task.label(value).name}" for value in values if lost[value])
    sizes = piece_sizes(tumor, len(sizes) - 1)
    where = f" {_where(tumor, sizes, [side.start for side in around], place)}" if sizes.any() else ""
    within = f" What lies within the {' and the '.join(given)} was given to it." if given else ""
    return f"{what} were removed, because they lie apart from {kept} of the {organ.name}.{within}{where}"


def _give_away(labels: np.ndarray, pieces: np.ndarray, numbers: np.ndarray, task: Task) -> list[str]:
    """Gives pieces of these numbers to what surrounds them most where that is an organ, and else to the background.

    Returns:
        The names of the organs that got some.
    """
    places, given = ndimage.find_objects(pieces), list[str]()
    for number in numbers:
        there = _grown(places[number - 1])
        piece = pieces[there] == number
        around = labels[there][_border(piece)]
        within = [one for one in task.organs if among(around, task.values_with_tumors(one)).mean() >= WITHIN]
        labels[there][piece] = np.bincount(around).argmax() if within else BACKGROUND
        given += [organ.name for organ in within if organ.name not in given]
    return given


def _cut_from(pieces: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...], largest: np.ndarray) -> np.ndarray:
    """Which pieces reach a side of the CT that one of the largest reaches, too.

    Args:
        pieces: the number of each voxel's piece, in the box.
        box: where it lies in the CT.
        shape: of the CT.
        largest: for each piece, whether it is one of them.
    """
    cut = np.zeros(len(largest), dtype=bool)
    for axis, side in enumerate(box):
        for at, is_border in ((0, side.start == 0), (-1, side.stop >= shape[axis])):
            there = np.setdiff1d(pieces.take(at, axis), 0)
            if is_border and largest[there].any():
                cut[there] = True
    return cut
