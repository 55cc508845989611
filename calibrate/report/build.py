"""Compute what the report shows from a contract, scores and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.fit import level_phrase
from clipcal.calibrate.decisions.columns import band_codes
from clipcal.calibrate.decisions.rescore import UNDECIDED, decisions
from clipcal.calibrate.records import Cut, Evaluation, HeldOut
from clipcal.calibrate.report.column import Column, Labelled, Labels, columns, gather_labels
from clipcal.calibrate.report.content import (
    BANDS,
    BandCount,
    CategoryReport,
    Confusion,
    CutReport,
    LevelTable,
    Report,
)
from clipcal.calibrate.report.curves import Costs, Curves, threshold_curves
from clipcal.calibrate.report.histogram import count_histogram, limits_of
from clipcal.calibrate.report.labels import LabelSource
from clipcal.calibrate.report.pictures import (
    PictureRow,
    around_threshold,
    in_bands,
    pictures_per_row,
    without_threshold,
)
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.scores import decide

USUAL_COSTS = (Costs(1, 1), Costs(5, 1), Costs(10, 1))

Flags = NDArray[np.bool_]  # (n,)


def build_report(
    scored: CorpusScores,
    labels: Labels,
    contract: Contract,
    *,
    unreadable: int = 0,
    source: LabelSource | None = None,
) -> Report:
    """Put together what the page shows.

    Parameters
    ----------
    scored : CorpusScores
        Scores of the corpus under the contract.
    labels : mapping of str to (mapping of str to str)
        What is known of the corpus's images, as uri → category → level.
    contract : Contract
        The calibration.
    unreadable : int
        Images of the corpus that could not be embedded.
    source : LabelSource, optional
        Where the labels come from, as `labels_now` tells it; by default all count, and came with
        a file.

    Returns
    -------
    Report
        Flags, confusion and curves are counted anew with `decide`; estimates and guarantees
        are the contract's.

    Raises
    ------
    CalibrationError
        If a label's level is none of the contract's.
    """
    source = source or LabelSource(filed=sum(map(len, labels.values())))
    labelled = gather_labels(scored, labels, contract, source.uncounted)
    per_row = pictures_per_row(sum(len(cuts) for cuts in contract.categories.values()))
    tables = _level_tables(scored, labelled, contract)
    categories = tuple(
        _category(column, contract, table, per_row)
        for column, table in zip(columns(scored, labelled, contract), tables, strict=True)
    )
    return Report(
        contract=contract,
        images=len(scored.uris),
        unreadable=unreadable,
        labelled=len(labelled.places),
        source=source,
        other_labels=_other_labels(categories, contract),
        other_flags=_other_flags(categories),
        categories=categories,
    )


def costs_of(objective: str) -> tuple[Costs, ...]:
    """Return the costs that a cut was fitted to, or some usual ones where it was not."""
    kind, _, value = objective.partition("=")
    if kind != "cost":
        return USUAL_COSTS
    miss, _, false_flag = value.partition(":")
    return (Costs(float(miss), float(false_flag)),)


def _category(
    column: Column, contract: Contract, table: LevelTable | None, per_row: int
) -> CategoryReport:
    cuts = tuple(
        _cut(column, level, cut, contract, per_row)
        for level, cut in contract.categories[column.name].items()
    )
    histogram = count_histogram(column, [(part.phrase, part.cut) for part in cuts])
    return CategoryReport(column.name, histogram, table if histogram else None, cuts)


def _cut(column: Column, level: str, cut: Cut, contract: Contract, per_row: int) -> CutReport:
    rank = column.levels.index(level)
    phrase = level_phrase(column.levels, rank) or ""
    report = CutReport(
        level=level,
        phrase=phrase,
        cut=cut,
        limits=tuple(limits_of(phrase, cut)),
        held=_held(contract.holdout, column.name, level),
        crossed=_held(contract.crossfit, column.name, level),
        bands=_bands(column, cut, rank) if cut.bands else (),
    )
    if cut.threshold is None:
        return replace(report, pictures=without_threshold(column, per_row))
    flagged = decide(column.scores, cut.threshold)
    return replace(
        report,
        flags=int(np.count_nonzero(flagged)),
        confusion=_confusion(decide(column.sample, cut.threshold), column.sample_codes >= rank),
        curves=_curves(column, cut, rank, contract.confidence),
        pictures=_pictures(column, cut, flagged, rank, per_row, seed=contract.seed),
    )


def _pictures(
    column: Column, cut: Cut, flagged: Flags, rank: int, per_row: int, *, seed: int
) -> tuple[PictureRow, ...]:
    if cut.bands is None:
        return around_threshold(column, flagged, rank, per_row)
    return in_bands(column, band_codes(column.scores, cut), rank, per_row, seed=seed)


def _held(evaluation: Evaluation | None, category: str, level: str) -> HeldOut | None:
    return evaluation.categories.get(category, {}).get(level) if evaluation else None


def _confusion(flagged: Flags, positive: Flags) -> Confusion:
    return Confusion(
        hits=int(np.count_nonzero(flagged & positive)),
        misses=int(np.count_nonzero(~flagged & positive)),
        false_flags=int(np.count_nonzero(flagged & ~positive)),
        passed=int(np.count_nonzero(~flagged & ~positive)),
    )


def _curves(column: Column, cut: Cut, rank: int, confidence: float) -> Curves | None:
    return threshold_curves(
        column.sample,
        column.sample_codes >= rank,
        costs_of(cut.objective),
        chosen=[limit.value for limit in limits_of("", cut)],
        confidence=confidence,
    )


def _bands(column: Column, cut: Cut, rank: int) -> tuple[BandCount, ...]:
    """Count each band in the corpus and among the labelled images."""
    positive = column.sample_codes >= rank
    corpus, sample = band_codes(column.scores, cut), band_codes(column.sample, cut)
    return tuple(
        BandCount(
            name,
            images=int(np.count_nonzero(corpus == code)),
            positives=int(np.count_nonzero(positive[sample == code])),
            negatives=int(np.count_nonzero(~positive[sample == code])),
        )
        for code, name in enumerate(BANDS)
    )


def _level_tables(
    scored: CorpusScores, labelled: Labelled, contract: Contract
) -> list[LevelTable | None]:
    """Compare the levels that the thresholds give with the labels, category by category."""
    names = tuple(contract.categories)
    if len(contract.levels) == 2:
        return [None] * len(names)
    order = [scored.categories.index(name) for name in names]
    decided = decisions(scored.scores[labelled.places][:, order], names, contract).values
    return [
        _level_table(labelled.merged[:, number], decided[:, number], contract.levels)
        for number in range(len(names))
    ]


def _level_table(
    codes: NDArray[np.int8], decided: NDArray[np.int8], levels: tuple[str, ...]
) -> LevelTable:
    # The last column is that of the undecided, whose code is -1.
    counts = np.zeros((len(levels), len(levels) + 1), int)
    known = codes >= 0
    np.add.at(counts, (codes[known], decided[known]), 1)
    names = levels
    if counts[:, UNDECIDED].any():
        names = (*levels, "undecided")
    return LevelTable(names, levels, tuple(tuple(row[: len(names)]) for row in counts.tolist()))


def _other_labels(categories: Sequence[CategoryReport], contract: Contract) -> tuple[str, ...]:
    """Name the cuts whose labels in the corpus are not as many as the contract counted."""
    return tuple(
        f"{category.name} {part.phrase}".strip()
        for category in categories
        for part in category.cuts
        if part.confusion is not None and not _as_counted(part, part.confusion, contract)
    )


def _as_counted(part: CutReport, confusion: Confusion, contract: Contract) -> bool:
    held = (part.held.n, part.held.positives) if part.held else (0, 0)
    n, positives = part.cut.n + held[0], part.cut.positives + held[1]
    if contract.comparisons:  # the contract does not count the labels that were learned from
        return confusion.n >= n and confusion.positives >= positives
    return (confusion.n, confusion.positives) == (n, positives)


def _other_flags(categories: Sequence[CategoryReport]) -> tuple[str, ...]:
    """Name the cuts that flag another number of images than at calibration."""
    return tuple(
        f"{category.name} {cut.phrase}".strip()
        for category in categories
        for cut in category.cuts
        if cut.cut.flags is not None and cut.flags != cut.cut.flags
    )
