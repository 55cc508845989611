"""Which items are embedded, and in which rows: kept beside the corpus as an array.

Reading a million items takes SQLite half a second, which is most of what scores from their cache
take. Every change to the items leaves a new mark in the database, and the file's name says under
which mark it was written. Whoever keeps scores keeps the array too; who only reads writes nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from clipcal.files import replacing
from clipcal.index.reading import Reading
from clipcal.index.shards import Rows

WORTH_KEEPING = 10_000  # items; fewer are read from the database as fast


def roster(corpus: Reading, *, keep: bool = False) -> tuple[Rows, Rows]:
    """Ids and rows of the embedded items, as :meth:`Reading.embedded` tells them.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    keep : bool
        Whether what was read may be kept beside the corpus for the next time.

    Returns
    -------
    tuple of numpy.ndarray
        int64 (n,) each: ids, ascending, and the rows that they point to.
    """
    mark = corpus.mark()
    kept = _load(_file(corpus, mark)) if mark else None
    if kept is not None:
        return kept
    ids, rows = corpus.embedded()
    # Another process may have written meanwhile: then what was read may be of either state.
    if keep and mark and len(ids) >= WORTH_KEEPING and corpus.mark() == mark:
        with contextlib.suppress(OSError):  # a corpus that can only be read keeps nothing
            _save(corpus, mark, ids, rows)
    return ids, rows


def _file(corpus: Reading, mark: str) -> Path:
    return corpus.path / f"roster-{mark}.npy"


def _load(file: Path) -> tuple[Rows, Rows] | None:
    try:
        kept = np.load(file)
    except (OSError, ValueError, EOFError):  # none, or cut short: it is made again
        return None
    fits = kept.dtype == np.int64 and kept.ndim == 2 and len(kept) == 2
    return (kept[0], kept[1]) if fits else None


def _save(corpus: Reading, mark: str, ids: Rows, rows: Rows) -> None:
    target = _file(corpus, mark)
    with replacing(target) as part, part.open("wb") as stream:
        np.save(stream, np.stack([ids, rows]))
    for old in corpus.path.glob("roster-*.npy"):
        if old != target:
            with contextlib.suppress(OSError):  # another process may just have removed it
                old.unlink()
