"""Laws of decisions for a whole corpus and of the file that keeps them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels
from clipcal.calibrate.decisions.rescore import UNDECIDED, decisions, write_csv
from clipcal.calibrate.records import Cut
from clipcal.errors import CalibrationError

BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")


def contract(levels: tuple[str, ...], **thresholds: tuple[float | None, ...]) -> Contract:
    """Return a contract with, per category, a threshold for each level above the lowest."""
    cuts = {
        name: {
            level: Cut(
                status="estimated" if limit is not None else "no_positives",
                threshold=limit,
                objective="f1",
                n=10,
                positives=5,
                next_step="",
            )
            for level, limit in zip(levels[1:], limits, strict=True)
        }
        for name, limits in thresholds.items()
    }
    return Contract(
        created="2024-05-06",
        clipcal="0.1.0",
        model="m",
        fingerprint=Fingerprint(model="m", preprocessing="p", prompts="s", score_rule="margin"),
        prompt_set=KeptPromptSet(name="set", sha256="", toml=""),
        labels=Labels(name="human.csv", sha256="", images=10),
        levels=levels,
        confidence=0.95,
        target="f1",
        seed=0,
        categories=cuts,
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_yes_and_no_are_decided_at_the_threshold():
    scores = np.array([[0.1, 0.9], [0.2, 0.3]], np.float32)
    decided = decisions(scores, ["a", "b"], contract(BINARY, a=(0.2,), b=(0.5,)))
    assert decided.values.tolist() == [[0, 1], [1, 0]]
    assert decided.values.dtype == np.int8


def test_an_image_has_the_highest_level_that_it_reaches():
    scores = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)
    decided = decisions(scores, ["a"], contract(LADDER, a=(0.15, 0.35)))
    assert decided.values[:, 0].tolist() == [0, 1, 1, 2]
    equal = decisions(scores, ["a"], contract(LADDER, a=(0.25, 0.25)))
    assert equal.values[:, 0].tolist() == [0, 0, 2, 2]


def test_what_no_threshold_decides_is_undecided():
    scores = np.array([[0.1, 0.1, 0.1], [0.4, 0.4, 0.4]], np.float32)
    decided = decisions(
        scores, ["a", "b", "c"], contract(LADDER, a=(None, None), b=(None, 0.3), c=(0.3, None))
    )
    assert decided.values.tolist() == [[UNDECIDED, UNDECIDED, 0], [UNDECIDED, 2, 1]]


def test_columns_are_found_by_name_not_by_place():
    scores = np.array([[0.1, 0.9]], np.float32)
    fitted = contract(BINARY, a=(0.5,), b=(0.5,))
    assert decisions(scores, ["a", "b"], fitted).values.tolist() == [[0, 1]]
    assert decisions(scores, ["b", "a"], fitted).values.tolist() == [[0, 1]]
    assert decisions(scores[:, ::-1], ["b", "a"], fitted).values.tolist() == [[1, 0]]
    shifted = contract(BINARY, a=(0.05,), b=(0.95,))
    assert decisions(scores, ["a", "b"], shifted).values.tolist() == [[1, 0]]


def test_a_category_that_was_not_calibrated_is_refused():
    with pytest.raises(CalibrationError, match=r"no category b; it has a.*clipcal calibrate"):
        decisions(np.zeros((1, 2), np.float32), ["a", "b"], contract(BINARY, a=(0.5,)))


def test_the_file_has_score_threshold_and_decision_per_category(tmp_path):
    path = tmp_path / "decisions.csv"
    scores = np.array([[0.25, 0.1], [0.75, 0.2]], np.float32)
    fitted = contract(BINARY, a=(0.5,), b=(None,))
    write_csv(decisions(scores, ["a", "b"], fitted), ["x.jpg", "y.jpg"], path)
    rows = read(path)
    names = ["image", "a_score", "a_threshold", "a", "b_score", "b_threshold", "b"]
    assert list(rows[0]) == names
    assert [list(row.values()) for row in rows] == [
        ["x.jpg", "0.25", "0.5", "0", "0.1", "", ""],
        ["y.jpg", "0.75", "0.5", "1", "0.2", "", ""],
    ]


def test_levels_are_written_by_name_and_the_lowest_threshold_beside(tmp_path):
    path = tmp_path / "decisions.csv"
    scores = np.array([[0.1], [0.2], [0.9]], np.float32)
    write_csv(decisions(scores, ["a"], contract(LADDER, a=(0.15, 0.35))), ["x", "y", "z"], path)
    assert [row["a"] for row in read(path)] == ["none", "minor", "major"]
    assert {row["a_threshold"] for row in read(path)} == {"0.15"}


def test_any_name_of_an_image_survives_in_utf8(tmp_path):
    path = tmp_path / "decisions.csv"
    names = [
        'a,"b".jpg',
        "two\nlines.jpg",
        "büro/é.jpg",
        " ",
        "图.png",
        b"\xff.jpg".decode("utf-8", "surrogateescape"),
    ]
    scores = np.zeros((len(names), 1), np.float32)
    write_csv(decisions(scores, ["a"], contract(BINARY, a=(0.5,))), names, path)
    assert [row["image"] for row in read(path)] == [*names[:-1], "\\xff.jpg"]


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=30), st.integers(-1_999_999, 1_999_999))
def test_decisions_made_again_from_the_file_are_the_same(tmp_path_factory, steps, micro):
    path = tmp_path_factory.mktemp("file") / "decisions.csv"
    threshold = micro / 1e6
    near = np.float32(threshold) + np.array(steps, np.float32) * np.spacing(np.float32(threshold))
    decided = decisions(near.astype(np.float32)[:, None], ["a"], contract(BINARY, a=(threshold,)))
    write_csv(decided, [str(i) for i in range(len(steps))], path)
    rows = read(path)
    again = [int(float(row["a_score"]) >= float(row["a_threshold"])) for row in rows]
    assert again == [int(row["a"]) for row in rows] == decided.values[:, 0].tolist()
    assert [np.float32(row["a_score"]) for row in rows] == decided.scores[:, 0].tolist()


def test_more_rows_than_are_written_at_once_are_all_written(tmp_path, monkeypatch):
    monkeypatch.setattr("clipcal.calibrate.decisions.rescore._ROWS_AT_ONCE", 7)
    path = tmp_path / "decisions.csv"
    scores = np.arange(30, dtype=np.float32)[:, None]
    write_csv(
        decisions(scores, ["a"], contract(BINARY, a=(14.5,))), [f"{i}.jpg" for i in range(30)], path
    )
    rows = read(path)
    assert [row["image"] for row in rows] == [f"{i}.jpg" for i in range(30)]
    assert [int(row["a"]) for row in rows] == [int(i >= 15) for i in range(30)]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text("old")
    decided = decisions(np.zeros((2, 1), np.float32), ["a"], contract(BINARY, a=(0.5,)))
    with pytest.raises(CalibrationError, match="names"):
        write_csv(decided, ["x"], path)
    with pytest.raises(CalibrationError, match="absent"):
        write_csv(decided, ["x", "y"], tmp_path / "absent" / "decisions.csv")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["decisions.csv"]
