"""From the bytes of a person's spreadsheet to a header and rows of cells."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipcal.errors import LabelError

DELIMITERS = (",", ";", "\t", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = re.compile(r"[\s_\-]+")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of text cells.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    header : tuple of str
        Column names, stripped.
    columns : tuple of tuple of str
        Cells of each column from top to bottom, stripped; blank rows are left out.
    lines : tuple of int
        The line in the file on which each row starts, counted from 1.
    notes : tuple of str
        What had to be guessed to read the file.
    sha256 : str
        Hash of the file's bytes, as 64 hexadecimal digits.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...]
    sha256: str

    def where(self, row: int) -> str:
        """Name a row as ``file:line``, for messages."""
        return f"{self.path}:{self.lines[row]}"


def name_key(name: str) -> str:
    """Reduce a name to what must agree: letters regardless of case, ``_``, dash and space."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).casefold()


def read_sheet(path: Path) -> Sheet:
    """Read a delimited text file as people's programs write it.

    UTF-8 with or without a byte-order mark, UTF-16, or else Windows-1252; comma, semicolon,
    tab or bar, decided by the header or by Excel's ``sep=`` line; any line ending.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Sheet
        Its cells.

    Raises
    ------
    LabelError
        If the file is missing, empty, a workbook, wrongly quoted, or a row is longer than
        the header.
    """
    data = _read_bytes(path)
    text, notes = _decode(data, path)
    text, offset, delimiter = _delimiter(text)
    header: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, cells in _records(text, delimiter, path, offset):
        if not header:
            header = tuple(cells)
        else:
            rows.append(_fitted(cells, header, f"{path}:{line}"))
            lines.append(line)
    if not rows:
        raise LabelError(
            f"{path} holds no labels: it needs a header and at least one row, as in: "
            f"image,weapons then photo1.jpg,yes. Then run: clipcal calibrate --labels {path.name}"
        )
    columns = tuple(zip(*rows, strict=True))
    return Sheet(path, header, columns, tuple(lines), notes, hashlib.sha256(data).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelError(
            f"The label file {path} cannot be read ({error.strerror}). "
            f"Name a CSV file: clipcal calibrate --labels FILE.csv"
        ) from error
    if data.startswith(b"PK\x03\x04"):
        raise LabelError(
            f"{path} is a workbook, not text. Save it as CSV (UTF-8) in the spreadsheet program, "
            f"then run: clipcal calibrate --labels {path.stem}.csv"
        )
    return data


def _decode(data: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode_as(data, encoding, path), ()
    if data[1:2] == b"\0" or data[:1] == b"\0":
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        return _decode_as(data, encoding, path), ("The file is read as UTF-16.",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        note = "The file is not UTF-8 and is read as Windows-1252."
        return _decode_as(data, "cp1252", path), (note,)


def _decode_as(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise LabelError(
            f"{path} is not text in {encoding} (byte {error.start}). Save it as CSV (UTF-8), "
            f"then run: clipcal calibrate --labels {path.name}"
        ) from error


def _delimiter(text: str) -> tuple[str, int, str]:
    """Return the text without Excel's ``sep=`` line, the lines taken off, and the delimiter."""
    first, _, rest = text.partition("\n")
    declared = re.fullmatch(r"sep=(.)\r?", first, re.IGNORECASE)
    if declared:
        return rest, 1, declared[1]
    header = next((line for line in text.splitlines() if line.strip(" ,;\t|")), "")
    bare = re.sub(r'"[^"]*"', "", header)
    return text, 0, max(DELIMITERS, key=bare.count)


def _records(text: str, delimiter: str, path: Path, offset: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record that is not blank starts, and its cells, stripped."""
    # strict: an unclosed quote would otherwise swallow the rest of the file without a word.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    start = offset + 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield start, cells
            start = offset + reader.line_num + 1
    except csv.Error as error:
        raise LabelError(
            f"{path}:{start}: the row cannot be read ({error}). Close or double the quotes in it, "
            f"then run: clipcal calibrate --labels {path.name}"
        ) from error


def _fitted(cells: list[str], header: Sequence[str], where: str) -> list[str]:
    """Pad a short row with blanks; drop blank cells beyond the header."""
    width = len(header)
    if len(cells) < width:
        return cells + [""] * (width - len(cells))
    if any(cells[width:]):
        raise LabelError(
            f"{where}: the row has {len(cells)} cells, the header {width}. Put text that holds "
            f"the delimiter in double quotes, then run clipcal calibrate again."
        )
    return cells[:width]
