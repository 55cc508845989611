"""One encoder for all clients: what waits at the same time is encoded in one batch.

Requests wait in one queue. As many threads as the encoder can use take what is there, up to the
largest batch, whenever they are free; they never wait for a batch to fill. So a request that comes
alone is encoded at once, and under load batches fill by themselves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipcal.service.gate.problems import overloaded

Vector = NDArray[np.float32]  # (dim,), L2-normalised
Vectors = NDArray[np.float32]  # (n, dim), rows L2-normalised
One = TypeVar("One")


class Batches(Generic[One]):
    """A bounded queue in front of a function that is best called with many things at once.

    Parameters
    ----------
    run : callable
        From n things to float32 (n, dim); called from `threads` threads at once.
    largest : int
        The most things of one call.
    threads : int
        How many calls may run at once.
    waiting : int
        The most things that may wait.
    seen : callable, optional
        Told the size of every batch before it runs.
    name : str
        Of the threads.
    """

    def __init__(
        self,
        run: Callable[[list[One]], Vectors],
        *,
        largest: int,
        threads: int,
        waiting: int,
        seen: Callable[[int], object] | None = None,
        name: str = "encode",
    ) -> None:
        self._run, self._largest, self._most, self._seen = run, largest, waiting, seen
        self._queue: deque[tuple[One, Future[Vector]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many things wait."""
        return len(self._queue)

    def submit(self, things: Sequence[One]) -> list[Future[Vector]]:
        """Let `things` wait for their turn, all of them or none.

        Returns
        -------
        list of Future
            Of a vector each; one that is cancelled before its turn is not encoded.

        Raises
        ------
        Refused
            503 if there is no room for all of them, or the service is ending.
        """
        promised = [(thing, Future[Vector]()) for thing in things]
        with self._changed:
            if self._closed:
                raise overloaded("The service is ending. Ask again when it has been started.")
            if len(self._queue) + len(promised) > self._most:
                raise overloaded(
                    f"{len(self._queue)} are waiting for the model, and at most {self._most} may. "
                    f"Ask again in a second, or send fewer at once."
                )
            self._queue.extend(promised)
            self._changed.notify(len(promised))
        return [future for _, future in promised]

    def close(self) -> None:
        """Encode nothing more, refuse what waits, and end the threads."""
        with self._changed:
            self._closed = True
            left, self._queue = self._queue, deque()
            self._changed.notify_all()
        for _, future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(overloaded("The service is ending."))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[tuple[One, Future[Vector]]]:
        """Wait for something to do, and take as much of it as fits; empty when it is over."""
        batch: list[tuple[One, Future[Vector]]] = []
        with self._changed:
            while not batch and not self._closed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                while self._queue and len(batch) < self._largest:
                    thing, future = self._queue.popleft()
                    if future.set_running_or_notify_cancel():
                        batch.append((thing, future))
        return batch

    def _answer(self, batch: list[tuple[One, Future[Vector]]]) -> None:
        """Encode a batch; what fails is told to those who wait for it, and the thread goes on."""
        try:
            if self._seen is not None:
                self._seen(len(batch))
            vectors = self._run([thing for thing, _ in batch])
            answers = list(zip(batch, vectors, strict=True))
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)
        else:
            for (_, future), vector in answers:
                future.set_result(vector)
