"""Images of the corpus, and those found near something."""

from __future__ import annotations

from pydantic import Field

from clipcal.service.schemas.common import Item, Reply


class Judged(Reply):
    """What one rater says of an image in a category."""

    category: str
    level: str
    rater: str
    given: str | None = None


class ItemDetail(Item):
    """An image with all that is known of it."""

    sha256: str | None
    size: int | None
    copies: list[int]
    judgements: list[Judged]


class Items(Reply):
    """A page of images; `total` counts all that fit the question."""

    total: int
    offset: int
    items: list[Item]


class Hit(Reply):
    """An image found, its cosine, and for what lies near a flagged image that image."""

    item: Item
    similarity: float
    near: Item | None = None


class Found(Reply):
    """What was found, best first; `flagged` counts the flagged images searched around."""

    query: str
    hits: list[Hit]
    flagged: int | None = None


class Neighbours(Reply):
    """The images nearest to one; with a category, the nearest that people have labelled."""

    item: int
    category: str | None
    nearest: list[Hit]
    positives: list[Hit] = Field(default_factory=list)
    negatives: list[Hit] = Field(default_factory=list)


class Failure(Reply):
    """An image that could not be embedded."""

    id: int
    name: str
    reason: str


class Failures(Reply):
    """A page of failures."""

    total: int
    offset: int
    failures: list[Failure]
