"""Fit a cut per category and level to a corpus's scores and a file of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Cut, Evaluation, HeldOut
from clipcal.calibrate.labels.table import UNKNOWN, LabelTable, Match
from clipcal.calibrate.scores import Scores, decide
from clipcal.calibrate.statistics.bounds import Estimate, wilson
from clipcal.calibrate.thresholds import (
    Subject,
    Target,
    describe,
    fit_threshold,
    measure,
    ratio,
)
from clipcal.errors import CalibrationError

Rows = NDArray[np.int64]

Cuts = dict[str, dict[str, Cut]]  # by category, then by level above the lowest, low to high


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """What was fitted, and how it did on what was kept out.

    Attributes
    ----------
    cuts : dict
        By category and by level above the lowest.
    levels : tuple of str
        From low to high.
    images : int
        Distinct labelled images that the corpus holds, those kept out included.
    holdout : Evaluation or None
        On the labelled images kept out.
    seed : int
        Of the split.
    notes : tuple of str
        What was merged or found contradictory.
    """

    cuts: Cuts
    levels: tuple[str, ...]
    images: int
    holdout: Evaluation | None
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Labelled images, each content once: their scores Float32[(n, c)] and Int8[(n, c)] labels."""

    scores: Scores
    values: NDArray[np.int8]

    def __getitem__(self, rows: Rows) -> _Sample:
        return _Sample(self.scores[rows], self.values[rows])

    def of(self, column: int, rank: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return scores, and who is at or above a level, where one category is labelled."""
        values = self.values[:, column]
        known = values != UNKNOWN
        return self.scores[known, column], values[known] >= rank


def fit(
    scores: Scores,
    categories: Sequence[str],
    table: LabelTable,
    match: Match,
    target: Target,
    confidence: float = 0.95,
    *,
    holdout: float = 0.0,
    seed: int = 0,
    groups: Rows | None = None,
    sentences: Mapping[str, str] | None = None,
) -> FitResult:
    """Fit a cut per category and level.

    An ordered level is fitted as a yes/no question: is the image at that level or above?
    Where the cuts then cross, the lower level's threshold is brought down to the higher one's,
    never the other way: a lower threshold flags all that the old one did, so that recall can
    only rise and a recall guarantee stays.

    Parameters
    ----------
    scores : Float32[(N, c)]
        Scores of the whole corpus.
    categories : sequence of str
        Names of the columns; those that `table` lacks get cuts without labels.
    table : LabelTable
        Labels.
    match : Match
        Where the labelled images are in the corpus.
    target : Target
        What each cut is to attain.
    confidence : float
        Of guarantees and intervals, in (0, 1).
    holdout : float
        Share of the labelled images that is kept out of the fit, in [0, 1).
    seed : int
        Of the split.
    groups : Int64[(N,)], optional
        Rows with equal content share a number. A group counts once, and is never split
        between fit and hold-out. Without it every row is a group.
    sentences : mapping of str to str, optional
        Per category what to search for, where no positive is labelled.

    Returns
    -------
    FitResult
        Cuts and evaluation.

    Raises
    ------
    CalibrationError
        If shapes differ, no labelled image is in the corpus, or the hold-out leaves none.
    """
    _check(scores, categories, table, match, holdout)
    sample, notes = _sample(scores, categories, table, match, groups)
    kept, out = _split(len(sample.scores), holdout, seed)
    cuts = {
        category: _fit_category(
            sample[kept],
            column,
            Subject(category, None, table.source, (sentences or {}).get(category, "")),
            table.levels,
            target=target,
            confidence=confidence,
        )
        for column, category in enumerate(categories)
    }
    evaluation = _evaluate(sample[out], cuts, confidence, holdout) if len(out) else None
    return FitResult(
        cuts=_with_flags(cuts, scores),
        levels=table.levels,
        images=len(sample.scores),
        holdout=evaluation,
        seed=seed,
        notes=notes,
    )


def _check(
    scores: Scores, categories: Sequence[str], table: LabelTable, match: Match, holdout: float
) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(categories):
        raise CalibrationError(
            f"There are scores of shape {scores.shape} for {len(categories)} categories. "
            f"Score the corpus again: clipcal score"
        )
    if not 0 <= holdout < 1:
        raise CalibrationError(
            f"The hold-out is {holdout:g}; it must be a share from 0 to below 1, as in: "
            f"clipcal calibrate --labels {table.source} --holdout 0.5"
        )
    if not (match.rows >= 0).any():
        raise CalibrationError(
            f"None of the {len(table.images)} images in {table.source} is in the corpus, such as "
            f"{table.images[0]}. Embed them: clipcal embed FOLDER, or correct the names in "
            f"{table.source}, then run: clipcal calibrate --labels {table.source}"
        )


def _sample(
    scores: Scores,
    categories: Sequence[str],
    table: LabelTable,
    match: Match,
    groups: Rows | None,
) -> tuple[_Sample, tuple[str, ...]]:
    """Gather the labelled images, exact copies as one; labels that then differ are unknown."""
    labelled = np.flatnonzero(match.rows >= 0)
    rows = match.rows[labelled]
    group = rows if groups is None else groups[rows]
    given = np.full((len(rows), len(categories)), UNKNOWN, np.int8)
    for column, category in enumerate(categories):
        if category in table.categories:
            given[:, column] = table.values[labelled, table.categories.index(category)]
    first, values, clashes = merge_copies(given, group)
    notes: list[str] = []
    if len(first) < len(rows):
        notes.append(f"{len(rows) - len(first)} labelled images are copies of others.")
    if clashes:
        notes.append(f"{clashes} labels differ between copies and are unknown.")
    return _Sample(scores[rows[first]], values), tuple(notes)


def merge_copies(
    values: NDArray[np.int8], groups: Rows
) -> tuple[NDArray[np.intp], NDArray[np.int8], int]:
    """Count the labels of each content once.

    Parameters
    ----------
    values : Int8[(n, c)]
        Levels, -1 where unknown.
    groups : Int64[(n,)]
        Equal for exact copies.

    Returns
    -------
    first : Int64[(m,)]
        Per distinct content, the place where it comes first.
    merged : Int8[(m, c)]
        Its labels; unknown where copies differ.
    clashes : int
        How many labels differ.
    """
    _, first, content = np.unique(groups, return_index=True, return_inverse=True)
    most = np.iinfo(np.int8).max
    low = np.full((len(first), values.shape[1]), most, np.int8)
    high = np.full_like(low, UNKNOWN)
    np.minimum.at(low, content, np.where(values == UNKNOWN, most, values))
    np.maximum.at(high, content, values)
    clash = (high != UNKNOWN) & (low != high)
    return first, np.where(clash, UNKNOWN, high).astype(np.int8), int(clash.sum())


def _split(n: int, holdout: float, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to fit to and the rows to keep out, at random."""
    order = np.random.default_rng(seed).permutation(n)
    out = round(holdout * n)
    if out == n or (holdout and not out):
        raise CalibrationError(
            f"A hold-out of {holdout:g} of {n} labelled images leaves one side empty. Label more "
            f"images, or do without: clipcal calibrate --holdout 0"
        )
    return np.sort(order[out:]), np.sort(order[:out])


def _fit_category(
    sample: _Sample,
    column: int,
    subject: Subject,
    levels: Sequence[str],
    *,
    target: Target,
    confidence: float,
) -> dict[str, Cut]:
    """Fit the levels of one category, from the highest down, so that the cuts stay in order."""
    cuts: dict[str, Cut] = {}
    ceiling: float | None = None
    for rank in range(len(levels) - 1, 0, -1):
        scores, positive = sample.of(column, rank)
        subject = replace(subject, level=level_phrase(levels, rank))
        cut = fit_threshold(scores, positive, target, confidence, subject)
        if ceiling is not None and cut.threshold is not None and cut.threshold > ceiling:
            lowered = cut.model_copy(update={"threshold": ceiling, "lowered": True})
            lowered = measure(lowered, scores, positive, confidence)
            cut = describe(lowered, target, confidence, subject)
        ceiling = ceiling if cut.threshold is None else cut.threshold
        cuts[levels[rank]] = cut
    return dict(reversed(cuts.items()))


def level_phrase(levels: Sequence[str], rank: int) -> str | None:
    """Say which levels count as positive at a rank; None for yes or no."""
    if len(levels) == 2:
        return None
    return levels[rank] if rank == len(levels) - 1 else f"{levels[rank]} or above"


def _with_flags(cuts: Cuts, scores: Scores) -> Cuts:
    """Count what each cut flags in the whole corpus."""

    def counted(cut: Cut, column: int) -> Cut:
        if cut.threshold is None:
            return cut
        flags = int(np.count_nonzero(decide(scores[:, column], cut.threshold)))
        return cut.model_copy(update={"flags": flags})

    return {
        category: {level: counted(cut, column) for level, cut in levels.items()}
        for column, (category, levels) in enumerate(cuts.items())
    }


def _evaluate(sample: _Sample, cuts: Cuts, confidence: float, holdout: float) -> Evaluation:
    """Compare the decisions of the cuts with labels that they were not fitted to."""
    held = {
        category: {
            level: _held_out(*sample.of(column, rank), cut, confidence)
            for rank, (level, cut) in enumerate(levels.items(), start=1)
        }
        for column, (category, levels) in enumerate(cuts.items())
    }
    f1 = [one.f1.value for levels in held.values() for one in levels.values() if one.f1]
    return Evaluation(
        fraction=holdout,
        images=len(sample.scores),
        clusters=len(sample.scores),
        macro_f1=float(np.mean(f1)) if f1 else None,
        macro_over=len(f1),
        categories=held,
    )


def _held_out(
    scores: NDArray[np.float32], positive: NDArray[np.bool_], cut: Cut, confidence: float
) -> HeldOut:
    flags = np.zeros_like(positive) if cut.threshold is None else decide(scores, cut.threshold)
    hits, flagged, positives = (int(x.sum()) for x in (flags & positive, flags, positive))
    decided = cut.threshold is not None
    return HeldOut(
        n=len(positive),
        positives=positives,
        flags=flagged,
        recall=ratio(hits, positives, confidence) if decided else None,
        precision=ratio(hits, flagged, confidence),
        f1=f1_estimate(hits, flagged, positives, confidence) if decided else None,
    )


def f1_estimate(hits: int, flags: int, positives: int, confidence: float) -> Estimate | None:
    r"""Return F1 with an interval.

    :math:`F_1 = 2J/(1+J)` grows with :math:`J = tp / (tp + fp + fn)`, the rate of hits among
    images that are flagged or positive. That is a binomial rate, so that the ends of its
    Wilson interval, put through the same function, are those of F1. The interval's `n` is the
    number of those images.

    Parameters
    ----------
    hits, flags, positives : int
        Flagged positives, flags, and positives.
    confidence : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate or None
        None where nothing is flagged or positive.
    """
    either = flags + positives - hits
    if either == 0:
        return None
    rate = wilson(hits, either, confidence)
    value, low, high = (2 * x / (1 + x) for x in (rate.value, rate.low, rate.high))
    return Estimate(value, low, high, either)
