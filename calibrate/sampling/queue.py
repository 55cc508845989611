"""Which images to look at next because of their scores: the flagged, and those near a threshold.

Labels of such images are no random sample, and back no guarantee; see
`clipcal.calibrate.sampling.design`. Images whose labels do are drawn by
`clipcal.calibrate.sampling.suggest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scoring.scores import decide, refuse_nan
from clipcal.calibrate.statistics.sampling import Float64, Int64

ByScore = Literal["flagged", "near"]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One category in which images may be looked at.

    Attributes
    ----------
    scores : Float32[(N,)]
        Of the whole corpus.
    thresholds : Float64[(k,)]
        Of the levels, from low to high; none is no reason to look at anything.
    labelled : Int64[(m,)]
        Contents that somebody has labelled in the category, as rows of the embeddings.
    """

    scores: NDArray[np.float32]
    thresholds: Float64
    labelled: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Images that wait to be looked at.

    Attributes
    ----------
    waiting : int
        How many distinct images there are.
    places : Int64[(n,)]
        The first of them in order, as places among the scored images.
    """

    waiting: int
    places: Int64


def queue(order: ByScore, lanes: Sequence[Lane], rows: Int64, limit: int) -> Line:
    r"""Line up the images that nobody has labelled, each content once.

    With one category, ``flagged`` takes what reaches its lowest threshold, the highest score
    first; ``near`` takes everything, by the distance to the nearest of its thresholds. With
    several, an image waits for what it has not been labelled in, and comes when the first of
    them calls it; so that their scores compare, margin and distance are divided by the
    category's standard deviation :math:`\sigma_c` over the corpus.

    Parameters
    ----------
    order : {"flagged", "near"}
        What comes first. Where two are equal, the one that the corpus saw first.
    lanes : sequence of Lane
        The categories.
    rows : Int64[(N,)]
        Which embedding each scored image has; exact copies share one.
    limit : int
        At most so many.

    Returns
    -------
    Line
        The first of them, and how many there are.

    Raises
    ------
    CalibrationError
        If a score is NaN.
    """
    turn = np.full(len(rows), np.inf)
    for lane in lanes:
        if len(lane.thresholds):
            np.minimum(turn, _turn(order, lane, rows), out=turn)
    waiting = _each_once(np.flatnonzero(np.isfinite(turn)), rows)
    return Line(len(waiting), _first(waiting, turn, limit))


def first_places(wanted: Int64, rows: Int64) -> Int64:
    """Find the first image of each content.

    Parameters
    ----------
    wanted : Int64[(n,)]
        Contents, as rows of the embeddings.
    rows : Int64[(N,)]
        Which embedding each scored image has.

    Returns
    -------
    Int64[(m,)]
        Places among the scored images, in the order of `wanted`; those that no image has any
        more are left out.
    """
    extent = int(max(rows.max(initial=-1), wanted.max(initial=-1))) + 1
    places = _first_of(np.arange(len(rows)), rows, extent)[wanted]
    return places[places >= 0]


def _turn(order: ByScore, lane: Lane, rows: Int64) -> Float64:
    """Return when each image comes, (N,): the smallest first, infinite for never."""
    scores = lane.scores
    refuse_nan(scores)
    spread = float(scores.std(dtype=np.float64)) or 1.0
    if order == "flagged":
        lowest = lane.thresholds.min()
        turn = np.where(decide(scores, lowest), (lowest - scores) / spread, np.inf)
    else:
        turn = _distance(scores, lane.thresholds) / spread
    turn[_marked(lane.labelled, rows)] = np.inf
    return turn


def _distance(scores: NDArray[np.float32], thresholds: Float64) -> Float64:
    nearest = np.full(len(scores), np.inf)
    for threshold in thresholds:
        np.minimum(nearest, np.abs(scores - threshold), out=nearest)
    return nearest


def _marked(some: Int64, rows: Int64) -> NDArray[np.bool_]:
    """Tell which of `rows` are among `some`, by a table: sorting a million takes ten times as long.

    Contents that are in no image any more may lie beyond the last row.
    """
    table = np.zeros(int(max(rows.max(initial=-1), some.max(initial=-1))) + 1, np.bool_)
    table[some] = True
    return table[rows]


def _each_once(places: Int64, rows: Int64) -> Int64:
    """Keep the first place of each content; places ascend."""
    own = rows[places]
    first = _first_of(places, own, int(own.max(initial=-1)) + 1)
    return np.asarray(places[first[own] == places], np.int64)


def _first_of(places: Int64, rows: Int64, extent: int) -> Int64:
    """Return by row, (extent,), the first of the places that have it; -1 where none has."""
    first = np.full(extent, -1, np.int64)
    first[rows[::-1]] = places[::-1]  # of several the one assigned last stays
    return first


def _first(places: Int64, turn: Float64, limit: int) -> Int64:
    """Return the places whose turn comes first, in order; a full sort is for the few."""
    when = turn[places]
    if limit < len(places):
        near = when <= np.partition(when, limit)[limit]
        places, when = places[near], when[near]
    order = np.argsort(when, kind="stable")[:limit]
    return places[order]
