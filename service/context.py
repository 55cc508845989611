"""What every route works with, and how it gets at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from clipcal.service.metrics import Metrics
from clipcal.service.model.encoder import SharedEncoder
from clipcal.service.served.workspace import Workspace
from clipcal.service.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The running service.

    Attributes
    ----------
    settings : Settings
        How it was started.
    workspace : Workspace
        The corpus, its scores, and its labels.
    encoder : SharedEncoder
        The model, shared by all clients.
    metrics : Metrics
        What is counted; who keeps labels tells ``metrics.kept(n)``.
    """

    settings: Settings
    workspace: Workspace
    encoder: SharedEncoder
    metrics: Metrics


def _of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


Serving = Annotated[Context, Depends(_of)]
