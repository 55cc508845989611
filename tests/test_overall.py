"""Laws of the verdict that is composed from an image's categories."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.decisions.overall import judge, warn_of_missing_levels
from clipcal.calibrate.decisions.rescore import Decisions, write_csv
from clipcal.calibrate.labels.table import read_labels
from clipcal.prompts.promptset import PromptSet, load_prompt_set, parse_prompt_set

LADDER = ("none", "minor", "major")
SEED = load_prompt_set("moderation")


def decided(
    values: np.ndarray, levels: tuple[str, ...] = LADDER, *, thresholds_from: int | None = None
) -> Decisions:
    """Return decisions with `values`; undecided columns have thresholds only from a rank up."""
    values = np.asarray(values, np.int8)
    thresholds = np.zeros((len(levels) - 1, values.shape[1]))
    without = slice(None if thresholds_from is None else thresholds_from - 1)
    thresholds[without, (values == -1).any(axis=0)] = np.inf
    names = tuple(f"c{column}" for column in range(values.shape[1]))
    return Decisions(names, levels, np.zeros(values.shape, np.float32), thresholds, values)


def rules(text: str, levels: str = '["none", "minor", "major"]') -> PromptSet:
    head = f"levels = {levels}\n" if levels else ""
    toml = f'{head}[category.c0]\nprompts = ["x"]\n[overall]\n{text}\n'
    return parse_prompt_set(toml, source="my.toml", format="toml")


def verdicts(values: object, prompt_set: PromptSet = SEED, **kwargs: object) -> list[str | None]:
    judged = judge(decided(np.asarray(values), **kwargs), prompt_set)  # type: ignore[arg-type]  # by name
    assert judged is not None
    return judged.per_image()


def seed_rule(levels: tuple[int, ...]) -> str:
    """One major or four minors; two or three minors; otherwise."""
    if levels.count(2) >= 1 or levels.count(1) >= 4:
        return "inappropriate"
    return "questionable" if levels.count(1) >= 2 else "appropriate"


def test_the_packaged_rules_are_those_of_the_study_for_every_six_levels() -> None:
    every = list(itertools.product(range(3), repeat=6))
    assert verdicts(every) == [seed_rule(levels) for levels in every]


def test_people_follow_the_packaged_rules(shared_data: Path) -> None:
    file = shared_data / "posts" / "human_annotations.csv"
    names = [category.name for category in SEED.categories]
    table = read_labels(file, categories=names, levels=SEED.levels)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        given_verdicts = {row["Image"]: row["Overall"] for row in csv.DictReader(stream)}
    composed = dict(zip(table.images, verdicts(table.values), strict=True))
    agreed = sum(composed[image] == verdict for image, verdict in given_verdicts.items())
    assert (agreed, len(given_verdicts)) == (8, 8)


def test_the_first_rule_that_holds_counts() -> None:
    ordered = rules('a = "minor >= 1"\nb = "minor >= 2"\notherwise = "c"')
    turned = rules('b = "minor >= 2"\na = "minor >= 1"\notherwise = "c"')
    assert verdicts([[1, 1], [1, 0], [0, 0]], ordered) == ["a", "a", "c"]
    assert verdicts([[1, 1], [1, 0], [0, 0]], turned) == ["b", "a", "c"]


def test_a_rule_counts_exactly_its_level() -> None:
    exact = rules('a = "minor == 1 and none < 2 or major > 1"\notherwise = "b"')
    assert verdicts([[1, 2, 2], [1, 2, 0], [1, 0, 0], [1, 1, 0]], exact) == ["a", "a", "b", "b"]


def test_the_verdict_of_no_rule_may_be_that_of_one() -> None:
    same = rules('a = "major >= 1"\nb = "minor >= 1"\notherwise = "a"')
    assert verdicts([[2], [1], [0]], same) == ["a", "b", "a"]


def test_without_levels_whatever_is_above_the_lowest_is_positive() -> None:
    plain = rules('a = "positive >= 2"\nb = "negative == 2"\notherwise = "c"', levels="")
    assert verdicts([[2, 1], [0, 0], [0, 2]], plain) == ["a", "b", "c"]
    binary = ("negative", "positive")
    assert verdicts([[1, 1], [0, 0], [0, 1]], plain, levels=binary) == ["a", "b", "c"]


def test_what_is_undecided_takes_a_verdict_only_where_it_might_change_it() -> None:
    images = [[2, -1, 0], [1, -1, 0], [0, -1, 0], [1, 0, 0]]
    assert verdicts(images) == ["inappropriate", None, None, "appropriate"]
    # A major that has a threshold which was not reached leaves minor alone to be open.
    assert verdicts([[1, -1], [0, -1]], thresholds_from=2) == [None, "appropriate"]


@given(st.lists(st.tuples(*[st.integers(-1, 2)] * 6), min_size=1, max_size=20))
def test_a_verdict_given_despite_undecided_categories_holds_however_they_turn_out(images) -> None:
    for levels, verdict in zip(images, verdicts(images), strict=True):
        open_ = [range(3) if level == -1 else (level,) for level in levels]
        possible = {seed_rule(turned) for turned in itertools.product(*open_)}
        assert verdict is None or possible == {verdict}
        assert verdict is not None or len(possible) > 1


def test_rules_over_levels_that_the_labels_lack_give_no_verdict_and_a_warning() -> None:
    binary = ("negative", "positive")
    assert judge(decided(np.zeros((2, 3)), binary), SEED) is None
    (warning,) = warn_of_missing_levels(binary, SEED)
    assert "minor, major" in warning
    assert warn_of_missing_levels(LADDER, SEED) == ()


def test_a_set_without_rules_gives_no_verdict() -> None:
    plain = parse_prompt_set("c0 = 'x'", source="my.toml", format="toml")
    assert judge(decided(np.zeros((2, 1))), plain) is None


def test_counts_and_undecided_add_up_to_the_images() -> None:
    judged = judge(decided(np.array([[2, -1], [1, 1], [0, -1]])), SEED)
    assert judged is not None
    assert judged.counts() == {"inappropriate": 1, "questionable": 1, "appropriate": 0}
    assert judged.undecided == 1


def test_the_verdict_is_the_last_column_and_changes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.calibrate.decisions.rescore._ROWS_AT_ONCE", 2)
    made = decided(np.array([[2, 0], [0, 0], [0, -1]]))
    judged = judge(made, SEED)
    assert judged is not None
    write_csv(made, ["x", "y", "z"], tmp_path / "plain.csv")
    write_csv(made, ["x", "y", "z"], tmp_path / "judged.csv", judged.per_image())
    plain, with_verdict = (
        list(csv.reader((tmp_path / name).read_text("utf-8").splitlines()))
        for name in ("plain.csv", "judged.csv")
    )
    assert [row[:-1] for row in with_verdict] == plain
    expected = ["overall", "inappropriate", "appropriate", ""]
    assert [row[-1] for row in with_verdict] == expected
