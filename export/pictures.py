"""The pictures that an export is measured on: the user's own, or drawn ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from clipcal.errors import ImageError
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import Pixels, open_rgb, to_pixels

# Enough to show that no more than 0.1% of decisions flip (3,688); each passes torch, which is slow.
MOST_PICTURES = 4_000
MOST_FOR_RANGES = 128
FEW_FOR_RANGES = 16  # with fewer, drawn pictures fill up
DRAWN_FOR_RANGES = 64
DRAWN_TO_MEASURE = 28
_SIZES = ((320, 240), (200, 300), (97, 64), (256, 256))  # width, height
_RANGES_SEED = 1

Picture = Path | Image.Image
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures by what they serve for; no picture serves for both.

    Attributes
    ----------
    measured : tuple
        Those that parity and decisions are measured on.
    ranges : tuple
        Those that the ranges of activations come from; empty where nothing is quantised.
    described, ranges_described : str
        Both in words.
    """

    measured: tuple[Picture, ...]
    ranges: tuple[Picture, ...]
    described: str
    ranges_described: str

    @property
    def files(self) -> tuple[Path, ...]:
        """Those to measure on that are the user's own."""
        return tuple(each for each in self.measured if isinstance(each, Path))


def choose_pictures(images: Sequence[Path], *, ranges: bool, say: Say) -> Pictures:
    """Deal pictures into those to measure on and those to take ranges of activations from.

    Parameters
    ----------
    images : sequence of pathlib.Path
        The user's; what cannot be read is named and left out, and what is there twice, by its
        bytes, counts once. Of more than 4,000 so many serve, evenly spread over the list.
    ranges : bool
        Whether something is to be quantised. Then up to 128 pictures, evenly spread over the
        list, serve for that, but no more than half of them.
    say : callable
        Told what is left out and what would be better, a line each.

    Returns
    -------
    Pictures
        Drawn ones stand in where there are none.

    Raises
    ------
    ImageError
        If there are pictures and none of them can be read.
    """
    readable = _readable(images, say)
    if not ranges:
        return _without_ranges(readable)
    if not readable:
        say(
            "The ranges of activations are measured on drawn pictures. Pictures like yours are "
            "better: --verify photos/"
        )
        drawn = tuple(draw_pictures(DRAWN_FOR_RANGES, _RANGES_SEED))
        measured = tuple(draw_pictures(DRAWN_TO_MEASURE))
        return Pictures(measured, drawn, _words(measured, ()), _words((), drawn))
    return _split(readable, say)


def draw_pictures(count: int = len(_SIZES), seed: int = 0) -> list[Image.Image]:
    """Draw pictures with edges, gradients, textures and noise, in several aspect ratios.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of their variety.

    Returns
    -------
    list of PIL.Image.Image
        RGB pictures; always the same for a seed, the first ones whatever the count.
    """
    rng = np.random.default_rng(seed)
    kinds = (_waves, _shapes, _clouds)
    return [
        _exposed(rng, kinds[number % len(kinds)](rng, *_SIZES[number % len(_SIZES)]))
        for number in range(count)
    ]


def pixels_of(pictures: Sequence[Picture], preprocessing: Preprocessing) -> Pixels:
    """Decode and resize pictures for a graph.

    Parameters
    ----------
    pictures : sequence
        n files or Pillow images, at least one.
    preprocessing : Preprocessing
        Of the graph.

    Returns
    -------
    UInt8[(n, height, width, 3)]
        RGB.
    """
    return np.stack([to_pixels(opened(each), preprocessing) for each in pictures])


def opened(picture: Picture) -> Image.Image:
    """Open a picture; ImageError names the file that cannot be read."""
    return _opened(picture)[0] if isinstance(picture, Path) else picture


def _opened(file: Path) -> tuple[Image.Image, str]:
    """Return a picture and the SHA-256 of its file."""
    try:
        content = file.read_bytes()
        return open_rgb(content), hashlib.sha256(content).hexdigest()
    except (OSError, ImageError) as error:
        raise ImageError(f"{file} cannot be used to measure parity: {error}") from error


def _readable(images: Sequence[Path], say: Say) -> list[Path]:
    found: dict[str, Path] = {}  # by content: what sets the ranges must not judge them too
    last, again = None, 0
    for image in _some(images, say):
        try:
            _, content = _opened(image)
        except ImageError as error:
            say(f"Warning: {error}. It is left out.")
            last = error
        else:
            again += content in found
            found.setdefault(content, image)
    if again:
        say(f"{again} of the pictures are there twice: each counts once")
    if last is not None and not found:
        raise ImageError(
            f"None of the {len(images)} pictures to measure parity on can be read, such as: "
            f"{last}. Name others: --verify photos/"
        ) from last
    return [*found.values()]


def _some(images: Sequence[Path], say: Say) -> Sequence[Path]:
    count = len(images)
    if count > MOST_PICTURES:
        say(f"{MOST_PICTURES:,} of the {count:,} pictures serve, evenly spread over them")
        images = [images[round(place)] for place in np.linspace(0, count - 1, MOST_PICTURES)]
    if images:
        say(f"Reading {len(images):,} pictures")
    return images


def _without_ranges(readable: Sequence[Path]) -> Pictures:
    measured: tuple[Picture, ...] = tuple(readable) or tuple(draw_pictures())
    drawn = () if readable else measured
    return Pictures(measured, (), _words(readable, drawn), "none")


def _split(readable: Sequence[Path], say: Say) -> Pictures:
    count = min(MOST_FOR_RANGES, len(readable) // 2)
    taken = {round(place) for place in np.linspace(0, len(readable) - 1, count)}
    mine = [image for number, image in enumerate(readable) if number in taken]
    held = [image for number, image in enumerate(readable) if number not in taken]
    drawn: list[Image.Image] = []
    if count < FEW_FOR_RANGES:
        drawn = draw_pictures(DRAWN_FOR_RANGES - count, _RANGES_SEED)
        say(
            f"{count} of the pictures serve to measure the ranges of activations, which is few: "
            f"drawn ones fill up. Better: --verify with {2 * FEW_FOR_RANGES} pictures or more"
        )
    return Pictures(
        tuple(held), (*mine, *drawn), f"{len(held)} given pictures", _words(mine, drawn)
    )


def _words(given: Sequence[Picture], drawn: Sequence[Picture]) -> str:
    parts = ((given, "given"), (drawn, "generated"))
    return " and ".join(f"{len(some)} {kind} pictures" for some, kind in parts if some)


# --- drawing: Float[(height, width, 3)] in 0..255 -------------------------------------------------


def _exposed(rng: np.random.Generator, field: NDArray[np.float64]) -> Image.Image:
    """Give a picture its own contrast, brightness and grain."""
    contrast, brightness = rng.uniform(0.5, 1.3), rng.uniform(-40, 40)
    grain = rng.normal(0, rng.uniform(0, 12), field.shape)
    shown = (field - 127) * contrast + 127 + brightness + grain
    return Image.fromarray(shown.clip(0, 255).astype(np.uint8))


def _waves(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / rng.uniform(3, 60) + columns / rng.uniform(3, 60)) for _ in range(3)]
    field = 127 + 90 * np.stack(waves, axis=-1)
    field[height // 4 : height // 2, width // 3 : width // 2] = rng.uniform(0, 255, 3)
    return np.asarray(field)


def _shapes(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    picture = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(3, 20))):
        points = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(3)]
        match rng.integers(3):
            case 0:
                draw.polygon(points, fill=_colour(rng))
            case 1:
                draw.line(points, fill=_colour(rng), width=int(rng.integers(1, 12)))
            case _:
                reach = int(rng.integers(2, max(3, min(width, height) // 3)))
                (x, y), *_ = points
                draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=_colour(rng))
    blurred = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 3))))
    return np.asarray(blurred, np.float64)


def _clouds(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """Add noise of every scale, the coarser the stronger, as in photographs."""
    field = np.full((height, width, 3), 127.0)
    for side in (2, 4, 8, 16, 32, 64):
        coarse = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
        field += (np.asarray(smooth, np.float64) - 127) / side**0.5
    return field


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(each) for each in rng.integers(0, 256, 3))
    return red, green, blue
