r"""Whether new scores are still like those at calibration.

References
----------
Smirnov, N. (1948). Table for estimating the goodness of fit of empirical distributions. *Annals
of Mathematical Statistics* 19(2), 279-281.

Siddiqi, N. (2006). *Credit Risk Scorecards*. Wiley (population stability index: below 0.1 no
significant change, 0.1 to 0.25 a small one, above 0.25 a major one).

Yurdakul, B., and Naranjo, J. (2020). Statistical properties of the population stability index.
*Journal of Risk Model Validation* 14(4), 89-100.

Cochran, W. G. (1954). Some methods for strengthening the common χ² tests. *Biometrics* 10(4),
417-451 (five expected in each class).

Krichevsky, R., and Trofimov, V. (1981). The performance of universal encoding. *IEEE Transactions
on Information Theory* 27(2), 199-207 (half a count more per bin).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.calibrate.statistics.inputs import Float64, finite
from clipcal.errors import CalibrationError

DRIFT_RISK: Final = 0.01  # of a warning where nothing moved
DRIFT_PSI: Final = 0.1  # below it a shift is a trifle (Siddiqi 2006)

_DECIMALS = 6
_MOST_BINS = 10
_BIN_SIZE = 5  # images expected per bin, in the smaller of the two samples (Cochran 1954)


@dataclass(frozen=True, slots=True)
class Drift:
    """How the scores of one category moved.

    Attributes
    ----------
    ks : float
        Kolmogorov-Smirnov distance, in [0, 1].
    p_value : float
        Of the two-sample test that nothing moved.
    psi : float
        Population stability index over the deciles at calibration, less what chance adds;
        over fewer quantiles where either side has fewer than 50 images.
    n : int
        How many new images.
    drifted : bool
        Whether it is more than chance and more than a trifle.
    """

    ks: float
    p_value: float
    psi: float
    n: int
    drifted: bool


def quantile_sketch(scores: NDArray[np.floating], points: int = 257) -> tuple[float, ...]:
    """Keep of a distribution its quantiles at equally spaced ranks.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores.
    points : int
        How many, at least 2.

    Returns
    -------
    tuple of float
        Ascending, from the lowest score to the highest, rounded to 6 decimals. Each is one of
        the scores, so that a value that many images share is repeated.

    Raises
    ------
    CalibrationError
        If there are no scores, one is NaN, or there are fewer than two points.
    """
    values = finite(scores)
    _refuse_none(values)
    if points < 2:
        raise CalibrationError(
            f"{points} points are no sketch of a distribution; 257 are usual. "
            f"Fit again: clipcal calibrate"
        )
    # Share i / (points - 1) of the scores, rounded up in whole numbers, counted from 0.
    ranks = -(-np.arange(points) * len(values) // (points - 1)) - 1
    return tuple(np.sort(_rounded(values))[np.maximum(ranks, 0)].tolist())


def measure_drift(
    reference_quantiles: Sequence[float], reference_n: int, new_scores: NDArray[np.floating]
) -> Drift:
    r"""Compare new scores with those at calibration.

    The distance of Kolmogorov and Smirnov, :math:`D = \sup_s |F(s) - G(s)|`, is taken between
    the distribution function :math:`F` of the sketch and that of the new scores, :math:`G`. With
    :math:`N` scores at calibration and :math:`n` new ones its asymptotic p-value (Smirnov 1948) is

    .. math:: 2 \sum_{j \ge 1} (-1)^{j-1} \exp\left(-2 j^2 \frac{N n}{N + n} D_+^2\right),
        \quad D_+ = \max(0, D - \epsilon)

    where the sketch's resolution :math:`\epsilon`, 1/256 for 257 points, is taken off so that what
    the sketch leaves out never warns. The population stability index over the deciles of the
    reference (over fewer quantiles where a bin would hold less than five of the smaller sample) is

    .. math:: \sum_b (a_b - e_b) \ln \frac{a_b}{e_b}
        - (B - 1) \left(\frac{1}{N} + \frac{1}{n}\right)

    with the shares :math:`e_b` then and :math:`a_b` now, half an image more in each bin so that
    none is empty (Krichevsky and Trofimov 1981), and :math:`B` bins that held images then. What is
    subtracted is its mean where nothing moved (Yurdakul and Naranjo 2020): without that, 30 new
    images would look like a major shift. It is 0 where that is more than the sum.

    Parameters
    ----------
    reference_quantiles : sequence of float
        Of `quantile_sketch`, at calibration.
    reference_n : int
        How many scores the sketch is of.
    new_scores : Float[(n,)]
        Scores of images that came since, by the same rule.

    Returns
    -------
    Drift
        Drifted where the p-value is below 0.01 and the index at least 0.1: many images make
        a trifle significant, few make chance look large.

    Raises
    ------
    CalibrationError
        If there are no new scores, one is NaN, or the sketch is none.

    Notes
    -----
    The p-value is that of one category: where several are tested, a warning by chance has up to
    so many times its probability. The images are taken as independent; frames of one video are
    not, and warn too often. That scores moved does not say that the thresholds are now wrong,
    only that the labels no longer vouch for them.
    """
    sketch = _Sketch(reference_quantiles, reference_n)
    values = finite(new_scores)
    _refuse_none(values)
    values = np.sort(_rounded(values))
    distance = _distance(sketch, values)
    beyond = max(0.0, distance - sketch.resolution)
    weight = reference_n * (len(values) / (reference_n + len(values)))
    p_value = float(special.kolmogorov(math.sqrt(weight) * beyond))
    psi = _stability_index(sketch, values)
    drifted = p_value < DRIFT_RISK and psi >= DRIFT_PSI
    return Drift(ks=distance, p_value=p_value, psi=psi, n=len(values), drifted=drifted)


class _Sketch:
    """The distribution function that quantiles at equally spaced ranks tell of.

    It is linear between two quantiles that differ, and jumps where one is repeated.
    """

    def __init__(self, quantiles: Sequence[float], n: int) -> None:
        values = finite(np.array(quantiles))
        if len(values) < 2 or (np.diff(values) < 0).any() or n < 1:
            raise CalibrationError(
                "The calibration keeps no distribution of scores to compare with. "
                "Fit it again: clipcal calibrate"
            )
        self.n = n
        self.resolution = 1 / (len(values) - 1)
        self.values, first = np.unique(values, return_index=True)
        last = np.append(first[1:], len(values)) - 1
        self._ranks = np.column_stack([first, last]).ravel() / (len(values) - 1)

    def quantiles(self, bins: int) -> Float64:
        """Return what divides the scores into bins of about equal numbers; each value once."""
        places = np.searchsorted(self._ranks[1::2], np.arange(1, bins) / bins)
        return self.values[np.unique(places)]

    def at(self, scores: Float64) -> Float64:
        """Return the share of scores at or below each."""
        before = np.nextafter(self.values, -np.inf)
        return np.interp(scores, np.column_stack([before, self.values]).ravel(), self._ranks)

    def below(self, scores: Float64) -> Float64:
        """Return the share of scores below each."""
        after = np.nextafter(self.values, np.inf)
        return np.interp(scores, np.column_stack([self.values, after]).ravel(), self._ranks)


def _distance(sketch: _Sketch, ordered: Float64) -> float:
    """Return the greatest distance, which is at a new score, or just below one."""
    last = np.flatnonzero(np.append(ordered[1:] > ordered[:-1], True))
    scores = ordered[last]
    upto = (last + 1) / len(ordered)
    before = np.concatenate([[0.0], upto[:-1]])
    distance = max(
        np.abs(sketch.at(scores) - upto).max(), np.abs(sketch.below(scores) - before).max()
    )
    return float(distance)


def _stability_index(sketch: _Sketch, ordered: Float64) -> float:
    """Return the index over bins that each reach up to and with a quantile, less its bias."""
    bins = int(np.clip(min(sketch.n, len(ordered)) // _BIN_SIZE, 2, _MOST_BINS))
    # What falls below the lowest score is new, and no part of the lowest bin.
    below_all = np.nextafter(sketch.values[:1], -np.inf)
    edges = np.unique(np.concatenate([below_all, sketch.quantiles(bins)]))
    then = np.diff(sketch.at(edges), prepend=0.0, append=1.0) * sketch.n
    now = np.diff(np.searchsorted(ordered, edges, side="right"), prepend=0, append=len(ordered))
    told = (then > 0) | (now > 0)
    expected, actual = ((counts[told] + 0.5) / (counts[told] + 0.5).sum() for counts in (then, now))
    index = float(((actual - expected) * np.log(actual / expected)).sum())
    held = int(np.count_nonzero(then))
    return max(0.0, index - (held - 1) * (1 / sketch.n + 1 / len(ordered)))


def _rounded(scores: Float64) -> Float64:
    """Round as sketches are: else a value that many images share would lie beside itself."""
    return scores.round(_DECIMALS)


def _refuse_none(scores: Float64) -> None:
    if not len(scores):
        raise CalibrationError("There are no scores to compare. Embed images: clipcal embed FOLDER")
