"""Small pictures of a corpus's images, as far as these still are what was embedded."""

from __future__ import annotations

from clipcal.errors import ImageError
from clipcal.index.pictures import SmallPicture, embedded_content, small_picture

SIDE = 160


def make_thumbnail(uri: str, sha256: str = "", *, side: int = SIDE) -> SmallPicture | None:
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
    SmallPicture or None
        None if the file is gone, has changed, or cannot be read.
    """
    content = embedded_content(uri, sha256)
    if content is None:
        return None
    try:
        return small_picture(content, side)
    except ImageError:
        return None
