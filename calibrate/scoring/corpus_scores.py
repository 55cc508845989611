"""Scores of a whole corpus: exact products with the stored embeddings, cached beside them.

What is cached is the raw similarity of every row with every prompt. It depends on embeddings and
prompts alone, so a new threshold, target or label file touches no embedding, and new images only
add rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scoring.rules import MARGIN, ScoreRule
from clipcal.calibrate.scoring.scores import category_scores
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


def score_corpus(corpus: Corpus, prompts: PromptVectors, rule: ScoreRule = MARGIN) -> CorpusScores:
    """Score every embedded image in every category of a prompt set.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        Its prompt set's text vectors, of the corpus's model.
    rule : ScoreRule
        How similarities become scores.

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
    items = corpus.items("embedded")
    if not items:
        raise StoreError(
            f"The corpus {corpus.path} holds no embeddings to score. Next: "
            f"clipcal embed photos/ --corpus {corpus.path}"
        )
    by_row = category_scores(similarities(corpus, prompts), prompts, rule)
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
    key, rows = _cache_key(corpus, prompts), corpus.rows
    folder = corpus.path / "scores"
    cached = _load(corpus, folder, key, prompts.matrix.shape[0])
    if len(cached) == rows:
        return cached
    complete = np.empty((rows, prompts.matrix.shape[0]), np.float32)
    complete[: len(cached)] = cached
    for start, block in corpus.shards.blocks(rows, start=len(cached)):
        np.matmul(
            block.astype(np.float32), prompts.matrix.T, out=complete[start : start + len(block)]
        )
    with contextlib.suppress(OSError):  # a corpus that can only be read is not cached
        _save(folder, key, corpus.chain(rows), complete)
    return complete


def _cache_key(corpus: Corpus, prompts: PromptVectors) -> str:
    matrix = np.ascontiguousarray(prompts.matrix, np.float32)
    digest = hashlib.sha256(corpus.model.fingerprint.encode() + matrix.tobytes())
    return digest.hexdigest()[:24]


def _load(corpus: Corpus, folder: Path, key: str, prompts: int) -> Similarities:
    """The cached rows; none where no cache is of these rows, or it is damaged and made again."""
    for file in folder.glob(f"{key}-*.npy"):
        try:
            cached: Similarities = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            continue
        fits = cached.dtype == np.float32 and cached.ndim == 2 and cached.shape[1] == prompts
        if fits and file.name == _name(key, corpus.chain(len(cached))):
            with contextlib.suppress(OSError):
                os.utime(file)  # the caches used longest ago are the first to go
            return cached
    return np.empty((0, prompts), np.float32)


def _name(key: str, chain: str) -> str:
    """A cache's file name, which says which rows it covers."""
    return f"{key}-{chain[:24]}.npy"


def _save(folder: Path, key: str, chain: str, complete: Similarities) -> None:
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
