r"""Class probabilities from the scores of several categories, of which one is right.

References
----------
Guo, C., Pleiss, G., Sun, Y., and Weinberger, K. Q. (2017). On calibration of modern neural
networks. *ICML*, 1321-1330.

Platt, J. (1999). Probabilistic outputs for support vector machines and comparisons to
regularized likelihood methods. *Advances in Large Margin Classifiers*, 61-74.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from clipcal.calibrate.statistics.inputs import Float64, finite, same_length
from clipcal.calibrate.statistics.probability import ProbabilityQuality
from clipcal.calibrate.statistics.reliability import probability_quality
from clipcal.errors import CalibrationError

# Temperatures that are sought, as multiples of the spread of scores within an image: from one
# class taking all to all classes alike.
_COLDEST, _HOTTEST = 1e-4, 1e4


def fit_temperature(scores: NDArray[np.floating], chosen: NDArray[np.int64]) -> float:
    r"""Fit the temperature of a softmax over categories.

    Minimises the negative log likelihood of the labels (Guo et al. 2017) under

    .. math:: p_c = \frac{\exp(s_c / T)}{\sum_d \exp(s_d / T)}

    over :math:`\ln T`. It is convex in :math:`1/T`, so that it has one minimum. Where the best
    class is right for every image, :math:`T` would sink to 0; so the target of the label is
    :math:`(n + 1)/(n + c)` and that of every other class :math:`1/(n + c)`, which is Platt's
    remedy for two classes and vanishes as images accumulate.

    Parameters
    ----------
    scores : Float[(n, c)]
        Scores of the labelled images, in any unit.
    chosen : Int64[(n,)]
        The column that people chose.

    Returns
    -------
    float
        Temperature, above 0, in the unit of the scores.

    Raises
    ------
    CalibrationError
        If a score is NaN, there are fewer than two columns, a label is no column, or all labels
        are the same.

    Notes
    -----
    One temperature makes the probabilities as bold as they deserve on average; it moves no
    category against another, so a category whose scores are all too high stays so.
    """
    values = finite(scores, 2)
    _check(values, chosen)
    n, classes = values.shape
    # Less the chosen score, the chosen class is at 0 and its loss is one logsumexp.
    relative = values - values[np.arange(n), chosen][:, None]
    mean_of_all = float(relative.mean())
    spread = float(relative.std())
    if spread == 0:
        return 1.0
    smoothing = classes / (n + classes)

    def loss(log_temperature: float) -> float:
        scaled = relative / (spread * math.exp(log_temperature))
        pull = mean_of_all / (spread * math.exp(log_temperature))
        return float(special.logsumexp(scaled, axis=1).mean() - smoothing * pull)

    found = optimize.minimize_scalar(
        loss,
        bounds=(math.log(_COLDEST), math.log(_HOTTEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return spread * math.exp(float(found.x))


def class_probabilities(scores: NDArray[np.floating], temperature: float) -> Float64:
    """Turn scores into one probability per category; each row sums to 1.

    Parameters
    ----------
    scores : Float[(n, c)]
        Scores.
    temperature : float
        Of `fit_temperature`, above 0.

    Returns
    -------
    Float64[(n, c)]
        Probabilities that a category is the one that people would choose.

    Raises
    ------
    CalibrationError
        If a score is NaN, or the temperature is not above 0.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise CalibrationError(
            f"The temperature is {temperature:g}; it must be above 0. Fit it: clipcal calibrate"
        )
    return np.asarray(special.softmax(finite(scores, 2) / temperature, axis=1))


def assess_temperature(
    scores: NDArray[np.floating],
    chosen: NDArray[np.int64],
    folds: NDArray[np.int64],
    confidence: float = 0.95,
) -> ProbabilityQuality:
    """Fit without each fold in turn, and ask how often its most probable classes are right.

    Parameters
    ----------
    scores : Float[(n, c)]
        Scores of the labelled images.
    chosen : Int64[(n,)]
        The column that people chose.
    folds : Int64[(n,)]
        Number of each image's fold; near copies must share one.
    confidence : float
        Of the intervals, in (0, 1).

    Returns
    -------
    ProbabilityQuality
        Of the yes/no question whether the most probable class (the first, among equals) is the
        one that people chose; the base rate is the rate of right answers.

    Raises
    ------
    CalibrationError
        If a temperature cannot be fitted without some fold: see `fit_temperature`.
    """
    values = finite(scores, 2)
    same_length(values, folds, "folds")
    _check(values, chosen)
    most = np.empty(len(values))
    for fold in np.unique(folds):
        out = folds == fold
        temperature = fit_temperature(values[~out], chosen[~out])
        most[out] = class_probabilities(values[out], temperature).max(axis=1)
    return probability_quality(most, values.argmax(axis=1) == chosen, confidence)


def _check(scores: Float64, chosen: NDArray[np.int64]) -> None:
    same_length(scores, chosen, "labels")
    classes = scores.shape[1]
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < classes):
        raise CalibrationError(
            f"Labels name classes {int(chosen.min())} to {int(chosen.max())}, but the {classes} "
            f"categories are 0 to {classes - 1}. Correct the labels, then run: clipcal calibrate"
        )
    if len(np.unique(chosen)) < 2:
        raise CalibrationError(
            f"The {len(chosen)} labelled images are all of one class; a temperature needs images "
            f"of two. Label more images (clipcal suggest), then run: clipcal calibrate"
        )
