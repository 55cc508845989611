"""Laws of fitting one threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, Target, parse_target
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import recall_threshold
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

F1, RECALL = parse_target("f1"), parse_target("recall=0.8")
targets = st.sampled_from([F1, RECALL, parse_target("recall=0.5")])

# Few distinct values, a hundred steps of rounding apart: ties and duplicates are the rule.
labelled = st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=1, max_size=60)


def fit_threshold(
    scores, positive, target, confidence=0.95, *, category="positive", images=0, uniform=True
) -> Cut:
    """Fit one cut to labels that are all there is to the corpus, or to one with more images."""
    n = len(scores)
    sample = Sample(
        scores[:, None],
        positive[:, None].astype(np.int8),
        np.arange(n),
        np.ones((n, 1)),
        np.full((n, 1), uniform),
        np.arange(n),
        np.ones(n),
        np.zeros(1, np.int64),
    )
    corpus = np.resize(scores, max(n, images, 1))[:, None]
    done = calibrate(
        sample,
        Goal(target, confidence),
        corpus,
        [category],
        ("negative", "positive"),
        source="human.csv",
        evaluating=Evaluating(draws=0),
    )
    return done.cuts[category]["positive"]


def arrays(pairs):
    scores = np.array([score for score, _ in pairs], np.float32) / 50
    return scores, np.array([positive for _, positive in pairs])


def decisions(cut, scores):
    return None if cut.threshold is None else decide(scores, cut.threshold).tolist()


# --- targets --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["recall=0.9", " Recall = 0.9 ", "recall=.9", "recall=9e-1"])
def test_a_recall_is_read_however_it_is_written(text):
    assert parse_target(text) == Target("recall", 0.9)
    assert str(parse_target(text)) == "recall=0.9"


@pytest.mark.parametrize("text", ["recall", "recall=", "recall=high", "f1=0.5", "recal=0.9", ""])
def test_an_unknown_target_lists_the_known_ones(text):
    with pytest.raises(CalibrationError, match=r"recall=R .* f1"):
        parse_target(text)


@pytest.mark.parametrize("text", ["recall=90", "recall=1", "recall=0"])
def test_a_recall_outside_zero_and_one_is_refused(text):
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        parse_target(text)


# --- laws -----------------------------------------------------------------------------------


@given(labelled, targets, st.sampled_from([0.5, 2.0, 3.0]), st.integers(-2, 2))
def test_a_strictly_increasing_map_of_scores_changes_no_decision(pairs, target, slope, shift):
    scores, positive = arrays(pairs)
    mapped = (slope * scores + shift).astype(np.float32)
    plain, other = (fit_threshold(s, positive, target) for s in (scores, mapped))
    assert decisions(plain, scores) == decisions(other, mapped)
    assert (plain.status, plain.recall, plain.precision) == (
        other.status,
        other.recall,
        other.precision,
    )


@given(labelled, targets, st.randoms(use_true_random=False))
def test_the_order_of_the_labels_changes_nothing(pairs, target, random):
    mixed = random.sample(pairs, len(pairs))
    assert fit_threshold(*arrays(pairs), target) == fit_threshold(*arrays(mixed), target)


@given(labelled)
def test_every_threshold_attains_its_recall_in_the_sample(pairs):
    scores, positive = arrays(pairs)
    cut = fit_threshold(scores, positive, RECALL)
    if cut.status in {"certified", "insufficient"}:
        assert cut.recall is not None
        assert cut.recall.value >= 0.8 - 1e-9
    else:
        assert cut.threshold is None


@given(labelled)
def test_a_certified_cut_flags_what_the_tolerance_limit_flags(pairs):
    scores, positive = arrays(pairs)
    limit = recall_threshold(scores[positive], 0.8)
    cut = fit_threshold(scores, positive, RECALL)
    assert (cut.status == "certified") == (limit is not None)
    if limit is not None:
        assert decisions(cut, scores) == (scores >= np.float32(limit)).tolist()


@given(st.integers(1, 60), targets)
def test_equal_scores_are_flagged_together(n, target):
    positive = np.arange(n) % 2 == 0
    cut = fit_threshold(np.full(n, 0.25, np.float32), positive, target)
    assert cut.flags in (None, n)
    assert decisions(cut, np.full(n, 0.25, np.float32)) in (None, [True] * n)


# --- statuses -------------------------------------------------------------------------------


def sample(positives: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    scores = np.r_[np.linspace(0.5, 0.9, positives), np.linspace(0.1, 0.4, negatives)]
    return scores, np.arange(len(scores)) < positives


def test_enough_positives_are_certified_with_the_guarantee_in_words():
    scores, positive = sample(61, 400)
    scores = scores - 0.5 + 0.031242
    cut = fit_threshold(scores, positive, parse_target("recall=0.9"), category="weapons")
    assert cut.status == "certified"
    assert cut.guarantee == (
        "With 95% confidence at least 90% of the distinct images that raters call 'weapons' score "
        f"at or above {stored(np.sort(scores[positive])[2]):.6f}, provided that the 61 labelled "
        "positives are a random sample of them and the prompts were not tuned on these labels."
    )
    assert cut.further_positives is None
    assert cut.next_step == "Apply it to the corpus: clipcal rescore"


def test_too_few_positives_say_how_many_more_and_guarantee_nothing():
    cut = fit_threshold(
        *sample(12, 88),
        parse_target("recall=0.9"),
        category="gore",
        images=1000,
    )
    assert cut.status == "insufficient"
    assert cut.guarantee is None
    assert cut.threshold is not None
    assert (cut.further_positives, cut.further_labels) == (17, 142)
    assert cut.next_step == (
        "Label about 17 more positives (about 142 images at the rate seen): clipcal suggest "
        "--category gore -n 142 --audit 1. Then run: clipcal calibrate --labels human.csv"
    )


@pytest.mark.parametrize("target", [F1, RECALL])
@pytest.mark.parametrize("n", [0, 5])
def test_without_positives_there_is_no_threshold(target, n):
    cut = fit_threshold(*sample(0, n), target)
    assert cut.status == "no_positives"
    assert cut.threshold is None
    assert cut.recall is None
    assert cut.further_positives == (None if target is F1 else 14)
    assert "clipcal suggest --category positive" in cut.next_step


def test_without_negatives_f1_has_no_threshold_but_a_recall_is_certified():
    f1, recall = (fit_threshold(*sample(40, 0), target) for target in (F1, RECALL))
    assert (f1.status, f1.threshold) == ("no_negatives", None)
    assert recall.status == "certified"
    assert recall.precision is None


def test_best_f1_is_an_estimate_without_guarantee():
    cut = fit_threshold(*sample(5, 20), F1)
    assert cut.status == "estimated"
    assert cut.guarantee is None
    assert cut.recall is not None
    assert cut.precision is not None
    assert (cut.recall.value, cut.precision.value) == (1, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(bad):
    with pytest.raises(CalibrationError, match="not finite"):
        fit_threshold(np.array([0.1, bad]), np.array([True, False]), F1)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_outside_zero_and_one_is_refused(confidence):
    with pytest.raises(CalibrationError, match="confidence"):
        fit_threshold(*sample(5, 5), F1, confidence)
