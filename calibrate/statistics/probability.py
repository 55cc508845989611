r"""Probabilities from scores: maps fitted to labels.

A score orders images; a map turns it into the probability that people call the image positive.
Maps are monotone, so that the order stays. How good one is on images that it has not seen is
measured in `clipcal.calibrate.statistics.reliability`; what to do where the corpus has another
prevalence than the labels, in `clipcal.calibrate.statistics.prior_shift`.

References
----------
Platt, J. (1999). Probabilistic outputs for support vector machines and comparisons to
regularized likelihood methods. *Advances in Large Margin Classifiers*, 61-74.

Zadrozny, B., and Elkan, C. (2002). Transforming classifier scores into accurate multiclass
probability estimates. *KDD*, 694-699.

Kull, M., Silva Filho, T., and Flach, P. (2017). Beta calibration: a well-founded and easily
implemented improvement on logistic calibration for binary classifiers. *AISTATS*, 623-631.

Niculescu-Mizil, A., and Caruana, R. (2005). Predicting good probabilities with supervised
learning. *ICML*, 625-632.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.calibrate.statistics.inputs import (
    Float64,
    centre_and_scale,
    effective_weights,
    finite,
    same_length,
)
from clipcal.errors import CalibrationError

MapKind = Literal["platt", "isotonic", "beta"]

ISOTONIC_NEEDS: Final = 50  # labels of each side
# No sample of labels tells of anything rarer; it keeps every loss and every odds finite.
LEAST_PROBABILITY: Final = 1e-9

_MOST_STEPS: Final = 100
_MOST_HALVINGS: Final = 40
_FLAT: Final = 1e-10  # greatest slope of the mean cross-entropy at its minimum


@dataclass(frozen=True, slots=True)
class ProbabilityMap:
    """A map from scores to probabilities, as a contract keeps it.

    Attributes
    ----------
    kind : {"platt", "isotonic", "beta"}
        Which family.
    parameters : tuple of float
        Of the families with a formula, see `fit_map`; empty for isotonic.
    knots : tuple of (float, float)
        Score and probability where an isotonic map bends; empty for the others.
    """

    kind: MapKind
    parameters: tuple[float, ...] = ()
    knots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images with similar probabilities: what was predicted, and what was seen.

    Attributes
    ----------
    predicted : float
        Mean probability.
    seen : Estimate
        Rate of positives, with Wilson's interval; `n` is the number of images.
    """

    predicted: float
    seen: Estimate


@dataclass(frozen=True, slots=True)
class ProbabilityQuality:
    """How probabilities did on images that they were not fitted to.

    Attributes
    ----------
    n : int
        Images.
    brier, log_loss, calibration_error : float
        Mean squared error, mean negative log likelihood, and expected calibration error.
    brier_of_base_rate : float
        Brier score of always saying the base rate, to compare with.
    bins : tuple of ReliabilityBin
        From low to high probability.
    """

    n: int
    brier: float
    log_loss: float
    calibration_error: float
    brier_of_base_rate: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class ClassTemperature:
    """A softmax over categories whose temperature was fitted to one class per image.

    Attributes
    ----------
    temperature : float
        Scores are divided by it before the softmax.
    quality : ProbabilityQuality or None
        Of the most probable class, out of fold.
    """

    temperature: float
    quality: ProbabilityQuality | None = None


def fit_map(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    kind: MapKind,
    weights: NDArray[np.floating] | None = None,
) -> ProbabilityMap:
    r"""Fit a map from scores to probabilities.

    With the standardised score :math:`z = (s - m) / d` the maps are

    ``platt``
        .. math:: p = \sigma(a z + b), \quad a \ge 0

    ``beta``
        .. math:: p = \sigma(a \ln q - b \ln(1 - q) + c), \quad q = \sigma(z), \quad a, b \ge 0

        Beta calibration is for scores in (0, 1), so that the standardised score is squashed by a
        logistic first. Far below the mean score the log odds then rise by :math:`a` per standard
        deviation, far above it by :math:`b`: Platt's line with a bend.
    ``isotonic``
        The nondecreasing function with the least squared error, linear between its knots, and
        no nearer to 0 and 1 than :math:`1 / (n + 2)`.

    The first two minimise the cross-entropy to Platt's targets, :math:`(n_+ + 1)/(n_+ + 2)` for
    positives and :math:`1/(n_- + 2)` for negatives, in place of 1 and 0. These bound the slope
    even where scores separate the labels. They also lift the mean probability above the rate
    of a very rare positive (one of a hundred becomes 1.6%).

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of the labelled images.
    positive : Bool[(n,)]
        Their labels.
    kind : {"platt", "isotonic", "beta"}
        Which family.
    weights : Float[(n,)], optional
        Inverse inclusion probabilities, where some images were more likely to be labelled.

    Returns
    -------
    ProbabilityMap
        `parameters` are (a, b, m, d) for Platt's and (a, b, c, m, d) for beta.

    Raises
    ------
    CalibrationError
        If a score is NaN, one side has no labels, or, for an isotonic map, a side has fewer than
        50: it has as many parameters as the data ask for, and overfits small samples
        (Niculescu-Mizil and Caruana 2005 found it to win only from about 1,000 labels on).

    Notes
    -----
    Labelled images must be a random sample of the corpus, or be weighted to stand for one.
    """
    values = finite(scores)
    weighed = _check(values, positive, weights)
    if kind == "isotonic":
        return _fit_isotonic(values, positive, weighed)
    centre, scale = centre_and_scale(values, weighed)
    features = _features((values - centre) / scale, kind)
    coefficients = _fit_logistic(features, _smoothed(positive, weighed), weighed)
    return ProbabilityMap(kind, (*coefficients, float(centre), float(scale)))


def apply_map(fitted: ProbabilityMap, scores: NDArray[np.floating]) -> Float64:
    """Turn scores into probabilities.

    Parameters
    ----------
    fitted : ProbabilityMap
        Of `fit_map`.
    scores : Float[(n,)]
        Scores by the same rule as those it was fitted to.

    Returns
    -------
    Float64[(n,)]
        Probabilities, within 1e-9 and 1 - 1e-9, nondecreasing in the score.

    Raises
    ------
    CalibrationError
        If a score is NaN or infinite.
    """
    values = finite(scores)
    if fitted.kind == "isotonic":
        places, probabilities = zip(*fitted.knots, strict=True)
        return bounded(np.interp(values, places, probabilities))
    *slopes, intercept, centre, scale = fitted.parameters
    logits = _features((values - centre) / scale, fitted.kind) @ np.array(slopes) + intercept
    return bounded(special.expit(logits))


def bounded(probabilities: Float64) -> Float64:
    """Keep probabilities away from 0 and 1, where a single surprise has no finite loss.

    Parameters
    ----------
    probabilities : Float64[(n,)]
        In [0, 1].

    Returns
    -------
    Float64[(n,)]
        Within 1e-9 and 1 - 1e-9.

    Raises
    ------
    CalibrationError
        If one is outside [0, 1].
    """
    if probabilities.size and not (probabilities.min() >= 0 and probabilities.max() <= 1):
        raise CalibrationError(
            "A probability is outside 0 and 1. Fit the map again: clipcal calibrate"
        )
    return np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)


def _check(
    scores: Float64, positive: NDArray[np.bool_], weights: NDArray[np.floating] | None
) -> Float64:
    """Return effective weights of labels that a map can be fitted to."""
    same_length(scores, positive, "labels")
    if positive.all() or not positive.any():
        raise CalibrationError(
            f"Of {len(positive)} labelled images {int(positive.sum())} are positive; a "
            f"probability needs positives and negatives. Label more images (clipcal suggest), "
            f"then run: clipcal calibrate"
        )
    return effective_weights(weights, len(scores))


def _features(standardised: Float64, kind: MapKind) -> Float64:
    """Return what the log odds are linear in, increasing with the score: Float64[(n, 1 or 2)]."""
    if kind == "platt":
        return standardised[:, None]
    # ln q and -ln(1 - q) without computing q, which far out is 0 or 1.
    below, above = -np.logaddexp(0, -standardised), np.logaddexp(0, standardised)
    return np.column_stack([below, above])


def _smoothed(positive: NDArray[np.bool_], weights: Float64) -> Float64:
    """Return Platt's targets."""
    positives = weights[positive].sum()
    negatives = weights.sum() - positives
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return np.asarray(targets, dtype=np.float64)


def _fit_logistic(features: Float64, targets: Float64, weights: Float64) -> tuple[float, ...]:
    """Minimise the cross-entropy with slopes of at least 0; return slopes and intercept.

    The problem is convex with at most two slopes: each set of slopes that may be free is solved
    without bounds, and the best solution that keeps them is the answer.
    """
    share = weights / weights.sum()
    design = np.column_stack([features, np.ones(len(features))])
    slopes = features.shape[1]
    found: list[tuple[float, Float64]] = []
    for kept in range(2**slopes):
        free = [column for column in range(slopes) if kept >> column & 1]
        solved = np.zeros(slopes + 1)
        solved[[*free, slopes]] = _newton(design[:, [*free, slopes]], targets, share)
        if (solved[:slopes] >= 0).all():
            found.append((_cross_entropy(design @ solved, targets, share), solved))
    best = min(found, key=lambda each: each[0])[1]
    return tuple(float(x) for x in best)


def _cross_entropy(logits: Float64, targets: Float64, share: Float64) -> float:
    return float(share @ (np.logaddexp(0, logits) - targets * logits))


def _newton(design: Float64, targets: Float64, share: Float64) -> Float64:
    """Minimise the cross-entropy without bounds, by Newton's steps halved until they help."""
    solved = np.zeros(design.shape[1])
    solved[-1] = special.logit(share @ targets)
    loss = _cross_entropy(design @ solved, targets, share)
    for _ in range(_MOST_STEPS):
        seen = special.expit(design @ solved)
        gradient = design.T @ (share * (seen - targets))
        if np.abs(gradient).max() < _FLAT:
            break
        curvature = (design * (share * seen * (1 - seen))[:, None]).T @ design
        # Two features may be all but one; a trace of ridge keeps the step finite.
        ridge = 1e-12 * max(np.trace(curvature), 1e-300) * np.eye(len(solved))
        step = np.linalg.solve(curvature + ridge, gradient)
        for _ in range(_MOST_HALVINGS):
            tried = _cross_entropy(design @ (solved - step), targets, share)
            if tried <= loss:
                break
            step = step / 2
        else:
            break
        solved, loss = solved - step, tried
    return solved


def _fit_isotonic(scores: Float64, positive: NDArray[np.bool_], weights: Float64) -> ProbabilityMap:
    positives = int(positive.sum())
    fewest = min(positives, len(positive) - positives)
    if fewest < ISOTONIC_NEEDS:
        raise CalibrationError(
            f"An isotonic map needs {ISOTONIC_NEEDS} positives and as many negatives, since it "
            f"overfits fewer; there are {positives} and {len(positive) - positives}. "
            f"Use another: clipcal calibrate --probabilities platt"
        )
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(scores, positive.astype(np.float64), weights)
    margin = 1 / (weights.sum() + 2)
    levels = np.clip(fitted.y_thresholds_, margin, 1 - margin)
    return ProbabilityMap(
        "isotonic",
        knots=tuple(
            (float(x), float(y)) for x, y in zip(fitted.X_thresholds_, levels, strict=True)
        ),
    )
