"""Probabilities beside thresholds: fitted to the labels, judged out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import CutSample, Sample
from clipcal.calibrate.cuts.thresholds import side
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.records import Cut, CutProbability
from clipcal.calibrate.scoring.scores import Scores
from clipcal.calibrate.statistics.prior_shift import adjust, corpus_prevalence
from clipcal.calibrate.statistics.probability import (
    ClassTemperature,
    MapKind,
    ProbabilityQuality,
    apply_map,
    fit_map,
)
from clipcal.calibrate.statistics.reliability import assess_map, choose_map
from clipcal.calibrate.statistics.resampling import cluster_folds
from clipcal.calibrate.statistics.temperature import assess_temperature, fit_temperature
from clipcal.errors import CalibrationError

MapChoice = Literal["auto", "platt", "isotonic", "beta", "temperature"]
Cuts = Mapping[str, Mapping[str, Cut]]

FOLDS = 5
FEWEST_OF_A_SIDE = 5


def with_probabilities(
    cuts: Cuts,
    sample: Sample,
    corpus_scores: Scores,
    choice: MapChoice,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    prior_shift: bool = False,
) -> tuple[dict[str, dict[str, Cut]], tuple[str, ...]]:
    """Fit a map from scores to probabilities for every cut with labels on both sides.

    Parameters
    ----------
    cuts : mapping
        By category and level.
    sample : Sample
        Labelled images.
    corpus_scores : Float32[(N, c)]
        Scores of the whole corpus.
    choice : str
        Which family; ``auto`` takes the one that is best out of fold.
    seed : int
        Of the folds.
    confidence : float
        Of intervals.
    prior_shift : bool
        Whether to adjust to the prevalence that the corpus seems to have.

    Returns
    -------
    cuts : dict
        With `Cut.probability` where there are enough labels.
    notes : tuple of str
        Which cuts have none, and why.
    """
    done: dict[str, dict[str, Cut]] = {}
    notes: list[str] = []
    for column, (category, levels) in enumerate(cuts.items()):
        done[category] = {}
        for rank, (level, cut) in enumerate(levels.items(), start=1):
            labelled = sample.of(column, rank)
            try:
                fitted = _fit(
                    labelled, corpus_scores[:, column], choice, seed, confidence, prior_shift
                )
            except CalibrationError as error:
                fitted = None
                notes.append(f"{category}, {level}: no probabilities. {error}")
            done[category][level] = cut.model_copy(update={"probability": fitted})
    return done, tuple(notes)


def probabilities(fitted: CutProbability, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probability, (n,), that people call each image positive.

    Parameters
    ----------
    fitted : CutProbability
        From a contract.
    scores : Float[(n,)]
        Scores of the category.

    Returns
    -------
    Float64[(n,)]
        Adjusted to the corpus's prevalence, where the contract holds one.
    """
    plain = apply_map(fitted.map, scores)
    if fitted.corpus_prevalence is None:
        return plain
    return adjust(plain, fitted.labelled_prevalence, fitted.corpus_prevalence)


def class_temperature(
    sample: Sample, categories: Sequence[str], seed: int = 0, confidence: float = 0.95
) -> ClassTemperature:
    """Fit the temperature of a softmax over categories, where every image has one of them.

    Parameters
    ----------
    sample : Sample
        Labelled images.
    categories : sequence of str
        Names of the columns.
    seed : int
        Of the folds.
    confidence : float
        Of intervals.

    Returns
    -------
    ClassTemperature
        With its quality out of fold, where there are enough images.

    Raises
    ------
    CalibrationError
        If the labels are no classes, one to an image.
    """
    known = (sample.values != UNKNOWN).all(axis=1)
    chosen = sample.values[known] > 0
    if not len(chosen) or (chosen.sum(axis=1) != 1).any():
        raise CalibrationError(
            f"A temperature needs exactly one of the {len(categories)} categories per image, as "
            f"in a file with the columns image,label. For categories that may go together: "
            f"clipcal calibrate --labels FILE.csv --probabilities auto"
        )
    scores = sample.scores[known].astype(np.float64)
    classes = chosen.argmax(axis=1).astype(np.int64)
    quality: ProbabilityQuality | None = None
    clusters = sample.clusters[known]
    if len(np.unique(clusters)) >= FOLDS * FEWEST_OF_A_SIDE:
        folds = cluster_folds(clusters, FOLDS, np.random.default_rng(seed))
        quality = assess_temperature(scores, classes, folds, confidence)
    return ClassTemperature(fit_temperature(scores, classes), quality)


def _fit(
    cut: CutSample,
    corpus_scores: NDArray[np.floating],
    choice: MapChoice,
    seed: int,
    confidence: float,
    prior_shift: bool,
) -> CutProbability | None:
    if side(cut) != "estimated":
        return None
    kind = _kind(cut, choice, seed)
    fitted = fit_map(cut.scores, cut.positive, kind, cut.weights)
    # Of the map itself: smoothed targets lift rare positives a little, which would read as a
    # shift of prevalence if the plain rate were taken.
    prevalence = float(np.average(apply_map(fitted, cut.scores), weights=cut.weights))
    shifted = None
    if prior_shift:
        shifted = corpus_prevalence(apply_map(fitted, corpus_scores), prevalence)
    return CutProbability(
        map=fitted,
        quality=_quality(cut, kind, seed, confidence),
        labelled_prevalence=prevalence,
        corpus_prevalence=shifted,
    )


def _kind(cut: CutSample, choice: MapChoice, seed: int) -> MapKind:
    if choice == "auto":
        return choose_map(cut.scores, cut.positive, cut.clusters, seed, cut.weights)
    if choice == "temperature":
        raise CalibrationError(
            "A temperature is fitted to all categories at once: clipcal calibrate "
            "--labels FILE.csv --probabilities temperature"
        )
    return choice


def _quality(
    cut: CutSample, kind: MapKind, seed: int, confidence: float
) -> ProbabilityQuality | None:
    """Judge the map out of fold; None where a fold could not have both sides."""
    fewest = min(cut.positives, len(cut) - cut.positives)
    if fewest < FEWEST_OF_A_SIDE or len(np.unique(cut.clusters)) < FOLDS:
        return None
    rng = np.random.default_rng(seed)
    folds = cluster_folds(cut.clusters, FOLDS, rng, cut.positive)
    return assess_map(cut.scores, cut.positive, kind, folds, confidence, cut.weights)[0]
