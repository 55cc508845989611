"""Laws of the outlook: what a calibration would say, in a line, and when one may stop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_cases import LADDER, NAMES, World, cuts_of, goal_of

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.outlook import Outlook, outlook
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import positives_needed
from clipcal.calibrate.statistics.precision import precision_p_value

TARGETS = ["recall=0.9", "precision=0.7", "recall=0.8,precision=0.7", "f1", "budget=200", "levels"]


def looked(world: World, sample: Sample, text: str, *, joint: bool = False) -> list[Outlook]:
    return outlook(sample, goal_of(text, joint=joint), world.scores, NAMES, world.levels)


@given(
    st.integers(0, 500),
    st.sampled_from(TARGETS),
    st.sampled_from([BINARY, LADDER]),
    st.integers(3, 200),
    st.integers(0, 4),
    st.booleans(),
)
@settings(max_examples=60)
def test_the_outlook_is_what_a_calibration_says(
    seed: int, text: str, levels: tuple[str, ...], n: int, blanks: int, joint: bool
) -> None:
    world, goal = World.of(seed, levels), goal_of(text, joint=joint)
    sample = dataclasses.replace(world.draw(seed, n, picked=10), blanks=np.full(2, blanks))
    told = iter(looked(world, sample, text, joint=joint))
    for category, cuts in cuts_of(world, sample, goal).items():
        for level, cut in cuts.items():
            one = next(told)
            assert (one.category, one.level, one.objective) == (category, level, cut.objective)
            assert (one.status, one.threshold) == (cut.status, cut.threshold)
            assert (one.n, one.positives, one.evidence) == (cut.n, cut.positives, cut.evidence)
            assert one.further_positives == cut.further_positives
            assert one.further_labels == cut.further_labels
            if cut.bands is not None:
                upper, bands = next(told), cut.bands
                assert (upper.objective, upper.status) == (bands.objective, bands.status)
                assert (upper.threshold, upper.evidence) == (bands.upper, bands.evidence)
                assert upper.further_positives == bands.further_flagged
                assert upper.further_labels == bands.further_labels
    assert next(told, None) is None


@given(st.integers(0, 500), st.integers(1, 30), st.integers(0, 3), st.booleans())
@settings(max_examples=40)
def test_as_many_more_positives_as_are_named_certify_a_recall_and_one_fewer_do_not(
    seed: int, positives: int, blanks: int, joint: bool
) -> None:
    world = World.of(seed)
    rows = np.flatnonzero(world.values[:, 0] == 1)[:200]
    everything = dataclasses.replace(
        World(world.scores[rows], world.values[rows], BINARY).draw(seed, 200),
        blanks=np.full(2, blanks),
    )

    def first(count: int) -> Outlook:
        return looked(world, everything[np.arange(count)], "recall=0.8", joint=joint)[0]

    now = first(positives)
    assert now.needed is not None
    if now.status == "certified":
        assert positives >= now.needed
        return
    assert now.further_positives is not None
    assert positives + now.further_positives == now.needed
    if not joint:  # where the other category's labels take no part
        assert first(now.needed).status == "certified"
        assert first(now.needed - 1).status != "certified"


# --- in a line ------------------------------------------------------------------------------


def line(world: World, sample: Sample, text: str) -> str:
    return looked(world, sample, text)[0].sentence


def test_a_line_says_how_many_positives_are_lacking_or_that_none_are():
    world = World.of(0)
    rows = np.flatnonzero(world.values[:, 0] == 1)
    positive = World(world.scores[rows], world.values[rows], BINARY).draw(0, 100)
    needed = positives_needed(0.9, 0.9)
    some = positive[np.arange(needed - 12)]
    assert line(world, some, "recall=0.9") == "12 more positives certify recall ≥ 0.9."
    assert line(world, positive[np.arange(needed - 1)], "recall=0.9") == (
        "1 more positive certifies recall ≥ 0.9."
    )
    done = looked(world, positive[np.arange(61)], "recall=0.9")[0]
    assert done.sentence == (
        f"Recall ≥ 0.9 is certified from 61 positives: threshold {done.threshold:.4f}."
    )
    none = line(world, positive[np.arange(0)], "recall=0.9")
    assert none == f"{needed} positives certify recall ≥ 0.9; none is labelled yet."


def test_a_line_on_precision_warns_of_stopping_when_it_passes():
    world = World.of(0)
    few = line(world, world.draw(0, 60), "precision=0.7")
    assert "stopping when it passes spends the risk" in few
    assert few.startswith("About ")
    certified = line(world, world.draw(0, 300), "precision=0.6")
    assert certified.startswith("Precision ≥ 0.6 is certified from ")
    assert certified.endswith("unless you stopped because it passed.")
    wrong = dataclasses.replace(world.draw(0, 60), values=np.zeros((60, 2), np.int8))
    hopeless = line(world, wrong, "precision=0.7")
    assert hopeless == "Nothing tells yet how many labels precision ≥ 0.7 takes."


@pytest.mark.parametrize("text", ["f1", "budget=200"])
def test_a_line_on_what_is_not_guaranteed_says_so(text: str):
    world = World.of(0)
    assert line(world, world.draw(0), text).endswith(f"{text} guarantees nothing.")
    if text == "f1":
        assert line(world, world.draw(0, 0), text) == "No positive is labelled yet."


# --- stopping -------------------------------------------------------------------------------

DRAWS = 400


def test_a_recall_may_be_watched_until_it_is_certified():
    """Labels come in one by one until the count is reached; the guarantee breaks no more often."""
    world, rng = World.of(21), np.random.default_rng(5)
    truth, scores = world.values[:, 0] == 1, world.scores[:, 0]
    needed, broken = positives_needed(0.8, 0.9), 0
    for _ in range(DRAWS):
        order = rng.permutation(len(scores))
        stop = int(np.flatnonzero(np.cumsum(truth[order]) == needed)[0]) + 1
        sample = world.draw(0, stop)
        rows = order[:stop]
        sample = dataclasses.replace(
            sample, scores=world.scores[rows], values=world.values[rows], places=rows
        )
        one = looked(world, sample, "recall=0.8")[0]
        assert one.status == "certified"
        assert one.threshold is not None
        broken += decide(scores[truth], one.threshold).mean() < 0.8
    assert broken / DRAWS <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / DRAWS)
    assert broken > 0  # the guarantee is no looser than it need be


def test_a_precision_that_is_watched_until_it_passes_breaks_too_often():
    """Why the line warns: at a threshold just below its target, peeking passes far too often."""
    rng = np.random.default_rng(5)
    hits = np.cumsum(rng.random((DRAWS, 400)) < 0.69, axis=1)
    flagged = np.arange(1, 401)
    passes = precision_p_value(hits, np.broadcast_to(flagged, hits.shape), 0.7) <= 0.1
    most = 0.1 + 3 * np.sqrt(0.1 * 0.9 / DRAWS)
    assert passes[:, -1].mean() <= most < passes.any(axis=1).mean()
