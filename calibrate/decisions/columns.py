"""Columns of the decisions beside scores and levels: bands and probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.probabilities import probabilities
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import Scores, decide
from clipcal.calibrate.statistics.temperature import class_probabilities

Band = Literal["allow", "review", "block"]
BANDS: tuple[Band, ...] = get_args(Band)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One more column.

    Attributes
    ----------
    name : str
        Its name in the file.
    values : Float32[(n,)] or Int8[(n,)]
        Probabilities; or, where there are `words`, indices into them.
    words : tuple of str
        What the indices stand for.
    """

    name: str
    values: NDArray[np.float32] | NDArray[np.int8]
    words: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Count the images of each word."""
        return {word: int((self.values == code).sum()) for code, word in enumerate(self.words)}


def more_columns(scores: Scores, categories: Sequence[str], contract: Contract) -> list[Column]:
    """Make the columns that a contract has beyond thresholds.

    Parameters
    ----------
    scores : Float32[(n, c)]
        Scores of the corpus.
    categories : sequence of str
        Names of the columns.
    contract : Contract
        The calibration.

    Returns
    -------
    list of Column
        ``NAME_band`` and ``NAME_probability`` per category; with several levels
        ``NAME_LEVEL_band`` and so on, where no level is more probable than the one below it.
    """
    columns: list[Column] = []
    for number, category in enumerate(categories):
        cuts = contract.categories[category]
        column = scores[:, number]
        columns += _bands(column, category, cuts)
        columns += _probabilities(column, category, cuts)
    if contract.temperature is not None:
        classes = class_probabilities(scores.astype(np.float64), contract.temperature.temperature)
        columns += [
            Column(f"{category}_probability", classes[:, number].astype(np.float32))
            for number, category in enumerate(categories)
        ]
    return columns


def band_codes(scores: NDArray[np.floating], cut: Cut) -> NDArray[np.int8]:
    """Return the band of each image, (n,), as an index into `BANDS`.

    Nothing is allowed unseen below a lower threshold that is neither certified nor placed by hand,
    and nothing is blocked from an upper one that is neither.
    """
    codes = np.ones(len(scores), np.int8)
    if cut.allowing is not None:
        codes[~decide(scores, cut.allowing)] = 0
    if cut.bands is not None and cut.bands.upper is not None:
        codes[decide(scores, cut.bands.upper)] = 2
    return codes


def _name(category: str, level: str, cuts: dict[str, Cut], what: str) -> str:
    return f"{category}_{what}" if len(cuts) == 1 else f"{category}_{level}_{what}"


def _bands(scores: NDArray[np.float32], category: str, cuts: dict[str, Cut]) -> Iterator[Column]:
    for level, cut in cuts.items():
        if cut.bands is not None:
            yield Column(_name(category, level, cuts, "band"), band_codes(scores, cut), BANDS)


def _probabilities(
    scores: NDArray[np.float32], category: str, cuts: dict[str, Cut]
) -> Iterator[Column]:
    least = np.ones(len(scores))
    for level, cut in cuts.items():
        if cut.probability is None:
            continue
        # Fitted one by one, two levels' maps may cross where there are few labels.
        least = np.minimum(least, probabilities(cut.probability, scores))
        name = _name(category, level, cuts, "probability")
        yield Column(name, least.astype(np.float32))
