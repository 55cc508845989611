"""Cigarettes, pills and syringes, and the pencils, candles and sweets that look like them."""

from __future__ import annotations

import math

from numpy.random import Generator

from clipcal.demo.drawing import Brush, Colour, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind

SMOKE: Colour = (225, 225, 228, 95)


def _smoke(brush: Brush, rng: Generator, x: float, y: float) -> None:
    for _ in range(2):
        sway = rng.uniform(0.08, 0.22, 3)
        path = [(x, y), (x + sway[0], y - 0.25), (x - sway[1], y - 0.5), (x + sway[2], y - 0.78)]
        width = rng.uniform(0.08, 0.16)
        brush.line(path, width, SMOKE, smooth=True, caps=False, edge=False)


def cigarette(brush: Brush, rng: Generator) -> str:
    """Draw a cigarette with filter, ash and ember, usually smoking."""
    half = rng.uniform(0.1, 0.14)
    paper = jitter(rng, (246, 244, 238), 5)
    brush.rect(-0.45, -half, 0.86, half, paper)
    brush.rect(-1.0, -half, -0.4, half, jitter(rng, (216, 142, 62), 12))
    brush.rect(-0.42, -half, -0.36, half, (200, 170, 90), edge=False)
    brush.rect(0.72, -half, 0.92, half, (140, 138, 136))
    if rng.random() < 0.85:
        brush.ellipse(0.94, 0, 0.09, half, jitter(rng, (250, 92, 24), 10), edge=False)
        _smoke(brush, rng, 0.95, -0.1)
    return ""


def cigar(brush: Brush, rng: Generator) -> str:
    """Draw a brown cigar with a band."""
    brown = jitter(rng, (112, 66, 34), 10)
    brush.smooth(
        [
            (-1.0, 0),
            (-0.85, -0.17),
            (0, -0.2),
            (0.85, -0.18),
            (0.9, 0),
            (0.85, 0.18),
            (0, 0.2),
            (-0.85, 0.17),
        ],
        brown,
    )
    brush.rect(-0.5, -0.2, -0.26, 0.2, pick_colour(rng, "red", "yellow", "green")[1])
    brush.rect(0.7, -0.17, 0.95, 0.17, (150, 148, 146), round_by=0.06)
    brush.ellipse(0.95, 0, 0.05, 0.14, (250, 92, 24), edge=False)
    _smoke(brush, rng, 0.95, -0.1)
    return ""


def pipe(brush: Brush, rng: Generator) -> str:
    """Draw a smoking tobacco pipe."""
    wood = jitter(rng, (112, 58, 30), 14)
    brush.line(
        [(0.45, 0.42), (0.0, 0.35), (-0.5, -0.15), (-1.0, -0.25)], 0.13, (40, 34, 34), smooth=True
    )
    brush.smooth([(0.25, -0.3), (0.9, -0.3), (0.92, 0.3), (0.6, 0.62), (0.25, 0.4)], wood)
    brush.ellipse(0.58, -0.32, 0.34, 0.09, (40, 26, 20))
    _smoke(brush, rng, 0.6, -0.35)
    return ""


def ashtray(brush: Brush, rng: Generator) -> str:
    """Draw an ashtray in which a cigarette burns."""
    bowl = pick_colour(rng, "grey", "black", "blue", "brown")[1]
    brush.ellipse(0, 0.45, 0.95, 0.36, bowl)
    brush.ellipse(0, 0.38, 0.76, 0.24, shade(bowl, 0.55))
    brush.ellipse(0.1, 0.42, 0.4, 0.11, (120, 118, 116), edge=False)
    brush.line([(-0.75, 0.12), (0.1, 0.38)], 0.17, (246, 244, 238), caps=False)
    brush.line([(-0.95, 0.06), (-0.6, 0.165)], 0.17, (216, 142, 62), caps=False)
    brush.ellipse(0.14, 0.39, 0.08, 0.07, (250, 92, 24), edge=False)
    _smoke(brush, rng, 0.15, 0.3)
    return ""


def _capsule(brush: Brush, x: float, y: float, tilt: float, left: Colour, right: Colour) -> None:
    dx, dy = 0.17 * math.cos(tilt), 0.17 * math.sin(tilt)
    brush.line([(x - dx, y - dy), (x + dx, y + dy)], 0.24, right)
    brush.line([(x - dx, y - dy), (x, y)], 0.24, left)


def pills(brush: Brush, rng: Generator) -> str:
    """Draw scattered capsules and round tablets."""
    left, right = pick_colour(rng, "red", "blue", "green", "orange")[1], (246, 246, 240)
    tablet = jitter(rng, [(248, 248, 244), (250, 226, 120), (244, 176, 190)][int(rng.integers(3))])
    spots = [
        (-0.55, -0.5),
        (0.1, -0.65),
        (0.65, -0.3),
        (-0.7, 0.2),
        (0, 0),
        (0.6, 0.4),
        (-0.3, 0.65),
        (0.3, 0.75),
    ]
    for x, y in spots[int(rng.integers(0, 3)) :]:
        x, y = x + rng.uniform(-0.1, 0.1), y + rng.uniform(-0.1, 0.1)
        if rng.random() < 0.55:
            _capsule(brush, x, y, rng.uniform(0, math.pi), left, right)
        else:
            brush.ellipse(x, y, 0.2, 0.19, shade(tablet, 0.8))
            brush.ellipse(x, y - 0.03, 0.19, 0.17, tablet, edge=False)
            brush.line([(x - 0.13, y - 0.03), (x + 0.13, y - 0.03)], 0.03, shade(tablet, 0.7))
    return ""


def blister(brush: Brush, rng: Generator) -> str:
    """Draw a blister pack of tablets."""
    tablet = pick_colour(rng, "white", "red", "yellow", "pink", "blue")[1]
    brush.rect(-0.95, -0.6, 0.95, 0.6, jitter(rng, (188, 194, 202), 8), round_by=0.1)
    for x in (-0.67, -0.22, 0.22, 0.67):
        for y in (-0.29, 0.29):
            brush.ellipse(x, y, 0.19, 0.2, (224, 228, 234))
            brush.ellipse(x, y, 0.14, 0.15, tablet, edge=False)
    return ""


def pill_bottle(brush: Brush, rng: Generator) -> str:
    """Draw an amber medicine bottle with a white cap and pills beside it."""
    amber = jitter(rng, (226, 118, 26), 10)
    brush.rect(-0.5, -0.55, 0.5, 0.92, amber, round_by=0.1)
    brush.rect(-0.58, -0.98, 0.58, -0.52, jitter(rng, (244, 244, 242), 5), round_by=0.06)
    for x in (-0.35, -0.12, 0.12, 0.35):
        brush.line([(x, -0.92), (x, -0.6)], 0.03, (190, 190, 190), caps=False)
    brush.rect(-0.5, -0.2, 0.5, 0.5, (250, 250, 248))
    for y in (-0.05, 0.1, 0.25):
        brush.line([(-0.35, y), (0.3, y)], 0.045, (90, 90, 100), caps=False)
    for x in (0.68, 0.85):
        brush.ellipse(x, 0.85 - (x - 0.6) * 0.3, 0.13, 0.1, (248, 248, 244))
    return ""


def syringe(brush: Brush, rng: Generator) -> str:
    """Draw a syringe with needle, barrel and plunger."""
    fluid = [(210, 60, 60, 200), (120, 200, 120, 200), (230, 220, 120, 200), (140, 190, 240, 200)]
    brush.line([(0.5, 0), (1.0, 0)], 0.035, (120, 126, 134))
    brush.rect(0.4, -0.08, 0.56, 0.08, (90, 150, 210))
    brush.line([(-0.9, 0), (-0.4, 0)], 0.09, (236, 238, 242))
    brush.rect(-1.0, -0.2, -0.9, 0.2, (220, 226, 232))
    brush.rect(-0.42, -0.18, 0.42, 0.18, (226, 236, 244, 220))
    fill = rng.uniform(-0.25, 0.1)
    brush.rect(fill, -0.15, 0.4, 0.15, fluid[int(rng.integers(4))], edge=False)
    brush.rect(fill - 0.09, -0.17, fill, 0.17, (60, 64, 72))
    brush.rect(-0.5, -0.3, -0.42, 0.3, (220, 226, 232))
    for x in (-0.1, 0.05, 0.2):
        brush.line([(x, -0.17), (x, -0.06)], 0.025, (50, 50, 60), caps=False)
    return ""


def pencil(brush: Brush, rng: Generator) -> str:
    """Draw a pencil with rubber and sharpened point."""
    name, colour = pick_colour(rng, "yellow", "red", "blue", "green", "orange")
    half = rng.uniform(0.09, 0.12)
    brush.rect(-0.8, -half, 0.65, half, colour)
    brush.line([(-0.75, 0), (0.6, 0)], half * 0.5, shade(colour, 0.8), caps=False)
    brush.rect(-1.0, -half, -0.86, half, (236, 150, 160))
    brush.rect(-0.88, -half, -0.76, half, (190, 192, 196))
    brush.polygon([(0.65, -half), (1.0, 0), (0.65, half)], (232, 198, 150))
    brush.polygon([(0.88, -half * 0.35), (1.0, 0), (0.88, half * 0.35)], (40, 40, 44), edge=False)
    return name


def candle(brush: Brush, rng: Generator) -> str:
    """Draw a burning candle in a holder."""
    name, colour = pick_colour(rng, "white", "red", "yellow", "green", "pink")
    brush.ellipse(0, 0.82, 0.55, 0.14, (176, 140, 60))
    brush.rect(-0.2, -0.3, 0.2, 0.82, colour)
    brush.rect(
        -0.2, -0.3, -0.08, rng.uniform(0.0, 0.4), shade(colour, 1.12), round_by=0.05, edge=False
    )
    brush.line([(0, -0.3), (0, -0.45)], 0.04, (40, 30, 30))
    brush.ellipse(0, -0.62, 0.32, 0.36, (255, 230, 120, 80), edge=False)
    brush.smooth([(0, -0.98), (0.15, -0.6), (0, -0.42), (-0.15, -0.6)], (252, 176, 40), edge=False)
    brush.ellipse(0, -0.57, 0.06, 0.12, (255, 244, 180), edge=False)
    return name


def sweets(brush: Brush, rng: Generator) -> str:
    """Draw wrapped sweets in bright colours."""
    for x, y in ((-0.5, -0.45), (0.45, -0.4), (-0.05, 0.15), (-0.5, 0.65), (0.55, 0.6)):
        tilt = rng.uniform(-0.8, 0.8)
        colour = pick_colour(rng, "red", "green", "purple", "yellow", "pink", "blue", "orange")[1]
        cos, sin = math.cos(tilt), math.sin(tilt)
        for side in (-1, 1):
            ends = [(side * 0.16, 0.0), (side * 0.42, -0.17), (side * 0.42, 0.17)]
            brush.polygon(
                [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in ends],
                shade(colour, 0.8),
            )
        brush.ellipse(x, y, 0.23, 0.2, colour, tilt=tilt)
        brush.line(
            [(x - 0.1 * sin, y - 0.14 * cos), (x + 0.1 * sin, y + 0.14 * cos)],
            0.06,
            (255, 255, 255, 190),
            caps=False,
        )
    return ""


_SMOKING = frozenset({"smoking"})
_SMOKING_WORDS = ("smoking", "tobacco", "somebody's smoke")
_DRUGS = frozenset({"drugs"})
_DRUG_WORDS = ("drugs", "medication", "narcotics")

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "cigarette",
        ("a cigarette", "a lit cigarette", "a burning cigarette", "a smoke"),
        cigarette,
        _SMOKING,
        _SMOKING_WORDS,
        35,
        (0.36, 0.66),
    ),
    ObjectKind(
        "cigar", ("a cigar", "a lit cigar"), cigar, _SMOKING, _SMOKING_WORDS, 35, (0.4, 0.66)
    ),
    ObjectKind(
        "pipe",
        ("a tobacco pipe", "a smoking pipe"),
        pipe,
        _SMOKING,
        _SMOKING_WORDS,
        20,
        (0.36, 0.62),
    ),
    ObjectKind(
        "ashtray",
        ("an ashtray", "an ashtray with a cigarette"),
        ashtray,
        _SMOKING,
        _SMOKING_WORDS,
        8,
        (0.38, 0.64),
    ),
    ObjectKind(
        "pills",
        ("pills", "some pills", "tablets and capsules", "loose pills"),
        pills,
        _DRUGS,
        (*_DRUG_WORDS, "tablets"),
        35,
        (0.34, 0.6),
    ),
    ObjectKind(
        "blister",
        ("a blister pack", "a pack of tablets", "a blister pack of pills"),
        blister,
        _DRUGS,
        (*_DRUG_WORDS, "tablets"),
        35,
        (0.34, 0.6),
    ),
    ObjectKind(
        "pill bottle",
        ("a pill bottle", "a bottle of pills", "a medicine bottle"),
        pill_bottle,
        _DRUGS,
        _DRUG_WORDS,
        14,
        (0.36, 0.62),
    ),
    ObjectKind(
        "syringe",
        ("a syringe", "a needle", "a syringe with a needle", "an injection"),
        syringe,
        _DRUGS,
        _DRUG_WORDS,
        35,
        (0.46, 0.74),
    ),
    ObjectKind("pencil", ("a pencil", "a coloured pencil"), pencil, turn=35, size=(0.42, 0.7)),
    ObjectKind("candle", ("a candle", "a burning candle"), candle, turn=6, size=(0.36, 0.64)),
    ObjectKind(
        "sweets",
        ("sweets", "candy", "some sweets", "wrapped sweets"),
        sweets,
        groups=("food",),
        turn=35,
        size=(0.34, 0.6),
    ),
)
