"""Apply a calibration to the scores of a whole corpus, and write the decisions down."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.columns import Column
from clipcal.calibrate.records import Cut
from clipcal.calibrate.score_file import image_names
from clipcal.calibrate.scoring.scores import Scores, decide
from clipcal.errors import CalibrationError
from clipcal.files import writing

UNDECIDED = -1
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What a calibration says of each image.

    Attributes
    ----------
    categories : tuple of str
        Names of the columns.
    levels : tuple of str
        From low to high.
    scores : Float32[(n, c)]
        The scores.
    thresholds : Float64[(levels - 1, c)]
        Per level above the lowest and category; infinite where there is none.
    values : Int8[(n, c)]
        Index into `levels`; -1 where no threshold decides.
    """

    categories: tuple[str, ...]
    levels: tuple[str, ...]
    scores: Scores
    thresholds: NDArray[np.float64]
    values: NDArray[np.int8]


def decisions(scores: Scores, categories: Sequence[str], contract: Contract) -> Decisions:
    """Decide every image by the thresholds of a contract.

    An image has the highest level whose threshold it reaches, else the lowest level. Where the
    level above the lowest has no threshold, an image that reaches no other is undecided.

    Parameters
    ----------
    scores : Float32[(n, c)]
        Scores of the corpus.
    categories : sequence of str
        Names of the columns.
    contract : Contract
        The calibration; its fingerprint is the caller's to check.

    Returns
    -------
    Decisions
        Levels per image and category.

    Raises
    ------
    CalibrationError
        If the contract lacks a category, the shapes do not fit, or a score is NaN.
    """
    lacking = [name for name in categories if name not in contract.categories]
    if lacking:
        raise CalibrationError(
            f"The calibration has no category {', '.join(lacking)}; it has "
            f"{', '.join(contract.categories)}. Fit it for this prompt set: "
            f"clipcal calibrate --labels FILE.csv"
        )
    thresholds = np.array(
        [
            [_limit(contract.categories[name].get(level)) for name in categories]
            for level in contract.levels[1:]
        ]
    )
    values = decide(scores, thresholds[0]).view(np.int8)
    for rank, limits in enumerate(thresholds[1:], start=2):
        # Arithmetic on whole arrays: a masked copy would take ten times as long.
        np.maximum(values, decide(scores, limits).view(np.int8) * np.int8(rank), out=values)
    for column in np.flatnonzero(np.isinf(thresholds[0])):
        np.copyto(values[:, column], UNDECIDED, where=values[:, column] == 0)
    return Decisions(tuple(categories), contract.levels, scores, thresholds, values)


def write_csv(
    decided: Decisions,
    images: Sequence[str],
    path: Path,
    verdicts: Sequence[str | None] | None = None,
    more: Sequence[Column] = (),
) -> None:
    """Write decisions as CSV in UTF-8, whole or not at all.

    The columns are ``image`` and, per category, ``NAME_score``, ``NAME_threshold`` and
    ``NAME``: the level, or 1 and 0 for yes and no; empty where undecided. With several levels
    the threshold is that of the lowest of them which has one. Scores and thresholds have the
    shortest digits that give back the same float32, so that comparing what was written gives
    the same decision. Then come the columns of bands and probabilities, where there are some, and
    where there are verdicts, they are the last column, ``overall``.

    Parameters
    ----------
    decided : Decisions
        What to write.
    images : sequence of str
        Names of the rows.
    path : pathlib.Path
        The file; its folder must exist.
    verdicts : sequence of (str or None), optional
        Per image the verdict over all its categories; empty where None.
    more : sequence of Column, optional
        Bands and probabilities.

    Raises
    ------
    CalibrationError
        If the rows are not the images, or the file cannot be written.
    """
    if len(images) != len(decided.values):
        raise CalibrationError(
            f"There are decisions for {len(decided.values)} images, but {len(images)} names. "
            f"Score the corpus again: clipcal score"
        )
    again = "clipcal rescore -o FILE.csv"
    with (
        writing(path, CalibrationError, "The decisions", again) as part,
        part.open("wb") as stream,
    ):
        _write(stream, decided, images, verdicts, more)


def count_decisions(decided: Decisions) -> dict[str, dict[str, int]]:
    """Count the images at each level above the lowest, by category and level.

    Parameters
    ----------
    decided : Decisions
        What was decided.

    Returns
    -------
    dict
        Category → level → images; a category without any threshold counts none.
    """
    return {
        category: {
            level: int(np.count_nonzero(decided.values[:, column] == rank))
            for rank, level in enumerate(decided.levels[1:], start=1)
        }
        for column, category in enumerate(decided.categories)
    }


def warn_of(contract: Contract) -> tuple[str, ...]:
    """Name the cuts of a contract that are neither certified nor estimated.

    Parameters
    ----------
    contract : Contract
        The calibration that is to be applied.

    Returns
    -------
    tuple of str
        A sentence per cut, with what to do about it.
    """
    binary = len(contract.levels) == 2
    return tuple(
        f"{category if binary else f'{category}, {level}'}: {cut.status}: "
        f"{_PROBLEMS[cut.status].format(objective=cut.objective)} {cut.next_step}"
        for category, cuts in contract.categories.items()
        for level, cut in cuts.items()
        if cut.status in _PROBLEMS
    )


_PROBLEMS = {
    "insufficient": "the threshold attains {objective} in the sample only.",
    "no_positives": "there is no threshold.",
    "no_negatives": "there is no threshold.",
}


def _limit(cut: Cut | None) -> float:
    return np.inf if cut is None or cut.threshold is None else cut.threshold


def _write(
    stream: BinaryIO,
    decided: Decisions,
    images: Sequence[str],
    verdicts: Sequence[str | None] | None,
    more: Sequence[Column],
) -> None:
    header = io.StringIO()
    names = [f"{name}{end}" for name in decided.categories for end in ("_score", "_threshold", "")]
    names += [column.name for column in more]
    names += [] if verdicts is None else ["overall"]
    csv.writer(header, lineterminator="\n").writerow(["image", *names])
    stream.write(header.getvalue().encode("utf-8"))
    bare = pacsv.WriteOptions(include_header=False)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        columns = list(_columns(decided, images[rows], rows))
        columns += [_cells(column, rows) for column in more]
        columns += [] if verdicts is None else [pa.array(verdicts[rows], pa.string())]
        table = pa.table(columns, names=[str(index) for index in range(len(columns))])
        pacsv.write_csv(table, stream, bare)


def _columns(decided: Decisions, images: Sequence[str], rows: slice) -> Iterator[pa.Array]:
    yield image_names(images)
    for column in range(len(decided.categories)):
        yield pa.array(np.ascontiguousarray(decided.scores[rows, column]))
        yield _threshold(decided.thresholds[:, column], len(images))
        yield _answers(decided.values[rows, column], decided.levels)


def _cells(column: Column, rows: slice) -> pa.Array:
    values = pa.array(np.ascontiguousarray(column.values[rows]))
    return pa.array(column.words).take(values) if column.words else values


def _threshold(thresholds: NDArray[np.float64], rows: int) -> pa.Array:
    finite = thresholds[np.isfinite(thresholds)]
    return pa.repeat(pa.scalar(finite[0] if len(finite) else None, pa.float32()), rows)


def _answers(values: NDArray[np.int8], levels: Sequence[str]) -> pa.Array:
    values = np.ascontiguousarray(values)
    codes = pa.array(values, mask=values == UNDECIDED)
    return codes if len(levels) == 2 else pa.array(levels).take(codes)
