"""Laws of heavy work: labelling never waits for it, and nothing comes of what was given up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from review_case import Case, case, folder, template
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from clipcal.index.judgements import history
from clipcal.service.gate import limits
from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.limits import ATTEMPT, Timely
from clipcal.service.gate.problems import Refused
from clipcal.service.gate.turns import Turns
from clipcal.service.routes import calibration, exchange, review
from clipcal.service.settings import Limits

__all__ = ["case", "folder", "template"]

PATIENT = 30.0


class Held:
    """In the place of a function: it goes on when it is let."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.on = threading.Event()

    def __call__(self, *given: Any, **named: Any) -> Any:
        assert self.on.wait(PATIENT)
        return self._function(*given, **named)


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
    held = Held(calibration.calibrate_corpus)
    monkeypatch.setattr(calibration, "calibrate_corpus", held)
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


def test_exports_of_labels_take_turns(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.label({1: "positive"})
    held = Held(exchange.export)
    monkeypatch.setattr(exchange, "export", held)
    with ThreadPoolExecutor(30) as threads:
        asked = [threads.submit(case.another_client().get, "/v1/labels/export") for _ in range(30)]
        until(lambda: sum(one.done() for one in asked) == 12)
        held.on.set()
        replies = [one.result().status_code for one in asked]
    assert sorted(replies) == [200] * 18 + [503] * 12


@pytest.fixture
def late(case: Case, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], None]:
    """Makes the requests that call a function be given up while it works."""
    attempts: list[Attempt] = []

    def begin(seconds: float) -> Attempt:
        attempts.append(Attempt(seconds))
        return attempts[-1]

    def give_up_in(module: Any, name: str) -> None:
        function = getattr(module, name)

        def slowly(*given: Any, **named: Any) -> Any:
            assert attempts[-1].give_up()
            return function(*given, **named)

        monkeypatch.setattr(module, name, slowly)

    monkeypatch.setattr(limits, "Attempt", begin)
    return give_up_in


def test_a_fit_that_was_given_up_saves_nothing(
    case: Case, late: Callable[[Any, str], None]
) -> None:
    case.label_truth(range(1, 151))
    late(calibration, "calibrate_corpus")
    assert case.post("calibrations", {"save": True}).status_code == 504
    assert not case.settings.calibration.exists()


def test_a_draw_that_was_given_up_is_not_kept(case: Case, late: Callable[[Any, str], None]) -> None:
    late(review, "suggest")
    assert case.post("review/rounds", {"images": 5}).status_code == 504
    assert case.context.workspace.corpus.suggestions() == []


def test_an_import_that_was_given_up_is_not_written(
    case: Case, late: Callable[[Any, str], None]
) -> None:
    late(exchange, "import_labels")
    reply = case.client.post(
        "/v1/labels/import",
        files={"file": ("labels", b"image,category,label\n1/0001.jpg,fire,yes\n")},
        data={"rater": "carol", "batch": "imported-1"},
    )
    assert reply.status_code == 504
    assert history(case.context.workspace.corpus, limit=9) == []


def test_what_has_begun_to_write_is_answered_however_long_it_takes() -> None:
    async def writing(scope: Any, receive: Any, send: Any) -> None:
        scope[ATTEMPT].hold()
        await asyncio.sleep(0.1)
        await PlainTextResponse("saved")(scope, receive, send)

    timely = Timely(writing, Limits(seconds=0.01))
    assert TestClient(timely).get("/").text == "saved"
