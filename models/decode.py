"""From the bytes of an image file to RGB: which formats are read, and what they mean.

What the reference (open_clip, torchvision) leaves to chance is defined here:

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from clipcal.errors import ImageError

Size = tuple[int, int]  # width, height
Side = TypeVar("Side", int, float)
Box = tuple[float, float, float, float]  # left, top, right, bottom

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

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MIRRORED = {  # where an orientation turns an axis of the upright image around: x, y
    2: (True, False),
    3: (True, True),
    4: (False, True),
    6: (True, False),
    7: (True, True),
    8: (False, True),
}
_TURNED = 5  # from this orientation on, width and height change places
_ORIENTATION = 0x0112
_WHITE = (255, 255, 255, 255)


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
    return ImageFile(data, max_pixels=max_pixels).decode().image


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image, perhaps at a fraction of its size.

    Attributes
    ----------
    image : PIL.Image.Image
        Mode "RGB", upright.
    size : tuple of int
        Width and height of the file's image, upright.
    box : tuple of float
        Where the whole of it lies in `image`, as left, top, right, bottom. A fraction is made
        of whole blocks, so that the last line may stand for less than the others do.
    """

    image: Image.Image
    size: Size
    box: Box


class ImageFile:
    """An image file whose header was read, before its pixels are decoded.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        The greatest width × height that is decoded; checked on the header.
    max_side : int, optional
        The greatest width and the greatest height; by default only their product counts.

    Raises
    ------
    ImageError
        If the file is empty, too large or no image; the message is the reason.
    """

    def __init__(
        self, data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None
    ) -> None:
        _silence_pillow()
        self._image = _open(data, max_pixels)
        _check_sides(self._image.size, max_side)
        self._limit = max_pixels
        self._drafted: tuple[Size, tuple[float, float]] | None = None

    @property
    def pixels(self) -> int:
        """For how many pixels :meth:`decode` needs memory.

        As many as it makes; but of a progressive JPEG libjpeg holds the coefficients of the whole
        image, whatever its fraction.
        """
        size = self._image.size
        if self._drafted is not None and self._image.info.get("progressive"):
            size = self._drafted[0]
        return size[0] * size[1]

    def upright_size(self) -> Size:
        """Tell width and height as a viewer shows them; only a TIFF is decoded for it.

        Releases of Pillow differ in whether the size that a TIFF's header gives is turned.

        Raises
        ------
        ImageError
            If it is a TIFF, and damaged.
        """
        if self._image.format == "TIFF":
            return self.decode().size
        size = self._image.size if self._drafted is None else self._drafted[0]
        return _swapped(size, _orientation(self._image) >= _TURNED)

    def shrink(self, enough: Callable[[Size], Size]) -> None:
        """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size, where that leaves enough.

        libjpeg leaves out the fine part of each block of 8×8 pixels, which takes less time than
        decoding it and resizing afterwards. Other formats are decoded whole.

        Parameters
        ----------
        enough : callable
            The least width and height that will do for an upright image of a given size.
        """
        if not isinstance(self._image, JpegImageFile):
            return
        size, turned = self._image.size, _orientation(self._image) >= _TURNED
        drafted = self._image.draft(None, _swapped(enough(_swapped(size, turned)), turned))
        if drafted is not None:
            self._drafted = size, drafted[1][2:]

    def decode(self) -> Picture:
        """Decode the pixels.

        Returns
        -------
        Picture
            In RGB, upright.

        Raises
        ------
        ImageError
            If the file is damaged; the message is the reason.
        """
        image = self._image
        try:
            image.load()
            orientation = _orientation(image)
            return self._picture(_upright(_to_rgb(image), orientation), orientation)
        except Exception as error:
            # A damaged file can raise nearly anything from within a decoder: OSError, SyntaxError,
            # struct.error, zlib.error, IndexError, OverflowError, MemoryError and more.
            raise ImageError(_reason(error, image.format, self._limit)) from error

    def _picture(self, upright: Image.Image, orientation: int) -> Picture:
        if self._drafted is None:
            return Picture(upright, upright.size, (0.0, 0.0, *upright.size))
        turned = orientation >= _TURNED
        size, covered = _swapped(self._drafted[0], turned), _swapped(self._drafted[1], turned)
        x, y = _MIRRORED.get(orientation, (False, False))
        left = upright.width - covered[0] if x else 0.0
        top = upright.height - covered[1] if y else 0.0
        return Picture(upright, size, (left, top, left + covered[0], top + covered[1]))


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


def _check_sides(size: Size, max_side: int | None) -> None:
    """Refuse a line of pixels: each of its rows takes time, however few pixels it has."""
    if max_side is not None and max(size) > max_side:
        raise ImageError(f"{size[0]}×{size[1]} has a side over the limit of {max_side:,} pixels")


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
    return value if isinstance(value, int) and value in _TRANSPOSITIONS else 1


def _swapped(pair: tuple[Side, Side], swap: bool) -> tuple[Side, Side]:
    return (pair[1], pair[0]) if swap else pair


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
