"""What to look at next, and what the labels are worth so far."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clipcal.service.schemas.common import Item, Name, Reply, Request

Order = Literal["suggested", "flagged", "near"]


class Queue(Reply):
    """Images to look at, in order; `waiting` counts those behind them too.

    `origin` is what labels of this queue must say of themselves; `counts` whether they may
    back a guarantee, and `note` says so in a sentence.
    """

    order: Order
    category: str | None
    origin: str
    counts: bool
    note: str
    waiting: int
    items: list[Item]


class DrawRound(Request):
    """Draw images to label, with known chances."""

    category: Name | None = None
    images: int = Field(default=40, ge=1, le=10_000)
    audit: float = Field(default=0.5, ge=0, le=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


class Round(Reply):
    """A round that was drawn."""

    round: int
    images: int
    audit: int
    picked: int
    pending: int


class CutOutlook(Reply):
    """What the labels certify of one cut by now, and what is still lacking.

    With bands a cut has two, a recall and a precision, which `objective` tells apart; for a
    precision `further_positives` counts flagged images. `evidence` of `needed` labels back the
    guarantee.
    """

    category: str
    level: str
    objective: str = ""
    status: str
    n: int = 0
    positives: int
    evidence: int | None = None
    needed: int | None = None
    further_positives: int | None
    further_labels: int | None
    threshold: float | None
    sentence: str


class OutlookReply(Reply):
    """The outlook of every cut, after so many labels."""

    target: str
    confidence: float
    labelled: int
    cuts: list[CutOutlook]
