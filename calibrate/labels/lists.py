"""Lists of names in the cell of a sheet, as people and their tools write them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from typing import Final

_SEPARATORS: Final = re.compile(r"[,;|]")
_OPENING: Final = ("[", "(", "{")
_QUOTED: Final = r"""(?:'[^']*'|"[^"]*")"""
_NUMPY: Final = re.compile(rf"\[\s*{_QUOTED}(?:\s+{_QUOTED})*\s*\]")
_UNQUOTED: Final = re.compile(r"""\[([^][(){}'":]*)\]|\(([^][(){}'":]*)\)|\{([^][(){}'":]*)\}""")


def names_in(cell: str) -> list[str] | None:
    """Read a list of names.

    Parameters
    ----------
    cell : str
        A list as JSON, Python or NumPy writes it, or in brackets without quotes; else names
        parted by commas, semicolons or bars.

    Returns
    -------
    list of str or None
        The names, or None if it is something else: half a list, one that holds other things than
        names and numbers, or a table.
    """
    if not cell.startswith(_OPENING):
        return _stripped(_SEPARATORS.split(cell))
    for read in _READERS:
        try:
            return _names(read(cell))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _names(found: object) -> list[str] | None:
    if isinstance(found, str):
        return _stripped([found])
    if not isinstance(found, list | tuple | set):
        return None
    if any(isinstance(one, bool) or not isinstance(one, str | int) for one in found):
        return None
    return _stripped(map(str, sorted(found, key=str) if isinstance(found, set) else found))


def _stripped(words: Iterable[str]) -> list[str]:
    words = (word.strip(" \t\r\n'\"") for word in words)
    return [word for word in words if word]


def _from_numpy(cell: str) -> list[str]:
    if not _NUMPY.fullmatch(cell):
        raise ValueError
    return re.findall(_QUOTED, cell)


def _from_python(cell: str) -> object:
    found = ast.literal_eval(cell)
    several = isinstance(found, list | tuple | set)
    if several and len(re.findall(_QUOTED, cell)) > len(found):
        raise ValueError  # Python makes one name of two that no comma parts
    return found


def _unquoted(cell: str) -> list[str]:
    found = _UNQUOTED.fullmatch(cell)
    if not found:
        raise ValueError
    return _SEPARATORS.split("".join(part or "" for part in found.groups()))


_READERS: Final[tuple[Callable[[str], object], ...]] = (
    json.loads,
    _from_numpy,
    _from_python,
    _unquoted,
)
