"""Making an index of FAISS from the rows of a corpus, and measuring how much it finds.

The exact kind, flat, is no more than a card.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from clipcal.errors import StoreError
from clipcal.files import replacing
from clipcal.index.card import CARD, INDEX, IndexCard, Kind
from clipcal.index.exact import Queries, exact_rows, faiss_module
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

# Of rows of the corpus's own. Strange queries find a little less, and are to find 0.95.
RECALL_SOUGHT = 0.965
HNSW_LINKS = 32
SAMPLE_QUERIES = 200


def build(corpus: Corpus, kind: Kind, rows: int) -> IndexCard:
    """Make an index of the first `rows` embeddings, in place of the one there is.

    Parameters
    ----------
    corpus : Corpus
        Held for writing.
    kind : {"flat", "ivf", "hnsw"}
        Of which kind.
    rows : int
        How many, at least 1.

    Returns
    -------
    IndexCard
        As written beside the corpus.
    """
    index = None if kind == "flat" else _new_index(corpus, kind, rows)
    _add_rows(corpus, index, 0, rows)
    return _measure_and_write(corpus, index, kind, rows, trained_rows=rows)


def extend(corpus: Corpus, card: IndexCard, rows: int) -> IndexCard:
    """Add to the index what it lacks of the first `rows` embeddings.

    Parameters
    ----------
    corpus : Corpus
        Held for writing.
    card : IndexCard
        What the index is; it holds the corpus's first rows.
    rows : int
        How many it shall hold.

    Returns
    -------
    IndexCard
        As written beside the corpus.

    Raises
    ------
    StoreError
        If the index is damaged.
    """
    index = None if card.kind == "flat" else read_index(corpus.path / INDEX)
    if index is not None and index.ntotal != card.rows:  # killed between writing the two files
        return build(corpus, card.kind, rows)
    _add_rows(corpus, index, card.rows, rows)
    return _measure_and_write(corpus, index, card.kind, rows, trained_rows=card.trained_rows)


def _new_index(corpus: Corpus, kind: Kind, rows: int) -> Any:
    faiss, dim = faiss_module(), corpus.model.dim
    if kind == "hnsw":
        return faiss.index_factory(dim, f"HNSW{HNSW_LINKS}_SQfp16", faiss.METRIC_INNER_PRODUCT)
    lists = max(1, min(int(2 * math.sqrt(rows)), rows // 39))  # FAISS asks for 39 a list
    index = faiss.index_factory(dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10  # more moves the centres by little
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, size=min(rows, 64 * lists), replace=False))
    index.train(corpus.shards.take(sample).astype(np.float32))
    return index


def _add_rows(corpus: Corpus, index: Any, start: int, stop: int) -> None:
    for _, block in corpus.shards.blocks(stop, start=start) if index is not None else ():
        index.add(block.astype(np.float32))


def _measure_and_write(
    corpus: Corpus, index: Any, kind: Kind, rows: int, *, trained_rows: int
) -> IndexCard:
    width, recall, queries = _tune(corpus, index, kind, rows)
    card = IndexCard(
        kind=kind,
        fingerprint=corpus.model.fingerprint,
        dim=corpus.model.dim,
        rows=rows,
        chain=corpus.chain(rows),
        trained_rows=trained_rows,
        search_width=width,
        recall_at_10=recall,
        measured_queries=queries,
    )
    _write(corpus.path, index, card)
    return card


def _tune(corpus: Corpus, index: Any, kind: Kind, rows: int) -> tuple[int, float, int]:
    """Widen the search until it finds enough of the true neighbours: width, recall, queries."""
    if kind == "flat":
        return 0, 1.0, 0
    live = corpus.live_rows()
    rng = np.random.default_rng(0)
    sample = rng.choice(live, size=min(len(live), SAMPLE_QUERIES), replace=False)
    queries = corpus.shards.take(sample).astype(np.float32)
    truth = exact_rows(corpus, queries, min(11, rows), rows)
    widest = index.nlist if kind == "ivf" else max(rows, 11)
    width = min(4 if kind == "ivf" else 16, widest)
    while True:
        recall = _recall(index, kind, width, queries, truth, sample)
        if recall >= RECALL_SOUGHT or width >= widest:
            return width, recall, len(queries)
        width = min(width + max(1, width // 4), widest)


def _recall(index: Any, kind: Kind, width: int, queries: Queries, truth: Rows, own: Rows) -> float:
    """Share of the true neighbours found; that a query finds its `own` row does not count."""
    if kind == "ivf":
        index.nprobe = width
    else:
        index.hnsw.efSearch = width
    _, found = index.search(queries, truth.shape[1])
    hits = wanted = 0
    for found_rows, true_rows, row in zip(found, truth, own, strict=True):
        others = np.setdiff1d(true_rows, row)
        hits += len(np.intersect1d(found_rows, others))
        wanted += len(others)
    return hits / max(1, wanted)


def read_index(path: Path, *, mapped: bool = False) -> Any:
    """Read an index.

    Parameters
    ----------
    path : pathlib.Path
        Its file.
    mapped : bool
        Whether it is only searched: it stays on disk then, as far as FAISS can map it.

    Returns
    -------
    faiss.Index
        One entry per row.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    faiss = faiss_module()
    flags = faiss.IO_FLAG_MMAP if mapped and os.name == "posix" else 0
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise StoreError(
            f"{path} is damaged and FAISS cannot read it. Build it again: clipcal index --rebuild"
        ) from error


def _write(folder: Path, index: Any, card: IndexCard) -> None:
    """Replace index and card; a card never speaks of a file that is missing or another's.

    A flat card needs no file: it takes the old one's place at once, so that others go on searching.
    """
    if index is not None:
        (folder / CARD).unlink(missing_ok=True)
        with replacing(folder / INDEX) as part:
            faiss_module().write_index(index, str(part))
    with replacing(folder / CARD) as part:
        part.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if index is None:
        (folder / INDEX).unlink(missing_ok=True)
