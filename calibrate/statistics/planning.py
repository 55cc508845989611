"""How many more labels a guarantee takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.calibrate.statistics.bounds import check_rate, positives_needed

Counts = NDArray[np.int64]


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


def further_for_recall(target: float, confidence: float, positives: int, labels: int) -> Further:
    """Return what a guarantee of recall still takes, if no positive is given up.

    Parameters
    ----------
    target : float
        Recall, in (0, 1).
    confidence : float
        Of the guarantee, in (0, 1).
    positives, labels : int
        Labelled at random so far, and positives among them.

    Returns
    -------
    Further
        ``positives_needed - positives``, and as many labels as that takes at the rate seen.
    """
    more = positives_needed(target, confidence) - positives
    return Further(more, math.ceil(more * labels / positives) if positives else None)


def further_for_precision(
    target: float, risk: float, flagged: Counts, hits: Counts, labels: int
) -> Further | None:
    r"""Return what a guarantee of precision still takes at the most promising threshold.

    With :math:`\hat p` the precision seen there, drawn toward the target by one image, and
    :math:`z` the normal quantile of the risk, about

    .. math:: m = \max\left(\frac{z^2 p(1-p)}{(\hat p - p)^2},\ \frac{\ln \delta}{\ln p}\right)

    flagged images are needed: the first term by the normal approximation to the binomial test,
    the second because without any false flag no fewer will do.

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
        None where no threshold's precision lies above the target.
    """
    check_rate(target, "precision")
    check_rate(risk, "risk")
    shrunk = (hits + target) / (flagged + 1)
    promising = (flagged > 0) & (shrunk > target)
    if not promising.any():
        return None
    z = special.ndtri(1 - risk)
    gap = shrunk[promising] - target
    needed = np.maximum(z**2 * target * (1 - target) / gap**2, math.log(risk) / math.log(target))
    takes = needed * labels / flagged[promising]
    best = int(np.argmin(takes))
    seen = int(flagged[promising][best])
    return Further(max(math.ceil(needed[best]) - seen, 1), max(math.ceil(takes[best]) - labels, 1))
