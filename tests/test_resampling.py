"""Near copies, folds and redraws: whole clusters only."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csgraph

from clipcal.calibrate.statistics.bounds import recall_threshold
from clipcal.calibrate.statistics.resampling import (
    bootstrap_threshold,
    cluster_bootstrap,
    cluster_folds,
    near_copies,
)
from clipcal.errors import CalibrationError

seeds = st.integers(0, 2**32 - 1)


def random_embeddings(rng: np.random.Generator, n: int, dim: int, copies: int) -> np.ndarray:
    """Random directions; some rows are others with a little noise, or none."""
    x = rng.normal(size=(n, dim))
    of = rng.integers(n, size=copies)
    x = np.concatenate([x, x[of] + rng.choice([0, 0.05, 0.12], (copies, 1)) * x[of][:, ::-1]])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def by_brute_force(x: np.ndarray, cosine: float) -> np.ndarray:
    return csgraph.connected_components(x @ x.T >= cosine, directed=False)[1]


def same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one[:, None] == one, other[:, None] == other)


# --- near copies ------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, 16, 200])
@pytest.mark.parametrize("cosine", [0.9, 0.98])
def test_clusters_are_the_connected_components_of_all_pairs(dim, cosine):
    for seed in range(5):
        x = random_embeddings(np.random.default_rng(seed), 150, dim, 60)
        found = near_copies(x, cosine)
        assert same_groups(found, by_brute_force(x, cosine))
        assert len(np.unique(found)) < len(x)


def test_pairs_in_different_tiles_are_found():
    rng = np.random.default_rng(3)
    x = random_embeddings(rng, 4000, 24, 900)[rng.permutation(4900)].astype(np.float32)
    assert same_groups(near_copies(x), by_brute_force(x, 0.98))


def test_a_chain_of_near_pairs_is_one_cluster():
    angles = np.arange(18) * math.acos(0.985)
    chain = np.column_stack([np.cos(angles), np.sin(angles)])[::3]
    assert near_copies(chain, 0.8).max() == 0
    assert near_copies(chain, 0.98).max() == len(chain) - 1


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_groups_do_not_depend_on_the_order_and_are_numbered_as_they_appear(seed):
    rng = np.random.default_rng(seed)
    x = random_embeddings(rng, 40, 8, 20)
    order = rng.permutation(len(x))
    found, shuffled = near_copies(x), near_copies(x[order])
    assert same_groups(found[order], shuffled)
    for numbers in (found, shuffled):
        _, first = np.unique(numbers, return_index=True)
        assert (np.diff(first) > 0).all()
        assert numbers.max() == len(first) - 1


def test_exact_copies_are_together_whatever_the_bound():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    x = np.concatenate([x, x, np.zeros((1, 7), np.float16), -np.zeros((1, 7), np.float16)])
    assert near_copies(x, 1.5).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 5]


def test_half_precision_gives_the_same_groups():
    x = random_embeddings(np.random.default_rng(1), 100, 64, 50)
    assert same_groups(near_copies(x.astype(np.float16)), near_copies(x))


def test_no_rows_have_no_clusters():
    assert near_copies(np.empty((0, 8), np.float16)).shape == (0,)


def test_many_hundred_copies_of_one_image_are_one_cluster():
    rng = np.random.default_rng(2)
    x = np.ones((3000, 32)) + 0.02 * rng.normal(size=(3000, 32))
    assert near_copies(x).max() == 0


# --- folds ------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_folds_divide_no_cluster_and_none_is_empty(seed, folds, stratified):
    rng = np.random.default_rng(seed)
    clusters = rng.integers(-20, 20, 120)
    positive = rng.random(120) < 0.3
    fold = cluster_folds(clusters, folds, rng, positive if stratified else None)
    pairs = np.unique(np.column_stack([clusters, fold]), axis=0)
    assert len(pairs) == len(np.unique(clusters))
    sizes = np.bincount(fold, minlength=folds)
    assert len(sizes) == folds
    assert sizes.min() > 0
    assert np.ptp(sizes) <= np.unique(clusters, return_counts=True)[1].max()


@given(seeds, st.integers(2, 7), st.integers(10, 90))
@settings(max_examples=40, deadline=None)
def test_single_images_are_dealt_evenly_and_so_are_positives(seed, folds, n):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    fold = cluster_folds(np.arange(n), folds, rng, positive)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    assert np.ptp(np.bincount(fold[positive], minlength=folds)) <= 1


def test_folds_are_random_and_follow_from_the_seed():
    clusters = np.arange(50)
    one, again, other = (
        cluster_folds(clusters, 5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_too_few_clusters_for_the_folds_say_so():
    with pytest.raises(CalibrationError, match="3 distinct images .* 5 folds"):
        cluster_folds(np.array([1, 1, 2, 3, 3, 3]), 5, np.random.default_rng(0))
    with pytest.raises(CalibrationError, match="at least two folds"):
        cluster_folds(np.arange(9), 1, np.random.default_rng(0))


def test_a_hundred_thousand_images_are_dealt_within_a_second():
    rng = np.random.default_rng(0)
    clusters, positive = rng.integers(90_000, size=100_000), rng.random(100_000) < 0.1
    start = time.process_time()
    fold = cluster_folds(clusters, 5, rng, positive)
    assert time.process_time() - start < 1
    assert np.ptp(np.bincount(fold)) <= 1
    assert np.ptp(np.bincount(fold[positive])) <= 1


# --- bootstrap --------------------------------------------------------------------------------


def mean_of_positives(scores: np.ndarray, positive: np.ndarray) -> float | None:
    return float(scores[positive].mean()) if positive.any() else None


def test_draws_hold_as_many_clusters_as_there_are_each_equally_often():
    counts = np.array(list(cluster_bootstrap(12, np.random.default_rng(0), 4000)))
    assert counts.shape == (4000, 12)
    assert (counts.sum(axis=1) == 12).all()
    assert counts.mean(axis=0) == pytest.approx(1, abs=4 * math.sqrt(1 / 4000))


def test_the_interval_of_a_mean_is_its_standard_error_wide():
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=400), np.ones(400, bool)
    found = bootstrap_threshold(
        mean_of_positives, scores, positive, np.arange(400), rng, draws=2000
    )
    reach = 1.96 * scores.std() / 20
    assert found.value == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx(
        (scores.mean() - reach, scores.mean() + reach), abs=0.15 * reach
    )


def test_the_interval_covers_the_true_value_where_rows_are_copies_only_by_clusters():
    rng = np.random.default_rng(1)
    covered = {True: 0, False: 0}
    for _ in range(150):
        scores = np.repeat(rng.normal(size=50), 6)
        for whole in covered:
            clusters = np.repeat(np.arange(50), 6) if whole else np.arange(300)
            found = bootstrap_threshold(
                mean_of_positives, scores, np.ones(300, bool), clusters, rng, draws=100
            )
            covered[whole] += found.low <= 0 <= found.high
    assert covered[True] / 150 > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 150)
    assert covered[False] / 150 < 0.7


@given(seeds, st.integers(30, 80))
@settings(max_examples=15, deadline=None)
def test_the_interval_holds_the_threshold(seed, n):
    rng = np.random.default_rng(seed)
    scores, positive = rng.normal(size=n), rng.random(n) < 0.9
    value = recall_threshold(scores[positive], 0.8, 0.9)
    found = bootstrap_threshold(
        lambda s, p: recall_threshold(s[p], 0.8, 0.9), scores, positive, np.arange(n), rng
    )
    assert found is None or found.low <= found.value == value <= found.high


def test_draws_see_scores_in_ascending_order_with_their_labels():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=30)
    seen = []

    def fit(some: np.ndarray, positive: np.ndarray) -> float:
        assert (np.diff(some) >= 0).all()
        assert np.array_equal(positive, some > 0.2)
        seen.append(len(some))
        return 0.0

    bootstrap_threshold(fit, scores, scores > 0.2, np.arange(30), rng, draws=20)
    assert seen == [30] * 21


def test_draws_without_a_threshold_are_left_out_up_to_a_tenth():
    for share, known in ((0.05, True), (0.2, False)):
        outcomes = iter(np.random.default_rng(0).permutation(200) >= 200 * share)
        found = bootstrap_threshold(
            lambda scores, positive, outcomes=outcomes: 1.0 if next(outcomes) else None,
            np.arange(9.0),
            np.ones(9, bool),
            np.arange(9),
            np.random.default_rng(0),
            threshold=1.0,
        )
        assert (found is not None) is known


def test_a_single_cluster_or_no_threshold_has_no_interval():
    rng, scores = np.random.default_rng(0), np.arange(9.0)
    for positive, clusters in ((np.ones(9, bool), np.zeros(9, int)), (scores < 0, np.arange(9))):
        assert bootstrap_threshold(mean_of_positives, scores, positive, clusters, rng) is None


def test_large_samples_are_drawn_less_often():
    def draws_of(n: int) -> int:
        times = []
        bootstrap_threshold(
            lambda scores, positive: times.append(1) or 0.0,
            np.zeros(n),
            np.ones(n, bool),
            np.arange(n),
            np.random.default_rng(0),
        )
        return len(times) - 1

    assert [draws_of(n) for n in (500, 20_000, 40_000, 100_000)] == [200, 200, 100, 80]


def test_two_hundred_draws_of_five_hundred_labels_cost_little_beside_the_fits():
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=500), rng.random(500) < 0.2
    start = time.process_time()
    bootstrap_threshold(lambda s, p: 0.0, scores, positive, rng.integers(400, size=500), rng)
    assert time.process_time() - start < 0.1
