"""Laws of drawing images to label, and of what the labels stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clipcal.calibrate.statistics.sampling import (
    Draw,
    cluster_centres,
    design_weights,
    equal_allocation,
    inclusion_probabilities,
    nearest_centre,
    nearness,
    score_strata,
    share,
    spread_order,
    systematic_sample,
    uncertainty,
)
from clipcal.errors import CalibrationError

sizes = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e6))


# --- inclusion probabilities ------------------------------------------------------------------


@given(sizes, st.data())
def test_probabilities_sum_to_the_number_drawn_and_leave_nobody_out(
    size: np.ndarray, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(size)))
    inclusion = inclusion_probabilities(size, n)
    assert inclusion.sum() == pytest.approx(n)
    assert (inclusion > 0).all()
    assert (inclusion <= 1).all()
    assert inclusion.min() >= min(1, 0.2 * n / len(size)) * (1 - 1e-9)


def test_sizes_next_to_nothing_leave_nobody_out() -> None:
    np.testing.assert_allclose(inclusion_probabilities(np.array([0, 5e-324]), 1), [0.1, 0.9])


@given(sizes, st.data())
def test_the_larger_an_image_counts_the_likelier_it_is_drawn(
    size: np.ndarray, data: st.DataObject
) -> None:
    inclusion = inclusion_probabilities(size, data.draw(st.integers(1, len(size))))
    assert (np.diff(inclusion[np.argsort(size, kind="stable")]) >= -1e-12).all()


def test_who_would_exceed_1_is_certain_and_the_rest_stays_in_proportion() -> None:
    inclusion = inclusion_probabilities(np.array([100.0, 30.0, 2.0, 1.0, 1.0]), 3, floor=0)
    np.testing.assert_allclose(inclusion, [1, 1, 0.5, 0.25, 0.25])


def test_equal_sizes_give_a_simple_random_sample() -> None:
    for size in (np.ones(8), np.zeros(8)):
        np.testing.assert_allclose(inclusion_probabilities(size, 2), 0.25)


@pytest.mark.parametrize(("size", "n"), [([1.0], 2), ([-1.0, 3.0], 1), ([np.nan, 1.0], 1)])
def test_what_cannot_be_drawn_is_refused(size: list[float], n: int) -> None:
    with pytest.raises(CalibrationError, match="clipcal suggest"):
        inclusion_probabilities(np.array(size), n)


def test_a_label_is_worth_most_where_it_is_a_toss_up() -> None:
    np.testing.assert_allclose(uncertainty(np.array([0, 0.5, 0.8, 1])), [0, 0.5, 0.4, 0])
    scores = np.linspace(-1, 1, 201)
    guess = nearness(scores, 0.3)
    assert scores[uncertainty(guess).argmax()] == pytest.approx(0.3)
    assert (np.diff(guess) >= 0).all()
    assert nearness(np.full(3, 0.2), 0.2) == pytest.approx(0.5)


# --- strata -----------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 200))
def test_strata_are_ordered_by_score_and_halve_towards_the_top(size: int, n: int) -> None:
    scores = np.random.default_rng(size).permutation(size) / size
    strata = score_strata(scores, n)
    counts = np.bincount(strata)
    assert (counts > 0).all()
    assert (np.diff(strata[np.argsort(scores)]) >= 0).all()
    assert counts.sum() == size
    assert len(counts) <= 10
    if len(counts) > 2:
        np.testing.assert_allclose(counts[1:-1], size / 2.0 ** np.arange(2, len(counts)), atol=1)
        assert counts[-1] == counts[-2] or abs(counts[-1] - counts[-2]) <= 1


def test_every_stratum_gets_an_equal_part() -> None:
    strata = score_strata(np.arange(800.0), 40)
    inclusion = inclusion_probabilities(equal_allocation(strata), 40, floor=0)
    np.testing.assert_allclose(np.bincount(strata, inclusion), 40 / (strata.max() + 1))
    order = spread_order(strata, np.arange(800))
    for seed in range(20):
        drawn = systematic_sample(inclusion, order, np.random.default_rng(seed))
        assert set(np.bincount(strata[drawn])) == {8}


def test_near_copies_count_about_once() -> None:
    shared = share(np.array([1.0, 1.0, 1.0, 4.0]), np.array([0, 1, 1, 2]))
    np.testing.assert_allclose(shared, [1, 0.5, 0.5, 4])


# --- the draw ---------------------------------------------------------------------------------


@given(sizes, st.data(), st.integers(0, 2**32 - 1))
def test_a_draw_has_the_size_asked_for_and_no_repeats(
    size: np.ndarray, data: st.DataObject, seed: int
) -> None:
    n = data.draw(st.integers(0, len(size)))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(size))
    inclusion = inclusion_probabilities(size, n)
    drawn = systematic_sample(inclusion, order, rng)
    assert len(drawn) == n
    assert (np.diff(drawn) > 0).all()
    assert set(np.flatnonzero(inclusion >= 1)) <= set(drawn)


@pytest.fixture(scope="module")
def unequal() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return inclusion_probabilities(rng.exponential(size=60) ** 2, 12), rng.permutation(60)


def test_images_are_drawn_exactly_as_often_as_their_probability_says(
    unequal: tuple[np.ndarray, np.ndarray],
) -> None:
    inclusion, order = unequal
    rng, draws = np.random.default_rng(0), 20_000
    seen = np.zeros(60)
    for _ in range(draws):
        seen[systematic_sample(inclusion, order, rng)] += 1
    error = np.sqrt(inclusion * (1 - inclusion) / draws)
    assert (np.abs(seen / draws - inclusion) <= 4.5 * error).all()


def test_totals_weighted_by_the_inverse_probability_are_unbiased(
    unequal: tuple[np.ndarray, np.ndarray],
) -> None:
    inclusion, order = unequal
    values = np.random.default_rng(1).integers(0, 2, 60)
    totals = []
    for seed in range(4000):
        drawn = systematic_sample(inclusion, order, np.random.default_rng(seed))
        totals.append((values[drawn] / inclusion[drawn]).sum())
    assert np.mean(totals) == pytest.approx(values.sum(), abs=4 * np.std(totals) / 4000**0.5)


def test_neighbours_in_the_list_are_not_drawn_both() -> None:
    inclusion = np.full(100, 0.25)
    for seed in range(50):
        drawn = systematic_sample(inclusion, np.arange(100), np.random.default_rng(seed))
        assert set(np.diff(drawn)) == {4}


def test_a_draw_along_clusters_reaches_more_of_them_than_independent_draws() -> None:
    rng = np.random.default_rng(3)
    middles = rng.normal(size=(40, 16))
    embeddings = (middles[rng.integers(0, 40, 4000)] + 0.1 * rng.normal(size=(4000, 16))).astype(
        np.float16
    )
    centres = cluster_centres(embeddings, 40, rng)
    cluster = nearest_centre(embeddings, centres)
    order = spread_order(cluster, rng.random(4000))
    inclusion = np.full(4000, 40 / 4000)
    spread, independent = [], []
    for _ in range(100):
        spread.append(len(set(cluster[systematic_sample(inclusion, order, rng)])))
        independent.append(len(set(cluster[rng.choice(4000, 40, replace=False)])))
    assert np.mean(spread) > 1.2 * np.mean(independent)


def test_clusters_are_found_where_there_are_fewer_images_than_clusters() -> None:
    same, rng = np.ones((5, 4), np.float16), np.random.default_rng(0)
    assert len(cluster_centres(same, 9, rng)) <= 5
    assert (nearest_centre(same, cluster_centres(same, 3, rng)) >= 0).all()


def test_the_nearest_centre_is_that_of_the_least_distance() -> None:
    rng = np.random.default_rng(5)
    points, centres = rng.normal(size=(200, 8)), rng.normal(size=(7, 8))
    distance = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest_centre(points, centres), distance.argmin(axis=1))


# --- weights ----------------------------------------------------------------------------------


def test_without_picked_images_every_weight_is_1() -> None:
    rows = np.array([5, 2, 9])
    weights = design_weights(rows, [Draw(rows, np.full(3, 3 / 10), 10)])
    assert weights.tolist() == [1, 1, 1]
    assert design_weights(rows[:0], []).tolist() == []


def test_what_is_known_counts_as_it_is_and_what_is_drawn_by_its_inverse_probability() -> None:
    known, drawn = np.array([0, 1]), np.array([7, 4])
    weights = design_weights(
        np.array([4, 0, 7, 1]), [Draw(drawn, np.array([0.5, 0.1]), 14, (known,))]
    )
    np.testing.assert_allclose(weights / weights[1], [10, 1, 2, 1])


def test_half_labelled_draws_stand_for_the_whole_and_unlabelled_ones_are_left_out() -> None:
    known, none, drawn = np.array([0, 1]), np.array([2, 3]), np.array([4, 5, 6, 7])
    draw = Draw(drawn, np.full(4, 0.5), 12, (known, none))
    weights = design_weights(np.array([0, 4, 5]), [draw])
    np.testing.assert_allclose(weights / weights[0], [1, 2, 2])


def test_weighted_totals_of_draws_that_hang_on_earlier_labels_are_unbiased() -> None:
    """The second draw looks near what the first one found; the audit sample hits old picks."""
    rng = np.random.default_rng(6)
    images, repeats = 400, 1500
    positive = rng.random(images) < 0.15
    scores = rng.normal(size=images) + 1.5 * positive
    order = np.argsort(scores)
    rates, plain = [], []
    for _ in range(repeats):
        sample, known, draws = np.empty(0, np.int64), np.empty(0, np.int64), []
        for _ in range(2):
            fresh = rng.choice(np.setdiff1d(np.arange(images), sample), 15, replace=False)
            sample, known = np.union1d(sample, fresh), np.union1d(known, fresh)
            found = scores[known][positive[known]]
            threshold = float(np.median(found)) if len(found) else 1.0
            frame = order[~np.isin(order, known)]
            inclusion = inclusion_probabilities(uncertainty(nearness(scores[frame], threshold)), 15)
            drawn = systematic_sample(inclusion, np.arange(len(frame)), rng)
            draws.append(Draw(frame[drawn], inclusion[drawn], images, (known,)))
            known = np.union1d(known, frame[drawn])
        uniform = Draw(sample, np.full(30, 30 / images), images)
        weights = design_weights(known, [uniform, *draws])
        # The mean weight is 1 whatever was drawn, so this is a ratio, with a bias of order 1 / n.
        rates.append((weights * positive[known]).sum() / weights.sum())
        plain.append(positive[known].mean())
    assert np.mean(rates) == pytest.approx(positive.mean(), abs=0.006)
    assert abs(np.mean(plain) - positive.mean()) > 0.03
