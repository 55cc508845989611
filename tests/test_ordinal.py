"""Proportional odds, against statsmodels and on data that have no unpenalised fit."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from clipcal.calibrate.statistics.ordinal import (
    OrdinalFit,
    _Objective,
    fit_ordinal,
    level_probabilities,
    level_thresholds,
    predict,
)
from clipcal.errors import CalibrationError

THREE = OrdinalFit((2.0,), (-1.0, 1.0), (0.1,), (0.01,), 1.0)


def draw(n: int, cutpoints=(-0.5, 1.0, 2.5), weights=(1.0, -0.5), seed: int = 0):
    """Features of unit variance, and levels that follow proportional odds."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(weights)))
    latent = features @ weights + rng.logistic(size=n)
    return features, np.searchsorted(cutpoints, latent)


@st.composite
def small(draw_from):
    """A few labelled images: ties, constant features, absent levels; two levels at least."""
    n, f = draw_from(st.integers(2, 12)), draw_from(st.integers(1, 3))
    n_levels = draw_from(st.integers(2, 5))
    row = st.lists(st.integers(-3, 3), min_size=f, max_size=f)
    features = np.array(draw_from(st.lists(row, min_size=n, max_size=n)), float) * 0.01
    features[:, 0] *= draw_from(st.sampled_from([0, 1]))
    levels = draw_from(st.lists(st.integers(0, n_levels - 1), min_size=n, max_size=n))
    levels[:2] = [0, 1] if levels[0] == 0 else [levels[0], 0]
    return features, np.array(levels), n_levels


def test_the_fit_equals_statsmodels_where_the_priors_vanish():
    ordinal_model = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    features, levels = draw(1500)
    model = ordinal_model.OrderedModel(levels, features, distr="logit")
    oracle = model.fit(method="bfgs", disp=0, gtol=1e-8)
    cuts = model.transform_threshold_params(oracle.params)[1:-1]
    fit = fit_ordinal(features, levels, 4, penalty=1e-6)
    weights = np.array(fit.weights) / fit.scale
    assert weights == pytest.approx(oracle.params[:2], abs=4e-3)
    raw_cuts = fit.cutpoints + weights @ fit.centre
    assert raw_cuts == pytest.approx(cuts, abs=4e-3)
    expected = oracle.predict(features)
    assert level_probabilities(fit, features) == pytest.approx(expected, abs=1e-3)


def test_two_levels_are_a_ridge_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, levels = draw(3000, cutpoints=(0.5,))
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    oracle = linear_model.LogisticRegression(C=1 / 5, tol=1e-10).fit(standardised, levels)
    fit = fit_ordinal(features, levels, 2, penalty=5)
    assert fit.weights == pytest.approx(oracle.coef_[0], abs=1e-3)
    assert -fit.cutpoints[0] == pytest.approx(oracle.intercept_[0], abs=1e-3)


@given(small(), st.integers(0, 1000), st.floats(0.01, 10))
def test_the_gradient_is_that_of_the_objective(sample, seed, penalty):
    features, levels, n_levels = sample
    objective = _Objective(features * 100, levels, n_levels, penalty)
    rng = np.random.default_rng(seed)
    point = objective.start() + rng.uniform(0, 1, len(objective.start()))
    error = optimize.check_grad(lambda p: objective(p)[0], lambda p: objective(p)[1], point)
    assert error < 1e-5


@given(small(), st.booleans(), st.sampled_from([1e-3, 1.0, 100.0]))
@settings(max_examples=100)
def test_any_labels_of_two_levels_have_a_finite_ordered_fit(sample, increasing, penalty):
    features, levels, n_levels = sample
    fit = fit_ordinal(features, levels, n_levels, penalty, increasing=increasing)
    assert np.isfinite(fit.weights).all()
    assert np.isfinite(fit.cutpoints).all()
    assert len(fit.cutpoints) == n_levels - 1
    assert (np.diff(fit.cutpoints) > 0).all()
    probabilities = level_probabilities(fit, features)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities > 0).all()
    constant = np.ptp(features, axis=0) == 0
    assert (np.array(fit.weights)[constant] == 0).all()
    if increasing:
        assert min(fit.weights) >= 0


@given(small(), st.randoms(use_true_random=False))
def test_the_order_of_the_labels_does_not_matter(sample, random):
    features, levels, n_levels = sample
    order = list(range(len(levels)))
    random.shuffle(order)
    there = fit_ordinal(features, levels, n_levels)
    back = fit_ordinal(features[order], levels[order], n_levels)
    assert there.weights == pytest.approx(back.weights, abs=1e-4)
    assert there.cutpoints == pytest.approx(back.cutpoints, abs=1e-4)


@given(small(), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_the_unit_of_a_feature_does_not_matter(sample, scale, shift):
    features, levels, n_levels = sample
    moved = features * scale + shift * scale
    there = fit_ordinal(features, levels, n_levels)
    back = fit_ordinal(moved, levels, n_levels)
    assert level_probabilities(there, features) == pytest.approx(
        level_probabilities(back, moved), abs=1e-4
    )


def test_no_nearby_fit_is_better():
    features, levels = draw(300)
    fit = fit_ordinal(features, levels, 4)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    objective = _Objective(standardised, levels, 4, 1.0)
    best = np.concatenate([fit.weights, fit.cutpoints[:1], np.diff(fit.cutpoints)])
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert objective(best + rng.normal(0, 0.01, len(best)))[0] >= objective(best)[0]


def test_eight_separated_images_of_three_levels_are_told_apart():
    scores = np.linspace(-0.03, 0.04, 8)[:, None]
    levels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    fit = fit_ordinal(scores, levels, 3, penalty=0.1)
    assert predict(fit, scores).tolist() == levels.tolist()
    low, high = level_thresholds(fit)
    assert scores[2, 0] < low < scores[3, 0]
    assert scores[5, 0] < high < scores[6, 0]


def test_a_level_without_images_is_rare_but_not_impossible():
    scores = np.linspace(-1, 1, 40)[:, None]
    levels = np.where(scores[:, 0] > 0, 2, 0)
    for n_levels, absent in ((3, 1), (4, 3)):
        fit = fit_ordinal(scores, levels, n_levels)
        rate = level_probabilities(fit, scores)[:, absent].mean()
        assert 0 < rate < 1 / 40
        assert absent not in predict(fit, scores)


def test_an_increasing_fit_ignores_a_feature_that_points_down():
    features, levels = draw(500)
    free = fit_ordinal(features, levels, 4)
    held = fit_ordinal(features, levels, 4, increasing=True)
    assert free.weights[1] < 0
    assert held.weights[0] > 0
    assert held.weights[1] == 0


def test_a_heavier_penalty_gives_smaller_weights():
    features, levels = draw(200)
    norms = [
        np.linalg.norm(fit_ordinal(features, levels, 4, penalty).weights)
        for penalty in (0.1, 1, 10, 100, 1000)
    ]
    assert (np.diff(norms) < 0).all()


# --- using a fit ------------------------------------------------------------------------------


def test_level_probabilities_are_differences_of_logistics():
    scores = np.linspace(0.05, 0.15, 11)[:, None]
    position = 2 * (scores - 0.1) / 0.01
    reached = special.expit(position - np.array([-1, 1]))
    expected = np.column_stack([1 - reached[:, 0], reached[:, 0] - reached[:, 1], reached[:, 1]])
    assert level_probabilities(THREE, scores) == pytest.approx(expected, abs=1e-15)


def test_far_out_probabilities_keep_their_digits():
    top, bottom = level_probabilities(THREE, np.array([[0.5], [-0.5]]))
    assert top[1] == pytest.approx(np.exp(1 - 80) * -np.expm1(-2), rel=1e-9)
    assert bottom[2] == pytest.approx(np.exp(-120 - 1), rel=1e-9)


def test_thresholds_are_where_a_level_is_as_likely_reached_as_not():
    thresholds = level_thresholds(THREE)
    assert thresholds == pytest.approx((0.095, 0.105))
    at = level_probabilities(THREE, np.array(thresholds)[:, None])
    assert [at[0, 1:].sum(), at[1, 2]] == pytest.approx([0.5, 0.5])


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=20))
def test_predictions_are_the_thresholds_decisions_and_the_median_level(values):
    scores = np.array(values)
    predicted = predict(THREE, scores[:, None])
    thresholds = np.array(level_thresholds(THREE))
    clear = (np.abs(scores[:, None] - thresholds) > 1e-9).all(axis=1)
    reached = (scores[:, None] >= thresholds).sum(axis=1)
    assert (predicted == reached)[clear].all()
    below = np.cumsum(level_probabilities(THREE, scores[:, None]), axis=1)
    assert (predicted == (below <= 0.5).sum(axis=1))[clear].all()


def test_only_one_rising_feature_has_thresholds():
    assert level_thresholds(OrdinalFit((-2.0,), (0.0,), (0.0,), (1.0,), 1.0)) is None
    assert level_thresholds(OrdinalFit((0.0,), (0.0,), (0.0,), (1.0,), 1.0)) is None
    assert level_thresholds(OrdinalFit((1e-320,), (1.0,), (0.0,), (1.0,), 1.0)) is None
    with pytest.raises(CalibrationError, match="2 features decide together"):
        level_thresholds(OrdinalFit((1.0, 1.0), (0.0,), (0.0, 0.0), (1.0, 1.0), 1.0))


# --- refusals ---------------------------------------------------------------------------------


def test_what_cannot_be_fitted_is_refused():
    features = np.array([[0.1], [0.2]])
    for levels, n_levels, penalty, message in (
        ([1, 1], 3, 1.0, "all of one level"),
        ([0, 3], 3, 1.0, "levels 0 to 3, but there are 3"),
        ([-1, 0], 3, 1.0, "levels -1 to 0"),
        ([0, 1, 1], 3, 1.0, "2 scores, but levels"),
        ([0, 1], 3, 0.0, "penalty is 0"),
    ):
        with pytest.raises(CalibrationError, match=message):
            fit_ordinal(features, np.array(levels), n_levels, penalty)
    with pytest.raises(CalibrationError, match="all of one level"):
        fit_ordinal(np.empty((0, 1)), np.empty(0, np.int64), 3)


def test_features_that_are_no_numbers_or_too_many_are_refused():
    for function in (level_probabilities, predict):
        with pytest.raises(CalibrationError, match="NaN or infinite"):
            function(THREE, np.array([[np.nan]]))
        with pytest.raises(CalibrationError, match="2 features, but 1"):
            function(THREE, np.ones((1, 2)))
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        fit_ordinal(np.array([[np.nan], [1.0]]), np.array([0, 1]), 2)


def test_a_hundred_thousand_labels_take_less_than_two_seconds():
    features, levels = draw(100_000, weights=(1.5,))
    start = time.process_time()
    fit_ordinal(features, levels, 4)
    assert time.process_time() - start < 2
