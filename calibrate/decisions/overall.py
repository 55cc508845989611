"""One verdict per image, composed from its categories by the rules of the prompt set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.decisions.rescore import UNDECIDED, Decisions
from clipcal.prompts.promptset import BINARY_LEVELS, OTHERWISE, PromptSet
from clipcal.prompts.rules import Counts, Rule, evaluate, parse_rule


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What the rules say of each image.

    Attributes
    ----------
    names : tuple of str
        The verdicts in the order of their rules, then the one where no rule holds.
    values : Int64[(n,)]
        Index into `names`; -1 where an undecided category might change the verdict.
    """

    names: tuple[str, ...]
    values: NDArray[np.int64]

    def counts(self) -> dict[str, int]:
        """Count the images of each verdict."""
        return {
            name: int(np.count_nonzero(self.values == index))
            for index, name in enumerate(self.names)
        }

    def per_image(self) -> list[str | None]:
        """Write out the verdict of every image; None where there is none."""
        names = [*self.names, None]  # -1 is the last
        return [names[value] for value in self.values.tolist()]

    @property
    def undecided(self) -> int:
        """Images without a verdict."""
        return int(np.count_nonzero(self.values == UNDECIDED))


def judge(decided: Decisions, prompt_set: PromptSet) -> Verdicts | None:
    """Compose the decisions of each image into the verdict of the first rule that holds.

    A rule counts the categories that stand at exactly a level. A category without a decision
    may stand at any level that has no threshold; where that might change the verdict, the
    image has none.

    Parameters
    ----------
    decided : Decisions
        Levels per image and category.
    prompt_set : PromptSet
        Its ``overall`` holds the rules. In a set without levels every level above the lowest
        counts as positive.

    Returns
    -------
    Verdicts or None
        None where the set has no rules, or they count levels that `decided` does not tell
        apart; for the latter see :func:`warn_of_missing_levels`.
    """
    if not prompt_set.overall or _missing(decided.levels, prompt_set):
        return None
    known = prompt_set.levels or BINARY_LEVELS
    rules = {v: parse_rule(r, known) for v, r in prompt_set.overall.items() if v != OTHERWISE}
    names = tuple(dict.fromkeys([*rules, prompt_set.overall[OTHERWISE]]))
    otherwise = names.index(prompt_set.overall[OTHERWISE])
    values = _first(list(rules.values()), _counts(decided, prompt_set), otherwise)
    return Verdicts(names, values)


def warn_of_missing_levels(levels: Sequence[str], prompt_set: PromptSet) -> tuple[str, ...]:
    """Say which levels the rules count that decisions with `levels` do not tell apart."""
    missing = _missing(levels, prompt_set)
    if not missing:
        return ()
    return (f"No overall verdict: its rules count {', '.join(missing)}, which the labels lack.",)


def _missing(levels: Sequence[str], prompt_set: PromptSet) -> tuple[str, ...]:
    if not prompt_set.levels:
        return ()
    rules = (rule for verdict, rule in prompt_set.overall.items() if verdict != OTHERWISE)
    counted = {
        condition.level
        for rule in rules
        for every in parse_rule(rule, prompt_set.levels)
        for condition in every
    }
    return tuple(level for level in prompt_set.levels if level in counted - set(levels))


def _counts(decided: Decisions, prompt_set: PromptSet) -> Counts:
    """Count per image, by level, the categories at it and those that may be at it."""
    values = decided.values
    if not prompt_set.levels:
        values = np.minimum(values, 1)
    unknown = values == UNDECIDED
    counts = {}
    for rank, level in enumerate(decided.levels if prompt_set.levels else BINARY_LEVELS):
        # A level with a threshold that was not reached is no longer open.
        still_open = np.isinf(decided.thresholds[rank - 1]) if rank else np.True_
        fewest = (values == rank).sum(axis=1)
        counts[level] = (fewest, fewest + (unknown & still_open).sum(axis=1))
    return counts


def _first(rules: Sequence[Rule], counts: Counts, otherwise: int) -> NDArray[np.int64]:
    """Return the index of the first rule that holds, else `otherwise`; -1 where not certain."""
    images = len(next(iter(counts.values()))[0])
    verdicts = np.full(images, otherwise)
    pending = np.ones(images, np.bool_)
    for index, rule in enumerate(rules):
        surely, possibly = evaluate(rule, counts)
        verdicts[pending & possibly] = UNDECIDED
        verdicts[pending & surely] = index
        pending &= ~possibly
    return verdicts
