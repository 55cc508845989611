"""Laws of the thresholds that are best in a sample, keep a budget, or certify a precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import precision_p_value
from clipcal.calibrate.statistics.multiplicity import holm
from clipcal.calibrate.statistics.objectives import (
    best_fbeta_threshold,
    budget_threshold,
    cheapest_threshold,
    sample_precision_threshold,
    sample_recall_threshold,
)
from clipcal.calibrate.statistics.precision import (
    certified_precision,
    declared_grid,
    precision_evidence,
    smallest_declared,
)
from clipcal.calibrate.statistics.rounding import above, stored
from clipcal.errors import CalibrationError

# Few distinct values, far apart against the rounding: ties and duplicates are the rule.
labelled = st.lists(st.tuples(st.integers(-12, 12), st.booleans()), min_size=1, max_size=40)
betas = st.sampled_from([0.5, 1.0, 2.0])
costs = st.sampled_from([0.5, 1.0, 3.0, 10.0])

ESTIMATED = {
    "f1": best_fbeta_threshold,
    "f2": lambda s, y, **w: best_fbeta_threshold(s, y, 2.0, **w),
    "cost": lambda s, y, **w: cheapest_threshold(s, y, 3.0, 1.0, **w),
    "precision": lambda s, y, **w: sample_precision_threshold(s, y, 0.6, **w),
}
estimated = st.sampled_from(sorted(ESTIMATED)).map(ESTIMATED.__getitem__)


def arrays(pairs):
    scores = np.array([score for score, _ in pairs], np.float32) / 50
    return scores, np.array([positive for _, positive in pairs])


def decisions(threshold, scores):
    return None if threshold is None else decide(scores, stored(threshold)).tolist()


# --- laws of all that is best in the sample -------------------------------------------------


@given(labelled, estimated, st.sampled_from([0.5, 2.0, 3.0]), st.integers(-2, 2))
def test_a_strictly_increasing_map_of_scores_changes_no_decision(pairs, fit, slope, shift):
    scores, positive = arrays(pairs)
    mapped = (slope * scores + shift).astype(np.float32)
    plain, other = fit(scores, positive), fit(mapped, positive)
    assert decisions(plain, scores) == decisions(other, mapped)


@given(labelled, estimated, st.randoms(use_true_random=False))
def test_the_order_of_the_labels_changes_nothing(pairs, fit, random):
    assert fit(*arrays(pairs)) == fit(*arrays(random.sample(pairs, len(pairs))))


@given(labelled, estimated, st.integers(2, 4))
def test_a_sample_repeated_whole_has_the_same_threshold(pairs, fit, times):
    assert fit(*arrays(pairs)) == fit(*arrays(pairs * times))


@given(labelled, estimated, st.data())
def test_a_weight_is_a_number_of_copies(pairs, fit, data):
    scores, positive = arrays(pairs)
    copies = np.array(
        data.draw(st.lists(st.integers(1, 4), min_size=len(pairs), max_size=len(pairs)))
    )
    weighted = fit(scores, positive, weights=copies / 7)
    assert weighted == fit(np.repeat(scores, copies), np.repeat(positive, copies))


@given(estimated, st.integers(1, 30), st.booleans())
def test_equal_scores_and_one_class_have_a_threshold_for_all_or_none(fit, n, positive):
    scores = np.full(n, 0.25, np.float32)
    threshold = fit(scores, np.full(n, positive))
    assert decisions(threshold, scores) in (None, n * [positive], n * [True])


@pytest.mark.parametrize("fit", ESTIMATED.values(), ids=ESTIMATED)
@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ([0.1, math.nan], None),
        ([0.1, math.inf], None),
        ([0.1], None),
        ([0.1, 0.2, 0.3], None),
        ([0.1, 0.2], [1.0, 0.0]),
        ([0.1, 0.2], [1.0, math.nan]),
        ([0.1, 0.2], [1.0]),
    ],
)
def test_what_cannot_be_ranked_is_refused(fit, scores, weights):
    weight = None if weights is None else np.array(weights)
    with pytest.raises(CalibrationError):
        fit(np.array(scores), np.array([True, False]), weights=weight)


def test_no_scores_are_refused():
    none, labels = np.empty(0), np.empty(0, np.bool_)
    for fit in ESTIMATED.values():
        with pytest.raises(CalibrationError, match="no score"):
            fit(none, labels)
    for fit in (lambda: sample_recall_threshold(none, 0.9), lambda: budget_threshold(none, 3)):
        with pytest.raises(CalibrationError, match="no score"):
            fit()


# --- F-beta ---------------------------------------------------------------------------------


@given(labelled, betas)
@settings(max_examples=25, deadline=None)
def test_best_fbeta_is_the_best_of_all_cut_points(pairs, beta):
    scores, positive = arrays(pairs)
    if not positive.any():
        return
    threshold = best_fbeta_threshold(scores, positive, beta)
    reached = {t: fbeta_score(positive, scores >= t, beta=beta) for t in np.unique(scores)}
    best = max(reached.values())
    assert reached[np.float32(threshold)] == pytest.approx(best)
    assert threshold == max(t for t, value in reached.items() if value >= best - 1e-12)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_that_is_no_weight_is_refused(beta):
    with pytest.raises(CalibrationError, match="greater than 0"):
        best_fbeta_threshold(np.array([0.1]), np.array([True]), beta)


# --- costs ----------------------------------------------------------------------------------


@given(labelled, costs, costs)
def test_no_cut_point_is_cheaper_and_none_higher_is_as_cheap(pairs, miss, false_flag):
    scores, positive = arrays(pairs)

    def cost(threshold: float) -> float:
        flags = scores >= np.float32(threshold)
        return miss * np.sum(~flags & positive) + false_flag * np.sum(flags & ~positive)

    threshold = cheapest_threshold(scores, positive, miss, false_flag)
    cut_points = [*np.unique(scores), 1.0]
    assert cost(threshold) == min(map(cost, cut_points))
    fewer = [t for t in cut_points if np.sum(scores >= t) < np.sum(scores >= threshold)]
    assert all(cost(t) > cost(threshold) for t in fewer)
    assert cost(threshold) == cost(stored(threshold))


def test_on_probabilities_the_cheapest_threshold_is_elkans():
    probabilities = np.repeat((np.arange(100) + 0.5) / 100, 200)
    positive = np.arange(200) < 200 * probabilities.reshape(100, 200)
    for miss, false_flag in ((1.0, 1.0), (4.0, 1.0), (1.0, 9.0)):
        threshold = cheapest_threshold(probabilities, positive.ravel(), miss, false_flag)
        assert threshold == pytest.approx(false_flag / (miss + false_flag), abs=0.01)


def test_only_the_ratio_of_the_costs_matters():
    rng = np.random.default_rng(1)
    scores, positive = rng.random(200), rng.random(200) < 0.3
    assert cheapest_threshold(scores, positive, 5, 1) == cheapest_threshold(
        scores, positive, 5e-6, 1e-6
    )


@given(st.floats(-1e6, 1e6, width=32), st.sampled_from([np.float32, np.float64]))
def test_to_flag_nothing_survives_the_rounding(score, precision):
    scores = np.array([score, score], precision)
    threshold = cheapest_threshold(scores, np.array([False, True]), 1.0, 2.0)
    assert threshold == above(scores[0])
    assert not decide(scores, stored(threshold)).any()
    assert threshold - score <= 2.1e-6 + 4 * np.spacing(np.float32(abs(score)))


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_costs_are_greater_than_nothing(pair):
    with pytest.raises(CalibrationError, match="cost of a"):
        cheapest_threshold(np.array([0.1]), np.array([True]), *pair)


# --- budgets --------------------------------------------------------------------------------

# Gaps from a tenth to several steps of the rounding, besides ties.
close = st.lists(st.integers(0, 60), min_size=1, max_size=40).map(
    lambda steps: (0.2 + 2e-7 * np.array(steps)).astype(np.float32)
)
spread = st.lists(st.integers(-30, 30), min_size=1, max_size=40).map(
    lambda steps: np.array(steps, np.float32) / 100
)


@given(st.one_of(close, spread), st.integers(0, 45))
def test_the_budget_is_kept_and_used_up(scores, flags):
    def flagged(score: float) -> int:
        return int(decide(scores, stored(score)).sum())

    threshold = budget_threshold(scores, flags)
    within = [score for score in scores.tolist() if flagged(score) <= flags]
    assert threshold == min(within, default=None)


def test_a_budget_as_large_as_the_corpus_flags_all_of_it():
    scores = np.array([0.3, 0.1, 0.2], np.float32)
    for flags in (3, 4, 10**9):
        assert budget_threshold(scores, flags) == scores.min()


def test_ties_beyond_the_budget_leave_no_threshold():
    scores = np.array([0.5, 0.5, 0.5, 0.1], np.float32)
    assert budget_threshold(scores, 2) is None
    assert budget_threshold(scores, 3) == 0.5


def test_wrong_budgets_are_refused():
    with pytest.raises(CalibrationError, match="negative"):
        budget_threshold(np.array([0.5]), -1)
    with pytest.raises(CalibrationError, match="not finite"):
        budget_threshold(np.array([0.5, math.nan]), 1)


# --- rates in the sample --------------------------------------------------------------------


@given(spread, st.floats(0.01, 0.99))
def test_the_recall_of_the_sample_is_reached_and_by_no_higher_threshold(scores, target):
    threshold = np.float32(sample_recall_threshold(scores, target))
    assert np.mean(scores >= threshold) >= target - 1e-9
    assert all(np.mean(scores >= t) < target for t in np.unique(scores) if t > threshold)


@pytest.mark.parametrize(("target", "n", "hits"), [(0.55, 100, 55), (0.07, 100, 7), (0.9, 11, 10)])
def test_a_share_that_is_whole_on_paper_needs_no_hit_more(target, n, hits):
    assert sample_recall_threshold(np.arange(n, dtype=float), target) == n - hits


def test_weights_restore_the_recall_that_a_biased_choice_took():
    scores = np.array([0.9, 0.8, 0.7, 0.1])  # the last stands for nine like it
    assert sample_recall_threshold(scores, 0.7) == 0.7
    assert sample_recall_threshold(scores, 0.7, np.array([1.0, 1.0, 1.0, 9.0])) == 0.1


@given(labelled, st.floats(0.01, 0.99))
def test_the_precision_of_the_sample_is_reached_and_by_no_lower_threshold(pairs, target):
    scores, positive = arrays(pairs)
    reached = {
        float(t): float(np.mean(positive[scores >= t])) >= target - 1e-9 for t in np.unique(scores)
    }
    expected = min((t for t, enough in reached.items() if enough), default=None)
    assert sample_precision_threshold(scores, positive, target) == expected


@pytest.mark.parametrize("rate", [0.0, 1.0, 90.0, math.nan])
def test_rates_outside_zero_and_one_are_refused(rate):
    scores, positive = np.array([0.1]), np.array([True])
    for fit in (
        lambda: sample_recall_threshold(scores, rate),
        lambda: sample_precision_threshold(scores, positive, rate),
        lambda: precision_evidence(scores, positive, np.array([0.0]), rate),
    ):
        with pytest.raises(CalibrationError, match="between 0 and 1"):
            fit()


# --- declared candidates --------------------------------------------------------------------


@given(st.one_of(close, spread), st.integers(-1, 50))
def test_candidates_are_distinct_rounded_and_end_with_all(scores, smallest):
    grid = declared_grid(scores, smallest)
    assert (np.diff(grid) < 0).all()
    assert [round(t, 6) for t in grid.tolist()] == grid.tolist()
    flags = [int(decide(scores, t).sum()) for t in grid]
    assert flags[-1] == len(scores)
    assert flags[0] >= min(max(smallest, 1), len(scores))


def test_candidates_flag_half_as_many_again_from_one_to_the_next():
    scores = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    grid = declared_grid(scores, 100)
    flags = np.array([decide(scores, t).sum() for t in grid])
    assert flags[0] == 100
    assert len(grid) == 15
    assert flags[1:-1] / flags[:-2] == pytest.approx(1.5, abs=0.02)
    assert flags[-1] == len(scores)


def test_the_candidates_do_not_depend_on_the_order_of_the_corpus():
    scores = np.random.default_rng(0).normal(size=500)
    assert (declared_grid(scores, 10) == declared_grid(scores[::-1], 10)).all()


def test_too_few_labels_leave_one_candidate():
    scores = np.linspace(0, 1, 1000)
    smallest = smallest_declared(1000, 20, 0.9)
    assert smallest == math.ceil(29 * 1000 / 20) > 1000
    assert declared_grid(scores, smallest).tolist() == [stored(0.0)]
    assert smallest_declared(1000, 0, 0.9) > 1000
    assert smallest_declared(10_000, 1000, 0.9) == 290


def test_wrong_grids_are_refused():
    with pytest.raises(ValueError, match="ratio"):
        declared_grid(np.array([0.1, 0.2]), 1, 1.0)
    with pytest.raises(CalibrationError, match="not finite"):
        declared_grid(np.array([0.1, math.nan]))


# --- evidence -------------------------------------------------------------------------------


@given(labelled, st.lists(st.integers(-13, 13), min_size=1, max_size=8, unique=True))
def test_evidence_is_what_the_decisions_count(pairs, steps):
    scores, positive = arrays(pairs)
    candidates = np.array([stored(step / 50) for step in steps])
    evidence = precision_evidence(scores, positive, candidates, 0.8)
    flags = decide(np.tile(scores[:, None], len(steps)), candidates)
    assert evidence.flagged.tolist() == flags.sum(axis=0).tolist()
    assert evidence.hits.tolist() == (flags & positive[:, None]).sum(axis=0).tolist()
    assert (evidence.p_values == precision_p_value(evidence.hits, evidence.flagged, 0.8)).all()
    assert evidence.thresholds is candidates


def test_without_labels_there_is_no_evidence():
    candidates = np.array([0.2, 0.1])
    evidence = precision_evidence(np.empty(0), np.empty(0, np.bool_), candidates, 0.8)
    assert evidence.p_values.tolist() == [1, 1]
    assert certified_precision([evidence], 0.05)[0].tolist() == []


def test_evidence_of_a_score_that_is_no_number_is_refused():
    with pytest.raises(CalibrationError, match="not finite"):
        precision_evidence(np.array([math.nan]), np.array([True]), np.array([0.1]), 0.8)


def evidence_of(hits: list[int], flagged: list[int]):
    """Evidence at the candidates 1, 2, …, from counts that need not be nested."""
    ends = [
        precision_evidence(np.ones(n), np.arange(n) < h, np.array([1.0]), 0.9)
        for h, n in zip(hits, flagged, strict=True)
    ]
    first = ends[0]
    return type(first)(
        np.arange(len(ends)) + 1.0,
        *(
            np.concatenate([getattr(e, name) for e in ends])
            for name in ("flagged", "hits", "p_values")
        ),
    )


def test_joint_precision_is_holm_over_all_candidates_of_all_cuts():
    cuts = [
        evidence_of([80, 110, 60], [80, 112, 100]),
        evidence_of([0], [0]),
        evidence_of([46, 35], [46, 35]),
    ]
    every = holm(np.concatenate([cut.p_values for cut in cuts]), 0.05)
    joint = certified_precision(cuts, 0.05)
    assert [len(certain) for certain in joint] == [
        every[:3].sum(),
        every[3:4].sum(),
        every[4:].sum(),
    ]
    assert [certain.tolist() for certain in joint] == [[1.0, 2.0], [], [1.0]]
    alone = [certified_precision([cut], 0.05)[0].tolist() for cut in cuts]
    assert alone == [[1.0, 2.0], [], [1.0, 2.0]]
    assert certified_precision([], 0.05) == []


@pytest.mark.parametrize("risk", [0.0, 0.51, 1.0, math.nan])
def test_a_precision_is_certified_with_a_confidence_of_a_half_or_more(risk):
    with pytest.raises(CalibrationError, match=r"from 0\.5 on"):
        certified_precision([evidence_of([80], [80])], risk)
