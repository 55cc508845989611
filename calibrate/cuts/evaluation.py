"""How a calibration does on labelled images that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.by_hand import Placements
from clipcal.calibrate.cuts.estimates import rate
from clipcal.calibrate.cuts.fit import Fits, fit_cuts
from clipcal.calibrate.cuts.sample import CutSample, Sample
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.cuts.thresholds import Declared, Place
from clipcal.calibrate.records import Evaluation, HeldOut
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.calibrate.statistics.resampling import cluster_folds
from clipcal.errors import CalibrationError

Flags = NDArray[np.bool_]
Levels = NDArray[np.int8]  # (n, c), -1 where undecided


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """An evaluation in which every labelled image was left out in turn.

    Attributes
    ----------
    evaluation : Evaluation
        Averaged over the repeats.
    decided : Int8[(n, c)]
        What was decided of each image when it was left out for the first time; -1 where there
        was no threshold.
    """

    evaluation: Evaluation
    decided: Levels


def split(sample: Sample, holdout: float, seed: int) -> tuple[Sample, Sample | None]:
    """Keep out a share of the labelled images.

    The images to fit to are drawn one by one: only so are they a random sample, which a guarantee
    needs. Whole groups of near copies on one side would not be. Of the others those are judged
    that have no near copy among the first.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    holdout : float
        The share, in [0, 1).
    seed : int
        Of the split.

    Returns
    -------
    kept : Sample
        To fit to.
    out : Sample or None
        To evaluate on; None where the share is 0.

    Raises
    ------
    CalibrationError
        If the share is none, or one side would be empty.
    """
    if holdout == 0:
        return sample, None
    if not 0 < holdout < 1:
        raise CalibrationError(
            f"The hold-out is {holdout:g}; it must be a share from 0 to below 1, as in: "
            f"clipcal calibrate --labels FILE.csv --holdout 0.5"
        )
    out = _drawn(len(sample), round(holdout * len(sample)), seed)
    kept = sample[~out]
    judged = sample[out & ~np.isin(sample.clusters, kept.clusters)]
    if not len(kept) or not len(judged):
        raise CalibrationError(
            f"A hold-out of {holdout:g} of {len(sample)} labelled images leaves one side empty. "
            f"Label more images, or do without: clipcal calibrate --holdout 0"
        )
    return kept, judged


def _drawn(n: int, count: int, seed: int) -> Flags:
    """Draw some of n images."""
    drawn = np.zeros(n, np.bool_)
    drawn[np.random.default_rng(seed).permutation(n)[:count]] = True
    return drawn


def judge_holdout(
    out: Sample,
    fits: Fits,
    goal: Goal,
    categories: Sequence[str],
    levels: Sequence[str],
    holdout: float,
) -> Evaluation:
    """Compare the decisions of fitted cuts with labels that they were not fitted to."""
    judged = {
        place: _judge(out.of(*place), _flags(out.of(*place).scores, fit.threshold), goal)
        for place, fit in fits.items()
    }
    return _evaluation(
        [judged], out, categories, levels, fraction=holdout, folds=None, repeats=None
    )


def decide_by(fits: Fits, sample: Sample) -> Levels:
    """Decide images by fitted cuts, Int8[(n, c)]; -1 where there is no threshold."""
    marks = {
        place: _flags(sample.scores[:, place[0]], fit.threshold) for place, fit in fits.items()
    }
    return _levels(marks, sample)


def cross_fit(
    sample: Sample,
    goal: Goal,
    declared: Declared,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    placed: Placements = MappingProxyType({}),
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
) -> CrossFit | None:
    """Fit without a part of the labelled images, decide that part, and so on round.

    What is judged is the procedure: every fold has thresholds of its own, fitted to somewhat
    fewer labels than the contract's. Where a cut is certified and a fold has too few labels for
    that, its threshold is of another kind and is not judged. A threshold that a person placed is
    the same in every fold; what the person had seen of the labels is not undone.

    Since the folds share most of their labels, intervals are widened by
    :math:`\\sqrt{1 + K/(K-1)}` for K folds, after Nadeau and Bengio (2003), "Inference for the
    generalization error", *Machine Learning* 52, 239-281.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    goal : Goal
        What is fitted.
    declared : Declared
        What the scores of the whole corpus decided.
    categories, levels : sequence of str
        Names.
    placed : mapping of (int, int) to Edges
        The thresholds that a person placed.
    folds : int
        Into how many parts the images are divided; near copies stay together.
    repeats : int
        How often anew.
    seed : int
        Of the divisions.

    Returns
    -------
    CrossFit or None
        None where there are fewer than two groups of images to divide.
    """
    folds = min(folds, len(np.unique(sample.clusters)))
    if folds < 2:
        return None
    rng = np.random.default_rng(seed)
    fits = fit_cuts(sample, goal, declared, levels, placed)

    def refit(part: Sample) -> Fits:
        return fit_cuts(part, goal, declared, levels, placed)

    flagged = [_left_out(sample, fits, refit, folds, rng) for _ in range(repeats)]
    judged = [
        {place: _judge_fold(sample, place, flags, goal, folds) for place, flags in once.items()}
        for once in flagged
    ]
    evaluation = _evaluation(
        judged, sample, categories, levels, fraction=None, folds=folds, repeats=repeats
    )
    return CrossFit(evaluation, _levels(flagged[0], sample))


Marks = NDArray[np.float32]  # (n,): 1 flagged, 0 not, NaN where there was no threshold


def _left_out(
    sample: Sample,
    fits: Fits,
    refit: Callable[[Sample], Fits],
    folds: int,
    rng: np.random.Generator,
) -> dict[Place, Marks]:
    """Flag every image by the cuts fitted without its fold."""
    positive = np.asarray((sample.values > 0).any(axis=1), np.bool_)
    fold = cluster_folds(sample.clusters, folds, rng, positive)
    marks: dict[Place, Marks] = {}
    for number in range(folds):
        out = fold == number
        for place, fit in refit(sample[~out]).items():
            mark = marks.setdefault(place, np.full(len(sample), np.nan, np.float32))
            alike = fits[place].status != "certified" or fit.status == "certified"
            if alike or fit.by_hand:
                mark[out] = _flags(sample.scores[out, place[0]], fit.threshold)
    return marks


def _flags(scores: NDArray[np.float32], threshold: float | None) -> Marks:
    if threshold is None:
        return np.full(len(scores), np.nan, np.float32)
    return decide(scores, threshold).astype(np.float32)


def _judge_fold(sample: Sample, place: Place, marks: Marks, goal: Goal, folds: int) -> HeldOut:
    """Rate the flags of a cut; not at all where some fold cannot have both kinds of image."""
    cut = sample.of(*place)
    if min(cut.positives, len(cut) - cut.positives) < folds:
        nothing = {"recall": None, "precision": None, "f1": None}
        return HeldOut(n=len(cut), positives=cut.positives, flags=0, **nothing)
    return _judge(cut, marks[sample.values[:, place[0]] >= 0], goal)


def _judge(cut: CutSample, marks: Marks, goal: Goal) -> HeldOut:
    """Rate the flags of images where there was a threshold."""
    known = ~np.isnan(marks)
    cut, flags = cut[known], marks[known] > 0
    either = flags | cut.positive
    return HeldOut(
        n=len(cut),
        positives=cut.positives,
        flags=int(np.count_nonzero(flags)),
        recall=rate(cut, flags, cut.positive, goal.confidence),
        precision=rate(cut, cut.positive, flags, goal.confidence),
        f1=f1_of(rate(cut, flags & cut.positive, either, goal.confidence)),
    )


def f1_of(overlap: Estimate | None) -> Estimate | None:
    r"""Return F1 with an interval.

    :math:`F_1 = 2J/(1+J)` grows with :math:`J = tp / (tp + fp + fn)`, the rate of hits among
    images that are flagged or positive. That is a binomial rate, so that the ends of its
    interval, put through the same function, are those of F1.

    Parameters
    ----------
    overlap : Estimate or None
        The rate of hits among images that are flagged or positive.

    Returns
    -------
    Estimate or None
        With the same `n`; None where nothing is flagged or positive.
    """
    if overlap is None:
        return None
    value, low, high = (2 * x / (1 + x) for x in (overlap.value, overlap.low, overlap.high))
    return Estimate(value, low, high, overlap.n)


def _levels(flagged: dict[Place, Marks], sample: Sample) -> Levels:
    """Put the flags of each category's levels together: the highest level that is reached."""
    decided = np.zeros(sample.values.shape, np.int8)
    for (column, rank), marks in sorted(flagged.items()):
        if rank == 1:
            decided[np.isnan(marks), column] = -1
        decided[marks > 0, column] = rank
    return decided


def _evaluation(
    judged: Sequence[dict[Place, HeldOut]],
    sample: Sample,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    fraction: float | None,
    folds: int | None,
    repeats: int | None,
) -> Evaluation:
    held = {
        category: {
            level: _average([once[column, rank] for once in judged], folds)
            for rank, level in enumerate(levels[1:], start=1)
        }
        for column, category in enumerate(categories)
    }
    f1 = [one.f1.value for cuts in held.values() for one in cuts.values() if one.f1]
    return Evaluation(
        fraction=fraction,
        folds=folds,
        repeats=repeats,
        images=len(sample),
        clusters=len(np.unique(sample.clusters)),
        macro_f1=float(np.mean(f1)) if f1 else None,
        macro_over=len(f1),
        categories=held,
    )


def _average(judged: Sequence[HeldOut], folds: int | None) -> HeldOut:
    """Average over repeats; the images are the same, so that an interval gets no narrower."""
    if folds is None:
        return judged[0]
    return HeldOut(
        n=round(np.mean([one.n for one in judged])),
        positives=round(np.mean([one.positives for one in judged])),
        flags=round(np.mean([one.flags for one in judged])),
        recall=_mean([one.recall for one in judged], folds),
        precision=_mean([one.precision for one in judged], folds),
        f1=_mean([one.f1 for one in judged], folds),
    )


def _mean(estimates: Sequence[Estimate | None], folds: int) -> Estimate | None:
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    value, low, high, n = np.mean([(e.value, e.low, e.high, e.n) for e in known], axis=0)
    wider = math.sqrt(1 + folds / (folds - 1))
    low, high = value - wider * (value - low), value + wider * (high - value)
    return Estimate(float(value), max(float(low), 0.0), min(float(high), 1.0), round(float(n)))
