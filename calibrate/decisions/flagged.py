"""What lies near the images that a calibration flags: where to look for what it misses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.scores import decide
from clipcal.errors import CalibrationError
from clipcal.index.neighbours import Neighbour, search
from clipcal.index.store import Corpus

MOST_QUERIES = 256


@dataclass(frozen=True, slots=True)
class NearFlagged:
    """An image that is not flagged but looks like one that is.

    Attributes
    ----------
    uri : str
        The image.
    similarity : float
        Its greatest cosine with a flagged image.
    near : str
        That flagged image.
    """

    uri: str
    similarity: float
    near: str


@dataclass(frozen=True, slots=True)
class FlaggedSearch:
    """What was found, best first, and from how many flagged images."""

    results: tuple[NearFlagged, ...]
    flagged: int


def near_flagged(
    corpus: Corpus, scored: CorpusScores, contract: Contract, category: str, k: int
) -> FlaggedSearch:
    """Find the unflagged images nearest to those flagged in a category.

    Parameters
    ----------
    corpus : Corpus
        A corpus whose index is up to date.
    scored : CorpusScores
        Its scores.
    contract : Contract
        The thresholds; of a category with levels the lowest that has one counts.
    category : str
        The category.
    k : int
        How many images to find.

    Returns
    -------
    FlaggedSearch
        Unflagged images, best first. Of more than 256 flagged images the highest-scoring 256
        are searched around.

    Raises
    ------
    CalibrationError
        If there is no such category, or it has no threshold.
    """
    threshold = _threshold(contract, category)
    scores = scored.column(category)
    flags = decide(scores, threshold)
    rows = np.unique(scored.rows[flags])
    if len(rows) == 0:
        return FlaggedSearch((), 0)
    sources = _highest(np.flatnonzero(flags), scores, scored.rows)
    queries = corpus.shards.take(scored.rows[sources]).astype(np.float32)
    found = search(corpus, queries, k, leave_out=rows.tolist(), stale=True)
    best: dict[str, tuple[Neighbour, int]] = {}
    for source, neighbours in zip(sources.tolist(), found, strict=True):
        for image in neighbours:
            if image.uri not in best or image.score > best[image.uri][0].score:
                best[image.uri] = (image, source)
    ranked = sorted(best.values(), key=lambda pair: (-pair[0].score, pair[0].uri))[:k]
    # Their names come from the scores: another process may have removed a flagged image since.
    results = tuple(
        NearFlagged(image.uri, image.score, scored.uris[source]) for image, source in ranked
    )
    return FlaggedSearch(results, int(flags.sum()))


def _highest(
    flagged: NDArray[np.int64], scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Places of the flagged images to search around: the highest scores, each content once."""
    order = flagged[np.argsort(-scores[flagged], kind="stable")]
    first = np.unique(rows[order], return_index=True)[1]
    return order[np.sort(first)][:MOST_QUERIES]


def _threshold(contract: Contract, category: str) -> float:
    cuts = contract.categories.get(category)
    if cuts is None:
        raise CalibrationError(
            f"The calibration has no category {category!r}; it has "
            f"{', '.join(contract.categories)}. Next: clipcal search --flagged CATEGORY"
        )
    thresholds = [cut.threshold for cut in cuts.values() if cut.threshold is not None]
    if not thresholds:
        raise CalibrationError(_why_none(category, next(iter(cuts.values()))))
    return min(thresholds)


def _why_none(category: str, cut: Cut) -> str:
    return f"{category!r} has no threshold ({cut.status}), so nothing is flagged. {cut.next_step}"
