"""What a corpus knows of labels: those of a file, and what raters have said since.

The corpus keeps the labels that it was last calibrated with, and a journal of what people judged
(:mod:`clipcal.index.judgements`). Of a cell, an image in a category, that anybody has judged, the
judgements count and the file's label no more. Every other cell has the file's label. What is in
levels that the corpus is not labelled in (`clipcal.calibrate.labels.scale`) hides nothing: where
nothing else is known of the cell, it is one that was asked about and left blank. Beside them
stand the overall verdicts that one was last fitted to; raters are not asked for any.

The pool is read from the bytes that it is exported as, so that calibrating from the pool and from
the exported file is one and the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from clipcal.calibrate.labels.formats import ANSWER_NAMES, CATEGORY_NAMES
from clipcal.calibrate.labels.kept_verdicts import kept_verdicts
from clipcal.calibrate.labels.matching import Match
from clipcal.calibrate.labels.overall import OVERALL
from clipcal.calibrate.labels.seen import as_first_seen
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.table import BINARY, UNKNOWN, LabelTable, parse_labels
from clipcal.calibrate.labels.voices import PoolLabel, heard, level_of, voices_of
from clipcal.calibrate.labels.votes import Aggregate
from clipcal.errors import LabelError
from clipcal.index.judgements import Origin, standing
from clipcal.index.names import cell_name
from clipcal.index.reading import Reading
from clipcal.index.roster import roster
from clipcal.index.shards import Rows

SOURCE: Final = "reviewed.csv"
ORIGIN_NAMES: Final = ("origin", "howseen")
_GAP = 100  # ids; names of items nearer to each other are read at once

Names = Callable[[str], str]
# A row of a label file: the image's name, the category, the level, the rater, the origin, and the
# image's overall verdict.
Row = tuple[str, str, str, str, Origin, str]


@dataclass(frozen=True, slots=True, eq=False)
class PoolLabels:
    """Every label of the pool.

    Attributes
    ----------
    categories, levels : tuple of str
        The prompt set's; those of the labels, from low to high.
    labels : tuple of PoolLabel
        In the order of item, category and rater.
    blank : tuple of PoolLabel
        Without a level, in the same order: all that is known of the cell is in other levels.
    uris : dict of int to str
        Of each item that has a label or a blank.
    places : Int64[(items,)]
        Place of each such item, ascending, among the embedded ones.
    notes : tuple of str
        What was left out.
    verdicts : dict of int to str
        People's overall verdict of each such item that has one.
    """

    categories: tuple[str, ...]
    levels: tuple[str, ...]
    labels: tuple[PoolLabel, ...]
    blank: tuple[PoolLabel, ...]
    uris: dict[int, str]
    places: Rows
    notes: tuple[str, ...]
    verdicts: dict[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The pool as one table, and where its images are.

    Attributes
    ----------
    table : LabelTable
        The labels, one per cell, with the votes of several raters.
    match : Match
        Place of each image among the embedded ones, in the order of the roster and of
        ``CorpusScores.uris``; every image has one.
    verdicts : tuple of str
        People's overall verdict of each image, empty where none is kept; nothing at all where
        none is of any.
    """

    table: LabelTable
    match: Match
    verdicts: tuple[str, ...] = ()


def pooled(
    corpus: Reading,
    categories: Sequence[str],
    levels: Sequence[str],
    aggregate: Aggregate = "majority",
    *,
    ids: Rows | None = None,
) -> Pool:
    """Read the pool as one table.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories : sequence of str
        The prompt set's categories; labels in others are left out, and counted in a note.
    levels : sequence of str
        In which the corpus is labelled, as `spoken_levels` tells; empty for negative and positive.
    aggregate : {"majority", "dawid-skene"}
        How several raters become one label.
    ids : Int64[(n,)], optional
        The embedded items, ascending, among which places count; by default those of now.

    Returns
    -------
    Pool
        The table that reading `pool_csv` gives, and the match that its names give; an empty
        table where there are no labels.

    Raises
    ------
    LabelError
        If raters' errors are to be estimated and there is one rater, or an image's name is such
        that no sheet can keep it.
    """
    found = pool_labels(corpus, categories, levels, ids=ids)
    table = table_of(found, aggregate)
    if len(table.images) != len(found.places):  # or labels would count for other images
        raise LabelError(
            f"The labels of {len(found.places)} images in {corpus.path} read back as those of "
            f"{len(table.images)}: a name among them cannot be kept in a sheet. Rename the file, "
            f"then embed its folder again: clipcal embed FOLDER --corpus {corpus.path}"
        )
    verdicts = tuple(found.verdicts.get(item, "") for item in found.uris) if found.verdicts else ()
    return Pool(table, Match(found.places, (), ()), verdicts)


def pool_csv(
    corpus: Reading,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    names: Names | None = None,
) -> bytes:
    """Write the pool as a label file.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories, levels : sequence of str
        As for `pooled`.
    names : callable, optional
        From an image's uri to what the file calls it; the uri itself by default.

    Returns
    -------
    bytes
        CSV in UTF-8, a row per image, category and rater, ordered by item, category and rater:
        ``image,category,label,annotator,origin``; `as_first_seen` tells of the origin. A cell that
        is left blank has a row without a label. Where overall verdicts are kept of some of the
        images, every row ends with its image's.
    """
    return write_long(pool_labels(corpus, categories, levels), names)


def pool_labels(
    corpus: Reading,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    ids: Rows | None = None,
) -> PoolLabels:
    """Bring together what raters said and what the file said.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories, levels : sequence of str
        Those to read, as for `pooled`.
    ids : Int64[(n,)], optional
        As for `pooled`.

    Returns
    -------
    PoolLabels
        The labels of embedded images in these categories and levels, and what was left out.
    """
    scale = tuple(levels) or BINARY
    found, strange = voices_of(standing(corpus), _filed(corpus), categories, scale)
    embedded = roster(corpus)[0] if ids is None else ids
    present = np.isin(_items(found), embedded).tolist()
    voices = [one for one, stays in zip(found, present, strict=True) if stays]
    told = sorted(as_first_seen(corpus, heard(voices), categories))
    blank = tuple(one for one in told if not level_of(one))
    items = np.unique(_items(told))
    return PoolLabels(
        categories=tuple(categories),
        levels=scale,
        labels=tuple(one for one in told if level_of(one)),
        blank=blank,
        uris=_uris(corpus, items),
        places=np.searchsorted(embedded, items),
        notes=(
            *_left_out(strange, "in other categories"),
            *_left_out(len(found) - len(voices), "of images that are not embedded any more"),
            *_left_out(
                sum(not level_of(one) for one in voices), f"in levels other than {', '.join(scale)}"
            ),
            *_on_blank(len({one[:2] for one in blank})),
        ),
        verdicts=_verdicts(corpus, items, categories),
    )


def table_of(found: PoolLabels, aggregate: Aggregate = "majority") -> LabelTable:
    """Read labels as one table, whose images are the items that have some, in ascending order.

    Parameters
    ----------
    found : PoolLabels
        The labels.
    aggregate
        As for `pooled`.

    Returns
    -------
    LabelTable
        As from `pooled`.

    Raises
    ------
    LabelError
        As from `pooled`.
    """
    if not found.uris:
        nothing = np.empty((0, len(found.categories)), np.int8)
        return LabelTable((), found.categories, found.levels, nothing, (), found.notes, "", "")
    table = parse_labels(
        write_long(found),
        Path(SOURCE),
        categories=found.categories,
        levels=found.levels,
        aggregate=aggregate,
    )
    return replace(table, notes=(*table.notes, *found.notes))


def majority_of(found: PoolLabels, table: LabelTable) -> dict[int, dict[str, str]]:
    """Return, by item, the level in the labels' table of each category that it has one of."""
    return {
        item: {
            category: table.levels[value]
            for category, value in zip(table.categories, row, strict=True)
            if value != UNKNOWN
        }
        for item, row in zip(found.uris, table.values.tolist(), strict=True)
    }


def write_long(found: PoolLabels, names: Names | None = None) -> bytes:
    """Write labels as a label file: see `pool_csv`."""
    called = {item: cell_name(names(uri) if names else uri) for item, uri in found.uris.items()}
    verdicts = found.verdicts
    rows = (
        (called[item], found.categories[column], level, rater, origin, verdicts.get(item, ""))
        for item, column, rater, level, origin in sorted((*found.labels, *found.blank))
    )
    return long_file(found.categories, rows, overall=bool(verdicts))


def long_file(categories: Sequence[str], rows: Iterable[Row], *, overall: bool) -> bytes:
    """Write rows as a label file.

    Parameters
    ----------
    categories : sequence of str
        A column that is called as one of them would be read as that category's, and is called
        otherwise.
    rows : iterable of Row
        The rows.
    overall : bool
        Whether to write the verdicts, as the column ``Overall``.

    Returns
    -------
    bytes
        CSV in UTF-8.
    """
    answers = ("label", *ANSWER_NAMES)
    free = [free_names(some, categories)[0] for some in (CATEGORY_NAMES, answers, ORIGIN_NAMES)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["image", *free[:2], "annotator", free[2], OVERALL.capitalize()]
    end = None if overall else -1
    writer.writerow(columns[:end])
    writer.writerows(row[:end] for row in rows)
    return text.getvalue().encode("utf-8")


def free_names(names: Sequence[str], categories: Sequence[str]) -> list[str]:
    """Leave out of some names of columns those that categories have."""
    taken = {name_key(category) for category in categories}
    return [name for name in names if name not in taken]


def _verdicts(corpus: Reading, items: Rows, categories: Sequence[str]) -> dict[int, str]:
    """Return the overall verdicts of items; none where a category takes the column's name."""
    kept = kept_verdicts(corpus)
    if not kept or OVERALL in map(name_key, categories):
        return {}
    ids, rows = roster(corpus)
    known = np.isin(ids, items)
    contents = zip(ids[known].tolist(), rows[known].tolist(), strict=True)
    return {item: kept[row] for item, row in contents if row in kept}


def _uris(corpus: Reading, ids: Rows) -> dict[int, str]:
    """Read the uris of items, those near each other together."""
    uris: dict[int, str] = {}
    for part in np.split(ids, np.flatnonzero(np.diff(ids) > _GAP) + 1):
        uris.update(zip(part.tolist(), corpus.texts("uri", part), strict=True))
    return uris


def _filed(corpus: Reading) -> list[tuple[int, str, str]]:
    """Return the labels that came with a file: item, category and level."""
    return [
        (item.id, category, level)
        for uri, row in corpus.labels().items()
        if (item := corpus.find(uri)) is not None
        for category, level in row.items()
    ]


def _items(labels: Sequence[PoolLabel]) -> Rows:
    return np.fromiter((one[0] for one in labels), np.int64, len(labels))


def _left_out(count: int, why: str) -> tuple[str, ...]:
    labels = "1 label is" if count == 1 else f"{count:,} labels are"
    return (f"{labels} left out: {why}.",) if count else ()


def _on_blank(cells: int) -> tuple[str, ...]:
    if not cells:
        return ()
    images = "1 image" if cells == 1 else f"{cells:,} images"
    counts = "counts" if cells == 1 else "count"
    return (f"{images} of which nothing else is known in a category {counts} there as left blank.",)
