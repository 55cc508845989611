"""What every fit asks of its input: numbers that are numbers, weights that weigh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import CalibrationError

Float64 = NDArray[np.float64]

_NO_SPREAD = 1e-12  # of the size of the scores; what rounding makes of equal ones


def finite(scores: NDArray[np.floating], dimensions: int = 1) -> Float64:
    """Return scores as float64; refuse another shape, NaN and infinity.

    Parameters
    ----------
    scores : Float[(n,)] or Float[(n, f)]
        Scores.
    dimensions : int
        How many axes they must have.

    Returns
    -------
    Float64 of the same shape
        The scores.

    Raises
    ------
    CalibrationError
        If a score is no finite number, or the shape is another.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != dimensions:
        raise CalibrationError(
            f"Scores have shape {values.shape}, but {dimensions} axes are needed. "
            f"Score the corpus again: clipcal score"
        )
    if not np.isfinite(values).all():
        raise CalibrationError("A score is NaN or infinite. Score the corpus again: clipcal score")
    return values


def same_length(scores: Float64, other: NDArray[np.generic], name: str) -> None:
    """Raise CalibrationError unless there is one of `other`, called `name`, for each score."""
    if other.shape != (len(scores),):
        raise CalibrationError(
            f"There are {len(scores)} scores, but {name} of shape {other.shape}. "
            f"Fit again: clipcal calibrate"
        )


def effective_weights(weights: NDArray[np.floating] | None, n: int) -> Float64:
    r"""Scale sampling weights to sum to the effective number of images.

    An image that was picked with the probability :math:`\pi_i` stands for :math:`1/\pi_i` images
    of the corpus, but it is still a single observation. Kish's effective number
    :math:`n_e = (\sum w)^2 / \sum w^2` is how many images of equal weight tell as much.

    Parameters
    ----------
    weights : Float[(n,)] or None
        Inverse inclusion probabilities, up to a factor; None for equal ones.
    n : int
        Images.

    Returns
    -------
    Float64[(n,)]
        Weights that sum to the effective number; ones where weights are equal.

    Raises
    ------
    CalibrationError
        If there are not `n` weights, or one is not above zero and finite.

    References
    ----------
    Kish, L. (1965). *Survey Sampling*. Wiley.
    """
    if weights is None:
        return np.ones(n)
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,) or not (np.isfinite(values) & (values > 0)).all():
        raise CalibrationError(
            f"{n} weights above zero are needed, one per labelled image. "
            f"Fit again without: clipcal calibrate"
        )
    return np.asarray(values * (values.sum() / np.square(values).sum()))


def centre_and_scale(values: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """Return weighted mean and standard deviation of each column; the latter is 1 where it is 0.

    Parameters
    ----------
    values : Float64[(n,)] or Float64[(n, f)]
        Scores.
    weights : Float64[(n,)]
        Weights.

    Returns
    -------
    centre, scale : Float64[()] or Float64[(f,)]
        What to subtract, and what to divide by.
    """
    centre = np.asarray(np.average(values, axis=0, weights=weights))
    spread = np.sqrt(np.average(np.square(values - centre), axis=0, weights=weights))
    none = spread <= _NO_SPREAD * np.maximum(1, np.abs(centre))
    return centre, np.where(none, 1.0, spread)


def check_labels(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> None:
    """Raise CalibrationError unless scores (n,) and labels (n,) fit and no score is infinite."""
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for labels of shape {positive.shape}. "
            f"Score the corpus again: clipcal score"
        )
    if not np.isfinite(scores).all():
        raise CalibrationError(
            "A score of a labelled image is not finite. Score the corpus again: clipcal score"
        )


def check_scores(scores: NDArray[np.floating]) -> None:
    """Raise CalibrationError unless there are scores (n,), all finite."""
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise CalibrationError(
            "There is no score, or one that is not finite. Score the corpus again: clipcal score"
        )
