"""Uploads, decoded a few at a time, and none of them once nobody waits for it any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from clipcal.errors import ImageError
from clipcal.index.pipeline import MOST_PIXELS, Room
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import Pixels, load_pixels
from clipcal.models.runtimes.cores import allowed_cpus
from clipcal.service.gate.problems import overloaded, too_slow
from clipcal.service.settings import Limits


class Decoding:
    """Decodes the images of all clients, one per CPU at a time.

    A thread that decodes cannot be stopped. So whether somebody still waits is looked at before
    every image, and no image may be so large that it keeps the others waiting for long.

    Parameters
    ----------
    limits : Limits
        How large an image may be, and how long a request may take.
    exact : bool
        Whether images are decoded exactly; see `load_pixels`.
    """

    def __init__(self, limits: Limits, *, exact: bool) -> None:
        self._limits, self._exact = limits, exact
        self._free = threading.Semaphore(allowed_cpus())
        self._room = Room(MOST_PIXELS)
        self._closed = False

    def decode(
        self, file: bytes, preprocessing: Preprocessing, until: float
    ) -> Pixels | ImageError:
        """Decode an image once it is its turn.

        Parameters
        ----------
        file : bytes
            The whole file.
        preprocessing : Preprocessing
            The model's.
        until : float
            When the client gives up, on the monotonic clock.

        Returns
        -------
        Pixels or ImageError
            (height, width, 3) uint8; or why it could not be decoded.

        Raises
        ------
        Refused
            504 if it is too late; 503 if the service is ending.
        """
        if not self._free.acquire(timeout=max(until - time.monotonic(), 0)):
            raise too_slow(self._limits.seconds)
        try:
            return load_pixels(
                file,
                preprocessing,
                max_pixels=self._limits.pixels,
                max_side=self._limits.side,
                exact=self._exact,
                room=lambda pixels: self._in_time(pixels, until),
            )
        except ImageError as error:
            return error
        finally:
            self._free.release()

    def close(self) -> None:
        """Begin no image any more."""
        self._closed = True

    @contextmanager
    def _in_time(self, pixels: int, until: float) -> Iterator[None]:
        with self._room(pixels):
            if self._closed:
                raise overloaded("The service is ending. Ask again when it has been started.")
            if time.monotonic() >= until:
                raise too_slow(self._limits.seconds)
            yield
