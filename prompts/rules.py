"""Rules that compose the categories into one verdict: ``major >= 1 or minor >= 4``.

::

    rule       =  all { "or" all }
    all        =  condition { "and" condition }
    condition  =  LEVEL ( ">=" | ">" | "==" | "<=" | "<" ) NUMBER

A condition compares the number of categories that stand at exactly that level with a number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

OPERATORS = (">=", "<=", "==", ">", "<")
Flags = NDArray[np.bool_]  # (n images,)
Counts = Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Level → the fewest and the most categories (n,) that may stand at exactly that level."""

_COMPARE: dict[str, Callable[..., Flags]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(rf"\s*([^\W\d][\w-]*)\s*({'|'.join(OPERATORS)})\s*(\d+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a rule.

    Attributes
    ----------
    level : str
        The level whose categories are counted.
    operator : {">=", "<=", "==", ">", "<"}
        How their number is compared.
    count : int
        With what.
    """

    level: str
    operator: str
    count: int


Rule = tuple[tuple[Condition, ...], ...]
"""Alternatives, of which one must hold; in each, every condition must hold."""


def parse_rule(text: str, levels: Collection[str]) -> Rule:
    """Understand one rule of an ``[overall]`` table.

    Parameters
    ----------
    text : str
        The rule.
    levels : collection of str
        The levels that it may count.

    Returns
    -------
    Rule
        Its conditions; "and" binds closer than "or".

    Raises
    ------
    ValueError
        If the rule cannot be understood; the message quotes the part.
    """
    return tuple(
        tuple(_condition(part, levels) for part in re.split(r"\sand\s", alternative))
        for alternative in re.split(r"\sor\s", text)
    )


def evaluate(rule: Rule, counts: Counts) -> tuple[Flags, Flags]:
    """Tell for which images a rule holds.

    Parameters
    ----------
    rule : Rule
        The rule.
    counts : mapping of str to (Int64[(n,)], Int64[(n,)])
        Level → the fewest and the most categories that may stand at it; equal where all is known.

    Returns
    -------
    surely : Bool[(n,)]
        Where it holds for every count in between.
    possibly : Bool[(n,)]
        Where it may hold; false only where no count in between lets it hold. Counts of several
        levels are taken one by one, so that it errs towards true.
    """
    alternatives = [[_compare(one, counts) for one in every] for every in rule]
    surely, possibly = (
        reduce(
            operator.or_,
            (reduce(operator.and_, (held[side] for held in every)) for every in alternatives),
        )
        for side in (0, 1)
    )
    return surely, possibly


def _compare(condition: Condition, counts: Counts) -> tuple[Flags, Flags]:
    fewest, most = counts[condition.level]
    if condition.operator == "==":
        surely = (fewest == condition.count) & (most == condition.count)
        return surely, (fewest <= condition.count) & (condition.count <= most)
    compare = _COMPARE[condition.operator]
    # The other comparisons are monotone: what holds at both ends holds between them.
    low, high = compare(fewest, condition.count), compare(most, condition.count)
    return low & high, low | high


def _condition(text: str, levels: Collection[str]) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text.strip()!r} is no condition such as 'major >= 1'; conditions are joined by "
            "'and' and 'or'"
        )
    if found[1] not in levels:
        raise ValueError(f"{found[1]!r} is not among the levels {', '.join(levels)}")
    return Condition(found[1], found[2], int(found[3]))
