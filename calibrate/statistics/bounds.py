"""Intervals and tests for rates, and thresholds with a recall that holds beyond the sample.

Everything here is exact for the binomial model; nothing is simulated. Labelled images are drawn
from a finite corpus without replacement, which makes their counts hypergeometric. The binomial
tail probabilities are then too great, never too small, as long as they are at most 0.5 (Uhlmann
1966; a test computes both for corpora of many sizes), and so every guarantee with a confidence
of 0.5 or more holds for the corpus as it is.

References
----------
Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
*Journal of the American Statistical Association* 22(158), 209-212.

Clopper, C. J., and Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated
in the case of the binomial. *Biometrika* 26(4), 404-413.

Uhlmann, W. (1966). Vergleich der hypergeometrischen mit der Binomial-Verteilung. *Metrika* 10,
145-158.

Wilks, S. S. (1941). Determination of sample sizes for setting tolerance limits. *Annals of
Mathematical Statistics* 12(1), 91-96.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clipcal.errors import CalibrationError

# 1 - 0.9 is 0.09999999999999998: a probability equal to the risk on paper must count as equal.
SLACK: Final = 1 + 1e-9
_MOST_LABELS = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate that never goes without its interval.

    Attributes
    ----------
    value : float
        The rate in the sample, in [0, 1].
    low, high : float
        Ends of the interval.
    n : int
        How many observations the rate is over.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Range:
    """A quantity that is not known exactly: a threshold, or a number of images.

    Attributes
    ----------
    value : float
        The estimate.
    low, high : float
        Ends of the interval.
    """

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    r"""Wilson's two-sided score interval: the one to show.

    With :math:`\hat p = s / n` and the normal quantile :math:`z`, the ends are

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n} .

    Its coverage is near the nominal one on average, but may lie below it for some true rates;
    where a claim must hold, use `clopper_pearson`.

    Parameters
    ----------
    successes, n : int
        Counts, ``0 <= successes <= n`` and ``n >= 1``.
    confidence : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        The rate and its interval.

    Raises
    ------
    CalibrationError
        If the counts are no counts, or the confidence is outside (0, 1).
    """
    _check_counts(successes, n)
    rate = successes / n
    low, high = wilson_interval(rate, n, confidence)
    return Estimate(rate, low, high, n)


def wilson_interval(rate: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of Wilson's interval for a number of images that need not be whole.

    Parameters
    ----------
    rate : float
        In [0, 1], but for rounding.
    n : float
        How many independent observations tell as much, above 0.
    confidence : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    low, high : float
        ``0 <= low <= rate <= high <= 1``; 0 at a rate of 0 and 1 at a rate of 1. See `wilson`
        for the equation.

    Raises
    ------
    CalibrationError
        If the confidence is outside (0, 1).
    """
    z = float(special.ndtri((1 + check_rate(confidence, "confidence")) / 2))
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(max(rate * (1 - rate), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding would miss 0 and 1, which are the ends at no and at all successes, and the rate.
    low = max(0.0, min((centre - spread) / scale, rate))
    high = min(1.0, max((centre + spread) / scale, rate))
    return low, high


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    r"""Clopper and Pearson's two-sided interval: the one to guarantee with.

    The ends are quantiles of beta distributions, with :math:`\alpha = 1 -` confidence:
    :math:`B(\alpha/2; s, n-s+1)` and :math:`B(1-\alpha/2; s+1, n-s)`. Coverage is at least
    nominal for every true rate.

    Parameters
    ----------
    successes, n : int
        Counts, ``0 <= successes <= n`` and ``n >= 1``.
    confidence : float
        Coverage, in (0, 1).

    Returns
    -------
    Estimate
        The rate and its interval.

    Raises
    ------
    CalibrationError
        If the counts are no counts, or the confidence is outside (0, 1).
    """
    _check_counts(successes, n)
    tail = (1 - check_rate(confidence, "confidence")) / 2
    failures = n - successes
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures == 0 else float(special.betaincinv(successes + 1, failures, 1 - tail))
    return Estimate(successes / n, low, high, n)


def recall_p_value(misses: ArrayLike, n_positives: ArrayLike, target: float) -> NDArray[np.float64]:
    r"""Return how likely so few misses are where the recall is only just too low.

    .. math:: p = P(X \le m) = I_r(n_+ - m,\; m + 1),\quad X \sim \mathrm{Bin}(n_+, 1 - r)

    with the regularised incomplete beta function :math:`I`: the one-sided exact test of
    "recall is below :math:`r`" at a threshold that was fixed without the labels. It inverts
    the limit of Clopper and Pearson (1934).

    Parameters
    ----------
    misses, n_positives : Int[(...)]
        Labelled positives below the threshold, and all of them; broadcast together.
    target : float
        The recall to claim, in (0, 1).

    Returns
    -------
    Float[(...)]
        P-values; 1 where there are no positives.

    Raises
    ------
    CalibrationError
        If the counts are no counts, or the target is outside (0, 1).

    Notes
    -----
    The labelled positives must be a random sample of all positives; see `recall_rank`.
    """
    check_rate(target, "recall")
    missed, n = _counts(misses, n_positives)
    return _at_most(missed, n, target)


def precision_p_value(hits: ArrayLike, flagged: ArrayLike, target: float) -> NDArray[np.float64]:
    r"""Return how likely so many hits are where the precision is only just too low.

    .. math:: P(X \ge h) = I_p(h,\; n - h + 1),\quad X \sim \mathrm{Bin}(n, p)

    with the regularised incomplete beta function :math:`I`: the one-sided exact test of
    "precision is below :math:`p`" at a threshold that was fixed without the labels. It inverts
    the limit of Clopper and Pearson (1934).

    Parameters
    ----------
    hits, flagged : Int[(...)]
        Labelled positives at or above the threshold, and all labelled images there; broadcast
        together.
    target : float
        The precision to claim, in (0, 1).

    Returns
    -------
    Float[(...)]
        P-values; 1 where nothing is flagged.

    Raises
    ------
    CalibrationError
        If the counts are no counts, or the target is outside (0, 1).

    Notes
    -----
    The labelled images must be a random sample of the corpus, and the threshold must not
    depend on any of their labels; see `clipcal.calibrate.statistics.objectives`.
    """
    check_rate(target, "precision")
    found, n = _counts(hits, flagged)
    return _at_most(n - found, n, target)


def recall_rank(n_positives: int, target: float, confidence: float = 0.95) -> int:
    r"""Return which positive, counted from the lowest score, may serve as a threshold.

    .. math:: k^* = \max\{k : F(k-1;\, n_+,\, 1-r) \le \delta\},\quad \delta = 1 - \text{confidence}

    with :math:`F` the binomial distribution function. If the threshold were above the
    :math:`(1-r)` quantile of all positives' scores, recall would be below :math:`r`; the
    :math:`k`-th smallest of the labelled ones lies above that quantile only if at most
    :math:`k-1` of them lie below it, which has the probability on the left. So the
    :math:`k^*`-th smallest is a one-sided nonparametric tolerance limit (Wilks 1941), the
    same as inverting the limit of Clopper and Pearson (1934).

    Parameters
    ----------
    n_positives : int
        Labelled positives.
    target : float
        The recall to guarantee, in (0, 1).
    confidence : float
        With what probability over the draw of the labels, in (0, 1).

    Returns
    -------
    int
        ``k*``, from 1 to `n_positives`; 0 where no rank will do. ``k* - 1`` labelled positives
        are missed.

    Raises
    ------
    CalibrationError
        If a rate is outside (0, 1).

    Notes
    -----
    The labelled positives must be exchangeable with all the positives of the corpus (a random
    sample of them), and the score, with its prompts, must not have been tuned on these labels.
    Ties only add to recall, since a score equal to the threshold is flagged.
    """
    check_rate(target, "recall")
    risk = (1 - check_rate(confidence, "confidence")) * SLACK
    # F(k-1; n, 1-r) grows with k, so the ranks that hold are the first ones.
    return bisect.bisect_right(
        range(1, n_positives + 1), risk, key=lambda k: float(_at_most(k - 1, n_positives, target))
    )


def positives_needed(target: float, confidence: float = 0.95, misses: int = 0) -> int:
    """Return how many labelled positives certify a recall when some of them are missed.

    Parameters
    ----------
    target : float
        The recall to guarantee, in (0, 1).
    confidence : float
        With what probability, in (0, 1).
    misses : int
        How many labelled positives may score below the threshold.

    Returns
    -------
    int
        The smallest number with ``recall_rank(number, target, confidence) > misses``.

    Raises
    ------
    CalibrationError
        If a rate is outside (0, 1), or the number exceeds a thousand million.
    """
    return _needed(target, confidence, misses, "recall")


def flags_needed(target: float, confidence: float = 0.95, false_flags: int = 0) -> int:
    """Return how many labelled flagged images certify a precision when some are false flags.

    The same binomial tail, and so the same number, as that of `positives_needed`.

    Parameters
    ----------
    target : float
        The precision to guarantee, in (0, 1).
    confidence : float
        With what probability, in (0, 1).
    false_flags : int
        How many of the flagged images may be negatives.

    Returns
    -------
    int
        The smallest n with ``precision_p_value(n - false_flags, n, target) <= 1 - confidence``.

    Raises
    ------
    CalibrationError
        If a rate is outside (0, 1), or the number exceeds a thousand million.
    """
    return _needed(target, confidence, false_flags, "precision")


def recall_threshold(
    positive_scores: NDArray[np.floating], target: float, confidence: float = 0.95
) -> float | None:
    r"""Return the highest threshold whose recall is certain enough: :math:`s_{(k^*)}`.

    With probability `confidence` over the draw of the labelled positives, at least the share
    `target` of all positives score at or above it. See `recall_rank` for equation, source and
    assumptions. A lower threshold keeps the guarantee.

    The largest threshold whose recall *in the sample* reaches the target is something else: the
    true recall is then below the target in about half of all samples.

    Parameters
    ----------
    positive_scores : Float[(n,)]
        Scores of the labelled positives, in any order.
    target : float
        The recall to guarantee, in (0, 1).
    confidence : float
        With what probability, in (0, 1).

    Returns
    -------
    float or None
        The threshold, itself one of the scores; None where there are too few positives.

    Raises
    ------
    CalibrationError
        If a score is NaN, or a rate is outside (0, 1).
    """
    if np.isnan(positive_scores).any():
        raise CalibrationError("A score is NaN. Score the corpus again: clipcal score")
    rank = recall_rank(len(positive_scores), target, confidence)
    if rank == 0:
        return None
    return float(np.partition(positive_scores, rank - 1)[rank - 1])


def check_rate(rate: float, name: str) -> float:
    """Return `rate` if it lies strictly between 0 and 1; raise CalibrationError otherwise."""
    if not 0 < rate < 1:
        raise CalibrationError(
            f"The {name} is {rate:g}; it must lie between 0 and 1, both excluded, as in: "
            f"clipcal calibrate --target recall=0.9 --confidence 0.95"
        )
    return rate


def _check_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise CalibrationError(
            f"{successes} of {n} is no rate: there must be at least one observation. "
            f"Label more images, then run: clipcal calibrate"
        )


def _counts(part: ArrayLike, whole: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    some, n = np.asarray(part), np.asarray(whole)
    if ((some < 0) | (some > n)).any():
        raise CalibrationError(
            "A count exceeds the one it is part of, or is negative. Fit the thresholds again: "
            "clipcal calibrate"
        )
    return some, n


def _needed(target: float, confidence: float, failures: int, name: str) -> int:
    check_rate(target, name)
    risk = (1 - check_rate(confidence, "confidence")) * SLACK
    numbers = range(failures + 1, _MOST_LABELS)
    index = bisect.bisect_left(numbers, -risk, key=lambda n: -float(_at_most(failures, n, target)))
    if index == len(numbers):
        raise CalibrationError(
            f"No number of labels certifies a {name} of {target} with confidence {confidence}. "
            f"Ask for less: clipcal calibrate --target {name}=0.9"
        )
    return numbers[index]


def _at_most(
    failures: int | NDArray[np.int64], n: int | NDArray[np.int64], target: float
) -> NDArray[np.float64]:
    """Return P(at most `failures` in `n`) where the rate of successes is `target`."""
    # The binomial sum as an incomplete beta function: accurate for any n, and free of 1 - r.
    return np.asarray(special.betainc(n - failures, failures + 1, target), np.float64)
