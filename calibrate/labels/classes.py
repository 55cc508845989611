"""Labels of which an image has one: a column that names its class, or counts per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from clipcal.calibrate.labels.frame import Frame, Reading, indexed, some
from clipcal.calibrate.labels.headings import absent_categories, categories_in
from clipcal.calibrate.labels.lists import names_in
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.votes import (
    ANONYMOUS,
    Codes,
    Votes,
    ballots,
    changed_by_errors,
    likely_class,
    most_chosen,
)
from clipcal.calibrate.labels.words import BINARY, UNKNOWN, word_of
from clipcal.errors import LabelError

_MOST_RATES = 20_000_000  # raters times classes squared: the rates of all confusion matrices
_MOST_VOTES = 20_000_000  # half a gigabyte


def read_classes(frame: Frame, column: int) -> Reading:
    """Read a column that names the class of each image.

    Parameters
    ----------
    frame : Frame
        The sheet.
    column : int
        The column of classes.

    Returns
    -------
    Reading
        With a category per class; images of several classes are unknown, be they in several rows
        or in one cell.

    Raises
    ------
    LabelError
        If none of the categories is a class, or there are too many raters and classes to tell
        raters' errors.
    """
    return _without_lists(_one_class(frame, column), frame, column)


def _one_class(frame: Frame, column: int) -> Reading:
    names = frame.sheet.columns[column]
    keys, key_of = indexed([name_key(name) for name in names.words])
    named = {name_key(name): name for name in reversed(names.words)}
    image, chosen = frame.image_of, key_of[names.codes]
    notes: tuple[str, ...] = (
        f"The column '{frame.sheet.header[column]}' is read as the one class of each image.",
    )
    given = np.array([bool(key) for key in keys])[chosen]
    image, chosen = image[given], chosen[given]
    classes = [named[key] for key in keys]
    if frame.rater_of is None:
        return _from_winners(frame, classes, image * len(keys) + chosen, [column], notes)
    rater = frame.rater_of[given]
    winners, note = _winners(frame, image, chosen, rater, len(keys))
    reading = _from_winners(frame, classes, winners, [column], (*notes, note))
    if len(frame.raters) < 2:
        return reading
    place = {name_key(category): index for index, category in enumerate(reading.categories)}
    column_of = np.array([place.get(key, -1) for key in keys], np.int64)
    votes = ballots(image, chosen, rater, column_of, len(place), frame.raters)
    return replace(reading, votes=votes)


def _without_lists(reading: Reading, frame: Frame, column: int) -> Reading:
    """Make unknown the images with several classes in a cell: as one it would be no category."""
    names = frame.sheet.columns[column]
    lists = np.array([_is_list(name, frame.wanted or {}) for name in names.words], np.bool_)
    listed = np.unique(frame.image_of[lists[names.codes]])
    if not len(listed):
        return reading
    values, votes = reading.values.copy(), reading.votes
    values[listed] = UNKNOWN
    images = some([frame.images[image] for image in listed.tolist()])
    note = f"Images with several classes in one cell, which are unknown: {images}."
    return replace(
        reading,
        values=values,
        votes=None if votes is None else votes.where(~np.isin(votes.image, listed)),
        notes=(*reading.notes, note),
    )


def _is_list(cell: str, wanted: Mapping[str, str]) -> bool:
    """Whether a cell that is no category holds one among others, or cannot be read."""
    if not wanted or name_key(cell) in wanted:
        return False
    names = names_in(cell)
    return names is None or any(name_key(name) in wanted for name in names)


def read_counts(frame: Frame, columns: list[int]) -> Reading:
    """Read a column of counts per class: how many raters chose it.

    Parameters
    ----------
    frame : Frame
        The sheet.
    columns : list of int
        The columns of counts.

    Returns
    -------
    Reading
        With a category per class, and anonymous votes; images of which several classes have most
        are unknown.

    Raises
    ------
    LabelError
        If none of the categories is a class.
    """
    counts = count_table(frame, columns)
    most = counts.max(axis=1, keepdims=True)
    row, chosen = np.nonzero((counts == most) & (most > 0))
    winners = frame.image_of[row] * len(columns) + chosen
    names = [frame.sheet.header[column] for column in columns]
    notes = ("The cells are read as counts of raters per class; the class with most is taken.",)
    reading = _from_winners(frame, names, winners, columns, notes)
    if int(counts.sum()) * len(reading.categories) > _MOST_VOTES:
        note = "There are too many votes to tell how far raters agree."
        return replace(reading, notes=(*reading.notes, note))
    return replace(reading, votes=_anonymous(frame, reading.categories, names, counts))


def counts_in(frame: Frame, column: int) -> dict[str, int]:
    """Return each distinct cell as a count, blank being 0; empty if any is something else."""
    words = {cell: word_of(cell) or "0" for cell in frame.free[column]}
    if not all(map(_is_count, words.values())):
        return {}
    return {cell: int(word) for cell, word in words.items()}


def count_table(frame: Frame, columns: Sequence[int]) -> Codes:
    """Read columns of counts, which `counts_in` knows them to be: Int64[(rows, columns)]."""
    counts = []
    for column in columns:
        cells, table = frame.sheet.columns[column], counts_in(frame, column)
        counts.append(np.array([table[word] for word in cells.words], np.int64)[cells.codes])
    return np.stack(counts, axis=1)


def _is_count(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) < 10


def _winners(
    frame: Frame, image: Codes, chosen: Codes, rater: Codes, classes: int
) -> tuple[Codes, str]:
    """Return ``image * classes + class`` of the class of each image, or of those that tie."""
    most = np.unique(np.array([classes, 1]) @ np.stack(most_chosen(image, chosen, rater)))
    if frame.aggregate == "majority":
        return most, "The class that most raters chose is taken."
    if len(frame.raters) * classes**2 > _MOST_RATES:
        raise LabelError(
            f"{frame.sheet.path} has {len(frame.raters)} raters and {classes} classes: too many "
            f"to estimate how often each rater takes each class for each other. Take the "
            f"majority: clipcal calibrate --labels {frame.sheet.path} --raters majority"
        )
    likely = likely_class(image, chosen, rater, len(frame.images), len(frame.raters), classes)
    differ = np.setxor1d(most, likely) // classes
    return likely, changed_by_errors(len(np.unique(differ)), len(np.unique(image)), "images")


def _anonymous(
    frame: Frame, categories: tuple[str, ...], names: Sequence[str], counts: Codes
) -> Votes:
    """Turn counts per class into votes: a yes for the class, a no for every other category."""
    own = [[name_key(name) == name_key(category) for category in categories] for name in names]
    yes = counts @ np.array(own, np.int64)
    tally = np.stack([counts.sum(axis=1, keepdims=True) - yes, yes], axis=2)
    row, category, level = (index.ravel() for index in np.indices(tally.shape))
    image, category, level = (
        np.repeat(index, tally.ravel()) for index in (frame.image_of[row], category, level)
    )
    nobody = np.full(len(image), ANONYMOUS, np.int64)
    return Votes(image, category, nobody, level.astype(np.int8), ())


def _from_winners(
    frame: Frame,
    names: Sequence[str],
    winners: Codes,
    columns: Sequence[int],
    notes: tuple[str, ...],
) -> Reading:
    """Make labels of ``image * len(names) + class``; several classes of one image are unknown."""
    categories, column_of, strangers = categories_in(frame, names)
    image, chosen = np.divmod(np.unique(winners), len(names))
    classes = np.bincount(image, minlength=len(frame.images))
    values = np.where(classes > 0, 0, UNKNOWN).astype(np.int8)[:, None]
    values = np.repeat(values, len(categories), axis=1)
    column = column_of[chosen]
    kept = column >= 0
    sure = classes[image[kept]] == 1
    values[image[kept], column[kept]] = np.where(sure, 1, UNKNOWN)
    notes = (*frame.notes, *notes, *strangers, *absent_categories(frame, categories))
    if (classes > 1).any():
        unsure = [frame.images[i] for i in np.flatnonzero(classes > 1)]
        notes = (*notes, f"Images with several classes, which are unknown: {some(unsure)}.")
    ignored = frame.ignored(columns)
    return Reading(frame.images, categories, BINARY, values, ignored, notes, classes=True)
