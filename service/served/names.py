"""What images are called over HTTP: never by where they lie on the machine."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, urlsplit

from clipcal.index.lookup import first_and_last_uri
from clipcal.index.reading import Reading
from clipcal.index.sources import path_of

_SCHEME: Final = "file://"
_FILE: Final = f"{_SCHEME}/"  # what has a host's name here lies on another machine
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ABSOLUTE: Final = re.compile(r"/|\\\\|[A-Za-z]:[/\\]|file:///")
_SEPARATORS: Final = "/\\"
# How a path begins that says where on a machine something lies: each is a tree of its own.
_DRIVES: Final = tuple(f"{letter}:" for letter in string.ascii_letters)
_ROOTS: Final = (("/", _FILE), ("\\\\",), *((drive,) for drive in _DRIVES))


@dataclass(frozen=True, slots=True)
class Names:
    """From an image's uri to its name.

    A file is called by its path below the deepest folder that holds all files of the corpus; that
    folder itself is never told. A path that is no valid text keeps its percent signs. An image
    that came with a web address, as imported vectors may, is called by it, without password,
    query and fragment, which may hold secrets. Other names are as they were given.

    Names of files are unique. Those of web addresses may not be: what tells images apart is
    their id.

    Attributes
    ----------
    folders : tuple of str
        The common folder, with a separator at its end; of imported names, which may be of several
        machines, one for each drive.
    """

    folders: tuple[str, ...]

    def __call__(self, uri: str) -> str:
        """Name an image."""
        quoted = uri.startswith(_FILE)
        if not quoted and _ADDRESS.match(uri):
            return _public(uri)
        for folder in self.folders:
            written = _quoted(folder) if quoted else folder
            if uri.startswith(written):
                return uri.removeprefix(written)
        if _ABSOLUTE.match(uri):  # embedded elsewhere since the folder was found
            return re.split(r"[/\\]", uri)[-1]
        return uri

    def hide(self, message: str) -> str:
        """Take the common folders out of a message that may name files."""
        for folder in self.folders:
            if len(folder) > 1:
                message = message.replace(_quoted(folder), "").replace(folder, "")
        return message


def names_of(corpus: Reading) -> Names:
    """Find the deepest folder that holds all files of a corpus, whatever became of them.

    It takes no longer for a million images: of names in their order, the first and the last share
    what all of them share.
    """
    found = [_folder(_ends(corpus, root)) for root in _ROOTS]
    return Names(tuple(folder for folder in found if folder))


def _ends(corpus: Reading, root: Iterable[str]) -> list[str]:
    """The first and the last path below a root."""
    ends = [first_and_last_uri(corpus, prefix) for prefix in root]
    return [path_of(uri) for pair in ends if pair is not None for uri in pair]


def _folder(paths: list[str]) -> str:
    shared = os.path.commonprefix(paths)  # noqa: RUF071 - cut at a separator, whose ever it is
    return shared[: max(map(shared.rfind, _SEPARATORS)) + 1]


def _quoted(folder: str) -> str:
    return _SCHEME + quote_from_bytes(os.fsencode(folder))


def _public(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # what looks like an address of version 6, and is none
        return re.split(r"[?#]", address)[0].rpartition("@")[2]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
