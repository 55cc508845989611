"""Which images of a corpus the ids in a label file mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

NO_ROW = -1
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Which row of the corpus each labelled image is.

    Attributes
    ----------
    rows : Int64[(n,)]
        Per image of the label file its index in the corpus; -1 where it has none.
    unmatched : tuple of str
        Images that the corpus does not hold.
    ambiguous : tuple of (str, tuple of str)
        Images that could be several different ones, each with their uris; they have no row.
    by_name : tuple of str
        Images with a row that were found by their name alone: in another folder than the label
        file says, or with another suffix.
    """

    rows: NDArray[np.int64]
    unmatched: tuple[str, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    by_name: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stage:
    """One way to match: keys of a labelled image, the better first, and keys of the corpus.

    A loose stage compares names only, whatever the folders; a stage of stems leaves suffixes out.
    """

    of_image: Callable[[int], Iterable[str]]
    of_corpus: Callable[[], Iterable[tuple[str, int]]]
    loose: bool = False
    stems: bool = False


def match_images(images: Sequence[str], uris: Sequence[str], sha256s: Sequence[str]) -> Match:
    """Match the ids of a label file with the images of a corpus.

    Tried in this order, each with and then without regard to case: the uri as written; the
    path, or the end of it by whole components; the file name; the name without its suffix;
    the content's SHA-256. The first that finds anything decides. Several uris with equal
    content are one image, and the first is taken; several different ones are ambiguous, and
    are listed rather than guessed. So is an id that only its name connects with an image to
    which an id in another folder leads too. Backslashes, ``./`` and percent-encoded
    ``file://`` uris are read as plain paths.

    Parameters
    ----------
    images : sequence of str
        Ids as written in the label file.
    uris : sequence of str
        The corpus's uris.
    sha256s : sequence of str
        Per uri, the hash of its content as 64 hexadecimal digits, or an empty string.

    Returns
    -------
    Match
        Rows, and the ids that have none.
    """
    paths = [plain_path(image) for image in images]
    rows = [NO_ROW] * len(images)
    loose: list[int] = []
    named: list[int] = []
    ambiguous: dict[int, tuple[str, ...]] = {}
    pending = list(range(len(images)))
    for stage in _stages(images, paths, uris, sha256s):
        found = _find(stage, pending, uris, sha256s)
        for index, hit in found.items():
            if isinstance(hit, tuple):
                ambiguous[index] = hit
            else:
                rows[index] = hit
                loose += [index] if stage.loose else []
                named += [index] if stage.loose or stage.stems else []
        pending = [index for index in pending if index not in found]
        if not pending:
            break
    for index in _disputed(paths, rows, loose):
        ambiguous[index] = (uris[rows[index]],)
        rows[index] = NO_ROW
    return Match(
        rows=np.array(rows, np.int64),
        unmatched=tuple(images[index] for index in pending),
        ambiguous=tuple((images[index], ambiguous[index]) for index in sorted(ambiguous)),
        by_name=tuple(
            images[i] for i in sorted(named) if rows[i] >= 0 and not _names(paths[i], uris[rows[i]])
        ),
    )


def _stages(
    images: Sequence[str], paths: Sequence[str], uris: Sequence[str], sha256s: Sequence[str]
) -> Iterator[_Stage]:
    yield _Stage(lambda i: (images[i],), lambda: _numbered(uris))
    whole = [plain_path(uri) for uri in uris]
    yield _Stage(lambda i: (paths[i],), lambda: _numbered(whole))
    depths = _depths(paths)
    yield _Stage(lambda i: (paths[i],), lambda: _all_ends(whole, depths))
    known = [depth for depth in _depths(whole) if depth > 1]
    yield _Stage(lambda i: _ends(paths[i], known), lambda: _numbered(whole))
    names = [_name(path) for path in whole]
    yield _Stage(lambda i: (_name(paths[i]),), lambda: _numbered(names), loose=True)
    stems = [_stem(path) for path in whole]
    yield _Stage(
        lambda i: (paths[i], _stem(paths[i])), lambda: _all_ends(stems, depths), stems=True
    )
    bare = [_name(path) for path in stems]
    yield _Stage(
        lambda i: (_name(paths[i]), _name(_stem(paths[i]))), lambda: _numbered(bare), loose=True
    )
    yield _Stage(
        lambda i: (images[i],) if _SHA256.fullmatch(images[i]) else (), lambda: _numbered(sha256s)
    )


def _find(
    stage: _Stage, pending: Sequence[int], uris: Sequence[str], sha256s: Sequence[str]
) -> dict[int, int | tuple[str, ...]]:
    """Return a row, or the uris that compete, per pending image that the stage finds."""
    keys = {index: tuple(stage.of_image(index)) for index in pending}
    folds = {key: key.casefold() for several in keys.values() for key in several if key}
    wanted = set(folds.values())
    held: dict[str, list[tuple[str, int]]] = {}
    for key, row in stage.of_corpus() if wanted else ():
        if (folded := key.casefold()) in wanted:
            held.setdefault(folded, []).append((key, row))
    # Resolved once per key: many ids may share one that leads to many images.
    hits = {
        key: _one_of(_same_case(key, held[folded]), uris, sha256s)
        for key, folded in folds.items()
        if folded in held
    }
    found = {}
    for index, several in keys.items():
        for key in several:
            if key in hits:
                found[index] = hits[key]
                break
    return found


def _same_case(key: str, held: Sequence[tuple[str, int]]) -> list[int]:
    """Return the rows whose key is written alike, or else all of them."""
    if len(held) == 1:
        return [held[0][1]]
    return [row for other, row in held if other == key] or [row for _, row in held]


def _one_of(
    rows: Sequence[int], uris: Sequence[str], sha256s: Sequence[str]
) -> int | tuple[str, ...]:
    """Return the row, the first one of equal content, or else the uris of all."""
    if len(rows) == 1:
        return rows[0]
    contents = {sha256s[row] for row in rows}
    if len(contents) == 1 and "" not in contents:
        return rows[0]
    return tuple(uris[row] for row in rows)


def _disputed(paths: Sequence[str], rows: Sequence[int], loose: Sequence[int]) -> list[int]:
    """Return the loosely matched images whose row an id in another folder leads to as well."""
    taken = {rows[index] for index in loose}
    folders: dict[int, set[str]] = {}
    for path, row in zip(paths, rows, strict=True):
        if row in taken and "/" in path:
            folders.setdefault(row, set()).add(_folder(path))
    return [i for i in loose if "/" in paths[i] and len(folders[rows[i]]) > 1]


def _names(path: str, uri: str) -> bool:
    """Tell whether a path without a suffix is the end of a uri without its suffix."""
    stem = _stem(plain_path(uri)).casefold()
    return f"/{stem}".endswith(f"/{path.casefold()}")


def _numbered(keys: Sequence[str]) -> Iterable[tuple[str, int]]:
    return zip(keys, range(len(keys)), strict=True)


def plain_path(text: str) -> str:
    """Write a path or uri as its components, joined by slashes, without one at either end."""
    if text[:7].lower() == "file://":
        text = unquote(text[7:])
    if not text.isascii():
        # Some file systems store é as two code points, most spreadsheets as one.
        text = unicodedata.normalize("NFC", text)
    text = text.replace("\\", "/")
    if text[:1] != "." and "//" not in text and "/." not in text:
        return text.strip("/")
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _depths(paths: Iterable[str]) -> list[int]:
    """Return the numbers of components that occur, the greatest first."""
    return sorted({path.count("/") + 1 for path in paths}, reverse=True)


def _ends(path: str, depths: Collection[int]) -> Iterator[str]:
    """Yield the ends of a path that have one of the numbers of components."""
    parts = path.split("/")
    for depth in depths:
        if depth <= len(parts):
            yield "/".join(parts[-depth:])


def _all_ends(paths: Sequence[str], depths: Collection[int]) -> Iterator[tuple[str, int]]:
    for row, path in enumerate(paths):
        for end in _ends(path, depths):
            yield end, row


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    """Take the suffix off the last component; a leading dot starts no suffix."""
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem}" if dot and stem else path
