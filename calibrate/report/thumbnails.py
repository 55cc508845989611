"""Small pictures of a corpus's images, as text that a page can hold."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from clipcal.errors import ImageError
from clipcal.index.sources import path_of
from clipcal.models.preprocess import open_rgb

SIDE = 160
QUALITY = 75


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture.

    Attributes
    ----------
    width, height : int
        In pixels.
    data : str
        A JPEG file as a ``data:`` URI.
    """

    width: int
    height: int
    data: str


def make_thumbnail(uri: str, sha256: str = "", *, side: int = SIDE) -> Thumbnail | None:
    """Make a small picture of an image of a corpus, if its file still is what was embedded.

    Parameters
    ----------
    uri : str
        The image's name in the corpus.
    sha256 : str
        Hash of the content that was embedded; empty where unknown, and then any will do.
    side : int
        Greatest width and height, in pixels.

    Returns
    -------
    Thumbnail or None
        None if the file is gone, has changed, or cannot be read.
    """
    image = _open(uri, sha256)
    if image is None:
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(image.width, image.height, f"data:image/jpeg;base64,{data}")


def _open(uri: str, sha256: str) -> Image.Image | None:
    try:
        path = Path(path_of(uri))
        # Vectors come with whatever names their maker gave: a pipe would never end.
        data = path.read_bytes() if path.is_file() else b""
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            return None
        return open_rgb(data)
    except (OSError, ValueError, ImageError):
        return None
