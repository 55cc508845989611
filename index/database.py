"""The corpus's database as SQLite sees it: opening, transactions, and errors in plain words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipcal.errors import StoreError
from clipcal.index.names import name_key
from clipcal.index.schema import SCHEMA_VERSION, VERSIONS
from clipcal.models.identity import ModelIdentity

DATABASE = "corpus.db"


def connect(path: Path) -> sqlite3.Connection:
    """Open the database of the corpus in `path`; SQLite makes an empty one if there is none."""
    return _named(
        sqlite3.connect(
            path / DATABASE,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,  # the collector may close a forgotten one from any thread
        )
    )


def configured(path: Path, database: sqlite3.Connection) -> sqlite3.Connection:
    """Make the connection ready; a folder that cannot be written is opened for reading."""
    try:
        _configure(database)
        database.execute("SELECT count(*) FROM sqlite_master")
        return database
    except sqlite3.OperationalError:
        if os.access(path, os.W_OK) and os.access(path / DATABASE, os.W_OK):
            raise
        database.close()
        uri = (path / DATABASE).resolve().as_uri() + "?mode=ro&immutable=1"
        reading = _named(
            sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        )
        reading.execute("PRAGMA query_only = ON")
        return reading


def _named(database: sqlite3.Connection) -> sqlite3.Connection:
    """Let queries compare names of categories as people do."""
    database.create_function("name_key", 1, _key_of, deterministic=True)
    return database


def _key_of(name: str | None) -> str | None:
    return None if name is None else name_key(name)


def _configure(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # a commit outlives a loss of power
    database.execute("PRAGMA foreign_keys = ON")


def lay_out(path: Path, database: sqlite3.Connection, model: ModelIdentity) -> None:
    """Make the tables, unless another process was faster."""
    _configure(database)
    with transaction(path, database):
        if version_of(database) == 0:
            _bring_up(database)
            database.execute("INSERT INTO meta VALUES ('model', ?)", (model.to_json(),))


def migrate(path: Path, database: sqlite3.Connection) -> None:
    """Add the tables that an earlier clipcal did not know; a database only read stays as it is."""
    if version_of(database) == SCHEMA_VERSION:
        return
    ((readonly,),) = database.execute("PRAGMA query_only")
    if not readonly:
        with transaction(path, database):
            _bring_up(database)


def version_of(database: sqlite3.Connection) -> int:
    """Return which version's tables these are; 0 where there are none."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _bring_up(database: sqlite3.Connection) -> None:
    """Run what is missing, within a transaction: another process may have been faster."""
    for script in VERSIONS[version_of(database) :]:
        for statement in script.split(";\n"):
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def transaction(path: Path, database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Do all of what the block does, or nothing."""
    try:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
    except sqlite3.IntegrityError:
        raise  # a fault of the program, not of the disk
    except sqlite3.Error as error:
        raise told(path, error) from error


def told(path: Path, error: Exception) -> StoreError:
    """Say in clipcal's words what SQLite, or the reading of what it holds, says."""
    file = path / DATABASE
    if isinstance(error, sqlite3.ProgrammingError):  # not the file's fault, but the caller's
        return StoreError(
            f"{file} was used in a way that cannot work: {error} Keep a corpus open as long as "
            f"anything of it is read, names and hashes of its images too."
        )
    if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
        return StoreError(
            f"{file} cannot be used now: {error}. Make room on the disk, make the folder "
            f"writable, or wait for the program that holds it; then run the same command again."
        )
    return StoreError(
        f"{file} is damaged ({error}). Restore it from a copy, or embed into a new corpus: "
        f"clipcal embed SOURCE --corpus NEW"
    )


def check_version(path: Path, database: sqlite3.Connection) -> None:
    """Refuse tables that a newer clipcal laid out, with StoreError."""
    version = version_of(database)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer clipcal (format {version}, this one reads "
            f"{SCHEMA_VERSION}). Upgrade: pip install --upgrade clipcal"
        )
