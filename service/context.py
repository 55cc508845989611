"""What every route works with, and how it gets at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.limits import ATTEMPT
from clipcal.service.gate.turns import Turns
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
    fits : Turns
        Whose turn it is to fit a calibration, which takes every core that numpy finds.
    draws : Turns
        Whose turn it is to draw images to label: two at once would draw the same ones.
    tasks : Turns
        Whose turn it is with what else takes a moment: outlooks, files of labels.
    """

    settings: Settings
    workspace: Workspace
    encoder: SharedEncoder
    metrics: Metrics
    fits: Turns = field(default_factory=lambda: Turns(1, 4))
    draws: Turns = field(default_factory=lambda: Turns(1, 8))
    tasks: Turns = field(default_factory=lambda: Turns(2, 16))


def _of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


Serving = Annotated[Context, Depends(_of)]


def _attempt(request: Request) -> Attempt:
    return cast(Attempt, request.scope[ATTEMPT])


Trying = Annotated[Attempt, Depends(_attempt)]
