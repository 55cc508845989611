"""Laws of how far people agree: known answers, outside oracles, and honest intervals."""

from __future__ import annotations

import time
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from clipcal.calibrate.statistics.agreement.alpha import alpha_estimate, krippendorff_alpha
from clipcal.calibrate.statistics.agreement.category import (
    CategoryAgreement,
    rate_agreement,
    with_machine,
)
from clipcal.calibrate.statistics.agreement.kappa import (
    cell_agreement,
    kappa_estimate,
    pair_agreement,
    weighted_kappa,
)
from clipcal.calibrate.statistics.agreement.many_raters import human_ceiling, pair_kappa
from clipcal.calibrate.statistics.bounds import wilson

tables = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 12), st.integers(2, 4)), elements=st.integers(0, 4)
)


def votes_of(counts):
    """Anonymous votes with these counts: image, rater, level."""
    image, level = np.nonzero(counts)
    number = counts[image, level]
    image, level = np.repeat(image, number), np.repeat(level, number)
    return image, np.full(len(image), -1), level


def simulated(seed, images=200, raters=5, right=0.8, levels=3, seen=1.0):
    """Named votes of raters who each see a share of the images."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(levels, images, p=[0.6, 0.3, 0.1][:levels])
    said = np.where(
        rng.random((images, raters)) < right,
        truth[:, None],
        rng.integers(0, levels, (images, raters)),
    )
    image, rater = np.nonzero(rng.random(said.shape) < seen)
    return image, rater, said[image, rater]


# --- Krippendorff's alpha -------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ordinal", "nominal"])
@given(tables)
@settings(max_examples=100, deadline=None)
def test_alpha_is_that_of_the_krippendorff_package(metric, counts):
    alpha = krippendorff_alpha(counts, metric)
    paired = counts[counts.sum(axis=1) > 1]
    if (paired.sum(axis=0) > 0).sum() < 2:
        assert alpha is None
    else:
        expected = krippendorff.alpha(value_counts=counts, level_of_measurement=metric)
        assert alpha == pytest.approx(expected, abs=1e-9)


def test_alpha_of_krippendorffs_own_example():
    # Four observers, twelve units, some unrated: nominal .743, ordinal .815 (Krippendorff 2011).
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3"]
    rows += [". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    said = [[int(v) for v in unit if v != "."] for unit in zip(*map(str.split, rows), strict=True)]
    counts = np.array([np.bincount(unit, minlength=6)[1:] for unit in said])
    assert krippendorff_alpha(counts, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(counts, "ordinal") == pytest.approx(0.815, abs=5e-4)


# --- kappa ----------------------------------------------------------------------------------

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@pytest.mark.parametrize("weights", ["quadratic", "linear", None])
@given(pairs)
@settings(max_examples=60, deadline=None)
def test_kappa_is_that_of_scikit_learn(weights, both):
    a, b = np.array(both).T
    kappa = weighted_kappa(a, b, 4, weights)
    if len({*a.tolist(), *b.tolist()}) == 1:
        assert kappa is None
    else:
        expected = cohen_kappa_score(a, b, labels=range(4), weights=weights)
        assert kappa == pytest.approx(expected, abs=1e-9)


def test_the_mean_kappa_of_two_raters_is_their_kappa():
    image, rater, level = simulated(1, raters=2)
    order = np.random.default_rng(0).permutation(len(image))  # votes come in any order
    mean = pair_kappa(image[order], rater[order], level[order], 200, 3)
    table = np.zeros((3, 3))
    np.add.at(table, (level[rater == 0], level[rater == 1]), 1)
    assert mean is not None
    expected = cohens_kappa(table, weights=np.arange(3), wt="quadratic").kappa
    assert mean.value == pytest.approx(expected)


def test_the_mean_kappa_weighs_pairs_by_common_images_and_chance_disagreement():
    image, rater, level = simulated(2, images=60, raters=4, seen=0.6)
    said = np.full((60, 4), -1)
    said[image, rater] = level
    observed = expected = 0.0
    for a, b in combinations(range(4), 2):
        both = (said[:, a] >= 0) & (said[:, b] >= 0)
        x, y = said[both, a], said[both, b]
        by_chance = (np.subtract.outer(x, y) ** 2).sum() / len(x)
        observed += by_chance * weighted_kappa(x, y, 3)
        expected += by_chance
    kappa = pair_kappa(image, rater, level, 60, 3)
    assert kappa is not None
    assert kappa.value == pytest.approx(observed / expected)


def test_the_order_of_raters_changes_no_kappa():
    image, rater, level = simulated(3, images=80, raters=4, seen=0.7)
    renamed = np.array([2, 0, 3, 1])[rater]
    one, other = (pair_kappa(image, who, level, 80, 3) for who in (rater, renamed))
    assert one is not None
    assert other is not None
    assert (one.value, one.low) == pytest.approx((other.value, other.low))


# --- the human ceiling ----------------------------------------------------------------------


@given(tables)
@settings(max_examples=60, deadline=None)
def test_the_ceiling_is_the_mean_over_raters_taken_out_one_by_one(counts):
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return
    rates, ones, others, shares = [], [], [], []
    for row in counts.tolist():
        raters = [level for level, number in enumerate(row) for _ in range(number)]
        hits = 0
        for place, own in enumerate(raters):
            rest = raters[:place] + raters[place + 1 :]
            majority = max(sorted(set(rest), reverse=True), key=rest.count)
            hits += own == majority
            ones.append(own)
            others.append(majority)
            shares.append(1 / len(raters))
        rates.append(hits / len(raters))
    rate, kappa = human_ceiling(counts)
    assert rate.value == pytest.approx(np.mean(rates))
    assert rate.n == len(counts)
    if len({*ones, *others}) > 1:
        expected = cohen_kappa_score(ones, others, weights="quadratic", sample_weight=shares)
        if counts.shape[1] == len({*ones, *others}):  # else scikit-learn has other distances
            assert kappa is not None
            assert kappa.value == pytest.approx(expected, abs=1e-9)
    else:
        assert kappa is None


def test_a_good_judge_agrees_with_the_majority_as_often_as_a_person_with_the_others():
    image, rater, level = simulated(4, images=4000, raters=9, right=0.8)
    found = rate_agreement(image, rater, level, 4000, 3)
    sixth = level[rater == 0]
    rest = np.zeros((4000, 3), np.int64)
    np.add.at(rest, (image[rater > 0], level[rater > 0]), 1)
    majority = (2 - rest[:, ::-1].argmax(axis=1)).astype(np.int8)
    judged = with_machine(found, sixth.astype(np.int8), majority)
    assert judged.machine is not None
    assert found.ceiling is not None
    assert judged.machine.value == pytest.approx(found.ceiling.value, abs=0.02)
    assert judged.machine_kappa.value == pytest.approx(found.ceiling_kappa.value, abs=0.03)


# --- intervals ------------------------------------------------------------------------------


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    sizes = {"images": 120, "raters": 4}
    many = rate_agreement(*simulated(0, images=40_000, raters=4), 40_000, 3)
    hits = np.zeros(4)
    for seed in range(1, 61):
        one = rate_agreement(*simulated(seed, **sizes), 120, 3)
        for place, name in enumerate(("alpha", "kappa", "ceiling", "ceiling_kappa")):
            estimate, truth = getattr(one, name), getattr(many, name).value
            hits[place] += estimate.low <= truth <= estimate.high
    assert (hits >= 50).all()  # of 60, where 57 are expected; fewer than 50 have a chance of 0.001


def test_what_is_said_of_one_image_is_not_taken_for_independent():
    rng = np.random.default_rng(0)
    differs = rng.random(200) < 0.3
    image = np.repeat(np.arange(200), 10)
    a = np.tile([0, 1], 1000)
    b = np.where(np.repeat(differs, 10), 1 - a, a)
    rate, kappa = cell_agreement(image, a, b, 2)
    naive = wilson(int((a == b).sum()), 2000)
    assert rate.n == 2000
    assert rate.value == naive.value
    assert rate.high - rate.low > 2.5 * (naive.high - naive.low)
    assert kappa is not None
    assert kappa.value == pytest.approx(weighted_kappa(a, b, 2))


def test_one_cell_per_image_gives_what_wilson_gives():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 400))
    over_cells, _ = cell_agreement(np.arange(400), a, b, 2)
    rate, _ = pair_agreement(a, b, 2)
    assert over_cells.value == rate.value
    assert (over_cells.low, over_cells.high) == pytest.approx((rate.low, rate.high))


def test_perfect_agreement_of_a_few_images_is_not_taken_for_certain():
    a = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    kappa = kappa_estimate(a, a, 3)
    assert kappa is not None
    assert (kappa.value, kappa.high) == (1, 1)
    assert kappa.low < 0.6
    counts = 3 * np.eye(3, dtype=np.int64)[a]
    alpha, (ceiling, _) = alpha_estimate(counts), human_ceiling(counts)
    assert alpha is not None
    assert alpha.value == ceiling.value == 1
    assert alpha.low < 0.7
    assert ceiling.low == pytest.approx(wilson(8, 8).low)
    more = alpha_estimate(np.repeat(counts, 100, axis=0))
    assert more is not None
    assert more.low > 0.98


def test_the_confidence_widens_every_interval():
    votes = simulated(5)
    for name in ("alpha", "kappa", "ceiling", "ceiling_kappa"):
        wide, narrow = (
            getattr(rate_agreement(*votes, 200, 3, confidence=level), name) for level in (0.99, 0.8)
        )
        assert wide.value == narrow.value
        assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval():
    votes = simulated(6)
    assert rate_agreement(*votes, 200, 3, seed=3) == rate_agreement(*votes, 200, 3, seed=3)


# --- what is undefined, and what is large ---------------------------------------------------


def test_everybody_saying_the_same_of_everything_has_a_rate_and_no_kappa():
    image, rater = (index.ravel() for index in np.indices((10, 3)))
    found = rate_agreement(image, rater, np.zeros(30, np.int64), 10, 3)
    assert (found.images, found.ratings) == (10, 30)
    assert found.alpha is found.kappa is found.ceiling_kappa is None
    assert found.ceiling is not None
    assert found.ceiling.value == 1
    machine = with_machine(found, np.zeros(10, np.int8), np.zeros(10, np.int8))
    assert machine.machine is not None
    assert machine.machine_kappa is None


def test_one_rating_per_image_tells_nothing():
    found = rate_agreement(np.arange(5), np.zeros(5, np.int64), np.ones(5, np.int64), 5, 2)
    assert found == CategoryAgreement(0, 0)
    unknown = np.full(5, -1, np.int8)
    assert with_machine(found, unknown, unknown) == found


def test_the_machine_is_judged_where_both_are_known():
    decided = np.array([0, 1, 1, -1, 0], np.int8)
    majority = np.array([0, 1, 0, 1, -1], np.int8)
    found = with_machine(CategoryAgreement(5, 10), decided, majority)
    assert found.machine == wilson(2, 3)


@given(tables, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_statistic_is_ever_nan_or_outside_its_interval(counts, seed):
    found = rate_agreement(*votes_of(counts), len(counts), counts.shape[1], seed=seed)
    assert found.kappa is None
    for name in ("alpha", "ceiling", "ceiling_kappa"):
        estimate = getattr(found, name)
        assert estimate is None or estimate.low <= estimate.value <= estimate.high
        assert estimate is None or -5 < estimate.low <= estimate.high <= 1


@pytest.mark.parametrize(
    ("images", "raters", "seen"), [(500, 51, 1.0), (20_000, 5, 1.0), (15_000, 300, 0.01)]
)
def test_tens_of_thousands_of_votes_take_seconds(images, raters, seen):
    image, rater, level = simulated(7, images=images, raters=raters, seen=seen)
    start = time.process_time()
    found = rate_agreement(image, rater, level, images, 3)
    assert time.process_time() - start < 15  # unloaded it takes a third of that at most
    assert found.kappa is not None
