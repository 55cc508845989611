"""What a file may say and nobody can read: it is never taken to say that something is absent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from clipcal.calibrate.labels.exchange.cells import Cell, Looked, absent
from clipcal.calibrate.labels.exchange.records import Asked
from clipcal.calibrate.labels.frame import some

_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(slots=True)
class Unread:
    """Gathers what images may be marked with, beyond what is understood.

    Attributes
    ----------
    asked : Asked
        What is wanted.
    cells : set of (str, str)
        Images and categories of which the file may say that they are there.
    strangers : dict of str to None
        Images with words that no category is named, in the file's order.
    """

    asked: Asked
    cells: set[tuple[str, str]] = field(default_factory=set)
    strangers: dict[str, None] = field(default_factory=dict)

    def word(self, image: str, word: str) -> None:
        """Take a word that is no category: it may hold the names of some, or be a number."""
        if word.isdecimal():
            self.all_of(image)
        elif not self.within(image, word):
            self.strangers[image] = None

    def within(self, image: str, text: str) -> bool:
        """Take the categories whose names stand in a text, and return whether there are any."""
        held = _held(self.asked.categories, text)
        self.cells.update((image, category) for category in held)
        return bool(held)

    def one(self, image: str, category: str) -> None:
        """Take that an image may be marked with a category."""
        self.cells.add((image, category))

    def all_of(self, image: str) -> None:
        """Take that an image may be marked with any category."""
        self.cells.update((image, category) for category in self.asked.categories)

    def absent(
        self, cells: Sequence[Cell], looked: Iterable[Looked], among: Iterable[str]
    ) -> tuple[list[Cell], tuple[str, ...]]:
        """Say what is not there, as `absent` does, but not of what could not be read.

        Parameters
        ----------
        cells : sequence of Cell
            What was marked.
        looked : iterable of Looked
            Who looked at what.
        among : iterable of str
            The categories that were looked for.

        Returns
        -------
        cells : list of Cell
            What was not marked.
        notes : tuple of str
            What is left out, and what rests on words that no category is named.
        """
        found = absent(cells, looked, among)
        kept = [cell for cell in found if (cell.image, cell.category) not in self.cells]
        left = [cell for cell in found if (cell.image, cell.category) in self.cells]
        return kept, (*_on_left(left), *_on_strangers(list(self.strangers)))


@lru_cache(maxsize=10_000)  # as many words as files have, and each very often
def _held(categories: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Return the categories whose names stand in a text, such as both in "beer wine"."""
    spaced = _spaced(text)
    return tuple(category for category in categories if _spaced(category) in spaced)


def _spaced(name: str) -> str:
    return f" {' '.join(_WORD.findall(name.casefold()))} "


def _on_left(left: Sequence[Cell]) -> tuple[str, ...]:
    if not left:
        return ()
    named = dict.fromkeys(f"{cell.image} ({cell.category})" for cell in left)
    return (
        f"Categories are not taken as absent where the file may say otherwise in words that cannot "
        f"be read: {some(list(named))}.",
    )


def _on_strangers(images: Sequence[str]) -> tuple[str, ...]:
    if not images:
        return ()
    return (
        f"{len(images):,} images are marked with words that no category is named; they are taken "
        f"to lack the categories beside: {some(images)}. Where a category is meant, correct the "
        f"word.",
    )
