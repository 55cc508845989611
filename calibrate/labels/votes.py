"""Several labels of one thing, brought down to one.

A *cell* is one number for whatever is labelled: an image and a category, and perhaps a rater.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]  # (votes,) or (cells,)


def agree(cell: Codes, level: Codes) -> tuple[Codes, Codes, Codes]:
    """Merge equal levels of each cell; return cells, levels and the cells in contradiction."""
    if not len(cell):
        return cell, level, cell
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
