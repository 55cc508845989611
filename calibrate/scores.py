"""From similarities to category scores, and from scores to decisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipcal.errors import CalibrationError

if TYPE_CHECKING:
    from clipcal.prompts.encode import PromptVectors

Scores = NDArray[np.float32]  # (n images, c categories)
Flags = NDArray[np.bool_]  # shape of the scores

_ROWS_AT_ONCE = 1000


def category_scores(similarities: NDArray[np.float32], prompts: PromptVectors) -> Scores:
    r"""Reduce the similarities with every prompt to one score per category.

    The score of an image :math:`x` is the margin
    :math:`\mathrm{pool}_{p \in P}\, x \cdot t_p - \mathrm{pool}_{q \in N}\, x \cdot t_q` of the
    category's prompts :math:`P` over its own neutral contrasts :math:`N`, or the first term
    alone where it has none; pool is the maximum or the mean. No category's score depends on
    another category's prompts.

    Parameters
    ----------
    similarities : Float32[(n, p)]
        Cosines of n images with the p prompts of ``prompts.matrix``.
    prompts : PromptVectors
        Which columns belong to which category.

    Returns
    -------
    Float32[(n, c)]
        Scores, in the order of the prompt set's categories.

    Raises
    ------
    CalibrationError
        If the columns are not the prompts, or a similarity is NaN.
    """
    if similarities.ndim != 2 or similarities.shape[1] != prompts.matrix.shape[0]:
        raise CalibrationError(
            f"The similarities have shape {similarities.shape}, but the prompt set has "
            f"{prompts.matrix.shape[0]} prompts. Score the corpus again: clipcal score"
        )
    categories = prompts.prompt_set.categories
    scores = np.empty((len(similarities), len(categories)), np.float32)
    for column, (category, (own, against)) in enumerate(
        zip(categories, prompts.columns, strict=True)
    ):
        scores[:, column] = _pool(similarities[:, own], category.pool)
        if category.against:
            scores[:, column] -= _pool(similarities[:, against], category.pool)
    refuse_nan(scores)
    return scores


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
    whole = len(scores) - len(scores) % _ROWS_AT_ONCE
    for rows, repeats in ((slice(whole), _ROWS_AT_ONCE), (slice(whole, None), 1)):
        shape = (-1, repeats * limits.size)
        yield scores[rows].reshape(shape), np.tile(limits, repeats), flags[rows].reshape(shape)


def _pool(similarities: NDArray[np.float32], pool: str) -> NDArray[np.float32]:
    """Reduce columns to one; column by column, since a row has only a few of them."""
    pooled = similarities[:, 0].copy()
    for column in range(1, similarities.shape[1]):
        if pool == "max":
            np.maximum(pooled, similarities[:, column], out=pooled)
        else:
            pooled += similarities[:, column]
    if pool == "mean":
        pooled /= similarities.shape[1]
    return pooled
