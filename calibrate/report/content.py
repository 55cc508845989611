"""What the report page shows, computed from scores and labels; no markup and no files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract, Cut, HeldOut
from clipcal.calibrate.corpus_scores import CorpusScores
from clipcal.calibrate.fit import level_phrase, merge_copies
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.scores import decide
from clipcal.errors import CalibrationError

BINS = 48
PICTURES_PER_ROW = 6
# Keeps the page at a few megabytes however many categories and levels there are.
MOST_PICTURES = 400

Codes = NDArray[np.int8]  # (n, c), index into the levels, -1 where unknown
Labels = Mapping[str, Mapping[str, str]]  # uri → category → level
Kind = Literal["top", "above", "below", "missed", "false_flags", "unlabelled_top"]


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
        flagged, both from the threshold away. ``unlabelled_top``: not labelled, from the
        highest score down, where there is no threshold.
    pictures : tuple of Shown
        The first of them.
    total : int
        How many there are.
    """

    kind: Kind
    pictures: tuple[Shown, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labelled images by label and decision; exact copies count once."""

    hits: int
    misses: int
    false_flags: int
    passed: int

    @property
    def positives(self) -> int:
        """Images that raters call positive."""
        return self.hits + self.misses

    @property
    def n(self) -> int:
        """All labelled images."""
        return self.hits + self.misses + self.false_flags + self.passed


@dataclass(frozen=True, slots=True)
class CutReport:
    """One category and level.

    Attributes
    ----------
    level : str
        The level.
    phrase : str
        How to call it beside the category: empty for yes or no, else the level, with "or
        above" where there is one above.
    cut : Cut
        From the contract.
    held : HeldOut or None
        How it did on the images kept out.
    flags : int or None
        Images of the corpus that it flags now; None without a threshold.
    confusion : Confusion or None
        On every labelled image in the corpus; None without a threshold.
    pictures : tuple of PictureRow
        Rows that have at least one picture.
    """

    level: str
    phrase: str
    cut: Cut
    held: HeldOut | None
    flags: int | None
    confusion: Confusion | None
    pictures: tuple[PictureRow, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """How many images of one group fall into each bin of a histogram."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of one category in bins of equal width from `low` to `high`.

    Attributes
    ----------
    low, high : float
        Ends of the axis; every score and threshold lies between them.
    bands : tuple of Band
        The corpus first, then the labelled images of each level, the highest level first.
    thresholds : tuple of (str, float)
        Phrase and threshold of each cut that has one.
    """

    low: float
    high: float
    bands: tuple[Band, ...]
    thresholds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """One category: its cuts from the lowest level up, and its histogram if it has a cut."""

    name: str
    histogram: Histogram | None
    cuts: tuple[CutReport, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows.

    Attributes
    ----------
    contract : Contract
        The calibration.
    images : int
        Embedded images of the corpus.
    unreadable : int
        Images of the corpus that could not be embedded.
    labelled : int
        Images with a label in one of the contract's categories; exact copies count once.
    other_labels : tuple of str
        Names of the cuts for which the labels kept with the corpus are not as many as those
        that the contract counted.
    categories : tuple of CategoryReport
        In the contract's order.
    """

    contract: Contract
    images: int
    unreadable: int
    labelled: int
    other_labels: tuple[str, ...]
    categories: tuple[CategoryReport, ...]

    def shown(self) -> Iterator[Shown]:
        """Every picture on the page, as often as it is there."""
        for category in self.categories:
            for cut in category.cuts:
                for row in cut.pictures:
                    yield from row.pictures


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """One category over the corpus.

    Attributes
    ----------
    scores, codes : Float32[(n,)], Int8[(n,)]
        Every image.
    sample, sample_codes : Float32[(m,)], Int8[(m,)]
        Images with a label, exact copies once.
    """

    scored: CorpusScores
    levels: tuple[str, ...]
    scores: NDArray[np.float32]
    codes: Codes
    sample: NDArray[np.float32]
    sample_codes: Codes


def build_report(
    scored: CorpusScores, labels: Labels, contract: Contract, *, unreadable: int = 0
) -> Report:
    """Put together what the page shows.

    Parameters
    ----------
    scored : CorpusScores
        Scores of the corpus under the contract.
    labels : mapping of str to (mapping of str to str)
        The labels kept with the corpus, as uri → category → level.
    contract : Contract
        The calibration.
    unreadable : int
        Images of the corpus that could not be embedded.

    Returns
    -------
    Report
        Flags and confusion are counted anew with `decide`; estimates and guarantees are the
        contract's.

    Raises
    ------
    CalibrationError
        If a label's level is none of the contract's.
    """
    names = tuple(contract.categories)
    codes = _codes(scored, labels, names, contract.levels)
    labelled = np.flatnonzero((codes != UNKNOWN).any(axis=1))
    first, merged, _ = merge_copies(codes[labelled], scored.rows[labelled])
    per_row = _pictures_per_row(sum(len(cuts) for cuts in contract.categories.values()))
    categories = []
    for number, name in enumerate(names):
        scores = scored.column(name)
        known = merged[:, number] != UNKNOWN
        column = _Column(
            scored,
            contract.levels,
            scores,
            codes[:, number],
            scores[labelled[first[known]]],
            merged[known, number],
        )
        categories.append(_category(name, column, contract, per_row))
    return Report(
        contract=contract,
        images=len(scored.uris),
        unreadable=unreadable,
        labelled=len(first),
        other_labels=_other_labels(categories),
        categories=tuple(categories),
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


def _pictures_per_row(cuts: int) -> int:
    return max(2, min(PICTURES_PER_ROW, MOST_PICTURES // (5 * max(cuts, 1))))


def _category(name: str, column: _Column, contract: Contract, per_row: int) -> CategoryReport:
    cuts = tuple(
        _cut(name, level, cut, column, contract, per_row)
        for level, cut in contract.categories[name].items()
    )
    decided = any(cut.cut.threshold is not None for cut in cuts)
    return CategoryReport(name, _histogram(column, cuts) if decided else None, cuts)


def _cut(
    category: str, level: str, cut: Cut, column: _Column, contract: Contract, per_row: int
) -> CutReport:
    rank = column.levels.index(level)
    holdout = contract.holdout
    held = holdout.categories.get(category, {}).get(level) if holdout else None
    phrase = level_phrase(column.levels, rank) or ""
    if cut.threshold is None:
        rows = _rows({"unlabelled_top": _unlabelled(column)}, column, per_row)
        return CutReport(level, phrase, cut, held, None, None, rows)
    flagged = decide(column.scores, cut.threshold)
    rows = _rows(_kinds(column, flagged, rank, per_row), column, per_row)
    confusion = _confusion(decide(column.sample, cut.threshold), column.sample_codes >= rank)
    flags = int(np.count_nonzero(flagged))
    return CutReport(level, phrase, cut, held, flags, confusion, rows)


def _confusion(flagged: NDArray[np.bool_], positive: NDArray[np.bool_]) -> Confusion:
    return Confusion(
        hits=int(np.count_nonzero(flagged & positive)),
        misses=int(np.count_nonzero(~flagged & positive)),
        false_flags=int(np.count_nonzero(flagged & ~positive)),
        passed=int(np.count_nonzero(~flagged & ~positive)),
    )


def _unlabelled(column: _Column) -> NDArray[np.intp]:
    """Places of the images without a label, by falling score."""
    order = _falling(column.scores)
    unlabelled: NDArray[np.intp] = order[column.codes[order] == UNKNOWN]
    return unlabelled


def _falling(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Places by falling score; of equal ones the first in the corpus comes first."""
    return np.argsort(-scores, kind="stable")


def _kinds(
    column: _Column, flagged: NDArray[np.bool_], rank: int, per_row: int
) -> dict[Kind, NDArray[np.intp]]:
    """Places of the images of each kind, in the order in which they are to be shown."""
    falling = _falling(column.scores)
    flags = int(np.count_nonzero(flagged))
    above, below = falling[:flags], falling[flags:]
    codes = column.codes
    return {
        "top": above,
        "above": above[per_row:][::-1],
        "below": below,
        "missed": below[codes[below] >= rank],
        "false_flags": above[(codes[above] != UNKNOWN) & (codes[above] < rank)][::-1],
    }


def _rows(
    kinds: Mapping[Kind, NDArray[np.intp]], column: _Column, per_row: int
) -> tuple[PictureRow, ...]:
    return tuple(
        PictureRow(kind, tuple(_shown(column, int(p)) for p in places[:per_row]), len(places))
        for kind, places in kinds.items()
        if len(places)
    )


def _shown(column: _Column, place: int) -> Shown:
    code = int(column.codes[place])
    return Shown(
        uri=column.scored.uris[place],
        sha256=column.scored.sha256s[place],
        row=int(column.scored.rows[place]),
        score=float(column.scores[place]),
        label=None if code == UNKNOWN else column.levels[code],
    )


def _histogram(column: _Column, cuts: Sequence[CutReport]) -> Histogram:
    thresholds = tuple((c.phrase, c.cut.threshold) for c in cuts if c.cut.threshold is not None)
    values = [float(column.scores.min()), float(column.scores.max()), *(t for _, t in thresholds)]
    low, high = min(values), max(values)
    # A little air: no threshold lies on the edge, and equal scores still have an axis.
    air = 0.02 * (high - low) or 0.001
    low, high = low - air, high + air

    def counts(scores: NDArray[np.float32]) -> tuple[int, ...]:
        return tuple(np.histogram(scores, bins=BINS, range=(low, high))[0].tolist())

    labelled = [
        Band(f"Labelled {level}", counts(column.sample[column.sample_codes == rank]))
        for rank, level in reversed(list(enumerate(column.levels)))
    ]
    bands = (Band("All images", counts(column.scores)), *labelled)
    return Histogram(low, high, bands, thresholds)


def _other_labels(categories: Sequence[CategoryReport]) -> tuple[str, ...]:
    """Name the cuts whose labels in the corpus are not as many as the contract counted."""
    return tuple(
        f"{category.name} {cut.phrase}".strip()
        for category in categories
        for cut in category.cuts
        if cut.confusion is not None and (cut.confusion.n, cut.confusion.positives) != _counted(cut)
    )


def _counted(cut: CutReport) -> tuple[int, int]:
    held = (cut.held.n, cut.held.positives) if cut.held else (0, 0)
    return cut.cut.n + held[0], cut.cut.positives + held[1]
