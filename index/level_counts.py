"""Which levels the labels of a corpus have, and how often: those of a file, and raters' own."""

from __future__ import annotations

import json
from collections.abc import Iterable

from clipcal.index.chosen import STANDING
from clipcal.index.names import name_key
from clipcal.index.reading import Reading
from clipcal.index.schema import JUDGEMENTS

_COUNTED = """
SELECT level, count(*) FROM ({labels})
WHERE name_key(category) IN (SELECT value FROM json_each(?)) GROUP BY level
"""


def filed_levels(corpus: Reading, categories: Iterable[str]) -> dict[str, int]:
    """Count the levels of the labels that came with a file.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories : iterable of str
        In which; names that differ only as `name_key` lets them are one.

    Returns
    -------
    dict of str to int
        How many labels have each level.
    """
    return _counted(corpus, "SELECT category, level FROM labels", categories)


def said_levels(corpus: Reading, categories: Iterable[str]) -> dict[str, int]:
    """Count the levels of what raters say now: see `filed_levels`."""
    return _counted(corpus, STANDING, categories) if corpus.knows(JUDGEMENTS) else {}


def _counted(corpus: Reading, labels: str, categories: Iterable[str]) -> dict[str, int]:
    keys = json.dumps([name_key(category) for category in categories])
    return dict(corpus.read(_COUNTED.format(labels=labels), keys))
