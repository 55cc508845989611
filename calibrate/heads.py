"""Learned scores on frozen embeddings: a linear probe and Tip-Adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipcal.calibrate.statistics.bounds import Estimate, Range

HeadKind = Literal["probe", "tip_adapter"]


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Why a head was offered, or not: areas under the ROC curve out of fold.

    Attributes
    ----------
    kind : {"probe", "tip_adapter"}
        The better head.
    plain, learned : Estimate
        Of the score without and with the head, on the same images.
    gain : Range
        The difference, with an interval.
    offered : bool
        Whether the gain is surely above nothing.
    """

    kind: HeadKind
    plain: Estimate
    learned: Estimate
    gain: Range
    offered: bool


@dataclass(frozen=True, slots=True)
class Head:
    """A learned score of one category, as a contract keeps it.

    Attributes
    ----------
    kind : {"probe", "tip_adapter"}
        A direction, or labelled images to be near to.
    dim : int
        Length of an embedding.
    arrays : dict of str to str
        Named float32 arrays, little-endian, base64.
    parameters : dict of str to float
        Named numbers.
    """

    kind: HeadKind
    dim: int
    arrays: dict[str, str]
    parameters: dict[str, float]
