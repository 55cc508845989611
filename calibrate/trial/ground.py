"""What thresholds are tried on: scores, labels, and the thresholds in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract, check
from clipcal.calibrate.cuts.evaluation import split
from clipcal.calibrate.cuts.fit import Fits, fit_cuts
from clipcal.calibrate.cuts.sample import CutSample, Sample
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.cuts.thresholds import Declared, Fitted, Place, declare
from clipcal.calibrate.material import Material
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import Scores, decide
from clipcal.calibrate.scoring.under_contract import fingerprint_of
from clipcal.calibrate.trial.answers import Flags
from clipcal.errors import CalibrationError


@dataclass(frozen=True, slots=True, eq=False)
class ReadyCut:
    """One cut with all that does not depend on where its threshold is tried.

    Attributes
    ----------
    place : Place
        Its column, and the rank of its level.
    fit : Fitted
        The threshold that the labels give, and what they certify.
    sample : CutSample
        The labelled images.
    scores : Float32[(N,)]
        Of the corpus in its category.
    flagged : Bool[(N,)] or None
        What the contract flags; None where it has no threshold here.
    """

    place: Place
    fit: Fitted
    sample: CutSample
    scores: NDArray[np.float32]
    flagged: Flags | None


class Ground:
    """Scores and labels that thresholds are tried on, gathered once.

    Parameters
    ----------
    scores : Float32[(N, c)]
        Scores of the whole corpus.
    sample : Sample
        The labelled images that a calibration would be fitted to; there may be none.
    goal : Goal
        What a calibration would ask for; it decides what is certified.
    categories : sequence of str
        Names of the columns.
    levels : sequence of str
        From low to high.
    contract : Contract, optional
        The thresholds in force, whose scores these must be; see `Ground.of`.
    population : str
        Which images guarantees speak of, where not of the whole corpus.
    """

    def __init__(
        self,
        scores: Scores,
        sample: Sample,
        goal: Goal,
        categories: Sequence[str],
        levels: Sequence[str],
        contract: Contract | None = None,
        population: str = "",
    ) -> None:
        self.scores, self.sample, self.goal = scores, sample, goal
        self.categories, self.levels = tuple(categories), tuple(levels)
        self.contract, self.population = contract, population
        self._ready: dict[Place, ReadyCut] = {}

    @classmethod
    def of(
        cls, material: Material, plan: CalibrationPlan, contract: Contract | None = None
    ) -> Self:
        """Try thresholds on what a calibration would be made from.

        Parameters
        ----------
        material : Material
            Scores and labels.
        plan : CalibrationPlan
            What a calibration would ask for; what it holds out is left out here too.
        contract : Contract, optional
            The thresholds in force.

        Returns
        -------
        Ground
            Categories whose score a contract learned otherwise count as not yet calibrated.

        Raises
        ------
        FingerprintMismatch
            If the contract is of other scores.
        CalibrationError
            If the hold-out leaves one side empty, or a score is not finite.
        """
        if contract is not None:
            ours = fingerprint_of(material.corpus, material.prompts.prompt_set, material.rule)
            check(contract.fingerprint, ours, contract.prompt_set.name)
            contract = _of_same_scores(contract, material)
        sample = material.sample
        if len(sample):
            sample, _ = split(sample, plan.holdout, plan.seed)
        scored = material.scored
        return cls(
            scored.scores,
            sample,
            plan.goal,
            scored.categories,
            material.table.levels,
            contract,
            material.population,
        )

    def cut(self, category: str, level: str) -> ReadyCut:
        """Make a cut ready to be tried, once.

        Raises
        ------
        CalibrationError
            If there is no such category or level.
        """
        place = self.place(category, level)
        if place not in self._ready:
            self._ready[place] = self._make_ready(place)
        return self._ready[place]

    def place(self, category: str, level: str) -> Place:
        """Return the column of a category and the rank of a level; CalibrationError for others."""
        if category not in self.categories or level not in self.levels[1:]:
            raise CalibrationError(
                f"There is no threshold for {category!r}, {level!r}; there are the categories "
                f"{', '.join(self.categories)} and the levels {', '.join(self.levels[1:])}. "
                f"See: clipcal prompts show SET"
            )
        return self.categories.index(category), self.levels.index(level)

    def column(self, number: int) -> NDArray[np.float32]:
        """Return the corpus's scores in a category, side by side in memory: Float32[(N,)]."""
        return np.ascontiguousarray(self.scores[:, number])

    def in_force(self, category: str) -> dict[str, Cut]:
        """Return the contract's cuts of a category by level, from the lowest up."""
        return {} if self.contract is None else self.contract.categories.get(category, {})

    @cached_property
    def declared(self) -> Declared:
        """The thresholds at which a precision may be certified, declared before any label."""
        return declare(self.scores, self.goal, int(self.sample.backing.sum()))

    @cached_property
    def _fits(self) -> Fits:
        return fit_cuts(self.sample, self.goal, self.declared, self.levels)

    def _make_ready(self, place: Place) -> ReadyCut:
        column, rank = place
        scores = self.column(column)
        now = self.in_force(self.categories[column]).get(self.levels[rank])
        flagged = None
        if now is not None and now.threshold is not None:
            flagged = decide(scores, now.threshold)
        return ReadyCut(place, self._fits[place], self.sample.of(column, rank), scores, flagged)


def _of_same_scores(contract: Contract, material: Material) -> Contract:
    """Leave out the categories whose score was learned from other labels, or no more is."""
    heads = material.learned.heads if material.learned else {}
    same = {
        category: cuts
        for category, cuts in contract.categories.items()
        if contract.heads.get(category) == heads.get(category)
    }
    return contract.model_copy(update={"categories": same})
