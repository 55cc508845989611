"""Two files of judgements of the same images, people's and a machine's, side by side.

The files hold either ratings (a level in each of several dimensions, and perhaps an overall
verdict) or one class per image. What both know is compared; what only one knows is listed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.comparison import (
    ClassAgreement,
    Comparison,
    Confusion,
    Difference,
    Dimension,
)
from clipcal.calibrate.labels.formats import class_column, interpret, read_class_column
from clipcal.calibrate.labels.frame import Reading
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.overall import OVERALL, overall_words
from clipcal.calibrate.labels.sheet import Sheet, name_key, read_sheet
from clipcal.calibrate.labels.words import BINARY, UNKNOWN
from clipcal.calibrate.statistics.agreement import cell_agreement, pair_agreement
from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.errors import LabelError
from clipcal.files import replacing

Codes = NDArray[np.int64]

PREDICTED_NAMES = ("predicted", "prediction", "clip")
_BESIDE_DECISIONS = ("_score", "_threshold")


def compare_files(
    human: Path,
    predicted: Path | None = None,
    *,
    human_column: str | None = None,
    predicted_column: str | None = None,
    levels: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare people's judgements of images with predicted ones.

    Images are matched between the files as those of label files are with a corpus: by path,
    by name, by stem. Of a file that ``clipcal rescore`` wrote, the decisions are compared.

    Parameters
    ----------
    human, predicted : pathlib.Path
        The files; without the second, both are columns of the first.
    human_column, predicted_column : str, optional
        The columns that hold the class of each image.
    levels : sequence of str
        Level names from low to high; empty means that the files decide.
    seed : int
        Of the draws for intervals.

    Returns
    -------
    Comparison
        Differences and agreement.

    Raises
    ------
    LabelError
        If a file cannot be read, or the two have no image or nothing about the images in
        common.
    """
    ours = _read(human, human_column, (), levels)
    usual = PREDICTED_NAMES if ours.reading.classes else ()
    theirs = _read(predicted or human, predicted_column, usual, levels)
    if predicted is None and theirs.column in (None, ours.column):
        raise LabelError(
            f"{human} holds one set of judgements, and two are compared. Name the other file, or "
            f"both columns: clipcal compare {human.name} --human COLUMN --predicted COLUMN"
        )
    paired = _paired(ours, theirs)
    if ours.reading.classes and theirs.reading.classes:
        return _compare_classes(ours, theirs, paired, seed)
    return _compare_ratings(*_on_one_scale(ours, theirs), paired, seed)


def write_differences(comparison: Comparison, path: Path) -> None:
    """Write the difference table as CSV in UTF-8, whole or not at all.

    The columns are ``image``, ``dimension``, ``human`` and ``predicted``; a row for each dimension
    in which an image differs, and one called ``overall`` where the overall verdicts do.

    Parameters
    ----------
    comparison : Comparison
        What to write.
    path : pathlib.Path
        The file; its folder must exist.

    Raises
    ------
    LabelError
        If it cannot be written.
    """
    try:
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["image", "dimension", "human", "predicted"])
            for one in comparison.images:
                writer.writerows((one.image, *said) for said in differences(one, comparison.kind))
    except OSError as error:
        raise LabelError(
            f"The differences cannot be written to {path} ({error.strerror}). Name a file in a "
            f"folder that can be written to: clipcal compare HUMAN.csv PREDICTED.csv -o FILE.csv"
        ) from error


def differences(image: Difference, kind: str = "ratings") -> list[tuple[str, str, str]]:
    """List in what an image differs: the dimension, what people say, and what is predicted.

    Parameters
    ----------
    image : Difference
        One image.
    kind : {"ratings", "classes"}
        As `Comparison` has it; of classes there is no verdict besides.

    Returns
    -------
    list of (str, str, str)
        The overall verdict, called ``overall``, is the last.
    """
    said = list(zip(image.mismatched, image.human, image.predicted, strict=True))
    if kind == "ratings" and image.overall_match is False:
        said.append((OVERALL, image.human_overall or "", image.predicted_overall or ""))
    return said


# --- reading --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two files.

    Attributes
    ----------
    sheet : Sheet
        The file.
    column : str or None
        The column of classes; None where the whole file was read.
    reading : Reading
        What it says of categories or classes.
    overall : tuple of (str or None) or None
        What it says overall.
    """

    sheet: Sheet
    column: str | None
    reading: Reading
    overall: tuple[str | None, ...] | None

    def classes(self) -> Codes:
        """Return the class of each image: Int64[(n,)]; -1 where unknown."""
        positive = self.reading.values == 1
        return np.where(positive.any(axis=1), positive.argmax(axis=1), UNKNOWN)


def _read(path: Path, column: str | None, names: Sequence[str], levels: Sequence[str]) -> _Side:
    sheet = _without_scores(read_sheet(Path(path)))
    column = column or class_column(sheet, names)
    if column is None:
        return _Side(sheet, None, interpret(sheet, None, levels), overall_words(sheet))
    return _Side(sheet, name_key(column), read_class_column(sheet, column), None)


def _without_scores(sheet: Sheet) -> Sheet:
    """Leave out the scores and thresholds that stand beside each decision."""
    beside = {name + end for name in sheet.header for end in _BESIDE_DECISIONS}
    kept = [i for i, name in enumerate(sheet.header) if name not in beside]
    return replace(
        sheet,
        header=tuple(sheet.header[i] for i in kept),
        columns=tuple(sheet.columns[i] for i in kept),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Which images of the two files are the same, as indices into each."""

    ours: Codes
    theirs: Codes
    unmatched: tuple[str, ...]
    ambiguous: tuple[str, ...]
    only_predicted: int


def _paired(ours: _Side, theirs: _Side) -> _Pairs:
    images, others = ours.reading.images, theirs.reading.images
    match = match_images(images, others, [""] * len(others))
    rows = match.rows.copy()
    # One predicted image for several of people's: only the one of that very name is sure.
    shared = np.bincount(rows[rows >= 0], minlength=len(others))[rows] > 1
    unsure = [i for i in np.flatnonzero((rows >= 0) & shared) if images[i] != others[rows[i]]]
    rows[unsure] = -1
    found = np.flatnonzero(rows >= 0)
    if not len(found):
        raise LabelError(
            f"{ours.sheet.path.name} and {theirs.sheet.path.name} have no image in common: the "
            f"first has {images[0]}, the other {others[0]}. Name images alike in both, then run: "
            f"clipcal compare {ours.sheet.path.name} {theirs.sheet.path.name}"
        )
    ambiguous = (*(image for image, _ in match.ambiguous), *(images[i] for i in unsure))
    return _Pairs(found, rows[found], match.unmatched, ambiguous, len(others) - len(found))


# --- ratings --------------------------------------------------------------------------------


def _on_one_scale(ours: _Side, theirs: _Side) -> tuple[_Side, _Side, tuple[str, ...]]:
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


def _alike(ours: _Side, theirs: _Side) -> bool:
    one, other = ours.reading.levels, theirs.reading.levels
    return tuple(map(str.casefold, one)) == tuple(map(str.casefold, other))


def _with_levels_of(side: _Side, other: _Side) -> _Side:
    """Read a file that says no and nothing else, or numbers, with the levels of the other."""
    if side.reading.levels != BINARY or side.reading.classes or other.reading.levels == BINARY:
        return side
    return replace(side, reading=interpret(side.sheet, None, other.reading.levels))


def _as_yes_or_no(side: _Side) -> _Side:
    values = np.minimum(side.reading.values, 1)
    return replace(side, reading=replace(side.reading, levels=BINARY, values=values))


def _compare_ratings(
    ours: _Side, theirs: _Side, assumed: tuple[str, ...], pairs: _Pairs, seed: int
) -> Comparison:
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
        raise _nothing_to_compare(ours, theirs)
    row, column = np.nonzero(known)
    accuracy, kappa = cell_agreement(row, a[row, column], b[row, column], len(levels), seed=seed)
    verdicts = _verdicts(ours, theirs, pairs)
    return Comparison(
        kind="ratings",
        images=tuple(_differences(ours, pairs, names, _words(known, a, b, levels), verdicts)),
        dimensions={
            name: _dimension(a[known[:, i], i], b[known[:, i], i], levels, seed)
            for i, name in enumerate(names)
        },
        accuracy=accuracy,
        kappa=_telling(kappa, a[known], b[known]),
        overall_agreement=_overall_agreement(verdicts),
        confusions=(),
        worst=None,
        unmatched=pairs.unmatched,
        ambiguous=pairs.ambiguous,
        only_predicted=pairs.only_predicted,
        notes=_once(*ours.reading.notes, *theirs.reading.notes, *assumed, *alone),
    )


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
    return Dimension(len(a), rate, _telling(kappa, a, b), levels, confusion)


def _telling(kappa: Estimate | None, a: Codes, b: Codes) -> Estimate | None:
    """Leave kappa out where a side that never varies makes it 0 in every sample."""
    return kappa if np.ptp(a) and np.ptp(b) else None


_Verdicts = list[tuple[str | None, str | None]]


def _verdicts(ours: _Side, theirs: _Side, pairs: _Pairs) -> _Verdicts:
    """Return the overall verdicts of each image; None where unknown."""
    sides = [(ours.overall, pairs.ours), (theirs.overall, pairs.theirs)]
    one, other = (
        [None if overall is None else overall[row] for row in rows.tolist()]
        for overall, rows in sides
    )
    return list(zip(one, other, strict=True))


def _same(human: str | None, predicted: str | None) -> bool | None:
    if human is None or predicted is None:
        return None
    return name_key(human) == name_key(predicted)


def _overall_agreement(verdicts: _Verdicts) -> Estimate | None:
    same = [match for match in (_same(*both) for both in verdicts) if match is not None]
    return wilson(sum(same), len(same)) if same else None


_Said = list[list[tuple[int, str, str]]]  # per image: which dimension, people's word, the other


def _words(known: NDArray[np.bool_], a: Codes, b: Codes, levels: Sequence[str]) -> _Said:
    """Return, of each image, in which dimensions (n, d) the levels differ, and what they are."""
    said: _Said = [[] for _ in a]
    for row, column in np.argwhere(known & (a != b)).tolist():
        said[row].append((column, levels[a[row, column]], levels[b[row, column]]))
    return said


def _differences(
    ours: _Side, pairs: _Pairs, names: Sequence[str], said: _Said, verdicts: _Verdicts
) -> Iterator[Difference]:
    for row, cells, both in zip(pairs.ours.tolist(), said, verdicts, strict=True):
        yield Difference(
            ours.reading.images[row],
            tuple(names[column] for column, _, _ in cells),
            tuple(human for _, human, _ in cells),
            tuple(predicted for _, _, predicted in cells),
            _same(*both),
            *both,
        )


# --- classes --------------------------------------------------------------------------------


def _compare_classes(ours: _Side, theirs: _Side, pairs: _Pairs, seed: int) -> Comparison:
    names, a, b = _on_one_list(ours, theirs, pairs)
    known = (a >= 0) & (b >= 0)
    if not known.any():
        raise _nothing_to_compare(ours, theirs)
    written: list[str | None] = [*names, None]  # -1 is the last
    verdicts = [(written[i], written[j]) for i, j in zip(a.tolist(), b.tolist(), strict=True)]
    said = _words(known[:, None], a[:, None], b[:, None], names)
    a, b = a[known], b[known]
    accuracy, kappa = pair_agreement(a, b, len(names), None, seed=seed)
    classes = dict(zip(names, _classes(a, b, len(names)), strict=True))
    blank = int((~known).sum())
    notes = (f"{blank} images have no class in one of the files.",) if blank else ()
    return Comparison(
        kind="classes",
        images=tuple(_differences(ours, pairs, ["class"], said, verdicts)),
        dimensions=classes,
        accuracy=accuracy,
        kappa=_telling(kappa, a, b),
        overall_agreement=None,
        confusions=tuple(_confusions(a, b, names)),
        worst=_worst(classes),
        unmatched=pairs.unmatched,
        ambiguous=pairs.ambiguous,
        only_predicted=pairs.only_predicted,
        notes=_once(*ours.reading.notes, *theirs.reading.notes, *notes),
    )


def _on_one_list(ours: _Side, theirs: _Side, pairs: _Pairs) -> tuple[list[str], Codes, Codes]:
    """Return the classes of both files, and each image's in either; -1 where unknown."""
    index: dict[str, int] = {}
    names: list[str] = []
    codes = []
    for side, rows in ((ours, pairs.ours), (theirs, pairs.theirs)):
        for name in side.reading.categories:
            if index.setdefault(name_key(name), len(names)) == len(names):
                names.append(name)
        place = [index[name_key(name)] for name in side.reading.categories]
        codes.append(np.array([*place, UNKNOWN], np.int64)[side.classes()[rows]])
    return names, codes[0], codes[1]


def _classes(a: Codes, b: Codes, count: int) -> Iterator[ClassAgreement]:
    """Yield each class in turn."""
    human, predicted = np.bincount(a, minlength=count), np.bincount(b, minlength=count)
    both = np.bincount(a[a == b], minlength=count)
    for n, flags, hits in zip(human.tolist(), predicted.tolist(), both.tolist(), strict=True):
        yield ClassAgreement(
            n,
            wilson(hits, n) if n else None,
            wilson(hits, flags) if flags else None,
            {
                "both": hits,
                "human_only": n - hits,
                "predicted_only": flags - hits,
                "neither": len(a) - n - flags + hits,
            },
        )


def _confusions(a: Codes, b: Codes, names: Sequence[str]) -> Iterator[Confusion]:
    """Yield what was taken for what, the most frequent first."""
    wrong = a != b
    cells, number = np.unique(a[wrong] * len(names) + b[wrong], return_counts=True)
    for place in np.argsort(-number, kind="stable").tolist():
        human, predicted = divmod(int(cells[place]), len(names))
        yield Confusion(names[human], names[predicted], int(number[place]))


def _worst(classes: dict[str, ClassAgreement]) -> str | None:
    """Return the class with the lowest recall, of several the one with most images."""
    recalls = {n: (c.agreement.value, -c.n) for n, c in classes.items() if c.agreement}
    return min(recalls, key=lambda name: recalls[name]) if recalls else None


def _once(*notes: str) -> tuple[str, ...]:
    """Leave out what both files give cause to note."""
    return tuple(dict.fromkeys(notes))


def _nothing_to_compare(ours: _Side, theirs: _Side) -> LabelError:
    return LabelError(
        f"{ours.sheet.path.name} and {theirs.sheet.path.name} have images in common, but no "
        f"label: where the one has an answer the other is blank. Fill in more, then run clipcal "
        f"compare again."
    )
