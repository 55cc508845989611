"""Thresholds: tried, fitted, saved."""

from __future__ import annotations

from pydantic import Field

from clipcal.service.schemas.common import Amount, CategoryInfo, Item, Name, Rate, Reply, Request


class BandsView(Reply):
    """Three bands of a cut."""

    status: str
    upper: float | None
    by_hand: bool
    allow: int
    review: int
    block: int
    precision: Rate | None
    guarantee: str | None
    next_step: str


class CutView(Reply):
    """A threshold and what is known of it."""

    category: str
    level: str
    status: str
    objective: str
    threshold: float | None
    by_hand: bool
    n: int
    positives: int
    recall: Rate | None
    precision: Rate | None
    flags: int | None
    bands: BandsView | None
    guarantee: str | None
    next_step: str


class CalibrationView(Reply):
    """The calibration that is applied; `sha256` names this very file.

    `target` and `bands` are as `FitCalibration` takes them, so that it can be fitted as before.
    """

    sha256: str
    created: str
    model: str
    prompts: str
    levels: list[str]
    confidence: float
    target: str
    bands: str | None = None
    joint: bool
    labelled: int
    cuts: list[CutView]
    warnings: list[str]


class CategoriesReply(Reply):
    """The categories that are served, and the calibration's hash, if there is one.

    `corpus` tells one corpus from another; it is "" where the corpus may not be written.
    """

    prompts: str
    levels: list[str]
    categories: list[CategoryInfo]
    images: int
    labelled: int
    calibration: str | None
    corpus: str


class PromptSets(Reply):
    """The prompt sets that images can be classified with."""

    own: str
    packaged: list[str]


class PlacedThreshold(Request):
    """A threshold placed by hand; with `upper` the images from there on are blocked."""

    category: Name
    level: Name | None = None
    threshold: float | None = None
    upper: float | None = None


class FitCalibration(Request):
    """Fit thresholds to the labels so far.

    Nothing is written unless `save`. `replaces` is the hash of the calibration that the client
    saw: another one that was saved in the meantime is not overwritten.
    """

    target: str = Field(default="recall=0.9", max_length=100)
    bands: str | None = Field(default=None, max_length=100)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    joint: bool = False
    placed: list[PlacedThreshold] = Field(default=[], max_length=500)
    save: bool = False
    replaces: str | None = Field(default=None, max_length=64)


class Fitted(Reply):
    """A calibration that was fitted, and whether it is saved."""

    saved: bool
    calibration: CalibrationView
    notes: list[str]


class CostsOfErrors(Request):
    """What a missed positive and a false flag cost."""

    miss: float = Field(default=1.0, ge=0, le=1e9)
    false_flag: float = Field(default=1.0, ge=0, le=1e9)


class TryThreshold(Request):
    """A threshold to be tried."""

    category: Name
    level: Name | None = None
    threshold: float
    upper: float | None = None


class WhatIfRequest(Request):
    """Thresholds to be tried; nothing is written. `flips` images are shown of each kind.

    `target` or `bands`, `confidence` and `joint` say of what kind a guarantee would be, as in
    `FitCalibration`. What is left out is as in the calibration that is served, or, where there is
    none, as by default there.
    """

    trials: list[TryThreshold] = Field(min_length=1, max_length=100)
    costs: CostsOfErrors = CostsOfErrors()
    target: str | None = Field(default=None, max_length=100)
    bands: str | None = Field(default=None, max_length=100)
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    joint: bool | None = None
    flips: int = Field(default=0, ge=0, le=60)


class ExpectedView(Reply):
    """What to expect of the corpus."""

    true_flags: Amount | None
    false_flags: Amount | None
    misses: Amount | None


class Tried(Reply):
    """What a threshold would do, and with `upper` what would be blocked."""

    category: str
    level: str
    threshold: float
    upper: float | None
    images: int
    flags: int
    before: int | None
    newly: int | None
    no_longer: int | None
    n: int
    positives: int
    recall: Rate | None
    precision: Rate | None
    expected: ExpectedView | None
    cost: Amount | None
    allow: int | None
    review: int | None
    block: int | None
    upper_precision: Rate | None = None
    wrongly_blocked: Amount | None = None
    certified_up_to: float | None
    certified: bool
    upper_certified: bool = False
    sentence: str
    newly_items: list[Item] = Field(default_factory=list)
    no_longer_items: list[Item] = Field(default_factory=list)


class WhatIfReply(Reply):
    """What the thresholds would do, and how long it took to tell."""

    results: list[Tried]
    milliseconds: float


class HistogramGroup(Reply):
    """Counts per bin of the corpus, or of the images labelled at a level."""

    name: str
    level: str | None
    counts: list[int]


class HistogramView(Reply):
    """Scores of a category in bins of equal width."""

    category: str
    low: float
    high: float
    groups: list[HistogramGroup]


class CurvePoint(Reply):
    """Rates at a threshold."""

    threshold: float
    recall: Rate | None
    precision: Rate | None
    flags: int


class CurveView(Reply):
    """Rates along the thresholds, ascending."""

    category: str
    level: str
    points: list[CurvePoint]
