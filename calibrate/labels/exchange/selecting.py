"""Which images to send to somebody who labels, and what their labels will be worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.sampling.pending import pending
from clipcal.calibrate.sampling.queue import ByScore, first_places
from clipcal.calibrate.sampling.waiting import line_up_by_score
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import LabelError
from clipcal.index.judgements import Origin
from clipcal.index.roster import roster
from clipcal.index.store import Corpus


def every_image(corpus: Corpus) -> dict[int, Origin]:
    """Take every embedded item: see `clipcal.calibrate.labels.exchange.exporting.export`."""
    return dict.fromkeys(roster(corpus)[0].tolist(), "given")


def suggested_images(corpus: Corpus, category: str = "") -> dict[int, Origin]:
    """Take what draws suggested and nobody has labelled yet, in the order to label it in.

    Parameters
    ----------
    corpus : Corpus
        Keeps draws and labels.
    category : str
        To be labelled in; empty for all.

    Returns
    -------
    dict of int to Origin
        The first item of each content: "random" where it was drawn uniformly, else "suggested".

    Raises
    ------
    LabelError
        If nothing waits for a label.
    """
    waiting = np.array(pending(corpus, category), np.int64)
    if not len(waiting):
        raise LabelError(
            "No image that was suggested waits for a label. Draw some: clipcal suggest -n 40"
        )
    uniform = {one.row for one in corpus.suggestions() if one.audit}
    ids, rows = roster(corpus)
    places = first_places(waiting, rows)
    return {
        item: "random" if row in uniform else "suggested"
        for item, row in zip(ids[places].tolist(), rows[places].tolist(), strict=True)
    }


def images_by_score(
    corpus: Corpus,
    order: ByScore,
    scored: CorpusScores,
    contract: Contract,
    categories: Sequence[str],
    limit: int,
) -> dict[int, Origin]:
    """Take the images that are flagged, or lie nearest to a threshold, and have no label yet.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    order : {"flagged", "near"}
        Which; see `clipcal.calibrate.sampling.waiting.line_up`. It is their origin, too.
    scored : CorpusScores
        The corpus under the contract.
    contract : Contract
        The thresholds.
    categories : sequence of str
        In which to look.
    limit : int
        At most so many.

    Returns
    -------
    dict of int to Origin
        The first item of each content.

    Raises
    ------
    CalibrationError
        If there is no threshold that could flag or be near.
    LabelError
        If there is no such image.
    """
    line = line_up_by_score(corpus, scored, contract, order, categories, limit=limit)
    places = line.places
    if not len(places):
        raise LabelError(
            f"No image without a label is {order} in {', '.join(categories)}. Draw images to "
            f"label: clipcal suggest -n 40"
        )
    return dict.fromkeys(roster(corpus)[0][places].tolist(), order)
