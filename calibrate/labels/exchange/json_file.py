"""JSON as people's tools write it: checked against a shape, with the place of what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from clipcal.calibrate.labels.sheet import decode
from clipcal.errors import LabelError

Shape = TypeVar("Shape")


def read_json(data: bytes, name: str, shape: TypeAdapter[Shape], what: str) -> Shape:
    """Read JSON of a shape.

    Parameters
    ----------
    data : bytes
        The file, in UTF-8 or UTF-16, with or without a byte-order mark.
    name : str
        What messages call it.
    shape : pydantic.TypeAdapter
        What it must be.
    what : str
        What that is, for messages.

    Returns
    -------
    Shape
        The content.

    Raises
    ------
    LabelError
        If it is no JSON, or of another shape; the message names the place.
    """
    text, _ = decode(data, Path(name))
    try:
        return shape.validate_json(text)
    except ValidationError as error:
        raise _told(error, name, what) from error


def shaped(value: Any, name: str, where: str, shape: TypeAdapter[Shape], what: str) -> Shape:
    """Check a part of a file, at `where`, that was read before; see `read_json`."""
    try:
        return shape.validate_python(value)
    except ValidationError as error:
        raise _told(error, f"{name}, {where}", what) from error


def _told(error: ValidationError, name: str, what: str) -> LabelError:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    where = f" at {place}" if place else ""
    return LabelError(
        f"{name} is no {what}: {first['msg']}{where}. Export it again, or name its format: "
        f"clipcal labels import FILE --format csv|label-studio|coco|imagefolder"
    )
