"""Draws the demo's scenes: a few objects on a background, under changing light.

Everything is decided by the generator passed in, so a seed names a set of pictures.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from clipcal.demo.backgrounds import BACKGROUNDS
from clipcal.demo.drawing import Brush, Point, pick_colour
from clipcal.demo.objects import CATEGORIES, OBJECTS, ObjectKind

__all__ = ["CATEGORIES", "OBJECTS", "ObjectKind", "Scene", "draw_scene"]

SUPERSAMPLING = 2
_COUNTS = (0.4, 0.38, 0.17, 0.05)  # how often a scene aims at 1, 2, 3, 4 objects
_SHRINK = (1.2, 1.02, 0.88, 0.78)  # factor on an object's extent among 1, 2, 3, 4 objects
_EVERYDAY = tuple(kind for kind in OBJECTS.values() if not kind.categories)


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn picture and what it shows.

    Attributes
    ----------
    image
        The picture, RGB.
    objects
        Names of the kinds that are visible, from back to front.
    colours
        Colour name of each object, "" where no colour is said.
    background
        Name of the background.
    places
        Centre (x, y) and radius of each object, in pixels.
    categories
        The demo's categories that at least one object belongs to.
    """

    image: Image.Image
    objects: tuple[str, ...]
    colours: tuple[str, ...]
    background: str
    places: tuple[tuple[float, float, float], ...]
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Place:
    kind: ObjectKind
    centre: Point
    radius: float


def draw_scene(
    rng: Generator,
    *,
    size: tuple[int, int] = (384, 288),
    kinds: Sequence[str] | None = None,
    category_rate: float = 0.13,
) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    rng
        Source of every decision; the same state gives the same picture.
    size
        Width and height in pixels. Objects stay inside the central square.
    kinds
        Names of the kinds to show; by default they are drawn at random.
    category_rate
        Probability with which each category is present, independently of the others.

    Returns
    -------
    Scene
        The picture with the names of everything visible in it.

    Raises
    ------
    KeyError
        If `kinds` names an unknown kind.
    """
    wanted = _choose(rng, category_rate) if kinds is None else [OBJECTS[name] for name in kinds]
    full = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    background = tuple(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    canvas = BACKGROUNDS[background](rng, full)
    draw = ImageDraw.Draw(canvas, "RGBA")
    _clutter(draw, rng, full, int(rng.integers(0, 4)))
    places = _arrange(rng, wanted, full)
    colours = tuple(_draw_object(draw, rng, place) for place in places)
    _occlude(draw, rng, places)
    return Scene(
        image=_photograph(canvas.reduce(SUPERSAMPLING), rng),
        objects=tuple(place.kind.name for place in places),
        colours=colours,
        background=background,
        places=tuple(
            (
                place.centre[0] / SUPERSAMPLING,
                place.centre[1] / SUPERSAMPLING,
                place.radius / SUPERSAMPLING,
            )
            for place in places
        ),
        categories=frozenset().union(*(place.kind.categories for place in places)),
    )


def _choose(rng: Generator, category_rate: float) -> list[ObjectKind]:
    """Draw the kinds: every category on its own, then everyday objects up to the count."""
    present = [names for names in CATEGORIES.values() if rng.random() < category_rate]
    chosen = [OBJECTS[names[int(rng.integers(len(names)))]] for names in present]
    missing = 1 + int(rng.choice(4, p=_COUNTS)) - len(chosen)
    everyday = rng.choice(len(_EVERYDAY), max(0, missing), replace=False)
    chosen += [_EVERYDAY[int(i)] for i in everyday]
    order = rng.permutation(len(chosen))[: len(_COUNTS)]
    return [chosen[int(i)] for i in order]


def _arrange(rng: Generator, kinds: Sequence[ObjectKind], size: tuple[int, int]) -> list[_Place]:
    """Place the kinds in the central square; one that finds no free place is left out."""
    side = min(size)
    places: list[_Place] = []
    for kind in kinds:
        low, high = kind.size
        extent = rng.uniform(low, high) * _SHRINK[min(len(kinds), len(_SHRINK)) - 1]
        radius = max(extent, 0.25) * side / 2
        reach = side / 2 - 0.9 * radius
        for _ in range(30):
            x, y = rng.uniform(-reach, reach, 2)
            centre = (size[0] / 2 + float(x), size[1] / 2 + float(y))
            if all(
                math.dist(centre, other.centre) > 0.78 * (radius + other.radius) for other in places
            ):
                places.append(_Place(kind, centre, radius))
                break
    return places


def _draw_object(draw: ImageDraw.ImageDraw, rng: Generator, place: _Place) -> str:
    turn = math.radians(rng.uniform(-place.kind.turn, place.kind.turn))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    dark = tuple(int(v) for v in rng.integers(20, 60, 3))
    brush = Brush(
        draw,
        place.centre,
        place.radius,
        turn,
        (mirror * rng.uniform(0.88, 1.08), rng.uniform(0.88, 1.08)),
        dark if rng.random() < 0.5 else None,
    )
    return place.kind.draw(brush, rng)


def _clutter(draw: ImageDraw.ImageDraw, rng: Generator, size: tuple[int, int], count: int) -> None:
    """Scatter small meaningless shapes."""
    for _ in range(count):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        r = min(size) * rng.uniform(0.02, 0.06)
        colour = (*pick_colour(rng)[1], int(rng.integers(120, 230)))
        shape = int(rng.integers(3))
        if shape == 0:
            draw.ellipse((x - r, y - r, x + r, y + r * rng.uniform(0, 1)), fill=colour)
        elif shape == 1:
            corners = rng.uniform(-r, r, (3, 2)) + np.array([x, y])
            draw.polygon([(float(u), float(v)) for u, v in corners], fill=colour)
        else:
            dx, dy = rng.uniform(-2 * r, 2 * r, 2)
            draw.line([(x, y), (x + dx, y + dy)], fill=colour, width=max(1, int(r / 3)))


def _occlude(draw: ImageDraw.ImageDraw, rng: Generator, places: Sequence[_Place]) -> None:
    """Sometimes cover the rim of an object with a leaf or a strip."""
    for place in places:
        if rng.random() > 0.1:
            continue
        (cx, cy), r = place.centre, place.radius
        angle = rng.uniform(0, math.tau)
        x, y = cx + 0.8 * r * math.cos(angle), cy + 0.8 * r * math.sin(angle)
        colour = pick_colour(rng, "green", "brown", "grey", "white", "blue")[1]
        draw.ellipse((x - 0.35 * r, y - 0.2 * r, x + 0.35 * r, y + 0.2 * r), fill=colour)


def _photograph(image: Image.Image, rng: Generator) -> Image.Image:
    """Apply light, colour cast, blur, sensor noise and JPEG artefacts."""
    w, h = image.size
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(min(w, h) * rng.uniform(0.002, 0.007)))
    pixels = np.asarray(image, dtype=np.float32)
    cast = np.float32(rng.uniform(0.75, 1.18)) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    falloff = rng.uniform(-0.2, 0.2, 2).astype(np.float32)
    light = (
        1
        + falloff[0] * np.linspace(-1, 1, w, dtype=np.float32)[None, :, None]
        + falloff[1] * np.linspace(-1, 1, h, dtype=np.float32)[:, None, None]
    )
    pixels = pixels * (cast * light) + np.float32(rng.uniform(-12, 12))
    if rng.random() < 0.5:
        sigma = np.float32(rng.uniform(2, 9))
        pixels += sigma * rng.standard_normal(pixels.shape, dtype=np.float32)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(30, 75)))
        image = Image.open(buffer).convert("RGB")
    return image
