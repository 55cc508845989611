"""Renders many scenes at the model's resolution, in parallel, and keeps them on disk."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from clipcal.demo.captions import facts
from clipcal.demo.scenes import OBJECTS, draw_scene
from clipcal.files import replacing

Pixels = NDArray[np.uint8]  # (side, side, 3) or (n, side, side, 3), RGB
Stated = dict[str, Any]  # what is known of a scene, as JSON

# Shapes that pictures come in, as multiples of the shorter side; the demo's own is 4:3.
_SHAPES = ((4 / 3, 1.0), (4 / 3, 1.0), (4 / 3, 1.0), (1.0, 1.0), (1.5, 1.0), (1.0, 4 / 3))
_NAMES = tuple(OBJECTS)
_FOLDER = Path(__file__).parent
_DRAWING = (
    "scenes.py",
    "drawing.py",
    "backgrounds.py",
    "objects/*.py",
    "captions.py",
    "rendering.py",
)
_CATEGORY_RATE = 0.17  # above the demo's own, so that sensitive objects are not learned last


@dataclass(frozen=True, slots=True)
class RenderedScene:
    """A scene at the model's resolution.

    Attributes
    ----------
    pixels
        The picture, (side, side, 3).
    facts
        What captions of it may state.
    places
        Name, centre (x, y) and radius of each object, as fractions of the side.
    """

    pixels: Pixels
    facts: frozenset[str]
    places: tuple[tuple[str, float, float, float], ...]


def fit_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to `side` (bicubic) and cut out the centre, as CLIP does."""
    scale = side / min(image.size)
    resized = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    return resized.crop((left, top, left + side, top + side))


def _through_jpeg(image: Image.Image, rng: Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(buffer).convert("RGB")


def _render_one(index: int, *, seed: int, side: int, single: bool) -> tuple[Pixels, Stated]:
    rng = np.random.default_rng([seed, index])
    short = side * rng.uniform(1.3, 2.0)
    wide, high = _SHAPES[int(rng.integers(len(_SHAPES)))]
    kinds = (_NAMES[int(rng.integers(len(_NAMES)))],) if single else None
    size = (round(short * wide), round(short * high))
    scene = draw_scene(rng, size=size, kinds=kinds, category_rate=_CATEGORY_RATE)
    square = fit_square(_through_jpeg(scene.image, rng), side)
    shorter = min(size)
    places = [
        (name, 0.5 + (x - size[0] / 2) / shorter, 0.5 + (y - size[1] / 2) / shorter, r / shorter)
        for name, (x, y, r) in zip(scene.objects, scene.places, strict=True)
    ]
    return np.asarray(square), {"facts": sorted(facts(scene)), "places": places}


def render_scenes(
    n: int, *, seed: int, side: int, folder: Path, workers: int, single: bool = False
) -> tuple[RenderedScene, ...]:
    """Render `n` scenes, or load them if `folder` has them from an earlier run.

    Parameters
    ----------
    n, seed
        Scene `i` is drawn from the generator seeded with ``[seed, i]``, so the result does not
        depend on `workers`.
    side
        Side of the square pictures in pixels.
    folder
        Where the rendered scenes are kept; the names of the files tell what was drawn and by
        which version of the drawing code.
    workers
        Number of processes.
    single
        Show one object of any kind in each scene.
    """
    name = f"{'single' if single else 'scenes'}-{seed}-{n}-{side}-{drawing_version()}"
    pixel_file, fact_file = folder / f"{name}.npy", folder / f"{name}.json"
    if not fact_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        render = partial(_render_one, seed=seed, side=side, single=single)
        _render_to(pixel_file, fact_file, n, side=side, render=render, workers=workers)
    stated = json.loads(fact_file.read_text(encoding="utf-8"))
    return tuple(
        RenderedScene(
            picture, frozenset(one["facts"]), tuple((n, x, y, r) for n, x, y, r in one["places"])
        )
        for picture, one in zip(np.load(pixel_file), stated, strict=True)
    )


def drawing_version() -> str:
    """Hash the code that decides what is drawn and what is known of it, as 12 digits."""
    digest = hashlib.sha256()
    for file in sorted(file for pattern in _DRAWING for file in _FOLDER.glob(pattern)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(_FOLDER).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _render_to(
    pixel_file: Path,
    fact_file: Path,
    n: int,
    *,
    side: int,
    render: Callable[[int], tuple[Pixels, Stated]],
    workers: int,
) -> None:
    stated: list[Stated] = []
    shape = (n, side, side, 3)
    # Spawned, not forked: the process that trains has threads already.
    context = multiprocessing.get_context("spawn")
    with replacing(pixel_file) as part, ProcessPoolExecutor(workers, mp_context=context) as pool:
        pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        for row, (picture, known) in enumerate(pool.map(render, range(n), chunksize=64)):
            pixels[row] = picture
            stated.append(known)
        pixels.flush()
    # The facts come last: their file says that the rendering is complete.
    with replacing(fact_file) as part:
        part.write_text(json.dumps(stated), encoding="utf-8")
