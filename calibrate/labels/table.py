"""Labels: what people said of images, read from the files that people keep.

:func:`read_labels` reads the file; :func:`match_images` finds the images of a corpus that its
rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.formats import interpret
from clipcal.calibrate.labels.matching import Match, match_images
from clipcal.calibrate.labels.sheet import parse_sheet, read_bytes
from clipcal.calibrate.labels.votes import Aggregate, Votes
from clipcal.calibrate.labels.words import BINARY, UNKNOWN

__all__ = ["BINARY", "UNKNOWN", "LabelTable", "Match", "Votes", "match_images", "read_labels"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """The labels of a file: one level per image and category.

    Attributes
    ----------
    images : tuple of str
        Image ids as written, without repetition, in the file's order.
    categories : tuple of str
        The categories that the file has labels for.
    levels : tuple of str
        From low to high: ``("negative", "positive")``, or for example
        ``("none", "minor", "major")``.
    values : Int8[(n, c)]
        Index into `levels`; -1 where the label is unknown.
    ignored_columns : tuple of str
        Columns of the file that hold no labels.
    notes : tuple of str
        What was aggregated, guessed or found contradictory, a sentence each.
    sha256 : str
        Hash of the file's bytes.
    source : str
        The file's name, without its folder.
    votes : Votes or None
        What each rater said; None where the file has one rating per image.
    asked : Bool[(n, c)] or None
        Of which cells somebody was asked. A cell that was asked and has no label was left blank,
        or answered with a contradiction; of one that nobody was asked about nothing follows. None
        where all were asked, as in a sheet with a column per category.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    values: NDArray[np.int8]
    ignored_columns: tuple[str, ...]
    notes: tuple[str, ...]
    sha256: str
    source: str = "labels.csv"
    votes: Votes | None = None
    asked: NDArray[np.bool_] | None = None

    def cells_asked(self) -> NDArray[np.bool_]:
        """Return of which cells somebody was asked, written out: Bool[(n, c)]."""
        return np.ones(self.values.shape, np.bool_) if self.asked is None else self.asked


def read_labels(
    path: Path,
    *,
    categories: Sequence[str] | None = None,
    levels: Sequence[str] = (),
    aggregate: Aggregate = "majority",
) -> LabelTable:
    """Read a label file of any of the usual kinds.

    Wide (a column per category, with levels, yes/no, 0/1 or marks), one class per image
    (``image,label``), long (``image,category,label[,annotator]``) or counts of raters per
    class. In a file of classes, an image is negative for every category but its own. In a long
    file an image was asked about in the categories that it has a row for, be its label blank; in
    every other kind in all that the file has.

    Parameters
    ----------
    path : pathlib.Path
        A CSV file, or one with semicolons or tabs.
    categories : sequence of str, optional
        Read these categories only, matched without regard to case, spaces, dashes and
        underscores. Without them every column or class that looks like labels is read.
    levels : sequence of str, optional
        Level names from low to high. Without them the file decides between yes/no and
        none < minor < major.
    aggregate : {"majority", "dawid-skene"}
        How several raters become one label: by the most votes, or by the most probable level
        where each rater's own errors are estimated from the file (see
        `clipcal.calibrate.statistics.raters.dawid_skene`). In both the higher level of a tie.

    Returns
    -------
    LabelTable
        The labels. Equal repetitions are merged; contradictions are unknown, and noted. Where
        the file has several raters, `votes` keeps what each of them said.

    Raises
    ------
    LabelError
        If the file cannot be read, names no images, has none of the categories, or holds a
        label that is not known (the message names the line); or if raters' errors are to be
        estimated and the file does not tell its raters apart.
    """
    path = Path(path)
    return parse_labels(
        read_bytes(path), path, categories=categories, levels=levels, aggregate=aggregate
    )


def parse_labels(
    data: bytes,
    path: Path,
    *,
    categories: Sequence[str] | None = None,
    levels: Sequence[str] = (),
    aggregate: Aggregate = "majority",
) -> LabelTable:
    """Read the bytes of a label file, as `read_labels` does.

    Parameters
    ----------
    data : bytes
        The file's content.
    path : pathlib.Path
        What messages call it; its last part is the table's source.
    categories, levels, aggregate
        As in `read_labels`.

    Returns
    -------
    LabelTable
        The labels.

    Raises
    ------
    LabelError
        As from `read_labels`.
    """
    sheet = parse_sheet(data, path)
    reading = interpret(sheet, categories, levels, aggregate)
    return LabelTable(
        images=reading.images,
        categories=reading.categories,
        levels=reading.levels,
        values=reading.values,
        ignored_columns=reading.ignored,
        notes=reading.notes,
        sha256=sheet.sha256,
        # A name that is no UTF-8 could neither be printed nor kept.
        source=path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        votes=reading.votes,
        asked=reading.asked,
    )
