"""What the database of a corpus remembers: images, and the rounds in which some were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["embedded", "failed", "removed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the corpus, as the database knows it."""

    id: int
    uri: str
    sha256: str | None
    size: int | None
    stamp: str | None
    state: State
    reason: str | None
    row: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: embedded or failed.

    Attributes
    ----------
    uri : str
        The file.
    sha256, size, stamp
        Its content and when it last changed, where known.
    row : int or None
        Row of its embedding; None if it failed.
    reason : str or None
        Why it failed; None if it is embedded.
    """

    uri: str
    sha256: str | None = None
    size: int | None = None
    stamp: str | None = None
    row: int | None = None
    reason: str | None = None

    @property
    def state(self) -> State:
        """The state that the item takes."""
        return "failed" if self.row is None else "embedded"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A distinct image that was drawn to be labelled.

    Attributes
    ----------
    round : int
        In which draw.
    row : int
        Its embedding's row; copies share it.
    inclusion : float
        With what probability it was drawn, in (0, 1].
    audit : bool
        Drawn uniformly, whatever its score.
    """

    round: int
    row: int
    inclusion: float
    audit: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One draw of images to label.

    Attributes
    ----------
    number : int
        From 1.
    created : str
        When, in ISO 8601.
    method : str
        How images were picked.
    seed : int
        Of the draw.
    category : str
        To be labelled in; empty for all.
    frame : int
        Distinct images that could be picked.
    audit, picked : int
        Images drawn uniformly, and for their scores.
    rows : int
        Embeddings of the corpus then.
    """

    number: int
    created: str
    method: str
    seed: int
    category: str
    frame: int
    audit: int
    picked: int
    rows: int
