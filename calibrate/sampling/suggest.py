"""Which images of a corpus to label next."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Cut
from clipcal.calibrate.sampling.design import History, SampleDesign, sample_design, union, without
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
from clipcal.files import replacing
from clipcal.index.store import Corpus

__all__ = ["Drawn", "SampleDesign", "Suggested", "Wish", "sample_design", "suggest"]

Method = Literal["importance", "stratified"]

_MOST_CLUSTERS = 64
_SAMPLE_FOR_CENTRES = 5_000
_NEAR_COPIES_UP_TO = 20_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    images : int
        How many to label.
    category : str
        In which; empty for all.
    audit : float
        The share drawn uniformly, in [0, 1].
    method : {"importance", "stratified"} or None
        How the others are picked; by default importance where there are thresholds.
    seed : int
        Of the draw.
    """

    images: int = 40
    category: str = ""
    audit: float = 0.5
    method: Method | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Suggested:
    """An image to label.

    Attributes
    ----------
    image : str
        Its name.
    category : str
        The category whose threshold its score is nearest to; without thresholds, the one in
        which it stands out most.
    score : float
        In that category.
    threshold : float or None
        Of that category.
    audit : bool
        Drawn uniformly, and not for its scores.
    inclusion : float
        With what probability it was drawn.
    """

    image: str
    category: str
    score: float
    threshold: float | None
    audit: bool
    inclusion: float


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A draw that the corpus does not know of yet.

    Attributes
    ----------
    suggestions : tuple of Suggested
        What to label, in random order: whoever stops half way has labelled a random half.
    categories : tuple of str
        To be labelled in.
    known : int
        Further images of the audit sample that were labelled or suggested before.
    pending : int
        Images of earlier rounds that have no label yet.
    frame : int
        Images that could be picked.
    method : str
        How images were picked.
    wish : Wish
        What was asked for.
    """

    suggestions: tuple[Suggested, ...]
    categories: tuple[str, ...]
    known: int
    pending: int
    frame: int
    method: Method
    wish: Wish
    _drawn: tuple[tuple[int, float, bool], ...]
    _given: tuple[int, ...]

    def keep(self, corpus: Corpus, sheet: Path) -> int:
        """Write the sheet to fill in, and keep the draw with the corpus: both or neither.

        Parameters
        ----------
        corpus : Corpus
            The corpus.
        sheet : pathlib.Path
            A CSV file that does not exist yet.

        Returns
        -------
        int
            The number of the round.

        Raises
        ------
        CalibrationError
            If the file exists or cannot be written.
        StoreError
            If the corpus cannot be written.
        """
        if sheet.exists():
            raise CalibrationError(
                f"{sheet} exists and may hold labels. Name another file: "
                f"clipcal suggest -o {sheet.stem}_{len(corpus.rounds()) + 1}.csv"
            )
        try:
            with replacing(sheet) as part:
                part.write_bytes(self._sheet())
                return corpus.add_suggestions(
                    self._drawn,
                    method=self.method,
                    seed=self.wish.seed,
                    category=self.wish.category,
                    frame=self.frame,
                    given=self._given,
                )
        except OSError as error:
            raise CalibrationError(
                f"The sheet cannot be written to {sheet} ({error.strerror}). Name a file in a "
                f"folder that can be written to: clipcal suggest -o FILE.csv"
            ) from error

    def _sheet(self) -> bytes:
        """Return a label file with blank cells; scores would sway whoever fills it in."""
        text = io.StringIO()
        blank = [""] * len(self.categories)
        rows = [("image", *self.categories), *((one.image, *blank) for one in self.suggestions)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode("utf-8", "surrogateescape")


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
    is neither labelled nor suggested.
    """
    wish = wish or Wish()
    columns = _columns(scored.categories, wish.category)
    live, first = np.unique(scored.rows, return_index=True)
    history = History.of(corpus, wish.category or None, live)
    labelled = _labelled_rows(corpus, scored)
    known = _Known.of(history, labelled, wish.category)
    rng = np.random.default_rng([wish.seed, history.following])
    audit, audit_inclusion = _draw_audit(live, known.sample, wish, rng)
    waiting = without(audit, known.rows)
    frame = without(live, union(known.rows, audit))
    cuts = _cuts(contract, [scored.categories[c] for c in columns])
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
    suggestions = [
        Suggested(
            scored.uris[place],
            *shown.about(scored.scores[place, columns]),
            audit=i < len(waiting),
            inclusion=float(probability[i]),
        )
        for i, place in enumerate(places.tolist())
    ]
    return Drawn(
        suggestions=tuple(suggestions[i] for i in rng.permutation(len(rows))),
        categories=tuple(cuts),
        known=len(audit) - len(waiting),
        pending=len(without(known.suggested, _labelled_rows(corpus, scored, wish.category))),
        frame=len(frame),
        method=method,
        wish=wish,
        _drawn=(
            *((int(row), audit_inclusion, True) for row in audit),
            *((int(row), float(p), False) for row, p in zip(picked, inclusion, strict=True)),
        ),
        _given=tuple(known.given.tolist()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known of the corpus before a draw, as rows.

    Attributes
    ----------
    sample : Int64[(k,)]
        The uniform sample.
    given : Int64[(k,)]
        Labelled without ever having been suggested.
    suggested : Int64[(k,)]
        Suggested for these categories.
    """

    sample: Int64
    given: Int64
    suggested: Int64

    @classmethod
    def of(cls, history: History, labelled: Int64, category: str) -> _Known:
        covering = [r.number for r in history.rounds if r.category in ("", category)]
        given = without(labelled, history.suggested)
        before = history.first_pick == history.following
        return cls(
            sample=union(
                given if before else given[:0],
                history.given_from_start(),
                history.audits(covering),
            ),
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


def _labelled_rows(corpus: Corpus, scored: CorpusScores, category: str = "") -> Int64:
    """Return the distinct contents that have a label in a category, or in any."""
    labels = corpus.labels()
    rows = [
        int(row)
        for uri, row in zip(scored.uris, scored.rows, strict=True)
        if uri in labels and (not category or category in labels[uri])
    ]
    return np.unique(np.array(rows, np.int64))


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
