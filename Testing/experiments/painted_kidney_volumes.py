"""Synthetic abdominal CT volumes painted on real kidneys and tumors (label maps of KiTS23), to compare methods on.

    volume = painted_volume(Path("case_00004.nii.gz"), seed=1, slices=20)

Shapes and places of kidneys, tumors and cysts are a patient's; all else is drawn at random: body, spine, organs,
vessels, bowel, contrast phase, noise. Everything runs on through the slices. It is meant to be hard: tumors hardly
differ from the cortex or the medulla in many patients, cysts and bowel look like tumors. Nothing measured on such
volumes says how well a network does on real CT; it says how networks compare that have learned from the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from painted_kidneys import AIR_HU, CYST, FAT_HU, KIDNEY, PHASES, TUMOR, Kidneys, Phase
from scipy import ndimage

PIXELS = 256
SPACING_MM = 1.25
SPINE_ROW = 172
FINEST_STEP_MM = 4.0
THICKNESS_MM = 4.0
MARGIN_MM = 8.0
FINEST_LABEL_MM = 1.5
EDGE_MM = 1.5
PHASE_SHARES = {"unenhanced": 0.06, "arterial": 0.42, "portal": 0.42, "excretory": 0.1}
VERTEBRA_MM = 34.0
DISC_MM = 8.0

Curve = float | np.ndarray
"""One value, or one for each slice (Z, 1, 1)."""


@dataclass(frozen=True)
class PaintedVolume:
    """A painted CT: `hu` int16 and `label` uint8 (1 kidney, 2 tumor, 3 cyst), both [z, y, x], to superior, posterior,
    left; `spacing` in mm along z, y and x; the contrast `phase` that was drawn."""

    hu: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]
    phase: str


def painted_volume(label_path: Path, seed: int, slices: int) -> PaintedVolume:
    """A volume of (slices, 256, 256) around a patient's kidneys; the same for the same seed.

    Slices are as far apart as the kidneys' extent asks for, 4 mm at least, and 4 mm thick. The first and the last of
    them, of three or more, lie beyond the kidneys, in training as in tests: a network that never saw a slice without
    them would find them there.
    """
    rng = np.random.default_rng([seed, *label_path.name.encode()])
    shares = Shares.of(Kidneys.read(label_path), slices)
    phase = str(rng.choice(list(PHASE_SHARES), p=list(PHASE_SHARES.values())))
    canvas = Canvas(shares, rng)
    cavity = paint_trunk(canvas)
    organs = paint_organs(canvas, cavity, PHASES[phase])
    paint_bowel(canvas, cavity & ~organs)
    clear_fat_around_kidneys(canvas, cavity)
    paint_muscles(canvas)
    paint_vessels(canvas, PHASES[phase])
    paint_spine(canvas)
    paint_kidneys(canvas, PHASES[phase])
    return PaintedVolume(scanned(canvas), shares.label, (shares.step, SPACING_MM, SPACING_MM), phase)


@dataclass(frozen=True)
class Shares:
    """How much of each voxel (3, Z, 256, 256) is kidney, tumor and cyst, on slices `step` mm apart.

    The middle of the vertebral body is at column 128 and row `SPINE_ROW`.
    """

    parts: np.ndarray
    step: float

    @classmethod
    def of(cls, kidneys: Kidneys, slices: int) -> Shares:
        labels, spacing = kidneys.labels, np.array(kidneys.spacing)
        every = max(1, int(FINEST_LABEL_MM / spacing[0]))
        labels, spacing = labels[::every], spacing * (every, 1, 1)
        box = ndimage.find_objects((labels > 0).view(np.uint8))[0]
        first = np.array([part.start for part in box])
        extent = (box[0].stop - box[0].start) * spacing[0] + 2 * MARGIN_MM
        step = max(FINEST_STEP_MM, extent / max(1, slices - 1))
        middle = (box[0].start + box[0].stop - 1) / 2 * spacing[0]
        corner = np.array(
            [
                middle - (slices - 1) / 2 * step,
                kidneys.spine[0] - SPINE_ROW * SPACING_MM,
                kidneys.spine[1] - PIXELS / 2 * SPACING_MM,
            ]
        )
        grid = np.array([step, SPACING_MM, SPACING_MM])
        blur = np.array([THICKNESS_MM, SPACING_MM, SPACING_MM]) / spacing * 0.4
        edge = np.ceil(3 * blur).astype(int) + 1
        padded = np.pad(labels[box], [(width, width) for width in edge])
        parts = [
            ndimage.affine_transform(
                ndimage.gaussian_filter((padded == value).astype(np.float32), blur),
                grid / spacing,
                corner / spacing - first + edge,
                (slices, PIXELS, PIXELS),
                order=1,
            )
            for value in (KIDNEY, TUMOR, CYST)
        ]
        return cls(np.stack(parts).clip(0, 1), float(step))

    @property
    def label(self) -> np.ndarray:
        """The value that most of each voxel is, uint8."""
        outside = 1 - self.parts.sum(axis=0)
        return np.argmax(np.concatenate([outside[None], self.parts]), axis=0).astype(np.uint8)


class Canvas:
    """HU [z, y, x] on a grid of mm around the middle of the spine (x to the left, y to the back, z up)."""

    def __init__(self, shares: Shares, rng: Generator) -> None:
        self.rng = rng
        self.shares = shares
        self.label = shares.label
        count = len(self.label)
        self.z = (np.arange(count, dtype=np.float32)[:, None, None] - (count - 1) / 2) * np.float32(shares.step)
        self.y = (np.arange(PIXELS, dtype=np.float32)[:, None] - SPINE_ROW) * np.float32(SPACING_MM)
        self.x = (np.arange(PIXELS, dtype=np.float32) - PIXELS / 2) * np.float32(SPACING_MM)
        self.hu = np.full((count, PIXELS, PIXELS), AIR_HU, np.float32)
        self.noise = {scale: self._noise(scale) for scale in (2.0, 5.0, 12.0)}

    def _noise(self, scale: float) -> np.ndarray:
        widths = (scale / self.shares.step, scale / SPACING_MM, scale / SPACING_MM)
        noise = self.rng.standard_normal(self.hu.shape, np.float32)
        noise = ndimage.gaussian_filter(noise, widths, mode="wrap", truncate=3)
        return noise / noise.std()

    def texture(self, scale: float) -> np.ndarray:
        """Noise of unit deviation, correlated over `scale` mm in all directions, a different piece at every call."""
        shift = [int(self.rng.integers(0, length)) for length in self.hu.shape]
        return np.roll(self.noise[scale], shift, axis=(0, 1, 2))

    def curve(self, amount: float) -> np.ndarray:
        """A slow random change from slice to slice (Z, 1, 1), of about the given amount."""
        waves = [(self.rng.normal(0, amount / n), self.rng.uniform(0, 2 * np.pi)) for n in (1, 2, 3)]
        return sum(a * np.sin(self.z / 60 * n + phase) for n, (a, phase) in enumerate(waves, start=1))

    def between(self, low: float, high: float) -> float:
        """A random number."""
        return float(self.rng.uniform(low, high))

    def column(
        self,
        x: Curve,
        y: Curve,
        a: Curve,
        b: Curve,
        *,
        angle: Curve = 0.0,
        wobble: float = 0.0,
        power: float = 2.0,
    ) -> Shape:
        """What runs through the slices with a wobbly superellipse of half axes a and b as section."""
        x, y, a, b, angle = (np.broadcast_to(np.float32(value), self.z.shape) for value in (x, y, a, b, angle))
        slices = np.flatnonzero((a > 0) & (b > 0))
        if not slices.size:
            return Shape((slice(0, 0),) * 3, np.zeros((0, 0, 0), np.float32))
        levels = slice(int(slices[0]), int(slices[-1]) + 1)
        x, y, a, b, angle = (value[levels] for value in (x, y, a, b, angle))
        reach = np.maximum(a, b) * (1 + 3 * wobble) + 2 * EDGE_MM
        rows = within(self.y[:, 0], float((y - reach).min()), float((y + reach).max()))
        columns = within(self.x, float((x - reach).min()), float((x + reach).max()))
        dx, dy = self.x[columns] - x, self.y[rows] - y
        a, b = np.maximum(a, 1e-3), np.maximum(b, 1e-3)
        u = (dx * np.cos(angle) + dy * np.sin(angle)) / a
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / b
        out = np.hypot(u, v) if power == 2 else (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
        if wobble:
            out = out / self._outline(np.arctan2(v, u), levels, wobble)
        return Shape((levels, rows, columns), (1 - out) * np.minimum(a, b))

    def _outline(self, around: np.ndarray, levels: slice, amount: float) -> np.ndarray:
        """An outline's departure from an ellipse: its radius, about 1, at each angle; it changes along z."""
        radius = np.ones_like(around)
        for n in (2, 3, 5):
            phase = self.rng.uniform(0, 2 * np.pi) + self.z[levels] * self.rng.normal(0, 0.02)
            radius += np.float32(self.rng.normal(0, amount / n**0.7)) * np.cos(n * around + phase)
        return radius.clip(0.6, 1.6)

    def ball(self, x: float, y: float, z: float, a: float, b: float, c: float, **options: float) -> Shape:
        """An ellipsoid of half axes a, b (turned in the plane) and c along z."""
        height = np.sqrt(np.maximum(0, 1 - ((self.z - z) / c) ** 2))
        return self.column(x, y, a * height, b * height, **options)

    def fill(self, shape: Shape, hu: float | np.ndarray, only: np.ndarray | None = None, margin: float = 0.0) -> None:
        """Paints HU (a number, or the whole grid's) inside a shape made smaller by `margin` mm, edges partly."""
        share = (shape.depth - margin) / EDGE_MM + 0.5
        np.clip(share, 0, 1, out=share)
        if only is not None:
            share *= only[shape.where]
        value = hu[shape.where] if isinstance(hu, np.ndarray) else np.float32(hu)
        self.hu[shape.where] += share * (value - self.hu[shape.where])

    def line(self, start: tuple[float, ...], end: tuple[float, ...], radius: float, hu: float) -> None:
        """A bent vessel from one point (x, y, z) to another."""
        bend = self.rng.normal(0, 5, 3)
        length = float(np.linalg.norm(np.subtract(end, start)))
        for t in np.linspace(0, 1, max(2, int(length / radius))):
            x, y, z = (s + (e - s) * t + k * np.sin(np.pi * t) for s, e, k in zip(start, end, bend))
            self.fill(self.ball(x, y, z, radius, radius, max(radius, self.shares.step * 0.6)), hu)


@dataclass(frozen=True)
class Shape:
    """How deep (mm, negative outside) each voxel of a part of the grid lies in something."""

    where: tuple[slice, slice, slice]
    depth: np.ndarray


def within(axis: np.ndarray, low: float, high: float) -> slice:
    return slice(*(int(index) for index in np.searchsorted(axis, (low, high))))


def soft(value: np.ndarray, width: float) -> np.ndarray:
    """A step from 0 to 1 around 0."""
    return (1 / (1 + np.exp(-np.clip(value / width, -20, 20)))).astype(np.float32)


def paint_trunk(canvas: Canvas) -> np.ndarray:
    """Skin, fat, the muscle wall and ribs; returns where the abdominal cavity is, wide enough for the kidneys."""
    found = np.nonzero(canvas.label)
    left_right, back_front = np.abs(canvas.x[found[2]]), canvas.y[found[1], 0]
    half_width = max(canvas.between(110, 148), float(left_right.max()) + 4)
    front = max(canvas.between(90, 165), 4 - float(back_front.min()))
    back = max(canvas.between(26, 42), 4 + float(back_front.max()))
    depth, middle = (front + back) / 2, (back - front) / 2
    power = canvas.between(2.1, 2.8)
    outward = (np.abs(left_right / half_width) ** power + np.abs((back_front - middle) / depth) ** power) ** (1 / power)
    farthest = max(1.0, float(outward.max()))
    half_width, depth = half_width * farthest + canvas.curve(3), depth * farthest + canvas.curve(3)
    wall = canvas.between(6, 14) + canvas.curve(1)
    fat, hump = canvas.between(5, 28) + canvas.curve(2), canvas.between(8, 20)

    def body(margin: Curve, y: float) -> Shape:
        return canvas.column(0, y, half_width + margin, depth + margin, power=power)

    canvas.fill(body(wall + hump + fat + 2, middle + hump), canvas.between(-20, 50))
    canvas.fill(body(wall + hump + fat, middle + hump), FAT_HU + 6 * canvas.texture(5.0))
    strands = soft(np.abs(canvas.texture(12.0)) - canvas.between(0.02, 0.15), 0.03)
    muscle = canvas.between(35, 65)
    canvas.fill(body(wall, middle), -60 + (muscle + 60) * strands)
    paint_ribs(canvas, middle, half_width + wall / 2, depth + wall / 2)
    inside = body(0, middle)
    canvas.fill(inside, FAT_HU + 8 * canvas.texture(5.0))
    cavity = np.zeros(canvas.hu.shape, bool)
    cavity[inside.where] = inside.depth > 0
    septa = cavity & (np.abs(canvas.texture(12.0)) < canvas.between(0.01, 0.05)) & (canvas.texture(12.0) > 0)
    canvas.hu[septa] = canvas.between(-50, 30)
    return cavity


def paint_ribs(canvas: Canvas, y: float, a: np.ndarray, b: np.ndarray) -> None:
    """The ribs go down from the back to the front, so a slice cuts each at another place."""
    lowest = canvas.between(-40, 30)
    for side in (-1, 1):
        for number in range(6):
            angle = 1.2 - (canvas.z - lowest - number * 30) / canvas.between(55, 75)
            there = (canvas.z > lowest + number * 8) & (angle > -0.5) & (angle < 1.25)
            x, row = side * a * np.cos(angle), y + b * np.sin(angle)
            along = np.arctan2(b * np.cos(angle), -side * a * np.sin(angle))
            rib = canvas.column(x, row, there * canvas.between(7, 12), there * canvas.between(3, 4.5), angle=along)
            canvas.fill(rib, canvas.between(250, 600))
            canvas.fill(rib, canvas.between(80, 250), margin=1.8)


def paint_organs(canvas: Canvas, cavity: np.ndarray, phase: Phase) -> np.ndarray:
    """Liver, gallbladder, spleen, stomach and pancreas around the kidneys' upper half; returns where the first lie."""
    top = float(canvas.z[-1, 0, 0])
    left, right = canvas.x[np.flatnonzero(cavity.any(axis=(0, 1)))[[-1, 0]]]
    liver_hu = canvas.between(*phase.liver)
    vessels = soft(canvas.texture(5.0) - canvas.between(1.6, 2.4), 0.2)
    liver = liver_hu + 4 * canvas.texture(5.0) + vessels * canvas.between(10, 70)
    tip = canvas.between(-70, 20)
    height = max(60.0, top + 40 - tip) / 2
    place = right * canvas.between(0.55, 0.75), canvas.between(-50, -20), tip + height
    lobe = canvas.ball(
        *place, canvas.between(55, 85), canvas.between(55, 90), height, angle=canvas.rng.normal(0, 0.3), wobble=0.05
    )
    canvas.fill(lobe, liver, cavity)
    for _ in range(canvas.rng.integers(0, 3)):
        x, y, z = place[0] + canvas.rng.normal(0, 25), place[1] + canvas.rng.normal(0, 25), canvas.between(tip, top)
        radius = canvas.between(4, 14)
        canvas.fill(canvas.ball(x, y, z, radius, radius, radius, wobble=0.05), canvas.between(0, 60), cavity)
    if canvas.rng.random() < 0.7:
        x, z = place[0] + canvas.between(35, 60), canvas.between(0, 60)
        canvas.fill(canvas.ball(x, -60, z, *canvas.rng.uniform(12, 24, 3), wobble=0.05), canvas.between(0, 20), cavity)
    spleen = canvas.ball(
        left * canvas.between(0.75, 0.9),
        canvas.between(-25, 15),
        top + canvas.between(-30, 30),
        canvas.between(18, 32),
        canvas.between(30, 50),
        canvas.between(40, 75),
        angle=canvas.rng.normal(0.2, 0.3),
        wobble=0.06,
    )
    canvas.fill(spleen, canvas.between(*phase.spleen) + 4 * canvas.texture(5.0), cavity)
    stomach = canvas.ball(canvas.between(20, 60), -80, top, *canvas.rng.uniform(25, 45, 3), wobble=0.08)
    canvas.fill(stomach, canvas.between(50, 110), cavity)
    canvas.fill(stomach, canvas.between(-10, 60) + 15 * canvas.texture(5.0), cavity, margin=canvas.between(3, 7))
    pancreas_hu = canvas.between(40, 120)
    for part in range(6):
        x, y, z = -25 + part * 16, -42 - part * 3 + canvas.rng.normal(0, 4), 15 + part * 5 + canvas.rng.normal(0, 4)
        ball = canvas.ball(x, y, z, *canvas.rng.uniform(8, 14, 2), canvas.between(8, 16), wobble=0.12)
        canvas.fill(ball, pancreas_hu + 8 * canvas.texture(2.0), cavity)
    solid = np.zeros(canvas.hu.shape, bool)
    for organ in (lobe, spleen, stomach):
        solid[organ.where] |= organ.depth > 0
    return solid


def paint_bowel(canvas: Canvas, cavity: np.ndarray) -> None:
    """The colon at both sides, loops that wander through the front, vessels between them."""
    contrast = canvas.rng.random() < 0.3
    for side in (-1, 1):
        x = side * canvas.between(75, 110) + canvas.curve(8)
        size = canvas.between(14, 22) + canvas.curve(3)
        colon = canvas.column(x, canvas.between(-35, 0) + canvas.curve(10), size, size * 0.9, wobble=0.1)
        paint_gut(canvas, colon, cavity, contrast, kinds=("stool", "gas", "fluid"))
    front = cavity & (canvas.y < -15 - 20 * (np.abs(canvas.x) < 60))
    found = np.argwhere(front)
    for pick in canvas.rng.integers(0, len(found), canvas.rng.integers(20, 45)):
        z, y, x = (float(axis.ravel()[i]) for axis, i in zip((canvas.z, canvas.y, canvas.x), found[pick]))
        heading = canvas.rng.normal(0, 1, 3)
        radius, kind = canvas.between(8, 14), str(canvas.rng.choice(["tissue", "fluid", "contrast", "gas"]))
        for _ in range(canvas.rng.integers(2, 5)):
            loop = canvas.ball(x, y, z, *(radius * canvas.rng.uniform(0.9, 1.5, 3)), angle=canvas.between(0, 3.1))
            paint_gut(canvas, loop, front, contrast, kinds=(kind,))
            heading = heading * 0.6 + canvas.rng.normal(0, 0.8, 3)
            x, y, z = (at + radius * to for at, to in zip((x, y, z), heading))
    for pick in canvas.rng.integers(0, len(found), canvas.rng.integers(40, 150)):
        z, y, x = (float(axis.ravel()[i]) for axis, i in zip((canvas.z, canvas.y, canvas.x), found[pick]))
        radius = canvas.between(1, 2.5)
        vessel = canvas.ball(x, y, z, radius, radius * canvas.between(1, 3), 8, angle=canvas.between(0, 3.1))
        canvas.fill(vessel, canvas.between(40, 200), cavity)


def paint_gut(canvas: Canvas, shape: Shape, where: np.ndarray, contrast: bool, kinds: tuple[str, ...]) -> None:
    """A piece of bowel: its wall, and one of the kinds inside."""
    kind = str(canvas.rng.choice(kinds))
    canvas.fill(shape, canvas.between(35, 110) + 8 * canvas.texture(2.0), where)
    wall = canvas.between(2, 4)
    if kind == "fluid" or (kind == "contrast" and not contrast):
        canvas.fill(shape, canvas.between(-5, 45), where, margin=wall)
    elif kind == "contrast":
        canvas.fill(shape, canvas.between(150, 450), where, margin=wall)
    elif kind == "stool":
        canvas.fill(shape, canvas.between(-60, 40) + 70 * canvas.texture(2.0), where, margin=wall)
    elif kind == "gas":
        middle = (shape.where[1].start + shape.where[1].stop) / 2
        level = canvas.y > (middle - SPINE_ROW) * SPACING_MM + canvas.between(-4, 8)
        content = np.where(level, np.float32(canvas.between(0, 50)), np.float32(-850)) + 0 * canvas.hu
        canvas.fill(shape, content, where, margin=wall)


def clear_fat_around_kidneys(canvas: Canvas, cavity: np.ndarray) -> None:
    """Perirenal fat pushes the neighbors away; where it is thin they touch the kidney."""
    size = (canvas.shares.step, SPACING_MM, SPACING_MM)
    distance = ndimage.distance_transform_edt(canvas.label == 0, sampling=size).astype(np.float32)
    thickness = canvas.between(2, 16) * (1 + canvas.between(0.5, 1.0) * canvas.texture(12.0)).clip(0, 2)
    fat = soft(thickness - distance, 0.6) * cavity
    canvas.hu += fat * (FAT_HU + 8 * canvas.texture(5.0) - canvas.hu)
    if canvas.rng.random() < 0.5:
        fascia = cavity & (np.abs(distance - thickness) < 0.7) & (canvas.texture(12.0) > 0.2)
        canvas.hu[fascia] = canvas.between(-40, 20)
    if canvas.rng.random() < 0.5:
        stranding = cavity & (distance < 2 * thickness) & (np.abs(canvas.texture(5.0)) < canvas.between(0.02, 0.08))
        canvas.hu[stranding] = canvas.between(-60, 10)


def paint_muscles(canvas: Canvas) -> None:
    """The psoas, thicker further down, and the muscles of the back and the crura."""
    tone = canvas.between(40, 70) - 60 * soft(canvas.texture(5.0) - canvas.between(1.3, 2.6), 0.2)
    psoas = (canvas.between(10, 17) - canvas.z * canvas.between(0.05, 0.1)).clip(4, 26)
    back = canvas.between(24, 30), canvas.between(16, 22)
    for side in (-1, 1):
        lean = side * canvas.between(-0.1, 0.3)
        canvas.fill(canvas.column(side * (22 + psoas * 0.7), 6, psoas * 0.85, psoas * 1.1, wobble=0.04), tone)
        canvas.fill(canvas.column(side * 27, 44, *back, angle=lean, wobble=0.05), tone)
        canvas.fill(canvas.column(side * 56, 26, canvas.between(10, 18), canvas.between(5, 9), angle=-lean), tone)
        crus = (canvas.z > 10) * canvas.between(4, 7)
        canvas.fill(canvas.column(side * 14, -18, crus, 2 * crus, angle=side * 0.4), tone)


def paint_spine(canvas: Canvas) -> None:
    """Vertebral bodies with discs between them, the canal, and processes."""
    a, b = canvas.between(20, 26), canvas.between(15, 19)
    cortex, marrow = canvas.between(250, 600), canvas.between(120, 280)
    in_period = (canvas.z + canvas.between(0, VERTEBRA_MM)) % VERTEBRA_MM
    bone = in_period > DISC_MM
    canal = b + canvas.between(7, 9)
    arch = bone * (in_period < 26)
    canvas.fill(canvas.column(0, canal, arch * 15, arch * 12, wobble=0.05), cortex * 0.8)
    spinous = canvas.column(0, canal + 20, arch * canvas.between(3, 5), arch * canvas.between(12, 18))
    canvas.fill(spinous, cortex * 0.8)
    canvas.fill(spinous, marrow, margin=1.8)
    for side in (-1, 1):
        transverse = arch * (in_period < 18)
        process = canvas.column(
            side * 26,
            canal,
            transverse * canvas.between(10, 16),
            transverse * 4,
            angle=side * canvas.between(-0.1, 0.4),
        )
        canvas.fill(process, cortex * 0.7)
    swell = 1 + 0.08 * np.cos(2 * np.pi * (in_period - DISC_MM / 2) / VERTEBRA_MM)
    body = canvas.column(0, 0, a * swell, b * swell, power=2.3, wobble=0.02)
    canvas.fill(body, np.where(bone, cortex, canvas.between(80, 120)) + 0 * canvas.hu)
    spongy = marrow + canvas.between(20, 60) * canvas.texture(2.0)
    canvas.fill(body, np.where(bone, spongy, canvas.between(70, 110)), margin=2)
    canvas.fill(canvas.column(0, canal, 9.5, 7), canvas.between(10, 45))


def paint_vessels(canvas: Canvas, phase: Phase) -> None:
    """Aorta and vena cava with the vessels to each kidney, and the renal pelvis."""
    front = -canvas.between(26, 32)
    aorta_x, cava_x = canvas.between(2, 12), -canvas.between(16, 26)
    aorta_hu, cava_hu = canvas.between(*phase.aorta), canvas.between(*phase.cava)
    pelvis_hu = canvas.between(*phase.pelvis)
    for side in (-1, 1):
        found = np.argwhere((canvas.label == KIDNEY) & (np.sign(canvas.x) == side))
        if len(found) < 500:
            continue
        z, y, x = (float(axis.ravel()[int(i)]) for axis, i in zip((canvas.z, canvas.y, canvas.x), found.mean(axis=0)))
        hilum = x * canvas.between(0.75, 0.9), y - 4, z
        canvas.line((cava_x, front, z + canvas.between(0, 15)), hilum, canvas.between(3, 5.5), cava_hu)
        canvas.line((aorta_x, front, z + canvas.between(5, 20)), hilum, canvas.between(2, 3.2), aorta_hu)
        pelvis = canvas.ball(*hilum, *canvas.rng.uniform(4, 11, 2), canvas.between(8, 18), wobble=0.15)
        canvas.fill(pelvis, pelvis_hu)
        ureter = (canvas.z < z) * canvas.between(1.5, 3)
        canvas.fill(canvas.column(hilum[0] * 0.85 + canvas.curve(2), y - 8, ureter, ureter), pelvis_hu)
        radius = canvas.between(3, 6)
        adrenal = canvas.ball(x * 0.6, y - 14, float(canvas.z[-1, 0, 0]) - 12, radius, 3 * radius, 14, angle=side * 0.5)
        canvas.fill(adrenal, canvas.between(20, 80))
    radius = canvas.between(7.5, 11) + canvas.curve(0.6)
    cava = canvas.column(cava_x + canvas.curve(3), front + 3, canvas.between(9, 13), canvas.between(6, 11), wobble=0.05)
    canvas.fill(cava, cava_hu + 6 * canvas.texture(5.0))
    aorta = canvas.column(aorta_x + canvas.curve(2), front + canvas.curve(1), radius, radius)
    canvas.fill(aorta, aorta_hu)
    if canvas.rng.random() < 0.3:
        wall = np.abs(aorta.depth) < 1.2
        canvas.hu[aorta.where][wall & (canvas.texture(5.0)[aorta.where] > 1)] = 500


def paint_kidneys(canvas: Canvas, phase: Phase) -> None:
    """Cortex, pyramids, tumors and cysts, each with its share of the voxel."""
    size = (canvas.shares.step, SPACING_MM, SPACING_MM)
    organ = canvas.label > 0
    box = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in ndimage.find_objects(organ.view(np.uint8))[0])
    depth = ndimage.distance_transform_edt(organ[box], sampling=size).astype(np.float32)
    cortex = canvas.between(*phase.cortex)
    medulla = cortex * canvas.between(*phase.medulla_share)
    pyramids = soft(depth - canvas.between(5, 8) - 2 * canvas.texture(5.0)[box], 1.0)
    kidney = cortex + (medulla - cortex) * pyramids + canvas.between(3, 10) * canvas.texture(2.0)[box]
    kidney = with_small_cysts(canvas, kidney, box)
    tumor = np.zeros_like(kidney)
    pieces, count = ndimage.label(canvas.label[box] == TUMOR)
    for number in range(1, count + 1):
        tumor = np.where(pieces == number, tumor_hu(canvas, box, pieces == number, cortex, medulla), tumor)
    if count:
        nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
        tumor = tumor[tuple(nearest)]
    cyst = canvas.between(0, 20) if canvas.rng.random() < 0.8 else canvas.between(30, 80)
    parts = canvas.shares.parts[(slice(None), *box)]
    outside = 1 - parts.sum(axis=0)
    canvas.hu[box] = outside * canvas.hu[box] + parts[0] * kidney + parts[1] * tumor + parts[2] * cyst


def with_small_cysts(canvas: Canvas, kidney: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """Some kidneys have cysts that nobody outlined; they are kidney, and no tumor."""
    places = np.argwhere(canvas.label == KIDNEY)
    if canvas.rng.random() < 0.5:
        return kidney
    values = canvas.hu.copy()
    values[box] = kidney
    whole, canvas.hu = canvas.hu, values
    for pick in canvas.rng.integers(0, len(places), canvas.rng.integers(1, 5)):
        z, y, x = (float(axis.ravel()[i]) for axis, i in zip((canvas.z, canvas.y, canvas.x), places[pick]))
        radius = canvas.between(3, 9)
        canvas.fill(canvas.ball(x, y, z, radius, radius, radius, wobble=0.03), canvas.between(0, 45))
    canvas.hu = whole
    return values[box]


def tumor_hu(canvas: Canvas, box: tuple[slice, ...], tumor: np.ndarray, cortex: float, medulla: float) -> np.ndarray:
    """A mass between clearly darker than the kidney and hardly to be told from it, even or mottled, at times
    with a brighter rim or necrosis."""
    mean = (cortex + medulla) / 2
    enhanced = cortex > 60
    darker = canvas.between(0.05, 0.55) if enhanced else canvas.between(-0.15, 0.25)
    solid = mean * (1 - darker)
    mottled = canvas.between(0.03, 0.2) * solid
    hu = solid + mottled * canvas.texture(5.0)[box] + mottled * 0.6 * canvas.texture(2.0)[box]
    depth = ndimage.distance_transform_edt(tumor, sampling=(canvas.shares.step, SPACING_MM, SPACING_MM))
    depth = depth.astype(np.float32)
    if enhanced and canvas.rng.random() < 0.3:
        hu = hu + soft(canvas.between(2, 5) - depth, 0.8) * canvas.between(5, 50)
    if depth.max() > 10 and canvas.rng.random() < 0.5:
        share = depth / depth.max() + canvas.between(0.1, 0.4) * canvas.texture(12.0)[box]
        hu = hu + soft(share - canvas.between(0.5, 0.9), 0.08) * (canvas.between(10, 35) - hu)
    return hu


def scanned(canvas: Canvas) -> np.ndarray:
    """The scanner's point spread and the grain of its noise, int16."""
    rng = canvas.rng
    spread = canvas.between(0.4, 0.75)
    hu = ndimage.gaussian_filter(canvas.hu, (0, spread, spread))
    grain = rng.standard_normal(hu.shape, np.float32)
    width = canvas.between(0.35, 0.8)
    grain = ndimage.gaussian_filter(grain, (0.2, width, width))
    grain -= 0.6 * ndimage.gaussian_filter(grain, (0, 2.5, 2.5))
    return np.clip(np.rint(hu + grain * (canvas.between(8, 22) / grain.std())), -1024, 3071).astype(np.int16)
