"""The scores at calibration, and whether those of new images are still like them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Reference
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.drift import Drift, measure_drift, quantile_sketch
from clipcal.index.store import Corpus

# Fewer say too little, whatever they look like.
FEWEST_NEW = 30


def reference_of(corpus: Corpus, scored: CorpusScores) -> Reference:
    """Keep the distribution of every category's scores, and of which embeddings it is."""
    return Reference(
        rows=corpus.rows,
        chain=corpus.chain(corpus.rows),
        images=len(scored.uris),
        quantiles={
            category: quantile_sketch(scored.column(category)) for category in scored.categories
        },
    )


def drift_since(contract: Contract, corpus: Corpus, scored: CorpusScores) -> dict[str, Drift]:
    """Compare the scores of images that came after the calibration with those at calibration.

    In a corpus other than the one of the calibration all images are new.

    Parameters
    ----------
    contract : Contract
        The calibration.
    corpus : Corpus
        What it is applied to.
    scored : CorpusScores
        The corpus's scores under it.

    Returns
    -------
    dict of str to Drift
        By category; empty where fewer than 30 images are new.
    """
    reference = contract.reference
    if reference is None:
        return {}
    same = corpus.rows >= reference.rows and corpus.chain(reference.rows) == reference.chain
    new = scored.rows >= (reference.rows if same else 0)
    if np.count_nonzero(new) < FEWEST_NEW:
        return {}
    return {
        category: measure_drift(sketch, reference.images, scored.column(category)[new])
        for category, sketch in reference.quantiles.items()
    }


def warn_of_drift(drifts: Mapping[str, Drift]) -> tuple[str, ...]:
    """Say for which categories the calibration no longer speaks.

    Parameters
    ----------
    drifts : mapping of str to Drift
        By category.

    Returns
    -------
    tuple of str
        A sentence per category that moved, with what to do.
    """
    return tuple(
        f"{category}: the scores of {drift.n:,} images that came after the calibration are "
        f"unlike those before (KS {drift.ks:.2f}, PSI {drift.psi:.2f}), so that its thresholds "
        f"and guarantees may not hold for them. Label some of them: clipcal suggest --audit 1 "
        f"-n 100, then run: clipcal calibrate"
        for category, drift in drifts.items()
        if drift.drifted
    )
