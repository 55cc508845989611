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

from clipcal.calibrate.labels.answers import read_long, read_wide, words_in
from clipcal.calibrate.labels.classes import count_table, counts_in, read_classes, read_counts
from clipcal.calibrate.labels.frame import Frame, Reading, frame_of
from clipcal.calibrate.labels.headings import none_present
from clipcal.calibrate.labels.sheet import Sheet, name_key
from clipcal.calibrate.labels.votes import Aggregate
from clipcal.calibrate.labels.words import answer_words, word_of
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
        return read_counts(frame, counted)
    if frame.wanted is not None:
        hits = [i for i in frame.free if frame.keys[i] in frame.wanted]
        if hits:
            return read_wide(frame, hits, levels)
    category, answer = frame.find(CATEGORY_NAMES), frame.find(ANSWER_NAMES)
    if category is not None and answer is not None:
        return read_long(frame, category, answer, levels)
    known = answer_words(levels)
    chosen = frame.find(CLASS_NAMES)
    if chosen is not None and not _all_answers(frame, chosen, known):
        return read_classes(frame, chosen)
    return read_wide(frame, _guess_wide(frame, known), levels)


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
    return read_classes(frame, column)


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


def _all_answers(frame: Frame, column: int, known: frozenset[str]) -> bool:
    return words_in(frame, [column]) <= known


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
        raise none_present(frame, "columns", frame.ignored(()))
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


def _count_columns(frame: Frame, levels: Sequence[str]) -> list[int]:
    """Find the columns of counts per class; none where they might be something else.

    Counts go beyond one in most classes, and about as many raters see each image: ratings on a
    scale of numbers look alike but for that.
    """
    columns = [i for i in frame.free if frame.keys[i] not in ASIDE_NAMES and counts_in(frame, i)]
    if frame.wanted is None:
        if frame.find(CLASS_NAMES) is not None:
            return []
    else:
        hits = {i for i in frame.free if frame.keys[i] in frame.wanted}
        if not hits or not hits <= set(columns):
            return []
    most = [max(counts_in(frame, column).values()) for column in columns]
    several = 2 * sum(count > 1 for count in most) > len(columns)
    rungs = max(most, default=0) < len(levels)
    if len(columns) < 2 or not several or rungs:
        return []
    raters = count_table(frame, columns).sum(axis=1)
    return columns if 2 * raters[raters > 0].min() >= raters.max() else []
