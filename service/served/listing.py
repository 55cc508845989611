"""Which images fit a question, and which of them come on a page; arrays, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.decisions.rescore import Decisions
from clipcal.calibrate.labels.pool import Pool
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.service.gate.problems import conflict, unprocessable
from clipcal.service.served.view import Places, View

Band = Literal["allow", "review", "block", "flagged", "unflagged"]
Labelled = Literal["any", "none", "positive", "negative"]
ItemOrder = Literal["id", "score", "-score", "near"]
Mask = NDArray[np.bool_]  # (n,), by place


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the images.

    Attributes
    ----------
    category : str or None
        In which category; None looks at all of them, and one will do.
    level : str or None
        Decided to be at this level.
    band : Band or None
        In this band, or flagged: at any level above the lowest.
    labelled : Labelled or None
        With any label, with none, with one above the lowest level or at it. Without a category
        "positive" is above it in one category, "negative" in none.
    order : ItemOrder
        By id; by score, the lowest or the highest first; or what is nearest to the lowest
        threshold of the category first. Where two are equal, the one seen first.
    """

    category: str | None = None
    level: str | None = None
    band: Band | None = None
    labelled: Labelled | None = None
    order: ItemOrder = "id"


def list_places(
    view: View, pool: Pool, question: Question, offset: int, limit: int
) -> tuple[int, Places]:
    """Find the images that fit a question.

    Parameters
    ----------
    view : View
        The corpus.
    pool : Pool
        What people say, at the places of this view.
    question : Question
        What is asked.
    offset, limit : int
        Which of them are wanted.

    Returns
    -------
    int
        How many fit.
    Int64[(≤ limit,)]
        Places of those that are wanted, in order.

    Raises
    ------
    Refused
        422 where a category or level is unknown, or an order needs a category; 409 where there is
        no calibration, threshold or band to answer by.
    """
    mask = np.ones(len(view.ids), np.bool_)
    if question.level is not None:
        mask &= _at_level(view, question.category, question.level)
    if question.band is not None:
        mask &= _in_band(view, question.category, question.band)
    if question.labelled is not None:
        mask &= _labelled(view, pool, question.category, question.labelled)
    places = np.flatnonzero(mask)
    return len(places), _ordered(view, places, question, offset, limit)


# --- what fits ---------------------------------------------------------------------------------


def _at_level(view: View, category: str | None, level: str) -> Mask:
    decided = _decided(view)
    if level not in decided.levels:
        raise unprocessable(
            f"There is no level {level!r}. Take one of: {', '.join(decided.levels)}."
        )
    values = _values(view, decided, category)
    return np.asarray((values == decided.levels.index(level)).any(axis=1), np.bool_)


def _in_band(view: View, category: str | None, band: Band) -> Mask:
    decided = _decided(view)
    if band in ("flagged", "unflagged"):
        values = _values(view, decided, category)
        if band == "flagged":
            return np.asarray((values > 0).any(axis=1), np.bool_)
        # What is undecided in the one category asked for is neither.
        return np.asarray((values <= 0).all(axis=1) & (values == 0).any(axis=1), np.bool_)
    if category is not None:
        view.column(category)
    bands = view.judged.bands
    columns = (
        list(bands.values()) if category is None else [bands[c] for c in bands if c == category]
    )
    if not columns:
        raise conflict(
            f"The calibration has no bands{'' if category is None else f' for {category}'}. "
            f"Fit some: POST /v1/calibrations with bands, such as recall=0.95,precision=0.9."
        )
    fits = [one.values == one.words.index(band) for one in columns]
    return np.asarray(np.logical_or.reduce(fits), np.bool_)


def _decided(view: View) -> Decisions:
    if view.decided is None:
        raise conflict(
            "There is no calibration, so nothing is decided. Give labels and fit one: "
            "POST /v1/calibrations."
        )
    return view.decided


def _values(view: View, decided: Decisions, category: str | None) -> NDArray[np.int8]:
    """Decisions (n, 1) in a category, or (n, c) in all."""
    if category is None:
        return decided.values
    column = view.column(category)
    return decided.values[:, column : column + 1]


def _labelled(view: View, pool: Pool, category: str | None, wanted: Labelled) -> Mask:
    values = pool.table.values
    if category is not None:
        view.column(category)
        values = values[:, [name == category for name in pool.table.categories]]
    known = (values != UNKNOWN).any(axis=1)
    positive = (values > 0).any(axis=1)
    fits = {"any": known, "none": known, "positive": positive, "negative": known & ~positive}
    mask = np.zeros(len(view.ids), np.bool_)
    mask[pool.match.rows[fits[wanted]]] = True
    return ~mask if wanted == "none" else mask


# --- in which order ----------------------------------------------------------------------------


def _ordered(view: View, places: Places, question: Question, offset: int, limit: int) -> Places:
    if question.order == "id":
        return places[offset : offset + limit]
    category = question.category
    if category is None:
        raise unprocessable(f"The order {question.order!r} is that of a category: name one.")
    scores = view.scored.scores[places, view.column(category)]
    if question.order == "near":
        scores = np.abs(scores - np.float32(_threshold(view, category)))
    keys = -scores if question.order == "-score" else scores
    return places[_smallest(keys, offset, limit)]


def _threshold(view: View, category: str) -> float:
    threshold = view.lowest_threshold(category)
    if threshold is None:
        raise conflict(
            f"{category!r} has no threshold to be near to. Give labels and fit one: "
            f"POST /v1/calibrations; or take another order."
        )
    return threshold


def _smallest(keys: NDArray[np.float32], offset: int, limit: int) -> Places:
    """Where the keys lie that are on a page of all keys, ascending; equal ones in their order.

    Only what lies between the page's first and last key is sorted.
    """
    stop = min(offset + limit, len(keys))
    if offset >= stop:
        return np.empty(0, np.int64)
    low, high = np.partition(keys, (offset, stop - 1))[[offset, stop - 1]]
    among = np.flatnonzero((keys >= low) & (keys <= high))
    ordered = among[np.argsort(keys[among], kind="stable")]
    before = np.count_nonzero(keys < low)
    return ordered[offset - before : stop - before]
