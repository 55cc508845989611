"""What labels stand for, told beside them: how the images came to be seen first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipcal.calibrate.labels.sheet import name_key
from clipcal.index.judgements import CHOSEN
from clipcal.index.origins import chosen_cells, seen_otherwise
from clipcal.index.reading import Reading

if TYPE_CHECKING:
    from clipcal.calibrate.labels.voices import PoolLabel


def as_first_seen(
    corpus: Reading, labels: Sequence[PoolLabel], categories: Sequence[str]
) -> list[PoolLabel]:
    """Tell of each label whether its image has a label because of its scores.

    An image that was labelled for its scores, and later by somebody who says no such thing, is
    still no part of a random sample; one of a random sample that somebody looks at again for its
    scores still is. So a label in a chosen cell says that it is, every other that it is not, and
    whoever reads the labels elsewhere chooses the same cells.

    Parameters
    ----------
    corpus : Reading
        Keeps the journal.
    labels : sequence of PoolLabel
        Each with the origin that its rater told last.
    categories : sequence of str
        Those that labels count in.

    Returns
    -------
    list of PoolLabel
        The same labels, with these origins.
    """
    keys = [name_key(category) for category in categories]
    chosen = {(item, name_key(name)): seen for (item, name), seen in chosen_cells(corpus).items()}
    again = {
        item
        for item, column, _, _, origin in labels
        if origin in CHOSEN and (item, keys[column]) not in chosen
    }
    before = seen_otherwise(corpus, again) if again else {}
    otherwise = {(item, name_key(name)): seen for (item, name), seen in before.items()}
    told: list[PoolLabel] = []
    for item, column, rater, level, origin in labels:
        cell = (item, keys[column])
        if cell in chosen:
            seen = origin if origin in CHOSEN else chosen[cell]
        else:
            seen = otherwise.get(cell, "given") if origin in CHOSEN else origin
        told.append((item, column, rater, level, seen))
    return told
