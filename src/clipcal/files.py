"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clipcal.errors import ClipcalError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give `path` new content at once: a reader sees the old file or the new, never a part.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.

    Yields
    ------
    pathlib.Path
        Where to write. It takes the name of `path` when the block ends, and is deleted when the
        block fails; a block that is killed leaves a hidden ``.part`` file behind.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())  # else a loss of power may keep the name and lose the content
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, error: type[ClipcalError], what: str, command: str) -> Iterator[Path]:
    """Do as `replacing` does; where that fails, tell how another file is named.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    error : type
        What is raised where the file cannot be written.
    what : str
        What the message calls the content, such as ``The report``.
    command : str
        The command that takes another file.

    Yields
    ------
    pathlib.Path
        Where to write.

    Raises
    ------
    ClipcalError
        Of the kind asked for, if the file cannot be written.
    """
    try:
        with replacing(path) as part:
            yield part
    except OSError as failure:
        raise error(
            f"{what} cannot be written to {path} ({failure.strerror}). Name a file in a folder "
            f"that can be written to: {command}"
        ) from failure


@contextmanager
def writing_rows(
    path: Path, error: type[ClipcalError], what: str, command: str
) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """Do as `writing` does, for a table in CSV and UTF-8.

    Parameters
    ----------
    path, error, what, command
        As for `writing`.

    Yields
    ------
    callable
        Writes some rows, each a sequence of cells.

    Raises
    ------
    ClipcalError
        Of the kind asked for, if the file cannot be written.
    """
    with (
        writing(path, error, what, command) as part,
        part.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield csv.writer(stream, lineterminator="\n").writerows
