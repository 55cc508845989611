"""Which headings and names of a label file are categories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clipcal.calibrate.labels.frame import Frame, some
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.votes import Codes
from clipcal.errors import LabelError


def named_columns(frame: Frame, columns: Sequence[int]) -> dict[str, int]:
    """Return category to column, in the order of the categories that were asked for."""
    named: dict[str, int] = {}
    for column in columns:
        other = named.setdefault(frame.keys[column], column)
        if other != column:
            raise LabelError(
                f"{frame.sheet.path} has two columns for one category: "
                f"'{frame.sheet.header[other]}' and '{frame.sheet.header[column]}'. Remove one, "
                f"then run the same command again."
            )
    if frame.wanted is None:
        return {frame.sheet.header[column]: column for column in named.values()}
    if not named.keys() & frame.wanted.keys():
        return dict(zip(frame.wanted.values(), named.values(), strict=True))
    return {name: named[key] for key, name in frame.wanted.items() if key in named}


def categories_in(
    frame: Frame, names: Sequence[str]
) -> tuple[tuple[str, ...], Codes, tuple[str, ...]]:
    """Map the names in a column to categories.

    Returns
    -------
    categories : tuple of str
        As asked for, or else sorted by name; only those that occur.
    column_of : Int64[(names,)]
        Index into `categories`; -1 where a name is no category.
    notes : tuple of str
        The names that are no category.
    """
    keys = [name_key(name) for name in names]
    own: dict[str, str] = {}
    for key, name in zip(keys, names, strict=True):
        if key:
            own.setdefault(key, name)
    wanted = frame.wanted or dict(sorted(own.items()))
    present = [key for key in wanted if key in own]
    if not present:
        raise none_present(frame, "classes", [name for name in names if name])
    column = {key: index for index, key in enumerate(present)}
    strangers = [own[key] for key in own if key not in column]
    notes = (f"No category is named {some(strangers, 10)}.",) if strangers else ()
    codes = np.array([column.get(key, -1) for key in keys], np.int64)
    return tuple(wanted[key] for key in present), codes, notes


def absent_categories(frame: Frame, present: Iterable[str]) -> tuple[str, ...]:
    """Note which of the categories that were asked for are not there."""
    if frame.wanted is None:
        return ()
    taken = set(present)
    missing = [name for name in frame.wanted.values() if name not in taken]
    return (f"The file has no labels for {some(missing, 10)}.",) if missing else ()


def none_present(frame: Frame, what: str, present: Sequence[str]) -> LabelError:
    """Tell that nothing is about the categories, and what is there instead."""
    path = frame.sheet.path
    if frame.wanted is None:
        return LabelError(
            f"{path} has no column of labels. Its other columns are: {', '.join(present)}. "
            f"Add one column per category with yes or no, or a column 'label' with the class, "
            f"then run the same command again."
        )
    return LabelError(
        f"{path} has labels for none of the categories. Its {what} are: {some(present, 20)}. "
        f"The categories are: {', '.join(frame.wanted.values())}. Rename the {what}, or choose "
        f"the prompt set that they belong to with --prompts SET, then run the same command again."
    )
