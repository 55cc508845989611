"""The verdicts that people wrote in the column ``Overall``, as a corpus keeps them.

Labels are kept in categories, and an overall verdict is in none. Whoever fits one again from what
the corpus keeps of labels needs what it was fitted to before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import LabelError
from clipcal.index.reading import Reading
from clipcal.index.store import Corpus

_NOTE: Final = "verdicts"


def keep_verdicts(corpus: Corpus, verdicts: Mapping[str, NDArray[np.int64]]) -> None:
    """Keep verdicts in place of those that were kept before.

    Parameters
    ----------
    corpus : Corpus
        Where they are kept.
    verdicts : mapping of str to Int64[(n,)]
        Per verdict the contents that have it, as rows of the embeddings: a file whose content
        changes loses its verdict, and copies have the same.

    Raises
    ------
    StoreError
        If the corpus cannot be written.
    """
    corpus.note(_NOTE, json.dumps({name: rows.tolist() for name, rows in verdicts.items()}))


def kept_verdicts(corpus: Reading) -> dict[int, str]:
    """Return the verdicts that are kept, by content; none where none ever were.

    Parameters
    ----------
    corpus : Reading
        Where they are kept.

    Returns
    -------
    dict of int to str
        From the row of the embeddings to the verdict.

    Raises
    ------
    LabelError
        If what is kept cannot be read.
    """
    try:
        known = json.loads(corpus.noted(_NOTE) or "{}")
        return {int(row): str(name) for name, rows in known.items() for row in rows}
    except (ValueError, TypeError, AttributeError) as error:
        raise LabelError(
            f"People's overall verdicts are written in {corpus.path} in a way that this version "
            f"cannot read. Write them anew: clipcal calibrate --labels FILE.csv --overall fitted"
        ) from error
