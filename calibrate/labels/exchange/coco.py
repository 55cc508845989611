"""COCO: images, categories and annotations in one JSON file.

As documented on cocodataset.org under "Data format". An annotation says that a category is there;
its box is of no use here. What is *not* there COCO does not say: an image without annotations may
as well be one that nobody looked at. LVIS, which has COCO's format, names the categories that are
surely absent from an image in ``neg_category_ids`` (lvisdataset.org, "Data format"), and so do our
files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from clipcal.calibrate.labels.exchange.cells import Cell, Looked, absent, settle
from clipcal.calibrate.labels.exchange.json_file import read_json
from clipcal.calibrate.labels.exchange.records import (
    ABSENT,
    PRESENT,
    Asked,
    Picture,
    Read,
    origin_of,
)
from clipcal.calibrate.labels.sheet import name_key
from clipcal.errors import LabelError
from clipcal.index.judgements import CHOSEN

_WHAT: Final = "COCO file"
Id = int | str


class _Image(BaseModel):
    """An image; of LVIS only the address may be known."""

    id: Id
    file_name: str | None = None
    coco_url: str | None = None
    sha256: str | None = None
    origin: str | None = None
    neg_category_ids: list[Id] | None = None


class _Category(BaseModel):
    """A category."""

    id: Id
    name: str


class _Annotation(BaseModel):
    """That a category is on an image; with us also at which level."""

    image_id: Id
    category_id: Id
    attributes: dict[str, Any] | None = None


class _Coco(BaseModel):
    """The file."""

    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] | None = None


_FILE: Final = TypeAdapter(_Coco)


def read_coco(data: bytes, asked: Asked) -> Read:
    """Read which categories are on which images.

    Parameters
    ----------
    data : bytes
        The file.
    asked : Asked
        What is wanted. With `exhaustive` each of the file's categories that an image has no
        annotation of is absent there; by default only those in ``neg_category_ids`` are.

    Returns
    -------
    Read
        The labels, all of one rater.

    Raises
    ------
    LabelError
        If it is no such file, one id stands for two images or categories, an annotation names an
        image or a category that the file lacks, a level is unknown, or none of its categories is
        one of the prompt set.
    """
    coco = read_json(data, asked.name, _FILE, _WHAT)
    looked = _images(coco, asked)
    named = _categories(coco, asked)
    wanted = {number: asked.category(name) for number, name in named.items()}
    ignored: Counter[str] = Counter()
    cells: list[Cell] = []
    for number, name, word, bare in _said(coco):
        _require(number, looked, "image", asked)
        _require(name, named, "category", asked)
        category = wanted[name]
        if category is None:
            ignored[named[name]] += 1
        else:
            where, image, sha256, rater, origin = looked[number]
            cells.append(Cell(where, image, sha256, category, word, rater, origin, bare))
    if asked.exhaustive:
        among = [category for category in wanted.values() if category]
        cells += absent(cells, looked.values(), among)
    return settle(cells, asked, "coco", ignored)


def write_coco(
    pictures: Sequence[Picture], categories: Sequence[str], levels: Sequence[str]
) -> bytes:
    """Write the majority's labels: what is above the lowest level is an annotation.

    Parameters
    ----------
    pictures : sequence of Picture
        The images.
    categories, levels : sequence of str
        The prompt set's, from low to high.

    Returns
    -------
    bytes
        JSON in UTF-8. An image's ``id`` is its item. Its ``neg_category_ids`` are the categories
        that it has the lowest level of; an annotation's level is in its ``attributes``. There are
        no boxes, since labels are of whole images.
    """
    numbers = {category: number for number, category in enumerate(categories, start=1)}
    marked = [
        (picture.item, numbers[category], level)
        for picture in pictures
        for category, level in picture.labels.items()
        if level != levels[0]
    ]
    content = {
        "info": {"description": "Labels of whole images, the majority of their raters"},
        "images": [_image(picture, numbers, levels[0]) for picture in pictures],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        "annotations": [
            {
                "id": number,
                "image_id": item,
                "category_id": category,
                "iscrowd": 0,
                "attributes": {"level": level},
            }
            for number, (item, category, level) in enumerate(marked, start=1)
        ],
    }
    return (json.dumps(content, ensure_ascii=False) + "\n").encode("utf-8")


def _images(coco: _Coco, asked: Asked) -> dict[Id, Looked]:
    """Tell which image each id is; seen for its score where any entry of it says so."""
    found: dict[Id, Looked] = {}
    for image in coco.images:
        one = _looked(image, asked)
        known = found.setdefault(image.id, one)
        if known[1:3] != one[1:3]:
            raise _two_things(asked, f"image {image.id}", _shown(known), _shown(one))
        if one.origin in CHOSEN:
            found[image.id] = one
    return found


def _categories(coco: _Coco, asked: Asked) -> dict[Id, str]:
    found: dict[Id, str] = {}
    for one in coco.categories:
        known = found.setdefault(one.id, one.name)
        if name_key(known) != name_key(one.name):
            raise _two_things(asked, f"category {one.id}", f"'{known}'", f"'{one.name}'")
    return found


def _shown(one: Looked) -> str:
    return f"'{one.image}' of the content {one.sha256}" if one.sha256 else f"'{one.image}'"


def _two_things(asked: Asked, which: str, first: str, second: str) -> LabelError:
    return LabelError(
        f"{asked.name}: the {which} is both {first} and {second}, so that nobody knows which of "
        f"them is labelled. Give each an id of its own, then run the same command again."
    )


def _looked(image: _Image, asked: Asked) -> Looked:
    name = image.file_name or image.coco_url
    if not name:
        raise LabelError(
            f"{asked.name}: the image {image.id} has no file_name. Add it, then run the same "
            f"command again."
        )
    origin = origin_of(image.origin, asked)
    return Looked(f"image {image.id}", name, image.sha256 or "", "", origin)


def _said(coco: _Coco) -> Iterator[tuple[Id, Id, str, bool]]:
    """Yield image, category, the word for its level, and whether that is all that is known."""
    for one in coco.annotations or ():
        level = (one.attributes or {}).get("level")
        told = isinstance(level, str)
        yield one.image_id, one.category_id, str(level) if told else PRESENT, not told
    for image in coco.images:
        for category in image.neg_category_ids or ():
            yield image.id, category, ABSENT, True


def _require(number: Id, known: Mapping[Id, object], what: str, asked: Asked) -> None:
    if number not in known:
        raise LabelError(
            f"{asked.name}: an annotation names the {what} {number}, which the file does not "
            f"hold. Export it again, whole, then run the same command again."
        )


def _image(picture: Picture, numbers: Mapping[str, int], lowest: str) -> dict[str, object]:
    known = {"sha256": picture.sha256} if picture.sha256 else {}
    return {
        "id": picture.item,
        "file_name": picture.name,
        **known,
        "origin": picture.origin,
        "neg_category_ids": [
            numbers[category] for category, level in picture.labels.items() if level == lowest
        ],
    }
