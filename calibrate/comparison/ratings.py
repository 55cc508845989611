"""Ratings side by side: a level in each of several dimensions, and perhaps a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clipcal.calibrate.comparison.records import Comparison, Dimension
from clipcal.calibrate.comparison.said import (
    Verdicts,
    differences_of,
    once,
    same_word,
    telling,
    words_that_differ,
)
from clipcal.calibrate.comparison.sides import Codes, Pairs, Side, nothing_to_compare
from clipcal.calibrate.labels.formats import interpret
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.words import BINARY
from clipcal.calibrate.statistics.agreement.kappa import cell_agreement, pair_agreement
from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.errors import LabelError


def compare_ratings(ours: Side, theirs: Side, pairs: Pairs, seed: int) -> Comparison:
    """Compare levels, dimension by dimension.

    Parameters
    ----------
    ours, theirs : Side
        People's file, and the other.
    pairs : Pairs
        The images that both know.
    seed : int
        Of the draws for intervals.

    Returns
    -------
    Comparison
        Of kind ``ratings``.

    Raises
    ------
    LabelError
        If the files have different levels, no dimension in common, or no label to compare.
    """
    ours, theirs, assumed = _on_one_scale(ours, theirs)
    names, columns, alone = _common(ours.reading.categories, theirs.reading.categories)
    if not names:
        raise LabelError(
            f"The files have no dimension in common: {ours.sheet.path.name} has "
            f"{', '.join(ours.reading.categories)}; {theirs.sheet.path.name} has "
            f"{', '.join(theirs.reading.categories)}. Rename the columns, then run clipcal "
            f"compare again."
        )
    levels = ours.reading.levels
    a = ours.reading.values[np.ix_(pairs.ours, columns[0])].astype(np.int64)
    b = theirs.reading.values[np.ix_(pairs.theirs, columns[1])].astype(np.int64)
    known = (a >= 0) & (b >= 0)
    if not known.any():
        raise nothing_to_compare(ours, theirs)
    row, column = np.nonzero(known)
    accuracy, kappa = cell_agreement(row, a[row, column], b[row, column], len(levels), seed=seed)
    verdicts = _verdicts(ours, theirs, pairs)
    return Comparison(
        kind="ratings",
        images=tuple(
            differences_of(ours, pairs, names, words_that_differ(known, a, b, levels), verdicts)
        ),
        dimensions={
            name: _dimension(a[known[:, i], i], b[known[:, i], i], levels, seed)
            for i, name in enumerate(names)
        },
        accuracy=accuracy,
        kappa=telling(kappa, a[known], b[known]),
        overall_agreement=_overall_agreement(verdicts),
        confusions=(),
        worst=None,
        unmatched=pairs.unmatched,
        ambiguous=pairs.ambiguous,
        only_predicted=pairs.only_predicted,
        notes=once(*ours.reading.notes, *theirs.reading.notes, *assumed, *alone),
    )


def _on_one_scale(ours: Side, theirs: Side) -> tuple[Side, Side, tuple[str, ...]]:
    """Give both sides the same levels: those of the one, or else yes and no."""
    if not _alike(ours, theirs):
        ours, theirs = _with_levels_of(ours, theirs), _with_levels_of(theirs, ours)
    if _alike(ours, theirs):
        return ours, theirs, ()
    if BINARY not in (ours.reading.levels, theirs.reading.levels):
        raise LabelError(
            f"The levels are {', '.join(ours.reading.levels)} in {ours.sheet.path.name}, but "
            f"{', '.join(theirs.reading.levels)} in {theirs.sheet.path.name}. Use the same words "
            f"in both, then run clipcal compare again."
        )
    note = "One file says yes or no: every level above the lowest of the other counts as yes."
    return _as_yes_or_no(ours), _as_yes_or_no(theirs), (note,)


def _alike(ours: Side, theirs: Side) -> bool:
    one, other = ours.reading.levels, theirs.reading.levels
    return tuple(map(str.casefold, one)) == tuple(map(str.casefold, other))


def _with_levels_of(side: Side, other: Side) -> Side:
    """Read a file that says no and nothing else, or numbers, with the levels of the other."""
    if side.reading.levels != BINARY or side.reading.classes or other.reading.levels == BINARY:
        return side
    return replace(side, reading=interpret(side.sheet, None, other.reading.levels))


def _as_yes_or_no(side: Side) -> Side:
    values = np.minimum(side.reading.values, 1)
    return replace(side, reading=replace(side.reading, levels=BINARY, values=values))


def _common(
    ours: Sequence[str], theirs: Sequence[str]
) -> tuple[list[str], tuple[Codes, Codes], list[str]]:
    """Return the names that both have, their places in both, and a note of the others."""
    place = {name_key(name): index for index, name in enumerate(theirs)}
    both = [index for index, name in enumerate(ours) if name_key(name) in place]
    names = [ours[index] for index in both]
    taken = {name_key(name) for name in names}
    rest = [name for name in (*ours, *theirs) if name_key(name) not in taken]
    notes = [f"Only one file has: {', '.join(rest)}."] if rest else []
    theirs_of = [place[name_key(name)] for name in names]
    return names, (np.array(both, np.int64), np.array(theirs_of, np.int64)), notes


def _dimension(a: Codes, b: Codes, levels: tuple[str, ...], seed: int) -> Dimension:
    count = len(levels)
    table = np.bincount(a * count + b, minlength=count**2).reshape(count, count)
    confusion = tuple(map(tuple, table.tolist()))
    if not len(a):
        return Dimension(0, None, None, levels, confusion)
    rate, kappa = pair_agreement(a, b, count, seed=seed)
    return Dimension(len(a), rate, telling(kappa, a, b), levels, confusion)


def _verdicts(ours: Side, theirs: Side, pairs: Pairs) -> Verdicts:
    """Return the overall verdicts of each image; None where unknown."""
    sides = [(ours.overall, pairs.ours), (theirs.overall, pairs.theirs)]
    one, other = (
        [None if overall is None else overall[row] for row in rows.tolist()]
        for overall, rows in sides
    )
    return list(zip(one, other, strict=True))


def _overall_agreement(verdicts: Verdicts) -> Estimate | None:
    same = [match for match in (same_word(*both) for both in verdicts) if match is not None]
    return wilson(sum(same), len(same)) if same else None
