"""What to embed: folders, files, globs and lists of paths become a sorted list of files.

A file is known by its *uri*: its absolute path where that is valid text, else a ``file://`` URI
with the odd bytes percent-encoded, so that every name survives the database, CSV and JSON.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
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
        The folders that were named or matched, absolute; they hold whatever lies below them.
    patterns : list of str
        The globs, absolute.
    missing : list of str
        Paths that were named but do not exist, absolute.
    mended : set of str
        Absolute paths that cannot be failures any more: folders that were read, and names of a
        list that turned out to lie beside it.
    """

    sources: list[str] = field(default_factory=list)
    files: list[SourceFile] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mended: set[str] = field(default_factory=set)


def discover(sources: Sequence[str], *, allow_missing: bool = False) -> Discovery:
    """Find every image file that `sources` name.

    Parameters
    ----------
    sources : sequence of str
        Folders (walked with their subfolders; links are followed, loops are not), image files,
        globs (``**`` reaches into subfolders), and text files (``.txt``, ``.lst``) with a path a
        line, relative to the working folder or to the text file.
    allow_missing : bool
        Whether a named file that does not exist is listed in ``missing`` rather than refused, and
        a glob may match nothing.

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
    found.unreadable = list(dict.fromkeys(found.unreadable))  # sources may overlap
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


def has_vanished(path: str) -> bool:
    """Whether there is certainly nothing at `path`; what cannot be looked at may still be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no name holds a null byte
        return True
    except OSError:
        return False
    return False


def covered(uris: Iterable[str], found: Discovery) -> Iterator[str]:
    """Those of `uris` that the sources of `found` reach, if there is still a file."""
    places = {*found.folders, *found.missing}
    for uri in uris:
        path = path_of(uri)
        if not places.isdisjoint(_lineage(path)) or any(_fits(path, p) for p in found.patterns):
            yield uri


def _lineage(path: str) -> Iterator[str]:
    """`path` and every folder above it."""
    while path:
        yield path
        above = os.path.dirname(path)
        path = "" if above == path else above


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
        yield from _expand_glob(source, found, allow_missing=allow_missing)
    elif not has_vanished(path):
        yield path  # it cannot be looked at: a failed row will say why
    elif allow_missing:
        found.missing.append(path)
    else:
        raise SourceError(
            f"{source} does not exist. Name a folder, an image, a glob in quotes or a .txt file "
            f"with a path a line: clipcal embed photos/"
        )


def _expand_glob(source: str, found: Discovery, *, allow_missing: bool) -> Iterator[str]:
    # Only the source is a pattern; the working folder may have brackets in its name.
    pattern = os.path.normpath(os.path.join(glob.escape(os.getcwd()), source))
    found.patterns.append(pattern)
    matches = _matches(pattern, found)
    if not matches and not allow_missing:
        raise SourceError(
            f"No file matches {source}. See what is there: ls {os.path.dirname(source) or '.'}"
        )
    if not matches:
        found.missing.append(os.path.abspath(source))  # it may be a name with brackets
    yield from _distinct(_files_among(matches, pattern, found))


def _files_among(matches: Sequence[str], pattern: str, found: Discovery) -> Iterator[str]:
    for path in matches:
        if not os.path.isdir(path):
            if _is_image_name(path, found):
                yield path
        elif os.path.basename(pattern) != "**":  # a "**" already lists what the folder holds
            found.folders.append(path)
            yield from _walk(path, found)


def _matches(pattern: str, found: Discovery) -> list[str]:
    """What a glob matches, sorted; ``**`` enters each real folder once, so links cannot circle."""
    head, *rest = re.split(r"/\*\*(?=/|$)", pattern, maxsplit=1)
    if not rest:
        return sorted(glob.glob(pattern))
    below = rest[0].lstrip(os.sep) or "*"
    reached = _Reached()
    inner = (
        os.path.join(glob.escape(folder), below)
        for top in _matches(head or os.sep, found)
        if os.path.isdir(top)
        for folder, _ in _folders(top, found, reached, hidden=False)
    )
    return sorted({path for nearer in inner for path in _matches(nearer, found)})


def _distinct(paths: Iterable[str]) -> Iterator[str]:
    """Leave out a file that was there before under another name of its folder."""
    folders: dict[str, tuple[int, int]] = {}
    seen: set[tuple[tuple[int, int], str]] = set()
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = _real(folder)
        if (folders[folder], name) not in seen:
            seen.add((folders[folder], name))
            yield path


def _fits(path: str, pattern: str) -> bool:
    """Whether an absolute glob matches `path` or a folder above it."""
    return _parts_fit(path.split(os.sep)[1:], pattern.split(os.sep)[1:])


def _parts_fit(names: Sequence[str], globs: Sequence[str]) -> bool:
    if not globs:
        return True
    if globs[0] == "**":
        deeper = bool(names) and not names[0].startswith(".") and _parts_fit(names[1:], globs)
        return deeper or _parts_fit(names, globs[1:])
    return bool(names) and _name_fits(names[0], globs[0]) and _parts_fit(names[1:], globs[1:])


def _name_fits(name: str, pattern: str) -> bool:
    hidden = name.startswith(".") and not pattern.startswith(".")
    return not hidden and fnmatchcase(name, pattern)


def _read_list(path: str, found: Discovery, *, allow_missing: bool) -> Iterator[str]:
    """The paths in a text file; bytes that are no UTF-8 are kept as they are."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as stream:
        lines = [line.rstrip("\r\n") for line in stream]
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            where = f"line {number} of {os.path.basename(path)}"
            yield from _expand_line(line, path, where, found, allow_missing=allow_missing)


def _expand_line(
    line: str, listing: str, where: str, found: Discovery, *, allow_missing: bool
) -> Iterator[str]:
    """A name is looked for in the working folder, then beside the list."""
    candidates = [os.path.abspath(os.path.join(at, line)) for at in (".", os.path.dirname(listing))]
    target = next((c for c in candidates if not has_vanished(c)), None)
    if target is None and allow_missing:
        found.missing.extend(candidates)
    elif target is None:
        found.unreadable.append(Unreadable(uri_of(candidates[0]), f"no such file ({where})"))
    else:
        if target != candidates[0]:
            found.mended.add(candidates[0])
        if os.path.isdir(target):
            found.folders.append(target)
            yield from _walk(target, found)
        else:
            yield target


class _Reached:
    """Which real folders were entered, so that each is entered once."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def is_new(self, folder: str) -> bool:
        """Whether `folder` was not entered before, under whatever name; from now on it was."""
        key = _real(folder)
        new = key not in self._seen
        self._seen.add(key)
        return new


def _real(folder: str) -> tuple[int, int]:
    """What tells a folder from all others, whatever it is called."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _walk(folder: str, found: Discovery) -> Iterator[str]:
    """Every image file below `folder`, sorted; each real folder is entered once."""
    for _, entries in _folders(folder, found, _Reached(), hidden=True):
        yield from (e.path for e in entries if not _is_folder(e) and _is_image_name(e.path, found))


def _folders(
    top: str, found: Discovery, reached: _Reached, *, hidden: bool
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """`top` and the folders below it with what they hold, sorted; links are followed."""
    pending = [top]
    while pending:
        current = pending.pop()
        try:
            if not reached.is_new(current):
                continue
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append(Unreadable(uri_of(current), _why(error)))
            continue
        found.mended.add(current)
        yield current, entries
        shown = (e for e in reversed(entries) if hidden or not e.name.startswith("."))
        pending.extend(e.path for e in shown if _is_folder(e))


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
