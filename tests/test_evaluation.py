"""Laws of judging a calibration on labels that it was not fitted to."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipcal.calibrate.cuts.evaluation as module
from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.evaluation import cross_fit, decide_by, judge_holdout, split
from clipcal.calibrate.cuts.fit import fit_cuts
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, parse_target
from clipcal.calibrate.cuts.thresholds import Declared, Fitted, declare
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import wilson

BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")
RECALL, F1 = Goal(parse_target("recall=0.7"), 0.9), Goal(parse_target("f1"), 0.95)


def sample_of(scores, values, clusters=None) -> Sample:
    scores = np.asarray(scores, np.float32)
    scores = scores if scores.ndim == 2 else scores[:, None]
    values = np.asarray(values, np.int8).reshape(scores.shape)
    fair = np.ones(values.shape)
    number = np.arange(len(values))
    return Sample(
        scores,
        values,
        number,
        fair,
        fair > 0,
        number if clusters is None else clusters,
        np.ones(len(number)),
        np.zeros(scores.shape[1], np.int64),
    )


def parts(sample: Sample, holdout: float, seed: int) -> tuple[Sample, Sample]:
    """What a calibration with this hold-out and seed fits to, and what it keeps out."""
    kept, out = split(sample, holdout, seed)
    assert out is not None
    return kept, out


def random_case(seed: int, n: int = 120, levels: int = 3, copies: int = 1) -> Sample:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (n // copies, 2))
    scores = values + rng.normal(size=values.shape)
    values[rng.random(values.shape) < 0.1] = -1
    whole = (np.repeat(part, copies, axis=0) for part in (scores, values))
    return sample_of(*whole, np.repeat(np.arange(n // copies), copies))


def fitted_across(sample: Sample, goal: Goal = F1, **options: int):
    declared = declare(sample.scores, goal, len(sample))
    return cross_fit(sample, goal, declared, ("a", "b"), LADDER, **options)


# --- cross-fitting --------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_no_image_is_decided_by_a_threshold_fitted_to_it_or_to_a_copy(
    copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = random_case(0, copies=copies)
    seen: list[tuple[set[int], float]] = []

    def spy(part: Sample, *_: object) -> dict[tuple[int, int], Fitted]:
        # Each fit has a threshold of its own, by which its decisions are recognised later.
        seen.append((set(part.clusters.tolist()), -100.0 - len(seen)))
        return {(c, r): Fitted("estimated", seen[-1][1]) for c in (0, 1) for r in (1, 2)}

    decided: list[tuple[set[int], float]] = []

    def watch(scores: np.ndarray, threshold: float) -> np.ndarray:
        mine = np.isin(sample.scores[:, 0], scores) | np.isin(sample.scores[:, 1], scores)
        decided.append((set(sample.clusters[mine].tolist()), threshold))
        return decide(scores, threshold)

    monkeypatch.setattr(module, "fit_cuts", spy)
    monkeypatch.setattr(module, "decide", watch)
    assert fitted_across(sample, folds=4, repeats=3) is not None
    assert len(seen) == 13  # the first is to all of them, and decides nothing
    fitted_to = {threshold: clusters for clusters, threshold in seen}
    everyone = set(sample.clusters.tolist())
    for clusters, threshold in decided:
        assert not clusters & fitted_to[threshold]
        assert clusters | fitted_to[threshold] == everyone


@given(st.integers(0, 1000), st.integers(2, 6))
@settings(max_examples=15)
def test_a_label_turned_round_changes_no_decision_on_its_own_copies(seed: int, folds: int) -> None:
    sample = random_case(seed, n=60, copies=2)
    values = sample.values.copy()
    values[:2] = 2 - np.maximum(values[:2], 0)
    turned = dataclasses.replace(sample, values=values)
    # Which fold a copy is in depends on who is positive; so all are made positive somewhere.
    anyone = np.full((len(values), 1), 2, np.int8)
    columns = (np.hstack([s.scores, s.scores[:, :1]]) for s in (sample, turned))
    with_third = [
        sample_of(scores, np.hstack([v, anyone]), sample.clusters)
        for scores, v in zip(columns, (sample.values, values), strict=True)
    ]
    both = [
        cross_fit(s, F1, Declared(), ("a", "b", "c"), LADDER, folds=folds, repeats=1)
        for s in with_third
    ]
    assert both[0] is not None
    assert both[1] is not None
    np.testing.assert_array_equal(both[0].decided[:2, :2], both[1].decided[:2, :2])


def test_the_same_seed_judges_alike_and_another_seed_otherwise() -> None:
    sample = random_case(3)
    once, again, other = (fitted_across(sample, seed=seed) for seed in (1, 1, 2))
    assert once is not None
    assert again is not None
    assert other is not None
    assert once.evaluation == again.evaluation
    np.testing.assert_array_equal(once.decided, again.decided)
    assert once.evaluation != other.evaluation


def test_out_of_fold_counts_are_those_of_a_case_done_by_hand() -> None:
    # Five positives at 1 and five negatives at 0, but one negative at 1: whatever the folds are,
    # the best F1 of the rest is at 1, since no fold takes away all positives.
    values = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    sample = sample_of([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], values)
    crossed = cross_fit(sample, F1, Declared(), ("a",), BINARY, folds=5, repeats=4)
    assert crossed is not None
    held = crossed.evaluation.categories["a"]["positive"]
    assert (held.n, held.positives, held.flags) == (11, 5, 6)
    wider = math.sqrt(1 + crossed.evaluation.folds / (crossed.evaluation.folds - 1))
    for found, plain_rate in ((held.recall, wilson(5, 5)), (held.precision, wilson(5, 6))):
        assert found is not None
        assert (found.value, found.n) == (plain_rate.value, plain_rate.n)
        low = plain_rate.value - wider * (plain_rate.value - plain_rate.low)
        assert found.low == pytest.approx(max(low, 0))
    assert held.f1 is not None
    assert held.f1.value == pytest.approx(10 / 11)
    assert (crossed.evaluation.folds, crossed.evaluation.repeats) == (5, 4)
    assert (crossed.evaluation.images, crossed.evaluation.clusters) == (11, 11)
    assert crossed.evaluation.fraction is None
    assert crossed.decided[:, 0].tolist() == [1] * 6 + [0] * 5


def test_where_some_fold_must_lack_a_side_nothing_is_rated() -> None:
    sample = sample_of(np.linspace(0, 1, 30), [1] * 4 + [0] * 26)
    crossed = cross_fit(sample, F1, Declared(), ("a",), BINARY, folds=5, repeats=2)
    assert crossed is not None
    held = crossed.evaluation.categories["a"]["positive"]
    assert (held.n, held.positives, held.recall, held.precision, held.f1) == (30, 4, *[None] * 3)
    assert (crossed.evaluation.macro_f1, crossed.evaluation.macro_over) == (None, 0)


@pytest.mark.parametrize("images", [0, 1, 2, 3])
def test_few_images_or_one_group_of_copies_are_divided_as_far_as_they_go(images: int) -> None:
    sample = sample_of(np.arange(images), np.arange(images) % 2)
    crossed = cross_fit(sample, F1, Declared(), ("a",), BINARY)
    assert (crossed is None) == (images < 2)
    if crossed is not None:
        assert crossed.evaluation.folds == images
    one = sample_of(np.arange(9), np.arange(9) % 2, np.zeros(9, np.int64))
    assert cross_fit(one, F1, Declared(), ("a",), BINARY) is None


def test_out_of_fold_a_perfect_score_is_right_and_noise_is_not_flattered() -> None:
    rng = np.random.default_rng(0)
    values = np.tile([0, 1], 150)
    perfect, noise = values.astype(float), rng.normal(size=300)
    sample = sample_of(np.stack([perfect, noise], 1), np.stack([values, values], 1))
    goal = Goal(parse_target("precision=0.6"), 0.9)
    declared = declare(sample.scores, goal, 300)
    crossed = cross_fit(sample, goal, declared, ("a", "b"), BINARY)
    assert crossed is not None
    right, random = (crossed.evaluation.categories[c]["positive"] for c in ("a", "b"))
    assert right.f1 is not None
    assert right.f1.value == 1
    if random.precision is not None:
        assert random.precision.low < 0.5 < random.precision.high + 0.1


def test_decisions_are_the_highest_level_that_is_reached() -> None:
    sample = sample_of([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], np.zeros((3, 2)))
    fits = {
        (0, 1): Fitted("estimated", 0.5),
        (0, 2): Fitted("estimated", 1.5),
        (1, 1): Fitted("no_positives"),
        (1, 2): Fitted("estimated", 1.5),
    }
    assert decide_by(fits, sample).tolist() == [[0, -1], [1, -1], [2, 2]]


# --- hold-out -------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_a_hold_out_divides_labels_and_never_copies(copies: int) -> None:
    sample = random_case(0, copies=copies)
    done = calibrate(
        sample,
        F1,
        sample.scores,
        ("a", "b"),
        LADDER,
        evaluating=Evaluating(holdout=0.3, seed=4, draws=0),
    )
    assert done.holdout is not None
    kept, out = parts(sample, 0.3, 4)
    assert not set(kept.clusters.tolist()) & set(out.clusters.tolist())
    assert (done.holdout.images, done.holdout.fraction) == (len(out), 0.3)
    assert done.holdout.clusters == len(out) // copies
    for name, column in (("a", 0), ("b", 1)):
        assert done.cuts[name]["minor"].n == (kept.values[:, column] >= 0).sum()
        assert done.holdout.categories[name]["minor"].n == (out.values[:, column] >= 0).sum()


@pytest.mark.parametrize("text", ["recall=0.7", "precision=0.6", "f1", "levels", "cost=2:1"])
def test_labels_kept_out_touch_neither_cuts_nor_cross_fit(text: str) -> None:
    sample = random_case(5)
    _, out = parts(sample, 0.4, 9)
    values = sample.values.copy()
    values[out.places] = np.where(out.values == 2, 0, 2)
    evaluating = Evaluating(holdout=0.4, folds=3, repeats=2, seed=9, draws=20)
    true, lied = (
        calibrate(
            dataclasses.replace(sample, values=v),
            Goal(parse_target(text), 0.9),
            sample.scores,
            ("a", "b"),
            LADDER,
            evaluating=evaluating,
        )
        for v in (sample.values, values)
    )
    assert true.cuts == lied.cuts
    assert true.crossfit is not None
    assert lied.crossfit is not None
    assert true.crossfit.evaluation == lied.crossfit.evaluation
    assert true.holdout != lied.holdout
    np.testing.assert_array_equal(true.decided, lied.decided)


def test_hold_out_rates_are_counted_on_the_images_kept_out() -> None:
    sample = random_case(8, levels=2)
    kept, out = parts(sample, 0.5, 1)
    fits = fit_cuts(kept, F1, Declared(), BINARY)
    held = judge_holdout(out, fits, F1, ("a", "b"), BINARY, 0.5)
    for column, name in enumerate("ab"):
        known = out.values[:, column] >= 0
        flags = out.scores[known, column] >= np.float32(fits[column, 1].threshold)
        positive = out.values[known, column] == 1
        one = held.categories[name]["positive"]
        assert (one.n, one.positives, one.flags) == (known.sum(), positive.sum(), flags.sum())
        assert one.recall == wilson(int((flags & positive).sum()), int(positive.sum()))
        assert one.precision == wilson(int((flags & positive).sum()), int(flags.sum()))


def test_every_labelled_image_is_decided_by_what_did_not_see_it() -> None:
    sample = random_case(4)
    evaluating = Evaluating(holdout=0.4, folds=4, seed=2, draws=0)
    done = calibrate(sample, F1, sample.scores, ("a", "b"), LADDER, evaluating=evaluating)
    kept, out = parts(sample, 0.4, 2)
    assert done.decided is not None
    assert done.crossfit is not None
    assert done.decided.shape == sample.values.shape
    np.testing.assert_array_equal(done.decided[kept.places], done.crossfit.decided)
    fits = fit_cuts(kept, F1, Declared(), LADDER)
    np.testing.assert_array_equal(done.decided[out.places], decide_by(fits, out))
    without = calibrate(
        sample, F1, sample.scores, ("a", "b"), LADDER, evaluating=Evaluating(draws=0)
    )
    assert without.decided is None
    assert without.crossfit is None
