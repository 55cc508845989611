"""All the cuts of a calibration: fitted, measured, put into words, and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipcal.calibrate.cuts.by_hand import Placed, find_places, options_of, refuse_crossing
from clipcal.calibrate.cuts.estimates import measure
from clipcal.calibrate.cuts.evaluation import (
    CrossFit,
    Levels,
    cross_fit,
    decide_by,
    judge_holdout,
    split,
)
from clipcal.calibrate.cuts.fit import Fits, fit_cuts, level_phrase
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.sentences import Subject, describe, options
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.cuts.thresholds import Declared, Fitted, Place, declare
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.records import Cut, Evaluation
from clipcal.calibrate.scoring.scores import Scores
from clipcal.calibrate.statistics.bounds import check_rate
from clipcal.errors import CalibrationError

Cuts = dict[str, dict[str, Cut]]  # by category, then by level above the lowest, low to high


@dataclass(frozen=True, slots=True)
class Evaluating:
    """How thresholds are tried on labels that they were not fitted to.

    Attributes
    ----------
    holdout : float
        Share of the labelled images kept out of the fit, in [0, 1).
    folds, repeats : int
        Of cross-fitting; fewer than 2 folds do without.
    seed : int
        Of the divisions and of the bootstrap.
    draws : int
        Of the bootstrap that gives thresholds their intervals; 0 does without.
    share : float
        Which share of the images that people label reaches the fit, before the hold-out; less
        than 1 where scores are learned from the others.
    """

    holdout: float = 0.0
    folds: int = 0
    repeats: int = 5
    seed: int = 0
    draws: int = 200
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What was fitted, and how it did.

    Attributes
    ----------
    cuts : dict
        By category and by level above the lowest.
    holdout : Evaluation or None
        On the labelled images kept out.
    crossfit : CrossFit or None
        On those fitted to, each left out in turn.
    decided : Int8[(n, c)] or None
        Decisions on all labelled images, those kept out included, by thresholds that were not
        fitted to them; -1 where there was none. None without cross-fitting.
    """

    cuts: Cuts
    holdout: Evaluation | None
    crossfit: CrossFit | None
    decided: Levels | None


def calibrate(
    sample: Sample,
    goal: Goal,
    corpus_scores: Scores,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    placed: Sequence[Placed] = (),
    source: str = "FILE.csv",
    population: str = "",
    evaluating: Evaluating = Evaluating(),
) -> Calibration:
    """Fit a cut per category and level, and tell what is known of each.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    goal : Goal
        What each cut is to attain.
    corpus_scores : Float32[(N, c)]
        Scores of the whole corpus.
    categories : sequence of str
        Names of the columns.
    levels : sequence of str
        From low to high.
    placed : sequence of Placed
        The thresholds that a person placed; the others are fitted.
    source : str
        The label file's name, for the next commands.
    population : str
        Which images guarantees speak of, where not of the whole corpus.
    evaluating : Evaluating
        On what else the cuts are tried.

    Returns
    -------
    Calibration
        Cuts and evaluations.

    Raises
    ------
    CalibrationError
        If a score is not finite, the hold-out leaves one side empty, a guarantee is asked
        for of labels that were all picked by their scores, or a placed threshold crosses another.
    """
    _check_confidence(goal)
    kept, out = split(sample, evaluating.holdout, evaluating.seed)
    _refuse_picked(kept, goal, source)
    labelled = int(kept.backing.sum())
    declared = declare(corpus_scores, goal, labelled)
    places = find_places(placed, categories, levels)
    fits = fit_cuts(kept, goal, declared, levels, places)
    refuse_crossing(fits, categories, levels)
    holdout = out and judge_holdout(out, fits, goal, categories, levels, evaluating.holdout)
    crossfit = None
    if evaluating.folds > 1:
        crossfit = cross_fit(
            kept,
            goal,
            declared,
            categories,
            levels,
            placed=places,
            folds=evaluating.folds,
            repeats=evaluating.repeats,
            seed=evaluating.seed,
        )
    corpus = _Corpus(
        corpus_scores,
        declared,
        tuple(categories),
        tuple(levels),
        source,
        population,
        options(goal) + options_of(placed),
    )
    cuts = {
        category: {
            level: _tell(fits[column, rank], kept, corpus, (column, rank), goal, evaluating)
            for rank, level in enumerate(levels[1:], start=1)
        }
        for column, category in enumerate(categories)
    }
    decided = None if crossfit is None else _unseen(sample, kept, fits, crossfit)
    return Calibration(cuts, holdout or None, crossfit, decided)


def _unseen(sample: Sample, kept: Sample, fits: Fits, crossfit: CrossFit) -> Levels:
    """Decide what was kept out by the cuts, and the rest by the cuts that it was left out of."""
    decided = decide_by(fits, sample)
    decided[np.isin(sample.places, kept.places)] = crossfit.decided
    return decided


@dataclass(frozen=True, slots=True, eq=False)
class _Corpus:
    """The scores of the whole corpus, and the names of what they are about."""

    scores: Scores
    declared: Declared
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    source: str
    population: str
    asked: str

    def subject(self, place: Place) -> Subject:
        """Name a cut."""
        column, rank = place
        phrase = level_phrase(self.levels, rank)
        images = len(self.scores)
        return Subject(
            self.categories[column], phrase, self.source, images, self.population, self.asked
        )


def _tell(
    fitted: Fitted,
    sample: Sample,
    corpus: _Corpus,
    place: Place,
    goal: Goal,
    evaluating: Evaluating,
) -> Cut:
    """Measure one cut, and put it into words."""
    column = place[0]
    measured = measure(
        fitted,
        sample.of(*place),
        corpus.scores[:, column],
        corpus.declared.of(column),
        goal,
        draws=evaluating.draws,
        seed=evaluating.seed,
        share=evaluating.share * (1 - evaluating.holdout),
    )
    return describe(measured, goal, corpus.subject(place), fitted)


def _check_confidence(goal: Goal) -> None:
    """Refuse a confidence below one half: binomial tests are conservative in a finite corpus."""
    if check_rate(goal.confidence, "confidence") < 0.5:
        raise CalibrationError(
            f"The confidence is {goal.confidence:g}, and less than one half promises nothing. "
            f"Ask for more: clipcal calibrate --confidence 0.95"
        )


def _refuse_picked(sample: Sample, goal: Goal, source: str) -> None:
    """Refuse a guarantee from labels near the threshold alone: they are not like the others."""
    known = sample.values != UNKNOWN
    if goal.target.guaranteed and known.any() and not sample.backing.any():
        raise CalibrationError(
            f"All {len(sample):,} labelled images in {source} were picked for their scores, and "
            f"say nothing of how many positives lie elsewhere: no {goal.target} can be "
            f"guaranteed. Label images drawn at random: clipcal suggest --audit 1 -n 100; or do "
            f"without a guarantee: clipcal calibrate --labels {source} --target f1"
        )
