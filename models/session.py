"""Pixels and sentences to embeddings, by ONNX Runtime on the CPU or a CUDA device.

A graph only ever runs on batches of a few fixed sizes: rows are padded up to the next one.
Kernels choose their summation order by the shape, so within one size a row's embedding is the
same to the last bit whatever shares its batch, and memory is allocated once per size.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clipcal.errors import BundleError, ProviderError
from clipcal.models.bundle import Bundle
from clipcal.models.tokenizer import Tokenizer

Pixels = NDArray[np.uint8]  # (n, height, width, 3), RGB
Embeddings = NDArray[np.float32]  # (n, dim), rows L2-normalised

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
DEVICES = ("auto", "cpu", "cuda")
BATCH_SIZES = {CPU: (1, 8, 32), CUDA: (1, 8, 32, 128)}
_FATAL = 4  # ONNX Runtime's severity; what matters arrives as an exception
_CUDA_OPTIONS = {
    # One size of request is one allocation: doubling would hold twice the memory for nothing.
    "arena_extend_strategy": "kSameAsRequested",
    # The exhaustive search times every algorithm anew for each batch size.
    "cudnn_conv_algo_search": "HEURISTIC",
    # TF32 keeps ten bits of a product; embeddings would leave the tolerance of parity.
    "use_tf32": "0",
}


class ImageEncoder(Protocol):
    """Whatever embeds pixels."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what computes, for example ``CPUExecutionProvider``."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Numbers of images that run without padding, ascending."""

    def encode(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 pixels (n, height, width, 3) as float32 (n, dim), rows L2-normalised."""


class TextEncoder(Protocol):
    """Whatever embeds sentences."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what computes, for example ``CPUExecutionProvider``."""

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

    Parameters
    ----------
    bundle : Bundle
        The model.
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes CUDA where it really starts and the CPU elsewhere; the encoder's
        ``provider`` says which.
    threads : int, optional
        CPU threads within an operation; every physical core by default.
    batch_sizes : sequence of int, optional
        The sizes of batch that the graph may see; by default (1, 8, 32), on CUDA also 128.
        With a single size embeddings do not even depend on how images are dealt into batches.

    Returns
    -------
    ImageEncoder
        The encoder.

    Raises
    ------
    ProviderError
        If the device was asked for and is not there.
    BundleError
        If the graph is damaged or does not fit its manifest.
    """
    preprocessing = bundle.manifest.preprocessing
    graph = _Graph(bundle, bundle.visual, device, threads, batch_sizes)
    graph.expect("tensor(uint8)", (preprocessing.height, preprocessing.width, 3))
    return _OnnxImageEncoder(graph)


def open_text_encoder(
    bundle: Bundle, *, device: str = "auto", threads: int | None = None
) -> TextEncoder:
    """Open a bundle's text tower and tokenizer.

    Parameters
    ----------
    bundle : Bundle
        The model.
    device : {"auto", "cpu", "cuda"}
        As in :func:`open_image_encoder`.
    threads : int, optional
        CPU threads within an operation; every physical core by default.

    Returns
    -------
    TextEncoder
        The encoder.

    Raises
    ------
    ProviderError
        If the device was asked for and is not there.
    BundleError
        If the graph or the tokenizer is damaged or does not fit the manifest.
    """
    length = bundle.manifest.context_length
    graph = _Graph(bundle, bundle.textual, device, threads, None)
    graph.expect("tensor(int64)", (length,))
    return _OnnxTextEncoder(graph, Tokenizer.load(bundle.path, length))


class _Graph:
    """One opened graph and the sizes of batch in which it runs."""

    def __init__(
        self,
        bundle: Bundle,
        file: Path,
        device: str,
        threads: int | None,
        batch_sizes: Sequence[int] | None,
    ) -> None:
        self.file = file
        half = bundle.manifest.precision == "fp16"
        self.session = _open_session(file, device, _options(threads, half))
        self.provider: str = self.session.get_providers()[0]
        self.batch_sizes = tuple(sorted(batch_sizes or BATCH_SIZES[self.provider]))
        self.dim = bundle.manifest.dim

    def expect(self, kind: str, row_shape: tuple[int, ...]) -> None:
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        found = [(node.type, tuple(node.shape[1:])) for node in (*inputs, *outputs)]
        wanted = [(kind, row_shape), ("tensor(float)", (self.dim,))]
        if found != wanted:
            raise BundleError(
                f"{self.file} does not fit its manifest: it takes and gives {found}, the manifest "
                f"says {wanted}. Export it again: clipcal export NAME -o {self.file.parent}"
            )
        self.row_shape, self.input_name = row_shape, inputs[0].name

    def run(self, rows: NDArray[Any]) -> Embeddings:
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, the graph takes {self.row_shape}")
        embeddings = np.empty((len(rows), self.dim), np.float32)
        start = 0
        for size in split_batch(len(rows), self.batch_sizes):
            chunk = rows[start : start + size]
            embeddings[start : start + size] = self._run_padded(chunk, size)[: len(chunk)]
            start += size
        return embeddings

    def _run_padded(self, rows: NDArray[Any], size: int) -> Embeddings:
        if len(rows) < size:
            # The last row again, not zeros: whatever the graph does, it does on real inputs.
            rows = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        try:
            result: Embeddings = self.session.run(None, {self.input_name: rows})[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            elsewhere = "" if self.provider == CPU else ", or --device cpu"
            raise ProviderError(
                f"{self.provider} failed on a batch of {size}: {_first_line(error)}. "
                f"Next: a smaller model{elsewhere}."
            ) from error
        return result


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


class _OnnxImageEncoder:
    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self.dim = graph.dim
        self.provider = graph.provider
        self.batch_sizes = graph.batch_sizes

    def encode(self, pixels: Pixels) -> Embeddings:
        return self._graph.run(pixels)


class _OnnxTextEncoder:
    def __init__(self, graph: _Graph, tokenizer: Tokenizer) -> None:
        self._graph = graph
        self._tokenizer = tokenizer
        self.dim = graph.dim
        self.provider = graph.provider

    def encode(self, sentences: Sequence[str]) -> Embeddings:
        return self._graph.run(self._tokenizer.encode(sentences))


def cpu_session(file: Path, *, half: bool = False) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU.

    Parameters
    ----------
    file : pathlib.Path
        An ONNX graph.
    half : bool
        Whether it computes in float16.

    Returns
    -------
    onnxruntime.InferenceSession
        The session; it logs nothing.

    Raises
    ------
    BundleError
        If the file is missing or no graph.
    """
    return _on_cpu(file, _options(None, half))


def _open_session(
    file: Path, device: str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    if device not in DEVICES:
        raise ProviderError(f"There is no device {device!r}. Choose one of {', '.join(DEVICES)}.")
    if device == "cpu":
        return _on_cpu(file, options)
    obstacle = cuda_obstacle()
    if obstacle is None:
        try:
            return _on_cuda(file, options)
        except ProviderError as error:
            obstacle = str(error)
    # A damaged graph is told as such, whatever the device.
    session = _on_cpu(file, options)
    if device == "cuda":
        raise ProviderError(f"CUDA was asked for and is not there: {obstacle}")
    return session


def _on_cpu(file: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return _new_session(file, options, [CPU])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise BundleError(
            f"{file} cannot be opened as an ONNX graph ({_first_line(error)}). Copy the bundle "
            f"again, or: clipcal export NAME -o {file.parent}"
        ) from error


def _on_cuda(file: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    with contextlib.redirect_stdout(io.StringIO()):  # preload_dlls prints what it misses
        getattr(onnxruntime, "preload_dlls", lambda: None)()
    try:
        session = _new_session(file, options, [(CUDA, _CUDA_OPTIONS), CPU])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise ProviderError(f"{_first_line(error)}. Next: --device cpu.") from error
    # Where a library is missing ONNX Runtime goes on with the CPU and only logs it.
    if session.get_providers()[0] != CUDA:
        raise ProviderError(
            f"ONNX Runtime could not start it ({_missing_library()}). Next: "
            "pip install 'clipcal[gpu]', or --device cpu."
        )
    return session


def _new_session(
    file: Path, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    # enable_fallback=0: else the wrapper prints a banner and changes the device by itself.
    return onnxruntime.InferenceSession(str(file), options, providers=providers, enable_fallback=0)


def _options(threads: int | None, half: bool) -> onnxruntime.SessionOptions:
    onnxruntime.set_default_logger_severity(_FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Weights stay out of the arena, so that it holds activations only and stops growing once
    # each batch size has been seen.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    if half:
        # ONNX Runtime 1.31 crashes when it lays out float16 convolutions anew for the CPU; the
        # level below leaves them alone.
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.graph_optimization_level = level
    return options


def cuda_obstacle() -> str | None:
    """Say why CUDA cannot run here, as far as can be told without opening a graph.

    Returns
    -------
    str or None
        The reason and the next step; None where nothing speaks against trying.
    """
    available = onnxruntime.get_available_providers()
    if CUDA not in available:
        return (
            f"this onnxruntime has no CUDA provider (it has {', '.join(available)}). "
            "Next: pip install 'clipcal[gpu]', or --device cpu."
        )
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(driver)
    except OSError:
        return (
            f"no NVIDIA driver on this machine ({driver} cannot be loaded). "
            "Next: install the driver, or --device cpu."
        )
    return None


def _missing_library() -> str:
    """Ask the loader which library the CUDA provider lacks."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    names = ("onnxruntime_providers_cuda.dll", "libonnxruntime_providers_cuda.so")
    for file in itertools.chain.from_iterable(folder.glob(name) for name in names):
        try:
            ctypes.CDLL(str(file))
        except OSError as error:
            return _first_line(error)
    return "no reason was given"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
