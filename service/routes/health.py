"""How the service is, and how a browser hands its token in."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from clipcal import __version__
from clipcal.errors import ClipcalError
from clipcal.index.judgements import labelled_items
from clipcal.service.context import Context, Serving
from clipcal.service.gate.paths import without_paths
from clipcal.service.gate.security import check_given, cookie_of
from clipcal.service.metrics import MEDIA_TYPE
from clipcal.service.schemas.health import Health, Session, SessionReply
from clipcal.service.served.view import View
from clipcal.service.served.workspace import Workspace

router = APIRouter(prefix="/v1", tags=["health"])
_STARTED = time.monotonic()


@router.get("/health", operation_id="health", summary="What runs where.", response_model=Health)
def health(
    serving: Serving,
    probe: Annotated[bool, Query(description="Open the model, to see whether it can be.")] = False,
) -> Health:
    """Tell what is served, and what really computes.

    `status` is `ok`, or `degraded` with the `problem`. Where the model cannot be opened, images
    cannot be embedded, and all that needs stored embeddings only works. Where the calibration
    cannot be applied, labels can still be given, and nothing is decided.
    """
    if probe:
        _probe(serving)
    settings, corpus = serving.settings, serving.workspace.corpus
    encoder = serving.encoder.status
    view, unserved = _seen(serving.workspace)
    problem = " ".join(filter(None, (encoder.problem, unserved))) or None
    return Health(
        status="degraded" if problem else "ok",
        version=__version__,
        model=corpus.model.name,
        fingerprint=corpus.model.fingerprint,
        device=settings.device,
        provider=encoder.provider,
        arithmetic=encoder.arithmetic,
        note=encoder.note and without_paths(encoder.note, settings),
        problem=problem and without_paths(problem, settings),
        images=corpus.count("embedded") if view is None else len(view.ids),
        failed=corpus.count("failed"),
        corpus=serving.workspace.identity,
        calibration=view and view.calibration,
        seconds=round(time.monotonic() - _STARTED, 3),
    )


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Figures for Prometheus.",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(serving: Serving) -> Response:
    """Tell what was counted since the start, in Prometheus's text format."""
    _measure(serving)
    return Response(serving.metrics.page(), media_type=MEDIA_TYPE)


@router.post(
    "/session",
    operation_id="open_session",
    summary="Hand the token in, for a cookie.",
    response_model=SessionReply,
)
def open_session(
    session: Session, serving: Serving, request: Request, response: Response
) -> SessionReply:
    """Exchange the token for a cookie that scripts cannot read and other sites cannot use."""
    check_given(session.token, serving.settings)
    token = serving.settings.token
    if token is not None:
        secure = request.url.scheme == "https"
        name, value = cookie_of(token)
        response.set_cookie(name, value, httponly=True, samesite="strict", secure=secure)
    return SessionReply(needed=token is not None)


def _probe(serving: Context) -> None:
    try:
        serving.encoder.open()
    except ClipcalError:
        return  # its status tells


def _seen(workspace: Workspace) -> tuple[View | None, str | None]:
    """What is served, or else why nothing is."""
    try:
        return workspace.view(), None
    except ClipcalError as error:
        return None, str(error)


def _labelled(workspace: Workspace) -> int:
    try:
        return len(workspace.pool(workspace.labelling()).match.rows)
    except ClipcalError:  # no category is known, but labels are
        return len(labelled_items(workspace.corpus))


def _measure(serving: Context) -> None:
    """Read what is not counted but looked up."""
    workspace, figures, encoder = serving.workspace, serving.metrics, serving.encoder
    figures.waiting.set(encoder.waiting)
    figures.images.set(workspace.corpus.count("embedded"))
    figures.labelled.set(_labelled(workspace))
    figures.about.info(
        {
            "version": __version__,
            "model": workspace.corpus.model.name,
            "provider": encoder.status.provider or "",
        }
    )
