"""Food, furniture and small things of the house."""

from __future__ import annotations

import math

from numpy.random import Generator

from clipcal.demo.drawing import WOOD, Brush, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind


def ball(brush: Brush, rng: Generator) -> str:
    """Draw a striped ball."""
    name, colour = pick_colour(rng)
    brush.ellipse(0, 0, 0.95, 0.95, colour)
    stripe = pick_colour(rng, "white", "yellow", "blue")[1]
    brush.smooth(
        [(-0.9, -0.2), (0, -0.35), (0.9, -0.2), (0.92, 0.15), (0, 0.05), (-0.92, 0.15)],
        stripe,
        edge=False,
    )
    brush.ellipse(-0.35, -0.55, 0.2, 0.12, (255, 255, 255, 150), tilt=-0.6, edge=False)
    return name


def apple(brush: Brush, rng: Generator) -> str:
    """Draw an apple with stalk and leaf."""
    name, colour = pick_colour(rng, "red", "green", "yellow")
    brush.smooth(
        [
            (0, -0.5),
            (0.5, -0.68),
            (0.9, -0.25),
            (0.72, 0.6),
            (0.3, 0.92),
            (0, 0.82),
            (-0.3, 0.92),
            (-0.72, 0.6),
            (-0.9, -0.25),
            (-0.5, -0.68),
        ],
        colour,
    )
    brush.line([(0, -0.5), (0.08, -0.95)], 0.08, (94, 62, 34))
    brush.ellipse(0.34, -0.84, 0.26, 0.11, (70, 150, 60), tilt=-0.4)
    brush.ellipse(-0.42, -0.2, 0.14, 0.22, (255, 255, 255, 110), tilt=0.4, edge=False)
    return name


def banana(brush: Brush, rng: Generator) -> str:
    """Draw a banana."""
    yellow = jitter(rng, (246, 214, 64), 10)
    brush.smooth(
        [
            (-0.95, -0.35),
            (-0.5, 0.15),
            (0.1, 0.28),
            (0.7, 0.0),
            (0.95, -0.5),
            (0.98, -0.1),
            (0.7, 0.42),
            (0.1, 0.68),
            (-0.55, 0.5),
            (-0.98, -0.1),
        ],
        yellow,
    )
    brush.line([(0.94, -0.4), (0.98, -0.62)], 0.1, (110, 90, 40))
    brush.line(
        [(-0.85, 0.0), (-0.4, 0.36), (0.15, 0.46), (0.75, 0.15)],
        0.04,
        shade(yellow, 0.8),
        smooth=True,
    )
    return ""


def ice_cream(brush: Brush, rng: Generator) -> str:
    """Draw a cone with two scoops."""
    brush.polygon([(-0.42, 0.0), (0.42, 0.0), (0, 0.98)], jitter(rng, (216, 160, 90)))
    for x in (-0.2, 0.1):
        brush.line([(x, 0.05), (x + 0.14, 0.5)], 0.03, (166, 112, 56))
    for x, y in ((-0.24, -0.15), (0.24, -0.15), (0.0, -0.58)):
        brush.ellipse(x, y, 0.36, 0.36, pick_colour(rng, "pink", "white", "brown", "green")[1])
    return ""


def bread(brush: Brush, rng: Generator) -> str:
    """Draw a loaf of bread with cuts."""
    crust = jitter(rng, (196, 132, 64))
    brush.smooth(
        [
            (-0.95, 0.2),
            (-0.7, -0.35),
            (0, -0.48),
            (0.7, -0.35),
            (0.95, 0.2),
            (0.6, 0.5),
            (-0.6, 0.5),
        ],
        crust,
    )
    for x in (-0.45, -0.05, 0.35):
        brush.line([(x - 0.08, -0.2), (x + 0.12, 0.18)], 0.11, (240, 204, 146))
    return ""


def tomato(brush: Brush, rng: Generator) -> str:
    """Draw a red tomato with a green star on top."""
    red = jitter(rng, (220, 46, 34), 12)
    brush.ellipse(0, 0.1, 0.92, 0.8, red)
    for k in range(5):
        a = -math.pi / 2 + k * math.tau / 5
        brush.line(
            [(0, -0.52), (0.4 * math.cos(a), -0.52 + 0.25 * math.sin(a))], 0.13, (58, 132, 50)
        )
    brush.line([(0, -0.55), (0.04, -0.9)], 0.09, (58, 132, 50))
    brush.ellipse(-0.42, -0.1, 0.14, 0.22, (255, 255, 255, 110), tilt=0.5, edge=False)
    return ""


def egg(brush: Brush, rng: Generator) -> str:
    """Draw an egg in an egg cup."""
    shell = jitter(rng, [(240, 206, 168), (248, 244, 236)][int(rng.integers(2))], 8)
    brush.smooth(
        [(0, -0.98), (0.42, -0.6), (0.52, -0.1), (0, 0.35), (-0.52, -0.1), (-0.42, -0.6)], shell
    )
    cup = pick_colour(rng, "blue", "red", "green", "yellow")[1]
    brush.polygon([(-0.55, 0.0), (0.55, 0.0), (0.18, 0.55), (-0.18, 0.55)], cup)
    brush.polygon([(-0.12, 0.5), (0.12, 0.5), (0.42, 0.95), (-0.42, 0.95)], shade(cup, 0.85))
    return ""


def book(brush: Brush, rng: Generator) -> str:
    """Draw a closed book with a title, standing at a slight angle."""
    name, colour = pick_colour(rng)
    brush.polygon(
        [(-0.6, -0.9), (0.68, -0.9), (0.78, -0.8), (0.78, 0.95), (-0.5, 0.95), (-0.6, 0.85)],
        (240, 236, 220),
    )
    brush.rect(-0.66, -0.92, 0.66, 0.85, colour)
    brush.rect(-0.66, -0.92, -0.5, 0.85, shade(colour, 0.7))
    page = (248, 240, 200)
    brush.rect(-0.3, -0.6, 0.48, -0.44, page, edge=False)
    brush.rect(-0.2, -0.3, 0.38, -0.2, page, edge=False)
    return name


def chair(brush: Brush, rng: Generator) -> str:
    """Draw a wooden chair."""
    wood = jitter(rng, WOOD, 30)
    for x in (-0.5, 0.28):
        brush.line([(x, 0.1), (x, 0.95)], 0.12, shade(wood, 0.8), caps=False)
    brush.line([(-0.62, -0.95), (-0.62, 0.98)], 0.13, wood, caps=False)
    brush.line([(0.55, 0.2), (0.55, 0.98)], 0.13, wood, caps=False)
    brush.line([(0.1, -0.95), (0.1, 0.1)], 0.12, wood, caps=False)
    for y in (-0.85, -0.55, -0.25):
        brush.line([(-0.62, y), (0.1, y)], 0.12, wood, caps=False)
    brush.polygon(
        [(-0.7, 0.18), (-0.4, 0.0), (0.5, 0.0), (0.64, 0.18), (0.64, 0.3), (-0.7, 0.3)],
        shade(wood, 1.15),
    )
    return ""


def lamp(brush: Brush, rng: Generator) -> str:
    """Draw a table lamp with a shade."""
    name, colour = pick_colour(rng, "yellow", "red", "white", "green", "blue", "orange")
    brush.line([(0, -0.2), (0, 0.85)], 0.1, (96, 80, 60), caps=False)
    brush.ellipse(0, 0.86, 0.42, 0.12, (96, 80, 60))
    brush.polygon([(-0.34, -0.95), (0.34, -0.95), (0.72, -0.1), (-0.72, -0.1)], colour)
    brush.ellipse(0, -0.1, 0.72, 0.1, (255, 244, 190), edge=False)
    return name


def clock(brush: Brush, rng: Generator) -> str:
    """Draw a round clock face with two hands."""
    rim = pick_colour(rng, "red", "black", "blue", "brown", "green")[1]
    brush.ellipse(0, 0, 0.95, 0.95, rim)
    brush.ellipse(0, 0, 0.78, 0.78, (248, 246, 240))
    for k in range(12):
        a = k * math.tau / 12
        brush.ellipse(0.65 * math.cos(a), 0.65 * math.sin(a), 0.05, 0.05, (40, 40, 44), edge=False)
    for length, width in ((0.4, 0.09), (0.6, 0.06)):
        a = rng.uniform(0, math.tau)
        brush.line([(0, 0), (length * math.cos(a), length * math.sin(a))], width, (30, 30, 34))
    return ""


def key(brush: Brush, rng: Generator) -> str:
    """Draw a key with a round bow and teeth."""
    metal = jitter(rng, [(206, 170, 70), (170, 174, 182)][int(rng.integers(2))])
    brush.line([(-0.4, 0), (0.92, 0)], 0.14, metal, caps=False)
    for x, depth in ((0.55, 0.3), (0.72, 0.22), (0.87, 0.32)):
        brush.line([(x, 0), (x, depth)], 0.11, metal, caps=False)
    brush.ellipse(-0.62, 0, 0.38, 0.38, metal)
    brush.ellipse(-0.66, 0, 0.19, 0.19, (70, 66, 60))
    return ""


def phone(brush: Brush, rng: Generator) -> str:
    """Draw a smartphone with app icons."""
    brush.rect(-0.52, -0.98, 0.52, 0.98, jitter(rng, (34, 34, 40)), round_by=0.12)
    brush.rect(-0.44, -0.82, 0.44, 0.8, pick_colour(rng, "blue", "purple", "white", "green")[1])
    for x in (-0.28, 0.0, 0.28):
        for y in (-0.6, -0.3, 0.0, 0.3):
            brush.rect(
                x - 0.1, y - 0.1, x + 0.1, y + 0.1, pick_colour(rng)[1], round_by=0.04, edge=False
            )
    brush.ellipse(0, 0.89, 0.06, 0.05, (150, 150, 156), edge=False)
    return ""


_FRUIT = ("fruit", "food", "something to eat")
_FOOD = ("food", "something to eat")
_FURNITURE = ("furniture",)

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind("ball", ("a ball", "a toy ball"), ball, turn=35, size=(0.3, 0.52)),
    ObjectKind("apple", ("an apple",), apple, groups=_FRUIT, turn=15, size=(0.3, 0.54)),
    ObjectKind("banana", ("a banana",), banana, groups=_FRUIT, turn=35, size=(0.36, 0.62)),
    ObjectKind(
        "ice cream", ("an ice cream", "an ice cream cone"), ice_cream, groups=_FOOD, turn=12
    ),
    ObjectKind("bread", ("bread", "a loaf of bread"), bread, groups=_FOOD, turn=20),
    ObjectKind("tomato", ("a tomato",), tomato, groups=_FOOD, turn=20, size=(0.28, 0.52)),
    ObjectKind("egg", ("an egg", "a boiled egg"), egg, groups=_FOOD, turn=6),
    ObjectKind("book", ("a book", "a closed book"), book, turn=25),
    ObjectKind(
        "chair", ("a chair", "a wooden chair"), chair, groups=_FURNITURE, turn=5, size=(0.42, 0.72)
    ),
    ObjectKind(
        "lamp", ("a lamp", "a table lamp"), lamp, groups=_FURNITURE, turn=5, size=(0.38, 0.68)
    ),
    ObjectKind("clock", ("a clock", "a wall clock"), clock, turn=8, size=(0.32, 0.56)),
    ObjectKind("key", ("a key", "a door key"), key, turn=35, size=(0.36, 0.6)),
    ObjectKind("phone", ("a phone", "a smartphone", "a mobile phone"), phone, turn=30),
)
