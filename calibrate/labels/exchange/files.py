"""Reading and writing labels in any of the formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from clipcal.calibrate.labels.exchange.coco import read_coco, write_coco
from clipcal.calibrate.labels.exchange.csv_file import read_csv, write_csv
from clipcal.calibrate.labels.exchange.imagefolder import NAME, read_imagefolder, write_imagefolder
from clipcal.calibrate.labels.exchange.label_studio import write_label_studio
from clipcal.calibrate.labels.exchange.label_studio_reading import read_label_studio
from clipcal.calibrate.labels.exchange.records import Asked, Format, Picture, Predicted, Read
from clipcal.calibrate.labels.sheet import decode, header_of
from clipcal.calibrate.labels.words import BINARY
from clipcal.errors import LabelError
from clipcal.index.judgements import Origin

MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "label-studio": "application/json",
    "coco": "application/json",
    "imagefolder": "application/jsonl",
}
# What people usually call a file of the format.
FILE_NAMES: Final[Mapping[Format, str]] = {
    "csv": "reviewed.csv",
    "label-studio": "tasks.json",
    "coco": "coco.json",
    "imagefolder": "metadata.jsonl",
}
_LONGEST: Final = 1_000_000  # characters
_READERS: Final[Mapping[Format, Callable[[bytes, Asked], Read]]] = {
    "csv": read_csv,
    "label-studio": read_label_studio,
    "coco": read_coco,
    "imagefolder": read_imagefolder,
}


def read_exchange(
    data: bytes,
    format: Format | None,
    *,
    name: str,
    categories: Sequence[str],
    levels: Sequence[str],
    rater: str,
    scale: Sequence[str] = (),
    origin: Origin = "given",
    exhaustive: bool = False,
) -> Read:
    """Read the labels in a file.

    Parameters
    ----------
    data : bytes
        The file.
    format : Format or None
        Its format; None guesses it from the content.
    name : str
        What messages call it.
    categories : sequence of str
        The prompt set's categories; others are listed in `Read.ignored`.
    levels : sequence of str
        The prompt set's levels from low to high; empty for yes and no. Words for yes and no are
        understood as in `read_labels`.
    rater : str
        Who gave what has no rater in the file.
    scale : sequence of str
        The levels that labels of the corpus have, which `spoken_levels` tells; by default the
        prompt set's, else negative and positive.
    origin : Origin
        How raters came to see the images, where the file does not tell. Labels of images that
        were chosen for their scores ("flagged", "near", "search") back no guarantee until a draw
        takes them in.
    exhaustive : bool
        Whether whatever a file that only marks what is there (COCO, lists of labels, boxes) does
        not mark is absent. By default it is unlabelled.

    Returns
    -------
    Read
        The labels, and what there is to know of them. A file in other levels than the corpus's
        has none, but a note that tells how many were left out.

    Raises
    ------
    LabelError
        If the file is not of its format, a level is unknown, or it has labels for none of the
        categories.
    """
    scale = tuple(scale) or tuple(levels) or BINARY
    words = tuple(levels) or (scale if len(scale) > 2 else ())
    asked = Asked(name, tuple(categories), words, scale, rater.strip(), origin, exhaustive)
    found = format or guess_format(data, name)
    try:
        return _READERS[found](data, asked)
    except UnicodeEncodeError as error:  # half a character, which no text file can hold
        raise LabelError(
            f"{name} holds text that is no Unicode ({error.reason}). Export it again as UTF-8, "
            f"then run the same command again."
        ) from error


def guess_format(data: bytes, name: str) -> Format:
    """Guess a file's format from its content.

    A JSON list is of Label Studio; objects a line with ``file_name``, and a sheet with such a
    column, are an imagefolder's metadata; another JSON object is COCO; all else is CSV.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What messages call it.

    Returns
    -------
    Format
        What it seems to be.

    Raises
    ------
    LabelError
        If it is no text.
    """
    text = decode(data, Path(name))[0].lstrip("\ufeff \r\n\t")
    if text.startswith("["):
        return "label-studio"
    if text.startswith("{"):
        return "imagefolder" if _names_a_file(text.partition("\n")[0]) else "coco"
    return "imagefolder" if NAME in map(str.lower, header_of(text)) else "csv"


def write_exchange(
    format: Format,
    pictures: Sequence[Picture],
    categories: Sequence[str],
    levels: Sequence[str],
    *,
    predicted: Predicted | None = None,
) -> bytes:
    """Write images with their labels.

    Parameters
    ----------
    format : Format
        The format. CSV and Label Studio keep what each rater says; COCO and imagefolder hold one
        label per image and category, the majority's.
    pictures : sequence of Picture
        The images; see `clipcal.calibrate.labels.exchange.exporting.export`.
    categories, levels : sequence of str
        Those of the labels; no levels are yes and no.
    predicted : Predicted, optional
        What a calibration says of the pictures; only Label Studio has a place for it.

    Returns
    -------
    bytes
        The file, in UTF-8. The same labels give the same bytes.
    """
    if format == "csv":
        return write_csv(pictures, categories)
    if format == "coco":
        return write_coco(pictures, categories, tuple(levels) or BINARY)
    if format == "imagefolder":
        return write_imagefolder(pictures, categories)
    return write_label_studio(pictures, categories, predicted)


def _names_a_file(line: str) -> bool:
    """Whether a line is an object of one image; a whole file in one line is longer."""
    if len(line) > _LONGEST:
        return False
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and NAME in row
