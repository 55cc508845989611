"""Several label files as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.table import UNKNOWN, LabelTable
from clipcal.calibrate.labels.votes import Codes, Votes, agree
from clipcal.errors import LabelError

_MOST_NAMED = 3


def merge_tables(tables: Sequence[LabelTable]) -> LabelTable:
    """Make one label table of several.

    Parameters
    ----------
    tables : sequence of LabelTable
        At least one; all of the same levels.

    Returns
    -------
    LabelTable
        An image that is written alike in several tables is one. Its equal labels are merged;
        where two files contradict each other the label is unknown, and noted. A rater of the
        same name is the same one in every file and has one vote on each label, or none where
        two files disagree on it. A cell was asked where any file asked it. A file that is given
        twice is read once. The hash is over the files' hashes.

    Raises
    ------
    LabelError
        If the levels differ.
    """
    tables, again = _distinct(tables)
    if len(tables) == 1:
        return replace(tables[0], notes=(*tables[0].notes, *again))
    _need_same_levels(tables)
    categories = tuple(dict.fromkeys(name for table in tables for name in table.categories))
    images = tuple(dict.fromkeys(image for table in tables for image in table.images))
    rows = _places([table.images for table in tables], images)
    columns = _places([table.categories for table in tables], categories)
    cells = [
        row[:, None] * len(categories) + column for row, column in zip(rows, columns, strict=True)
    ]
    values, clash = _labels(tables, cells, (len(images), len(categories)))
    votes, voided = _votes(tables, cells, len(categories))
    hashes = "".join(table.sha256 for table in tables)
    return LabelTable(
        images=images,
        categories=categories,
        levels=tables[0].levels,
        values=values,
        ignored_columns=tuple(dict.fromkeys(c for table in tables for c in table.ignored_columns)),
        notes=(
            *(f"{table.source}: {note}" for table in tables for note in table.notes),
            *again,
            *_on_labels(clash, tables, cells, images, categories),
            *_on_votes(voided, votes, images, categories),
        ),
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        source=", ".join(table.source for table in tables),
        votes=votes,
        asked=_asked(tables, cells, values.shape),
    )


def _distinct(tables: Sequence[LabelTable]) -> tuple[list[LabelTable], list[str]]:
    """Leave out files whose content was given before, and say so."""
    first = {table.sha256: table for table in reversed(tables)}
    kept = [tables.index(table) for table in reversed(first.values())]
    again = [
        f"{table.source} holds the same as {first[table.sha256].source}, and is read once."
        for place, table in enumerate(tables)
        if place not in kept
    ]
    return [tables[place] for place in sorted(kept)], again


def _need_same_levels(tables: Sequence[LabelTable]) -> None:
    for other in tables[1:]:
        if other.levels != tables[0].levels:
            raise LabelError(
                f"{tables[0].source} has the levels {', '.join(tables[0].levels)}, {other.source} "
                f"has {', '.join(other.levels)}. Use the same words in both, then run the same "
                f"command again."
            )


def _places(names: Sequence[Sequence[str]], among: Sequence[str]) -> list[Codes]:
    """Return where each table's names are among all."""
    place = {name: index for index, name in enumerate(among)}
    return [np.array([place[name] for name in own], np.int64) for own in names]


def _labels(
    tables: Sequence[LabelTable], cells: Sequence[Codes], shape: tuple[int, int]
) -> tuple[NDArray[np.int8], Codes]:
    """Return the labels on which no two files disagree, and the cells on which they do."""
    known = [table.values != UNKNOWN for table in tables]
    cell = np.concatenate([own[held] for own, held in zip(cells, known, strict=True)])
    level = np.concatenate([t.values[held] for t, held in zip(tables, known, strict=True)])
    cell, level, clash = agree(cell, level.astype(np.int64))
    values = np.full(shape, UNKNOWN, np.int8)
    values.ravel()[cell] = level
    return values, clash


def _asked(
    tables: Sequence[LabelTable], cells: Sequence[Codes], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    asked = np.zeros(shape, np.bool_)
    for table, own in zip(tables, cells, strict=True):
        asked.ravel()[own[table.cells_asked()]] = True
    return asked


def _votes(
    tables: Sequence[LabelTable], cells: Sequence[Codes], categories: int
) -> tuple[Votes | None, Codes]:
    """Put the raters' answers together; also return ``cell * raters + rater`` of those dropped.

    Anonymous raters cannot be told apart, and all of them count.
    """
    held = [(t.votes, own) for t, own in zip(tables, cells, strict=True) if t.votes is not None]
    if not held:
        return None, np.empty(0, np.int64)
    raters = tuple(dict.fromkeys(name for votes, _ in held for name in votes.raters))
    numbers = _places([votes.raters for votes, _ in held], raters)
    rater = np.concatenate(
        [np.append(n, UNKNOWN)[votes.rater] for n, (votes, _) in zip(numbers, held, strict=True)]
    )
    cell = np.concatenate([own[votes.image, votes.category] for votes, own in held])
    level = np.concatenate([votes.level for votes, _ in held]).astype(np.int64)
    named = rater >= 0
    ballot, said, voided = agree(cell[named] * len(raters) + rater[named], level[named])
    cell = np.concatenate([ballot // max(len(raters), 1), cell[~named]])
    rater = np.concatenate([ballot % max(len(raters), 1), rater[~named]])
    said = np.concatenate([said, level[~named]])
    return Votes(*np.divmod(cell, categories), rater, said.astype(np.int8), raters), voided


def _on_labels(
    clash: Codes,
    tables: Sequence[LabelTable],
    cells: Sequence[Codes],
    images: Sequence[str],
    categories: Sequence[str],
) -> list[str]:
    """Name labels that are unknown because files contradict each other, and these files."""
    named = []
    for cell in clash[:_MOST_NAMED].tolist():
        files = [
            table.source
            for table, own in zip(tables, cells, strict=True)
            if (table.values[own == cell] != UNKNOWN).any()
        ]
        image, category = divmod(cell, len(categories))
        named.append(f"{images[image]} ({categories[category]}; {', '.join(files)})")
    return _note("Labels on which files contradict each other are unknown", named, len(clash))


def _on_votes(
    voided: Codes, votes: Votes | None, images: Sequence[str], categories: Sequence[str]
) -> list[str]:
    """Name votes that are dropped because a rater says two things in two files."""
    if votes is None:
        return []
    named = []
    for ballot in voided[:_MOST_NAMED].tolist():
        cell, rater = divmod(ballot, len(votes.raters))
        image, category = divmod(cell, len(categories))
        named.append(f"{votes.raters[rater]} on {images[image]} ({categories[category]})")
    return _note(
        "Votes of raters who contradict themselves between files do not count", named, len(voided)
    )


def _note(fact: str, named: Sequence[str], number: int) -> list[str]:
    rest = number - len(named)
    return [f"{fact}: {', '.join(named)}{f' and {rest} more' if rest else ''}."] if named else []
