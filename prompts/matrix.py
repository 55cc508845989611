"""A prompt set as a matrix: text vectors to the rows of its sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clipcal.prompts.promptset import Category, PromptSet
from clipcal.prompts.vectors import TextVectors, Vectors, normalised


class Columns(NamedTuple):
    """Where the similarities with one category's sentences stand."""

    prompts: slice
    against: slice


@dataclass(frozen=True, slots=True, eq=False)
class PromptVectors:
    """A prompt set as a matrix.

    Attributes
    ----------
    prompt_set : PromptSet
        The set.
    matrix : numpy.ndarray
        float32 (p, dim), rows L2-normalised: one per sentence of each category, which is the
        mean over the templates.
    columns : tuple of Columns
        For each category the slices of its prompts and of its contrasts among the p columns of
        ``embeddings @ matrix.T``.
    model : str or None
        The model of the text vectors, as their file says.
    """

    prompt_set: PromptSet
    matrix: Vectors
    columns: tuple[Columns, ...]
    model: str | None = None


def build(prompt_set: PromptSet, vectors: TextVectors) -> PromptVectors:
    r"""Average the templates of every sentence into one vector.

    For the templates :math:`T` and the normalised text vectors :math:`t`, the row of a sentence
    :math:`s` is :math:`\sum_{T} t(T(s))`, normalised: the prompt ensembling of Radford et al.,
    "Learning Transferable Visual Models From Natural Language Supervision" (2021), section 3.1.4.

    Parameters
    ----------
    prompt_set : PromptSet
        The set.
    vectors : TextVectors
        At least the set's sentences, expanded by its templates.

    Returns
    -------
    PromptVectors
        Matrix and columns.

    Raises
    ------
    PromptError
        If a sentence has no vector, or the templates of one cancel out.
    """
    vectors.require(prompt_set.sentences, prompt_set=prompt_set.name)
    sentences = [s for c in prompt_set.categories for s in (*c.prompts, *c.against)]
    sums = [sum(map(vectors.of, prompt_set.expand(sentence))) for sentence in sentences]
    columns = tuple(_columns(prompt_set.categories))
    return PromptVectors(prompt_set, normalised(np.array(sums)), columns, vectors.model)


def _columns(categories: Sequence[Category]) -> Iterator[Columns]:
    start = 0
    for category in categories:
        middle = start + len(category.prompts)
        end = middle + len(category.against)
        yield Columns(slice(start, middle), slice(middle, end))
        start = end
