"""Nearest neighbours: an index beside the corpus, derived from it and never ahead of it.

The exact kind, flat, is a card without a file: the shards are searched as they lie. The others are
of FAISS and hold one entry per row of the shards, in their order, so that ids are row numbers and
growing means adding the rows behind those there are. What was removed stays inside and is left
out of what is found. Scores are computed again from the stored embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import CorpusBusy, FingerprintMismatch, StoreError
from clipcal.index.building import build, extend, read_index
from clipcal.index.card import INDEX, IndexCard, Kind, covers, read_card
from clipcal.index.exact import Mask, Queries, exact_rows, faiss_module, selector
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

__all__ = ["IndexCard", "Kind", "Neighbour", "read_card", "refresh_index", "search"]

Find = Callable[[int, Mask | None], Rows]  # how many, which may be found → (q, k) rows

EXACT_UP_TO = 1_000_000
GROWTH_BEFORE_RETRAINING = 4
SPARE = 16  # rows found beyond those asked for: some may be removed, or out of order by rounding


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
        _clear_leftover(corpus, card)
        return card
    with corpus.writing():
        card, rows = _usable_card(corpus), corpus.rows  # others may have written in the meantime
        if rows == 0:
            raise StoreError(
                f"The corpus {corpus.path} holds no embeddings to index. Embed some images: "
                f"clipcal embed photos/ --corpus {corpus.path}"
            )
        wanted = kind or _kind_for(rows, card)
        if rebuild or card is None or card.kind != wanted or _outgrown(card, rows):
            return build(corpus, wanted, rows)
        return extend(corpus, card, rows)


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
        The exact kind finds them all the same.

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
    if card is None or not covers(card, corpus, stale=stale):
        raise StoreError(
            f"The index of {corpus.path} is {'missing' if card is None else 'out of date'}. "
            f"Refresh it: clipcal index --corpus {corpus.path}"
        )
    if stale and card.kind == "flat":  # the shards are searched as they are now
        card = card.model_copy(update={"rows": corpus.rows})
    allowed = np.ones(card.rows, np.bool_)
    allowed[[row for row in leave_out if row < card.rows]] = False
    find = _finder(corpus, card, np.ascontiguousarray(queries, np.float32))
    if len(leave_out) <= SPARE:  # to find them and drop them takes less than to look for them
        rows = find(k + len(leave_out), None)
        rows[np.isin(rows, leave_out)] = -1
    else:
        rows = find(k, allowed)
    found = _images(corpus, queries, rows, k)
    if min(map(len, found), default=k) < min(k, card.rows):  # removed images were in the way
        live, alive = np.zeros(card.rows, np.bool_), corpus.live_rows()
        live[alive[alive < card.rows]] = True  # the corpus may have grown beyond the index by now
        found = _images(corpus, queries, find(k, allowed & live), k)
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
    index = read_index(corpus.path / INDEX, mapped=True)

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


def _clear_leftover(corpus: Corpus, card: IndexCard) -> None:
    """Remove the file that a flat index once had; it only takes room, and can wait for another."""
    if card.kind == "flat" and (corpus.path / INDEX).exists():
        with suppress(CorpusBusy, OSError), corpus.writing():
            if _usable_card(corpus) == card:  # nobody built an index that needs it since
                (corpus.path / INDEX).unlink(missing_ok=True)


def _usable_card(corpus: Corpus) -> IndexCard | None:
    """The card of an index that can be extended; None where it must be built."""
    try:
        card = read_card(corpus)
    except (StoreError, FingerprintMismatch):
        return None
    return card if card is not None and covers(card, corpus, stale=True) else None


def _serves(card: IndexCard, rows: int, kind: Kind | None) -> bool:
    """Whether the index can be used as it is."""
    return card.rows == rows and card.kind == (kind or _kind_for(rows, card))


def _kind_for(rows: int, card: IndexCard | None) -> Kind:
    if card is not None and card.kind != "flat":
        return card.kind
    return "flat" if rows <= EXACT_UP_TO else "ivf"


def _outgrown(card: IndexCard, rows: int) -> bool:
    return card.kind == "ivf" and rows > GROWTH_BEFORE_RETRAINING * card.trained_rows
