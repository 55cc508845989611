"""What a run time must offer, and what it is told about a graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]  # (n, dim), rows L2-normalised
Rows = NDArray[Any]  # (n, …), what a graph takes

CPU_BATCH_SIZES = (1, 4, 16)
MOST_STREAMS = 4
ARITHMETIC = {"fp32": "float32", "fp16": "float16", "int8": "int8"}  # by a bundle's precision


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A graph to open, and how.

    Attributes
    ----------
    path : pathlib.Path
        The ONNX file.
    sha256 : str
        Its content, as the manifest has it.
    precision : {"fp32", "fp16", "int8"}
        What its weights are.
    row_shape : tuple of int
        The shape of one row of its input.
    threads : int
        CPU threads that may compute, over all streams.
    batch_sizes : tuple of int, optional
        The sizes of batch that it will see, ascending; by default the run time's own.
    exact : bool
        Whether float32 must be computed in float32, even where bfloat16 is faster.
    """

    path: Path
    sha256: str
    precision: str
    row_shape: tuple[int, ...]
    threads: int
    batch_sizes: tuple[int, ...] | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph: numpy's name of its type, and the shape of one row.

    A run time that does not know a length gives -1.
    """

    dtype: str
    row_shape: tuple[int | str, ...]

    def fits(self, wanted: Port) -> bool:
        """Whether this may be `wanted`."""
        if self.dtype != wanted.dtype or len(self.row_shape) != len(wanted.row_shape):
            return False
        pairs = zip(self.row_shape, wanted.row_shape, strict=True)
        return all(found in (-1, length) for found, length in pairs)


class GraphSession(Protocol):
    """One opened graph on one run time.

    Within one batch size a row's embedding is the same to the last bit, whatever shares its batch
    and whichever thread runs it.
    """

    @property
    def provider(self) -> str:
        """What computes, for example ``CPUExecutionProvider`` or ``OpenVINO``."""

    @property
    def arithmetic(self) -> str:
        """What most products are computed in: float32, tf32, bfloat16, float16 or int8."""

    @property
    def streams(self) -> int:
        """How many threads may call :meth:`run` at once with profit; more may, and wait."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The numbers of rows that it should see, ascending."""

    @property
    def ports(self) -> tuple[Port, ...]:
        """The graph's inputs and outputs, in this order."""

    def run(self, rows: Rows) -> Embeddings:
        """Embed one batch of one of the sizes."""


def streams_for(threads: int) -> int:
    """Say how many batches are best computed at once by that many CPU threads.

    Two batches side by side beat one on two cores: what cannot be divided, and the waiting at
    the end of every operation, is done twice at once. Beyond a few streams only memory grows.
    """
    return min(threads, MOST_STREAMS)


def first_line(error: Exception) -> str:
    """Return an error's first line, without the stop at its end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
