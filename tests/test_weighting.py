"""Laws of weighted rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.statistics.bounds import wilson
from clipcal.calibrate.statistics.sampling import (
    Draw,
    design_weights,
    inclusion_probabilities,
    nearness,
    systematic_sample,
    uncertainty,
)
from clipcal.calibrate.statistics.weighting import effective_size, weighted_rate, weighted_total
from clipcal.errors import CalibrationError

labels = st.lists(st.booleans(), min_size=1, max_size=60).map(np.array)


@given(labels, st.floats(1e-6, 1e6), st.floats(0.5, 0.99))
def test_equal_weights_give_wilsons_interval_exactly(
    success: np.ndarray, weight: float, confidence: float
) -> None:
    found = weighted_rate(success, np.full(len(success), weight), confidence)
    assert found == wilson(int(success.sum()), len(success), confidence)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e3)), min_size=1, max_size=60))
def test_a_rate_lies_in_its_interval_and_the_interval_between_0_and_1(
    pairs: list[tuple[bool, float]],
) -> None:
    success, weights = (np.array(x) for x in zip(*pairs, strict=True))
    found = weighted_rate(success, weights.astype(float))
    if found is None:
        assert not weights.any()
        return
    assert -1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12
    assert found.n == np.count_nonzero(weights)
    assert 1 - 1e-9 <= effective_size(weights) <= found.n + 1e-9


def test_a_weight_of_two_counts_as_two_images_in_the_rate_but_not_in_what_is_known() -> None:
    success = np.array([True, False, False])
    weighted = weighted_rate(success, np.array([2.0, 1.0, 1.0]))
    doubled = weighted_rate(success[[0, 0, 1, 2]], np.ones(4))
    assert weighted is not None
    assert doubled is not None
    assert weighted.value == doubled.value == 0.5
    assert weighted.high - weighted.low > doubled.high - doubled.low
    assert effective_size(np.array([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)


def test_images_without_weight_are_not_there() -> None:
    success, weights = np.array([True, False, True]), np.array([1.0, 1.0, 0.0])
    assert weighted_rate(success, weights) == wilson(1, 2)
    assert weighted_rate(success, np.zeros(3)) is None


def test_a_total_is_the_rate_of_the_images_it_speaks_of() -> None:
    found = weighted_total(np.array([True, False]), np.array([3.0, 1.0]), 200)
    rate = weighted_rate(np.array([True, False]), np.array([3.0, 1.0]))
    assert found is not None
    assert rate is not None
    assert (found.value, found.low, found.high) == (150, 200 * rate.low, 200 * rate.high)
    assert weighted_total(np.array([True]), np.zeros(1), 5) is None


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_what_is_no_weight_is_refused(weights: list[float]) -> None:
    with pytest.raises(CalibrationError, match="clipcal calibrate"):
        weighted_rate(np.array([True, False]), np.array(weights))


@pytest.fixture(scope="module")
def redraws() -> dict[str, np.ndarray]:
    """Half uniform, half picked samples of 200 from 4,000 images; per draw and rate its ends."""
    rng = np.random.default_rng(2)
    images, draws = 4000, 400
    positive = rng.random(images) < 0.08
    scores = rng.normal(size=images) + 2 * positive
    threshold = float(np.quantile(scores[positive], 0.15))
    flags = scores >= threshold
    found: dict[str, list[tuple[float, ...]]] = {"recall": [], "precision": [], "prevalence": []}
    domains = {
        "recall": (positive, flags),
        "precision": (flags, positive),
        "prevalence": (np.ones(images, np.bool_), positive),
    }
    for _ in range(draws):
        audit = rng.choice(images, 100, replace=False)
        frame = np.delete(np.arange(images), audit)
        inclusion = inclusion_probabilities(uncertainty(nearness(scores[frame], threshold)), 100)
        drawn = systematic_sample(inclusion, np.argsort(scores[frame]), rng)
        sample = Draw(audit, np.full(100, 100 / images), images)
        picked = Draw(frame[drawn], inclusion[drawn], images, (audit,))
        labelled = np.concatenate([audit, frame[drawn]])
        weights = design_weights(labelled, [sample, picked])
        for name, (domain, success) in domains.items():
            at = domain[labelled]
            rate = weighted_rate(success[labelled][at], weights[at])
            assert rate is not None
            plain = float(success[labelled][at].mean())
            found[name].append((rate.value, rate.low, rate.high, plain))
    truth = {name: float(success[domain].mean()) for name, (domain, success) in domains.items()}
    return {name: np.array([(*row, truth[name]) for row in rows]) for name, rows in found.items()}


@pytest.mark.parametrize("name", ["recall", "precision", "prevalence"])
def test_weighted_rates_are_right_on_average_and_their_intervals_hold(
    redraws: dict[str, np.ndarray], name: str
) -> None:
    value, low, high, _, truth = redraws[name].T
    # A ratio of unbiased totals has a small bias of its own, of the order of 1 / n.
    assert value.mean() == pytest.approx(truth[0], abs=0.02 + 3 * value.std() / len(value) ** 0.5)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.92


@pytest.mark.parametrize("name", ["recall", "precision"])
def test_unweighted_rates_of_picked_images_are_wrong(
    redraws: dict[str, np.ndarray], name: str
) -> None:
    value, _, _, plain, truth = redraws[name].T
    assert abs(plain.mean() - truth[0]) > 3 * abs(value.mean() - truth[0])
    assert abs(plain.mean() - truth[0]) > 0.03
