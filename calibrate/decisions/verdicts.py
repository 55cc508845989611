"""An overall verdict fitted to people's, in place of a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.sample import Rows, Sample
from clipcal.calibrate.decisions.overall import Verdicts, judge, warn_of_missing_levels
from clipcal.calibrate.decisions.rescore import Decisions
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.overall import read_overall, verdict_codes
from clipcal.calibrate.labels.pool import Pool
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.records import OverallModel
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.agreement.kappa import kappa_estimate
from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.calibrate.statistics.ordinal import fit_ordinal, predict
from clipcal.calibrate.statistics.resampling import cluster_folds
from clipcal.errors import LabelError
from clipcal.prompts.promptset import OTHERWISE, PromptSet

FOLDS = 5
FEWEST = 2 * FOLDS  # images, for an evaluation out of fold
Codes = NDArray[np.int64]


def verdict_names(prompt_set: PromptSet) -> tuple[str, ...]:
    """Return the verdicts of a prompt set's rules, from the mildest to the gravest."""
    rules = [name for name in prompt_set.overall if name != OTHERWISE]
    return (prompt_set.overall[OTHERWISE], *reversed(rules))


def given_verdicts(
    labels: Sequence[Path] | Pool, prompt_set: PromptSet, scored: CorpusScores
) -> dict[int, int]:
    """Read what people's verdict on each content is.

    Parameters
    ----------
    labels : sequence of pathlib.Path, or Pool
        The label files, at least one with a column ``Overall``; or what the corpus keeps.
    prompt_set : PromptSet
        Its ``overall`` names the verdicts.
    scored : CorpusScores
        Of the corpus; a pool's places are among its images.

    Returns
    -------
    dict of int to int
        From the row of the embeddings to the place in `verdict_names`; copies of one content with
        different verdicts have none.

    Raises
    ------
    LabelError
        If the prompt set names no verdicts, or the labels have none of them, or others.
    """
    verdicts = _named(prompt_set)
    read = (
        _in_pool(labels, verdicts)
        if isinstance(labels, Pool)
        else _in_files(labels, verdicts, scored)
    )
    by_row: dict[int, int] = {}
    for places, codes in read:
        known = (places >= 0) & (codes >= 0)
        rows = scored.rows[places[known]].tolist()
        for row, code in zip(rows, codes[known].tolist(), strict=True):
            # Copies with different verdicts have none, as with their labels.
            by_row[row] = code if by_row.get(row, code) == code else UNKNOWN
    return {row: code for row, code in by_row.items() if code != UNKNOWN}


def fit_overall(
    given: Mapping[int, int],
    prompt_set: PromptSet,
    scored: CorpusScores,
    sample: Sample,
    levels: Sequence[str],
    decided: NDArray[np.int8] | None,
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> OverallModel:
    """Fit proportional odds of the verdict on all category scores.

    Parameters
    ----------
    given : mapping of int to int
        People's verdicts, of `given_verdicts`.
    prompt_set : PromptSet
        Its ``overall`` names the verdicts, and holds the rule to compare with.
    scored : CorpusScores
        Scores of the corpus.
    sample : Sample
        Labelled images; only they are fitted to.
    levels : sequence of str
        Of the categories, from low to high.
    decided : Int8[(n, c)] or None
        Decisions out of fold on the sample, for the rule.
    seed : int
        Of the folds.
    confidence : float
        Of intervals.

    Returns
    -------
    OverallModel
        With its agreement out of fold, and the rule's on the same images.

    Raises
    ------
    CalibrationError
        If none of the images has a verdict, or all have the same.
    """
    verdicts = verdict_names(prompt_set)
    rows = scored.rows[sample.places].tolist()
    said = np.array([given.get(row, UNKNOWN) for row in rows], np.int64)
    known = said != UNKNOWN
    features, codes = sample.scores[known].astype(np.float64), said[known]
    model = OverallModel(
        verdicts=verdicts,
        categories=scored.categories,
        fit=fit_ordinal(features, codes, len(verdicts)),
        images=len(codes),
    )
    clusters = sample.clusters[known]
    if len(np.unique(clusters)) < FEWEST:
        return model
    folds = cluster_folds(clusters, FOLDS, np.random.default_rng(seed))
    guessed = _out_of_fold(features, codes, folds, len(verdicts))
    kappa = kappa_estimate(guessed, codes, len(verdicts), confidence=confidence, seed=seed)
    update: dict[str, object] = {
        "agreement": wilson(int((guessed == codes).sum()), len(codes), confidence),
        "kappa": kappa,
        "rule_agreement": None,
    }
    if decided is not None:
        ruled = _ruled(decided[known], scored.categories, levels, prompt_set)
        update["rule_agreement"] = _agreement(ruled, verdicts, codes, confidence)
    return model.model_copy(update=update)


def overall_verdicts(
    contract: Contract, decided: Decisions, prompt_set: PromptSet
) -> tuple[Verdicts | None, tuple[str, ...]]:
    """Judge every image, by the fitted verdict of a contract or by the prompt set's rule.

    Parameters
    ----------
    contract : Contract
        The calibration.
    decided : Decisions
        Scores and levels of the corpus under it.
    prompt_set : PromptSet
        Holds the rule.

    Returns
    -------
    verdicts : Verdicts or None
        None where there is neither model nor rule, or the rule counts what is not known.
    warnings : tuple of str
        Why a rule cannot be used.
    """
    model = contract.overall
    if model is None:
        missing = warn_of_missing_levels(contract.levels, prompt_set)
        return judge(decided, prompt_set), missing
    columns = [decided.categories.index(category) for category in model.categories]
    codes = predict(model.fit, decided.scores[:, columns].astype(np.float64))
    return Verdicts(model.verdicts, codes.astype(np.int64)), ()


def _named(prompt_set: PromptSet) -> tuple[str, ...]:
    if not prompt_set.overall:
        raise LabelError(
            f"The prompt set {prompt_set.name} names no overall verdicts. Add a table [overall] "
            f"with a rule for each, the gravest first; to see one: clipcal prompts show moderation"
        )
    return verdict_names(prompt_set)


def _in_files(
    labels: Sequence[Path], verdicts: Sequence[str], scored: CorpusScores
) -> list[tuple[Rows, NDArray[np.int8]]]:
    """Return, per file with verdicts, the place of each of its images and the verdict on it."""
    read = [found for file in labels if (found := read_overall(file, verdicts)) is not None]
    if not read:
        named = " --labels ".join(str(file) for file in labels)
        raise LabelError(
            f"{named} has no column Overall with {', '.join(verdicts)}. Add it, or take the "
            f"rule's verdict: clipcal calibrate --labels {named} --overall rule"
        )
    return [
        (match_images(images, scored.uris, scored.sha256s).rows, codes) for images, codes in read
    ]


def _in_pool(pool: Pool, verdicts: Sequence[str]) -> list[tuple[Rows, NDArray[np.int8]]]:
    """Return the place of each image of a pool and the verdict on it."""
    codes = verdict_codes(pool.verdicts, verdicts)
    if not any(code is not None and code >= 0 for code in codes):
        raise LabelError(
            "The corpus keeps no overall verdicts of people's. Fit to the label file that has "
            "them in the column Overall: clipcal calibrate --labels FILE.csv --overall fitted"
        )
    if None in codes:
        raise LabelError(
            f"The corpus keeps the overall verdict '{pool.verdicts[codes.index(None)]}', and the "
            f"prompt set knows only: {', '.join(verdicts)}. Fit to a label file that has these in "
            f"the column Overall: clipcal calibrate --labels FILE.csv --overall fitted"
        )
    return [(pool.match.rows, np.array(codes, np.int8))]


def _out_of_fold(features: NDArray[np.float64], codes: Codes, folds: Codes, verdicts: int) -> Codes:
    guessed = np.empty_like(codes)
    for fold in range(FOLDS):
        out = folds == fold
        guessed[out] = predict(fit_ordinal(features[~out], codes[~out], verdicts), features[out])
    return guessed


def _ruled(
    decided: NDArray[np.int8],
    categories: Sequence[str],
    levels: Sequence[str],
    prompt_set: PromptSet,
) -> Verdicts | None:
    """Judge decided levels by the rule; what is undecided might stand at any level."""
    unknown = np.full((len(levels) - 1, len(categories)), np.inf)
    scores = np.zeros(decided.shape, np.float32)
    return judge(Decisions(tuple(categories), tuple(levels), scores, unknown, decided), prompt_set)


def _agreement(
    ruled: Verdicts | None, verdicts: Sequence[str], codes: Codes, confidence: float
) -> Estimate | None:
    if ruled is None:
        return None
    same = [
        value >= 0 and ruled.names[value] == verdicts[code]
        for value, code in zip(ruled.values.tolist(), codes.tolist(), strict=True)
    ]
    return wilson(sum(same), len(same), confidence)
