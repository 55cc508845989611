r"""Several guarantees that are to hold together.

Which method is valid depends on how the thresholds were chosen.

*Precision.* Each hypothesis is a pair of a cut and a candidate threshold, declared before the
labels were seen. There are finitely many, each has a valid p-value, and `holm` applies,
whatever the dependence between them.

*Recall.* Each cut's threshold is a tolerance limit, chosen by the labels themselves. There
Holm's procedure is **not** valid. It hands on the share of a hypothesis once that is rejected,
because a share spent on a false hypothesis cost nothing. But "recall at :math:`t` is below
:math:`r`" is true for every :math:`t` above the cut's own quantile: however good the score, a
cut always keeps true hypotheses, and its share can be lost on them at any time. It is never
free to be handed on. If it were (shares :math:`\delta/m, \delta/(m-1), \ldots, \delta` for
:math:`m` independent cuts) some guarantee would fail with a probability of about
:math:`\delta\,(1 + 1/2 + \cdots + 1/m)`. So the shares must add up to :math:`\delta`: see
`divide_risk`.

References
----------
Holm, S. (1979). A simple sequentially rejective multiple test procedure. *Scandinavian Journal
of Statistics* 6(2), 65-70.

Tarone, R. E. (1990). A modified Bonferroni method for discrete data. *Biometrics* 46(2),
515-522.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipcal.calibrate.statistics.bounds import SLACK, check_rate
from clipcal.errors import CalibrationError


def holm(p_values: ArrayLike, risk: float) -> NDArray[np.bool_]:
    r"""Reject hypotheses so that any true one is among them with probability at most `risk`.

    With the p-values in ascending order, those before the first with
    :math:`p_{(i)} > \delta / (m - i + 1)` are rejected (Holm 1979).

    Parameters
    ----------
    p_values : Float[(m,)]
        One per hypothesis, each valid by itself: under the hypothesis, ``P(p <= x) <= x``.
    risk : float
        :math:`\delta`, in (0, 1).

    Returns
    -------
    Bool[(m,)]
        Which are rejected, that is, whose claim is certified.

    Raises
    ------
    CalibrationError
        If a p-value lies outside [0, 1] or is NaN, or the risk is outside (0, 1).

    Notes
    -----
    Holds for any dependence between the p-values. The hypotheses must have been declared
    without the labels; a hypothesis may not be left out because its p-value is great.
    """
    p = _checked(p_values)
    m = len(p)
    limits = check_rate(risk, "risk") * SLACK / np.arange(m, 0, -1)
    order = np.argsort(p, kind="stable")
    rejected = np.zeros(m, np.bool_)
    rejected[order] = np.logical_and.accumulate(p[order] <= limits)
    return rejected


def divide_risk(
    smallest_p_values: ArrayLike,
    risk: float,
    *,
    disjoint: bool = False,
) -> tuple[NDArray[np.bool_], float]:
    r"""Divide `risk` among claims so that all that are made hold together.

    Among `disjoint` claims only those take a share that could be certified with it at all. The
    number of shares is

    .. math:: K = \min\{k \ge 1 : \#\{j : p^*_j \le \delta/k\} \le k\}

    with :math:`p^*_j` the smallest p-value that claim :math:`j` could have with its number of
    labels (Tarone 1990). At most :math:`K` claims are made, each at risk :math:`\delta/K`. For
    all others :math:`K` is the number of claims (Bonferroni).

    Parameters
    ----------
    smallest_p_values : Float[(m,)]
        :math:`p^*`; for a recall ``recall_p_value(0, n_positives, target)``.
    risk : float
        :math:`\delta`, in (0, 1).
    disjoint : bool
        Whether no image can be positive for two of the claims, as with one class per image. Where
        that is not known, leave it False.

    Returns
    -------
    mask : Bool[(m,)]
        Which claims can be certified with their share.
    share : float
        :math:`\delta/K`, the risk of each.

    Raises
    ------
    CalibrationError
        If a p-value lies outside [0, 1] or is NaN, or the risk is outside (0, 1).

    Notes
    -----
    With Tarone's :math:`K` the risk of one cut depends on the label counts of the others. That
    is harmless if, given all counts, each cut's labelled positives are still a random sample
    of its own positives: so it is where no image is positive for two cuts. Where cuts overlap
    (levels of one category, or categories that occur together) it need not be so: few positives
    of a narrow cut can mean that a wide cut around it lacks just those in its sample, and the
    wide cut would then be judged with the greater share. A test computes a case in which the
    claims fail with probability 0.059 instead of 0.05. There the number of shares must not
    depend on the labels.
    """
    smallest = _checked(smallest_p_values)
    limits = check_rate(risk, "risk") / np.arange(1, max(len(smallest), 1) + 1)
    within = np.searchsorted(np.sort(smallest), limits * SLACK, side="right")
    enough = np.flatnonzero(within <= np.arange(1, len(limits) + 1))[0] if disjoint else -1
    share = float(limits[enough])
    return smallest <= share * SLACK, share


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise CalibrationError(
            "The p-values are not numbers between 0 and 1 in a row. Fit the thresholds again: "
            "clipcal calibrate"
        )
    return p
