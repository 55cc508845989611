"""Which images have a label because somebody saw them for their scores.

Whoever looks at flagged images, at those near a threshold or at what a search found sees them
*because of* their scores, so that their labels are no random sample. A content that was labelled
so in a category, and had no label in it before, is *chosen*: what follows for estimates and
guarantees is told by `clipcal.calibrate.sampling.design`.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import numpy as np

from clipcal.index.reading import Reading
from clipcal.index.schema import JUDGEMENTS
from clipcal.index.shards import Rows

CHOSEN: Final = ("flagged", "near", "search")  # the rater saw the image for its score
COLUMNS = "id, batch, item, category, level, rater, origin, given, undone"

# Of content that the item has no more, a judgement says nothing.
_OF_THIS_CONTENT = "(items.row IS NULL OR {one}.row IS NULL OR items.row = {one}.row)"
STANDING_WHERE = f"""
SELECT {", ".join(f"one.{name}" for name in COLUMNS.split(", "))}
FROM judgements AS one JOIN items ON items.id = one.item
WHERE one.undone IS NULL AND one.level IS NOT NULL AND {_OF_THIS_CONTENT.format(one="one")}
    AND {{which}} AND NOT EXISTS (
        SELECT 1 FROM judgements AS newer
        WHERE newer.item = one.item AND newer.category = one.category AND newer.rater = one.rater
            AND newer.id > one.id AND newer.undone IS NULL
            AND {_OF_THIS_CONTENT.format(one="newer")}
    )
"""
STANDING = STANDING_WHERE.format(which="TRUE")
_NO_ROW = -1  # in before_chosen: says that a category is there, also where it has no row
_CELLS = """
WITH cells AS (
    SELECT DISTINCT row, category FROM judgements WHERE batch = ? AND row IS NOT NULL
)
"""
# What somebody said of a cell and has neither undone nor taken back since.
_SAID = """
SELECT 1 FROM judgements AS said JOIN items ON items.id = said.item
WHERE items.row = {cell}.row AND said.row = items.row AND said.category = {cell}.category
    AND said.undone IS NULL AND said.level IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM judgements AS later
        WHERE later.item = said.item AND later.category = said.category
            AND later.rater = said.rater AND later.row = said.row AND later.id > said.id
            AND later.undone IS NULL AND later.level IS NULL
    )
"""
_FILED = """
SELECT 1 FROM labels JOIN items ON items.id = labels.item
WHERE items.row = {cell}.row AND labels.category = {cell}.category
"""
_FILED_CELLS = """
SELECT items.row, category FROM labels JOIN items ON items.id = labels.item
WHERE items.row IS NOT NULL
"""
_SAID_CELLS = f"""
SELECT items.row, category FROM ({STANDING}) AS said JOIN items ON items.id = said.item
WHERE items.row IS NOT NULL AND (?2 IS NULL OR said.rater = ?2)
"""
_BEFORE = f"""
INSERT INTO before_chosen SELECT row, category FROM (
    {_FILED_CELLS} UNION {_SAID_CELLS} EXCEPT SELECT row, category FROM chosen
) WHERE category = ?1 UNION SELECT {_NO_ROW}, ?1
"""
# What has got a label in a category since.
_SINCE = f"""
SELECT 1 FROM ({_FILED_CELLS} UNION {_SAID_CELLS}) WHERE category = ?1
    AND row NOT IN (SELECT row FROM before_chosen WHERE category = ?1) LIMIT 1
"""


def chosen_rows(corpus: Reading, category: str | None = None) -> Rows:
    """Contents that were labelled because somebody saw them for their scores.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    category : str, optional
        In which; by default in any.

    Returns
    -------
    Rows
        int64 (n,), rows of the embeddings, ascending.
    """
    query = "SELECT DISTINCT row FROM chosen WHERE ?1 IS NULL OR category = ?1 ORDER BY row"
    return _numbers(corpus, query, category)


def rows_before_chosen(corpus: Reading, category: str) -> Rows | None:
    """Contents that had a label in a category before the first was chosen in it.

    Whoever draws images at random after that and meets a chosen one finds it labelled: labels
    that came later are of the rest only, even if the chosen ones are undone by now.

    Returns
    -------
    Rows or None
        int64 (n,), rows of the embeddings, ascending; None where none was chosen.
    """
    query = "SELECT row FROM before_chosen WHERE category = ? ORDER BY row"
    found = _numbers(corpus, query, category)
    return found[found != _NO_ROW] if len(found) else None


def labelled_rows(
    corpus: Reading, category: str | None = None, *, chosen: bool = True, rater: str | None = None
) -> Rows:
    """Contents that have a label, of a file or of a rater.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    category : str, optional
        In which; by default in any.
    chosen : bool
        Whether labels count that were given to images seen for their scores.
    rater : str, optional
        Whose labels count, beside those of files; by default everybody's.

    Returns
    -------
    Rows
        int64 (n,), rows of the embeddings, ascending; also of images removed since.
    """
    cells, asked = _FILED_CELLS, [category]
    if corpus.knows(JUDGEMENTS):
        less = "" if chosen else "EXCEPT SELECT row, category FROM chosen"
        cells, asked = f"{_FILED_CELLS} UNION {_SAID_CELLS} {less}", [category, rater]
    query = f"SELECT DISTINCT row FROM ({cells}) WHERE ?1 IS NULL OR category = ?1"
    return np.unique(np.array([row for (row,) in corpus.read(query, *asked)], np.int64))


def settle(database: sqlite3.Connection, batch: str) -> None:
    """Bring what is chosen up to date with a batch that was said or undone.

    A cell without any label is not chosen. One whose every label came from looking at scores is,
    even where the label that was there first is gone by now: that image has a label for its score
    alone. For the rest everything stays, so that who looks at a random image again for its score,
    and corrects it, takes no image out of the random sample.
    """
    _release(database, batch)
    filed, said = _FILED.format(cell="cells"), _SAID.format(cell="cells")
    origins = ", ".join(f"'{origin}'" for origin in CHOSEN)
    database.execute(
        f"{_CELLS} INSERT OR IGNORE INTO chosen SELECT row, category FROM cells"
        f" WHERE NOT EXISTS ({filed}) AND EXISTS ({said})"
        f" AND NOT EXISTS ({said} AND said.origin NOT IN ({origins}))",
        (batch,),
    )
    for category in _chosen_in(database, batch) - _told_before(database, batch):
        database.execute(_BEFORE, (category, None))


def _release(database: sqlite3.Connection, batch: str) -> None:
    """Forget that cells were chosen that have no label any more."""
    filed, said = _FILED.format(cell="chosen"), _SAID.format(cell="chosen")
    database.execute(
        f"{_CELLS} DELETE FROM chosen WHERE (row, category) IN cells"
        f" AND NOT EXISTS ({filed}) AND NOT EXISTS ({said})",
        (batch,),
    )
    for category in _told_before(database, batch) - _chosen_in(database, batch):
        if not database.execute(_SINCE, (category, None)).fetchall():
            database.execute("DELETE FROM before_chosen WHERE category = ?", (category,))


def _chosen_in(database: sqlite3.Connection, batch: str) -> set[str]:
    """Return in which categories of a batch anything is chosen."""
    query = (
        "SELECT DISTINCT category FROM judgements WHERE batch = ?"
        " AND category IN (SELECT category FROM chosen)"
    )
    return {name for (name,) in database.execute(query, (batch,))}


def _told_before(database: sqlite3.Connection, batch: str) -> set[str]:
    """Return for which categories of a batch it is known what had labels before."""
    query = (
        "SELECT DISTINCT category FROM judgements WHERE batch = ?"
        " AND (?, category) IN (SELECT row, category FROM before_chosen)"
    )
    return {name for (name,) in database.execute(query, (batch, _NO_ROW))}


def _numbers(corpus: Reading, query: str, *values: object) -> Rows:
    found = corpus.read(query, *values) if corpus.knows(JUDGEMENTS) else []
    return np.array([number for (number,) in found], np.int64)
