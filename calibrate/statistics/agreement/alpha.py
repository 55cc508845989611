"""Krippendorff's alpha: how far any number of raters agree, whatever images each of them saw."""

from __future__ import annotations

from typing import Literal

import numpy as np

from clipcal.calibrate.statistics.agreement.tables import (
    Counts,
    alphas,
    coincidences,
    defined,
    redraws,
    with_interval,
)
from clipcal.calibrate.statistics.bounds import Estimate


def krippendorff_alpha(
    counts: Counts, metric: Literal["ordinal", "nominal"] = "ordinal"
) -> float | None:
    r"""Krippendorff's alpha from how many raters said what.

    .. math:: \alpha = 1 - (n - 1) \frac{\sum_{kl} o_{kl}\, \delta^2_{kl}}
                                     {\sum_{kl} n_k n_l\, \delta^2_{kl}}, \qquad
        o_{kl} = \sum_u \frac{c_{uk} (c_{ul} - [k = l])}{c_{u\cdot} - 1},
        \quad n_k = \sum_l o_{kl}, \quad n = \sum_k n_k

    with :math:`c_{uk}` the ratings of image :math:`u` at level :math:`k`. The difference is
    :math:`\delta^2_{kl} = [k \ne l]` (nominal) or, ordinal, the square of
    :math:`\sum_{g=k}^{l} n_g - (n_k + n_l) / 2`. Images with one rating count for nothing.

    Parameters
    ----------
    counts : Int[(n, l)]
        Ratings per image and level; raters need not be the same, nor known.
    metric : {"ordinal", "nominal"}
        Whether levels have an order.

    Returns
    -------
    float or None
        At most 1; 0 is what chance attains. None where all ratings are equal.
    """
    values, _ = alphas(coincidences(counts).sum(axis=0), metric)
    return defined(values)


def alpha_estimate(
    counts: Counts,
    metric: Literal["ordinal", "nominal"] = "ordinal",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """Krippendorff's alpha with its interval; see `krippendorff_alpha`, and the package.

    Parameters
    ----------
    counts : Int[(n, l)]
        Ratings per image and level.
    metric : {"ordinal", "nominal"}
        Whether levels have an order.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    Estimate or None
        None where all ratings are equal.
    """
    patterns, number = np.unique(counts[counts.sum(axis=1) > 1], axis=0, return_counts=True)
    tables = coincidences(patterns)
    value, chance = alphas(np.tensordot(number, tables, 1), metric)
    drawn = [
        alphas(np.tensordot(weights, tables, 1), metric)[0] for weights in redraws(number, seed)
    ]
    return with_interval(value, drawn, int(number.sum()), chance, confidence)
