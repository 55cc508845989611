"""What a request asks of a calibration, together with what it says nothing of."""

from __future__ import annotations

from dataclasses import replace

from clipcal.calibrate.plan import CalibrationPlan, plan_of
from clipcal.service.served.view import View


def standing_plan(view: View) -> CalibrationPlan:
    """Return what the calibration that is served was asked for; by default recall 0.9.

    Thresholds that a person placed are left out: a request places its own. A fitted overall verdict
    is only tried: the corpus may keep no verdicts of people's, and thresholds are wanted all the
    same.
    """
    if view.contract is None:
        return CalibrationPlan(rule=str(view.rule))
    plan = replace(plan_of(view.contract), placed=())
    return plan if plan.overall == "rule" else replace(plan, overall="tried")


def plan_varied(
    view: View,
    *,
    target: str | None = None,
    bands: str | None = None,
    confidence: float | None = None,
    joint: bool | None = None,
) -> CalibrationPlan:
    """Return what the calibration that is served was asked for, but for what a request names.

    Parameters
    ----------
    view : View
        What is served.
    target, bands : str, optional
        What to attain; either takes the place of both.
    confidence : float, optional
        Of guarantees and intervals.
    joint : bool, optional
        Whether all guarantees hold together with it.
    """
    plan = standing_plan(view)
    if target is not None or bands is not None:
        plan = replace(plan, target=plan.target if target is None else target, bands=bands)
    if confidence is not None:
        plan = replace(plan, confidence=confidence)
    return plan if joint is None else replace(plan, joint=joint)


def plan_for(view: View, asked: CalibrationPlan) -> CalibrationPlan:
    """Return what a request asks for, with the rest as in the calibration that is served.

    Parameters
    ----------
    view : View
        What is served.
    asked : CalibrationPlan
        Its target, bands, confidence, joint and placed count.

    Returns
    -------
    CalibrationPlan
        With the score rule, the seed, the hold-out, learning and probabilities of the
        calibration, so that its scores are the ones that are shown.
    """
    return replace(
        standing_plan(view),
        target=asked.target,
        bands=asked.bands,
        confidence=asked.confidence,
        joint=asked.joint,
        placed=asked.placed,
    )
