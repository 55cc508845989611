"""What the labels of a corpus stand for, given how the labelled images were drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.sampling.history import History, union, without
from clipcal.calibrate.statistics.sampling import Float64, Int64, design_weights
from clipcal.index.chosen import chosen_rows
from clipcal.index.store import Corpus


@dataclass(frozen=True, slots=True, eq=False)
class SampleDesign:
    """How labelled images came to be labelled, and what follows for each.

    Attributes
    ----------
    weights : Float64[(n,)]
        How much each counts in an estimate about the corpus; mean 1 over those that count, and
        all 1 where nothing was picked or chosen for its score.
    uniform : Bool[(n,)]
        Which are a uniform sample of the corpus, and so may back a guarantee.
    given, audit, picked : int
        Images nobody had suggested, of the audit sample, and picked for their scores.
    late : int
        Those of `given` that were labelled only after images had been picked, or in the category
        after some had been chosen. They are weighted as a random sample of what was left then,
        and are not `uniform`.
    after_chosen : int
        Those of `late` that are so for what was chosen alone; 0 for all categories.
    chosen : int
        Images that are labelled because somebody saw them for their scores, and that no draw has
        taken in since: they have weight 0, are not `uniform`, and are none of the above.
    drawn : int
        How many images the audit sample has, labelled or not.
    waiting : Int64[(m,)]
        Rows of the audit sample of which nobody was asked yet, ascending.
    notes : tuple of str
        What estimates leave out.
    warnings : tuple of str
        What limits guarantees, each with the next command.
    """

    weights: Float64
    uniform: NDArray[np.bool_]
    given: int
    audit: int
    picked: int
    late: int = 0
    after_chosen: int = 0
    chosen: int = 0
    drawn: int = 0
    waiting: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def sample_design(
    corpus: Corpus,
    rows: Int64,
    category: str | None = None,
    live: Int64 | None = None,
    asked: Int64 | None = None,
) -> SampleDesign:
    r"""Tell for labelled images what they stand for in estimates and in guarantees.

    Images labelled before anything was suggested are taken as a random sample of the corpus,
    and so is their union with the audit samples: each of those was drawn uniformly from
    whatever was in the union not yet, images picked before included. For the rest see
    `clipcal.calibrate.statistics.sampling.design_weights`.

    Images that were labelled without a suggestion *after* others had been picked are a random
    sample of the rest at most: a person who draws anew and meets a picked image finds it
    labelled. They count as one more draw, from that rest, but back no guarantee.

    Images that somebody labelled because of their scores, without any draw (see
    `clipcal.index.chosen`), have no known probability of being labelled: low for most, and 1 for
    those above a threshold. Nothing can be estimated from them, so that each counts *as if it had
    no label*, until a draw takes it in, which does not look at whether it has one; from then on
    its label is that of any image drawn. Images labelled in the category without a suggestion
    after some had been chosen are of the rest only, and are treated as those after picks.

    Parameters
    ----------
    corpus : Corpus
        Keeps the draws.
    rows : Int64[(n,)]
        Distinct labelled contents, as rows of the embeddings, each of an embedded image.
    category : str, optional
        In which they are labelled; then draws for other categories alone do not count. By
        default all draws count, and chosen is what was chosen in some category and has, as far as
        the corpus knows, no other label.
    live : Int64[(N,)], optional
        The distinct contents of the corpus, ascending, where they are at hand.
    asked : Int64[(m,)], optional
        All contents that somebody was asked about, those without a label included and those
        whose label was taken back; by default `rows`.

    Returns
    -------
    SampleDesign
        Weights and flags in the order of `rows`.
    """
    history = History.of(corpus, category, live)
    chosen = np.isin(rows, history.chosen)
    weights, uniform = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
    counted = rows[~chosen]
    suggested = np.isin(counted, history.suggested)
    unseen = without(counted[~suggested], history.recorded)
    sample = history.uniform(unseen)
    uniform[~chosen] = np.isin(counted, sample) & history.from_the_start(counted)
    drawn = history.audits()
    audit = np.isin(counted, drawn)
    given = ~suggested & ~audit
    late = given & ~np.isin(counted, sample)
    draws = [*history.sample_draw(sample), *history.pick_draws(), *history.late_draws(unseen)]
    weights[~chosen] = design_weights(counted, draws)
    return SampleDesign(
        weights=weights,
        uniform=uniform,
        given=int(given.sum()),
        audit=int(audit.sum()),
        picked=int((~given & ~audit).sum()),
        late=int(late.sum()),
        after_chosen=int(np.isin(counted[late], history.after_chosen(unseen)).sum()),
        chosen=int(chosen.sum()),
        drawn=len(drawn),
        waiting=without(drawn, rows if asked is None else asked),
        notes=tuple(history.notes(rows)),
        warnings=tuple(history.warnings(int(late.sum()))),
    )


def backing_blanks(
    corpus: Corpus,
    asked: Int64,
    taken_back: Int64,
    category: str,
    live: Int64 | None = None,
) -> Int64:
    """Tell which images without a label a guarantee must take at their worst.

    A label that is not given, or not any more, may be missing because of what the image shows:
    that is so of every image that was drawn at random to get one and of which somebody was asked,
    and of every image whose label would back a guarantee had it not been taken back. Without them
    whoever takes back the labels of low-scoring positives would promise a recall that is not
    there.

    Parameters
    ----------
    corpus : Corpus
        Keeps the draws.
    asked : Int64[(n,)]
        Distinct contents that somebody was asked about in the category, and that have no label
        in it. Those that nobody was asked about are no blanks: see `SampleDesign.waiting`; nor
        are blank cells of a file whose images nobody drew.
    taken_back : Int64[(m,)]
        Distinct contents whose label in the category was taken back, and that have no other.
    category : str
        The category.
    live : Int64[(N,)], optional
        The distinct contents of the corpus, ascending, where they are at hand.

    Returns
    -------
    Int64[(k,)]
        Those of both, ascending, that are in the uniform sample of the category, and of the
        population of which guarantees speak.
    """
    history = History.of(corpus, category, live)
    unseen = without(without(taken_back, history.suggested), history.recorded)
    backed = without(np.intersect1d(taken_back, history.uniform(unseen)), history.chosen)
    blank = union(np.intersect1d(union(asked, taken_back), history.audits()), backed)
    blank = np.intersect1d(blank, history.live)
    return blank[history.from_the_start(blank)]


def missing_beside_chosen(
    corpus: Corpus, labelled: Int64, category: str, live: Int64 | None = None
) -> Int64:
    """Tell which images drawn at random have no label, where others have theirs for their scores.

    Of an audit sample some images may have labels already because somebody saw them for their
    scores. While the rest of it is labelled in part only, these are too many among the labelled:
    what an image shows has decided whether it has a label.

    Parameters
    ----------
    corpus : Corpus
        Keeps the draws, and what was chosen.
    labelled : Int64[(n,)]
        Distinct contents with a label in the category.
    category : str
        The category.
    live : Int64[(N,)], optional
        The distinct contents of the corpus, ascending, where they are at hand.

    Returns
    -------
    Int64[(m,)]
        Rows of the audit sample without a label, of the population of which guarantees speak;
        empty where no chosen image with a label is in the audit sample.
    """
    history = History.of(corpus, category, live)
    audits = history.audits()
    audits = audits[history.from_the_start(audits)]
    taken_in = np.intersect1d(audits, chosen_rows(corpus, category))
    return without(audits, labelled) if np.isin(taken_in, labelled).any() else audits[:0]


def from_first_draw(corpus: Corpus, rows: Int64) -> NDArray[np.bool_]:
    """Tell which rows were in the corpus when images were first drawn to be labelled.

    Parameters
    ----------
    corpus : Corpus
        Keeps the draws.
    rows : Int64[(n,)]
        Rows of the embeddings.

    Returns
    -------
    Bool[(n,)]
        All true where nothing was ever drawn.
    """
    rounds = corpus.rounds()
    return rows < rounds[0].rows if rounds else np.ones(len(rows), np.bool_)
