"""Tables on terminals of any width, and files that no result may replace."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.commands.common import FOLDED, keep_what_is_no_page, print_table

COLUMNS = ("Category", "Status", ">Threshold", ">Recall", ">Flags")
CELLS = st.text("abcdefghij0123456789.-[]", min_size=1, max_size=FOLDED)
ROWS = st.lists(st.tuples(*[CELLS] * len(COLUMNS)), min_size=1, max_size=4)


def printed(rows: list[tuple[str, ...]], width: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")  # as rich knows a terminal
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(width))
        patch.setenv("LINES", "40")
        from click.testing import CliRunner

        @click.command()
        def show() -> None:
            print_table(COLUMNS, rows, title="What was found")

        return click.unstyle(CliRunner().invoke(show, catch_exceptions=False).stdout)


@given(ROWS, st.integers(20, 200))
def test_no_name_and_no_number_is_ever_cut_or_left_out(rows, width):
    shown = printed(rows, width).split()
    for row in rows:
        assert set(row) <= set(shown)


@given(ROWS)
def test_a_table_that_fits_is_a_table_and_one_that_does_not_names_each_number(rows):
    wide, narrow = printed(rows, 200), printed(rows, 20)
    assert wide.count("Threshold") == 1
    assert narrow.count("Threshold: ") == len(rows)


def test_a_blank_cell_takes_no_line_of_a_block():
    assert "Recall" not in printed([("fire", "certified", "0.1", "", "3")], 20)


@pytest.mark.parametrize("content", ["image,gore\na,yes\n", "{}", "# Notes\n"])
def test_a_page_replaces_no_file_that_is_no_page(tmp_path: Path, content: str):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(click.UsageError, match="labels.csv would be overwritten"):
        keep_what_is_no_page(path)
    assert path.read_text() == content


@pytest.mark.parametrize("content", [None, "", "<!DOCTYPE html>\n", "\ufeff <HTML lang=en>"])
def test_a_page_may_replace_a_page_or_nothing(tmp_path: Path, content: str | None):
    path = tmp_path / "report.html"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    keep_what_is_no_page(path)
