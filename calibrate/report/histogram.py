"""Scores in bins: the corpus, and the labelled images by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.records import Cut
from clipcal.calibrate.report.column import Column
from clipcal.calibrate.statistics.bounds import Range

BINS = 48


@dataclass(frozen=True, slots=True)
class Group:
    """How many images of one group fall into each bin of a histogram."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold on the axis.

    Attributes
    ----------
    name : str
        What begins there.
    value : float
        Where.
    low, high : float or None
        Its bootstrap interval, where there is one.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """What lies between two thresholds, or above the last."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of one category in bins of equal width from `low` to `high`.

    Attributes
    ----------
    low, high : float
        Ends of the axis; every score and threshold lies between them.
    groups : tuple of Group
        The corpus first, then the labelled images of each level, the highest level first.
    limits : tuple of Limit
        The thresholds.
    zones : tuple of Zone
        What people are to review.
    """

    low: float
    high: float
    groups: tuple[Group, ...]
    limits: tuple[Limit, ...]
    zones: tuple[Zone, ...] = ()


def count_histogram(column: Column, cuts: Sequence[tuple[str, Cut]]) -> Histogram | None:
    """Count the scores of a category.

    Parameters
    ----------
    column : Column
        The category.
    cuts : sequence of (str, Cut)
        Each with its phrase; empty for yes or no.

    Returns
    -------
    Histogram or None
        None where no cut has a threshold.
    """
    limits = tuple(limit for phrase, cut in cuts for limit in limits_of(phrase, cut))
    if not limits:
        return None
    low, high = axis_of(column.scores, [limit.value for limit in limits])
    groups = count_groups(
        column.scores, column.sample, column.sample_codes, column.levels, low=low, high=high
    )
    zones = tuple(zone for phrase, cut in cuts for zone in _zones(phrase, cut, low, high))
    return Histogram(low, high, groups, limits, zones)


def axis_of(scores: NDArray[np.float32], limits: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds the scores (n,) of the corpus and all `limits`."""
    values = [float(scores.min()), float(scores.max()), *limits]
    low, high = min(values), max(values)
    # A little air: no threshold lies on the edge, and equal scores still have an axis.
    air = 0.02 * (high - low) or 0.001
    return low - air, high + air


def count_groups(
    scores: NDArray[np.float32],
    sample: NDArray[np.float32],
    codes: NDArray[np.int8],
    levels: Sequence[str],
    *,
    low: float,
    high: float,
    bins: int = BINS,
) -> tuple[Group, ...]:
    """Count the corpus, and the labelled images by level, in bins of equal width.

    Parameters
    ----------
    scores : Float32[(N,)]
        Of the corpus.
    sample, codes : Float32[(m,)], Int8[(m,)]
        Of the labelled images, with their labels as indices into the levels.
    levels : sequence of str
        From low to high.
    low, high : float
        Ends of the axis.
    bins : int
        How many, at least 1.

    Returns
    -------
    tuple of Group
        The corpus first, then the highest level, and so on down.
    """

    def counts(some: NDArray[np.float32]) -> tuple[int, ...]:
        return tuple(np.histogram(some, bins=bins, range=(low, high))[0].tolist())

    labelled = [
        Group(f"Labelled {level}", counts(sample[codes == rank]))
        for rank, level in reversed(list(enumerate(levels)))
    ]
    return (Group("All images", counts(scores)), *labelled)


def limits_of(phrase: str, cut: Cut) -> list[Limit]:
    """Name the thresholds of a cut: one, or with bands one or two; none where it has none.

    With bands, all is reviewed below a lower threshold that is neither certified nor placed by
    hand: it is proposed.
    """
    limits = []
    if cut.threshold is not None:
        name = phrase or "threshold"
        if cut.bands is not None:
            begins = "proposed" if cut.allowing is None else "review from"
            name = f"{phrase} {begins}".strip()
        limits.append(_limit(name, cut.threshold, cut.interval))
    if cut.bands is not None and cut.bands.upper is not None:
        limits.append(_limit(f"{phrase} block from".strip(), cut.bands.upper, cut.bands.interval))
    return limits


def _limit(name: str, value: float, interval: Range | None) -> Limit:
    ends = (interval.low, interval.high) if interval else (None, None)
    return Limit(name, value, *ends)


def _zones(phrase: str, cut: Cut, start: float, end: float) -> list[Zone]:
    if cut.bands is None:
        return []
    lower = start if cut.allowing is None else cut.allowing
    upper = end if cut.bands.upper is None else cut.bands.upper
    return [Zone(f"{phrase} review".strip(), lower, upper)]
