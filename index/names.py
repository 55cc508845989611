"""Names as people write them, and as sheets keep them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from clipcal.errors import LabelError

LONGEST: Final = 200  # characters of a rater's name

_SEPARATORS = re.compile(r"[\s_\-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff]")


@lru_cache(maxsize=4096)
def name_key(name: str) -> str:
    """Reduce a name to what must agree: letters regardless of case, ``_``, dash and space."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).casefold()


@lru_cache(maxsize=4096)
def rater_name(name: str) -> str:
    """Write a rater's name in one way: composed (NFC), without blanks around.

    Raises
    ------
    LabelError
        If it is empty, too long, or has control characters, which end rows and cells of sheets.
    """
    found = unicodedata.normalize("NFC", name).strip()
    if not found or len(found) > LONGEST or _CONTROL.search(found):
        raise LabelError(
            f"{name[:40]!a} cannot name a rater. Give a name of 1 to {LONGEST} characters, "
            f"without line breaks and other control characters."
        )
    return found


def cell_name(uri: str) -> str:
    """Write a uri so that a sheet gives it back: cells lose blanks around and some line breaks."""
    clean = uri == uri.strip() and not _CONTROL.search(uri)
    return uri if clean else f"file://{quote(uri)}"
