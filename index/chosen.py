"""Which images have a label because somebody saw them for their scores.

Whoever looks at flagged images, at those near a threshold or at what a search found sees them
*because of* their scores, so that their labels are no random sample. A content that was labelled
so in a category, and had no label in it before, is *chosen*: what follows for estimates and
guarantees is told by `clipcal.calibrate.sampling.design`. Names of categories that differ only as
`name_key` lets them are one.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import numpy as np

from clipcal.index.names import name_key
from clipcal.index.reading import Reading
from clipcal.index.schema import JUDGEMENTS
from clipcal.index.shards import Rows

CHOSEN: Final = ("flagged", "near", "search")  # the rater saw the image for its score
COLUMNS = "id, batch, item, category, level, rater, origin, given, undone"

# What each rater said last in each cell, what was undone left out; of content that the item has
# no more, a judgement says nothing. SQLite takes the other columns from the row of the greatest id.
_NEWEST = """
SELECT max(one.id) AS id, one.category, one.level, one.rater, items.row AS row,
    count(one.level) AS levels
FROM judgements AS one JOIN items ON items.id = one.item
WHERE one.undone IS NULL AND (items.row IS NULL OR one.row IS NULL OR items.row = one.row)
    AND {which}
GROUP BY one.item, name_key(one.category), one.rater
"""
STANDING_WHERE = f"""
SELECT {COLUMNS} FROM judgements
WHERE id IN (SELECT id FROM ({_NEWEST}) WHERE level IS NOT NULL)
"""
STANDING = STANDING_WHERE.format(which="TRUE")
_NO_ROW = -1  # in before_chosen: says that a category is there, also where it has no row
_CELLS = """
WITH cells AS (
    SELECT row, category, name_key(category) AS key FROM judgements
    WHERE batch = ? AND row IS NOT NULL GROUP BY row, name_key(category)
)
"""
# What somebody said of a cell and has neither undone nor taken back since.
_SAID = """
SELECT 1 FROM judgements AS said JOIN items ON items.id = said.item
WHERE items.row = cells.row AND said.row = items.row AND name_key(said.category) = cells.key
    AND said.undone IS NULL AND said.level IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM judgements AS later
        WHERE later.item = said.item AND later.rater = said.rater AND later.row = said.row
            AND later.id > said.id AND later.undone IS NULL AND later.level IS NULL
            AND name_key(later.category) = cells.key
    )
"""
_FILED = """
SELECT 1 FROM labels JOIN items ON items.id = labels.item
WHERE items.row = cells.row AND name_key(labels.category) = cells.key
"""
_DRAWN = """
SELECT 1 FROM suggestions JOIN rounds ON rounds.number = suggestions.round
WHERE suggestions.row = cells.row
    AND (rounds.category = '' OR name_key(rounds.category) = cells.key)
"""
_KNOWN = """
SELECT 1 FROM chosen WHERE chosen.row = cells.row AND name_key(chosen.category) = cells.key
"""
# Who says that a draw suggested an image that none has drawn saw it for a reason nobody knows.
_FOR_ITS_SCORE = f"""
(said.origin IN ({", ".join(f"'{origin}'" for origin in CHOSEN)})
    OR said.origin = 'suggested' AND NOT EXISTS ({_DRAWN}))
"""
_CHOOSE = f"""
{_CELLS} INSERT OR IGNORE INTO chosen SELECT row, category FROM cells
WHERE NOT EXISTS ({_KNOWN}) AND NOT EXISTS ({_FILED}) AND EXISTS ({_SAID})
    AND NOT EXISTS ({_SAID} AND NOT {_FOR_ITS_SCORE})
"""
_FILED_CELLS = """
SELECT items.row AS row, name_key(category) AS key
FROM labels JOIN items ON items.id = labels.item WHERE items.row IS NOT NULL
"""
_SAID_CELLS = f"""
SELECT row, name_key(category) AS key FROM ({_NEWEST.format(which="TRUE")})
WHERE row IS NOT NULL AND level IS NOT NULL
"""
_SOME_TAKEN_BACK = "one.item IN (SELECT item FROM judgements WHERE level IS NULL)"  # few items
_TAKEN_BACK_CELLS = f"""
SELECT row, name_key(category) AS key FROM ({_NEWEST.format(which=_SOME_TAKEN_BACK)})
WHERE row IS NOT NULL AND level IS NULL AND levels
"""
_CHOSEN_CELLS = "SELECT row, name_key(category) AS key FROM chosen"
_BEFORE = f"""
INSERT INTO before_chosen SELECT row, ?1 FROM (
    {_FILED_CELLS} UNION {_SAID_CELLS} UNION {_TAKEN_BACK_CELLS} EXCEPT {_CHOSEN_CELLS}
) WHERE key = name_key(?1) UNION SELECT {_NO_ROW}, ?1
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
    query = (
        f"SELECT DISTINCT row FROM ({_CHOSEN_CELLS}) WHERE ?1 IS NULL OR key = name_key(?1)"
        " ORDER BY row"
    )
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
    query = (
        "SELECT DISTINCT row FROM before_chosen WHERE name_key(category) = name_key(?) ORDER BY row"
    )
    found = _numbers(corpus, query, category)
    return found[found != _NO_ROW] if len(found) else None


def labelled_rows(
    corpus: Reading, category: str | None = None, *, chosen: bool = True, rater: str | None = None
) -> Rows:
    """Contents that have a label, of a file or of a rater.

    Parameters
    ----------
    corpus, category
        As for `chosen_rows`.
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
        less = "" if chosen else f"EXCEPT {_CHOSEN_CELLS}"
        own = "AND (?2 IS NULL OR rater = ?2)"
        cells, asked = f"{_FILED_CELLS} UNION {_SAID_CELLS} {own} {less}", [category, rater]
    query = f"SELECT DISTINCT row FROM ({cells}) WHERE ?1 IS NULL OR key = name_key(?1)"
    return np.unique(np.array([row for (row,) in corpus.read(query, *asked)], np.int64))


def taken_back_rows(corpus: Reading, category: str | None = None, *, chosen: bool = True) -> Rows:
    """Contents of which a rater gave a label and took it back, whatever others say of them.

    What was undone counts as never said.

    Parameters
    ----------
    corpus, category, chosen
        As for `labelled_rows`.

    Returns
    -------
    Rows
        int64 (n,), rows of the embeddings, ascending.
    """
    less = "" if chosen else f"EXCEPT {_CHOSEN_CELLS}"
    query = (
        f"SELECT DISTINCT row FROM ({_TAKEN_BACK_CELLS} {less})"
        " WHERE ?1 IS NULL OR key = name_key(?1) ORDER BY row"
    )
    return _numbers(corpus, query, category)


def settle(database: sqlite3.Connection, batch: str) -> None:
    """Bring what is chosen up to date with a batch that was said or undone.

    A cell whose every label came from looking at scores is chosen, even where the label that was
    there first is gone by now: that image has a label for its score alone. For the rest everything
    stays, so that who looks at a random image again for its score, and corrects it, takes no image
    out of the random sample. What is chosen stays so without a label, too: somebody has seen it
    for its score, and a label that is given again under another word is of the same image. A draw
    that takes it in makes its label count.
    """
    database.execute(_CHOOSE, (batch,))
    for category in _untold(database, batch):
        database.execute(_BEFORE, (category,))


def _untold(database: sqlite3.Connection, batch: str) -> list[str]:
    """Return the categories of a batch in which the first contents were chosen just now."""
    told = {
        name_key(name)
        for (name,) in database.execute(
            "SELECT category FROM before_chosen WHERE row = ?", (_NO_ROW,)
        )
    }
    said = database.execute("SELECT DISTINCT category FROM judgements WHERE batch = ?", (batch,))
    news = {key: name for (name,) in said if (key := name_key(name)) not in told}
    if not news:
        return []
    chosen = {name_key(n) for (n,) in database.execute("SELECT DISTINCT category FROM chosen")}
    return [name for key, name in news.items() if key in chosen]


def _numbers(corpus: Reading, query: str, *values: object) -> Rows:
    found = corpus.read(query, *values) if corpus.knows(JUDGEMENTS) else []
    return np.array([number for (number,) in found], np.int64)
