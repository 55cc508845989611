"""Laws of names: what a sheet keeps of them, and that a rater is one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from exchange_case import read
from hypothesis import example, given
from hypothesis import strategies as st

from clipcal.calibrate.labels.matching import plain_path
from clipcal.calibrate.labels.sheet import parse_sheet
from clipcal.errors import LabelError
from clipcal.index.names import cell_name, rater_name

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\%"), min_size=1)


@given(name=NAMES)
@example(name="a\rb.jpg")
@example(name=' a,"\n\0.jpg ')
def test_a_sheet_gives_back_the_path_that_it_was_given(name: str) -> None:
    uri = f"/photos/{name}"
    text = io.StringIO()
    rows = [("image", "gore"), (cell_name(uri), "yes"), ("/photos/next.jpg", "no")]
    csv.writer(text, lineterminator="\n").writerows(rows)
    sheet = parse_sheet(text.getvalue().encode(), Path("labels.csv"))
    column = sheet.columns[0]
    found = [column.words[code] for code in column.codes.tolist()]
    assert [plain_path(one) for one in found] == [plain_path(uri), "photos/next.jpg"]


@given(name=st.text(max_size=20))
def test_a_raters_name_is_written_in_one_way(name: str) -> None:
    try:
        once = rater_name(name)
    except LabelError:
        return
    assert rater_name(once) == once
    assert rater_name(f" {once}\n") == once


@pytest.mark.parametrize("who", ["a\rb", "a\0b", "x" * 140_000])
def test_a_file_that_names_no_possible_rater_is_refused(who: str) -> None:
    result = {"from_name": "gore", "type": "choices", "value": {"choices": ["yes"]}}
    task = {
        "data": {"image": "a/1.png"},
        "annotations": [{"completed_by": who, "result": [result]}],
    }
    with pytest.raises(LabelError, match="cannot name a rater"):
        read([task])
