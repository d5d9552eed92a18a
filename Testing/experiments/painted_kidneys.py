"""Synthetic axial CT slices, for training only, painted on real kidney and tumor shapes (label maps of KiTS23).

    for image, label, spacing in painted_slices(Path("case_00004.nii.gz"), seed=1, count=8): ...

The shapes and places of kidneys, tumors and cysts are a patient's; all else is drawn at random in wide ranges: body,
bones, organs, bowel, vessels, contrast phase, noise. A network that sees few real kidneys learns from them where
kidneys lie and how they differ from what is around them. Nothing measured on such slices says anything about real CT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.random import Generator
from scipy import ndimage

KIDNEY, TUMOR, CYST = 1, 2, 3
PIXELS = 256
SPACING_MM = 1.5
WINDOW_HU = (0, 250)
AIR_HU, FAT_HU = -1000.0, -100.0
SHARE_OUTSIDE = 0.15
FARTHEST_OUTSIDE_MM = 40.0
SMALLEST_KIDNEY_ML = 20.0
USUAL_SPINE_TO_KIDNEY_MM = 62.0
VERTEBRA_TO_KIDNEY_GAP_MM = 22.0

Range = tuple[float, float]


@dataclass(frozen=True)
class Phase:
    """HU ranges of what takes up contrast agent, at one time after the injection."""

    cortex: Range
    medulla_share: Range
    aorta: Range
    cava: Range
    liver: Range
    spleen: Range
    pelvis: Range


PHASES = {
    "unenhanced": Phase((25, 45), (0.85, 1.0), (30, 50), (25, 50), (40, 70), (40, 60), (-5, 20)),
    "arterial": Phase((120, 240), (0.3, 0.7), (200, 420), (50, 150), (55, 95), (80, 170), (-5, 25)),
    "portal": Phase((110, 220), (0.7, 1.0), (110, 190), (100, 180), (80, 140), (90, 150), (0, 30)),
    "excretory": Phase((90, 190), (0.85, 1.05), (80, 150), (80, 150), (70, 120), (75, 130), (150, 700)),
}
PHASE_SHARES = (0.1, 0.4, 0.38, 0.12)


@dataclass(frozen=True)
class Kidneys:
    """A label volume `[z, y, x]` (to superior, posterior, left), its voxel size and its spine's place (y, x in mm)."""

    labels: np.ndarray
    spacing: tuple[float, float, float]
    spine: tuple[float, float]

    @classmethod
    def read(cls, path: Path) -> Kidneys:
        image = sitk.ReadImage(str(path), sitk.sitkUInt8)
        # sitk.DICOMOrient would do the same in ten times the time: here no voxel moves.
        to_patient = np.reshape(image.GetDirection(), (3, 3))[::-1]
        axes = np.abs(to_patient).argmax(axis=1)
        labels = np.transpose(sitk.GetArrayFromImage(image), 2 - axes)
        labels = np.flip(labels, [i for i, axis in enumerate(axes) if to_patient[i, axis] < 0])
        spacing = tuple(image.GetSpacing()[axis] for axis in axes)
        return cls(labels, spacing, spine_position(labels, spacing))


def spine_position(labels: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Where (y, x in mm) a vertebral body fits: between both kidneys, and behind whatever crosses the midline."""
    _, y, x = (index * size * step for index, size, step in zip(np.nonzero(labels[:, ::2, ::2]), spacing, (1, 2, 2)))
    middle = labels.shape[2] * spacing[2] / 2
    smallest = SMALLEST_KIDNEY_ML * 1000 / np.prod(spacing) / 4
    sides = [side for side in (x < middle, x >= middle) if side.sum() > smallest]
    centers = [float(np.median(x[side])) for side in sides]
    if len(centers) == 2:
        spine_x = sum(centers) / 2
    else:
        spine_x = centers[0] + np.sign(middle - centers[0]) * USUAL_SPINE_TO_KIDNEY_MM if centers else middle
    spine_y = float(np.mean([np.median(y[side]) for side in sides] or np.median(y))) + 6
    crossing = y[np.abs(x - spine_x) < VERTEBRA_TO_KIDNEY_GAP_MM]
    if crossing.size:
        spine_y = max(spine_y, float(np.percentile(crossing, 98)) + VERTEBRA_TO_KIDNEY_GAP_MM)
    return spine_y, float(spine_x)


def painted_slices(label_path: Path, seed: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """`count` slices spread over the kidneys' extent, some of them just above or below it; the same for the same seed.

    Each is an image (256, 256) int16 in HU cut to 0..250, a label (256, 256) uint8 with 1 kidney, 2 tumor, 3 cyst, and
    the pixel size in mm. Row 0 is anterior, column 0 the patient's right.
    """
    kidneys = Kidneys.read(label_path)
    present = np.flatnonzero(kidneys.labels.any(axis=(1, 2)))
    rng = np.random.default_rng([seed, *label_path.name.encode()])
    for part in range(count):
        if rng.random() < SHARE_OUTSIDE:
            beyond = rng.uniform(0, FARTHEST_OUTSIDE_MM)
            yield *paint(None, kidneys, upper=rng.random() < 0.5, beyond=beyond, rng=rng), SPACING_MM
        else:
            z = present[int((part + rng.random()) / count * len(present))]
            yield *paint(kidneys.labels[z], kidneys, upper=z > np.median(present), beyond=0, rng=rng), SPACING_MM


class Slice:
    """HU on a grid of mm around the center of the vertebral body (x to the patient's left, y to the back)."""

    def __init__(self, spine_row: float, spine_column: float, rng: Generator) -> None:
        self.rng = rng
        self.x = (np.arange(PIXELS, dtype=np.float32) - spine_column) * SPACING_MM
        self.y = (np.arange(PIXELS, dtype=np.float32)[:, None] - spine_row) * SPACING_MM
        self.hu = np.full((PIXELS, PIXELS), AIR_HU, np.float32)
        self.noise = {scale: smooth_noise(rng, scale) for scale in (1.2, 3.0, 8.0)}

    def texture(self, scale: float) -> np.ndarray:
        """Noise of unit deviation, correlated over `scale` pixels, a different piece at every call."""
        shift = tuple(self.rng.integers(0, PIXELS, 2))
        return np.roll(self.noise[scale], shift, axis=(0, 1))

    def superellipse(self, x: float, y: float, a: float, b: float, power: float, wobble: Wobble) -> np.ndarray:
        """How far out each pixel lies: below 1 is inside."""
        u, v = (self.x - x) / a, (self.y - y) / b
        return (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) / wobble.radius(np.arctan2(v, u))

    def blob(
        self, x: float, y: float, a: float, b: float, *, angle: float = 0.0, wobble: float = 0.0, square: float = 2.0
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """A wobbly ellipse: the part of the grid around it, and how far out its pixels lie (below 1 is inside)."""
        reach = max(a, b) * (1 + 3 * wobble) + SPACING_MM
        box = (window(self.y[:, 0], y, reach), window(self.x, x, reach))
        dx, dy = self.x[box[1]] - x, self.y[box[0]] - y
        u = (dx * np.cos(angle) + dy * np.sin(angle)) / a
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / b
        out = (np.abs(u) ** square + np.abs(v) ** square) ** (1 / square)
        if wobble:
            out = out / Wobble(self.rng, wobble).radius(np.arctan2(v, u))
        return box, out

    def fill(self, where: tuple, inside: np.ndarray, hu: float | np.ndarray, only: np.ndarray | None = None) -> None:
        """Paints `hu` where `inside`, within `only` if given."""
        if only is not None:
            inside = inside & only[where]
        self.hu[where] = np.where(inside, hu, self.hu[where])

    def line(self, start: Range, end: Range, radius: float, hu: float) -> None:
        """A slightly bent vessel of the given radius (mm) from `start` to `end`, both (x, y)."""
        bend = self.rng.normal(0, 6, 2)
        steps = int(np.hypot(end[0] - start[0], end[1] - start[1]) / 2) + 2
        for t in np.linspace(0, 1, steps):
            x, y = (s + (e - s) * t + k * np.sin(np.pi * t) for s, e, k in zip(start, end, bend))
            where, out = self.blob(x, y, radius, radius)
            self.fill(where, out < 1, hu)


class Wobble:
    """A closed outline's random departure from an ellipse: its radius, about 1, at each angle."""

    def __init__(self, rng: Generator, amount: float) -> None:
        self.waves = [(k, rng.normal(0, amount / k**0.7), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5, 7)]

    def radius(self, angle: np.ndarray) -> np.ndarray:
        wave = sum(amount * np.cos(k * angle + phase) for k, amount, phase in self.waves)
        return np.clip(1 + wave, 0.6, 1.6)


def window(axis: np.ndarray, center: float, reach: float) -> slice:
    return slice(*np.searchsorted(axis, (center - reach, center + reach)))


def smooth_noise(rng: Generator, scale: float) -> np.ndarray:
    """Gaussian noise of unit deviation, correlated over `scale` pixels; it wraps around at the edges."""
    noise = ndimage.gaussian_filter(rng.standard_normal((PIXELS, PIXELS), np.float32), scale, mode="wrap", truncate=3)
    return noise / noise.std()


def paint(
    labels: np.ndarray | None, kidneys: Kidneys, *, upper: bool, beyond: float, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One slice and its label; `upper`: from the kidneys' upper half, `beyond`: mm above or below them."""
    row, column = PIXELS / 2 + rng.normal(26, 8), PIXELS / 2 + rng.normal(0, 5)
    label = np.zeros((PIXELS, PIXELS), np.uint8) if labels is None else resampled(labels, kidneys, row, column)
    canvas = Slice(row, column, rng)
    phase = PHASES[rng.choice(list(PHASES), p=PHASE_SHARES)]
    cavity = paint_trunk(canvas, label)
    paint_table(canvas)
    paint_organs(canvas, cavity, phase, upper=upper)
    paint_bowel(canvas, cavity)
    clear_fat_around(canvas, label, cavity)
    pelvic = not upper and rng.random() < (0.5 if beyond > 15 else 0.02)
    paint_back(canvas, pelvic=pelvic)
    paint_vessels(canvas, label, phase)
    paint_kidneys(canvas, label, phase)
    return finished(canvas), label


def resampled(labels: np.ndarray, kidneys: Kidneys, row: float, column: float) -> np.ndarray:
    """The labels at 1.5 mm, nearest neighbor, the spine at the given row and column."""
    indices = []
    for spine, place, size, length in zip(kidneys.spine, (row, column), kidneys.spacing[1:], labels.shape):
        index = np.rint((spine + (np.arange(PIXELS) - place) * SPACING_MM) / size).astype(int)
        indices.append((np.clip(index, 0, length - 1), (index >= 0) & (index < length)))
    (rows, row_there), (columns, column_there) = indices
    return labels[np.ix_(rows, columns)] * np.outer(row_there, column_there).astype(np.uint8)


def paint_trunk(canvas: Slice, label: np.ndarray) -> np.ndarray:
    """Skin, fat, the muscle wall with ribs; returns the abdominal cavity, wide enough for the labels."""
    rng = canvas.rng
    half_width, front, back = rng.uniform(108, 155), rng.uniform(95, 175), rng.uniform(24, 42)
    rows, columns = np.nonzero(label)
    if rows.size:
        half_width = max(half_width, float(np.abs(canvas.x[columns]).max()) + 4)
        front, back = max(front, 4 - float(canvas.y[rows[0], 0])), max(back, 2 + float(canvas.y[rows[-1], 0]))
    depth, center_y = (front + back) / 2, (back - front) / 2
    power, wobble = rng.uniform(2.1, 2.9), Wobble(rng, 0.012)
    out = canvas.superellipse(0, center_y, half_width, depth, power, wobble)
    if rows.size:
        farthest = max(1.0, float(out[rows, columns].max()))
        half_width, depth, out = half_width * farthest, depth * farthest, out / farthest
    wall, fat = rng.uniform(5, 15), rng.choice([rng.uniform(4, 15), rng.uniform(10, 30)])
    hump = rng.uniform(8, 22)

    def skin(margin: float) -> np.ndarray:
        a, b = half_width + wall + margin, depth + wall + hump + margin
        return canvas.superellipse(0, center_y + hump, a, b, power, wobble) < 1

    canvas.hu[skin(fat + rng.uniform(1.5, 2.5))] = rng.uniform(-20, 60)
    canvas.hu[skin(fat)] = FAT_HU
    muscle = canvas.superellipse(0, center_y, half_width + wall, depth + wall, power, wobble) < 1
    strands = np.abs(canvas.texture(8.0)) < rng.uniform(0, 0.2)
    canvas.hu[muscle] = np.where(strands, -60, rng.uniform(25, 70))[muscle]
    cavity = out < 1
    canvas.hu[cavity] = FAT_HU
    if rng.random() < 0.7:
        paint_strands(canvas, cavity)
    if rng.random() < 0.75:
        paint_ribs(canvas, center_y, half_width + wall / 2, depth + wall / 2)
    return cavity


def paint_strands(canvas: Slice, cavity: np.ndarray) -> None:
    """Thin septa and small vessels in the fat: where smooth noise crosses zero."""
    rng = canvas.rng
    thin = np.abs(canvas.texture(8.0)) < rng.uniform(0.01, 0.06)
    canvas.hu[cavity & thin & (canvas.texture(8.0) > 0.3)] = rng.uniform(-40, 40)


def paint_ribs(canvas: Slice, y: float, a: float, b: float) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        for angle in rng.uniform(-0.5, 1.25, rng.integers(1, 5)):
            center = (side * a * np.cos(angle), y + b * np.sin(angle))
            tangent = np.arctan2(b * np.cos(angle), -side * a * np.sin(angle))
            where, out = canvas.blob(
                *center, rng.uniform(4, 13), rng.uniform(3, 5), angle=tangent + rng.normal(0, 0.1), wobble=0.05
            )
            canvas.fill(where, out < 1, rng.uniform(200, 600))
            canvas.fill(where, out < 0.5, rng.uniform(80, 300))


def paint_table(canvas: Slice) -> None:
    rng = canvas.rng
    if rng.random() < 0.4:
        return
    body = (canvas.hu > AIR_HU).any(axis=1)
    bottom = canvas.y[np.flatnonzero(body)[-1], 0]
    curve = rng.uniform(-1, 1.5) * 1e-3
    for gap in np.cumsum(rng.uniform(4, 20, rng.integers(1, 3))):
        off = canvas.y - (bottom + gap - curve * canvas.x**2)
        arc = (np.abs(off) < rng.uniform(0.8, 1.6)) & (np.abs(canvas.x) < rng.uniform(90, 250)) & (canvas.hu == AIR_HU)
        canvas.hu[arc] = rng.uniform(0, 400)


def paint_organs(canvas: Slice, cavity: np.ndarray, phase: Phase, *, upper: bool) -> None:
    """Liver, spleen, gallbladder, stomach and pancreas, those that this slice has."""
    rng = canvas.rng
    left, right = canvas.x[np.flatnonzero(cavity.any(axis=0))[[-1, 0]]]
    if rng.random() < (0.9 if upper else 0.5):
        tip = 1.0 if upper else 0.6
        place = right * rng.uniform(0.6, 0.85), rng.uniform(-60, -10)
        hu = rng.uniform(*phase.liver) + rng.uniform(0, 5) * canvas.texture(3.0)
        size = rng.uniform(40, 80) * tip, rng.uniform(45, 85) * tip
        where, out = canvas.blob(*place, *size, angle=rng.normal(0, 0.4), wobble=0.06)
        canvas.fill(where, out < 1, hu[where], cavity)
        paint_spots(canvas, (out < 0.95) & cavity[where], where, rng.uniform(20, 220))
        if rng.random() < 0.4:
            where, out = canvas.blob(place[0] + size[0] * 0.8, place[1] - 10, *rng.uniform(10, 24, 2), wobble=0.05)
            canvas.fill(where, out < 1, rng.uniform(0, 25), cavity)
    if rng.random() < (0.75 if upper else 0.2):
        where, out = canvas.blob(
            left * rng.uniform(0.75, 0.95),
            rng.uniform(-30, 25),
            rng.uniform(15, 32),
            rng.uniform(25, 55),
            angle=rng.normal(0.2, 0.3),
            wobble=0.06,
        )
        canvas.fill(where, out < 1, rng.uniform(*phase.spleen), cavity)
    if rng.random() < 0.5:
        hu = rng.uniform(30, 130)
        for step in range(rng.integers(2, 7)):
            where, out = canvas.blob(
                -20 + step * 15, -48 - step * 3 + rng.normal(0, 4), *rng.uniform(6, 13, 2), wobble=0.1
            )
            canvas.fill(where, (out < 1) & (canvas.texture(1.2)[where] < 1.2), hu, cavity)


def paint_spots(canvas: Slice, inside: np.ndarray, where: tuple, hu: float) -> None:
    """Vessels or lesions inside an organ."""
    spots = canvas.texture(3.0)[where] > canvas.rng.uniform(1.8, 3)
    canvas.fill(where, inside & spots, hu)


def paint_bowel(canvas: Slice, cavity: np.ndarray) -> None:
    """Loops in front and at the sides, each with its wall and fluid, contrast agent, gas or stool."""
    rng = canvas.rng
    rows, columns = np.nonzero(cavity & (canvas.y < -8 - 25 * (np.abs(canvas.x) < 70)))
    if not rows.size:
        return
    contrast = rng.random() < 0.3
    for pick in rng.integers(0, rows.size, rng.integers(6, 50)):
        x, y = canvas.x[columns[pick]], canvas.y[rows[pick], 0]
        colon = abs(x) > 75
        size = rng.uniform(10, 24, 2) if colon else (rng.uniform(6, 13), rng.uniform(7, 30))
        where, out = canvas.blob(x, y, *size, angle=rng.uniform(0, np.pi), wobble=0.1, square=2.3)
        wall = 1 - rng.uniform(1.5, 4) / min(size)
        canvas.fill(where, out < 1, rng.uniform(20, 140), cavity)
        kind = rng.choice(["tissue", "fluid", "gas", "stool", "contrast"], p=[0.35, 0.25, 0.12, 0.13, 0.15])
        if kind == "fluid" or (kind == "contrast" and not contrast):
            canvas.fill(where, out < wall, rng.uniform(-5, 45), cavity)
        elif kind == "contrast":
            canvas.fill(where, out < wall, rng.uniform(120, 500), cavity)
        elif kind == "gas":
            level = canvas.y[where[0]] < y + rng.uniform(-8, 15)
            canvas.fill(where, out < wall, np.where(level, -900, rng.uniform(0, 50)), cavity)
        elif kind == "stool":
            canvas.fill(where, out < wall, rng.uniform(-80, 40) + 90 * canvas.texture(1.2)[where], cavity)
    for pick in rng.integers(0, rows.size, rng.integers(0, 70)):
        radius = rng.uniform(1, 3)
        where, out = canvas.blob(
            canvas.x[columns[pick]],
            canvas.y[rows[pick], 0],
            radius,
            radius * rng.uniform(1, 3),
            angle=rng.uniform(0, np.pi),
        )
        canvas.fill(where, out < 1, rng.uniform(30, 220), cavity)


def clear_fat_around(canvas: Slice, label: np.ndarray, cavity: np.ndarray) -> None:
    """Perirenal fat pushes the neighbors away; where it is thin they touch the kidney."""
    rng = canvas.rng
    if not label.any() or rng.random() < 0.12:
        return
    distance = ndimage.distance_transform_edt(label == 0) * SPACING_MM
    thickness = rng.uniform(1, 14) * np.clip(1 + rng.uniform(0.2, 0.8) * canvas.texture(8.0), 0, 2)
    canvas.hu[cavity & (distance < thickness)] = FAT_HU
    if rng.random() < 0.4:
        fascia = cavity & (np.abs(distance - thickness) < 0.8) & (canvas.texture(8.0) > 0)
        canvas.hu[fascia] = rng.uniform(-30, 40)


def paint_back(canvas: Slice, *, pelvic: bool) -> None:
    """Muscles beside and behind the spine, the vertebra, in the pelvis the iliac wings."""
    rng = canvas.rng
    muscle = rng.uniform(35, 75)
    body_a, body_b = rng.uniform(20, 28), rng.uniform(14, 20)
    psoas = rng.uniform(6, 20)
    tone = np.where(canvas.texture(3.0) > rng.uniform(1.2, 2.5), -40, muscle)
    for side in (-1, 1):
        for x, y, a, b in (
            (
                side * (body_a + psoas * 0.6),
                rng.uniform(0, 12),
                psoas * rng.uniform(0.7, 1),
                psoas * rng.uniform(0.9, 1.4),
            ),
            (side * rng.uniform(24, 32), body_b + rng.uniform(22, 34), rng.uniform(22, 30), rng.uniform(14, 24)),
            (side * rng.uniform(48, 62), body_b + rng.uniform(4, 14), rng.uniform(8, 20), rng.uniform(4, 9)),
        ):
            where, out = canvas.blob(x, y, a, b, angle=side * rng.uniform(-0.2, 0.4), wobble=0.05)
            canvas.fill(where, out < 1, tone[where])
    if pelvic:
        body_a *= 1.6
        paint_iliac_wings(canvas, tone)
    paint_vertebra(canvas, body_a, body_b)


def paint_vertebra(canvas: Slice, a: float, b: float) -> None:
    rng = canvas.rng
    cortex, marrow = rng.uniform(250, 700), rng.uniform(110, 330)
    disc = rng.random() < 0.2
    canal_y = b + rng.uniform(6, 9)
    if not disc:
        for x, y, u, v in ((0, canal_y, 15, 12), (0, canal_y + 22, rng.uniform(3, 6), rng.uniform(10, 18))):
            where, out = canvas.blob(x, y, u, v, wobble=0.06)
            canvas.fill(where, out < 1, cortex * rng.uniform(0.6, 1))
        for side in (-1, 1):
            angle = side * rng.uniform(-0.2, 0.5)
            where, out = canvas.blob(
                side * rng.uniform(18, 30), canal_y, rng.uniform(8, 18), rng.uniform(3, 6), angle=angle
            )
            canvas.fill(where, out < 1, cortex * rng.uniform(0.6, 1))
            canvas.fill(where, out < 0.5, marrow)
    where, out = canvas.blob(0, 0, a, b, wobble=0.03, square=2.3)
    inside = rng.uniform(60, 120) if disc else marrow + rng.uniform(10, 70) * canvas.texture(1.2)[where]
    canvas.fill(where, out < 1, rng.uniform(90, 300) if disc else cortex)
    canvas.fill(where, out < 1 - rng.uniform(2, 4) / a, inside)
    where, out = canvas.blob(0, canal_y, rng.uniform(8, 11), rng.uniform(6, 8))
    canvas.fill(where, out < 1, rng.uniform(0, 50))


def paint_iliac_wings(canvas: Slice, muscle: np.ndarray) -> None:
    rng = canvas.rng
    length, thickness = rng.uniform(28, 50), rng.uniform(5, 9)
    lateral, angle = rng.uniform(75, 95), rng.uniform(0.7, 1.1)
    for side in (-1, 1):
        for a, b, hu in ((length + 5, thickness + 18, muscle), (length, thickness, None)):
            where, out = canvas.blob(side * lateral, 5, a, b, angle=-side * angle, wobble=0.04)
            if hu is not None:
                canvas.fill(where, out < 1, hu[where])
                continue
            canvas.fill(where, out < 1, rng.uniform(300, 700))
            canvas.fill(where, out < 0.5, rng.uniform(100, 250))


def paint_vessels(canvas: Slice, label: np.ndarray, phase: Phase) -> None:
    """Aorta, vena cava, and vessels and renal pelvis on their way to each kidney."""
    rng = canvas.rng
    front = -rng.uniform(24, 32)
    aorta, cava = (rng.uniform(0, 14), front), (-rng.uniform(14, 26), front + rng.uniform(-2, 8))
    aorta_hu, cava_hu = rng.uniform(*phase.aorta), rng.uniform(*phase.cava)
    pelvis_hu = rng.uniform(*phase.pelvis)
    for side in (canvas.x < 0, canvas.x >= 0):
        rows, columns = np.nonzero((label == KIDNEY) & side)
        if rows.size < 60:
            continue
        hilum = float(canvas.x[columns].mean()), float(canvas.y[rows, 0].mean())
        if rng.random() < 0.45:
            canvas.line(cava, hilum, rng.uniform(2, 6), cava_hu)
        if rng.random() < 0.4:
            canvas.line(aorta, hilum, rng.uniform(1.5, 3), aorta_hu)
        if rng.random() < 0.5:
            where, out = canvas.blob(hilum[0] * rng.uniform(0.75, 1), hilum[1], *rng.uniform(3, 11, 2), wobble=0.15)
            canvas.fill(where, out < 1, pelvis_hu)
    for center, radius, hu in ((cava, rng.uniform(7, 14), cava_hu), (aorta, rng.uniform(7, 12), aorta_hu)):
        where, out = canvas.blob(*center, radius, radius * rng.uniform(0.7, 1), wobble=0.04)
        canvas.fill(where, out < 1, hu)
        if rng.random() < 0.2:
            canvas.fill(where, (np.abs(out - 1) < 0.12) & (canvas.texture(3.0)[where] > 1), 600)


def paint_kidneys(canvas: Slice, label: np.ndarray, phase: Phase) -> None:
    rng = canvas.rng
    cortex = rng.uniform(*phase.cortex)
    medulla = cortex * rng.uniform(*phase.medulla_share)
    depth = ndimage.distance_transform_edt(label > 0) * SPACING_MM
    thickness = rng.uniform(4, 9) + rng.uniform(0, 3) * canvas.texture(3.0)
    rim = 1 / (1 + np.exp(np.clip(depth - thickness, -20, 20)))
    kidney = medulla + (cortex - medulla) * rim + rng.uniform(0, 12) * canvas.texture(3.0)
    canvas.hu = np.where(label == KIDNEY, kidney, canvas.hu)
    if (label == TUMOR).any():
        canvas.hu = np.where(label == TUMOR, tumor_hu(canvas, label == TUMOR, cortex), canvas.hu)
    if (label == CYST).any():
        canvas.hu = np.where(label == CYST, rng.uniform(-5, 25), canvas.hu)


def tumor_hu(canvas: Slice, tumor: np.ndarray, cortex: float) -> np.ndarray:
    """A mass that is nearly like the kidney or darker, even or mottled, at times with a rim and necrosis."""
    rng = canvas.rng
    enhanced = cortex > 60
    solid = cortex * rng.uniform(0.85, 1.1) if rng.random() < 0.2 else rng.uniform(20, 150 if enhanced else 55)
    hu = solid + rng.uniform(0, 0.3) * solid * canvas.texture(rng.choice([1.2, 3.0]))
    depth = ndimage.distance_transform_edt(tumor) * SPACING_MM
    if rng.random() < 0.3:
        hu = hu + (depth < rng.uniform(2, 6)) * rng.uniform(-20, 60) * enhanced
    if rng.random() < 0.5:
        share = depth / depth.max() + rng.uniform(0.1, 0.5) * canvas.texture(8.0)
        necrosis = 1 / (1 + np.exp(np.clip(-12 * (share - rng.uniform(0.3, 0.9)), -20, 20)))
        hu = hu + necrosis * (rng.uniform(5, 40) - hu)
    return hu


def finished(canvas: Slice) -> np.ndarray:
    """Partial volume, noise, and the cut to the window."""
    rng = canvas.rng
    smooth = ndimage.gaussian_filter(np.maximum(canvas.hu, -300), rng.uniform(0.4, 0.8))
    grain = smooth_noise(rng, rng.uniform(0.4, 1.0)) * rng.uniform(5, 22)
    return np.clip(np.rint(smooth + grain), *WINDOW_HU).astype(np.int16)
