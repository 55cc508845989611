"""Backgrounds that scenes play against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from clipcal.demo.drawing import Colour, jitter, pick_colour, shade

Background = Callable[[Generator, tuple[int, int]], Image.Image]


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    ramp = np.linspace(0.0, 1.0, 32)[:, None]
    rows = np.asarray(top[:3]) * (1 - ramp) + np.asarray(bottom[:3]) * ramp
    strip = Image.fromarray(rows[:, None, :].astype(np.uint8))
    return strip.resize(size, Image.Resampling.BILINEAR)


def _pale(rng: Generator, *names: str) -> Colour:
    """Return a muted colour, so that objects stand out against it."""
    _, colour = pick_colour(rng, *names)
    grey = rng.uniform(90, 235)
    mix = rng.uniform(0.45, 0.8)
    return (*(int(v * (1 - mix) + grey * mix) for v in colour),)


def room(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a wall, often papered or with a window, behind a table."""
    w, h = size
    wall = _pale(rng)
    image = _gradient(size, shade(wall, 1.08), wall)
    draw = ImageDraw.Draw(image)
    edge = int(h * rng.uniform(0.52, 0.72))
    if rng.random() < 0.4:
        step = int(w * rng.uniform(0.05, 0.12))
        for x in range(0, w, step):
            draw.line([(x, 0), (x, edge)], fill=shade(wall, 0.9), width=max(1, step // 6))
    if rng.random() < 0.4:
        x, y = int(w * rng.uniform(0.0, 0.75)), int(h * rng.uniform(0.04, 0.15))
        draw.rectangle(
            (x, y, x + w // 5, y + h // 3),
            fill=jitter(rng, (176, 208, 230), 20),
            outline=(236, 232, 224),
            width=max(2, w // 90),
        )
    table = jitter(
        rng,
        [(150, 108, 66), (190, 150, 104), (98, 70, 48), (204, 200, 194)][int(rng.integers(4))],
        16,
    )
    draw.rectangle((0, edge, w, h), fill=table)
    for _ in range(int(rng.integers(0, 6))):
        y = int(rng.uniform(edge, h))
        draw.line(
            [(0, y), (w, y + int(rng.integers(-4, 5)))],
            fill=shade(table, 0.9),
            width=max(1, h // 200),
        )
    draw.line([(0, edge), (w, edge)], fill=shade(table, 0.7), width=max(1, h // 100))
    return image


def meadow(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw sky over grass, with clouds or a hill."""
    w, h = size
    sky = jitter(rng, (140, 190, 234), 22)
    image = _gradient(size, sky, shade(sky, 1.15))
    draw = ImageDraw.Draw(image)
    edge = int(h * rng.uniform(0.45, 0.7))
    for _ in range(int(rng.integers(0, 4))):
        x, y, r = rng.uniform(0, w), rng.uniform(0, edge * 0.7), w * rng.uniform(0.03, 0.07)
        for dx in (-1.0, 0.0, 1.0):
            draw.ellipse(
                (x + dx * r - r, y - r * 0.6, x + dx * r + r, y + r * 0.6), fill=(246, 248, 250)
            )
    grass = jitter(rng, (104, 164, 78), 22)
    if rng.random() < 0.5:
        x = rng.uniform(0, w)
        draw.ellipse(
            (x - w * 0.5, edge - h * 0.12, x + w * 0.5, edge + h * 0.3), fill=shade(grass, 0.85)
        )
    draw.rectangle((0, edge, w, h), fill=grass)
    for _ in range(int(rng.integers(10, 40))):
        x, y = rng.uniform(0, w), rng.uniform(edge, h)
        draw.line(
            [(x, y), (x + rng.uniform(-3, 3), y - h * 0.02)],
            fill=shade(grass, 0.82),
            width=max(1, h // 180),
        )
    return image


def street(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a row of house fronts behind a road with a dashed line."""
    w, h = size
    sky = jitter(rng, (186, 202, 214), 18)
    image = _gradient(size, sky, shade(sky, 1.08))
    draw = ImageDraw.Draw(image)
    edge, x = int(h * rng.uniform(0.5, 0.66)), 0
    while x < w:
        width, top = int(w * rng.uniform(0.14, 0.3)), int(h * rng.uniform(0.05, 0.3))
        wall = _pale(rng, "red", "brown", "grey", "yellow", "orange")
        draw.rectangle((x, top, x + width, edge), fill=wall)
        for wx in range(x + width // 8, x + width - width // 6, max(6, width // 3)):
            for wy in range(top + h // 20, edge - h // 10, max(6, h // 7)):
                draw.rectangle((wx, wy, wx + width // 6, wy + h // 15), fill=shade(wall, 0.65))
        x += width
    road = jitter(rng, (112, 114, 118), 14)
    draw.rectangle((0, edge, w, h), fill=road)
    draw.rectangle((0, edge, w, edge + h // 24), fill=shade(road, 1.4))
    y = int((edge + h) / 2) + h // 30
    for dash in range(int(rng.integers(0, w // 8)) - w // 8, w, w // 5):
        draw.rectangle((dash, y, dash + w // 10, y + h // 60), fill=(232, 230, 220))
    return image


def beach(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw sky, sea and sand."""
    w, h = size
    sky = jitter(rng, (150, 206, 240), 18)
    image = _gradient(size, sky, shade(sky, 1.15))
    draw = ImageDraw.Draw(image)
    sea, sand = int(h * rng.uniform(0.3, 0.45)), int(h * rng.uniform(0.52, 0.68))
    draw.rectangle((0, sea, w, sand), fill=jitter(rng, (44, 130, 180), 20))
    colour = jitter(rng, (232, 212, 160), 14)
    wave = [(x, sand + h * 0.015 * math.sin(x / w * 25)) for x in range(0, w + 8, 8)]
    draw.polygon([*wave, (w, h), (0, h)], fill=colour)
    draw.line(wave, fill=(246, 250, 250), width=max(2, h // 60))
    for _ in range(40):
        x, y = rng.uniform(0, w), rng.uniform(sand + h * 0.04, h)
        draw.point((x, y), fill=shade(colour, 0.8))
    if rng.random() < 0.4:
        x, r = rng.uniform(0, w), h * 0.07
        draw.ellipse((x - r, h * 0.06, x + r, h * 0.06 + 2 * r), fill=(255, 236, 130))
    return image


def plain(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a smooth gradient between two muted colours."""
    return _gradient(size, _pale(rng), _pale(rng))


def texture(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw cloudy noise, tiles or stripes."""
    w, h = size
    base, style = _pale(rng), rng.random()
    if style < 0.45:
        cells = int(rng.integers(4, 24))
        noise = rng.normal(0, rng.uniform(8, 26), (cells, cells, 1))
        tones = np.clip(np.asarray(base) + noise, 0, 255).astype(np.uint8)
        return Image.fromarray(tones).resize(size, Image.Resampling.BICUBIC)
    image = Image.new("RGB", size, base)
    draw = ImageDraw.Draw(image)
    step = int(w * rng.uniform(0.06, 0.16))
    other = shade(base, rng.uniform(0.78, 0.92))
    for i in range(-h // step, (w + h) // step + 1):
        if style < 0.7:
            draw.polygon(
                [
                    (i * step, 0),
                    (i * step + step // 2, 0),
                    (i * step + step // 2 - h, h),
                    (i * step - h, h),
                ],
                fill=other,
            )
        else:
            for j in range(h // step + 1):
                if (i + j) % 2:
                    draw.rectangle((i * step, j * step, (i + 1) * step, (j + 1) * step), fill=other)
    return image


def night(rng: Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a dark sky with stars and a moon over dark ground."""
    w, h = size
    image = _gradient(size, jitter(rng, (24, 28, 62), 8), jitter(rng, (70, 72, 116), 12))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(15, 50))):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h * 0.7), w * rng.uniform(0.001, 0.004)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(240, 240, 220))
    if rng.random() < 0.6:
        x, y, r = rng.uniform(0, w), h * rng.uniform(0.08, 0.25), h * 0.07
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(244, 240, 210))
    draw.rectangle((0, int(h * rng.uniform(0.66, 0.8)), w, h), fill=jitter(rng, (54, 62, 66), 10))
    return image


BACKGROUNDS: Mapping[str, Background] = MappingProxyType(
    {
        "room": room,
        "meadow": meadow,
        "street": street,
        "beach": beach,
        "plain": plain,
        "texture": texture,
        "night": night,
    }
)
