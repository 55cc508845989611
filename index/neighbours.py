"""Nearest neighbours: an index beside the corpus, derived from it and never ahead of it.

The exact kind, flat, is a card without a file: the shards are searched as they lie. The others are
of FAISS and hold one entry per row of the shards, in their order, so that ids are row numbers and
growing means adding the rows behind those there are. What was removed stays inside and is left
out of what is found. Scores are computed again from the stored embeddings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from clipcal.errors import FingerprintMismatch, StoreError
from clipcal.files import replacing
from clipcal.index.exact import Mask, Queries, exact_rows, faiss_module, selector
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

Kind = Literal["flat", "ivf", "hnsw"]
Find = Callable[[int, Mask | None], Rows]  # how many, which may be found → (q, k) rows

INDEX = "index.faiss"
CARD = "index.json"
EXACT_UP_TO = 1_000_000
RECALL_SOUGHT = 0.95
GROWTH_BEFORE_RETRAINING = 4
HNSW_LINKS = 32
SAMPLE_QUERIES = 200
SPARE = 16  # rows found beyond those asked for: some may be removed, or out of order by rounding


class IndexCard(BaseModel):
    """What is known of an index, as written to ``index.json`` beside it.

    Attributes
    ----------
    kind : {"flat", "ivf", "hnsw"}
        Exact and without a file, inverted lists, or a navigable graph.
    fingerprint : str
        Of the model whose embeddings it holds.
    rows : int
        How many rows of the shards it holds, from the first.
    chain : str
        What those rows are (:meth:`Corpus.chain`).
    trained_rows : int
        How many rows there were when its lists were laid out.
    search_width : int
        Lists probed (ivf) or candidates kept (hnsw); 0 for flat.
    recall_at_10 : float
        Share of the true ten nearest found, measured against exact search.
    measured_queries : int
        With how many of the corpus's own embeddings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    fingerprint: str
    dim: int
    rows: int
    chain: str
    trained_rows: int
    search_width: int
    recall_at_10: float
    measured_queries: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One image found.

    Attributes
    ----------
    uri : str
        The image.
    score : float
        Cosine between the query and its embedding.
    row : int
        Row of its embedding.
    """

    uri: str
    score: float
    row: int


def refresh_index(corpus: Corpus, *, kind: Kind | None = None, rebuild: bool = False) -> IndexCard:
    """Bring the index up to the corpus: add what is new, or build it where that is not enough.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    kind : {"flat", "ivf", "hnsw"}, optional
        The kind wanted. By default the kind there is, flat while the corpus is small
        (up to 1,000,000 embeddings), ivf beyond.
    rebuild : bool
        Build it anew even where it could be extended.

    Returns
    -------
    IndexCard
        What the index is now, with its measured recall.

    Raises
    ------
    StoreError
        If the corpus holds no embeddings.
    CorpusBusy
        If the index must change and another process is writing to the corpus.
    """
    card = _usable_card(corpus)
    if not rebuild and card is not None and _serves(card, corpus.rows, kind):
        return card
    with corpus.writing():
        rows = corpus.rows
        if rows == 0:
            raise StoreError(
                f"The corpus {corpus.path} holds no embeddings to index. Embed some images: "
                f"clipcal embed photos/ --corpus {corpus.path}"
            )
        wanted = kind or _kind_for(rows, card)
        if rebuild or card is None or card.kind != wanted or _outgrown(card, rows):
            return _build(corpus, wanted, rows)
        return _extend(corpus, card, rows)


def read_card(corpus: Corpus) -> IndexCard | None:
    """Read the card of the index; None where there is no index.

    Raises
    ------
    StoreError
        If the card is damaged.
    FingerprintMismatch
        If the index holds another model's embeddings.
    """
    path = corpus.path / CARD
    if not path.is_file():
        return None
    try:
        card = IndexCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is damaged. Build the index again: clipcal index") from error
    if card.fingerprint != corpus.model.fingerprint:
        raise FingerprintMismatch(
            f"The index in {corpus.path} holds embeddings of another model "
            f"({card.fingerprint[:12]}, the corpus {corpus.model.fingerprint[:12]}). "
            f"Build it again: clipcal index --corpus {corpus.path}"
        )
    return card if card.kind == "flat" or (corpus.path / INDEX).is_file() else None


def search(
    corpus: Corpus,
    queries: Queries,
    k: int,
    *,
    leave_out: Sequence[int] = (),
    stale: bool = False,
) -> list[list[Neighbour]]:
    """Find the images nearest to each query.

    Parameters
    ----------
    corpus : Corpus
        A corpus whose index is up to date (:func:`refresh_index`).
    queries : Queries
        float32 (q, dim), rows L2-normalised.
    k : int
        How many images to find for each query.
    leave_out : sequence of int
        Rows that must not be found.
    stale : bool
        Whether an index that lacks the newest images will do, because it cannot be refreshed now.

    Returns
    -------
    list of list of Neighbour
        For each query its neighbours, best first; copies of one image share a score.

    Raises
    ------
    StoreError
        If there is no index or it is older than the corpus.
    FingerprintMismatch
        If the index holds another model's embeddings.
    """
    card = read_card(corpus)
    if card is None or not _covers(card, corpus, stale=stale):
        raise StoreError(
            f"The index of {corpus.path} is {'missing' if card is None else 'out of date'}. "
            f"Refresh it: clipcal index --corpus {corpus.path}"
        )
    allowed = np.ones(card.rows, np.bool_)
    allowed[[row for row in leave_out if row < card.rows]] = False
    find = _finder(corpus, card, np.ascontiguousarray(queries, np.float32))
    found = _images(corpus, queries, find(k, None if allowed.all() else allowed), k)
    if min(map(len, found), default=k) < min(k, card.rows):  # removed images were in the way
        live = np.zeros(corpus.rows, np.bool_)
        live[corpus.live_rows()] = True
        found = _images(corpus, queries, find(k, allowed & live[: card.rows]), k)
    return found


def _images(corpus: Corpus, queries: Queries, found: Rows, k: int) -> list[list[Neighbour]]:
    return [_neighbours(corpus, query, rows, k) for query, rows in zip(queries, found, strict=True)]


def _neighbours(corpus: Corpus, query: NDArray[np.float32], rows: Rows, k: int) -> list[Neighbour]:
    """The images in `rows` with their exact scores, best first."""
    rows = rows[rows >= 0]
    scores = corpus.shards.take(rows).astype(np.float64) @ query.astype(np.float64)
    order = np.lexsort((rows, -scores))
    images = (
        Neighbour(uri, min(float(scores[i]), 1.0), int(rows[i]))
        for i in order
        for uri in corpus.uris_at(int(rows[i]))
    )
    return [image for image, _ in zip(images, range(k), strict=False)]


def _finder(corpus: Corpus, card: IndexCard, queries: Queries) -> Find:
    """Make ready what finds rows: -1 where an approximate index found fewer than asked for."""
    if card.kind == "flat":
        return lambda k, allowed: exact_rows(
            corpus, queries, min(k + SPARE, card.rows), card.rows, allowed=allowed
        )
    index = _read(corpus.path / INDEX, mapped=True)

    def find(k: int, allowed: Mask | None) -> Rows:
        most = min(k + SPARE, card.rows)
        chosen = _parameters(index, card, most, allowed)
        return np.asarray(index.search(queries, most, params=chosen)[1], np.int64)

    return find


def _parameters(index: Any, card: IndexCard, k: int, allowed: Mask | None) -> Any:
    """How wide to search, and among which rows; wide enough for `k` of them to lie there."""
    chosen = None if allowed is None else selector(allowed)
    if card.kind == "ivf":
        there = card.rows if allowed is None else int(allowed.sum())
        lists = min(4 * k * index.nlist // max(1, there), index.nlist)
        return faiss_module().SearchParametersIVF(sel=chosen, nprobe=max(card.search_width, lists))
    return faiss_module().SearchParametersHNSW(sel=chosen, efSearch=max(card.search_width, k))


def _usable_card(corpus: Corpus) -> IndexCard | None:
    """The card of an index that can be extended; None where it must be built."""
    try:
        card = read_card(corpus)
    except (StoreError, FingerprintMismatch):
        return None
    return card if card is not None and _covers(card, corpus, stale=True) else None


def _covers(card: IndexCard, corpus: Corpus, *, stale: bool) -> bool:
    """Whether the index holds the corpus's rows: all of them, or the first ones if `stale`."""
    same = corpus.chain(card.rows) == card.chain
    return same and (stale or card.rows == corpus.rows)


def _serves(card: IndexCard, rows: int, kind: Kind | None) -> bool:
    """Whether the index can be used as it is."""
    return card.rows == rows and card.kind == (kind or _kind_for(rows, card))


def _kind_for(rows: int, card: IndexCard | None) -> Kind:
    if card is not None and card.kind != "flat":
        return card.kind
    return "flat" if rows <= EXACT_UP_TO else "ivf"


def _outgrown(card: IndexCard, rows: int) -> bool:
    return card.kind == "ivf" and rows > GROWTH_BEFORE_RETRAINING * card.trained_rows


def _build(corpus: Corpus, kind: Kind, rows: int) -> IndexCard:
    index = None if kind == "flat" else _new_index(corpus, kind, rows)
    _add_rows(corpus, index, 0, rows)
    return _measure_and_write(corpus, index, kind, rows, trained_rows=rows)


def _extend(corpus: Corpus, card: IndexCard, rows: int) -> IndexCard:
    index = None if card.kind == "flat" else _read(corpus.path / INDEX)
    if index is not None and index.ntotal != card.rows:  # killed between writing the two files
        return _build(corpus, card.kind, rows)
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
        width = min(width + width // 2, widest)


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


def _read(path: Path, *, mapped: bool = False) -> Any:
    """Read an index; one that is only searched stays on disk as far as FAISS can map it."""
    faiss = faiss_module()
    flags = faiss.IO_FLAG_MMAP if mapped and os.name == "posix" else 0
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise StoreError(
            f"{path} is damaged and FAISS cannot read it. Build it again: clipcal index --rebuild"
        ) from error


def _write(folder: Path, index: Any, card: IndexCard) -> None:
    """Replace index and card; the card goes last, so it never speaks of rows that are missing."""
    (folder / CARD).unlink(missing_ok=True)
    if index is None:
        (folder / INDEX).unlink(missing_ok=True)
    else:
        with replacing(folder / INDEX) as part:
            faiss_module().write_index(index, str(part))
    with replacing(folder / CARD) as part:
        part.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
