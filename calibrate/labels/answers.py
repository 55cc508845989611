"""Labels of single categories: wide, a column each, or long, a row each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clipcal.calibrate.labels.frame import Frame, Levels, Reading, some
from clipcal.calibrate.labels.headings import absent_categories, categories_in, named_columns
from clipcal.calibrate.labels.votes import (
    Codes,
    Votes,
    agree,
    changed_by_errors,
    likely_levels,
    majority,
)
from clipcal.calibrate.labels.words import UNKNOWN, Scale, scale_of, word_of
from clipcal.errors import LabelError


def read_wide(frame: Frame, columns: Sequence[int], levels: Sequence[str]) -> Reading:
    """Read a column per category.

    Parameters
    ----------
    frame : Frame
        The sheet.
    columns : sequence of int
        The columns of labels.
    levels : sequence of str
        Level names from low to high; empty means that the cells decide.

    Returns
    -------
    Reading
        With the categories in the order in which they were asked for.

    Raises
    ------
    LabelError
        If a cell is unknown, or a category has two columns.
    """
    named = named_columns(frame, columns)
    scale = scale_of(words_in(frame, columns), levels)
    codes = np.stack([_codes(frame, column, scale) for column in named.values()], axis=1)
    rows, count = codes.shape
    values, votes, notes = _merge(
        frame,
        tuple(named),
        scale.levels,
        image=np.repeat(frame.image_of, count),
        category=np.tile(np.arange(count), rows),
        level=codes.ravel(),
        rater=None if frame.rater_of is None else np.repeat(frame.rater_of, count),
    )
    renamed = [
        f"The column '{frame.sheet.header[column]}' is taken as the category '{name}'."
        for name, column in named.items()
        if frame.wanted is not None and frame.keys[column] not in frame.wanted
    ]
    return Reading(
        frame.images,
        tuple(named),
        scale.levels,
        values,
        frame.ignored(columns),
        (*frame.notes, *scale.notes, *renamed, *notes, *absent_categories(frame, named)),
        votes,
    )


def read_long(frame: Frame, category: int, answer: int, levels: Sequence[str]) -> Reading:
    """Read a row per image and category.

    Parameters
    ----------
    frame : Frame
        The sheet.
    category, answer : int
        The columns that name the category, and its level.
    levels : sequence of str
        Level names from low to high; empty means that the cells decide.

    Returns
    -------
    Reading
        It knows which cells somebody was asked about.

    Raises
    ------
    LabelError
        If a cell is unknown, or none of the categories is named.
    """
    names = frame.sheet.columns[category]
    categories, column_of, notes = categories_in(frame, names.words)
    scale = scale_of(words_in(frame, [answer]), levels)
    level = _codes(frame, answer, scale)
    column = column_of[names.codes]
    kept = column >= 0
    values, votes, merged = _merge(
        frame,
        categories,
        scale.levels,
        image=frame.image_of[kept],
        category=column[kept],
        level=level[kept],
        rater=None if frame.rater_of is None else frame.rater_of[kept],
    )
    asked = np.zeros(values.shape, np.bool_)
    asked[frame.image_of[kept], column[kept]] = True
    notes = (*frame.notes, *scale.notes, *notes, *merged, *absent_categories(frame, categories))
    ignored = frame.ignored([category, answer])
    return Reading(
        frame.images, categories, scale.levels, values, ignored, notes, votes, asked=asked
    )


def words_in(frame: Frame, columns: Iterable[int]) -> set[str]:
    """The distinct words in the cells of some columns."""
    return {word_of(cell) for column in columns for cell in frame.free[column]}


def _codes(frame: Frame, column: int, scale: Scale) -> Levels:
    """Turn a column of cells into level indices."""
    cells = frame.sheet.columns[column]
    table = [scale.codes.get(word_of(word)) for word in cells.words]
    strange = np.array([code is None for code in table])[cells.codes]
    if strange.any():
        row = int(strange.argmax())
        raise LabelError(
            f"{frame.sheet.where(row)}: '{cells[row]}' in the column "
            f"'{frame.sheet.header[column]}' is not a known label. Known are: {scale.known}; "
            f"blank is unknown. Correct the cell, then run the same command again."
        )
    return np.array(table, np.int8)[cells.codes]


def _merge(
    frame: Frame,
    categories: tuple[str, ...],
    levels: tuple[str, ...],
    *,
    image: Codes,
    category: Codes,
    level: Levels,
    rater: Codes | None,
) -> tuple[Levels, Votes | None, tuple[str, ...]]:
    """Bring several labels of one image and category down to one.

    Equal labels are one. Without raters, unequal labels contradict and become unknown; with
    raters that holds for each rater, and then they are aggregated.
    """
    values = np.full((len(frame.images), len(categories)), UNKNOWN, np.int8)
    known = level >= 0
    cell, code = (image * len(categories) + category)[known], level[known].astype(np.int64)
    votes: Votes | None = None
    notes: list[str] = []
    if rater is None:
        cell, code, clash = agree(cell, code)
    else:
        raters = len(frame.raters)
        cell, code, clash = agree(cell * raters + rater[known], code)
        cell, rater = np.divmod(cell, raters)
        clash = np.unique(clash // raters)
        image, category = np.divmod(cell, len(categories))
        votes = Votes(image, category, rater, code.astype(np.int8), frame.raters)
        cell, code, notes = _aggregate(frame, categories, len(levels), votes)
    if len(clash):
        where = _cell_names(frame, categories, clash)
        notes.append(f"Labels that contradict themselves are unknown: {where}.")
    values.ravel()[cell] = code
    return values, votes if len(frame.raters) > 1 else None, tuple(notes)


def _aggregate(
    frame: Frame, categories: tuple[str, ...], levels: int, votes: Votes
) -> tuple[Codes, Codes, list[str]]:
    """Return the cells that have votes, one level for each, and what there is to note."""
    places = votes.image * len(categories) + votes.category
    cell, code, number, tied = majority(places, votes.level.astype(np.int64), levels)
    if frame.aggregate == "dawid-skene":
        likely = likely_levels(votes, len(frame.images), len(categories), levels).ravel()[cell]
        return cell, likely, [changed_by_errors(int((likely != code).sum()), len(cell), "labels")]
    notes = []
    if (number > 1).any():
        notes.append(f"{(number > 1).sum()} labels are the majority of several raters.")
    if tied.any():
        where = _cell_names(frame, categories, cell[tied])
        ties = "1 tie" if tied.sum() == 1 else f"{tied.sum():,} ties"
        notes.append(
            f"{ties} of raters went to the higher level: {where}. calibrate --raters dawid-skene "
            f"weighs raters by their errors instead."
        )
    return cell, code, notes


def _cell_names(frame: Frame, categories: tuple[str, ...], cells: Codes) -> str:
    pairs = zip(*np.divmod(cells, len(categories)), strict=True)
    return some([f"{frame.images[i]} ({categories[j]})" for i, j in pairs])
