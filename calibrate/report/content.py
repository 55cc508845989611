"""What the report page shows; no markup and no files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Cut, HeldOut
from clipcal.calibrate.report.curves import Curves
from clipcal.calibrate.report.histogram import Histogram, Limit
from clipcal.calibrate.report.labels import LabelSource
from clipcal.calibrate.report.pictures import PictureRow, Shown

BandName = Literal["allow", "review", "block"]
BANDS: Final[tuple[BandName, ...]] = get_args(BandName)  # from the lowest scores up


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labelled images by label and decision; exact copies count once."""

    hits: int
    misses: int
    false_flags: int
    passed: int

    @property
    def positives(self) -> int:
        """Images that raters call positive."""
        return self.hits + self.misses

    @property
    def n(self) -> int:
        """All labelled images."""
        return self.hits + self.misses + self.false_flags + self.passed


@dataclass(frozen=True, slots=True)
class BandCount:
    """One of the three bands.

    Attributes
    ----------
    name : str
        Which.
    images : int
        Images of the corpus in it now.
    positives, negatives : int
        Labelled images in it, by label; exact copies count once.
    """

    name: BandName
    images: int
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class LevelTable:
    """Labelled images of one category by label and decision; exact copies count once.

    Attributes
    ----------
    decided : tuple of str
        The columns: the levels from low to high, then "undecided" where a decision is missing.
    labelled : tuple of str
        The rows: the levels from low to high.
    counts : tuple of (tuple of int)
        By row, then by column.
    """

    decided: tuple[str, ...]
    labelled: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        """All labelled images."""
        return sum(map(sum, self.counts))


@dataclass(frozen=True, slots=True)
class CutReport:
    """One category and level.

    Attributes
    ----------
    level : str
        The level.
    phrase : str
        How to call it beside the category: empty for yes or no, else the level, with "or
        above" where there is one above.
    cut : Cut
        From the contract.
    limits : tuple of Limit
        Its threshold, or with bands both.
    held, crossed : HeldOut or None
        How it did on the images kept out, and on those left out in turn.
    flags : int or None
        Images of the corpus that it flags now; None without a threshold.
    confusion : Confusion or None
        On every labelled image in the corpus; None without a threshold.
    bands : tuple of BandCount
        From the lowest; empty where none were asked for.
    curves : Curves or None
        What other thresholds do to the labelled images; None without a threshold, and where
        the labels are of one kind.
    pictures : tuple of PictureRow
        Rows that have at least one picture.
    """

    level: str
    phrase: str
    cut: Cut
    limits: tuple[Limit, ...] = ()
    held: HeldOut | None = None
    crossed: HeldOut | None = None
    flags: int | None = None
    confusion: Confusion | None = None
    bands: tuple[BandCount, ...] = ()
    curves: Curves | None = None
    pictures: tuple[PictureRow, ...] = ()


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """One category.

    Attributes
    ----------
    name : str
        The category.
    histogram : Histogram or None
        None where no cut has a threshold.
    levels : LevelTable or None
        Where there are more than two levels, and a threshold.
    cuts : tuple of CutReport
        From the lowest level up.
    """

    name: str
    histogram: Histogram | None
    levels: LevelTable | None
    cuts: tuple[CutReport, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows.

    Attributes
    ----------
    contract : Contract
        The calibration.
    images : int
        Embedded images of the corpus.
    unreadable : int
        Images of the corpus that could not be embedded.
    labelled : int
        Images with a label in one of the contract's categories; exact copies count once.
    source : LabelSource
        Where the labels come from, and which of them count in nothing.
    other_labels : tuple of str
        Names of the cuts for which there are not as many labels now as the contract counted.
    other_flags : tuple of str
        Names of the cuts that flag another number of images now than at calibration.
    categories : tuple of CategoryReport
        In the contract's order.
    """

    contract: Contract
    images: int
    unreadable: int
    labelled: int
    source: LabelSource
    other_labels: tuple[str, ...]
    other_flags: tuple[str, ...]
    categories: tuple[CategoryReport, ...]

    def cuts(self) -> Iterator[tuple[CategoryReport, CutReport]]:
        """Every cut with its category."""
        for category in self.categories:
            for cut in category.cuts:
                yield category, cut

    def shown(self) -> Iterator[Shown]:
        """Every picture on the page, as often as it is there."""
        for _, cut in self.cuts():
            for row in cut.pictures:
                yield from row.pictures
