"""Several label files as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.table import UNKNOWN, LabelTable
from clipcal.calibrate.labels.votes import Codes, Votes
from clipcal.errors import LabelError


def merge_tables(tables: Sequence[LabelTable]) -> LabelTable:
    """Put label tables below each other.

    Parameters
    ----------
    tables : sequence of LabelTable
        At least one; all of the same levels.

    Returns
    -------
    LabelTable
        An image that is in several tables is there several times, and becomes one, like copies,
        when labels meet the corpus. The hash is over the files' hashes.

    Raises
    ------
    LabelError
        If the levels differ.
    """
    if len(tables) == 1:
        return tables[0]
    levels = tables[0].levels
    for other in tables[1:]:
        if other.levels != levels:
            raise LabelError(
                f"{tables[0].source} has the levels {', '.join(levels)}, {other.source} has "
                f"{', '.join(other.levels)}. Use the same words in both, then run: "
                f"clipcal calibrate --labels {tables[0].source} --labels {other.source}"
            )
    categories = tuple(dict.fromkeys(name for table in tables for name in table.categories))
    hashes = "".join(table.sha256 for table in tables)
    return LabelTable(
        images=tuple(image for table in tables for image in table.images),
        categories=categories,
        levels=levels,
        values=np.concatenate([_spread(table, categories) for table in tables]),
        ignored_columns=tuple(dict.fromkeys(c for table in tables for c in table.ignored_columns)),
        notes=tuple(f"{table.source}: {note}" for table in tables for note in table.notes),
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        source=", ".join(table.source for table in tables),
        votes=_votes(tables, categories),
    )


def _spread(table: LabelTable, categories: Sequence[str]) -> NDArray[np.int8]:
    """Lay a table's columns out among more categories."""
    values = np.full((len(table.images), len(categories)), UNKNOWN, np.int8)
    values[:, [categories.index(name) for name in table.categories]] = table.values
    return values


def _votes(tables: Sequence[LabelTable], categories: Sequence[str]) -> Votes | None:
    """Put the raters' answers together; a rater of the same name is the same one."""
    held = [(table, table.votes) for table in tables if table.votes is not None]
    if not held:
        return None
    raters = tuple(dict.fromkeys(name for _, votes in held for name in votes.raters))
    starts = dict(zip(map(id, tables), _starts(tables), strict=True))
    parts = [
        replace(
            votes,
            image=votes.image + starts[id(table)],
            category=np.array([categories.index(c) for c in table.categories], np.int64)[
                votes.category
            ],
            rater=_renumbered(votes, raters),
        )
        for table, votes in held
    ]
    return Votes(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.category for part in parts]),
        np.concatenate([part.rater for part in parts]),
        np.concatenate([part.level for part in parts]),
        raters,
    )


def _starts(tables: Sequence[LabelTable]) -> list[int]:
    return [0, *np.cumsum([len(table.images) for table in tables]).tolist()[:-1]]


def _renumbered(votes: Votes, raters: Sequence[str]) -> Codes:
    """Number a file's raters among all; anonymous ones stay so."""
    number = np.array([*(raters.index(name) for name in votes.raters), -1], np.int64)
    return number[votes.rater]
