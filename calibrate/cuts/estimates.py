"""What labels say of a cut beyond its threshold: rates, flags, and what to expect of the corpus."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import CutSample
from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.cuts.thresholds import (
    Fitted,
    Vector,
    best_in_sample,
    evidence_of_precision,
    with_precision,
    with_recall,
)
from clipcal.calibrate.records import BY_HAND, Bands, Cut, Expected
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.statistics.planning import (
    Further,
    further_for_precision,
    further_for_recall,
)
from clipcal.calibrate.statistics.precision import certified_precision, declared_grid
from clipcal.calibrate.statistics.resampling import bootstrap_threshold
from clipcal.calibrate.statistics.weighting import weighted_rate

Flags = NDArray[np.bool_]

_LIKELY_TESTS = 10  # thresholds that will share the risk once there are more labels, as a guess


def measure(
    fitted: Fitted,
    cut: CutSample,
    corpus_scores: Vector,
    candidates: Vector,
    goal: Goal,
    *,
    draws: int = 200,
    seed: int = 0,
    share: float = 1.0,
    planning: bool = True,
) -> Cut:
    """Tell what labels and corpus say of a threshold, fitted or placed.

    Parameters
    ----------
    fitted : Fitted
        The threshold.
    cut : CutSample
        The labels that it was fitted to.
    corpus_scores : Float[(N,)]
        Scores of the whole corpus.
    candidates : Float[(g,)]
        Thresholds at which a precision may be certified; empty where none was asked for.
    goal : Goal
        What it was fitted to.
    draws, seed : int
        Of the bootstrap.
    share : float
        Which share of the images that people label reaches the fit.
    planning : bool
        Whether to tell how many more labels a guarantee takes, for which a precision sorts the
        whole corpus.

    Returns
    -------
    Cut
        Without sentences.
    """
    further = None
    if goal.target.guaranteed and planning:
        further = further_for(fitted, cut, corpus_scores, goal.target, goal, share)
    unpromised = _unpromised(fitted)
    flags = None if fitted.threshold is None else count_flags(corpus_scores, fitted.threshold)
    if goal.target.kind == "budget" and fitted.status == "insufficient":
        flags = int(np.count_nonzero(corpus_scores == corpus_scores.max()))
    told = Cut(
        status=fitted.status,
        threshold=fitted.threshold,
        interval=_interval(fitted, cut, candidates, goal, draws, seed),
        objective=BY_HAND if unpromised else str(goal.target),
        by_hand=fitted.by_hand,
        lowered=fitted.lowered,
        n=len(cut),
        positives=cut.positives,
        evidence=None if unpromised else fitted.evidence,
        confidence=None if unpromised else fitted.confidence,
        **rates_at(cut, fitted.threshold, goal.confidence),
        flags=flags,
        expected=_expected(cut, fitted.threshold, flags, len(corpus_scores), goal.confidence),
        further_positives=further and further.backing,
        further_labels=further and further.labels,
        next_step="",
    )
    if fitted.upper is None:
        return told
    upper = fitted.upper
    bands = _bands(upper, told.allowing, cut, corpus_scores, goal)
    block = goal.block
    if block is not None:
        at = replace(goal, target=block)
        further = None
        if planning:
            further = further_for(upper, cut, corpus_scores, block, goal, share)
        bands = bands.model_copy(
            update={
                "interval": _interval(upper, cut, candidates, at, draws, seed),
                "further_flagged": further and further.backing,
                "further_labels": further and further.labels,
            }
        )
    return told.model_copy(update={"bands": bands})


def _unpromised(fitted: Fitted) -> bool:
    """Whether a person placed the threshold where nothing is certified."""
    return fitted.by_hand and fitted.status != "certified"


def rate(cut: CutSample, of: Flags, among: Flags, confidence: float) -> Estimate | None:
    """Estimate the rate of `of` among some of the images, weighted; None where there are none."""
    return weighted_rate(of[among], cut.weights[among], confidence)


def rate_of_files(cut: CutSample, of: Flags, among: Flags, confidence: float) -> Estimate | None:
    """Estimate the same where every copy counts, as in a number of the corpus's images."""
    return weighted_rate(of[among], (cut.weights * cut.copies)[among], confidence)


def rates_at(
    cut: CutSample, threshold: float | None, confidence: float
) -> dict[str, Estimate | None]:
    """Estimate ``recall`` and ``precision`` at a threshold; both None where there is none."""
    if threshold is None:
        return {"recall": None, "precision": None}
    flags = decide(cut.scores, threshold)
    both = 0 < cut.positives < len(cut)
    return {
        "recall": rate(cut, flags, cut.positive, confidence),
        "precision": rate(cut, cut.positive, flags, confidence) if both else None,
    }


def count_flags(corpus_scores: Vector, threshold: float) -> int:
    """Count the images that score at or above a threshold."""
    return int(np.count_nonzero(decide(corpus_scores, threshold)))


def times(count: int, share: Estimate | None) -> Range | None:
    """Turn a rate among so many images of the corpus into a number of images."""
    if share is None:
        return None
    return Range(*(round(count * end, 1) for end in (share.value, share.low, share.high)))


def others(count: int, some: Range | None) -> Range | None:
    """Count the others of so many images."""
    if some is None:
        return None
    return Range(*(round(count - end, 1) for end in (some.value, some.high, some.low)))


def _expected(
    cut: CutSample, threshold: float | None, flags: int | None, images: int, confidence: float
) -> Expected | None:
    if threshold is None or flags is None or not len(cut):
        return None
    flagged = decide(cut.scores, threshold)
    right = times(flags, rate_of_files(cut, cut.positive, flagged, confidence))
    missed = times(images - flags, rate_of_files(cut, cut.positive, ~flagged, confidence))
    return Expected(true_flags=right, false_flags=others(flags, right), misses=missed)


def _bands(
    upper: Fitted, lower: float | None, cut: CutSample, corpus_scores: Vector, goal: Goal
) -> Bands:
    """Count the bands: below `lower` images are allowed unseen, if it is given."""
    above, unpromised = upper.threshold, _unpromised(upper)
    allowed = 0 if lower is None else len(corpus_scores) - count_flags(corpus_scores, lower)
    blocked = 0 if above is None else count_flags(corpus_scores, above)
    of_blocked = misses = precision = None
    if above is not None:
        flagged = decide(cut.scores, above)
        precision = rate(cut, cut.positive, flagged, goal.confidence)
        of_blocked = rate_of_files(cut, cut.positive, flagged, goal.confidence)
    if lower is not None:
        below = ~decide(cut.scores, lower)
        misses = times(allowed, rate_of_files(cut, cut.positive, below, goal.confidence))
    return Bands(
        status=upper.status,
        objective=BY_HAND if unpromised else str(goal.block),
        by_hand=upper.by_hand,
        upper=above,
        n=len(cut),
        evidence=None if unpromised else upper.evidence,
        confidence=None if unpromised else upper.confidence,
        precision=precision,
        allow=allowed,
        review=len(corpus_scores) - allowed - blocked,
        block=blocked,
        misses=misses,
        wrongly_blocked=others(blocked, times(blocked, of_blocked)),
        next_step="",
    )


def further_for(
    fitted: Fitted,
    cut: CutSample,
    corpus_scores: Vector,
    target: Target,
    goal: Goal,
    share: float = 1.0,
) -> Further | None:
    """Tell how many more labels a guarantee takes.

    Parameters
    ----------
    fitted : Fitted
        The threshold.
    cut : CutSample
        The labels so far.
    corpus_scores : Float[(N,)]
        Scores of the whole corpus; only a precision looks at them.
    target : Target
        The recall or precision.
    goal : Goal
        What it is part of.
    share : float
        Which share of the images that people label reaches the fit.

    Returns
    -------
    Further or None
        None where some threshold is certified, or nothing tells.
    """
    if fitted.status == "certified" or fitted.certified:
        return None
    labels = int(np.count_nonzero(cut.uniform))
    if target.kind == "recall":
        positives = int(np.count_nonzero(cut.positive & cut.uniform))
        confidence = fitted.confidence or goal.confidence
        found: Further | None = further_for_recall(
            target.rate, confidence, positives, labels, cut.blanks
        )
    else:
        # More labels will make candidates worth declaring that flag fewer images.
        grid = declared_grid(corpus_scores)
        seen = evidence_of_precision(cut, grid, target)
        found = further_for_precision(
            target.rate, goal.risk / _LIKELY_TESTS, seen.flagged, seen.hits, labels
        )
    if found is None or found.labels is None:
        return found
    return Further(found.backing, math.ceil(found.labels / share))


def _interval(
    fitted: Fitted, cut: CutSample, candidates: Vector, goal: Goal, draws: int, seed: int
) -> Range | None:
    """Fit the threshold again and again to labels drawn from these, whole clusters at a time."""
    exact = goal.target.kind in ("budget", "levels")  # counted, or too slow to fit again and again
    if fitted.threshold is None or fitted.lowered or fitted.by_hand or not draws or exact:
        return None

    def fit(positions: NDArray[np.floating], _: Flags) -> float | None:
        return _alone(cut[positions.astype(np.int64)], candidates, goal, fitted).threshold

    return bootstrap_threshold(
        fit,
        np.arange(len(cut), dtype=np.float64),
        cut.positive,
        cut.clusters,
        np.random.default_rng(seed),
        draws=draws,
        confidence=goal.confidence,
        threshold=fitted.threshold,
    )


def _alone(cut: CutSample, candidates: Vector, goal: Goal, fitted: Fitted) -> Fitted:
    """Fit one cut as it was fitted, but for what other cuts do to it."""
    target: Target = goal.target
    confidence = fitted.confidence or goal.confidence
    if target.kind == "recall":
        return with_recall(cut, target, confidence)
    if target.kind == "precision":
        evidence = evidence_of_precision(cut, candidates, target)
        certified = certified_precision([evidence], goal.risk)[0]
        return with_precision(cut, certified, target, confidence)
    return best_in_sample(cut, target)
