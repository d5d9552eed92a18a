"""The organs of the generated abdominal CT: where they lie, how they are shaped and how they attenuate.

Coordinates are mm from the middle of the abdomen: x to the patient's left, y to the back, z up. Organs are not
put into the body one by one: liver and spleen fill the space that wall, diaphragm and neighbors leave them, vessels
start where others end, and what is painted later presses into what was painted before. HU are those of a
portal-venous phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .phantom_shapes import (
    Array,
    Canvas,
    Coordinates,
    Path,
    Point,
    capsule,
    ellipsoid,
    overlap,
    rotated,
    smooth_path,
    without,
)

LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4

FAT_HU = -103
MUSCLE_HU = 58
LUNG_HU = -860
LIVER_HU = 108
SPLEEN_HU = 118
CORTEX_HU = 188
MEDULLA_HU = 142
ARTERY_HU = 152
VEIN_HU = 150
CAVA_HU = 132
FLUID_HU = 12
GAS_HU = -980
VERTEBRA_PITCH = 33.0
RIB_PITCH = 29.0


@dataclass(frozen=True)
class Build:
    """What differs from patient to patient. Lengths in mm.

    Attributes:
        half_width: of the abdominal cavity.
        half_depth: of the abdominal cavity.
        fat: thickness of the fat under the skin at the sides; more in front and at the back.
        wall: thickness of the muscle around the cavity.
        domes: heights of the right and the left dome of the diaphragm.
        liver_tip: height of the lowest point of the liver.
        left_lobe: how far the liver reaches to the left, against the usual.
        kidneys: centers of the right and the left kidney.
        kidney_scale: their size against the usual.
        spleen_scale: the spleen's size against the usual.
    """

    half_width: float
    half_depth: float
    fat: float
    wall: float
    domes: tuple[float, float]
    liver_tip: float
    left_lobe: float
    kidneys: tuple[Point, Point]
    kidney_scale: float
    spleen_scale: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Build:
        """A patient's build."""
        right = rng.uniform(73, 79)
        kidney_z = rng.uniform(-12, -6)
        return cls(
            half_width=rng.uniform(145, 152),
            half_depth=rng.uniform(92, 99),
            fat=rng.uniform(8, 14),
            wall=rng.uniform(11, 14),
            domes=(right, right - rng.uniform(8, 14)),
            liver_tip=rng.uniform(-62, -54),
            left_lobe=rng.uniform(-12, 10),
            kidneys=(
                (rng.uniform(-68, -64), rng.uniform(37, 42), kidney_z - rng.uniform(10, 18)),
                (rng.uniform(63, 68), rng.uniform(37, 42), kidney_z),
            ),
            kidney_scale=rng.uniform(0.97, 1.04),
            spleen_scale=rng.uniform(0.92, 1.06),
        )

    def trunk(self, at: Coordinates) -> Array:
        """Distance to the inner side of the trunk's wall, as if no spine stood before it."""
        x, y, z = at
        waist = 1 - 0.035 * np.exp(-(((z + 70) / 45) ** 2)) + 0.0004 * np.minimum(z, 0)
        across = np.abs(x) / (self.half_width * waist)
        deep = np.abs(y) / (self.half_depth * waist)
        rho = (across * across * np.sqrt(across) + deep * deep * np.sqrt(deep)) ** np.float32(0.4)
        return np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(rho, 0.05))

    def cavity(self, at: Coordinates, trunk: Array | None = None) -> Array:
        """Distance to the wall of the chest and abdominal cavity; the muscles of the back bulge into it."""
        x, y, _ = at
        trunk = self.trunk(at) if trunk is None else trunk
        return trunk + 27 * np.exp(-((x / 46) ** 2)) * _step(y, 30, 40)

    def skin(self, at: Coordinates, trunk: Array) -> Array:
        """Distance to the skin."""
        x, y, z = at
        front, back = _step(-y, 40, 60), _step(y, 40, 60)
        fat = self.fat * (1 + front * (0.5 - 0.006 * z) + back * 0.7)
        furrow = 8 * back * np.exp(-((x / 13) ** 2))
        return trunk - (self.wall + fat - furrow)

    def diaphragm(self, at: Coordinates, cavity: Array) -> Array:
        """Height of the underside of the diaphragm: two domes that fall steeply towards the wall."""
        x, y, _ = at
        top = self.domes[0] - (self.domes[0] - self.domes[1]) * _step(x, 0, 60) - 11 * np.exp(-(((x - 8) / 26) ** 2))
        drop = 56 - 16 * _step(-y, 20, 70) + 14 * _step(y, 30, 40)
        inward = np.clip(-cavity / 72, 0, 1)
        return top - drop * (1 - np.sqrt(inward * (2 - inward)))

    def liver(self, at: Coordinates, cavity: Array | None = None) -> Array:
        """The liver with the bed of the right kidney, before gallbladder and fissures press into it."""
        x, y, z = at
        cavity = self.cavity(at) if cavity is None else cavity
        below_diaphragm = 0.75 * (z + 3 - self.diaphragm(at, cavity))
        lower_edge = self.liver_tip + 0.47 * (x + 140) + 0.0005 * (x + 140) ** 2 + 0.42 * (y + 20)
        above_edge = 0.85 * (lower_edge - z)
        before_stomach = 0.8 * (y - 14 + 0.72 * (x - self.left_lobe) + 0.0016 * np.square(np.minimum(x + 20, 0)))
        spine = ellipsoid((x, y, 0 * z), (0, 66, 0), (40, 50, 1e3))
        shape = overlap(overlap(cavity + 0.5, below_diaphragm, 6), above_edge, 16)
        shape = without(overlap(shape, before_stomach, 14), spine, 10)
        return without(shape, ellipsoid(_kidney_coordinates(at, self, self.kidneys[0]), (0, 0, 0), (61, 35, 31)), 5)


def _step(values: Array, middle: float, width: float) -> Array:
    """A smooth step from 0 to 1 over a width."""
    t = np.clip((values - middle) * (1 / width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def paint_patient(canvas: Canvas, rng: np.random.Generator, *, lesions: bool) -> None:
    """Paints a whole patient; lesions are drawn last, so that the same patient can be had without them."""
    build = Build.drawn(rng)
    cavity = _paint_trunk(canvas, build)
    _paint_table(canvas, build)
    _paint_chest(canvas, build, cavity, rng)
    _paint_ribs(canvas, cavity)
    _paint_bowel(canvas, build, cavity, rng)
    liver = _paint_liver(canvas, build, cavity)
    _paint_spleen(canvas, build, cavity)
    _paint_spine_and_back_muscles(canvas)
    _paint_great_vessels(canvas, build)
    _paint_pancreas(canvas)
    _paint_liver_vessels(canvas, liver, rng)
    for center in build.kidneys:
        _paint_kidney(canvas, build, center, rng)
    if lesions:
        _paint_liver_tumors(canvas, build, liver, rng)
        _paint_kidney_tumor(canvas, build, rng)


def _paint_trunk(canvas: Canvas, build: Build) -> Array:
    """Skin, fat, the muscle wall and the fat of the cavity. Returns the cavity."""
    at = canvas.at()
    x, y, z = at
    trunk = build.trunk(at)
    skin = build.skin(at, trunk)
    cavity = build.cavity(at, trunk)
    strands = 9 * canvas.grain
    canvas.paint(skin, 10)
    canvas.paint(skin + 2, FAT_HU + strands)
    below_ribs = _step(-z, 25, 50)
    front = _step(-y, 50, 30)
    sides = (np.abs(x) - 66) / 5
    # Between the straight muscles in the midline, and at their sides, the wall is a thin sheet.
    thin = front * below_ribs * 0.75 * np.exp(-(sides * sides)) + front * below_ribs * 0.75 * np.exp(-((x / 3) ** 2))
    canvas.paint(trunk - build.wall * (1 - thin), MUSCLE_HU + 7 * canvas.grain)
    flank = below_ribs * (1 - front) * _step(-y, -60, 20)
    for depth in (0.36, 0.68):
        plane = np.abs(trunk - depth * build.wall) + 1.6 - 1.3 * flank
        canvas.paint(np.maximum(plane, (0.5 - flank) * 9), FAT_HU)
    canvas.paint(cavity, FAT_HU + strands)
    return cavity


def _paint_table(canvas: Canvas, build: Build) -> None:
    """The thin shell of the table, curved under the patient's back."""
    _, y, x = canvas.axes
    top = build.half_depth + build.wall + 1.7 * build.fat + 7
    height = top - 16 * (x[None, :] / 190) ** 2 - y[:, None]
    shell = np.minimum(np.abs(height + 2), np.abs(height + 26)) - 1
    foam = np.abs(height + 14) - 12
    outside = canvas.hu < -900
    for shape, hu in ((foam, -930), (shell, -60)):
        cover = np.clip(0.5 - shape / 1.5, 0, 1) * (np.abs(x) < 195)
        canvas.hu += outside * (cover * (hu + 1000)).astype(np.float32)


def _paint_chest(canvas: Canvas, build: Build, cavity: Array, rng: np.random.Generator) -> None:
    """The lungs' bases, the heart on the diaphragm, and the diaphragm itself."""
    box = canvas.box((-300, -300, -40), (300, 300, 1000))
    at = canvas.at(box)
    x, _, z = at
    height = build.diaphragm(at, cavity[box])
    under = height - z
    canvas.paint(np.maximum(cavity[box] + 1, 0.7 * (np.abs(under) - 2.5)), MUSCLE_HU + 4, box=box)
    lung = overlap(cavity[box] + 1.5, 0.75 * (under + 3), 3)
    mediastinum = ellipsoid((x, at[1], 0 * z), (6, 12, 0), (30, 55, 1e3))
    pericardium = ellipsoid(at, (30, -42, 112), (70, 58, 62))
    lung = without(lung, np.minimum(mediastinum, pericardium), 6)
    canvas.paint(lung, LUNG_HU + 14 * canvas.grain[box], box=box)
    whole = np.full(cavity.shape, 1e3, np.float32)
    whole[box] = lung + 2
    for side in (-1, 1):
        for _ in range(24):
            hilum = (side * rng.uniform(38, 70), rng.uniform(-15, 30), 150.0)
            end = (side * rng.uniform(50, 130), rng.uniform(-80, 80), rng.uniform(0, 80))
            for path in _branches(rng, hilum, end, 3.4, depth=1):
                canvas.paint_tube(path, 45, inside=whole)
    # The heart: right chambers in front, the thick left ventricle behind them, its tip to the left.
    above = 0.8 * (under + 5)
    heart = ellipsoid(rotated(at, (28, -38, 108), _turned(0.5)), (0, 0, 0), (64, 44, 52))
    canvas.paint(overlap(heart, above, 8), 102 + 4 * canvas.grain[box], box=box)
    left = ellipsoid(rotated(at, (48, -28, 108), _turned(0.5)), (0, 0, 0), (36, 18, 36))
    right = ellipsoid(rotated(at, (5, -52, 112), _turned(0.6)), (0, 0, 0), (34, 15, 42))
    for chamber in (left, right):
        canvas.paint(np.maximum(chamber, above + 5), 150, box=box)


def _turned(angle: float) -> tuple[Point, Point, Point]:
    """Axes turned about the z axis."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return (cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)


def _paint_ribs(canvas: Canvas, cavity: Array) -> None:
    """Ribs that run down and forward in the chest wall; the last two end early, the others in cartilage."""
    shell = np.flatnonzero(np.abs(cavity - 5) < 8)
    x, y, z = (axis.reshape(-1)[shell] for axis in canvas.at())
    angle = np.arctan2(np.abs(x), y)
    along = z + 62 * angle - 40
    number = np.round(along / RIB_PITCH)
    across = (along - number * RIB_PITCH) * np.float32(0.88)
    deep = cavity.reshape(-1)[shell] - 4.5
    thickness = np.sqrt((across / 6.2) ** 2 + (deep / 4.0) ** 2)
    last = np.select([number < -1, number == -1, number == 0], [0.0, 1.1, 1.7], 2.35)
    end = (angle - last) * 120
    distance = (thickness - 1) * 4.0
    beside_spine = 0.36 - angle
    cartilage = np.maximum(np.maximum(distance, -end), (angle - 2.85) * 120 + 1e3 * (number < 1))
    hu = canvas.hu.reshape(-1)
    rib = np.maximum(np.maximum(distance, end), beside_spine * 80)
    for shape, value in ((cartilage, 105), (rib, 430), (rib + 1.5, 120)):
        cover = np.clip(0.5 - shape / 1.6, 0, 1)
        hu[shell] += cover * (value - hu[shell])


def _paint_bowel(canvas: Canvas, build: Build, cavity: Array, rng: np.random.Generator) -> None:
    """Colon along the cavity's rim, loops of small bowel on their mesentery, stomach and duodenum."""
    inside = cavity + 4
    root = (8.0, -4.0, -30.0)  # of the mesentery
    loops: list[Point] = []
    while len(loops) < 48:
        x, y, z = rng.uniform(-72, 98), rng.uniform(-80, 8), rng.uniform(-140, -12)
        apart = min((np.linalg.norm(np.subtract((x, y, z), loop)) for loop in loops), default=99.0)
        # Loops fill what colon, kidneys, liver and stomach leave: the left flank and everything below.
        if z < -50 + 0.45 * x and apart > rng.uniform(14, 24):
            loops.append((x, y, z))
    for center in loops:
        for path in _branches(rng, root, center, 2.4, depth=1):
            canvas.paint_tube(path, 120, inside=inside)
    for center in loops:
        _paint_loop(canvas, center, inside, rng)
    ascending = [(-112, 22, -135), (-112, 20, -100), (-106, 10, -76), (-88, -22, -66)]
    transverse = [
        (-88, -22, -66),
        (-74, -58, -62),
        (-30, -74, -66),
        (30, -76, -62),
        (82, -62, -38),
        (104, -44, 2),
        (112, -14, 30),
    ]
    descending = [(112, -14, 30), (120, 4, 8), (122, 22, -20), (119, 32, -60), (112, 30, -100), (106, 22, -140)]
    _paint_colon(canvas, ascending, 23, inside, rng)
    _paint_colon(canvas, transverse, 17, inside, rng)
    _paint_colon(canvas, descending, 13, inside, rng)
    _paint_stomach(canvas, build, cavity, rng)


def _paint_loop(canvas: Canvas, center: Point, inside: Array, rng: np.random.Generator) -> None:
    """A bent piece of small bowel: enhancing wall around fluid."""
    turn = rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(2.0, 4.0)
    radius = rng.uniform(9, 12.5)
    angles = turn + np.linspace(0, bend, 5)
    size = rng.uniform(13, 22)
    points = [
        (center[0] + size * np.cos(a), center[1] + 0.65 * size * np.sin(a), center[2] + rng.uniform(-8, 8))
        for a in angles
    ]
    path = smooth_path(points, [radius] * 5)
    canvas.paint_tube(path, 92, inside=inside, grain=9)
    lumen = (path[0], [r - 2.6 - rng.uniform(0, 3.5) for r in path[1]])
    canvas.paint_tube(lumen, rng.uniform(20, 60), inside=inside, grain=16)


def _paint_colon(
    canvas: Canvas, points: Sequence[Point], radius: float, inside: Array, rng: np.random.Generator
) -> None:
    """A piece of colon with haustra, crumbly stool and gas in front of it."""
    path = smooth_path(points, [radius] * len(points), step=5)
    waves = rng.uniform(0, 6) + np.arange(len(path[1])) * 1.15
    radii = [r * (0.86 + 0.16 * abs(np.sin(w))) for r, w in zip(path[1], waves)]
    canvas.paint_tube((path[0], radii), 78, inside=inside, grain=6)
    lumen = [r - 2.4 for r in radii]
    canvas.paint_tube((path[0], lumen), -20, inside=inside + 2.4, grain=110)
    gas_level = rng.uniform(-0.5, 0.35)
    for start, end, first, last in zip(path[0], path[0][1:], lumen, lumen[1:]):
        box = canvas.around(start, first + 5)
        at = canvas.at(box)
        level = (start[1] + end[1]) / 2 + gas_level * first
        gas = np.maximum(capsule(at, start, end, first, last), at[1] - level - 2.5 * canvas.grain[box])
        canvas.paint(np.maximum(gas, inside[box] + 2.4), GAS_HU, box=box)


def _paint_stomach(canvas: Canvas, build: Build, cavity: Array, rng: np.random.Generator) -> None:
    """Stomach under the left dome with a level of gas over its content, and the duodenum around the pancreas."""
    box = canvas.box((-60, -110, -90), (140, 80, 110))
    at = canvas.at(box)
    inside = overlap(cavity[box] + 5, at[2] + 6 - build.diaphragm(at, cavity[box]), 6)
    fill = rng.uniform(0.88, 1.05)
    points = [
        (62, 14, 46),
        (68, -8, 30),
        (66, -32, 12),
        (48, -50, -6),
        (16, -52, -16),
        (-14, -40, -14),
        (-26, -28, -12),
    ]
    radii = [31, 31, 27, 22, 17, 12, 9]
    path = smooth_path(points, [fill * r for r in radii])
    shape = np.full(inside.shape, 1e3, np.float32)
    for start, end, first, last in zip(path[0], path[0][1:], path[1], path[1][1:]):
        shape = np.minimum(shape, capsule(at, start, end, first, last))
    shape = overlap(shape, inside, 5)
    canvas.paint(shape, 84 + 5 * canvas.grain[box], box=box)
    folds = 1.2 * canvas.grain[box]
    content = shape + 4.5 + folds
    canvas.paint(content, 30 + 11 * canvas.grain[box], box=box)
    canvas.paint(np.maximum(content, at[1] - rng.uniform(-48, -36)), GAS_HU, box=box)
    duodenum = [(-26, -28, -12), (-38, -14, -18), (-40, -2, -38), (-30, 4, -58), (-4, -2, -62), (22, -6, -54)]
    path = smooth_path(duodenum, [10, 11, 12, 11, 9, 9])
    canvas.paint_tube(path, 88, grain=6)
    canvas.paint_tube((path[0], [r - 4 for r in path[1]]), 30, grain=14)


def _paint_liver(canvas: Canvas, build: Build, cavity: Array) -> Array:
    """Liver with its fissures and the gallbladder. Returns its shape, less what presses into it."""
    at = canvas.at()
    x, y, z = at
    liver = build.liver(at, cavity)
    falciform = np.abs(x - 4 + 0.1 * y - 3 * np.sin(y / 17)) + 1.5 - 0.17 * (24 - z) - 0.02 * (y + 50)
    venosum = np.abs(y + 6 + 0.5 * (x - 6) + 2 * np.sin(x / 9)) - 2
    venosum = np.maximum(np.maximum(venosum, np.abs(x - 16) - 18), np.abs(z - 30) - 22)
    hilum = capsule(at, (-34, -9, 13), (8, -14, -8), 6, 12)
    for cleft in (falciform, venosum, hilum):
        liver = without(liver, cleft, 4)
    canvas.paint(liver, LIVER_HU + 3.5 * canvas.grain, label=LIVER)
    bladder = smooth_path([(-62, -66, -42), (-54, -52, -28), (-42, -36, -14), (-36, -24, -4)], [14, 16, 10, 4])
    canvas.paint_tube((bladder[0], [r + 1.5 for r in bladder[1]]), 70)
    canvas.paint_tube(bladder, FLUID_HU)
    return np.where(canvas.labels == LIVER, liver, np.maximum(liver, 1))


def _paint_spleen(canvas: Canvas, build: Build, cavity: Array) -> None:
    box = canvas.box((20, -60, -60), (200, 120, 110))
    at = canvas.at(box)
    k = build.spleen_scale
    turned = rotated(at, (108, 36, 22), _turned(-0.5))
    spleen = ellipsoid(turned, (0, 0, 0), (35 * k, 57 * k, 54 * k))
    inside = overlap(cavity[box] + 2.5, 0.75 * (at[2] + 4 - build.diaphragm(at, cavity[box])), 6)
    spleen = overlap(spleen, inside, 8)
    spleen = without(spleen, ellipsoid(at, (58, 2, 26), (44, 44, 60)), 10)
    u, v, w = _kidney_coordinates(at, build, build.kidneys[1])
    spleen = without(spleen, ellipsoid((u, v, w), (0, 0, 0), (62, 37, 33)), 6)
    canvas.paint(spleen, SPLEEN_HU + 3.5 * canvas.grain[box], box=box)


def _paint_spine_and_back_muscles(canvas: Canvas) -> None:
    """Vertebrae with discs, canal and processes; psoas, quadratus lumborum, erector spinae and the crura."""
    box = canvas.box((-110, -10, -1000), (110, 140, 1000))
    x, y, z = canvas.at(box)
    grain = canvas.grain[box]
    forward = 38 + 5 * np.cos(z / 60)
    y = y - forward
    side = np.abs(x)
    low = np.clip(-z - 10, 0, 110)
    wide = 7 + 0.16 * low
    psoas = (np.sqrt(((side - 25 - 0.10 * low) / wide) ** 2 + ((y - 6) / (wide * 1.15)) ** 2) - 1) * wide
    canvas.paint(np.maximum(psoas, (z + 8) * 0.5), MUSCLE_HU + 6 * grain, box=box)
    quadratus = (np.sqrt(((side - 56 + 0.5 * (y - 26)) / 20) ** 2 + ((y - 26) / 8.5) ** 2) - 1) * 8.5
    canvas.paint(np.maximum(quadratus, z + 5), MUSCLE_HU + 6 * grain, box=box)
    erector = (np.sqrt(((side - 29) / 29) ** 2 + ((y - 46) / 21) ** 2) - 1) * 21
    canvas.paint(np.abs(erector - 1.5) - 0.4, FAT_HU + 60, box=box)
    canvas.paint(erector, MUSCLE_HU + 9 * grain - 55 * np.clip(grain - 1.3, 0, 2), box=box)
    crura = np.sqrt(((side - 19) / 4.5) ** 2 + ((y + 19) / 13) ** 2) * 4.5 - 4.5
    canvas.paint(np.maximum(crura, np.abs(z - 8) - 42), MUSCLE_HU + 6, box=box)

    phase = z / VERTEBRA_PITCH
    phase = (phase - np.round(phase)) * VERTEBRA_PITCH
    from_disc = VERTEBRA_PITCH / 2 - np.abs(phase)
    waist = 1.2 * np.cos(phase * (2 * np.pi / VERTEBRA_PITCH))
    body = ((np.abs(x / 23) ** 2.4 + np.abs(y / 17) ** 2.4) ** np.float32(1 / 2.4) - 1) * 19 + waist
    body = without(body, np.sqrt((x / 1.3) ** 2 + (y - 26) ** 2) - 11, 4)
    canvas.paint(body, 88 + 4 * grain, box=box)
    bone = overlap(body, 3.2 - from_disc, 2)
    arch = _vertebral_arch(x, y, phase)
    for part, rim in ((arch, 2.0), (bone, 1.5)):
        canvas.paint(part, 480 + 25 * grain, box=box)
        canvas.paint(part + rim, 168 + 34 * grain, box=box)
    canal = np.sqrt((x / 10.5) ** 2 + ((y - 24) / 8.5) ** 2) * 8.5 - 8.5
    canvas.paint(canal, -40, box=box)
    canvas.paint(canal + 1.8, 30, box=box)


def _vertebral_arch(x: Array, y: Array, phase: Array) -> Array:
    """Pedicles, laminae, transverse and spinous processes and facet joints, by the place in the vertebra."""
    side = np.abs(x)
    upper = np.abs(phase - 6) - 7
    pedicle = np.maximum(np.maximum(np.abs(side - 14) - 4.5, np.abs(y - 20) - 10), upper)
    lamina = np.abs(np.sqrt((x / 1.2) ** 2 + (y - 24) ** 2) - 13) - 3
    lamina = np.maximum(np.maximum(lamina, 24 - y), np.abs(phase + 3) - 11)
    transverse = np.maximum(np.abs(y - 29 - 0.18 * (side - 16)) - 3.4, np.abs(side - 24) - 13)
    transverse = np.maximum(transverse, np.abs(phase - 5) - 4.5)
    spinous = np.maximum(np.maximum(np.abs(x) - 3.2, np.abs(y - 48) - 14), np.abs(phase + 5 + 0.3 * (y - 48)) - 9)
    facet = np.sqrt((side - 17) ** 2 + (y - 32) ** 2) - 7
    facet = np.maximum(facet, 8 - np.abs(phase))
    arch = np.minimum(np.minimum(pedicle, lamina), np.minimum(transverse, spinous))
    return np.minimum(arch, facet)


def _paint_great_vessels(canvas: Canvas, build: Build) -> None:
    """Aorta and vena cava before the spine, the vessels of bowel and kidneys, the portal vein, the esophagus."""
    aorta = smooth_path([(22, 24, 150), (18, 20, 70), (12, 12, 20), (9, 8, -60), (5, 6, -150)], [13, 12.5, 11.5, 10, 9])
    cava = smooth_path(
        [(-16, -14, 86), (-20, 2, 66), (-25, 10, 45), (-24, 10, 0), (-21, 10, -60), (-18, 14, -150)],
        [13, 13, 13, 12, 11, 10.5],
    )
    esophagus = smooth_path([(6, 6, 150), (8, 0, 80), (22, -2, 58), (40, 4, 46)], [8, 8, 7, 7])
    canvas.paint_tube(esophagus, 70)
    canvas.paint_tube((aorta[0], [r + 1.4 for r in aorta[1]]), 60)
    for shift in (-3.5, 3.5):  # side by side they make an oval
        canvas.paint_tube(([(x + shift, y, z) for x, y, z in cava[0]], [r - 2 for r in cava[1]]), CAVA_HU)
    canvas.paint_tube(aorta, ARTERY_HU)
    mesenteric = [(10, 0, 6), (8, -10, -8), (8, -14, -40), (6, -16, -80)]
    celiac = [(11, 0, 18), (8, -12, 20), (-12, -14, 16)]
    for points, radius in ((mesenteric, 3.5), (celiac, 3.2)):
        canvas.paint_tube(smooth_path(points, [radius] * len(points)), ARTERY_HU)
    for center in build.kidneys:
        hilum = (center[0] * 0.62, center[1] - 8, center[2] + 2)
        # The left vein passes before the aorta.
        left = [(-14, 0, center[2] + 6), (0.25 * center[0], -4, center[2] + 7), hilum]
        vein = left if center[0] > 0 else [(-20, 6, center[2] + 6), hilum]
        canvas.paint_tube(smooth_path(vein, [5.5] * len(vein)), VEIN_HU)
        artery = [(10, 12, center[2] + 12), (0.4 * center[0], 22, center[2] + 8), hilum]
        canvas.paint_tube(smooth_path(artery, [2.8] * 3), ARTERY_HU)
    superior_mesenteric = [(-8, -16, -80), (-6, -16, -40), (-6, -14, -8)]
    portal = [(-6, -14, -8), (-14, -12, 2), (-24, -12, 12)]
    splenic = [(-6, -14, -8), (20, -12, 4), (52, 8, 14), (84, 26, 20)]
    for points, radius in ((superior_mesenteric, 5.5), (portal, 7.0), (splenic, 4.2)):
        canvas.paint_tube(smooth_path(points, [radius] * len(points)), VEIN_HU)


def _paint_pancreas(canvas: Canvas) -> None:
    """Pancreas before the splenic vein, and the adrenal glands."""
    points = [(-24, -20, -34), (-22, -21, -18), (-4, -26, -6), (22, -22, 6), (52, -2, 16), (78, 16, 20)]
    path = smooth_path(points, [11, 12, 8, 8, 8, 6], step=5)
    radii = [r * (0.9 + 0.22 * abs(np.sin(1.9 * i))) for i, r in enumerate(path[1])]
    canvas.paint_tube((path[0], radii), 102, grain=12)
    for side, shift in ((-1, -6), (1, 0)):
        for end in ((46, 46), (34, 52)):
            points = [(side * 32, 22, 30 + shift), (side * end[0], end[1], 18 + shift)]
            canvas.paint_tube((points, [3.2, 2.2]), 82)


def _branches(rng: np.random.Generator, start: Point, end: Point, radius: float, depth: int) -> list[Path]:
    """A vessel from start to end that tapers, winds a little and gives off branches."""
    a, b = np.array(start), np.array(end)
    length = float(np.linalg.norm(b - a))
    middle = (a + b) / 2 + rng.normal(0, 0.09 * length, 3)
    path = smooth_path([start, tuple(middle.tolist()), end], [radius, 0.75 * radius, 0.4 * radius], step=12)
    found = [path]
    if depth:
        for place in (0.35, 0.55, 0.75):
            index = round(place * (len(path[0]) - 1))
            direction = (b - a) / length + rng.normal(0, 0.65, 3)
            tip = path[0][index] + direction / np.linalg.norm(direction) * length * rng.uniform(0.3, 0.55)
            found += _branches(rng, path[0][index], tuple(tip.tolist()), 0.72 * path[1][index], depth - 1)
    return found


def _paint_liver_vessels(canvas: Canvas, liver: Array, rng: np.random.Generator) -> None:
    """Three hepatic veins that meet in the vena cava, and the portal vein's branches from the hilum."""
    cava = (-22.0, 6.0, 60.0)
    veins = [(-108, 24, 18, 5.0), (-62, -58, 8, 5.0), (38, -52, 38, 4.2)]
    trees = [_branches(rng, cava, end[:3], end[3], depth=2) for end in veins]
    hilum, right, left = (-24.0, -12.0, 12.0), (-52.0, -8.0, 16.0), (8.0, -32.0, 26.0)
    ends: list[tuple[Point, Point]] = [
        (right, (-102, -42, 30)),
        (right, (-108, 38, 22)),
        (right, (-100, -30, -20)),
        (right, (-112, 14, -34)),
        (left, (44, -62, 36)),
        (left, (-14, -62, 30)),
    ]
    trees += [_branches(rng, hilum, right, 6.5, depth=0), _branches(rng, hilum, left, 5.5, depth=0)]
    trees += [_branches(rng, start, end, 4.2, depth=2) for start, end in ends]
    for tree in trees:
        for path in tree:
            canvas.paint_tube(path, 158, inside=liver + 2, label=None)


def _kidney_coordinates(at: Coordinates, build: Build, center: Point) -> Coordinates:
    """Along the kidney, towards its hilum, and across, in mm of a usual kidney; its poles bend to the hilum."""
    side = 1.0 if center[0] > 0 else -1.0
    along = np.array([-0.20 * side, 0.16, 1.0])
    along /= np.linalg.norm(along)
    hilum = np.array([-0.80 * side, -0.60, 0.0])
    hilum -= hilum @ along * along
    hilum /= np.linalg.norm(hilum)
    across = np.cross(along, hilum)
    axes = [tuple(float(c) / build.kidney_scale for c in axis) for axis in (along, hilum, across)]
    u, v, w = rotated(at, center, axes)  # type: ignore[arg-type]
    return u, v - 7 * np.square(np.clip(u / 54, -1.3, 1.3)), w


def _paint_kidney(canvas: Canvas, build: Build, center: Point, rng: np.random.Generator) -> None:
    """A kidney: bright cortex, pyramids, sinus fat with calyces and pelvis."""
    box = canvas.around(center, 75)
    u, v, w = _kidney_coordinates(canvas.at(box), build, center)
    grain = canvas.grain[box]
    kidney = ellipsoid((u, v, w), (0, 0, 0), (56, 30, 26))
    sinus = ellipsoid((u, v, w), (0, 17, 0), (30, 20, 9))
    around_sinus = np.arctan2(w, v - 8)
    pattern = np.cos(5 * around_sinus + rng.uniform(0, 6)) + 0.9 * np.cos(u * (2 * np.pi / 21) + rng.uniform(0, 6))
    pyramid = _step(-kidney, 8.5, 4) * _step(pattern, -0.2, 0.9)
    canvas.paint(kidney, CORTEX_HU - (CORTEX_HU - MEDULLA_HU) * pyramid + 4 * grain, box=box, label=KIDNEY)
    canvas.paint(np.maximum(sinus, kidney - 3), FAT_HU + 25 + 12 * grain, box=box)
    for place in (-20.0, 0.0, 18.0):
        calyx = capsule((u, v, w), (place, 4, 0), (0.3 * place, 20, 0), 4.0, 3.0)
        canvas.paint(np.maximum(calyx, sinus + 0.5), 40 if place else FLUID_HU, box=box)
    vessels = np.minimum(
        capsule((u, v, w), (0, 36, 3), (12, 8, 3), 3.2, 2.0), capsule((u, v, w), (0, 36, 3), (-14, 8, 2), 3.2, 2.0)
    )
    canvas.paint(vessels, VEIN_HU, box=box)


def _paint_liver_tumors(canvas: Canvas, build: Build, liver: Array, rng: np.random.Generator) -> None:
    """Metastases, darker than the liver; the largest has a bright rim and a core that died."""
    placed: list[tuple[Point, float]] = []
    for radius in [rng.uniform(17, 21), *rng.uniform(6, 13, int(rng.integers(2, 5)))]:
        center, radius = _place_in_liver(build, float(radius), placed, rng)
        placed.append((center, radius))
        box = canvas.around(center, radius + 6)
        at = canvas.at(box)
        uneven = sum(
            np.sin((axis - middle) * 0.16 * k + phase)
            for axis, middle, k, phase in zip(
                at, center, rng.uniform(0.7, 1.4, 3).tolist(), rng.uniform(0, 6, 3).tolist()
            )
        )
        stretch = rng.uniform(0.88, 1.12, 3).tolist()
        tumor = ellipsoid(at, center, tuple(radius * s for s in stretch)) + 0.05 * float(radius) * uneven
        tumor = np.maximum(tumor, liver[box] + 0.5)
        hu = rng.uniform(52, 70)
        if len(placed) == 1:
            canvas.paint(tumor, 138, box=box, label=LIVER_TUMOR)
            canvas.paint(tumor + 3.5, hu + 4 * canvas.grain[box], box=box, label=LIVER_TUMOR)
            canvas.paint(tumor + 0.5 * radius, 38, box=box, label=LIVER_TUMOR)
        else:
            fuzzy = LIVER_HU - (LIVER_HU - hu) * _step(-tumor, 1.0, 4.0)
            canvas.paint(tumor, fuzzy + 4 * canvas.grain[box], box=box, label=LIVER_TUMOR)


def _place_in_liver(
    build: Build, radius: float, placed: list[tuple[Point, float]], rng: np.random.Generator
) -> tuple[Point, float]:
    """A place for a lesion in the liver, apart from others and what is not liver; smaller if need be."""
    apart = [*placed, ((-22.0, -12.0, 8.0), 20.0), ((-54.0, -52.0, -28.0), 18.0), ((4.0, -60.0, 0.0), 14.0)]
    apart += [((-22.0, 8.0, height), 16.0) for height in (30.0, 60.0)]
    while True:
        point = rng.uniform(-130, 30), rng.uniform(-75, 60), rng.uniform(-50, 65)
        far = all(np.linalg.norm(np.subtract(point, center)) > radius + size + 4 for center, size in apart)
        if far and build.liver(tuple(np.full(1, value) for value in point))[0] < -(1.15 * radius + 3):  # type: ignore[arg-type]
            return point, radius
        radius *= 0.9995


def _paint_kidney_tumor(canvas: Canvas, build: Build, rng: np.random.Generator) -> None:
    """An uneven tumor that grows out of a kidney, away from its hilum."""
    center = build.kidneys[int(rng.integers(2))]
    side = float(np.sign(center[0]))
    radius = rng.uniform(16, 21)
    middle = (
        center[0] + side * rng.uniform(13, 19),
        center[1] - rng.uniform(8, 14),
        center[2] - rng.uniform(18, 30),
    )
    box = canvas.around(middle, radius + 6)
    at = canvas.at(box)
    grain = canvas.grain[box]
    uneven = sum(np.sin((axis - c) * 0.13 + phase) for axis, c, phase in zip(at, middle, rng.uniform(0, 6, 3).tolist()))
    tumor = ellipsoid(at, middle, (radius, radius, 1.1 * radius)) + 0.8 * uneven
    behind = (middle[0] + 3.0, middle[1] + 3.0, middle[2] + 3.0)
    dead = ellipsoid(at, behind, (0.45 * radius,) * 3) + 1.6 * uneven
    canvas.paint(tumor, 98 + 9 * uneven + 9 * grain, box=box, label=KIDNEY_TUMOR)
    canvas.paint(dead + 1.5 * grain, 48, box=box, label=KIDNEY_TUMOR)
