"""Probabilities from scores, against scikit-learn and simulated truths."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from clipcal.calibrate.statistics.bounds import wilson
from clipcal.calibrate.statistics.prior_shift import adjust, corpus_prevalence
from clipcal.calibrate.statistics.probability import ProbabilityMap, apply_map, fit_map
from clipcal.calibrate.statistics.reliability import (
    assess_map,
    choose_map,
    probability_quality,
)
from clipcal.calibrate.statistics.temperature import (
    assess_temperature,
    class_probabilities,
    fit_temperature,
)
from clipcal.errors import CalibrationError

FORMULAS = ("platt", "beta")
KINDS = (*FORMULAS, "isotonic")


def draw(n: int, seed: int = 0, slope: float = 1.5, rate: float = 0.3):
    """Scores the size of CLIP margins, labels, and the true probabilities."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    truth = special.expit(slope * z + special.logit(rate))
    return 0.02 + 0.01 * z, rng.random(n) < truth, truth


def bent(scores: np.ndarray) -> np.ndarray:
    """True probabilities of the beta family, whose log odds rise slowly and then fast."""
    below, above = np.logaddexp(0, -scores), np.logaddexp(0, scores)
    return special.expit(-0.5 * below + 5 * above - 3)


@st.composite
def labelled(draw_from, most: int = 40):
    """A few labelled scores with ties, both sides present."""
    n = draw_from(st.integers(2, most))
    steps = draw_from(st.lists(st.integers(-8, 8), min_size=n, max_size=n))
    unit = draw_from(st.sampled_from([1e-3, 1.0, 1e4]))
    positive = draw_from(st.lists(st.booleans(), min_size=n, max_size=n))
    positive[:2] = [True, False]
    return np.array(steps) * unit, np.array(positive)


# --- maps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMULAS)
def test_formulas_equal_a_logistic_regression_on_smoothed_targets(kind):
    scores = np.random.default_rng(3).normal(0.02, 0.01, size=4000)
    standardised = (scores - scores.mean()) / scores.std()
    positive = np.random.default_rng(4).random(4000) < bent(standardised)
    squashed = special.expit(standardised)
    features = {
        "platt": standardised[:, None],
        "beta": np.column_stack([np.log(squashed), -np.log1p(-squashed)]),
    }[kind]
    positives, negatives = positive.sum(), (~positive).sum()
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    oracle = LogisticRegression(C=1e12, tol=1e-10).fit(
        np.vstack([features, features]),
        np.repeat([1, 0], len(scores)),
        np.concatenate([targets, 1 - targets]),
    )
    expected = oracle.predict_proba(features)[:, 1]
    fitted = fit_map(scores, positive, kind)
    assert fitted.parameters[:-3] == pytest.approx(oracle.coef_[0], rel=1e-3)
    assert apply_map(fitted, scores) == pytest.approx(expected, abs=1e-5)


def test_isotonic_equals_scikit_learn_up_to_its_bounds():
    scores, positive, _ = draw(600)
    grid = np.concatenate([scores, [scores.min() - 0.01, scores.max() + 0.01]])
    oracle = IsotonicRegression(out_of_bounds="clip").fit(scores, positive).predict(grid)
    bound = 1 / 602
    fitted = fit_map(scores, positive, "isotonic")
    assert apply_map(fitted, grid) == pytest.approx(np.clip(oracle, bound, 1 - bound), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_many_labels_recover_the_true_probabilities(kind):
    scores, positive, truth = draw(20_000)
    fitted = apply_map(fit_map(scores, positive, kind), scores)
    assert np.sqrt(np.mean((fitted - truth) ** 2)) < 0.02


@given(labelled(), st.sampled_from(FORMULAS), st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_maps_are_monotone_and_stay_within_zero_and_one(sample, kind, others):
    scores, positive = sample
    probabilities = apply_map(
        fit_map(scores, positive, kind), np.sort(np.concatenate([scores, others]))
    )
    assert (probabilities > 0).all()
    assert (probabilities < 1).all()
    assert (np.diff(probabilities) >= -1e-12).all()


@given(labelled(), st.sampled_from(FORMULAS), st.randoms(use_true_random=False))
def test_the_order_of_the_labels_does_not_matter(sample, kind, random):
    scores, positive = sample
    order = list(range(len(scores)))
    random.shuffle(order)
    there, back = (
        apply_map(fit_map(scores[rows], positive[rows], kind), scores)
        for rows in (slice(None), order)
    )
    assert there == pytest.approx(back, abs=1e-4)


@given(labelled(), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_the_unit_of_the_scores_does_not_matter(sample, scale, shift):
    scores, positive = sample
    moved = scores * scale + shift * np.abs(scores).max()
    there, back = (
        apply_map(fit_map(values, positive, "platt"), values) for values in (scores, moved)
    )
    assert there == pytest.approx(back, abs=1e-4)


@pytest.mark.parametrize("kind", FORMULAS)
def test_separated_labels_leave_a_finite_slope(kind):
    scores = np.linspace(-0.02, 0.02, 8)
    fitted = fit_map(scores, scores > 0, kind)
    assert np.isfinite(fitted.parameters).all()
    # Platt's targets for four of each: no map is surer of them than 5/6 on average.
    assert apply_map(fitted, scores)[4:].mean() < 0.9


@pytest.mark.parametrize("kind", FORMULAS)
def test_scores_that_order_labels_backwards_give_a_level_map(kind):
    scores, positive, _ = draw(300)
    probabilities = apply_map(fit_map(-scores, positive, kind), -scores)
    assert np.ptp(probabilities) < 0.02
    assert probabilities.mean() == pytest.approx(positive.mean(), abs=0.01)


@pytest.mark.parametrize("kind", FORMULAS)
def test_equal_scores_give_the_smoothed_rate(kind):
    positive = np.array([True] * 3 + [False] * 7)
    expected = (3 * 4 / 5 + 7 * 1 / 9) / 10
    fitted = fit_map(np.full(10, 0.1), positive, kind)
    assert apply_map(fitted, np.array([0.1])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_undo_a_sample_picked_by_score(kind):
    scores, positive, truth = draw(40_000)
    rng = np.random.default_rng(1)
    # Positives with a middling score are picked more often, as no score rule would allow.
    inclusion = np.where(positive, 0.8, 0.2)
    kept = rng.random(len(scores)) < inclusion
    weights = 1 / inclusion[kept]
    plain, weighed = (
        apply_map(fit_map(scores[kept], positive[kept], kind, w), scores) for w in (None, weights)
    )
    assert np.mean(plain - truth) > 0.1
    assert abs(np.mean(weighed - truth)) < 0.02


@pytest.mark.parametrize("kind", FORMULAS)
def test_weights_count_up_to_a_factor(kind):
    scores, positive, _ = draw(60)
    weights = np.random.default_rng(0).uniform(1, 5, 60)
    once, twice = (fit_map(scores, positive, kind, w) for w in (weights, 2 * weights))
    assert once.parameters == pytest.approx(twice.parameters, rel=1e-4)
    equal = fit_map(scores, positive, kind, np.full(60, 7.0))
    assert equal.parameters == pytest.approx(fit_map(scores, positive, kind).parameters, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_one_side_without_labels_is_refused(kind):
    for positive in (np.ones(100, bool), np.zeros(100, bool)):
        with pytest.raises(CalibrationError, match="needs positives and negatives"):
            fit_map(np.linspace(0, 1, 100), positive, kind)
    with pytest.raises(CalibrationError, match="needs positives and negatives"):
        fit_map(np.empty(0), np.empty(0, bool), kind)


def test_isotonic_maps_are_refused_below_fifty_labels_of_a_side():
    scores, positive, _ = draw(2000)
    kept = np.concatenate([np.flatnonzero(positive)[:49], np.flatnonzero(~positive)])
    with pytest.raises(CalibrationError, match=r"needs 50 positives.*49 and"):
        fit_map(scores[kept], positive[kept], "isotonic")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(wrong):
    fitted = ProbabilityMap("platt", (1.0, 0.0, 0.0, 1.0))
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        apply_map(fitted, np.array([0.1, wrong]))
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        fit_map(np.array([0.1, wrong]), np.array([True, False]), "platt")


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, np.nan]])
def test_weights_that_do_not_weigh_are_refused(weights):
    with pytest.raises(CalibrationError, match="weights above zero"):
        fit_map(np.array([0.1, 0.2]), np.array([True, False]), "platt", np.array(weights))


# --- choice ---------------------------------------------------------------------------------


def test_the_simplest_map_is_chosen_where_it_is_true():
    chosen = []
    for seed in range(12):
        scores, positive, _ = draw(400, seed)
        weights = np.full(400, 3.0) if seed % 2 else None
        chosen.append(choose_map(scores, positive, np.arange(400), seed, weights))
    assert chosen.count("platt") >= 10


def test_another_map_is_chosen_where_it_is_clearly_better():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    curve = rng.random(4000) < bent(scores)
    assert choose_map(scores, curve, np.arange(4000), 0) == "beta"
    stairs = rng.random(4000) < np.select([scores < -0.5, scores < 0.5], [0.02, 0.5], 0.98)
    assert choose_map(scores, stairs, np.arange(4000), 0) == "isotonic"


def test_too_few_labels_to_compare_choose_platt():
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    positive = np.array([False, False, False, True])
    assert choose_map(scores, positive, np.arange(4), 0) == "platt"
    assert choose_map(scores, positive, np.zeros(4, np.int64), 0) == "platt"


def test_copies_of_images_add_no_evidence_to_the_choice():
    scores, positive, _ = draw(150, seed=5, slope=4)
    copied = np.repeat(np.arange(150), 20)
    assert choose_map(scores[copied], positive[copied], copied, 0) == "platt"
    # Taken for new images, they would make noise look like steps.
    assert choose_map(scores[copied], positive[copied], np.arange(3000), 0) == "isotonic"


# --- quality --------------------------------------------------------------------------------


def test_quality_equals_scikit_learn():
    _, positive, truth = draw(1000)
    quality = probability_quality(truth, positive)
    assert quality.brier == pytest.approx(brier_score_loss(positive, truth))
    assert quality.log_loss == pytest.approx(log_loss(positive, truth))
    rates, means = calibration_curve(positive, truth, n_bins=10, strategy="quantile")
    assert [each.predicted for each in quality.bins] == pytest.approx(means)
    assert [each.seen.value for each in quality.bins] == pytest.approx(rates)
    assert [each.seen.n for each in quality.bins] == [100] * 10
    assert quality.calibration_error == pytest.approx(np.abs(rates - means).mean())
    assert quality.bins[0].seen == wilson(round(rates[0] * 100), 100)
    base = positive.mean()
    assert quality.brier_of_base_rate == pytest.approx(np.mean((base - positive) ** 2))


@given(
    st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=300), st.booleans()
)
def test_bins_divide_the_images_and_never_equal_probabilities(pairs, weighed):
    predicted = np.array([p for p, _ in pairs]) / 10
    positive = np.array([y for _, y in pairs])
    weights = np.linspace(1, 3, len(pairs)) if weighed else None
    quality = probability_quality(predicted, positive, 0.9, weights)
    assert sum(each.seen.n for each in quality.bins) == quality.n == len(pairs)
    assert all(each.seen.low <= each.seen.value <= each.seen.high for each in quality.bins)
    means = [each.predicted for each in quality.bins]
    assert all(low < high for low, high in itertools.pairwise(means))
    assert 0 <= quality.calibration_error <= 1


def test_weighted_quality_is_that_of_the_corpus():
    _, positive, truth = draw(60_000)
    inclusion = np.where(truth > 0.5, 0.9, 0.1)
    kept = np.random.default_rng(2).random(len(truth)) < inclusion
    whole = probability_quality(truth, positive)
    part = probability_quality(truth[kept], positive[kept], weights=1 / inclusion[kept])
    assert part.brier == pytest.approx(whole.brier, abs=0.005)
    assert part.brier_of_base_rate == pytest.approx(whole.brier_of_base_rate, abs=0.005)


def test_out_of_fold_probabilities_never_saw_their_own_labels():
    scores, positive, _ = draw(90)
    folds = np.arange(90) % 3
    before = assess_map(scores, positive, "platt", folds)[1]
    changed = np.where(folds == 0, ~positive, positive)
    after = assess_map(scores, changed, "platt", folds)[1]
    assert (before[folds == 0] == after[folds == 0]).all()
    assert (before[folds == 1] != after[folds == 1]).all()
    rest = fit_map(scores[folds != 0], positive[folds != 0], "platt")
    assert (before[folds == 0] == apply_map(rest, scores[folds == 0])).all()


def test_useless_scores_are_no_better_than_the_base_rate():
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=2000), rng.random(2000) < 0.2
    folds = np.arange(2000) % 5
    quality, _ = assess_map(scores, positive, "platt", folds)
    assert quality.brier == pytest.approx(quality.brier_of_base_rate, rel=0.01)


def test_a_fold_without_which_one_side_is_missing_is_refused():
    positive = np.array([True, False, False, False])
    with pytest.raises(CalibrationError, match="Of 2 labelled images 0"):
        assess_map(np.arange(4.0), positive, "platt", np.array([0, 0, 1, 1]))
    with pytest.raises(CalibrationError, match="Of 0 labelled images"):
        assess_map(np.arange(4.0), positive, "platt", np.zeros(4, np.int64))


def test_probabilities_outside_zero_and_one_are_refused():
    with pytest.raises(CalibrationError, match="outside 0 and 1"):
        probability_quality(np.array([1.2]), np.array([True]))
    with pytest.raises(CalibrationError, match="no labels"):
        probability_quality(np.empty(0), np.empty(0, bool))


# --- one class per image ----------------------------------------------------------------------


def classes(n: int, c: int = 4, temperature: float = 0.01, seed: int = 0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.02, (n, c))
    drawn = scores / temperature + rng.gumbel(size=(n, c))
    return scores, drawn.argmax(axis=1)


def test_the_temperature_of_a_softmax_is_recovered():
    assert fit_temperature(*classes(20_000)) == pytest.approx(0.01, rel=0.03)


def test_the_temperature_minimises_the_likelihood_of_guo():
    scores, chosen = classes(20_000)

    def loss(log_temperature: float) -> float:
        logits = scores / np.exp(log_temperature)
        own = logits[np.arange(len(chosen)), chosen]
        return float((special.logsumexp(logits, axis=1) - own).mean())

    oracle = optimize.minimize_scalar(loss, bracket=(-6, -3))
    assert np.log(fit_temperature(scores, chosen)) == pytest.approx(oracle.x, abs=2e-3)


def test_two_classes_are_platt_without_an_intercept():
    scores, chosen = classes(60, c=2)
    difference = scores[:, 1] - scores[:, 0]
    targets = np.where(chosen == 1, 61 / 62, 1 / 62)

    def loss(slope: float) -> float:
        logits = slope * difference
        return float((np.logaddexp(0, logits) - targets * logits).mean())

    oracle = optimize.minimize_scalar(loss, bracket=(10, 100))
    assert 1 / fit_temperature(scores, chosen) == pytest.approx(oracle.x, rel=1e-4)


@given(st.integers(2, 5), st.integers(2, 30), st.integers(0, 10**6), st.booleans())
@settings(max_examples=50)
def test_temperatures_are_finite_even_if_every_answer_is_right_or_wrong(c, n, seed, right):
    scores = np.random.default_rng(seed).normal(size=(n, c))
    chosen = scores.argmax(axis=1) if right else scores.argmin(axis=1)
    chosen[:2], scores[:2] = [0, 1], np.eye(2, c) * (5 if right else -5)
    temperature = fit_temperature(scores, chosen)
    assert 0 < temperature < np.inf
    assert class_probabilities(scores, temperature).max() < 1
    assert class_probabilities(scores, temperature).sum(axis=1) == pytest.approx(1)


def test_scores_that_do_not_differ_within_an_image_have_a_temperature():
    assert fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1


def test_the_most_probable_class_is_assessed_out_of_fold():
    scores, chosen = classes(3000)
    quality = assess_temperature(scores, chosen, np.arange(3000) % 5)
    rate = (scores.argmax(axis=1) == chosen).mean()
    assert quality.brier_of_base_rate == pytest.approx(rate * (1 - rate))
    assert quality.calibration_error < 0.04
    assert quality.brier < quality.brier_of_base_rate


def test_labels_that_no_temperature_can_be_fitted_to_are_refused():
    with pytest.raises(CalibrationError, match="all of one class"):
        fit_temperature(np.eye(3), np.ones(3, np.int64))
    with pytest.raises(CalibrationError, match="categories are 0 to 1"):
        fit_temperature(np.ones((2, 2)), np.array([0, 2]))
    with pytest.raises(CalibrationError, match="NaN"):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))
    with pytest.raises(CalibrationError, match="above 0"):
        class_probabilities(np.eye(2), 0)


# --- another prevalence -----------------------------------------------------------------------


def shifted(n: int, prevalence: float, seed: int = 0):
    """Scores of n images and their probabilities by a map that is true where half are positive."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < prevalence
    scores = rng.normal(size=n) + positive
    return positive, special.expit(scores - 0.5)


@pytest.mark.parametrize("prevalence", [0.02, 0.1, 0.5, 0.9])
def test_a_shifted_prevalence_is_recovered(prevalence):
    _, probabilities = shifted(200_000, prevalence)
    assert corpus_prevalence(probabilities, 0.5) == pytest.approx(prevalence, abs=0.006)


def test_the_estimate_is_where_expectation_maximisation_converges():
    _, probabilities = shifted(500, 0.2)
    prevalence = 0.5
    for _ in range(3000):
        prevalence = adjust(probabilities, 0.5, prevalence).mean()
    assert corpus_prevalence(probabilities, 0.5) == pytest.approx(prevalence, abs=1e-6)


@given(st.lists(st.floats(0.01, 0.99), min_size=60, max_size=80))
def test_without_a_shift_nothing_moves(values):
    probabilities = np.array(values)
    mean = float(probabilities.mean())
    if np.ptp(probabilities) > 0.05:
        assert corpus_prevalence(probabilities, mean) == pytest.approx(mean, abs=1e-6)
    assert adjust(probabilities, 0.3, 0.3) == pytest.approx(probabilities)


def test_adjusted_probabilities_are_calibrated_in_the_corpus():
    positive, probabilities = shifted(200_000, 0.05)
    adjusted = adjust(probabilities, 0.5, corpus_prevalence(probabilities, 0.5))
    assert probability_quality(adjusted, positive).calibration_error < 0.003
    assert probability_quality(probabilities, positive).calibration_error > 0.2


def test_the_mean_of_the_map_is_the_prevalence_that_it_was_fitted_to():
    scores, positive, _ = draw(400, slope=0.3, rate=0.01)
    assert 0 < positive.sum() < 10
    probabilities = apply_map(fit_map(scores, positive, "platt"), scores)
    believed = float(probabilities.mean())
    assert corpus_prevalence(probabilities, believed) == pytest.approx(believed, rel=1e-3)
    # The plain rate would be taken for a shift, by far more than it differs.
    assert corpus_prevalence(probabilities, float(positive.mean())) > 2 * believed


def test_a_corpus_of_one_side_stays_within_zero_and_one():
    assert corpus_prevalence(np.full(100, 0.01), 0.5) == 0.005
    assert corpus_prevalence(np.full(100, 0.99), 0.5) == 0.995
    assert corpus_prevalence(np.array([0.0, 0.0]), 0.5) == 0.25
    extremes = adjust(np.array([0.0, 1.0]), 0.5, 1e-6)
    assert (extremes > 0).all()
    assert (extremes < 1).all()


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_adjusting_multiplies_odds_and_can_be_undone(before, now):
    probabilities = np.linspace(0.01, 0.99, 9)
    adjusted = adjust(probabilities, before, now)
    odds = special.logit(adjusted) - special.logit(probabilities)
    assert odds == pytest.approx(special.logit(now) - special.logit(before))
    assert adjust(adjusted, now, before) == pytest.approx(probabilities)


def test_prevalences_and_probabilities_out_of_range_are_refused():
    for prevalence in (0.0, 1.0):
        with pytest.raises(CalibrationError, match="between 0 and 1"):
            corpus_prevalence(np.array([0.5]), prevalence)
        with pytest.raises(CalibrationError, match="between 0 and 1"):
            adjust(np.array([0.5]), 0.5, prevalence)
    for wrong in (-0.1, 1.1):
        with pytest.raises(CalibrationError, match="outside 0 and 1"):
            corpus_prevalence(np.array([0.5, wrong]), 0.5)
    with pytest.raises(CalibrationError, match="no scored images"):
        corpus_prevalence(np.empty(0), 0.5)


def test_a_million_images_take_less_than_a_second():
    _, probabilities = shifted(1_000_000, 0.1)
    fitted = fit_map(*draw(1000)[:2], "isotonic")
    start = time.process_time()
    corpus_prevalence(probabilities, 0.5)
    apply_map(fitted, probabilities)
    assert time.process_time() - start < 1
