"""Hugging Face's imagefolder: ``metadata.csv`` or ``metadata.jsonl`` beside the images.

As documented for the library datasets under "Create an image dataset": a row per image, with
``file_name``, the path below the metadata file's folder, and any columns besides. Here these are
one column per category, or ``label``, the class of the image, or ``labels``, a list of what is on
it.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from clipcal.calibrate.labels.exchange.cells import Cell, Looked, settle
from clipcal.calibrate.labels.exchange.csv_file import read_table
from clipcal.calibrate.labels.exchange.json_file import shaped
from clipcal.calibrate.labels.exchange.records import PRESENT, Asked, Picture, Read, origin_of
from clipcal.calibrate.labels.exchange.unread import Unread
from clipcal.calibrate.labels.formats import CLASS_NAMES
from clipcal.calibrate.labels.frame import IMAGE_NAMES, RATER_NAMES
from clipcal.calibrate.labels.lists import names_in
from clipcal.calibrate.labels.sheet import Sheet, decode, name_key, parse_sheet
from clipcal.calibrate.labels.words import UNKNOWN_WORDS
from clipcal.errors import LabelError

NAME: Final = "file_name"
_WHAT: Final = "imagefolder metadata"
_ROW: Final = TypeAdapter(dict[str, Any])
# Columns that `frame_of` would rather take for an image's name.
_SOONER: Final = IMAGE_NAMES[: IMAGE_NAMES.index(name_key(NAME))]
_LISTS: Final = "labels"
_UNLABELLED: Final = UNKNOWN_WORDS - {""}  # a blank is an empty list
_SHOWN: Final = 100  # characters of a cell in a message


def read_imagefolder(data: bytes, asked: Asked) -> Read:
    """Read the labels of images from their metadata.

    Parameters
    ----------
    data : bytes
        ``metadata.csv`` or ``metadata.jsonl``.
    asked : Asked
        What is wanted. A list of labels tells what is there; with `exhaustive` each category that
        some list of the file has and an image's own has not is absent from it, unless it stands
        within a word there that is no category.

    Returns
    -------
    Read
        The labels. A column per category and one class per image are read as in any label file.

    Raises
    ------
    LabelError
        If no column is called ``file_name``, a cell of a column of lists is none, rows of one
        image tell two hashes of its content, a level is unknown, or none of the categories is
        present.
    """
    sheet = _sheet(data, asked)
    keys = [name_key(name) for name in sheet.header]
    if name_key(NAME) not in keys:
        raise LabelError(
            f"{asked.name} has no column '{NAME}'. Its columns are: {', '.join(sheet.header)}. "
            f"Name so the one with the images' paths, or read it as any label file: clipcal "
            f"labels import FILE --format csv"
        )
    looked = _looked(sheet, keys, asked)
    lists = _lists(sheet, keys, asked)
    if lists is not None:
        return _read_lists(sheet, lists, looked, asked)
    return _read_columns(sheet, keys, looked, asked)


def write_imagefolder(pictures: Sequence[Picture], categories: Sequence[str]) -> bytes:
    """Write ``metadata.jsonl``: an object per image, with the majority's level per category.

    Parameters
    ----------
    pictures : sequence of Picture
        The images; their names are paths below the folder that the file belongs in.
    categories : sequence of str
        The prompt set's.

    Returns
    -------
    bytes
        JSON lines in UTF-8; null where there is no label.
    """
    rows = (
        {
            "sha256": picture.sha256,
            "origin": picture.origin,
            **{category: picture.labels.get(category) for category in categories},
            NAME: picture.name,
        }
        for picture in pictures
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")


def _sheet(data: bytes, asked: Asked) -> Sheet:
    """Read either kind of metadata as a sheet."""
    path = Path(asked.name)
    text, _ = decode(data, path)
    if not text.lstrip("\ufeff \r\n\t").startswith("{"):
        return parse_sheet(data, path)
    numbered = enumerate(text.removeprefix("\ufeff").split("\n"), start=1)
    lines = {number: line for number, line in numbered if line.strip()}
    rows = [_row(line, f"line {number}", asked) for number, line in lines.items()]
    header = list(dict.fromkeys(name for row in rows for name in row))
    cells = io.StringIO()
    writer = csv.writer(cells, lineterminator="\n")
    writer.writerows([header, *([_cell(name, row.get(name)) for name in header] for row in rows)])
    sheet = parse_sheet(cells.getvalue().encode("utf-8"), path)
    if len(sheet.lines) < len(lines):  # a blank row is none
        return sheet
    return replace(sheet, lines=np.array(list(lines), np.int64))


def _row(line: str, where: str, asked: Asked) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabelError(
            f"{asked.name}, {where}: this is no JSON object ({error}). Write one object a line, "
            f"then run the same command again."
        ) from error
    return shaped(row, asked.name, where, _ROW, _WHAT)


def _cell(name: str, value: object) -> str:
    if value is None:
        return "null" if name_key(name) == _LISTS else ""  # no list, which is not an empty one
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _column(sheet: Sheet, keys: Sequence[str], name: str) -> list[str]:
    """Return the cells of a column; empty ones where there is none."""
    key = name_key(name)
    if key not in keys:
        return [""] * len(sheet.lines)
    column = sheet.columns[keys.index(key)]
    return [column.words[code] for code in column.codes.tolist()]


def _looked(sheet: Sheet, keys: Sequence[str], asked: Asked) -> list[Looked]:
    """Tell which image each row is about, and who looked at it."""
    rater = next((key for key in keys if key in RATER_NAMES), RATER_NAMES[0])
    columns = (_column(sheet, keys, name) for name in (NAME, "sha256", rater, "origin"))
    rows = zip(sheet.lines.tolist(), *columns, strict=True)
    return [
        Looked(f"line {line}", image, sha256, who, origin_of(origin, asked))
        for line, image, sha256, who, origin in rows
    ]


def _read_columns(
    sheet: Sheet, keys: Sequence[str], looked: Sequence[Looked], asked: Asked
) -> Read:
    """Read a column per category, or the one class of each image, and add the contents' hashes."""
    content = _contents(looked, asked)
    others = [i for i, key in enumerate(keys) if key in _SOONER]  # taken for the image's name
    table = replace(
        sheet,
        header=tuple(name for i, name in enumerate(sheet.header) if i not in others),
        columns=tuple(column for i, column in enumerate(sheet.columns) if i not in others),
    )
    read = read_table(table, asked)
    return replace(
        read,
        format="imagefolder",
        given=tuple(replace(one, sha256=content.get(one.image, "")) for one in read.given),
        ignored=(*read.ignored, *(sheet.header[i] for i in others)),
    )


def _contents(looked: Iterable[Looked], asked: Asked) -> dict[str, str]:
    """Return the hash of each image's content, where a row tells it."""
    content: dict[str, str] = {}
    for one in looked:
        if one.sha256 and content.setdefault(one.image, one.sha256.lower()) != one.sha256.lower():
            raise LabelError(
                f"{asked.name}, {one.where}: '{one.image}' has another sha256 than in a row above, "
                f"so that nobody knows which image is labelled. Keep the rows of one of them, then "
                f"run the same command again."
            )
    return content


def _lists(sheet: Sheet, keys: Sequence[str], asked: Asked) -> int | None:
    """Find the column of lists; None where images are labelled otherwise.

    Besides the one that is called so it may be that of classes, where an image has several: read
    as a class these would be one that nobody knows, and say that every category is absent.
    """
    if any(asked.category(name) for name in sheet.header):
        return None
    own = keys.index(_LISTS) if _LISTS in keys else None
    if own is not None and any(_names_some(cell, asked) for cell in sheet.columns[own].words):
        return own
    classes = next((keys.index(name) for name in CLASS_NAMES if name in keys), None)
    if classes is None:
        return None
    others = [cell for cell in sheet.columns[classes].words if not asked.category(cell)]
    several = any(names_in(cell) is None or _names_some(cell, asked) for cell in others)
    return classes if several else None


def _names_some(cell: str, asked: Asked) -> bool:
    return any(asked.category(name) for name in names_in(cell) or ())


def _read_lists(sheet: Sheet, column: int, looked: Sequence[Looked], asked: Asked) -> Read:
    """Read what is on each image; with `exhaustive` what is on none of its lists is absent."""
    words, codes = sheet.columns[column].words, sheet.columns[column].codes
    lists = [names_in(word) for word in words]
    ignored: Counter[str] = Counter()
    unread = Unread(asked)
    cells: list[Cell] = []
    labelled = []
    for one, code in zip(looked, codes.tolist(), strict=True):
        if words[code].casefold() in _UNLABELLED:
            continue
        labelled.append(one)
        for name in _required(lists[code], words[code], one, asked):
            category = asked.category(name)
            if category is None:
                ignored[name] += 1
                unread.word(one.image, name)
            else:
                cells.append(_present(one, category))
    notes: tuple[str, ...] = ()
    if asked.exhaustive:
        more, notes = unread.absent(cells, labelled, dict.fromkeys(c.category for c in cells))
        cells += more
    read = settle(cells, asked, "imagefolder", ignored)
    return replace(read, notes=(*read.notes, *notes))


def _present(one: Looked, category: str) -> Cell:
    where, image, sha256, rater, origin = one
    return Cell(where, image, sha256, category, PRESENT, rater, origin, bare=True)


def _required(names: list[str] | None, cell: str, one: Looked, asked: Asked) -> list[str]:
    if names is None:
        raise LabelError(
            f"{asked.name}, {one.where}: {cell[:_SHOWN]} is no list of names. Write it as in "
            f'["{asked.categories[0]}"], then run the same command again.'
        )
    return names
