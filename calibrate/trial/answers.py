"""What is answered when a threshold is tried: counts, rates, flips, and what they would cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.records import Expected
from clipcal.calibrate.report.curves import Costs
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.errors import CalibrationError

__all__ = [
    "EQUAL_COSTS",
    "Costs",
    "Flags",
    "Flips",
    "Places",
    "RatesAt",
    "WhatIf",
    "cost_of",
    "nearest",
]

EQUAL_COSTS: Final = Costs()

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a threshold would do, if a person placed it.

    Attributes
    ----------
    category, level : str
        Which cut.
    threshold : float
        Images that score at or above it would be flagged; to six decimals, as a contract
        keeps it.
    upper : float or None
        From where on images would be blocked; None without bands.
    images, flags : int
        Of the corpus, and those flagged.
    before : int or None
        Flags by the contract; None where it has no threshold for these scores.
    newly, no_longer : int or None
        Images that the contract does not flag and this threshold would, and the reverse.
    n, positives : int
        Labelled images, and positives among them.
    recall, precision : Estimate or None
        At the threshold, on the labels; as in `Cut`.
    expected : Expected or None
        How many flags are right and wrong in the corpus, and how many positives are missed.
    cost : Range or None
        What mistakes would cost in the corpus; see `cost_of`.
    allow, review, block : int or None
        Images in each band; None without an upper threshold.
    upper_precision : Estimate or None
        On the labels, at the upper threshold.
    wrongly_blocked : Range or None
        Expected negatives among those blocked.
    certified_up_to : float or None
        The highest threshold whose recall is certified as the goal asks; None where none is, or
        the goal is another.
    certified : bool
        Whether the goal's guarantee holds at `threshold`.
    upper_certified : bool
        Whether the bands' precision is certified at `upper`.
    sentence : str
        What may be said of it, and what may not.
    """

    category: str
    level: str
    threshold: float
    upper: float | None
    images: int
    flags: int
    before: int | None
    newly: int | None
    no_longer: int | None
    n: int
    positives: int
    recall: Estimate | None
    precision: Estimate | None
    expected: Expected | None
    cost: Range | None
    allow: int | None
    review: int | None
    block: int | None
    upper_precision: Estimate | None
    wrongly_blocked: Range | None
    certified_up_to: float | None
    certified: bool
    upper_certified: bool
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """The images that a threshold would decide otherwise than the contract.

    Attributes
    ----------
    newly, no_longer : Int64[(k,)]
        Places among the scored images; those nearest to the new threshold first, of equal ones
        the first in the corpus. Without a contract's threshold all that is flagged is new.
    """

    newly: Places
    no_longer: Places


@dataclass(frozen=True, slots=True)
class RatesAt:
    """What one threshold does, with intervals for it alone.

    Attributes
    ----------
    threshold : float
        The threshold.
    flags : int
        Images of the corpus that it flags.
    recall, precision : Estimate or None
        On the labels, weighted as in `Cut`.
    """

    threshold: float
    flags: int
    recall: Estimate | None
    precision: Estimate | None


def cost_of(expected: Expected | None, costs: Costs) -> Range | None:
    r"""Return what mistakes are expected to cost in the corpus.

    .. math:: C = c_m M + c_f F

    with :math:`M` expected misses and :math:`F` expected false flags. They are estimated from
    different labelled images (those not flagged, and those flagged), and so independently; the
    ends of the interval recover their variances from the intervals of the two (MOVER):

    .. math:: L = C - \sqrt{c_m^2 (M - l_M)^2 + c_f^2 (F - l_F)^2}

    and likewise above. Nominal coverage is that of the two, for one threshold fixed in advance.

    Parameters
    ----------
    expected : Expected or None
        Counts with intervals.
    costs : Costs
        Of a miss and of a false flag.

    Returns
    -------
    Range or None
        None where one of the two is not known.

    Raises
    ------
    CalibrationError
        If a cost is negative or not finite.

    References
    ----------
    Zou, G. Y., Huang, W., and Zhang, X. (2009). A note on confidence interval estimation for a
    linear function of binomial proportions. *Computational Statistics and Data Analysis* 53(4),
    1080-1085.
    """
    if not all(0 <= cost < math.inf for cost in (costs.miss, costs.false_flag)):
        raise CalibrationError(
            f"The costs are {costs}; each must be a number from 0 on, as in: "
            f"clipcal calibrate --labels FILE.csv --target cost=5:1"
        )
    if expected is None or expected.misses is None or expected.false_flags is None:
        return None
    parts = ((costs.miss, expected.misses), (costs.false_flag, expected.false_flags))
    value = sum(cost * part.value for cost, part in parts)
    below = math.hypot(*(cost * (part.value - part.low) for cost, part in parts))
    above = math.hypot(*(cost * (part.high - part.value) for cost, part in parts))
    return Range(*(round(end, 1) for end in (value, value - below, value + above)))


def nearest(scores: NDArray[np.float32], mask: Flags, threshold: float, limit: int) -> Places:
    """Find the places of the images in `mask` that score nearest to a threshold, those first.

    Parameters
    ----------
    scores : Float32[(N,)]
        Of the corpus.
    mask : Bool[(N,)]
        Among which images.
    threshold : float
        To what.
    limit : int
        How many, at most.

    Returns
    -------
    Int64[(k,)]
        Of equally near ones the first in the corpus comes first.
    """
    places = np.flatnonzero(mask)
    gaps = np.abs(scores[places].astype(np.float64) - threshold)
    if 0 < limit < len(places):
        near = gaps <= np.partition(gaps, limit - 1)[limit - 1]
        places, gaps = places[near], gaps[near]
    order = np.argsort(gaps, kind="stable")[: max(limit, 0)]
    return places[order].astype(np.int64)
