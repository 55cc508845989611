"""A bundle's folder, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from clipcal.errors import BundleError
from clipcal.models.bundle import MANIFEST

GRAPH_SUFFIXES = (".onnx", ".data")


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


@contextlib.contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """Give a folder beside `out`, on the same disk, that vanishes with what is left in it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{os.getpid()}.new"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> None:
    """Let a finished bundle take its place; what was there stays until that is done.

    Parameters
    ----------
    folder : pathlib.Path
        The bundle, in a :func:`workshop` of `out` or one beside it.
    out : pathlib.Path
        Its place: nothing, or a bundle, whose card and other files are carried over.
    """
    if not out.exists():
        folder.rename(out)
        return
    _carry_over(out, folder)
    old = out.parent / f".{out.name}.{os.getpid()}.old"
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:  # an interrupt from the keyboard too
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _carry_over(out: Path, folder: Path) -> None:
    """Keep what people laid beside the bundle that is replaced, such as the model's card."""
    for file in out.iterdir():
        stale = file.suffix in GRAPH_SUFFIXES or (folder / file.name).exists()
        if file.is_file() and not stale:
            shutil.copy2(file, folder / file.name)
