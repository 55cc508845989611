"""Laws of reading Label Studio: no answer is lost, and none that is unclear is a no."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from exchange_case import LEVELS, read, said

from clipcal.calibrate.labels.exchange.records import Read
from clipcal.errors import LabelError

GORE, CONTENT = "gore", "Sexual Content"
BOTH = {"image": "both.png", "topic": {"choices": [GORE, CONTENT]}}


def answered(value: object) -> dict[str, object]:
    """Make a task of JSON whose one control says something."""
    result = {"from_name": "topic", "type": "choices", "value": value}
    annotation = {"id": 1, "completed_by": None, "result": [result]}
    return {"id": 1, "data": {"image": "a.png"}, "annotations": [annotation]}


def of_a(found: Read) -> dict[str, str]:
    return {category: level for image, category, level, _ in said(found) if image == "a.png"}


def minimal(value: object, *, exhaustive: bool = True, **fields: object) -> Read:
    return read([{"image": "a.png", "topic": value, **fields}, BOTH], exhaustive=exhaustive)


def test_one_choice_is_read_like_several() -> None:
    """JSON_MIN writes a single choice as a string, and several as an object."""
    tasks = [{"image": "a.png", "topic": GORE}, BOTH]
    assert said(read(tasks)) == [
        ("a.png", GORE, "positive", "me"),
        ("both.png", GORE, "positive", "me"),
        ("both.png", CONTENT, "positive", "me"),
    ]
    assert of_a(read(tasks, exhaustive=True)) == {GORE: "positive", CONTENT: "negative"}


@pytest.mark.parametrize(
    "value",
    [
        [GORE, {"choices": [CONTENT]}],
        [{"choices": [GORE, "sexual_content"]}],
        [{"choices": GORE}, {"choices": CONTENT}],
        [GORE, {"rectanglelabels": [CONTENT], "x": 1.0}],
        [[GORE], [CONTENT]],
    ],
)
def test_strings_and_objects_of_one_answer_are_read_alike(value: object) -> None:
    assert of_a(minimal(value)) == {GORE: "positive", CONTENT: "positive"}


def test_ratings_of_regions_are_ratings() -> None:
    found = read([{"image": "a.png", "gore": [{"rating": 2}]}], levels=LEVELS)
    assert of_a(found) == {GORE: "minor"}


@pytest.mark.parametrize("field", ["topic", "what", "post"])
def test_a_string_that_is_no_category_is_listed(field: str) -> None:
    tasks = [{"image": "a.png", field: "kitten"}, {"image": "b.png", field: GORE}]
    found = read(tasks, exhaustive=True)
    assert found.ignored == (f"{field}: kitten",)
    assert of_a(found) == {GORE: "negative"}
    assert any("marked with words that no category is named" in note for note in found.notes)


def test_fields_that_a_task_had_before_are_listed_once_and_change_nothing() -> None:
    data = {"source": "feed", "width": "640", "seen": True, "id": "x7", "created_at": "2026"}
    found = minimal(GORE, **data)
    assert of_a(found) == {GORE: "positive", CONTENT: "negative"}
    assert found.ignored == ("source", "width")


def test_fields_that_are_taken_for_answers_are_told() -> None:
    found = read([{"image": "a.png", "query": GORE, "choice": GORE, "gore": "yes"}])
    assert of_a(found) == {GORE: "positive"}
    assert any(note.startswith("Read as answers: query.") for note in found.notes)
    assert not [note for note in minimal(GORE).notes if "Read as answers" in note]


UNCLEAR = [
    ({"taxonomy": [["harm", GORE]]}, {GORE}),
    ({"text": ["some gore"]}, {GORE}),
    ({"choices": [CONTENT, None]}, {GORE}),
    ({"choices": [3]}, {GORE, CONTENT}),
    ({"choices": ["gore sexual content"]}, {GORE, CONTENT}),
    ({"choices": ["graphic gore", "dog"]}, {GORE}),
    ({"choices": [[GORE]]}, {GORE}),
]


@pytest.mark.parametrize(("value", "unsaid"), UNCLEAR)
def test_what_cannot_be_read_is_listed_and_never_a_no(
    value: Mapping[str, object], unsaid: set[str]
) -> None:
    for found in (read([answered(value), BOTH], exhaustive=True), minimal(value), minimal([value])):
        assert set(of_a(found)) == {GORE, CONTENT} - unsaid
        assert found.ignored
        assert all(f"a.png ({category})" in " ".join(found.notes) for category in unsaid)


@pytest.mark.parametrize("value", ["gore or worse", ["gore or worse"], "Is it gore?"])
def test_a_text_with_a_categorys_name_is_no_answer_and_no_no_either(value: object) -> None:
    found = minimal(GORE, remark=value)
    assert of_a(found) == {GORE: "positive", CONTENT: "negative"}
    found = minimal(CONTENT, remark=value)
    assert of_a(found) == {CONTENT: "positive"}
    assert "remark" in found.ignored


def test_a_categorys_own_control_that_cannot_be_read_is_no_no() -> None:
    for unclear in ({"text": ["a lot"]}, True, [False]):
        found = read([{"image": "a.png", "gore": unclear}, BOTH], exhaustive=True)
        assert of_a(found) == {CONTENT: "negative"}
        assert found.ignored == ("gore",)


@pytest.mark.parametrize("value", [{"x": 1.0, "width": 2.0}, {"choices": []}, {}, None, [], ""])
def test_nothing_chosen_is_looked_at_and_absent(value: object) -> None:
    assert of_a(minimal(value)) == {GORE: "negative", CONTENT: "negative"}
    assert of_a(minimal(value, exhaustive=False)) == {}


def test_a_file_whose_fields_are_all_about_something_else_is_refused() -> None:
    with pytest.raises(LabelError, match=r"none of the categories. It has: topic, source"):
        read([{"image": "a.png", "topic": "kitten", "source": "feed"}])
