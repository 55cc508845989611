"""One verdict per image, as people wrote it in the column ``Overall`` of a label file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.frame import Frame, frame_of
from clipcal.calibrate.labels.sheet import Sheet, name_key, read_sheet
from clipcal.calibrate.labels.votes import Codes, agree, majority
from clipcal.calibrate.labels.words import UNKNOWN, UNKNOWN_WORDS
from clipcal.errors import LabelError

OVERALL = "overall"


def read_overall(
    path: Path, verdicts: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int8]] | None:
    """Read the column ``Overall`` of a label file.

    Parameters
    ----------
    path : pathlib.Path
        A label file with a row per image, or several, such as one per rater.
    verdicts : sequence of str
        From the mildest to the gravest; matched without regard to case, spaces, dashes and
        underscores.

    Returns
    -------
    images : tuple of str
        As `clipcal.calibrate.labels.table.read_labels` has them.
    codes : Int8[(n,)]
        Index into `verdicts`; -1 where blank or contradictory. Of several raters the majority
        counts, the graver verdict of a tie.

    None where the file has no such column, or not one of the verdicts in it.

    Raises
    ------
    LabelError
        If the file cannot be read, or some of the verdicts in it are known and others not; the
        message names the line.
    """
    frame = frame_of(read_sheet(path))
    if OVERALL not in frame.keys:
        return None
    column = frame.sheet.columns[frame.keys.index(OVERALL)]
    table = verdict_codes(column.words, verdicts)
    if not any(place is not None and place >= 0 for place in table):
        return None
    strange = np.array([place is None for place in table])[column.codes]
    if strange.any():
        row = int(strange.argmax())
        raise LabelError(
            f"{frame.sheet.where(row)}: '{column[row]}' in the column "
            f"'{frame.sheet.header[frame.keys.index(OVERALL)]}' is no verdict. They are: "
            f"{', '.join(verdicts)}; blank is unknown. Correct the cell, then run the "
            f"same command again."
        )
    codes = _one_each(frame, np.array(table, np.int64)[column.codes], len(verdicts))
    return frame.images, codes.astype(np.int8)


def verdict_codes(words: Iterable[str], verdicts: Sequence[str]) -> list[int | None]:
    """Return which verdict each word names.

    Parameters
    ----------
    words : iterable of str
        What people wrote.
    verdicts : sequence of str
        As for `read_overall`.

    Returns
    -------
    list of (int or None)
        Index into `verdicts`; -1 where the word is blank or says that nobody knows, None where it
        is no such word either.
    """
    places = dict.fromkeys(map(name_key, UNKNOWN_WORDS), UNKNOWN)
    places |= {name_key(verdict): place for place, verdict in enumerate(verdicts)}
    return [places.get(name_key(word)) for word in words]


def overall_words(sheet: Sheet) -> tuple[str | None, ...] | None:
    """Return what the column ``Overall`` says of each image, in whatever words.

    Parameters
    ----------
    sheet : Sheet
        The cells.

    Returns
    -------
    tuple of (str or None) or None
        Per image, the words alike but for their case written alike; None where blank or
        contradictory, or where several raters tie. None instead of all where there is no such
        column.
    """
    frame = frame_of(sheet)
    if OVERALL not in frame.keys:
        return None
    column = frame.sheet.columns[frame.keys.index(OVERALL)]
    written: dict[str, str] = {}
    for word in column.words:
        written.setdefault(word.casefold(), word)
    order = {word: place for place, word in enumerate(written)}
    table = [order[w.casefold()] if w.casefold() not in UNKNOWN_WORDS else -1 for w in column.words]
    codes = _one_each(frame, np.array(table, np.int64)[column.codes], len(order), ties=False)
    names: list[str | None] = [*written.values(), None]  # -1 is the last
    return tuple(names[code] for code in codes.tolist())


def _one_each(frame: Frame, codes: Codes, levels: int, *, ties: bool = True) -> NDArray[np.int64]:
    """Bring a code per row down to one per image; of a tie the higher, or else unknown."""
    known = codes >= 0
    image, codes = frame.image_of[known], codes[known]
    if frame.rater_of is None:
        image, codes, _ = agree(image, codes)
    else:
        raters = len(frame.raters)
        ballot, codes, _ = agree(image * raters + frame.rater_of[known], codes)
        image, codes, _, tied = majority(ballot // raters, codes, levels)
        codes = np.where(tied & (not ties), UNKNOWN, codes)
    values = np.full(len(frame.images), UNKNOWN)
    values[image] = codes
    return values
