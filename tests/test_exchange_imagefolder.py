"""Laws of an imagefolder's metadata: whose rows they are, and what a list says and does not."""

from __future__ import annotations

import json

import pytest
from exchange_case import LEVELS, read, said

from clipcal.errors import LabelError

ROWS = ("a.jpg,ann,yes,random", "a.jpg,bob,yes,flagged")


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1]])
def test_each_rater_keeps_how_he_came_to_see_an_image(rows: tuple[str, str]) -> None:
    found = read("\n".join(["file_name,annotator,gore,origin", *rows]))
    assert found.format == "imagefolder"
    assert {one.rater: one.origin for one in found.given} == {"ann": "random", "bob": "flagged"}


def test_each_category_keeps_how_its_images_were_seen() -> None:
    rows = ["a.jpg,gore,yes,random", "a.jpg,Sexual Content,no,near"]
    found = read("\n".join(["file_name,category,label,origin", *rows]))
    assert [(one.category, one.origin) for one in found.given] == [
        ("gore", "random"),
        ("Sexual Content", "near"),
    ]


def test_where_rows_differ_the_image_was_seen_for_its_score() -> None:
    rows = ["a.jpg,yes,random", "a.jpg,yes,flagged", "a.jpg,yes,given"]
    found = read("\n".join(["file_name,gore,origin", *rows]))
    assert [one.origin for one in found.given] == ["flagged"]


def test_the_hash_of_a_content_is_that_of_any_row_and_of_one_content_only() -> None:
    rows = ["a.jpg,ann,yes,", "a.jpg,bob,yes,aa"]
    found = read("\n".join(["file_name,rater,gore,sha256", *rows]))
    assert [one.sha256 for one in found.given] == ["aa", "aa"]
    with pytest.raises(LabelError, match="line 4: 'a.jpg' has another sha256"):
        read("\n".join(["file_name,rater,gore,sha256", *rows, "a.jpg,cleo,yes,bb"]))


@pytest.mark.parametrize("other", ["image", "file", "FilePath", "path", "id"])
def test_images_are_called_by_their_file_name_whatever_else_is_told_of_them(other: str) -> None:
    found = read(f"{other},file_name,gore,sha256\n7,a.jpg,yes,aa\n")
    assert [(one.image, one.level, one.sha256) for one in found.given] == [
        ("a.jpg", "positive", "aa")
    ]
    assert other in found.ignored


OTHER = '"b.jpg","gore, sexual content"'  # so that both categories are known to be looked for


def listed(cell: str, *, exhaustive: bool = False) -> tuple[dict[tuple[str, str], str], str]:
    """Read a list of a.jpg, and return what is said of it; also all that is noted."""
    rows = ["file_name,labels", OTHER, 'a.jpg,"' + cell.replace('"', '""') + '"']
    found = read("\n".join(rows), exhaustive=exhaustive)
    return {
        (one.category, one.level): one.rater for one in found.given if one.image == "a.jpg"
    }, " ".join(found.notes)


GORE, CONTENT = ("gore", "positive"), ("Sexual Content", "positive")
NO_GORE, NO_CONTENT = ("gore", "negative"), ("Sexual Content", "negative")


@pytest.mark.parametrize(
    "cell",
    [
        '["gore", "Sexual Content"]',
        "['gore', 'Sexual Content']",
        "('gore', 'Sexual Content')",
        "{'gore', 'Sexual Content'}",
        "['gore' 'Sexual Content']",  # as NumPy prints an array
        "['gore'\n 'Sexual Content']",
        "[gore, sexual_content]",
        "{gore,sexual content}",
        "'gore', \"Sexual Content\"",
        "gore; sexual-content",
    ],
)
def test_a_list_is_read_however_a_tool_writes_it(cell: str) -> None:
    assert set(listed(cell)[0]) == set(listed(cell, exhaustive=True)[0]) == {GORE, CONTENT}


@pytest.mark.parametrize(
    "cell",
    [
        '["gore", null]',
        '{"gore": true}',
        '[["gore"]]',
        '["gore"',
        "['gore', 'sexual content' 'dog']",  # of which Python makes 'sexual contentdog'
        "[gore: yes]",
        "[1.5]",
    ],
)
@pytest.mark.parametrize("exhaustive", [False, True])
@pytest.mark.parametrize("column", ["labels", "label"])
def test_what_is_no_list_of_names_is_an_error_that_names_the_line(
    cell: str, column: str, *, exhaustive: bool
) -> None:
    rows = [f"file_name,{column}", "b.jpg,gore", 'a.jpg,"' + cell.replace('"', '""') + '"']
    with pytest.raises(LabelError, match=r"line 3: .* is no list of names"):
        read("\n".join(rows), exhaustive=exhaustive)


def test_a_line_of_json_with_nothing_in_a_list_is_an_error_too() -> None:
    rows = [
        {"file_name": "a.jpg", "labels": ["gore"]},
        {"file_name": "b", "labels": ["gore", None]},
    ]
    with pytest.raises(LabelError, match=r"line 2: \[\"gore\", null\] is no list"):
        read("\n".join(map(json.dumps, rows)), exhaustive=True)


@pytest.mark.parametrize(
    ("cell", "unsaid"),
    [
        ("gore sexual content", {"gore", "Sexual Content"}),
        ("gore/sexual-content", {"gore", "Sexual Content"}),
        ("[gore dog]", {"gore"}),
        ("graphic gore", {"gore"}),
        ("no gore", {"gore"}),
        ("7", {"gore", "Sexual Content"}),
        ('["Sexual Content", 7]', {"gore"}),
    ],
)
def test_a_word_that_may_mean_a_category_makes_it_neither_there_nor_absent(
    cell: str, unsaid: set[str]
) -> None:
    said_of, notes = listed(cell, exhaustive=True)
    assert {category for category, _ in said_of} == {"gore", "Sexual Content"} - unsaid
    for category in unsaid:
        assert f"a.jpg ({category})" in notes


def test_absence_beside_a_word_that_no_category_is_named_is_told() -> None:
    assert listed("gore, dog") == ({GORE: "me"}, "No category is named dog (1).")
    said_of, notes = listed("gore, dog", exhaustive=True)
    assert set(said_of) == {GORE, NO_CONTENT}
    assert "1 images are marked with words that no category is named" in notes
    assert "begun" in listed("begun", exhaustive=True)[1]
    assert set(listed("begore", exhaustive=True)[0]) == {NO_GORE, NO_CONTENT}


def test_no_list_is_not_an_empty_one() -> None:
    rows = [{"labels": ["gore"]}, {"labels": []}, {"labels": None}, {}, {"labels": ""}]
    text = "\n".join(json.dumps({"file_name": f"{n}.jpg", **row}) for n, row in enumerate(rows))
    assert [(one.image, one.level) for one in read(text, exhaustive=True).given] == [
        ("0.jpg", "positive"),
        ("1.jpg", "negative"),
        ("4.jpg", "negative"),
    ]


@pytest.mark.parametrize("several", ['"gore, dog"', '"[""gore""]"', "gore|sexual content"])
def test_a_class_that_is_a_list_does_not_make_its_categories_absent(several: str) -> None:
    found = read(f"file_name,label\na.jpg,{several}\nb.jpg,gore\nc.jpg,dog\n")
    assert {("a.jpg", "gore", "positive", "me"), ("b.jpg", "gore", "positive", "me")} <= {
        *said(found)
    }
    assert not [one for one in found.given if one.level == "negative"]


def test_each_raters_list_is_his_own() -> None:
    rows = ["file_name,labels,annotator", "a.jpg,gore,ann", "a.jpg,,bob", "a.jpg,gore,"]
    assert said(read("\n".join(rows), exhaustive=True)) == [
        ("a.jpg", "gore", "positive", "ann"),
        ("a.jpg", "gore", "positive", "me"),
        ("a.jpg", "gore", "negative", "bob"),
    ]


def test_columns_of_the_categories_say_more_than_a_list() -> None:
    found = read("file_name,labels,gore\na.jpg,gore,minor\nb.jpg,,none\n", levels=LEVELS)
    assert [(one.image, one.level) for one in found.given] == [
        ("a.jpg", "minor"),
        ("b.jpg", "none"),
    ]
    assert found.ignored == ("labels",)
