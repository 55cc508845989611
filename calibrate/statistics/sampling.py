r"""Which images to label next, and what weight each label then has.

A sample that was picked for its scores is not like the corpus: most of it lies where images are
hard to tell apart. It can still speak of the corpus, because every image's probability of being
drawn (its inclusion probability :math:`\pi_i`) is known exactly. With the labels :math:`y_i` of
the images drawn, :math:`\sum_i y_i / \pi_i` is an unbiased estimate of the total of :math:`y`
(Horvitz and Thompson 1952).

The unit is the distinct image: exact copies share one embedding and count once. Near copies are
units of their own, so that estimates speak of the same images as guarantees do; they are kept
apart by the draw instead: see `systematic_sample` and `share`.

References
----------
Hesterberg, T. (1995). Weighted average importance sampling and defensive mixture distributions.
*Technometrics* 37(2), 185-194.

Horvitz, D. G., and Thompson, D. J. (1952). A generalization of sampling without replacement from
a finite universe. *Journal of the American Statistical Association* 47(260), 663-685.

Madow, W. G. (1949). On the theory of systematic sampling, II. *Annals of Mathematical
Statistics* 20(3), 333-354.

Neyman, J. (1934). On the two different aspects of the representative method. *Journal of the
Royal Statistical Society* 97(4), 558-625.

Sawade, C., Landwehr, N., Bickel, S., and Scheffer, T. (2010). Active risk estimation. *ICML*.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipcal.errors import CalibrationError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

# How much of each draw is spread over all images alike: no weight exceeds five times the mean.
FLOOR = 0.2
# The band about a threshold in which images are hard to tell apart, as a share of the scores'
# standard deviation. It decides how far a label goes, never what may be concluded from it.
BAND = 0.25
MOST_STRATA = 10


def uncertainty(probability: Float64) -> Float64:
    r"""Return how much a label is worth: :math:`\sqrt{p(1-p)}`.

    That is the standard deviation of a label which is positive with probability :math:`p`. To
    estimate a rate from a given number of labels with the least variance, draw each image in
    proportion to it (Neyman 1934 for strata; Sawade et al. 2010 for single images).

    Parameters
    ----------
    probability : Float64[(N,)]
        That people call the image positive, in [0, 1]; a rough guess will do.

    Returns
    -------
    Float64[(N,)]
        In [0, 0.5]; greatest where a label is a toss-up.
    """
    return np.sqrt(probability * (1 - probability))


def nearness(scores: NDArray[np.floating], threshold: float) -> Float64:
    r"""Guess the probability of a positive where no map was fitted: a logistic about a threshold.

    .. math:: p_i = \frac{1}{1 + e^{-(s_i - t)/h}}, \quad h = \mathrm{sd}(s) / 4

    It holds no knowledge but that people are least certain about images near the threshold.

    Parameters
    ----------
    scores : Float[(N,)]
        Scores of one category.
    threshold : float
        Of the category.

    Returns
    -------
    Float64[(N,)]
        In [0, 1]; 1/2 at the threshold.
    """
    values = np.asarray(scores, np.float64)
    scale = BAND * float(values.std()) if values.size else 0.0
    return np.asarray(special.expit((values - threshold) / (scale or 1.0)), np.float64)


def score_strata(scores: NDArray[np.floating], n: int) -> Int64:
    """Cut the images into strata of scores, each half as large as the one below it.

    Where positives are rare they are near the top, so that equal parts would put nearly all
    of them into one. The top stratum holds about `n` images, and there are at most ten.

    Parameters
    ----------
    scores : Float[(N,)]
        Scores of one category; equal ones are told apart by their place.
    n : int
        Images to be drawn.

    Returns
    -------
    Int64[(N,)]
        Stratum of each image, 0 for the lowest scores.
    """
    size = len(scores)
    strata = max(1, min(MOST_STRATA, 1 + int(math.log2(max(size / max(n, 1), 1)))))
    from_top = np.empty(size, np.int64)
    from_top[np.argsort(-np.asarray(scores), kind="stable")] = np.arange(size)
    edges = size // 2 ** np.arange(strata - 1, 0, -1)  # ranks from the top, ascending
    return np.asarray(strata - 1 - np.searchsorted(edges, from_top, side="right"), np.int64)


def equal_allocation(strata: Int64) -> Float64:
    """Return sizes for `inclusion_probabilities` that give every stratum an equal part.

    Parameters
    ----------
    strata : Int64[(N,)]
        Stratum of each image, from 0 without gaps.

    Returns
    -------
    Float64[(N,)]
        One over the number of strata times the images in the stratum; the sum is 1.
    """
    counts = np.bincount(strata)
    return 1 / (len(counts) * counts[strata])


def share(sizes: Float64, groups: Int64) -> Float64:
    """Divide the sizes of near copies by their number, so that a group counts about once.

    Each copy keeps a known chance, so that nothing is biased; only fewer labels are spent on
    the same picture.

    Parameters
    ----------
    sizes : Float64[(N,)]
        Positive sizes.
    groups : Int64[(N,)]
        Equal for near copies, from 0.

    Returns
    -------
    Float64[(N,)]
        Sizes.
    """
    return sizes / np.bincount(groups)[groups]


def inclusion_probabilities(sizes: Float64, n: int, floor: float = FLOOR) -> Float64:
    r"""Return probabilities in proportion to sizes, which sum to `n` and leave nobody out.

    .. math:: \pi_i = \min\bigl(1,\; c\,[(1-\epsilon)\, z_i / \textstyle\sum z + \epsilon / N]\bigr)

    with :math:`c` such that they sum to :math:`n`: whoever would exceed 1 is certain, and the
    rest is scaled again until nobody does. The part :math:`\epsilon` that is spread evenly
    bounds the weights :math:`1/\pi_i` by :math:`N / \epsilon n`, whatever the sizes say (a
    defensive mixture, Hesterberg 1995).

    Parameters
    ----------
    sizes : Float64[(N,)]
        At least 0 each; all zero counts as all equal.
    n : int
        Images to draw, from 0 to N.
    floor : float
        The part spread evenly, in [0, 1]; 0 only where every size is positive.

    Returns
    -------
    Float64[(N,)]
        In (0, 1]; all zero if `n` is 0.

    Raises
    ------
    CalibrationError
        If a size is negative or no number, or more are to be drawn than there are.
    """
    count, total = len(sizes), float(sizes.sum())
    if not 0 <= n <= count or not np.isfinite(total) or (sizes < 0).any():
        raise CalibrationError(
            f"{n} images cannot be drawn from {count} with these sizes. Ask for fewer, or score "
            f"the corpus again: clipcal suggest -n {min(n, count)}"
        )
    if n == 0:
        return np.zeros(count)
    even = np.full(count, 1 / count)
    # Divided first: numbers so small that they are rounded would lose the factor.
    mixed = (1 - floor) * (sizes / total) + floor * even if total > 0 else even
    certain = np.zeros(count, np.bool_)
    while True:
        rest = n - int(certain.sum())
        inclusion = np.where(certain, 1.0, rest * mixed / max(mixed[~certain].sum(), 1e-300))
        over = ~certain & (inclusion >= 1)
        if not over.any():
            return inclusion
        certain |= over


def systematic_sample(inclusion: Float64, order: Int64, rng: np.random.Generator) -> Int64:
    r"""Draw with unequal probabilities, at even steps along a list (Madow 1949).

    With :math:`C_k` the running sum of the probabilities in the given order and :math:`u`
    uniform on [0, 1), those units are drawn whose stretch :math:`[C_{k-1}, C_k)` holds one of
    :math:`u, u+1, u+2, \ldots`. Every unit is drawn with exactly its probability, once at most;
    the number drawn is their sum.

    Any stretch of the list gets its expected number of draws up to the nearest whole one, and
    two units whose stretch together is shorter than 1 are never drawn both. So where near
    copies and look-alikes are neighbours in the list, the sample is spread over everything.

    Parameters
    ----------
    inclusion : Float64[(N,)]
        Probabilities in [0, 1] whose sum is a whole number.
    order : Int64[(N,)]
        A permutation: the list.
    rng : numpy.random.Generator
        Source of the start.

    Returns
    -------
    Int64[(n,)]
        Indices into `inclusion`, ascending.
    """
    certain = np.flatnonzero(inclusion >= 1)
    listed = order[inclusion[order] < 1]
    ends = np.cumsum(inclusion[listed])
    n = round(float(ends[-1])) if len(ends) else 0
    if n == 0:
        return certain
    ends *= n / ends[-1]
    steps = np.searchsorted(ends, rng.random() + np.arange(n), side="right")
    drawn = listed[np.minimum(steps, len(listed) - 1)]
    return np.sort(np.concatenate([certain, drawn]))


def spread_order(*keys: NDArray[np.generic]) -> Int64:
    """List images so that those alike are neighbours: by the first key, then by the next.

    Parameters
    ----------
    *keys : array (N,)
        Such as stratum, cluster of the embedding, and score.

    Returns
    -------
    Int64[(N,)]
        A permutation.
    """
    return np.lexsort(keys[::-1]).astype(np.int64)


def cluster_centres(
    embeddings: NDArray[np.floating], clusters: int, rng: np.random.Generator
) -> Float64:
    """Find the centres of clusters of embeddings: ten rounds of k-means from random members.

    Parameters
    ----------
    embeddings : Float[(m, dim)]
        Embeddings, at least one; a few thousand do for a corpus of any size.
    clusters : int
        How many are wanted.
    rng : numpy.random.Generator
        Source of the first centres.

    Returns
    -------
    Float64[(k, dim)]
        At most `clusters` centres.
    """
    from scipy.cluster.vq import kmeans2

    wide = embeddings.astype(np.float32)
    first = rng.choice(len(wide), min(clusters, len(wide)), replace=False)
    with warnings.catch_warnings():  # equal images leave clusters empty: nothing is lost
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        centres, _ = kmeans2(wide, wide[first], iter=10, minit="matrix")
    return np.asarray(centres, np.float64)


def nearest_centre(embeddings: NDArray[np.floating], centres: Float64) -> Int64:
    """Return the number of the nearest centre of each embedding.

    Parameters
    ----------
    embeddings : Float[(m, dim)]
        Embeddings.
    centres : Float64[(k, dim)]
        Centres.

    Returns
    -------
    Int64[(m,)]
        From 0 to k - 1.
    """
    narrow = centres.astype(np.float32)
    # The length of the embedding is the same towards every centre.
    distance = (narrow**2).sum(axis=1) - 2 * (embeddings.astype(np.float32) @ narrow.T)
    return np.asarray(distance.argmin(axis=1), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One draw of images to label, and what had been drawn before it.

    Attributes
    ----------
    rows : Int64[(m,)]
        The images drawn, labelled by now or not.
    inclusion : Float64[(m,)]
        With what probability, given what had been drawn before.
    population : int
        Images of the corpus that it speaks of: those that could be drawn, and those known.
    known : tuple of Int64[(k,)]
        The images that could not be drawn because they were known: parts without overlap,
        each labelled in a way of its own.
    """

    rows: Int64
    inclusion: Float64
    population: int
    known: tuple[Int64, ...] = ()


def design_weights(labelled: Int64, draws: Sequence[Draw]) -> Float64:
    r"""Weight labelled images so that together they stand for the corpus.

    Given everything drawn before it, draw :math:`r` offers an unbiased estimate of any total
    over the corpus: what was known is counted as it is, and the rest is estimated from what
    was drawn,

    .. math:: \hat T_r = \sum_{i \in K_r} y_i + \sum_{i \in S_r} y_i / \pi_{r,i} .

    The expectation of each is the total whatever the earlier draws and labels were, and so is
    that of any mean of them, :math:`\hat T = \sum_r \lambda_r \hat T_r` with
    :math:`\sum \lambda_r = 1`. Each draw counts by its number of labels. An image's weight is

    .. math:: w_i \propto \sum_r \lambda_r \Bigl(1[i \in K_r] + 1[i \in S_r] / \pi_{r,i}\Bigr) .

    Where only :math:`l` of the :math:`m` images of a draw, or of a part of what was known, have
    labels, those :math:`l` count :math:`m / l`-fold: whether an image is labelled must then not
    depend on what it shows. A part without any label is left out, and the rest stands for it;
    so it does where the corpus has grown since the draw.

    Parameters
    ----------
    labelled : Int64[(n,)]
        Distinct labelled images.
    draws : sequence of Draw
        The draws.

    Returns
    -------
    Float64[(n,)]
        At least 0, with mean 1; all exactly 1 if the only draw has equal probabilities.
    """
    weights = np.zeros(len(labelled))
    for draw in draws:
        own, count = _draw_weights(labelled, draw)
        weights += count * own
    total = weights.sum()
    if total == 0 or (weights == weights[0]).all():
        return np.ones(len(labelled))
    return np.asarray(weights * (len(weights) / total), np.float64)


def _draw_weights(labelled: Int64, draw: Draw) -> tuple[Float64, int]:
    """Return the weights for a mean by one draw alone, and how many of its images have labels."""
    weights = np.zeros(len(labelled))
    inclusion = _looked_up(labelled, draw.rows, draw.inclusion)
    own = inclusion > 0
    count = int(own.sum())
    if count == 0:
        return weights, 0
    weights[own] = len(draw.rows) / count / inclusion[own]
    left_out = 0
    for part in draw.known:
        at = np.isin(labelled, part)
        if at.any():
            weights[at] = len(part) / at.sum()
        else:
            left_out += len(part)
    return weights / (draw.population - left_out), count


def _looked_up(labelled: Int64, rows: Int64, values: Float64) -> Float64:
    """Return the value of each labelled row that is among `rows`, and 0 for the others."""
    if len(rows) == 0:
        return np.zeros(len(labelled))
    order = np.argsort(rows)
    place = np.minimum(np.searchsorted(rows, labelled, sorter=order), len(rows) - 1)
    found = order[place]
    return np.where(rows[found] == labelled, values[found], 0.0)
