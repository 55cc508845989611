"""From the levels that a file speaks of to those that the labels of a corpus have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clipcal.calibrate.labels.exchange.records import Asked, Given


def into_scale(
    given: Iterable[Given], levels: Sequence[str], asked: Asked
) -> tuple[tuple[Given, ...], tuple[str, ...]]:
    """Write labels in the levels of the corpus, or leave out a file that speaks of others.

    Two levels are two others, the lower the lower. Between yes/no and several levels only the
    lowest is the same. Then it is taken where a file says nothing else: kept without what is above
    it, it would make what is labelled look rarer than it is.

    Parameters
    ----------
    given : iterable of Given
        The labels of a file.
    levels : sequence of str
        The file's levels, from low to high.
    asked : Asked
        Knows the corpus's.

    Returns
    -------
    given : tuple of Given
        All of the labels, or none.
    notes : tuple of str
        How many are left out, and why.
    """
    found = tuple(given)
    place = {level: index for index, level in enumerate(levels)}
    if len(levels) != len(asked.scale) and any(place[one.level] for one in found):
        return (), (_left_out(len(found), levels, asked.scale),)
    return tuple(replace(one, level=asked.scale[place[one.level]]) for one in found), ()


def _left_out(count: int, levels: Sequence[str], scale: Sequence[str]) -> str:
    labels = "1 label is" if count == 1 else f"{count:,} labels are"
    return (
        f"{labels} left out: in the levels {', '.join(levels)}, while labels of this corpus are "
        f"{', '.join(scale)}. For other levels, calibrate with a file that has them: "
        f"clipcal calibrate --labels FILE.csv"
    )
