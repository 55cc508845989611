"""From an image to the uint8 pixels that a visual graph takes.

Exactly, the pixels equal those of open_clip's ``image_transform(is_train=False)`` before its
normalisation (which lives in the graph), for every opaque 8-bit RGB or grey image
(:func:`to_pixels`).

Scaled, which is what ``embed`` does unless told otherwise, an image far larger than the model's
input is first reduced the cheap way: a JPEG by decoding it at 1/2, 1/4 or 1/8 of its size, others
by averaging whole blocks of pixels. At least :data:`GAP` times the lines that the result needs
are left to the exact filter, which hides the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcal.models.bundle import Preprocessing
from clipcal.models.decode import MAX_PIXELS, ImageFile, Picture, open_rgb

__all__ = ["GAP", "MAX_PIXELS", "Pixels", "Room", "load_pixels", "open_rgb", "to_pixels"]

Pixels = NDArray[np.uint8]
"""(height, width, 3): RGB, 8 bits each."""

Room = Callable[[int], AbstractContextManager[object]]
"""Waits until so many pixels may be decoded, and holds their room."""

GAP = 3.0
"""Scaled, this many times the resized sides are left when the exact filter begins.

It is where Pillow calls its own ``reducing_gap`` hard to tell from fair resampling, and the least
at which the built-in model, a trained one of small input that no noise escapes, keeps a cosine of
0.999 on every photograph of COCO128 (at 2.5 the worst has 0.996, at 2 0.992, at 1 0.947)."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

# An image that would be enlarged to more pixels than this is not made whole before its crop:
# 16 Mpx are 64 MB in Pillow, and at 224 pixels only sides of 1:300 and beyond get there.
_WHOLE_LIMIT = 16_000_000


def load_pixels(
    data: bytes,
    preprocessing: Preprocessing,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    exact: bool = False,
    room: Room = nullcontext,
) -> Pixels:
    """Decode an image file and bring it to the size that a graph takes.

    Safe to call from several threads at once.

    Parameters
    ----------
    data : bytes
        The whole file.
    preprocessing : Preprocessing
        Size, resize mode and interpolation, from the bundle's manifest.
    max_pixels : int
        The greatest width × height that is decoded; checked on the header, before any pixel.
    max_side : int, optional
        The greatest width and the greatest height, checked there too.
    exact : bool
        Whether the pixels must equal the reference's. Else a large image is reduced the cheap
        way first, and pixels differ by less than one grey level on the average.
    room : Room
        Asked for the number of pixels about to be decoded, so that a caller bounds memory.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        RGB in C order.

    Raises
    ------
    ImageError
        If the file is empty, damaged, too large or no image; the message is the reason.
    """
    file = ImageFile(data, max_pixels=max_pixels, max_side=max_side)
    if not exact:
        file.shrink(partial(_enough, preprocessing))
    with room(file.pixels):
        picture = file.decode()
        return to_pixels(picture.image, preprocessing) if exact else _scaled(picture, preprocessing)


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Resize and crop (or pad, or squash) an RGB image, as open_clip does.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode "RGB", of any size; an aspect ratio of 1:5000 takes no more memory than 1:1.
    preprocessing : Preprocessing
        Size, resize mode and interpolation, from the bundle's manifest.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        RGB in C order.

    Notes
    -----
    The reference is ``open_clip.transform.image_transform`` and, below it, torchvision's
    ``Resize`` and ``CenterCrop``; the tests hold the two equal to the pixel.
    """
    target, whole, kernel = _plan(image.size, preprocessing)
    if preprocessing.resize_mode == "shortest":
        return np.array(_crop(image, whole, target, kernel))
    return np.array(_pad(image.resize(whole, kernel), target, preprocessing.fill))


def _scaled(picture: Picture, preprocessing: Preprocessing) -> Pixels:
    """Do what :func:`to_pixels` does with the whole image, from what was decoded of it."""
    target, whole, kernel = _plan(picture.size, preprocessing)
    part = target if preprocessing.resize_mode == "shortest" else whole
    left, top, right, bottom = picture.box
    first_x, last_x = _span(left, right, whole.width, part.width)
    first_y, last_y = _span(top, bottom, whole.height, part.height)
    box = (first_x, first_y, last_x, last_y)
    fitted = picture.image.resize(part, kernel, box=box, reducing_gap=GAP)
    return np.array(_pad(fitted, target, preprocessing.fill))


def _span(first: float, last: float, whole: int, part: int) -> tuple[float, float]:
    """Where the middle `part` of `whole` resized lines comes from, between `first` and `last`."""
    start, step = _offset(whole, part), (last - first) / whole
    return first + start * step, min(first + (start + part) * step, last)


# --- sizes, in the reference's own rounding --------------------------------------------------


class _Size(NamedTuple):
    width: int
    height: int


class _Plan(NamedTuple):
    """The size of the result, that of the whole image resized, and the filter to it."""

    target: _Size
    whole: _Size
    kernel: Image.Resampling


def _plan(size: tuple[int, int], preprocessing: Preprocessing) -> _Plan:
    target = _Size(preprocessing.width, preprocessing.height)
    kernel = _FILTERS[preprocessing.interpolation]
    if preprocessing.resize_mode == "squash":
        return _Plan(target, target, kernel)
    if preprocessing.resize_mode == "longest":
        return _Plan(target, _kept_ratio(size, target, longest=True), kernel)
    if target.width == target.height:
        return _Plan(target, _shortest(size, target.width), kernel)
    # The reference forgets the interpolation here, so that it is always bicubic.
    return _Plan(target, _kept_ratio(size, target, longest=False), Image.Resampling.BICUBIC)


def _enough(preprocessing: Preprocessing, size: tuple[int, int]) -> tuple[int, int]:
    """How much of an image of `size` must be left when the exact filter begins."""
    whole = _plan(size, preprocessing).whole
    return math.ceil(GAP * whole.width), math.ceil(GAP * whole.height)


def _shortest(size: tuple[int, int], short: int) -> _Size:
    """Follow torchvision's ``Resize(int)``: the long side is cut off, not rounded."""
    width, height = size
    if width <= height:
        return _Size(short, int(short * height / width))
    return _Size(int(short * width / height), short)


def _kept_ratio(size: tuple[int, int], target: _Size, *, longest: bool) -> _Size:
    """Follow open_clip's ``ResizeKeepRatio``: sides are rounded, here to 1 pixel at least."""
    ratios = (size[1] / target.height, size[0] / target.width)
    ratio = max(ratios) if longest else min(ratios)
    return _Size(max(round(size[0] / ratio), 1), max(round(size[1] / ratio), 1))


def _offset(whole: int, part: int) -> int:
    """Follow torchvision's ``CenterCrop``: halves go to the even side, as Python rounds."""
    return round((whole - part) / 2.0)


def _pad(image: Image.Image, target: _Size, fill: int) -> Image.Image:
    if image.size == target:
        return image
    canvas = Image.new("RGB", target, (fill, fill, fill))
    left, top = (target.width - image.width) // 2, (target.height - image.height) // 2
    canvas.paste(image, (left, top))
    return canvas


def _crop(image: Image.Image, whole: _Size, target: _Size, kernel: Image.Resampling) -> Image.Image:
    """Resize `image` to the size `whole` and keep the middle `target` of it."""
    if whole.width * whole.height > max(_WHOLE_LIMIT, image.width * image.height):
        return _crop_of_long(image, whole, target, kernel)
    left, top = _offset(whole.width, target.width), _offset(whole.height, target.height)
    box = (left, top, left + target.width, top + target.height)
    return image.resize(whole, kernel).crop(box)


# --- images far longer than wide -------------------------------------------------------------
#
# A line of 1×5000 pixels becomes 224×1,120,000 before the reference crops it: a gigabyte for 224
# rows. ``Image.resize(box=…)`` would make those rows only, but it takes the box in single
# precision, and some pixels come out one grey level off. So the long axis is resampled here in
# Pillow's own arithmetic, for the rows that stay; the short axis is left to Pillow. Enlarging,
# every Pillow goes along the rows first and along the columns then.


def _crop_of_long(
    image: Image.Image, whole: _Size, target: _Size, kernel: Image.Resampling
) -> Image.Image:
    """Do what :func:`_crop` does, in the memory of the result."""
    if whole.width > target.width:
        taps = _middle_taps(image.width, whole.width, target.width, kernel)
        first, last = taps[0].first, taps[-1].last
        lines = np.asarray(image.crop((first, 0, last, image.height))).swapaxes(0, 1)
        columns = _resample(lines, taps).swapaxes(0, 1)
        return Image.fromarray(np.ascontiguousarray(columns)).resize(target, kernel)
    taps = _middle_taps(image.height, whole.height, target.height, kernel)
    first, last = taps[0].first, taps[-1].last
    window = image.crop((0, first, image.width, last))
    rows = np.asarray(window.resize((target.width, window.height), kernel))
    return Image.fromarray(_resample(rows, taps))


class _Tap(NamedTuple):
    """Which source lines make one output line, and how much of each, as 22-bit fractions."""

    first: int
    weights: NDArray[np.int64]

    @property
    def last(self) -> int:
        return self.first + len(self.weights)


def _middle_taps(length: int, whole: int, part: int, kernel: Image.Resampling) -> list[_Tap]:
    """Weigh the lines of a side of `length` for the middle `part` of its `whole` resized lines."""
    start = _offset(whole, part)
    return [_tap(length, length / whole, line, kernel) for line in range(start, start + part)]


def _tap(length: int, scale: float, line: int, kernel: Image.Resampling) -> _Tap:
    """Follow ``precompute_coeffs`` of Pillow's ``Resample.c``, operation by operation."""
    curve, radius = _CURVES[kernel]
    stretch = max(scale, 1.0)  # antialias: the kernel widens with the reduction
    centre = (line + 0.5) * scale
    first = max(int(centre - radius * stretch + 0.5), 0)
    last = min(int(centre + radius * stretch + 0.5), length)
    weights = curve((np.arange(first, last, dtype=np.float64) - centre + 0.5) * (1.0 / stretch))
    weights /= np.cumsum(weights)[-1]  # summed in order, as C does; np.sum pairs its terms
    return _Tap(first, np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights)).astype(int))


def _resample(lines: NDArray[np.uint8], taps: list[_Tap]) -> Pixels:
    """Mix source lines into output lines along axis 0; the first is that of the first tap."""
    origin = taps[0].first
    half = 1 << (_BITS - 1)
    out = np.empty((len(taps), *lines.shape[1:]), np.uint8)
    for row, tap in zip(out, taps, strict=True):
        part = lines[tap.first - origin : tap.last - origin].astype(np.int64)
        row[...] = np.clip((np.tensordot(tap.weights, part, axes=1) + half) >> _BITS, 0, 255)
    return out


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x, a = np.abs(x), -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


_BITS = 32 - 8 - 2
_CURVES = {
    Image.Resampling.BICUBIC: (_cubic, 2.0),
    Image.Resampling.BILINEAR: (_triangle, 1.0),
}
