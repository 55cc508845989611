r"""A precision that is guaranteed: thresholds declared without labels, and tested together.

A precision is certified at candidate thresholds (`declared_grid`) that were
declared without looking at the labels:

1. The grid is computed from the scores of the whole corpus and from how many images were
   labelled. Given that number, which must be settled without looking at labels, it is a
   constant: it would be the same whichever so many images had been drawn and whatever people
   had said of them.
2. The labelled images are drawn uniformly from the distinct images of the corpus. Given that
   :math:`n_t` of them score at or above :math:`t`, those are a uniform sample of all that do,
   and their hits are hypergeometric. The binomial p-value (`precision_p_value`) is then
   conservative wherever it is at most 0.5; see `clipcal.calibrate.statistics.bounds`.
3. There are finitely many hypotheses "precision at :math:`t` is below :math:`p`", so that Holm's
   procedure bounds the chance that any of the certified ones is wrong, and the lowest certified
   candidate may be taken *after* looking (Angelopoulos et al. 2025).

The number of labelled images at or above a candidate must not decide whether the candidate is
tested. By itself it says nothing of the labels, but the counts of several candidates together
say of which scores the sample has too many. What depends on the *number* of labelled images and
on the corpus alone may decide it: see `smallest_declared`.

References
----------
Angelopoulos, A. N., Bates, S., Candès, E. J., Jordan, M. I., and Lei, L. (2025). Learn then
test: calibrating predictive algorithms to achieve risk control. *Annals of Applied Statistics*
19(2), 1641-1662.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import flags_needed, precision_p_value
from clipcal.calibrate.statistics.inputs import check_labels, check_scores
from clipcal.calibrate.statistics.multiplicity import holm
from clipcal.calibrate.statistics.rounding import stored
from clipcal.errors import CalibrationError

Vector = NDArray[np.floating]  # (n,)
Labels = NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class PrecisionEvidence:
    """What the labels say of each candidate threshold of one cut.

    Attributes
    ----------
    thresholds : Float[(g,)]
        The candidates.
    flagged : Int[(g,)]
        Labelled images at or above each.
    hits : Int[(g,)]
        Positives among them.
    p_values : Float[(g,)]
        Of "precision is below the target".
    """

    thresholds: NDArray[np.float64]
    flagged: NDArray[np.int64]
    hits: NDArray[np.int64]
    p_values: NDArray[np.float64]


def smallest_declared(corpus: int, labelled: int, target: float, confidence: float = 0.95) -> int:
    r"""Return how many images a candidate must flag to be worth declaring.

    Of the labelled images about :math:`n c / N` lie among the :math:`c` that a candidate flags.
    Where that is less than `flags_needed`, the candidate would most likely be certified by no
    labels at all, and would only take from the risk of the others.

    Parameters
    ----------
    corpus, labelled : int
        Images in the corpus (:math:`N`), and labelled ones that were drawn from it uniformly
        (:math:`n`).
    target : float
        The precision to guarantee, in (0, 1).
    confidence : float
        With what probability, in (0, 1).

    Returns
    -------
    int
        For `declared_grid`; more than `corpus` where there are too few labels.

    Raises
    ------
    CalibrationError
        If a rate is outside (0, 1).
    """
    return math.ceil(flags_needed(target, confidence) * corpus / max(labelled, 1))


def declared_grid(
    corpus_scores: Vector, smallest: int = 1, ratio: float = 1.5
) -> NDArray[np.float64]:
    """Return candidate thresholds for a guaranteed precision, chosen without any label.

    The candidates flag `smallest` images of the corpus, then `ratio` times as many, and so on,
    and at last all. Each candidate takes a part of the risk, and few steps are lost between
    neighbours: that is why the grid is coarse.

    Parameters
    ----------
    corpus_scores : Float[(n,)]
        Scores of the whole corpus, at least one.
    smallest : int
        How many images the highest candidate flags; see `smallest_declared`. From n on there
        is only the candidate that flags all.
    ratio : float
        From one number of flags to the next, greater than 1.

    Returns
    -------
    Float64[(g,)]
        Distinct thresholds, from the highest down, each already rounded by `stored`.

    Raises
    ------
    CalibrationError
        If there is no score, or one is NaN or infinite.
    ValueError
        If `ratio` is not greater than 1.
    """
    if not ratio > 1:
        raise ValueError(f"The ratio is {ratio}; it must be greater than 1.")
    check_scores(corpus_scores)
    ranked, n = np.sort(corpus_scores), len(corpus_scores)
    first = min(max(smallest, 1), n)
    steps = np.arange(math.floor(math.log(n / first, ratio)) + 1)
    flags = np.unique(np.r_[np.minimum(np.ceil(first * ratio**steps), n), n].astype(np.int64))
    return np.unique([stored(float(score)) for score in ranked[n - flags]])[::-1]


def precision_evidence(
    scores: Vector, positive: Labels, candidates: NDArray[np.float64], target: float
) -> PrecisionEvidence:
    """Count the labelled images at each candidate, and test its precision.

    Parameters
    ----------
    scores : Float[(n,)]
        Scores of labelled images that were drawn uniformly from the corpus; there may be none.
    positive : Bool[(n,)]
        Labels.
    candidates : Float[(g,)]
        Thresholds declared without the labels; see `declared_grid`.
    target : float
        The precision to guarantee, in (0, 1).

    Returns
    -------
    PrecisionEvidence
        One entry per candidate, in their order.

    Raises
    ------
    CalibrationError
        If a score is NaN or infinite, the shapes differ, or the target is outside (0, 1).
    """
    check_labels(scores, positive)
    order = np.argsort(scores, kind="stable")
    limits = np.asarray(candidates, scores.dtype)
    below = np.searchsorted(scores[order], limits)
    missed = np.r_[0, np.cumsum(positive[order], dtype=np.int64)]
    flagged, hits = len(scores) - below, missed[-1] - missed[below]
    return PrecisionEvidence(candidates, flagged, hits, precision_p_value(hits, flagged, target))


def certified_precision(
    evidences: Sequence[PrecisionEvidence], risk: float
) -> list[NDArray[np.float64]]:
    """Return which candidates hold, all of them together, at a risk.

    With probability 1 - `risk` or more over the draw of the labelled images, the precision in
    the corpus is at least the target at *every* threshold that is returned; so the lowest of
    each cut may be taken, which flags most. See `holm`, and this module's introduction for
    the argument and its assumptions.

    Parameters
    ----------
    evidences : sequence of PrecisionEvidence
        Of one cut, for a guarantee by itself, or of several for a joint one.
    risk : float
        1 - confidence, in (0, 0.5].

    Returns
    -------
    list of Float[(k,)]
        Certified thresholds of each cut, in the order of its candidates; empty where none is.

    Raises
    ------
    CalibrationError
        If the risk is not in (0, 0.5].
    """
    if not 0 < risk <= 0.5:
        raise CalibrationError(
            f"The confidence is {1 - risk:g}; a precision is certified from 0.5 on, as in: "
            f"clipcal calibrate --target precision=0.9 --confidence 0.95"
        )
    p_values = [evidence.p_values for evidence in evidences]
    holds = holm(np.concatenate([np.empty(0), *p_values]), risk)
    ends = np.cumsum([len(p) for p in p_values])[:-1]
    return [
        evidence.thresholds[certain]
        for evidence, certain in zip(evidences, np.split(holds, ends), strict=False)
    ]
