"""A sheet whose image and rater columns are known, and the labels that are read from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.sheet import Sheet, name_key
from clipcal.calibrate.labels.votes import (
    Aggregate,
    Codes,
    Votes,
)
from clipcal.errors import LabelError

Levels = NDArray[np.int8]  # (n images, c categories), index into the levels, -1 unknown
IMAGE_NAMES = (
    *("image", "imagepath", "filepath", "file", "filename", "imagename", "imagefile", "path"),
    *("uri", "url", "img", "picture", "photo", "imageid", "id", "postid", "post", "sha256"),
)
RATER_NAMES = (
    *("annotator", "annotatorid", "rater", "raterid", "labeler", "labeller", "coder", "coderid"),
    *("worker", "workerid", "reviewer"),
)
# A column without a name, or with the one that pandas gives it.
_ROW_NUMBERS = re.compile(r"$|unnamed:\d")


@dataclass(frozen=True, slots=True)
class Reading:
    """The labels of a sheet, before they are given to anybody.

    Attributes
    ----------
    images, categories, levels : tuple of str
        Names of rows, columns and codes of `values`.
    values : Int8[(n, c)]
        Index into `levels`; -1 is unknown.
    ignored : tuple of str
        Columns that hold no labels.
    notes : tuple of str
        What was aggregated, guessed or found contradictory.
    votes : Votes or None
        What each rater said, where there are several.
    classes : bool
        Whether each image has one class, so that at most one of its labels is positive.
    asked : Bool[(n, c)] or None
        Of which cells somebody was asked; None where of all.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    values: Levels
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    votes: Votes | None = None
    classes: bool = False
    asked: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A sheet whose image and rater columns are known.

    Attributes
    ----------
    sheet : Sheet
        The cells; every row names an image.
    keys : tuple of str
        The header, reduced by `name_key`.
    free : mapping
        Columns that may hold labels, each with its distinct cells and how often they occur.
    images : tuple of str
        Distinct images in order of first appearance.
    image_of, rater_of : Int64[(rows,)]
        Per row, the index of its image and of its rater; `rater_of` is None without raters.
    raters : tuple of str
        Distinct raters in order of first appearance.
    aggregate : str
        How several raters become one label.
    wanted : mapping or None
        From reduced name to category, where the caller named the categories.
    notes : tuple of str
        What was noticed so far.
    """

    sheet: Sheet
    keys: tuple[str, ...]
    free: Mapping[int, Counter[str]]
    images: tuple[str, ...]
    image_of: Codes
    rater_of: Codes | None
    raters: tuple[str, ...]
    aggregate: Aggregate
    wanted: Mapping[str, str] | None
    notes: tuple[str, ...]

    def find(self, names: Iterable[str]) -> int | None:
        """Return the free column with the first of `names` that occurs."""
        named = {self.keys[column]: column for column in reversed(tuple(self.free))}
        return next((named[name] for name in names if name in named), None)

    def ignored(self, used: Iterable[int]) -> tuple[str, ...]:
        """Return the names of the free columns that were not used."""
        taken = set(used)
        return tuple(self.sheet.header[i] for i in self.free if i not in taken)


def frame_of(
    sheet: Sheet, categories: Sequence[str] | None = None, aggregate: Aggregate = "majority"
) -> Frame:
    """Find the images and the raters of a sheet.

    Raises
    ------
    LabelError
        If no column names images, or no row does.
    """
    keys = tuple(name_key(name) for name in sheet.header)
    wanted = None if categories is None else {name_key(name): name for name in categories}
    image = next((keys.index(name) for name in IMAGE_NAMES if name in keys), None)
    if image is None:
        raise LabelError(
            f"{sheet.path} has no column that names the images. Its columns are: "
            f"{', '.join(sheet.header)}. Name one of them 'image' (or file, path, url, id), "
            f"then run the same command again."
        )
    sheet, notes = _with_images(sheet, image)
    rater = next((i for i, key in enumerate(keys) if key in RATER_NAMES and i != image), None)
    who = None if rater is None else sheet.columns[rater]
    return Frame(
        sheet=sheet,
        keys=keys,
        free={
            i: sheet.columns[i].counts()
            for i, key in enumerate(keys)
            if i not in (image, rater) and not _ROW_NUMBERS.match(key)
        },
        images=sheet.columns[image].words,
        image_of=sheet.columns[image].codes,
        rater_of=None if who is None else who.codes,
        raters=() if who is None else who.words,
        aggregate=aggregate,
        wanted=wanted,
        notes=(*sheet.notes, *notes),
    )


def _with_images(sheet: Sheet, image: int) -> tuple[Sheet, tuple[str, ...]]:
    """Leave out rows that name no image (totals, remarks) and say so."""
    named = sheet.columns[image].filled()
    if named.all():
        return sheet, ()
    if not named.any():
        raise LabelError(
            f"{sheet.path}: no row names an image in the column '{sheet.header[image]}'. Fill it "
            f"in, then run the same command again."
        )
    lost = [sheet.where(row) for row in np.flatnonzero(~named).tolist()]
    columns = tuple(column.where(named) for column in sheet.columns)
    sheet = replace(sheet, columns=columns, lines=sheet.lines[named])
    return sheet, (f"Rows that name no image are left out: {some(lost)}.",)


def indexed(names: Sequence[str]) -> tuple[tuple[str, ...], Codes]:
    """Return the distinct names in order of appearance and, per name, its index."""
    index: dict[str, int] = {}
    codes = np.fromiter(
        (index.setdefault(name, len(index)) for name in names), np.int64, len(names)
    )
    return tuple(index), codes


def some(names: Sequence[str], most: int = 3) -> str:
    """List the first few names and count the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
