"""Progress with rate and time left: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0

Tell = Callable[[int, int, int], None]  # done, total, and how many of them took the slow way


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Tell]:
    """Show progress on standard error while the block runs.

    Parameters
    ----------
    label : str
        What is being done.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be told ``(done, total, worked)``: rate and time left follow from `worked`, the number
        done the slow way, since what is skipped takes no time.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda done, total, worked: None
    elif console.is_terminal:
        with _Bar(label, console) as bar:
            yield bar.tell
    else:
        yield _Lines(label, console).tell


class _Rate:
    """Images a second since this was made, and what that means for the rest."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def describe(self, done: int, total: int, worked: int) -> str:
        seconds = time.perf_counter() - self._started
        if worked == 0 or seconds == 0:
            return ""
        rate = worked / seconds
        left = (total - done) / rate
        return f"{rate:.1f}/s, {_duration(left)} left" if done < total else f"{rate:.1f}/s"


class _Bar:
    def __init__(self, label: str, console: Console) -> None:
        self._rate = _Rate()
        columns = (SpinnerColumn(), TextColumn(label), BarColumn(), MofNCompleteColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[rate]}"), console=console)
        self._task = self._bar.add_task(label, rate="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, done: int, total: int, worked: int) -> None:
        rate = self._rate.describe(done, total, worked)
        self._bar.update(self._task, completed=done, total=total, rate=rate)


class _Lines:
    def __init__(self, label: str, console: Console) -> None:
        self._label, self._console, self._rate = label, console, _Rate()
        self._next = time.perf_counter() + SECONDS_BETWEEN_LINES

    def tell(self, done: int, total: int, worked: int) -> None:
        if time.perf_counter() >= self._next:
            self._next = time.perf_counter() + SECONDS_BETWEEN_LINES
            rate = self._rate.describe(done, total, worked)
            self._console.print(f"{self._label} {done:,} of {total:,} {rate}", markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
