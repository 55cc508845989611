r"""Whether a head is better than the plain score, told on images that it was not fitted to.

References
----------
Varma, S., and Simon, R. (2006). Bias in error estimation when using cross-validation for model
selection. *BMC Bioinformatics* 7, 91 (nested cross-validation).

Nadeau, C., and Bengio, Y. (2003). Inference for the generalization error. *Machine Learning*
52(3), 239-281.

Pepe, M. S., and Longton, G. (2005). Standardizing diagnostic markers to evaluate and compare
their performance. *Epidemiology* 16(5), 598-603 (scores as percentiles among the negatives).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.heads.fit import (
    check_shapes,
    draw_voters,
    fill_cache,
    fit_probe,
    fit_tip_adapter,
    probe_path,
    total_variance,
)
from clipcal.calibrate.heads.head import Head, HeadComparison, HeadKind, nearness
from clipcal.calibrate.statistics.auc import auc, auc_difference, auc_estimate
from clipcal.calibrate.statistics.bounds import Range
from clipcal.calibrate.statistics.resampling import cluster_folds

FOLDS: Final = 5
FEWEST: Final = 10  # labelled images of a class
FEWEST_CLUSTERS: Final = 5  # of a class; each fold needs one

# More of a class tell little, since an area under the curve has no prevalence, and cost time.
_MOST_OF_A_CLASS = 1500
# Probe: by how many logits the labels may move a typical image away from the text.
_MOVES: Final = (0.3, 1.0, 3.0, 10.0, 30.0)
# Tip-Adapter: weights of the votes in standard deviations, and how near a voter must be, one
# over that share of the mean squared distance.
_ALPHAS: Final = (0.3, 1.0, 3.0)
_BETAS: Final = (1.0, 3.0, 10.0, 30.0)

# Standard deviation of the gain over what DeLong's variance makes of it, with nothing to gain.
_WIDER = 1.25
# Candidates are told apart by the order of their scores, which needs no more digits.
_ROUGH = 1e-6

Scores = NDArray[np.float64]  # (n, candidates)


@dataclass(frozen=True, slots=True)
class _Candidate:
    kind: HeadKind
    move: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0


# From the most cautious on, since the first of equals is taken.
_CANDIDATES: Final = (
    *(_Candidate("probe", move=move) for move in _MOVES),
    *(_Candidate("tip_adapter", alpha=a, beta=b) for b in _BETAS for a in _ALPHAS),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Labelled images: Float32[(n, d)] embeddings and, per image, label, plain score, cluster."""

    embeddings: NDArray[np.float32]
    positive: NDArray[np.bool_]
    plain: NDArray[np.float64]
    clusters: NDArray[np.int64]
    towards: NDArray[np.float64]

    def __getitem__(self, rows: NDArray[np.generic]) -> _Sample:
        return _Sample(
            self.embeddings[rows],
            self.positive[rows],
            self.plain[rows],
            self.clusters[rows],
            self.towards,
        )


def offer_head(
    embeddings: NDArray[np.floating],
    positive: NDArray[np.bool_],
    towards: NDArray[np.floating],
    plain_scores: NDArray[np.floating],
    clusters: NDArray[np.int64],
    seed: int,
    confidence: float = 0.95,
) -> tuple[HeadComparison | None, Head | None]:
    r"""Compare learned scores with the plain one, and return one only where it is surely better.

    Nested cross-validation over whole clusters. For each of five folds, the kind of head and its
    hyper-parameters are those with the best mean area under the ROC curve when each of the other
    four folds is left out in turn; that head, fitted to the four, scores the fold. What is
    compared is thus the whole procedure, choice of kind included, and no image's score was
    fitted or chosen on its own label or that of a near copy.

    Scores from different folds come from different fits and have no common scale. So each fold's
    scores, plain and learned alike, are first replaced by the share of the fold's negatives
    below them (a percentile of the reference class, Pepe and Longton 2005): the area over all
    images is then the mean area within folds, weighted by positives, and its variance can be
    had from all images at once, by clusters (DeLong's).

    Parameters
    ----------
    embeddings : Float[(n, d)]
        L2-normalised embeddings of the labelled images.
    positive : Bool[(n,)]
        Which are positive.
    towards : Float[(d,)]
        Direction of the text, such as the mean prompt less the mean contrast.
    plain_scores : Float[(n,)]
        The score rule's scores.
    clusters : Int64[(n,)]
        Equal for near copies.
    seed : int
        Of folds, and of what is drawn where there are many labels.
    confidence : float
        Of the intervals, in (0, 1). Where nothing is to be gained, a head is offered in about
        ``(1 - confidence) / 2`` of cases.

    Returns
    -------
    comparison : HeadComparison or None
        Both areas out of fold and the gain; None where a class has fewer than ten images or
        five clusters, or the folds cannot hold both classes each.
    head : Head or None
        Fitted to all images, if the gain's interval lies above zero.

    Raises
    ------
    CalibrationError
        If shapes do not fit, or a score is NaN.

    Notes
    -----
    A threshold fitted to or certified on these labels is invalid for the head: they chose it and
    trained it. Certify on labels that were kept apart.

    At most 1,500 images of each class, drawn at random, are used.

    DeLong's variance takes the fits as given and neglects that folds share what they were fitted
    to. Where there is nothing to gain (labels at random, 40 to 100 images, 4 to 8 dimensions),
    the gain varied 1.27 times as much as it says, in 195 simulated samples; so the gain's
    interval is made 1.25 times as wide. That is calibrated by simulation, not proved. Nadeau and
    Bengio's correction (2003), 1.5 times for five folds, would miss many a real gain. The
    intervals of `plain` and `learned` are DeLong's as they are.
    """
    check_shapes(embeddings, positive, towards)
    check_shapes(embeddings, plain_scores, towards)
    check_shapes(embeddings, clusters, towards)
    rng = np.random.default_rng(seed)
    sample = _sample(embeddings, positive, towards, plain_scores, clusters, rng)
    if not _enough(sample):
        return None, None
    fewer = (
        sample.positive if 2 * sample.positive.sum() <= len(sample.positive) else ~sample.positive
    )
    fold = cluster_folds(sample.clusters, FOLDS, rng, fewer)
    if not all(_both(sample.positive[fold == each]) for each in range(FOLDS)):
        return None, None
    learned, best = _out_of_fold(sample, fold, rng)
    comparison = _compare(sample, fold, learned, best.kind, confidence)
    offered = comparison is not None and comparison.offered
    return comparison, _fit(sample, best, rng) if offered else None


def _sample(
    embeddings: NDArray[np.floating],
    positive: NDArray[np.bool_],
    towards: NDArray[np.floating],
    plain_scores: NDArray[np.floating],
    clusters: NDArray[np.int64],
    rng: np.random.Generator,
) -> _Sample:
    """Gather the labelled images, of each class at most so many."""
    rows = np.sort(
        np.concatenate(
            [_drawn(np.flatnonzero(positive), rng), _drawn(np.flatnonzero(~positive), rng)]
        )
    )
    return _Sample(
        np.asarray(embeddings[rows], np.float32),
        positive[rows],
        np.asarray(plain_scores[rows], np.float64),
        clusters[rows],
        np.asarray(towards, np.float64),
    )


def _drawn(rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    if len(rows) <= _MOST_OF_A_CLASS:
        return rows
    return rng.choice(rows, _MOST_OF_A_CLASS, replace=False)


def _enough(sample: _Sample) -> bool:
    return all(
        np.count_nonzero(of) >= FEWEST and len(np.unique(sample.clusters[of])) >= FEWEST_CLUSTERS
        for of in (sample.positive, ~sample.positive)
    )


def _both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def _out_of_fold(
    sample: _Sample, fold: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], _Candidate]:
    """Return each image's score by the head chosen without its fold, and the best of all.

    A fit without folds f and g serves twice: to choose for f by how it does on g, and for g.
    """
    areas = np.full((FOLDS, FOLDS, len(_CANDIDATES)), np.nan)
    for pair in combinations(range(FOLDS), 2):
        scores = _candidate_scores(sample, np.isin(fold, pair), rng)
        for left_out, judged in (pair, pair[::-1]):
            rows = fold == judged
            areas[left_out, judged] = _areas(scores[rows], sample.positive[rows])
    learned = np.empty(len(fold))
    for each in range(FOLDS):
        rows = fold == each
        scores = _candidate_scores(sample, rows, rng)[rows]
        areas[each, each] = _areas(scores, sample.positive[rows])
        others = np.arange(FOLDS) != each
        learned[rows] = scores[:, areas[each, others].mean(axis=0).argmax()]
    on_own = areas[np.arange(FOLDS), np.arange(FOLDS)]
    return learned, _CANDIDATES[int(on_own.mean(axis=0).argmax())]


def _candidate_scores(sample: _Sample, out: NDArray[np.bool_], rng: np.random.Generator) -> Scores:
    """Fit every candidate to the images not `out`, and score those that are; others are NaN."""
    known, new = sample[~out], sample[out]
    scores = np.full((len(out), len(_CANDIDATES)), np.nan)
    scores[out] = np.column_stack((_probe_scores(known, new), _tip_scores(known, new, rng)))
    return scores


def _probe_scores(known: _Sample, new: _Sample) -> Scores:
    penalties = [_penalty(known, move) for move in _MOVES]
    path = probe_path(known.embeddings, known.positive, known.towards, penalties, tolerance=_ROUGH)
    return np.asarray(new.embeddings @ np.column_stack([each.weights for each in path]))


def _tip_scores(known: _Sample, new: _Sample, rng: np.random.Generator) -> Scores:
    voters = draw_voters(known.positive, rng)
    columns = []
    for share in _BETAS:
        beta = _beta(known, share)
        cache = fill_cache(known.embeddings, known.positive, known.plain, voters, beta)
        votes = nearness(new.embeddings, cache.keys, beta) @ cache.values / cache.spread
        columns += [cache.scale * new.plain + alpha * votes for alpha in _ALPHAS]
    return np.column_stack(columns)


def _penalty(sample: _Sample, move: float) -> float:
    """Return the penalty under which the labels move a typical image by so many logits."""
    return total_variance(sample.embeddings) / move**2


def _beta(sample: _Sample, share: float) -> float:
    return share / total_variance(sample.embeddings)


def _areas(scores: Scores, positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array([auc(column, positive) for column in scores.T])


def _compare(
    sample: _Sample,
    fold: NDArray[np.int64],
    learned: NDArray[np.float64],
    kind: HeadKind,
    confidence: float,
) -> HeadComparison | None:
    positive, clusters = sample.positive, sample.clusters
    ours, theirs = (_percentiles(each, positive, fold) for each in (learned, sample.plain))
    plain = auc_estimate(theirs, positive, confidence, clusters)
    better = auc_estimate(ours, positive, confidence, clusters)
    taken_as_given = auc_difference(ours, theirs, positive, confidence, clusters)
    if plain is None or better is None or taken_as_given is None:
        return None
    gain = _widened(taken_as_given)
    return HeadComparison(kind, plain, better, gain, offered=gain.low > 0)


def _widened(gain: Range) -> Range:
    """Allow for what the interval neglects: the fits vary, and folds share what they saw."""
    low = gain.value - _WIDER * (gain.value - gain.low)
    high = gain.value + _WIDER * (gain.high - gain.value)
    return Range(gain.value, max(-1.0, low), min(1.0, high))


def _percentiles(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return which share of its own fold's negatives each image scores above; equal ones half."""
    shares = np.empty(len(scores))
    for each in range(FOLDS):
        rows = fold == each
        among = np.sort(scores[rows & ~positive])
        below, up_to = (np.searchsorted(among, scores[rows], side) for side in ("left", "right"))
        shares[rows] = (below + up_to) / (2 * len(among))
    return shares


def _fit(sample: _Sample, best: _Candidate, rng: np.random.Generator) -> Head:
    if best.kind == "probe":
        penalty = _penalty(sample, best.move)
        return fit_probe(sample.embeddings, sample.positive, sample.towards, penalty)
    beta = _beta(sample, best.beta)
    return fit_tip_adapter(sample.embeddings, sample.positive, sample.plain, best.alpha, beta, rng)
