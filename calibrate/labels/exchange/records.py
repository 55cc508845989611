"""What is read from a file of labels, and what one is written from, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.sheet import name_key
from clipcal.index.judgements import Origin
from clipcal.index.names import rater_name

Format = Literal["csv", "label-studio", "coco", "imagefolder"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)

# What is said where a file tells only whether a category is there, and not at which level.
PRESENT: Final = "yes"
ABSENT: Final = "no"


@dataclass(frozen=True, slots=True)
class Given:
    """A label that somebody gives an image.

    Attributes
    ----------
    image : str
        The image as the file calls it.
    category, level : str
        As the prompt set calls them.
    rater : str
        Who gives it, written in one way (`rater_name`).
    origin : Origin
        How the rater came to see the image.
    sha256 : str
        Of the image's content, where the file tells it; else empty.
    named : bool
        Whether the file says who gives it.

    Raises
    ------
    LabelError
        If the rater's name cannot be kept.
    """

    image: str
    category: str
    level: str
    rater: str
    origin: Origin = "given"
    sha256: str = ""
    named: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rater", rater_name(self.rater))


@dataclass(frozen=True, slots=True)
class Read:
    """What a file of labels holds.

    Attributes
    ----------
    format : Format
        Its format.
    given : tuple of Given
        One label per image, category and rater, in the file's order.
    notes : tuple of str
        What was guessed, left out or found contradictory, a sentence each.
    ignored : tuple of str
        Names of columns, controls or categories that hold no label of the prompt set.
    """

    format: Format
    given: tuple[Given, ...]
    notes: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What labels are wanted of a file.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    categories, levels : tuple of str
        The prompt set's; no levels are yes and no.
    scale : tuple of str
        The levels that labels of the corpus have, from low to high.
    rater : str
        Who gave what has no rater in the file.
    origin : Origin
        How raters came to see images, where the file does not tell.
    exhaustive : bool
        Whether a category that is not marked on an image is absent there. Else nobody knows.
    """

    name: str
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    scale: tuple[str, ...]
    rater: str
    origin: Origin
    exhaustive: bool

    def category(self, name: str) -> str | None:
        """Find a category by its name, as far as `name_key` lets names differ."""
        return _category(self.categories, name)


@dataclass(frozen=True, slots=True)
class Voice:
    """What one rater says of an image in a category, and how he came to see it."""

    category: str
    level: str
    rater: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is exported.

    Attributes
    ----------
    item : int
        Its id in the corpus.
    name : str
        What the file calls it: a path or an address.
    sha256 : str
        Of its content; empty where that is unknown.
    origin : Origin
        How whoever labels it comes to see it.
    voices : tuple of Voice
        What raters said, in the order of categories and raters.
    blank : tuple of Voice
        Without a level: who said something that counts no more, where nothing else is known.
    labels : mapping of str to str
        One level per category that has one: the majority.
    overall : str
        People's overall verdict; empty where none is kept.
    """

    item: int
    name: str
    sha256: str
    origin: Origin
    voices: tuple[Voice, ...]
    blank: tuple[Voice, ...]
    labels: Mapping[str, str]
    overall: str


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a calibration says of the exported images.

    Attributes
    ----------
    version : str
        Which model, prompt set and calibration.
    categories, levels : tuple of str
        The columns; from low to high.
    scores : Float32[(n, c)]
        Per picture.
    values : Int8[(n, c)]
        Index into the levels; -1 where no threshold decides.
    margins : Float64[(n,)]
        By how much a picture's score lies above the lowest threshold of its category, in the
        category where that is most; NaN where there is no threshold.
    """

    version: str
    categories: tuple[str, ...]
    levels: tuple[str, ...]
    scores: NDArray[np.float32]
    values: NDArray[np.int8]
    margins: NDArray[np.float64]


@lru_cache(maxsize=10_000)  # files name few categories, and each very often
def _category(categories: tuple[str, ...], name: str) -> str | None:
    key = name_key(name)
    return next((one for one in categories if name_key(one) == key), None)


def origin_of(text: object, asked: Asked) -> Origin:
    """Read how an image was chosen; what is no such word tells nothing."""
    return next((origin for origin in ORIGINS if origin == text), asked.origin)
