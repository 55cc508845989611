"""Scores as a file for other programs: CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import CalibrationError
from clipcal.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 100_000


def write_scores(path: Path, scored: CorpusScores) -> None:
    """Write a row per image: ``image``, then ``NAME_score`` per category.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.csv`` or ``.parquet``. Appears whole or not at all.
    scored : CorpusScores
        The scores.

    Raises
    ------
    CalibrationError
        If the ending is another.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    writers = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}
    open_writer = writers.get(path.suffix.lower())
    if open_writer is None:
        raise CalibrationError(
            f"{path} ends neither in .csv nor in .parquet. Name such a file: "
            f"clipcal score -o scores.csv"
        )
    names = [("image", pa.string())]
    names += [(f"{name}_score", pa.float32()) for name in scored.categories]
    schema = pa.schema(names)
    with replacing(path) as part, open_writer(part, schema) as writer:
        for start in range(0, len(scored.uris), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            columns = [scored.column(name)[rows] for name in scored.categories]
            arrays = [image_names(scored.uris[rows]), *map(pa.array, columns)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def image_names(images: Sequence[str]) -> pa.Array:
    """Images as a column; bytes of a name that are no UTF-8 are escaped."""
    import pyarrow as pa

    return pa.array([_writable(image) for image in images], pa.string())


def _writable(image: str) -> str:
    """Escape the bytes of a file name that are no UTF-8, which Python keeps as surrogates."""
    if image.isascii():
        return image
    return image.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
