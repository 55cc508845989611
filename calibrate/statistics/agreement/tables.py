"""The parts of agreement beyond chance: tables of two raters' levels, and redraws of images.

The package says what its statistics are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import Estimate, wilson, wilson_interval

Indices = NDArray[np.integer]  # (v votes,)
Counts = NDArray[np.integer]  # (n images, l levels), how many raters said what
Floats = NDArray[np.float64]
Weights = Literal["quadratic", "linear"] | None

DRAWS = 500
_AT_ONCE = 5_000_000  # numbers held while drawing
_SMALL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Tables of two raters' levels, one per kind of image, by what kappa needs of them.

    Attributes
    ----------
    number : Int64[(p,)]
        Images of the kind.
    agreed, disagreed : Float64[(p,)]
        Cells of one such image on the diagonal; weighted sum of those off it.
    rows, columns : Float64[(p, l)]
        Its margins.
    cost : Float64[(l, l)]
        Weights of the disagreements.
    """

    number: NDArray[np.int64]
    agreed: Floats
    disagreed: Floats
    rows: Floats
    columns: Floats
    cost: Floats


def of_pairs(a: Indices, b: Indices, levels: int, weights: Weights) -> Tables:
    """Table two sequences (n,) of levels of the same images, equal pairs as one kind."""
    cells, number = np.unique(a * np.int64(levels) + b, return_counts=True)
    a, b = np.divmod(cells, levels)
    cost, one = disagreement(levels, weights), np.eye(levels)
    return Tables(number, (a == b).astype(np.float64), cost[a, b], one[a], one[b], cost)


def of_tables(tables: Floats, weights: Weights, number: NDArray[np.int64] | None = None) -> Tables:
    """Take tables of shape (p, l, l), each of one image or of `number` alike."""
    if number is None:
        tables, number = np.unique(tables, axis=0, return_counts=True)
    cost = disagreement(tables.shape[1], weights)
    return Tables(
        number,
        np.trace(tables, axis1=1, axis2=2),
        (tables * cost).sum(axis=(1, 2)),
        tables.sum(axis=2),
        tables.sum(axis=1),
        cost,
    )


def disagreement(levels: int, weights: Weights) -> Floats:
    """Return what each pair of levels costs, from 0 to 1."""
    distance = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    if weights is None:
        return (distance > 0).astype(np.float64)
    power = 2 if weights == "quadratic" else 1
    return np.asarray((distance / max(levels - 1, 1)) ** power, np.float64)


def kappas(tables: Tables, weights: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return, per row of weights (draws, p), kappa (NaN: undefined) and chance."""
    rows, columns = weights @ tables.rows, weights @ tables.columns
    cells = rows.sum(axis=1)
    expected = ((rows @ tables.cost) * columns).sum(axis=1) / cells
    return one_less(weights @ tables.disagreed, expected), expected / cells


def kappa_of_tables(tables: Tables, confidence: float, seed: int) -> Estimate | None:
    """Return kappa with its bootstrap interval over images; None where it is undefined."""
    value, chance = kappas(tables, tables.number[None])
    size = 2 * len(tables.cost)
    drawn = [kappas(tables, some)[0] for some in redraws(tables.number, seed, size)]
    return with_interval(value, drawn, int(tables.number.sum()), chance, confidence)


def rate_of_tables(tables: Tables, said: int, confidence: float) -> Estimate:
    """Return the rate of agreement over cells; see the module for its interval."""
    cells = tables.rows.sum(axis=1)
    rate = float(tables.number @ tables.agreed / (tables.number @ cells))
    spread = tables.number @ (tables.agreed - rate * cells) ** 2 / (tables.number @ cells) ** 2
    images = int(tables.number.sum())
    sure = rate < _SMALL or rate > 1 - _SMALL
    independent = images if sure else min(rate * (1 - rate) / max(float(spread), 1e-12), said)
    low, high = wilson_interval(rate, independent, confidence)
    return Estimate(rate, low, high, said)


def coincidences(counts: Counts) -> Floats:
    """Return the coincidence matrix of each image: Float64[(n, l, l)]; 0 for a single rating."""
    ratings = counts.sum(axis=1)[:, None, None]
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(counts.shape[1]))
    tables: Floats = np.where(ratings > 1, pairs / np.maximum(ratings - 1, 1), 0)
    return tables


def alphas(tables: Floats, metric: str) -> tuple[Floats, Floats]:
    """Return alpha (NaN: undefined) and chance of coincidence matrices (..., l, l)."""
    number = tables.sum(axis=-1)
    total = number.sum(axis=-1)
    middle = np.cumsum(number, axis=-1) - number / 2
    delta = (middle[..., :, None] - middle[..., None, :]) ** 2
    if metric == "nominal":
        delta = np.broadcast_to(1 - np.eye(number.shape[-1]), delta.shape)
    observed = (tables * delta).sum(axis=(-1, -2))
    expected = (number[..., :, None] * number[..., None, :] * delta).sum(axis=(-1, -2))
    expected = expected / np.maximum(total - 1, 1)
    most = delta.max(axis=(-1, -2)) * np.maximum(total, 1)
    chance = np.divide(expected, most, out=np.zeros_like(expected), where=most > 0)
    return one_less(observed, expected), chance


def one_less(observed: Floats, expected: Floats) -> Floats:
    """Return ``1 - observed / expected``; NaN where nothing is expected."""
    share = np.full(np.shape(expected), np.nan)
    np.divide(observed, expected, out=share, where=expected > 0)
    return 1 - share


def redraws(number: NDArray[np.int64], seed: int, size: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield how often each kind of image is drawn, for some draws at a time: (some, p).

    Drawing n images with replacement and counting kinds is one multinomial draw.
    """
    rng = np.random.default_rng(seed)
    total = int(number.sum())
    at_once = max(1, _AT_ONCE // (len(number) + size + 1))
    for start in range(0, DRAWS, at_once):
        yield rng.multinomial(total, number / total, min(at_once, DRAWS - start))


def with_interval(
    value: Floats, drawn: list[Floats], images: int, chance: Floats, confidence: float
) -> Estimate | None:
    """Return a statistic with the interval of its draws; None where it is undefined."""
    middle = defined(value)
    if middle is None:
        return None
    every = np.concatenate(drawn)
    tail = (1 - confidence) / 2
    low, high = np.quantile(every[~np.isnan(every)], [tail, 1 - tail])
    if middle == 1:
        missed = 1 - wilson(images, images, confidence).low
        low = max(-1.0, 1 - missed / float(chance.item()))
    return Estimate(middle, min(float(low), middle), max(float(high), middle), images)


def defined(value: Floats) -> float | None:
    """Return the one number in an array; None where it is NaN."""
    number = float(value.item())
    return None if np.isnan(number) else number
