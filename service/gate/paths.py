"""Messages without the places of files: clients are told names, never where something lies.

Where a path in running text ends cannot be known for certain. What stands in quotes ends with
them. Elsewhere a folder's name may hold blanks, but no sentence goes on behind a comma or the
ending of a file's name; in doubt a word too much is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clipcal.service.settings import Settings

Hide = Callable[[str], str]

_SEPARATORS: Final = r"[\\/]+"
_START: Final = "|".join(
    (
        r"file:(?://[^\\/\s'\"]*)?[\\/]+",
        r"(?<![\w.:\\/])[A-Za-z]:[\\/]+",  # a drive
        r"(?<![\w.:\\/])(?://|\\\\)(?=\w)",  # a shared folder
        r"(?<![\w.\\/])~\w*/",
        r"(?<![\w.~\\/])/(?!/|v1\b)",  # but not an address of the API
    )
)
_WORD: Final = r"(?:[^\s\\/'\"]|(?<=\w)'(?=\w))+"
_BLANK: Final = r"(?<![,;:.!?)])(?<!\.\w{2})(?<!\.\w{3})(?<!\.\w{4}) +"
_PLAIN: Final = rf"(?:{_START})(?:{_WORD}(?:{_BLANK}{_WORD})*{_SEPARATORS})*(?=[^\s\\/'\"])"
_QUOTED: Final = "|".join(
    rf"(?<={q})(?:{_START})(?:[^{q}\\/\n]+{_SEPARATORS})*(?=[^{q}\\/\n])" for q in "'\""
)
_PLACE: Final = re.compile(f"{_QUOTED}|{_PLAIN}")


def without_paths(message: str, settings: Settings) -> str:
    """Leave the names of files in a message, and take away where they lie.

    Parameters
    ----------
    message : str
        Made for whoever runs the service.
    settings : Settings
        Names the files that most messages are about, whatever their names look like.

    Returns
    -------
    str
        The message, with the last part of each path that says where on a machine something is:
        absolute ones, those of Windows and of shared folders, and ``file:`` addresses.
    """
    return hiding_places(settings)(message)


def hiding_places(settings: Settings) -> Hide:
    """Make what does as `without_paths` with many messages: the files are looked up once."""
    places = tuple(_places(settings))

    def hide(message: str) -> str:
        for written, name in places:
            message = message.replace(written, name)
        return _PLACE.sub("", message)

    return hide


def _places(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield how each file may be written, and its name."""
    known = (settings.corpus, settings.calibration, settings.prompt_vectors)
    named = (settings.model, settings.prompts)
    for path in (Path(one) for one in (*known, *named) if one is not None):
        for written in (str(path.absolute()), str(path.resolve()), str(path)):
            if "/" in written or "\\" in written:
                yield written, path.absolute().name
