"""What goes wrong, as RFC 9457 has it: every error leaves as ``application/problem+json``.

A message is made for the person who runs the service, and may name files of the machine. Clients
are told the names of those files, never where they lie.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipcal.errors import (
    BatchTaken,
    BundleError,
    CalibrationError,
    ClipcalError,
    CorpusBusy,
    DrawOutdated,
    FingerprintMismatch,
    ImageError,
    LabelError,
    PromptError,
    ProviderError,
    SourceError,
    StoreError,
)
from clipcal.service.gate.paths import without_paths
from clipcal.service.schemas.common import FieldError, Problem
from clipcal.service.settings import Settings

MEDIA_TYPE: Final = "application/problem+json"
SOON: Final = {"Retry-After": "1"}


class UnusableCalibrationError(CalibrationError):
    """The calibration that is served cannot be read, or is not of this corpus."""


# The first that an error is one of, from the leaves of the tree to its root.
_STATUSES: Final[Sequence[tuple[type[ClipcalError], int]]] = (
    (UnusableCalibrationError, 503),
    (ImageError, 422),
    (LabelError, 422),
    (PromptError, 422),
    (CalibrationError, 422),
    (SourceError, 404),
    (FingerprintMismatch, 409),
    (CorpusBusy, 503),
    (DrawOutdated, 503),
    (BatchTaken, 409),
    (StoreError, 503),
    (ProviderError, 503),
    (BundleError, 503),
)
# What HTTP calls them by now; Python's own names are older.
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
_DETAILS: Final = {
    404: "There is nothing at this address. /v1/openapi.json lists what there is.",
    405: "This is not what can be done here. The header Allow and /v1/openapi.json list what can.",
}
# What a command does, over HTTP.
_ALIKE: Final = {
    "clipcal calibrate": "POST /v1/calibrations",
    "clipcal suggest": "POST /v1/review/rounds",
    "clipcal labels import": "POST /v1/labels/import",
}

_log = logging.getLogger(__name__)


class Refused(HTTPException):
    """A request that is refused, as the client is told.

    It is one of starlette's exceptions, so that those who read bodies pass it on.

    Parameters
    ----------
    status : int
        Of HTTP.
    detail : str
        The fact, the need, and the next step; it must name no path of the machine.
    title : str, optional
        By default what HTTP calls the status.
    headers : mapping of str to str, optional
        Of the reply.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.title = title or title_of(status)

    @property
    def status(self) -> int:
        """HTTP's number."""
        return self.status_code


def not_found(detail: str) -> Refused:
    """404: what was asked for is not there."""
    return Refused(404, detail)


def conflict(detail: str) -> Refused:
    """409: something else has changed since."""
    return Refused(409, detail)


def too_large(detail: str) -> Refused:
    """413: more than the service takes at once."""
    return Refused(413, detail)


def unprocessable(detail: str) -> Refused:
    """422: understood, and yet nothing that can be done."""
    return Refused(422, detail)


def overloaded(detail: str) -> Refused:
    """503: too much at once; soon there may be room again."""
    return Refused(503, detail, headers=SOON)


def too_slow(seconds: float) -> Refused:
    """504: given up after so many seconds."""
    return Refused(
        504, f"This took longer than {seconds:g} seconds. Ask for less at once, or ask later."
    )


def title_of(status: int) -> str:
    """What HTTP calls a status."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] = (),
) -> JSONResponse:
    """Write a problem as a reply."""
    content = Problem(
        title=title or title_of(status), status=status, detail=detail, errors=list(errors)
    )
    return JSONResponse(
        content.model_dump(), status, dict(headers) if headers else None, MEDIA_TYPE
    )


def problem_of(error: Refused) -> JSONResponse:
    """Write a refusal as a reply, where no handler does."""
    return problem(error.status, str(error.detail), title=error.title, headers=error.headers)


# --- in the OpenAPI document ------------------------------------------------------------------

_CONTENT: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": title_of(status), "content": _CONTENT} for status in statuses}


EVERYWHERE: Final = _described(400, 401, 403, 413, 421, 422, 500, 503, 504)
"""Problems that any operation can end with; `create_app` gives them to all."""

PROBLEMS: Final = {**EVERYWHERE, **_described(404, 405, 409)}
"""For ``responses=``: the problems of an operation by their status, as ``{404: PROBLEMS[404]}``."""


def problem_schemas() -> dict[str, Any]:
    """JSON schemas of `Problem` and what it holds, as an OpenAPI document keeps them."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


# --- handlers ---------------------------------------------------------------------------------


def handle_problems(app: FastAPI, settings: Settings) -> None:
    """Turn every error of an app into a problem."""

    def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error, Refused):
            return problem_of(error)
        detail = _DETAILS.get(error.status_code, error.detail)
        headers = _allowing(app, request) if error.status_code == 405 else None
        return problem(error.status_code, detail, headers=headers or error.headers)

    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        wrong = [FieldError(where=_where(e["loc"]), problem=e["msg"]) for e in error.errors()]
        named = "; ".join(f"{one.where}: {one.problem}" for one in wrong[:3])
        return problem(422, f"The request is not as documented: {named}.", errors=wrong)

    def failed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ClipcalError)
        return _told(error, settings)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClipcalError, failed)


class Unforeseen:
    """Answers what nothing else handles, telling nothing of it but in the log.

    Parameters
    ----------
    app : ASGIApp
        What may fail.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; what it raises before it has answered becomes a problem."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            answer = problem(500, "The service failed; its log tells more.")
            await answer(scope, receive, send)


def _told(error: ClipcalError, settings: Settings) -> JSONResponse:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        _log.error("An error that no status is known for", exc_info=error)
        return problem(500, "The service failed; its log tells more.")
    if status == 503:
        _log.warning("%s", error)
    detail = without_paths(str(error), settings)
    if status < 500:  # the client can do something about it
        detail = _with_api(detail)
    headers = SOON if isinstance(error, (CorpusBusy, DrawOutdated)) else None
    return problem(status, detail, headers=headers)


def _with_api(message: str) -> str:
    """Name, beside commands that a message ends with, what does the same over HTTP."""
    alike = [api for command, api in _ALIKE.items() if command in message and api not in message]
    return f"{message.rstrip('.')}. Over HTTP: {', '.join(alike)}." if alike else message


def _allowing(app: FastAPI, request: Request) -> dict[str, str] | None:
    """All methods of an address: the router knows those of one operation only."""
    template = getattr(request.scope.get("route"), "path", "")
    methods = app.openapi()["paths"].get(template)
    return methods and {"Allow": ", ".join(sorted(map(str.upper, methods)))}


def _where(place: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in place)
