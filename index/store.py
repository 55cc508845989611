"""The corpus: a SQLite database and the embeddings that it names.

A transaction of the database is the commit point. Embeddings are written to the shards first;
they exist once the transaction that names their rows has committed. Whole batches are committed
in groups, about once a second (``commits.py``), so a run killed at any moment loses about a
second's work and the batches under way, and never leaves a part of a batch.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import uuid4

from filelock import FileLock, Timeout

from clipcal.errors import CorpusBusy, DrawOutdated, StoreError
from clipcal.index.database import (
    DATABASE,
    check_version,
    configured,
    connect,
    lay_out,
    migrate,
    told,
    transaction,
)
from clipcal.index.reading import MARK, Reading
from clipcal.index.records import Item, Outcome, Round, State, Suggestion
from clipcal.index.shards import Embeddings
from clipcal.models.identity import ModelIdentity

__all__ = ["Corpus", "Item", "Outcome", "Round", "State", "Suggestion"]

LOCK = "corpus.lock"


class Corpus(Reading):
    """A corpus on disk.

    Use :meth:`open`, :meth:`create` or :meth:`open_or_create`. Reading needs no lock; writing
    happens inside :meth:`writing`, which one process at a time can hold.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    model : ModelIdentity
        Whose embeddings these are.
    shards : Shards
        The embeddings.
    """

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether `path` holds a corpus; one whose making was killed is none."""
        if not (path / DATABASE).is_file():
            return False
        with closing(connect(path)) as database:
            try:
                return bool(database.execute("PRAGMA user_version").fetchone()[0])
            except sqlite3.DatabaseError:
                return True  # not empty but damaged: opening it tells what is wrong

    @classmethod
    def open(cls, path: Path) -> Corpus:
        """Open the corpus in `path`.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or a newer clipcal wrote it.
        """
        if not cls.exists(path):
            raise StoreError(
                f"There is no corpus in {path}. Embed some images first: "
                f"clipcal embed photos/ --corpus {path}"
            )
        database = connect(path)
        try:
            database = configured(path, database)
            check_version(path, database)
            migrate(path, database)
            (text,) = database.execute("SELECT value FROM meta WHERE key = 'model'").fetchone()
            return cls(path, database, ModelIdentity.from_json(text))
        except (sqlite3.Error, ValueError, TypeError) as error:
            database.close()
            raise told(path, error) from error
        except StoreError:
            database.close()
            raise

    @classmethod
    def create(cls, path: Path, model: ModelIdentity) -> Corpus:
        """Make an empty corpus for `model`; the database appears whole or not at all."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            with closing(connect(path)) as database:
                lay_out(path, database, model)
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreError(
                f"A corpus cannot be made in {path}: {error}. Name a folder that can be written: "
                f"--corpus FOLDER"
            ) from error
        return cls.open(path)

    @classmethod
    def open_or_create(cls, path: Path, model: ModelIdentity) -> Corpus:
        """Open the corpus in `path`, or make one; an existing one must be of the same model.

        Raises
        ------
        FingerprintMismatch
            If the corpus holds another model's embeddings.
        """
        corpus = cls.open(path) if cls.exists(path) else cls.create(path, model)
        corpus.model.require_same(model, corpus=str(path))
        if corpus.model != model:  # the same model, lying elsewhere now
            with transaction(path, corpus._database) as database:
                database.execute(
                    "UPDATE meta SET value = ? WHERE key = 'model'", (model.to_json(),)
                )
            corpus.model = model
        return corpus

    def close(self) -> None:
        """Close the database; a corpus that nobody holds any more closes by itself."""
        self._database.close()

    def __del__(self) -> None:
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the corpus for writing.

        Raises
        ------
        CorpusBusy
            If another process holds it.
        """
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CorpusBusy(
                f"Another clipcal is writing to {self.path}. Wait until it has finished, or use "
                f"another corpus: --corpus NEW"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def commit(
        self, outcomes: Sequence[Outcome], vectors: Embeddings, contents: Sequence[str | None]
    ) -> None:
        """Add `vectors` behind the committed rows and record `outcomes`, all or nothing.

        Parameters
        ----------
        outcomes : sequence of Outcome
            What became of the files of a batch; rows may point to old or new embeddings.
        vectors : Embeddings
            float16 (n, dim), L2-normalised, for the rows from :attr:`rows` on.
        contents : sequence of str or None
            SHA-256 of the file behind each of `vectors`; None where unknown.
        """
        start = self.rows
        chain = self.chain(start)
        if len(vectors):
            self.shards.append(start, vectors)
            chain = hashlib.sha256(chain.encode() + vectors.tobytes()).hexdigest()
        with self.transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO commits VALUES (?, ?)", (start + len(vectors), chain)
            )
            database.executemany(
                "INSERT INTO vectors (row, sha256) VALUES (?, ?)",
                list(enumerate(contents, start=start)),
            )
            database.executemany(
                "INSERT INTO items (uri, sha256, size, stamp, state, reason, row)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uri) DO UPDATE SET"
                " sha256 = excluded.sha256, size = excluded.size, stamp = excluded.stamp,"
                " state = excluded.state, reason = excluded.reason, row = excluded.row",
                [(o.uri, o.sha256, o.size, o.stamp, o.state, o.reason, o.row) for o in outcomes],
            )
            _mark(database)

    def remove(self, uris: Sequence[str]) -> None:
        """Mark items as removed; their embeddings stay, should the content come back."""
        with self.transaction() as database:
            database.executemany(
                "UPDATE items SET state = 'removed', reason = NULL WHERE uri = ?",
                [(uri,) for uri in uris],
            )
            _mark(database)

    def start_run(self, sources: str) -> int:
        """Record that a run over `sources` (a JSON list) begins; returns its number."""
        with self.transaction() as database:
            cursor = database.execute(
                "INSERT INTO runs (started, sources) VALUES (?, ?)", (_now(), sources)
            )
        return cast(int, cursor.lastrowid)

    def finish_run(self, run: int, *, embedded: int, skipped: int, failed: int) -> None:
        """Record that a run has come to its end, with its counts."""
        with self.transaction() as database:
            database.execute(
                "UPDATE runs SET finished = ?, embedded = ?, skipped = ?, failed = ? WHERE id = ?",
                (_now(), embedded, skipped, failed, run),
            )

    def replace_labels(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Keep `labels` (uri → category → level) in place of those there were."""
        with self.transaction() as database:
            database.execute("DELETE FROM labels")
            database.executemany(
                "INSERT INTO labels SELECT id, ?, ? FROM items WHERE uri = ?",
                [(c, level, uri) for uri, row in labels.items() for c, level in row.items()],
            )

    def add_suggestions(
        self,
        drawn: Sequence[tuple[int, float, bool]],
        *,
        method: str,
        seed: int,
        category: str = "",
        frame: int,
        given: Sequence[int] = (),
        after: int | None = None,
    ) -> int:
        """Keep which images were drawn to be labelled, all or nothing; returns the round's number.

        Parameters
        ----------
        drawn : sequence of (int, float, bool)
            Row, inclusion probability, and whether it is of the audit sample.
        method : str
            How images were picked.
        seed : int
            Of the draw.
        category : str
            To be labelled in; empty for all.
        frame : int
            Distinct images that could be picked.
        given : sequence of int
            Rows that have labels without ever having been suggested. Those that an earlier
            round found so keep that round.
        after : int, optional
            The number of the last round that the draw knows of, 0 for none; by default nobody
            asks.

        Raises
        ------
        DrawOutdated
            If a round came since; then nothing is kept.
        """
        audit = sum(one[2] for one in drawn)
        about = (_now(), method, seed, category, frame, audit, len(drawn) - audit, self.rows)
        with self.transaction() as database:
            _refuse_rounds_since(database, after)
            cursor = database.execute(
                "INSERT INTO rounds (created, method, seed, category, frame, audit, picked, rows)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                about,
            )
            number = cast(int, cursor.lastrowid)
            database.executemany(
                "INSERT INTO suggestions (round, row, inclusion, audit) VALUES (?, ?, ?, ?)",
                [(number, int(row), float(p), int(a)) for row, p, a in drawn],
            )
            database.executemany(
                "INSERT OR IGNORE INTO given VALUES (?, ?)", [(int(row), number) for row in given]
            )
        return number

    def note(self, key: str, value: str) -> None:
        """Remember a small fact about the corpus, such as its prompt set."""
        with self.transaction() as database:
            database.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?",
                (f"note:{key}", value, value),
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of what the block writes or nothing, for the other modules of this folder."""
        with self._turn, transaction(self.path, self._database) as database:
            yield database


def _refuse_rounds_since(database: sqlite3.Connection, after: int | None) -> None:
    ((last,),) = database.execute("SELECT coalesce(max(number), 0) FROM rounds")
    if after is not None and last != after:
        raise DrawOutdated(
            f"Somebody else drew round {last} in the meantime, and this draw does not know of it. "
            f"Nothing was kept. Draw again: clipcal suggest"
        )


def _mark(database: sqlite3.Connection) -> None:
    """Leave a new mark: items have changed. A restored database brings its own mark back."""
    database.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (MARK, uuid4().hex),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
