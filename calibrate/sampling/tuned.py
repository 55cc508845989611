"""On which images the prompts of a set were chosen: their labels flatter it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from clipcal.calibrate.statistics.sampling import Int64
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus

_NOTE = "tuned:"


def tuned_rows(corpus: Corpus, prompt_set: str) -> Int64:
    """Return the contents on which a prompt set was chosen.

    Parameters
    ----------
    corpus : Corpus
        Remembers them.
    prompt_set : str
        Hash of the prompt set.

    Returns
    -------
    Int64[(n,)]
        Rows of the embeddings, ascending; empty where none are remembered.

    Raises
    ------
    CalibrationError
        If what is remembered cannot be read.
    """
    noted = corpus.noted(f"{_NOTE}{prompt_set}")
    try:
        return np.array(json.loads(noted or "[]"), np.int64).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise CalibrationError(
            f"On which images the prompts were chosen is written in {corpus.path} in a way that "
            f"this version cannot read. Make a corpus anew: "
            f"clipcal embed FOLDER --corpus NEW"
        ) from error


def remember_tuned(
    corpus: Corpus, prompt_set: str, rows: Sequence[int], before: Iterable[str] = ()
) -> None:
    """Remember on which contents a prompt set was chosen.

    Parameters
    ----------
    corpus : Corpus
        Where it is remembered.
    prompt_set : str
        Hash of the prompt set.
    rows : sequence of int
        The contents, as rows of the embeddings.
    before : iterable of str
        Hashes of sets whose contents count too: those that it was made from.

    Raises
    ------
    CalibrationError
        If what is remembered of those cannot be read.
    StoreError
        If the corpus cannot be written.
    """
    parts = [np.array(rows, np.int64), *(tuned_rows(corpus, each) for each in before)]
    corpus.note(f"{_NOTE}{prompt_set}", json.dumps(np.unique(np.concatenate(parts)).tolist()))
