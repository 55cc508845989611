r"""The area under the ROC curve, with its uncertainty, and differences of two on the same images.

The area :math:`A = P(X > Y) + \tfrac12 P(X = Y)` is how often a positive's score :math:`X` lies
above a negative's :math:`Y`. Everything here comes from the *placements*: of each positive among
the :math:`n` negatives, and of each negative among the :math:`m` positives,

.. math::
    V_i = \frac1n \sum_j \psi(X_i, Y_j), \qquad W_j = \frac1m \sum_i \psi(X_i, Y_j), \qquad
    \hat A = \overline{V} = \overline{W},

with :math:`\psi` = 1, ½ or 0 where the positive scores above, equal or below. Sorting gives them
in :math:`O(N \log N)` (Sun and Xu 2014).

References
----------
DeLong, E. R., DeLong, D. M., and Clarke-Pearson, D. L. (1988). Comparing the areas under two or
more correlated receiver operating characteristic curves: a nonparametric approach. *Biometrics*
44(3), 837-845.

Sun, X., and Xu, W. (2014). Fast implementation of DeLong's algorithm for comparing the areas
under correlated receiver operating characteristic curves. *IEEE Signal Processing Letters*
21(11), 1389-1393.

Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. *Biometrics* 53(2),
567-578.

Newcombe, R. G. (2006). Confidence intervals for an effect size measure based on the Mann-Whitney
statistic. Part 2: asymptotic methods and evaluation. *Statistics in Medicine* 25(4), 559-573.

Hanley, J. A., and McNeil, B. J. (1982). The meaning and use of the area under a receiver
operating characteristic (ROC) curve. *Radiology* 143(1), 29-36.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.calibrate.statistics.bounds import Estimate, Range, check_rate
from clipcal.errors import CalibrationError

# Placements are multiples of 1 / 2n; what differs by less differs by rounding alone.
_ROUNDING = 1e-12


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve; ties count half.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores.
    positive : Bool[(n,)]
        Which are positive.

    Returns
    -------
    float
        In [0, 1]; NaN where one class is absent.

    Raises
    ------
    CalibrationError
        If a score is NaN, or the shapes differ.
    """
    _check(positive, scores)
    if not positive.any() or positive.all():
        return math.nan
    return float(_place(scores[positive], scores[~positive]).mean())


def auc_estimate(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> Estimate | None:
    r"""Return the area under the ROC curve with an interval that holds near 1 too.

    With the variances :math:`S_V, S_W` of the placements of positives and negatives, DeLong's
    interval on the logit scale is

    .. math::
        \mathrm{Var}\,\hat A = \frac{S_V}{m} + \frac{S_W}{n}, \qquad
        \mathrm{logit}\,\hat A \pm z \frac{\sqrt{\mathrm{Var}\,\hat A}}{\hat A (1 - \hat A)} .

    Alone it is too short where an area is near 1 and positives are few, because the rare
    positive among the negatives has not been seen: with 30 positives, 500 negatives and
    :math:`A = 0.99` its lower end is above :math:`A` in 11% of draws, instead of 2.5%. So it is
    widened to hold Newcombe's score interval (his method 5), all :math:`\theta` with

    .. math::
        |\hat A - \theta| \le z \sqrt{\frac{\theta(1-\theta)}{mn} \Bigl[1 + (N-1)\Bigl(
        \frac{1-\theta}{2-\theta} + \frac{\theta}{1+\theta}\Bigr)\Bigr]},
        \qquad N = \frac{m+n}{2},

    which takes its variance from :math:`\theta`, not from the sample (after Hanley and McNeil
    1982). Where classes are separated completely, so that DeLong's variance is zero, and where a
    class has one member, it is widened to hold Clopper and Pearson's interval for
    :math:`k \hat A` successes among :math:`k` disjoint pairs of a positive and a negative. For
    :math:`\hat A = 1` that lower end, :math:`(\alpha/2)^{1/k}`, is a bound for any distribution:
    all pairs are in order with the probability :math:`A^k`.

    Given clusters, placements are added up within each before variances, and the covariance of
    the two kinds, are taken over clusters (Obuchowski 1997), and :math:`m, n` are the numbers of
    clusters that hold a positive, or a negative.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores.
    positive : Bool[(n,)]
        Which are positive.
    confidence : float
        Nominal coverage, in (0, 1).
    clusters : Int64[(n,)], optional
        Equal for images that are near copies. Without it every image is its own.

    Returns
    -------
    Estimate or None
        The area and its interval, over n images; None where one class is absent.

    Raises
    ------
    CalibrationError
        If a score is NaN, shapes differ, or the confidence is outside (0, 1).

    Notes
    -----
    Images (or clusters) must be drawn independently. In simulations with 5 to 100 positives
    (normal scores of equal and unequal spread, and scores of which some positives look like
    negatives), the lower end was above the area in at most 7% of draws, mostly under 1%, and the
    upper end below it in at most 7%, mostly 2% to 4%. It describes the scores as they are: if
    they, or their prompts, were chosen on these labels, it flatters.
    """
    check_rate(confidence, "confidence")
    _check(positive, scores)
    if not positive.any() or positive.all():
        return None
    sample = _Sample.of(positive, clusters)
    placed = _placements(scores, positive)
    value, variance = float(placed[positive].mean()), sample.variance(placed)
    if variance is None:
        first = _as_pairs(value, sample.pairs, confidence)
    else:
        first = _on_logits(value, variance, confidence)
    second = _newcombe(value, sample.with_positives, sample.with_negatives, confidence)
    return Estimate(value, min(first[0], second[0]), max(first[1], second[1]), len(scores))


def auc_difference(
    scores_a: NDArray[np.floating],
    scores_b: NDArray[np.floating],
    positive: NDArray[np.bool_],
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> Range | None:
    r"""Return by how much the first score's area exceeds the second's, on the same images.

    The variance is that of `auc_estimate`, of the differences of the two scores' placements:
    what they have in common cancels (DeLong et al. 1988). The interval is
    :math:`\hat A_a - \hat A_b \pm z \sqrt{\mathrm{Var}}`, cut to [-1, 1].

    Where no placement differs, as between two scores that both separate the classes, the
    variance is zero but nothing is certain. With :math:`k` disjoint pairs of a positive and a
    negative, all of which the two put in the same order, the share of pairs that they order
    differently is at most :math:`1 - \alpha^{1/k}` with the stated confidence, and so is the
    difference in size. Where the variance cannot be estimated otherwise, the interval is that of
    a rate :math:`(d + 1)/2` over :math:`k` pairs.

    Parameters
    ----------
    scores_a, scores_b : Float[(n,)]
        Two scores of the same images; their scales need not agree.
    positive : Bool[(n,)]
        Which are positive.
    confidence : float
        Nominal coverage, in (0, 1).
    clusters : Int64[(n,)], optional
        Equal for images that are near copies. Without it every image is its own.

    Returns
    -------
    Range or None
        ``auc(a) - auc(b)`` and its interval; None where one class is absent.

    Raises
    ------
    CalibrationError
        If a score is NaN, shapes differ, or the confidence is outside (0, 1).

    Notes
    -----
    Neither score may have been fitted or chosen on these labels; scores out of fold may be
    compared, though their interval then neglects that folds share what they were fitted to.
    In simulations of scores that are equally good, with 5 to 100 positives, either end was on
    the wrong side of zero in at most 3% of draws: a gain that is surely above zero is one. Where
    scores differ on rare positives only, the interval does not reach far enough to hold the gain
    that has not been seen.
    """
    check_rate(confidence, "confidence")
    _check(positive, scores_a, scores_b)
    if not positive.any() or positive.all():
        return None
    sample = _Sample.of(positive, clusters)
    placed = _placements(scores_a, positive) - _placements(scores_b, positive)
    value, variance = float(placed[positive].mean()), sample.variance(placed)
    if variance is not None:
        reach = _z(confidence) * math.sqrt(variance)
        return Range(value, max(-1.0, value - reach), min(1.0, value + reach))
    if np.abs(placed).max() < _ROUNDING:
        reach = 1 - (1 - confidence) ** (1 / sample.pairs)
        return Range(0.0, -reach, reach)
    low, high = _as_pairs((value + 1) / 2, sample.pairs, confidence)
    return Range(value, 2 * low - 1, 2 * high - 1)


class _Sample(NamedTuple):
    """Who is positive, and which images count as one draw."""

    positive: NDArray[np.bool_]
    cluster: NDArray[np.intp]
    clusters: int
    with_positives: int
    with_negatives: int

    @classmethod
    def of(cls, positive: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> _Sample:
        if clusters is None:
            m = int(positive.sum())
            return cls(positive, np.arange(len(positive)), len(positive), m, len(positive) - m)
        distinct, cluster = np.unique(clusters, return_inverse=True)
        held = (len(np.unique(cluster[some])) for some in (positive, ~positive))
        return cls(positive, cluster, len(distinct), *held)

    @property
    def pairs(self) -> int:
        """How many pairs of a positive and a negative have no cluster in common; at least 1."""
        return max(1, min(self.with_positives, self.with_negatives, self.clusters // 2))

    def variance(self, placed: NDArray[np.float64]) -> float | None:
        """Variance of the mean placement; None where it is zero or cannot be estimated."""
        if min(self.with_positives, self.with_negatives) < 2:
            return None
        mean = placed[self.positive].mean()
        kinds = [self._summed(placed, of) for of in (self.positive, ~self.positive)]
        rests = [sums - mean * counts for sums, counts in kinds]
        m, n = (int(counts.sum()) for _, counts in kinds)
        own = sum(
            held / (held - 1) * float(rest @ rest) / size**2
            for held, rest, size in zip(self[3:], rests, (m, n), strict=True)
        )
        both = self.clusters / (self.clusters - 1) * float(rests[0] @ rests[1]) / (m * n)
        variance = own + 2 * both
        return variance if variance > _ROUNDING**2 else None

    def _summed(
        self, placed: NDArray[np.float64], of: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Placements of one class added up by cluster, and how many there are."""
        which = self.cluster[of]
        sums = np.bincount(which, weights=placed[of], minlength=self.clusters)
        return sums.astype(np.float64), np.bincount(which, minlength=self.clusters)


def _placements(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each positive the share of negatives below it, of each negative of positives above it."""
    placed = np.empty(len(scores))
    placed[positive] = _place(scores[positive], scores[~positive])
    placed[~positive] = 1 - _place(scores[~positive], scores[positive])
    return placed


def _place(scores: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share of `among` that lies below each score; what is equal counts half."""
    ordered = np.sort(among)
    below, up_to = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    share: NDArray[np.float64] = (below + up_to) / (2 * len(among))
    return share


def _as_pairs(rate: float, pairs: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's ends for a rate whose successes need not be whole."""
    hits, tail = rate * pairs, (1 - confidence) / 2
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, pairs - hits + 1, tail))
    high = 1.0 if hits >= pairs else float(special.betaincinv(hits + 1, pairs - hits, 1 - tail))
    return low, high


def _on_logits(value: float, variance: float, confidence: float) -> tuple[float, float]:
    """DeLong's interval."""
    centre = float(special.logit(value))
    reach = _z(confidence) * math.sqrt(variance) / (value * (1 - value))
    return float(special.expit(centre - reach)), float(special.expit(centre + reach))


def _newcombe(value: float, m: int, n: int, confidence: float) -> tuple[float, float]:
    """Newcombe's interval; its ends solve an equation that has one solution on either side."""
    from scipy.optimize import brentq

    z, rest = _z(confidence), (m + n) / 2 - 1

    def outside(area: float) -> float:
        inner = 1 + rest * ((1 - area) / (2 - area) + area / (1 + area))
        return abs(value - area) - z * math.sqrt(area * (1 - area) * inner / (m * n))

    low = 0.0 if value <= 0 else float(brentq(outside, 0.0, value))
    high = 1.0 if value >= 1 else float(brentq(outside, value, 1.0))
    return low, high


def _z(confidence: float) -> float:
    return float(special.ndtri((1 + confidence) / 2))


def _check(positive: NDArray[np.bool_], *scores: NDArray[np.floating]) -> None:
    for each in scores:
        if each.shape != positive.shape or each.ndim != 1:
            raise CalibrationError(
                f"There are scores of shape {each.shape} for {len(positive)} labels. "
                f"Score the corpus again: clipcal score"
            )
        if np.isnan(each).any():
            raise CalibrationError("A score is NaN. Score the corpus again: clipcal score")
