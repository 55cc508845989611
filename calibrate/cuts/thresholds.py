"""One cut: from labelled scores to a threshold, with or without a guarantee."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import CutSample
from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.records import Status
from clipcal.calibrate.scoring.scores import Scores, decide
from clipcal.calibrate.statistics.bounds import recall_threshold
from clipcal.calibrate.statistics.objectives import (
    best_fbeta_threshold,
    budget_threshold,
    cheapest_threshold,
    sample_precision_threshold,
    sample_recall_threshold,
)
from clipcal.calibrate.statistics.precision import (
    PrecisionEvidence,
    declared_grid,
    precision_evidence,
    smallest_declared,
)
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

Vector = NDArray[np.floating]  # (n,)
Place = tuple[int, int]  # column and rank of a cut


@dataclass(frozen=True, slots=True)
class Fitted:
    """A threshold, and what may be said of it.

    Attributes
    ----------
    status : str
        As in `Cut`.
    threshold : float or None
        Rounded down by `stored`.
    confidence : float or None
        Of its guarantee; what was asked for, where it was not reached.
    evidence : int or None
        How many labelled images back the guarantee, or would have.
    lowered : bool
        Whether it was brought down to a higher level's.
    upper : Fitted or None
        The upper threshold of three bands.
    by_hand : bool
        Whether a person placed it; see `clipcal.calibrate.cuts.by_hand`.
    certified : tuple of float
        For a recall the highest threshold that is certified, and with it every lower one; for a
        precision all the thresholds that are, from the highest down. Empty where none is.
    """

    status: Status
    threshold: float | None = None
    confidence: float | None = None
    evidence: int | None = None
    lowered: bool = False
    upper: Fitted | None = None
    by_hand: bool = False
    certified: tuple[float, ...] = ()

    def lowered_to(self, ceiling: float | None) -> Fitted:
        """Bring the threshold down to `ceiling` where it lies above."""
        if ceiling is None or self.threshold is None or self.threshold <= ceiling:
            return self
        return replace(self, threshold=ceiling, lowered=True)


def side(cut: CutSample) -> Status:
    """Tell which side has no labels: ``no_positives``, ``no_negatives``, else ``estimated``."""
    if cut.positives == 0:
        return "no_positives"
    return "no_negatives" if cut.positives == len(cut) else "estimated"


def refuse_strange(cut: CutSample) -> None:
    """Raise CalibrationError if shapes differ or a score is not finite."""
    if cut.scores.ndim != 1 or cut.scores.shape != cut.positive.shape:
        raise CalibrationError(
            f"There are scores of shape {cut.scores.shape} for labels of shape "
            f"{cut.positive.shape}. Score the corpus again: clipcal score"
        )
    if not np.isfinite(cut.scores).all():
        raise CalibrationError(
            "A score of a labelled image is not finite. Score the corpus again: clipcal score"
        )


def with_recall(cut: CutSample, target: Target, confidence: float) -> Fitted:
    """Fit a threshold whose recall is guaranteed.

    Parameters
    ----------
    cut : CutSample
        Labelled images; only the positives among them that were not picked by their scores
        back the guarantee.
    target : Target
        The recall.
    confidence : float
        Of this guarantee, in (0, 1).

    Returns
    -------
    Fitted
        ``certified``; else ``insufficient``, with the threshold that attains the recall in the
        sample; or ``no_positives``.

    Notes
    -----
    For equation and assumptions see `clipcal.calibrate.statistics.bounds.recall_rank`. The
    guarantee speaks of positives only, and so needs no negatives.
    """
    found = cut.scores[cut.positive & cut.uniform]
    # What was left blank might be positive and score below any threshold.
    worst = np.r_[found, np.full(cut.blanks, -np.inf, found.dtype)]
    certain = recall_threshold(worst, target.rate, confidence)
    if certain is not None and np.isfinite(certain):
        highest = stored(certain)
        return Fitted("certified", highest, confidence, len(found), certified=(highest,))
    if not cut.positives:
        return Fitted("no_positives", None, confidence, 0)
    positive = cut.positive
    attained = sample_recall_threshold(cut.scores[positive], target.rate, cut.weights[positive])
    return Fitted("insufficient", stored(attained), confidence, len(found))


def evidence_of_precision(cut: CutSample, candidates: Vector, target: Target) -> PrecisionEvidence:
    """Test the precision at thresholds that were declared without looking at labels.

    Parameters
    ----------
    cut : CutSample
        Labelled images; those picked by their scores are left out.
    candidates : Float[(g,)]
        Thresholds; see `declare`.
    target : Target
        The precision.

    Returns
    -------
    PrecisionEvidence
        See `clipcal.calibrate.statistics.precision.precision_evidence`.
    """
    scores, positive = cut.scores[cut.uniform], cut.positive[cut.uniform]
    # What was left blank might be negative and flagged by any threshold.
    top = np.full(cut.blanks, np.finfo(scores.dtype).max)
    return precision_evidence(
        np.r_[scores, top.astype(scores.dtype)],
        np.r_[positive, np.zeros(cut.blanks, np.bool_)],
        candidates.astype(np.float64),
        target.rate,
    )


def with_precision(cut: CutSample, certified: Vector, target: Target, confidence: float) -> Fitted:
    """Take the lowest threshold whose precision is guaranteed, which flags most.

    Parameters
    ----------
    cut : CutSample
        Labelled images.
    certified : Float[(m,)]
        The thresholds that passed; see `certified_precision`.
    target : Target
        The precision.
    confidence : float
        Of the guarantee.

    Returns
    -------
    Fitted
        ``certified``; else ``insufficient``, with the lowest threshold that attains the
        precision in the sample, if any does; or ``no_positives``.
    """
    if len(certified):
        lowest = float(np.min(certified))
        every = tuple(certified.tolist())
        return Fitted("certified", lowest, confidence, backing_at(cut, lowest), certified=every)
    if not cut.positives:
        return Fitted("no_positives", None, confidence, 0)
    attained = sample_precision_threshold(cut.scores, cut.positive, target.rate, cut.weights)
    if attained is None:
        return Fitted("insufficient", None, confidence, 0)
    return Fitted("insufficient", stored(attained), confidence, backing_at(cut, attained))


def backing_at(cut: CutSample, threshold: float) -> int:
    """Count the flagged labelled images that back a precision at a threshold."""
    return int(np.count_nonzero(cut.uniform & decide(cut.scores, threshold)))


def best_in_sample(cut: CutSample, target: Target) -> Fitted:
    """Fit the threshold with the best F-score, or the least cost, in the sample."""
    status = side(cut)
    if status != "estimated":
        return Fitted(status)
    if target.kind == "cost":
        costs = target.value or 0.0, target.false_flag_cost or 0.0
        best = cheapest_threshold(cut.scores, cut.positive, *costs, weights=cut.weights)
    else:
        beta = 1.0 if target.value is None else target.value
        best = best_fbeta_threshold(cut.scores, cut.positive, beta, weights=cut.weights)
    return Fitted(status, stored(best))


def within_budget(threshold: float | None) -> Fitted:
    """Keep a budget of flags, for which no labels are needed."""
    if threshold is None:
        return Fitted("insufficient")
    return Fitted("estimated", stored(threshold))


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """What the scores of the whole corpus decide, before any label is looked at.

    Attributes
    ----------
    candidates : tuple of Float64[(g,)]
        Per category, thresholds at which a precision may be certified; empty where none is
        asked for.
    budget : tuple of (float or None)
        Per category the threshold that keeps a budget of flags; empty where there is none.
    """

    candidates: tuple[NDArray[np.float64], ...] = ()
    budget: tuple[float | None, ...] = ()

    def of(self, column: int) -> Vector:
        """Return the candidates of one category; none where no precision is asked for."""
        return self.candidates[column] if self.candidates else np.empty(0)


def declare(corpus_scores: Scores, goal: Goal, labelled: int) -> Declared:
    """Look at the scores of the corpus, and at no label.

    Parameters
    ----------
    corpus_scores : Float32[(N, c)]
        Scores of the whole corpus.
    goal : Goal
        What is to be attained.
    labelled : int
        How many images were labelled that were not picked by their scores.

    Returns
    -------
    Declared
        Candidates or budget, where the goal needs them.
    """
    columns = corpus_scores.T
    if goal.target.kind == "budget":
        flags = int(goal.target.value or 0)
        return Declared(budget=tuple(budget_threshold(column, flags) for column in columns))
    wanted = goal.block or goal.target
    if wanted.kind != "precision":
        return Declared()
    smallest = smallest_declared(len(corpus_scores), labelled, wanted.rate, 1 - goal.risk)
    return Declared(tuple(declared_grid(column, smallest) for column in columns))
