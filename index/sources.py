"""What to embed: folders, files, globs and lists of paths become a sorted list of files.

A file is known by its *uri*: its absolute path where that is valid text, else a ``file://`` URI
with the odd bytes percent-encoded, so that every name survives the database, CSV and JSON.
"""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from clipcal.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".heic",
        ".heif",
        ".ico",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".mpo",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
LIST_SUFFIXES = frozenset({".txt", ".lst"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to embed.

    Attributes
    ----------
    path : str
        Absolute path; odd bytes as surrogate escapes.
    uri : str
        The name under which the corpus keeps it.
    size : int
        Bytes.
    stamp : str
        Changes whenever the file's content may have: modification and change times.
    """

    path: str
    uri: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path that was found but cannot be read; it becomes a failed row."""

    uri: str
    reason: str


@dataclass(slots=True)
class Discovery:
    """What the sources hold.

    Attributes
    ----------
    sources : list of str
        The sources as they were named.
    files : list of SourceFile
        Image files, without repeats, in a fixed order.
    unreadable : list of Unreadable
        Folders and links that cannot be followed.
    passed_over : collections.Counter
        How many files were left out, by their ending.
    folders : list of str
        The folders that were walked, absolute.
    missing : list of str
        URIs of sources that were named but do not exist.
    """

    sources: list[str] = field(default_factory=list)
    files: list[SourceFile] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def discover(sources: Sequence[str], *, allow_missing: bool = False) -> Discovery:
    """Find every image file that `sources` name.

    Parameters
    ----------
    sources : sequence of str
        Folders (walked with their subfolders; links are followed, loops are not), image files,
        globs (``**`` reaches into subfolders), and text files (``.txt``, ``.lst``) with a path a
        line, relative to the working folder or to the text file.
    allow_missing : bool
        Whether a named file that does not exist is listed in ``missing`` rather than refused.

    Returns
    -------
    Discovery
        The files in order of source, then path.

    Raises
    ------
    SourceError
        If a source does not exist or a glob matches nothing.
    """
    found = Discovery(sources=[uri_of(source) for source in sources])
    seen: set[str] = set()
    for source in sources:
        for path in _expand(source, found, allow_missing=allow_missing):
            if path not in seen:
                seen.add(path)
                _add(path, found)
    return found


def uri_of(path: str) -> str:
    """Name a file so that its name is valid text: its path, or a ``file://`` URI."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))
    return path


def path_of(uri: str) -> str:
    """Turn a `uri` made by :func:`uri_of` back into the path it names."""
    if uri.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    return uri


def stamp_of(status: os.stat_result) -> str:
    """Summarise when a file last changed; a copy or a touch may change it, an edit always does."""
    return f"{status.st_mtime_ns}:{status.st_ctime_ns}"


def _expand(source: str, found: Discovery, *, allow_missing: bool) -> Iterator[str]:
    path = os.path.abspath(source)
    if os.path.isdir(path):
        found.folders.append(path)
        yield from _walk(path, found)
    elif os.path.lexists(path):
        if Path(path).suffix.lower() in LIST_SUFFIXES:
            yield from _read_list(path, found, allow_missing=allow_missing)
        else:
            yield path
    elif glob.has_magic(source):
        yield from _expand_glob(source, found)
    elif allow_missing:
        found.missing.append(uri_of(path))
    else:
        raise SourceError(
            f"{source} does not exist. Name a folder, an image, a glob in quotes or a .txt file "
            f"with a path a line: clipcal embed photos/"
        )


def _expand_glob(pattern: str, found: Discovery) -> Iterator[str]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise SourceError(
            f"No file matches {pattern}. See what is there: ls {os.path.dirname(pattern) or '.'}"
        )
    for match in matches:
        path = os.path.abspath(match)
        if not os.path.isdir(path):
            if _is_image_name(path, found):
                yield path
        elif not pattern.endswith("**"):  # a "**" already lists what the folder holds
            found.folders.append(path)
            yield from _walk(path, found)


def _read_list(path: str, found: Discovery, *, allow_missing: bool) -> Iterator[str]:
    """The paths in a text file; bytes that are no UTF-8 are kept as they are."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as stream:
        lines = [line.rstrip("\r\n") for line in stream]
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        candidates = (line, os.path.join(os.path.dirname(path), line))
        target = next((c for c in candidates if os.path.lexists(c)), None)
        if target is None:
            uri = uri_of(os.path.abspath(candidates[0]))
            if allow_missing:
                found.missing.append(uri)
            else:
                found.unreadable.append(
                    Unreadable(uri, f"no such file (line {number} of {os.path.basename(path)})")
                )
        elif os.path.isdir(target):
            found.folders.append(os.path.abspath(target))
            yield from _walk(os.path.abspath(target), found)
        else:
            yield os.path.abspath(target)


def _walk(folder: str, found: Discovery) -> Iterator[str]:
    """Every image file below `folder`, sorted; each real folder is entered once."""
    entered: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append(Unreadable(uri_of(current), _why(error)))
            continue
        yield from (e.path for e in entries if not _is_folder(e) and _is_image_name(e.path, found))
        pending.extend(e.path for e in reversed(entries) if _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle is treated as a file and fails there
        return False


def _is_image_name(path: str, found: Discovery) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    found.passed_over[suffix or "(no ending)"] += 1
    return False


def _add(path: str, found: Discovery) -> None:
    """Look at one file; what is no regular file would hang or fail later, so it fails now."""
    try:
        status = os.stat(path)
    except OSError as error:
        found.unreadable.append(Unreadable(uri_of(path), _why(error)))
        return
    if not stat.S_ISREG(status.st_mode):
        found.unreadable.append(Unreadable(uri_of(path), "not a regular file"))
        return
    found.files.append(SourceFile(path, uri_of(path), status.st_size, stamp_of(status)))


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def under(uris: Iterable[str], folders: Sequence[str]) -> Iterator[str]:
    """Those of `uris` whose files lie in one of the absolute `folders`."""
    prefixes = tuple(folder.rstrip(os.sep) + os.sep for folder in folders)
    return (uri for uri in uris if path_of(uri).startswith(prefixes))
