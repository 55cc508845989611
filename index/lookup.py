"""Single items of a corpus, looked up by what is at hand: ids, names, contents, places in a list.

Each function asks once for all, so that a page of a million images costs as much as one of a
thousand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from clipcal.index.reading import ITEM_COLUMNS, Reading
from clipcal.index.records import Item
from clipcal.index.shards import Rows

_GIVEN = "(SELECT value FROM json_each(?))"


def items_by_id(corpus: Reading, ids: Iterable[int]) -> dict[int, Item]:
    """Look up items, in whatever state.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    ids : iterable of int
        Which; those that there are not are left out.

    Returns
    -------
    dict of int to Item
        By id.
    """
    query = f"SELECT {ITEM_COLUMNS} FROM items WHERE id IN {_GIVEN}"
    return {row[0]: Item(*row) for row in corpus.read(query, json.dumps(list(ids)))}


def ids_by_uri(corpus: Reading, uris: Sequence[str]) -> dict[str, int]:
    """Look up the ids of items by their names; those that there are not are left out."""
    query = f"SELECT uri, id FROM items WHERE uri IN {_GIVEN}"
    return dict(corpus.read(query, json.dumps(list(uris))))


def ids_at(corpus: Reading, row: int) -> Rows:
    """Ids (n,) of the embedded items that share the embedding in `row`, ascending."""
    query = "SELECT id FROM items WHERE row = ? AND state = 'embedded' ORDER BY id"
    return np.array([number for (number,) in corpus.read(query, row)], np.int64)


def row_of_content(corpus: Reading, sha256: str) -> int | None:
    """The row of a content that was ever embedded, by its SHA-256."""
    found = corpus.read("SELECT row FROM vectors WHERE sha256 = ?", sha256)
    return int(found[0][0]) if found else None


def failures(corpus: Reading, offset: int, limit: int) -> list[Item]:
    """Items that could not be embedded, in the order in which they were first seen.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    offset, limit : int
        How many to pass over, and how many to return at most.
    """
    query = f"SELECT {ITEM_COLUMNS} FROM items WHERE state = 'failed' ORDER BY id LIMIT ? OFFSET ?"
    return [Item(*row) for row in corpus.read(query, limit, offset)]


def first_and_last_uri(corpus: Reading, prefix: str = "") -> tuple[str, str] | None:
    """The names that come first and last by their characters, among those with a prefix.

    What these two begin with alike every name between them begins with.

    Parameters
    ----------
    corpus : Reading
        The corpus; items in any state count.
    prefix : str
        What a name must begin with; not empty, if it is given, and without its last character
        being the last of Unicode.

    Returns
    -------
    tuple of str or None
        None where there is no such name.
    """
    query, ends = "SELECT min(uri), max(uri) FROM items WHERE uri >= ?", [prefix]
    if prefix:
        query, ends = f"{query} AND uri < ?", [prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)]
    ((first, last),) = corpus.read(query, *ends)
    return None if first is None else (first, last)


def change(corpus: Reading) -> int:
    """A number that differs after every change that another connection to the corpus has made."""
    ((version,),) = corpus.read("PRAGMA data_version")
    return int(version)


def labels_of(corpus: Reading, item: int) -> dict[str, str]:
    """The labels last kept of one item (`Reading.labels`), by category."""
    return dict(corpus.read("SELECT category, level FROM labels WHERE item = ?", item))
