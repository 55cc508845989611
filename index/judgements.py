"""What people say of images, kept with the corpus: a journal, and what stands of it.

A judgement is kept before it is acknowledged, and nothing that was said is ever overwritten: who
changes his mind says something newer, and what is undone is marked as such. Many processes and
threads may write at once, each through a corpus that it opened itself; none needs the lock that
embedding holds.

How a rater came to see an image is kept too: see `clipcal.index.chosen`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

import numpy as np

from clipcal.errors import BatchTaken, StoreError
from clipcal.index.chosen import (
    CHOSEN,
    COLUMNS,
    STANDING,
    STANDING_WHERE,
    chosen_rows,
    settle,
)
from clipcal.index.names import rater_name
from clipcal.index.reading import ITEM_COLUMNS, Reading
from clipcal.index.records import Item
from clipcal.index.schema import JUDGEMENTS
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus

__all__ = [
    "CHOSEN",
    "Judgement",
    "Origin",
    "Said",
    "chosen_rows",
    "history",
    "item_at",
    "judge",
    "judged_mark",
    "labelled_items",
    "rater_of",
    "raters",
    "standing",
    "undo",
]

Origin = Literal["given", "random", "suggested", "flagged", "near", "search"]
_MARK = "judgements"  # in the table meta


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
        A name for all of it that nothing else has, made by whoever asks: asking twice for the
        same keeps it once.
    said : sequence of Said
        What is said; of one cell the last counts.
    rater : str
        Who says it.
    origin : Origin
        How the rater came to see the images. Those in `CHOSEN` make every cell that has no label
        yet, of any copy of the image, one of `chosen_rows`; so does "suggested" for what no draw
        of this corpus, for the category or for all, has suggested. "random" and "given" are
        taken on the rater's word: nothing here can tell whether an image was drawn at random
        elsewhere.

    Returns
    -------
    bool
        False where the same was kept as this batch before: then nothing is written.

    Raises
    ------
    BatchTaken
        If something else was kept under this name, by this rater or another, or was undone.
    StoreError
        If an image is unknown or has no embedding, or the corpus cannot be written.
    LabelError
        If the rater's name cannot be kept.
    """
    rater, now = rater_name(rater), _now()
    with corpus.transaction() as database:
        if _kept(database, batch, rater):
            _require_same(database, batch, said, origin)
            return False
        _require_embedded(database, {one.item for one in said})
        database.executemany(
            "INSERT INTO judgements (batch, item, row, category, level, rater, origin, given)"
            " SELECT ?, id, row, ?, ?, ?, ?, ? FROM items WHERE id = ?",
            [(batch, s.category, s.level, rater, origin, now, s.item) for s in said],
        )
        settle(database, batch)
        _mark(database)
    return True


def undo(corpus: Corpus, batch: str, *, rater: str) -> tuple[Judgement, ...]:
    """Undo what a rater said at once; what he said before stands again.

    What is undone counts as never said, and so leaves no blank in any guarantee: it is for labels
    given by mistake, such as a file that was imported wrongly. Whoever undoes labels because of the
    scores of their images, or because of what the images show, picks what the random sample is
    made of, and no guarantee from the rest holds. A single label is taken back by saying None.

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
    BatchTaken
        If the batch is another rater's.
    StoreError
        If there is no such batch, or the corpus cannot be written.
    LabelError
        If the rater's name is none that could be kept.
    """
    rater = rater_name(rater)
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
        settle(database, batch)
        _mark(database)
        query = f"SELECT {COLUMNS} FROM judgements WHERE batch = ? ORDER BY id"
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
        return _judgements(corpus, f"{STANDING} ORDER BY id")
    query = STANDING_WHERE.format(which="item IN (SELECT value FROM json_each(?1))")
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
        f"SELECT {COLUMNS} FROM judgements WHERE (?1 IS NULL OR rater = ?1)"
        f" AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3"
    )
    return _judgements(corpus, query, rater, before, limit)


def judged_mark(corpus: Reading) -> str:
    """What the last judgement or undoing left: another after each; empty before the first."""
    found = corpus.read("SELECT value FROM meta WHERE key = ?", _MARK)
    return str(found[0][0]) if found else ""


def labelled_items(corpus: Reading, category: str | None = None) -> Rows:
    """Items that have a label, of a file or of a rater: in a category, or in any.

    Returns
    -------
    Rows
        int64 (n,), ids, ascending.
    """
    cells = "SELECT item, category FROM labels"
    if corpus.knows(JUDGEMENTS):
        cells = f"{cells} UNION SELECT item, category FROM ({STANDING})"
    query = (
        f"SELECT DISTINCT item FROM ({cells}) WHERE ?1 IS NULL"
        " OR name_key(category) = name_key(?1) ORDER BY item"
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


def _kept(database: sqlite3.Connection, batch: str, rater: str) -> bool:
    """Whether the batch is kept already; BatchTaken where somebody else's is."""
    found = database.execute("SELECT rater FROM judgements WHERE batch = ? LIMIT 1", (batch,))
    owner = found.fetchone()
    if owner is not None and owner[0] != rater:
        raise BatchTaken(
            f"The judgements {batch!r} are those of {owner[0]}, not of {rater}. Name another "
            f"batch, or ask {owner[0]} to undo them."
        )
    return owner is not None


def _require_same(
    database: sqlite3.Connection, batch: str, said: Sequence[Said], origin: Origin
) -> None:
    """Refuse a batch that is kept with other content, or was undone."""
    query = "SELECT item, category, level, origin, undone FROM judgements WHERE batch = ?"
    kept = database.execute(f"{query} ORDER BY id", (batch,)).fetchall()
    undone = any(one[-1] is not None for one in kept)
    if undone or kept != [(s.item, s.category, s.level, origin, None) for s in said]:
        raise BatchTaken(
            f"The batch {batch!r} {'was undone' if undone else 'was kept with other labels'}, and "
            f"nothing was kept now. Name a new batch."
        )


def _require_embedded(database: sqlite3.Connection, items: Iterable[int]) -> None:
    query = (
        "SELECT value, items.id IS NOT NULL FROM json_each(?)"
        " LEFT JOIN items ON items.id = value WHERE items.row IS NULL LIMIT 1"
    )
    unfit = database.execute(query, (json.dumps(list(items)),)).fetchone()
    if unfit is None:
        return
    number, known = unfit
    fact = f"The image {number} has no embedding" if known else f"There is no image {number}"
    raise StoreError(
        f"{fact} in the corpus, and nothing was kept. Name one that is embedded; embed others "
        f"first: clipcal embed FOLDER"
    )


def _mark(database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_MARK, uuid4().hex),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
