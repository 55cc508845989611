"""Heavy work takes turns, so that light work need not: so much at once, so much that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.problems import overloaded


class Turns:
    """A line with an end.

    Whoever waits holds a thread, and a service has only so many: beyond a few, clients are told to
    come back, and labelling goes on.

    Parameters
    ----------
    at_once : int
        How many may work.
    waiting : int
        How many may wait for that.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + waiting)

    @contextmanager
    def turn(self, attempt: Attempt) -> Iterator[None]:
        """Wait for a turn, and have it for the length of a block.

        Parameters
        ----------
        attempt : Attempt
            The request; its turn does not come any more once it is given up.

        Raises
        ------
        Refused
            503, if too many wait; 504, if it was given up meanwhile.
        """
        if not self._places.acquire(blocking=False):
            raise overloaded("Too many ask for work of this kind at once. Ask again in a moment.")
        try:
            if not self._free.acquire(timeout=attempt.left):
                raise attempt.too_late
            try:
                attempt.check()
                yield
            finally:
                self._free.release()
        finally:
            self._places.release()
