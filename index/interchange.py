"""Vectors made elsewhere, in and out: clip-retrieval's layout.

::

    FOLDER/
      img_emb/img_emb_0000.npy           float16 or float32 (n, dim)
      metadata/metadata_0000.parquet     n rows, a column with the image's path; a column
                                         ``sha256`` of the files' contents is taken in too
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import StoreError
from clipcal.index.decoding import settle_decoding
from clipcal.index.shards import Embeddings
from clipcal.index.store import Corpus, Outcome
from clipcal.models.identity import ModelIdentity

CONTENT_COLUMN = "sha256"
PATH_COLUMNS = ("image_path", "path", "uri", "url", "key")
ROWS_PER_PART = 100_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did; `skipped` counts images that were there with the same vector."""

    embedded: int
    skipped: int
    seconds: float


def read_dim(folder: Path) -> int:
    """Length of the vectors in `folder`.

    Raises
    ------
    StoreError
        If `folder` is not in clip-retrieval's layout.
    """
    return int(_load(_vector_files(folder)[0]).shape[1])


def import_vectors(folder: Path, corpus_path: Path, model: ModelIdentity) -> ImportReport:
    """Take vectors in clip-retrieval's layout into the corpus at `corpus_path`.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``img_emb/`` and ``metadata/``.
    corpus_path : pathlib.Path
        The corpus; made if it is not there.
    model : ModelIdentity
        Whose vectors they are.

    Returns
    -------
    ImportReport
        How many images were taken in. Importing the same folder again takes nothing in.

    Raises
    ------
    StoreError
        If files are missing, do not belong together, name an image twice, or hold NaN or zero
        vectors.
    FingerprintMismatch
        If the corpus holds another model's embeddings.
    """
    started = time.perf_counter()
    parts = [(file, _metadata_of(file)) for file in _vector_files(folder)]
    for vectors, metadata in parts:  # everything is checked before anything is written
        _check_part(vectors, metadata, model.dim)
    _refuse_repeats([metadata for _, metadata in parts])
    corpus = Corpus.open_or_create(corpus_path, model)
    embedded = skipped = 0
    try:
        with corpus.writing():
            run = corpus.start_run(json.dumps([str(folder)]))
            if corpus.rows == 0:
                settle_decoding(corpus, exact=True)
            for vectors, metadata in parts:
                new, old = _import_part(corpus, _normalised(vectors), metadata)
                embedded, skipped = embedded + new, skipped + old
            corpus.finish_run(run, embedded=embedded, skipped=skipped, failed=0)
    finally:
        corpus.close()
    return ImportReport(embedded, skipped, time.perf_counter() - started)


def export_vectors(corpus: Corpus, folder: Path) -> int:
    """Write the embedded images of `corpus` in clip-retrieval's layout.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    folder : pathlib.Path
        Made if need be; must not hold vectors already.

    Returns
    -------
    int
        How many images were written, one row each.

    Raises
    ------
    StoreError
        If `folder` holds vectors already, or the corpus holds none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if any(folder.glob("img_emb/*.npy")):
        raise StoreError(f"{folder} holds vectors already. Name an empty folder.")
    items = corpus.items("embedded")
    if not items:
        raise StoreError(
            f"The corpus {corpus.path} holds no embeddings. Next: clipcal embed SOURCE"
        )
    (folder / "img_emb").mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    for part, start in enumerate(range(0, len(items), ROWS_PER_PART)):
        chunk = items[start : start + ROWS_PER_PART]
        rows = np.array([item.row for item in chunk], np.int64)
        np.save(folder / "img_emb" / f"img_emb_{part:04d}.npy", corpus.shards.take(rows))
        table = pa.table(
            {"image_path": [i.uri for i in chunk], "sha256": [i.sha256 for i in chunk]},
            schema=pa.schema([("image_path", pa.string()), ("sha256", pa.string())]),
        )
        pq.write_table(table, folder / "metadata" / f"metadata_{part:04d}.parquet")
    return len(items)


def read_paths(file: Path) -> list[str]:
    """Read the paths of the images from a metadata file.

    Raises
    ------
    StoreError
        If the file is no Parquet file, has no column of paths, or a path is missing.
    """
    columns = _column_names(file)
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise StoreError(
            f"{file} has no column of image paths: it has {', '.join(columns)}. "
            f"Name one of them image_path."
        )
    paths = _read_column(file, column)
    if any(path is None for path in paths):
        raise StoreError(f"{file}: row {paths.index(None)} has no {column}. Give it one.")
    return [str(path) for path in paths]


def _read_contents(file: Path) -> list[str | None]:
    """The SHA-256 of each image's file, where the metadata holds it."""
    if CONTENT_COLUMN not in _column_names(file):
        return [None] * len(read_paths(file))
    return [_sha256(value) for value in _read_column(file, CONTENT_COLUMN)]


def _sha256(value: object) -> str | None:
    hashed = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
    return str(value) if hashed else None


def _column_names(file: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file} cannot be read as Parquet: {error}") from error


def _read_column(file: Path, column: str) -> list[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(file, columns=[column])[column].to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file} cannot be read as Parquet: {error}") from error


def _refuse_repeats(metadata: Sequence[Path]) -> None:
    """Refuse a path that stands for two vectors: nobody could say which is the image's."""
    seen: dict[str, Path] = {}
    for file in metadata:
        for path in read_paths(file):
            if path in seen:
                raise StoreError(
                    f"{path} stands in {seen[path]} and again in {file}. Remove one of them: an "
                    f"image has one vector."
                )
            seen[path] = file


def _vector_files(folder: Path) -> list[Path]:
    files = sorted((folder / "img_emb").glob("img_emb_*.npy"), key=lambda f: _number(f.stem))
    if not files:
        raise StoreError(
            f"{folder} holds no img_emb/img_emb_*.npy. Name the folder that clip-retrieval's "
            f"inference wrote: it has img_emb/ and metadata/ in it."
        )
    return files


def _number(stem: str) -> tuple[int, str]:
    digits = stem.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else 0, stem)


def _metadata_of(vectors: Path) -> Path:
    number = vectors.stem.rpartition("_")[2]
    file = vectors.parent.parent / "metadata" / f"metadata_{number}.parquet"
    if not file.is_file():
        raise StoreError(f"{vectors} has no {file} beside it, so its images have no names.")
    return file


def _load(file: Path) -> NDArray[np.floating]:
    try:
        array: NDArray[np.floating] = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{file} cannot be read as an array of numbers: {error}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise StoreError(f"{file} holds {array.dtype} {array.shape}, not real vectors (n, dim).")
    return array


def _check_part(file: Path, metadata: Path, dim: int) -> None:
    vectors = _load(file)
    if vectors.shape[1] != dim:
        raise StoreError(f"{file} holds vectors of {vectors.shape[1]} numbers, not {dim}.")
    names = len(read_paths(metadata))
    if names != len(vectors):
        raise StoreError(f"{file} has {len(vectors)} rows but {metadata} has {names}.")
    for start, block in _blocks(vectors):
        norms = np.linalg.norm(block, axis=1)
        bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
        if len(bad):
            raise StoreError(f"{file}: row {start + bad[0]} is NaN, infinite or zero.")


def _blocks(vectors: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(vectors), 16_384):
        yield start, np.asarray(vectors[start : start + 16_384], np.float32)


def _normalised(file: Path) -> Embeddings:
    """Rows of length one; what is one already, to float16's precision, is left to the bit."""
    vectors = _load(file)
    out = np.empty(vectors.shape, np.float16)
    for start, block in _blocks(vectors):
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        already = np.abs(norms - 1) < 1e-3
        out[start : start + len(block)] = np.where(already, block, block / norms)
    return out


def _import_part(corpus: Corpus, vectors: Embeddings, metadata: Path) -> tuple[int, int]:
    """Commit the images of one part that are new or have a new vector: (taken, left)."""
    uris, contents = read_paths(metadata), _read_contents(metadata)
    fresh = np.flatnonzero(~_are_held(corpus, uris, vectors)).tolist()
    start = corpus.rows
    outcomes = [Outcome(uris[i], sha256=contents[i], row=start + n) for n, i in enumerate(fresh)]
    corpus.commit(outcomes, vectors[fresh], _first_of_each(corpus, [contents[i] for i in fresh]))
    return len(fresh), len(uris) - len(fresh)


def _are_held(corpus: Corpus, uris: Sequence[str], vectors: Embeddings) -> NDArray[np.bool_]:
    """Which images the corpus holds with the very same vector."""
    rows = {item.uri: item.row for item in corpus.items("embedded")}
    held = np.array([rows[uri] if rows.get(uri) is not None else -1 for uri in uris], np.int64)
    known = np.flatnonzero(held >= 0)
    same = np.zeros(len(uris), bool)
    same[known] = (corpus.shards.take(held[known]) == vectors[known]).all(axis=1)
    return same


def _first_of_each(corpus: Corpus, contents: Sequence[str | None]) -> list[str | None]:
    """Contents, each named once in all: copies have rows of their own, which nobody looks up."""
    seen: set[str | None] = set(corpus.rows_by_content())
    first: list[str | None] = []
    for content in contents:
        first.append(None if content in seen else content)
        seen.add(content)
    return first
