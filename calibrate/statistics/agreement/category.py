"""How far the raters of one category agree, and a threshold with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.agreement.alpha import alpha_estimate
from clipcal.calibrate.statistics.agreement.kappa import pair_agreement
from clipcal.calibrate.statistics.agreement.many_raters import human_ceiling, pair_kappa
from clipcal.calibrate.statistics.agreement.tables import Indices
from clipcal.calibrate.statistics.bounds import Estimate


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """How far the raters of one category agree, and a threshold with them.

    Attributes
    ----------
    images : int
        Images with at least two ratings.
    ratings : int
        Ratings of those images.
    alpha : Estimate or None
        Krippendorff's alpha, ordinal; bootstrap interval over images.
    kappa : Estimate or None
        Mean weighted kappa of pairs of raters, see `pair_kappa`; None where raters are
        anonymous.
    ceiling, ceiling_kappa : Estimate or None
        Agreement rate and kappa of one rater with the majority of the others: roughly what a
        machine can be asked for.
    machine, machine_kappa : Estimate or None
        The same of the thresholds' decisions, out of fold, with the raters' majority.
    """

    images: int
    ratings: int
    alpha: Estimate | None = None
    kappa: Estimate | None = None
    ceiling: Estimate | None = None
    ceiling_kappa: Estimate | None = None
    machine: Estimate | None = None
    machine_kappa: Estimate | None = None


def rate_agreement(
    image: Indices,
    rater: Indices,
    level: Indices,
    n_images: int,
    n_levels: int,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> CategoryAgreement:
    """Measure how far the raters of one category agree.

    Parameters
    ----------
    image, rater, level : Int[(v,)]
        The votes, one per image and rater; a rater of -1 is anonymous.
    n_images, n_levels : int
        How many of each there are.
    confidence : float
        Of the intervals, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    CategoryAgreement
        Of the images with two ratings or more; a statistic is None where it is undefined, which
        all are where everybody says the same of every image.
    """
    cells = image * np.int64(n_levels) + level
    counts = np.bincount(cells, minlength=n_images * n_levels).reshape(n_images, n_levels)
    several = counts.sum(axis=1) > 1
    if not several.any():
        return CategoryAgreement(0, 0)
    counts = counts[several]
    ceiling, ceiling_kappa = human_ceiling(counts, confidence=confidence, seed=seed)
    named = not (rater < 0).any()
    return CategoryAgreement(
        images=len(counts),
        ratings=int(counts.sum()),
        alpha=alpha_estimate(counts, confidence=confidence, seed=seed),
        kappa=pair_kappa(image, rater, level, n_images, n_levels, confidence=confidence, seed=seed)
        if named
        else None,
        ceiling=ceiling,
        ceiling_kappa=ceiling_kappa,
    )


def with_machine(
    agreement: CategoryAgreement,
    decided: NDArray[np.int8],
    majority: NDArray[np.int8],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> CategoryAgreement:
    """Add how far decisions agree with the raters' majority.

    Parameters
    ----------
    agreement : CategoryAgreement
        Of the raters.
    decided, majority : Int8[(n,)]
        Levels of the same images; -1 is unknown, and such images are left out. The decisions
        must be out of fold: a threshold fitted to these very labels agrees with them too well.
    confidence : float
        Of the intervals, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    CategoryAgreement
        The same with `machine` (Wilson's interval) and `machine_kappa` (quadratic weights).
    """
    known = (decided >= 0) & (majority >= 0)
    if not known.any():
        return agreement
    levels = int(max(decided[known].max(), majority[known].max())) + 1
    rate, kappa = pair_agreement(
        majority[known], decided[known], levels, confidence=confidence, seed=seed
    )
    return replace(agreement, machine=rate, machine_kappa=kappa)
