"""What is promised by a cut, and what to do next, in words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.records import Bands, Cut


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
        The label file's name, for the next command, as a shell takes it.
    images : int
        How many the corpus holds.
    """

    category: str = "positive"
    level: str | None = None
    labels: str = "FILE.csv"
    images: int = 0

    def __str__(self) -> str:
        """Return the category and level as a sentence has them."""
        return f"'{self.category}'" + (f" ({self.level})" if self.level else "")

    @property
    def again(self) -> str:
        """The command that fits the cut anew."""
        return f"clipcal calibrate --labels {self.labels}"

    def suggest(self, images: int, *, audit: bool) -> str:
        """Write the command that names images to label, at random where a guarantee needs it."""
        how = " --audit 1" if audit else ""
        return f"clipcal suggest --category {shlex.quote(self.category)} -n {images}{how}"


def describe(cut: Cut, goal: Goal, subject: Subject) -> Cut:
    """Put the cut's guarantee and next step into sentences.

    Parameters
    ----------
    cut : Cut
        The cut with its final thresholds.
    goal : Goal
        What it was fitted to.
    subject : Subject
        What the sentences call it.

    Returns
    -------
    Cut
        The cut with its sentences, those of its bands included.
    """
    guarantee = None
    if cut.status == "certified" and cut.threshold is not None:
        guarantee = _guarantee(cut, cut.threshold, goal.target, goal, subject)
    update: dict[str, object] = {
        "guarantee": guarantee,
        "next_step": next_step(cut, goal.target, subject),
    }
    if cut.bands is not None and goal.block is not None:
        update["bands"] = _describe_bands(cut, cut.bands, goal.block, goal, subject)
    return cut.model_copy(update=update)


def _guarantee(cut: Cut, threshold: float, target: Target, goal: Goal, subject: Subject) -> str:
    words = _recall_promise if target.kind == "recall" else _precision_promise
    return f"{_sure(cut.confidence, goal)} {words(threshold, cut.evidence, target, subject)}"


def _sure(confidence: float | None, goal: Goal) -> str:
    if goal.joint:
        return f"With {100 * goal.confidence:g}% confidence for all guarantees together,"
    return f"With {100 * (confidence or goal.confidence):g}% confidence"


def _recall_promise(threshold: float, backing: int | None, target: Target, about: Subject) -> str:
    return (
        f"at least {100 * target.rate:g}% of the distinct images that raters call {about} score "
        f"at or above {threshold:.6f}, provided that the {backing} labelled positives are a "
        f"random sample of them and the prompts were not tuned on these labels."
    )


def _precision_promise(
    threshold: float, backing: int | None, target: Target, about: Subject
) -> str:
    return (
        f"at least {100 * target.rate:g}% of the corpus's distinct images that score at or above "
        f"{threshold:.6f} are what raters call {about}, provided that the {backing} labelled "
        f"images among them are a random sample of those and the prompts were not tuned on these "
        f"labels."
    )


def _describe_bands(cut: Cut, bands: Bands, block: Target, goal: Goal, subject: Subject) -> Bands:
    guarantee = None
    if bands.status == "certified" and bands.upper is not None:
        sure = _sure(bands.confidence, goal)
        promise = _precision_promise(bands.upper, bands.evidence, block, subject)
        guarantee = f"{sure} {promise}"
    if bands.status == "certified":
        step = "Apply the bands to the corpus: clipcal rescore"
    else:
        step = (
            f"Nothing is blocked unseen, since {block} is not certified. Label images at random "
            f"among those flagged: {subject.suggest(100, audit=True)}"
        )
    return bands.model_copy(update={"guarantee": guarantee, "next_step": step})


def next_step(cut: Cut, target: Target, subject: Subject) -> str:
    """Say what to do about a cut, with the command."""
    match cut.status:
        case "certified":
            return "Apply it to the corpus: clipcal rescore"
        case "estimated":
            return _after_estimate(cut, target, subject)
        case "insufficient":
            return _more_labels(cut, target, subject)
        case "no_positives":
            return (
                f"Label images that show {subject}; for images that may: "
                f"{subject.suggest(40, audit=False)}. Then run: {subject.again}"
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
        f"For a guarantee: {subject.again} --target recall=0.9"
    )


def _after_budget(cut: Cut, subject: Subject) -> str:
    if cut.threshold is None:
        return (
            "A budget says which images to look at, not how grave they are. For this level: "
            f"{subject.again} --target f1"
        )
    apply = "Apply it to the corpus: clipcal rescore"
    if cut.positives:
        return apply
    return f"{apply}. To learn what it misses: {subject.suggest(100, audit=True)}"


def _more_labels(cut: Cut, target: Target, subject: Subject) -> str:
    if target.kind == "budget":
        return (
            f"More images share the highest score than the budget allows. Raise it: "
            f"{subject.again} --target budget={cut.flags or 'N'}"
        )
    if target.kind == "levels":
        return (
            "The scores do not rise with the levels. Look at the sentences: "
            f"clipcal prompts check SET --labels {subject.labels}"
        )
    if cut.further_positives is None or cut.further_labels is None:
        return (
            f"No threshold comes near {target} in the sample, so that more labels may not help. "
            f"Look at the sentences: "
            f"clipcal prompts check SET --labels {subject.labels}"
        )
    what = "positives" if target.kind == "recall" else "flagged images"
    if cut.n + cut.further_labels > subject.images > 0:
        less = f"{target.kind}={_less(target.rate):g}"
        return (
            f"{target} takes about {cut.further_positives:,} more {what}; at the rate seen that "
            f"is about {cut.further_labels:,} images to label, and the corpus holds "
            f"{subject.images:,}. Add images: clipcal embed FOLDER; or ask for less: "
            f"{subject.again} --target {less}"
        )
    return (
        f"Label about {cut.further_positives:,} more {what} (about {cut.further_labels:,} images "
        f"at the rate seen): {subject.suggest(cut.further_labels, audit=True)}. "
        f"Then run: {subject.again}"
    )


def _less(rate: float) -> float:
    """Return a rate that is noticeably easier to guarantee."""
    return round(max(1 - 2 * (1 - rate), rate / 2), 3)
