"""Names of categories, as people write them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SEPARATORS = re.compile(r"[\s_\-]+")


@lru_cache(maxsize=4096)
def name_key(name: str) -> str:
    """Reduce a name to what must agree: letters regardless of case, ``_``, dash and space."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).casefold()
