"""Labels as a spreadsheet: written long, read in every kind that people keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clipcal.calibrate.labels.exchange.fitting import into_scale
from clipcal.calibrate.labels.exchange.records import Asked, Given, Picture, Read, origin_of
from clipcal.calibrate.labels.formats import CATEGORY_NAMES, ON_MAJORITY, interpret
from clipcal.calibrate.labels.frame import Frame, Reading, frame_of
from clipcal.calibrate.labels.pool import ORIGIN_NAMES, free_names, long_file
from clipcal.calibrate.labels.sheet import Sheet, name_key, parse_sheet
from clipcal.index.judgements import CHOSEN, Origin

Seen = dict[tuple[int, str, int], Origin]  # of an image, the key of a category, and a rater
_ANYBODY = -1


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
        What each rater says where the file names raters, else its labels; what the corpus has no
        level for is left out, and noted.

    Raises
    ------
    LabelError
        As from `read_labels`.
    """
    return read_table(parse_sheet(data, Path(asked.name)), asked)


def read_table(sheet: Sheet, asked: Asked) -> Read:
    """Read the labels of a sheet; see `read_csv`."""
    reading = interpret(sheet, asked.categories, asked.levels)
    frame = frame_of(sheet)
    column = frame.find(free_names(ORIGIN_NAMES, asked.categories))
    notes = tuple(n for n in reading.notes if not any(part in n for part in ON_MAJORITY))
    named = () if column is None else (sheet.header[column],)
    ignored = tuple(name for name in reading.ignored if name not in named)
    given, unfit = into_scale(_given(reading, frame, column, asked), reading.levels, asked)
    return Read("csv", given, (*notes, *unfit), ignored)


def write_csv(pictures: Sequence[Picture], categories: Sequence[str]) -> bytes:
    """Write a row per image, category and rater: see `clipcal.calibrate.labels.pool.pool_csv`."""
    order = {category: number for number, category in enumerate(categories)}
    rows = (
        (one.name, voice.category, voice.level, voice.rater, voice.origin, one.overall)
        for one in pictures
        for voice in sorted((*one.voices, *one.blank), key=lambda voice: order[voice.category])
    )
    return long_file(categories, rows, overall=any(one.overall for one in pictures))


def _given(reading: Reading, frame: Frame, origins: int | None, asked: Asked) -> Iterator[Given]:
    """Yield the votes of raters that are named, or else each label."""
    votes = reading.votes
    if votes is None or not votes.raters:
        one = frame.raters[0] if len(frame.raters) == 1 else ""
        image, category = np.nonzero(reading.values >= 0)
        level, rater = reading.values[image, category], np.full(len(image), _ANYBODY)
        names = {_ANYBODY: one}
    else:
        image, category, level, rater = votes.image, votes.category, votes.level, votes.rater
        names = dict(enumerate(votes.raters))
    by_rater, by_category = _ANYBODY not in names, reading.asked is not None
    seen = _seen(frame, origins, asked, by_rater=by_rater, by_category=by_category)
    keys = [name_key(name) if by_category else "" for name in reading.categories]
    cells = zip(image.tolist(), category.tolist(), level.tolist(), rater.tolist(), strict=True)
    for place, column, code, who in cells:
        name, level_name = reading.images[place], reading.levels[code]
        origin = seen.get((place, keys[column], who), asked.origin)
        given_by = names[who] or asked.rater
        yield Given(
            name,
            reading.categories[column],
            level_name,
            given_by,
            origin,
            named=bool(names[who]),
        )


def _seen(
    frame: Frame, column: int | None, asked: Asked, *, by_rater: bool, by_category: bool
) -> Seen:
    """Read how images were seen, from a column as our own files have one.

    Where rows of one cell differ, the image was seen for its scores if any of them says so.
    """
    if column is None:
        return {}
    sheet, rows = frame.sheet, len(frame.image_of)
    told = [origin_of(word, asked) for word in sheet.columns[column].words]
    keys = [""] * rows
    if by_category and (named := frame.find(CATEGORY_NAMES)) is not None:
        cells = sheet.columns[named]
        keys = [name_key(cells.words[code]) for code in cells.codes.tolist()]
    who = frame.rater_of if by_rater and frame.rater_of is not None else np.full(rows, _ANYBODY)
    seen: Seen = {}
    codes = sheet.columns[column].codes.tolist()
    for image, key, rater, code in zip(
        frame.image_of.tolist(), keys, who.tolist(), codes, strict=True
    ):
        cell = (image, key, rater)
        if seen.setdefault(cell, told[code]) not in CHOSEN:
            seen[cell] = told[code]
    return seen
