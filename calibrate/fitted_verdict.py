"""The overall verdict of a calibration, fitted to what people wrote or left to the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.decisions.verdicts import fit_overall, given_verdicts
from clipcal.calibrate.labels.pool import Pool
from clipcal.calibrate.material import Material
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import OverallModel
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.errors import CalibrationError, LabelError

_LEFT_OUT: Final = (
    "No overall verdict is fitted, and the prompt set's rules decide, where there are any."
)


@dataclass(frozen=True, slots=True)
class FittedVerdict:
    """What became of the overall verdict.

    Attributes
    ----------
    model : OverallModel or None
        None where the prompt set's rule serves.
    given : mapping of str to Int64[(n,)]
        Per verdict the contents that people gave it, as rows of the embeddings, ascending.
    notes : tuple of str
        Why there is no model, where one was tried.
    """

    model: OverallModel | None = None
    given: Mapping[str, Int64] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def refuse_without_verdicts(labels: Sequence[Path] | Pool, plan: CalibrationPlan) -> None:
    """Raise CalibrationError if a verdict is to be fitted, and there are no labels at all."""
    if plan.overall == "fitted" and not isinstance(labels, Pool) and not labels:
        raise CalibrationError(
            "An overall verdict is fitted to the column Overall of a label file. Name one: "
            "clipcal calibrate --labels FILE.csv --overall fitted"
        )


def fit_verdict(
    material: Material,
    kept: Sample,
    decided: NDArray[np.int8] | None,
    labels: Sequence[Path] | Pool,
    plan: CalibrationPlan,
) -> FittedVerdict:
    """Fit the overall verdict, where the plan asks for it.

    Parameters
    ----------
    material : Material
        Scores and labels.
    kept : Sample
        The labelled images that are fitted to.
    decided : Int8[(n, c)] or None
        Decisions out of fold on the material's sample.
    labels : sequence of pathlib.Path, or Pool
        Holds people's verdicts.
    plan : CalibrationPlan
        Whether the verdict is fitted, or only tried.

    Returns
    -------
    FittedVerdict
        The model; or why there is none.

    Raises
    ------
    LabelError, CalibrationError
        If people's verdicts do not allow it, unless it is only tried.
    """
    if plan.overall == "rule":
        return FittedVerdict()
    prompt_set, scored = material.prompts.prompt_set, material.scored
    fitted_to = np.isin(material.sample.places, kept.places)
    try:
        given = given_verdicts(labels, prompt_set, scored)
        model = fit_overall(
            given,
            prompt_set,
            scored,
            kept,
            material.table.levels,
            None if decided is None else decided[fitted_to],
            seed=plan.seed,
            confidence=plan.confidence,
        )
    except (LabelError, CalibrationError) as error:
        if plan.overall == "fitted":
            raise
        return FittedVerdict(notes=(f"{_LEFT_OUT} {error}",))
    return FittedVerdict(model, _by_name(given, model.verdicts))


def _by_name(given: Mapping[int, int], names: Sequence[str]) -> dict[str, Int64]:
    rows, codes = np.array(sorted(given.items()), np.int64).T
    return {name: rows[codes == code] for code, name in enumerate(names)}
