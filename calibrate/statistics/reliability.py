r"""How far probabilities can be taken at their word, on images that they were not fitted to.

References
----------
Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. *Monthly
Weather Review* 78(1), 1-3.

Naeini, M. P., Cooper, G. F., and Hauskrecht, M. (2015). Obtaining well calibrated probabilities
using Bayesian binning. *AAAI*, 2901-2907.

Hastie, T., Tibshirani, R., and Friedman, J. (2009). *The Elements of Statistical Learning*,
section 7.10 (cross-validation; the one-standard-error rule). Springer.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.calibrate.statistics.inputs import (
    Float64,
    effective_weights,
    finite,
    same_length,
)
from clipcal.calibrate.statistics.probability import (
    ISOTONIC_NEEDS,
    MapKind,
    ProbabilityQuality,
    ReliabilityBin,
    apply_map,
    bounded,
    fit_map,
)
from clipcal.calibrate.statistics.resampling import cluster_folds
from clipcal.errors import CalibrationError

Rows = NDArray[np.int64]

_SIMPLEST_FIRST: Final[tuple[MapKind, ...]] = ("platt", "beta", "isotonic")
_FOLDS = 5
_MOST_BINS = 10
_BIN_SIZE = 20  # over which a rate is already uncertain by a fifth either way


def choose_map(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    clusters: Rows,
    seed: int,
    weights: NDArray[np.floating] | None = None,
) -> MapKind:
    """Choose the simplest family that does as well as the best.

    Each family is fitted without one of five folds in turn and judged by its log loss there.
    The one with the least loss wins, unless a simpler one (Platt's before beta before isotonic)
    is within one standard error of the difference, which is taken over clusters.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of the labelled images.
    positive : Bool[(n,)]
        Their labels.
    clusters : Int64[(n,)]
        Near copies share a number; no fold divides them.
    seed : int
        Of the folds.
    weights : Float[(n,)], optional
        Inverse inclusion probabilities.

    Returns
    -------
    {"platt", "isotonic", "beta"}
        ``platt`` where there are too few labels to compare. Isotonic maps stand for election
        only where they can be fitted without any one fold.

    Raises
    ------
    CalibrationError
        If a score is NaN, or one side has no labels.
    """
    fit_map(scores, positive, "platt", weights)  # refuses what no family can be fitted to
    number = len(np.unique(clusters))
    if number < 2:
        return "platt"
    rng = np.random.default_rng(seed)
    folds = cluster_folds(clusters, min(_FOLDS, number), rng, positive)
    least = _fewest_left(positive, folds)
    if least == 0:
        return "platt"
    allowed = [kind for kind in _SIMPLEST_FIRST if kind != "isotonic" or least >= ISOTONIC_NEEDS]
    losses = [
        _log_losses(_out_of_fold(scores, positive, kind, folds, weights), positive)
        for kind in allowed
    ]
    weighed = effective_weights(weights, len(scores))
    share = weighed / weighed.sum()
    best = losses[int(np.argmin([share @ loss for loss in losses]))]
    near = (_within_one_error(loss - best, share, clusters) for loss in losses)
    return next(kind for kind, is_near in zip(allowed, near, strict=True) if is_near)


def assess_map(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    kind: MapKind,
    folds: Rows,
    confidence: float = 0.95,
    weights: NDArray[np.floating] | None = None,
) -> tuple[ProbabilityQuality, Float64]:
    """Fit without each fold in turn, and compare its probabilities with its labels.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of the labelled images.
    positive : Bool[(n,)]
        Their labels.
    kind : {"platt", "isotonic", "beta"}
        Which family.
    folds : Int64[(n,)]
        Number of each image's fold; near copies must share one.
    confidence : float
        Of the intervals, in (0, 1).
    weights : Float[(n,)], optional
        Inverse inclusion probabilities.

    Returns
    -------
    quality : ProbabilityQuality
        Of the procedure; the map fitted to all labels is at least as good in expectation.
    probabilities : Float64[(n,)]
        Out of fold.

    Raises
    ------
    CalibrationError
        If a map cannot be fitted without some fold: see `fit_map`.
    """
    same_length(finite(scores), folds, "folds")
    probabilities = _out_of_fold(scores, positive, kind, folds, weights)
    return probability_quality(probabilities, positive, confidence, weights), probabilities


def probability_quality(
    probabilities: NDArray[np.floating],
    positive: NDArray[np.bool_],
    confidence: float = 0.95,
    weights: NDArray[np.floating] | None = None,
) -> ProbabilityQuality:
    r"""Compare probabilities with labels.

    With probabilities :math:`p`, labels :math:`y`, and bins :math:`b` of about equal numbers of
    images (Naeini et al. 2015),

    .. math:: \text{Brier} = \overline{(p - y)^2}, \quad
        \text{log loss} = -\overline{y \ln p + (1-y) \ln (1-p)}, \quad
        \text{ECE} = \sum_b \frac{n_b}{n} |\bar p_b - \bar y_b| .

    Parameters
    ----------
    probabilities : Float[(n,)]
        Predicted for images that were not fitted to, in [0, 1].
    positive : Bool[(n,)]
        Labels.
    confidence : float
        Of the intervals, in (0, 1).
    weights : Float[(n,)], optional
        Inverse inclusion probabilities. Intervals are then Wilson's at the effective number of
        images, rounded.

    Returns
    -------
    ProbabilityQuality
        With a bin per 20 images, ten at most; equal probabilities share a bin.

    Raises
    ------
    CalibrationError
        If there are no labels, or a probability is NaN.

    Notes
    -----
    The expected calibration error is above zero by chance even for perfect probabilities: by
    about 0.09 with bins of 20 images at even odds, by 0.04 with bins of 100.
    """
    predicted = bounded(finite(probabilities))
    same_length(predicted, positive, "labels")
    if not len(predicted):
        raise CalibrationError(
            "There are no labels to compare with. Label images (clipcal suggest), then run: "
            "clipcal calibrate"
        )
    weighed = effective_weights(weights, len(predicted))
    share = weighed / weighed.sum()
    bins = _bins(predicted)
    base = float(share @ positive)
    return ProbabilityQuality(
        n=len(predicted),
        brier=float(share @ np.square(predicted - positive)),
        log_loss=float(share @ _log_losses(predicted, positive)),
        calibration_error=float(
            sum(abs(share[rows] @ (predicted[rows] - positive[rows])) for rows in bins)
        ),
        brier_of_base_rate=base * (1 - base),
        bins=tuple(
            _reliability(predicted[rows], positive[rows], weighed[rows], confidence)
            for rows in bins
        ),
    )


def _out_of_fold(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    kind: MapKind,
    folds: Rows,
    weights: NDArray[np.floating] | None,
) -> Float64:
    probabilities = np.empty(len(scores))
    for fold in np.unique(folds):
        out = folds == fold
        kept = None if weights is None else weights[~out]
        fitted = fit_map(scores[~out], positive[~out], kind, kept)
        probabilities[out] = apply_map(fitted, scores[out])
    return probabilities


def _fewest_left(positive: NDArray[np.bool_], folds: Rows) -> int:
    """Return how many labels the poorer side keeps when the worst fold is left out."""
    sides = (np.bincount(folds, side) for side in (positive, ~positive))
    return int(min(side.sum() - side.max() for side in sides))


def _log_losses(probabilities: Float64, positive: NDArray[np.bool_]) -> Float64:
    return -np.log(np.where(positive, probabilities, 1 - probabilities))


def _within_one_error(differences: Float64, share: Float64, clusters: Rows) -> bool:
    """Ask if the mean difference is within its standard error, whole clusters being drawn."""
    mean = float(share @ differences)
    _, cluster = np.unique(clusters, return_inverse=True)
    deviations = np.bincount(cluster, share * (differences - mean))
    return mean <= float(np.sqrt(np.square(deviations).sum()))


def _bins(probabilities: Float64) -> list[NDArray[np.intp]]:
    """Return the rows of each bin, from low to high; quantiles that coincide are one edge."""
    number = int(np.clip(len(probabilities) // _BIN_SIZE, 1, _MOST_BINS))
    edges = np.quantile(probabilities, np.arange(1, number) / number)
    bins = np.searchsorted(edges, probabilities)
    return [np.flatnonzero(bins == each) for each in np.unique(bins)]


def _reliability(
    predicted: Float64, positive: NDArray[np.bool_], weights: Float64, confidence: float
) -> ReliabilityBin:
    share = weights / weights.sum()
    rate = float(share @ positive)
    effective = max(1, round(1 / float(share @ share)))
    seen = wilson(round(rate * effective), effective, confidence)
    # Rounding to a count may have moved the interval off a weighted rate.
    interval = Estimate(rate, min(seen.low, rate), max(seen.high, rate), len(predicted))
    return ReliabilityBin(float(share @ predicted), interval)
