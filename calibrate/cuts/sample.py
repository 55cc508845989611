"""The labelled images of a corpus: each content once, with how it came to be labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.matching import Match
from clipcal.calibrate.labels.table import UNKNOWN, LabelTable
from clipcal.calibrate.scoring.scores import Scores
from clipcal.errors import CalibrationError

Rows = NDArray[np.int64]
Index = Rows | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CutSample:
    """What is known for one cut.

    Attributes
    ----------
    scores : Float32[(n,)]
        Of the images with a label in the category.
    positive : Bool[(n,)]
        Who is at or above the level.
    weights : Float64[(n,)]
        Horvitz-Thompson weights; all equal in a plain random sample.
    uniform : Bool[(n,)]
        Who was not picked for its score, and so may back a guarantee.
    clusters : Int64[(n,)]
        Near copies share a number.
    copies : Float64[(n,)]
        How many images of the corpus have the content.
    blanks : int
        Images drawn at random whose label was left blank.
    """

    scores: NDArray[np.float32]
    positive: NDArray[np.bool_]
    weights: NDArray[np.float64]
    uniform: NDArray[np.bool_]
    clusters: Rows
    copies: NDArray[np.float64]
    blanks: int = 0

    def __len__(self) -> int:
        """Count the images."""
        return len(self.scores)

    def __getitem__(self, rows: Index) -> CutSample:
        """Take some of the images, or some of them twice."""
        return CutSample(
            self.scores[rows],
            self.positive[rows],
            self.weights[rows],
            self.uniform[rows],
            self.clusters[rows],
            self.copies[rows],
            self.blanks,
        )

    @property
    def positives(self) -> int:
        """How many are positive."""
        return int(np.count_nonzero(self.positive))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Labelled images, each content once.

    Attributes
    ----------
    scores : Float32[(n, c)]
        Their scores.
    values : Int8[(n, c)]
        Index into the levels; -1 where unknown.
    places : Int64[(n,)]
        Where they are among the scored images of the corpus.
    weights, uniform : Float64[(n, c)], Bool[(n, c)]
        As in `CutSample`, per category: images may be suggested for one of them.
    clusters : Int64[(n,)]
        Near copies share a number.
    copies : Float64[(n,)]
        How many images of the corpus have the content.
    blanks : Int64[(c,)]
        Per category the images drawn at random whose label was left blank. Whoever is unsure
        leaves hard images blank, so that a guarantee takes them at their worst.
    asked : Bool[(n, c)] or None
        In which categories somebody was asked about them: without a label these were left blank,
        and in the others nobody has said anything yet. None where in all.
    """

    scores: Scores
    values: NDArray[np.int8]
    places: Rows
    weights: NDArray[np.float64]
    uniform: NDArray[np.bool_]
    clusters: Rows
    copies: NDArray[np.float64]
    blanks: Rows
    asked: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.scores)

    def __getitem__(self, rows: Index) -> Sample:
        """Take some of the images."""
        return Sample(
            self.scores[rows],
            self.values[rows],
            self.places[rows],
            self.weights[rows],
            self.uniform[rows],
            self.clusters[rows],
            self.copies[rows],
            self.blanks,
            None if self.asked is None else self.asked[rows],
        )

    @property
    def backing(self) -> NDArray[np.bool_]:
        """Which images, (n,), have a label that may back a guarantee."""
        return np.asarray((self.uniform & (self.values != UNKNOWN)).any(axis=1), np.bool_)

    def of(self, column: int, rank: int) -> CutSample:
        """Take the images with a label in one category, and who is at or above a level.

        Images without any weight are left out: they stand for nothing that others do not.
        """
        values = self.values[:, column]
        known = (values != UNKNOWN) & (self.weights[:, column] > 0)
        return CutSample(
            self.scores[known, column],
            values[known] >= rank,
            self.weights[known, column],
            self.uniform[known, column],
            self.clusters[known],
            self.copies[known],
            int(self.blanks[column]),
        )


def gather(
    scores: Scores,
    categories: Sequence[str],
    table: LabelTable,
    match: Match,
    groups: Rows | None = None,
) -> tuple[Sample, tuple[str, ...]]:
    """Gather the labelled images of a corpus; labels that differ between copies are unknown.

    Parameters
    ----------
    scores : Float32[(N, c)]
        Scores of the whole corpus.
    categories : sequence of str
        Names of the columns; those that `table` lacks are unknown throughout.
    table : LabelTable
        Labels.
    match : Match
        Where the labelled images are in the corpus.
    groups : Int64[(N,)], optional
        Images with equal content share a number, and count once. Without it every row is one.

    Returns
    -------
    sample : Sample
        With equal weights, every image its own cluster, and none picked for its score.
    notes : tuple of str
        What was merged or found contradictory.

    Raises
    ------
    CalibrationError
        If the shapes differ, or no labelled image is in the corpus.
    """
    _check(scores, categories, table, match)
    labelled = np.flatnonzero(match.rows >= 0)
    rows = match.rows[labelled]
    given, asked = _in_columns(categories, table)
    content = rows if groups is None else groups[rows]
    first, values, clashes = merge_copies(given[labelled], content)
    notes: list[str] = []
    if len(first) < len(rows):
        notes.append(f"{len(rows) - len(first)} labelled images are copies of others.")
    if clashes:
        notes.append(f"{clashes} labels differ between copies and are unknown.")
    count = len(first)
    sample = Sample(
        scores[rows[first]],
        values,
        rows[first],
        np.ones(values.shape),
        np.ones(values.shape, np.bool_),
        np.arange(count),
        _copies(groups, rows[first]),
        np.zeros(len(categories), np.int64),
        _in_any_copy(asked[labelled], content),
    )
    return sample, tuple(notes)


def _in_columns(
    categories: Sequence[str], table: LabelTable
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Return labels, and which cells were asked, a column per category."""
    shape = (len(table.images), len(categories))
    values, asked = np.full(shape, UNKNOWN, np.int8), np.zeros(shape, np.bool_)
    cells = table.cells_asked()
    for column, category in enumerate(categories):
        if category in table.categories:
            own = table.categories.index(category)
            values[:, column], asked[:, column] = table.values[:, own], cells[:, own]
    return values, asked


def _in_any_copy(flags: NDArray[np.bool_], groups: Rows) -> NDArray[np.bool_]:
    """Tell of each distinct content, in the order of `merge_copies`, what any copy tells."""
    distinct, content = np.unique(groups, return_inverse=True)
    merged = np.zeros((len(distinct), flags.shape[1]), np.bool_)
    np.logical_or.at(merged, content, flags)
    return merged


def _copies(groups: Rows | None, rows: Rows) -> NDArray[np.float64]:
    """Count the images of the corpus that share the content of each row."""
    if groups is None:
        return np.ones(len(rows))
    return np.bincount(groups)[groups[rows]].astype(np.float64)


def merge_copies(
    values: NDArray[np.int8], groups: Rows
) -> tuple[NDArray[np.intp], NDArray[np.int8], int]:
    """Count the labels of each content once.

    Parameters
    ----------
    values : Int8[(n, c)]
        Levels, -1 where unknown.
    groups : Int64[(n,)]
        Equal for exact copies.

    Returns
    -------
    first : Int64[(m,)]
        Per distinct content, the place where it comes first.
    merged : Int8[(m, c)]
        Its labels; unknown where copies differ.
    clashes : int
        How many labels differ.
    """
    _, first, content = np.unique(groups, return_index=True, return_inverse=True)
    most = np.iinfo(np.int8).max
    low = np.full((len(first), values.shape[1]), most, np.int8)
    high = np.full_like(low, UNKNOWN)
    np.minimum.at(low, content, np.where(values == UNKNOWN, most, values))
    np.maximum.at(high, content, values)
    clash = (high != UNKNOWN) & (low != high)
    return first, np.where(clash, UNKNOWN, high).astype(np.int8), int(clash.sum())


def _check(scores: Scores, categories: Sequence[str], table: LabelTable, match: Match) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(categories):
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for {len(categories)} categories. "
            f"Score the corpus again: clipcal score"
        )
    if len(table.images) and not (match.rows >= 0).any():
        raise CalibrationError(
            f"None of the {len(table.images)} images in {table.source} is in the corpus, such as "
            f"{table.images[0]}. Embed them: clipcal embed FOLDER, or correct the names in "
            f"{table.source}, then run: clipcal calibrate --labels {table.source}"
        )
