"""Every guarantee in simulation: how often it fails over redraws of the labels.

Corpora are finite and known, so that the true recall and precision are. In each redraw a
uniform sample of the corpus is labelled, and the threshold fitted to it by the functions that
fit users' thresholds. A guarantee with risk 0.05 may fail in 0.05 of redraws, and by chance in
three standard errors more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcal.calibrate.statistics import multiplicity
from clipcal.calibrate.statistics.bounds import (
    recall_p_value,
    recall_threshold,
)
from clipcal.calibrate.statistics.objectives import sample_recall_threshold
from clipcal.calibrate.statistics.precision import (
    certified_precision,
    declared_grid,
    precision_evidence,
    smallest_declared,
)
from clipcal.calibrate.statistics.rounding import stored

RISK = 0.05
REDRAWS = 1000
CORPUS = 6000


def within(risk: float, redraws: int = REDRAWS) -> float:
    return risk + 3 * math.sqrt(risk * (1 - risk) / redraws)


@dataclass
class Corpus:
    """Scores of one cut, and who is positive; what is true is counted."""

    scores: NDArray[np.float32]
    positive: NDArray[np.bool_]

    def __post_init__(self) -> None:
        order = np.argsort(self.scores, kind="stable")
        self.ranked = self.scores[order]
        self.hits_from = np.r_[np.cumsum(self.positive[order][::-1])[::-1], 0]

    def _first(self, threshold: float) -> int:
        return int(np.searchsorted(self.ranked, np.float32(threshold)))

    def recall(self, threshold: float) -> float:
        return self.hits_from[self._first(threshold)] / self.hits_from[0]

    def precision(self, threshold: float) -> float:
        first = self._first(threshold)
        return self.hits_from[first] / max(len(self.ranked) - first, 1)


def shape(scores: NDArray[np.float64], kind: str) -> NDArray[np.float32]:
    """Give the scores ties, or atoms: one value that many share."""
    if kind == "ties":
        scores = np.round(scores * 8) / 8
    if kind == "atoms":
        scores = np.where(scores < np.median(scores), scores.min(), scores)
    return scores.astype(np.float32)


def failures(fit: Callable[[NDArray[np.intp]], bool], n: int, redraws: int = REDRAWS) -> float:
    """Return in what share of redraws of n images `fit` says that a guarantee is broken."""
    rng = np.random.default_rng(2024)
    return float(
        np.mean([fit(rng.choice(CORPUS, n, replace=False, shuffle=False)) for _ in range(redraws)])
    )


# --- recall ---------------------------------------------------------------------------------


def overlapping_normals(kind: str, prevalence: float, seed: int = 0) -> Corpus:
    rng = np.random.default_rng(seed)
    positive = np.arange(CORPUS) < prevalence * CORPUS
    return Corpus(shape(rng.normal(size=CORPUS) + 1.5 * positive, kind), positive)


@pytest.mark.parametrize("kind", ["continuous", "ties", "atoms"])
@pytest.mark.parametrize(
    ("target", "risk", "n"), [(0.9, 0.05, 100), (0.9, 0.05, 700), (0.8, 0.2, 60), (0.95, 0.01, 900)]
)
def test_a_certified_recall_fails_no_more_often_than_its_risk(kind, target, risk, n):
    corpus = overlapping_normals(kind, 0.4)

    def broken(labelled: NDArray[np.intp]) -> bool:
        found = corpus.scores[labelled][corpus.positive[labelled]]
        threshold = recall_threshold(found, target, 1 - risk)
        return threshold is not None and corpus.recall(stored(threshold)) < target

    assert failures(broken, n) <= within(risk)


def test_a_certified_recall_is_not_needlessly_low():
    """Without ties the risk is nearly used up; else the threshold could have been higher."""
    corpus = overlapping_normals("continuous", 0.4)

    def broken(labelled: NDArray[np.intp]) -> bool:
        found = corpus.scores[labelled][corpus.positive[labelled]]
        return corpus.recall(stored(recall_threshold(found, 0.9) or 9.0)) < 0.9

    assert failures(broken, 700) >= 0.02


@pytest.mark.parametrize("n", [75, 150, 500])
def test_the_recall_of_the_sample_is_no_guarantee(n):
    corpus = overlapping_normals("continuous", 0.4)

    def broken(labelled: NDArray[np.intp]) -> bool:
        found = corpus.scores[labelled][corpus.positive[labelled]]
        return corpus.recall(sample_recall_threshold(found, 0.9)) < 0.9

    assert failures(broken, n) > 0.4


# --- precision ------------------------------------------------------------------------------


def precision_corpus(curve: str, target: float, kind: str = "continuous", seed: int = 5) -> Corpus:
    """Make a corpus whose precision is just too low at all thresholds, or at the lower ones."""
    rng = np.random.default_rng(seed)
    rank = rng.permutation(CORPUS) / CORPUS
    scores = shape(rank, kind)
    if curve == "flat":  # the hardest case: nearly every candidate is a true hypothesis
        return Corpus(scores, spread_evenly(rank, target - 0.002))
    # Too low where more than about half is flagged.
    chance = target + {"shallow": 0.15, "rising": 0.7}[curve] * (rank - 0.715)
    return Corpus(scores, rng.random(CORPUS) < chance)


def spread_evenly(rank: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Make positives at this rate from any score up, but for rounding by less than one."""
    from_top = np.round((1 - rank) * CORPUS).astype(int)  # 1 for the highest
    return np.floor(from_top * rate) > np.floor((from_top - 1) * rate)


def lowest_certified(
    corpus: Corpus,
    labelled: NDArray[np.intp],
    grid: NDArray[np.float64],
    target: float,
    risk: float,
) -> float | None:
    evidence = precision_evidence(corpus.scores[labelled], corpus.positive[labelled], grid, target)
    certain = certified_precision([evidence], risk)[0]
    return float(certain.min()) if len(certain) else None


@pytest.mark.parametrize("curve", ["flat", "shallow", "rising"])
@pytest.mark.parametrize("kind", ["continuous", "ties", "atoms"])
@pytest.mark.parametrize(("target", "risk", "n"), [(0.9, 0.05, 300), (0.7, 0.2, 100)])
def test_a_certified_precision_fails_no_more_often_than_its_risk(curve, kind, target, risk, n):
    corpus = precision_corpus(curve, target, kind)
    grid = declared_grid(corpus.scores, smallest_declared(CORPUS, n, target, 1 - risk))

    def broken(labelled: NDArray[np.intp]) -> bool:
        threshold = lowest_certified(corpus, labelled, grid, target, risk)
        return threshold is not None and corpus.precision(threshold) < target

    assert failures(broken, n) <= within(risk)


def test_a_single_declared_threshold_uses_its_risk_up():
    """With one candidate nothing is lost to multiplicity, and little to discreteness."""
    corpus = precision_corpus("flat", 0.8)
    grid = declared_grid(corpus.scores)[-3:-2]

    def broken(labelled: NDArray[np.intp]) -> bool:
        return lowest_certified(corpus, labelled, grid, 0.8, RISK) is not None

    assert corpus.precision(grid[0]) < 0.8
    assert RISK / 2 < failures(broken, 500, 2000) <= within(RISK, 2000)


def test_a_precision_that_is_there_is_certified():
    corpus = precision_corpus("rising", 0.8)
    grid = declared_grid(corpus.scores, smallest_declared(CORPUS, 500, 0.8))

    def certified(labelled: NDArray[np.intp]) -> bool:
        return lowest_certified(corpus, labelled, grid, 0.8, RISK) is not None

    assert failures(certified, 500, 300) > 0.9


def test_the_first_of_many_thresholds_that_passes_is_no_guarantee():
    """The lowest score whose own p-value passes, as if it had been the only one tested."""
    corpus = precision_corpus("flat", 0.8)

    def broken(labelled: NDArray[np.intp]) -> bool:
        scores, positive = corpus.scores[labelled], corpus.positive[labelled]
        fine = np.unique(scores).astype(np.float64)
        passing = fine[precision_evidence(scores, positive, fine, 0.8).p_values <= RISK]
        return len(passing) > 0 and corpus.precision(passing[0]) < 0.8

    assert failures(broken, 500) > 4 * RISK


# --- several guarantees at once -------------------------------------------------------------

CLASS_SHARES = np.array([0.35, 0.3, 0.2, 0.1, 0.04, 0.01])


def one_class_per_image() -> list[Corpus]:
    rng = np.random.default_rng(3)
    classes = np.repeat(np.arange(6), (CLASS_SHARES * CORPUS).astype(int))
    return [
        Corpus(shape(rng.normal(size=CORPUS) + (classes == c), "continuous"), classes == c)
        for c in range(6)
    ]


def overlapping_cuts() -> list[Corpus]:
    """Make levels within categories that occur together; higher levels score higher."""
    rng = np.random.default_rng(4)
    gravity = rng.random(CORPUS)
    cuts = []
    for category in range(3):
        own = 0.7 * gravity + 0.3 * rng.random(CORPUS)
        scores = shape(own + 0.2 * rng.normal(size=CORPUS), "continuous")
        cuts += [
            Corpus(scores, own > np.quantile(own, q)) for q in (0.6, 0.75, 0.92 + category / 50)
        ]
    return cuts


@pytest.mark.parametrize(
    ("cuts", "disjoint"), [(one_class_per_image(), True), (overlapping_cuts(), False)]
)
@pytest.mark.parametrize("n", [120, 600])
def test_joint_recalls_all_hold(cuts, disjoint, n):
    claims = 0

    def broken(labelled: NDArray[np.intp]) -> bool:
        nonlocal claims
        found = [cut.scores[labelled][cut.positive[labelled]] for cut in cuts]
        smallest = recall_p_value(0, [len(scores) for scores in found], 0.9)
        _, share = multiplicity.divide_risk(smallest, RISK, disjoint=disjoint)
        thresholds = [recall_threshold(scores, 0.9, 1 - share) for scores in found]
        claims += sum(t is not None for t in thresholds)
        return any(
            cut.recall(stored(t)) < 0.9
            for cut, t in zip(cuts, thresholds, strict=True)
            if t is not None
        )

    assert failures(broken, n, 600) <= within(RISK, 600)
    assert claims > 0


@pytest.mark.parametrize("curves", [["flat"] * 4, ["flat", "shallow"] * 2, ["shallow", "rising"]])
def test_joint_precisions_all_hold(curves):
    n, target = 400, 0.8
    cuts = [precision_corpus(curve, target, seed=i) for i, curve in enumerate(curves)]
    smallest = smallest_declared(CORPUS, n, target)
    grids = [declared_grid(cut.scores, smallest) for cut in cuts]

    def broken(labelled: NDArray[np.intp]) -> bool:
        evidences = [
            precision_evidence(cut.scores[labelled], cut.positive[labelled], grid, target)
            for cut, grid in zip(cuts, grids, strict=True)
        ]
        return any(
            cut.precision(t) < target
            for cut, certain in zip(cuts, certified_precision(evidences, RISK), strict=True)
            for t in certain
        )

    assert failures(broken, n, 600) <= within(RISK, 600)


@pytest.mark.parametrize("n", [150, 500])
def test_a_recall_and_a_precision_each_at_half_the_risk_hold_together(n):
    cut = precision_corpus("rising", 0.8)
    grid = declared_grid(cut.scores, smallest_declared(CORPUS, n, 0.8, 1 - RISK / 2))

    def broken(labelled: NDArray[np.intp]) -> bool:
        found = cut.scores[labelled][cut.positive[labelled]]
        lower = recall_threshold(found, 0.9, 1 - RISK / 2)
        upper = lowest_certified(cut, labelled, grid, 0.8, RISK / 2)
        return (lower is not None and cut.recall(stored(lower)) < 0.9) or (
            upper is not None and cut.precision(upper) < 0.8
        )

    assert failures(broken, n) <= within(RISK)
