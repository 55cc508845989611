"""A small corpus of made-up vectors, between whose likes labels are carried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import DIM, IDENTITY

from clipcal.index.store import Corpus, Outcome

CATEGORIES = ("gore", "Sexual Content")
LEVELS = ("none", "minor", "major")
NAMES = ("a/1.png", "b/1.png", "1.png", "b/2 .png ", 'ü/3,"x".png', "b/c/4.png")


def corpus_of(path: Path, uris: Sequence[str], rows: Sequence[int]) -> Corpus:
    """Embed images of the contents 0, 1, 2 …; equal numbers are copies."""
    corpus = Corpus.create(path, IDENTITY)
    contents = [f"{row:064x}" for row in range(max(rows) + 1)]
    vectors = np.random.default_rng(0).normal(size=(len(contents), DIM)).astype(np.float16)
    outcomes = [Outcome(uri, contents[row], row=row) for uri, row in zip(uris, rows, strict=True)]
    corpus.commit(outcomes, vectors, contents)
    return corpus


def filled(path: Path, folder: str = "/photos", names: Sequence[str] = NAMES) -> Corpus:
    """Every item of another content; the same names lie in another folder."""
    return corpus_of(path, [f"{folder}/{name}" for name in names], range(len(names)))
