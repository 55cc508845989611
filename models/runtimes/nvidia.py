"""ONNX Runtime on an NVIDIA GPU, by CUDA or TensorRT."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import itertools
import os
import sys
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnxruntime
import platformdirs

from clipcal.errors import ProviderError
from clipcal.models.runtimes.base import ARITHMETIC, Embeddings, GraphFile, Rows, first_line
from clipcal.models.runtimes.onnx_runtime import (
    CPU,
    cpu_session,
    new_session,
    ports_of,
    session_options,
)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
GPU_BATCH_SIZES = (1, 8, 32, 128)
_STREAMS = 2
_DEVICE = "cuda"
_SHORT = {CUDA: "cuda", TENSORRT: "tensorrt"}
_CUDA_OPTIONS = {
    # One size of request is one allocation: doubling would hold twice the memory for nothing.
    "arena_extend_strategy": "kSameAsRequested",
    # The exhaustive search times every algorithm anew for each batch size.
    "cudnn_conv_algo_search": "HEURISTIC",
    # TF32 keeps ten bits of a product; embeddings would leave the tolerance of parity.
    "use_tf32": "0",
}


class GpuSession:
    """A graph on a GPU, with buffers there that are used again for every batch of a size.

    Two callers take turns: while the graph runs for one, the other's pixels travel. The graph
    itself never runs twice at once, because cuBLAS gives the same bits again only where a single
    stream is busy (its documentation, "Results Reproducibility").

    Parameters
    ----------
    file : GraphFile
        The graph.
    provider : str
        ONNX Runtime's name, :data:`CUDA` or :data:`TENSORRT`.

    Raises
    ------
    ProviderError
        If the provider is not there or does not start; the message says why.
    """

    streams = _STREAMS

    def __init__(self, file: GraphFile, provider: str) -> None:
        self.provider = provider
        self.batch_sizes = file.batch_sizes or GPU_BATCH_SIZES
        self._session = _start(file, provider, self.batch_sizes)
        self.arithmetic = _arithmetic(file.precision, provider)
        self.ports = ports_of(self._session)
        self._running = threading.Lock()
        self._idle: SimpleQueue[dict[int, _Buffers]] = SimpleQueue()
        for _ in range(_STREAMS):
            self._idle.put({})

    def run(self, rows: Rows) -> Embeddings:
        """Embed one batch."""
        by_size = self._idle.get()
        try:
            buffers = by_size.get(len(rows))
            if buffers is None:
                buffers = by_size[len(rows)] = _Buffers(self._session, rows, self.ports[-1])
            buffers.rows.update_inplace(np.ascontiguousarray(rows))
            with self._running:
                self._session.run_with_iobinding(buffers.binding)
            return np.array(buffers.embeddings.numpy())
        finally:
            self._idle.put(by_size)


def _arithmetic(precision: str, provider: str) -> str:
    # ONNX Runtime makes integer products of quantised ones for CPUs only.
    computed = ARITHMETIC["fp32" if precision == "int8" else precision]
    # ONNX Runtime has no option that keeps TensorRT from TF32; only this variable does.
    allowed = os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return "tf32" if provider == TENSORRT and computed == "float32" and allowed else computed


class _Buffers:
    """Memory on the device for one batch of one size, bound to the graph's input and output."""

    def __init__(self, session: onnxruntime.InferenceSession, rows: Rows, output: Any) -> None:
        shape = (len(rows), *output.row_shape)
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        self.rows = make(rows.shape, rows.dtype.type, _DEVICE)
        self.embeddings = make(shape, np.float32, _DEVICE)
        self.binding = session.io_binding()
        self.binding.bind_ortvalue_input(session.get_inputs()[0].name, self.rows)
        self.binding.bind_ortvalue_output(session.get_outputs()[0].name, self.embeddings)


def cuda_obstacle() -> str | None:
    """Say why CUDA cannot run here, as far as can be told without opening a graph.

    Returns
    -------
    str or None
        The reason and the next step; None where nothing speaks against trying.
    """
    return obstacle(CUDA)


def obstacle(provider: str) -> str | None:
    """Say why a provider cannot run here; see :func:`cuda_obstacle`."""
    available = onnxruntime.get_available_providers()
    if provider not in available:
        return (
            f"this onnxruntime ({onnxruntime.__version__}) has no {provider} (it has "
            f"{', '.join(available)}). Next: {_reinstall()}, or --device cpu."
        )
    if not has_driver():
        return (
            f"no NVIDIA driver on this machine ({_driver()} cannot be loaded). "
            "Next: install the driver, or --device cpu."
        )
    if provider == TENSORRT:
        return _tensorrt_obstacle()
    return None


def has_driver() -> bool:
    """Whether NVIDIA's driver is on this machine, so that a GPU may be."""
    try:
        ctypes.CDLL(_driver())
    except OSError:
        return False
    return True


def _driver() -> str:
    return "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def _reinstall() -> str:
    """Write how to get the build for GPUs; two builds in one folder overwrite each other."""
    extra = "pip install 'clipcal[gpu]'"
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        return f"pip uninstall -y onnxruntime onnxruntime-gpu, then {extra}"
    return extra


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _start(file: GraphFile, provider: str, sizes: tuple[int, ...]) -> onnxruntime.InferenceSession:
    reason = obstacle(provider)
    if reason is not None:
        raise ProviderError(reason)
    _preload()
    providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU]
    if provider == TENSORRT:
        providers.insert(0, (TENSORRT, _tensorrt_options(file, sizes)))
    try:
        session = new_session(file.path, session_options(file.threads), providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise ProviderError(f"{first_line(error)} ({_built_for()}). Next: --device cpu.") from error
    # Where a library is missing ONNX Runtime goes on with the next provider and only logs it.
    if session.get_providers()[0] != provider:
        raise ProviderError(
            f"ONNX Runtime could not start it ({_missing_library(provider)}; {_built_for()}). "
            f"Next: {_remedy(provider)}, or --device cpu."
        )
    return session


def _preload() -> None:
    """Load CUDA's libraries from where pip puts them; the loader does not look there itself."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses
        getattr(onnxruntime, "preload_dlls", lambda: None)()


def _tensorrt_options(file: GraphFile, sizes: tuple[int, ...]) -> dict[str, str]:
    """Give one engine for every size of batch, built once and kept.

    ONNX Runtime names an engine by the graph's structure, which other weights leave unchanged:
    hence a folder for every file, and every version.
    """
    folder = f"{file.sha256[:16]}-{onnxruntime.__version__}-{sizes[0]}-{sizes[-1]}"
    cache = platformdirs.user_cache_path("clipcal") / "tensorrt" / folder
    cache.mkdir(parents=True, exist_ok=True)
    name = cpu_session(file.path, half=file.precision == "fp16").get_inputs()[0].name

    def shape(size: int) -> str:
        return f"{name}:{'x'.join(map(str, (size, *file.row_shape)))}"

    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
        "trt_fp16_enable": "1" if file.precision == "fp16" else "0",
        "trt_profile_min_shapes": shape(sizes[0]),
        "trt_profile_opt_shapes": shape(sizes[-1]),
        "trt_profile_max_shapes": shape(sizes[-1]),
    }


def _tensorrt_obstacle() -> str | None:
    """Say which of TensorRT's libraries is missing."""
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("tensorrt_libs")  # pip's package; loads them from its own folder
    _preload()
    file = _provider_library(TENSORRT)
    reason = _load_error(file) if file else "its library is not part of this onnxruntime"
    if reason is None:
        return None
    return (
        f"TensorRT cannot be loaded ({reason}; {_built_for()}). Next: {_remedy(TENSORRT)}, or "
        "--device cuda."
    )


def _remedy(provider: str) -> str:
    major = _cuda_version().partition(".")[0]
    if provider == TENSORRT:
        return f"pip install 'tensorrt-cu{major or 12}==10.*'"
    return "pip install 'clipcal[gpu]'"


def _built_for() -> str:
    cuda = _cuda_version()
    return f"ONNX Runtime {onnxruntime.__version__}" + (f" expects CUDA {cuda}" if cuda else "")


def _cuda_version() -> str:
    return str(getattr(onnxruntime, "cuda_version", None) or "")


def _missing_library(provider: str) -> str:
    """Ask the loader which library a provider lacks."""
    file = _provider_library(provider)
    return (file and _load_error(file)) or "no reason was given"


def _provider_library(provider: str) -> Path | None:
    folder, short = Path(onnxruntime.__file__).parent / "capi", _SHORT[provider]
    names = (f"onnxruntime_providers_{short}.dll", f"libonnxruntime_providers_{short}.so")
    return next(itertools.chain.from_iterable(folder.glob(name) for name in names), None)


def _load_error(file: Path) -> str | None:
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        return first_line(error)
    return None
