"""What is promised by a cut, and what to do next, in words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.cuts.thresholds import Fitted
from clipcal.calibrate.records import BY_HAND, Bands, Cut
from clipcal.calibrate.statistics.bounds import positives_needed


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
        The label files as a shell takes them, with whatever else the next command needs; empty
        where there are none.
    images : int
        How many the corpus holds.
    population : str
        Which images guarantees speak of, where not of the whole corpus.
    asked : str
        What was asked for, as options of the command.
    """

    category: str = "positive"
    level: str | None = None
    labels: str = "FILE.csv"
    images: int = 0
    population: str = ""
    asked: str = ""

    def __str__(self) -> str:
        """Return the category and level as a sentence has them."""
        return f"'{self.category}'" + (f" ({self.level})" if self.level else "")

    @property
    def again(self) -> str:
        """The command that fits the cut anew."""
        return f"{self.base}{self.asked}"

    @property
    def base(self) -> str:
        """The same command without what was asked for."""
        return f"clipcal calibrate --labels {self.labels}" if self.labels else "clipcal calibrate"

    def suggest(self, images: int, *, audit: bool) -> str:
        """Write the command that names images to label, at random where a guarantee needs it."""
        how = " --audit 1" if audit else ""
        return f"clipcal suggest --category {shlex.quote(self.category)} -n {images}{how}"


def options(goal: Goal) -> str:
    """Write what is asked for as options of ``clipcal calibrate``, the usual left out."""
    asked = ""
    if goal.block is not None:
        asked += f" --bands {goal.target},{goal.block}"
    elif str(goal.target) != "recall=0.9":
        asked += f" --target {goal.target}"
    if goal.confidence != 0.95:
        asked += f" --confidence {goal.confidence:g}"
    return asked + (" --joint" if goal.joint else "")


def at_least(target: Target) -> str:
    """Write a guaranteed rate as a sentence has it, such as ``recall ≥ 0.9``."""
    return f"{target.kind} ≥ {target.rate:g}"


def describe(cut: Cut, goal: Goal, subject: Subject, fitted: Fitted) -> Cut:
    """Put the cut's guarantee and next step into sentences.

    Parameters
    ----------
    cut : Cut
        The cut with its final thresholds.
    goal : Goal
        What it was fitted to.
    subject : Subject
        What the sentences call it.
    fitted : Fitted
        Which thresholds are certified.

    Returns
    -------
    Cut
        The cut with its sentences, those of its bands included. What a guarantee takes stands in
        the sentences alone where a person placed the threshold, who asked for none.
    """
    guarantee = None
    if cut.status == "certified" and cut.threshold is not None:
        guarantee = _guarantee(cut, cut.threshold, goal.target, goal, subject)
    update: dict[str, object] = {"guarantee": guarantee}
    if cut.objective == BY_HAND:
        step = _by_hand(cut, goal.target, fitted.certified, subject, goal.confidence)
        update |= {"next_step": step, "further_positives": None, "further_labels": None}
    else:
        confidence = cut.confidence or goal.confidence
        update["next_step"] = next_step(cut, goal.target, subject, confidence)
    if cut.bands is not None and fitted.upper is not None:
        update["bands"] = _describe_bands(cut, cut.bands, fitted.upper, goal, subject)
    return cut.model_copy(update=update)


def _by_hand(
    cut: Cut, target: Target, certified: Sequence[float], subject: Subject, confidence: float
) -> str:
    """Say that nothing is promised of a placed threshold, and where or when something would be."""
    nothing = "Placed by hand: nothing is promised of it. "
    if not cut.n:
        return (
            f"{nothing}No labelled image tells what it catches and misses. Label some: "
            f"{subject.suggest(100, audit=True)}"
        )
    if certified:
        return f"{nothing}{_elsewhere(cut.threshold, target, certified)}"
    if not target.guaranteed:
        return f"{nothing}For a guarantee: {subject.base} --target recall=0.9"
    if not cut.positives:
        return (
            f"{nothing}No labelled image shows {subject}. Label images that may: "
            f"{subject.suggest(40, audit=False)}. Then run: {subject.again}"
        )
    takes = _takes(cut.further_positives, cut.further_labels, cut.n, target, subject, confidence)
    return f"{nothing}For {target}: {takes}"


def _elsewhere(threshold: float | None, target: Target, certified: Sequence[float]) -> str:
    where = certified_where(threshold or 0.0, target, certified)
    below = ", or below" if target.kind == "recall" else ""
    return f"{where[:1].upper()}{where[1:]}: place it there{below}."


def certified_where(threshold: float, target: Target, certified: Sequence[float]) -> str:
    """Name the thresholds that are certified: for a precision the three nearest to `threshold`."""
    if target.kind == "recall":
        return f"{at_least(target)} is certified up to {certified[0]:.6f}"
    nearest = sorted(certified, key=lambda one: abs(one - threshold))[:3]
    return f"{at_least(target)} is certified at {' and '.join(f'{one:.6f}' for one in nearest)}"


def _guarantee(cut: Cut, threshold: float, target: Target, goal: Goal, subject: Subject) -> str:
    words = _recall_promise if target.kind == "recall" else _precision_promise
    return f"{_sure(cut.confidence, goal)} {words(threshold, cut.evidence, target, subject)}"


def _sure(confidence: float | None, goal: Goal) -> str:
    if goal.joint:
        return f"With {100 * goal.confidence:g}% confidence for all guarantees together,"
    return f"With {100 * (confidence or goal.confidence):g}% confidence"


def _recall_promise(threshold: float, backing: int | None, target: Target, about: Subject) -> str:
    return (
        f"at least {100 * target.rate:g}% of the distinct images{_among(about)} that raters call "
        f"{about} score at or above {threshold:.6f}, provided that the {backing} labelled "
        f"positives are a random sample of them and the prompts were not tuned on these labels."
    )


def _precision_promise(
    threshold: float, backing: int | None, target: Target, about: Subject
) -> str:
    return (
        f"at least {100 * target.rate:g}% of the corpus's distinct images{_among(about)} that "
        f"score at or above {threshold:.6f} are what raters call {about}, provided that the "
        f"{backing} labelled images among them are a random sample of those and the prompts were "
        f"not tuned on these labels."
    )


def _among(subject: Subject) -> str:
    return f", among {subject.population}," if subject.population else ""


def _describe_bands(cut: Cut, bands: Bands, upper: Fitted, goal: Goal, subject: Subject) -> Bands:
    guarantee, block = None, goal.block
    if bands.objective == BY_HAND or block is None:
        step = "Placed by hand: nothing is promised of what is blocked. "
        if upper.certified and block is not None:
            step += _elsewhere(bands.upper, block, upper.certified)
        elif block is not None:
            step += f"For {block}: " + _takes(
                bands.further_flagged,
                bands.further_labels,
                bands.n,
                block,
                subject,
                goal.confidence,
            )
        else:
            step += f"For a guarantee: {subject.base} --bands"
        cleared = {"further_flagged": None, "further_labels": None}
        return bands.model_copy(update={**cleared, "next_step": step})
    if bands.status == "certified" and bands.upper is not None:
        sure = _sure(bands.confidence, goal)
        promise = _precision_promise(bands.upper, bands.evidence, block, subject)
        guarantee = f"{sure} {promise}"
    if bands.status == "certified":
        step = "Apply the bands to the corpus: clipcal rescore"
    else:
        step = f"Nothing is blocked unseen, since {block} is not certified. " + _takes(
            bands.further_flagged, bands.further_labels, bands.n, block, subject, goal.confidence
        )
    return bands.model_copy(update={"guarantee": guarantee, "next_step": step})


def next_step(cut: Cut, target: Target, subject: Subject, confidence: float = 0.95) -> str:
    """Say what to do about a cut, with the command."""
    match cut.status:
        case "certified":
            return "Apply it to the corpus: clipcal rescore"
        case "estimated":
            return _after_estimate(cut, target, subject)
        case "insufficient":
            return _more_labels(cut, target, subject, confidence)
        case "no_positives":
            takes = f"{target} takes {cut.further_positives} of them at random. "
            return (
                f"Label images that show {subject}; for images that may: "
                f"{subject.suggest(40, audit=False)}. "
                f"{takes if cut.further_positives else ''}Then run: {subject.again}"
            )
        case "no_negatives":
            return f"Label images that do not show {subject}, then run: {subject.again}"


def _after_estimate(cut: Cut, target: Target, subject: Subject) -> str:
    if target.kind == "budget":
        return _after_budget(cut, subject)
    best = {"f1": "the best F1", "cost": "the cheapest"}.get(target.kind, "the best")
    lowered = f"It was lowered to a higher level's threshold, and is not {best}. "
    return (
        f"{lowered if cut.lowered else ''}Apply it to the corpus: clipcal rescore. "
        f"For a guarantee: {subject.base} --target recall=0.9"
    )


def _after_budget(cut: Cut, subject: Subject) -> str:
    if cut.threshold is None:
        return (
            "A budget says which images to look at, not how grave they are. For this level: "
            f"{subject.base} --target f1"
        )
    apply = "Apply it to the corpus: clipcal rescore"
    if cut.positives:
        return apply
    return f"{apply}. To learn what it misses: {subject.suggest(100, audit=True)}"


def _more_labels(cut: Cut, target: Target, subject: Subject, confidence: float) -> str:
    if target.kind == "budget":
        return (
            f"{cut.flags:,} images share the highest score, more than the budget allows. Raise "
            f"it: {subject.base} --target budget={cut.flags}"
        )
    if target.kind == "levels":
        return (
            f"No score divides the levels: the labels do not rise with the scores, or too few "
            f"are labelled. Label more: {subject.suggest(100, audit=True)}. "
            f"Then run: {subject.again}"
        )
    return _takes(cut.further_positives, cut.further_labels, cut.n, target, subject, confidence)


def _takes(
    backing: int | None,
    labels: int | None,
    labelled: int,
    target: Target,
    subject: Subject,
    confidence: float,
) -> str:
    """Say how many more labels a guarantee takes, or that more may not help."""
    if backing is None or labels is None:
        return (
            f"These labels do not tell how many more {target} takes: no threshold is above it in "
            f"enough of them. Label more: {subject.suggest(100, audit=True)}; and look at the "
            f"sentences: clipcal prompts check SET --labels {subject.labels}"
        )
    what = "positives" if target.kind == "recall" else "flagged images"
    if labelled + labels > subject.images > 0:
        return (
            f"{target} takes about {backing:,} more {what}; at the rate seen that is about "
            f"{labels:,} images to label, and the corpus holds {subject.images:,}. Add images: "
            f"clipcal embed FOLDER{_less(backing, labels, labelled, target, subject, confidence)}"
        )
    return (
        f"Label about {backing:,} more {what} (about {labels:,} images at the rate seen): "
        f"{subject.suggest(labels, audit=True)}. Then run: {subject.again}"
    )


def _less(
    backing: int, labels: int, labelled: int, target: Target, subject: Subject, confidence: float
) -> str:
    """Name the recall that all positives of the corpus, none of them missed, would certify."""
    positives = positives_needed(target.rate, confidence) - backing if labels else 0
    found = positives * subject.images / max(labelled, 1)
    if target.kind != "recall" or found < 1:
        return ""
    rate = math.floor(100 * (1 - confidence) ** (1 / found)) / 100
    if not 0.5 <= rate < target.rate:
        return ""
    return f"; or ask for less: {subject.base} --target recall={rate:g}"
