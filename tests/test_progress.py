"""Laws of what a waiting user is told."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from clipcal.commands.progress import SECONDS_BETWEEN_LINES, _duration, _Lines, _Rate, progress


class Clock:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr("clipcal.commands.progress.time", turned)
    return turned


def test_rate_and_time_left_follow_from_what_took_the_slow_way(clock: Clock) -> None:
    rate = _Rate()
    clock.now += 10
    # 20 in 10 s are 2 a second; the 100 skipped took no time, the other 180 may take 90 s.
    assert rate.describe(120, 300, 20) == "2.0/s, 1 min 30 s left"


def test_without_work_there_is_no_rate(clock: Clock) -> None:
    rate = _Rate()
    assert rate.describe(5, 10, 5) == ""
    clock.now += 10
    assert rate.describe(5, 10, 0) == ""


def test_at_the_end_no_time_is_left_to_tell(clock: Clock) -> None:
    rate = _Rate()
    clock.now += 4
    assert rate.describe(10, 10, 10) == "2.5/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7384, "2 h 03 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_told_in_the_two_largest_units(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


def test_a_log_gets_a_line_now_and_then(clock: Clock) -> None:
    log = io.StringIO()
    lines = _Lines("Embedding [x]", Console(file=log, width=100))
    for done in range(1, 3001):
        clock.now += 1 / 128
        lines.tell(done, 3840, done)
    assert log.getvalue().splitlines() == [
        "Embedding [x] 1,280 of 3,840 128.0/s, 20 s left",
        "Embedding [x] 2,560 of 3,840 128.0/s, 10 s left",
    ]


def test_what_is_no_terminal_gets_lines_on_standard_error(
    clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    with progress("Drawing") as tell:
        clock.now += SECONDS_BETWEEN_LINES
        tell(1, 2, 1)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == "Drawing 1 of 2 0.1/s, 10 s left\n"


def test_quiet_says_nothing(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with progress("Drawing", quiet=True) as tell:
        clock.now += 10 * SECONDS_BETWEEN_LINES
        tell(1, 2, 1)
    said = capfd.readouterr()
    assert said.out + said.err == ""
