"""Images as they go over the wire: with names, decisions and labels, and without paths."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from clipcal.calibrate.labels.pool import Pool
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.index.lookup import items_by_id
from clipcal.index.records import Item as CorpusItem
from clipcal.service.schemas.common import Decision, Item
from clipcal.service.served.view import Judged, View

DIGITS = 6


def present_items(view: View, pool: Pool, places: Iterable[int]) -> list[Item]:
    """Describe images in brief.

    Parameters
    ----------
    view : View
        The corpus.
    pool : Pool
        What people say, at the places of this view.
    places : iterable of int
        Which images, as indices into ``view.ids``.

    Returns
    -------
    list of Item
        In the order of `places`.
    """
    chosen = np.fromiter(places, np.int64)
    ids = view.ids[chosen].tolist()
    known, labels = items_by_id(view.corpus, ids), labels_at(pool, chosen.tolist())
    return [
        Item(
            id=item,
            name=view.names(known[item].uri),
            picture=has_picture(known[item]),
            decisions=decisions_on(view.judged, place),
            labels=labels.get(place, {}),
            overall=overall(view.judged, place),
        )
        for place, item in zip(chosen.tolist(), ids, strict=True)
    ]


def has_picture(item: CorpusItem) -> bool:
    """Whether the corpus knows an image's content, without which no file is shown for it."""
    return item.state == "embedded" and item.sha256 is not None


def decision(view: View, place: int, category: str) -> Decision:
    """What is decided of an image in a category; Refused where there is no such category."""
    return _decision(view.judged, place, view.column(category))


def decisions_on(judged: Judged, place: int) -> dict[str, Decision]:
    """What is decided of the image at a place, by category."""
    return {
        category: _decision(judged, place, column)
        for column, category in enumerate(judged.categories)
    }


def overall(judged: Judged, place: int) -> str | None:
    """The overall verdict on the image at a place; None where there is none."""
    if judged.verdicts is None:
        return None
    value = int(judged.verdicts.values[place])
    return judged.verdicts.names[value] if value >= 0 else None


def labels_at(pool: Pool, places: Iterable[int]) -> dict[int, dict[str, str]]:
    """What people say of images, by place and category: one label where several raters differ.

    Places without any label are left out.
    """
    table = pool.table
    wanted = np.flatnonzero(np.isin(pool.match.rows, list(places)))
    return {
        int(pool.match.rows[image]): {
            table.categories[column]: table.levels[table.values[image, column]]
            for column in np.flatnonzero(table.values[image] != UNKNOWN).tolist()
        }
        for image in wanted.tolist()
    }


def rounded(value: float) -> float:
    """Round a number to the digits that go over the wire."""
    return round(float(value), DIGITS)


def _decision(judged: Judged, place: int, column: int) -> Decision:
    category, score = judged.categories[column], rounded(judged.scores[place, column])
    if judged.decided is None:
        return Decision(score=score)
    value = int(judged.decided.values[place, column])
    limits = judged.decided.thresholds[:, column]
    finite = limits[np.isfinite(limits)]
    band, probability = judged.bands.get(category), judged.probabilities.get(category)
    return Decision(
        score=score,
        level=judged.decided.levels[value] if value >= 0 else None,
        threshold=rounded(finite[0]) if len(finite) else None,
        band=band and band.words[int(band.values[place])],
        probability=probability and rounded(probability.values[place]),
    )
