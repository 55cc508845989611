"""From the bytes of a person's spreadsheet to a header and rows of cells."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from clipcal.errors import LabelError
from clipcal.index.names import name_key

__all__ = [
    "DELIMITERS",
    "Column",
    "Sheet",
    "decode",
    "header_of",
    "name_key",
    "parse_sheet",
    "read_bytes",
    "read_sheet",
]

DELIMITERS = (",", ";", "\t", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ROWS_AT_ONCE = 5000
_LARGE = 1_000_000  # characters
_LONGEST_HEADER = 100_000  # characters, below what the module csv takes as a cell


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The cells of a column: most are one of a few words, and each word is looked at once.

    Attributes
    ----------
    words : tuple of str
        Distinct cells, stripped, in order of first appearance.
    codes : Int64[(rows,)]
        Index into `words`.
    """

    words: tuple[str, ...]
    codes: NDArray[np.int64]

    def __getitem__(self, row: int) -> str:
        return self.words[int(self.codes[row])]

    def counts(self) -> Counter[str]:
        """Return how often each word occurs."""
        number = np.bincount(self.codes, minlength=len(self.words))
        return Counter(dict(zip(self.words, number.tolist(), strict=True)))

    def filled(self) -> NDArray[np.bool_]:
        """Mark the rows whose cell is not blank: Bool[(rows,)]."""
        return np.array([bool(word) for word in self.words], np.bool_)[self.codes]

    def where(self, rows: NDArray[np.bool_]) -> Column:
        """Return the rows that are marked."""
        return _column(self.words, self.codes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A table of text cells.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    header : tuple of str
        Column names, stripped.
    columns : tuple of Column
        Cells from top to bottom; blank rows are left out.
    lines : Int64[(rows,)]
        The line in the file on which each row starts, counted from 1.
    notes : tuple of str
        What had to be guessed to read the file.
    sha256 : str
        Hash of the file's bytes, as 64 hexadecimal digits.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: NDArray[np.int64]
    notes: tuple[str, ...]
    sha256: str

    def where(self, row: int) -> str:
        """Name a row as ``file:line``, for messages."""
        return f"{self.path}:{self.lines[row]}"


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
    return parse_sheet(read_bytes(path), path)


def parse_sheet(data: bytes, path: Path) -> Sheet:
    """Read the bytes of a delimited text file, as `read_sheet` does.

    Parameters
    ----------
    data : bytes
        The file's content.
    path : pathlib.Path
        What messages call it.

    Returns
    -------
    Sheet
        Its cells.

    Raises
    ------
    LabelError
        As from `read_sheet`.
    """
    text, notes = decode(data, path)
    text, delimiter = _delimiter(text)
    plain = _read_plain(text, delimiter) if len(text) >= _LARGE else None
    if plain is None:
        records = _records(text, delimiter, path)
        header = tuple(cell.strip() for cell in next(records, (0, []))[1])
        columns, lines = _columns(records, header, path)
    else:
        header, columns, lines = plain
    if not len(lines):
        raise LabelError(
            f"{path} holds no labels: it needs a header and at least one row, as in: "
            f"image,weapons then photo1.jpg,yes. Then run the same command again."
        )
    digest = hashlib.sha256(data).hexdigest()
    return Sheet(path, header, columns, lines, notes, digest)


def header_of(text: str) -> tuple[str, ...]:
    """Return the cells of the header, as `parse_sheet` reads them; none of a text without any.

    Parameters
    ----------
    text : str
        A delimited text, or its beginning.

    Returns
    -------
    tuple of str
        The names of the columns, without blanks around them.
    """
    text, delimiter = _delimiter(text[:_LONGEST_HEADER])
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = next((row for row in rows if any(map(str.strip, row))), [])
    return tuple(cell.strip() for cell in header)


def read_bytes(path: Path) -> bytes:
    """Read a label file whole; LabelError where it cannot be."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabelError(
            f"The label file {path} cannot be read ({error.strerror}). "
            f"Name a CSV file that can be, and run the same command again."
        ) from error


def decode(data: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    """Turn bytes into text, whatever program wrote them; also return what was guessed."""
    if data.startswith(b"PK\x03\x04"):
        raise LabelError(
            f"{path} is a workbook, not text. Save it as CSV (UTF-8) in the spreadsheet program, "
            f"then run the same command with {path.with_suffix('.csv')}"
        )
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
            f"{path} is no text file. Name a CSV file, or save this one as CSV (UTF-8) in the "
            f"program that wrote it, then run the same command again."
        ) from error


def _delimiter(text: str) -> tuple[str, str]:
    """Return the text, with Excel's ``sep=`` line made blank, and the delimiter."""
    first, _, rest = text.partition("\n")
    declared = re.fullmatch(r"sep=(.)\r?", first, re.IGNORECASE)
    if declared:
        return f"\n{rest}", declared[1]
    header = next((line for line in text.splitlines() if line.strip(" ,;\t|")), "")
    bare = re.sub(r'"[^"]*"', "", header)
    return text, max(DELIMITERS, key=bare.count)


def _read_plain(
    text: str, delimiter: str
) -> tuple[tuple[str, ...], tuple[Column, ...], NDArray[np.int64]] | None:
    """Read ten times as fast a text of which every line is a row of cells; None if it is not.

    Header, columns and lines are those that `_records` and `_columns` would give.
    """
    text = text.replace("\r\n", "\n").removesuffix("\n")
    quoted = rf'(?:^|(?<=[{re.escape(delimiter)}\n]))"[^"]*(?:""[^"]*)*"(?=[{delimiter}\n]|$)'
    if re.search("[\r\0\ufeff]", text) or ('"' in text and '"' in re.sub(quoted, "", text)):
        return None
    names = [f"f{column}" for column in range(text.partition("\n")[0].count(delimiter) + 1)]
    try:
        table = pacsv.read_csv(
            io.BytesIO(text.encode()),
            pacsv.ReadOptions(autogenerate_column_names=True),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid:  # as where rows differ in length
        return None
    if len(table) != text.count("\n") + 1:  # blank lines, or lines within a cell
        return None
    header = tuple(str(column[0]).strip() for column in table.columns)
    columns = [_encoded(column.slice(1)) for column in table.columns]
    filled = np.any([column.filled() for column in columns], axis=0)
    if not filled.all():
        columns = [column.where(filled) for column in columns]
    return header, tuple(columns), np.flatnonzero(filled) + 2


def _encoded(cells: pa.ChunkedArray) -> Column:
    encoded = cells.combine_chunks().dictionary_encode()
    # Straight from the buffer: converting an array makes pyarrow import pandas, for seconds.
    codes = np.frombuffer(encoded.indices.buffers()[1], np.int32, len(encoded))
    return _column(encoded.dictionary.to_pylist(), codes.astype(np.int64))


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record that is not blank starts, and its cells."""
    # strict: an unclosed quote would otherwise swallow the rest of the file without a word.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    start = 1
    try:
        for record in reader:
            if any(map(str.strip, record)):
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(
            f"{path}:{start}: the row cannot be read ({error}). Close or double the quotes in it, "
            f"then run the same command again."
        ) from error


def _columns(
    records: Iterator[tuple[int, list[str]]], header: Sequence[str], path: Path
) -> tuple[tuple[Column, ...], NDArray[np.int64]]:
    """Turn records into columns, and return the line of each."""
    indices: list[dict[str, int]] = [{} for _ in header]
    codes: list[list[int]] = [[] for _ in header]
    lines: list[int] = []
    while block := list(islice(records, _ROWS_AT_ONCE)):
        rows = [_fitted(cells, len(header), path, line) for line, cells in block]
        for index, own, cells in zip(indices, codes, zip(*rows, strict=True), strict=True):
            for cell in dict.fromkeys(cells):
                index.setdefault(cell, len(index))
            own += map(index.__getitem__, cells)
        lines += [line for line, _ in block]
    numbers = (np.array(own, np.int64) for own in codes)
    columns = (_column(tuple(i), own) for i, own in zip(indices, numbers, strict=True))
    return tuple(columns), np.array(lines, np.int64)


def _column(cells: Sequence[str], codes: NDArray[np.int64]) -> Column:
    """Make a column from cells that may be padded or repeated, or not occur."""
    index: dict[str, int] = {}
    present, first = np.unique(codes, return_index=True)
    renumbered = np.zeros(len(cells), np.int64)
    for code in present[np.argsort(first)].tolist():
        renumbered[code] = index.setdefault(cells[code].strip(), len(index))
    return Column(tuple(index), renumbered[codes])


def _fitted(cells: list[str], width: int, path: Path, line: int) -> list[str]:
    """Pad a short row with blanks; drop blank cells beyond the header."""
    if len(cells) == width:
        return cells
    if len(cells) < width:
        return cells + [""] * (width - len(cells))
    if any(map(str.strip, cells[width:])):
        raise LabelError(
            f"{path}:{line}: the row has {len(cells)} cells, the header {width}. Put text that "
            f"holds the delimiter in double quotes, then run the same command again."
        )
    return cells[:width]
