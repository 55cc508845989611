"""Any number of rows in batches of a few fixed sizes.

Kernels choose their summation order by the shape, so within one size a row's embedding is the same
to the last bit whatever shares its batch, and memory is allocated once per size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clipcal.errors import BundleError, ProviderError
from clipcal.models.runtimes.base import Embeddings, GraphFile, GraphSession, Port, Rows, first_line
from clipcal.models.runtimes.onnx_runtime import CPU


class BatchedGraph:
    """An opened graph that takes any number of rows.

    Parameters
    ----------
    file : GraphFile
        What was opened.
    session : GraphSession
        What runs it.
    dtype : str
        numpy's name of the type that its input must have.
    dim : int
        The length that its embeddings must have.

    Raises
    ------
    BundleError
        If the graph takes or gives something else.
    """

    def __init__(self, file: GraphFile, session: GraphSession, dtype: str, dim: int) -> None:
        wanted = (Port(dtype, file.row_shape), Port("float32", (dim,)))
        found = session.ports
        if len(found) != len(wanted) or not all(map(Port.fits, found, wanted)):
            raise BundleError(
                f"{file.path} does not fit its manifest: it takes and gives {_written(found)}, the "
                f"manifest says {_written(wanted)}. Export it again: clipcal export NAME "
                f"-o {file.path.parent}"
            )
        self.session, self.dim, self.row_shape = session, dim, file.row_shape
        # It begins threads only when it gets work, and ends them when nothing holds it any more.
        self._pool = ThreadPoolExecutor(session.streams, thread_name_prefix="batches")

    def run(self, rows: Rows) -> Embeddings:
        """Embed n rows as float32 (n, dim); from several threads at once if need be.

        Rows of more than one batch are dealt over the session's streams, so that a single caller
        has every core too. What a batch gives does not depend on the thread that runs it.

        Raises
        ------
        ProviderError
            If the run time fails on a batch.
        """
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, the graph takes {self.row_shape}")
        embeddings = np.empty((len(rows), self.dim), np.float32)

        def embed(batch: tuple[int, int]) -> None:
            start, size = batch
            part = rows[start : start + size]
            embeddings[start : start + size] = self._run_padded(part, size)[: len(part)]

        self._each(embed, list(_placed(len(rows), self.session.batch_sizes)))
        return embeddings

    def _each(
        self, work: Callable[[tuple[int, int]], None], batches: list[tuple[int, int]]
    ) -> None:
        several = len(batches) > 1 and self.session.streams > 1
        done: Iterable[None] = self._pool.map(work, batches) if several else map(work, batches)
        for _ in done:  # raises what a batch raised, and begins no further one
            pass

    def _run_padded(self, rows: Rows, size: int) -> Embeddings:
        if len(rows) < size:
            # The last row again, not zeros: whatever the graph does, it does on real inputs.
            rows = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        try:
            return self.session.run(rows)
        except Exception as error:  # the run times' exceptions share no base but this
            elsewhere = "" if self.session.provider == CPU else ", or --device cpu"
            raise ProviderError(
                f"{self.session.provider} failed on a batch of {size}: {first_line(error)}. "
                f"Next: a smaller model{elsewhere}."
            ) from error


def split_batch(count: int, sizes: Sequence[int]) -> Iterator[int]:
    """Deal `count` rows into batches of the given sizes; only the last may be padded.

    Parameters
    ----------
    count : int
        Rows to run.
    sizes : sequence of int
        The sizes allowed, ascending.

    Yields
    ------
    int
        Sizes whose sum is at least `count`. A batch is padded where that wastes no more than
        half of it; else a smaller size takes a part of it first.
    """
    while count > 0:
        fitting = [size for size in sizes if size <= count]
        above = [size for size in sizes if size > count]
        pad = bool(above) and (not fitting or 2 * count >= above[0])
        size = above[0] if pad else fitting[-1]
        yield size
        count -= size


def _placed(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give each batch's first row and its size."""
    start = 0
    for size in split_batch(count, sizes):
        yield start, size
        start += size


def _written(ports: Sequence[Port]) -> str:
    return " and ".join(f"{port.dtype} {list(port.row_shape)}" for port in ports)
