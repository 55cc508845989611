"""Several guarantees at once: what holds, and what only looks as if it did."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipcal.calibrate.statistics import multiplicity
from clipcal.calibrate.statistics.bounds import recall_p_value, recall_rank
from clipcal.calibrate.statistics.multiplicity import holm
from clipcal.errors import CalibrationError

RISK = 0.05
# Coarse steps, so that ties and p-values on the limit are common.
p_values = st.lists(
    st.one_of(st.integers(0, 40).map(lambda i: i / 400), st.floats(0, 1)), min_size=1, max_size=12
)


# --- Holm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("risk", [0.01, 0.05, 0.1])
def test_holm_equals_statsmodels(risk):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(3)
    for m in (1, 2, 5, 12, 40):
        # Small ones, with ties, among uniform ones.
        p = np.where(rng.random(m) < 0.5, rng.integers(0, 40, m) / 4000, rng.random(m))
        adjusted = multitest.multipletests(p, risk, method="holm")[1]
        assert holm(p, risk).tolist() == (adjusted <= risk * (1 + 1e-9)).tolist()


@given(p_values, st.randoms(use_true_random=False))
def test_the_order_of_the_hypotheses_changes_nothing(p, random):
    order = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in order], RISK).tolist() == [holm(p, RISK)[i] for i in order]


@given(p_values, st.data())
def test_smaller_p_values_certify_no_less(p, data):
    smaller = [data.draw(st.floats(0, value)) for value in p]
    assert (holm(smaller, RISK) >= holm(p, RISK)).all()


def test_a_p_value_equal_to_its_limit_on_paper_is_within_it():
    assert holm([0.1 / 3, 0.05, 0.1], 1 - 0.9).all()


def test_no_hypothesis_is_no_claim():
    assert holm([], RISK).shape == (0,)


@pytest.mark.parametrize("bad", [[math.nan], [-0.1], [1.1], [[0.1]]])
def test_what_is_no_p_value_is_refused(bad):
    for method in (holm, multiplicity.divide_risk):
        with pytest.raises(CalibrationError, match="p-values"):
            method(bad, RISK)
        with pytest.raises(CalibrationError, match="risk"):
            method([0.5], 0.0)


# --- shares ---------------------------------------------------------------------------------


@given(p_values)
def test_tarone_takes_the_fewest_shares_that_suffice_for_all_who_can_use_one(p):
    mask, share = multiplicity.divide_risk(p, RISK, disjoint=True)
    shares = round(RISK / share)

    def able(k: int) -> int:
        return sum(value <= RISK / k * (1 + 1e-9) for value in p)

    assert share == RISK / shares
    assert mask.sum() == able(shares) <= shares
    assert all(able(k) > k for k in range(1, shares))


@given(p_values, st.booleans())
def test_shares_of_all_claims_that_can_be_made_are_within_the_risk(p, disjoint):
    mask, share = multiplicity.divide_risk(p, RISK, disjoint=disjoint)
    assert mask.sum() * share <= RISK * (1 + 1e-9)
    assert RISK / len(p) * (1 - 1e-9) <= share <= RISK
    assert (mask == (np.array(p) <= share * (1 + 1e-9))).all()


@given(p_values)
def test_overlapping_claims_have_equal_shares_whatever_their_labels(p):
    assert multiplicity.divide_risk(p, RISK)[1] == RISK / len(p)


def test_cuts_with_too_few_labels_take_no_share_from_disjoint_ones():
    positives = np.array([40, 36, 3, 0, 0, 12, 1])
    smallest = recall_p_value(0, positives, 0.9)
    mask, share = multiplicity.divide_risk(smallest, RISK, disjoint=True)
    assert share == RISK / 2
    assert mask.tolist() == [True, True] + 5 * [False]
    assert multiplicity.divide_risk(smallest, RISK)[1] == RISK / 7


def test_no_claim_leaves_the_risk_whole():
    for disjoint in (True, False):
        mask, share = multiplicity.divide_risk([], RISK, disjoint=disjoint)
        assert (mask.shape, share) == ((0,), RISK)


# --- why not otherwise ----------------------------------------------------------------------


def some_recall_broken(positives: np.ndarray, shares: np.ndarray, redraws: int) -> float:
    """Return how often the recall of any of several independent cuts is below 0.9.

    Scores are uniform, so that the k-th smallest of n is Beta(k, n - k + 1), and the recall at
    a threshold t is 1 - t.
    """
    rng = np.random.default_rng(7)
    ranks = np.array(
        [recall_rank(n, 0.9, 1 - share) for n, share in zip(positives, shares, strict=True)]
    )
    assert (ranks > 0).all()
    thresholds = rng.beta(ranks, positives - ranks + 1, (redraws, len(ranks)))
    return float((1 - thresholds < 0.9).any(axis=1).mean())


@pytest.mark.parametrize("m", [2, 5, 12])
def test_passing_shares_on_breaks_joint_recall_and_equal_shares_keep_it(m):
    positives = np.geomspace(8000, 1000, m).astype(int)  # most labels first: smallest p first
    passed_on = some_recall_broken(positives, RISK / np.arange(m, 0, -1), 20_000)
    harmonic = RISK * (1 / np.arange(1, m + 1)).sum()
    assert passed_on == pytest.approx(harmonic, rel=0.15)
    assert passed_on > 1.25 * RISK

    smallest = recall_p_value(0, positives, 0.9)
    for disjoint in (True, False):
        mask, share = multiplicity.divide_risk(smallest, RISK, disjoint=disjoint)
        assert mask.all()
        broken = some_recall_broken(positives, np.full(m, share), 20_000)
        assert broken <= RISK + 3 * math.sqrt(RISK * (1 - RISK) / 20_000)


def risk_of_a_cut_within_a_cut(n: int, recall: float, *, disjoint: bool) -> float:
    """Return, exactly, how often one of two recalls fails.

    The narrow cut's positives are those tenth of the wide cut's that the wide cut scores lowest
    (and a hair more than a tenth, so that to miss them all breaks the recall). Then the wide
    cut's recall fails if its rank exceeds the number of narrow ones in the sample.
    """
    narrow = np.arange(n + 1)
    chance = stats.binom.pmf(narrow, n, (1 - recall) * (1 + 1e-9))
    total = 0.0
    for found, weight in zip(narrow[chance > 1e-12], chance[chance > 1e-12], strict=True):
        smallest = recall_p_value(0, [n, found], recall)
        _, share = multiplicity.divide_risk(smallest, RISK, disjoint=disjoint)
        wide_fails = recall_rank(n, recall, 1 - share) > found
        rank = recall_rank(int(found), recall, 1 - share)
        narrow_fails = stats.binom.cdf(rank - 1, found, 1 - recall) if rank else 0.0
        total += weight * (1.0 if wide_fails else narrow_fails)
    return float(total)


def test_label_counts_of_overlapping_cuts_must_not_decide_the_shares():
    assert risk_of_a_cut_within_a_cut(379, 0.9, disjoint=True) == pytest.approx(0.0586, abs=1e-4)
    assert risk_of_a_cut_within_a_cut(379, 0.9, disjoint=False) < RISK
