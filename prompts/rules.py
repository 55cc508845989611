"""Rules that compose the categories into one verdict: ``major >= 1 or minor >= 4``.

::

    rule       =  all { "or" all }
    all        =  condition { "and" condition }
    condition  =  LEVEL ( ">=" | ">" | "==" | "<=" | "<" ) NUMBER

A condition compares the number of categories that stand at exactly that level with a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

OPERATORS = (">=", "<=", "==", ">", "<")
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
