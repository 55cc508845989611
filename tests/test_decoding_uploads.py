"""Laws of decoding uploads: nobody's images keep the others waiting once their time is over."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from service_case import Service, is_problem, picture, start, stock

from clipcal.errors import ImageError
from clipcal.models.registry import find_bundle
from clipcal.models.runtimes.cores import allowed_cpus
from clipcal.service.gate.problems import Refused
from clipcal.service.model import decoding
from clipcal.service.model.decoding import Decoding
from clipcal.service.settings import Limits

__all__ = ["start", "stock"]

PATIENT = 30.0
PREPROCESSING = find_bundle("builtin").manifest.preprocessing


class Watched:
    """In the place of `load_pixels`: counts what is decoded, and goes on when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._load = decoding.load_pixels
        self.begun, self.ended, self.on = threading.Semaphore(0), 0, threading.Event()
        self.then: Callable[[], object] = lambda: None
        monkeypatch.setattr(decoding, "load_pixels", self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.begun.release()
        assert self.on.wait(PATIENT)
        pixels = self._load(*given, **named)
        self.ended += 1
        self.then()
        return pixels


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def line(length: int, size: Callable[[int], tuple[int, int]] = lambda n: (1, n)) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size(length)).save(stream, "PNG")
    return stream.getvalue()


def within(seconds: float) -> float:
    return time.monotonic() + seconds


def test_what_nobody_waits_for_any_more_is_not_decoded(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(decoding, "time", SimpleNamespace(monotonic=lambda: now[0]))
    some, until = Decoding(Limits(), exact=False), now[0] + 60
    watched.on.set()
    some.decode(picture(1), PREPROCESSING, until)
    now[0] += 60
    with pytest.raises(Refused) as late:
        some.decode(picture(2), PREPROCESSING, until)
    assert (late.value.status, watched.ended) == (504, 1)
    some.decode(picture(3), PREPROCESSING, now[0] + 60)  # its turn was given back


def test_whoever_waits_for_a_turn_waits_no_longer_than_was_promised(watched: Watched) -> None:
    some, others = Decoding(Limits(), exact=False), allowed_cpus()
    with ThreadPoolExecutor(others) as clients:
        held = [
            clients.submit(some.decode, picture(n), PREPROCESSING, within(PATIENT))
            for n in range(others)
        ]
        for _ in held:
            assert watched.begun.acquire(timeout=PATIENT)
        with pytest.raises(Refused) as late:
            some.decode(picture(), PREPROCESSING, within(0.05))
        watched.on.set()
        assert not any(isinstance(one.result(), ImageError) for one in held)
    assert (late.value.status, watched.ended) == (504, others)


def test_a_service_that_ends_decodes_nothing_more(
    start: Callable[..., Service], watched: Watched
) -> None:
    service = start()
    watched.on.set()
    watched.then = service.context.encoder.close
    reply = service.send("embed", *(picture(number) for number in range(4)))
    assert "ending" in is_problem(reply, 503)
    assert watched.ended == 1


def test_images_of_a_request_that_is_given_up_let_the_next_one_in(
    start: Callable[..., Service], watched: Watched
) -> None:
    service = start(limits={"seconds": 0.3})
    images = [picture(number) for number in range(8)]
    is_problem(service.send("embed", *images), 504)
    watched.on.set()
    until = within(PATIENT)
    while service.send("embed", picture()).status_code != 200:
        assert time.monotonic() < until
    assert watched.ended < len(images)


@pytest.mark.parametrize("size", [lambda n: (1, n), lambda n: (n, 1)])
def test_a_line_of_pixels_is_refused_before_it_is_decoded(
    size: Callable[[int], tuple[int, int]],
) -> None:
    some = Decoding(Limits(), exact=False)
    told = some.decode(line(65_536, size), PREPROCESSING, within(PATIENT))
    assert isinstance(told, ImageError)
    assert "65,535" in str(told)
    longest = some.decode(line(65_535, size), PREPROCESSING, within(PATIENT))
    assert not isinstance(longest, ImageError)
