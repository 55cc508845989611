"""Small pictures of a corpus's images, made of their files if these still are what was embedded."""

from __future__ import annotations

import base64
import hashlib
import io
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from clipcal.index.sources import path_of
from clipcal.models.decode import MAX_PIXELS, ImageFile
from clipcal.models.preprocess import Room

_GAP = 2  # a JPEG is decoded at no less than so many times the sides that are wanted


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """A small picture.

    Attributes
    ----------
    width, height : int
        In pixels.
    data : bytes
        A JPEG file.
    """

    width: int
    height: int
    data: bytes

    @property
    def data_uri(self) -> str:
        """The file as text that a page can hold."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.data).decode('ascii')}"


def embedded_content(uri: str, sha256: str = "", size: int | None = None) -> bytes | None:
    """Read the file of an image, if it still is what was embedded.

    Parameters
    ----------
    uri : str
        The image's name in the corpus.
    sha256 : str
        Hash of the content that was embedded; empty where unknown, and then any will do.
    size : int, optional
        Its bytes, where known: a file of another size is not read.

    Returns
    -------
    bytes or None
        None if the file is gone, has changed, cannot be read, or is no plain file.
    """
    try:
        path = Path(path_of(uri))
        # Vectors come with whatever names their maker gave: a pipe would never end.
        if not path.is_file() or size not in (None, path.stat().st_size):
            return None
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    return data if not sha256 or hashlib.sha256(data).hexdigest() == sha256 else None


def small_picture(
    data: bytes,
    side: int,
    *,
    quality: int = 75,
    max_pixels: int = MAX_PIXELS,
    room: Room = nullcontext,
) -> SmallPicture:
    """Make a small picture of an image file: upright, in its own shape, never enlarged.

    Parameters
    ----------
    data : bytes
        The whole file.
    side : int
        Greatest width and height, in pixels.
    quality : int
        Of the JPEG, from 1 to 95.
    max_pixels : int
        The greatest width × height that is decoded; checked on the header.
    room : Room
        Asked for the number of pixels about to be decoded, so that a caller bounds memory.

    Raises
    ------
    ImageError
        If the file is empty, damaged, too large or no image; the message is the reason.
    """
    file = ImageFile(data, max_pixels=max_pixels)
    file.shrink(lambda size: _fitted(size, side * _GAP))
    with room(file.pixels):
        picture = file.decode()
        small = picture.image.resize(
            _fitted(picture.size, side), Image.Resampling.LANCZOS, box=picture.box, reducing_gap=3.0
        )
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, optimize=True)
    return SmallPicture(small.width, small.height, buffer.getvalue())


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Fit a width and a height into a square."""
    width, height = size
    scale = min(1.0, side / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))
