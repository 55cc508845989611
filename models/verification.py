"""What was found when an export was checked, as its manifest keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Kept(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TowerParity(Kept):
    """The greatest differences seen between one exported tower and its torch source."""

    max_abs_error: float
    min_cosine: float
    batch_sizes: tuple[int, ...]
    inputs: str


class Parity(Kept):
    """Parity of both towers with torch, and the tolerance that they had to meet.

    In int8 the tolerance is that of the image tower; the text tower had to meet that of fp32.
    """

    visual: TowerParity
    textual: TowerParity
    tolerance: float


class QuantisationRecord(Kept):
    """How the image tower became int8; the text tower stays as it was.

    Attributes
    ----------
    layers : int
        Products that compute in integers.
    in_float : tuple of str
        Products that were left in float, being sensitive.
    smoothed : int
        Products whose outlier channels were evened out.
    min_cosine, mean_cosine : float
        Against the tower in float, on the pictures that ranges came from: what the quantiser saw
        itself, not the parity.
    digest : str
        Hash of the ranges and choices: two exports of one model that differ in it embed
        differently.
    pictures : str
        On what the ranges of activations were measured, in words.
    """

    layers: int = Field(ge=0)
    in_float: tuple[str, ...]
    smoothed: int = Field(ge=0)
    min_cosine: float
    mean_cosine: float
    digest: str
    pictures: str


class Share(Kept):
    """A share with its interval (Clopper and Pearson's)."""

    value: float
    low: float
    high: float
    n: int


class CategoryFlips(Kept):
    """How many images a category decides otherwise than in full precision.

    Attributes
    ----------
    flips : int
        Images whose level is another.
    share : Share
        Of all images compared.
    levels : dict of str to int
        Images on the other side of each level's threshold.
    shift : float
        The greatest change of a score.
    """

    flips: int = Field(ge=0)
    share: Share
    levels: dict[str, int]
    shift: float


class DecisionRecord(Kept):
    """Whether calibrated decisions stay what they are in full precision.

    Attributes
    ----------
    calibration : str
        SHA-256 of the calibration's file.
    reference : str
        Fingerprint of the fp32 bundle that it was fitted with.
    provider : str
        What computed the embeddings that were compared.
    images : int
        Compared.
    max_flips : float
        The share of images, category by category, that was allowed to flip.
    confidence : float
        Of the intervals.
    categories : dict of str to CategoryFlips
        By category; those without a threshold decide nothing and are left out.
    """

    calibration: str
    reference: str
    provider: str
    images: int = Field(gt=0)
    max_flips: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    categories: dict[str, CategoryFlips]

    @property
    def worst(self) -> Share:
        """The share of the category that flips most."""
        return max((each.share for each in self.categories.values()), key=lambda each: each.value)
