"""Tables on terminals of any width, and files that no result may replace."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.commands.calibration_tables import _print_evaluation, _print_filled
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


def held_out(**known: Estimate) -> SimpleNamespace:
    rates = {"recall": None, "precision": None, "f1": None} | known
    return SimpleNamespace(n=9, positives=2, flags=3, **rates)


def test_an_evaluation_that_could_judge_nothing_is_one_line(capsys: pytest.CaptureFixture[str]):
    nothing = {"fire": {"positive": held_out()}, "sea": {"positive": held_out()}}
    held = SimpleNamespace(categories=nothing, macro_f1=None, macro_over=0)
    _print_evaluation(held, "Out of fold", "A title")
    assert capsys.readouterr().out == "Out of fold: too few labels to judge.\n"


def test_a_cut_that_could_not_be_judged_is_named_below_the_others(
    capsys: pytest.CaptureFixture[str],
):
    judged = held_out(recall=Estimate(0.5, 0.1, 0.9, 2))
    cuts = {"fire": {"positive": judged}, "sea": {"positive": held_out()}}
    _print_evaluation(SimpleNamespace(categories=cuts, macro_f1=0.5, macro_over=1), "", "A title")
    out = capsys.readouterr().out
    assert "0.50 [0.10, 0.90]" in out
    assert "Too few labels to judge: sea." in out
    assert out.count("sea") == 1


def test_a_column_that_is_blank_in_every_row_is_left_out(capsys: pytest.CaptureFixture[str]):
    _print_filled(
        ("Category", ">Recall", ">Flags"), [("fire", "–", "3"), ("sea", "", "")], title=""
    )
    out = capsys.readouterr().out
    assert "Recall" not in out
    assert "Flags" in out
