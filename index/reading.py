"""Reading the database of a corpus, for which no lock is needed."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clipcal.index.database import told, version_of
from clipcal.index.records import Item, Round, State, Suggestion
from clipcal.index.schema import ROUNDS
from clipcal.index.shards import Rows, Shards
from clipcal.models.identity import ModelIdentity

ITEM_COLUMNS = "id, uri, sha256, size, stamp, state, reason, row"
_IDS_AT_ONCE = 1_000_000
MARK = "items"  # in the table meta


class Reading:
    """What is known of a corpus; see :class:`clipcal.index.store.Corpus`."""

    def __init__(self, path: Path, database: sqlite3.Connection, model: ModelIdentity) -> None:
        self.path = path
        self.model = model
        self.shards = Shards(path / "shards", model.dim)
        self._database = database
        # One thread at a time: a query that calls back into Python (`name_key`) holds SQLite's
        # lock while it waits for the interpreter's, which another thread may hold that waits for
        # SQLite's.
        self._turn = threading.RLock()

    @property
    def rows(self) -> int:
        """The number of committed embeddings."""
        ((rows,),) = self.read("SELECT coalesce(max(row) + 1, 0) FROM vectors")
        return int(rows)

    def chain(self, rows: int) -> str:
        """Name what the first `rows` embeddings are, and how they came.

        Parameters
        ----------
        rows : int
            A number of rows that some commit ended at.

        Returns
        -------
        str
            A hash over their bytes, commit by commit: two corpora of the same embeddings have two
            chains where commits ended elsewhere. Empty where none ended at `rows`, so that what
            was derived from so many rows is of another history.
        """
        if rows == 0:
            return self.model.fingerprint
        found = self.read("SELECT chain FROM commits WHERE stop = ?", rows)
        return str(found[0][0]) if found else ""

    def count(self, state: State) -> int:
        """How many items are in `state`."""
        ((count,),) = self.read("SELECT count(*) FROM items WHERE state = ?", state)
        return int(count)

    def items(self, state: State | None = None) -> list[Item]:
        """All items, or those in one `state`, in the order in which they were first seen."""
        if state is None:
            found = self.read(f"SELECT {ITEM_COLUMNS} FROM items ORDER BY id")
        else:
            query = f"SELECT {ITEM_COLUMNS} FROM items WHERE state = ? ORDER BY id"
            found = self.read(query, state)
        return [Item(*row) for row in found]

    def embedded(self) -> tuple[Rows, Rows]:
        """Ids and rows of the embedded items, in the order in which they were first seen.

        Returns
        -------
        tuple of numpy.ndarray
            int64 (n,) each: the ids, ascending, with which :meth:`texts` can be asked; and the
            rows that they point to.
        """
        # SQLite joins the numbers to one text: a Python object per item takes thrice as long.
        # It finds them in the table, since the index by state would lead to every row of it.
        query = (
            "SELECT group_concat(id, ' '), group_concat(row, ' ') FROM items NOT INDEXED"
            " WHERE state = 'embedded' AND id > ? AND id <= ?"
        )
        ((last,),) = self.read("SELECT coalesce(max(id), 0) FROM items")
        ids, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, last, _IDS_AT_ONCE):
            ((some, their),) = self.read(query, start, start + _IDS_AT_ONCE)
            ids.append(np.fromstring(some or "", np.int64, sep=" "))
            rows.append(np.fromstring(their or "", np.int64, sep=" "))
        order = np.argsort(found := np.concatenate(ids), kind="stable")
        return found[order], np.concatenate(rows)[order]

    def mark(self) -> str:
        """What the last change to the items left: another after every change, never one again.

        Returns
        -------
        str
            32 hexadecimal digits; empty in a corpus whose items changed before there were marks.
        """
        found = self.read("SELECT value FROM meta WHERE key = ?", MARK)
        return str(found[0][0]) if found else ""

    def texts(self, column: Literal["uri", "sha256"], ids: Rows) -> list[str]:
        """Look up a text of items: empty where there is none.

        Parameters
        ----------
        column : {"uri", "sha256"}
            Which.
        ids : Rows
            int64 (n,), of items that :meth:`embedded` told; best near each other.
        """
        if len(ids) == 0:
            return []
        query = f"SELECT id, coalesce({column}, '') FROM items WHERE id BETWEEN ? AND ?"
        found = dict(self.read(query, int(ids.min()), int(ids.max())))
        return [found[number] for number in ids.tolist()]

    def contents(self, ids: Rows, rows: Rows) -> list[str]:
        """Look up the hashes of what was embedded: empty where none is known.

        Parameters
        ----------
        ids : Rows
            int64 (n,), of items that :meth:`embedded` told; best near each other.
        rows : Rows
            int64 (n,), the rows that it told with them. An item whose file has changed since
            points to another row now, and its own hash is of another content.

        Returns
        -------
        list of str
            SHA-256 of the file behind each row.
        """
        if len(ids) == 0:
            return []
        query = "SELECT id, row, coalesce(sha256, '') FROM items WHERE id BETWEEN ? AND ?"
        found = {n: (row, sha) for n, row, sha in self.read(query, int(ids.min()), int(ids.max()))}
        pairs = zip(ids.tolist(), rows.tolist(), strict=True)
        return [
            found[number][1] if found[number][0] == row else self._content_of(row)
            for number, row in pairs
        ]

    def _content_of(self, row: int) -> str:
        found = self.read("SELECT coalesce(sha256, '') FROM vectors WHERE row = ?", row)
        return str(found[0][0]) if found else ""

    def known_files(self) -> dict[str, tuple[int | None, str | None]]:
        """Size and stamp of every embedded file when it was last read, by its URI."""
        query = "SELECT uri, size, stamp FROM items WHERE state = 'embedded'"
        return {uri: (size, stamp) for uri, size, stamp in self.read(query)}

    def rows_by_content(self) -> dict[str, int]:
        """The row of every content that was ever embedded, by its SHA-256."""
        return dict(self.read("SELECT sha256, row FROM vectors WHERE sha256 IS NOT NULL"))

    def live_rows(self) -> Rows:
        """The distinct rows that an embedded item points to, ascending."""
        return np.unique(self.embedded()[1])

    def uris_at(self, row: int) -> list[str]:
        """The embedded items that share the embedding in `row`."""
        query = "SELECT uri FROM items WHERE row = ? AND state = 'embedded' ORDER BY id"
        return [uri for (uri,) in self.read(query, row)]

    def find(self, uri: str) -> Item | None:
        """The item called `uri`, in whatever state."""
        found = self.read(f"SELECT {ITEM_COLUMNS} FROM items WHERE uri = ?", uri)
        return Item(*found[0]) if found else None

    def labels(self) -> dict[str, dict[str, str]]:
        """The labels last kept, as uri → category → level."""
        query = "SELECT uri, category, level FROM labels JOIN items ON items.id = labels.item"
        kept: dict[str, dict[str, str]] = {}
        for uri, category, level in self.read(query):
            kept.setdefault(uri, {})[category] = level
        return kept

    def suggestions(self) -> list[Suggestion]:
        """The images that were drawn to be labelled, round by round."""
        query = "SELECT round, row, inclusion, audit FROM suggestions ORDER BY round, row"
        found = self.read(query) if self.knows(ROUNDS) else []
        return [Suggestion(number, row, p, bool(audit)) for number, row, p, audit in found]

    def rounds(self) -> list[Round]:
        """The draws so far, the first one first."""
        columns = "number, created, method, seed, category, frame, audit, picked, rows"
        query = f"SELECT {columns} FROM rounds ORDER BY number"
        return [Round(*row) for row in self.read(query)] if self.knows(ROUNDS) else []

    def given(self) -> dict[int, int]:
        """The rows labelled without a suggestion, each with the round that found it so."""
        return dict(self.read("SELECT row, round FROM given")) if self.knows(ROUNDS) else {}

    def noted(self, key: str) -> str | None:
        """The fact remembered under `key`, or None."""
        query = "SELECT value FROM meta WHERE key = ?"
        found = self.read(query, f"note:{key}")
        return str(found[0][0]) if found else None

    def knows(self, version: int) -> bool:
        """Whether there are the tables of a version: an old corpus that is only read has not."""
        with self._turn:
            return version_of(self._database) >= version

    def read(self, query: str, *values: object) -> list[Any]:
        """Ask the database, for the other modules of this folder.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        try:
            with self._turn:
                return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise told(self.path, error) from error
