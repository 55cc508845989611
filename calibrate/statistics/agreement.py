"""How far people agree, with each other and with a threshold."""

from __future__ import annotations

from dataclasses import dataclass

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
        Mean weighted kappa of pairs of raters; None where raters are anonymous.
    ceiling, ceiling_kappa : Estimate or None
        Agreement rate and kappa of one rater with the majority of the others: what a machine
        can be asked for.
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
