"""Pictures of the corpus's images over HTTP: made when asked for, the newest kept in memory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Final

from anyio import CapacityLimiter

from clipcal.errors import ImageError
from clipcal.index.pictures import embedded_content, small_picture
from clipcal.index.pipeline import MOST_PIXELS, Room
from clipcal.index.records import Item
from clipcal.index.sources import path_of
from clipcal.models.runtimes.cores import allowed_cpus
from clipcal.service.gate.problems import Refused, not_found
from clipcal.service.settings import MEGABYTE

KEPT_BYTES: Final = 64 * MEGABYTE
QUALITY: Final = 82
_GONE: Final = "Embed the images again: clipcal embed SOURCE."

Key = tuple[str, tuple[int, ...], int]  # the content, what its file was like, the side


class Pictures:
    """Makes pictures of files whose content the corpus knows, and of no others.

    Parameters
    ----------
    max_pixels : int
        The greatest width × height that is decoded.
    kept : int
        Bytes of pictures that are kept.

    Attributes
    ----------
    threads : anyio.CapacityLimiter
        The threads that make pictures, so that a page full of them leaves others to the rest.
    """

    def __init__(self, max_pixels: int, *, kept: int = KEPT_BYTES) -> None:
        self.threads = CapacityLimiter(allowed_cpus())
        self._max_pixels, self._most = max_pixels, kept
        self._room = Room(MOST_PIXELS)
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, item: Item, side: int) -> bytes:
        """Make a JPEG of an image that fits a square, or take one made before.

        Parameters
        ----------
        item : Item
            The image.
        side : int
            Greatest width and height, in pixels.

        Raises
        ------
        Refused
            404, where the corpus does not know the image's content, or its file is gone, has
            changed, or cannot be shown.
        """
        if item.sha256 is None or item.state != "embedded":
            raise not_found(
                f"There is no picture of image {item.id}: the corpus does not know its content."
            )
        key = (item.sha256, _look(item), side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        return self._keep(key, self._make(item, item.sha256, side))

    def _make(self, item: Item, sha256: str, side: int) -> bytes:
        content = embedded_content(item.uri, sha256, item.size)
        if content is None:
            raise _changed(item)
        try:
            picture = small_picture(
                content, side, quality=QUALITY, max_pixels=self._max_pixels, room=self._room
            )
        except ImageError as error:
            raise not_found(f"Image {item.id} cannot be shown: {error}.") from error
        return picture.data

    def _keep(self, key: Key, data: bytes) -> bytes:
        with self._lock:
            if key not in self._kept:
                self._bytes += len(data)
            self._kept[key] = data
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


def _look(item: Item) -> tuple[int, ...]:
    """What tells that a file has changed, without reading it."""
    try:
        found = os.stat(path_of(item.uri))
    except (OSError, ValueError) as error:
        raise _changed(item) from error
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _changed(item: Item) -> Refused:
    return not_found(f"The file of image {item.id} is gone, or not what was embedded. {_GONE}")
