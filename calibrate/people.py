"""What several raters per image say of each other, and of the thresholds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.labels.matching import Match
from clipcal.calibrate.labels.table import LabelTable
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.agreement.category import (
    CategoryAgreement,
    rate_agreement,
    with_machine,
)


def agreement_of(
    table: LabelTable,
    match: Match,
    scored: CorpusScores,
    sample: Sample,
    decided: NDArray[np.int8] | None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, CategoryAgreement]:
    """Measure how far raters agree on the corpus's images, and the decisions with them.

    Parameters
    ----------
    table : LabelTable
        With what each rater said.
    match : Match
        Where its images are in the corpus.
    scored : CorpusScores
        The corpus.
    sample : Sample
        The labelled images.
    decided : Int8[(n, c)] or None
        Decisions on the sample, out of fold.
    confidence : float
        Of intervals.
    seed : int
        Of bootstraps.

    Returns
    -------
    dict of str to CategoryAgreement
        By category; empty where the file has one rating per image.
    """
    if table.votes is None:
        return {}
    found: dict[str, CategoryAgreement] = {}
    for column, category in enumerate(scored.categories):
        if category not in table.categories:
            continue
        votes = table.votes.of(table.categories.index(category))
        here = match.rows[votes.image] >= 0
        agreement = rate_agreement(
            votes.image[here],
            votes.rater[here],
            votes.level[here].astype(np.int64),
            len(table.images),
            len(table.levels),
            confidence=confidence,
            seed=seed,
        )
        if not agreement.images:
            continue
        if decided is not None:
            agreement = with_machine(
                agreement,
                decided[:, column],
                sample.values[:, column],
                confidence=confidence,
                seed=seed,
            )
        found[category] = agreement
    return found
