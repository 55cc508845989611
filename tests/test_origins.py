"""Laws of what exported labels say of how their images were seen, and of reading it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from exchange_case import corpus_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clipcal.calibrate.labels.exchange.exporting import export
from clipcal.calibrate.labels.exchange.files import read_exchange, write_exchange
from clipcal.calibrate.labels.exchange.importing import import_labels
from clipcal.calibrate.labels.exchange.records import Format, Given
from clipcal.calibrate.labels.pool import pool_csv
from clipcal.index.chosen import chosen_rows
from clipcal.index.judgements import Origin, Said, judge
from clipcal.index.store import Corpus

CATEGORIES = ("gore", "attire")
LEVELS = ("none", "minor", "major")
ROWS = (0, 1, 2, 2)  # the last two are copies of one content
Spoken = tuple[int, str, str, Origin]  # item, category, rater, origin


def filled(path: Path) -> Corpus:
    return corpus_of(path, [f"/photos/{number}.png" for number in range(len(ROWS))], ROWS)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def say(corpus: Corpus, *spoken: Spoken) -> None:
    for number, (item, category, rater, origin) in enumerate(spoken):
        judge(corpus, f"b{number}", [Said(item, category, "minor")], rater=rater, origin=origin)


def carried(corpus: Corpus, other: Corpus, format: Format) -> None:
    done = export(corpus, CATEGORIES, LEVELS, names=str)
    data = write_exchange(format, done.pictures, CATEGORIES, done.levels)
    import_labels(other, given_in(data, levels=LEVELS), batch="all")


def given_in(
    data: bytes | str, categories: Sequence[str] = CATEGORIES, levels: Sequence[str] = ()
) -> tuple[Given, ...]:
    content = data.encode() if isinstance(data, str) else data
    return read_exchange(
        content, None, name="x", categories=categories, levels=levels, rater="me"
    ).given


def chosen(corpus: Corpus) -> list[list[int]]:
    return [chosen_rows(corpus, category).tolist() for category in CATEGORIES]


@pytest.mark.parametrize("format", ["csv", "label-studio", "coco", "imagefolder"])
@pytest.mark.parametrize("later", ["ann", "bob"])
def test_what_was_chosen_and_said_again_without_a_word_of_it_stays_chosen_elsewhere(
    tmp_path: Path, corpus: Corpus, later: str, format: Format
) -> None:
    say(corpus, (1, "gore", "ann", "flagged"), (1, "gore", later, "given"))
    other = filled(tmp_path / "other")
    carried(corpus, other, format)
    assert chosen(other) == chosen(corpus) == [[0], []]


@pytest.mark.parametrize("format", ["csv", "label-studio", "coco", "imagefolder"])
@pytest.mark.parametrize("later", ["ann", "bob"])
def test_an_image_of_a_sample_that_is_seen_again_for_its_score_stays_in_it_elsewhere(
    tmp_path: Path, corpus: Corpus, later: str, format: Format
) -> None:
    say(corpus, (1, "gore", "ann", "random"), (1, "gore", later, "near"))
    other = filled(tmp_path / "other")
    carried(corpus, other, format)
    assert chosen(other) == chosen(corpus) == [[], []]


def test_an_origin_is_told_by_the_word_that_the_journal_has(corpus: Corpus) -> None:
    say(corpus, (1, "gore", "ann", "near"), (1, "gore", "ann", "given"))
    say(corpus, (1, "gore", "ann", "near"))  # was kept before
    assert pool_csv(corpus, CATEGORIES, LEVELS).decode().splitlines() == [
        "image,category,label,annotator,origin",
        "/photos/0.png,gore,minor,ann,near",
    ]


def test_a_label_of_a_copy_of_what_was_chosen_says_so(corpus: Corpus) -> None:
    say(corpus, (3, "gore", "ann", "flagged"), (4, "gore", "bob", "given"))
    told = [one.origin for one in given_in(pool_csv(corpus, CATEGORIES, LEVELS), levels=LEVELS)]
    assert told == ["flagged", "search"]


spoken = st.lists(
    st.tuples(
        st.integers(1, len(ROWS)),
        st.sampled_from(CATEGORIES),
        st.sampled_from(["ann", "bob"]),
        # What no draw suggested here is not believed there: see `judge`.
        st.sampled_from([origin for origin in get_args(Origin) if origin != "suggested"]),
    ),
    max_size=10,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoken=spoken, format=st.sampled_from(["csv", "label-studio"]))
@example(spoken=[(1, "gore", "bob", "random"), (1, "gore", "ann", "flagged")], format="csv")
def test_the_same_cells_are_chosen_wherever_labels_are_brought(
    tmp_path_factory, spoken: list[Spoken], format: Format
) -> None:
    place = tmp_path_factory.mktemp("trip")
    corpus, other = filled(place / "one"), filled(place / "two")
    say(corpus, *spoken)
    if spoken:
        carried(corpus, other, format)
    assert chosen(other) == chosen(corpus)


# --- files of others --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,gore,Origin\na,yes,search\nb,no,random\n", ["search", "random"]),
        ("image,category,label,origin\na,gore,yes,near\na,attire,no,\n", ["near", "given"]),
        ("image,gore,annotator,origin\na,yes,ann,near\na,no,bob,random\n", ["near", "random"]),
        ("image,category,label,origin\na,gore,yes,random\na,gore,yes,near\n", ["near"]),
        ("image,gore,origin\na,yes,Flickr\n", ["given"]),
        ("image,gore\na,yes\n", ["given"]),
    ],
)
def test_a_column_of_origins_is_read_and_other_words_tell_nothing(
    text: str, told: list[str]
) -> None:
    assert [one.origin for one in given_in(text)] == told


def test_a_category_called_origin_has_its_labels(corpus: Corpus) -> None:
    judge(corpus, "a", [Said(1, "origin", "yes")], rater="ann", origin="near")
    data = pool_csv(corpus, ["origin", "gore"], ())
    assert data.splitlines()[0] == b"image,category,label,annotator,howseen"
    assert [(one.category, one.level, one.origin) for one in given_in(data, ["origin"])] == [
        ("origin", "positive", "near")
    ]
    (wide,) = given_in("image,origin\na,yes\n", ["origin"])
    assert (wide.category, wide.origin) == ("origin", "given")
