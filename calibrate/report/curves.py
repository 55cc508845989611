"""What other thresholds do to the labelled images: recall, precision, and what mistakes cost.

Every point is a count at a threshold, made with `decide`; nothing is smoothed. A curve is read
off the labelled images alike, whatever their inclusion probabilities were, and its bands are
pointwise: one of a hundred intervals may well miss while the others hold, and to choose a
threshold by looking along the curve voids them. They show; they guarantee nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scoring.scores import decide, refuse_nan
from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.errors import CalibrationError

MOST_POINTS = 100

Vector = NDArray[np.floating]  # (n,)
Flags = NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the two kinds of mistake cost, in any unit; neither below 0."""

    miss: float = 1.0
    false_flag: float = 1.0

    def __str__(self) -> str:
        """Return the costs as they are written on the command line."""
        return f"{self.miss:g}:{self.false_flag:g}"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What one threshold does to the labelled images.

    Attributes
    ----------
    threshold : float
        Infinite at the last point, where nothing is flagged.
    flags, hits : int
        Images flagged, and positives among them.
    recall : Estimate
        Share of the positives that are flagged.
    precision : Estimate or None
        Share of the flagged that are positive; None where nothing is flagged.
    """

    threshold: float
    flags: int
    hits: int
    recall: Estimate
    precision: Estimate | None


@dataclass(frozen=True, slots=True)
class CostCurve:
    """What mistakes cost on average per labelled image.

    Attributes
    ----------
    costs : Costs
        Of a miss and of a false flag.
    values : tuple of float
        Per point of the curves, in the unit of the costs.
    best : float
        The threshold at which they are least, over every cut point; of equal ones the highest.
        Infinite where it is cheapest to flag nothing.
    least : float
        What it costs there.
    """

    costs: Costs
    values: tuple[float, ...]
    best: float
    least: float


@dataclass(frozen=True, slots=True)
class Curves:
    """What thresholds do to the labelled images of one cut.

    Attributes
    ----------
    n, positives : int
        Labelled images, and positives among them; both kinds are there.
    points : tuple of CurvePoint
        By rising threshold, from where everything is flagged to where nothing is.
    costs : tuple of CostCurve
        One per pair of costs.
    """

    n: int
    positives: int
    points: tuple[CurvePoint, ...]
    costs: tuple[CostCurve, ...]

    def at(self, threshold: float) -> CurvePoint:
        """Return the point of a threshold that the curves were asked to hold."""
        return next(point for point in self.points if point.threshold == threshold)


def threshold_curves(
    scores: Vector,
    positive: Flags,
    costs: Sequence[Costs],
    *,
    chosen: Sequence[float] = (),
    confidence: float = 0.95,
) -> Curves | None:
    r"""Count what thresholds do to labelled images.

    With :math:`P` positives among :math:`n` images, and :math:`h` hits among :math:`f` flags at
    a threshold, recall is :math:`h/P`, precision :math:`h/f`, both with Wilson's interval, and
    the cost per image :math:`(c_m (P - h) + c_f (f - h)) / n`.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of labelled images, each content once. Equal ones are flagged together.
    positive : Bool[(n,)]
        Which of them people call positive.
    costs : sequence of Costs
        Which costs to draw.
    chosen : sequence of float
        Thresholds that must be among the points.
    confidence : float
        Of each point's interval by itself, in (0, 1).

    Returns
    -------
    Curves or None
        With about `MOST_POINTS` points, half of them spread evenly over the scores and half
        over the images, besides those chosen and the cheapest; None without a positive or
        without a negative, where there is nothing to weigh.

    Raises
    ------
    CalibrationError
        If the shapes differ, a score is NaN, or the confidence is outside (0, 1).
    """
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for labels of shape {positive.shape}. "
            f"Score the corpus again: clipcal score"
        )
    refuse_nan(scores)
    positives = int(np.count_nonzero(positive))
    if not 0 < positives < len(scores):
        return None
    cheapest = [cheapest_cut(scores, positive, pair) for pair in costs]
    thresholds = {*spread(scores), *map(float, chosen), *(cut for cut, _ in cheapest), math.inf}
    points = tuple(_point(scores, positive, t, confidence) for t in sorted(thresholds))
    return Curves(
        n=len(scores),
        positives=positives,
        points=points,
        costs=tuple(
            CostCurve(pair, _values(points, pair, positives, len(scores)), best, least)
            for pair, (best, least) in zip(costs, cheapest, strict=True)
        ),
    )


def cheapest_cut(scores: Vector, positive: Flags, costs: Costs) -> tuple[float, float]:
    """Return the cheapest threshold over all cut points, and its cost per image.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores, at least one.
    positive : Bool[(n,)]
        Labels.
    costs : Costs
        Of a miss and of a false flag.

    Returns
    -------
    threshold : float
        One of the scores; infinite where it is cheapest to flag nothing. Of equally cheap ones
        the highest, which flags least.
    cost : float
        Per image, in the unit of the costs. Takes O(n log n).
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    misses, false_flags = hits[-1] - hits[last], last + 1 - hits[last]
    spent = np.r_[costs.miss * hits[-1], costs.miss * misses + costs.false_flag * false_flags]
    place = int(np.argmin(spent))
    threshold = float(ranked[last[place - 1]]) if place else math.inf
    return threshold, float(spent[place]) / len(scores)


def spread(scores: Vector, most: int = MOST_POINTS) -> list[float]:
    """Choose scores to cut at: all, or up to `most` spread over the axis and the images."""
    distinct = np.unique(scores)
    if len(distinct) <= most:
        return [float(score) for score in distinct]
    even = np.searchsorted(distinct, np.linspace(distinct[0], distinct[-1], most // 2))
    ranks = np.linspace(0, len(distinct) - 1, most - most // 2).round().astype(int)
    places = np.unique(np.r_[np.minimum(even, len(distinct) - 1), ranks])
    return [float(score) for score in distinct[places]]


def _point(scores: Vector, positive: Flags, threshold: float, confidence: float) -> CurvePoint:
    flagged = decide(scores, threshold)
    flags, hits = int(np.count_nonzero(flagged)), int(np.count_nonzero(flagged & positive))
    return CurvePoint(
        threshold=threshold,
        flags=flags,
        hits=hits,
        recall=wilson(hits, int(np.count_nonzero(positive)), confidence),
        precision=wilson(hits, flags, confidence) if flags else None,
    )


def _values(
    points: Sequence[CurvePoint], costs: Costs, positives: int, n: int
) -> tuple[float, ...]:
    return tuple(
        (costs.miss * (positives - p.hits) + costs.false_flag * (p.flags - p.hits)) / n
        for p in points
    )
