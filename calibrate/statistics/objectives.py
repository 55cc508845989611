r"""Thresholds for what a user wants: the best in the sample, or a budget.

**Estimated.** `best_fbeta_threshold`, `cheapest_threshold`, `sample_recall_threshold` and
`sample_precision_threshold` do what they say in the sample, and promise nothing beyond it. They
take weights, for labelled images that were not all equally likely to be chosen: with 1 / the
inclusion probability (Horvitz and Thompson 1952) the weighted sums estimate those of the corpus.

**Counted.** `budget_threshold` needs no labels: the flags of the corpus are known.

A precision that is *guaranteed* has a module of its own:
`clipcal.calibrate.statistics.precision`.

References
----------
Elkan, C. (2001). The foundations of cost-sensitive learning. *Proceedings of the Seventeenth
International Joint Conference on Artificial Intelligence*, 973-978.

Horvitz, D. G., and Thompson, D. J. (1952). A generalization of sampling without replacement
from a finite universe. *Journal of the American Statistical Association* 47(260), 663-685.

van Rijsbergen, C. J. (1979). *Information Retrieval*, second edition, chapter 7. Butterworths.
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import check_rate
from clipcal.calibrate.statistics.inputs import check_labels, check_scores
from clipcal.calibrate.statistics.rounding import above, stored
from clipcal.errors import CalibrationError

Vector = NDArray[np.floating]  # (n,)
Labels = NDArray[np.bool_]  # (n,)

# Sums of weights that are equal on paper may differ by their last bits.
_SLACK = 1e-9


class _CutPoints(NamedTuple):
    """Every way to cut a sample between two different scores, from the highest score down."""

    thresholds: Vector
    flags: NDArray[np.float64]
    hits: NDArray[np.float64]


def best_fbeta_threshold(
    scores: Vector, positive: Labels, beta: float = 1.0, weights: Vector | None = None
) -> float:
    r"""Return the threshold with the greatest F-beta in the sample, over all cut points.

    .. math:: F_\beta = \frac{(1 + \beta^2)\,tp}{\beta^2\,\text{positives} + \text{flags}}

    Recall counts :math:`\beta` times as much as precision (van Rijsbergen 1979). Equal scores
    fall on one side together. Of thresholds with equal value the highest is returned, which
    flags least. Takes O(n log n).

    Parameters
    ----------
    scores : Float[(n,)]
        Scores, at least one.
    positive : Bool[(n,)]
        Labels.
    beta : float
        Weight of recall, greater than 0.
    weights : Float[(n,)], optional
        1 / inclusion probability of each image; equal ones if left out.

    Returns
    -------
    float
        One of the scores.

    Raises
    ------
    CalibrationError
        If there is no score, one is NaN or infinite, the shapes differ, or `beta` or a weight
        is not greater than 0.
    """
    _check_positive(beta, "weight of recall in F")
    points = _cut_points(scores, positive, weights)
    square = beta * beta
    value = (1 + square) * points.hits / (square * points.hits[-1] + points.flags)
    return _highest(points, value >= value.max() * (1 - _SLACK))


def cheapest_threshold(
    scores: Vector,
    positive: Labels,
    miss_cost: float,
    false_flag_cost: float,
    weights: Vector | None = None,
) -> float:
    r"""Return the threshold that costs least in the sample.

    .. math:: C(t) = c_{FN} \cdot \text{misses}(t) + c_{FP} \cdot \text{false flags}(t)

    Where scores are probabilities, the expected cost is least at
    :math:`t = c_{FP} / (c_{FN} + c_{FP})` (Elkan 2001); over all cut points of the sample no
    such map is needed. To flag nothing and to flag all of the sample are among the choices. Of
    thresholds with equal cost the highest is returned. Takes O(n log n).

    Parameters
    ----------
    scores : Float[(n,)]
        Scores, at least one.
    positive : Bool[(n,)]
        Labels, positive and negative in the proportion of the corpus unless weighted.
    miss_cost, false_flag_cost : float
        Of one miss and of one false flag, greater than 0, in any unit.
    weights : Float[(n,)], optional
        1 / inclusion probability of each image; equal ones if left out.

    Returns
    -------
    float
        One of the scores, or, to flag nothing, a number just `above` the greatest that stays
        above it when it is rounded by `stored`.

    Raises
    ------
    CalibrationError
        If there is no score, one is NaN or infinite, the shapes differ, or a cost or weight is
        not greater than 0.
    """
    _check_positive(miss_cost, "cost of a miss")
    _check_positive(false_flag_cost, "cost of a false flag")
    points = _cut_points(scores, positive, weights)
    misses, false_flags = points.hits[-1] - points.hits, points.flags - points.hits
    cost = miss_cost * misses + false_flag_cost * false_flags
    nothing = miss_cost * points.hits[-1]
    least = cost.min() + _SLACK * (nothing + false_flag_cost * false_flags[-1])
    return above(points.thresholds[0]) if nothing <= least else _highest(points, cost <= least)


def budget_threshold(corpus_scores: Vector, flags: int) -> float | None:
    """Return the lowest score that can be a threshold with at most so many flags.

    The flags are counted at the threshold as `stored` rounds it, and in the precision of the
    scores: rounded, it keeps the budget. Equal scores are flagged together or not at all.

    Parameters
    ----------
    corpus_scores : Float[(n,)]
        Scores of the whole corpus, at least one.
    flags : int
        How many images may be flagged.

    Returns
    -------
    float or None
        One of the scores, not yet rounded; the lowest where `flags` is n or more. None where
        already the images with the highest score are too many.

    Raises
    ------
    CalibrationError
        If there is no score, one is NaN or infinite, or `flags` is negative.
    """
    if flags < 0:
        raise CalibrationError(
            f"The budget is {flags} flags; it cannot be negative. Name how many images may be "
            f"flagged: clipcal calibrate --target budget=500"
        )
    check_scores(corpus_scores)
    ranked = np.sort(corpus_scores)
    if flags >= len(ranked):
        return float(ranked[0])
    first_left_out = ranked[-flags - 1]
    # Rounding keeps the order, so that the scores that stay above that one are the last ones.
    keeps = bisect.bisect_right(ranked, first_left_out, key=lambda s: _rounded(s, ranked.dtype))
    return float(ranked[keeps]) if keeps < len(ranked) else None


def sample_recall_threshold(
    positive_scores: Vector, target: float, weights: Vector | None = None
) -> float:
    """Return the highest threshold whose recall in the sample reaches the target.

    No guarantee: the true recall lies below the target in about half of all samples.

    Parameters
    ----------
    positive_scores : Float[(n,)]
        Scores of the labelled positives, at least one.
    target : float
        Recall in the sample, in (0, 1).
    weights : Float[(n,)], optional
        1 / inclusion probability of each image; equal ones if left out.

    Returns
    -------
    float
        One of the scores.

    Raises
    ------
    CalibrationError
        If there is no score, one is NaN or infinite, the shapes differ, a weight is not greater
        than 0, or the target is outside (0, 1).
    """
    check_rate(target, "recall")
    points = _cut_points(positive_scores, np.ones(len(positive_scores), np.bool_), weights)
    return _highest(points, points.hits >= points.hits[-1] * (target - _SLACK))


def sample_precision_threshold(
    scores: Vector, positive: Labels, target: float, weights: Vector | None = None
) -> float | None:
    """Return the lowest threshold whose precision in the sample reaches the target.

    No guarantee: it is the luckiest of many thresholds, and the true precision is below the
    target in most samples. A precision that holds needs `certified_precision`.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores, at least one.
    positive : Bool[(n,)]
        Labels.
    target : float
        Precision in the sample, in (0, 1).
    weights : Float[(n,)], optional
        1 / inclusion probability of each image; equal ones if left out.

    Returns
    -------
    float or None
        One of the scores; None where no threshold will do.

    Raises
    ------
    CalibrationError
        If there is no score, one is NaN or infinite, the shapes differ, a weight is not greater
        than 0, or the target is outside (0, 1).
    """
    check_rate(target, "precision")
    points = _cut_points(scores, positive, weights)
    reaches = np.flatnonzero(points.hits >= points.flags * (target - _SLACK))
    return float(points.thresholds[reaches[-1]]) if len(reaches) else None


def _cut_points(scores: Vector, positive: Labels, weights: Vector | None) -> _CutPoints:
    check_labels(scores, positive)
    check_scores(scores)
    weight = _weights(weights, len(scores))
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    flags, hits = np.cumsum(weight[order]), np.cumsum((weight * positive)[order])
    return _CutPoints(ranked[last], flags[last], hits[last])


def _highest(points: _CutPoints, chosen: NDArray[np.bool_]) -> float:
    return float(points.thresholds[np.argmax(chosen)])


def _rounded(score: np.floating, precision: np.dtype[np.floating]) -> np.floating:
    """Return the threshold that a score becomes, as it will be compared with scores."""
    return precision.type(stored(float(score)))


def _weights(weights: Vector | None, n: int) -> NDArray[np.float64]:
    weight = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != (n,) or not (np.isfinite(weight) & (weight > 0)).all():
        raise CalibrationError(
            "The weights are not one number greater than 0 for each label. Let clipcal choose "
            "the images to label: clipcal suggest"
        )
    return weight


def _check_positive(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise CalibrationError(
            f"The {name} is {value:g}; it must be greater than 0, as in: "
            f"clipcal calibrate --target cost=5:1"
        )
