"""The two files, and which of their images are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.formats import class_column, interpret, read_class_column
from clipcal.calibrate.labels.frame import Reading
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.overall import overall_words
from clipcal.calibrate.labels.sheet import Sheet, name_key, read_sheet
from clipcal.calibrate.labels.words import UNKNOWN
from clipcal.errors import LabelError

Codes = NDArray[np.int64]

_BESIDE_DECISIONS = ("_score", "_threshold")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two files.

    Attributes
    ----------
    sheet : Sheet
        The file.
    column : str or None
        The column of classes; None where the whole file was read.
    reading : Reading
        What it says of categories or classes.
    overall : tuple of (str or None) or None
        What it says overall.
    """

    sheet: Sheet
    column: str | None
    reading: Reading
    overall: tuple[str | None, ...] | None

    def classes(self) -> Codes:
        """Return the class of each image: Int64[(n,)]; -1 where unknown."""
        positive = self.reading.values == 1
        return np.where(positive.any(axis=1), positive.argmax(axis=1), UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Which images of the two files are the same, as indices into each."""

    ours: Codes
    theirs: Codes
    unmatched: tuple[str, ...]
    ambiguous: tuple[str, ...]
    only_predicted: int


def read_side(path: Path, column: str | None, names: Sequence[str], levels: Sequence[str]) -> Side:
    """Read one of the files.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    column : str or None
        The column of classes, where one is named.
    names : sequence of str
        Columns that are taken for it otherwise, if they hold classes.
    levels : sequence of str
        Level names from low to high; empty means that the file decides.

    Returns
    -------
    Side
        Without the scores and thresholds that ``clipcal rescore`` writes beside decisions.

    Raises
    ------
    LabelError
        If the file cannot be read.
    """
    sheet = _without_scores(read_sheet(Path(path)))
    column = column or class_column(sheet, names)
    if column is None:
        return Side(sheet, None, interpret(sheet, None, levels), overall_words(sheet))
    return Side(sheet, name_key(column), read_class_column(sheet, column), None)


def paired_images(ours: Side, theirs: Side) -> Pairs:
    """Find the images that both files know.

    Parameters
    ----------
    ours, theirs : Side
        People's file, and the other.

    Returns
    -------
    Pairs
        Each image of either file at most once.

    Raises
    ------
    LabelError
        If there are none.
    """
    images, others = ours.reading.images, theirs.reading.images
    match = match_images(images, others, [""] * len(others))
    rows = match.rows.copy()
    # One predicted image for several of people's: only the one of that very name is sure.
    shared = np.bincount(rows[rows >= 0], minlength=len(others))[rows] > 1
    unsure = [i for i in np.flatnonzero((rows >= 0) & shared) if images[i] != others[rows[i]]]
    rows[unsure] = -1
    found = np.flatnonzero(rows >= 0)
    if not len(found):
        raise LabelError(
            f"{ours.sheet.path.name} and {theirs.sheet.path.name} have no image in common: the "
            f"first has {images[0]}, the other {others[0]}. Name images alike in both, then run: "
            f"clipcal compare {ours.sheet.path.name} {theirs.sheet.path.name}"
        )
    ambiguous = (*(image for image, _ in match.ambiguous), *(images[i] for i in unsure))
    return Pairs(found, rows[found], match.unmatched, ambiguous, len(others) - len(found))


def nothing_to_compare(ours: Side, theirs: Side) -> LabelError:
    """Tell that the two files have images in common, and no answer to the same question."""
    return LabelError(
        f"{ours.sheet.path.name} and {theirs.sheet.path.name} have images in common, but no "
        f"label: where the one has an answer the other is blank. Fill in more, then run clipcal "
        f"compare again."
    )


def _without_scores(sheet: Sheet) -> Sheet:
    """Leave out the scores and thresholds that stand beside each decision."""
    beside = {name + end for name in sheet.header for end in _BESIDE_DECISIONS}
    kept = [i for i, name in enumerate(sheet.header) if name not in beside]
    return replace(
        sheet,
        header=tuple(sheet.header[i] for i in kept),
        columns=tuple(sheet.columns[i] for i in kept),
    )
