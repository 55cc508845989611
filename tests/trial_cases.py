"""A scored corpus with every label known, and samples of it, for tests of placed thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from planted_contract import planted_contract, prompt_set

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.by_hand import Placed
from clipcal.calibrate.cuts.calibration import Cuts, Evaluating, calibrate
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, parse_bands, parse_target
from clipcal.calibrate.labels.table import BINARY

LADDER = ("none", "minor", "major")
NAMES = ("fire", "water")
SET = prompt_set('[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n')
QUICK = Evaluating(draws=0)


@dataclass(frozen=True)
class World:
    """A corpus of 1,500 images, two categories, with the labels that people would give."""

    scores: np.ndarray
    values: np.ndarray
    levels: tuple[str, ...]

    @classmethod
    def of(cls, seed: int, levels: tuple[str, ...] = BINARY, images: int = 1500) -> World:
        rng = np.random.default_rng(seed)
        shares = [0.6, 0.4] if len(levels) == 2 else [0.5, 0.3, 0.2]
        values = rng.choice(len(levels), (images, 2), p=shares)
        scores = 1.5 * values + rng.normal(size=values.shape)
        return cls(np.round(scores, 3).astype(np.float32), values.astype(np.int8), levels)

    def draw(self, seed: int, n: int = 150, *, picked: int = 0) -> Sample:
        """Label `n` images at random, and `picked` more that count half in estimates."""
        rows = np.random.default_rng(seed).permutation(len(self.scores))[: n + picked]
        fair = np.arange(len(rows)) < n
        uniform = np.repeat(fair[:, None], 2, axis=1)
        return Sample(
            self.scores[rows],
            self.values[rows],
            rows,
            np.where(uniform, 1.0, 0.5),
            uniform,
            np.arange(len(rows)),
            np.ones(len(rows)),
            np.zeros(2, np.int64),
        )


def goal_of(text: str, *, joint: bool = False) -> Goal:
    """Read a target, or bands where there are two, at 90% confidence."""
    if "," in text:
        recall, precision = parse_bands(text)
        return Goal(recall, 0.9, joint, precision)
    return Goal(parse_target(text), 0.9, joint)


def cuts_of(
    world: World, sample: Sample, goal: Goal, *placed: Placed, evaluating: Evaluating = QUICK
) -> Cuts:
    """Calibrate, with some thresholds placed by hand."""
    done = calibrate(
        sample, goal, world.scores, NAMES, world.levels, placed=placed, evaluating=evaluating
    )
    return done.cuts


def contract_of(cuts: Cuts, levels: tuple[str, ...]) -> Contract:
    """Make a contract of cuts."""
    nothing = {name: dict.fromkeys(levels[1:]) for name in NAMES}
    return planted_contract(SET, nothing, levels=levels).model_copy(update={"categories": cuts})
