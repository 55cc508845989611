"""Probabilities from scores: maps fitted to labels, and how well they hold out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipcal.calibrate.statistics.bounds import Estimate

MapKind = Literal["platt", "isotonic", "beta"]


@dataclass(frozen=True, slots=True)
class ProbabilityMap:
    """A map from scores to probabilities, as a contract keeps it.

    Attributes
    ----------
    kind : {"platt", "isotonic", "beta"}
        Which family.
    parameters : tuple of float
        Of the families with a formula; empty for isotonic.
    knots : tuple of (float, float)
        Score and probability where an isotonic map bends; empty for the others.
    """

    kind: MapKind
    parameters: tuple[float, ...] = ()
    knots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images with similar probabilities: what was predicted, and what was seen.

    Attributes
    ----------
    predicted : float
        Mean probability.
    seen : Estimate
        Rate of positives, with Wilson's interval; `n` is the number of images.
    """

    predicted: float
    seen: Estimate


@dataclass(frozen=True, slots=True)
class ProbabilityQuality:
    """How probabilities did on images that they were not fitted to.

    Attributes
    ----------
    n : int
        Images.
    brier, log_loss, calibration_error : float
        Mean squared error, mean negative log likelihood, and expected calibration error.
    brier_of_base_rate : float
        Brier score of always saying the base rate, to compare with.
    bins : tuple of ReliabilityBin
        From low to high probability.
    """

    n: int
    brier: float
    log_loss: float
    calibration_error: float
    brier_of_base_rate: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class ClassTemperature:
    """A softmax over categories whose temperature was fitted to one class per image.

    Attributes
    ----------
    temperature : float
        Scores are divided by it before the softmax.
    quality : ProbabilityQuality or None
        Of the most probable class, out of fold.
    """

    temperature: float
    quality: ProbabilityQuality | None = None
