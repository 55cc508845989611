"""Exact neighbours: every stored embedding is looked at, where it lies on disk.

One query is bound by how fast memory is read. FAISS compares it with float16 codes as they come,
and the shards are such codes. Many queries are a matrix product. A search uses every core, so that
two at once would only be in each other's way: what threads ask for meanwhile is the next search.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcal.index.reading import Reading
from clipcal.index.shards import Embeddings, Rows, Shards
from clipcal.index.together import Together
from clipcal.models.products import Products

Queries = NDArray[np.float32]  # (q, dim), rows L2-normalised
Mask = NDArray[np.bool_]  # (rows,), which of them may be found

FEW_QUERIES = 4  # beyond, a product is faster than as many walks
_ROWS_AT_ONCE = 20_000
_MOST_TOGETHER = 32


def exact_rows(
    corpus: Reading, queries: Queries, k: int, rows: int, *, allowed: Mask | None = None
) -> Rows:
    """Find the rows nearest to each query by comparing it with all of them.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    queries : Queries
        float32 (q, dim), rows L2-normalised.
    k : int
        How many, at most `rows`.
    rows : int
        Search the rows below this one.
    allowed : Mask, optional
        bool (rows,): where False, a row is not found. By default all may be.

    Returns
    -------
    Rows
        int64 (q, k), best first, equal ones in their order; -1 where fewer than k may be found.
        Which of several equal ones is the last that is found depends on how rows fall into blocks,
        not on threads. A row whose product is no number is never found.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    best = _Best(len(queries), k)
    if k and allowed is None:
        return _SEARCHES(_Wanted(corpus.shards, rows, queries, k))
    if k:
        corpus.shards.each(_Multiply(queries, best, allowed), rows)
    return best.rows


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """What one thread looks for among all of the first `rows` rows."""

    shards: Shards
    rows: int
    queries: Queries
    k: int


def _search_together(wanted: Sequence[_Wanted]) -> list[Rows]:
    """Answer what several threads look for among the same rows."""
    shards, rows = wanted[0].shards, wanted[0].rows
    queries = np.concatenate([one.queries for one in wanted])
    best = _Best(len(queries), max(one.k for one in wanted))
    if len(queries) <= FEW_QUERIES:
        shards.each(_Scan(queries, best, shards.dim), rows, size=_ROWS_AT_ONCE)
    else:
        shards.each(_Multiply(queries, best, None), rows)
    ends = np.cumsum([len(one.queries) for one in wanted])
    parts = np.split(best.rows, ends[:-1])
    return [part[:, : one.k] for one, part in zip(wanted, parts, strict=True)]


_SEARCHES = Together(
    _search_together, alike=lambda one: (one.shards, one.rows), most=_MOST_TOGETHER
)


class _Best:
    """The best rows of each query so far, whatever the order in which they come."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.rows: Rows = np.full((queries, k), -1, np.int64)
        self._scores = np.full((queries, k), -np.inf, np.float32)
        self._lock = threading.Lock()

    def add(self, rows: Rows, scores: NDArray[np.float32]) -> None:
        """Take some more rows (q, m) with their scores into account."""
        with self._lock:
            rows, scores = np.hstack([self.rows, rows]), np.hstack([self._scores, scores])
            order = np.lexsort((rows, -scores), axis=1)[:, : self.k]
            self._scores = np.take_along_axis(scores, order, axis=1)
            self.rows = np.take_along_axis(rows, order, axis=1)
            self.rows[self._scores == -np.inf] = -1


class _Multiply:
    """Compare many queries with a block at once."""

    def __init__(self, queries: Queries, best: _Best, allowed: Mask | None) -> None:
        self._products = Products(queries)
        self._best = best
        self._allowed = allowed

    def __call__(self, first: int, block: Embeddings) -> None:
        scores = self._products(block).T
        np.fmax(scores, -np.inf, out=scores)  # no number would count as the greatest
        if self._allowed is not None:
            scores[:, ~self._allowed[first : first + len(block)]] = -np.inf
        least = max(0, len(block) - self._best.k)
        top = np.argpartition(scores, least, axis=1)[:, least:]
        self._best.add(top + first, np.take_along_axis(scores, top, axis=1))


class _Scan:
    """Walk over a block once for each of a few queries, without a float32 copy of it."""

    def __init__(self, queries: Queries, best: _Best, dim: int) -> None:
        self._queries = queries
        self._best = best
        self._dim = dim

    def __call__(self, first: int, block: Embeddings) -> None:
        rows = np.full((len(self._queries), self._best.k), -1, np.int64)
        scores = np.full(rows.shape, -np.inf, np.float32)
        numbers = np.arange(first, first + len(block))
        pointer = faiss_module().swig_ptr
        codes = pointer(block.view(np.uint8))
        with _scanner(self._dim) as scanner:
            for query, found, theirs in zip(self._queries, rows, scores, strict=True):
                scanner.set_query(pointer(query))
                scanner.scan_codes(
                    len(block), codes, pointer(numbers), pointer(theirs), pointer(found), len(found)
                )
        self._best.add(rows, scores)


# FAISS's wrapper cannot free a scanner, so that each is used again and again. By dimension.
_IDLE: defaultdict[int, list[Any]] = defaultdict(list)


@contextmanager
def _scanner(dim: int) -> Iterator[Any]:
    """A scanner of float16 codes that no other thread uses."""
    try:
        scanner = _IDLE[dim].pop()
    except IndexError:
        faiss = faiss_module()
        codec = faiss.ScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16)
        scanner = codec.select_InvertedListScanner(
            faiss.METRIC_INNER_PRODUCT, None, False, None, False
        )
        scanner.set_list(0, 0.0)
        scanner.codec = codec  # which it points to
    yield scanner
    _IDLE[dim].append(scanner)


def selector(allowed: Mask) -> Any:
    """FAISS's form of a mask; it keeps its bits alive."""
    bits = np.packbits(allowed, bitorder="little")
    made = faiss_module().IDSelectorBitmap(bits)
    made.bits = bits
    return made


def faiss_module() -> Any:
    """FAISS, imported when it is needed; its annotations leave out what its wrapper adds."""
    return import_module("faiss")
