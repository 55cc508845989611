"""Laws of what a threshold is to attain, as people write it."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipcal.calibrate.cuts.targets import Goal, Target, parse_bands, parse_target
from clipcal.errors import CalibrationError

rates = st.floats(0, 1, exclude_min=True, exclude_max=True)
positive = st.floats(1e-12, 1e12)
targets = st.one_of(
    st.sampled_from([Target("f1"), Target("levels")]),
    rates.map(lambda rate: Target("recall", rate)),
    rates.map(lambda rate: Target("precision", rate)),
    positive.map(lambda beta: Target("fbeta", beta)),
    st.integers(1, 10**12 - 1).map(lambda flags: Target("budget", flags)),
    st.tuples(positive, positive).map(lambda costs: Target("cost", *costs)),
)
KNOWN = r"recall=R .*precision=P.* f1; fbeta=B; cost=FN:FP.* budget=N.* levels"


@given(targets)
@example(Target("recall", 0.9999999999999999))
@example(Target("fbeta", 1e11 + 0.001))
@example(Target("budget", 999_999_999_999))
def test_what_a_target_is_written_as_is_read_as_the_same_target(target: Target) -> None:
    assert parse_target(str(target)) == target


@given(targets, st.randoms(use_true_random=False))
def test_spaces_and_case_say_nothing(target: Target, random) -> None:
    text = "".join(random.choice((x, x.upper(), f" {x}", f"{x} ")) for x in str(target))
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("recall=0.9", Target("recall", 0.9)),
        ("PRECISION = .8", Target("precision", 0.8)),
        ("f1", Target("f1")),
        ("fbeta=2", Target("fbeta", 2)),
        ("cost=5:1", Target("cost", 5, 1)),
        ("cost=.5 : 1e-2", Target("cost", 0.5, 0.01)),
        ("budget=500", Target("budget", 500)),
        (" Levels ", Target("levels")),
    ],
)
def test_every_form_is_read(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert target.guaranteed == (target.kind in {"recall", "precision"})


def test_targets_are_shown_as_people_write_them() -> None:
    written = ["recall=0.9", "precision=0.95", "f1", "fbeta=2", "cost=5:1", "budget=500", "levels"]
    assert [str(parse_target(text)) for text in written] == written


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", "recall", "recall=", "recall=high", "recall=nan", "recall=inf", "recall=-0.9"),
        *("recall=0.9,", "recall=0.9:1", "recall==0.9", "accuracy=0.9", "precision=80%"),
        *("f1=1", "f2", "fbeta", "fbeta=0", "fbeta=-1", "fbeta=1e999"),
        *("cost", "cost=5", "cost=5:", "cost=:1", "cost=0:1", "cost=1:0", "cost=1:2:3"),
        *("cost=-1:1", "cost=1e999:1", "cost=nan:1"),
        *("budget", "budget=0", "budget=-3", "budget=1.5", "budget=1e3", "budget=9999999999999"),
        *("levels=2", "level", "f1 or recall=0.9"),
    ],
)
def test_what_is_no_target_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(CalibrationError, match=KNOWN) as refused:
        parse_target(text)
    assert f"'{text}'" in str(refused.value)
    assert "clipcal calibrate --target recall=0.9" in str(refused.value)


@pytest.mark.parametrize("kind", ["recall", "precision"])
@pytest.mark.parametrize("rate", ["0", "1", "90", "1.0", "0.0", "1e999"])
def test_a_rate_outside_zero_and_one_is_refused_by_its_name(kind: str, rate: str) -> None:
    with pytest.raises(CalibrationError, match=f"{kind} is .*between 0 and 1"):
        parse_target(f"{kind}={rate}")


# --- bands ----------------------------------------------------------------------------------


@given(rates, rates, st.booleans())
def test_bands_are_a_recall_and_a_precision_in_either_order(
    recall: float, precision: float, swap: bool
) -> None:
    pair = Target("recall", recall), Target("precision", precision)
    text = ",".join(map(str, pair[::-1] if swap else pair))
    assert parse_bands(text) == pair
    assert parse_bands(text.upper().replace(",", " , ")) == pair


@pytest.mark.parametrize(
    "text",
    [
        *("recall=0.9", "precision=0.9", "recall=0.9,recall=0.8", "precision=0.8,precision=0.9"),
        *("recall=0.9,f1", "f1,levels", "recall=0.9,precision=0.9,recall=0.8"),
        "recall=0.9,recall=0.9,precision=0.9",
    ],
)
def test_bands_that_are_not_one_of_each_show_how_they_are_written(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"--bands recall=0\.9,precision=0\.9"):
        parse_bands(text)


@pytest.mark.parametrize("text", ["", ",", "recall=0.9,", "recall=0.9;precision=0.9", "0.9,0.9"])
def test_bands_of_what_is_no_target_are_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(CalibrationError, match=KNOWN):
        parse_bands(text)


# --- goals ----------------------------------------------------------------------------------


@given(st.floats(0.5, 0.999))
def test_two_guarantees_of_a_cut_share_its_risk(confidence: float) -> None:
    recall, precision = parse_bands("recall=0.9,precision=0.8")
    assert math.isclose(Goal(recall, confidence).risk, 1 - confidence)
    bands = Goal(recall, confidence, block=precision)
    assert math.isclose(2 * bands.risk, 1 - confidence)
