"""The OpenAPI document, and that requests keep to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi

from clipcal.service.gate.problems import problem_schemas
from clipcal.service.gate.security import SESSION

PATH: Final = "/v1/openapi.json"
_FORM: Final = "multipart/form-data"
_LONGEST_NAME: Final = 100
_HALF: Final = re.compile(r"[\ud800-\udfff]")


def document(app: FastAPI) -> None:
    """Let an app's document tell what FastAPI does not know.

    Problems, what needs no token, and that forms have no other fields.
    """

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
            _close_forms(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


async def only_documented(request: Request) -> None:
    """Refuse parameters and fields that an operation does not have, and values that exclude others.

    One that is misspelt would otherwise change nothing, and nobody would know; of two values for
    one name, one would be dropped. A form is read by now: asked for again, it is the same.

    Raises
    ------
    RequestValidationError
        Naming them.
    """
    made = request.app.openapi()
    operation = made["paths"][request.scope["route"].path][request.method.lower()]
    asked = {
        one["name"]: one["schema"]
        for one in operation.get("parameters", [])
        if one["in"] == "query"
    }
    wrong = _misgiven("query", (name for name, _ in request.query_params.multi_items()), asked)
    form = _form_of(made, operation)
    if form is not None:
        given = (await request.form()).multi_items()
        wrong += _misgiven("body", (name for name, _ in given), form["properties"])
        wrong += _garbled(given)
    if wrong:
        raise RequestValidationError(wrong)


def _misgiven(
    place: str, names: Iterable[str], known: Mapping[str, Any]
) -> list[dict[str, object]]:
    """Say which names are unknown, and which are there more often than they may."""
    said = {"query": "parameter", "body": "field"}[place]
    wrong = {}
    for name, times in Counter(names).items():
        if name not in known:
            wrong[name] = f"There is no such {said}"
        elif times > 1 and known[name].get("type") != "array":
            wrong[name] = f"This {said} takes one value, and there are {times}"
    return [{"loc": (place, _shown(name)), "msg": problem} for name, problem in wrong.items()]


def _garbled(given: Iterable[tuple[str, object]]) -> list[dict[str, object]]:
    """Name the fields that hold halves of characters: a form may say that it has any encoding."""
    return [
        {"loc": ("body", _shown(name)), "msg": "This is no text"}
        for name, value in given
        if isinstance(value, str) and _HALF.search(value)
    ]


def _shown(name: str) -> str:
    """Write a name as a reply can hold it."""
    return name[:_LONGEST_NAME].encode(errors="replace").decode()


def _form_of(made: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """Find the schema of the form that an operation takes."""
    content = operation.get("requestBody", {}).get("content", {})
    if _FORM not in content:
        return None
    name = content[_FORM]["schema"]["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = made["components"]["schemas"][name]
    return schema


def _close_forms(made: dict[str, Any]) -> None:
    for operations in made["paths"].values():
        for operation in operations.values():
            form = _form_of(made, operation)
            if form is not None:
                form["additionalProperties"] = False
