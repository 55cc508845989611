"""Laws of what threads do together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from clipcal.index.together import Together

PATIENCE = 30.0  # seconds; a busy machine is no failure


class Slow:
    """A function of many numbers that holds its first call until it is told to go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        self.began.set()
        assert self.go_on.wait(PATIENCE)
        if any(number < 0 for number in numbers):
            raise ValueError("a negative number")
        return [number * number for number in numbers]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def parity(number: int) -> int:
    return number % 2


def all_wait(
    together: Together[int, int], slow: Slow, ask: Callable[[int], Future[int]], numbers: list[int]
) -> list[Future[int]]:
    """Ask for the first number, and for the others, in order, while it is worked on."""
    asked = [ask(numbers[0])]
    assert slow.began.wait(PATIENCE)
    for count, number in enumerate(numbers[1:], 1):
        asked.append(ask(number))
        until = time.monotonic() + PATIENCE
        while together.waiting < count and time.monotonic() < until:
            time.sleep(0.001)
    assert together.waiting == len(numbers) - 1
    slow.go_on.set()
    return asked


def test_what_waits_is_one_call_of_those_that_are_alike(
    slow: Slow, threads: ThreadPoolExecutor
) -> None:
    together = Together(slow, alike=parity, most=3)
    numbers = [2, 4, 3, 6, 8, 10, 5]
    asked = all_wait(together, slow, lambda one: threads.submit(together, one), numbers)
    assert [one.result(PATIENCE) for one in asked] == [number * number for number in numbers]
    assert slow.calls == [[2], [4, 6, 8], [3, 5], [10]]


def test_who_comes_alone_waits_for_nobody(slow: Slow) -> None:
    slow.go_on.set()
    together = Together(slow, alike=parity, most=3)
    assert [together(number) for number in (1, 2, 3)] == [1, 4, 9]
    assert slow.calls == [[1], [2], [3]]


def test_an_error_is_told_to_all_it_hit_and_the_others_are_answered(
    slow: Slow, threads: ThreadPoolExecutor
) -> None:
    together = Together(slow, alike=parity, most=3)
    asked = all_wait(together, slow, lambda one: threads.submit(together, one), [1, -2, 4, 5])
    assert [asked[place].result(PATIENCE) for place in (0, 3)] == [1, 25]
    for place in (1, 2):
        with pytest.raises(ValueError, match="a negative number"):
            asked[place].result(PATIENCE)
    assert together(6) == 36
