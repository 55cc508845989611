"""Which images of a corpus to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Cut
from clipcal.calibrate.sampling.design import SampleDesign, sample_design
from clipcal.calibrate.sampling.drawn import Drawn, Method, Suggested, Wish
from clipcal.calibrate.sampling.history import History, covers, union, without
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.probability import apply_map
from clipcal.calibrate.statistics.resampling import near_copies
from clipcal.calibrate.statistics.sampling import (
    FLOOR,
    Float64,
    Int64,
    cluster_centres,
    equal_allocation,
    inclusion_probabilities,
    nearest_centre,
    nearness,
    score_strata,
    share,
    spread_order,
    systematic_sample,
    uncertainty,
)
from clipcal.errors import CalibrationError
from clipcal.index.chosen import labelled_rows, rows_before_chosen, taken_back_rows
from clipcal.index.store import Corpus

__all__ = ["Drawn", "Method", "SampleDesign", "Suggested", "Wish", "sample_design", "suggest"]

_MOST_CLUSTERS = 64
_SAMPLE_FOR_CENTRES = 5_000
_NEAR_COPIES_UP_TO = 20_000


def suggest(
    corpus: Corpus, scored: CorpusScores, contract: Contract | None, wish: Wish | None = None
) -> Drawn:
    """Draw images to label; nothing is kept until `Drawn.keep`.

    Parameters
    ----------
    corpus : Corpus
        The corpus; what it knows of labels and earlier draws counts.
    scored : CorpusScores
        Its scores.
    contract : Contract or None
        Thresholds and probabilities, where there are any.
    wish : Wish, optional
        How many, and how.

    Returns
    -------
    Drawn
        What to label.

    Raises
    ------
    CalibrationError
        If the category is none, nothing is left to label, or importance is asked for without
        a threshold.

    Notes
    -----
    The audit sample is drawn from all distinct images that are not in it yet, whether or not
    they are labelled, so that it stays a uniform sample of the corpus; those of it that are
    labelled already cost nothing, and as many more are picked. The others are picked from what
    is neither labelled nor suggested. An image whose label was taken back stays where it was with
    the label: it is a blank of the sample, which no draw replaces.

    Images that are labelled only because somebody saw them for their scores are drawn like those
    without a label, since only a draw makes their labels count; none is asked for again.
    """
    wish = wish or Wish()
    columns = _columns(scored.categories, wish.category)
    live, first = np.unique(scored.rows, return_index=True)
    history = History.of(corpus, wish.category or None, live)
    names = [scored.categories[column] for column in columns]
    known = _Known.of(corpus, history, wish.category, names)
    answered = reduce(np.intersect1d, (labelled_rows(corpus, name) for name in names))
    rng = np.random.default_rng([wish.seed, history.following])
    audit, audit_inclusion = _draw_audit(live, known.sample, wish, rng)
    waiting = without(without(audit, known.rows), answered)
    frame = without(live, union(known.rows, audit))
    cuts = _cuts(contract, names)
    method = _method(wish, cuts)
    number = min(wish.images - len(waiting), len(frame))
    if len(waiting) + number == 0:
        raise CalibrationError(
            f"All {len(live):,} distinct images of {corpus.path} are labelled or suggested. Label "
            f"what was suggested, then run: clipcal calibrate --labels FILE.csv"
        )
    scores = scored.scores[first[np.searchsorted(live, frame)]][:, columns]
    picked, inclusion = _pick(corpus, frame, scores, cuts, number, method, rng)
    rows = np.concatenate([waiting, picked])
    probability = np.concatenate([np.full(len(waiting), audit_inclusion), inclusion])
    shown = _Shown.of(scored.scores[first][:, columns], cuts)
    places = first[np.searchsorted(live, rows)]
    asked = [
        Suggested(
            scored.uris[place],
            *shown.about(scored.scores[place, columns]),
            audit=i < len(waiting),
            inclusion=float(probability[i]),
        )
        for i, place in enumerate(places.tolist())
    ]
    shuffled = rng.permutation(len(rows))
    suggestions = tuple(asked[i] for i in shuffled if rows[i] not in answered)
    return Drawn(
        suggestions=suggestions,
        categories=tuple(cuts),
        known=len(audit) + len(picked) - len(suggestions),
        pending=len(without(known.suggested, labelled_rows(corpus, wish.category or None))),
        frame=len(frame),
        method=method,
        wish=wish,
        _drawn=(
            *((int(row), audit_inclusion, True) for row in audit),
            *((int(row), float(p), False) for row, p in zip(picked, inclusion, strict=True)),
        ),
        _given=tuple(known.given.tolist()),
        _after=history.following - 1,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known of the corpus before a draw, as rows.

    Attributes
    ----------
    sample : Int64[(k,)]
        The uniform sample.
    given : Int64[(k,)]
        Labelled without ever having been suggested, or so until the label was taken back.
    suggested : Int64[(k,)]
        Suggested for these categories.
    """

    sample: Int64
    given: Int64
    suggested: Int64

    @classmethod
    def of(
        cls, corpus: Corpus, history: History, category: str, categories: Sequence[str]
    ) -> _Known:
        covering = [r.number for r in history.rounds if not r.category or covers(r, category)]
        known = union(labelled_rows(corpus, chosen=False), taken_back_rows(corpus, chosen=False))
        labelled = np.intersect1d(known, history.live)
        given = without(labelled, history.suggested)
        before = history.first_pick == history.following
        first = union(given if before else given[:0], history.given_from_start())
        return cls(
            sample=union(_settled(corpus, first, categories), history.audits(covering)),
            given=union(given, *history.given_of.values()),
            suggested=union(history.audits(covering), *(history.picked_of[n][0] for n in covering)),
        )

    @property
    def rows(self) -> Int64:
        """All that cannot be picked."""
        return union(self.given, self.suggested)


def _draw_audit(
    live: Int64, sample: Int64, wish: Wish, rng: np.random.Generator
) -> tuple[Int64, float]:
    """Draw uniformly from what is not in the uniform sample yet; rows and their probability."""
    outside = without(live, sample)
    number = min(round(wish.audit * wish.images), len(outside))
    drawn = np.sort(rng.choice(outside, number, replace=False))
    return drawn, number / max(len(outside), 1)


def _columns(categories: Sequence[str], wanted: str) -> list[int]:
    if wanted and wanted not in categories:
        raise CalibrationError(
            f"There is no category {wanted}. The categories are: {', '.join(categories)}, as in: "
            f"clipcal suggest --category {categories[0]}"
        )
    return [i for i, name in enumerate(categories) if wanted in ("", name)]


def _settled(corpus: Corpus, rows: Int64, categories: Sequence[str]) -> Int64:
    """Leave out what had no label in a category yet when some images had one for their scores."""
    found = (rows_before_chosen(corpus, category) for category in categories)
    return reduce(np.intersect1d, (before for before in found if before is not None), rows)


def _cuts(contract: Contract | None, categories: Sequence[str]) -> dict[str, list[Cut]]:
    """Return the cuts with a threshold, by category."""
    known = {} if contract is None else contract.categories
    return {
        name: [cut for cut in known.get(name, {}).values() if cut.threshold is not None]
        for name in categories
    }


def _method(wish: Wish, cuts: dict[str, list[Cut]]) -> Method:
    thresholds = any(cuts.values())
    if wish.method == "importance" and not thresholds:
        raise CalibrationError(
            "Without a threshold no image is near one. Fit some: clipcal calibrate --labels "
            "FILE.csv, or pick over all scores: clipcal suggest --method stratified"
        )
    return wish.method or ("importance" if thresholds else "stratified")


def _pick(
    corpus: Corpus,
    frame: Int64,
    scores: NDArray[np.float32],
    cuts: dict[str, list[Cut]],
    number: int,
    method: Method,
    rng: np.random.Generator,
) -> tuple[Int64, Float64]:
    """Pick from the frame for scores; rows and their inclusion probabilities."""
    if number == 0:
        return frame[:0], np.empty(0)
    sizes = [
        _sizes(scores[:, column], several, number, method)
        for column, several in enumerate(cuts.values())
    ]
    size: Float64 = np.mean(sizes, axis=0)
    if len(frame) <= _NEAR_COPIES_UP_TO:
        size = share(size, near_copies(corpus.shards.take(frame)))
    floor = 0.0 if method == "stratified" else FLOOR
    inclusion = inclusion_probabilities(size, number, floor)
    strata = [score_strata(scores[:, 0], number)] if floor == 0 and len(cuts) == 1 else []
    order = spread_order(*strata, _clusters(corpus, frame, number, rng), scores.mean(axis=1))
    drawn = systematic_sample(inclusion, order, rng)
    return frame[drawn], inclusion[drawn]


def _sizes(scores: NDArray[np.float32], cuts: Sequence[Cut], number: int, method: str) -> Float64:
    """Return how much each image is worth to one category; the sum is 1."""
    if method == "stratified" or not cuts:
        return equal_allocation(score_strata(scores, number))
    worth = [uncertainty(_probability(scores, cut)) for cut in cuts]
    return np.asarray(np.mean([w / (w.sum() or 1.0) for w in worth], axis=0), np.float64)


def _probability(scores: NDArray[np.float32], cut: Cut) -> Float64:
    if cut.probability is not None:
        return apply_map(cut.probability.map, scores)
    return nearness(scores, cut.threshold or 0.0)


def _clusters(corpus: Corpus, frame: Int64, number: int, rng: np.random.Generator) -> Int64:
    """Number the clusters of the frame's embeddings, read once from end to end."""
    some = np.sort(rng.choice(frame, min(len(frame), _SAMPLE_FOR_CENTRES), replace=False))
    centres = cluster_centres(corpus.shards.take(some), min(number, _MOST_CLUSTERS), rng)
    nearest = np.empty(corpus.rows, np.int64)
    for start, block in corpus.shards.blocks(len(nearest)):
        nearest[start : start + len(block)] = nearest_centre(block, centres)
    return nearest[frame]


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What a person is told of an image: one category of several.

    Attributes
    ----------
    categories : tuple of str
        Names of the columns.
    thresholds : list of Float64[(k,)]
        Per category, from low to high.
    centre, spread : Float64[(c,)]
        Mean and standard deviation of the scores.
    """

    categories: tuple[str, ...]
    thresholds: list[Float64]
    centre: Float64
    spread: Float64

    @classmethod
    def of(cls, scores: NDArray[np.float32], cuts: dict[str, list[Cut]]) -> _Shown:
        spread = scores.std(axis=0, dtype=np.float64)
        return cls(
            tuple(cuts),
            [np.array([cut.threshold for cut in several], np.float64) for several in cuts.values()],
            scores.mean(axis=0, dtype=np.float64),
            np.where(spread > 0, spread, 1.0),
        )

    def about(self, scores: NDArray[np.float32]) -> tuple[str, float, float | None]:
        """Return the category, the score and the threshold that matter most for one image."""
        near = [
            (abs(scores[column] - threshold) / self.spread[column], column, float(threshold))
            for column, thresholds in enumerate(self.thresholds)
            for threshold in thresholds
        ]
        if near:
            _, column, threshold = min(near)
            return self.categories[column], float(scores[column]), threshold
        column = int(np.argmax((scores - self.centre) / self.spread))
        return self.categories[column], float(scores[column]), None
