"""Embeddings at rest: numbered ``.npy`` files that only ever grow at their end.

Row numbers are global: row ``r`` is row ``r % ROWS_PER_SHARD`` of shard ``r // ROWS_PER_SHARD``.
How many rows exist is known to the caller (the corpus database), never read from a file: what
lies behind the last committed row is the rest of an interrupted run, and is cut off.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import StoreError
from clipcal.models.runtimes.cores import allowed_cpus as _processors

Embeddings = NDArray[np.float16]  # (n, dim), rows L2-normalised
Rows = NDArray[np.int64]  # (n,), global row numbers

ROWS_PER_SHARD = 100_000
ROWS_AT_ONCE = 4_000  # a divisor of the above; what is made of so many stays in the cache
HEADER_BYTES = 128
ITEM_BYTES = 2


@dataclass(frozen=True, slots=True)
class Shards:
    """The shard files of one corpus.

    Attributes
    ----------
    folder : pathlib.Path
        Where ``000000.npy``, ``000001.npy`` … lie.
    dim : int
        Length of an embedding.
    """

    folder: Path
    dim: int

    def append(self, start: int, vectors: Embeddings) -> None:
        """Write `vectors` as the rows from `start` on, and make them durable.

        Anything that lay at or behind `start` is cut off first. The rows do not exist until the
        caller commits their number.

        Parameters
        ----------
        start : int
            The number of rows committed so far.
        vectors : Embeddings
            float16 (n, dim), rows L2-normalised.

        Raises
        ------
        StoreError
            If committed rows are missing from the files: nothing is written over the gap.
        """
        self._require(start)
        written = 0
        while written < len(vectors):
            shard, offset = divmod(start + written, ROWS_PER_SHARD)
            part = vectors[written : written + ROWS_PER_SHARD - offset]
            self._append_to(shard, offset, part)
            written += len(part)

    def take(self, rows: Rows) -> Embeddings:
        """Read single rows, in the order asked for.

        Parameters
        ----------
        rows : Rows
            int64 (n,), each below the committed number of rows.

        Returns
        -------
        Embeddings
            float16 (n, dim).
        """
        out = np.empty((len(rows), self.dim), np.float16)
        shards = rows // ROWS_PER_SHARD
        for shard in np.unique(shards):
            at = shards == shard
            offsets = rows[at] % ROWS_PER_SHARD
            out[at] = self._open(int(shard), int(offsets.max()) + 1)[offsets]
        return out

    def blocks(
        self, stop: int, *, start: int = 0, size: int = 16_384
    ) -> Iterator[tuple[int, Embeddings]]:
        """Walk the rows from `start` to `stop` in blocks that never straddle a shard.

        Parameters
        ----------
        stop : int
            The committed number of rows.
        start : int
            The first row wanted.
        size : int
            The most rows in a block.

        Yields
        ------
        tuple of int and Embeddings
            The first row's number, and a read-only float16 (≤ size, dim) view of the file.
        """
        for first, end in _stretches(start, stop, size):
            yield first, self.block(first, end)

    def block(self, start: int, stop: int) -> Embeddings:
        """Look at the rows from `start` to `stop`, all of one shard: a read-only view."""
        shard, offset = divmod(start, ROWS_PER_SHARD)
        end = offset + stop - start
        return self._open(shard, end)[offset:end]

    def each(
        self,
        work: Callable[[int, Embeddings], object],
        stop: int,
        *,
        start: int = 0,
        size: int = ROWS_AT_ONCE,
        threads: int | None = None,
    ) -> None:
        """Do some work on all rows from `start` to `stop`, in several threads.

        Parameters
        ----------
        work : callable
            Called with a block's first row and the block, in no particular order and several at
            once; it should spend its time where Python's lock is let go.
        stop : int
            The committed number of rows.
        start : int
            The first row wanted.
        size : int
            The most rows in a block; blocks never straddle a shard.
        threads : int, optional
            How many; by default as many as there are processors.
        """

        def look(ends: tuple[int, int]) -> None:
            work(ends[0], self.block(*ends))

        with ThreadPoolExecutor(threads or _processors()) as pool:
            for _ in pool.map(look, _stretches(start, stop, size)):
                pass

    def _require(self, rows: int) -> None:
        """Refuse to go on where the files hold fewer than the committed rows."""
        for shard in range(-(-rows // ROWS_PER_SHARD)):
            here = min(rows - shard * ROWS_PER_SHARD, ROWS_PER_SHARD)
            path = self._file(shard)
            size = path.stat().st_size if path.exists() else 0
            if size < HEADER_BYTES + here * self.dim * ITEM_BYTES:
                raise StoreError(_lacks_rows(path, f"it has {size:,} bytes"))

    def _file(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _open(self, shard: int, rows: int) -> Embeddings:
        path = self._file(shard)
        try:
            return np.memmap(
                path, np.float16, mode="r", offset=HEADER_BYTES, shape=(rows, self.dim)
            )
        except (OSError, ValueError) as error:
            raise StoreError(_lacks_rows(path, str(error))) from error

    def _append_to(self, shard: int, offset: int, vectors: Embeddings) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._file(shard)
        with path.open("r+b" if path.exists() else "w+b") as stream:
            stream.truncate(HEADER_BYTES + offset * self.dim * ITEM_BYTES)
            stream.seek(0)
            stream.write(_header(offset + len(vectors), self.dim))
            stream.seek(0, os.SEEK_END)
            stream.write(np.ascontiguousarray(vectors, np.float16).tobytes())
            stream.flush()
            os.fsync(stream.fileno())


def _stretches(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Divide rows into blocks that end where a shard ends."""
    while start < stop:
        end = min(start + size, start - start % ROWS_PER_SHARD + ROWS_PER_SHARD, stop)
        yield start, end
        start = end


def _lacks_rows(path: Path, detail: str) -> str:
    return (
        f"{path} lacks rows that the corpus database names ({detail}). Restore the file from a "
        f"copy, or embed into a new corpus: clipcal embed SOURCE --corpus NEW"
    )


def _header(rows: int, dim: int) -> bytes:
    """The ``.npy`` header of a float16 array, always of the same length so it can be renewed."""
    buffer = io.BytesIO()
    description = {"descr": "<f2", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(buffer, description)
    header = buffer.getvalue()
    if len(header) != HEADER_BYTES:  # numpy keeps room for the first axis to grow
        raise StoreError(f"numpy wrote a header of {len(header)} bytes, not {HEADER_BYTES}")
    return header
