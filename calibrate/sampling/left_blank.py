"""Which cells somebody was asked about and left blank, in the sheets calibrated with so far.

A corpus keeps the labels of a sheet, and of a blank cell there is nothing to keep. Whoever
calibrates from what the corpus keeps would take it for a cell that nobody was asked about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np

from clipcal.calibrate.labels.table import UNKNOWN, LabelTable
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.errors import CalibrationError
from clipcal.index.names import name_key
from clipcal.index.store import Corpus

_NOTE = "left blank"


def blank_cells(table: LabelTable, rows: Int64) -> dict[str, Int64]:
    """List the cells of a label file that were asked and have no label.

    Parameters
    ----------
    table : LabelTable
        The labels.
    rows : Int64[(n,)]
        Per image of the table its content, as a row of the embeddings; -1 where it has none.

    Returns
    -------
    dict
        Per category the contents, ascending.
    """
    blank = (table.values == UNKNOWN) & table.cells_asked() & (rows >= 0)[:, np.newaxis]
    return {
        category: np.unique(rows[blank[:, column]])
        for column, category in enumerate(table.categories)
    }


def left_blank(corpus: Corpus) -> dict[str, Int64]:
    """Return the cells that are remembered as left blank, whether or not they have a label by now.

    Parameters
    ----------
    corpus : Corpus
        Remembers them.

    Returns
    -------
    dict
        Per category, its name reduced by `name_key`, the contents as rows of the embeddings,
        ascending.

    Raises
    ------
    CalibrationError
        If what is remembered cannot be read.
    """
    try:
        known = json.loads(corpus.noted(_NOTE) or "{}")
        read = {name: np.array(rows, np.int64).reshape(-1) for name, rows in known.items()}
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CalibrationError(
            f"Which cells were left blank is written in {corpus.path} in a way that this version "
            f"cannot read. Make a corpus anew: clipcal embed FOLDER --corpus NEW"
        ) from error
    return _merged(read.items())


def remember_left_blank(corpus: Corpus, found: Mapping[str, Int64]) -> None:
    """Remember cells that were left blank, beside those known already.

    Parameters
    ----------
    corpus : Corpus
        Where it is remembered.
    found : mapping of str to Int64[(n,)]
        Per category the contents, as `blank_cells` returns them.

    Raises
    ------
    CalibrationError
        If what is remembered so far cannot be read.
    StoreError
        If the corpus cannot be written.
    """
    merged = _merged([*left_blank(corpus).items(), *found.items()])
    corpus.note(_NOTE, json.dumps({key: rows.tolist() for key, rows in merged.items()}))


def _merged(some: Iterable[tuple[str, Int64]]) -> dict[str, Int64]:
    merged: dict[str, Int64] = {}
    for name, rows in some:
        key = name_key(name)
        merged[key] = np.union1d(merged.get(key, rows), rows)
    return merged
