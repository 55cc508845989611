"""Where the time of a run went: seconds by stage, summed over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal

Stage = Literal["read", "decode", "infer", "write"]


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds that threads spent in each stage; threads that wait for a core count as well.

    Attributes
    ----------
    read : float
        Reading files and hashing them.
    decode : float
        Decoding, resizing and cropping, without the wait for memory to do it in.
    infer : float
        In the model.
    write : float
        Committing embeddings and outcomes.
    """

    read: float = 0.0
    decode: float = 0.0
    infer: float = 0.0
    write: float = 0.0

    def shares(self) -> dict[str, float]:
        """Each stage's share of the sum; empty where nothing was done."""
        seconds = asdict(self)
        total = sum(seconds.values())
        return {stage: spent / total for stage, spent in seconds.items()} if total > 0 else {}


@dataclass(slots=True)
class Clock:
    """Adds up the seconds that many threads spend in each stage."""

    _seconds: dict[Stage, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def of(self, stage: Stage) -> Iterator[None]:
        """Count the time of the block as time of `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count `seconds` more for `stage`; less than none takes time back that was no work."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def stages(self) -> Stages:
        """The sums so far."""
        with self._lock:
            return Stages(**self._seconds)
