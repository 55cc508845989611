"""Fit a cut per category and level to labelled scores, so that levels stay in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from clipcal.calibrate.cuts.by_hand import Placements, placed_at, upper_placed_at
from clipcal.calibrate.cuts.sample import CutSample, Sample
from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.cuts.thresholds import (
    Declared,
    Fitted,
    Place,
    Vector,
    best_in_sample,
    evidence_of_precision,
    refuse_strange,
    side,
    with_precision,
    with_recall,
    within_budget,
)
from clipcal.calibrate.statistics.multiplicity import divide_risk
from clipcal.calibrate.statistics.ordinal import fit_ordinal, level_thresholds
from clipcal.calibrate.statistics.precision import PrecisionEvidence, certified_precision
from clipcal.calibrate.statistics.rounding import stored

Fits = dict[Place, Fitted]
CutSamples = dict[Place, CutSample]


def fit_cuts(
    sample: Sample,
    goal: Goal,
    declared: Declared,
    levels: Sequence[str],
    placed: Placements = MappingProxyType({}),
) -> Fits:
    """Fit every cut, but for those that a person placed.

    An ordered level is fitted as a yes/no question: is the image at that level or above? Where
    the cuts then cross, they are put in order without breaking a guarantee. For recall the lower
    level's threshold is brought down to the higher one's: what flags more misses less. For
    precision no certified cuts cross: images of a higher level are images of the lower one too,
    so that at every candidate the lower level has no fewer hits, and is certified wherever the
    higher one is; a higher level's threshold that is not certified is raised to the lower one's.
    What a person placed is never moved, so that it may cross the others after all: see
    `clipcal.calibrate.cuts.by_hand.refuse_crossing`.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    goal : Goal
        What each cut is to attain.
    declared : Declared
        What the scores of the whole corpus decided before; see `declare`.
    levels : sequence of str
        From low to high.
    placed : mapping of (int, int) to Edges
        By column and rank the thresholds that a person placed.

    Returns
    -------
    dict of (int, int) to Fitted
        By column and rank, from 1 for the level above the lowest.

    Raises
    ------
    CalibrationError
        If a labelled score is not finite.
    """
    ranks = range(1, len(levels))
    columns = range(sample.scores.shape[1])
    cuts = {(column, rank): sample.of(column, rank) for column in columns for rank in ranks}
    for cut in cuts.values():
        refuse_strange(cut)
    fits = _fit(cuts, sample, goal, declared)
    uppers: Fits = {}
    if goal.block is not None:
        uppers = _precision_cuts(cuts, goal.block, goal, declared)
    for where, edges in placed.items():
        if edges.threshold is not None:
            fits[where] = placed_at(fits[where], cuts[where], edges.threshold, goal.target)
        if edges.upper is not None:
            fitted = uppers.get(where)
            uppers[where] = upper_placed_at(fitted, cuts[where], edges.upper, goal.block)
    for where, upper in uppers.items():
        fits[where] = with_upper(fits[where], upper)
    for column in columns:
        _put_in_order(fits, [(column, rank) for rank in ranks], goal.target)
    return fits


def _fit(cuts: CutSamples, sample: Sample, goal: Goal, declared: Declared) -> Fits:
    match goal.target.kind:
        case "recall":
            return _recall_cuts(cuts, goal)
        case "precision":
            return _precision_cuts(cuts, goal.target, goal, declared)
        case "budget":
            return _budget_cuts(cuts, declared)
        case "levels":
            return _ordinal_cuts(cuts, sample)
        case _:
            return {place: best_in_sample(cut, goal.target) for place, cut in cuts.items()}


def _recall_cuts(cuts: CutSamples, goal: Goal) -> Fits:
    """Fit guaranteed recalls; jointly, each that can be certified at all has an equal share."""
    risk = goal.risk
    if goal.joint:
        backing = [int(np.count_nonzero(cut.positive & cut.uniform)) for cut in cuts.values()]
        smallest = goal.target.rate ** np.array(backing, np.float64)
        _, risk = divide_risk(smallest, risk)
    return {place: with_recall(cut, goal.target, 1 - risk) for place, cut in cuts.items()}


def _precision_cuts(cuts: CutSamples, target: Target, goal: Goal, declared: Declared) -> Fits:
    """Fit guaranteed precisions; jointly, all thresholds of all cuts are tested together."""
    tested = {
        place: evidence_of_precision(cut, declared.candidates[place[0]], target)
        for place, cut in cuts.items()
    }
    passed = _passed(tested, goal)
    return {
        place: with_precision(cut, passed[place], target, 1 - goal.risk)
        for place, cut in cuts.items()
    }


def _passed(tested: dict[Place, PrecisionEvidence], goal: Goal) -> dict[Place, Vector]:
    if goal.joint:
        return dict(zip(tested, certified_precision(list(tested.values()), goal.risk), strict=True))
    return {place: certified_precision([one], goal.risk)[0] for place, one in tested.items()}


def _budget_cuts(cuts: CutSamples, declared: Declared) -> Fits:
    """Keep the budget at the lowest level; it says what to look at, not how grave it is."""
    return {
        (column, rank): within_budget(declared.budget[column]) if rank == 1 else Fitted("estimated")
        for column, rank in cuts
    }


def _ordinal_cuts(cuts: CutSamples, sample: Sample) -> Fits:
    """Take the cut-points of a proportional-odds model; a level nobody gave has none."""
    top = max(rank for _, rank in cuts)
    points = {
        column: _cutpoints(sample, column, top + 1)
        for column in {column for column, _ in cuts}
        if cuts[column, 1].positives not in (0, len(cuts[column, 1]))
    }
    fits: Fits = {}
    for (column, rank), cut in cuts.items():
        status = side(cut)
        found = points.get(column)
        if status != "estimated":
            fits[column, rank] = Fitted(status)
        elif found is None or not cut.scores.min() <= found[rank - 1] <= cut.scores.max():
            fits[column, rank] = Fitted("insufficient")  # nowhere among the scores
        else:
            fits[column, rank] = Fitted(status, stored(found[rank - 1]))
    return fits


def _cutpoints(sample: Sample, column: int, levels: int) -> tuple[float, ...] | None:
    known = sample.values[:, column] >= 0
    features = sample.scores[known, column, None].astype(np.float64)
    fit = fit_ordinal(
        features, sample.values[known, column].astype(np.int64), levels, increasing=True
    )
    return level_thresholds(fit)


def with_upper(fit: Fitted, upper: Fitted) -> Fitted:
    """Put a certified upper threshold, or one that a person placed, over the lower one.

    Another one blocks nothing. Where it lies below the lower threshold, all from it on
    can be blocked and nothing is left to review; the lower one comes down to it, unless a person
    placed it.
    """
    if upper.status != "certified" and not upper.by_hand:
        return replace(fit, upper=replace(upper, threshold=None))
    threshold = fit.threshold
    if threshold is not None and upper.threshold is not None and not fit.by_hand:
        threshold = min(threshold, upper.threshold)
    return replace(fit, threshold=threshold, upper=upper)


def _put_in_order(fits: Fits, places: Sequence[Place], target: Target) -> None:
    """Keep the thresholds of a category, given from low level to high, from crossing.

    What a person placed stays where it is, and so does a certified precision.
    """
    if target.kind == "precision":
        floor: float | None = None
        for place in places:
            fit = fits[place]
            fixed = fit.by_hand or fit.status == "certified"
            if floor is not None and fit.threshold is not None and not fixed:
                fits[place] = fit = replace(fit, threshold=max(fit.threshold, floor))
            floor = floor if fit.threshold is None else fit.threshold
        return
    ceiling: float | None = None
    for place in reversed(places):
        fit = fits[place]
        if not fit.by_hand:
            fits[place] = fit = fit.lowered_to(ceiling)
        ceiling = ceiling if fit.threshold is None else fit.threshold


def level_phrase(levels: Sequence[str], rank: int) -> str | None:
    """Say which levels count as positive at a rank; None for yes or no."""
    if len(levels) == 2:
        return None
    return levels[rank] if rank == len(levels) - 1 else f"{levels[rank]} or above"
