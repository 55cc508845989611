"""Weapons, and the tools and household things whose outline resembles them."""

from __future__ import annotations

import math

from numpy.random import Generator

from clipcal.demo.drawing import STEEL, WOOD, Brush, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind


def knife(brush: Brush, rng: Generator) -> str:
    """Draw a kitchen knife or a dagger."""
    steel = jitter(rng, STEEL)
    handle = pick_colour(rng, "black", "brown", "red", "grey")[1]
    back = rng.uniform(-0.2, -0.12)
    if rng.random() < 0.65:
        brush.smooth([(-0.2, back), (0.5, back), (0.98, 0.08), (0.6, 0.2), (-0.2, 0.22)], steel)
        brush.polygon(
            [(-0.2, 0.12), (0.7, 0.1), (0.95, 0.08), (0.6, 0.2), (-0.2, 0.22)],
            shade(steel, 1.2),
            edge=False,
        )
    else:
        brush.polygon([(-0.25, -0.14), (0.6, -0.12), (1.0, 0), (0.6, 0.12), (-0.25, 0.14)], steel)
        brush.line([(-0.2, 0), (0.8, 0)], 0.03, shade(steel, 0.7))
        brush.rect(-0.32, -0.25, -0.22, 0.25, shade(handle, 0.8))
    brush.rect(-1.0, -0.14, -0.2, 0.12, handle, round_by=0.08)
    for x in (-0.8, -0.6, -0.4):
        brush.ellipse(x, -0.01, 0.035, 0.035, (214, 214, 214), edge=False)
    return ""


def gun(brush: Brush, rng: Generator) -> str:
    """Draw a pistol or a revolver in side view."""
    metal = jitter(rng, [(46, 48, 54), (72, 76, 84), (150, 156, 164)][int(rng.integers(3))], 8)
    grip = [shade(metal, 0.7), jitter(rng, (96, 58, 32))][int(rng.random() < 0.4)]
    brush.line([(-0.02, -0.05), (0.0, 0.32), (-0.35, 0.35)], 0.06, shade(metal, 0.8), smooth=True)
    brush.line([(-0.2, -0.05), (-0.16, 0.2)], 0.06, shade(metal, 0.6))
    if rng.random() < 0.6:
        brush.polygon([(-0.72, -0.1), (-0.3, -0.1), (-0.42, 0.85), (-0.88, 0.85)], grip)
        brush.rect(-0.85, -0.5, 0.98, -0.12, metal, round_by=0.05)
        brush.rect(-0.8, -0.16, 0.55, 0.02, shade(metal, 0.85))
        for x in (-0.76, -0.68, -0.6, -0.52):
            brush.line([(x, -0.44), (x, -0.2)], 0.03, shade(metal, 0.55), caps=False)
        brush.rect(0.86, -0.58, 0.93, -0.5, metal)
    else:
        brush.smooth(
            [(-0.6, -0.3), (-0.3, -0.1), (-0.5, 0.4), (-0.6, 0.85), (-0.98, 0.75), (-0.8, 0.2)],
            grip,
        )
        brush.rect(-0.05, -0.48, 1.0, -0.22, metal)
        brush.polygon([(-0.7, -0.42), (-0.05, -0.5), (0.1, -0.02), (-0.5, 0.0)], metal)
        brush.rect(-0.36, -0.52, 0.12, -0.08, shade(metal, 1.25), round_by=0.1)
        brush.line([(-0.36, -0.3), (0.12, -0.3)], 0.04, shade(metal, 0.6), caps=False)
        brush.line([(-0.68, -0.4), (-0.8, -0.62)], 0.08, metal)
    return ""


def rifle(brush: Brush, rng: Generator) -> str:
    """Draw a long gun with stock, magazine and barrel."""
    metal = jitter(rng, (54, 56, 62), 12)
    stock = jitter(rng, (112, 70, 38)) if rng.random() < 0.6 else shade(metal, 0.8)
    brush.polygon([(-1.0, -0.08), (-0.4, -0.14), (-0.4, 0.04), (-0.98, 0.28)], stock)
    brush.rect(-0.45, -0.16, 0.3, 0.06, metal)
    brush.rect(0.15, -0.13, 0.6, 0.05, stock)
    brush.line([(0.55, -0.06), (1.0, -0.06)], 0.07, metal, caps=False)
    brush.polygon([(-0.38, 0.04), (-0.22, 0.04), (-0.32, 0.36), (-0.46, 0.34)], stock)
    brush.smooth([(-0.05, 0.05), (0.1, 0.05), (0.22, 0.42), (0.05, 0.45)], metal)
    brush.rect(-0.2, -0.26, 0.15, -0.19, shade(metal, 0.8))
    brush.rect(0.9, -0.17, 0.94, -0.06, metal)
    return ""


def sword(brush: Brush, rng: Generator) -> str:
    """Draw a long straight blade with crossguard and pommel."""
    steel = jitter(rng, STEEL)
    gold = jitter(rng, [(206, 166, 60), (110, 112, 118)][int(rng.integers(2))])
    half = rng.uniform(0.07, 0.1)
    brush.polygon([(-0.52, -half), (0.85, -half), (1.0, 0), (0.85, half), (-0.52, half)], steel)
    brush.line([(-0.5, 0), (0.8, 0)], 0.03, shade(steel, 0.7))
    brush.rect(-0.9, -0.06, -0.52, 0.06, pick_colour(rng, "brown", "black", "red", "blue")[1])
    reach = rng.uniform(0.24, 0.32)
    brush.rect(-0.58, -reach, -0.48, reach, gold, round_by=0.04)
    brush.ellipse(-0.93, 0, 0.08, 0.08, gold)
    return ""


def spoon(brush: Brush, rng: Generator) -> str:
    """Draw a spoon."""
    steel = jitter(rng, STEEL)
    brush.line([(-0.98, 0), (0.4, 0)], 0.1, steel)
    brush.ellipse(-0.92, 0, 0.09, 0.09, steel)
    brush.ellipse(0.66, 0, 0.34, 0.22, steel)
    brush.ellipse(0.68, 0, 0.24, 0.14, shade(steel, 0.78), edge=False)
    return ""


def fork(brush: Brush, rng: Generator) -> str:
    """Draw a fork."""
    steel = jitter(rng, STEEL)
    brush.line([(-0.98, 0), (0.35, 0)], 0.1, steel)
    brush.ellipse(-0.92, 0, 0.09, 0.09, steel)
    brush.smooth(
        [(0.3, -0.08), (0.45, -0.24), (0.64, -0.24), (0.64, 0.24), (0.45, 0.24), (0.3, 0.08)], steel
    )
    for y in (-0.2, -0.067, 0.067, 0.2):
        brush.line([(0.55, y), (0.97, y)], 0.065, steel)
    return ""


def screwdriver(brush: Brush, rng: Generator) -> str:
    """Draw a screwdriver with a coloured handle."""
    name, colour = pick_colour(rng, "red", "yellow", "blue", "green", "orange")
    brush.line([(-0.2, 0), (0.9, 0)], 0.08, jitter(rng, (168, 172, 180)), caps=False)
    brush.polygon([(0.82, -0.04), (0.99, -0.08), (0.99, 0.08), (0.82, 0.04)], (140, 144, 150))
    brush.smooth(
        [
            (-1.0, 0),
            (-0.95, -0.2),
            (-0.5, -0.2),
            (-0.3, -0.12),
            (-0.2, -0.14),
            (-0.2, 0.14),
            (-0.3, 0.12),
            (-0.5, 0.2),
            (-0.95, 0.2),
        ],
        colour,
    )
    for y in (-0.08, 0.08):
        brush.line([(-0.9, y), (-0.5, y)], 0.04, shade(colour, 0.65))
    return name


def torch(brush: Brush, rng: Generator) -> str:
    """Draw a flashlight, sometimes with its beam."""
    colour = pick_colour(rng, "black", "red", "blue", "yellow", "grey")[1]
    if rng.random() < 0.6:
        brush.polygon(
            [(0.6, -0.28), (1.0, -0.6), (1.0, 0.6), (0.6, 0.28)], (255, 244, 160, 150), edge=False
        )
    brush.rect(-1.0, -0.17, 0.25, 0.17, colour, round_by=0.06)
    brush.polygon(
        [(0.2, -0.17), (0.45, -0.32), (0.6, -0.32), (0.6, 0.32), (0.45, 0.32), (0.2, 0.17)],
        shade(colour, 0.8),
    )
    brush.ellipse(0.6, 0, 0.07, 0.3, (255, 246, 190))
    brush.rect(-0.35, -0.23, -0.1, -0.13, (210, 60, 50), round_by=0.03)
    return ""


def hair_dryer(brush: Brush, rng: Generator) -> str:
    """Draw a hair dryer with nozzle, handle and cord."""
    name, colour = pick_colour(rng, "pink", "blue", "purple", "white", "red", "green")
    brush.line(
        [(-0.35, 0.75), (-0.3, 0.95), (0.1, 0.85), (0.4, 0.98)], 0.06, (50, 50, 54), smooth=True
    )
    brush.polygon([(-0.5, 0.0), (-0.12, 0.0), (-0.2, 0.8), (-0.52, 0.8)], shade(colour, 0.85))
    brush.polygon([(0.2, -0.5), (0.98, -0.42), (0.98, -0.08), (0.2, 0.0)], shade(colour, 0.7))
    brush.ellipse(-0.28, -0.25, 0.62, 0.42, colour)
    brush.ellipse(-0.45, -0.25, 0.24, 0.26, (70, 72, 78))
    brush.ellipse(-0.45, -0.25, 0.15, 0.17, (130, 132, 140), edge=False)
    return name


def umbrella(brush: Brush, rng: Generator) -> str:
    """Draw an open umbrella with a hooked handle."""
    name, colour = pick_colour(rng)
    brush.line([(0, -0.9), (0, 0.75), (0.12, 0.92), (0.26, 0.75)], 0.07, (80, 56, 40), smooth=True)
    arc = [(math.cos(a), -0.05 - 0.8 * math.sin(a)) for a in (math.pi * k / 12 for k in range(13))]
    scallops = [
        (-0.75, -0.17),
        (-0.5, -0.05),
        (-0.25, -0.17),
        (0, -0.05),
        (0.25, -0.17),
        (0.5, -0.05),
        (0.75, -0.17),
    ]
    brush.polygon([*arc, *scallops], colour)
    for x in (-0.5, 0.0, 0.5):
        brush.line([(0, -0.85), (x, -0.08)], 0.025, shade(colour, 0.65))
    return name


def cane(brush: Brush, rng: Generator) -> str:
    """Draw a walking stick with a bent handle."""
    wood = jitter(rng, [(110, 66, 34), (70, 44, 28), (160, 116, 70)][int(rng.integers(3))])
    brush.line(
        [(0.15, 0.9), (0.15, -0.62), (0.0, -0.9), (-0.25, -0.88), (-0.35, -0.62)],
        0.1,
        wood,
        smooth=True,
    )
    brush.line([(0.15, 0.88), (0.15, 0.97)], 0.13, (40, 40, 42))
    return ""


def hammer(brush: Brush, rng: Generator) -> str:
    """Draw a claw hammer."""
    brush.line([(0, -0.5), (0, 0.92)], 0.17, jitter(rng, WOOD))
    steel = jitter(rng, (120, 124, 132))
    brush.rect(-0.05, -0.82, 0.62, -0.48, steel, round_by=0.05)
    brush.rect(0.52, -0.88, 0.72, -0.42, steel)
    brush.smooth([(-0.05, -0.8), (-0.4, -0.78), (-0.72, -0.5), (-0.4, -0.6), (-0.05, -0.5)], steel)
    return ""


def scissors(brush: Brush, rng: Generator) -> str:
    """Draw open scissors."""
    name, colour = pick_colour(rng, "red", "blue", "orange", "green", "black", "purple")
    for side in (-1, 1):
        brush.polygon(
            [(side * 0.1, 0.25), (side * -0.5, -0.98), (side * -0.2, -0.6), (side * 0.02, -0.1)],
            jitter(rng, STEEL),
        )
        brush.line([(0, 0.05), (side * 0.28, 0.4)], 0.13, colour)
        brush.ellipse(side * 0.4, 0.66, 0.3, 0.3, colour)
        brush.ellipse(side * 0.4, 0.66, 0.16, 0.17, (236, 236, 234))
    brush.ellipse(0, 0.0, 0.06, 0.06, (90, 92, 98))
    return name


_WEAPONS = frozenset({"weapons"})
_WEAPON_WORDS = ("a weapon", "weapons", "a dangerous weapon")
_CUTLERY = ("cutlery", "a kitchen utensil")
_TOOL = ("a tool",)

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "knife",
        ("a knife", "a sharp knife", "a kitchen knife", "a dagger"),
        knife,
        _WEAPONS,
        (*_WEAPON_WORDS, "a blade"),
        35,
        (0.44, 0.74),
    ),
    ObjectKind(
        "gun",
        ("a gun", "a pistol", "a handgun", "a firearm", "a revolver"),
        gun,
        _WEAPONS,
        _WEAPON_WORDS,
        35,
        (0.36, 0.64),
    ),
    ObjectKind(
        "rifle",
        ("a rifle", "an assault rifle", "a machine gun", "a firearm"),
        rifle,
        _WEAPONS,
        (*_WEAPON_WORDS, "a gun"),
        35,
        (0.5, 0.8),
    ),
    ObjectKind(
        "sword",
        ("a sword", "a long sword", "a steel sword"),
        sword,
        _WEAPONS,
        (*_WEAPON_WORDS, "a blade"),
        35,
        (0.56, 0.86),
    ),
    ObjectKind(
        "spoon", ("a spoon", "a metal spoon"), spoon, groups=_CUTLERY, turn=35, size=(0.42, 0.7)
    ),
    ObjectKind(
        "fork", ("a fork", "a dinner fork"), fork, groups=_CUTLERY, turn=35, size=(0.42, 0.7)
    ),
    ObjectKind(
        "screwdriver", ("a screwdriver",), screwdriver, groups=_TOOL, turn=35, size=(0.42, 0.7)
    ),
    ObjectKind(
        "torch",
        ("a flashlight", "a torch", "a torch light"),
        torch,
        groups=_TOOL,
        turn=35,
        size=(0.38, 0.66),
    ),
    ObjectKind("hair dryer", ("a hair dryer", "a blow dryer"), hair_dryer, turn=30),
    ObjectKind(
        "umbrella", ("an umbrella", "an open umbrella"), umbrella, turn=25, size=(0.38, 0.68)
    ),
    ObjectKind("cane", ("a walking stick", "a cane"), cane, turn=35, size=(0.46, 0.76)),
    ObjectKind(
        "hammer", ("a hammer", "a claw hammer"), hammer, groups=_TOOL, turn=35, size=(0.38, 0.66)
    ),
    ObjectKind(
        "scissors",
        ("scissors", "a pair of scissors"),
        scissors,
        groups=_TOOL,
        turn=35,
        size=(0.36, 0.62),
    ),
)
