"""Laws of the nearest neighbours."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import IDENTITY

from clipcal.errors import CorpusBusy, FingerprintMismatch, StoreError
from clipcal.index import building, exact, neighbours, shards
from clipcal.index.exact import FEW_QUERIES, exact_rows
from clipcal.index.neighbours import Neighbour, read_card, refresh_index, search
from clipcal.index.queries import stored_vector
from clipcal.index.store import Corpus, Outcome

DIM = 24


def unit(count: int, seed: int) -> np.ndarray:
    """Clustered unit vectors, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(12, DIM))
    vectors = centres[rng.integers(0, 12, count)] + 0.4 * rng.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def add(corpus: Corpus, count: int, seed: int = 0) -> None:
    start = corpus.rows
    outcomes = [Outcome(f"{r}.png", f"h{r}", row=r) for r in range(start, start + count)]
    corpus.commit(outcomes, unit(count, seed), [o.sha256 for o in outcomes])


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", dataclasses.replace(IDENTITY, dim=DIM))
    add(corpus, 1500)
    return corpus


def query(corpus: Corpus, row: int) -> np.ndarray:
    return stored_vector(corpus, row)[None]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_the_identical_image_comes_first_with_score_one(corpus: Corpus, kind: str) -> None:
    refresh_index(corpus, kind=kind)
    for row in (0, 77, 1499):
        first = search(corpus, query(corpus, row), 5)[0][0]
        assert (first.uri, round(first.score, 2)) == (f"{row}.png", 1.0)


def brute_force(corpus: Corpus, queries: np.ndarray, allowed: np.ndarray, k: int) -> np.ndarray:
    """The nearest allowed rows, all in float64."""
    stored = corpus.shards.take(np.arange(corpus.rows)).astype(np.float64)
    scores = np.where(allowed, queries.astype(np.float64) @ stored.T, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("count", [1, FEW_QUERIES, FEW_QUERIES + 1, 40])
def test_flat_search_equals_brute_force(
    corpus: Corpus, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "_ROWS_AT_ONCE", 170)
    refresh_index(corpus)
    queries = unit(count, seed=9).astype(np.float32)
    everything = np.ones(corpus.rows, np.bool_)
    truth = brute_force(corpus, queries, everything, 10)
    found = search(corpus, queries, 10)
    assert [[n.row for n in image] for image in found] == truth.tolist()
    everything[truth[:, :7]] = False
    rest = brute_force(corpus, queries, everything, 10)
    found = search(corpus, queries, 10, leave_out=np.unique(truth[:, :7]).tolist())
    assert [[n.row for n in image] for image in found] == rest.tolist()


@pytest.mark.parametrize("count", [1, 40])
def test_exact_neighbours_do_not_depend_on_threads_and_blocks(
    corpus: Corpus, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.commit([], corpus.shards.take(np.arange(50)), [None] * 50)  # twins, of equal scores
    queries = unit(count, seed=10).astype(np.float32)
    found = []
    for threads, size in ((1, 4000), (2, 100), (5, 333)):
        monkeypatch.setattr(shards, "_processors", lambda threads=threads: threads)
        monkeypatch.setattr(exact, "_ROWS_AT_ONCE", size)
        found.append(exact_rows(corpus, queries, 30, corpus.rows).tolist())
    assert found[0] == found[1] == found[2]


def test_threads_that_search_at_once_find_what_each_would_find_alone(corpus: Corpus) -> None:
    refresh_index(corpus)
    wanted = [(unit(1 + n % 3, seed=n).astype(np.float32), 1 + 5 * n) for n in range(12)]
    alone = [search(corpus, queries, k) for queries, k in wanted]
    together = threading.Barrier(len(wanted))

    def meet(queries: np.ndarray, k: int) -> list[list[Neighbour]]:
        together.wait(30)
        return search(corpus, queries, k)

    with ThreadPoolExecutor(len(wanted)) as pool:
        for _ in range(3):
            assert [*pool.map(meet, *zip(*wanted, strict=True))] == alone


@pytest.mark.parametrize("count", [1, 40])
def test_where_fewer_may_be_found_than_asked_for_the_rest_is_marked(
    corpus: Corpus, count: int
) -> None:
    allowed = np.zeros(corpus.rows, np.bool_)
    allowed[[3, 1400]] = True
    queries = unit(count, seed=12).astype(np.float32)
    found = exact_rows(corpus, queries, 5, corpus.rows, allowed=allowed)
    assert np.array_equal(np.sort(found, axis=1), [[-1, -1, -1, 3, 1400]] * count)


def test_a_commit_amid_a_search_does_not_disturb_it(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_index(corpus)
    nearest = search(corpus, query(corpus, 4), 30)[0]
    corpus.remove([image.uri for image in nearest])  # so that live rows are asked for
    live_rows = Corpus.live_rows

    def written_to(self: Corpus) -> np.ndarray:
        add(Corpus.open(corpus.path), 10, seed=8)
        return live_rows(self)

    monkeypatch.setattr(Corpus, "live_rows", written_to)
    found = search(corpus, query(corpus, 4), 5)[0]
    assert len(found) == 5
    assert not {n.uri for n in found} & {n.uri for n in nearest}


def test_a_file_that_a_flat_index_does_not_need_goes_unless_another_writes(corpus: Corpus) -> None:
    refresh_index(corpus)
    leftover = corpus.path / "index.faiss"
    leftover.write_bytes(b"of an earlier clipcal")
    with Corpus.open(corpus.path).writing():
        refresh_index(corpus)
    assert leftover.exists()
    refresh_index(corpus)
    assert not leftover.exists()
    assert search(corpus, query(corpus, 3), 1)[0][0].uri == "3.png"


def test_a_flat_index_can_be_searched_while_it_is_renewed(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_index(corpus)
    found, renew = [], building.replacing

    def watched(path: Path) -> object:
        found.append(search(corpus, query(corpus, 3), 1, stale=True)[0][0].uri)
        return renew(path)

    add(corpus, 10, seed=8)
    monkeypatch.setattr(building, "replacing", watched)
    refresh_index(corpus)
    assert found == ["3.png"]


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_no_number_is_never_found(corpus: Corpus, count: int, masked: bool) -> None:
    queries = unit(count, seed=12).astype(np.float32)
    allowed = np.ones(corpus.rows + 9, np.bool_)
    expected = exact_rows(corpus, queries, 5, corpus.rows)
    corpus.commit([], np.full((9, DIM), np.nan, np.float16), [None] * 9)
    mask = allowed if masked else None
    found = exact_rows(corpus, queries, 5, corpus.rows, allowed=mask)
    np.testing.assert_array_equal(found, expected)


def test_an_exact_index_is_no_file(corpus: Corpus) -> None:
    refresh_index(corpus, kind="hnsw")
    assert (corpus.path / "index.faiss").is_file()
    refresh_index(corpus, kind="flat")
    assert not (corpus.path / "index.faiss").exists()
    assert search(corpus, query(corpus, 3), 1)[0][0].uri == "3.png"


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_recall_written_beside_the_index_is_the_recall_it_has(
    corpus: Corpus, kind: str
) -> None:
    card = refresh_index(corpus, kind=kind)
    queries = unit(300, seed=11).astype(np.float32)
    truth = exact_rows(corpus, queries, 10, corpus.rows)
    found = search(corpus, queries, 10)
    pairs = zip(found, truth, strict=True)
    recall = np.mean([len({n.row for n in f} & set(t)) / 10 for f, t in pairs])
    assert card.recall_at_10 >= 0.95
    assert card.measured_queries == 200
    assert recall == pytest.approx(card.recall_at_10, abs=0.05)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_grown_corpus_extends_its_index_without_rebuilding(
    corpus: Corpus, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_index(corpus, kind=kind)
    add(corpus, 300, seed=4)

    def refuse(*_: object) -> None:
        raise AssertionError("the index was built anew")

    monkeypatch.setattr(neighbours, "build", refuse)
    card = refresh_index(corpus)
    assert (card.kind, card.rows, card.trained_rows) == (kind, 1800, 1500)
    assert search(corpus, query(corpus, 1700), 1)[0][0].uri == "1700.png"


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_removed_items_never_come_back(corpus: Corpus, kind: str) -> None:
    refresh_index(corpus, kind=kind)
    removed = [f"{r}.png" for r in range(0, 1500, 2)]
    corpus.remove(removed)
    found = search(corpus, query(corpus, 100), 200)[0]
    assert len(found) >= 190
    assert not {n.uri for n in found} & set(removed)
    assert found == sorted(found, key=lambda n: -n.score)


def test_copies_are_all_found_and_share_their_score(corpus: Corpus) -> None:
    corpus.commit([Outcome("twin.png", "h5", row=5)], unit(0, 0), [])
    refresh_index(corpus)
    first, second = search(corpus, query(corpus, 5), 2)[0]
    assert {first.uri, second.uri} == {"5.png", "twin.png"}
    assert first.score == second.score


def test_a_stale_index_is_noticed(corpus: Corpus) -> None:
    with pytest.raises(StoreError, match="missing"):
        search(corpus, query(corpus, 0), 1)
    refresh_index(corpus)
    add(corpus, 1, seed=8)
    with pytest.raises(StoreError, match="out of date"):
        search(corpus, query(corpus, 0), 1)


def test_a_foreign_index_is_noticed_and_built_anew(corpus: Corpus) -> None:
    refresh_index(corpus)
    card = corpus.path / "index.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"fingerprint": "0" * 64}))
    with pytest.raises(FingerprintMismatch, match="another model"):
        search(corpus, query(corpus, 0), 1)
    assert refresh_index(corpus).fingerprint == corpus.model.fingerprint


@pytest.mark.parametrize("name", ["index.faiss", "index.json"])
def test_a_damaged_index_is_told_and_can_be_built_anew(corpus: Corpus, name: str) -> None:
    refresh_index(corpus, kind="ivf")
    (corpus.path / name).write_bytes(b"torn")
    with pytest.raises(StoreError, match="damaged"):
        search(corpus, query(corpus, 0), 1)
    refresh_index(corpus, rebuild=True)
    assert search(corpus, query(corpus, 3), 1)[0][0].uri == "3.png"


def test_a_large_corpus_takes_an_approximate_index_by_itself(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refresh_index(corpus).kind == "flat"
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 1600)
    add(corpus, 300, seed=6)
    assert refresh_index(corpus).kind == "ivf"


def test_lists_are_laid_out_anew_once_the_corpus_has_outgrown_them(corpus: Corpus) -> None:
    refresh_index(corpus, kind="ivf")
    add(corpus, 4600, seed=2)
    card = refresh_index(corpus)
    assert (card.kind, card.trained_rows) == ("ivf", 6100)


def test_an_empty_corpus_tells_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="clipcal embed"):
        refresh_index(Corpus.create(tmp_path / "empty", IDENTITY))


def test_rows_can_be_left_out(corpus: Corpus) -> None:
    refresh_index(corpus)
    nearest = search(corpus, query(corpus, 9), 3)[0]
    rest = search(corpus, query(corpus, 9), 2, leave_out=[9])[0]
    assert [n.row for n in rest] == [n.row for n in nearest[1:]]
    assert read_card(corpus) is not None


def other_rows_under_the_same_index(corpus: Corpus) -> Corpus:
    """The index of one corpus beside the database of another, equal in all but its rows."""
    refresh_index(corpus)
    corpus.close()
    for file in corpus.path.glob("corpus.db*"):
        file.unlink()
    other = Corpus.create(corpus.path, corpus.model)
    add(other, 1500, seed=3)
    return other


def test_an_index_of_other_rows_is_noticed_and_built_anew(corpus: Corpus) -> None:
    other = other_rows_under_the_same_index(corpus)
    with pytest.raises(StoreError, match="out of date"):
        search(other, query(other, 4), 1)
    refresh_index(other)
    assert search(other, query(other, 4), 1)[0][0].uri == "4.png"


def test_searching_goes_on_while_another_process_writes(corpus: Corpus) -> None:
    refresh_index(corpus)
    other = Corpus.open(corpus.path)
    with other.writing():
        refresh_index(corpus)
        assert search(corpus, query(corpus, 4), 1)[0][0].uri == "4.png"
        add(other, 10, seed=8)
        with pytest.raises(CorpusBusy):
            refresh_index(corpus)
        assert search(corpus, query(corpus, 4), 1, stale=True)[0][0].uri == "4.png"
