"""From the bytes of an image file to the uint8 pixels that a visual graph takes.

The pixels equal those of open_clip's ``image_transform(is_train=False)`` before its
normalisation (which lives in the graph), for every opaque 8-bit RGB or grey image. What the
reference leaves to chance is defined here:

- the EXIF orientation is applied;
- 16-bit, integer and floating-point greys are scaled to 8 bits, not clipped;
- transparency is laid on white (the reference drops the alpha channel, so that whatever colour
  an editor left beneath it shows);
- palettes are turned into RGB before the resize, which would otherwise pick nearest neighbours;
- of an animation or a document of several pages, the first frame counts.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcal.errors import ImageError
from clipcal.models.bundle import Preprocessing

Pixels = NDArray[np.uint8]
"""(height, width, 3): RGB, 8 bits each."""

MAX_PIXELS = 100_000_000
"""Images of more pixels than this are refused unless the caller raises the limit."""

# Importing a plugin registers its format. All are imported here: Pillow's own lazy import is
# not meant to be entered by several threads at once, and its full list has formats that start
# other programs (EPS) or accept nearly any bytes (TGA).
_PLUGINS = ("Avif", "Bmp", "Gif", "Ico", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
for _plugin in _PLUGINS:
    with contextlib.suppress(ImportError):  # Pillow before 11.3 has no AVIF
        importlib.import_module(f"PIL.{_plugin}ImagePlugin")
# HEIF is in the registry only where Pillow (or a plugin the host registered) reads it.
_FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"),
    *("AVIF", "HEIF", "JPEG2000", "PPM", "ICO"),
)

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_WHITE = (255, 255, 255, 255)

# An image that would be enlarged to more pixels than this is not made whole before its crop:
# 16 Mpx are 64 MB in Pillow, and at 224 pixels only sides of 1:300 and beyond get there.
_WHOLE_LIMIT = 16_000_000


def load_pixels(
    data: bytes, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Decode an image file and bring it to the size that a graph takes.

    Parameters
    ----------
    data : bytes
        The whole file.
    preprocessing : Preprocessing
        Size, resize mode and interpolation, from the bundle's manifest.
    max_pixels : int
        The greatest width × height that is decoded.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        RGB, as :func:`to_pixels` gives it.

    Raises
    ------
    ImageError
        If the file is empty, damaged, too large or no image; the message is the reason.
    """
    return to_pixels(open_rgb(data, max_pixels=max_pixels), preprocessing)


def open_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to RGB, upright.

    Safe to call from several threads at once.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        The greatest width × height that is decoded; checked on the header, before any pixel.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", turned as its EXIF orientation says, transparency laid on white.

    Raises
    ------
    ImageError
        If the file is empty, damaged, too large or no image; the message is the reason.
    """
    _silence_pillow()
    image = _open(data, max_pixels)
    try:
        image.load()
        return _upright(_to_rgb(image), _orientation(image))
    except Exception as error:
        # A damaged file can raise nearly anything from within a decoder: OSError, SyntaxError,
        # struct.error, zlib.error, IndexError, OverflowError, MemoryError and more.
        raise ImageError(_reason(error, image.format, max_pixels)) from error


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
    target = _Size(preprocessing.width, preprocessing.height)
    kernel = _FILTERS[preprocessing.interpolation]
    if preprocessing.resize_mode == "squash":
        fitted = image.resize(target, kernel)
    elif preprocessing.resize_mode == "longest":
        whole = _scaled(image.size, target, longest=True)
        fitted = _pad(image.resize(whole, kernel), target, preprocessing.fill)
    elif target.width == target.height:
        fitted = _crop(image, _shortest(image.size, target.width), target, kernel)
    else:
        # The reference forgets the interpolation here, so that it is always bicubic.
        whole = _scaled(image.size, target, longest=False)
        fitted = _crop(image, whole, target, Image.Resampling.BICUBIC)
    return np.array(fitted)


# --- decoding --------------------------------------------------------------------------------


def _silence_pillow() -> None:
    """Ignore what Pillow warns about (odd EXIF, large images): the pixels or an ImageError tell.

    ``warnings.catch_warnings`` swaps a global list and is not for threads; one more filter at
    the front of that list is. It is looked for again on each call because others may have
    restored the list since.
    """
    if not warnings.filters or warnings.filters[0] != _SILENCE:
        warnings.filterwarnings("ignore", module=r"PIL\.")


_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Read the header with the first plugin that knows it, and check the size.

    ``Image.open`` does the same, but it holds the size against a global of its own and says
    nothing of why a plugin gave up.
    """
    if not data:
        raise ImageError("zero bytes")
    reason = _not_an_image(data)
    for name, verdict in _accepting(data[:16]):
        if isinstance(verdict, str):
            reason = verdict
            continue
        try:
            image: Image.Image = Image.OPEN[name][0](BytesIO(data), "")
        except Exception as error:
            reason = _reason(error, name, max_pixels)
            continue
        _check_size(image.size, max_pixels)
        return image
    raise ImageError(reason)


def _accepting(prefix: bytes) -> Iterator[tuple[str, bool | str]]:
    """Yield the formats that may read a file, with True or why their decoder is missing."""
    for name in _FORMATS:
        if name in Image.OPEN:
            accept = Image.OPEN[name][1]
            try:
                verdict = accept is None or accept(prefix)
            except (IndexError, struct.error):  # a file shorter than the signature
                continue
            if verdict:
                yield name, verdict


def _not_an_image(data: bytes) -> str:
    if data[:64].lstrip()[:1] == b"<":
        return "not an image, but HTML, SVG or other markup"
    return "not an image, or of a format that is not read"


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{width}×{height} is {_mega(width * height)} megapixels, over the limit of "
            f"{_mega(max_pixels)}; raise it with --max-pixels"
        )


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.4g}"


def _reason(error: Exception, name: str | None, max_pixels: int) -> str:
    """Say in a few words why a file that looked like format `name` did not decode."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        # Raised by plugins that hold a size against Pillow's own limit (WebP canvas, GIF frame).
        found = re.search(r"\d+", text)
        mega = _mega(int(found[0])) if found else "too many"
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        return f"{mega} megapixels, over the limit of {_mega(limit)} for {name}"
    if isinstance(error, MemoryError):
        return f"not enough memory to decode this {name}"
    fault = (
        "truncated"
        if re.search(r"truncat|end of|EOF|unpack|out of range", text, re.IGNORECASE)
        else "damaged"
    )
    return f"{fault} {name}: {text}"


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; upright where the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # an odd tag is no reason to lose a sound image
        return 1
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSITIONS.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn any of Pillow's modes into RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        # Straight to RGBA: from a palette with transparency, any other way warns or loses it.
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() == (255, 255):  # opaque: exactly the reference's pixels
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")


def _to_8_bits(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale greys of more than 8 bits linearly to 0..255, not finite ones to 0.

    The range is that of the kind: 0..1 for floats that keep within it, 0..65535 for what fits
    16 bits. Values beyond have no agreed white, so that their own least and greatest are taken.
    """
    values = np.nan_to_num(grey.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and grey.dtype.kind == "f":
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255 and grey.dtype.kind == "f":
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    values -= np.float32(low)
    values *= np.float32(255.0 / ((high - low) or 1.0))
    return np.rint(values).astype(np.uint8)


# --- sizes, in the reference's own rounding --------------------------------------------------


class _Size(NamedTuple):
    width: int
    height: int


def _shortest(size: tuple[int, int], short: int) -> _Size:
    """Follow torchvision's ``Resize(int)``: the long side is cut off, not rounded."""
    width, height = size
    if width <= height:
        return _Size(short, int(short * height / width))
    return _Size(int(short * width / height), short)


def _scaled(size: tuple[int, int], target: _Size, *, longest: bool) -> _Size:
    """Follow open_clip's ``ResizeKeepRatio``: sides are rounded, here to 1 pixel at least."""
    ratios = (size[1] / target.height, size[0] / target.width)
    ratio = max(ratios) if longest else min(ratios)
    return _Size(max(round(size[0] / ratio), 1), max(round(size[1] / ratio), 1))


def _offset(whole: int, part: int) -> int:
    """Follow torchvision's ``CenterCrop``: halves go to the even side, as Python rounds."""
    return round((whole - part) / 2.0)


def _pad(image: Image.Image, target: _Size, fill: int) -> Image.Image:
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
