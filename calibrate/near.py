"""Which labelled images are near copies of each other, kept beside the corpus once it is known."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.resampling import near_copies
from clipcal.files import replacing
from clipcal.index.store import Corpus

# Comparing every pair takes longer than all else from here on; exact copies are merged anyway.
MOST_COMPARED = 20_000
COSINE = 0.98

Rows = NDArray[np.int64]


def clusters_of(corpus: Corpus, rows: Rows, *, keep: bool = True) -> Rows:
    """Group near copies among some embeddings.

    Parameters
    ----------
    corpus : Corpus
        Holds the embeddings, which are read the first time only.
    rows : Int64[(n,)]
        Distinct rows.
    keep : bool
        Whether what is found is kept beside the corpus.

    Returns
    -------
    Int64[(n,)]
        The cluster of each; every row its own where there are more than 20,000.
    """
    if not 0 < len(rows) <= MOST_COMPARED:
        return np.arange(len(rows))
    told = f"{corpus.chain(corpus.rows)} {COSINE}".encode() + rows.tobytes()
    file = corpus.path / "scores" / f"near-{hashlib.sha256(told).hexdigest()[:24]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept: Rows = np.load(file)
        if kept.shape == rows.shape and kept.dtype == np.int64:
            return kept
    clusters = near_copies(corpus.shards.take(rows), COSINE).astype(np.int64)
    if keep:
        with contextlib.suppress(OSError):  # a corpus that can only be read is not cached
            _save(file, clusters)
    return clusters


def _save(file: Path, clusters: Rows) -> None:
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as part, part.open("wb") as stream:
        np.save(stream, clusters)
