"""How the service is."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from clipcal.service.schemas.common import Reply, Request

LONGEST_TOKEN: Final = 4096


class Health(Reply):
    """What runs where. `provider` is what computes, not what was asked for.

    The encoder is opened by the first request that needs it: until then `provider` is None.
    `corpus` tells one corpus from another, as it does in the categories' reply.
    """

    status: str
    version: str
    model: str
    fingerprint: str
    device: str
    provider: str | None
    arithmetic: str | None
    note: str | None
    problem: str | None
    images: int
    failed: int
    corpus: str
    calibration: str | None
    seconds: float


class Session(Request):
    """The token, to be kept as a cookie that scripts cannot read."""

    token: Annotated[str, Field(max_length=LONGEST_TOKEN)]


class SessionReply(Reply):
    """Whether a token is needed at all."""

    needed: bool
