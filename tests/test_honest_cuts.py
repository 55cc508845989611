"""Laws that keep a cut from promising more than its labels bear."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from samples import plain

from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.evaluation import cross_fit, split
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, parse_bands, parse_target
from clipcal.calibrate.cuts.thresholds import Declared, with_recall
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import precision_p_value
from clipcal.calibrate.statistics.planning import further_for_precision
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

BINARY = ("negative", "positive")
NO_DRAWS = Evaluating(draws=0)


def sample_of(scores, positive, clusters=None, weights=None) -> Sample:
    scores = np.asarray(scores, np.float32)[:, None]
    n = len(scores)
    return Sample(
        scores,
        np.asarray(positive, np.int8)[:, None],
        np.arange(n),
        np.ones((n, 1)) if weights is None else np.asarray(weights, float)[:, None],
        np.ones((n, 1), np.bool_),
        np.arange(n) if clusters is None else np.asarray(clusters),
        *plain(scores),
    )


def cut_of(sample: Sample, target: str, *, corpus=None, evaluating=NO_DRAWS, block=None):
    goal = Goal(parse_target(target), 0.95, block=block)
    scores = sample.scores if corpus is None else corpus
    done = calibrate(sample, goal, scores, ["gore"], BINARY, evaluating=evaluating)
    return done.cuts["gore"]["positive"]


# --- hold-out -------------------------------------------------------------------------------


@pytest.mark.parametrize("holdout", [0.3, 0.5])
def test_a_hold_out_keeps_the_recall_guarantee_where_a_quarter_are_near_copies(holdout):
    # 800 positives, 200 of them near copies of one image with lower scores than the others.
    rng = np.random.default_rng(0)
    population = np.r_[rng.normal(1, 0.1, 600), rng.normal(0, 0.1, 200)].astype(np.float32)
    group = np.r_[np.arange(600), np.full(200, 600)]
    target = parse_target("recall=0.8")
    broken = 0
    for draw in range(300):
        drawn = np.random.default_rng(draw).choice(800, 400, replace=False)
        sample = sample_of(population[drawn], np.ones(400), group[drawn])
        kept, judged = split(sample, holdout, draw)
        fitted = with_recall(kept.of(0, 1), target, 0.95)
        assert fitted.status == "certified"
        broken += decide(population, fitted.threshold).mean() < 0.8
        assert judged is not None
        assert not set(kept.clusters.tolist()) & set(judged.clusters.tolist())
    assert broken <= 0.05 * 300 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_a_hold_out_of_nothing_but_near_copies_is_refused():
    with pytest.raises(CalibrationError, match="one side empty"):
        split(sample_of(np.arange(10.0), np.ones(10), np.zeros(10, int)), 0.5, 0)


# --- blanks, weights and copies -------------------------------------------------------------


def test_what_was_left_blank_counts_as_missed():
    sample = sample_of(np.arange(46.0), np.ones(46))
    whole = cut_of(sample, "recall=0.9")
    assert whole.status == "certified"
    one, two = (
        cut_of(dataclasses.replace(sample, blanks=np.array([blanks])), "recall=0.9")
        for blanks in (1, 2)
    )
    # 46 positives certify with one of them missed; a blank may be that one, two are too many.
    assert one.status == "certified"
    assert one.threshold == stored(0.0) < whole.threshold == stored(1.0)
    assert two.status == "insufficient"
    assert one.evidence == 46


def test_what_was_left_blank_counts_as_a_false_flag():
    scores = np.r_[np.linspace(1, 2, 60), np.linspace(0, 0.9, 60)]
    sample = sample_of(scores, np.r_[np.ones(60), np.zeros(60)])
    assert cut_of(sample, "precision=0.8").status == "certified"
    blank = dataclasses.replace(sample, blanks=np.array([20]))
    assert cut_of(blank, "precision=0.8").status == "insufficient"


@pytest.mark.parametrize("target", ["f1", "cost=5:1", "recall=0.8", "precision=0.8"])
def test_images_of_no_weight_are_as_if_they_were_not_there(target):
    rng = np.random.default_rng(1)
    positive = rng.random(80) < 0.5
    scores = positive + rng.normal(size=80)
    weights = np.r_[np.ones(60), np.zeros(20)]
    with_them = cut_of(sample_of(scores, positive, weights=weights), target, corpus=scores[:, None])
    without = cut_of(sample_of(scores[:60], positive[:60]), target, corpus=scores[:, None])
    assert with_them == without


def test_expected_flags_count_every_copy():
    # Ten positives, and ten negatives that were posted nine times each.
    scores = np.r_[np.full(20, 1.0), np.full(20, 0.0)]
    positive = np.r_[np.ones(10), np.zeros(30)]
    sample = sample_of(scores, positive)
    copies = np.r_[np.ones(10), np.full(10, 9.0), np.ones(20)]
    corpus = np.repeat(scores, copies.astype(int))[:, None].astype(np.float32)
    cut = cut_of(dataclasses.replace(sample, copies=copies), "f1", corpus=corpus)
    assert cut.flags == 100
    assert cut.expected is not None
    assert cut.expected.true_flags.value == pytest.approx(10)
    assert cut.expected.false_flags.value == pytest.approx(90)
    assert cut.precision is not None
    assert cut.precision.value == 0.5  # of distinct images


# --- bands ----------------------------------------------------------------------------------


def test_without_a_certified_recall_nothing_is_allowed_unseen():
    recall, precision = parse_bands("recall=0.99,precision=0.6")
    scores = np.r_[np.linspace(1, 2, 40), np.linspace(0, 0.9, 40)]
    sample = sample_of(scores, np.r_[np.ones(40), np.zeros(40)])
    cut = cut_of(sample, str(recall), block=precision)
    assert cut.status == "insufficient"
    assert cut.bands is not None
    assert (cut.bands.allow, cut.bands.misses) == (0, None)
    assert cut.bands.review + cut.bands.block == 80
    assert cut.bands.status == "certified"


# --- cross-fitting --------------------------------------------------------------------------


def test_a_fold_with_too_few_labels_for_the_guarantee_is_not_judged():
    # 33 positives certify a recall of 0.9; four fifths of them do not.
    rng = np.random.default_rng(2)
    positive = np.arange(120) < 33
    sample = sample_of(positive + rng.normal(size=120), positive)
    goal = Goal(parse_target("recall=0.9"), 0.95)
    crossed = cross_fit(sample, goal, Declared(), ["gore"], BINARY)
    assert crossed is not None
    held = crossed.evaluation.categories["gore"]["positive"]
    assert (held.recall, held.precision, held.f1) == (None, None, None)
    assert (crossed.decided == -1).all()


def test_cross_fitted_intervals_hold_the_mean_of_the_procedure():
    goal = Goal(parse_target("f1"), 0.95)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        positive = rng.random(200) < 0.3
        sample = sample_of(1.5 * positive + rng.normal(size=200), positive)
        crossed = cross_fit(sample, goal, Declared(), ["gore"], BINARY, repeats=2)
        assert crossed is not None
        found.append(crossed.evaluation.categories["gore"]["positive"].precision)
    mean = np.mean([estimate.value for estimate in found])
    assert np.mean([estimate.low <= mean <= estimate.high for estimate in found]) >= 0.93


# --- planning, rounding ---------------------------------------------------------------------


def test_a_plan_for_precision_passes_the_test_once_it_is_carried_out():
    further = further_for_precision(0.8, 0.005, np.array([27, 41]), np.array([26, 38]), 450)
    assert further is not None
    assert further.labels is not None
    seen, flagged = (26 + 0.8) / 28, 27 + further.backing
    assert precision_p_value(np.floor(seen * flagged), flagged, 0.8) <= 0.005
    assert precision_p_value(26, 27, 0.8) > 0.005
    assert further.labels >= further.backing  # no image is flagged twice


def test_a_plan_for_precision_is_none_where_no_threshold_is_above_it():
    assert further_for_precision(0.8, 0.005, np.array([50, 100]), np.array([39, 60]), 400) is None


@pytest.mark.parametrize("score", [0.25, -3.5, 16.1, 100.3, -1000.7])
def test_a_stored_threshold_lies_below_its_score_in_float32(score):
    exact = np.float32(score)
    assert np.float32(stored(float(exact))) < exact
    assert decide(
        np.array([exact, np.nextafter(exact, np.float32(-1e9))]), stored(float(exact))
    ).all()


def test_cut_points_outside_the_scores_are_no_thresholds():
    rng = np.random.default_rng(4)
    sample = sample_of(rng.normal(size=8), np.array([0, 0, 0, 1, 0, 0, 1, 0]))
    cut = cut_of(sample, "levels")
    inside = cut.threshold is not None
    assert inside == (cut.status == "estimated")
    if inside:
        assert sample.scores.min() - 1e-5 <= cut.threshold <= sample.scores.max()
