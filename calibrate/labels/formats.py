"""Which kind of label file a sheet is, and the labels in it.

A sheet is one of four kinds, tried in this order:

counts
    One column per class, in each cell how many raters chose it.
wide
    One column per category, in each cell a level, yes/no or a mark.
long
    One row per image and category, with a column that names the category.
classes
    One row per image, with a column that names its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from clipcal.calibrate.labels.frame import Frame, Levels, Reading, frame_of, indexed, some
from clipcal.calibrate.labels.sheet import Sheet, name_key
from clipcal.calibrate.labels.votes import (
    ANONYMOUS,
    Aggregate,
    Codes,
    Votes,
    agree,
    ballots,
    likely_class,
    likely_levels,
    majority,
    most_chosen,
)
from clipcal.calibrate.labels.words import (
    BINARY,
    UNKNOWN,
    Scale,
    answer_words,
    scale_of,
    word_of,
)
from clipcal.errors import LabelError

CATEGORY_NAMES = ("category", "dimension", "attribute", "concept", "criterion", "question")
ANSWER_NAMES = ("label", "level", "value", "rating", "answer", "annotation", "present")
CLASS_NAMES = ("label", "class", "classname", "category", "target", "truth", "human", "annotation")
# A column so named may hold the answers for a single category, whatever that is called.
_ANY_ANSWER = {*ANSWER_NAMES, *CLASS_NAMES, "positive", "flag", "flagged", "decision", "verdict"}
ASIDE_NAMES = frozenset(
    [
        *("overall", "explanation", "comment", "comments", "note", "notes", "reason", "remark"),
        *("remarks", "timestamp", "date", "time", "split", "width", "height", "size", "bytes"),
        *("originalname", "index", "total", "sum", "votes", "raters"),
    ]
)
# How notes tell that raters became one label: of no use to who keeps what each of them said.
ON_MAJORITY = (
    "labels are the majority of several raters.",
    "of raters went to the higher level",
    "The class that most raters chose is taken.",
)
_MOST_RATES = 20_000_000  # raters times classes squared: the rates of all confusion matrices
_MOST_VOTES = 20_000_000  # half a gigabyte


def interpret(
    sheet: Sheet,
    categories: Sequence[str] | None,
    levels: Sequence[str],
    aggregate: Aggregate = "majority",
) -> Reading:
    """Read the labels of a sheet, whatever its kind.

    Parameters
    ----------
    sheet : Sheet
        The cells.
    categories : sequence of str or None
        The categories to read; None reads all that the sheet seems to hold.
    levels : sequence of str
        Level names from low to high; empty means that the sheet decides.
    aggregate : {"majority", "dawid-skene"}
        How several raters become one label.

    Returns
    -------
    Reading
        The labels.

    Raises
    ------
    LabelError
        If no column names images, none of the categories is present, or a cell is unknown; or
        if raters are to be told apart and are not.
    """
    frame = frame_of(sheet, categories, aggregate)
    counted = _count_columns(frame, levels)
    if aggregate == "dawid-skene":
        _need_raters(frame, counted=bool(counted))
    if counted:
        return _read_counts(frame, counted)
    if frame.wanted is not None:
        hits = [i for i in frame.free if frame.keys[i] in frame.wanted]
        if hits:
            return _read_wide(frame, hits, levels)
    category, answer = frame.find(CATEGORY_NAMES), frame.find(ANSWER_NAMES)
    if category is not None and answer is not None:
        return _read_long(frame, category, answer, levels)
    known = answer_words(levels)
    chosen = frame.find(CLASS_NAMES)
    if chosen is not None and not _all_answers(frame, chosen, known):
        return _read_classes(frame, chosen)
    return _read_wide(frame, _guess_wide(frame, known), levels)


def read_class_column(sheet: Sheet, name: str) -> Reading:
    """Read a column as the class of each image, whatever its words.

    Parameters
    ----------
    sheet : Sheet
        The cells.
    name : str
        The column, without regard to case, spaces, dashes and underscores.

    Returns
    -------
    Reading
        With a category per class.

    Raises
    ------
    LabelError
        If there is no such column, or none that names images.
    """
    frame = frame_of(sheet)
    column = frame.find([name_key(name)])
    if column is None:
        raise LabelError(
            f"{sheet.path} has no column '{name}' beside the images. Its other columns are: "
            f"{', '.join(frame.ignored(()))}. Name one of these: clipcal compare --human COLUMN "
            f"--predicted COLUMN"
        )
    return _read_classes(frame, column)


def class_column(sheet: Sheet, names: Iterable[str]) -> str | None:
    """Return the first of the named columns whose cells are classes rather than answers."""
    frame = frame_of(sheet)
    known = answer_words(())
    columns = (frame.find([name]) for name in names)
    found = (i for i in columns if i is not None and not _all_answers(frame, i, known))
    return next((sheet.header[i] for i in found), None)


def _need_raters(frame: Frame, *, counted: bool) -> None:
    """Refuse to estimate raters' errors where nobody can tell who said what."""
    if not counted and len(frame.raters) > 1:
        return
    fact = "counts its raters" if counted else f"names {len(frame.raters) or 'no'} rater"
    raise LabelError(
        f"{frame.sheet.path} {fact}{'s' * (not counted and not frame.raters)}, and errors are "
        f"estimated rater by rater (Dawid and Skene). Give the single answers, a row each, with "
        f"a column 'annotator'; or take the majority: "
        f"clipcal calibrate --labels {frame.sheet.path} --raters majority"
    )


# --- cells ----------------------------------------------------------------------------------


def _words(frame: Frame, columns: Iterable[int]) -> set[str]:
    return {word_of(cell) for column in columns for cell in frame.free[column]}


def _all_answers(frame: Frame, column: int, known: frozenset[str]) -> bool:
    return _words(frame, [column]) <= known


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


# --- wide and long --------------------------------------------------------------------------


def _guess_wide(frame: Frame, known: frozenset[str]) -> list[int]:
    """Find the columns whose cells are mostly labels, where no name tells."""
    hits = [
        column
        for column in frame.free
        if frame.keys[column] not in ASIDE_NAMES and _mostly(frame.free[column], known)
    ]
    if hits and frame.wanted is None:
        return hits
    if len(hits) != 1 or frame.wanted is None or len(frame.wanted) != 1:
        raise _none_present(frame, "columns", frame.ignored(()))
    if frame.keys[hits[0]] not in _ANY_ANSWER:
        raise _another(frame, frame.sheet.header[hits[0]], *frame.wanted.values())
    return hits


def _another(frame: Frame, column: str, category: str) -> LabelError:
    return LabelError(
        f"{frame.sheet.path} has one column of labels, '{column}', and it need not be about the "
        f"category '{category}'. If it is, rename the column to '{category}' or 'label', then run "
        f"the same command again."
    )


def _mostly(cells: Counter[str], known: frozenset[str]) -> bool:
    filled = cells.total() - cells[""]
    answers = sum(count for cell, count in cells.items() if cell and word_of(cell) in known)
    return 2 * answers >= filled > 0


def _none_present(frame: Frame, what: str, present: Sequence[str]) -> LabelError:
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


def _named_columns(frame: Frame, columns: Sequence[int]) -> dict[str, int]:
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


def _read_wide(frame: Frame, columns: Sequence[int], levels: Sequence[str]) -> Reading:
    named = _named_columns(frame, columns)
    scale = scale_of(_words(frame, columns), levels)
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
        (*frame.notes, *scale.notes, *renamed, *notes, *_absent(frame, named)),
        votes,
    )


def _read_long(frame: Frame, category: int, answer: int, levels: Sequence[str]) -> Reading:
    names = frame.sheet.columns[category]
    categories, column_of, notes = _categories(frame, names.words)
    scale = scale_of(_words(frame, [answer]), levels)
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
    notes = (*frame.notes, *scale.notes, *notes, *merged, *_absent(frame, categories))
    ignored = frame.ignored([category, answer])
    return Reading(
        frame.images, categories, scale.levels, values, ignored, notes, votes, asked=asked
    )


def _categories(
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
        raise _none_present(frame, "classes", [name for name in names if name])
    column = {key: index for index, key in enumerate(present)}
    strangers = [own[key] for key in own if key not in column]
    notes = (f"No category is named {some(strangers, 10)}.",) if strangers else ()
    codes = np.array([column.get(key, -1) for key in keys], np.int64)
    return tuple(wanted[key] for key in present), codes, notes


def _absent(frame: Frame, present: Iterable[str]) -> tuple[str, ...]:
    if frame.wanted is None:
        return ()
    taken = set(present)
    missing = [name for name in frame.wanted.values() if name not in taken]
    return (f"The file has no labels for {some(missing, 10)}.",) if missing else ()


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
        return cell, likely, [_changed(int((likely != code).sum()), len(cell), "labels")]
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


def _changed(changed: int, number: int, what: str) -> str:
    return (
        f"Raters' errors are estimated (Dawid and Skene); that changed {changed} of {number} "
        f"{what} against the majority."
    )


def _cell_names(frame: Frame, categories: tuple[str, ...], cells: Codes) -> str:
    pairs = zip(*np.divmod(cells, len(categories)), strict=True)
    return some([f"{frame.images[i]} ({categories[j]})" for i, j in pairs])


# --- one class per image, and counts per class ----------------------------------------------


def _read_classes(frame: Frame, column: int) -> Reading:
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
    return likely, _changed(len(np.unique(differ)), len(np.unique(image)), "images")


def _count_columns(frame: Frame, levels: Sequence[str]) -> list[int]:
    """Find the columns of counts per class; none where they might be something else.

    Counts go beyond one in most classes, and about as many raters see each image: ratings on a
    scale of numbers look alike but for that.
    """
    columns = [i for i in frame.free if frame.keys[i] not in ASIDE_NAMES and _counts(frame, i)]
    if frame.wanted is None:
        if frame.find(CLASS_NAMES) is not None:
            return []
    else:
        hits = {i for i in frame.free if frame.keys[i] in frame.wanted}
        if not hits or not hits <= set(columns):
            return []
    most = [max(_counts(frame, column).values()) for column in columns]
    several = 2 * sum(count > 1 for count in most) > len(columns)
    rungs = max(most, default=0) < len(levels)
    if len(columns) < 2 or not several or rungs:
        return []
    raters = _count_table(frame, columns).sum(axis=1)
    return columns if 2 * raters[raters > 0].min() >= raters.max() else []


def _counts(frame: Frame, column: int) -> dict[str, int]:
    """Return each distinct cell as a count, blank being 0; empty if any is something else."""
    words = {cell: word_of(cell) or "0" for cell in frame.free[column]}
    if not all(map(_is_count, words.values())):
        return {}
    return {cell: int(word) for cell, word in words.items()}


def _count_table(frame: Frame, columns: Sequence[int]) -> Codes:
    counts = []
    for column in columns:
        cells, table = frame.sheet.columns[column], _counts(frame, column)
        counts.append(np.array([table[word] for word in cells.words], np.int64)[cells.codes])
    return np.stack(counts, axis=1)


def _is_count(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) < 10


def _read_counts(frame: Frame, columns: list[int]) -> Reading:
    counts = _count_table(frame, columns)
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
    categories, column_of, strangers = _categories(frame, names)
    image, chosen = np.divmod(np.unique(winners), len(names))
    classes = np.bincount(image, minlength=len(frame.images))
    values = np.where(classes > 0, 0, UNKNOWN).astype(np.int8)[:, None]
    values = np.repeat(values, len(categories), axis=1)
    column = column_of[chosen]
    kept = column >= 0
    sure = classes[image[kept]] == 1
    values[image[kept], column[kept]] = np.where(sure, 1, UNKNOWN)
    notes = (*frame.notes, *notes, *strangers, *_absent(frame, categories))
    if (classes > 1).any():
        unsure = [frame.images[i] for i in np.flatnonzero(classes > 1)]
        notes = (*notes, f"Images with several classes, which are unknown: {some(unsure)}.")
    ignored = frame.ignored(columns)
    return Reading(frame.images, categories, BINARY, values, ignored, notes, classes=True)
