"""The OpenAPI document, and that requests keep to it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi

from clipcal.service.gate.problems import problem_schemas
from clipcal.service.gate.security import SESSION

PATH: Final = "/v1/openapi.json"


def document(app: FastAPI) -> None:
    """Let an app's document tell what FastAPI does not know: problems, and what needs no token."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            made["components"]["schemas"] |= problem_schemas()
            made["paths"][SESSION]["post"]["security"] = []
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


async def only_documented(request: Request) -> None:
    """Refuse parameters that an operation does not have.

    One that is misspelt would otherwise change nothing, and nobody would know.

    Raises
    ------
    RequestValidationError
        Naming them.
    """
    paths: dict[str, Any] = request.app.openapi()["paths"]
    operation = paths[request.scope["route"].path][request.method.lower()]
    known = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError(
            [
                {"loc": ("query", name[:100]), "msg": "There is no such parameter"}
                for name in unknown
            ]
        )
