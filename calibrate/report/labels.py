"""The labels that a report shows: what the corpus knows now, beside what was calibrated with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import SOURCE, PoolLabels, majority_of, pool_labels, table_of
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.table import UNKNOWN, LabelTable
from clipcal.calibrate.labels.voices import FILE
from clipcal.calibrate.report.column import Labels
from clipcal.calibrate.sampling.design import sample_design
from clipcal.index.chosen import chosen_rows
from clipcal.index.judgements import history
from clipcal.index.roster import roster
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Where labels come from, and which of them count in nothing.

    Attributes
    ----------
    filed, judged : int
        Labels that came with a file and that nobody has judged since, and labels that raters gave
        in the review, over HTTP or by import.
    raters : tuple of str
        Who gave the latter, by name.
    changed : bool
        Whether labels are known to be others than those that the calibration was fitted to.
    differing : dict of str to int
        Of how many images they are, by category, as far as that is known.
    uncounted : dict of str to (tuple of int)
        By category, rows of the embeddings: people saw these images for their scores, and no
        draw has taken them in.
    notes : tuple of str
        What is known of labels and not shown.
    """

    filed: int = 0
    judged: int = 0
    raters: tuple[str, ...] = ()
    changed: bool = False
    differing: Mapping[str, int] = field(default_factory=dict)
    uncounted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def labels_now(
    corpus: Corpus, categories: Sequence[str], contract: Contract
) -> tuple[Labels, LabelSource]:
    """Read what a corpus knows of labels, as calibrating again would.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    categories : sequence of str
        The prompt set's.
    contract : Contract
        The calibration that is reported on; it names the levels.

    Returns
    -------
    labels : dict of str to (dict of str to str)
        Uri → category → level, several raters' labels as one.
    source : LabelSource
        What is known of them.
    """
    ids, rows = roster(corpus)
    found = pool_labels(corpus, categories, contract.levels, ids=ids)
    table = table_of(found)
    labels = _by_uri(found, table)
    changed, differing = _compared(corpus, found, table, labels, contract)
    raters = [rater for _, _, rater, _, _ in found.labels if rater != FILE]
    return labels, LabelSource(
        filed=len(found.labels) - len(raters),
        judged=len(raters),
        raters=tuple(sorted(set(raters))),
        changed=changed,
        differing=differing,
        uncounted=_uncounted(corpus, table, rows[found.places], np.unique(rows)),
        notes=found.notes,
    )


def _by_uri(found: PoolLabels, table: LabelTable) -> dict[str, dict[str, str]]:
    return {found.uris[item]: row for item, row in majority_of(found, table).items() if row}


def _compared(
    corpus: Corpus, found: PoolLabels, table: LabelTable, labels: Labels, contract: Contract
) -> tuple[bool, dict[str, int]]:
    """Tell whether labels are others than those fitted to, and of how many images by category.

    A calibration from the pool has the pool's hash. Where one has a file's, the corpus has kept
    the file's labels, and what was judged otherwise differs.
    """
    if table.sha256 == contract.labels.sha256:
        return False, {}
    if contract.labels.name == SOURCE:
        return True, _judged_since(corpus, found, contract.created)
    differing = _judged_otherwise(corpus, found, labels)
    return bool(differing), differing


def _judged_since(corpus: Corpus, found: PoolLabels, created: str) -> dict[str, int]:
    """Count the images of which somebody said or undid something since a moment."""
    then = datetime.fromisoformat(created)
    cells = {
        (one.item, name_key(one.category))
        for one in history(corpus, limit=-1)
        if datetime.fromisoformat(one.undone or one.given) >= then
    }
    return _by_category(found, (category for _, category in cells))


def _judged_otherwise(corpus: Corpus, found: PoolLabels, labels: Labels) -> dict[str, int]:
    """Count the images of which raters say what the file does not."""
    filed = corpus.labels()
    cells = {(item, column) for item, column, rater, _, _ in found.labels if rater != FILE}
    named = ((found.uris[item], found.categories[column]) for item, column in cells)
    return _by_category(
        found,
        (
            name_key(category)
            for uri, category in named
            if labels[uri].get(category) != filed.get(uri, {}).get(category)
        ),
    )


def _by_category(found: PoolLabels, keys: Iterable[str]) -> dict[str, int]:
    counted = Counter(keys)
    return {name: counted[name_key(name)] for name in found.categories if counted[name_key(name)]}


def _uncounted(
    corpus: Corpus, table: LabelTable, rows: Rows, live: Rows
) -> dict[str, tuple[int, ...]]:
    """Find the labels of images that were chosen for their scores, as `backing_of` does.

    Parameters
    ----------
    rows : Int64[(images,)]
        Of the table's images.
    live : Int64[(N,)]
        Of the corpus, ascending.
    """
    uncounted = {}
    for column, category in enumerate(table.categories):
        labelled = np.unique(rows[table.values[:, column] != UNKNOWN])
        chosen = np.isin(labelled, chosen_rows(corpus, category))
        if chosen.any():
            design = sample_design(corpus, labelled, category, live=live)
            uncounted[category] = tuple(labelled[chosen & (design.weights == 0)].tolist())
    return uncounted
