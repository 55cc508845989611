r"""Ordered levels from scores: a penalised proportional-odds model.

References
----------
McCullagh, P. (1980). Regression models for ordinal data. *Journal of the Royal Statistical
Society B* 42(2), 109-142.

Pratt, J. W. (1981). Concavity of the log likelihood. *Journal of the American Statistical
Association* 76(373), 103-106.

Perks, W. (1947). Some observations on inverse probability including a new indifference rule.
*Journal of the Institute of Actuaries* 73(2), 285-334.

Betancourt, M. (2019). Ordinal regression. Case study (a Dirichlet prior on level probabilities
at an anchor, to keep cut-points apart).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from clipcal.calibrate.statistics.inputs import (
    Float64,
    centre_and_scale,
    finite,
    same_length,
)
from clipcal.errors import CalibrationError

Levels = NDArray[np.int64]  # (n,) from 0, the lowest

_LEAST_GAP = 1e-9  # of the log odds; the prior keeps gaps above it of its own accord


@dataclass(frozen=True, slots=True)
class OrdinalFit:
    """A fitted proportional-odds model, as a contract keeps it.

    Attributes
    ----------
    weights : tuple of float
        One per feature, on standardised features.
    cutpoints : tuple of float
        One per level above the lowest, ascending.
    centre, scale : tuple of float
        What features are standardised with.
    penalty : float
        Of the weights.
    """

    weights: tuple[float, ...]
    cutpoints: tuple[float, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    penalty: float


def fit_ordinal(
    features: NDArray[np.floating],
    levels: NDArray[np.integer],
    n_levels: int,
    penalty: float = 1.0,
    *,
    increasing: bool = False,
) -> OrdinalFit:
    r"""Fit one direction and a cut-point per level above the lowest.

    With features standardised to :math:`x`, the model is McCullagh's (1980)

    .. math:: P(y \ge k \mid x) = \sigma(x \cdot w - \theta_k), \quad
        \theta_1 < \dots < \theta_{K-1}

    and what is minimised, with the level probabilities :math:`\pi_k(x)` that follow,

    .. math:: -\sum_i \ln \pi_{y_i}(x_i) - \frac{1}{K} \sum_k \ln \pi_k(0)
        + \frac{\lambda}{2} |w|^2 .

    The second term is one image more, at the mean features, shared evenly between the levels:
    a Dirichlet prior on the level probabilities there (Betancourt 2019), as weak as Perks's
    (1947). It keeps the cut-points finite and apart where a level has no images. The third, a
    normal prior on the weights with the variance :math:`1/\lambda`, keeps these finite where a
    feature separates the levels. The sum is strictly convex (Pratt 1981): it has one minimum.

    Parameters
    ----------
    features : Float[(n, f)]
        Features of the labelled images, such as category scores.
    levels : Int[(n,)]
        Their levels, 0 to ``n_levels - 1``; some may be absent, the highest too.
    n_levels : int
        How many there are, at least 2.
    penalty : float
        :math:`\lambda`, above 0.
    increasing : bool
        Whether weights must be at least 0, so that no higher score can mean a lower level.

    Returns
    -------
    OrdinalFit
        The model.

    Raises
    ------
    CalibrationError
        If a feature is NaN, shapes differ, a level is out of range, all images are of one
        level, or the penalty is not above 0.

    Notes
    -----
    One direction for all levels is the assumption (*proportional odds*): what tells minor from
    none must also tell major from minor. A constant feature gets the weight 0.
    """
    values = finite(features, 2)
    _check(values, levels, n_levels, penalty)
    centre, scale = centre_and_scale(values, np.ones(len(values)))
    objective = _Objective((values - centre) / scale, levels.astype(np.int64), n_levels, penalty)
    width = values.shape[1]
    found = optimize.minimize(
        objective,
        objective.start(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0 if increasing else None, None)] * width
        + [(None, None)]
        + [(_LEAST_GAP, None)] * (n_levels - 2),
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-8},
    )
    weights, cutpoints = found.x[:width], np.cumsum(found.x[width:])
    return OrdinalFit(
        weights=tuple(weights.tolist()),
        cutpoints=tuple(cutpoints.tolist()),
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        penalty=float(penalty),
    )


def level_probabilities(fit: OrdinalFit, features: NDArray[np.floating]) -> Float64:
    """Return the probability of each level.

    Parameters
    ----------
    fit : OrdinalFit
        Of `fit_ordinal`.
    features : Float[(n, f)]
        Features in the same order.

    Returns
    -------
    Float64[(n, K)]
        Rows sum to 1.

    Raises
    ------
    CalibrationError
        If a feature is NaN, or there are more or fewer of them than were fitted to.
    """
    position = _position(fit, features)[:, None]
    cuts = np.concatenate([[-np.inf], fit.cutpoints, [np.inf]])
    # σ(a) - σ(b) as a product: no digits are lost far out, and none is below 0.
    apart = -np.expm1(-np.diff(cuts))
    return np.asarray(
        special.expit(position - cuts[:-1]) * special.expit(cuts[1:] - position) * apart
    )


def predict(fit: OrdinalFit, features: NDArray[np.floating]) -> Levels:
    r"""Return the median level: the highest that is reached with a probability of at least 1/2.

    The median has the least expected distance in levels. Unlike the most probable level, it
    passes through every level as the score rises, and for one feature it is what the thresholds
    of `level_thresholds` say.

    Parameters
    ----------
    fit : OrdinalFit
        Of `fit_ordinal`.
    features : Float[(n, f)]
        Features in the same order.

    Returns
    -------
    Int64[(n,)]
        Levels.

    Raises
    ------
    CalibrationError
        If a feature is NaN, or there are more or fewer of them than were fitted to.
    """
    return np.searchsorted(fit.cutpoints, _position(fit, features), side="right").astype(np.int64)


def level_thresholds(fit: OrdinalFit) -> tuple[float, ...] | None:
    r"""Return the scores from which on each level is as likely reached as not.

    .. math:: t_k = m + d \, \theta_k / w

    for a feature with mean :math:`m`, standard deviation :math:`d` and weight :math:`w`.

    Parameters
    ----------
    fit : OrdinalFit
        With one feature.

    Returns
    -------
    tuple of float, or None
        In the unit of the feature, one per level above the lowest, ascending. None where a
        higher score does not mean a higher level (:math:`w \le 0`): no threshold then does
        what it says.

    Raises
    ------
    CalibrationError
        If there are several features, and so no threshold on one.
    """
    if len(fit.weights) != 1:
        raise CalibrationError(
            f"{len(fit.weights)} features decide together, so that none has thresholds of its "
            f"own. Fit a category by itself: clipcal calibrate"
        )
    if fit.weights[0] <= 0:
        return None
    unit = fit.scale[0] / fit.weights[0]
    thresholds = tuple(fit.centre[0] + unit * cutpoint for cutpoint in fit.cutpoints)
    return thresholds if all(map(math.isfinite, thresholds)) else None


class _Objective:
    r"""What `fit_ordinal` minimises, per image, and its gradient.

    The parameters are the weights, the lowest cut-point, and the gaps between cut-points. With
    :math:`\theta_0 = -\infty` and :math:`\theta_K = \infty`

    .. math:: \pi_k = \sigma(\eta - \theta_k)\, \sigma(\theta_{k+1} - \eta)
        \left(1 - e^{-(\theta_{k+1} - \theta_k)}\right)

    so that images enter through their own two cut-points, and gaps through counts alone.
    """

    def __init__(self, x: Float64, levels: Levels, n_levels: int, penalty: float) -> None:
        n, self._width = x.shape
        # The prior's image: at the mean, a part of it on every level.
        self._x = np.vstack([x, np.zeros((n_levels, self._width))])
        self._levels = np.concatenate([levels, np.arange(n_levels)])
        self._mass = np.concatenate([np.ones(n), np.full(n_levels, 1 / n_levels)]) / n
        self._shares = np.bincount(self._levels, self._mass, n_levels)
        self._penalty = penalty / n

    def start(self) -> Float64:
        """Return no weights, and the cut-points that then fit best."""
        reached = np.cumsum(self._shares[::-1])[::-1][1:] / self._shares.sum()
        cutpoints = -special.logit(reached)
        return np.concatenate([np.zeros(self._width), cutpoints[:1], np.diff(cutpoints)])

    def __call__(self, parameters: Float64) -> tuple[float, Float64]:
        weights, gaps = parameters[: self._width], parameters[self._width + 1 :]
        cuts = np.concatenate([[-np.inf], np.cumsum(parameters[self._width :]), [np.inf]])
        position = self._x @ weights
        above = position - cuts[self._levels]
        below = cuts[self._levels + 1] - position
        inner = self._shares[1:-1]
        value = (
            self._mass @ (np.logaddexp(0, -above) + np.logaddexp(0, -below))
            - inner @ np.log(-np.expm1(-gaps))
            + self._penalty / 2 * (weights @ weights)
        )
        # How the loss falls as an image moves up from its lower, and down from its upper, cut.
        up, down = self._mass * special.expit(-above), self._mass * special.expit(-below)
        return float(value), np.concatenate(
            [
                self._x.T @ (down - up) + self._penalty * weights,
                self._of_cutpoints(up, down, inner * np.exp(-gaps) / -np.expm1(-gaps)),
            ]
        )

    def _of_cutpoints(self, up: Float64, down: Float64, apart: Float64) -> Float64:
        """Return the gradient in the lowest cut-point and in the gaps; each moves those above."""
        levels = len(self._shares)
        each = (
            np.bincount(self._levels, up, levels)[1:] - np.bincount(self._levels, down, levels)[:-1]
        )
        together = np.cumsum(each[::-1])[::-1]
        together[1:] -= apart
        return together


def _position(fit: OrdinalFit, features: NDArray[np.floating]) -> Float64:
    """Return where images lie on the fitted direction."""
    values = finite(features, 2)
    if values.shape[1] != len(fit.weights):
        raise CalibrationError(
            f"There are {values.shape[1]} features, but {len(fit.weights)} were fitted to. "
            f"Fit again: clipcal calibrate"
        )
    return np.asarray((values - fit.centre) / fit.scale @ np.array(fit.weights))


def _check(features: Float64, levels: NDArray[np.integer], n_levels: int, penalty: float) -> None:
    same_length(features, levels, "levels")
    if not (penalty > 0 and math.isfinite(penalty)):
        raise CalibrationError(
            f"The penalty is {penalty:g}; it must be above 0, or separated levels have no fit. "
            f"Use 1: clipcal calibrate"
        )
    if len(levels) and not (levels.min() >= 0 and levels.max() < n_levels):
        raise CalibrationError(
            f"Labels have levels {int(levels.min())} to {int(levels.max())}, but there are "
            f"{n_levels}, from 0. Correct the labels, then run: clipcal calibrate"
        )
    if len(np.unique(levels)) < 2:
        raise CalibrationError(
            f"The {len(levels)} labelled images are all of one level; a fit needs images of two. "
            f"Label more images (clipcal suggest), then run: clipcal calibrate"
        )
