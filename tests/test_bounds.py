"""Intervals and recall thresholds, against outside truths and in simulation."""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipcal.calibrate.statistics.bounds import (
    clopper_pearson,
    positives_needed,
    recall_rank,
    recall_threshold,
    wilson,
)
from clipcal.calibrate.thresholds import sample_recall_threshold
from clipcal.errors import CalibrationError

rates = st.floats(0.05, 0.995)
confidences = st.floats(0.5, 0.999)


# --- intervals ------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "method"), [(wilson, "wilson"), (clopper_pearson, "beta")])
def test_intervals_equal_statsmodels(interval, method):
    statsmodels = pytest.importorskip("statsmodels.stats.proportion")
    for n in (1, 2, 7, 29, 1000):
        for successes in {0, 1, n // 3, n - 1, n}:
            for confidence in (0.8, 0.95, 0.999):
                low, high = statsmodels.proportion_confint(
                    successes, n, 1 - confidence, method=method
                )
                estimate = interval(successes, n, confidence)
                assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
                assert (estimate.value, estimate.n) == (successes / n, n)


@given(st.integers(1, 500), st.data(), confidences)
def test_intervals_hold_the_rate_and_lie_within_zero_and_one(n, data, confidence):
    successes = data.draw(st.integers(0, n))
    for interval in (wilson, clopper_pearson):
        estimate = interval(successes, n, confidence)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_clopper_pearson_covers_every_true_rate(confidence):
    n = 40
    ends = [clopper_pearson(successes, n, confidence) for successes in range(n + 1)]
    for rate in np.linspace(0.01, 0.99, 99):
        covered = np.array([e.low <= rate <= e.high for e in ends])
        assert stats.binom.pmf(np.arange(n + 1), n, rate)[covered].sum() >= confidence


def test_no_observation_has_no_rate():
    for counts in ((0, 0), (-1, 3), (4, 3)):
        with pytest.raises(CalibrationError, match="at least one observation"):
            wilson(*counts)


# --- ranks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        (0.8, [14, 22, 30, 37]),
        (0.9, [29, 46, 61, 76]),
        (0.95, [59, 93, 124, 153]),
        (0.99, [299, 473, 628, 773]),
    ],
)
def test_positives_needed_at_95_percent_with_up_to_three_misses(target, needed):
    assert [positives_needed(target, 0.95, misses) for misses in range(4)] == needed


@pytest.mark.parametrize(("n", "misses", "p"), [(47, 1, 0.044), (52, 1, 0.028), (61, 2, 0.049)])
def test_published_acceptances_hold_with_their_exact_p_values(n, misses, p):
    assert recall_rank(n, 0.9, 0.95) > misses
    assert round(stats.binom.cdf(misses, n, 0.1), 3) == p


@given(st.integers(0, 2000), rates, confidences)
def test_the_rank_is_the_greatest_whose_binomial_tail_is_within_the_risk(n, target, confidence):
    rank = recall_rank(n, target, confidence)
    tail = partial(stats.binom.cdf, n=n, p=1 - target)
    risk = 1 - confidence
    assert 0 <= rank <= n
    assert rank == 0 or tail(rank - 1) <= risk + 1e-9
    assert rank == n or tail(rank) > risk - 1e-9


@given(st.integers(0, 20), rates, confidences)
def test_positives_needed_is_the_first_number_that_suffices(misses, target, confidence):
    needed = positives_needed(target, confidence, misses)
    assert recall_rank(needed, target, confidence) > misses
    assert recall_rank(needed - 1, target, confidence) <= misses


@given(st.integers(1, 300), rates, confidences)
def test_asking_for_more_never_raises_the_rank(n, target, confidence):
    rank = recall_rank(n, target, confidence)
    assert recall_rank(n, (target + 1) / 2, confidence) <= rank
    assert recall_rank(n, target, (confidence + 1) / 2) <= rank
    assert recall_rank(n + 1, target, confidence) >= rank


def test_a_risk_equal_on_paper_counts_as_equal():
    # With recall 0.1 a single positive is found by luck in 0.1 of draws, which is 1 - 0.9.
    assert recall_rank(1, 0.1, 0.9) == 1


# MAPIE rounds n (1 - recall) up, which for other n counts a miss too many by the last bit.
@pytest.mark.parametrize(
    ("target", "n"), [(0.8, 30), (0.8, 97), (0.9, 46), (0.9, 118), (0.95, 124), (0.95, 203)]
)
def test_mapie_certifies_the_same_threshold_and_not_the_next(target, n):
    risk_control = pytest.importorskip("mapie.risk_control")
    scores = np.linspace(0.01, 0.99, n)
    rank = recall_rank(n, target, 0.95)

    def certified(threshold: float) -> bool:
        controller = risk_control.BinaryClassificationController(
            lambda x: np.column_stack([1 - x, x]),
            risk="recall",
            target_level=target,
            confidence_level=0.95,
            list_predict_params=np.array([threshold]),
        )
        with warnings.catch_warnings():
            # It warns whenever none or all of the thresholds are certified; there is only one.
            warnings.simplefilter("ignore", UserWarning)
            controller.calibrate(scores, np.ones(n, int))
        return len(controller.valid_predict_params) == 1

    threshold = recall_threshold(scores, target, 0.95)
    assert threshold == scores[rank - 1]
    assert certified(threshold)
    assert not certified(scores[rank])


# --- thresholds -----------------------------------------------------------------------------


def test_the_threshold_is_the_score_of_that_rank_in_any_order():
    scores = np.random.default_rng(0).normal(size=61).astype(np.float32)
    assert recall_threshold(scores, 0.9, 0.95) == np.sort(scores)[2]
    assert recall_threshold(scores[:28], 0.9, 0.95) is None
    assert recall_threshold(scores[:0], 0.9, 0.95) is None


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(CalibrationError, match="NaN"):
        recall_threshold(np.array([0.1, math.nan] * 30), 0.9)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_rates_outside_zero_and_one_are_refused(rate):
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        recall_rank(10, rate, 0.95)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        positives_needed(0.9, rate)


REDRAWS = 4000
# Four standard errors of a share of 0.05 in that many redraws.
MONTE_CARLO = 4 * math.sqrt(0.05 * 0.95 / REDRAWS)


def true_recall_broken(fit, n: int, *, tied: bool) -> float:
    """Return in what share of redraws of n positives the true recall lies below 0.9.

    Scores are uniform on [0, 1), or on its tenths of a tenth, so that true recall is known.
    """
    rng = np.random.default_rng(2024)
    broken = 0
    for _ in range(REDRAWS):
        scores = rng.random(n)
        if tied:
            scores = np.floor(scores * 20) / 20
        # Of uniform scores, and of tied ones at their own values, 1 - t lie at or above t.
        broken += 1 - fit(scores, 0.9) < 0.9 - 1e-9
    return broken / REDRAWS


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n", [29, 61, 200])
def test_recall_guarantee_holds_in_95_percent_of_redraws(n, tied):
    assert true_recall_broken(recall_threshold, n, tied=tied) <= 0.05 + MONTE_CARLO


@pytest.mark.parametrize("n", [30, 60, 200])
def test_the_recall_of_the_sample_is_no_guarantee(n):
    assert true_recall_broken(sample_recall_threshold, n, tied=False) > 0.4
