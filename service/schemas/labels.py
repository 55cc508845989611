"""Labels: given, taken back, brought and fetched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from clipcal.service.schemas.common import Identity, Name, Rater, Reply, Request

Origin = Literal["given", "random", "suggested", "flagged", "near", "search"]
ExchangeFormat = Literal["csv", "label-studio", "coco", "imagefolder"]
Selection = Literal["labelled", "suggested", "flagged", "near", "all"]
Batch = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
ItemId = Annotated[int, Field(ge=1, le=2**53)]


class Label(Request):
    """One label; level null takes back what the rater said before."""

    item: ItemId
    category: Name
    level: Name | None


class GiveLabels(Request):
    """Labels that are given at once.

    `batch` is made by the client, and the same batch is kept once however often it is sent.
    `origin` tells how the images came to be seen: those that were flagged, near a threshold or
    searched for were chosen for their scores, and their labels back no guarantee.
    With `preview` nothing is written. With `corpus` they are refused by any other than that one.
    """

    batch: Batch
    rater: Rater
    origin: Origin
    labels: list[Label] = Field(min_length=1, max_length=5_000)
    preview: bool = False
    corpus: Identity | None = None


class LabelsKept(Reply):
    """What was kept, or with `preview` what would be: `again` where the batch was kept before."""

    batch: str
    preview: bool
    again: bool
    new: int
    changed: int
    same: int


class UndoLabels(Request):
    """Take a batch back, whole.

    With `rater` it must be this rater's; an import, which may hold several raters' labels, is
    taken back without. With `corpus` any other than that one refuses.
    """

    batch: str = Field(min_length=1, max_length=1_000)
    rater: Rater | None = None
    corpus: Identity | None = None


class LabelsUndone(Reply):
    """How many labels were taken back; none where the batch was undone before."""

    batch: str
    undone: int


class KeptLabel(Reply):
    """A label as it was given."""

    id: int
    batch: str
    item: int
    name: str
    category: str
    level: str | None
    rater: str
    origin: str
    given: str
    undone: str | None


class LabelHistory(Reply):
    """Labels as they were given, the newest first; `before` is the next page's parameter."""

    labels: list[KeptLabel]
    before: int | None


class LabelsImported(Reply):
    """What an uploaded label file holds, and what became of it.

    `unmatched` names images that the corpus does not hold, and `ambiguous` those that could be
    several: the first 200 of each; the counts are of all. `written` counts the labels that were
    kept: none where the batch was kept before.
    """

    batch: str
    preview: bool
    format: str
    written: int
    new: int
    changed: int
    same: int
    raters: list[str]
    unmatched: list[str]
    unmatched_count: int
    ambiguous: list[str]
    ambiguous_count: int
    notes: list[str]


class Raters(Reply):
    """Everybody who has labelled."""

    raters: list[str]
