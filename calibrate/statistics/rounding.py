"""How a threshold is rounded before it is kept."""

from __future__ import annotations

import math

import numpy as np

_STEPS = 1e6


def stored(threshold: float) -> float:
    """Round a threshold down to six decimals, at least half a step below the score.

    The same score computed in blocks of another size may differ in its last bits; the gap
    keeps the image on the boundary flagged. To lower a threshold can only raise its recall,
    so that a recall guarantee stays. It may flag another image, with a score up to 1.5
    millionths lower: what limits the flags must count them at the rounded threshold.

    Parameters
    ----------
    threshold : float
        A score.

    Returns
    -------
    float
        Between 0.5 and 1.5 millionths lower; at least two steps of float32 where these are
        wider, from about 4 on.
    """
    gap = max(0.5 / _STEPS, 2 * float(np.spacing(np.float32(abs(threshold)))))
    return math.floor((threshold - gap) * _STEPS) / _STEPS


def above(score: np.floating) -> float:
    """Return a threshold that `score` does not reach, even after `stored` has lowered it.

    Two millionths less the 1.5 that `stored` may take leave half a millionth; where the steps
    of the score's own number format are wider than that, one such step keeps them apart.

    Parameters
    ----------
    score : numpy.floating
        A finite score, in the precision in which it will be compared.

    Returns
    -------
    float
        Slightly greater.
    """
    lowered = 2 / _STEPS + 3 * float(np.spacing(np.float32(abs(score))))
    return float(score) + float(np.spacing(np.abs(score))) + lowered
