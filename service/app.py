"""The service as one ASGI application.

It is meant for one process: the queue in front of the model, what is cached of the corpus and what
is counted live in its memory. Labels and calibrations do not, so that commands and other processes
may work on the same corpus.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio.to_thread
from fastapi import Depends, FastAPI, Security
from fastapi.security import HTTPBearer

from clipcal import __version__
from clipcal.index.decoding import decoding_of
from clipcal.service.context import Context
from clipcal.service.gate.documented import PATH, document, only_documented
from clipcal.service.gate.limits import SmallBodies, Timely
from clipcal.service.gate.problems import EVERYWHERE, Unforeseen, handle_problems
from clipcal.service.gate.security import Guard, Hardened
from clipcal.service.metrics import Counted, Metrics
from clipcal.service.model.encoder import SharedEncoder
from clipcal.service.routes import (
    calibration,
    encode,
    exchange,
    health,
    items,
    labels,
    review,
    search,
    thresholds,
)
from clipcal.service.served.workspace import Workspace
from clipcal.service.settings import Settings
from clipcal.service.static import mount_page

PARTS: Final = (health, encode, items, search, labels, exchange, review, calibration, thresholds)
THREADS: Final = 96  # requests at work; most of them wait for the model
_SUMMARY = "Embed, classify, search, label and move thresholds, on one corpus."
_DESCRIPTION = """\
Images are named by their ids, categories and levels by their names. Errors are
`application/problem+json` (RFC 9457). Nothing is written by GET. Labels are on the disk before
they are acknowledged."""

_TAGS = [
    {"name": "health", "description": "What runs, how busy it is, and handing in the token."},
    {"name": "encode", "description": "Uploaded images: embedded, classified, scored."},
    {"name": "items", "description": "Images of the corpus, and those that failed."},
    {"name": "search", "description": "By a sentence, an image, or what is flagged."},
    {"name": "labels", "description": "What people say: given, taken back, brought and fetched."},
    {"name": "review", "description": "What to look at next, and what labels are worth so far."},
    {"name": "calibration", "description": "Categories, prompt sets, thresholds as they are."},
    {"name": "thresholds", "description": "Thresholds tried out; nothing is written."},
]


def create_app(settings: Settings, *, encoder: SharedEncoder | None = None) -> FastAPI:
    """Open a corpus and make the application that serves it.

    Parameters
    ----------
    settings : Settings
        How it is started.
    encoder : SharedEncoder, optional
        In the place of the corpus's model.

    Returns
    -------
    FastAPI
        The application; its life span's end closes the corpus and the model.

    Raises
    ------
    ClipcalError
        If the corpus cannot be opened.
    """
    workspace, metrics = Workspace(settings), Metrics()
    corpus = workspace.corpus
    exact = decoding_of(corpus) == "exact"
    shared = encoder or SharedEncoder(settings, corpus.model, exact=exact, seen=metrics.encoded)
    app = FastAPI(
        title="clipcal",
        version=__version__,
        summary=_SUMMARY,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url=PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_life,
    )
    app.state.context = Context(settings, workspace, shared, metrics)
    handle_problems(app, settings)
    _add_routes(app)
    mount_page(app)
    _protect(app, app.state.context)
    document(app)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Let many requests wait for the model at once; close what was opened at the end.

    The document is made before the first request, and with it what FastAPI leaves until it is
    needed: no request waits for that, and no two threads make it.
    """
    app.openapi()
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
    context: Context = app.state.context
    context.encoder.close()
    context.workspace.close()


def _add_routes(app: FastAPI) -> None:
    token = HTTPBearer(auto_error=False, description="Where the service was started with a token.")
    checks = [Security(token), Depends(only_documented)]
    for part in PARTS:
        app.include_router(part.router, dependencies=checks, responses=dict(EVERYWHERE))


def _protect(app: FastAPI, context: Context) -> None:
    """Put what guards around the routes; what is added last comes first."""
    app.add_middleware(Unforeseen)
    app.add_middleware(SmallBodies, limits=context.settings.limits)
    app.add_middleware(Timely, limits=context.settings.limits)
    app.add_middleware(Guard, settings=context.settings)
    app.add_middleware(Hardened)
    app.add_middleware(Counted, metrics=context.metrics)
