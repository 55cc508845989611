"""Laws of knowing which labels there are because somebody looked at scores, or took one back."""

from __future__ import annotations

from pathlib import Path

import pytest
from judgements_case import IMAGES, draw, filled, say, stands

from clipcal.index.chosen import labelled_rows, rows_before_chosen, taken_back_rows
from clipcal.index.judgements import Origin, chosen_rows, labelled_items, undo
from clipcal.index.store import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


# --- chosen for their scores ------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["flagged", "near", "search"])
def test_what_was_seen_for_its_score_is_chosen_unless_it_had_a_label(
    corpus: Corpus, origin: Origin
) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}})
    draw(corpus, [1])
    say(corpus, "a", 2, origin="suggested")
    for item in (1, 2, 3):
        say(corpus, f"b{item}", item, "no", origin=origin)
    assert chosen_rows(corpus, "gore").tolist() == chosen_rows(corpus).tolist() == [2]
    assert chosen_rows(corpus, "fire").tolist() == []
    say(corpus, "c", 3, "yes", rater="bob", origin="random")
    assert chosen_rows(corpus, "gore").tolist() == [2]


@pytest.mark.parametrize("origin", ["given", "random", "suggested"])
def test_what_was_seen_for_another_reason_is_not_chosen(corpus: Corpus, origin: Origin) -> None:
    draw(corpus, [0])
    say(corpus, "a", 1, origin=origin)
    say(corpus, "b", 2, None, origin="flagged")
    assert chosen_rows(corpus).tolist() == []


def test_what_is_said_to_be_suggested_and_was_not_is_chosen(corpus: Corpus) -> None:
    draw(corpus, [0])
    draw(corpus, [1], "Gore")
    draw(corpus, [2], "fire")
    for item in (1, 2, 3, 4):
        say(corpus, f"{item}", item, origin="suggested")
    assert chosen_rows(corpus, "gore").tolist() == [2, 3]
    draw(corpus, [3])
    say(corpus, "again", 4, "no", origin="suggested")
    assert chosen_rows(corpus, "gore").tolist() == [2, 3]


def test_a_category_is_one_however_it_is_written(corpus: Corpus) -> None:
    corpus.replace_labels({"1.png": {"Sexual Content": "no"}})
    say(corpus, "a", 2, category="sexual-content")
    for item in (1, 2, 3):
        say(corpus, f"b{item}", item, origin="near", category="SEXUAL_content")
    say(corpus, "c", 4, category="Sexual Content")
    for name in ("sexual content", "SexualContent"):
        assert chosen_rows(corpus, name).tolist() == [2]
        before = rows_before_chosen(corpus, name)
        assert before is not None
        assert before.tolist() == [0, 1]
        assert labelled_rows(corpus, name).tolist() == [0, 1, 2, 3]
        assert labelled_rows(corpus, name, chosen=False).tolist() == [0, 1, 3]
        assert labelled_items(corpus, name).tolist() == [1, 2, 3, 4]
    say(corpus, "d", 4, None, category="sexual content")
    assert labelled_rows(corpus, "Sexual Content").tolist() == [0, 1, 2]
    assert taken_back_rows(corpus, "sexual_content").tolist() == [3]


def test_copies_of_a_labelled_image_are_not_chosen_and_those_of_a_chosen_one_are(
    corpus: Corpus,
) -> None:
    say(corpus, "a", IMAGES - 1)
    say(corpus, "b", IMAGES, origin="flagged")
    assert chosen_rows(corpus).tolist() == []
    say(corpus, "c", IMAGES, origin="flagged", category="fire")
    assert chosen_rows(corpus, "fire").tolist() == [IMAGES - 2]


@pytest.mark.parametrize("back", ["undo", "take back"])
def test_an_image_without_a_label_any_more_stays_chosen(corpus: Corpus, back: str) -> None:
    def goes(batch: str, item: int, rater: str) -> None:
        if back == "undo":
            undo(corpus, batch, rater=rater)
        else:
            say(corpus, f"not {batch}", item, None, rater=rater, origin="flagged")

    say(corpus, "a", 1, origin="flagged")
    say(corpus, "b", 1, origin="flagged", rater="bob")
    for batch, rater in (("a", "ann"), ("b", "bob")):
        goes(batch, 1, rater)
        assert chosen_rows(corpus).tolist() == [0]
    say(corpus, "c", 1, origin="given")
    assert chosen_rows(corpus).tolist() == [0]
    assert labelled_rows(corpus, "gore", chosen=False).tolist() == []


@pytest.mark.parametrize("back", ["undo", "take back"])
def test_a_label_left_over_from_looking_at_scores_makes_its_image_chosen(
    corpus: Corpus, back: str
) -> None:
    say(corpus, "a", 1, origin="random")
    say(corpus, "b", 1, origin="flagged", rater="bob")
    assert chosen_rows(corpus).tolist() == []
    if back == "undo":
        undo(corpus, "a", rater="ann")
    else:
        say(corpus, "c", 1, None)
    assert chosen_rows(corpus).tolist() == [0]


def test_who_corrects_a_random_image_takes_it_out_of_no_sample(corpus: Corpus) -> None:
    say(corpus, "a", 1, "yes", origin="random")
    say(corpus, "b", 1, "no", origin="flagged")
    assert stands(corpus) == [(1, "gore", "no", "ann")]
    assert chosen_rows(corpus).tolist() == []


def test_what_was_labelled_before_the_first_was_chosen_is_known(corpus: Corpus) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}, "5.png": {"fire": "no"}})
    say(corpus, "a", 2)
    assert rows_before_chosen(corpus, "gore") is None
    say(corpus, "b", 3, origin="near")
    for item in (4, 5):
        say(corpus, f"c{item}", item, origin="given" if item == 4 else "near")
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [0, 1]
    assert rows_before_chosen(corpus, "fire") is None
    assert chosen_rows(corpus).tolist() == [2, 4]


def test_labels_of_files_and_raters_are_told_by_content_with_the_chosen_or_without(
    corpus: Corpus,
) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}, "3.png": {"fire": "no"}})
    say(corpus, "a", 2)
    for item in (3, 6):
        say(corpus, f"b{item}", item, origin="search")
    assert labelled_rows(corpus).tolist() == [0, 1, 2, 4]
    assert labelled_rows(corpus, "gore").tolist() == [0, 1, 2, 4]
    assert labelled_rows(corpus, "gore", chosen=False).tolist() == [0, 1]
    assert labelled_rows(corpus, chosen=False).tolist() == [0, 1, 2]
    say(corpus, "c", 4, rater="bob")
    assert labelled_rows(corpus, "gore", rater="bob").tolist() == [0, 3]


def test_labels_of_the_rest_are_known_as_such_even_if_the_chosen_are_undone(
    corpus: Corpus,
) -> None:
    say(corpus, "before", 2)
    say(corpus, "chosen", 1, origin="flagged")
    undo(corpus, "chosen", rater="ann")
    say(corpus, "since", 3)
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [1]


# --- taken back -------------------------------------------------------------------------------


def test_a_label_that_its_rater_took_back_is_known_until_one_of_the_two_is_undone(
    corpus: Corpus,
) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, "no", rater="bob")
    say(corpus, "c", 1, None)
    say(corpus, "d", 2, None)
    assert taken_back_rows(corpus, "gore").tolist() == taken_back_rows(corpus).tolist() == [0]
    assert taken_back_rows(corpus, "fire").tolist() == []
    undo(corpus, "c", rater="ann")
    assert taken_back_rows(corpus).tolist() == []
    say(corpus, "e", 1, None)
    assert taken_back_rows(corpus).tolist() == [0]
    undo(corpus, "a", rater="ann")
    assert taken_back_rows(corpus).tolist() == []
    say(corpus, "f", 3)
    say(corpus, "g", 3, None)
    say(corpus, "h", 3, "no")
    assert taken_back_rows(corpus).tolist() == []


def test_what_was_taken_back_had_a_label_before_the_first_was_chosen(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, None)
    say(corpus, "c", 2, origin="near")
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [0]
    say(corpus, "d", 2, None)
    assert taken_back_rows(corpus, "gore").tolist() == [0, 1]
    assert taken_back_rows(corpus, "gore", chosen=False).tolist() == [0]
