"""Ordered levels from scores: a penalised proportional-odds model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrdinalFit:
    """A fitted proportional-odds model, as a contract keeps it.

    Attributes
    ----------
    weights : tuple of float
        One per feature, on standardised features.
    cutpoints : tuple of float
        One per level above the lowest, ascending.
    centre, scale : tuple of float
        What features are standardised with.
    penalty : float
        Of the weights.
    """

    weights: tuple[float, ...]
    cutpoints: tuple[float, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    penalty: float
