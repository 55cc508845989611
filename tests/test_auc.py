"""Areas under ROC curves: their values, what their intervals hold, and paired differences."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from clipcal.calibrate.statistics.auc import auc, auc_difference, auc_estimate
from clipcal.errors import CalibrationError


@st.composite
def samples(draw: st.DrawFn, scores: int = 1) -> tuple[np.ndarray, ...]:
    n = draw(st.integers(4, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    positive = rng.permutation(n) < draw(st.integers(1, n - 1))
    ties = draw(st.sampled_from([3, 20, 10**6]))
    each = [rng.integers(0, ties, n).astype(np.float32) / 7 for _ in range(scores)]
    return (*each, positive)


def drawn(
    area: float, m: int, n: int, rng: np.random.Generator, spread: float = 1
) -> tuple[np.ndarray, np.ndarray]:
    shift = ndtri(area) * math.hypot(1, spread)
    scores = np.concatenate([rng.normal(shift, spread, m), rng.normal(0, 1, n)])
    return scores, np.arange(m + n) < m


@given(samples())
def test_the_area_is_scikit_learns(sample):
    scores, positive = sample
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@given(samples())
def test_turning_the_scores_around_turns_the_area_around(sample):
    scores, positive = sample
    assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive), abs=1e-12)
    there, back = auc_estimate(scores, positive), auc_estimate(-scores, positive)
    assert (1 - back.high, 1 - back.low) == pytest.approx((there.low, there.high), abs=1e-9)


@given(samples(), st.floats(0.5, 0.99))
def test_an_interval_holds_its_value_and_grows_with_confidence(sample, confidence):
    scores, positive = sample
    narrow, wide = (auc_estimate(scores, positive, c) for c in (confidence, confidence + 0.005))
    assert 0 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1
    assert narrow.low < narrow.high
    assert narrow.n == len(scores)


@given(samples(2))
def test_a_difference_is_that_of_the_areas_and_changes_sign_with_the_order(sample):
    a, b, positive = sample
    there, back = auc_difference(a, b, positive), auc_difference(b, a, positive)
    assert there.value == pytest.approx(auc(a, positive) - auc(b, positive), abs=1e-9)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-there.value, -there.high, -there.low), abs=1e-9
    )
    assert -1 <= there.low <= there.value <= there.high <= 1


def pair_by_pair(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    return np.sign(positives[:, None] - negatives[None, :]).astype(float) / 2 + 0.5


@given(samples(2))
def test_the_variance_of_a_difference_is_delongs_pair_by_pair(sample):
    a, b, positive = sample
    m, n = int(positive.sum()), int((~positive).sum())
    psi = pair_by_pair(a[positive], a[~positive]) - pair_by_pair(b[positive], b[~positive])
    if min(m, n) < 2 or not np.ptp(psi):
        return
    variance = psi.mean(axis=1).var(ddof=1) / m + psi.mean(axis=0).var(ddof=1) / n
    if variance < 1e-20:
        return
    found = auc_difference(a, b, positive)
    reach = 1.959963984540054 * math.sqrt(variance)
    assert found.high == pytest.approx(min(1, psi.mean() + reach), abs=1e-9)


def test_the_interval_of_an_example_done_by_hand():
    # One of 24 pairs is out of order: the lowest positive lies below the highest negative.
    scores = np.array([9, 8, 7, 5.5, 6, 5, 4, 3, 2, 1])
    positive = np.arange(10) < 4
    variance = np.var([1, 1, 1, 5 / 6], ddof=1) / 4 + np.var([3 / 4, 1, 1, 1, 1, 1], ddof=1) / 6
    value = 23 / 24
    upper = math.log(value / (1 - value)) + 1.95996398 * math.sqrt(variance) / (value * (1 - value))
    found = auc_estimate(scores, positive)
    assert found.value == pytest.approx(value)
    assert found.high == pytest.approx(1 / (1 + math.exp(-upper)), abs=1e-8)


@pytest.mark.parametrize(("m", "n"), [(10, 10), (20, 200), (50, 50), (30, 500)])
@pytest.mark.parametrize("area", [0.6, 0.9, 0.99])
def test_an_interval_holds_the_area_in_about_95_percent_of_draws(area, m, n):
    rng = np.random.default_rng(5)
    found = [auc_estimate(*drawn(area, m, n, rng)) for _ in range(400)]
    misses = np.mean([each.low > area or each.high < area for each in found])
    assert misses < 0.075


def test_complete_separation_is_not_taken_for_certainty():
    for m, n in ((1, 1), (1, 50), (5, 50), (40, 60)):
        found = auc_estimate(np.arange(m + n), np.arange(m + n) >= n)
        assert found.value == found.high == 1
        assert found.low <= 0.025 ** (1 / min(m, n)) + 1e-12


def test_the_bound_at_complete_separation_holds_for_any_distribution():
    # The hardest: a positive lies above all negatives or, rarely, below all of them.
    rng = np.random.default_rng(6)
    m, area = 20, 0.025 ** (1 / 20) - 0.001
    low = [rng.random(m) >= area for _ in range(4000)]
    separated = np.mean([not each.any() for each in low])
    bound = auc_estimate(np.arange(220), np.arange(220) >= 200).low
    assert bound <= area + 0.002
    assert separated < 0.035


def test_scores_that_rank_alike_differ_by_a_little_at_most():
    scores, positive = drawn(0.8, 30, 300, np.random.default_rng(7))
    found = auc_difference(scores, 3 * scores + 1, positive)
    assert found.value == 0
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 30))
    assert found.low == -found.high


def test_equally_good_scores_seldom_differ_surely():
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(600):
        common, positive = drawn(0.85, 20, 120, rng)
        a, b = (common + rng.normal(0, 0.4, 140) for _ in range(2))
        wrong += auc_difference(a, b, positive).low > 0
    assert wrong / 600 < 0.045


def test_a_better_score_is_surely_better_with_enough_images():
    rng = np.random.default_rng(9)
    good, positive = drawn(0.9, 100, 400, rng)
    assert auc_difference(good, good + rng.normal(0, 1.5, 500), positive).low > 0


@given(samples(2))
def test_a_cluster_per_image_changes_nothing(sample):
    a, b, positive = sample
    own = np.random.default_rng(0).permutation(len(a))
    plain, clustered = auc_estimate(a, positive), auc_estimate(a, positive, clusters=own)
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high))
    one, two = auc_difference(a, b, positive), auc_difference(a, b, positive, clusters=own)
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


def test_copies_add_nothing_where_they_are_known_to_be_copies():
    scores, positive = drawn(0.85, 25, 150, np.random.default_rng(10))
    other = scores + np.random.default_rng(11).normal(0, 1, 175)
    clusters = np.tile(np.arange(175), 4)
    once = auc_estimate(scores, positive)
    many = auc_estimate(np.tile(scores, 4), np.tile(positive, 4), clusters=clusters)
    assert (many.value, many.low, many.high) == pytest.approx((once.value, once.low, once.high))
    assert auc_estimate(np.tile(scores, 4), np.tile(positive, 4)).low > many.low + 0.02
    gain = auc_difference(scores, other, positive)
    copied = auc_difference(
        np.tile(scores, 4), np.tile(other, 4), np.tile(positive, 4), clusters=clusters
    )
    assert (copied.low, copied.high) == pytest.approx((gain.low, gain.high))


def test_intervals_over_clusters_hold_the_area_where_images_are_near_copies():
    rng = np.random.default_rng(12)
    misses = {"clusters": 0, "images": 0}
    for _ in range(300):
        m, n, copies = 25, 75, 4
        scores, positive = drawn(0.85, m, n, rng)
        near = np.repeat(scores, copies) + rng.normal(0, 0.1, copies * (m + n))
        clusters = np.repeat(np.arange(m + n), copies)
        for name, given_clusters in (("clusters", clusters), ("images", None)):
            found = auc_estimate(near, np.repeat(positive, copies), clusters=given_clusters)
            misses[name] += not found.low <= 0.85 <= found.high
    assert misses["clusters"] < 0.08 * 300
    assert misses["images"] > 0.2 * 300


@pytest.mark.parametrize("positive", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_one_class_has_no_area(positive):
    scores = np.arange(len(positive), dtype=np.float32)
    assert math.isnan(auc(scores, positive))
    assert auc_estimate(scores, positive) is None
    assert auc_difference(scores, scores, positive) is None


def test_what_cannot_be_ranked_is_refused():
    positive = np.arange(4) < 2
    with pytest.raises(CalibrationError, match="NaN"):
        auc(np.array([0, 1, np.nan, 2.0]), positive)
    with pytest.raises(CalibrationError, match="shape"):
        auc_difference(np.arange(4.0), np.arange(3.0), positive)
    with pytest.raises(CalibrationError, match="confidence"):
        auc_estimate(np.arange(4.0), positive, 1.0)


def test_a_hundred_thousand_images_take_no_time():
    rng = np.random.default_rng(13)
    scores, positive = drawn(0.9, 5000, 95_000, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = auc_estimate(scores, positive)
    assert found.high - found.low < 0.01
