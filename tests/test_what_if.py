"""Laws of trying a threshold: what is seen is what would be saved, and flips are exact."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_cases import LADDER, NAMES, World, contract_of, cuts_of, goal_of

from clipcal.calibrate.cuts.by_hand import Placed, kept
from clipcal.calibrate.cuts.estimates import rates_at
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.records import Cut, Expected
from clipcal.calibrate.report.histogram import count_groups
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import Range, wilson
from clipcal.calibrate.trial.answers import Costs, WhatIf, cost_of
from clipcal.calibrate.trial.what_if import Trial
from clipcal.errors import CalibrationError

TARGETS = ["recall=0.8", "precision=0.6", "f1", "budget=200", "recall=0.8,precision=0.6"]


def trial(world: World, seed: int, text: str = "recall=0.8") -> Trial:
    goal = goal_of(text)
    sample = world.draw(seed, picked=20)
    contract = contract_of(cuts_of(world, sample, goal), world.levels)
    return Trial(world.scores, sample, goal, NAMES, world.levels, contract)


def same_numbers(seen: WhatIf, cut: Cut) -> None:
    """Assert that a trial says what a cut says."""
    assert (seen.threshold, seen.flags) == (cut.threshold, cut.flags)
    assert (seen.n, seen.positives) == (cut.n, cut.positives)
    assert (seen.recall, seen.precision) == (cut.recall, cut.precision)
    assert seen.expected == cut.expected
    assert seen.certified == (cut.status == "certified")
    if cut.bands is not None and seen.upper is not None:
        bands = cut.bands
        assert (seen.allow, seen.review, seen.block) == (bands.allow, bands.review, bands.block)
        assert seen.upper_precision == bands.precision
        assert seen.wrongly_blocked == bands.wrongly_blocked
        assert seen.upper_certified == (bands.status == "certified")


# --- what is seen is what is saved ----------------------------------------------------------


@given(st.integers(0, 300), st.sampled_from(TARGETS), st.sampled_from([BINARY, LADDER]))
@settings(max_examples=40)
def test_at_the_contracts_threshold_a_trial_says_what_the_contract_says(
    seed: int, text: str, levels: tuple[str, ...]
) -> None:
    tried = trial(World.of(seed, levels), seed, text)
    assert tried.contract is not None
    for category, cuts in tried.contract.categories.items():
        for level, cut in cuts.items():
            if cut.threshold is None:
                continue
            upper = cut.bands.upper if cut.bands is not None and cut.allowing is not None else None
            seen = tried.at(category, level, cut.threshold, upper)
            same_numbers(seen, cut)
            assert (seen.before, seen.newly, seen.no_longer) == (cut.flags, 0, 0)


@given(
    st.integers(0, 300),
    st.sampled_from(TARGETS),
    st.floats(-3, 5),
    st.none() | st.floats(0, 3),
)
@settings(max_examples=60)
def test_a_trial_says_what_a_calibration_with_that_threshold_says(
    seed: int, text: str, threshold: float, gap: float | None
) -> None:
    world, goal = World.of(seed), goal_of(text)
    upper = None if gap is None else threshold + gap
    if upper is None and goal.block is not None:
        return  # the fitted upper threshold might lie below the placed one
    sample = world.draw(seed, picked=20)
    cut = cuts_of(world, sample, goal, Placed("water", None, threshold, upper))["water"]["positive"]
    seen = Trial(world.scores, sample, goal, NAMES, BINARY).at(
        "water", "positive", threshold, upper
    )
    same_numbers(seen, cut)
    assert (seen.upper is None) == (upper is None)
    assert (seen.before, seen.newly, seen.no_longer) == (None, None, None)
    if cut.guarantee is not None:
        assert cut.guarantee in seen.sentence
    else:
        assert "Nothing is promised" in seen.sentence
        assert "fixed in advance" in seen.sentence


@given(st.integers(0, 300))
@settings(max_examples=20)
def test_a_recall_is_certified_up_to_the_threshold_that_is_named_and_not_beyond(seed: int) -> None:
    tried = trial(World.of(seed), seed)
    named = tried.at("fire", "positive", 0.0).certified_up_to
    assert named is not None
    assert tried.at("fire", "positive", named).certified
    above = tried.at("fire", "positive", named + 1e-6)
    assert not above.certified
    assert f"certified up to {named:.6f}" in above.sentence


def test_without_labels_counts_are_known_and_nothing_else():
    world = World.of(1)
    tried = Trial(world.scores, world.draw(1, n=0), goal_of("recall=0.8"), NAMES, BINARY)
    seen = tried.at("fire", "positive", 0.5, 1.5)
    assert seen.flags == decide(world.scores[:, 0], 0.5).sum()
    assert seen.allow == len(world.scores) - seen.flags
    assert seen.recall is seen.precision is seen.expected is seen.cost is None
    assert not seen.certified
    assert seen.sentence.startswith("Nothing is known of it")
    assert tried.curve("fire", "positive") == ()


def test_what_cannot_be_placed_cannot_be_tried():
    tried = trial(World.of(1), 1)
    with pytest.raises(CalibrationError, match="divides no scores"):
        tried.at("fire", "positive", math.nan)
    with pytest.raises(CalibrationError, match="higher"):
        tried.at("fire", "positive", 1.0, 0.5)
    for category, level in (("earth", "positive"), ("fire", "negative"), ("fire", "major")):
        with pytest.raises(CalibrationError, match="There is no threshold for"):
            tried.at(category, level, 0.5)


# --- flips ----------------------------------------------------------------------------------


@given(st.integers(0, 300), st.floats(-3, 5), st.integers(1, 60))
@settings(max_examples=60)
def test_flips_are_the_images_decided_otherwise_the_nearest_first(
    seed: int, threshold: float, limit: int
) -> None:
    world = World.of(seed)
    tried = trial(world, seed)
    assert tried.contract is not None
    now = tried.contract.categories["fire"]["positive"].threshold
    assert now is not None
    seen = tried.at("fire", "positive", threshold)
    flips = tried.flips("fire", "positive", threshold, limit=limit)
    scores, new, old = world.scores[:, 0], np.float32(kept(threshold)), np.float32(now)
    newly = [i for i, s in enumerate(scores) if new <= s < old]
    no_longer = [i for i, s in enumerate(scores) if old <= s < new]
    assert (seen.newly, seen.no_longer) == (len(newly), len(no_longer))
    for found, every in ((flips.newly, newly), (flips.no_longer, no_longer)):
        nearest = sorted(every, key=lambda i: (abs(float(scores[i]) - kept(threshold)), i))
        assert found.tolist() == nearest[:limit]


def test_without_a_threshold_in_force_all_that_is_flagged_is_new():
    world = World.of(1)
    tried = Trial(world.scores, world.draw(1), goal_of("f1"), NAMES, BINARY)
    flips = tried.flips("fire", "positive", 1.0, limit=5000)
    assert sorted(flips.newly) == np.flatnonzero(decide(world.scores[:, 0], 1.0)).tolist()
    assert len(flips.no_longer) == 0
    assert len(tried.flips("fire", "positive", 1.0, limit=0).newly) == 0


# --- histogram and curve --------------------------------------------------------------------


def test_a_histogram_counts_every_image_and_every_label_once():
    world = World.of(2, LADDER)
    tried = trial(world, 2)
    histogram = tried.histogram("water", bins=30)
    assert [group.name for group in histogram.groups] == [
        "All images",
        "Labelled major",
        "Labelled minor",
        "Labelled none",
    ]
    labelled = [int((tried.sample.values[:, 1] == rank).sum()) for rank in (2, 1, 0)]
    assert [sum(g.counts) for g in histogram.groups] == [len(world.scores), *labelled]
    assert all(len(group.counts) == 30 for group in histogram.groups)
    assert [limit.name for limit in histogram.limits] == ["minor or above", "major"]
    assert histogram.groups == count_groups(
        world.scores[:, 1],
        tried.sample.scores[:, 1],
        tried.sample.values[:, 1],
        LADDER,
        low=histogram.low,
        high=histogram.high,
        bins=30,
    )


def test_every_point_of_a_curve_is_what_its_threshold_does():
    tried = trial(World.of(3), 3)
    points = tried.curve("fire", "positive")
    assert 50 < len(points) <= 200
    thresholds = [point.threshold for point in points]
    assert thresholds == sorted(thresholds)
    cut = tried.sample.of(0, 1)
    for point in points[::20]:
        rates = rates_at(cut, point.threshold, 0.9)
        assert (point.recall, point.precision) == (rates["recall"], rates["precision"])
        assert point.flags == decide(tried.scores[:, 0], point.threshold).sum()
    assert points[0].recall is not None
    assert points[0].recall.value == 1


# --- costs ----------------------------------------------------------------------------------


def test_a_cost_is_the_sum_of_its_parts_with_their_intervals_combined():
    expected = Expected(misses=Range(10, 6, 18), false_flags=Range(100, 97, 106))
    cost = cost_of(expected, Costs(5, 1))
    assert cost == Range(150, round(150 - math.hypot(20, 3), 1), round(150 + math.hypot(40, 6), 1))
    assert cost_of(expected, Costs(0, 1)) == Range(100, 97, 106)
    assert cost_of(Expected(misses=Range(1, 0, 2)), Costs()) is None
    assert cost_of(None, Costs()) is None


@pytest.mark.parametrize("costs", [Costs(-1, 1), Costs(1, math.inf), Costs(math.nan, 1)])
def test_a_cost_that_is_none_is_refused(costs: Costs):
    with pytest.raises(CalibrationError, match="from 0 on"):
        cost_of(None, costs)


def test_the_interval_of_a_cost_holds_the_true_cost_about_as_often_as_it_says():
    world, costs, held, draws = World.of(13), Costs(3, 1), 0, 300
    flagged = decide(world.scores[:, 0], 0.75)
    positive = world.values[:, 0] > 0
    truth = 3 * (positive & ~flagged).sum() + (flagged & ~positive).sum()
    for seed in range(draws):
        sample = world.draw(seed, n=120)
        goal = Goal(goal_of("f1").target, 0.95)
        cost = (
            Trial(world.scores, sample, goal, NAMES, BINARY)
            .at("fire", "positive", 0.75, costs=costs)
            .cost
        )
        assert cost is not None
        held += cost.low <= truth <= cost.high
    assert held / draws >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)


def test_costs_change_nothing_else():
    tried = trial(World.of(1), 1)
    one, other = (tried.at("fire", "positive", 0.5, costs=c) for c in (Costs(), Costs(9, 2)))
    assert dataclasses.replace(one, cost=None) == dataclasses.replace(other, cost=None)
    assert one.cost != other.cost


def test_rates_are_those_of_the_labels_at_the_threshold():
    world = World.of(5)
    sample = world.draw(5)
    seen = Trial(world.scores, sample, goal_of("f1"), NAMES, BINARY).at("fire", "positive", 0.8)
    flagged, positive = sample.scores[:, 0] >= np.float32(0.8), sample.values[:, 0] > 0
    hits = int((flagged & positive).sum())
    assert seen.recall == wilson(hits, int(positive.sum()), 0.9)
    assert seen.precision == wilson(hits, int(flagged.sum()), 0.9)
