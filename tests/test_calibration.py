"""Laws of all cuts together: certified, in order, jointly or in bands, and only by fair labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clipcal.calibrate.cuts.calibration import Calibration, Evaluating, calibrate
from clipcal.calibrate.cuts.fit import fit_cuts
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, Target, parse_bands, parse_target
from clipcal.calibrate.cuts.thresholds import declare
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import positives_needed, recall_threshold
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")
FOUR = ("none", "minor", "major", "extreme")
GOALS = ("recall=0.8", "precision=0.6", "f1", "fbeta=2", "cost=3:1", "levels", "bands")
QUIET = Evaluating(draws=0)


def goal_of(text: str, confidence: float = 0.9, *, joint: bool = False) -> Goal:
    if text == "bands":
        recall, precision = parse_bands("recall=0.8,precision=0.6")
        return Goal(recall, confidence, joint, precision)
    return Goal(parse_target(text), confidence, joint)


def sample_of(scores: np.ndarray, values: np.ndarray, places: np.ndarray | None = None) -> Sample:
    n = len(values)
    places = np.arange(n) if places is None else places
    fair = np.ones(values.shape)
    return Sample(
        scores,
        values.astype(np.int8),
        places,
        fair,
        fair > 0,
        np.arange(n),
        np.ones(n),
        np.zeros(scores.shape[1], np.int64),
    )


def random_case(seed: int, n: int = 160, columns: int = 2, levels: int = 3) -> Sample:
    """Labels that follow the scores more or less, with ties, unknowns and rare levels."""
    rng = np.random.default_rng(seed)
    values = rng.binomial(levels - 1, rng.uniform(0.05, 0.6), (n, columns))
    help_ = rng.uniform(-0.5, 2, columns)
    scores = values * help_ + rng.normal(size=(n, columns))
    values[rng.random(values.shape) < 0.1] = -1
    return sample_of(np.round(scores, rng.integers(1, 4)).astype(np.float32), values)


def run(
    sample: Sample,
    goal: Goal,
    levels: tuple[str, ...] = LADDER,
    corpus: np.ndarray | None = None,
    evaluating: Evaluating = QUIET,
) -> Calibration:
    names = [f"c{column}" for column in range(sample.scores.shape[1])]
    whole = sample.scores if corpus is None else corpus
    return calibrate(sample, goal, whole, names, levels, evaluating=evaluating)


def cuts_of(done: Calibration) -> list[list[Cut]]:
    """The cuts of each category, from the lower level to the higher."""
    return [list(cuts.values()) for cuts in done.cuts.values()]


def flat(done: Calibration) -> list[Cut]:
    return [cut for cuts in cuts_of(done) for cut in cuts]


# --- levels ---------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from(GOALS), st.booleans())
@settings(max_examples=60)
def test_levels_never_cross_whatever_is_asked_for(seed: int, text: str, joint: bool) -> None:
    done = run(random_case(seed, levels=4), goal_of(text, joint=joint), FOUR)
    for cuts in cuts_of(done):
        thresholds = [cut.threshold for cut in cuts if cut.threshold is not None]
        assert thresholds == sorted(thresholds)
        flags = [cut.flags for cut in cuts if cut.flags is not None]
        assert flags == sorted(flags, reverse=True)
        uppers = [cut.bands.upper for cut in cuts if cut.bands and cut.bands.upper is not None]
        assert uppers == sorted(uppers)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40)
def test_a_certified_recall_is_only_ever_lowered(seed: int, joint: bool) -> None:
    sample = random_case(seed)
    done = run(sample, goal_of("recall=0.8", joint=joint))
    for column, cuts in enumerate(cuts_of(done)):
        for rank, cut in enumerate(cuts, start=1):
            if cut.status == "certified":
                assert cut.threshold is not None
                assert cut.confidence is not None
                here = sample.of(column, rank)
                alone = recall_threshold(here.scores[here.positive], 0.8, cut.confidence)
                assert alone is not None
                assert cut.threshold <= stored(alone)
                assert cut.lowered == (cut.threshold < stored(alone))


def test_an_ordered_pair_is_ordered_in_the_safe_direction() -> None:
    # Of two crossing recalls the lower level comes down; of precisions the higher goes up.
    values = np.r_[np.full(40, 2), np.full(200, 1), np.zeros(60, int)][:, None]
    scores = np.r_[np.linspace(0, 0.1, 40), np.linspace(0.5, 1, 200), np.linspace(0.05, 0.4, 60)]
    sample = sample_of(scores.astype(np.float32)[:, None], values)
    ((minor, major),) = cuts_of(run(sample, goal_of("recall=0.8")))
    assert minor.threshold == major.threshold
    assert (minor.lowered, major.lowered) == (True, False)
    assert minor.status == major.status == "certified"
    scores = np.r_[np.linspace(0.5, 0.6, 150), np.linspace(0, 0.2, 30), np.linspace(0, 0.2, 120)]
    values = np.r_[np.full(150, 1), np.full(30, 2), np.zeros(120, int)][:, None]
    values[:4] = 2
    sample = sample_of(scores.astype(np.float32)[:, None], values)
    ((minor, major),) = cuts_of(run(sample, goal_of("precision=0.6")))
    assert minor.status == "certified"
    assert major.status == "insufficient"
    assert major.threshold is None or major.threshold >= (minor.threshold or 0)


# --- precision ------------------------------------------------------------------------------


def holm_by_hand(p_values: np.ndarray, risk: float) -> np.ndarray:
    """Holm's rejections, step by step."""
    rejected = np.zeros(len(p_values), bool)
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > risk * (1 + 1e-9) / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 0.8]))
@settings(max_examples=50)
def test_a_certified_precision_is_at_the_lowest_candidate_that_passes(
    seed: int, target: float
) -> None:
    sample = random_case(seed, n=400, columns=1, levels=2)
    goal = Goal(Target("precision", target), 0.9)
    cut = cuts_of(run(sample, goal, BINARY))[0][0]
    known = sample.of(0, 1)
    candidates = declare(sample.scores, goal, len(known)).candidates[0]
    flagged = np.array([(known.scores >= np.float32(c)).sum() for c in candidates])
    hits = np.array([known.positive[known.scores >= np.float32(c)].sum() for c in candidates])
    passed = candidates[holm_by_hand(stats.binom.sf(hits - 1, flagged, target), 0.1)]
    assert (cut.status == "certified") == bool(len(passed))
    if len(passed):
        assert cut.threshold == passed.min()
        assert cut.evidence == (known.scores >= np.float32(passed.min())).sum()


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30)
def test_what_certifies_a_higher_level_certifies_the_lower(seed: int, joint: bool) -> None:
    done = run(random_case(seed, n=400), goal_of("precision=0.3", joint=joint))
    for minor, major in cuts_of(done):
        if major.status == "certified":
            assert minor.status == "certified"
            assert minor.threshold is not None
            assert major.threshold is not None
            assert minor.threshold <= major.threshold


# --- joint guarantees -----------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from(["recall=0.8", "precision=0.4", "bands"]))
@settings(max_examples=40)
def test_joint_guarantees_never_take_more_risk_than_single_ones(seed: int, text: str) -> None:
    sample = random_case(seed, n=300)
    single, joint = (run(sample, goal_of(text, joint=both)) for both in (False, True))
    # Where a higher level is certified alone only, it may bring a lower one further down.
    sure = [all(cut.status == "certified" for cut in cuts) for cuts in cuts_of(joint)]
    compared = [both for both in sure for _ in range(2)]
    for alone, together, all_sure in zip(flat(single), flat(joint), compared, strict=True):
        assert together.confidence is not None
        assert alone.confidence is not None
        assert together.confidence >= alone.confidence
        if together.status == "certified":
            assert alone.status == "certified"
            assert together.threshold is not None
            assert alone.threshold is not None
            if text == "precision=0.4":
                assert together.threshold >= alone.threshold
            elif text == "recall=0.8" and all_sure:
                assert together.threshold <= alone.threshold


@pytest.mark.parametrize(
    ("text", "joint", "confidence"),
    [
        ("recall=0.8", False, 0.9),
        ("recall=0.8", True, 1 - 0.1 / 4),
        ("bands", False, 0.95),
        ("bands", True, 1 - 0.05 / 4),
        ("precision=0.6", False, 0.9),
        ("precision=0.6", True, 0.9),
        ("f1", False, None),
    ],
)
def test_each_cut_tells_the_confidence_of_its_own_guarantee(
    text: str, joint: bool, confidence: float | None
) -> None:
    for cut in flat(run(random_case(3, n=300), goal_of(text, joint=joint))):
        assert cut.confidence == (confidence and pytest.approx(confidence))
        if cut.bands is not None:
            assert cut.bands.confidence == pytest.approx(0.95)


@pytest.mark.parametrize("confidence", [0.0, 0.2, 0.499, 1.0, float("nan")])
def test_a_confidence_that_promises_nothing_is_refused(confidence: float) -> None:
    with pytest.raises(CalibrationError, match="--confidence"):
        run(random_case(0), goal_of("recall=0.8", confidence))


# --- bands ----------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=60)
def test_bands_divide_the_corpus_and_lie_in_order(seed: int, joint: bool) -> None:
    sample = random_case(seed)
    corpus = np.vstack([sample.scores, random_case(seed + 1).scores])
    for column, cuts in enumerate(
        cuts_of(run(sample, goal_of("bands", joint=joint), corpus=corpus))
    ):
        for cut in cuts:
            bands = cut.bands
            assert bands is not None
            assert bands.allow + bands.review + bands.block == len(corpus)
            assert min(bands.allow, bands.review, bands.block) >= 0
            if bands.upper is None:
                assert bands.status != "certified"
                assert bands.block == 0
                assert "Nothing is blocked" in bands.next_step
                assert bands.guarantee is None
            else:
                assert bands.status == "certified"
                assert cut.threshold is not None
                assert cut.threshold <= bands.upper
                assert bands.block == decide(corpus[:, column], bands.upper).sum()
            if cut.status != "certified":
                assert bands.allow == 0
                assert bands.misses is None
            else:
                assert bands.allow == (~decide(corpus[:, column], cut.threshold)).sum()


def test_an_upper_threshold_below_the_lower_one_leaves_nothing_to_review() -> None:
    values = np.repeat([0, 1], 300)[:, None]
    scores = np.r_[np.linspace(0, 0.5, 300), np.linspace(0.6, 1, 300)].astype(np.float32)[:, None]
    (single,) = cuts_of(run(sample_of(scores, values), Goal(Target("recall", 0.8), 0.95), BINARY))[
        0
    ]
    ((cut,),) = cuts_of(run(sample_of(scores, values), goal_of("bands"), BINARY))
    assert cut.bands is not None
    assert cut.bands.upper is not None
    assert single.threshold is not None
    assert cut.bands.upper < single.threshold
    assert cut.threshold == cut.bands.upper
    assert cut.bands.review == 0
    assert cut.status == cut.bands.status == "certified"
    assert cut.recall is not None
    assert cut.recall.value == 1
    assert f"{cut.threshold:.6f}" in (cut.guarantee or "")


@given(st.integers(0, 5_000))
@settings(max_examples=25)
def test_bands_are_a_recall_and_a_precision_at_half_the_risk_each(seed: int) -> None:
    sample = random_case(seed, n=300)
    bands = flat(run(sample, goal_of("bands", 0.9)))
    lower = flat(run(sample, goal_of("recall=0.8", 0.95)))
    upper = flat(run(sample, goal_of("precision=0.6", 0.95)))
    for cut, low, high in zip(bands, lower, upper, strict=True):
        assert cut.bands is not None
        assert cut.status == low.status
        assert cut.bands.status == high.status
        assert cut.bands.upper == (high.threshold if high.status == "certified" else None)
        if cut.threshold is not None and low.threshold is not None:
            assert cut.threshold <= low.threshold


# --- labels picked for their scores ---------------------------------------------------------


def picked_case(seed: int) -> tuple[Sample, np.ndarray]:
    """A sample of which a part was picked for its scores, with weights of its own."""
    rng = np.random.default_rng(seed)
    sample = random_case(seed, n=400)
    fair = np.repeat(rng.random(400)[:, None] < 0.7, 2, axis=1)
    weights = np.where(fair, 1.0, rng.uniform(0.1, 5, fair.shape))
    return dataclasses.replace(sample, uniform=fair, weights=weights), fair


@given(st.integers(0, 10_000), st.sampled_from(["recall=0.8", "precision=0.4", "bands"]))
@settings(max_examples=40)
def test_picked_labels_never_move_a_certified_threshold_nor_count_for_it(
    seed: int, text: str
) -> None:
    sample, fair = picked_case(seed)
    lies = np.where(fair, sample.values, np.where(sample.values == 2, 0, 2)).astype(np.int8)
    blind = np.where(fair, sample.values, -1).astype(np.int8)
    joint = goal_of(text, joint=bool(seed % 2))
    # None of the picked labels at all, or all of them wrong: nothing certified changes by them.
    done, lied, without = (
        flat(run(dataclasses.replace(sample, values=v), joint))
        for v in (sample.values, lies, blind)
    )
    for true, false, none in zip(done, lied, without, strict=True):
        for other in (false, none):
            if {true.status, other.status} <= {"certified", "insufficient"}:
                assert true.status == other.status
            if true.status == other.status == "certified" and text != "bands":
                assert true.evidence == other.evidence
            if text == "precision=0.4" and true.status == other.status == "certified":
                assert true.threshold == other.threshold
            if true.bands and other.bands and true.bands.status == "certified":
                assert true.bands.upper == other.bands.upper
                assert true.bands.evidence == other.bands.evidence


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_picked_positives_leave_a_recall_where_fair_ones_put_it(seed: int) -> None:
    sample, _ = picked_case(seed)
    one = dataclasses.replace(sample, values=np.minimum(sample.values, 1))
    cut = cuts_of(run(one, goal_of("recall=0.8"), BINARY))[0][0]
    known = one.of(0, 1)
    alone = recall_threshold(known.scores[known.positive & known.uniform], 0.8, 0.9)
    assert cut.evidence == (known.positive & known.uniform).sum()
    if alone is not None:
        assert (cut.status, cut.threshold) == ("certified", stored(alone))
    else:
        assert cut.status != "certified"


@pytest.mark.parametrize("text", ["recall=0.8", "precision=0.6", "bands"])
def test_picked_labels_alone_guarantee_nothing(text: str) -> None:
    sample = random_case(1)
    picked = dataclasses.replace(sample, uniform=np.zeros_like(sample.uniform))
    with pytest.raises(CalibrationError, match=r"picked for their scores.*--audit 1"):
        run(picked, goal_of(text))
    assert run(picked, goal_of("f1")).cuts


def test_a_category_without_labels_makes_no_picked_label_a_fair_one() -> None:
    sample = random_case(1)
    values = sample.values.copy()
    values[:, 1] = -1
    uniform = np.ones_like(sample.uniform)
    uniform[:, 0] = False
    picked = dataclasses.replace(sample, values=values, uniform=uniform)
    with pytest.raises(CalibrationError, match="picked for their scores"):
        run(picked, goal_of("recall=0.8"))


def test_a_category_whose_labels_were_all_picked_is_insufficient_beside_a_fair_one() -> None:
    sample = random_case(5, n=400)
    uniform = np.ones_like(sample.uniform)
    uniform[:, 0] = False
    done = run(dataclasses.replace(sample, uniform=uniform), goal_of("recall=0.5"))
    (picked, _), (fair, _) = cuts_of(done)
    assert (picked.status, picked.evidence) == ("insufficient", 0)
    assert picked.further_positives == positives_needed(0.5, 0.9)
    assert fair.status == "certified"


# --- budget ---------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(0, 3))
@settings(max_examples=60)
def test_a_budget_is_kept_even_among_ties(seed: int, flags: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    corpus = np.round(rng.normal(size=(300, 2)), digits).astype(np.float32)
    empty = sample_of(corpus[:0], np.empty((0, 2)))
    done = run(empty, Goal(Target("budget", flags)), corpus=corpus)
    for column, (minor, major) in enumerate(cuts_of(done)):
        assert (major.threshold, major.flags) == (None, None)
        highest = corpus[:, column] == corpus[:, column].max()
        if minor.threshold is None:
            assert minor.status == "insufficient"
            assert highest.sum() > flags
        else:
            assert minor.status == "estimated"
            assert minor.flags == decide(corpus[:, column], minor.threshold).sum() <= flags
            below = corpus[:, column][~decide(corpus[:, column], minor.threshold)]
            if len(below):  # one more group of ties would not fit
                assert minor.flags + (below == below.max()).sum() > flags


# --- redraws --------------------------------------------------------------------------------


@dataclass
class Truth:
    """A corpus of 3,000 images, a third of them near copies, with every label known."""

    scores: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, seed: int) -> Truth:
        rng = np.random.default_rng(seed)
        values = rng.choice(3, (2000, 2), p=[0.55, 0.25, 0.2])
        # In the second category major images score lower than minor ones: its cuts cross.
        means = np.array([[0.0, 1.2, 2.2], [0.0, 2.4, 1.6]])
        scores = means[[0, 1], values] + rng.normal(size=(2000, 2))
        copied = rng.integers(0, 400, 1000)  # some images come thrice and more
        near = scores[copied] + rng.normal(scale=0.01, size=(1000, 2))
        return cls(
            np.vstack([scores, near]).astype(np.float32), np.vstack([values, values[copied]])
        )

    def draw(self, rng: np.random.Generator, n: int) -> Sample:
        rows = rng.choice(len(self.scores), n, replace=False)
        return sample_of(self.scores[rows], self.values[rows], rows)

    def holds(self, column: int, rank: int, threshold: float, target: Target) -> bool:
        flags = decide(self.scores[:, column], threshold)
        positive = self.values[:, column] >= rank
        among = positive if target.kind == "recall" else flags
        return bool((flags & positive)[among].mean() >= target.rate) if among.any() else True


DRAWS, LABELS = 200, 350


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("text", ["recall=0.8", "precision=0.6", "bands"])
def test_guarantees_fail_in_no_more_redraws_than_their_risk(text: str, joint: bool) -> None:
    truth, rng = Truth.of(7), np.random.default_rng(11)
    goal = goal_of(text, joint=joint)
    failed = np.zeros((DRAWS, 2, 2), bool)
    certified = 0
    for number in range(DRAWS):
        sample = truth.draw(rng, LABELS)
        declared = declare(truth.scores, goal, LABELS)
        for (column, rank), fit in fit_cuts(sample, goal, declared, LADDER).items():
            promised = [(fit, goal.target), *([(fit.upper, goal.block)] if goal.block else [])]
            for one, target in promised:
                if one is not None and target is not None and one.status == "certified":
                    assert one.threshold is not None
                    certified += 1
                    held = truth.holds(column, rank, one.threshold, target)
                    failed[number, column, rank - 1] |= not held
    assert certified > DRAWS  # something was promised
    most = 0.1 + 3 * np.sqrt(0.1 * 0.9 / DRAWS)
    if joint:
        assert failed.any(axis=(1, 2)).mean() <= most
    else:
        assert failed.mean(axis=0).max() <= most


def test_a_calibration_promises_what_its_cuts_were_fitted_to() -> None:
    """The simulation fits cuts alone; a calibration reports the same ones."""
    truth, goal = Truth.of(7), goal_of("bands", joint=True)
    sample = truth.draw(np.random.default_rng(0), LABELS)
    fits = fit_cuts(sample, goal, declare(truth.scores, goal, LABELS), LADDER)
    for column, cuts in enumerate(cuts_of(run(sample, goal, corpus=truth.scores))):
        for rank, cut in enumerate(cuts, start=1):
            fit = fits[column, rank]
            assert (cut.status, cut.threshold, cut.evidence) == (
                fit.status,
                fit.threshold,
                fit.evidence,
            )
            assert cut.bands is not None
            assert fit.upper is not None
            assert (cut.bands.status, cut.bands.upper) == (fit.upper.status, fit.upper.threshold)
