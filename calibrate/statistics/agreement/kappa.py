"""How far two agree: rates, and Cohen's kappa."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clipcal.calibrate.statistics.agreement.tables import (
    Indices,
    Weights,
    defined,
    kappa_of_tables,
    kappas,
    of_pairs,
    of_tables,
    rate_of_tables,
)
from clipcal.calibrate.statistics.bounds import Estimate, wilson


def weighted_kappa(
    a: Indices, b: Indices, n_levels: int, weights: Weights = "quadratic"
) -> float | None:
    r"""Cohen's kappa of two raters, with weights for how far apart they are.

    .. math:: \kappa = 1 - \frac{\sum_{kl} w_{kl}\, p_{kl}}
                               {\sum_{kl} w_{kl}\, p_{k\cdot} p_{\cdot l}}

    with :math:`p` the shares of images that they put at levels :math:`k` and :math:`l`, and
    :math:`w_{kl} = (k-l)^2`, :math:`|k-l|` or, without weights, :math:`[k \ne l]`.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count.

    Returns
    -------
    float or None
        At most 1; None where both say the same one level of every image.
    """
    tables = of_pairs(a, b, n_levels, weights)
    return defined(kappas(tables, tables.number[None])[0])


def pair_agreement(
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, Estimate | None]:
    """How often two agree, and their kappa, with intervals.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images, ``n >= 1``.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count in kappa.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    rate : Estimate
        With Wilson's interval.
    kappa : Estimate or None
        See `weighted_kappa`.
    """
    kappa = kappa_estimate(a, b, n_levels, weights, confidence=confidence, seed=seed)
    return wilson(int((a == b).sum()), len(a), confidence), kappa


def kappa_estimate(
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """Cohen's kappa with its interval; see `weighted_kappa`, and the package.

    Parameters
    ----------
    a, b : Int[(n,)]
        Levels of the same images, ``n >= 1``.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    Estimate or None
        None where both say the same one level of every image.
    """
    return kappa_of_tables(of_pairs(a, b, n_levels, weights), confidence, seed)


def cell_agreement(
    image: Indices,
    a: Indices,
    b: Indices,
    n_levels: int,
    weights: Weights = "quadratic",
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, Estimate | None]:
    """Agree on several things of each image: the rate over all of them, and kappa.

    What is said of one image is not independent, so that whole images are drawn.

    Parameters
    ----------
    image, a, b : Int[(cells,)]
        Of which image, and the two levels of it; at least one.
    n_levels : int
        How many levels there are.
    weights : {"quadratic", "linear"} or None
        How disagreements count in kappa.
    confidence : float
        Of the interval, in (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    rate : Estimate
        Over cells; its `n` counts these.
    kappa : Estimate or None
        Of all cells together.
    """
    images, row = np.unique(image, return_inverse=True)
    tables = np.zeros((len(images), n_levels, n_levels))
    np.add.at(tables, (row, a, b), 1)
    cells, alike = len(image), of_tables(tables, weights)
    kappa = kappa_of_tables(alike, confidence, seed)
    return rate_of_tables(alike, cells, confidence), kappa and replace(kappa, n=cells)
