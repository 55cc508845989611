"""Drawing primitives: a brush in an object's own coordinates, and named colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import ImageDraw

Colour = tuple[int, ...]  # red, green, blue and optionally alpha, 0..255
Point = tuple[float, float]

PALETTE: dict[str, Colour] = {
    "red": (204, 36, 40),
    "orange": (238, 130, 30),
    "yellow": (242, 208, 50),
    "green": (58, 146, 70),
    "blue": (48, 96, 196),
    "purple": (126, 62, 158),
    "pink": (240, 140, 178),
    "brown": (122, 78, 44),
    "black": (34, 34, 38),
    "white": (242, 242, 240),
    "grey": (132, 134, 140),
}
STEEL: Colour = (196, 202, 210)
WOOD: Colour = (150, 104, 60)
SKIN: tuple[Colour, ...] = ((244, 206, 176), (226, 178, 142), (188, 134, 96), (134, 88, 60))


def jitter(rng: Generator, colour: Colour, spread: int = 14) -> Colour:
    """Return `colour` with each of red, green and blue moved by at most `spread`."""
    moved = np.asarray(colour[:3]) + rng.integers(-spread, spread + 1, 3)
    return (*(int(v) for v in np.clip(moved, 0, 255)), *colour[3:])


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` darkened (``factor < 1``) or lightened (``factor > 1``)."""
    return (*(min(255, int(v * factor)) for v in colour[:3]), *colour[3:])


def pick_colour(rng: Generator, *names: str) -> tuple[str, Colour]:
    """Draw one of the named colours (any colour if no name is given), slightly varied."""
    choices = names or tuple(PALETTE)
    name = choices[int(rng.integers(len(choices)))]
    return name, jitter(rng, PALETTE[name])


def curve(points: Sequence[Point], *, closed: bool, steps: int = 6) -> list[Point]:
    """Return a Catmull-Rom curve through `points`."""
    n = len(points)
    ring = np.asarray(points, dtype=float)
    fractions = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for i in range(n if closed else n - 1):
        index = [i - 1, i, i + 1, i + 2]
        index = [j % n for j in index] if closed else [min(max(j, 0), n - 1) for j in index]
        a, b, c, d = ring[index]
        pieces.append(
            b
            + 0.5 * (c - a) * fractions
            + (a - 2.5 * b + 2 * c - 0.5 * d) * fractions**2
            + (1.5 * (b - c) + 0.5 * (d - a)) * fractions**3
        )
    result = [(float(x), float(y)) for x, y in np.concatenate(pieces)]
    return result if closed else [*result, points[-1]]


@dataclass(frozen=True, slots=True)
class Brush:
    """Draws in an object's coordinates: the object fills ``[-1, 1]`` squared, y points down.

    Attributes
    ----------
    draw
        The picture to draw on, opened in RGBA mode so that translucent fills blend.
    centre, radius
        Where the object's origin lies and how long its unit is, in pixels.
    angle
        Rotation in radians, clockwise on the picture.
    stretch
        Horizontal and vertical factor; a negative horizontal factor mirrors the object.
    edge
        Outline colour, or None for shapes without outline.
    """

    draw: ImageDraw.ImageDraw
    centre: Point
    radius: float
    angle: float = 0.0
    stretch: Point = (1.0, 1.0)
    edge: Colour | None = None

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        cos, sin = math.cos(self.angle) * self.radius, math.sin(self.angle) * self.radius
        (cx, cy), (sx, sy) = self.centre, self.stretch
        return [
            (cx + x * sx * cos - y * sy * sin, cy + x * sx * sin + y * sy * cos) for x, y in points
        ]

    def polygon(self, points: Sequence[Point], fill: Colour, *, edge: bool = True) -> None:
        """Fill a polygon, outlined if the brush has an edge colour."""
        pixels = self._pixels(points)
        self.draw.polygon(pixels, fill=fill)
        if edge and self.edge is not None:
            width = max(1, round(self.radius * 0.025))
            self.draw.line([*pixels, pixels[0]], fill=self.edge, width=width)

    def smooth(self, points: Sequence[Point], fill: Colour, *, edge: bool = True) -> None:
        """Fill the closed smooth shape through `points`."""
        self.polygon(curve(points, closed=True), fill, edge=edge)

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Colour,
        *,
        tilt: float = 0.0,
        edge: bool = True,
    ) -> None:
        """Fill an ellipse around (x, y), turned by `tilt` radians."""
        cos, sin = math.cos(tilt), math.sin(tilt)
        around = [(rx * math.cos(a), ry * math.sin(a)) for a in np.linspace(0, math.tau, 29)[:-1]]
        self.polygon(
            [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in around], fill, edge=edge
        )

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour,
        *,
        round_by: float = 0.0,
        edge: bool = True,
    ) -> None:
        """Fill a rectangle whose corners are rounded with radius `round_by`."""
        if not round_by:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, edge=edge)
            return
        r = min(round_by, (x1 - x0) / 2, (y1 - y0) / 2)
        corners = (
            (x1 - r, y0 + r, -90),
            (x1 - r, y1 - r, 0),
            (x0 + r, y1 - r, 90),
            (x0 + r, y0 + r, 180),
        )
        turns = [
            (x, y, math.radians(start + step))
            for x, y, start in corners
            for step in (0, 30, 60, 90)
        ]
        outline = [(x + r * math.cos(a), y + r * math.sin(a)) for x, y, a in turns]
        self.polygon(outline, fill, edge=edge)

    def line(
        self,
        points: Sequence[Point],
        width: float,
        fill: Colour,
        *,
        smooth: bool = False,
        caps: bool = True,
        edge: bool = True,
    ) -> None:
        """Draw a stroke of `width` (object units) through `points`, with round ends."""
        pixels = self._pixels(curve(points, closed=False) if smooth else points)
        thick = max(1.0, width * self.radius)
        if edge and self.edge is not None and width > 0.1:
            self._stroke(pixels, thick + max(2.0, self.radius * 0.05), self.edge, caps)
        self._stroke(pixels, thick, fill, caps)

    def _stroke(self, pixels: Sequence[Point], thick: float, fill: Colour, caps: bool) -> None:
        self.draw.line(list(pixels), fill=fill, width=round(thick), joint="curve")
        if caps:
            r = thick / 2
            for x, y in (pixels[0], pixels[-1]):
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
