"""What both files say of each image, and how far that tells anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.comparison.records import Difference
from clipcal.calibrate.comparison.sides import Codes, Pairs, Side
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.statistics.bounds import Estimate

Verdicts = list[tuple[str | None, str | None]]
Said = list[list[tuple[int, str, str]]]  # per image: which dimension, people's word, the other


def words_that_differ(known: NDArray[np.bool_], a: Codes, b: Codes, levels: Sequence[str]) -> Said:
    """Return, of each image, in which dimensions (n, d) the levels differ, and what they are."""
    said: Said = [[] for _ in a]
    for row, column in np.argwhere(known & (a != b)).tolist():
        said[row].append((column, levels[a[row, column]], levels[b[row, column]]))
    return said


def differences_of(
    ours: Side, pairs: Pairs, names: Sequence[str], said: Said, verdicts: Verdicts
) -> Iterator[Difference]:
    """Yield each image that both know, in the order of people's file."""
    for row, cells, both in zip(pairs.ours.tolist(), said, verdicts, strict=True):
        yield Difference(
            ours.reading.images[row],
            tuple(names[column] for column, _, _ in cells),
            tuple(human for _, human, _ in cells),
            tuple(predicted for _, _, predicted in cells),
            same_word(*both),
            *both,
        )


def same_word(human: str | None, predicted: str | None) -> bool | None:
    """Whether two verdicts are the same; None where one is unknown."""
    if human is None or predicted is None:
        return None
    return name_key(human) == name_key(predicted)


def telling(kappa: Estimate | None, a: Codes, b: Codes) -> Estimate | None:
    """Leave kappa out where a side that never varies makes it 0 in every sample."""
    return kappa if np.ptp(a) and np.ptp(b) else None


def once(*notes: str) -> tuple[str, ...]:
    """Leave out what both files give cause to note."""
    return tuple(dict.fromkeys(notes))
