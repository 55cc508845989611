"""From labelled scores to one threshold, with what can be said of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Cut
from clipcal.calibrate.scores import decide
from clipcal.calibrate.statistics.bounds import (
    Estimate,
    check_rate,
    positives_needed,
    recall_threshold,
    wilson,
)
from clipcal.errors import CalibrationError

Vector = NDArray[np.floating]  # (n,)
Flags = NDArray[np.bool_]  # (n,)

_STEPS = 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """What a threshold is to attain.

    Attributes
    ----------
    kind : {"recall", "f1"}
        A recall with a guarantee, or the best F1 in the sample.
    value : float or None
        The recall, in (0, 1).
    """

    kind: Literal["recall", "f1"]
    value: float | None = None

    def __str__(self) -> str:
        """Return the target as it is written on the command line."""
        return self.kind if self.value is None else f"{self.kind}={self.value:.12g}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a cut is about, for its sentences.

    Attributes
    ----------
    category : str
        The category.
    level : str or None
        Which levels count as positive, such as ``minor or above``; None for yes or no.
    labels : str
        The label file's name, for the next command.
    sentence : str
        What to search for to find positives; the category's name where empty.
    """

    category: str = "positive"
    level: str | None = None
    labels: str = "FILE.csv"
    sentence: str = ""

    def __str__(self) -> str:
        """Return the category and level as a sentence has them."""
        return f"'{self.category}'" + (f" ({self.level})" if self.level else "")


def parse_target(text: str) -> Target:
    """Read a target as written on the command line.

    Parameters
    ----------
    text : str
        ``recall=0.9`` or ``f1``.

    Returns
    -------
    Target
        What it says.

    Raises
    ------
    CalibrationError
        If it is neither, or the recall is not between 0 and 1.
    """
    name, _, value = text.strip().lower().replace(" ", "").partition("=")
    if name == "f1" and not value:
        return Target("f1")
    if name == "recall" and re.fullmatch(r"\d*\.?\d+(e-?\d+)?", value):
        return Target("recall", check_rate(float(value), "recall"))
    raise CalibrationError(
        f"'{text}' is no target. Known are recall=R with R between 0 and 1, and f1, as in: "
        f"clipcal calibrate --target recall=0.9"
    )


def fit_threshold(
    scores: Vector,
    positive: Flags,
    target: Target,
    confidence: float = 0.95,
    subject: Subject = Subject(),
) -> Cut:
    """Fit one threshold to labelled scores.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of the labelled images, each image once.
    positive : Bool[(n,)]
        Which of them people call positive.
    target : Target
        What to attain.
    confidence : float
        Of the guarantee and of the intervals, in (0, 1). Each category's guarantee holds with
        it by itself; all together hold with less.
    subject : Subject
        What the sentences call it.

    Returns
    -------
    Cut
        The threshold, its status, and the next step. The threshold is a score rounded down by
        `stored`.

    Raises
    ------
    CalibrationError
        If a score is NaN or infinite, the shapes differ, or `confidence` is outside (0, 1).

    Notes
    -----
    For the assumptions of the guarantee see `clipcal.calibrate.statistics.bounds.recall_rank`.
    It speaks of positives only, and so needs no negatives.
    """
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for labels of shape {positive.shape}. "
            f"Score the corpus again: clipcal score"
        )
    if not np.isfinite(scores).all():
        raise CalibrationError(
            "A score of a labelled image is not finite. Score the corpus again: clipcal score"
        )
    check_rate(confidence, "confidence")
    fit = _fit_f1 if target.value is None else _fit_recall
    cut = fit(scores, positive, target, confidence)
    return describe(measure(cut, scores, positive, confidence), target, confidence, subject)


def best_f1_threshold(scores: Vector, positive: Flags) -> float:
    r"""Return the threshold with the greatest F1 in the sample, over all cut points.

    .. math:: F_1 = \frac{2\,tp}{\text{flags} + \text{positives}}

    Equal scores fall on one side together. Of thresholds with equal F1 the highest is
    returned, which flags least. Takes O(n log n).

    Parameters
    ----------
    scores : Float[(n,)]
        Scores, at least one.
    positive : Bool[(n,)]
        Labels.

    Returns
    -------
    float
        One of the scores.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    f1 = 2 * hits[last] / (last + 1 + hits[-1])
    return float(ranked[last[np.argmax(f1)]])


def sample_recall_threshold(positive_scores: Vector, target: float) -> float:
    """Return the highest threshold whose recall in the sample reaches the target.

    No guarantee: the true recall lies below the target in about half of all samples.

    Parameters
    ----------
    positive_scores : Float[(n,)]
        Scores of the labelled positives, at least one.
    target : float
        Recall in the sample, in (0, 1).

    Returns
    -------
    float
        One of the scores.
    """
    # 0.55 * 100 is 55.00000000000001: that is 55 hits, not 56.
    hits = math.ceil(target * len(positive_scores) - 1e-9)
    return float(np.sort(positive_scores)[-hits])


def stored(threshold: float) -> float:
    """Round a threshold down to six decimals, at least half a step below the score.

    The same score computed in blocks of another size may differ in its last bits; the gap
    keeps the image on the boundary flagged. To lower a threshold can only raise its recall,
    so that a recall guarantee stays.
    """
    return math.floor(threshold * _STEPS - 0.5) / _STEPS


def measure(cut: Cut, scores: Vector, positive: Flags, confidence: float) -> Cut:
    """Fill in recall and precision at the cut's threshold, with Wilson's intervals.

    Parameters
    ----------
    cut : Cut
        A cut, with or without a threshold.
    scores, positive : Float[(n,)], Bool[(n,)]
        The labelled images.
    confidence : float
        Of the intervals.

    Returns
    -------
    Cut
        The cut with both estimates.
    """
    if cut.threshold is None:
        return cut
    flags = decide(scores, cut.threshold)
    hits = int((flags & positive).sum())
    both = 0 < cut.positives < cut.n
    precision = ratio(hits, int(flags.sum()), confidence) if both else None
    recall = ratio(hits, cut.positives, confidence)
    return cut.model_copy(update={"recall": recall, "precision": precision})


def ratio(successes: int, n: int, confidence: float) -> Estimate | None:
    """Return Wilson's estimate, or None where there is nothing to divide by."""
    return wilson(successes, n, confidence) if n else None


def _fit_f1(scores: Vector, positive: Flags, target: Target, confidence: float) -> Cut:
    cut = _blank(positive, target)
    if cut.status != "estimated":
        return cut
    return cut.model_copy(update={"threshold": stored(best_f1_threshold(scores, positive))})


def _fit_recall(scores: Vector, positive: Flags, target: Target, confidence: float) -> Cut:
    recall = check_rate(target.value or 0.0, "recall")
    cut = _blank(positive, target)
    found = scores[positive]
    certain = recall_threshold(found, recall, confidence)
    if certain is not None:
        return cut.model_copy(update={"status": "certified", "threshold": stored(certain)})
    more = positives_needed(recall, confidence) - cut.positives
    update: dict[str, object] = {"further_positives": more}
    if cut.positives:
        update["status"] = "insufficient"
        update["threshold"] = stored(sample_recall_threshold(found, recall))
        update["further_labels"] = math.ceil(more * cut.n / cut.positives)
    return cut.model_copy(update=update)


def _blank(positive: Flags, target: Target) -> Cut:
    """Return a cut without threshold, whose status says which side has no labels."""
    n, positives = len(positive), int(positive.sum())
    status: Literal["estimated", "no_positives", "no_negatives"] = "estimated"
    if positives == 0:
        status = "no_positives"
    elif positives == n:
        status = "no_negatives"
    return Cut(
        status=status,
        threshold=None,
        objective=str(target),
        n=n,
        positives=positives,
        next_step="",
    )


def describe(cut: Cut, target: Target, confidence: float, subject: Subject) -> Cut:
    """Put the cut's guarantee and next step into sentences.

    Parameters
    ----------
    cut : Cut
        The cut with its final threshold.
    target : Target
        What it was fitted to.
    confidence : float
        Of the guarantee.
    subject : Subject
        What the sentences call it.

    Returns
    -------
    Cut
        The cut with both sentences.
    """
    certified = cut.status == "certified"
    guarantee = _guarantee(cut, target, confidence, subject) if certified else None
    return cut.model_copy(update={"guarantee": guarantee, "next_step": _next_step(cut, subject)})


def _guarantee(cut: Cut, target: Target, confidence: float, subject: Subject) -> str:
    recall = 100 * (target.value or 0.0)
    return (
        f"With {100 * confidence:g}% confidence at least {recall:g}% of the distinct images "
        f"that raters call {subject} score at or above {cut.threshold:.6f}, provided that the "
        f"{cut.positives} labelled positives are a random sample of them and the prompts were "
        f"not tuned on these labels."
    )


def _next_step(cut: Cut, subject: Subject) -> str:
    again = f"clipcal calibrate --labels {subject.labels}"
    match cut.status:
        case "certified":
            return "Apply it to the corpus: clipcal rescore"
        case "estimated":
            lowered = "It was lowered to a higher level's threshold, and is not the best F1. "
            return (
                f"{lowered if cut.lowered else ''}Apply it to the corpus: clipcal rescore. "
                f"For a guarantee: {again} --target recall=0.9"
            )
        case "insufficient":
            return (
                f"Label about {cut.further_positives} more positives (about {cut.further_labels} "
                f"images at the rate seen), then run: {again}"
            )
        case "no_positives":
            return (
                f"Label images that show {subject}; to find some: "
                f'clipcal search --text "{subject.sentence or subject.category}". Then run: {again}'
            )
        case "no_negatives":
            return f"Label images that do not show {subject}, then run: {again}"
