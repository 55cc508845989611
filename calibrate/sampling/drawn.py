"""A draw of images to label: what was wished for, what came of it, and keeping it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipcal.errors import CalibrationError, DrawOutdated
from clipcal.files import writing
from clipcal.index.names import cell_name
from clipcal.index.store import Corpus

Method = Literal["importance", "stratified"]
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    images : int
        How many to label.
    category : str
        In which; empty for all.
    audit : float
        The share drawn uniformly, in [0, 1].
    method : {"importance", "stratified"} or None
        How the others are picked; by default importance where there are thresholds.
    seed : int
        Of the draw.
    """

    images: int = 40
    category: str = ""
    audit: float = 0.5
    method: Method | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Suggested:
    """An image to label.

    Attributes
    ----------
    image : str
        Its name.
    category : str
        The category whose threshold its score is nearest to; without thresholds, the one in
        which it stands out most.
    score : float
        In that category.
    threshold : float or None
        Of that category.
    audit : bool
        Drawn uniformly, and not for its scores.
    inclusion : float
        With what probability it was drawn.
    """

    image: str
    category: str
    score: float
    threshold: float | None
    audit: bool
    inclusion: float


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A draw that the corpus does not know of yet.

    Attributes
    ----------
    suggestions : tuple of Suggested
        What to label, in random order: whoever stops half way has labelled a random half.
    categories : tuple of str
        To be labelled in.
    known : int
        Further images drawn that were labelled or suggested before, and need no new label.
    pending : int
        Images of earlier rounds that have no label yet.
    frame : int
        Images that could be picked.
    method : str
        How images were picked.
    wish : Wish
        What was asked for.
    """

    suggestions: tuple[Suggested, ...]
    categories: tuple[str, ...]
    known: int
    pending: int
    frame: int
    method: Method
    wish: Wish
    _drawn: tuple[tuple[int, float, bool], ...]
    _given: tuple[int, ...]
    _after: int  # the number of the last round that was known

    @property
    def exhausted(self) -> bool:
        """Whether all that could be picked was picked."""
        return sum(not audit for _, _, audit in self._drawn) == self.frame

    def remember(self, corpus: Corpus) -> int:
        """Keep the draw with the corpus; returns the number of the round.

        Raises
        ------
        DrawOutdated
            If a round came since the draw was made.
        StoreError
            If the corpus cannot be written.
        """
        return corpus.add_suggestions(
            self._drawn,
            method=self.method,
            seed=self.wish.seed,
            category=self.wish.category,
            frame=self.frame,
            given=self._given,
            after=self._after,
        )

    def keep(self, corpus: Corpus, sheet: Path) -> int:
        """Write the sheet to fill in, and keep the draw with the corpus: both or neither.

        Parameters
        ----------
        corpus : Corpus
            The corpus.
        sheet : pathlib.Path
            A CSV file that does not exist yet.

        Returns
        -------
        int
            The number of the round.

        Raises
        ------
        CalibrationError
            If the file exists or cannot be written.
        DrawOutdated
            If a round came since the draw was made.
        StoreError
            If the corpus cannot be written.
        """
        if sheet.exists():
            raise CalibrationError(
                f"{sheet} exists and may hold labels. Name another file: "
                f"clipcal suggest -o {sheet.stem}_{len(corpus.rounds()) + 1}.csv"
            )
        with writing(sheet, CalibrationError, "The sheet", "clipcal suggest -o FILE.csv") as part:
            part.write_bytes(self._sheet())
            return self.remember(corpus)

    def _sheet(self) -> bytes:
        """Return a label file with blank cells; scores would sway whoever fills it in."""
        text = io.StringIO()
        blank = [""] * len(self.categories)
        rows = [
            ("image", *self.categories),
            *((cell_name(one.image), *blank) for one in self.suggestions),
        ]
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode("utf-8", "surrogateescape")


def draw_until_kept(draw: Callable[[], Drawn], keep: Callable[[Drawn], int]) -> tuple[Drawn, int]:
    """Draw and keep; where somebody else's round came in between, draw again.

    Parameters
    ----------
    draw : callable
        Makes a draw of what the corpus knows now.
    keep : callable
        Keeps it, and returns the number of the round.

    Returns
    -------
    drawn : Drawn
        What was kept.
    number : int
        Of its round.

    Raises
    ------
    DrawOutdated
        If a round came in between five times in a row.
    """
    for _ in range(_TRIES - 1):
        drawn = draw()
        with suppress(DrawOutdated):
            return drawn, keep(drawn)
    drawn = draw()
    return drawn, keep(drawn)
