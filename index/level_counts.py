"""Which levels the labels of a corpus have: how often, and of which contents."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

import numpy as np

from clipcal.index.chosen import STANDING
from clipcal.index.names import name_key
from clipcal.index.reading import Reading
from clipcal.index.schema import JUDGEMENTS
from clipcal.index.shards import Rows

_COUNTED = """
SELECT level, count(*) FROM ({labels})
WHERE name_key(category) IN (SELECT value FROM json_each(?)) GROUP BY level
"""
_FILED = "SELECT item, category, level FROM labels"
_FOUND = """
SELECT DISTINCT items.row FROM ({labels}) AS said JOIN items ON items.id = said.item
WHERE items.row IS NOT NULL AND name_key(said.category) = name_key(?)
    AND said.level IN (SELECT value FROM json_each(?)) ORDER BY items.row
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
    return _counted(corpus, _FILED, categories)


def said_levels(corpus: Reading, categories: Iterable[str]) -> dict[str, int]:
    """Count the levels of what raters say now: see `filed_levels`."""
    return _counted(corpus, STANDING, categories) if corpus.knows(JUDGEMENTS) else {}


def rows_at_levels(corpus: Reading, category: str, levels: Collection[str]) -> Rows:
    """Contents of which a file or a rater says one of some levels.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    category : str
        In which.
    levels : collection of str
        The levels, as they are written.

    Returns
    -------
    Rows
        int64 (n,), rows of the embeddings, ascending.
    """
    labels = _FILED
    if corpus.knows(JUDGEMENTS):
        labels = f"{_FILED} UNION SELECT item, category, level FROM ({STANDING})"
    found = corpus.read(_FOUND.format(labels=labels), category, json.dumps(list(levels)))
    return np.array([row for (row,) in found], np.int64)


def _counted(corpus: Reading, labels: str, categories: Iterable[str]) -> dict[str, int]:
    keys = json.dumps([name_key(category) for category in categories])
    return dict(corpus.read(_COUNTED.format(labels=labels), keys))
