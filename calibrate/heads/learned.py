"""Scores learned from labels, offered where they beat the prompts' own out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.heads.head import Head, HeadComparison
from clipcal.calibrate.heads.offer import offer_head
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.errors import CalibrationError
from clipcal.prompts.matrix import PromptVectors


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What came of learning.

    Attributes
    ----------
    heads : dict of str to Head
        Those that were better, by category.
    comparisons : dict of str to HeadComparison
        By category, where there were enough labels to compare.
    rest : Bool[(n,)]
        The labelled images that were not looked at: thresholds are fitted to them.
    """

    heads: dict[str, Head]
    comparisons: dict[str, HeadComparison]
    rest: NDArray[np.bool_]


def learn(
    sample: Sample,
    embeddings: NDArray[np.float32],
    prompts: PromptVectors,
    categories: Sequence[str],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> Learned:
    """Learn from one half of the labels, and leave the other half for thresholds.

    A guarantee speaks only where the score was not fitted to the labels that certify its
    threshold; so the choice between plain and learned score is made on the learning half as
    well. It then speaks of the images that nothing was learned from.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    embeddings : Float32[(n, dim)]
        Theirs.
    prompts : PromptVectors
        The prompt set's text vectors; what is learned starts from their direction.
    categories : sequence of str
        Names of the columns.
    seed : int
        Of the division and of cross-validation.
    confidence : float
        With which the gain must be above nothing.

    Returns
    -------
    Learned
        Heads, comparisons, and which images are left.

    Raises
    ------
    CalibrationError
        If there are too few labelled images to divide.
    """
    if len(sample) < 2:
        raise CalibrationError(
            "To learn takes one half of the labelled images, and to fit thresholds the other; "
            "there are fewer than two. Label some: clipcal suggest -n 100, or leave out --learn"
        )
    # Drawn one by one: only so are the rest a random sample, which a guarantee needs.
    rest = np.zeros(len(sample), np.bool_)
    rest[np.random.default_rng(seed).permutation(len(sample))[: len(sample) // 2]] = True
    heads: dict[str, Head] = {}
    comparisons: dict[str, HeadComparison] = {}
    for column, category in enumerate(categories):
        used = ~rest & (sample.values[:, column] != UNKNOWN)
        # Hundreds of small fits: threads cost more than they give.
        with threadpool_limits(1, "blas"):
            compared, head = offer_head(
                embeddings[used],
                sample.values[used, column] > 0,
                direction(prompts, column),
                sample.scores[used, column],
                sample.clusters[used],
                seed,
                confidence,
            )
        if compared is not None:
            comparisons[category] = compared
        if head is not None:
            heads[category] = head
    return Learned(heads, comparisons, rest)


def direction(prompts: PromptVectors, column: int) -> NDArray[np.float32]:
    """Return the mean text vector of a category's prompts, less that of its contrasts, (dim,)."""
    own, against = prompts.columns[column]
    towards = prompts.matrix[own].mean(axis=0)
    if prompts.prompt_set.categories[column].against:
        towards = towards - prompts.matrix[against].mean(axis=0)
    return np.asarray(towards, np.float32)
