"""Which images of a corpus wait for a label: drawn ones, flagged ones, those near a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.sampling.pending import pending
from clipcal.calibrate.sampling.queue import ByScore, Lane, Line, first_places, queue
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.sampling import Float64
from clipcal.errors import CalibrationError
from clipcal.index.chosen import labelled_rows
from clipcal.index.store import Corpus

Order = Literal["suggested", "flagged", "near"]


def line_up(
    corpus: Corpus,
    scored: CorpusScores,
    contract: Contract | None,
    order: Order,
    *,
    category: str | None = None,
    rater: str | None = None,
    limit: int,
) -> Line:
    """Line up images that wait for a label, each content once.

    Parameters
    ----------
    corpus : Corpus
        Keeps draws and labels.
    scored : CorpusScores
        Its scores, by the contract where there is one.
    contract : Contract or None
        The thresholds; what was drawn waits without.
    order : {"suggested", "flagged", "near"}
        What was drawn to be labelled, in random order; or what nobody has labelled and is
        flagged, the highest score first, or lies near a threshold, the nearest first. Labels of
        these back no guarantee: they say so by this word as their origin.
    category : str, optional
        In which; by default in any.
    rater : str, optional
        Who labels: what was drawn waits until this rater has labelled it, and by default until
        anybody has.
    limit : int
        As for `clipcal.calibrate.sampling.queue.queue`.

    Returns
    -------
    Line
        As from there.

    Raises
    ------
    CalibrationError
        If there is no threshold that could flag or be near.
    """
    if order == "suggested":
        drawn = np.array(pending(corpus, category or "", rater), np.int64)
        places = first_places(drawn, scored.rows)
        return Line(len(places), places[:limit])
    categories = scored.categories if category is None else (category,)
    return line_up_by_score(corpus, scored, contract, order, categories, limit=limit)


def line_up_by_score(
    corpus: Corpus,
    scored: CorpusScores,
    contract: Contract | None,
    order: ByScore,
    categories: Sequence[str],
    *,
    limit: int,
) -> Line:
    """Line up images for their scores in some categories; see `line_up`."""
    lanes = [_lane(corpus, scored, contract, order, category) for category in categories]
    _require_thresholds(lanes, categories)
    return queue(order, lanes, scored.rows, limit)


def _lane(
    corpus: Corpus, scored: CorpusScores, contract: Contract | None, order: ByScore, category: str
) -> Lane:
    return Lane(
        scored.column(category),
        _thresholds(contract, category, order),
        labelled_rows(corpus, category),
    )


def _thresholds(contract: Contract | None, category: str, order: ByScore) -> Float64:
    """Return a category's thresholds; near counts those from which images are blocked, too."""
    known = {} if contract is None else contract.categories
    cuts = [*known.get(category, {}).values()]
    edges = [cut.threshold for cut in cuts]
    if order == "near":
        edges += [cut.bands.upper for cut in cuts if cut.bands is not None]
    return np.array([edge for edge in edges if edge is not None], np.float64)


def _require_thresholds(lanes: Sequence[Lane], categories: Sequence[str]) -> None:
    if any(len(lane.thresholds) for lane in lanes):
        return
    of = f" of '{categories[0]}'" if len(categories) == 1 else ""
    raise CalibrationError(
        f"There is no threshold{of} yet, so that nothing is flagged and nothing lies near one. "
        f"Label what is suggested (clipcal suggest), then fit one: "
        f"clipcal calibrate --labels FILE.csv"
    )
