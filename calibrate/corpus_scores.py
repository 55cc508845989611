"""Scores of a whole corpus: exact products with the stored embeddings, cached beside them.

What is cached is the raw similarity of every row with every prompt. It depends on embeddings and
prompts alone, so a new threshold, target or label file touches no embedding, and new images only
add rows.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scores import category_scores
from clipcal.errors import StoreError
from clipcal.files import replacing
from clipcal.index.store import Corpus
from clipcal.prompts.encode import PromptVectors

Similarities = NDArray[np.float32]  # (rows, prompts), cosines
KEPT_CACHES = 8


@dataclass(frozen=True, slots=True)
class CorpusScores:
    """The scores of every embedded image.

    Attributes
    ----------
    uris : tuple of str
        The images, in the order in which the corpus first saw them.
    sha256s : tuple of str
        Their contents' hashes; empty strings where vectors were imported.
    rows : numpy.ndarray
        int64 (n,), their embeddings' rows; copies share one.
    categories : tuple of str
        The columns.
    scores : numpy.ndarray
        float32 (n, c).
    """

    uris: tuple[str, ...]
    sha256s: tuple[str, ...]
    rows: NDArray[np.int64]
    categories: tuple[str, ...]
    scores: NDArray[np.float32]

    def column(self, category: str) -> NDArray[np.float32]:
        """The scores (n,) of one category."""
        return self.scores[:, self.categories.index(category)]


def score_corpus(corpus: Corpus, prompts: PromptVectors) -> CorpusScores:
    """Score every embedded image in every category of a prompt set.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        Its prompt set's text vectors, of the corpus's model.

    Returns
    -------
    CorpusScores
        One row per image.

    Raises
    ------
    StoreError
        If the corpus holds no embedding.
    """
    items = corpus.items("embedded")
    if not items:
        raise StoreError(
            f"The corpus {corpus.path} holds no embeddings to score. Next: "
            f"clipcal embed photos/ --corpus {corpus.path}"
        )
    by_row = category_scores(similarities(corpus, prompts), prompts)
    rows = np.array([item.row for item in items], np.int64)
    return CorpusScores(
        uris=tuple(item.uri for item in items),
        sha256s=tuple(item.sha256 or "" for item in items),
        rows=rows,
        categories=tuple(category.name for category in prompts.prompt_set.categories),
        scores=by_row[rows],
    )


def similarities(corpus: Corpus, prompts: PromptVectors) -> Similarities:
    """Cosines of every row of the corpus with every prompt, from the cache as far as it reaches.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        Text vectors; float32 (p, dim) in ``matrix``.

    Returns
    -------
    Similarities
        float32 (rows, p), in the order of the shards' rows.
    """
    file = corpus.path / "scores" / f"{_cache_key(corpus, prompts)}.npy"
    cached = _load(file, prompts.matrix.shape[0])
    rows = corpus.rows
    if len(cached) >= rows:
        return cached[:rows]
    complete = np.empty((rows, prompts.matrix.shape[0]), np.float32)
    complete[: len(cached)] = cached
    for start, block in corpus.shards.blocks(rows, start=len(cached)):
        np.matmul(
            block.astype(np.float32), prompts.matrix.T, out=complete[start : start + len(block)]
        )
    _save(file, complete)
    return complete


def _cache_key(corpus: Corpus, prompts: PromptVectors) -> str:
    matrix = np.ascontiguousarray(prompts.matrix, np.float32)
    digest = hashlib.sha256(corpus.model.fingerprint.encode() + matrix.tobytes())
    return digest.hexdigest()[:24]


def _load(file: Path, prompts: int) -> Similarities:
    """The cached rows; none where there is no cache or it is damaged, for it can be made again."""
    try:
        cached: Similarities = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return np.empty((0, prompts), np.float32)
    if cached.dtype != np.float32 or cached.ndim != 2 or cached.shape[1] != prompts:
        return np.empty((0, prompts), np.float32)
    os.utime(file)  # the caches used longest ago are the first to go
    return cached


def _save(file: Path, complete: Similarities) -> None:
    """Put the cache in its place whole, and let go of caches that are long out of use."""
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as part, part.open("wb") as stream:
        np.save(stream, complete)
    caches = sorted(file.parent.glob("*.npy"), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in caches[KEPT_CACHES:]:
        old.unlink(missing_ok=True)
