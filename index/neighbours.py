"""Nearest neighbours: a FAISS index beside the corpus, derived from it and never ahead of it.

The index holds one entry per row of the shards, in their order, so that its ids are row numbers
and growing it means adding the rows behind those it has. What was removed stays inside and is
left out of every search. Scores are computed again from the stored embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from clipcal.errors import FingerprintMismatch, StoreError
from clipcal.files import replacing
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

Kind = Literal["flat", "ivf", "hnsw"]
Queries = NDArray[np.float32]  # (q, dim), rows L2-normalised

INDEX = "index.faiss"
CARD = "index.json"
EXACT_UP_TO = 200_000
RECALL_SOUGHT = 0.95
GROWTH_BEFORE_RETRAINING = 4
HNSW_LINKS = 32
SAMPLE_QUERIES = 200


class IndexCard(BaseModel):
    """What is known of an index, as written to ``index.json`` beside it.

    Attributes
    ----------
    kind : {"flat", "ivf", "hnsw"}
        Exact, inverted lists, or a navigable graph.
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
        (up to 200,000 embeddings), ivf beyond.
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
    if not path.is_file() or not (corpus.path / INDEX).is_file():
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
    return card


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
    live = np.setdiff1d(corpus.live_rows(), np.asarray(leave_out, np.int64))
    live = live[live < card.rows]
    index = _read(corpus.path / INDEX)
    found = _search_rows(index, card, queries, min(k, len(live)), live)
    return [_neighbours(corpus, query, rows, k) for query, rows in zip(queries, found, strict=True)]


def _neighbours(corpus: Corpus, query: NDArray[np.float32], rows: Rows, k: int) -> list[Neighbour]:
    """The images in `rows` with their exact scores, best first."""
    rows = rows[rows >= 0]
    vectors = corpus.shards.take(rows).astype(np.float32)
    scores = vectors @ query
    order = np.lexsort((rows, -scores))
    images = (
        Neighbour(uri, min(float(scores[i]), 1.0), int(rows[i]))
        for i in order
        for uri in corpus.uris_at(int(rows[i]))
    )
    return [image for image, _ in zip(images, range(k), strict=False)]


def _search_rows(index: Any, card: IndexCard, queries: Queries, k: int, live: Rows) -> Rows:
    """Row numbers (q, k) of the nearest live rows; -1 where an approximate index found fewer."""
    if k == 0:
        return np.empty((len(queries), 0), np.int64)
    mask = np.zeros((card.rows + 7) // 8 * 8, np.uint8)
    mask[live] = 1
    bits = np.packbits(mask, bitorder="little")
    selector = _faiss().IDSelectorBitmap(bits)
    parameters = {
        "flat": lambda: _faiss().SearchParameters(sel=selector),
        "ivf": lambda: _faiss().SearchParametersIVF(sel=selector, nprobe=card.search_width),
        "hnsw": lambda: _faiss().SearchParametersHNSW(
            sel=selector, efSearch=max(card.search_width, k)
        ),
    }[card.kind]()
    _, rows = index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
    return np.asarray(rows, np.int64)


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
    index = _new_index(corpus, kind, rows)
    _add_rows(corpus, index, 0, rows)
    return _measure_and_write(corpus, index, kind, rows, trained_rows=rows)


def _extend(corpus: Corpus, card: IndexCard, rows: int) -> IndexCard:
    index = _read(corpus.path / INDEX)
    if index.ntotal != card.rows:  # a run was killed between writing the two files
        return _build(corpus, card.kind, rows)
    _add_rows(corpus, index, card.rows, rows)
    return _measure_and_write(corpus, index, card.kind, rows, trained_rows=card.trained_rows)


def _new_index(corpus: Corpus, kind: Kind, rows: int) -> Any:
    dim = corpus.model.dim
    if kind == "flat":
        return _faiss().IndexFlatIP(dim)
    if kind == "hnsw":
        return _faiss().IndexHNSWFlat(dim, HNSW_LINKS, _faiss().METRIC_INNER_PRODUCT)
    lists = max(1, min(int(4 * math.sqrt(rows)), rows // 39))  # FAISS asks for 39 a list
    index = _faiss().index_factory(dim, f"IVF{lists},SQfp16", _faiss().METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, size=min(rows, 64 * lists), replace=False))
    index.train(corpus.shards.take(sample).astype(np.float32))
    return index


def _add_rows(corpus: Corpus, index: Any, start: int, stop: int) -> None:
    for _, block in corpus.shards.blocks(stop, start=start):
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
    width = min(8 if kind == "ivf" else 32, widest)
    while True:
        recall = _recall(index, kind, width, queries, truth, sample)
        if recall >= RECALL_SOUGHT or width >= widest:
            return width, recall, len(queries)
        width = min(2 * width, widest)


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


def exact_rows(corpus: Corpus, queries: Queries, k: int, rows: int) -> Rows:
    """Find the rows nearest to each query by brute force.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    queries : Queries
        float32 (q, dim), rows L2-normalised.
    k : int
        How many, at most `rows`.
    rows : int
        Search the rows below this one.

    Returns
    -------
    Rows
        int64 (q, k), best first.
    """
    scores = np.full((len(queries), 0), 0, np.float32)
    best = np.empty((len(queries), 0), np.int64)
    for start, block in corpus.shards.blocks(rows):
        scores = np.hstack([scores, queries @ block.astype(np.float32).T])
        numbers = np.arange(start, start + len(block))
        best = np.hstack([best, np.broadcast_to(numbers, (len(queries), len(block)))])
        keep = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, keep, axis=1)
        best = np.take_along_axis(best, keep, axis=1)
    return best


def _faiss() -> Any:
    """FAISS, imported when it is needed; its annotations leave out what its wrapper adds."""
    return import_module("faiss")


def _read(path: Path) -> Any:
    try:
        return _faiss().read_index(str(path))
    except RuntimeError as error:
        raise StoreError(
            f"{path} is damaged and FAISS cannot read it. Build it again: clipcal index --rebuild"
        ) from error


def _write(folder: Path, index: Any, card: IndexCard) -> None:
    """Replace index and card; the card goes last, so it never speaks of rows that are missing."""
    (folder / CARD).unlink(missing_ok=True)
    with replacing(folder / INDEX) as part:
        _faiss().write_index(index, str(part))
    with replacing(folder / CARD) as part:
        part.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
