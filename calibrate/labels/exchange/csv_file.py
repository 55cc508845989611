"""Labels as a spreadsheet: written long, read in every kind that people keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clipcal.calibrate.labels.exchange.records import Asked, Given, Picture, Read
from clipcal.calibrate.labels.formats import ON_MAJORITY, interpret
from clipcal.calibrate.labels.frame import Reading, frame_of
from clipcal.calibrate.labels.pool import long_header
from clipcal.calibrate.labels.sheet import Sheet, parse_sheet


def read_csv(data: bytes, asked: Asked) -> Read:
    """Read a label file of any kind that `read_labels` reads.

    Parameters
    ----------
    data : bytes
        The file.
    asked : Asked
        What is wanted.

    Returns
    -------
    Read
        What each rater says where the file names raters, else its labels.

    Raises
    ------
    LabelError
        As from `read_labels`.
    """
    return read_table(parse_sheet(data, Path(asked.name)), asked)


def read_table(sheet: Sheet, asked: Asked) -> Read:
    """Read the labels of a sheet; see `read_csv`."""
    reading = interpret(sheet, asked.categories, asked.levels)
    raters = frame_of(sheet).raters
    notes = tuple(n for n in reading.notes if not any(part in n for part in ON_MAJORITY))
    return Read("csv", tuple(_given(reading, raters, asked)), notes, reading.ignored)


def write_csv(pictures: Sequence[Picture], categories: Sequence[str]) -> bytes:
    """Write a row per image, category and rater: see `clipcal.calibrate.labels.pool.pool_csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(long_header(categories))
    writer.writerows(
        (picture.name, voice.category, voice.level, voice.rater)
        for picture in pictures
        for voice in picture.voices
    )
    return text.getvalue().encode("utf-8")


def _given(reading: Reading, raters: Sequence[str], asked: Asked) -> Iterator[Given]:
    """Yield the votes of raters that are named, or else each label."""
    votes = reading.votes
    if votes is None or not votes.raters:
        one = (raters[0] if len(raters) == 1 else "") or asked.rater
        image, category = np.nonzero(reading.values >= 0)
        level = reading.values[image, category]
        who = [one] * len(image)
    else:
        image, category, level = votes.image, votes.category, votes.level
        who = [votes.raters[rater] or asked.rater for rater in votes.rater.tolist()]
    cells = zip(image.tolist(), category.tolist(), level.tolist(), who, strict=True)
    for place, column, code, rater in cells:
        name, level_name = reading.images[place], reading.levels[code]
        yield Given(name, reading.categories[column], level_name, rater, asked.origin)
