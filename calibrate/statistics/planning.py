"""How many more labels a guarantee takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import (
    check_rate,
    positives_needed,
    precision_p_value,
)

Counts = NDArray[np.int64]

_GROWTH = 1.05 ** np.arange(1, 180)  # how many times as many labels, up to some 6,000


@dataclass(frozen=True, slots=True)
class Further:
    """How many more labels are needed, roughly.

    Attributes
    ----------
    backing : int
        More labelled positives (for a recall) or flagged images (for a precision).
    labels : int or None
        About how many images must be labelled to find them, at random; None where nothing is
        known of how rare they are.
    """

    backing: int
    labels: int | None


def further_for_recall(
    target: float, confidence: float, positives: int, labels: int, blanks: int = 0
) -> Further:
    """Return what a guarantee of recall still takes, if no positive is given up.

    Parameters
    ----------
    target : float
        Recall, in (0, 1).
    confidence : float
        Of the guarantee, in (0, 1).
    positives, labels : int
        Positives labelled at random so far, and all images labelled so.
    blanks : int
        Images drawn at random whose label was left blank: the guarantee takes each for a positive
        that is missed.

    Returns
    -------
    Further
        ``positives_needed - positives``, the blanks among them, and as many labels as that takes
        at the rate seen.
    """
    more = positives_needed(target, confidence, blanks) - positives - blanks
    return Further(more, math.ceil(more * labels / positives) if positives else None)


def further_for_precision(
    target: float, risk: float, flagged: Counts, hits: Counts, labels: int
) -> Further | None:
    r"""Return what a guarantee of precision still takes at the most promising threshold.

    With :math:`g` times as many labels a candidate that now flags :math:`n` of them, :math:`h`
    of which are positive, is expected to flag :math:`gn`, of which :math:`g n \hat p` are, where
    :math:`\hat p = (h + p)/(n + 1)` is the precision seen, drawn toward the target :math:`p` by
    one image. The smallest :math:`g` counts at which the binomial test then passes at the risk.

    Parameters
    ----------
    target : float
        Precision, in (0, 1).
    risk : float
        Share of the risk that one threshold has, in (0, 1).
    flagged, hits : Int64[(g,)]
        Per candidate threshold the images labelled at random that it flags, and positives
        among them.
    labels : int
        Images labelled at random.

    Returns
    -------
    Further or None
        None where no threshold's precision lies above the target, or only thousands of times as
        many labels would do.
    """
    check_rate(target, "precision")
    check_rate(risk, "risk")
    seen = (hits + target) / (flagged + 1)
    promising = (flagged > 0) & (seen > target)
    then = np.ceil(flagged[promising, None] * _GROWTH[None, :]).astype(np.int64)
    right = np.floor(then * seen[promising, None]).astype(np.int64)
    passes = precision_p_value(right, then, target) <= risk
    reached = passes.any(axis=1)
    if not reached.any():
        return None
    first = passes.argmax(axis=1)[reached]
    best = int(np.argmin(first))
    wanted = int(then[reached][best, first[best]])
    more = math.ceil(labels * (_GROWTH[first[best]] - 1))
    return Further(max(wanted - int(flagged[promising][reached][best]), 1), max(more, 1))
