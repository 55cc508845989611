r"""How far each guarantee is while labels come in, in a line for people.

What is said of status, threshold and further labels is what a calibration of the same labels
would say; what takes it time (bootstrap, cross-fitting, raters) is left out.

**May one stop labelling as soon as it says "certified"?**

*Recall: yes, if the number of labelled positives of the cut in question is all that one stops
by.* The threshold is the :math:`k^*`-th smallest score of the labelled positives, where
:math:`k^*` depends on their number :math:`n_+` alone
(`clipcal.calibrate.statistics.bounds.recall_rank`). Among images in random order, *which* of them
are positive says nothing of how the positives score among themselves. So given that one stops at
the :math:`n_+`-th positive, the positives found are still a random sample of all positives, and
the guarantee holds as it does for an :math:`n_+` fixed in advance. It needs images labelled in
the random order in which they were drawn, none skipped. Whoever also stops by the scores that
were found (the threshold came out nicely high) stops by more than a number, and has no such
guarantee; nor has, strictly, whoever stops by the number of positives of *another* cut that
shares positives with this one, since those tell of how these score.

*Precision: no.* Its test is of how many flagged images are right, so that to stop when it passes
is to test again after each label and to keep the luckiest: the risks of the tests add up. Decide
first how many images to label, label all of them, and then look. The sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clipcal.calibrate.cuts.estimates import further_for
from clipcal.calibrate.cuts.evaluation import split
from clipcal.calibrate.cuts.fit import fit_cuts
from clipcal.calibrate.cuts.sample import CutSample, Sample
from clipcal.calibrate.cuts.sentences import at_least
from clipcal.calibrate.cuts.targets import Goal, Target
from clipcal.calibrate.cuts.thresholds import Fitted, Vector, declare
from clipcal.calibrate.material import Material
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import Status
from clipcal.calibrate.scoring.scores import Scores
from clipcal.calibrate.statistics.bounds import positives_needed
from clipcal.calibrate.statistics.planning import Further


@dataclass(frozen=True, slots=True)
class Outlook:
    """How far the guarantee of one threshold is.

    Attributes
    ----------
    category, level : str
        Which cut.
    objective : str
        What is asked for, such as ``recall=0.9``; with bands each cut has two.
    status : str
        As in `Cut`, or for an upper threshold as in `Bands`.
    n, positives : int
        Labelled images, and positives among them.
    evidence : int or None
        How many labelled images back the guarantee so far: positives for a recall, flagged ones
        for a precision. None where nothing is guaranteed.
    needed : int or None
        How many it takes altogether: for a recall the number that certifies it, whatever their
        scores; for a precision what there is and what is lacking. None where that is not known.
    further_positives, further_labels : int or None
        How many more positives (for a precision: flagged images) it takes, and about how many
        images must be labelled at random to find them.
    threshold : float or None
        As a calibration would have it.
    sentence : str
        In a line.
    """

    category: str
    level: str
    objective: str
    status: Status
    n: int
    positives: int
    evidence: int | None
    needed: int | None
    further_positives: int | None
    further_labels: int | None
    threshold: float | None
    sentence: str


def outlook(
    sample: Sample,
    goal: Goal,
    scores: Scores,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    share: float = 1.0,
) -> list[Outlook]:
    """Tell how far each guarantee is.

    Parameters
    ----------
    sample : Sample
        Labelled images that a calibration would be fitted to; there may be none.
    goal : Goal
        What is asked for.
    scores : Float32[(N, c)]
        Scores of the whole corpus; a precision or a budget looks at them.
    categories : sequence of str
        Names of the columns.
    levels : sequence of str
        From low to high.
    share : float
        Which share of the images that people label reaches the fit.

    Returns
    -------
    list of Outlook
        By category and level, with bands twice each: the recall, then the precision.

    Raises
    ------
    CalibrationError
        If a score is not finite.
    """
    fits = fit_cuts(sample, goal, declare(scores, goal, int(sample.backing.sum())), levels)
    looked: list[Outlook] = []
    for (column, rank), fit in fits.items():
        about = _About(categories[column], levels[rank], sample.of(column, rank), goal, share)
        looked.append(_look(about, fit, goal.target, scores[:, column]))
        if fit.upper is not None and goal.block is not None:
            looked.append(_look(about, fit.upper, goal.block, scores[:, column]))
    return looked


def outlook_of(material: Material, plan: CalibrationPlan) -> list[Outlook]:
    """Tell how far each guarantee of a plan is, from what a calibration would be made of.

    Parameters
    ----------
    material : Material
        Scores and labels.
    plan : CalibrationPlan
        What is asked for; thresholds placed in it are not looked at.

    Returns
    -------
    list of Outlook
        As from `outlook`.

    Raises
    ------
    CalibrationError
        If the hold-out leaves one side empty, or a score is not finite.
    """
    scored, sample = material.scored, material.sample
    if len(sample):
        sample, _ = split(sample, plan.holdout, plan.seed)
    return outlook(
        sample,
        plan.goal,
        scored.scores,
        scored.categories,
        material.table.levels,
        share=plan.share,
    )


class _About(NamedTuple):
    category: str
    level: str
    cut: CutSample
    goal: Goal
    share: float


def _look(about: _About, fitted: Fitted, target: Target, scores: Vector) -> Outlook:
    further = None
    if target.guaranteed:
        further = further_for(fitted, about.cut, scores, target, about.goal, about.share)
    return Outlook(
        category=about.category,
        level=about.level,
        objective=str(target),
        status=fitted.status,
        n=len(about.cut),
        positives=about.cut.positives,
        evidence=fitted.evidence,
        needed=_needed(about, fitted, target, further),
        further_positives=None if further is None else further.backing,
        further_labels=None if further is None else further.labels,
        threshold=fitted.threshold,
        sentence=_sentence(about.cut, fitted, target, further),
    )


def _needed(about: _About, fitted: Fitted, target: Target, further: Further | None) -> int | None:
    if target.kind == "recall":
        blanks, confidence = about.cut.blanks, fitted.confidence or about.goal.confidence
        return positives_needed(target.rate, confidence, blanks) - blanks
    if fitted.status == "certified":
        return fitted.evidence
    return None if further is None else (fitted.evidence or 0) + further.backing


def _sentence(cut: CutSample, fitted: Fitted, target: Target, further: Further | None) -> str:
    if target.kind == "recall":
        return _on_recall(cut, fitted, target, further)
    if target.kind == "precision":
        return _on_precision(fitted, target, further)
    if fitted.threshold is not None:
        return f"Threshold {fitted.threshold:.4f}; {target} guarantees nothing."
    match fitted.status:
        case "no_positives":
            return "No positive is labelled yet."
        case "no_negatives":
            return "No negative is labelled yet."
        case _:
            return f"No threshold attains {target}."


def _on_recall(cut: CutSample, fitted: Fitted, target: Target, further: Further | None) -> str:
    asked = at_least(target)
    if further is None:
        return (
            f"{asked.capitalize()} is certified from {_count(fitted.evidence or 0, 'positive')}: "
            f"threshold {fitted.threshold:.4f}."
        )
    verb = "certifies" if further.backing == 1 else "certify"
    if not cut.positives:
        found = _count(further.backing, "positive")
        return f"{found} {verb} {asked}; none is labelled yet."
    return f"{_count(further.backing, 'more positive')} {verb} {asked}."


def _on_precision(fitted: Fitted, target: Target, further: Further | None) -> str:
    asked = at_least(target)
    if fitted.status == "certified":
        return (
            f"{asked.capitalize()} is certified from "
            f"{_count(fitted.evidence or 0, 'flagged image')}: threshold "
            f"{fitted.threshold:.4f}, unless you stopped because it passed."
        )
    if further is None:
        return f"Nothing tells yet how many labels {asked} takes."
    return (
        f"About {_count(further.backing, 'more flagged image')} may certify {asked}. Decide first "
        f"how many to label: stopping when it passes spends the risk."
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
