"""What is asked of a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipcal.calibrate.cuts.by_hand import Placed
from clipcal.calibrate.cuts.calibration import Evaluating
from clipcal.calibrate.cuts.probabilities import MapChoice
from clipcal.calibrate.cuts.targets import Goal, parse_bands, parse_target
from clipcal.calibrate.labels.votes import Aggregate


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What a calibration is to attain, and how.

    Attributes
    ----------
    target : str
        See `parse_target`.
    confidence : float
        Of guarantees and intervals.
    joint : bool
        Whether all guarantees hold together with it.
    bands : str or None
        What three bands are to attain; see `parse_bands`. Then `target` is not looked at.
    holdout : float
        Share of the labelled images kept out, for an evaluation without optimism.
    folds, repeats : int
        Of cross-fitting; fewer than 2 folds do without.
    seed : int
        Of every division and draw.
    rule : str
        The score rule; see `clipcal.calibrate.scoring.rules`.
    raters : {"majority", "dawid-skene"}
        How several raters' labels become one.
    learn : bool
        Whether to learn scores from half of the labels, where that is better.
    probabilities : str or None
        Which map from scores to probabilities to fit: ``auto``, ``platt``, ``isotonic``,
        ``beta``, or ``temperature`` for one class per image.
    prior_shift : bool
        Whether to adjust probabilities to the prevalence that the corpus seems to have.
    overall : {"rule", "fitted"}
        Where the overall verdict comes from.
    placed : tuple of Placed
        Thresholds that a person placed; the others are fitted.
    """

    target: str = "recall=0.9"
    confidence: float = 0.95
    joint: bool = False
    bands: str | None = None
    holdout: float = 0.0
    folds: int = 5
    repeats: int = 5
    seed: int = 0
    rule: str = "margin"
    raters: Aggregate = "majority"
    learn: bool = False
    probabilities: MapChoice | None = None
    prior_shift: bool = False
    overall: Literal["rule", "fitted"] = "rule"
    placed: tuple[Placed, ...] = ()

    @property
    def goal(self) -> Goal:
        """What each cut is to attain."""
        if self.bands is None:
            return Goal(parse_target(self.target), self.confidence, self.joint)
        recall, precision = parse_bands(self.bands)
        return Goal(recall, self.confidence, self.joint, precision)

    @property
    def evaluating(self) -> Evaluating:
        """On what the cuts are tried."""
        division = 0.5 if self.learn else 1.0
        return Evaluating(self.holdout, self.folds, self.repeats, self.seed, share=division)

    @property
    def share(self) -> float:
        """Which share of the images that people label reaches the fit."""
        return self.evaluating.share * (1 - self.holdout)
