r"""Fit a head to labelled embeddings, its hyper-parameters given.

References
----------
Hoerl, A. E., and Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal
problems. *Technometrics* 12(1), 55-67.

Chelba, C., and Acero, A. (2006). Adaptation of maximum entropy capitalizer: little data can help
a lot. *Computer Speech and Language* 20(4), 382-399 (shrinking towards a prior's weights).

Zhang, R., et al. (2022). Tip-Adapter: training-free adaption of CLIP for few-shot
classification. *ECCV 2022*, 493-510.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.heads.head import Head, encoded, nearness
from clipcal.errors import CalibrationError

Embeddings = NDArray[np.floating]  # (n, d) rows L2-normalised
Flags = NDArray[np.bool_]  # (n,)

MOST_KEYS = 256

# Of the text's share: what keeps it finite where the text alone separates the classes, and what
# keeps its order where the labels speak against it.
_WEAK = 1e-3
_LEAST_SHARE = 0.01


class Direction(NamedTuple):
    """A linear score ``x @ weights + intercept``, a logit between the balanced classes."""

    weights: NDArray[np.float64]
    intercept: float


class Cache(NamedTuple):
    """Labelled images that vote, and how a vote compares with the plain score.

    Attributes
    ----------
    keys : Float32[(k, d)]
        The images.
    values : Float32[(k,)]
        Their votes: 1 / positives, or -1 / negatives.
    scale : float
        One over the standard deviation of the plain scores.
    spread : float
        Standard deviation of the votes' sum, each image's own vote left out.
    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    scale: float
    spread: float


def fit_probe(
    embeddings: Embeddings,
    positive: Flags,
    towards: NDArray[np.floating],
    penalty: float,
    weights: NDArray[np.floating] | None = None,
) -> Head:
    r"""Fit a logistic regression that shrinks towards the text's direction, not towards zero.

    The score is :math:`x \cdot (a t + v) + b` with the text's direction :math:`t`; fitted are
    :math:`a \ge 0`, :math:`v` and :math:`b`, by

    .. math::
        \min \sum_i c_i \log\bigl(1 + e^{-y_i (x_i \cdot (a t + v) + b)}\bigr)
        + \frac{\lambda}{2} |v|^2

    with :math:`y = \pm 1` and :math:`c_i` so that both classes weigh the same and all weights
    add up to n. It is convex. Only the departure :math:`v` from the text pays a penalty: as it
    grows, the order of the scores becomes that of :math:`x \cdot t`; as it vanishes, this is
    plain logistic regression. (The text's share :math:`a`, per standard deviation of
    :math:`x \cdot t`, is kept above 0.01 and has a penalty of n/1000, which only matter where
    the labels contradict the text, or it separates the classes by itself.)

    Parameters
    ----------
    embeddings : Float[(n, d)]
        L2-normalised embeddings of the labelled images.
    positive : Bool[(n,)]
        Which are positive.
    towards : Float[(d,)]
        Direction of the text, such as the mean prompt less the mean contrast.
    penalty : float
        :math:`\lambda > 0`.
    weights : Float[(n,)], optional
        Sampling weights.

    Returns
    -------
    Head
        A probe; its scores have standard deviation 1 on these images.

    Raises
    ------
    CalibrationError
        If one class is absent, or shapes do not fit.

    Notes
    -----
    A threshold must be certified on other labels than these: on these the scores flatter, and
    no guarantee holds.
    """
    (direction,) = probe_path(embeddings, positive, towards, [penalty], weights)
    return probe_head(direction, embeddings)


def probe_path(
    embeddings: Embeddings,
    positive: Flags,
    towards: NDArray[np.floating],
    penalties: Sequence[float],
    weights: NDArray[np.floating] | None = None,
    tolerance: float = 1e-11,
) -> list[Direction]:
    """Fit a probe for each penalty, each starting from the one before; see `fit_probe`.

    Parameters
    ----------
    embeddings, positive, towards, weights
        As for `fit_probe`.
    penalties : sequence of float
        From the greatest to the least is quickest.
    tolerance : float
        Where a step lowers the mean loss by less than this share, it is the last.

    Returns
    -------
    list of Direction
        In the order of the penalties.

    Raises
    ------
    CalibrationError
        If one class is absent, or shapes do not fit.
    """
    _check(embeddings, positive, towards)
    design = _Design.of(embeddings, positive, towards, weights)
    start = np.zeros(design.columns.shape[1])
    start[1] = 1
    path = []
    for penalty in penalties:
        start = design.minimise(penalty, start, tolerance)
        path.append(design.direction(start))
    return path


def probe_head(direction: Direction, embeddings: Embeddings) -> Head:
    """Keep a direction, scaled so that scores of these embeddings have standard deviation 1."""
    spread = _spread(embeddings @ direction.weights)
    return Head(
        kind="probe",
        dim=len(direction.weights),
        arrays={"direction": encoded(direction.weights / spread)},
        parameters={"intercept": float(direction.intercept / spread)},
    )


def fit_tip_adapter(
    embeddings: Embeddings,
    positive: Flags,
    plain_scores: NDArray[np.floating],
    alpha: float,
    beta: float,
    rng: np.random.Generator,
) -> Head:
    r"""Let labelled images vote by nearness, beside the plain score (Tip-Adapter, no training).

    .. math::
        \frac{s}{\sigma_s} + \frac{\alpha}{\sigma_c} c(x), \qquad
        c(x) = \sum_k e^{-\beta (1 - x \cdot f_k)} y_k

    The published form has one-hot votes; here a positive votes with :math:`1/n_+` and a negative
    with :math:`-1/n_-`, so that the commoner class does not win by number, and both terms are
    divided by their standard deviations, so that :math:`\alpha` means the same for every model.

    Parameters
    ----------
    embeddings : Float[(n, d)]
        L2-normalised embeddings of the labelled images.
    positive : Bool[(n,)]
        Which are positive.
    plain_scores : Float[(n,)]
        The score rule's scores :math:`s`.
    alpha : float
        Weight of the votes, in standard deviations.
    beta : float
        How near an image must be to vote.
    rng : numpy.random.Generator
        Where there are more than 256 images, draws the 256 that vote, as evenly from both
        classes as they allow: they are stored with the calibration.

    Returns
    -------
    Head
        A Tip-Adapter.

    Raises
    ------
    CalibrationError
        If one class is absent, or shapes do not fit.

    Notes
    -----
    A kept image is nearest to itself, so scores of these images flatter: a threshold must be
    certified on other labels than these.
    """
    _check(embeddings, positive, np.zeros(embeddings.shape[1]))
    check_shapes(embeddings, plain_scores, np.zeros(embeddings.shape[1]))
    voters = draw_voters(positive, rng)
    cache = fill_cache(embeddings, positive, plain_scores, voters, beta)
    return Head(
        kind="tip_adapter",
        dim=embeddings.shape[1],
        arrays={"keys": encoded(cache.keys), "values": encoded(cache.values)},
        parameters={"scale": cache.scale, "alpha": alpha / cache.spread, "beta": beta},
    )


def draw_voters(positive: Flags, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which images vote: all, or 256, as evenly from both classes as they allow."""
    if len(positive) <= MOST_KEYS:
        return np.arange(len(positive))
    own, other = np.flatnonzero(positive), np.flatnonzero(~positive)
    half = MOST_KEYS // 2
    from_own = min(len(own), max(half, MOST_KEYS - len(other)))
    drawn = (
        rng.choice(own, from_own, replace=False),
        rng.choice(other, MOST_KEYS - from_own, replace=False),
    )
    return np.sort(np.concatenate(drawn))


def fill_cache(
    embeddings: Embeddings,
    positive: Flags,
    plain_scores: NDArray[np.floating],
    voters: NDArray[np.int64],
    beta: float,
) -> Cache:
    """Keep the voters, and measure what their votes amount to; see `fit_tip_adapter`.

    Parameters
    ----------
    embeddings, positive, plain_scores, beta
        As for `fit_tip_adapter`.
    voters : Int64[(k,)]
        Which of the images vote; some of both classes.

    Returns
    -------
    Cache
        The votes.
    """
    rows = np.asarray(embeddings, np.float32)
    keys, own = rows[voters], positive[voters]
    values = np.where(own, 1 / own.sum(), -1 / (~own).sum()).astype(np.float32)
    near = nearness(rows, keys, beta)
    near[voters, np.arange(len(voters))] = 0
    return Cache(keys, values, 1 / _spread(plain_scores), _spread(near @ values))


def total_variance(embeddings: Embeddings) -> float:
    """Return the mean squared distance from the mean: what is near and far for this model."""
    return float(np.var(embeddings, axis=0, dtype=np.float64).sum())


def _spread(values: NDArray[np.floating]) -> float:
    """Return the standard deviation, or 1 where nothing varies."""
    spread = float(np.std(values, dtype=np.float64))
    return spread if spread > 0 else 1.0


class _Design(NamedTuple):
    """A logistic regression in units that L-BFGS gets along with: columns of about variance 1.

    Attributes
    ----------
    columns : Float64[(n, 2 + d)]
        Ones, the text's score, and the embeddings; centred and scaled.
    signs, weights : Float64[(n,)]
        1 or -1, and weights that add up to 1.
    centre, towards : Float64[(d,)]
        What was subtracted, and the text's direction.
    text_spread, spread : float
        What was divided by.
    """

    columns: NDArray[np.float64]
    signs: NDArray[np.float64]
    weights: NDArray[np.float64]
    centre: NDArray[np.float64]
    towards: NDArray[np.float64]
    text_spread: float
    spread: float

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        positive: Flags,
        towards: NDArray[np.floating],
        weights: NDArray[np.floating] | None,
    ) -> _Design:
        direction = np.asarray(towards, np.float64)
        centred = np.asarray(embeddings, np.float64)
        centre = centred.mean(axis=0)
        centred = centred - centre
        text = centred @ direction
        text_spread, spread = _spread(text), _spread(centred)
        columns = np.empty((len(centred), 2 + centred.shape[1]))
        columns[:, 0], columns[:, 1] = 1, text / text_spread
        np.divide(centred, spread, out=columns[:, 2:])
        share = _balanced(positive, weights)
        signs = np.where(positive, 1.0, -1.0)
        return cls(columns, signs, share, centre, direction, text_spread, spread)

    def minimise(
        self, penalty: float, start: NDArray[np.float64], tolerance: float
    ) -> NDArray[np.float64]:
        from scipy import optimize

        ridge = np.full(len(start), penalty / (len(self.signs) * self.spread**2))
        ridge[:2] = 0, _WEAK
        lower = np.full(len(start), -np.inf)
        lower[1] = _LEAST_SHARE
        result = optimize.minimize(
            self._loss,
            start,
            (ridge,),
            method="L-BFGS-B",
            jac=True,
            bounds=optimize.Bounds(lower, np.inf),
            options={"maxiter": 500, "ftol": tolerance, "gtol": 1e-7},
        )
        return np.asarray(result.x)

    def _loss(
        self, solution: NDArray[np.float64], ridge: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        from scipy import special

        margins = self.signs * (self.columns @ solution)
        loss = self.weights @ np.logaddexp(0, -margins) + ridge @ np.square(solution) / 2
        slope = -self.weights * self.signs * special.expit(-margins)
        return float(loss), slope @ self.columns + ridge * solution

    def direction(self, solution: NDArray[np.float64]) -> Direction:
        """Return a solution in the units of the embeddings."""
        weights = solution[1] / self.text_spread * self.towards + solution[2:] / self.spread
        return Direction(weights, float(solution[0] - self.centre @ weights))


def _balanced(positive: Flags, weights: NDArray[np.floating] | None) -> NDArray[np.float64]:
    given = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)
    totals = np.where(positive, given[positive].sum(), given[~positive].sum())
    return np.asarray(given / (2 * totals))


def check_shapes(
    embeddings: Embeddings, given: NDArray[np.generic], towards: NDArray[np.floating]
) -> None:
    """Raise CalibrationError unless each embedding has one of `given`, and the text's length."""
    if given.shape != embeddings.shape[:1] or towards.shape != embeddings.shape[1:]:
        raise CalibrationError(
            f"There are embeddings of shape {embeddings.shape}, {len(given)} labels or scores, "
            f"and a text vector of length {len(towards)}, which do not fit. "
            f"Encode the prompts with the corpus's model: clipcal prompts encode"
        )


def _check(embeddings: Embeddings, positive: Flags, towards: NDArray[np.floating]) -> None:
    check_shapes(embeddings, positive, towards)
    if not positive.any() or positive.all():
        raise CalibrationError(
            "A learned score needs positives and negatives, and one kind is not labelled. "
            "Label some: clipcal suggest, then run: clipcal calibrate"
        )
