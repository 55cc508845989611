"""Scores as a file for other programs: CSV or Parquet."""

from __future__ import annotations

from pathlib import Path

from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import CalibrationError
from clipcal.files import replacing


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

    columns = {f"{name}_score": scored.column(name) for name in scored.categories}
    table = pa.table({"image": list(scored.uris), **columns})
    writers = {".csv": pa.csv.write_csv, ".parquet": pa.parquet.write_table}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise CalibrationError(
            f"{path} ends neither in .csv nor in .parquet. Name such a file: "
            f"clipcal score -o scores.csv"
        )
    with replacing(path) as part:
        write(table, part)
