r"""How far people agree, with each other and with a threshold.

Every interval treats images as the sample and raters as given. For alpha and kappa images are
drawn with replacement, whole, with all that was said of them, and percentiles of the statistic
are the ends (Efron 1979); draws in which it is undefined are left out. Such intervals are
approximate, and too narrow for a few dozen images. Where nobody disagrees anywhere, no draw can
disagree either; the lower end is then what Wilson's interval leaves possible: with :math:`n`
images, :math:`1 - (1 - w_n) / D_e`, :math:`w_n` the lower end for :math:`n` of :math:`n` and
:math:`D_e` the disagreement expected by chance.

A rate :math:`p` over images of which several things are said has Wilson's interval for the number
of independent ones that would vary as much, :math:`p (1 - p) / v` with

.. math:: v = \sum_u (a_u - p\, m_u)^2 \big/ \big(\sum_u m_u\big)^2

where image :math:`u` agrees in :math:`a_u` of :math:`m_u`; at most as many as were said, and the
number of images where all agree or none (Kish 1965). With one of each image it is Wilson's.

References
----------
Cohen, J. (1968). Weighted kappa. *Psychological Bulletin* 70(4), 213-220.

Davies, M., and Fleiss, J. L. (1982). Measuring agreement for multinomial data. *Biometrics*
38(4), 1047-1051.

Efron, B. (1979). Bootstrap methods: another look at the jackknife. *Annals of Statistics* 7(1),
1-26.

Kish, L. (1965). *Survey Sampling*. Wiley.

Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability. University of Pennsylvania.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clipcal.calibrate.statistics.agreement_tables import (
    Counts,
    Floats,
    Indices,
    Weights,
    alphas,
    coincidences,
    defined,
    disagreement,
    kappa_of_tables,
    kappas,
    of_pairs,
    of_tables,
    one_less,
    rate_of_tables,
    redraws,
    with_interval,
)
from clipcal.calibrate.statistics.bounds import Estimate, wilson


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """How far the raters of one category agree, and a threshold with them.

    Attributes
    ----------
    images : int
        Images with at least two ratings.
    ratings : int
        Ratings of those images.
    alpha : Estimate or None
        Krippendorff's alpha, ordinal; bootstrap interval over images.
    kappa : Estimate or None
        Mean weighted kappa of pairs of raters, see `pair_kappa`; None where raters are
        anonymous.
    ceiling, ceiling_kappa : Estimate or None
        Agreement rate and kappa of one rater with the majority of the others: roughly what a
        machine can be asked for.
    machine, machine_kappa : Estimate or None
        The same of the thresholds' decisions, out of fold, with the raters' majority.
    """

    images: int
    ratings: int
    alpha: Estimate | None = None
    kappa: Estimate | None = None
    ceiling: Estimate | None = None
    ceiling_kappa: Estimate | None = None
    machine: Estimate | None = None
    machine_kappa: Estimate | None = None


_MOST_PAIRS = 5_000_000  # of ratings of one image, over all images


# --- agreement of people --------------------------------------------------------------------


def rate_agreement(
    image: Indices,
    rater: Indices,
    level: Indices,
    n_images: int,
    n_levels: int,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> CategoryAgreement:
    """Measure how far the raters of one category agree.

    Parameters
    ----------
    image, rater, level : Int[(v,)]
        The votes, one per image and rater; a rater of -1 is anonymous.
    n_images, n_levels : int
        How many of each there are.
    confidence : float
        Of the intervals, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    CategoryAgreement
        Of the images with two ratings or more; a statistic is None where it is undefined, which
        all are where everybody says the same of every image.
    """
    cells = image * np.int64(n_levels) + level
    counts = np.bincount(cells, minlength=n_images * n_levels).reshape(n_images, n_levels)
    several = counts.sum(axis=1) > 1
    if not several.any():
        return CategoryAgreement(0, 0)
    counts = counts[several]
    ceiling, ceiling_kappa = human_ceiling(counts, confidence=confidence, seed=seed)
    named = not (rater < 0).any()
    return CategoryAgreement(
        images=len(counts),
        ratings=int(counts.sum()),
        alpha=alpha_estimate(counts, confidence=confidence, seed=seed),
        kappa=pair_kappa(image, rater, level, n_images, n_levels, confidence=confidence, seed=seed)
        if named
        else None,
        ceiling=ceiling,
        ceiling_kappa=ceiling_kappa,
    )


def with_machine(
    agreement: CategoryAgreement,
    decided: NDArray[np.int8],
    majority: NDArray[np.int8],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> CategoryAgreement:
    """Add how far decisions agree with the raters' majority.

    Parameters
    ----------
    agreement : CategoryAgreement
        Of the raters.
    decided, majority : Int8[(n,)]
        Levels of the same images; -1 is unknown, and such images are left out. The decisions
        must be out of fold: a threshold fitted to these very labels agrees with them too well.
    confidence : float
        Of the intervals, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    CategoryAgreement
        The same with `machine` (Wilson's interval) and `machine_kappa` (quadratic weights).
    """
    known = (decided >= 0) & (majority >= 0)
    if not known.any():
        return agreement
    levels = int(max(decided[known].max(), majority[known].max())) + 1
    rate, kappa = pair_agreement(
        majority[known], decided[known], levels, confidence=confidence, seed=seed
    )
    return replace(agreement, machine=rate, machine_kappa=kappa)


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
    """Krippendorff's alpha with its interval; see `krippendorff_alpha`, and the module.

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


def weighted_kappa(
    a: Indices, b: Indices, n_levels: int, weights: Weights = "quadratic"
) -> float | None:
    r"""Cohen's kappa of two raters, with weights for how far apart they are.

    .. math:: \kappa = 1 - \frac{\sum_{kl} w_{kl}\, p_{kl}}
                               {\sum_{kl} w_{kl}\, p_{k\cdot} p_{\cdot l}}

    with :math:`p` the shares of images that they put at levels :math:`k` and :math:`l`, and
    :math:`w_{kl} = (k-l)^2`, :math:`|k-l|` or, without weights, :math:`[k \ne l]`.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count.

    Returns
    -------
    float or None
        At most 1; None where both say the same one level of every image.
    """
    tables = of_pairs(a, b, n_levels, weights)
    return defined(kappas(tables, tables.number[None])[0])


def pair_agreement(
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, Estimate | None]:
    """How often two agree, and their kappa, with intervals.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images, ``n >= 1``.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count in kappa.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    rate : Estimate
        With Wilson's interval.
    kappa : Estimate or None
        See `weighted_kappa`.
    """
    kappa = kappa_estimate(a, b, n_levels, weights, confidence=confidence, seed=seed)
    return wilson(int((a == b).sum()), len(a), confidence), kappa


def kappa_estimate(
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """Cohen's kappa with its interval; see `weighted_kappa`, and the module.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images, ``n >= 1``.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    Estimate or None
        None where both say the same one level of every image.
    """
    return kappa_of_tables(of_pairs(a, b, n_levels, weights), confidence, seed)


def cell_agreement(
    image: Indices,
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, Estimate | None]:
    """Agree on several things of each image: the rate over all of them, and kappa.

    What is said of one image is not independent, so that whole images are drawn.

    Parameters
    ----------
    image, a, b : Int[(cells,)]
        Of which image, and the two levels of it; at least one.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count in kappa.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    rate : Estimate
        Over cells; its `n` counts these.
    kappa : Estimate or None
        Of all cells together.
    """
    images, row = np.unique(image, return_inverse=True)
    tables = np.zeros((len(images), n_levels, n_levels))
    np.add.at(tables, (row, a, b), 1)
    cells, alike = len(image), of_tables(tables, weights)
    kappa = kappa_of_tables(alike, confidence, seed)
    return rate_of_tables(alike, cells, confidence), kappa and replace(kappa, n=cells)


def human_ceiling(
    counts: Counts, weights: Weights = "quadratic", *, confidence: float = 0.95, seed: int = 0
) -> tuple[Estimate, Estimate | None]:
    r"""How far one rater, taken out at random, agrees with the majority of the others.

    Roughly what a machine can be asked for: it is compared with the majority of all raters,
    which is steadier than that of all but one. The rate is exact for these ratings, an
    expectation over which rater is taken out:

    .. math:: \frac1n \sum_u \sum_k \frac{c_{uk}}{c_{u\cdot}}\, [M(c_u - e_k) = k]

    with :math:`M` the most frequent level, the higher one of a tie. Kappa is that of the table
    of expected pairs (one rater, the others' majority).

    Parameters
    ----------
    counts : Int[(n, l)]
        Ratings per image and level, two or more per image, ``n >= 1``.
    weights : {"quadratic", "linear"} or None
        How disagreements count in kappa.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap over images.

    Returns
    -------
    rate : Estimate
        Over images.
    kappa : Estimate or None
        None where everybody says the same of every image.
    """
    patterns, number = np.unique(counts, axis=0, return_counts=True)
    levels = patterns.shape[1]
    others = patterns[:, None, :] - np.eye(levels, dtype=np.int64)  # (p, one rater's level, l)
    most = levels - 1 - np.argmax(others[..., ::-1], axis=2)
    share = patterns / patterns.sum(axis=1, keepdims=True)
    tables = share[..., None] * (most[..., None] == np.arange(levels))
    alike = of_tables(tables, weights, number)
    rate = replace(rate_of_tables(alike, int(counts.sum()), confidence), n=len(counts))
    return rate, kappa_of_tables(alike, confidence, seed)


def pair_kappa(
    image: Indices,
    rater: Indices,
    level: Indices,
    n_images: int,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    r"""Mean kappa of all pairs of raters, whatever images each of them saw.

    .. math:: \bar\kappa = \frac{\sum_p m_p E_p \kappa_p}{\sum_p m_p E_p}
            = 1 - \frac{\sum_p m_p O_p}{\sum_p m_p E_p}

    over pairs :math:`p` with :math:`m_p` images in common, observed disagreement :math:`O_p` and
    disagreement :math:`E_p` expected by chance from the two raters' own levels on these images
    (after Davies and Fleiss 1982, for raters who saw different images). A pair that says the
    same one level throughout, whose kappa is undefined, has no weight; where all pairs are alike
    this is the mean weighted by common images. Of two raters it is their kappa.

    Parameters
    ----------
    image, rater, level : Int[(v,)]
        The votes, one per image and rater.
    n_images, n_levels : int
        How many of each there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap over images.

    Returns
    -------
    Estimate or None
        None where no pair varies, no image has two ratings, or there are more than five million
        pairs of ratings; alpha serves there.
    """
    order = np.lexsort((rater, image))
    image, rater, level = image[order], rater[order], level[order]
    per_image = np.bincount(image, minlength=n_images)
    if not 0 < int((per_image * (per_image - 1) // 2).sum()) <= _MOST_PAIRS:
        return None
    one, other = _pairs(per_image)
    raters = int(rater.max()) + 1
    names, pair = np.unique(rater[one] * np.int64(raters) + rater[other], return_inverse=True)
    cost = disagreement(n_levels, weights)
    observed = np.bincount(image[one], cost[level[one], level[other]], minlength=n_images)
    margins = [
        sparse.csr_array(
            (np.ones(len(pair)), (pair * n_levels + level[side], image[side])),
            shape=(len(names) * n_levels, n_images),
        )
        for side in (one, other)
    ]

    def kappas(redrawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
        times = redrawn.T.astype(np.float64)
        a, b = (np.reshape(m @ times, (len(names), n_levels, -1)) for m in margins)
        common = np.maximum(a.sum(axis=1), 1)
        expected = (np.tensordot(cost, b, (1, 1)).transpose(1, 0, 2) * a).sum(axis=1) / common
        pairs = np.maximum(a.sum(axis=(0, 1)), 1)
        return one_less(observed @ times, expected.sum(axis=0)), expected.sum(axis=0) / pairs

    value, chance = kappas(np.ones((1, n_images), np.int64))
    number = (per_image > 1).astype(np.int64)
    size = len(names) * n_levels + n_images
    drawn = [kappas(redrawn)[0] for redrawn in redraws(number, seed, size)]
    return with_interval(value, drawn, int(number.sum()), chance, confidence)


def _pairs(per_image: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every pair of ratings of one image, as places in ratings sorted by image."""
    start = np.cumsum(per_image) - per_image
    place = np.arange(int(per_image.sum()))
    rank = place - np.repeat(start, per_image)
    other = np.repeat(place, rank)  # each rating pairs with those before it
    before = np.arange(len(other)) - np.repeat(np.cumsum(rank) - rank, rank)
    return before + np.repeat(np.repeat(start, per_image), rank), other
