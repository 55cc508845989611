"""The levels that the labels of a corpus have: one scale for all that is said of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipcal.calibrate.labels.words import BINARY, LADDER, kept_codes
from clipcal.index.level_counts import filed_levels, rows_at_levels, said_levels
from clipcal.index.reading import Reading
from clipcal.index.shards import Rows

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract


def spoken_levels(
    corpus: Reading,
    categories: Sequence[str],
    levels: Sequence[str],
    contract: Contract | None = None,
) -> tuple[str, ...]:
    """Tell in which levels a corpus is labelled; labels in others have no place in it.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories : sequence of str
        The prompt set's categories; labels in others tell nothing.
    levels : sequence of str
        The prompt set's levels; empty for yes and no.
    contract : Contract, optional
        The calibration, where there is one.

    Returns
    -------
    tuple of str
        From low to high: the calibration's; else those of the file that was last calibrated with,
        or, without a file, those in which most was said; else the prompt set's; else negative and
        positive. Labels come in only if they fit, so that no single one turns the scale.
    """
    if contract is not None:
        return contract.levels
    told = (count(corpus, categories) for count in (filed_levels, said_levels))
    found = (_most(words, levels) for words in told)
    return next((one for one in found if one), tuple(levels) or BINARY)


def unread_rows(corpus: Reading, category: str, levels: Sequence[str]) -> Rows:
    """Contents that have a label in other levels than these.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    category : str
        In which.
    levels : sequence of str
        In which the corpus is labelled.

    Returns
    -------
    Rows
        int64 (n,), rows of the embeddings, ascending; whatever else is known of them.
    """
    codes = kept_codes(levels)
    words = filed_levels(corpus, [category]).keys() | said_levels(corpus, [category]).keys()
    other = [word for word in words if word.casefold() not in codes]
    return rows_at_levels(corpus, category, other) if other else np.empty(0, np.int64)


def _most(words: Mapping[str, int], levels: Sequence[str]) -> tuple[str, ...]:
    """Choose between several levels and yes/no, as most labels have it; nothing if none tells."""
    if len(levels) == 2:
        return tuple(levels)
    several = tuple(levels) or LADDER
    ladder, yes_no = set(kept_codes(several)), set(kept_codes(BINARY))
    higher = sum(n for word, n in words.items() if word.casefold() in ladder - set(BINARY))
    answers = sum(n for word, n in words.items() if word.casefold() in yes_no - ladder)
    if not higher and not answers:
        return ()
    return several if higher > answers or (levels and higher == answers) else BINARY
