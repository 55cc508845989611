"""Laws of heavy work: labelling never waits for it, and nothing comes of what was given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from review_case import Case, case, closing, folder, served, template

from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.problems import Refused
from clipcal.service.gate.turns import Turns
from clipcal.service.routes import calibration, review
from clipcal.service.settings import Limits

__all__ = ["case", "folder", "template"]

PATIENT = 30.0


@pytest.fixture
def hasty(folder: Path) -> Iterator[Case]:
    """A service that gives every request up soon."""
    yield from closing(served(folder, limits=Limits(seconds=0.5)))


class Held:
    """In the place of a function: it begins, and goes on when it is let."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.begun, self.on, self.ended = (threading.Event() for _ in range(3))

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.begun.set()
        assert self.on.wait(PATIENT)
        try:
            return self._function(*given, **named)
        finally:
            self.ended.set()


def hold(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Held:
    held = Held(getattr(module, name))
    monkeypatch.setattr(module, name, held)
    return held


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- turns ------------------------------------------------------------------------------------


def test_so_many_work_so_many_wait_and_the_others_are_refused() -> None:
    turns, on = Turns(2, 3), threading.Event()
    working: list[int] = []

    def work(number: int) -> int:
        try:
            with turns.turn(Attempt(PATIENT)):
                working.append(number)
                assert on.wait(PATIENT)
        except Refused as refusal:
            return refusal.status
        return 200

    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(work, number) for number in range(20)]
        until(lambda: sum(one.done() for one in asked) == 15)
        until(lambda: len(working) == 2)
        on.set()
        assert sorted(one.result() for one in asked) == [200] * 5 + [503] * 15
    with turns.turn(Attempt(PATIENT)), turns.turn(Attempt(PATIENT)):
        pass  # every place is given back


def test_whoever_waits_too_long_leaves_the_line() -> None:
    turns = Turns(1, 1)
    with turns.turn(Attempt(PATIENT)):
        for _ in range(3):
            with pytest.raises(Refused) as refusal, turns.turn(Attempt(0.01)):
                pass
            assert refusal.value.status == 504
    with turns.turn(Attempt(PATIENT)):
        pass


def test_a_request_is_given_up_or_writes_and_never_both() -> None:
    written, left = Attempt(1), Attempt(1)
    written.hold()
    assert not written.give_up()
    assert left.give_up()
    for late in (left.hold, left.check):
        with pytest.raises(Refused):
            late()


# --- over HTTP --------------------------------------------------------------------------------


def test_people_label_while_more_fits_are_asked_for_than_may_wait(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.label_truth(range(1, 151))
    held = hold(monkeypatch, calibration, "calibrate_corpus")
    with ThreadPoolExecutor(30) as threads:
        fits = [
            threads.submit(case.another_client().post, "/v1/calibrations", json={})
            for _ in range(30)
        ]
        until(lambda: sum(one.done() for one in fits) == 25)
        case.label({200: "positive"})
        assert case.get("review/queue").status_code == 200
        tried = case.post("what-if", {"trials": [{"category": "fire", "threshold": 0.2}]})
        assert tried.status_code == 200
        assert case.get("review/outlook").status_code == 200
        held.on.set()
        replies = [one.result() for one in fits]
    assert sorted(one.status_code for one in replies) == [200] * 5 + [503] * 25
    refused = next(one for one in replies if one.status_code == 503)
    assert refused.headers["retry-after"] == "1"


def test_a_fit_that_was_given_up_saves_nothing(
    hasty: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty.label_truth(range(1, 151))
    held = hold(monkeypatch, calibration, "calibrate_corpus")
    assert hasty.post("calibrations", {"save": True}).status_code == 504
    held.on.set()
    assert held.ended.wait(PATIENT)
    with hasty.context.fits.turn(Attempt(PATIENT)):  # what it does after that is done
        pass
    time.sleep(0.2)
    assert not hasty.settings.calibration.exists()


def test_a_draw_that_was_given_up_is_not_kept(hasty: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    held = hold(monkeypatch, review, "suggest")
    assert hasty.post("review/rounds", {"images": 5}).status_code == 504
    held.on.set()
    assert held.ended.wait(PATIENT)
    with hasty.context.draws.turn(Attempt(PATIENT)):
        pass
    assert hasty.context.workspace.corpus.suggestions() == []


def test_a_save_that_has_begun_is_answered_however_long_it_takes(
    hasty: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty.label_truth(range(1, 151))

    class Slow:
        def __init__(self, done: Any) -> None:
            self.contract, self.notes = done.contract, done.notes

        def keep(self, _: Any) -> None:
            time.sleep(0.6)

    fit = calibration.calibrate_corpus
    monkeypatch.setattr(calibration, "calibrate_corpus", lambda *a, **k: Slow(fit(*a, **k)))
    assert hasty.post("calibrations", {"save": True}).json()["saved"]
    assert hasty.settings.calibration.exists()
