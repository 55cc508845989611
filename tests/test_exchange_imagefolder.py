"""Laws of an imagefolder's metadata: whose rows they are, and what a list says and does not."""

from __future__ import annotations

import pytest
from exchange_case import read

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
