"""How people first came to see the images that they labelled, as the journal has it.

A judgement tells how its rater came to see the image that time. Whoever sees an image again, for
another reason, changes nothing of why it has a label at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from clipcal.index.judgements import CHOSEN, Origin
from clipcal.index.reading import Reading
from clipcal.index.schema import JUDGEMENTS

Cell = tuple[int, str]  # an item, and a category as it was written
_FOR_SCORES = ", ".join(f"'{origin}'" for origin in CHOSEN)
_CHOSEN = f"""
SELECT items.id, chosen.category, coalesce((
    SELECT origin FROM judgements AS said
    WHERE said.item = items.id AND said.category = chosen.category
        AND said.origin IN ({_FOR_SCORES}) ORDER BY said.id LIMIT 1
), 'search') FROM chosen JOIN items ON items.row = chosen.row
"""
_OTHERWISE = f"""
SELECT item, category, origin FROM judgements
WHERE item IN (SELECT value FROM json_each(?)) AND origin NOT IN ({_FOR_SCORES}) ORDER BY id DESC
"""


def chosen_cells(corpus: Reading) -> dict[Cell, Origin]:
    """Cells that are labelled because somebody saw the image for its scores.

    Parameters
    ----------
    corpus : Reading
        The corpus.

    Returns
    -------
    dict of (int, str) to Origin
        Of every item whose content is chosen in a category: how the first saw it who saw it for
        its scores; "search" where nobody has told of that item.
    """
    return _cells(corpus, _CHOSEN)


def seen_otherwise(corpus: Reading, items: Iterable[int]) -> dict[Cell, Origin]:
    """Cells that somebody saw for another reason than scores, and how the first such came there.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    items : iterable of int
        Of which images.
    """
    return _cells(corpus, _OTHERWISE, json.dumps(list(items)))


def _cells(corpus: Reading, query: str, *values: object) -> dict[Cell, Origin]:
    found = corpus.read(query, *values) if corpus.knows(JUDGEMENTS) else []
    return {(item, category): origin for item, category, origin in found}
