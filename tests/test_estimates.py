"""Laws of what is said of a cut beyond its threshold: rates, flags, and what to expect."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.calibrate.cuts.estimates import measure, others, rate, times
from clipcal.calibrate.cuts.sample import CutSample
from clipcal.calibrate.cuts.targets import Goal, Target, parse_bands, parse_target
from clipcal.calibrate.cuts.thresholds import Fitted, best_in_sample, declare, with_recall
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import Estimate, Range, positives_needed, wilson

F1 = Goal(parse_target("f1"))
BANDS = Goal(*parse_bands("recall=0.8,precision=0.7")[:1], block=Target("precision", 0.7))


def cut_of(seed: int, n: int = 120) -> CutSample:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = np.round(positive + rng.normal(size=n), 2).astype(np.float32)
    return CutSample(scores, positive, np.ones(n), np.ones(n, bool), np.arange(n), np.ones(n))


def corpus_of(seed: int, n: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed + 77).normal(0.4, 1.1, n).astype(np.float32)


def told(
    fitted: Fitted, cut: CutSample, corpus: np.ndarray, goal: Goal = F1, draws: int = 0
) -> Cut:
    candidates = declare(corpus[:, None], goal, len(cut)).candidates
    return measure(
        fitted, cut, corpus, candidates[0] if candidates else np.empty(0), goal, draws=draws
    )


# --- rates ----------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(-2, 3), st.floats(0.01, 100))
@settings(max_examples=60)
def test_with_equal_weights_every_rate_is_wilsons(
    seed: int, threshold: float, weight: float
) -> None:
    cut = cut_of(seed)
    cut = dataclasses.replace(cut, weights=np.full(len(cut), weight))
    one = told(Fitted("estimated", threshold), cut, corpus_of(seed))
    flags = cut.scores >= np.float32(threshold)
    hits = int((flags & cut.positive).sum())
    assert one.recall == wilson(hits, cut.positives)
    assert one.precision == (wilson(hits, int(flags.sum())) if flags.any() else None)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_weight_of_a_whole_number_is_an_image_so_many_times(seed: int) -> None:
    cut, rng = cut_of(seed), np.random.default_rng(seed)
    times_ = rng.integers(1, 5, len(cut))
    weighted = dataclasses.replace(cut, weights=times_.astype(np.float64))
    repeated = cut[np.repeat(np.arange(len(cut)), times_)]
    some, corpus = Fitted("estimated", 0.5), corpus_of(seed)
    one, other = told(some, weighted, corpus), told(some, repeated, corpus)
    for a, b in ((one.recall, other.recall), (one.precision, other.precision)):
        assert a is not None
        assert b is not None
        assert a.value == pytest.approx(b.value)
        assert a.high - a.low >= (b.high - b.low) - 1e-12  # copies are no further evidence
    assert best_in_sample(weighted, F1.target) == best_in_sample(repeated, F1.target)


def test_picked_labels_change_estimates_by_their_weights_alone() -> None:
    cut = cut_of(1)
    picked = dataclasses.replace(cut, uniform=np.arange(len(cut)) % 2 == 0)
    corpus = corpus_of(1)
    some = Fitted("estimated", 0.5)
    assert told(some, cut, corpus) == told(some, picked, corpus)
    light = dataclasses.replace(picked, weights=np.where(picked.uniform, 1.0, 1e-9))
    fair = cut[picked.uniform]
    one, other = told(some, light, corpus), told(some, fair, corpus)
    assert one.recall is not None
    assert other.recall is not None
    assert one.recall.value == pytest.approx(other.recall.value, abs=1e-6)
    assert one.recall.low == pytest.approx(other.recall.low, abs=1e-6)


def test_a_rate_among_nothing_is_none() -> None:
    cut = cut_of(0)
    nobody = np.zeros(len(cut), bool)
    assert rate(cut, cut.positive, nobody, 0.95) is None
    assert times(5, None) is None
    assert others(5, None) is None


# --- what to expect of the corpus -----------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(-3, 4))
@settings(max_examples=60)
def test_right_and_wrong_flags_are_all_flags(seed: int, threshold: float) -> None:
    cut, corpus = cut_of(seed), corpus_of(seed)
    one = told(Fitted("estimated", threshold), cut, corpus)
    assert one.flags == (corpus >= np.float32(threshold)).sum()
    assert one.expected is not None
    flags = cut.scores >= np.float32(threshold)
    right, wrong, missed = (
        one.expected.true_flags,
        one.expected.false_flags,
        one.expected.misses,
    )
    assert (right is None) == (wrong is None) == (not flags.any())
    assert (missed is None) == bool(flags.all())
    if right is not None and wrong is not None:
        assert right.value + wrong.value == pytest.approx(one.flags, abs=0.11)
        assert right.low + wrong.high == pytest.approx(one.flags, abs=0.11)
        assert right.high + wrong.low == pytest.approx(one.flags, abs=0.11)
        precision = (flags & cut.positive).sum() / flags.sum()
        assert right.value == pytest.approx(one.flags * precision, abs=0.06)
    if missed is not None:
        share = (~flags & cut.positive).sum() / (~flags).sum()
        assert missed.value == pytest.approx((len(corpus) - one.flags) * share, abs=0.06)
    for found in (right, wrong, missed):
        if found is not None:
            assert 0 <= found.low <= found.value <= found.high <= len(corpus)


def test_expected_numbers_are_those_of_the_truth_where_all_are_labelled() -> None:
    cut = cut_of(3, n=500)
    one = told(Fitted("estimated", 0.5), cut, cut.scores)
    flags = cut.scores >= np.float32(0.5)
    assert one.expected is not None
    assert one.expected.true_flags is not None
    assert one.expected.false_flags is not None
    assert one.expected.misses is not None
    assert one.expected.true_flags.value == (flags & cut.positive).sum()
    assert one.expected.false_flags.value == (flags & ~cut.positive).sum()
    assert one.expected.misses.value == (~flags & cut.positive).sum()


@pytest.mark.parametrize("labelled", [0, 5])
def test_without_a_threshold_or_a_label_nothing_is_expected(labelled: int) -> None:
    cut = cut_of(0)[np.arange(labelled)]
    assert told(Fitted("no_positives"), cut, corpus_of(0)).expected is None
    budget = told(Fitted("estimated", 0.5), cut, corpus_of(0), Goal(Target("budget", 400)))
    assert (budget.expected is None) == (labelled == 0)
    assert budget.flags is not None


def test_numbers_of_images_are_rounded_to_tenths() -> None:
    assert times(1000, Estimate(1 / 3, 0.25, 0.5, 12)) == Range(333.3, 250.0, 500.0)
    assert others(1000, Range(333.3, 250.0, 500.0)) == Range(666.7, 500.0, 750.0)


# --- bands ----------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(-1, 1), st.one_of(st.none(), st.floats(0, 2)))
@settings(max_examples=60)
def test_numbers_of_bands_are_those_of_the_corpus_and_of_the_labels(
    seed: int, lower: float, gap: float | None
) -> None:
    cut, corpus = cut_of(seed), corpus_of(seed)
    upper = Fitted("insufficient") if gap is None else Fitted("certified", lower + gap, 0.975, 9)
    bands = told(Fitted("certified", lower, 0.975, 40, upper=upper), cut, corpus, BANDS).bands
    assert bands is not None
    low = corpus >= np.float32(lower)
    high = np.zeros_like(low) if gap is None else corpus >= np.float32(lower + gap)
    assert (bands.allow, bands.review, bands.block) == (
        (~low).sum(),
        (low & ~high).sum(),
        high.sum(),
    )
    assert (bands.upper, bands.status, bands.evidence) == (
        upper.threshold,
        upper.status,
        upper.evidence,
    )
    allowed = ~decide(cut.scores, lower)
    if allowed.any():
        assert bands.misses is not None
        share = cut.positive[allowed].mean()
        assert bands.misses.value == pytest.approx(bands.allow * share, abs=0.06)
    if gap is None:
        assert (bands.precision, bands.wrongly_blocked) == (None, None)
    elif (blocked := decide(cut.scores, lower + gap)).any():
        hits = int((blocked & cut.positive).sum())
        assert bands.precision == wilson(hits, int(blocked.sum()))
        assert bands.wrongly_blocked is not None
        wrong = bands.block * (1 - hits / blocked.sum())
        assert bands.wrongly_blocked.value == pytest.approx(wrong, abs=0.11)


def test_without_a_lower_threshold_nothing_is_allowed() -> None:
    cut, corpus = cut_of(0), corpus_of(0)
    fitted = Fitted("no_positives", upper=Fitted("no_positives"))
    bands = told(fitted, cut, corpus, BANDS).bands
    assert bands is not None
    assert (bands.allow, bands.review, bands.block) == (0, len(corpus), 0)
    assert bands.misses is None


# --- intervals and what is lacking ----------------------------------------------------------


@pytest.mark.parametrize("text", ["recall=0.8", "f1", "cost=4:1", "precision=0.5"])
def test_a_threshold_lies_in_its_interval_which_narrows_with_labels(text: str) -> None:
    goal, widths = Goal(parse_target(text), 0.9), []
    for n in (150, 2400):
        cut, corpus = cut_of(5, n), corpus_of(5)
        fitted = Fitted("estimated", 0.2)
        if text == "recall=0.8":
            fitted = with_recall(cut, goal.target, 0.9)
        elif text != "precision=0.5":
            fitted = best_in_sample(cut, goal.target)
        one = told(fitted, cut, corpus, goal, draws=60)
        assert one.interval is not None
        assert one.threshold is not None
        assert one.interval.low <= one.threshold <= one.interval.high
        widths.append(one.interval.high - one.interval.low)
    assert widths[1] < widths[0] or text == "precision=0.5"


def test_the_same_seed_gives_the_same_interval() -> None:
    cut, corpus = cut_of(5), corpus_of(5)
    fitted = best_in_sample(cut, F1.target)
    assert told(fitted, cut, corpus, draws=40) == told(fitted, cut, corpus, draws=40)
    assert told(fitted, cut, corpus, draws=0).interval is None


@given(st.integers(0, 25), st.sampled_from([0.8, 0.9, 0.95]))
def test_what_a_recall_still_lacks_is_what_there_must_be_less_what_there_is(
    positives: int, target: float
) -> None:
    n = 200
    cut = CutSample(
        np.linspace(1, 0, n).astype(np.float32),
        np.arange(n) < positives,
        np.ones(n),
        np.ones(n, bool),
        np.arange(n),
        np.ones(n),
    )
    goal = Goal(Target("recall", target), 0.95)
    fitted = with_recall(cut, goal.target, 0.95)
    one = told(fitted, cut, corpus_of(0), goal)
    needed = positives_needed(target, 0.95)
    if positives >= needed:
        assert one.status == "certified"
        assert (one.further_positives, one.further_labels) == (None, None)
    else:
        assert one.further_positives == needed - positives
        if positives == 0:  # nothing tells how rare they are
            assert (one.status, one.further_labels) == ("no_positives", None)
        else:
            assert one.further_labels is not None
            assert one.further_labels >= one.further_positives
