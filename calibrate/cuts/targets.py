"""What a threshold is to attain, as people write it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipcal.calibrate.statistics.bounds import check_rate
from clipcal.errors import CalibrationError

Kind = Literal["recall", "precision", "f1", "fbeta", "cost", "budget", "levels"]

GUARANTEED = ("recall", "precision")
_NUMBER = r"\d*\.?\d+(?:e-?\d+)?"
_KNOWN = (
    "Known are recall=R and precision=P, which are guaranteed; f1; fbeta=B; cost=FN:FP, the costs "
    "of a miss and of a false flag; budget=N, the number of flags; and levels, the cut-points of "
    "ordered levels. As in: clipcal calibrate --target recall=0.9"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a threshold is to attain.

    Attributes
    ----------
    kind : str
        ``recall`` and ``precision``: a rate, guaranteed. ``f1`` and ``fbeta``: the best in the
        sample. ``cost``: the cheapest in the sample. ``budget``: so many flags in the corpus.
        ``levels``: where a proportional-odds model finds both sides equally probable.
    value : float or None
        The rate, beta, the cost of a miss, or the number of flags.
    false_flag_cost : float or None
        Where costs are given.
    """

    kind: Kind
    value: float | None = None
    false_flag_cost: float | None = None

    def __str__(self) -> str:
        """Return the target as it is written on the command line."""
        if self.value is None:
            return self.kind
        costs = (self.value, self.false_flag_cost)
        return f"{self.kind}={':'.join(_shortest(x) for x in costs if x is not None)}"

    @property
    def guaranteed(self) -> bool:
        """Whether a guarantee is asked for."""
        return self.kind in GUARANTEED

    @property
    def rate(self) -> float:
        """The recall or precision that is asked for."""
        return check_rate(self.value or 0.0, self.kind)


@dataclass(frozen=True, slots=True)
class Goal:
    """What all the cuts of a calibration are to attain.

    Attributes
    ----------
    target : Target
        Of every cut; with bands, the recall of the lower threshold.
    confidence : float
        Of guarantees and intervals, in (0, 1).
    joint : bool
        Whether all guarantees hold together with it, or each cut's by itself.
    block : Target or None
        With bands: the precision of the upper threshold.
    """

    target: Target
    confidence: float = 0.95
    joint: bool = False
    block: Target | None = None

    @property
    def risk(self) -> float:
        """How often a guarantee may fail; halved where a cut makes two."""
        return (1 - self.confidence) / (2 if self.block else 1)


def parse_target(text: str) -> Target:
    """Read a target as written on the command line.

    Parameters
    ----------
    text : str
        ``recall=0.9``, ``precision=0.8``, ``f1``, ``fbeta=2``, ``cost=5:1``, ``budget=500`` or
        ``levels``.

    Returns
    -------
    Target
        What it says.

    Raises
    ------
    CalibrationError
        If it is none of them, or a number is out of range.
    """
    name, _, value = text.strip().lower().replace(" ", "").partition("=")
    if name == "f1" and not value:
        return Target("f1")
    if name == "levels" and not value:
        return Target("levels")
    if name == "recall" and re.fullmatch(_NUMBER, value):
        return Target("recall", check_rate(float(value), name))
    if name == "precision" and re.fullmatch(_NUMBER, value):
        return Target("precision", check_rate(float(value), name))
    if name == "fbeta" and re.fullmatch(_NUMBER, value) and 0 < float(value) < math.inf:
        return Target("fbeta", float(value))
    if name == "budget" and re.fullmatch(r"\d{1,12}", value) and int(value) > 0:
        return Target("budget", int(value))
    costs = re.fullmatch(f"({_NUMBER}):({_NUMBER})", value)
    if name == "cost" and costs and all(0 < float(cost) < math.inf for cost in costs.groups()):
        return Target("cost", float(costs[1]), float(costs[2]))
    raise CalibrationError(f"'{text}' is no target. {_KNOWN}")


def parse_bands(text: str) -> tuple[Target, Target]:
    """Read what three bands are to attain: the lower threshold's recall, the upper's precision.

    Parameters
    ----------
    text : str
        ``recall=0.9,precision=0.9``, in either order.

    Returns
    -------
    tuple of Target
        Recall, then precision.

    Raises
    ------
    CalibrationError
        If it is not one of each.
    """
    targets = {target.kind: target for target in map(parse_target, text.split(","))}
    if text.count(",") != 1 or set(targets) != set(GUARANTEED):
        raise CalibrationError(
            f"'{text}' does not say what three bands are to attain: allow below a threshold with "
            f"a recall, block above one with a precision, as in: "
            f"clipcal calibrate --bands recall=0.9,precision=0.9"
        )
    return targets["recall"], targets["precision"]


def _shortest(number: float) -> str:
    """Write a number so that reading it gives the same one."""
    return np.format_float_positional(number, trim="-")
