"""Laws of thresholds that a person places: what they may claim, and that nothing moves them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_cases import LADDER, NAMES, World, contract_of, cuts_of, goal_of

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.by_hand import (
    Edges,
    Placed,
    find_places,
    kept,
    options_of,
    parse_placed,
)
from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.fit import fit_cuts
from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.cuts.thresholds import declare
from clipcal.calibrate.decisions.columns import BANDS, band_codes
from clipcal.calibrate.decisions.rescore import decisions, warn_of
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.records import BY_HAND
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import wilson
from clipcal.errors import CalibrationError

# --- as they are written --------------------------------------------------------------------


def test_a_threshold_and_an_upper_one_of_the_same_cut_are_one():
    placed = parse_placed(["alcohol=0.07", "gore:major=-1e-1"], ["alcohol=0.2"])
    assert placed == (Placed("alcohol", None, 0.07, 0.2), Placed("gore", "major", -0.1, None))
    assert options_of(placed) == (
        " --threshold alcohol=0.07 --upper alcohol=0.2 --threshold gore:major=-0.1"
    )


@pytest.mark.parametrize("text", ["alcohol", "=0.1", "alcohol=", "a=nan", "a=inf", "a:=0.1", "a=x"])
def test_what_places_no_threshold_is_refused_with_an_example(text: str):
    with pytest.raises(CalibrationError, match=r"CATEGORY=T.*--threshold alcohol=0\.07"):
        parse_placed([text])


def test_two_values_for_one_cut_are_refused():
    with pytest.raises(CalibrationError, match=r"Two values are given for 'a:major'"):
        parse_placed(["a:major=0.1", "a:major=0.2"])
    with pytest.raises(CalibrationError, match="placed twice"):
        find_places([Placed("a", None, 0.1), Placed("a", "positive", 0.2)], ["a"], BINARY)


def test_a_level_may_go_unnamed_only_where_there_is_one():
    assert find_places([Placed("a", None, 0.1)], ["b", "a"], BINARY) == {(1, 1): Edges(0.1)}
    assert find_places([Placed("a", "major", 0.1)], ["a"], LADDER) == {(0, 2): Edges(0.1)}
    with pytest.raises(CalibrationError, match=r"several levels.*--threshold a:minor=0\.07"):
        find_places([Placed("a", None, 0.1)], ["a"], LADDER)
    with pytest.raises(CalibrationError, match="has no level 'none'"):
        find_places([Placed("a", "none", 0.1)], ["a"], LADDER)
    with pytest.raises(CalibrationError, match="no category 'c'"):
        find_places([Placed("c", None, 0.1)], ["a"], BINARY)


def test_a_colon_may_be_part_of_a_categorys_name():
    names = ["art:nude", "art"]
    found = find_places(parse_placed(["art:nude=0.1", "art=0.2"]), names, BINARY)
    assert found == {(0, 1): Edges(0.1), (1, 1): Edges(0.2)}
    ladder = find_places(parse_placed(["art:nude:major=0.1"]), names, LADDER)
    assert ladder == {(0, 2): Edges(0.1)}


def test_an_upper_threshold_below_the_other_is_refused():
    with pytest.raises(CalibrationError, match="blocked from 0.1 on and reviewed from 0.2 on"):
        find_places([Placed("a", None, 0.2, 0.1)], ["a"], BINARY)


# --- recall ---------------------------------------------------------------------------------


@given(st.integers(0, 500), st.floats(-3, 5), st.booleans())
@settings(max_examples=40)
def test_a_recall_stays_certified_at_or_below_the_fitted_threshold_and_nowhere_else(
    seed: int, threshold: float, joint: bool
) -> None:
    world, goal = World.of(seed), goal_of("recall=0.8", joint=joint)
    sample = world.draw(seed)
    fitted = cuts_of(world, sample, goal)["fire"]["positive"]
    cut = cuts_of(world, sample, goal, Placed("fire", None, threshold))["fire"]["positive"]
    assert fitted.status == "certified"
    assert fitted.threshold is not None
    assert cut.by_hand
    assert cut.threshold == kept(threshold)
    assert cut.flags == decide(world.scores[:, 0], kept(threshold)).sum()
    if cut.threshold <= fitted.threshold:
        assert (cut.status, cut.objective) == ("certified", "recall=0.8")
        assert (cut.evidence, cut.confidence) == (fitted.evidence, fitted.confidence)
        assert cut.guarantee is not None
        assert f"{cut.threshold:.6f}" in cut.guarantee
    else:
        assert (cut.status, cut.objective) == ("estimated", BY_HAND)
        assert cut.guarantee is cut.evidence is cut.confidence is None
        assert f"certified up to {fitted.threshold:.6f}" in cut.next_step


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("away", [-2.0, 2.0])
def test_a_placed_threshold_leaves_every_other_guarantee_as_it_is(joint: bool, away: float):
    world, goal = World.of(3), goal_of("recall=0.8", joint=joint)
    sample = world.draw(3)
    before = cuts_of(world, sample, goal)
    after = cuts_of(world, sample, goal, Placed("fire", None, away))
    (water,) = after["water"].values()
    assert water.threshold == before["water"]["positive"].threshold
    assert water.guarantee == before["water"]["positive"].guarantee
    assert (after["fire"]["positive"].status == "certified") == (away < 0)


def test_too_few_labels_are_said_to_be_too_few_where_a_person_placed_the_threshold():
    world, goal = World.of(3), goal_of("recall=0.9")
    cut = cuts_of(world, world.draw(3, n=20), goal, Placed("fire", None, 0.5))["fire"]["positive"]
    assert (cut.status, cut.objective, cut.guarantee) == ("estimated", BY_HAND, None)
    assert cut.further_positives is None  # it was not asked for
    assert "For recall=0.9: Label about" in cut.next_step
    assert "--threshold fire=0.5" in cut.next_step  # the command that does the same again


@pytest.mark.parametrize("text", ["f1", "cost=5:1", "budget=100", "fbeta=2"])
def test_a_target_that_guarantees_nothing_guarantees_nothing_by_hand(text: str):
    world = World.of(5)
    cut = cuts_of(world, world.draw(5), goal_of(text), Placed("fire", None, -9.0))["fire"]
    assert cut["positive"].status == "estimated"
    assert cut["positive"].objective == BY_HAND
    assert cut["positive"].guarantee is None
    assert "nothing is promised" in cut["positive"].next_step


# --- precision ------------------------------------------------------------------------------


@given(st.integers(0, 300), st.floats(-2, 5))
@settings(max_examples=30)
def test_a_precision_stays_certified_at_the_certified_candidates_alone(
    seed: int, elsewhere: float
) -> None:
    world, goal = World.of(seed), goal_of("precision=0.6")
    sample = world.draw(seed, n=300)
    declared = declare(world.scores, goal, 300)
    certified = fit_cuts(sample, goal, declared, BINARY)[0, 1].certified
    for threshold in (*certified, elsewhere, *(one + 2e-6 for one in certified)):
        placed = Placed("fire", None, threshold + 3e-7)  # as a person reads it, to six decimals
        cut = cuts_of(world, sample, goal, placed)["fire"]["positive"]
        flagged = decide(sample.scores[:, 0], threshold)
        if threshold in certified:
            assert cut.status == "certified"
            assert cut.threshold == threshold
            assert cut.evidence == flagged.sum()
        else:
            assert (cut.status, cut.guarantee) == ("estimated", None)


def test_a_person_who_knows_the_truth_still_cannot_break_a_precision_more_often_than_its_risk():
    """The worst of the certified candidates is picked, and elsewhere nothing is claimed."""
    world, goal = World.of(11), goal_of("precision=0.7")
    truth = world.values[:, 0] > 0
    broken, claimed = 0, 0
    for seed in range(200):
        sample = world.draw(seed, n=250)
        fit = fit_cuts(sample, goal, declare(world.scores, goal, 250), BINARY)[0, 1]
        if not fit.certified:
            continue
        real = {t: truth[decide(world.scores[:, 0], t)].mean() for t in fit.certified}
        worst = min(real, key=lambda t: real[t])
        placed = {(0, 1): Edges(worst)}
        chosen = fit_cuts(sample, goal, declare(world.scores, goal, 250), BINARY, placed)[0, 1]
        assert chosen.status == "certified"
        claimed += 1
        broken += real[worst] < 0.7
    assert claimed > 100
    assert broken / 200 <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200)


def test_a_threshold_picked_for_its_interval_breaks_a_recall_far_more_often_than_its_risk():
    """Why nothing is claimed above the certified threshold, however good the interval looks."""
    world, goal = World.of(11), goal_of("recall=0.8")
    positive = world.scores[world.values[:, 0] > 0, 0]
    wrong = {"picked": 0, "certified": 0}
    for seed in range(200):
        sample = world.draw(seed, n=120)
        seen = np.sort(sample.scores[sample.values[:, 0] > 0, 0])
        looks_good = [t for t in seen if wilson(int((seen >= t).sum()), len(seen), 0.5).low >= 0.8]
        picked = {"picked": float(max(looks_good)), "certified": float(max(looks_good))}
        fit = fit_cuts(sample, goal, declare(world.scores, goal, 120), BINARY)[0, 1]
        picked["certified"] = min(picked["certified"], fit.certified[0])
        for how, threshold in picked.items():
            wrong[how] += decide(positive, threshold).mean() < 0.8
    most = 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200)
    assert wrong["certified"] / 200 <= most < wrong["picked"] / 200


# --- levels and bands -----------------------------------------------------------------------


@given(
    st.integers(0, 300),
    st.sampled_from(["recall=0.8", "precision=0.6", "f1", "recall=0.8,precision=0.6", "levels"]),
    st.sampled_from(["minor", "major"]),
    st.floats(-2, 5),
)
@settings(max_examples=60)
def test_what_is_placed_stays_and_levels_never_cross_unless_refused(
    seed: int, text: str, level: str, threshold: float
) -> None:
    world = World.of(seed, LADDER)
    sample, goal = world.draw(seed), goal_of(text)
    cuts, refusal = {}, ""
    try:
        cuts = cuts_of(world, sample, goal, Placed("fire", level, threshold))["fire"]
    except CalibrationError as error:
        refusal = str(error)
    if refusal:
        assert all(said in refusal for said in ("must not cross", "placed)", "fitted)"))
        return
    assert cuts[level].threshold == kept(threshold)
    known = [cut.threshold for cut in cuts.values() if cut.threshold is not None]
    assert known == sorted(known)
    for cut in cuts.values():
        bands = cut.bands
        if bands is not None and None not in (bands.upper, cut.threshold):
            assert cut.threshold <= bands.upper


def test_crossing_thresholds_are_refused_with_both_names():
    world = World.of(1, LADDER)
    both = (Placed("fire", "minor", 0.5), Placed("fire", "major", 0.25))
    with pytest.raises(CalibrationError) as caught:
        cuts_of(world, world.draw(1), goal_of("recall=0.8"), *both)
    assert "the threshold of 'fire:minor' (0.5, placed)" in str(caught.value)
    assert "the threshold of 'fire:major' (0.25, placed)" in str(caught.value)
    assert "clipcal calibrate --threshold" in str(caught.value)
    uppers = (Placed("fire", "minor", None, 4.0), Placed("fire", "major", None, 3.0))
    with pytest.raises(CalibrationError, match="the upper threshold of 'fire:minor'"):
        cuts_of(world, world.draw(1), goal_of("recall=0.8"), *uppers)


@given(st.integers(0, 300), st.floats(-2, 2), st.floats(0, 3))
@settings(max_examples=30)
def test_bands_by_hand_allow_below_review_between_and_block_above(
    seed: int, lower: float, gap: float
) -> None:
    world = World.of(seed)
    placed = Placed("fire", None, lower, lower + gap)
    cut = cuts_of(world, world.draw(seed), goal_of("recall=0.8"), placed)["fire"]["positive"]
    scores, bands = world.scores[:, 0], cut.bands
    assert bands is not None
    assert (bands.status, bands.objective, bands.guarantee) == ("estimated", BY_HAND, None)
    assert "nothing is promised" in bands.next_step
    low, high = np.float32(kept(lower)), np.float32(kept(lower + gap))
    expected = np.where(scores >= high, 2, np.where(scores >= low, 1, 0))
    codes = band_codes(scores, cut)
    assert (codes == expected).all()
    counts = [int((expected == code).sum()) for code in range(3)]
    assert counts == [bands.allow, bands.review, bands.block]


def test_an_upper_threshold_alone_leaves_the_lower_one_to_the_fit():
    world, goal = World.of(2), goal_of("recall=0.8")
    sample = world.draw(2)
    plain = cuts_of(world, sample, goal)["fire"]["positive"]
    cut = cuts_of(world, sample, goal, Placed("fire", None, None, 2.5))["fire"]["positive"]
    assert not cut.by_hand
    assert (cut.threshold, cut.guarantee) == (plain.threshold, plain.guarantee)
    assert cut.bands is not None
    assert cut.bands.by_hand
    assert cut.bands.allow == len(world.scores) - plain.flags


def test_a_fitted_threshold_without_a_guarantee_allows_nothing_below_an_upper_one_by_hand():
    world = World.of(2)
    for text in ("f1", "precision=0.6"):
        placed = Placed("fire", None, None, 2.5)
        cut = cuts_of(world, world.draw(2, n=300), goal_of(text), placed)["fire"]["positive"]
        assert cut.bands is not None
        assert cut.bands.allow == 0
        assert BANDS.index("allow") not in band_codes(world.scores[:, 0], cut)


def test_an_upper_threshold_at_a_certified_candidate_keeps_its_guarantee():
    world, goal = World.of(4), goal_of("recall=0.8,precision=0.6")
    sample = world.draw(4, n=300)
    declared = declare(world.scores, goal, 300)
    upper = fit_cuts(sample, goal, declared, BINARY)[0, 1].upper
    assert upper is not None
    assert len(upper.certified) > 1
    for threshold in upper.certified:
        placed = Placed("fire", None, None, threshold)
        bands = cuts_of(world, sample, goal, placed)["fire"]["positive"].bands
        assert bands is not None
        assert (bands.status, bands.by_hand, bands.upper) == ("certified", True, threshold)
        assert bands.guarantee is not None
    placed = Placed("fire", None, None, max(upper.certified) + 0.001)
    bands = cuts_of(world, sample, goal, placed)["fire"]["positive"].bands
    assert bands is not None
    assert (bands.status, bands.objective, bands.guarantee) == ("estimated", BY_HAND, None)
    assert f"{max(upper.certified):.6f}" in bands.next_step


# --- without labels, out of fold, and on disk -----------------------------------------------


def test_a_threshold_without_any_label_is_applied_and_says_that_nothing_is_known():
    world = World.of(6)
    cuts = cuts_of(world, world.draw(6, n=0), goal_of("recall=0.9"), Placed("fire", None, 0.7))
    cut = cuts["fire"]["positive"]
    assert (cut.status, cut.threshold, cut.n, cut.positives) == ("estimated", 0.7, 0, 0)
    assert cut.recall is cut.precision is cut.expected is cut.guarantee is None
    assert "No labelled image tells" in cut.next_step
    assert cuts["water"]["positive"].status == "no_positives"
    contract = contract_of(cuts, BINARY)
    decided = decisions(world.scores, NAMES, contract)
    assert (decided.values[:, 0] == decide(world.scores[:, 0], 0.7)).all()
    assert [warning.partition(":")[0] for warning in warn_of(contract)] == ["water"]


def test_out_of_fold_a_placed_threshold_does_as_on_all_labels():
    world, goal = World.of(8), goal_of("recall=0.8")
    sample = world.draw(8)
    done = calibrate(
        sample,
        goal,
        world.scores,
        NAMES,
        BINARY,
        placed=[Placed("fire", None, 1.25)],
        evaluating=Evaluating(folds=5, repeats=2, draws=0),
    )
    cut = done.cuts["fire"]["positive"]
    assert done.crossfit is not None
    held = done.crossfit.evaluation.categories["fire"]["positive"]
    assert held.recall is not None
    assert cut.recall is not None
    assert held.recall.value == pytest.approx(cut.recall.value)
    assert held.flags == decide(sample.scores[:, 0], 1.25).sum()
    assert cut.interval is None  # with other labels it would lie in the same place


def test_a_fold_that_crosses_a_placed_threshold_is_no_error():
    world, goal = World.of(8, LADDER), goal_of("f1")
    sample = world.draw(8)
    major = cuts_of(world, sample, goal)["fire"]["major"].threshold
    assert major is not None
    done = calibrate(
        sample,
        goal,
        world.scores,
        NAMES,
        LADDER,
        placed=[Placed("fire", "minor", major)],
        evaluating=Evaluating(folds=5, repeats=3, draws=0),
    )
    assert done.crossfit is not None


def test_a_contract_from_before_thresholds_could_be_placed_still_loads(tmp_path: Path):
    world = World.of(9)
    contract = contract_of(cuts_of(world, world.draw(9), goal_of("recall=0.8")), BINARY)
    content = contract.model_dump(mode="json")
    del content["block"]
    for cuts in content["categories"].values():
        for cut in cuts.values():
            del cut["by_hand"]
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    seal = hashlib.sha256(canonical.encode()).hexdigest()
    (tmp_path / "old.json").write_text(json.dumps({"seal": seal, **content}))
    assert Contract.load(tmp_path / "old.json") == contract


def test_a_placed_threshold_is_read_from_a_contract_as_it_was_placed(tmp_path: Path):
    world = World.of(9)
    cuts = cuts_of(
        world, world.draw(9), Goal(Target("recall", 0.8)), Placed("fire", None, 0.123456789, 3)
    )
    contract_of(cuts, BINARY).save(tmp_path / "c.json")
    cut = Contract.load(tmp_path / "c.json").categories["fire"]["positive"]
    assert cut == cuts["fire"]["positive"]
    assert (cut.threshold, cut.by_hand) == (0.123457, True)
