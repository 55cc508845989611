"""From a corpus to the images and labels that a file is written from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.rescore import decisions
from clipcal.calibrate.labels.exchange.records import Picture, Predicted, Voice
from clipcal.calibrate.labels.pool import Names, PoolLabels, majority_of, pool_labels, table_of
from clipcal.calibrate.labels.voices import PoolLabel, level_of
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import LabelError
from clipcal.index.judgements import CHOSEN, Origin
from clipcal.index.reading import Reading
from clipcal.index.roster import roster
from clipcal.index.shards import Rows
from clipcal.index.texts import ItemTexts


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """What a file is written from.

    Attributes
    ----------
    pictures : tuple of Picture
        The images: in the order in which they were asked for, else by rising id.
    categories, levels : tuple of str
        Those of the labels.
    places : Int64[(n,)]
        Of each picture among the embedded items.
    labels : int
        How many labels raters and files gave them.
    notes : tuple of str
        What was left out.
    """

    pictures: tuple[Picture, ...]
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    places: Rows
    labels: int
    notes: tuple[str, ...]


def export(
    corpus: Reading,
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    names: Names,
    items: Mapping[int, Origin] | None = None,
) -> Export:
    """Gather images with their labels from the pool.

    Parameters
    ----------
    corpus : Reading
        The corpus.
    categories, levels : sequence of str
        The prompt set's; labels in others are left out, and counted in a note.
    names : callable
        From an image's uri to what the file calls it.
    items : mapping of int to Origin, optional
        The images, and how whoever labels them comes to see them; with the labels that they have,
        if any. By default all that have labels.

    Returns
    -------
    Export
        What `write_exchange` takes.

    Raises
    ------
    LabelError
        If an item is not embedded.
    """
    found = pool_labels(corpus, categories, levels)
    majority = majority_of(found, table_of(found))
    told = sorted((*found.labels, *found.blank))
    said = {item: tuple(some) for item, some in groupby(told, key=lambda one: one[0])}
    chosen = np.array(list(said if items is None else items), np.int64)
    ids, rows = roster(corpus)
    places = _places(ids, chosen)
    uris = _texts(ItemTexts(corpus, "uri", ids, rows), places)
    contents = _texts(ItemTexts(corpus, "sha256", ids, rows), places)
    pictures = tuple(
        Picture(
            item,
            names(uri),
            sha256,
            _origin(said.get(item, ())) if items is None else items[item],
            _voices(found, (one for one in said.get(item, ()) if level_of(one))),
            _voices(found, (one for one in said.get(item, ()) if not level_of(one))),
            majority.get(item, {}),
            found.verdicts.get(item, ""),
        )
        for item, uri, sha256 in zip(chosen.tolist(), uris, contents, strict=True)
    )
    labels = sum(len(picture.voices) for picture in pictures)
    return Export(pictures, found.categories, found.levels, places, labels, found.notes)


def predict(
    scored: CorpusScores, contract: Contract, places: Rows, categories: Sequence[str]
) -> Predicted:
    """Say what a calibration says of some images.

    Parameters
    ----------
    scored : CorpusScores
        The corpus under the contract.
    contract : Contract
        The calibration; its fingerprint is the caller's to check.
    places : Int64[(n,)]
        Which of the scored images.
    categories : sequence of str
        In which of the contract's categories.

    Returns
    -------
    Predicted
        Levels, scores and margins, a row per place.

    Raises
    ------
    CalibrationError
        If the contract lacks a category.
    """
    scores = np.stack([scored.column(category)[places] for category in categories], axis=1)
    decided = decisions(scores, categories, contract)
    lowest = decided.thresholds.min(axis=0)
    known = np.isfinite(lowest)
    above: NDArray[np.float64] = scores[:, known] - lowest[known]
    return Predicted(
        version=f"{contract.model}, {contract.prompt_set.name}, calibrated {contract.created}",
        categories=tuple(categories),
        levels=contract.levels,
        scores=scores,
        values=decided.values,
        margins=above.max(axis=1) if known.any() else np.full(len(scores), np.nan),
    )


def _places(ids: Rows, items: Rows) -> Rows:
    """Return where items are among the embedded ones."""
    places = np.searchsorted(ids, items)
    lacking = np.flatnonzero(~np.isin(items, ids))
    if len(lacking):
        raise LabelError(
            f"The corpus has no embedded image {items[lacking[0]]}. Name one that it has; embed "
            f"others first: clipcal embed FOLDER"
        )
    return places


def _texts(texts: ItemTexts, places: Rows) -> list[str]:
    """Read the texts at some places, a stretch of neighbours at a time."""
    parts = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    return [text for part in parts if len(part) for text in texts[part[0] : part[-1] + 1]]


def _voices(found: PoolLabels, labels: Iterable[PoolLabel]) -> tuple[Voice, ...]:
    return tuple(
        Voice(found.categories[column], level, rater, origin)
        for _, column, rater, level, origin in labels
    )


def _origin(labels: Iterable[PoolLabel]) -> Origin:
    """Tell how a labelled image was chosen: for its scores, if any of its labels came so."""
    origins: list[Origin] = [origin for *_, origin in labels]
    return next((origin for origin in origins if origin in CHOSEN), origins[0])
