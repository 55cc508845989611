"""Parts and redraws of labelled images that never divide a group of near copies.

Two frames of one video, or a photo and its crop, are one piece of evidence. Where one of them is
fitted to and the other evaluated on, the evaluation flatters; where both are counted, intervals
are too narrow. So everything here draws and divides whole groups (*clusters*).

References
----------
Efron, B. (1979). Bootstrap methods: another look at the jackknife. *Annals of Statistics* 7(1),
1-26.

Efron, B., and Tibshirani, R. J. (1993). *An Introduction to the Bootstrap*, chapter 13
(percentile intervals). Chapman and Hall.

Field, C. A., and Welsh, A. H. (2007). Bootstrapping clustered data. *Journal of the Royal
Statistical Society B* 69(3), 369-390.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from clipcal.calibrate.statistics.bounds import Range, check_rate
from clipcal.errors import CalibrationError

Clusters = NDArray[np.int64]  # (n,) equal numbers: one cluster

_TILE = 2048
# Directions that a pair is first compared in, and what rounding may add to a cosine in float32.
_SKETCH = 64
_ROUNDING = 1e-5
# One pair costs about as much by itself as this many in a matrix product.
_FEW = 50
_FULL_DRAWS = 20_000
_FEWEST_DRAWS = 80
_MOST_WITHOUT = 0.1


def near_copies(embeddings: NDArray[np.floating], cosine: float = 0.98) -> Clusters:
    r"""Group images whose embeddings are nearly the same.

    Clusters are the connected components of the graph that joins every pair with a cosine of
    at least `cosine` (single linkage): two members may be further apart if others lie between
    them, but no two clusters hold a near pair. Equal rows are always in one cluster.

    Parameters
    ----------
    embeddings : Float[(n, d)]
        Embeddings, of any float type; rows are L2-normalised here.
    cosine : float
        From which cosine on two images count as copies.

    Returns
    -------
    Int64[(n,)]
        Numbers of clusters, 0, 1, … in the order in which they first appear. Another order of
        the rows gives the same groups.

    Notes
    -----
    Every pair is compared, tile by tile, so memory grows with ``n d`` only. Most pairs are
    settled by 64 orthonormal directions :math:`P`, since by Cauchy and Schwarz

    .. math:: x \cdot y \le Px \cdot Py + \sqrt{1-|Px|^2}\sqrt{1-|Py|^2} ;

    only those whose bound reaches `cosine` are compared in full, so the result is exact up to
    float32 rounding.
    """
    _, first, copy = np.unique(_as_bytes(embeddings), return_index=True, return_inverse=True)
    unit = _normalised(embeddings[first])
    sketch = _sketch(unit)
    label = np.arange(len(unit))
    for rows, columns in _tiles(len(unit)):
        possible = sketch[rows] @ sketch[columns].T >= cosine - _ROUNDING
        left, right = np.nonzero(possible & (label[rows, None] != label[columns]))
        near = _cosines(unit[rows], unit[columns], left, right) >= cosine
        if near.any():
            label = _joined(label, left[near] + rows.start, right[near] + columns.start)
    return _by_first_appearance(label[copy.ravel()])


def cluster_folds(
    clusters: Clusters,
    folds: int,
    rng: np.random.Generator,
    positive: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Deal whole clusters into folds of about equal size.

    In random order, those with the most positives first, then the largest, each cluster goes
    to the fold that has the fewest positives so far; clusters without positives go to the
    smallest fold. Where every cluster is a single image, the numbers of positives and of images
    differ between folds by at most one.

    Parameters
    ----------
    clusters : Int64[(n,)]
        Cluster of each image.
    folds : int
        How many, at least 2.
    rng : numpy.random.Generator
        Decides among equals.
    positive : Bool[(n,)], optional
        Whom to spread evenly.

    Returns
    -------
    Int64[(n,)]
        Fold of each image, 0 to ``folds - 1``; none is empty.

    Raises
    ------
    CalibrationError
        If there are fewer clusters than folds, or fewer than two folds.
    """
    number, cluster = _dense(clusters)
    if not 2 <= folds <= number:
        raise CalibrationError(
            f"{number} distinct images (near copies count as one) cannot be divided into {folds} "
            f"folds: it takes at least two folds, and an image for each. Label more images, or "
            f"ask for fewer folds: clipcal calibrate"
        )
    sizes = np.bincount(cluster, minlength=number)
    positives = np.bincount(cluster, weights=positive, minlength=number).astype(np.int64)
    order = rng.permutation(number)
    order = order[np.lexsort((-sizes[order], -positives[order]))]
    return _deal(order, sizes, positives, rng.permutation(folds))[cluster]


def cluster_bootstrap(
    n_clusters: int, rng: np.random.Generator, draws: int
) -> Iterator[NDArray[np.int64]]:
    """Draw as many clusters as there are, with replacement, again and again.

    Parameters
    ----------
    n_clusters : int
        How many there are, at least 1.
    rng : numpy.random.Generator
        Draws them.
    draws : int
        How often.

    Yields
    ------
    Int64[(n_clusters,)]
        How often each cluster was drawn; the counts add up to `n_clusters`.
    """
    for _ in range(draws):
        yield np.bincount(rng.integers(n_clusters, size=n_clusters), minlength=n_clusters)


def bootstrap_threshold(
    fit: Callable[[NDArray[np.floating], NDArray[np.bool_]], float | None],
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    clusters: Clusters,
    rng: np.random.Generator,
    draws: int = 200,
    confidence: float = 0.95,
    *,
    threshold: float | None = None,
) -> Range | None:
    r"""Say where a threshold would lie with other labels like these.

    The percentile interval of the cluster bootstrap: clusters are drawn with replacement, the
    threshold is fitted to each draw, and with :math:`\delta = 1 -` confidence the ends are the
    :math:`\delta/2` and :math:`1 - \delta/2` quantiles of those thresholds, widened where
    needed to hold the threshold itself.

    Parameters
    ----------
    fit : callable
        From scores, in ascending order, and who is positive, to a threshold, or None.
    scores : Float[(n,)]
        Scores of the labelled images.
    positive : Bool[(n,)]
        Which are positive.
    clusters : Int64[(n,)]
        Cluster of each image.
    rng : numpy.random.Generator
        Draws the clusters.
    draws : int
        How often. Above 20,000 images, in proportion fewer (``draws * 20000 / n``), but at
        least 80: there the interval is narrow and each fit takes long.
    confidence : float
        Nominal coverage, in (0, 1).
    threshold : float, optional
        The one fitted to all, if it is known already.

    Returns
    -------
    Range or None
        The threshold and its interval. None where the whole sample or more than a tenth of the
        draws have no threshold, or there are fewer than two clusters. The tenth or less is left
        out.

    Raises
    ------
    CalibrationError
        If `confidence` is outside (0, 1).

    Notes
    -----
    The interval describes how the threshold varies; it guarantees nothing about recall or
    precision. Where the threshold is the lowest or next to lowest positive (a recall guarantee
    from few labels), no draw can lie below the lowest one: the lower end is then too high, since
    the bootstrap is not consistent for extremes.
    """
    tail = (1 - check_rate(confidence, "confidence")) / 2
    order = np.argsort(scores, kind="stable")
    scores, positive = scores[order], positive[order]
    number, cluster = _dense(clusters[order])
    value = fit(scores, positive) if threshold is None else threshold
    if value is None or number < 2:
        return None
    draws = _affordable(draws, len(scores))
    found = []
    for counts in cluster_bootstrap(number, rng, draws):
        # Repeating rows in place keeps them ascending, which no draw then has to sort for.
        repeats = counts[cluster]
        found.append(fit(np.repeat(scores, repeats), np.repeat(positive, repeats)))
    held = [each for each in found if each is not None]
    if len(held) < (1 - _MOST_WITHOUT) * draws:
        return None
    low, high = np.quantile(held, (tail, 1 - tail))
    return Range(value, min(float(low), value), max(float(high), value))


def _affordable(draws: int, n: int) -> int:
    return min(draws, max(_FEWEST_DRAWS, math.ceil(draws * _FULL_DRAWS / max(n, 1))))


def _dense(clusters: Clusters) -> tuple[int, NDArray[np.intp]]:
    """Return how many clusters there are, and each image's as a number from 0."""
    distinct, cluster = np.unique(clusters, return_inverse=True)
    return len(distinct), cluster


def _deal(
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    positives: NDArray[np.int64],
    names: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the fold of each cluster, dealt in this order; `names` is a name for each fold."""
    fold = np.empty(len(order), np.int64)
    with_positives = int(np.count_nonzero(positives))
    heap = [(0, 0, name) for name in names.tolist()]
    for index in order[:with_positives].tolist():
        held, size, name = heap[0]
        fold[index] = name
        heapq.heapreplace(heap, (held + int(positives[index]), size + int(sizes[index]), name))
    by_size = [(size, name) for _, size, name in heap]
    heapq.heapify(by_size)
    for index in order[with_positives:].tolist():
        size, name = by_size[0]
        fold[index] = name
        heapq.heapreplace(by_size, (size + int(sizes[index]), name))
    return fold


def _as_bytes(embeddings: NDArray[np.floating]) -> NDArray[np.void]:
    """Return each row as one value to compare; zero has a sign, which adding zero removes."""
    rows = np.ascontiguousarray(embeddings) + embeddings.dtype.type(0)
    whole: NDArray[np.void] = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    return whole.ravel()


def _normalised(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    unit = np.empty(embeddings.shape, np.float32)
    for start in range(0, len(unit), _TILE):
        block = embeddings[start : start + _TILE].astype(np.float32)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        unit[start : start + _TILE] = block / np.where(norms > 0, norms, 1)
    return unit


def _sketch(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows whose inner products bound the cosines from above.

    The principal directions of a part of the rows leave the smallest rest, hence the best bound.
    """
    part = unit[:: max(1, len(unit) // _TILE)]
    directions = np.linalg.svd(part, full_matrices=False)[2][:_SKETCH]
    held = unit @ directions.T
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("nk,nk->n", held, held)))
    return np.column_stack((held, rest)).astype(np.float32)


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Yield the tiles of the upper triangle of all pairs."""
    starts = range(0, n, _TILE)
    for row in starts:
        for column in range(row, n, _TILE):
            yield slice(row, min(row + _TILE, n)), slice(column, min(column + _TILE, n))


def _cosines(
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Return the cosines of some pairs: one by one if they are few, else from the whole tile."""
    if len(left) > len(rows) * len(columns) // _FEW:
        return np.asarray((rows @ columns.T)[left, right])
    return np.asarray(np.einsum("nd,nd->n", rows[left], columns[right]))


def _joined(
    label: NDArray[np.intp], left: NDArray[np.intp], right: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Merge the clusters that pairs of rows connect."""
    n = len(label)
    edges = sparse.coo_array((np.ones(len(left)), (label[left], label[right])), (n, n))
    _, component = csgraph.connected_components(edges, directed=False)
    return component[label].astype(np.intp)


def _by_first_appearance(label: NDArray[np.intp]) -> Clusters:
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
