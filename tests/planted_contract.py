"""Calibrations with thresholds that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels
from clipcal.calibrate.records import Cut
from clipcal.prompts.promptset import PromptSet, parse_prompt_set

Thresholds = Mapping[str, Mapping[str, float | None]]


def prompt_set(text: str) -> PromptSet:
    """Parse a prompt set written as TOML."""
    return parse_prompt_set(text, source="test", format="toml")


def planted_contract(
    chosen: PromptSet,
    thresholds: Thresholds,
    *,
    levels: tuple[str, ...] = ("negative", "positive"),
    model: str = "f" * 64,
    preprocessing: str = "p" * 64,
    rule: str = "margin",
    **more: Any,
) -> Contract:
    """Make a contract with the thresholds given, by category and level."""
    return Contract(
        created="2024-05-06T07:08:09+00:00",
        clipcal="0.1.0",
        model="planted::test",
        fingerprint=Fingerprint(
            model=model, preprocessing=preprocessing, prompts=chosen.sha256, score_rule=rule
        ),
        prompt_set=KeptPromptSet.of(chosen),
        labels=Labels(name="human.csv", sha256="e" * 64, images=100),
        levels=levels,
        confidence=0.95,
        target="recall=0.9",
        seed=0,
        categories={
            category: {level: _cut(threshold) for level, threshold in cuts.items()}
            for category, cuts in thresholds.items()
        },
        **more,
    )


def _cut(threshold: float | None) -> Cut:
    return Cut(
        status="no_positives" if threshold is None else "certified",
        threshold=threshold,
        objective="recall=0.9",
        n=100,
        positives=50,
        next_step="Apply it: clipcal rescore",
    )
