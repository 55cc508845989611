"""Which of a category's sentences to keep, and whether that choice pays on images it has not seen.

Sentences are dropped one by one (backward elimination), and how many to drop is decided by cross
validation. A choice looks better on the labels it was made on than it is; so the whole of it,
the inner cross validation included, is made again in each fold of an outer one, and judged on the
images left out.

References
----------
Stone, M. (1974). Cross-validatory choice and assessment of statistical predictions. *Journal of
the Royal Statistical Society B* 36(2), 111-147.

Nadeau, C., and Bengio, Y. (2003). Inference for the generalization error. *Machine Learning*
52(3), 239-281.

Varma, S., and Simon, R. (2006). Bias in error estimation when using cross-validation for model
selection. *BMC Bioinformatics* 7, 91.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.scoring.scores import margin
from clipcal.calibrate.statistics.auc import auc, auc_difference, auc_estimate
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.statistics.resampling import Clusters, cluster_folds
from clipcal.errors import CalibrationError

Kept = NDArray[np.bool_]  # (sentences,), own prompts first
Path = list[Kept]

FOLDS = 5
FEWEST = 10
"""Labelled images, near copies counted once, that a choice takes of each class."""
ENOUGH = 4000
"""Images of each class beyond which more would not change a choice, only delay it."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One category's labelled images, as its sentences see them.

    Attributes
    ----------
    cosines : Float32[(s, n)]
        Of n images with s sentences, the category's own prompts before its contrasts.
    own : int
        How many of the sentences are its own prompts, at least 1.
    pool : {"max", "mean"}
        How several become one number.
    positive : Bool[(n,)]
        Who is positive.
    clusters : Int64[(n,)]
        Equal for near copies.
    """

    cosines: NDArray[np.float32]
    own: int
    pool: str
    positive: NDArray[np.bool_]
    clusters: Clusters

    def __getitem__(self, images: NDArray[np.bool_]) -> Labelled:
        """Take some of the images."""
        return Labelled(
            np.ascontiguousarray(self.cosines[:, images]),
            self.own,
            self.pool,
            self.positive[images],
            self.clusters[images],
        )

    @property
    def everything(self) -> Kept:
        """The choice to drop nothing."""
        return np.ones(len(self.cosines), np.bool_)

    @property
    def supply(self) -> int:
        """Distinct images of the scarcer class; near copies count once."""
        return min(len(np.unique(self.clusters[of])) for of in (self.positive, ~self.positive))

    def scores(self, kept: Kept) -> NDArray[np.float32]:
        """Score the images by some of the sentences."""
        own, against = kept[: self.own], kept[self.own :]
        return margin(self.cosines[: self.own][own], self.cosines[self.own :][against], self.pool)


@dataclass(frozen=True, slots=True)
class Trial:
    """How choosing sentences does on images that the choice has not seen.

    Attributes
    ----------
    folds : int
        Of the outer cross validation.
    plain : Estimate
        Area under the ROC curve with every sentence.
    chosen : Estimate
        Area with the sentences chosen, each image scored by a choice made without its fold.
    gain : Range
        The difference, ``chosen - plain``, on the same images; its interval is widened for what
        the folds have in common.
    """

    folds: int
    plain: Estimate
    chosen: Estimate
    gain: Range


def choose(labelled: Labelled, rng: np.random.Generator) -> Kept:
    """Choose sentences by backward elimination; cross validation says how many to drop.

    From all sentences, the one is dropped without which the area under the ROC curve is
    greatest, and so on until one own prompt is left. In each fold this is done without the
    fold, and every stage is judged on it; the stage with the greatest mean area decides, the
    earliest of equals. Where a class has more than `ENOUGH` images, that many of it are drawn.

    Parameters
    ----------
    labelled : Labelled
        Images with both classes, two clusters of each at least.
    rng : numpy.random.Generator
        Deals the folds.

    Returns
    -------
    Bool[(s,)]
        Which to keep; one own prompt at least.

    Notes
    -----
    The area of the choice on these same images flatters it; `try_choice` says what it is worth.
    """
    some = _thinned(labelled, rng)
    areas = [
        [auc(test.scores(kept), test.positive) for kept in _path(train)]
        for train, test in _divided(some, rng)
    ]
    stage = int(np.argmax(np.mean(areas, axis=0))) if areas else 0
    return _path(some)[stage] if stage else labelled.everything


def try_choice(labelled: Labelled, rng: np.random.Generator, confidence: float = 0.95) -> Trial:
    r"""Try `choose` by nested cross validation: no image is scored by a choice that has seen it.

    In each outer fold, scores :math:`s` by the sentences chosen are brought to the mean and
    spread that the scores by all sentences have on the images chosen on, without regard to
    labels, so that images of different folds can be ranked together; where nothing is dropped
    they stay as they are.

    Parameters
    ----------
    labelled : Labelled
        At least `FEWEST` clusters with each class.
    rng : numpy.random.Generator
        Deals the folds.
    confidence : float
        Of intervals, in (0, 1).

    Returns
    -------
    Trial
        Areas and their paired difference (`auc_difference`).

    Raises
    ------
    CalibrationError
        If there are too few images of a class.

    Notes
    -----
    What is judged is the procedure, not one set of sentences: folds may choose differently.

    Choices of different folds were made on images in common, so that their gains go together;
    the interval of the difference alone is then too short. With sentences that know nothing,
    all choices being worth the same, it was surely above zero in 7% of simulated draws instead
    of 2.5% (and a choice judged on its own images, in 29%). So its arms are made longer by the
    factor :math:`\sqrt{1 + K/(K-1)}`, which adds the ratio of images judged on to images chosen
    on to the variance over :math:`K` folds (Nadeau and Bengio 2003); 1% of draws were left.
    """
    if labelled.supply < FEWEST:
        raise CalibrationError(
            f"There are {labelled.supply} images of the scarcer class; choosing sentences takes "
            f"{FEWEST}. Label more, then run: clipcal prompts check SET --labels FILE.csv"
        )
    plain = labelled.scores(labelled.everything)
    chosen = plain.copy()
    outer = _folds(labelled, rng)
    for fold in range(int(outer.max()) + 1):
        out = outer == fold
        kept = choose(labelled[~out], rng)
        if not kept.all():
            chosen[out] = _aligned(labelled.scores(kept), plain, ~out)[out]
    sample = (labelled.positive, confidence, labelled.clusters)
    # Both classes are there, so that none of the three is None.
    return Trial(
        folds=int(outer.max()) + 1,
        plain=cast(Estimate, auc_estimate(plain, *sample)),
        chosen=cast(Estimate, auc_estimate(chosen, *sample)),
        gain=_widened(cast(Range, auc_difference(chosen, plain, *sample)), int(outer.max()) + 1),
    )


def _widened(gain: Range, folds: int) -> Range:
    """Widen an interval for what folds have in common (Nadeau and Bengio 2003)."""
    factor = math.sqrt(1 + folds / (folds - 1))
    low, high = (gain.value + factor * (end - gain.value) for end in (gain.low, gain.high))
    return Range(gain.value, max(-1.0, low), min(1.0, high))


def _aligned(
    scores: NDArray[np.float32], like: NDArray[np.float32], on: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Bring scores to the mean and spread of others, both measured on the same images."""
    spread = float(scores[on].std())
    scale = float(like[on].std()) / spread if spread else 1.0
    centred = (scores - scores[on].mean()) * np.float32(scale)
    aligned: NDArray[np.float32] = centred + like[on].mean()
    return aligned


def _folds(labelled: Labelled, rng: np.random.Generator) -> NDArray[np.int64]:
    folds = min(FOLDS, labelled.supply)
    return cluster_folds(labelled.clusters, folds, rng, labelled.positive)


def _divided(labelled: Labelled, rng: np.random.Generator) -> Iterator[tuple[Labelled, Labelled]]:
    """Yield what to choose on and what to judge on, as far as both have both classes."""
    fold = _folds(labelled, rng)
    for each in range(int(fold.max()) + 1):
        parts = labelled[fold != each], labelled[fold == each]
        if all(part.positive.any() and not part.positive.all() for part in parts):
            yield parts


def _thinned(labelled: Labelled, rng: np.random.Generator) -> Labelled:
    """Draw images of a class that has very many; areas do not depend on the classes' shares."""
    kept = np.ones(len(labelled.positive), np.bool_)
    for of in (labelled.positive, ~labelled.positive):
        kept[rng.permutation(np.flatnonzero(of))[ENOUGH:]] = False
    return labelled if kept.all() else labelled[kept]


def _path(labelled: Labelled) -> Path:
    """Drop sentences one by one, each time the one without which the area is greatest."""
    path = [labelled.everything]
    for _ in range(len(labelled.cosines) - 1):
        kept = path[-1].copy()
        candidates, scores = _without_one(labelled, np.flatnonzero(kept))
        areas = _areas(scores, labelled.positive)
        kept[candidates[int(np.argmax(areas))]] = False
        path.append(kept)
    return path


def _without_one(
    labelled: Labelled, kept: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Score with each sentence left out that may be; its numbers, and Float32[(k, n)]."""
    own, against = kept[kept < labelled.own], kept[kept >= labelled.own]
    ours, theirs = labelled.cosines[own], labelled.cosines[against]
    candidates: list[NDArray[np.intp]] = []
    scores: list[NDArray[np.float32]] = []
    if len(own) > 1:
        rest = margin(theirs, theirs[:0], labelled.pool) if len(against) else np.float32(0)
        candidates.append(own)
        scores.append(_pooled_without_each(ours, labelled.pool) - rest)
    if len(against):
        candidates.append(against)
        mine = margin(ours, theirs[:0], labelled.pool)
        scores.append(mine - _pooled_without_each(theirs, labelled.pool))
    return np.concatenate(candidates), np.concatenate(scores)


def _pooled_without_each(rows: NDArray[np.float32], pool: str) -> NDArray[np.float32]:
    """Pool all rows but one, for each; zero where none is left, as an absent contrast counts."""
    if len(rows) == 1:
        return np.zeros_like(rows)
    if pool == "mean":
        mean: NDArray[np.float32] = (rows.sum(axis=0) - rows) / np.float32(len(rows) - 1)
        return mean
    top = rows.argmax(axis=0)
    second, first = np.partition(rows, len(rows) - 2, axis=0)[-2:]
    without: NDArray[np.float32] = np.where(
        np.arange(len(rows))[:, np.newaxis] == top, second, first
    )
    return without


def _areas(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> list[float]:
    """Return the area under the ROC curve of each row, up to a factor and a constant."""
    return [_order(row[positive], np.sort(row[~positive])) for row in scores]


def _order(positives: NDArray[np.float32], negatives: NDArray[np.float32]) -> float:
    below = negatives.searchsorted(positives, "left").sum()
    return float(below + negatives.searchsorted(positives, "right").sum())
