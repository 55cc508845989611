"""Work that is cheaper done together: who has the turn takes along what others wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class Together(Generic[Wish, Answer]):
    """A function of many wishes, called by threads that have one each.

    One call runs at a time. A thread that comes meanwhile waits; when that call is over, one of the
    waiting threads makes the next call for all of them. Who comes alone waits for nobody.

    Parameters
    ----------
    run : callable
        From n wishes to n answers. What it raises is raised to each of the n threads.
    alike : callable
        Only wishes of which this is equal are done in one call.
    most : int
        The most wishes of one call.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Wish]], Sequence[Answer]],
        *,
        alike: Callable[[Wish], Hashable],
        most: int,
    ) -> None:
        self._run, self._alike, self._most = run, alike, most
        self._waiting: list[tuple[Wish, Future[Answer]]] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wishes wait for a call."""
        return len(self._waiting)

    def __call__(self, wish: Wish) -> Answer:
        """Have a wish answered, by this thread or by another."""
        promise: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((wish, promise))
        with self._turn:
            while not promise.done():
                self._answer(self._next())
        return promise.result()

    def _next(self) -> list[tuple[Wish, Future[Answer]]]:
        """Take the wish that waits longest, and those that are like it."""
        batch: list[tuple[Wish, Future[Answer]]] = []
        rest: list[tuple[Wish, Future[Answer]]] = []
        with self._lock:
            kind = self._alike(self._waiting[0][0])
            for one in self._waiting:
                fits = len(batch) < self._most and self._alike(one[0]) == kind
                (batch if fits else rest).append(one)
            self._waiting = rest
        return batch

    def _answer(self, batch: Sequence[tuple[Wish, Future[Answer]]]) -> None:
        try:
            answers = list(zip(batch, self._run([wish for wish, _ in batch]), strict=True))
        except BaseException as error:
            for _, promise in batch:
                promise.set_exception(error)
        else:
            for (_, promise), answer in answers:
                promise.set_result(answer)
