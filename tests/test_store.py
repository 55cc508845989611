"""Laws of the corpus on disk."""

from __future__ import annotations

import dataclasses
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY

from clipcal.errors import FingerprintMismatch, StoreError
from clipcal.index import shards as shards_module
from clipcal.index.database import connect, version_of
from clipcal.index.schema import SCHEMA_VERSION, VERSIONS
from clipcal.index.shards import Shards
from clipcal.index.store import Corpus, Outcome, Suggestion
from clipcal.index.texts import ItemTexts


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float16)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create(tmp_path / "corpus", IDENTITY)


def test_what_was_committed_is_read_back(corpus: Corpus) -> None:
    written = vectors(3)
    outcomes = [Outcome(f"{n}.png", f"hash{n}", 1, "s", n) for n in range(3)]
    corpus.commit([*outcomes, Outcome("bad.png", reason="torn")], written, ["a", "b", "c"])
    again = Corpus.open(corpus.path)
    assert again.rows == 3
    assert again.rows_by_content() == {"a": 0, "b": 1, "c": 2}
    assert [i.uri for i in again.items("embedded")] == ["0.png", "1.png", "2.png"]
    assert [(i.uri, i.reason) for i in again.items("failed")] == [("bad.png", "torn")]
    np.testing.assert_array_equal(again.shards.take(np.array([2, 0])), written[[2, 0]])
    assert again.model == IDENTITY


def test_rows_written_but_never_committed_do_not_exist(corpus: Corpus) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["a"])
    corpus.shards.append(1, vectors(5, seed=1))  # a run killed before its transaction
    again = Corpus.open(corpus.path)
    assert again.rows == 1
    final = vectors(2, seed=2)
    again.commit([Outcome("b", row=1), Outcome("c", row=2)], final, ["b", "c"])
    assert np.load(corpus.path / "shards" / "000000.npy").shape == (3, DIM)
    np.testing.assert_array_equal(again.shards.take(np.array([1, 2])), final)


def test_a_failed_transaction_changes_nothing(corpus: Corpus) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["same"])
    with pytest.raises(sqlite3.IntegrityError):
        corpus.commit([Outcome("b", row=1)], vectors(1), ["same"])
    assert corpus.rows == 1
    assert corpus.find("b") is None


def test_shards_are_npy_files_that_numpy_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "ROWS_PER_SHARD", 4)
    shards, written = Shards(tmp_path / "s", DIM), vectors(11)
    shards.append(0, written[:3])
    shards.append(3, written[3:])
    files = sorted((tmp_path / "s").iterdir())
    assert [f.name for f in files] == ["000000.npy", "000001.npy", "000002.npy"]
    np.testing.assert_array_equal(np.concatenate([np.load(f) for f in files]), written)
    blocks = list(shards.blocks(11, start=2, size=3))
    assert [start for start, _ in blocks] == [2, 4, 7, 8]
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), written[2:])


def test_a_shard_that_is_too_short_is_an_error_that_names_it(corpus: Corpus) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["a"])
    (corpus.path / "shards" / "000000.npy").write_bytes(b"short")
    with pytest.raises(StoreError, match="000000.npy"):
        corpus.shards.take(np.array([0]))


def test_another_models_embeddings_are_refused(corpus: Corpus) -> None:
    other = dataclasses.replace(IDENTITY, name="other::model", fingerprint="0" * 64)
    with pytest.raises(FingerprintMismatch, match="other::model"):
        Corpus.open_or_create(corpus.path, other)


def test_two_writers_are_kept_apart(corpus: Corpus) -> None:
    with corpus.writing(), pytest.raises(StoreError, match="Another clipcal"):  # noqa: SIM117 -- the order matters
        with Corpus.open(corpus.path).writing():
            pass


def test_a_missing_corpus_tells_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="clipcal embed"):
        Corpus.open(tmp_path / "none")


def test_a_damaged_database_is_told_as_such(corpus: Corpus) -> None:
    corpus.close()
    (corpus.path / "corpus.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Corpus.open(corpus.path)


def test_a_newer_format_is_refused(corpus: Corpus) -> None:
    database = sqlite3.connect(corpus.path / "corpus.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer clipcal"):
        Corpus.open(corpus.path)


def test_a_corpus_whose_making_was_killed_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "corpus.db").touch()
    assert Corpus.open_or_create(folder, IDENTITY).rows == 0


def test_labels_and_notes_are_kept(corpus: Corpus) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["a"])
    corpus.replace_labels({"a": {"gore": "major"}, "unknown": {"gore": "minor"}})
    corpus.note("prompts", "demo")
    assert corpus.labels() == {"a": {"gore": "major"}}
    assert corpus.noted("prompts") == "demo"
    assert corpus.noted("nothing") is None


def test_a_corpus_whose_making_was_killed_does_not_exist(tmp_path: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "corpus.db").touch()
    assert not Corpus.exists(folder)


def test_a_database_held_by_another_program_is_told_in_one_line(corpus: Corpus) -> None:
    holder = sqlite3.connect(corpus.path / "corpus.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    corpus._database.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(StoreError, match="cannot be used now: database is locked"):
        corpus.note("prompts", "demo")
    holder.execute("ROLLBACK")
    holder.close()


def test_a_model_that_moved_is_found_where_it_lies_now(corpus: Corpus) -> None:
    moved = dataclasses.replace(IDENTITY, bundle="elsewhere")
    Corpus.open_or_create(corpus.path, moved)
    assert Corpus.open(corpus.path).model.bundle == "elsewhere"


def test_a_chain_names_rows_by_all_that_was_ever_committed(tmp_path: Path) -> None:
    one, two = (Corpus.create(tmp_path / name, IDENTITY) for name in ("one", "two"))
    for corpus, seed in ((one, 0), (two, 1)):
        corpus.commit([], vectors(2, seed), [None] * 2)
        corpus.commit([], vectors(1, 5), [None])
    assert one.chain(0) == two.chain(0)
    assert one.chain(2) != two.chain(2)
    assert one.chain(3) != two.chain(3)
    assert one.chain(1) == ""


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_nothing_is_written_behind_rows_that_are_missing(corpus: Corpus, damage: str) -> None:
    corpus.commit([], vectors(8), [None] * 8)
    shard = corpus.path / "shards" / "000000.npy"
    before = shard.read_bytes()[:200] if damage == "short" else b""
    shard.unlink()
    if before:
        shard.write_bytes(before)
    with pytest.raises(StoreError, match="lacks rows"):
        corpus.commit([], vectors(1), [None])
    assert corpus.rows == 8
    assert (shard.read_bytes() if shard.exists() else b"") == before


def only_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("clipcal.index.database._configure", refuse)
    monkeypatch.setattr("clipcal.index.database.os.access", lambda *_: False)  # root may write all


def test_a_corpus_that_can_only_be_read_is_read(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["a"])
    corpus.close()
    only_reading(monkeypatch)
    again = Corpus.open(corpus.path)
    assert [item.uri for item in again.items()] == ["a"]
    with pytest.raises(StoreError, match="cannot be used now"):
        again.note("prompts", "demo")


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """A corpus as the first version laid it out, with an image and a label."""
    folder = tmp_path / "old"
    folder.mkdir()
    database = sqlite3.connect(folder / "corpus.db")
    database.executescript(VERSIONS[0])
    database.execute("INSERT INTO meta VALUES ('model', ?)", (IDENTITY.to_json(),))
    database.execute("INSERT INTO vectors VALUES (0, 'hash')")
    database.execute("INSERT INTO items (uri, state, row) VALUES ('a', 'embedded', 0)")
    database.execute("INSERT INTO labels VALUES (1, 'gore', 'major')")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    return folder


def layout(folder: Path) -> list[tuple[str, str]]:
    database = connect(folder)
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")
    rows = found.fetchall()
    assert version_of(database) == SCHEMA_VERSION
    database.close()
    return rows


def test_an_old_corpus_becomes_the_same_as_a_new_one_and_keeps_what_it_holds(
    version_1: Path, corpus: Corpus
) -> None:
    opened = Corpus.open(version_1)
    assert opened.labels() == {"a": {"gore": "major"}}
    assert opened.suggestions() == opened.rounds() == []
    assert opened.add_suggestions([(0, 0.5, True)], method="m", seed=0, frame=1) == 1
    assert Corpus.open(version_1).suggestions() == [Suggestion(1, 0, 0.5, True)]
    assert layout(version_1) == layout(corpus.path)


def test_an_old_corpus_that_can_only_be_read_is_read_and_has_no_rounds(
    version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_reading(monkeypatch)
    opened = Corpus.open(version_1)
    assert opened.labels() == {"a": {"gore": "major"}}
    assert (opened.suggestions(), opened.rounds(), opened.given()) == ([], [], {})
    with pytest.raises(StoreError, match="cannot be used now"):
        opened.add_suggestions([], method="m", seed=0, frame=0)


def test_a_draw_is_kept_with_what_was_known_before_it(corpus: Corpus) -> None:
    corpus.commit([], vectors(4), [None] * 4)
    first = corpus.add_suggestions(
        [(2, 0.25, True), (1, 0.5, False)], method="importance", seed=7, frame=4, given=[0]
    )
    drawn = [(2, 1.0, False)]
    second = corpus.add_suggestions(
        drawn, method="stratified", seed=8, category="gore", frame=1, given=[0, 3]
    )
    again = Corpus.open(corpus.path)
    assert again.suggestions() == [
        Suggestion(first, 1, 0.5, False),
        Suggestion(first, 2, 0.25, True),
        Suggestion(second, 2, 1.0, False),
    ]
    assert again.given() == {0: first, 3: second}
    one, two = again.rounds()
    assert (one.method, one.seed, one.category, one.frame, one.rows) == ("importance", 7, "", 4, 4)
    assert (one.audit, one.picked, two.audit, two.picked) == (1, 1, 0, 1)
    assert (two.number, two.category) == (second, "gore")


@pytest.mark.parametrize("inclusion", [0.0, 1.1])
def test_an_inclusion_that_is_no_probability_keeps_nothing(
    corpus: Corpus, inclusion: float
) -> None:
    corpus.commit([], vectors(1), [None])
    with pytest.raises(sqlite3.IntegrityError):
        corpus.add_suggestions([(0, inclusion, False)], method="m", seed=0, frame=1)
    assert corpus.rounds() == []


def test_a_hash_is_that_of_what_was_embedded_even_if_the_file_has_changed_since(
    corpus: Corpus, tmp_path: Path
) -> None:
    outcomes = [Outcome(f"{n}.png", sha256, row=n) for n, sha256 in enumerate("abc")]
    outcomes += [Outcome("imported.png", "a", row=3), Outcome("named.png", row=4)]
    corpus.commit(outcomes, vectors(5), ["a", "b", "c", None, None])
    ids, rows = corpus.embedded()
    hashes = ItemTexts(corpus, "sha256", ids, rows)
    expected = ["a", "b", "c", "a", ""]
    assert list(hashes) == expected
    other = Corpus.open(corpus.path)
    other.commit([Outcome("1.png", "d", row=5)], vectors(1), ["d"])
    other.commit([Outcome("2.png", reason="torn")], vectors(0), [])
    other.remove(["0.png"])
    assert list(hashes) == [hashes[place] for place in range(5)] == hashes[:] == expected
    assert (hashes[-4], hashes[1:3]) == ("b", ["b", "c"])
    assert list(ItemTexts(corpus, "uri", ids)) == [outcome.uri for outcome in outcomes]


def test_texts_can_be_read_from_several_threads(corpus: Corpus) -> None:
    names = [f"{n}.png" for n in range(200)]
    corpus.commit([Outcome(name, row=0) for name in names], vectors(1), ["a"])
    texts = ItemTexts(corpus, "uri", corpus.embedded()[0])
    assert sqlite3.threadsafety == 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(texts.__getitem__, range(200))) == names


def test_a_corpus_read_after_it_was_closed_says_so_and_not_that_it_is_damaged(
    corpus: Corpus,
) -> None:
    corpus.commit([Outcome("a", row=0)], vectors(1), ["a"])
    texts = ItemTexts(corpus, "uri", corpus.embedded()[0])
    corpus.close()
    with pytest.raises(StoreError, match="closed database.*Keep a corpus open") as told:
        texts[0]
    assert "damaged" not in str(told.value)


def test_images_are_told_in_bulk_as_one_by_one(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.index.reading._IDS_AT_ONCE", 3)
    assert [part.tolist() for part in corpus.embedded()] == [[], []]
    outcomes = [Outcome(f"{n}.png", row=n % 4) for n in range(8)]
    corpus.commit([*outcomes, Outcome("bad.png", reason="torn")], vectors(4), list("abcd"))
    corpus.remove(["2.png", "7.png"])
    corpus.commit([Outcome("0.png", "late", row=3)], vectors(0), [])
    items = corpus.items("embedded")
    ids, rows = corpus.embedded()
    assert ids.tolist() == [item.id for item in items]
    assert rows.tolist() == [item.row for item in items]
    assert corpus.texts("uri", ids[::-1]) == [item.uri for item in reversed(items)]
    assert corpus.texts("sha256", ids) == [item.sha256 or "" for item in items]
    assert corpus.texts("uri", ids[:0]) == []
    assert corpus.live_rows().tolist() == sorted(set(rows.tolist()))
