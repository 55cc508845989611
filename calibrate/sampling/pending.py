"""Which of the images drawn to be labelled still wait for it."""

from __future__ import annotations

import numpy as np

from clipcal.calibrate.sampling.history import covers
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.index.chosen import labelled_rows
from clipcal.index.roster import roster
from clipcal.index.store import Corpus


def pending(corpus: Corpus, category: str = "", rater: str | None = None) -> list[int]:
    """List what was drawn to be labelled and has no label yet, in the order to label it in.

    The order within a round is random, and depends on nothing but the round: not on scores, nor
    on which labels there are. So whoever stops half way has labelled a random half, as long as
    nobody labels images of the round out of turn.

    Parameters
    ----------
    corpus : Corpus
        Keeps draws and labels.
    category : str
        To be labelled in: rounds for it and for all count, and an image waits for a label in it.
        Empty for all: then every round counts, and an image waits for a label in the category of
        its round, or for any in a round for all.
    rater : str, optional
        Who labels: then an image waits until this rater has judged it, whatever others said, but
        not where a file has its label. By default anybody's label will do.

    Returns
    -------
    list of int
        Rows of the embeddings, each of an image in the corpus: the first round's first.
    """
    covering = [r for r in corpus.rounds() if not category or covers(r, category)]
    if not covering:
        return []
    drawn, live = _rows_by_round(corpus), roster(corpus)[1]
    labelled = {
        scope: labelled_rows(corpus, scope, rater=rater)
        for scope in {category or r.category or None for r in covering}
    }
    found: dict[int, None] = {}
    for r in covering:
        order = np.random.default_rng([r.seed, r.number]).permutation(drawn[r.number])
        done = labelled[category or r.category or None]
        waits = order[np.isin(order, live) & ~np.isin(order, done)]
        found.update(dict.fromkeys(waits.tolist()))
    return list(found)


def _rows_by_round(corpus: Corpus) -> dict[int, Int64]:
    """Return what each round drew, ascending."""
    drawn = corpus.suggestions()
    number = np.array([one.round for one in drawn], np.int64)
    rows = np.array([one.row for one in drawn], np.int64)
    return {r.number: np.sort(rows[number == r.number]) for r in corpus.rounds()}
