"""Plants, houses, vehicles and animals."""

from __future__ import annotations

import math

from numpy.random import Generator

from clipcal.demo.drawing import Brush, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind


def flower(brush: Brush, rng: Generator) -> str:
    """Draw a flower with stem and leaves."""
    name, colour = pick_colour(rng, "red", "red", "pink", "yellow", "white", "purple", "blue")
    brush.line([(0, -0.2), (0.05, 0.98)], 0.08, (64, 138, 58), smooth=True)
    for side in (-1, 1):
        brush.ellipse(side * 0.24, 0.55, 0.26, 0.1, (74, 152, 64), tilt=side * -0.5)
    petals = int(rng.integers(6, 9))
    for k in range(petals):
        a = k * math.tau / petals
        brush.ellipse(0.33 * math.cos(a), -0.45 + 0.33 * math.sin(a), 0.25, 0.15, colour, tilt=a)
    brush.ellipse(0, -0.45, 0.19, 0.19, (244, 196, 50) if name != "yellow" else (120, 74, 30))
    return name


def tree(brush: Brush, rng: Generator) -> str:
    """Draw a leafy tree or a conifer."""
    green = jitter(rng, (56, 128, 56), 24)
    brush.rect(-0.13, 0.2, 0.13, 0.98, jitter(rng, (104, 72, 42)))
    if rng.random() < 0.35:
        for y, w in ((-0.95, 0.42), (-0.6, 0.58), (-0.2, 0.74)):
            brush.polygon([(0, y), (w, y + 0.62), (-w, y + 0.62)], green)
        return ""
    for x, y, r in ((-0.4, -0.1, 0.4), (0.4, -0.1, 0.4), (0, -0.5, 0.48), (0, 0.05, 0.4)):
        brush.ellipse(x, y, r, r, jitter(rng, green, 12), edge=False)
    return ""


def house(brush: Brush, rng: Generator) -> str:
    """Draw a house with roof, door and windows."""
    wall = pick_colour(rng, "white", "yellow", "orange", "pink", "grey", "blue")[1]
    brush.rect(0.35, -0.8, 0.58, -0.3, (130, 70, 60))
    brush.rect(-0.8, -0.2, 0.8, 0.95, wall)
    brush.polygon(
        [(-0.98, -0.15), (0, -0.95), (0.98, -0.15)], pick_colour(rng, "red", "brown", "grey")[1]
    )
    brush.rect(-0.16, 0.3, 0.18, 0.95, jitter(rng, (110, 70, 40)))
    for x in (-0.62, 0.36):
        brush.rect(x, 0.1, x + 0.28, 0.42, (150, 200, 230))
    return ""


def car(brush: Brush, rng: Generator) -> str:
    """Draw a car from the side."""
    name, colour = pick_colour(rng)
    brush.smooth([(-0.55, -0.1), (-0.35, -0.5), (0.25, -0.5), (0.55, -0.08), (0, 0.1)], colour)
    brush.polygon([(-0.4, -0.12), (-0.27, -0.4), (-0.02, -0.4), (-0.02, -0.12)], (180, 216, 236))
    brush.polygon([(0.05, -0.12), (0.05, -0.4), (0.22, -0.4), (0.42, -0.12)], (180, 216, 236))
    brush.rect(-0.98, -0.14, 0.98, 0.34, colour, round_by=0.16)
    for x in (-0.55, 0.55):
        brush.ellipse(x, 0.36, 0.24, 0.24, (30, 30, 34))
        brush.ellipse(x, 0.36, 0.11, 0.11, (180, 184, 190), edge=False)
    brush.ellipse(0.92, 0.04, 0.06, 0.08, (255, 240, 170), edge=False)
    return name


def boat(brush: Brush, rng: Generator) -> str:
    """Draw a sailing boat."""
    name, colour = pick_colour(rng, "red", "blue", "brown", "white", "green")
    brush.line([(0, -0.95), (0, 0.4)], 0.07, (110, 80, 50), caps=False)
    brush.polygon([(0.06, -0.92), (0.75, 0.25), (0.06, 0.25)], (248, 248, 244))
    brush.polygon(
        [(-0.06, -0.75), (-0.06, 0.25), (-0.55, 0.25)],
        pick_colour(rng, "white", "red", "yellow")[1],
    )
    brush.polygon([(-0.95, 0.38), (0.95, 0.38), (0.6, 0.88), (-0.6, 0.88)], colour)
    return name


def bicycle(brush: Brush, rng: Generator) -> str:
    """Draw a bicycle."""
    name, colour = pick_colour(rng, "red", "blue", "green", "black", "orange")
    for x in (-0.58, 0.58):
        for a in range(24):
            start, end = a * math.tau / 24, (a + 1) * math.tau / 24
            brush.line(
                [
                    (x + 0.4 * math.cos(start), 0.35 + 0.4 * math.sin(start)),
                    (x + 0.4 * math.cos(end), 0.35 + 0.4 * math.sin(end)),
                ],
                0.07,
                (30, 30, 34),
            )
    for path in (
        ((-0.58, 0.35), (-0.25, -0.25), (0.4, -0.25), (0.0, 0.35), (-0.58, 0.35)),
        ((-0.3, -0.42), (0.0, 0.35)),
        ((0.58, 0.35), (0.34, -0.5), (0.55, -0.58)),
    ):
        brush.line(path, 0.08, colour)
    brush.line([(-0.45, -0.44), (-0.18, -0.44)], 0.11, (40, 40, 44))
    return name


def fish(brush: Brush, rng: Generator) -> str:
    """Draw a fish."""
    name, colour = pick_colour(rng, "orange", "blue", "yellow", "grey", "green", "red")
    brush.polygon([(-0.5, 0), (-0.98, -0.42), (-0.85, 0), (-0.98, 0.42)], shade(colour, 0.8))
    brush.polygon([(-0.2, -0.35), (0.15, -0.68), (0.3, -0.3)], shade(colour, 0.8))
    brush.smooth(
        [(-0.62, 0), (-0.1, -0.42), (0.6, -0.34), (0.97, 0), (0.6, 0.34), (-0.1, 0.42)], colour
    )
    brush.ellipse(0.62, -0.1, 0.1, 0.1, (250, 250, 250))
    brush.ellipse(0.64, -0.1, 0.05, 0.05, (20, 20, 24), edge=False)
    brush.line([(0.35, -0.28), (0.28, 0), (0.35, 0.28)], 0.04, shade(colour, 0.65), smooth=True)
    return name


def cat(brush: Brush, rng: Generator) -> str:
    """Draw a cat's face."""
    name, colour = pick_colour(rng, "orange", "grey", "black", "white", "brown")
    for side in (-1, 1):
        brush.polygon([(side * 0.82, -0.95), (side * 0.78, -0.1), (side * 0.2, -0.55)], colour)
        brush.polygon(
            [(side * 0.72, -0.74), (side * 0.68, -0.3), (side * 0.38, -0.5)],
            (236, 160, 160),
            edge=False,
        )
    brush.ellipse(0, 0.12, 0.86, 0.74, colour)
    for side in (-1, 1):
        brush.ellipse(side * 0.36, 0.0, 0.17, 0.17, (150, 200, 90))
        brush.ellipse(side * 0.36, 0.0, 0.06, 0.15, (20, 20, 20), edge=False)
        for dy in (-0.08, 0.08):
            brush.line(
                [(side * 0.25, 0.38), (side * 0.98, 0.34 + dy * 2)],
                0.03,
                (240, 240, 240) if name == "black" else (50, 46, 44),
            )
    brush.polygon([(-0.1, 0.24), (0.1, 0.24), (0, 0.37)], (230, 130, 140))
    brush.line([(-0.2, 0.5), (0, 0.4), (0.2, 0.5)], 0.04, shade(colour, 0.5), smooth=True)
    return name


_PLANT = ("a plant",)
_VEHICLE = ("a vehicle",)
_ANIMAL = ("an animal",)

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "flower",
        ("a flower", "a flower with a stem"),
        flower,
        groups=_PLANT,
        turn=15,
        size=(0.38, 0.66),
    ),
    ObjectKind("tree", ("a tree",), tree, groups=_PLANT, turn=5, size=(0.42, 0.76)),
    ObjectKind("house", ("a house", "a building"), house, turn=3, size=(0.4, 0.7)),
    ObjectKind("car", ("a car", "an automobile"), car, groups=_VEHICLE, turn=8, size=(0.4, 0.7)),
    ObjectKind(
        "boat", ("a boat", "a sailing boat"), boat, groups=_VEHICLE, turn=10, size=(0.4, 0.68)
    ),
    ObjectKind(
        "bicycle", ("a bicycle", "a bike"), bicycle, groups=_VEHICLE, turn=8, size=(0.42, 0.7)
    ),
    ObjectKind("fish", ("a fish",), fish, groups=_ANIMAL, turn=20, size=(0.36, 0.62)),
    ObjectKind("cat", ("a cat", "a cat's face"), cat, groups=_ANIMAL, turn=15, size=(0.34, 0.6)),
)
