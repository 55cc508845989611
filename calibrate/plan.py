"""What is asked of a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.by_hand import Placed
from clipcal.calibrate.cuts.calibration import Evaluating
from clipcal.calibrate.cuts.probabilities import MapChoice
from clipcal.calibrate.cuts.targets import Goal, parse_bands, parse_target
from clipcal.calibrate.labels.votes import Aggregate
from clipcal.calibrate.records import BY_HAND, Cut


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
    overall : {"rule", "fitted", "tried"}
        Where the overall verdict comes from: the prompt set's rule, or people's verdicts. What is
        tried is fitted too, and where people's verdicts do not allow it, that is noted and the
        rule serves.
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
    overall: Literal["rule", "fitted", "tried"] = "rule"
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


def plan_of(contract: Contract) -> CalibrationPlan:
    """Read off a contract what it was asked for, so as to fit again as before.

    Parameters
    ----------
    contract : Contract
        A calibration.

    Returns
    -------
    CalibrationPlan
        Target or bands, confidence, joint, hold-out, seed, score rule, learning, probabilities
        and their shift, overall verdict and placed thresholds as they were. Three things are not
        on record: how several raters' labels became one (`raters` is the majority); that it was
        not to be cross-fitted (`folds` is then as usual); and whether maps to probabilities were
        chosen or named (one kind throughout counts as named).
    """
    cuts = [cut for levels in contract.categories.values() for cut in levels.values()]
    evaluated = contract.crossfit
    usual = CalibrationPlan()
    return CalibrationPlan(
        target=contract.target,
        confidence=contract.confidence,
        joint=contract.joint,
        bands=_bands_of(contract, cuts),
        holdout=(contract.holdout and contract.holdout.fraction) or 0.0,
        folds=(evaluated and evaluated.folds) or usual.folds,
        repeats=(evaluated and evaluated.repeats) or usual.repeats,
        seed=contract.seed,
        rule=contract.fingerprint.score_rule,
        learn=bool(contract.comparisons or contract.heads),
        probabilities=_probabilities_of(contract, cuts),
        prior_shift=any(
            c.probability and c.probability.corpus_prevalence is not None for c in cuts
        ),
        overall="rule" if contract.overall is None else "fitted",
        placed=_placed_of(contract),
    )


def _bands_of(contract: Contract, cuts: Sequence[Cut]) -> str | None:
    """Name both targets where bands were asked for; old contracts have the second by the cut."""
    asked = {cut.bands.objective for cut in cuts if cut.bands is not None} - {BY_HAND}
    if contract.block is not None:
        asked = {contract.block}
    return f"{contract.target},{min(asked)}" if asked else None


def _probabilities_of(contract: Contract, cuts: Sequence[Cut]) -> MapChoice | None:
    if contract.temperature is not None:
        return "temperature"
    kinds = {cut.probability.map.kind for cut in cuts if cut.probability is not None}
    return ("auto" if len(kinds) > 1 else kinds.pop()) if kinds else None


def _placed_of(contract: Contract) -> tuple[Placed, ...]:
    binary = len(contract.levels) == 2
    return tuple(
        Placed(
            category,
            None if binary else level,
            cut.threshold if cut.by_hand else None,
            cut.bands.upper if cut.bands is not None and cut.bands.by_hand else None,
        )
        for category, cuts in contract.categories.items()
        for level, cut in cuts.items()
        if cut.by_hand or (cut.bands is not None and cut.bands.by_hand)
    )
