"""Laws of keeping what people say of images."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judgements_case import IMAGES, filled, say, stands

from clipcal.errors import BatchTaken, LabelError, StoreError
from clipcal.index.chosen import labelled_rows, rows_before_chosen, taken_back_rows
from clipcal.index.judgements import (
    Said,
    chosen_rows,
    history,
    item_at,
    judge,
    judged_mark,
    labelled_items,
    raters,
    standing,
    undo,
)
from clipcal.index.schema import SCHEMA_VERSION, VERSIONS
from clipcal.index.store import Corpus, Outcome


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


# --- the journal ------------------------------------------------------------------------------


def test_the_newest_stands_for_each_rater_and_cell(corpus: Corpus) -> None:
    assert say(corpus, "a", 1, "yes")
    assert say(corpus, "b", 1, "no", rater="bob")
    assert judge(
        corpus, "c", [Said(1, "gore", "no"), Said(2, "fire", "yes")], rater="ann", origin="given"
    )
    assert stands(corpus) == [
        (1, "gore", "no", "bob"),
        (1, "gore", "no", "ann"),
        (2, "fire", "yes", "ann"),
    ]
    assert raters(corpus) == ["ann", "bob"]
    assert labelled_items(corpus).tolist() == [1, 2]
    assert labelled_items(corpus, "fire").tolist() == [2]


def test_what_is_taken_back_leaves_nothing_standing(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, None)
    assert stands(corpus) == []
    undo(corpus, "b", rater="ann")
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_undone_is_undone_once_and_what_was_said_before_stands_again(corpus: Corpus) -> None:
    say(corpus, "a", 1, "yes")
    judge(corpus, "b", [Said(1, "gore", "no"), Said(2, "gore", "no")], rater="ann", origin="random")
    done = undo(corpus, "b", rater="ann")
    assert [(j.item, j.level, j.batch) for j in done] == [(1, "no", "b"), (2, "no", "b")]
    assert all(j.undone for j in done)
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    mark = judged_mark(corpus)
    assert undo(corpus, "b", rater="ann") == ()
    assert judged_mark(corpus) == mark
    assert [j.batch for j in history(corpus)] == ["b", "b", "a"]
    assert history(corpus)[:2] == list(reversed(done))


def test_saying_it_twice_keeps_it_once(corpus: Corpus) -> None:
    assert say(corpus, "a", 1, "yes") is True
    mark = judged_mark(corpus)
    assert say(corpus, "a", 1, "yes") is False
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    assert judged_mark(corpus) == mark


def test_a_batch_of_other_labels_or_that_was_undone_is_not_said_under_its_name(
    corpus: Corpus,
) -> None:
    say(corpus, "a", 1, "yes")
    mark = judged_mark(corpus)
    both = [Said(1, "gore", "yes"), Said(2, "gore", "yes")]
    for other in ([Said(1, "gore", "no")], both, []):
        with pytest.raises(BatchTaken, match="'a' was kept with other labels"):
            judge(corpus, "a", other, rater="ann", origin="random")
    with pytest.raises(BatchTaken, match="with other labels"):
        say(corpus, "a", 1, "yes", origin="flagged")
    assert judged_mark(corpus) == mark
    undo(corpus, "a", rater="ann")
    with pytest.raises(BatchTaken, match="'a' was undone"):
        say(corpus, "a", 1, "yes")
    assert stands(corpus) == []


def test_a_batch_of_another_rater_is_neither_added_to_nor_undone(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    with pytest.raises(BatchTaken, match="those of ann, not of bob"):
        say(corpus, "a", 2, rater="bob")
    with pytest.raises(StoreError, match="those of ann, not of bob"):
        undo(corpus, "a", rater="bob")
    with pytest.raises(StoreError, match="Nothing was said as 'b'"):
        undo(corpus, "b", rater="ann")
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_an_unknown_image_is_named_and_nothing_of_the_batch_is_kept(corpus: Corpus) -> None:
    both = [Said(1, "gore", "yes"), Said(99, "gore", "yes")]
    with pytest.raises(StoreError, match="no image 99"):
        judge(corpus, "a", both, rater="ann", origin="random")
    corpus.commit([Outcome("torn.png", reason="torn")], np.ones((0, DIM), "f2"), [])
    torn = corpus.find("torn.png")
    assert torn is not None
    with pytest.raises(StoreError, match=f"image {torn.id} has no embedding"):
        judge(corpus, "a", [*both[:1], Said(torn.id, "gore", "no")], rater="ann", origin="random")
    assert history(corpus) == []
    assert judged_mark(corpus) == ""


def test_every_change_leaves_another_mark(corpus: Corpus) -> None:
    marks = [judged_mark(corpus)]
    for batch in "abc":
        say(corpus, batch, 1)
        marks.append(judged_mark(corpus))
    undo(corpus, "c", rater="ann")
    marks.append(judged_mark(corpus))
    assert marks[0] == ""
    assert len(set(marks)) == 5
    items = corpus.mark()
    say(corpus, "d", 1)
    assert corpus.mark() == items


def test_history_is_read_page_by_page(corpus: Corpus) -> None:
    for n in range(6):
        say(corpus, f"{n}", 1, rater="ann" if n % 2 else "bob")
    assert [j.batch for j in history(corpus, limit=2)] == ["5", "4"]
    assert [j.batch for j in history(corpus, limit=2, before=history(corpus)[1].id)] == ["3", "2"]
    assert [j.batch for j in history(corpus, rater="bob")] == ["4", "2", "0"]


def test_a_judgement_is_of_the_content_that_was_seen(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    corpus.commit([Outcome("1.png", "other", row=IMAGES - 1)], np.ones((1, DIM), "f2"), ["other"])
    assert stands(corpus) == []
    assert labelled_items(corpus).tolist() == []
    corpus.commit([Outcome("1.png", "hash0", row=0)], np.ones((0, DIM), "f2"), [])
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    corpus.commit([Outcome("1.png", reason="torn")], np.ones((0, DIM), "f2"), [])
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_items_are_found_by_id(corpus: Corpus) -> None:
    found = item_at(corpus, 2)
    assert found is not None
    assert (found.id, found.uri, found.row) == (2, "2.png", 1)
    assert item_at(corpus, 99) is None


_ACTS = st.one_of(
    st.tuples(
        st.just("judge"),
        st.sampled_from(["ann", "bob"]),
        st.lists(
            st.tuples(
                st.integers(1, 2),
                st.sampled_from(["gore", "fire"]),
                st.sampled_from(["no", "yes", None]),
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    st.tuples(st.just("undo"), st.integers(0, 12), st.none()),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(_ACTS, max_size=12))
def test_what_stands_is_what_a_list_of_sayings_says(
    acts: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against a plain list of what was said, from which batches are struck."""
    said: list[tuple[int, str, int, str, str | None]] = []
    whose: dict[int, str] = {}
    with closing(filled(tmp_path_factory.mktemp("model") / "corpus")) as corpus:
        for number, (act, who, what) in enumerate(acts):
            if act == "judge":
                whose[number] = who
                judge(corpus, f"{number}", [Said(*w) for w in what], rater=who, origin="random")
                said += [(number, who, *w) for w in what]
            elif who in whose:
                undo(corpus, f"{who}", rater=whose[who])
                said = [each for each in said if each[0] != who]
        newest = {(item, category, who): level for _, who, item, category, level in said}
        expected = {key: level for key, level in newest.items() if level is not None}
        found = standing(corpus)
        assert {(j.item, j.category, j.rater): j.level for j in found} == expected
        assert len(found) == len(expected)
        assert [j.id for j in found] == sorted(j.id for j in found)
        assert labelled_items(corpus).tolist() == sorted({item for item, _, _ in expected})


# --- corpora of earlier versions --------------------------------------------------------------


@pytest.fixture(params=[1, 2])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "corpus.db")) as database:
        for script in VERSIONS[: request.param]:
            database.executescript(script)
        database.execute("INSERT INTO meta VALUES ('model', ?)", (IDENTITY.to_json(),))
        database.execute("INSERT INTO vectors VALUES (0, 'hash')")
        database.execute("INSERT INTO items (uri, state, row) VALUES ('a', 'embedded', 0)")
        database.execute("INSERT INTO labels VALUES (1, 'gore', 'major')")
        database.execute(f"PRAGMA user_version = {request.param}")
        database.commit()
    return folder


def test_an_old_corpus_keeps_what_is_said(old: Path) -> None:
    with closing(Corpus.open(old)) as corpus:
        assert corpus.read("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert standing(corpus) == []
        assert say(corpus, "a", 1, "minor", origin="near")
        assert corpus.labels() == {"a": {"gore": "major"}}
        assert chosen_rows(corpus).tolist() == []
    with closing(Corpus.open(old)) as corpus:
        assert stands(corpus) == [(1, "gore", "minor", "ann")]


def test_an_old_corpus_that_can_only_be_read_has_no_judgements(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("clipcal.index.database._configure", refuse)
    monkeypatch.setattr("clipcal.index.database.os.access", lambda *_: False)
    with closing(Corpus.open(old)) as corpus:
        assert standing(corpus) == history(corpus) == raters(corpus) == []
        assert judged_mark(corpus) == ""
        assert chosen_rows(corpus, "gore").tolist() == []
        assert rows_before_chosen(corpus, "gore") is None
        assert taken_back_rows(corpus).tolist() == []
        assert labelled_items(corpus, "gore").tolist() == [1]
        assert labelled_rows(corpus, "gore").tolist() == [0]
        assert labelled_rows(corpus, "fire", chosen=False).tolist() == []
        assert labelled_items(corpus, "fire").tolist() == []
        with pytest.raises(StoreError, match="cannot be used now"):
            say(corpus, "a", 1)


@pytest.mark.parametrize("rater", ["", " ", "a\rb", "a\nb", "a\0b", "x" * 201, "\ufeffann\ufeffx"])
def test_a_rater_has_a_name_that_a_sheet_can_keep(corpus: Corpus, rater: str) -> None:
    with pytest.raises(LabelError, match="cannot name a rater"):
        judge(corpus, "a", [Said(1, "gore", "positive")], rater=rater, origin="given")
    assert raters(corpus) == []


def test_a_rater_is_one_however_the_name_is_composed(corpus: Corpus) -> None:
    for batch, rater in (("a", "Zoe\u0308"), ("b", "Zo\u00eb"), ("c", " Zo\u00eb ")):
        judge(corpus, batch, [Said(1, "gore", "positive")], rater=rater, origin="given")
    assert raters(corpus) == ["Zo\u00eb"]
    assert len(undo(corpus, "a", rater="Zo\u00eb")) == 1
