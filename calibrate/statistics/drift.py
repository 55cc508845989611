"""Whether new scores are still like those at calibration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drift:
    """How the scores of one category moved.

    Attributes
    ----------
    ks : float
        Kolmogorov-Smirnov distance, in [0, 1].
    p_value : float
        Of the two-sample test that nothing moved.
    psi : float
        Population stability index over the deciles at calibration.
    n : int
        How many new images.
    drifted : bool
        Whether it is more than chance and more than a trifle.
    """

    ks: float
    p_value: float
    psi: float
    n: int
    drifted: bool
