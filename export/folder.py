"""A bundle's folder, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock

from clipcal.errors import BundleError
from clipcal.models.bundle import MANIFEST

GRAPH_SUFFIXES = (".onnx", ".data")
_SUFFIX = ".new"
_LOCK = "lock"
_REPLACED = "replaced"  # holds the bundle that makes room, until the new one is in its place


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, before the long work rather than after it.

    Raises
    ------
    BundleError
        If `out` is something else than a bundle, or a bundle that is not to be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise BundleError(f"{out} holds something that is not a bundle. Name another: -o FOLDER")
    if not overwrite:
        raise BundleError(f"{out} is a bundle already. Replace it with --force, or name another.")


def clear_remains(out: Path) -> None:
    """Undo what killed exports of `out` left beside it; a bundle they were replacing comes back.

    Parameters
    ----------
    out : pathlib.Path
        As for :func:`workshop`.
    """
    if not out.parent.is_dir():
        return
    for folder in [*out.parent.iterdir()]:
        named = folder.name.startswith(f".{out.name}.") and folder.name.endswith(_SUFFIX)
        # One that holds nothing but its lock may be about to take it.
        if named and (folder / _LOCK).is_file() and len([*folder.iterdir()]) > 1:
            _clear(folder)


def _clear(folder: Path) -> None:
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError):  # a process is at work there, or that cannot be told
        return
    _dismantle(folder, lock)


@contextlib.contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Give a folder beside `out`, on the same disk, that vanishes with what is left in it.

    It is locked while it is in use, so that :func:`clear_remains` knows it from one whose process
    was killed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=_SUFFIX, dir=out.parent))
    lock = FileLock(folder / _LOCK)
    with contextlib.suppress(OSError, NotImplementedError):  # a disk that knows no locks
        lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        _dismantle(folder, lock)


def _dismantle(folder: Path, lock: BaseFileLock) -> None:
    """Put back what a workshop holds of another place, then remove it."""
    replaced = folder / _REPLACED
    for bundle in [*replaced.iterdir()] if replaced.is_dir() else []:
        place = folder.parent / bundle.name
        if not place.exists():
            bundle.rename(place)
    lock.release()  # where an open file cannot be deleted
    shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> None:
    """Let a finished bundle take its place; what was there stays until that is done.

    Parameters
    ----------
    folder : pathlib.Path
        The bundle, in a :func:`workshop` of `out` or of one beside it, which puts back what was
        there, should the last step fail or never come.
    out : pathlib.Path
        Its place: nothing, or a bundle, whose card and other files are carried over.
    """
    if out.exists():
        _carry_over(out, folder)
        replaced = folder.parent / _REPLACED
        replaced.mkdir()
        out.rename(replaced / out.name)
    folder.rename(out)


def _carry_over(out: Path, folder: Path) -> None:
    """Keep what people laid beside the bundle that is replaced, such as the model's card."""
    for file in out.iterdir():
        stale = file.suffix in GRAPH_SUFFIXES or (folder / file.name).exists()
        if file.is_file() and not stale:
            shutil.copy2(file, folder / file.name)
