r"""Thresholds for what a user wants: the best in the sample, a budget, or a certain precision.

**Estimated.** `best_fbeta_threshold`, `cheapest_threshold`, `sample_recall_threshold` and
`sample_precision_threshold` do what they say in the sample, and promise nothing beyond it. They
take weights, for labelled images that were not all equally likely to be chosen: with 1 / the
inclusion probability (Horvitz and Thompson 1952) the weighted sums estimate those of the corpus.

**Counted.** `budget_threshold` needs no labels: the flags of the corpus are known.

**Guaranteed.** A precision is certified at candidate thresholds (`declared_grid`) that were
declared without looking at the labels:

1. The grid is computed from the scores of the whole corpus and from how many images were
   labelled. Given that number, which must be settled without looking at labels, it is a
   constant: it would be the same whichever so many images had been drawn and whatever people
   had said of them.
2. The labelled images are drawn uniformly from the distinct images of the corpus. Given that
   :math:`n_t` of them score at or above :math:`t`, those are a uniform sample of all that do,
   and their hits are hypergeometric. The binomial p-value (`precision_p_value`) is then
   conservative wherever it is at most 0.5; see `clipcal.calibrate.statistics.bounds`.
3. There are finitely many hypotheses "precision at :math:`t` is below :math:`p`", so that Holm's
   procedure bounds the chance that any of the certified ones is wrong, and the lowest certified
   candidate may be taken *after* looking (Angelopoulos et al. 2025).

The number of labelled images at or above a candidate must not decide whether the candidate is
tested. By itself it says nothing of the labels, but the counts of several candidates together
say of which scores the sample has too many. What depends on the *number* of labelled images and
on the corpus alone may decide it: see `smallest_declared`.

References
----------
Angelopoulos, A. N., Bates, S., Candès, E. J., Jordan, M. I., and Lei, L. (2025). Learn then
test: calibrating predictive algorithms to achieve risk control. *Annals of Applied Statistics*
19(2), 1641-1662.

Elkan, C. (2001). The foundations of cost-sensitive learning. *Proceedings of the Seventeenth
International Joint Conference on Artificial Intelligence*, 973-978.

Horvitz, D. G., and Thompson, D. J. (1952). A generalization of sampling without replacement
from a finite universe. *Journal of the American Statistical Association* 47(260), 663-685.

van Rijsbergen, C. J. (1979). *Information Retrieval*, second edition, chapter 7. Butterworths.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import check_rate, flags_needed, precision_p_value
from clipcal.calibrate.statistics.multiplicity import holm
from clipcal.calibrate.statistics.rounding import above, stored
from clipcal.errors import CalibrationError

Vector = NDArray[np.floating]  # (n,)
Labels = NDArray[np.bool_]  # (n,)

# Sums of weights that are equal on paper may differ by their last bits.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class PrecisionEvidence:
    """What the labels say of each candidate threshold of one cut.

    Attributes
    ----------
    thresholds : Float[(g,)]
        The candidates.
    flagged : Int[(g,)]
        Labelled images at or above each.
    hits : Int[(g,)]
        Positives among them.
    p_values : Float[(g,)]
        Of "precision is below the target".
    """

    thresholds: NDArray[np.float64]
    flagged: NDArray[np.int64]
    hits: NDArray[np.int64]
    p_values: NDArray[np.float64]


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
    _check_scores(corpus_scores)
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


def smallest_declared(corpus: int, labelled: int, target: float, confidence: float = 0.95) -> int:
    r"""Return how many images a candidate must flag to be worth declaring.

    Of the labelled images about :math:`n c / N` lie among the :math:`c` that a candidate flags.
    Where that is less than `flags_needed`, the candidate would most likely be certified by no
    labels at all, and would only take from the risk of the others.

    Parameters
    ----------
    corpus, labelled : int
        Images in the corpus (:math:`N`), and labelled ones that were drawn from it uniformly
        (:math:`n`).
    target : float
        The precision to guarantee, in (0, 1).
    confidence : float
        With what probability, in (0, 1).

    Returns
    -------
    int
        For `declared_grid`; more than `corpus` where there are too few labels.

    Raises
    ------
    CalibrationError
        If a rate is outside (0, 1).
    """
    return math.ceil(flags_needed(target, confidence) * corpus / max(labelled, 1))


def declared_grid(
    corpus_scores: Vector, smallest: int = 1, ratio: float = 1.5
) -> NDArray[np.float64]:
    """Return candidate thresholds for a guaranteed precision, chosen without any label.

    The candidates flag `smallest` images of the corpus, then `ratio` times as many, and so on,
    and at last all. Each candidate takes a part of the risk, and few steps are lost between
    neighbours: that is why the grid is coarse.

    Parameters
    ----------
    corpus_scores : Float[(n,)]
        Scores of the whole corpus, at least one.
    smallest : int
        How many images the highest candidate flags; see `smallest_declared`. From n on there
        is only the candidate that flags all.
    ratio : float
        From one number of flags to the next, greater than 1.

    Returns
    -------
    Float64[(g,)]
        Distinct thresholds, from the highest down, each already rounded by `stored`.

    Raises
    ------
    CalibrationError
        If there is no score, or one is NaN or infinite.
    ValueError
        If `ratio` is not greater than 1.
    """
    if not ratio > 1:
        raise ValueError(f"The ratio is {ratio}; it must be greater than 1.")
    _check_scores(corpus_scores)
    ranked, n = np.sort(corpus_scores), len(corpus_scores)
    first = min(max(smallest, 1), n)
    steps = np.arange(math.floor(math.log(n / first, ratio)) + 1)
    flags = np.unique(np.r_[np.minimum(np.ceil(first * ratio**steps), n), n].astype(np.int64))
    return np.unique([stored(float(score)) for score in ranked[n - flags]])[::-1]


def precision_evidence(
    scores: Vector, positive: Labels, candidates: NDArray[np.float64], target: float
) -> PrecisionEvidence:
    """Count the labelled images at each candidate, and test its precision.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of labelled images that were drawn uniformly from the corpus; there may be none.
    positive : Bool[(n,)]
        Labels.
    candidates : Float[(g,)]
        Thresholds declared without the labels; see `declared_grid`.
    target : float
        The precision to guarantee, in (0, 1).

    Returns
    -------
    PrecisionEvidence
        One entry per candidate, in their order.

    Raises
    ------
    CalibrationError
        If a score is NaN or infinite, the shapes differ, or the target is outside (0, 1).
    """
    _check_labels(scores, positive)
    order = np.argsort(scores, kind="stable")
    limits = np.asarray(candidates, scores.dtype)
    below = np.searchsorted(scores[order], limits)
    missed = np.r_[0, np.cumsum(positive[order], dtype=np.int64)]
    flagged, hits = len(scores) - below, missed[-1] - missed[below]
    return PrecisionEvidence(candidates, flagged, hits, precision_p_value(hits, flagged, target))


def certified_precision(
    evidences: Sequence[PrecisionEvidence], risk: float
) -> list[NDArray[np.float64]]:
    """Return which candidates hold, all of them together, at a risk.

    With probability 1 - `risk` or more over the draw of the labelled images, the precision in
    the corpus is at least the target at *every* threshold that is returned; so the lowest of
    each cut may be taken, which flags most. See `holm`, and this module's introduction for
    the argument and its assumptions.

    Parameters
    ----------
    evidences : sequence of PrecisionEvidence
        Of one cut, for a guarantee by itself, or of several for a joint one.
    risk : float
        1 - confidence, in (0, 0.5].

    Returns
    -------
    list of Float[(k,)]
        Certified thresholds of each cut, in the order of its candidates; empty where none is.

    Raises
    ------
    CalibrationError
        If the risk is not in (0, 0.5].
    """
    if not 0 < risk <= 0.5:
        raise CalibrationError(
            f"The confidence is {1 - risk:g}; a precision is certified from 0.5 on, as in: "
            f"clipcal calibrate --target precision=0.9 --confidence 0.95"
        )
    p_values = [evidence.p_values for evidence in evidences]
    holds = holm(np.concatenate([np.empty(0), *p_values]), risk)
    ends = np.cumsum([len(p) for p in p_values])[:-1]
    return [
        evidence.thresholds[certain]
        for evidence, certain in zip(evidences, np.split(holds, ends), strict=False)
    ]


def _cut_points(scores: Vector, positive: Labels, weights: Vector | None) -> _CutPoints:
    _check_labels(scores, positive)
    _check_scores(scores)
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


def _check_labels(scores: Vector, positive: Labels) -> None:
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for labels of shape {positive.shape}. "
            f"Score the corpus again: clipcal score"
        )
    if not np.isfinite(scores).all():
        raise CalibrationError(
            "A score of a labelled image is not finite. Score the corpus again: clipcal score"
        )


def _check_scores(scores: Vector) -> None:
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise CalibrationError(
            "There is no score, or one that is not finite. Score the corpus again: clipcal score"
        )


def _check_positive(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise CalibrationError(
            f"The {name} is {value:g}; it must be greater than 0, as in: "
            f"clipcal calibrate --target cost=5:1"
        )
