"""Laws of labels from a file into the corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exchange_case import filled

from clipcal.calibrate.labels.exchange.importing import import_labels, undo_import
from clipcal.calibrate.labels.exchange.records import Given
from clipcal.calibrate.labels.voices import FILE
from clipcal.errors import BatchTaken, LabelError
from clipcal.index.judgements import Said, history, judge, standing
from clipcal.index.store import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def stands(corpus: Corpus) -> set[tuple[int, str, str | None, str]]:
    return {(j.item, j.category, j.level, j.rater) for j in standing(corpus)}


def one(image: str, level: str = "yes", rater: str = "ann", sha256: str = "") -> Given:
    return Given(image, "gore", level, rater, sha256=sha256)


def test_a_dry_run_says_what_would_happen_and_writes_nothing(corpus):
    judge(corpus, "a", [Said(1, "gore", "no"), Said(2, "gore", "yes")], rater="ann", origin="given")
    before = history(corpus)
    labels = [one("a/1.png"), one("b/1.png"), one("c/4.png"), one("nowhere.png")]
    told = import_labels(corpus, labels, batch="x", dry_run=True)
    assert (told.new, told.changed, told.same, told.written) == (1, 1, 1, 0)
    assert told.unmatched == ("nowhere.png",)
    assert history(corpus) == before
    done = import_labels(corpus, labels, batch="x")
    assert done == replace(told, written=2)


def test_an_import_is_undone_at_once_whoever_said_it(corpus):
    judge(corpus, "a", [Said(1, "gore", "no")], rater="ann", origin="given")
    before = stands(corpus)
    labels = [one("a/1.png"), one("b/1.png", rater="bob"), one("c/4.png", rater="ö/x")]
    import_labels(corpus, labels, batch="x")
    assert import_labels(corpus, labels, batch="x").written == 0
    assert len(stands(corpus)) == 3
    assert len(undo_import(corpus, "x", rater="bob")) == 1
    assert len(undo_import(corpus, "x")) == 2
    assert stands(corpus) == before
    assert undo_import(corpus, "x") == ()
    with pytest.raises(LabelError, match="labels history"):
        undo_import(corpus, "y")


def test_a_batch_that_is_sent_again_writes_nothing_even_where_more_was_said_since(corpus):
    labels = [one("a/1.png"), one("b/1.png", rater="bob")]
    import_labels(corpus, labels, batch="x")
    judge(corpus, "later", [Said(1, "gore", "no")], rater="ann", origin="given")
    assert import_labels(corpus, labels, batch="x").written == 0
    assert (1, "gore", "no", "ann") in stands(corpus)


def test_an_import_that_was_cut_short_goes_on_under_its_name(corpus):
    labels = [one("a/1.png"), one("b/1.png", rater="bob")]
    judge(corpus, "x/given/ann", [Said(1, "gore", "yes")], rater="ann", origin="given")
    assert import_labels(corpus, labels, batch="x").written == 1
    assert {rater for *_, rater in stands(corpus)} == {"ann", "bob"}


@pytest.mark.parametrize("undone", [False, True])
def test_the_name_of_a_batch_is_taken_for_other_labels_and_once_it_is_undone(corpus, undone):
    import_labels(corpus, [one("a/1.png")], batch="x")
    if undone:
        undo_import(corpus, "x")
    before = stands(corpus)
    labels = [one("a/1.png")] if undone else [one("b/1.png")]
    with pytest.raises(BatchTaken, match="new name"):
        import_labels(corpus, labels, batch="x")
    assert stands(corpus) == before


def test_the_files_own_labels_come_back_as_the_same(corpus):
    corpus.replace_labels({"/photos/a/1.png": {"gore": "yes"}})
    assert import_labels(corpus, [one("a/1.png", rater=FILE)], batch="x").same == 1
    judge(corpus, "a", [Said(1, "gore", "no")], rater="ann", origin="given")
    assert import_labels(corpus, [one("a/1.png", rater=FILE)], batch="y").new == 1


def test_an_image_is_the_one_with_the_content_that_was_labelled(corpus):
    third = f"{2:064x}"
    labels = [
        one("a/1.png", sha256=third),  # renamed since
        one("1.png", sha256=third.upper(), rater="bob"),  # ambiguous but for its content
        one("b/1.png", sha256="f" * 64),  # another image of this name
        one("zzz.png", sha256="f" * 64),
        one("item:4"),
        one("item:99"),
    ]
    done = import_labels(corpus, labels, batch="x")
    assert stands(corpus) == {
        (3, "gore", "yes", "ann"),
        (3, "gore", "yes", "bob"),
        (4, "gore", "yes", "ann"),
    }
    assert done.altered == ("b/1.png",)
    assert done.unmatched == ("zzz.png", "item:99")


def test_ambiguous_and_torn_labels_are_listed_and_not_kept(corpus):
    labels = [one("1.png"), one("a/1.png"), one("/photos/a/1.png", "no"), one("c/4.png")]
    done = import_labels(corpus, labels, batch="x")
    assert [name for name, _ in done.ambiguous] == ["1.png"]
    assert done.torn == ("/photos/a/1.png",)
    assert stands(corpus) == {(6, "gore", "yes", "ann")}
