"""On which images raters disagree, for somebody to settle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.calibrate.labels.table import LabelTable
from clipcal.errors import LabelError
from clipcal.files import writing_rows


@dataclass(frozen=True, slots=True)
class Dispute:
    """An image and a category on which not everybody says the same.

    Attributes
    ----------
    image, category : str
        What was rated.
    votes : tuple of int
        Ratings per level, from low to high.
    majority : str or None
        The label as it is aggregated; None where that is unknown.
    against : float
        Share of the ratings that are not the most frequent one.
    entropy : float
        Of the ratings, in bits: 0 where all agree, 1 where two levels have half each.
    """

    image: str
    category: str
    votes: tuple[int, ...]
    majority: str | None
    against: float
    entropy: float


def disputes(table: LabelTable) -> list[Dispute]:
    """List what raters disagree on, the most disputed first.

    Parameters
    ----------
    table : LabelTable
        Labels with votes; without any there are no disputes.

    Returns
    -------
    list of Dispute
        By falling entropy; of equal ones those with more ratings first, then in the file's order.
    """
    if table.votes is None:
        return []
    size = (len(table.images), len(table.levels))
    tallies = np.stack(
        [table.votes.tally(column, *size) for column in range(len(table.categories))], axis=1
    )
    image, category = np.nonzero((tallies > 0).sum(axis=2) > 1)
    votes = tallies[image, category]
    entropy = _entropy(votes)
    order = np.lexsort((-votes.sum(axis=1), -entropy.round(9)))
    names = [*table.levels, None]  # -1 is the last
    return [
        Dispute(
            image=table.images[image[place]],
            category=table.categories[category[place]],
            votes=tuple(votes[place].tolist()),
            majority=names[table.values[image[place], category[place]]],
            against=float(1 - votes[place].max() / votes[place].sum()),
            entropy=float(entropy[place]),
        )
        for place in order.tolist()
    ]


def write_disputes(found: Sequence[Dispute], levels: Sequence[str], path: Path) -> None:
    """Write disputes as CSV in UTF-8, whole or not at all: image, category, votes, majority.

    Parameters
    ----------
    found : sequence of Dispute
        The rows.
    levels : sequence of str
        Names of the columns of votes.
    path : pathlib.Path
        The file; its folder must exist.

    Raises
    ------
    LabelError
        If it cannot be written.
    """
    again = "clipcal agreement LABELS.csv -o FILE.csv"
    with writing_rows(path, LabelError, "The disputed images", again) as write:
        write([("image", "category", *levels, "majority")])
        write((one.image, one.category, *one.votes, one.majority or "") for one in found)


def _entropy(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = votes / votes.sum(axis=1, keepdims=True)
    bits: NDArray[np.float64] = special.entr(shares).sum(axis=1) / np.log(2)
    return bits
