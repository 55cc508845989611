"""Pixels and sentences to embeddings, on whichever run time is fastest here.

What computes lies behind one protocol (``runtimes/base.py``): ONNX Runtime on the CPU, on CUDA and
on TensorRT, and OpenVINO, all from the same ONNX file. A graph only ever runs on batches of a few
fixed sizes (``runtimes/batches.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipcal.models.bundle import Bundle
from clipcal.models.runtimes.base import Embeddings, GraphFile
from clipcal.models.runtimes.batches import BatchedGraph, split_batch
from clipcal.models.runtimes.choice import DEVICES, open_graph
from clipcal.models.runtimes.cores import usable_cores
from clipcal.models.runtimes.nvidia import CUDA, TENSORRT, cuda_obstacle
from clipcal.models.runtimes.onnx_runtime import CPU, cpu_session
from clipcal.models.runtimes.openvino import OPENVINO
from clipcal.models.tokenizer import Tokenizer

__all__ = [
    "CPU",
    "CUDA",
    "DEVICES",
    "OPENVINO",
    "TENSORRT",
    "Embeddings",
    "ImageEncoder",
    "Pixels",
    "TextEncoder",
    "cpu_session",
    "cuda_obstacle",
    "open_image_encoder",
    "open_text_encoder",
    "split_batch",
]

Pixels = NDArray[np.uint8]  # (n, height, width, 3), RGB


class Encoder(Protocol):
    """What both towers tell of themselves."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def provider(self) -> str:
        """What computes: ONNX Runtime's name, as ``CPUExecutionProvider``, or ``OpenVINO``."""

    @property
    def arithmetic(self) -> str:
        """What most products are computed in: float32, tf32, bfloat16, float16 or int8."""

    @property
    def note(self) -> str | None:
        """What would be faster: why ``auto`` passed it over, or that an int8 bundle is on a GPU."""


class ImageEncoder(Encoder, Protocol):
    """Whatever embeds pixels."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Numbers of images that run without padding, ascending."""

    @property
    def streams(self) -> int:
        """How many threads may call :meth:`encode` at once with profit; any number may."""

    def encode(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 pixels (n, height, width, 3) as float32 (n, dim), rows L2-normalised."""


class TextEncoder(Encoder, Protocol):
    """Whatever embeds sentences."""

    def encode(self, sentences: Sequence[str]) -> Embeddings:
        """Embed n sentences as float32 (n, dim), rows L2-normalised."""


def open_image_encoder(
    bundle: Bundle,
    *,
    device: str = "auto",
    threads: int | None = None,
    batch_sizes: Sequence[int] | None = None,
) -> ImageEncoder:
    """Open a bundle's image tower.

    A bundle's parity is stated for ONNX Runtime on the CPU. CUDA computes in float32 too and
    stays within it. OpenVINO computes in bfloat16 where the CPU has instructions for it, which
    turns an embedding a little (cosine about 0.9999), and TensorRT in TF32; the encoder's
    ``arithmetic`` tells, and ``device="cpu"`` gives float32.

    Parameters
    ----------
    bundle : Bundle
        The model.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        ``auto`` takes CUDA where it really starts, else OpenVINO where it is installed and reads
        the graph, else ONNX Runtime on the CPU (``cpu``); the encoder's ``provider`` says which,
        its ``note`` what would be faster.
    threads : int, optional
        CPU threads that the model may use, all streams together; every physical core by default.
    batch_sizes : sequence of int, optional
        The sizes of batch that the graph may see; by default (1, 4, 16), on a GPU (1, 8, 32,
        128). With a single size embeddings do not even depend on how images are dealt into
        batches.

    Returns
    -------
    ImageEncoder
        The encoder. Several threads may use it at once.

    Raises
    ------
    ProviderError
        If the device was asked for and cannot be used.
    BundleError
        If the graph is damaged or does not fit its manifest.
    """
    preprocessing = bundle.manifest.preprocessing
    shape = (preprocessing.height, preprocessing.width, 3)
    sizes = tuple(sorted(batch_sizes)) if batch_sizes else None
    file = _graph_file(bundle, bundle.visual, shape, threads, sizes)
    return _ImageEncoder(bundle, file, device)


def open_text_encoder(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> TextEncoder:
    """Open a bundle's text tower and tokenizer.

    Sentences are few, and their vectors are kept and shared between machines: float32 is never
    replaced by bfloat16 here (on TensorRT it may be by TF32).

    Parameters
    ----------
    bundle : Bundle
        The model.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        As in :func:`open_image_encoder`.
    threads : int, optional
        CPU threads that the model may use; every physical core by default.

    Returns
    -------
    TextEncoder
        The encoder.

    Raises
    ------
    ProviderError
        If the device was asked for and cannot be used.
    BundleError
        If the graph or the tokenizer is damaged or does not fit the manifest.
    """
    length = bundle.manifest.context_length
    file = _graph_file(bundle, bundle.textual, (length,), threads, None, exact=True)
    return _TextEncoder(bundle, file, device)


def _graph_file(
    bundle: Bundle,
    path: Path,
    row_shape: tuple[int, ...],
    threads: int | None,
    batch_sizes: tuple[int, ...] | None,
    *,
    exact: bool = False,
) -> GraphFile:
    manifest = bundle.manifest
    in_float = exact and manifest.precision == "int8"  # of an int8 bundle only images are in int8
    return GraphFile(
        path=path,
        sha256=manifest.files.get(path.name, ""),
        precision="fp32" if in_float else manifest.precision,
        row_shape=row_shape,
        threads=threads or usable_cores(),
        batch_sizes=batch_sizes,
        exact=exact,
    )


class _Encoder:
    def __init__(self, bundle: Bundle, file: GraphFile, device: str, dtype: str) -> None:
        session, self.note = open_graph(file, device)
        self._graph = BatchedGraph(file, session, dtype, bundle.manifest.dim)
        self.dim = bundle.manifest.dim
        self.provider = session.provider
        self.arithmetic = session.arithmetic
        self.batch_sizes = session.batch_sizes
        self.streams = session.streams


class _ImageEncoder(_Encoder):
    def __init__(self, bundle: Bundle, file: GraphFile, device: str) -> None:
        super().__init__(bundle, file, device, "uint8")

    def encode(self, pixels: Pixels) -> Embeddings:
        return self._graph.run(pixels)


class _TextEncoder(_Encoder):
    def __init__(self, bundle: Bundle, file: GraphFile, device: str) -> None:
        super().__init__(bundle, file, device, "int64")
        self._tokenizer = Tokenizer.load(bundle.path, bundle.manifest.context_length)

    def encode(self, sentences: Sequence[str]) -> Embeddings:
        return self._graph.run(self._tokenizer.encode(sentences))
