"""ONNX Runtime on the CPU, and what its sessions have in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnxruntime

from clipcal.errors import BundleError, ProviderError
from clipcal.models.runtimes.base import (
    ARITHMETIC,
    CPU_BATCH_SIZES,
    Embeddings,
    GraphFile,
    Port,
    Rows,
    first_line,
    streams_for,
)

CPU = "CPUExecutionProvider"
_FATAL = 4  # ONNX Runtime's severity; what matters arrives as an exception
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_TOO_NEW = re.compile(
    r"Opset \d+ is under development|Unsupported model IR version[^.]*"
    r"|No Op registered for \S+ with domain_version of \d+|\S+ is not a registered function/op"
)


class CpuSession:
    """A graph on the CPU.

    The callers compute too: with `streams` of them and a pool of `threads - streams` threads as
    many threads are busy as were granted. Threads that wait do not spin, so that decoding gets
    their cores.
    """

    provider = CPU

    def __init__(self, file: GraphFile) -> None:
        self.streams = streams_for(file.threads)
        options = session_options(file.threads - self.streams + 1)
        self._session = open_on_cpu(file.path, options, half=file.precision == "fp16")
        self.arithmetic = ARITHMETIC[file.precision]
        self.batch_sizes = file.batch_sizes or CPU_BATCH_SIZES
        self.ports = ports_of(self._session)
        self._input = self._session.get_inputs()[0].name

    def run(self, rows: Rows) -> Embeddings:
        """Embed one batch."""
        result: Embeddings = self._session.run(None, {self._input: rows})[0]
        return result


def cpu_session(file: Path, *, half: bool = False) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU, one batch at a time on every core.

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
    ProviderError
        If the graph needs a newer ONNX Runtime.
    """
    return open_on_cpu(file, session_options(0), half=half)


def open_on_cpu(
    file: Path, options: onnxruntime.SessionOptions, *, half: bool
) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU; see :func:`cpu_session`."""
    if half:
        # ONNX Runtime 1.31 crashes when it lays out float16 convolutions anew for the CPU; the
        # level below leaves them alone.
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.graph_optimization_level = level
    try:
        return new_session(file, options, [CPU])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise _refusal(file, error) from error


def new_session(
    file: Path, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    """Open a graph on the first of `providers` that starts."""
    # enable_fallback=0: else the wrapper prints a banner and changes the device by itself.
    return onnxruntime.InferenceSession(str(file), options, providers=providers, enable_fallback=0)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Make options that keep memory flat and logs silent.

    Parameters
    ----------
    threads : int
        Threads within an operation, the caller's included; 0 takes every physical core.

    Returns
    -------
    onnxruntime.SessionOptions
        The options.
    """
    onnxruntime.set_default_logger_severity(_FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights stay out of the arena, so that it holds activations only and stops growing once
    # each batch size has been seen.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def ports_of(session: onnxruntime.InferenceSession) -> tuple[Port, ...]:
    """List a session's inputs and outputs."""
    nodes = (*session.get_inputs(), *session.get_outputs())
    return tuple(Port(_dtype(node.type), tuple(node.shape[1:])) for node in nodes)


def _dtype(kind: str) -> str:
    return _DTYPES.get(kind) or kind.removeprefix("tensor(").removesuffix(")")


def _refusal(file: Path, error: Exception) -> BundleError | ProviderError:
    too_new = _TOO_NEW.search(str(error))
    if too_new:
        package = getattr(onnxruntime, "package_name", None) or "onnxruntime"
        return ProviderError(
            f"{file} needs a newer ONNX Runtime than {onnxruntime.__version__} ({too_new[0]}). "
            f"Next: pip install -U {package}"
        )
    return BundleError(
        f"{file} cannot be opened as an ONNX graph ({first_line(error)}). Copy the bundle again, "
        f"or: clipcal export NAME -o {file.parent}"
    )
