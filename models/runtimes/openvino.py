"""OpenVINO on the CPU, from the same ONNX file."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from queue import SimpleQueue
from typing import Any

from clipcal.errors import ProviderError
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

OPENVINO = "OpenVINO"
_ARITHMETIC = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


class OpenVinoSession:
    """A graph on OpenVINO's CPU device.

    The graph is compiled once for any number of rows, so that its weights are in memory once.
    Where the CPU multiplies bfloat16 itself (AMX, AVX512_BF16), products are computed in it: an
    embedding's cosine with its float32 twin is then about 0.9999. int8 graphs stay int8; what
    they leave in float follows the same rule.

    Raises
    ------
    ProviderError
        If OpenVINO is not installed, cannot be loaded, or cannot read the graph.
    """

    provider = OPENVINO

    def __init__(self, file: GraphFile) -> None:
        compiled = _compile(file)
        if not compiled.inputs:
            raise ProviderError(f"OpenVINO finds no graph in {file.path}. Next: --device cpu.")
        self.streams = int(compiled.get_property("NUM_STREAMS"))
        computed = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        float_arithmetic = _ARITHMETIC.get(computed, computed)
        self.arithmetic = ARITHMETIC["int8"] if file.precision == "int8" else float_arithmetic
        self.batch_sizes = file.batch_sizes or CPU_BATCH_SIZES
        self.ports = tuple(_port(each) for each in (*compiled.inputs, *compiled.outputs))
        self._idle: SimpleQueue[Any] = SimpleQueue()  # a request serves one caller at a time
        for _ in range(self.streams):
            self._idle.put(compiled.create_infer_request())

    def run(self, rows: Rows) -> Embeddings:
        """Embed one batch."""
        request = self._idle.get()
        try:
            result: Embeddings = request.infer([rows])[0]
        finally:
            self._idle.put(request)
        return result


def obstacle() -> str | None:
    """Say why OpenVINO cannot be used here, as far as can be told without loading it."""
    if importlib.util.find_spec("openvino") is None:
        return (
            "the package openvino is not installed. Next: pip install 'clipcal[openvino]', or "
            "--device cpu."
        )
    return None


def capabilities() -> tuple[str, ...]:
    """List what OpenVINO says this CPU computes natively, for example FP32, BF16, INT8."""
    return tuple(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def float_precision(precision: str, native: Collection[str], *, exact: bool) -> str:
    """Choose what products of floats are computed in.

    Parameters
    ----------
    precision : {"fp32", "fp16", "int8"}
        The bundle's.
    native : collection of str
        What the CPU computes natively (:func:`capabilities`).
    exact : bool
        Whether it must be float32.

    Returns
    -------
    {"f32", "bf16", "f16"}
        OpenVINO's name of it.
    """
    if exact:
        return "f32"
    if precision == "fp16" and "FP16" in native:
        return "f16"
    return "bf16" if "BF16" in native else "f32"


def _core() -> Any:
    reason = obstacle()
    if reason is not None:
        raise ProviderError(reason)
    try:
        import openvino

        return openvino.Core()
    except Exception as error:  # a library that is missing, or the wrong one
        raise ProviderError(
            f"OpenVINO cannot be loaded ({first_line(error)}). Next: pip install "
            "--force-reinstall openvino, or --device cpu."
        ) from error


def _compile(file: GraphFile) -> Any:
    core = _core()
    native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {
        "NUM_STREAMS": streams_for(file.threads),
        "INFERENCE_NUM_THREADS": file.threads,
        "INFERENCE_PRECISION_HINT": float_precision(file.precision, native, exact=file.exact),
        # Pinned threads of two processes would share one core and leave the others idle.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return core.compile_model(_read(file), "CPU", settings)
    except Exception as error:  # OpenVINO's exceptions share no base but this
        from openvino import __version__

        raise ProviderError(
            f"OpenVINO {__version__} cannot read {file.path} ({_reason(error)}). "
            "Next: pip install -U openvino, or --device cpu."
        ) from error


def _read(file: GraphFile) -> Any:
    # Core.read_model would try the file in every format, and each would write why it is not.
    from openvino.frontend import FrontEndManager

    frontend = FrontEndManager().load_by_framework("onnx")
    return frontend.convert(frontend.load(str(file.path)))


def _reason(error: Exception) -> str:
    """Pick the line that says something: the first ones name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check "))]
    chosen = next((line for line in told if "No conversion rule" in line), (told or [""])[0])
    return chosen.rstrip(". ") or first_line(error)


def _port(port: Any) -> Port:
    lengths = [each.get_length() if each.is_static else -1 for each in port.get_partial_shape()]
    return Port(str(port.get_element_type().to_dtype()), tuple(lengths[1:]))
