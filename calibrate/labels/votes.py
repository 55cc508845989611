"""Several labels of one thing, brought down to one.

A *cell* is one number for whatever is labelled: an image and a category, and perhaps a rater.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.raters import dawid_skene, most_probable

Codes = NDArray[np.int64]  # (votes,) or (cells,)
Aggregate = Literal["majority", "dawid-skene"]

ANONYMOUS = -1


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What each rater said of each image and category, before it was brought down to one label.

    Attributes
    ----------
    image, category : Int64[(v,)]
        Index into the label table's images and categories.
    rater : Int64[(v,)]
        Index into `raters`; -1 where only the number of raters is known.
    level : Int8[(v,)]
        Index into the label table's levels; never unknown.
    raters : tuple of str
        Names of the raters; empty where they are anonymous.
    """

    image: Codes
    category: Codes
    rater: Codes
    level: NDArray[np.int8]
    raters: tuple[str, ...]

    def of(self, category: int) -> Votes:
        """Return the votes on one category."""
        return self.where(self.category == category)

    def where(self, kept: NDArray[np.bool_]) -> Votes:
        """Return some of the votes: Bool[(v,)]."""
        return Votes(
            self.image[kept], self.category[kept], self.rater[kept], self.level[kept], self.raters
        )

    def tally(self, category: int, images: int, levels: int) -> Codes:
        """Count the votes on one category: Int64[(images, levels)]."""
        kept = self.category == category
        cells = self.image[kept] * levels + self.level[kept]
        return np.bincount(cells, minlength=images * levels).reshape(images, levels)


def agree(cell: Codes, level: Codes) -> tuple[Codes, Codes, Codes]:
    """Merge equal levels of each cell; return cells, levels and the cells in contradiction."""
    if (cell[1:] > cell[:-1]).all():  # as where nothing is repeated
        return cell, level, cell[:0]
    order = np.argsort(cell, kind="stable")
    cell, level = cell[order], level[order]
    start = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    lowest, highest = np.minimum.reduceat(level, start), np.maximum.reduceat(level, start)
    same = lowest == highest
    return cell[start][same], lowest[same], cell[start][~same]


def majority(
    cell: Codes, level: Codes, levels: int
) -> tuple[Codes, Codes, Codes, NDArray[np.bool_]]:
    """Take each cell's most frequent level, the higher one of a tie.

    Parameters
    ----------
    cell, level : Int64[(votes,)]
        What is labelled, and as what.
    levels : int
        How many levels there are.

    Returns
    -------
    cells, level, votes : Int64[(cells,)]
        The distinct cells, the level of each, and how many votes it had.
    tied : Bool[(cells,)]
        Where more than one level was the most frequent.
    """
    cells, index = np.unique(cell, return_inverse=True)
    tally = np.bincount(index * levels + level, minlength=len(cells) * levels)
    tally = tally.reshape(-1, levels)
    best = levels - 1 - np.argmax(tally[:, ::-1], axis=1)
    tied = (tally == tally.max(axis=1, initial=0)[:, None]).sum(axis=1) > 1
    return cells, best, tally.sum(axis=1), tied


def most_chosen(image: Codes, chosen: Codes, rater: Codes) -> tuple[Codes, Codes]:
    """Keep, per image, the class or classes that most raters chose."""
    classes, raters = int(chosen.max(initial=0)) + 1, int(rater.max(initial=0)) + 1
    single = np.unique((image * classes + chosen) * raters + rater)
    pairs, votes = np.unique(single // raters, return_counts=True)
    image, chosen = np.divmod(pairs, classes)
    most = np.zeros(int(image.max(initial=-1)) + 1, np.int64)
    np.maximum.at(most, image, votes)
    kept = votes == most[image]
    return image[kept], chosen[kept]


def ballots(
    image: Codes,
    chosen: Codes,
    rater: Codes,
    category_of: Codes,
    categories: int,
    raters: tuple[str, ...],
) -> Votes:
    """Turn choices of a class into votes: a yes for the class, a no for every other category.

    A rater who chose several classes for one image has said nothing of these.

    Parameters
    ----------
    image, chosen, rater : Int64[(choices,)]
        Who chose which class for which image.
    category_of : Int64[(classes,)]
        Index of each class among the categories; -1 where it is none.
    categories : int
        How many categories there are.
    raters : tuple of str
        Names of the raters.

    Returns
    -------
    Votes
        One per image, rater and category, less what is unknown.
    """
    unit, classes, several = _units(image, chosen, rater, len(raters))
    ballot = np.unique(unit)
    row, category = np.searchsorted(ballot, unit), category_of[classes]
    level = np.zeros((len(ballot), categories), np.int8)
    kept = category >= 0
    level[row[kept], category[kept]] = np.where(several[kept], -1, 1)
    row, category = np.nonzero(level >= 0)
    image, rater = np.divmod(ballot[row], len(raters))
    return Votes(image, category, rater, level[row, category], raters)


def likely_levels(votes: Votes, images: int, categories: int, levels: int) -> Codes:
    """Return each cell's most probable level by Dawid and Skene: Int64[(images, categories)].

    A rater's errors are estimated category by category. -1 where nobody voted.
    """
    likely = np.full((images, categories), -1, np.int64)
    for category in range(categories):
        some = votes.of(category)
        posterior = dawid_skene(
            some.image, some.rater, some.level, images, len(votes.raters), levels
        )
        voted = np.unique(some.image)
        best = levels - 1 - np.argmax(most_probable(posterior)[:, ::-1], axis=1)
        likely[voted, category] = best[voted]
    return likely


def likely_class(
    image: Codes, chosen: Codes, rater: Codes, images: int, raters: int, classes: int
) -> Codes:
    """Return ``image * classes + class`` of the most probable classes by Dawid and Skene.

    A rater who chose several classes for one image has said nothing of it; an image of which
    nobody has said anything else has no class.
    """
    unit, chosen, several = _units(image, chosen, rater, raters)
    image, rater = np.divmod(unit[~several], raters)
    posterior = dawid_skene(image, rater, chosen[~several], images, raters, classes)
    most = most_probable(posterior)
    most[np.bincount(image, minlength=images) == 0] = False
    return np.flatnonzero(most)


def changed_by_errors(changed: int, number: int, what: str) -> str:
    """Note how many labels differ from the majority because raters' errors were estimated."""
    return (
        f"Raters' errors are estimated (Dawid and Skene); that changed {changed} of {number} "
        f"{what} against the majority."
    )


def _units(
    image: Codes, chosen: Codes, rater: Codes, raters: int
) -> tuple[Codes, Codes, NDArray[np.bool_]]:
    """Return distinct ``image * raters + rater`` and class, and where a rater chose several."""
    classes = int(chosen.max(initial=0)) + 1
    unit, chosen = np.divmod(np.unique((image * raters + rater) * classes + chosen), classes)
    _, index, number = np.unique(unit, return_inverse=True, return_counts=True)
    return unit, chosen, number[index] > 1
