"""What people say of images, kept with the corpus: a journal, and what stands of it.

A judgement is kept before it is acknowledged, and nothing that was said is ever overwritten: who
changes his mind says something newer, and what is undone is marked as such. Many processes and
threads may write at once, each through a corpus that it opened itself; none needs the lock that
embedding holds.

Whoever looks at flagged images, at those near a threshold or at what a search found sees them
*because of* their scores, so that their labels are no random sample. What was labelled so, without
a label before, is kept as *chosen*: see `clipcal.calibrate.sampling.design`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import uuid4

import numpy as np

from clipcal.errors import StoreError
from clipcal.index.reading import ITEM_COLUMNS, Reading
from clipcal.index.records import Item
from clipcal.index.schema import JUDGEMENTS
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

Origin = Literal["given", "random", "suggested", "flagged", "near", "search"]
CHOSEN: Final = ("flagged", "near", "search")  # the rater saw the image for its score
_MARK = "judgements"  # in the table meta
_COLUMNS = "id, batch, item, category, level, rater, origin, given, undone"

# Of content that the item has no more, a judgement says nothing.
_OF_THIS_CONTENT = """
EXISTS (SELECT 1 FROM items WHERE items.id = judgements.item
        AND (items.row IS NULL OR judgements.row IS NULL OR items.row = judgements.row))
"""
_STANDING_WHERE = f"""
SELECT {_COLUMNS} FROM (
    SELECT max(id) AS newest, {_COLUMNS} FROM judgements
    WHERE undone IS NULL AND {_OF_THIS_CONTENT} AND {{which}} GROUP BY item, category, rater
) WHERE level IS NOT NULL
"""
_STANDING = _STANDING_WHERE.format(which="TRUE")
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
_BEFORE = f"""
INSERT INTO before_chosen
SELECT items.row, category FROM labels JOIN items ON items.id = labels.item
WHERE category = :category AND items.row IS NOT NULL
UNION SELECT items.row, category FROM ({_STANDING}) AS said JOIN items ON items.id = said.item
WHERE category = :category AND items.row IS NOT NULL
EXCEPT SELECT row, category FROM chosen
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a rater says of an image in a category.

    Attributes
    ----------
    item : int
        The image.
    category : str
        The category.
    level : str or None
        The level; None takes back what the rater said before.
    """

    item: int
    category: str
    level: str | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said, as the journal has it.

    Attributes
    ----------
    id : int
        Larger than that of everything said before.
    batch : str
        Equal for what was said at once.
    item, category, level
        As in `Said`.
    rater : str
        Who said it.
    origin : Origin
        How the rater came to see the image.
    given : str
        When, in ISO 8601.
    undone : str or None
        When it was undone; None where it was not.
    """

    id: int
    batch: str
    item: int
    category: str
    level: str | None
    rater: str
    origin: Origin
    given: str
    undone: str | None


def judge(corpus: Corpus, batch: str, said: Sequence[Said], *, rater: str, origin: Origin) -> bool:
    """Keep what a rater says, all or nothing; it is on the disk when this returns.

    Parameters
    ----------
    corpus : Corpus
        Where it is kept.
    batch : str
        A name for all of it that nothing else has, made by whoever asks: asking twice keeps it
        once.
    said : sequence of Said
        What is said; of one cell the last counts.
    rater : str
        Who says it.
    origin : Origin
        How the rater came to see the images. Those in `CHOSEN` make every cell that has no label
        yet, of any copy of the image, one of `chosen_rows`.

    Returns
    -------
    bool
        False where the batch was kept before: then nothing is written.

    Raises
    ------
    StoreError
        If an image is unknown, the batch is another rater's, or the corpus cannot be written.
    """
    now = _now()
    with corpus.transaction() as database:
        if _kept(database, batch, rater):
            return False
        _require_items(database, {one.item for one in said})
        database.executemany(
            "INSERT INTO judgements (batch, item, row, category, level, rater, origin, given)"
            " SELECT ?, id, row, ?, ?, ?, ?, ? FROM items WHERE id = ?",
            [(batch, s.category, s.level, rater, origin, now, s.item) for s in said],
        )
        _settle(database, batch)
        _mark(database)
    return True


def undo(corpus: Corpus, batch: str, *, rater: str) -> tuple[Judgement, ...]:
    """Undo what a rater said at once; what he said before stands again.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    batch : str
        As it was given to `judge`.
    rater : str
        Whose it is.

    Returns
    -------
    tuple of Judgement
        What was undone now; empty where all of it was before.

    Raises
    ------
    StoreError
        If there is no such batch, it is another rater's, or the corpus cannot be written.
    """
    with corpus.transaction() as database:
        if not _kept(database, batch, rater):
            raise StoreError(
                f"Nothing was said as {batch!r}. Name a batch of the history, which clipcal serve "
                f"lists under /v1/labels."
            )
        marked = database.execute(
            "UPDATE judgements SET undone = ? WHERE batch = ? AND undone IS NULL", (_now(), batch)
        )
        if not marked.rowcount:
            return ()
        _settle(database, batch)
        _mark(database)
        query = f"SELECT {_COLUMNS} FROM judgements WHERE batch = ? ORDER BY id"
        return tuple(Judgement(*found) for found in database.execute(query, (batch,)))


def standing(corpus: Reading, items: Iterable[int] | None = None) -> list[Judgement]:
    """What raters say now: of each cell and rater the newest that is neither undone nor taken back.

    Judgements of an image whose file has changed since are left out, until its content is back.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    items : iterable of int, optional
        Only of these images.

    Returns
    -------
    list of Judgement
        In the order in which they came.
    """
    if items is None:
        return _judgements(corpus, f"{_STANDING} ORDER BY id")
    query = _STANDING_WHERE.format(which="item IN (SELECT value FROM json_each(?1))")
    return _judgements(corpus, f"{query} ORDER BY id", json.dumps(list(items)))


def rater_of(corpus: Reading, batch: str) -> str | None:
    """Whose a batch is; None where nothing was said as that."""
    query = "SELECT rater FROM judgements WHERE batch = ? LIMIT 1"
    found = corpus.read(query, batch) if corpus.knows(JUDGEMENTS) else []
    return str(found[0][0]) if found else None


def history(
    corpus: Reading, *, rater: str | None = None, limit: int = 100, before: int | None = None
) -> list[Judgement]:
    """What was said, the newest first, also what was undone.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    rater : str, optional
        By whom; by default by anybody.
    limit : int
        At most so many.
    before : int, optional
        Only what is older than the judgement of this id.
    """
    query = (
        f"SELECT {_COLUMNS} FROM judgements WHERE (?1 IS NULL OR rater = ?1)"
        f" AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3"
    )
    return _judgements(corpus, query, rater, before, limit)


def judged_mark(corpus: Reading) -> str:
    """What the last judgement or undoing left: another after each; empty before the first."""
    found = corpus.read("SELECT value FROM meta WHERE key = ?", _MARK)
    return str(found[0][0]) if found else ""


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
    that came later are of the rest only.

    Returns
    -------
    Rows or None
        int64 (n,), rows of the embeddings, ascending; None where none is chosen.
    """
    if not len(chosen_rows(corpus, category)):
        return None
    return _numbers(
        corpus, "SELECT row FROM before_chosen WHERE category = ? ORDER BY row", category
    )


def labelled_items(corpus: Reading, category: str | None = None) -> Rows:
    """Items that have a label, of a file or of a rater.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    category : str, optional
        In which; by default in any.

    Returns
    -------
    numpy.ndarray
        int64 (n,), ids of items, ascending.
    """
    if not corpus.knows(JUDGEMENTS):
        query = "SELECT DISTINCT item FROM labels WHERE ?1 IS NULL OR category = ?1 ORDER BY item"
    else:
        query = (
            "SELECT item FROM labels WHERE ?1 IS NULL OR category = ?1 UNION"
            f" SELECT item FROM ({_STANDING}) WHERE ?1 IS NULL OR category = ?1 ORDER BY item"
        )
    return np.array([number for (number,) in corpus.read(query, category)], np.int64)


def item_at(corpus: Reading, item: int) -> Item | None:
    """The item with an id, in whatever state."""
    found = corpus.read(f"SELECT {ITEM_COLUMNS} FROM items WHERE id = ?", item)
    return Item(*found[0]) if found else None


def raters(corpus: Reading) -> list[str]:
    """Everybody who ever said something, by name."""
    if not corpus.knows(JUDGEMENTS):
        return []
    return [name for (name,) in corpus.read("SELECT DISTINCT rater FROM judgements ORDER BY rater")]


def _judgements(corpus: Reading, query: str, *values: object) -> list[Judgement]:
    found = corpus.read(query, *values) if corpus.knows(JUDGEMENTS) else []
    return [Judgement(*row) for row in found]


def _numbers(corpus: Reading, query: str, *values: object) -> Rows:
    found = corpus.read(query, *values) if corpus.knows(JUDGEMENTS) else []
    return np.array([number for (number,) in found], np.int64)


def _kept(database: sqlite3.Connection, batch: str, rater: str) -> bool:
    """Whether the batch is kept already; StoreError where somebody else's is."""
    found = database.execute("SELECT rater FROM judgements WHERE batch = ? LIMIT 1", (batch,))
    owner = found.fetchone()
    if owner is not None and owner[0] != rater:
        raise StoreError(
            f"The judgements {batch!r} are those of {owner[0]}, not of {rater}. Name another "
            f"batch, or ask {owner[0]} to undo them."
        )
    return owner is not None


def _require_items(database: sqlite3.Connection, items: Iterable[int]) -> None:
    query = "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM items) LIMIT 1"
    unknown = database.execute(query, (json.dumps(list(items)),)).fetchone()
    if unknown is not None:
        raise StoreError(
            f"There is no image {unknown[0]} in the corpus, and nothing was kept. Name one that it "
            f"holds; embed others first: clipcal embed FOLDER"
        )


def _settle(database: sqlite3.Connection, batch: str) -> None:
    """Bring what is chosen up to date with a batch that was said or undone.

    A cell without any label is not chosen. One whose every label came from looking at scores is,
    even where the label that was there first is gone by now: that image has a label for its score
    alone. For the rest everything stays, so that who looks at a random image again for its score,
    and corrects it, takes no image out of the random sample.
    """
    _release(database, batch)
    already = _chosen_in(database)
    filed, said = _FILED.format(cell="cells"), _SAID.format(cell="cells")
    origins = ", ".join(f"'{origin}'" for origin in CHOSEN)
    database.execute(
        f"{_CELLS} INSERT OR IGNORE INTO chosen SELECT row, category FROM cells"
        f" WHERE NOT EXISTS ({filed}) AND EXISTS ({said})"
        f" AND NOT EXISTS ({said} AND said.origin NOT IN ({origins}))",
        (batch,),
    )
    for category in _chosen_in(database) - already:
        database.execute(_BEFORE, {"category": category})


def _release(database: sqlite3.Connection, batch: str) -> None:
    """Forget that cells were chosen that have no label any more."""
    filed, said = _FILED.format(cell="chosen"), _SAID.format(cell="chosen")
    database.execute(
        f"{_CELLS} DELETE FROM chosen WHERE (row, category) IN cells"
        f" AND NOT EXISTS ({filed}) AND NOT EXISTS ({said})",
        (batch,),
    )
    database.execute(
        "DELETE FROM before_chosen WHERE category NOT IN (SELECT category FROM chosen)"
    )


def _chosen_in(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT DISTINCT category FROM chosen")}


def _mark(database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_MARK, uuid4().hex),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
