"""Laws of the pool: what a file said and what raters said since, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.pool import Pool, pool_csv, pooled
from clipcal.calibrate.labels.scale import spoken_levels
from clipcal.calibrate.labels.table import BINARY, LabelTable, read_labels
from clipcal.calibrate.labels.voices import FILE
from clipcal.errors import LabelError
from clipcal.index.judgements import Said, judge, undo
from clipcal.index.roster import roster
from clipcal.index.store import Corpus, Outcome
from clipcal.index.texts import ItemTexts

NAMES = ("/a/1.png", "/b/1.png", "/b/2.png", "/b/2 .png ", '/ü/3,"x".png', "/c/\n4\r5.png")
CATEGORIES = ("gore", "Sexual Content")
LEVELS = ("none", "minor", "major")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def filled(path: Path) -> Corpus:
    """Six items; the last two are copies of one content."""
    corpus = Corpus.create(path, IDENTITY)
    vectors = np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float16)
    rows = [0, 1, 2, 3, 4, 4]
    outcomes = [
        Outcome(name, f"{row:064x}", row=row) for name, row in zip(NAMES, rows, strict=True)
    ]
    corpus.commit(outcomes, vectors, [f"{row:064x}" for row in range(5)])
    return corpus


def say(corpus: Corpus, batch: str, item: int, level: str | None, rater: str = "ann") -> None:
    judge(corpus, batch, [Said(item, "gore", level)], rater=rater, origin="random")


def as_dict(table: LabelTable) -> dict[tuple[str, str], str]:
    return {
        (image, category): table.levels[value]
        for image, row in zip(table.images, table.values.tolist(), strict=True)
        for category, value in zip(table.categories, row, strict=True)
        if value >= 0
    }


def exported(corpus: Corpus, levels: Sequence[str], folder: Path) -> LabelTable:
    path = folder / "reviewed.csv"
    path.write_bytes(pool_csv(corpus, CATEGORIES, levels))
    return read_labels(path, categories=CATEGORIES, levels=levels)


# --- what counts ------------------------------------------------------------------------------


def test_a_judged_cell_has_the_judgements_and_every_other_one_the_files_label(corpus):
    corpus.replace_labels({NAMES[0]: {"gore": "negative"}, NAMES[1]: {"gore": "negative"}})
    say(corpus, "a", 1, "positive")
    assert as_dict(pooled(corpus, CATEGORIES, ()).table) == {
        (NAMES[0], "gore"): "positive",
        (NAMES[1], "gore"): "negative",
    }
    undo(corpus, "a", rater="ann")
    assert set(as_dict(pooled(corpus, CATEGORIES, ()).table).values()) == {"negative"}


def test_several_raters_keep_their_votes_and_the_file_is_one(corpus):
    corpus.replace_labels({NAMES[1]: {"gore": "positive"}})
    for number, (rater, level) in enumerate([("ann", "negative"), ("bob", "positive")]):
        say(corpus, str(number), 1, level, rater)
    say(corpus, "2", 1, "negative", "cyd")
    table = pooled(corpus, CATEGORIES, ()).table
    assert table.votes is not None
    assert set(table.votes.raters) == {"ann", "bob", "cyd", FILE}
    assert as_dict(table)[NAMES[0], "gore"] == "negative"


def test_levels_are_those_of_the_file_then_of_most_that_is_said_then_of_the_prompt_set(corpus):
    assert spoken_levels(corpus, CATEGORIES, LEVELS) == LEVELS
    assert spoken_levels(corpus, CATEGORIES, ()) == BINARY
    say(corpus, "a", 1, "positive")
    say(corpus, "b", 2, "negative")
    say(corpus, "c", 3, "minor")
    assert spoken_levels(corpus, CATEGORIES, LEVELS) == BINARY
    assert spoken_levels(corpus, CATEGORIES, ("clean", "dirty")) == ("clean", "dirty")
    assert spoken_levels(corpus, ["Sexual Content"], LEVELS) == LEVELS
    corpus.replace_labels({NAMES[4]: {"gore": "major"}})
    assert spoken_levels(corpus, CATEGORIES, ()) == LEVELS
    corpus.replace_labels({NAMES[4]: {"gore": "negative"}})
    assert spoken_levels(corpus, CATEGORIES, LEVELS) == BINARY


def test_what_has_no_level_hides_nothing_and_is_blank_where_nothing_else_is_known(corpus):
    corpus.replace_labels({NAMES[0]: {"gore": "minor"}, NAMES[3]: {"gore": "positive"}})
    say(corpus, "a", 1, "positive")  # the file says minor
    say(corpus, "b", 2, "positive")  # and nobody else anything
    say(corpus, "c", 3, "negative")  # but bob says none
    say(corpus, "d", 3, "none", "bob")
    pool = pooled(corpus, CATEGORIES, LEVELS)
    table = pool.table
    assert as_dict(table) == {(NAMES[0], "gore"): "minor", (NAMES[2], "gore"): "none"}
    blank = table.cells_asked() & (table.values < 0)
    assert pool.match.rows[blank.any(axis=1)].tolist() == [1, 3]
    assert table.notes[-2:] == (
        "4 labels are left out: in levels other than none, minor, major.",
        "2 images of which nothing else is known in a category count there as left blank.",
    )


def test_one_label_in_other_levels_changes_none_of_the_others(corpus):
    corpus.replace_labels({name: {"gore": "positive"} for name in NAMES[:4]})
    before = as_dict(pooled(corpus, CATEGORIES, spoken_levels(corpus, CATEGORIES, LEVELS)).table)
    say(corpus, "a", 1, "minor")
    after = as_dict(pooled(corpus, CATEGORIES, spoken_levels(corpus, CATEGORIES, LEVELS)).table)
    assert before == after
    assert len(before) == 4


def test_other_categories_and_removed_images_are_left_out_and_counted(corpus):
    judge(
        corpus, "a", [Said(1, "fire", "yes"), Said(2, "smoke", "yes")], rater="ann", origin="near"
    )
    say(corpus, "b", 3, "positive")
    say(corpus, "c", 4, "positive")
    corpus.remove([NAMES[2]])
    pool = pooled(corpus, CATEGORIES, ())
    assert len(pool.table.images) == 1
    assert "2 labels are left out: in other categories." in pool.table.notes
    assert "1 label is left out: of images that are not embedded any more." in pool.table.notes


def test_a_category_that_is_written_otherwise_is_the_same_and_the_newer_word_counts(corpus):
    judge(corpus, "a", [Said(1, "sexual_content", "positive")], rater="ann", origin="given")
    judge(corpus, "b", [Said(1, "Sexual Content", "negative")], rater="ann", origin="given")
    table = pooled(corpus, CATEGORIES, ()).table
    assert as_dict(table) == {(NAMES[0], "Sexual Content"): "negative"}


@pytest.mark.parametrize("categories", [("label", "category"), ("Value", "level", "label")])
def test_a_category_may_be_called_as_a_column(corpus, categories):
    judge(corpus, "a", [Said(1, categories[0], "positive")], rater="ann", origin="given")
    table = pooled(corpus, categories, ()).table
    assert as_dict(table) == {(NAMES[0], categories[0]): "positive"}


def test_without_labels_the_table_is_empty(corpus):
    pool = pooled(corpus, CATEGORIES, LEVELS)
    assert (pool.table.images, pool.table.categories, pool.table.levels) == ((), CATEGORIES, LEVELS)
    assert pool.table.values.shape == (0, 2)
    assert len(pool.match.rows) == 0


def test_errors_cannot_be_estimated_from_one_rater(corpus):
    say(corpus, "a", 1, "positive")
    with pytest.raises(LabelError, match="1 rater"):
        pooled(corpus, CATEGORIES, (), "dawid-skene")


# --- the file ---------------------------------------------------------------------------------


def test_rows_are_ordered_and_names_may_be_given(corpus):
    say(corpus, "a", 3, "positive", "bob")
    say(corpus, "b", 3, "negative", "ann")
    say(corpus, "c", 1, "negative")
    assert pool_csv(corpus, CATEGORIES, (), names=lambda uri: uri[1:]).decode() == (
        "image,category,label,annotator,origin\n"
        "a/1.png,gore,negative,ann,random\n"
        "b/2.png,gore,negative,ann,random\n"
        "b/2.png,gore,positive,bob,random\n"
    )


words = st.sampled_from([*LEVELS, "negative", "positive"])
labels = st.dictionaries(
    st.sampled_from(NAMES), st.dictionaries(st.sampled_from([*CATEGORIES, "x"]), words), max_size=6
)
judgements = st.lists(
    st.tuples(
        st.integers(1, len(NAMES)),
        st.sampled_from([*CATEGORIES, "sexual-content", "x"]),
        st.none() | words,
        st.sampled_from(["ann", "bob", " bob", FILE]),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filed=labels, said=judgements, levels=st.sampled_from([(), LEVELS]))
def test_the_pool_is_what_its_file_says(tmp_path_factory, filed, said, levels):
    folder = tmp_path_factory.mktemp("pool")
    corpus = filled(folder / "corpus")
    corpus.replace_labels(filed)
    for number, (item, category, level, rater) in enumerate(said):
        one = [Said(item, category, level)]
        judge(corpus, str(number), one, rater=rater, origin="suggested")
    pool = pooled(corpus, CATEGORIES, levels)
    if not pool.table.images:
        assert pool_csv(corpus, CATEGORIES, levels).count(b"\n") == 1
        return
    check_same(corpus, pool, exported(corpus, levels, folder))


def check_same(corpus: Corpus, pool: Pool, table: LabelTable) -> None:
    mine = pool.table
    assert (mine.images, mine.categories, mine.levels) == (
        table.images,
        table.categories,
        table.levels,
    )
    assert (mine.sha256, mine.source) == (table.sha256, table.source)
    np.testing.assert_array_equal(mine.values, table.values)
    assert (mine.votes is None) == (table.votes is None)
    assert mine.notes[: len(table.notes)] == table.notes
    ids, rows = roster(corpus)
    uris, contents = ItemTexts(corpus, "uri", ids), ItemTexts(corpus, "sha256", ids, rows)
    match = match_images(table.images, uris, contents)
    np.testing.assert_array_equal(pool.match.rows, match.rows)
    assert not match.unmatched
    assert not match.ambiguous
    assert not match.by_name
