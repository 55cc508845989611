"""What may be said of a threshold that is tried."""

from __future__ import annotations

from clipcal.calibrate.cuts.sentences import at_least, certified_where
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.cuts.thresholds import Fitted
from clipcal.calibrate.records import BY_HAND, Cut

_LOOKED = (
    "Each interval is for one threshold fixed in advance: a threshold picked because its interval "
    "looks good has no guarantee."
)


def what_holds(cut: Cut, fit: Fitted, goal: Goal) -> str:
    """Say what holds of a placed threshold, or that nothing does and where something would.

    Parameters
    ----------
    cut : Cut
        With the threshold placed by hand, and its sentences.
    fit : Fitted
        As fitted; it tells which thresholds are certified.
    goal : Goal
        What is asked for.

    Returns
    -------
    str
        The guarantees that hold, in full; what is not guaranteed is said too.
    """
    if not cut.n:
        return "Nothing is known of it: no image is labelled here."
    said = [cut.guarantee or f"Nothing is promised of it{_elsewhere(cut, fit, goal)}."]
    if cut.bands is not None and cut.bands.objective == BY_HAND:
        said.append("Nothing is promised of what is blocked.")
    elif cut.bands is not None and cut.bands.guarantee:
        said.append(cut.bands.guarantee)
    return " ".join(said if cut.guarantee else [*said, _LOOKED])


def _elsewhere(cut: Cut, fit: Fitted, goal: Goal) -> str:
    if not goal.target.guaranteed:
        return ""
    if not fit.certified:
        return f": these labels certify {at_least(goal.target)} nowhere"
    return f": {certified_where(cut.threshold or 0.0, goal.target, fit.certified)}"
