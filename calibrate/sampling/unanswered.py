"""What was drawn or asked about without a label: what waits, is blank, or was taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.labels.scale import unread_rows
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.sampling.design import SampleDesign, backing_blanks, missing_beside_chosen
from clipcal.calibrate.sampling.history import union, without
from clipcal.calibrate.sampling.left_blank import left_blank
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.index.chosen import taken_back_rows
from clipcal.index.names import name_key
from clipcal.index.store import Corpus


@dataclass(frozen=True, slots=True, eq=False)
class Unanswered:
    """Contents that have or had no answer in a category, whatever is known of them now.

    Attributes
    ----------
    left_blank : dict
        By category what the sheets left blank that were calibrated with before.
    taken_back : dict
        By category that of which a rater took a label back.
    unread : dict
        By category that of which something is said in other levels than those of the labels.
    """

    left_blank: dict[str, Int64]
    taken_back: dict[str, Int64]
    unread: dict[str, Int64]

    @classmethod
    def of(cls, corpus: Corpus, categories: Sequence[str], levels: Sequence[str]) -> Unanswered:
        """Read what a corpus knows of it, for each of the categories, in these levels."""
        blank, nothing = left_blank(corpus), np.empty(0, np.int64)
        return cls(
            {name: blank.get(name_key(name), nothing) for name in categories},
            {name: taken_back_rows(corpus, name) for name in categories},
            {name: unread_rows(corpus, name, levels) for name in categories},
        )


@dataclass(frozen=True, slots=True)
class Lost:
    """How many of the blanks of a category had a label.

    Attributes
    ----------
    withdrawn : int
        It was taken back.
    unread : int
        It is in other levels.
    """

    withdrawn: int = 0
    unread: int = 0


def asked_cells(sample: Sample) -> NDArray[np.bool_]:
    """Return in which categories somebody was asked about each image: Bool[(n, c)]."""
    return np.ones(sample.values.shape, np.bool_) if sample.asked is None else sample.asked


def with_blanks(
    corpus: Corpus,
    scored: CorpusScores,
    sample: Sample,
    live: Int64,
    chosen_on: Int64,
    before: Unanswered,
) -> tuple[Sample, tuple[str, ...], dict[str, Lost]]:
    """Count what would back a guarantee and has no label, category by category.

    That is what was drawn at random and somebody was asked about without giving a label, now or
    `before`; what had a label that was taken back, or is listed without one since what is said of
    it is in other levels; and in some categories, which are returned too, also what nobody was
    asked about, because other images of the draw have labels for their scores. Returned as well is
    how many of these had a label.
    """
    rows, asked = scored.rows[sample.places], asked_cells(sample)
    blanks, unlisted = np.zeros(len(scored.categories), np.int64), list[str]()
    lost: dict[str, Lost] = {}
    for column, category in enumerate(scored.categories):
        unknown = sample.values[:, column] == UNKNOWN
        if unknown.all():  # the files have no such category
            continue
        missing = missing_beside_chosen(corpus, rows[~unknown], category, live)
        if len(missing):
            unlisted.append(category)
        listed = rows[unknown & asked[:, column]]
        unread = np.intersect1d(listed, before.unread[category])
        answered = union(rows[~unknown], chosen_on)
        gone = without(union(before.taken_back[category], unread), answered)
        blank = without(union(listed, before.left_blank[category], missing), answered)
        found = backing_blanks(corpus, blank, gone, category, live)
        foreign = int(np.isin(found, unread).sum())
        blanks[column] = len(found)
        lost[category] = Lost(int(np.isin(found, gone).sum()) - foreign, foreign)
    return replace(sample, blanks=blanks), tuple(unlisted), lost


def on_waiting(
    sample: Sample, designs: Mapping[str, SampleDesign], labels: str, unlisted: Sequence[str]
) -> Iterator[str]:
    """Warn of audit images that nobody was asked about yet, once for categories alike in them.

    In `unlisted` categories they count as blanks; in those without any label nothing is promised.
    """
    labelled = (sample.values != UNKNOWN).any(axis=0).tolist()
    alike: dict[tuple[int, bytes], list[str]] = {}
    for (category, design), has_labels in zip(designs.items(), labelled, strict=True):
        if has_labels and len(design.waiting) and category not in unlisted:
            alike.setdefault((design.drawn, design.waiting.tobytes()), []).append(category)
    for (drawn, _), names in alike.items():
        waiting = len(designs[names[0]].waiting)
        where = "" if len(names) == len(designs) else f" in {', '.join(map(repr, names))}"
        yield (
            f"{waiting:,} of {drawn:,} images of the audit sample are not labelled yet{where}; "
            f"guarantees take it that what they show had no part in that. Label them, on the "
            f"review page or in a file, then run: clipcal calibrate --labels {labels}"
        )


def on_blanks(
    sample: Sample,
    categories: Sequence[str],
    labels: str,
    unlisted: Sequence[str],
    lost: Mapping[str, Lost],
) -> Iterator[str]:
    """Warn of blanks, which a guarantee takes at their worst, and how many of them had a label."""
    for category, blanks in zip(categories, sample.blanks.tolist(), strict=True):
        had = lost.get(category, Lost())
        gone, unread = had.withdrawn, had.unread
        where = (
            f"have no label in '{category}', while others of it were labelled for their scores"
            if category in unlisted
            else f"are listed without a label in '{category}'"
        )
        facts = (
            (blanks - gone - unread, f"images of the audit sample {where}"),
            (gone, f"images have no label in '{category}' any more, since it was taken back"),
            (unread, f"images have a label in '{category}' only in levels that are not read"),
        )
        for count, fact in facts:
            if count:
                yield (
                    f"{count:,} {fact}: guarantees take each for a miss and for a false flag, and "
                    f"estimates do without them. Label them, then run: "
                    f"clipcal calibrate --labels {labels}"
                )
