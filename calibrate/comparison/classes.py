"""One class per image, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clipcal.calibrate.comparison.records import ClassAgreement, Comparison, Confusion
from clipcal.calibrate.comparison.said import differences_of, once, telling, words_that_differ
from clipcal.calibrate.comparison.sides import Codes, Pairs, Side, nothing_to_compare
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.words import UNKNOWN
from clipcal.calibrate.statistics.agreement.kappa import pair_agreement
from clipcal.calibrate.statistics.bounds import wilson


def compare_classes(ours: Side, theirs: Side, pairs: Pairs, seed: int) -> Comparison:
    """Compare the class of each image.

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
        Of kind ``classes``.

    Raises
    ------
    LabelError
        If no image has a class in both.
    """
    names, a, b = _on_one_list(ours, theirs, pairs)
    known = (a >= 0) & (b >= 0)
    if not known.any():
        raise nothing_to_compare(ours, theirs)
    written: list[str | None] = [*names, None]  # -1 is the last
    verdicts = [(written[i], written[j]) for i, j in zip(a.tolist(), b.tolist(), strict=True)]
    said = words_that_differ(known[:, None], a[:, None], b[:, None], names)
    a, b = a[known], b[known]
    accuracy, kappa = pair_agreement(a, b, len(names), None, seed=seed)
    classes = dict(zip(names, _classes(a, b, len(names)), strict=True))
    blank = int((~known).sum())
    notes = (f"{blank} images have no class in one of the files.",) if blank else ()
    return Comparison(
        kind="classes",
        images=tuple(differences_of(ours, pairs, ["class"], said, verdicts)),
        dimensions=classes,
        accuracy=accuracy,
        kappa=telling(kappa, a, b),
        overall_agreement=None,
        confusions=tuple(_confusions(a, b, names)),
        worst=_worst(classes),
        unmatched=pairs.unmatched,
        ambiguous=pairs.ambiguous,
        only_predicted=pairs.only_predicted,
        notes=once(*ours.reading.notes, *theirs.reading.notes, *notes),
    )


def _on_one_list(ours: Side, theirs: Side, pairs: Pairs) -> tuple[list[str], Codes, Codes]:
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
