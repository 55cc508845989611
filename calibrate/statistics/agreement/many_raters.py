"""Many raters, two at a time: each with all the others, and all pairs of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clipcal.calibrate.statistics.agreement.tables import (
    Counts,
    Floats,
    Indices,
    Weights,
    disagreement,
    kappa_of_tables,
    of_tables,
    one_less,
    rate_of_tables,
    redraws,
    with_interval,
)
from clipcal.calibrate.statistics.bounds import Estimate

_MOST_PAIRS = 5_000_000  # of ratings of one image, over all images


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
