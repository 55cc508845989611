"""Scores of a whole corpus: exact products with the stored embeddings, cached beside them.

Similarities become scores block by block, while they lie in the processor's cache, and only
scores are kept: those of a prompt set under a rule. They depend on embeddings, prompts and rule
alone, so a new threshold, target or label file touches no embedding, and new images only add
rows. Similarities are an array some times larger, and are sooner made again than read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scoring.rules import MARGIN, ScoreRule
from clipcal.calibrate.scoring.scores import Scores, category_scores, check_rule
from clipcal.errors import StoreError
from clipcal.files import replacing
from clipcal.index.roster import roster
from clipcal.index.shards import Embeddings
from clipcal.index.store import Corpus
from clipcal.index.texts import ItemTexts
from clipcal.models.products import Products
from clipcal.prompts.matrix import PromptVectors

Similarities = NDArray[np.float32]  # (rows, prompts), cosines
KEPT_CACHES = 8


@dataclass(frozen=True, slots=True)
class CorpusScores:
    """The scores of every embedded image.

    Attributes
    ----------
    uris : sequence of str
        The images, in the order in which the corpus first saw them; read from the corpus when
        they are asked for.
    sha256s : sequence of str
        Their contents' hashes; empty strings where vectors were imported.
    rows : numpy.ndarray
        int64 (n,), their embeddings' rows; copies share one.
    categories : tuple of str
        The columns.
    scores : numpy.ndarray
        float32 (n, c).
    """

    uris: Sequence[str]
    sha256s: Sequence[str]
    rows: NDArray[np.int64]
    categories: tuple[str, ...]
    scores: NDArray[np.float32]

    def column(self, category: str) -> NDArray[np.float32]:
        """The scores (n,) of one category."""
        return self.scores[:, self.categories.index(category)]


def score_corpus(
    corpus: Corpus, prompts: PromptVectors, rule: ScoreRule = MARGIN, *, keep: bool = True
) -> CorpusScores:
    """Score every embedded image in every category of a prompt set.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        Its prompt set's text vectors, of the corpus's model.
    rule : ScoreRule
        How similarities become scores.
    keep : bool
        Whether scores are kept beside the corpus; else nothing is written there, and those that
        are kept are read only.

    Returns
    -------
    CorpusScores
        One row per image.

    Raises
    ------
    StoreError
        If the corpus holds no embedding.
    CalibrationError, PromptError
        If the rule lacks a constant, or the prompt set what the rule needs.
    """
    ids, rows = roster(corpus, keep=keep)
    if len(ids) == 0:
        raise StoreError(
            f"The corpus {corpus.path} holds no embeddings to score. Next: "
            f"clipcal embed photos/ --corpus {corpus.path}"
        )
    by_row = _scores_by_row(corpus, prompts, rule, keep=keep)
    one_each = np.array_equal(rows, np.arange(len(by_row)))
    return CorpusScores(
        uris=ItemTexts(corpus, "uri", ids),
        sha256s=ItemTexts(corpus, "sha256", ids, rows),
        rows=rows,
        categories=tuple(category.name for category in prompts.prompt_set.categories),
        scores=by_row if one_each else by_row[rows],
    )


def similarities(corpus: Corpus, prompts: PromptVectors, rows: NDArray[np.int64]) -> Similarities:
    """Cosines of some rows of the corpus with every prompt.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        Text vectors; float32 (p, dim) in ``matrix``.
    rows : numpy.ndarray
        int64 (n,), rows of embeddings.

    Returns
    -------
    Similarities
        float32 (n, p).
    """
    return Products(prompts.matrix)(corpus.shards.take(rows))


def _scores_by_row(
    corpus: Corpus, prompts: PromptVectors, rule: ScoreRule, *, keep: bool
) -> Scores:
    """Scores of every row of the shards, from the cache as far as it reaches."""
    check_rule(rule, prompts.prompt_set)
    key, rows = _cache_key(corpus, prompts, rule), corpus.rows
    folder = corpus.path / "scores"
    cached = _load(corpus, folder, key, len(prompts.columns), touch=keep)
    if len(cached) == rows:
        return cached
    complete = np.empty((rows, len(prompts.columns)), np.float32)
    complete[: len(cached)] = cached
    _score_rows(corpus, prompts, rule, complete, start=len(cached))
    if keep:
        with contextlib.suppress(OSError):  # a corpus that can only be read is not cached
            _save(folder, key, corpus.chain(rows), complete)
    return complete


def _score_rows(
    corpus: Corpus, prompts: PromptVectors, rule: ScoreRule, scores: Scores, *, start: int
) -> None:
    """Fill in the scores of the rows from `start` on, from each block's similarities at once."""
    products = Products(prompts.matrix)

    def score(first: int, block: Embeddings) -> None:
        scores[first : first + len(block)] = category_scores(products(block), prompts, rule)

    corpus.shards.each(score, len(scores), start=start)


def _cache_key(corpus: Corpus, prompts: PromptVectors, rule: ScoreRule) -> str:
    """Name all that decides a row's scores, apart from the row."""
    pools = [category.pool for category in prompts.prompt_set.categories]
    said = repr((corpus.model.fingerprint, str(rule), pools, prompts.columns))
    matrix = np.ascontiguousarray(prompts.matrix, np.float32)
    return hashlib.sha256(said.encode() + matrix.tobytes()).hexdigest()[:24]


def _load(corpus: Corpus, folder: Path, key: str, categories: int, *, touch: bool) -> Scores:
    """The cached rows; none where no cache is of these rows, or it is damaged and made again."""
    for file in folder.glob(f"{key}-*.npy"):
        try:
            cached: Scores = np.load(file)
        except (OSError, ValueError, EOFError):
            continue
        fits = cached.dtype == np.float32 and cached.ndim == 2 and cached.shape[1] == categories
        if fits and file.name == _name(key, corpus.chain(len(cached))):
            if touch:
                with contextlib.suppress(OSError):
                    os.utime(file)  # the caches used longest ago are the first to go
            return cached
    return np.empty((0, categories), np.float32)


def _name(key: str, chain: str) -> str:
    """A cache's file name, which says which rows it covers."""
    return f"{key}-{chain[:24]}.npy"


def _save(folder: Path, key: str, chain: str, complete: Scores) -> None:
    """Put the cache in its place whole, and let go of what it replaces or nobody uses."""
    folder.mkdir(exist_ok=True)
    target = folder / _name(key, chain)
    with replacing(target) as part, part.open("wb") as stream:
        np.save(stream, complete)
    caches = sorted(folder.glob("*.npy"), key=lambda f: f.stat().st_mtime, reverse=True)
    replaced = [file for file in caches if file.name.startswith(f"{key}-") and file != target]
    for old in {*replaced, *caches[KEPT_CACHES:]}:
        with contextlib.suppress(OSError):  # a system may refuse while it is mapped: next time
            old.unlink()
