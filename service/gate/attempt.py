"""A request's time, and that nothing is written for a client who was told that it had run out."""

from __future__ import annotations

import threading
import time

from clipcal.service.gate.problems import Refused, too_slow


class Attempt:
    """A request on its way: it is given up, or else it writes; never both.

    Parameters
    ----------
    seconds : float
        Until it is given up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, time.monotonic() + seconds
        self._lock = threading.Lock()
        self._given_up = self._writes = False

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._until - time.monotonic())

    @property
    def too_late(self) -> Refused:
        """What its client is told."""
        return too_slow(self._seconds)

    def give_up(self) -> bool:
        """Give it up, unless it writes by now; returns whether it is."""
        with self._lock:
            self._given_up = not self._writes
            return self._given_up

    def check(self) -> None:
        """Stop work that nobody waits for any more: 504."""
        if self._given_up:
            raise self.too_late

    def hold(self) -> None:
        """From here on it writes, and its client is told how that ended; 504 if it is too late."""
        with self._lock:
            self._writes = not self._given_up
        self.check()
