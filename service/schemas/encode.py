"""Images that are uploaded: embedded, classified, scored."""

from __future__ import annotations

from pydantic import Field

from clipcal.service.schemas.common import Decision, Reply


class Embedded(Reply):
    """One image's embedding; `item` where the corpus holds the same content."""

    name: str
    embedding: list[float] | None = None
    item: int | None = None
    error: str | None = None


class Embeddings(Reply):
    """Embeddings, L2-normalised, of a model."""

    model: str
    fingerprint: str
    dim: int
    results: list[Embedded]


class RankedSentence(Reply):
    """A sentence, its cosine with the image, and its share among those given (no probability)."""

    sentence: str
    score: float
    share: float


class Classified(Reply):
    """Sentences, best first; or the categories of a prompt set by score."""

    name: str
    width: int
    height: int
    model: str
    provider: str
    milliseconds: float
    sentences: list[RankedSentence] = Field(default_factory=list)
    prompts: str | None = None
    categories: dict[str, float] = Field(default_factory=dict)


class ScoredImage(Reply):
    """What the calibration says of one uploaded image."""

    name: str
    decisions: dict[str, Decision] = Field(default_factory=dict)
    overall: str | None = None
    item: int | None = None
    error: str | None = None


class Scored(Reply):
    """Decisions on uploaded images, under the calibration with this hash."""

    calibration: str | None
    prompts: str
    results: list[ScoredImage]
