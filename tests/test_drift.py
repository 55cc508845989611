"""Drift of scores, against scipy on the raw samples and in simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipcal.calibrate.statistics.drift import measure_drift, quantile_sketch
from clipcal.errors import CalibrationError

RESOLUTION = 1 / 256
values = st.lists(st.integers(-20, 20), min_size=2, max_size=400).map(lambda x: np.array(x) / 100)


def compare(reference, new, points: int = 257):
    return measure_drift(quantile_sketch(reference, points), len(reference), new)


def normal(n: int, shift: float = 0.0, seed: int = 0):
    """Scores the size of CLIP margins; the shift is in standard deviations."""
    return np.random.default_rng(seed).normal(0.02 + 0.01 * shift, 0.01, n)


# --- sketch -----------------------------------------------------------------------------------


@given(values, st.integers(2, 300))
def test_a_sketch_ascends_from_the_lowest_score_to_the_highest_through_scores(scores, points):
    sketch = quantile_sketch(scores, points)
    assert len(sketch) == points
    assert list(sketch) == sorted(sketch)
    assert (sketch[0], sketch[-1]) == (scores.min(), scores.max())
    assert set(sketch) <= set(scores.tolist())


def test_a_sketch_equals_the_quantiles_of_numpy():
    scores = normal(5000)
    expected = np.quantile(scores.round(6), np.linspace(0, 1, 257), method="inverted_cdf")
    assert quantile_sketch(scores) == tuple(expected.tolist())


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_the_scores_does_not_matter(scores, random):
    shuffled = scores.tolist()
    random.shuffle(shuffled)
    assert quantile_sketch(scores) == quantile_sketch(np.array(shuffled))
    assert compare(scores, scores[:3]) == compare(np.array(shuffled), scores[:3][::-1])


# --- distance ---------------------------------------------------------------------------------


@given(values, values)
def test_the_distance_is_that_of_scipy_within_the_resolution_of_the_sketch(reference, new):
    expected = stats.ks_2samp(reference, new, method="asymp").statistic
    assert compare(reference, new).ks == pytest.approx(expected, abs=RESOLUTION + 1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
def test_the_p_value_is_near_that_of_scipy_and_never_less(shift):
    reference, new = normal(20_000), normal(300, shift, seed=1)
    statistic = stats.ks_2samp(reference, new).statistic
    weight = np.sqrt(20_000 * 300 / 20_300)
    asymptotic = stats.kstwobign.sf(weight * statistic)
    drift = compare(reference, new)
    assert asymptotic - 1e-3 <= drift.p_value
    assert drift.p_value <= stats.kstwobign.sf(weight * max(0, statistic - 2 * RESOLUTION)) + 1e-9


@given(values)
def test_the_same_scores_have_not_drifted(scores):
    drift = compare(scores, scores)
    assert drift.ks <= RESOLUTION + 1e-9
    assert drift.p_value == 1
    assert drift.psi == pytest.approx(0, abs=0.05)
    assert not drift.drifted


def test_a_score_that_many_images_share_is_compared_whole():
    # In float32 a seventh is not the seventh of the sketch, which has six decimals.
    reference = np.repeat(np.array([1 / 7, 2 / 7], np.float32), [700, 300])
    drift = compare(reference, np.repeat(np.array([1 / 7, 2 / 7], np.float32), [70, 30]))
    assert drift.ks <= RESOLUTION
    assert compare(reference, reference[:700]).ks == pytest.approx(0.3, abs=RESOLUTION)


def test_a_constant_score_that_moves_either_way_has_drifted():
    reference = np.full(500, 0.1)
    for moved in (0.05, 0.15):
        drift = compare(reference, np.full(100, moved))
        assert drift.drifted
        assert drift.ks == 1


# --- stability index --------------------------------------------------------------------------


def test_the_index_is_the_textbook_sum_over_deciles_less_its_bias():
    reference, new = normal(10_000), normal(8000, 0.5, seed=1)
    edges = np.quantile(reference, np.arange(1, 10) / 10)
    then, now = (np.bincount(np.searchsorted(edges, x), minlength=10) for x in (reference, new))
    expected, actual = then / then.sum(), now / now.sum()
    textbook = float(((actual - expected) * np.log(actual / expected)).sum())
    bias = 9 * (1 / 10_000 + 1 / 8000)
    assert compare(reference, new).psi == pytest.approx(textbook - bias, rel=0.02)


@pytest.mark.parametrize("n", [100, 300])
def test_the_index_does_not_tell_how_many_images_there_are(n):
    indices = [compare(normal(1000, seed=s), normal(n, 0.5, seed=s + 9999)).psi for s in range(200)]
    large = compare(normal(200_000), normal(200_000, 0.5, seed=1)).psi
    assert np.mean(indices) == pytest.approx(large, rel=0.1)


# --- warnings ---------------------------------------------------------------------------------


def warned(n: int, shift: float, reference_n: int = 2000, draws: int = 400) -> float:
    sketch = quantile_sketch(normal(reference_n, seed=77))
    drifts = (
        measure_drift(sketch, reference_n, normal(n, shift, seed=1000 + s)) for s in range(draws)
    )
    return float(np.mean([drift.drifted for drift in drifts]))


@pytest.mark.parametrize("n", [8, 30, 200, 2000])
def test_images_like_those_before_seldom_warn(n):
    assert warned(n, 0.0) <= 0.02


@pytest.mark.parametrize("reference_n", [8, 50])
def test_a_small_calibration_seldom_warns_either(reference_n):
    draws = [
        compare(normal(reference_n, seed=s), normal(500, seed=s + 9999)).drifted for s in range(400)
    ]
    assert np.mean(draws) <= 0.02


def test_a_clear_shift_of_200_images_is_noticed():
    assert warned(200, 0.7) >= 0.99
    assert warned(30, 1.5) >= 0.99


def test_a_trifle_does_not_warn_however_many_images_show_it():
    drift = compare(normal(200_000), normal(200_000, 0.1, seed=1))
    assert drift.p_value < 1e-6
    assert drift.psi < 0.1
    assert not drift.drifted


def test_a_wider_spread_about_the_same_mean_is_noticed():
    wide = np.random.default_rng(1).normal(0.02, 0.025, 300)
    assert compare(normal(2000), wide).drifted


def test_the_resolution_of_a_coarse_sketch_does_not_warn():
    lumpy = np.concatenate([normal(50_000), np.full(50_000, 0.5), np.full(3000, 0.2)])
    assert compare(lumpy, lumpy, points=9).p_value > 0.01


# --- refusals ---------------------------------------------------------------------------------


def test_scores_that_are_none_or_no_numbers_are_refused():
    sketch = quantile_sketch(normal(100))
    for wrong, message in (([], "no scores"), ([0.1, np.nan], "NaN"), ([np.inf], "infinite")):
        with pytest.raises(CalibrationError, match=message):
            quantile_sketch(np.array(wrong))
        with pytest.raises(CalibrationError, match=message):
            measure_drift(sketch, 100, np.array(wrong))
    with pytest.raises(CalibrationError, match="1 points"):
        quantile_sketch(normal(100), 1)


@pytest.mark.parametrize(("sketch", "n"), [((), 9), ((0.1,), 9), ((0.2, 0.1), 9), ((0.1, 0.2), 0)])
def test_a_sketch_that_is_none_is_refused(sketch, n):
    with pytest.raises(CalibrationError, match="keeps no distribution"):
        measure_drift(sketch, n, normal(10))


def test_a_million_scores_take_less_than_half_a_second():
    sketch, new = quantile_sketch(normal(1000)), normal(1_000_000).astype(np.float32)
    start = time.process_time()
    measure_drift(sketch, 1000, new)
    assert time.process_time() - start < 0.5
