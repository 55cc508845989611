"""One category over a corpus: scores, and labels with exact copies counted once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.sample import merge_copies
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import CalibrationError

Codes = NDArray[np.int8]  # (n,) or (n, c), index into the levels, -1 where unknown
Labels = Mapping[str, Mapping[str, str]]  # uri → category → level


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One category over the corpus.

    Attributes
    ----------
    name : str
        The category.
    scored : CorpusScores
        The images' names.
    levels : tuple of str
        From low to high.
    scores, codes : Float32[(n,)], Int8[(n,)]
        Every image.
    falling : Int64[(n,)]
        Places by falling score; of equal ones the first in the corpus comes first.
    places : Int64[(m,)]
        Images with a label that counts, exact copies once; copies whose labels differ have none.
    sample, sample_codes : Float32[(m,)], Int8[(m,)]
        Their scores and labels.
    """

    name: str
    scored: CorpusScores
    levels: tuple[str, ...]
    scores: NDArray[np.float32]
    codes: Codes
    falling: NDArray[np.intp]
    places: NDArray[np.intp]
    sample: NDArray[np.float32]
    sample_codes: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The labels of a corpus.

    Attributes
    ----------
    codes : Int8[(n, c)]
        Of every image.
    places : Int64[(m,)]
        Labelled images, exact copies once.
    merged : Int8[(m, c)]
        Their labels, as far as these count.
    """

    codes: Codes
    places: NDArray[np.intp]
    merged: Codes


def gather_labels(
    scored: CorpusScores,
    labels: Labels,
    contract: Contract,
    uncounted: Mapping[str, Sequence[int]] | None = None,
) -> Labelled:
    """Look up the labels of a corpus's images, exact copies as one.

    Parameters
    ----------
    scored : CorpusScores
        Names the images.
    labels : mapping of str to (mapping of str to str)
        Uri → category → level; images that the corpus lacks are passed over.
    contract : Contract
        Names categories and levels.
    uncounted : mapping of str to (sequence of int), optional
        By category, rows of the embeddings whose labels count in nothing; pictures tell them.

    Returns
    -------
    Labelled
        With the contract's categories as columns.

    Raises
    ------
    CalibrationError
        If a level is none of the contract's.
    """
    codes = _codes(scored, labels, tuple(contract.categories), contract.levels)
    labelled = np.flatnonzero((codes != UNKNOWN).any(axis=1))
    first, merged, _ = merge_copies(codes[labelled], scored.rows[labelled])
    places = labelled[first]
    for column, category in enumerate(contract.categories):
        left_out = np.isin(scored.rows[places], (uncounted or {}).get(category, ()))
        merged[left_out, column] = UNKNOWN
    return Labelled(codes, places, merged)


def columns(scored: CorpusScores, labelled: Labelled, contract: Contract) -> Iterator[Column]:
    """Take the contract's categories one by one."""
    for number, name in enumerate(contract.categories):
        scores = scored.column(name)
        known = labelled.merged[:, number] != UNKNOWN
        yield Column(
            name=name,
            scored=scored,
            levels=contract.levels,
            scores=scores,
            codes=labelled.codes[:, number],
            falling=np.argsort(-scores, kind="stable"),
            places=labelled.places[known],
            sample=scores[labelled.places[known]],
            sample_codes=labelled.merged[known, number],
        )


def _codes(
    scored: CorpusScores, labels: Labels, categories: Sequence[str], levels: Sequence[str]
) -> Codes:
    """Look up each image's level in each category."""
    places = {uri: place for place, uri in enumerate(scored.uris)}
    ranks = {level: rank for rank, level in enumerate(levels)}
    codes = np.full((len(scored.uris), len(categories)), UNKNOWN, np.int8)
    for uri, given in labels.items():
        if uri not in places:
            continue
        for column, category in enumerate(categories):
            level = given.get(category)
            if level is not None:
                codes[places[uri], column] = _rank(level, ranks)
    return codes


def _rank(level: str, ranks: Mapping[str, int]) -> int:
    if level not in ranks:
        raise CalibrationError(
            f"The corpus keeps labels with the level '{level}', but the calibration knows "
            f"{', '.join(ranks)}. Fit it to the present labels: "
            f"clipcal calibrate --labels FILE.csv"
        )
    return ranks[level]
