"""Which images of a corpus the report shows, and under which heading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.report.column import Column

PICTURES_PER_ROW = 6
# Keeps the page at a few megabytes however many categories and levels there are.
MOST_PICTURES = 400
_ROWS = 5

Flags = NDArray[np.bool_]  # (n,)
Places = NDArray[np.intp]  # (k,), of images, in the order in which they are to be shown
Kind = Literal[
    "top",
    "above",
    "below",
    "missed",
    "false_flags",
    "block",
    "review",
    "allow",
    "allowed_positives",
    "blocked_negatives",
    "unlabelled_top",
]


@dataclass(frozen=True, slots=True)
class Shown:
    """One image of the corpus as it is shown.

    Attributes
    ----------
    uri, sha256 : str
        Its name, and its content's hash; an empty string where that is unknown.
    row : int
        Of its embedding; exact copies share one.
    score : float
        In the category under which it is shown.
    label : str or None
        The level that raters gave it there.
    """

    uri: str
    sha256: str
    row: int
    score: float
    label: str | None


@dataclass(frozen=True, slots=True)
class PictureRow:
    """Some of the images of one kind, and how many there are of that kind.

    Attributes
    ----------
    kind : str
        ``top``: flagged, from the highest score down. ``above``: flagged, from the threshold
        up, those of ``top`` left out. ``below``: not flagged, from the threshold down.
        ``missed``: labelled positive but not flagged, ``false_flags``: labelled negative but
        flagged, both from the threshold away. With bands instead ``block``, ``review`` and
        ``allow``: drawn at random, by falling score; ``allowed_positives`` and
        ``blocked_negatives``: labelled otherwise, from the thresholds away.
        ``unlabelled_top``: not labelled, from the highest score down, where there is no
        threshold.
    pictures : tuple of Shown
        The first of them.
    total : int
        How many there are.
    """

    kind: Kind
    pictures: tuple[Shown, ...]
    total: int


def pictures_per_row(cuts: int) -> int:
    """Say how many pictures a row has on a page with so many cuts."""
    return max(2, min(PICTURES_PER_ROW, MOST_PICTURES // (_ROWS * max(cuts, 1))))


def without_threshold(column: Column, per_row: int) -> tuple[PictureRow, ...]:
    """Show the unlabelled images with the highest scores, which may be worth a label."""
    unlabelled = column.falling[column.codes[column.falling] == UNKNOWN]
    return _rows({"unlabelled_top": unlabelled}, column, per_row)


def around_threshold(
    column: Column, flagged: Flags, rank: int, per_row: int
) -> tuple[PictureRow, ...]:
    """Show what a threshold flags, what lies next to it, and its nearest mistakes.

    Parameters
    ----------
    column : Column
        The category.
    flagged : Bool[(n,)]
        What the threshold flags.
    rank : int
        Levels from here on are positive.
    per_row : int
        Most pictures in a row.

    Returns
    -------
    tuple of PictureRow
        Rows that have at least one picture.
    """
    above, below = _split(column.falling, flagged)
    codes = column.codes
    kinds: dict[Kind, Places] = {
        "top": above,
        "above": above[per_row:][::-1],
        "below": below,
        "missed": below[codes[below] >= rank],
        "false_flags": above[_negative(codes[above], rank)][::-1],
    }
    return _rows(kinds, column, per_row)


def in_bands(
    column: Column, bands: NDArray[np.int8], rank: int, per_row: int, *, seed: int
) -> tuple[PictureRow, ...]:
    """Show each band as chance draws it, and the nearest mistakes that nobody would review.

    Parameters
    ----------
    column : Column
        The category.
    bands : Int8[(n,)]
        The band of each image, see `clipcal.calibrate.decisions.columns.band_codes`.
    rank : int
        Levels from here on are positive.
    per_row : int
        Most pictures in a row.
    seed : int
        Of the draw.

    Returns
    -------
    tuple of PictureRow
        Rows that have at least one picture.
    """
    allow, review, block = (column.falling[bands[column.falling] == code] for code in range(3))
    rng = np.random.default_rng([abs(seed), rank])
    parts: dict[Kind, Places] = {"block": block, "review": review, "allow": allow}
    drawn: dict[Kind, Places] = {k: _draw(p, per_row, rng) for k, p in parts.items()}
    mistakes: dict[Kind, Places] = {
        "allowed_positives": allow[column.codes[allow] >= rank],
        "blocked_negatives": block[_negative(column.codes[block], rank)][::-1],
    }
    return tuple(
        PictureRow(row.kind, row.pictures, len({**parts, **mistakes}[row.kind]))
        for row in _rows({**drawn, **mistakes}, column, per_row)
    )


def _split(falling: Places, flagged: Flags) -> tuple[Places, Places]:
    """Part the places by falling score into those flagged and the rest."""
    flags = int(np.count_nonzero(flagged))
    return falling[:flags], falling[flags:]


def _negative(codes: NDArray[np.int8], rank: int) -> Flags:
    negative: Flags = (codes != UNKNOWN) & (codes < rank)
    return negative


def _draw(places: Places, most: int, rng: np.random.Generator) -> Places:
    """Draw some places at random, in the order in which they stand."""
    if len(places) <= most:
        return places
    chosen: Places = places[np.sort(rng.choice(len(places), most, replace=False))]
    return chosen


def _rows(kinds: Mapping[Kind, Places], column: Column, per_row: int) -> tuple[PictureRow, ...]:
    return tuple(
        PictureRow(kind, tuple(_shown(column, int(p)) for p in places[:per_row]), len(places))
        for kind, places in kinds.items()
        if len(places)
    )


def _shown(column: Column, place: int) -> Shown:
    code = int(column.codes[place])
    return Shown(
        uri=column.scored.uris[place],
        sha256=column.scored.sha256s[place],
        row=int(column.scored.rows[place]),
        score=float(column.scores[place]),
        label=None if code == UNKNOWN else column.levels[code],
    )
