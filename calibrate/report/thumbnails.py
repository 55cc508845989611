"""Small pictures of a corpus's images, as text that a page can hold."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from clipcal.errors import ImageError
from clipcal.index.pictures import embedded_content, small_picture

SIDE = 160


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
    content = embedded_content(uri, sha256)
    if content is None:
        return None
    try:
        small = small_picture(content, side)
    except ImageError:
        return None
    data = base64.b64encode(small.data).decode("ascii")
    return Thumbnail(small.width, small.height, f"data:image/jpeg;base64,{data}")
