"""From similarities to category scores, and from scores to decisions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipcal.calibrate.scoring.rules import MARGIN, ScoreRule
from clipcal.errors import CalibrationError, PromptError

if TYPE_CHECKING:
    from clipcal.prompts.matrix import PromptVectors
    from clipcal.prompts.promptset import PromptSet

Scores = NDArray[np.float32]  # (n images, c categories)
Flags = NDArray[np.bool_]  # shape of the scores

# Enough rows for numpy's loops, few enough that what is made of them stays in the cache.
_ROWS_AT_ONCE = 4096
_ROWS_END_TO_END = 1000


def category_scores(
    similarities: NDArray[np.float32], prompts: PromptVectors, rule: ScoreRule = MARGIN
) -> Scores:
    r"""Reduce the similarities with every prompt to one score per category.

    By default the score of an image :math:`x` is the margin
    :math:`\mathrm{pool}_{p \in P}\, x \cdot t_p - \mathrm{pool}_{q \in N}\, x \cdot t_q` of the
    category's prompts :math:`P` over its own neutral contrasts :math:`N`, or the first term
    alone where it has none; pool is the maximum or the mean. No category's score depends on
    another category's prompts. The other rules are in `ScoreRule`.

    Parameters
    ----------
    similarities : Float32[(n, p)]
        Cosines of n images with the p prompts of ``prompts.matrix``.
    prompts : PromptVectors
        Which columns belong to which category.
    rule : ScoreRule
        How they become scores.

    Returns
    -------
    Float32[(n, c)]
        Scores, in the order of the prompt set's categories.

    Raises
    ------
    CalibrationError
        If the columns are not the prompts, a similarity is NaN, or the rule lacks a constant.
    PromptError
        If the prompt set lacks what the rule needs: contrasts, or a second category.
    """
    if similarities.ndim != 2 or similarities.shape[1] != prompts.matrix.shape[0]:
        raise CalibrationError(
            f"The similarities have shape {similarities.shape}, but the prompt set has "
            f"{prompts.matrix.shape[0]} prompts. Score the corpus again: clipcal score"
        )
    check_rule(rule, prompts.prompt_set)
    scores = np.empty((len(similarities), len(prompts.prompt_set.categories)), np.float32)
    for start in range(0, len(similarities), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        by_prompt = np.ascontiguousarray(similarities[rows].T)
        refuse_nan(by_prompt)
        scores[rows] = np.stack(_reduce(by_prompt, prompts, rule), axis=1)
    return scores


def check_rule(rule: ScoreRule, prompt_set: PromptSet) -> None:
    """Refuse a rule that lacks a constant, or that a prompt set cannot serve.

    Raises
    ------
    CalibrationError
        If the rule takes a constant that it does not have.
    PromptError
        If ``softmax-contrast`` meets a category without contrasts, or ``softmax-all`` a set of
        one category.
    """
    if not rule.complete:
        raise CalibrationError(
            f"The score rule {rule} lacks {' and '.join(rule.takes)}, which depend on the model. "
            f"Write them out, as in: softmax-contrast(scale=100)"
        )
    bare = [c.name for c in prompt_set.categories if not c.against]
    if rule.name == "softmax-contrast" and bare:
        raise PromptError(
            f"The rule softmax-contrast holds prompts against contrasts, and {bare[0]!r} in "
            f"{prompt_set.name} has none. Write some below `against` in its category, or take "
            f"the rule margin, which does without. See: clipcal prompts show {prompt_set.name}"
        )
    if rule.name == "softmax-all" and len(prompt_set.categories) < 2:
        raise PromptError(
            f"The rule softmax-all holds categories against each other, and {prompt_set.name} "
            f"has one. Take the rule margin, or see: clipcal prompts show {prompt_set.name}"
        )


def margin(
    own: NDArray[np.float32], against: NDArray[np.float32], pool: str
) -> NDArray[np.float32]:
    """Hold one category's prompts against its contrasts; see `category_scores`.

    Parameters
    ----------
    own, against : Float32[(k, n)], Float32[(j, n)]
        Cosines of n images, a row per sentence; k is at least 1.
    pool : {"max", "mean"}
        How rows become one.

    Returns
    -------
    Float32[(n,)]
        Scores.
    """
    return _pool(own, pool) - _pool(against, pool) if len(against) else _pool(own, pool)


def decide(scores: NDArray[np.floating], thresholds: ArrayLike) -> Flags:
    """Flag what scores at or above its threshold: the only place where the two are compared.

    The comparison is made in the precision of the scores, so that a threshold given with six
    decimals and a float32 score written with its shortest digits compare alike wherever they
    are read again.

    Parameters
    ----------
    scores : Float[(n, c)] or Float[(n,)]
        Scores.
    thresholds : array_like
        One threshold per category, or a single one.

    Returns
    -------
    Bool[(n, c)] or Bool[(n,)]
        True where flagged.

    Raises
    ------
    CalibrationError
        If a score or a threshold is NaN, or the shapes do not fit.
    """
    limits = np.asarray(thresholds, dtype=scores.dtype)
    if limits.ndim and limits.shape != scores.shape[1:]:
        raise CalibrationError(
            f"There are thresholds for {limits.shape} but scores for {scores.shape[1:]} "
            f"categories. Fit them again: clipcal calibrate"
        )
    refuse_nan(scores)
    refuse_nan(limits)
    flags = np.empty_like(scores, dtype=np.bool_)
    for some_scores, some_limits, some_flags in _stretches(scores, limits, flags):
        np.greater_equal(some_scores, some_limits, out=some_flags)
    return flags


def refuse_nan(values: NDArray[np.floating]) -> None:
    """Raise CalibrationError if any value is NaN."""
    # The minimum is NaN if anything is, and needs no array of its own.
    if values.size and np.isnan(values.min()):
        raise CalibrationError(
            "A score is NaN, so that no threshold can be applied. "
            "Find the images that failed: clipcal failures, then run: clipcal score"
        )


def _stretches(
    scores: NDArray[np.floating], limits: NDArray[np.floating], flags: Flags
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating], Flags]]:
    """Lay many short rows end to end against repeated limits; views, and no copy of scores.

    numpy starts its inner loop once per row, which costs thrice the comparison of a few numbers.
    """
    if limits.ndim == 0 or limits.size == 0 or not scores.flags.c_contiguous:
        yield scores, limits, flags
        return
    whole = len(scores) - len(scores) % _ROWS_END_TO_END
    for rows, repeats in ((slice(whole), _ROWS_END_TO_END), (slice(whole, None), 1)):
        shape = (-1, repeats * limits.size)
        yield scores[rows].reshape(shape), np.tile(limits, repeats), flags[rows].reshape(shape)


# --- rules: arrays by prompt, Float32[(p, n)], to one Float32[(n,)] per category -----------------


def _reduce(
    by_prompt: NDArray[np.float32], prompts: PromptVectors, rule: ScoreRule
) -> list[NDArray[np.float32]]:
    """Score some images in every category."""
    if rule.name == "softmax-all":
        return _against_each_other(by_prompt, prompts, rule)
    return [
        _category(by_prompt[own], by_prompt[against], category.pool, rule)
        for category, (own, against) in zip(
            prompts.prompt_set.categories, prompts.columns, strict=True
        )
    ]


def _category(
    own: NDArray[np.float32], against: NDArray[np.float32], pool: str, rule: ScoreRule
) -> NDArray[np.float32]:
    scale, bias = map(np.float32, rule.constants)
    match rule.name:
        case "margin":
            return margin(own, against, pool)
        case "softmax-contrast":
            return _log_sum(own, scale) - _log_sum(against, scale)
        case "sigmoid":
            return _pool(own, pool) * scale + bias
        case _:
            return _pool(own, rule.name)


def _pool(by_prompt: NDArray[np.float32], pool: str) -> NDArray[np.float32]:
    if pool == "max":
        greatest: NDArray[np.float32] = by_prompt.max(axis=0)
        return greatest
    return _total(by_prompt) / np.float32(len(by_prompt))


def _total(by_prompt: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add the rows up one by one: numpy's order depends on how many images there are."""
    return reduce(np.add, by_prompt)


def _log_sum(by_prompt: NDArray[np.float32], scale: np.float32) -> NDArray[np.float32]:
    """Return the logarithm of the sum of exponentials of scaled cosines, free of overflow."""
    greatest = by_prompt.max(axis=0)
    shares = _total(np.exp((by_prompt - greatest) * scale))
    logarithm: NDArray[np.float32] = np.log(shares) + greatest * scale
    return logarithm


def _against_each_other(
    by_prompt: NDArray[np.float32], prompts: PromptVectors, rule: ScoreRule
) -> list[NDArray[np.float32]]:
    """Log-odds of each category among all: its own sum over that of all the others.

    The others are added up from both ends: the whole less the category's own would leave nothing
    but rounding where one category has nearly all.
    """
    scale = np.float32(rule.constants[0])
    sums = [_log_sum(by_prompt[own], scale) for own, _ in prompts.columns]
    before, after = ([*accumulate(some, np.logaddexp)] for some in (sums[:-1], sums[:0:-1]))
    others = [
        after[-1],
        *map(np.logaddexp, before[:-1], after[-2::-1]),
        before[-1],
    ]
    return [own - other for own, other in zip(sums, others, strict=True)]
