"""Laws of the products of stored embeddings with a few vectors."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import IDENTITY
from hypothesis import given
from hypothesis import strategies as st

from clipcal.errors import StoreError
from clipcal.index import shards
from clipcal.index.store import Corpus
from clipcal.models import products
from clipcal.models.products import BLOCK_ROWS, Products

DIM = 24


def unit(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("rows", [0, 1, 499, 500, 501, 1700])
@pytest.mark.parametrize(("columns", "dim"), [(1, 24), (3, 512), (50, 512), (130, 640)])
def test_products_are_those_of_the_embeddings_as_stored(rows: int, columns: int, dim: int) -> None:
    stored, matrix = unit(rows, 1, dim).astype(np.float16), unit(columns, 2, dim)
    exact = stored.astype(np.float64) @ matrix.T.astype(np.float64)
    found = Products(matrix)(stored)
    assert (found.dtype, found.shape) == (np.float32, (rows, columns))
    np.testing.assert_allclose(found, exact, atol=1e-6)


@given(st.lists(st.integers(0, 1999), min_size=1, max_size=40), st.integers(1, 9))
def test_a_product_depends_on_its_row_alone(rows: list[int], columns: int) -> None:
    stored, multiply = unit(2000, 3).astype(np.float16), Products(unit(columns, 4))
    assert np.array_equal(multiply(stored[rows]), multiply(stored)[rows])


def test_the_graph_is_what_onnx_would_write(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weights = unit(3, 5).T
    model = onnx.load_from_string(products._graph(np.ascontiguousarray(weights)))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Cast", "MatMul", "Transpose"]
    assert np.array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), weights)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Rows in several shards, none of them full of whole blocks."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 2 * BLOCK_ROWS)
    corpus = Corpus.create(tmp_path / "corpus", dataclasses.replace(IDENTITY, dim=DIM))
    corpus.commit([], unit(3210, 6).astype(np.float16), [None] * 3210)
    return corpus


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("start", [0, 7, 1000, 3209, 3210])
def test_every_row_is_walked_once_whatever_the_threads(
    corpus: Corpus, threads: int, start: int
) -> None:
    seen = np.zeros(corpus.rows, np.int64)
    stored = corpus.shards.take(np.arange(corpus.rows))

    def look(first: int, block: np.ndarray) -> None:
        seen[first : first + len(block)] += 1
        assert np.array_equal(block, stored[first : first + len(block)])

    corpus.shards.each(look, corpus.rows, start=start, size=300, threads=threads)
    assert seen.tolist() == [0] * start + [1] * (corpus.rows - start)


def test_rows_are_walked_by_several_threads_at_once(corpus: Corpus) -> None:
    meeting = threading.Barrier(2, timeout=30)  # broken, and so an error, where one goes alone
    corpus.shards.each(lambda *_: meeting.wait(), 2000, size=1000, threads=2)


def test_what_fails_in_a_thread_is_told(corpus: Corpus) -> None:
    def refuse(first: int, block: np.ndarray) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        corpus.shards.each(refuse, corpus.rows)
    with pytest.raises(StoreError, match="lacks rows"):
        corpus.shards.each(lambda *_: None, corpus.rows + 5)


def test_a_shard_is_divided_into_whole_blocks() -> None:
    assert shards.ROWS_PER_SHARD % shards.ROWS_AT_ONCE == 0
    assert shards.ROWS_AT_ONCE % BLOCK_ROWS == 0
