"""What several parts of the API say alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from clipcal.index.names import LONGEST, rater_name

# Without control characters, which label files could not keep, nor blanks around.
_ENDS, _WITHIN = r"[^\s\x00-\x1f\x7f-\x9f\ufeff]", r"[^\x00-\x1f\x7f-\x9f\ufeff]"
_NAME = rf"^{_ENDS}({_WITHIN}*{_ENDS})?$"
Name = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=_NAME)]
Rater = Annotated[Name, AfterValidator(rater_name)]

# As `corpus` of /v1/categories has it: other ids are another corpus's.
Identity = Annotated[str, Field(min_length=1, max_length=64)]


class Request(BaseModel):
    """A request's body; fields that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reply(BaseModel):
    """A reply."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class FieldError(Reply):
    """What is wrong with one field of a request."""

    where: str
    problem: str


class Problem(Reply):
    """What went wrong, as RFC 9457 has it: the fact, the need, and the next step in `detail`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)


class Rate(Reply):
    """A rate with its interval, over `n` images."""

    value: float
    low: float
    high: float
    n: int


class Amount(Reply):
    """A number of images, or a cost, with its interval."""

    value: float
    low: float
    high: float


class CategoryInfo(Reply):
    """A category of the prompt set."""

    name: str
    prompts: list[str]
    against: list[str]


class Decision(Reply):
    """What the calibration says of one image in one category.

    `level` is None where no threshold decides; `band` where there are no bands.
    """

    score: float
    level: str | None = None
    threshold: float | None = None
    band: str | None = None
    probability: float | None = None


class Item(Reply):
    """An image of the corpus in brief. `labels` are what people say, by category."""

    id: int
    name: str
    picture: bool
    decisions: dict[str, Decision]
    labels: dict[str, str]
    overall: str | None = None
