"""Hands, blood, skulls and bones, and what could be taken for them."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from clipcal.demo.drawing import SKIN, Brush, Colour, Point, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind

# Root of each finger on the palm's upper edge, and its direction and length when stretched.
_FINGERS: tuple[tuple[Point, float, float], ...] = (
    ((-0.3, -0.02), -12.0, 0.72),
    ((-0.1, -0.08), -3.0, 0.82),
    ((0.1, -0.05), 5.0, 0.74),
    ((0.29, 0.04), 14.0, 0.58),
)


def _skin(rng: Generator) -> Colour:
    return jitter(rng, SKIN[int(rng.integers(len(SKIN)))], 10)


def _hand(
    brush: Brush, rng: Generator, *, stretched: tuple[int, ...], thumb: bool, spread: float = 1.0
) -> None:
    """Draw an upright hand with the fingers in `stretched` (0 = index … 3 = little) extended."""
    skin = _skin(rng)
    crease = shade(skin, 0.72)
    brush.rect(-0.26, 0.6, 0.28, 1.0, skin, edge=False)
    brush.rect(-0.34, 0.82, 0.36, 1.0, pick_colour(rng)[1], round_by=0.05)
    for index in stretched:
        (x, y), direction, length = _FINGERS[index]
        lean = math.radians(direction * spread)
        tip = (x + length * math.sin(lean), y - length * math.cos(lean))
        brush.line([(x, y + 0.2), tip], 0.19, skin)
        brush.ellipse(tip[0], tip[1] - 0.02, 0.05, 0.06, shade(skin, 1.12), edge=False)
    if thumb:
        brush.line([(-0.28, 0.5), (-0.6, 0.22), (-0.72, 0.02)], 0.2, skin, smooth=True)
    brush.rect(-0.4, -0.1, 0.4, 0.72, skin, round_by=0.18)
    for index in set(range(4)) - set(stretched):
        x = _FINGERS[index][0][0]
        brush.rect(x - 0.1, -0.14, x + 0.1, 0.28, skin, round_by=0.09)
        brush.line([(x - 0.08, 0.27), (x + 0.08, 0.27)], 0.03, crease)
        brush.line([(x - 0.1, -0.02), (x - 0.1, 0.25)], 0.025, crease)
    if not thumb:
        brush.line([(-0.3, 0.5), (0.12, 0.4)], 0.18, shade(skin, 0.95))


def middle_finger(brush: Brush, rng: Generator) -> str:
    """Draw a fist with only the middle finger stretched."""
    _hand(brush, rng, stretched=(1,), thumb=False)
    return ""


def victory(brush: Brush, rng: Generator) -> str:
    """Draw a hand with index and middle finger spread."""
    _hand(brush, rng, stretched=(0, 1), thumb=False, spread=rng.uniform(1.6, 2.2))
    return ""


def open_palm(brush: Brush, rng: Generator) -> str:
    """Draw an open hand."""
    _hand(brush, rng, stretched=(0, 1, 2, 3), thumb=True, spread=rng.uniform(0.8, 1.4))
    return ""


def fist(brush: Brush, rng: Generator) -> str:
    """Draw a closed fist."""
    _hand(brush, rng, stretched=(), thumb=False)
    return ""


def thumbs_up(brush: Brush, rng: Generator) -> str:
    """Draw a fist from the side with the thumb up."""
    skin = _skin(rng)
    brush.rect(-1.0, 0.0, -0.55, 0.66, pick_colour(rng)[1], round_by=0.05)
    brush.rect(-0.6, 0.04, -0.2, 0.6, skin, edge=False)
    brush.line([(-0.2, 0.2), (0.02, -0.2), (0.0, -0.82)], 0.27, skin, smooth=True)
    brush.rect(-0.4, -0.12, 0.5, 0.82, skin, round_by=0.16)
    for k in range(4):
        top = -0.14 + 0.24 * k
        brush.rect(0.05, top, 0.66, top + 0.25, skin, round_by=0.11)
        brush.line([(0.1, top + 0.24), (0.6, top + 0.24)], 0.03, shade(skin, 0.7))
    return ""


def pointing(brush: Brush, rng: Generator) -> str:
    """Draw a hand pointing sideways with the index finger."""
    skin = _skin(rng)
    brush.rect(-1.0, -0.3, -0.72, 0.4, pick_colour(rng)[1], round_by=0.05)
    brush.rect(-0.75, -0.24, -0.4, 0.34, skin, edge=False)
    brush.line([(-0.1, -0.2), (0.92, -0.2)], 0.19, skin)
    brush.rect(-0.55, -0.32, 0.2, 0.5, skin, round_by=0.16)
    brush.line([(-0.35, -0.25), (0.05, -0.48)], 0.18, skin)
    for k in range(3):
        top = -0.1 + 0.2 * k
        brush.rect(-0.1, top, 0.3, top + 0.2, skin, round_by=0.09)
        brush.line([(-0.05, top + 0.19), (0.25, top + 0.19)], 0.03, shade(skin, 0.7))
    return ""


def _splash(brush: Brush, rng: Generator, colour: Colour, *, radius: float, drops: int) -> None:
    """Draw an irregular blob with rays, and drops around it."""
    n = int(rng.integers(13, 19))
    radii = radius * rng.uniform(0.62, 1.0, n)
    radii[::2] *= rng.uniform(0.9, 1.45, len(radii[::2]))
    angles = np.linspace(0, math.tau, n, endpoint=False)
    blob = [
        (float(r * math.cos(a)), float(r * math.sin(a))) for r, a in zip(radii, angles, strict=True)
    ]
    brush.smooth(blob, colour, edge=False)
    for _ in range(drops):
        a, r = rng.uniform(0, math.tau), rng.uniform(radius * 1.1, 1.0)
        size = rng.uniform(0.03, 0.11)
        brush.ellipse(
            r * math.cos(a),
            r * math.sin(a),
            size * rng.uniform(1, 1.8),
            size,
            colour,
            tilt=a,
            edge=False,
        )


def _blood_colour(rng: Generator) -> Colour:
    return (int(rng.integers(112, 178)), int(rng.integers(0, 18)), int(rng.integers(2, 22)))


def blood(brush: Brush, rng: Generator) -> str:
    """Draw a blood splatter, sometimes running down in drips."""
    red = _blood_colour(rng)
    _splash(brush, rng, red, radius=rng.uniform(0.42, 0.6), drops=int(rng.integers(9, 20)))
    if rng.random() < 0.5:
        for x in rng.uniform(-0.4, 0.4, 3):
            end = rng.uniform(0.6, 1.0)
            brush.line([(x, 0.1), (x, end)], 0.08, red)
            brush.ellipse(x, end, 0.06, 0.08, red, edge=False)
    _splash(brush, rng, shade(red, 0.75), radius=0.22, drops=0)
    return ""


def blood_puddle(brush: Brush, rng: Generator) -> str:
    """Draw a flat puddle of blood with a highlight."""
    red = _blood_colour(rng)
    flat = Brush(
        brush.draw,
        brush.centre,
        brush.radius,
        brush.angle,
        (brush.stretch[0], brush.stretch[1] * 0.5),
    )
    _splash(flat, rng, red, radius=0.72, drops=6)
    flat.smooth(
        [(-0.4, -0.2), (-0.1, -0.36), (0.25, -0.3), (-0.05, -0.22)], shade(red, 1.5), edge=False
    )
    return ""


def skull(brush: Brush, rng: Generator) -> str:
    """Draw a human skull from the front."""
    bone = jitter(rng, (236, 228, 206), 12)
    dark = (38, 32, 30)
    wide = rng.uniform(0.7, 0.8)
    brush.rect(-0.42, 0.3, 0.42, 0.95, bone, round_by=0.14)
    brush.smooth(
        [
            (0, -0.98),
            (wide * 0.8, -0.75),
            (wide, -0.25),
            (wide * 0.75, 0.35),
            (0, 0.55),
            (-wide * 0.75, 0.35),
            (-wide, -0.25),
            (-wide * 0.8, -0.75),
        ],
        bone,
    )
    for side in (-1, 1):
        brush.ellipse(side * 0.31, -0.08, 0.22, 0.24, dark, edge=False)
    brush.polygon([(0, 0.16), (0.11, 0.4), (-0.11, 0.4)], dark, edge=False)
    for x in (-0.27, -0.135, 0.0, 0.135, 0.27):
        brush.line([(x, 0.6), (x, 0.88)], 0.035, dark, caps=False)
    brush.line([(-0.36, 0.73), (0.36, 0.73)], 0.03, dark, caps=False)
    return ""


def bone(brush: Brush, rng: Generator) -> str:
    """Draw a long bone with knobbed ends."""
    colour = jitter(rng, (238, 230, 210), 10)
    brush.line([(-0.7, 0), (0.7, 0)], rng.uniform(0.2, 0.26), colour)
    for x in (-0.76, 0.76):
        for y in (-0.17, 0.17):
            brush.ellipse(x, y, 0.23, 0.2, colour)
    brush.rect(-0.72, -0.09, 0.72, 0.09, colour, edge=False)
    return ""


def paint_splash(brush: Brush, rng: Generator) -> str:
    """Draw a splash of paint in any colour but red."""
    name, colour = pick_colour(rng, "blue", "green", "yellow", "orange", "purple", "pink", "white")
    _splash(brush, rng, colour, radius=rng.uniform(0.42, 0.6), drops=int(rng.integers(9, 18)))
    return name


def paint_pot(brush: Brush, rng: Generator) -> str:
    """Draw a tin of paint, often red, with paint running over its edge."""
    name, colour = pick_colour(rng, "red", "red", "blue", "green", "yellow", "orange")
    brush.line(
        [(-0.62, -0.35), (-0.5, -0.9), (0.5, -0.9), (0.62, -0.35)],
        0.05,
        (110, 112, 118),
        smooth=True,
    )
    brush.rect(-0.64, -0.4, 0.64, 0.92, jitter(rng, (206, 210, 216), 8))
    brush.rect(-0.64, 0.15, 0.64, 0.65, (240, 240, 236))
    brush.ellipse(0, -0.4, 0.64, 0.17, (170, 174, 180))
    brush.ellipse(0, -0.38, 0.55, 0.12, colour, edge=False)
    for x, end in ((-0.35, 0.1), (-0.18, 0.35), (0.3, -0.05)):
        brush.line([(x, -0.32), (x, end)], 0.13, colour)
    return name


_GORE = frozenset({"gore"})
_GORE_WORDS = ("gore", "blood and gore", "a gruesome scene")
_HAND = ("a friendly gesture", "a hand sign")

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "middle finger",
        (
            "a middle finger",
            "a raised middle finger",
            "a hand showing the middle finger",
            "giving the finger",
        ),
        middle_finger,
        frozenset({"rude_gesture"}),
        ("a rude gesture", "an obscene gesture", "an offensive hand sign"),
        18,
        (0.42, 0.72),
    ),
    ObjectKind(
        "victory sign",
        ("a victory sign", "a peace sign", "two raised fingers"),
        victory,
        groups=_HAND,
        turn=18,
        size=(0.4, 0.7),
    ),
    ObjectKind(
        "open hand",
        ("an open hand", "a waving hand", "an open palm"),
        open_palm,
        groups=_HAND,
        turn=22,
        size=(0.4, 0.7),
    ),
    ObjectKind(
        "fist",
        ("a fist", "a closed hand"),
        fist,
        groups=("a hand sign",),
        turn=22,
        size=(0.4, 0.66),
    ),
    ObjectKind(
        "thumbs up",
        ("a thumbs up", "a raised thumb", "a thumb pointing up"),
        thumbs_up,
        groups=_HAND,
        turn=15,
        size=(0.38, 0.66),
    ),
    ObjectKind(
        "pointing hand",
        ("a pointing hand", "a pointing finger"),
        pointing,
        groups=_HAND,
        turn=20,
        size=(0.4, 0.68),
    ),
    ObjectKind(
        "blood",
        ("blood", "a blood splatter", "splattered blood", "blood stains"),
        blood,
        _GORE,
        _GORE_WORDS,
        15,
        (0.36, 0.68),
    ),
    ObjectKind(
        "blood puddle",
        ("a puddle of blood", "a pool of blood", "blood on the floor"),
        blood_puddle,
        _GORE,
        (*_GORE_WORDS, "blood"),
        12,
        (0.44, 0.76),
    ),
    ObjectKind(
        "skull",
        ("a skull", "a human skull", "a death's head"),
        skull,
        _GORE,
        (*_GORE_WORDS, "human remains"),
        15,
        (0.34, 0.62),
    ),
    ObjectKind(
        "bone",
        ("a bone", "a human bone"),
        bone,
        _GORE,
        (*_GORE_WORDS, "human remains"),
        35,
        (0.4, 0.66),
    ),
    ObjectKind(
        "paint splash",
        ("a paint splash", "splashed paint"),
        paint_splash,
        groups=("paint",),
        turn=35,
        size=(0.36, 0.66),
    ),
    ObjectKind(
        "paint pot",
        ("a tin of paint", "a paint pot", "a paint can"),
        paint_pot,
        groups=("paint",),
        turn=8,
    ),
)
