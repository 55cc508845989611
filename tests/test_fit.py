"""Laws of fitting a whole corpus."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.calibrate.cuts.calibration import Calibration, Evaluating, calibrate
from clipcal.calibrate.cuts.evaluation import f1_of
from clipcal.calibrate.cuts.sample import gather
from clipcal.calibrate.cuts.targets import Goal, Target, parse_target
from clipcal.calibrate.labels.table import LabelTable, Match
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import recall_threshold, wilson
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

RECALL, F1 = parse_target("recall=0.8"), parse_target("f1")
BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")


def table(values, *, categories=("gore",), levels=BINARY) -> LabelTable:
    values = np.array(values, np.int8).reshape(-1, len(categories))
    images = tuple(f"{i}.jpg" for i in range(len(values)))
    return LabelTable(images, tuple(categories), levels, values, (), (), "0" * 64, "human.csv")


def matched(rows) -> Match:
    return Match(np.array(rows, np.int64), (), ())


@dataclass
class Result:
    calibration: Calibration
    images: int
    notes: tuple[str, ...]

    @property
    def cuts(self):
        return self.calibration.cuts

    @property
    def holdout(self):
        return self.calibration.holdout


def fit(
    scores, categories, labels, match, target: Target, *, holdout=0.0, seed=0, groups=None, **goal
) -> Result:
    sample, notes = gather(scores, categories, labels, match, groups)
    if groups is not None:
        sample = dataclasses.replace(sample, clusters=groups[sample.places])
    done = calibrate(
        sample,
        Goal(target, **goal),
        scores,
        categories,
        labels.levels,
        source=labels.source,
        evaluating=Evaluating(holdout=holdout, seed=seed, draws=0),
    )
    return Result(done, len(sample), notes)


def corpus(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores Float32[(n, 1)] and labels Int8[(n,)] that go with them."""
    rng = np.random.default_rng(seed)
    values = (rng.random(n) < 0.4).astype(np.int8)
    return (values + rng.normal(size=n)).astype(np.float32)[:, None], values


def test_flags_are_counted_on_the_corpus_and_estimates_on_the_labels():
    scores, values = corpus(500)
    result = fit(scores, ["gore"], table(values[:100]), matched(range(100)), RECALL)
    cut = result.cuts["gore"]["positive"]
    limit = recall_threshold(scores[:100, 0][values[:100] == 1], 0.8)
    assert limit is not None
    assert cut.threshold == stored(limit)
    assert cut.flags == int(decide(scores, cut.threshold).sum())
    assert (cut.n, cut.positives) == (100, int(values[:100].sum()))
    assert result.images == 100
    assert cut.guarantee is not None
    assert "'gore'" in cut.guarantee


def test_unmatched_and_unknown_labels_count_for_nothing():
    scores, values = corpus(100)
    plain = fit(scores, ["gore"], table(values), matched(range(100)), RECALL)
    more = np.r_[values, 1, 0, [-1] * 5]
    rows = [*range(100), -1, -1, *range(5)]
    assert fit(scores, ["gore"], table(more), matched(rows), RECALL).cuts == plain.cuts


def test_a_category_without_labels_has_no_positives():
    scores, values = corpus(60)
    result = fit(
        np.hstack([scores, -scores]), ["knife", "gore"], table(values), matched(range(60)), F1
    )
    knife = result.cuts["knife"]["positive"]
    assert (knife.status, knife.n, knife.threshold, knife.flags) == ("no_positives", 0, None, None)
    assert result.cuts["gore"]["positive"].status == "estimated"


# --- copies ---------------------------------------------------------------------------------


def test_copies_labelled_alike_count_once():
    scores, values = corpus(50)
    twice = np.vstack([scores, scores])
    groups = np.r_[np.arange(50), np.arange(50)]
    labels = table(np.r_[values, values])
    once = fit(scores, ["gore"], table(values), matched(range(50)), RECALL).cuts["gore"]
    result = fit(twice, ["gore"], labels, matched(range(100)), RECALL, groups=groups)
    both = result.cuts["gore"]
    flags = once["positive"].flags
    assert flags is not None
    assert both["positive"].flags == 2 * flags
    counted = {"flags": None, "expected": None}  # every copy is an image of the corpus
    assert both["positive"].model_copy(update=counted) == once["positive"].model_copy(
        update=counted
    )
    assert any("50 labelled images are copies" in note for note in result.notes)
    counted_twice = fit(twice, ["gore"], labels, matched(range(100)), RECALL).cuts["gore"]
    assert counted_twice["positive"].positives == 2 * once["positive"].positives


def test_copies_labelled_differently_are_unknown():
    scores, values = corpus(50)
    labels = table(np.r_[values, 1 - values[:1]])
    result = fit(scores, ["gore"], labels, matched([*range(50), 0]), RECALL)
    assert result.cuts["gore"]["positive"].n == 49
    assert any("differ between copies" in note for note in result.notes)


@given(st.integers(0, 50), st.sampled_from([0.2, 0.5]))
@settings(max_examples=20)
def test_the_split_never_parts_copies(seed, holdout):
    # Each image comes three times; a copy on both sides would be counted on both.
    scores, values = corpus(40, seed)
    groups = np.tile(np.arange(40), 3)
    result = fit(
        np.tile(scores, (3, 1)),
        ["gore"],
        table(np.tile(values, 3)),
        matched(range(120)),
        F1,
        holdout=holdout,
        seed=seed,
        groups=groups,
    )
    assert result.holdout is not None
    held, cut = result.holdout.categories["gore"]["positive"], result.cuts["gore"]["positive"]
    assert held.n + cut.n == 40
    assert held.positives + cut.positives == values.sum()
    assert held.n == round(40 * holdout) == result.holdout.images


# --- hold-out -------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    scores, values = corpus(200)

    def fitted(seed: int):
        return fit(scores, ["gore"], table(values), matched(range(200)), F1, holdout=0.5, seed=seed)

    assert fitted(1).holdout == fitted(1).holdout
    assert fitted(1).holdout != fitted(2).holdout


def test_hold_out_rates_are_those_of_the_images_kept_out():
    # Scores that tell all: the image kept out is right whatever the split.
    values = np.tile([0, 1], 30)
    scores = values.astype(np.float32)[:, None]
    result = fit(scores, ["gore"], table(values), matched(range(60)), F1, holdout=0.3)
    assert result.holdout is not None
    held = result.holdout.categories["gore"]["positive"]
    assert held.recall is not None
    assert (held.recall.value, held.recall.n) == (1, held.positives)
    assert held.f1 is not None
    assert held.f1.low < held.f1.value == 1
    assert (result.holdout.macro_f1, result.holdout.macro_over) == (1, 1)


def test_labels_kept_out_do_not_touch_the_threshold():
    scores, values = corpus(100)
    labels = table(values)
    result = fit(scores, ["gore"], labels, matched(range(100)), F1, holdout=0.5, seed=3)
    out = np.random.default_rng(3).permutation(100)[:50]
    lies = values.copy()
    lies[out] = 1 - lies[out]
    other = fit(scores, ["gore"], table(lies), matched(range(100)), F1, holdout=0.5, seed=3)
    assert other.cuts == result.cuts
    assert other.holdout != result.holdout


def test_macro_f1_is_the_mean_over_categories_that_can_be_judged():
    values = np.stack([np.tile([0, 1], 40), np.zeros(80), np.tile([0, 1], 40)], axis=1)
    scores = np.stack([values[:, 0], values[:, 0], 1 - values[:, 0]], axis=1).astype(np.float32)
    names = ("right", "never", "wrong")
    result = fit(
        scores, names, table(values, categories=names), matched(range(80)), F1, holdout=0.5
    )
    assert result.holdout is not None
    held = result.holdout.categories
    assert held["never"]["positive"].f1 is None
    f1 = [held[name]["positive"].f1 for name in ("right", "wrong")]
    assert result.holdout.macro_over == 2
    assert result.holdout.macro_f1 == pytest.approx(np.mean([one.value for one in f1 if one]))


@pytest.mark.parametrize(("hits", "flags", "positives"), [(0, 3, 2), (7, 10, 9), (5, 5, 5)])
def test_f1_is_the_harmonic_mean_within_its_interval(hits, flags, positives):
    estimate = f1_of(wilson(hits, flags + positives - hits))
    assert estimate is not None
    assert estimate.value == pytest.approx(2 * hits / (flags + positives))
    assert estimate.low <= estimate.value <= estimate.high
    assert f1_of(None) is None


# --- levels ---------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([RECALL, F1]))
@settings(max_examples=50)
def test_cuts_are_in_the_order_of_the_levels_and_keep_their_recall(seed, target):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, 90)
    scores = rng.normal(size=(90, 1)).astype(np.float32)
    result = fit(scores, ["gore"], table(values, levels=LADDER), matched(range(90)), target)
    cuts = result.cuts["gore"]
    assert list(cuts) == ["minor", "major"]
    minor, major = cuts["minor"], cuts["major"]
    assert minor.threshold is not None
    assert major.threshold is not None
    assert minor.threshold <= major.threshold
    assert (minor.positives, major.positives) == ((values >= 1).sum(), (values == 2).sum())
    if target is RECALL:
        alone = recall_threshold(scores[values >= 1, 0], 0.8)
        assert alone is not None
        assert minor.threshold <= stored(alone)


def test_a_lowered_cut_tells_its_own_threshold_and_estimates():
    # Major images score low, so that their cut lies below that of all that is minor or above.
    values = np.r_[np.full(40, 2), np.full(200, 1), np.zeros(60, int)]
    scores = np.r_[np.linspace(0, 0.1, 40), np.linspace(0.5, 1, 200), np.linspace(0.05, 0.4, 60)]
    cuts = fit(
        scores.astype(np.float32)[:, None],
        ["gore"],
        table(values, levels=LADDER),
        matched(range(300)),
        RECALL,
    ).cuts["gore"]
    minor, major = cuts["minor"], cuts["major"]
    assert minor.threshold == major.threshold
    assert minor.flags == major.flags
    assert minor.guarantee is not None
    assert f"{major.threshold:.6f}" in minor.guarantee
    assert "'gore' (minor or above)" in minor.guarantee
    assert minor.recall is not None
    assert minor.recall.value == decide(scores[:240], minor.threshold).mean()


# --- refusals -------------------------------------------------------------------------------


def test_a_lowered_f1_cut_no_longer_calls_itself_the_best():
    # Majors score low here and minors high, so the cut for minor comes out above the one for major.
    scores = np.r_[np.full(10, 0.9), np.full(3, 0.2), np.full(40, 0.5)].astype(np.float32)[:, None]
    values = np.r_[np.full(10, 1), np.full(3, 2), np.zeros(40)].astype(int)[:, None]
    levels = ("none", "minor", "major")
    labels = table(values, levels=levels)
    result = fit(scores, ["gore"], labels, matched(np.arange(53)), parse_target("f1"))
    minor, major = result.cuts["gore"]["minor"], result.cuts["gore"]["major"]
    assert minor.threshold == major.threshold
    assert minor.lowered
    assert "not the best F1" in minor.next_step
    assert not major.lowered
    assert "not the best F1" not in major.next_step


def test_labels_of_no_image_of_the_corpus_are_refused_by_example():
    with pytest.raises(CalibrationError, match=r"0\.jpg.*clipcal embed.*human\.csv"):
        fit(np.zeros((5, 1), np.float32), ["gore"], table([1, 0]), matched([-1, -1]), F1)


@pytest.mark.parametrize("holdout", [-0.1, 1.0, 0.01, 0.99])
def test_a_hold_out_that_leaves_one_side_empty_is_refused(holdout):
    scores, values = corpus(10)
    with pytest.raises(CalibrationError, match="hold-out"):
        fit(scores, ["gore"], table(values), matched(range(10)), F1, holdout=holdout)


def test_scores_of_another_width_are_refused():
    with pytest.raises(CalibrationError, match="shape"):
        fit(np.zeros((5, 2), np.float32), ["gore"], table([1, 0]), matched([0, 1]), F1)
