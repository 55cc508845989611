"""How fast a machine multiplies matrices: the ceiling of any transformer on it.

Nearly all arithmetic of a CLIP tower is products of activations with weights. The time that the
same products take alone, back to back, in each library at hand, is what no run time can beat.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clipcal.models.onnx_bytes import model, node, value
from clipcal.models.session import CPU

Kind = Literal["float32", "int8"]
KINDS: tuple[Kind, ...] = ("float32", "int8")
LIBRARIES = ("numpy", "onnxruntime", "openvino")
LEAST_RUNS = 3


class Product(NamedTuple):
    """A matrix product: (rows, inner) × (inner, columns)."""

    rows: int
    inner: int
    columns: int

    @property
    def flop(self) -> int:
        """Additions and multiplications."""
        return 2 * self.rows * self.inner * self.columns


class Ceiling(NamedTuple):
    """What a library reached on all products of a model, one after the other.

    Attributes
    ----------
    kind : {"float32", "int8"}
        What was multiplied. Libraries choose a narrower arithmetic for float32 where the
        processor has one for matrices (OpenVINO takes bfloat16 with AMX).
    library : str
        Which one multiplied.
    seconds : float
        For all products once.
    flop_per_second : float
        Additions and multiplications a second.
    """

    kind: Kind
    library: str
    seconds: float
    flop_per_second: float


def ceilings(
    products: Iterable[Product], *, seconds: float, threads: int | None = None
) -> list[Ceiling]:
    """Time a model's products in every library that is installed.

    Parameters
    ----------
    products : iterable of Product
        All of them, as often as the model computes them.
    seconds : float
        About how long to take for all of it.
    threads : int, optional
        Of ONNX Runtime; every physical core by default. numpy and OpenVINO keep their own.

    Returns
    -------
    list of Ceiling
        By kind and library; int8 is not numpy's to multiply.
    """
    counts = Counter(products)
    tried = [
        (kind, library, multiply)
        for kind in KINDS
        for library in LIBRARIES
        if (multiply := _multiplier(library, kind, threads)) is not None
    ]
    share = seconds / max(1, len(tried) * len(counts))
    return [_ceiling(kind, name, counts, multiply, share) for kind, name, multiply in tried]


def _ceiling(
    kind: Kind,
    library: str,
    counts: Mapping[Product, int],
    multiply: Callable[[Product], Callable[[], object]],
    seconds: float,
) -> Ceiling:
    total = sum(count * _median(multiply(each), seconds) for each, count in counts.items())
    flop = sum(count * each.flop for each, count in counts.items())
    return Ceiling(kind, library, total, flop / total)


def _median(work: Callable[[], object], seconds: float) -> float:
    """Median seconds of one run, over as many as fit (three at least) after one to warm up."""
    work()
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < seconds:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _multiplier(
    library: str, kind: Kind, threads: int | None
) -> Callable[[Product], Callable[[], object]] | None:
    """Return what makes ready a product in a library; None where the library cannot."""
    if library == "numpy":
        return _in_numpy if kind == "float32" else None
    if library == "onnxruntime":
        return lambda product: _in_onnxruntime(product, kind, threads)
    with contextlib.suppress(ImportError):
        import openvino

        core = openvino.Core()
        return lambda product: _in_openvino(core, product, kind)
    return None


def _in_numpy(product: Product) -> Callable[[], object]:
    left, right = _operands(product, "float32")
    out = np.empty((product.rows, product.columns), np.float32)
    return lambda: np.matmul(left, right, out=out)


def _in_onnxruntime(product: Product, kind: Kind, threads: int | None) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    left, right = _operands(product, kind)
    session = onnxruntime.InferenceSession(product_graph(right), options, providers=[CPU])
    return lambda: session.run(None, {"left": left})


def _in_openvino(core: Any, product: Product, kind: Kind) -> Callable[[], object]:
    left, right = _operands(product, kind)
    graph = core.read_model(product_graph(right))
    graph.reshape(list(left.shape))  # a shape that is known beforehand is compiled for
    request = core.compile_model(graph, "CPU").create_infer_request()
    return lambda: request.infer({0: left}, share_inputs=True, share_outputs=True)


def _operands(product: Product, kind: Kind) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw activations (uint8 beside int8 weights, as quantised graphs have them) and weights."""
    rng = np.random.default_rng(0)
    left, right = (product.rows, product.inner), (product.inner, product.columns)
    if kind == "float32":
        return rng.standard_normal(left, np.float32), rng.standard_normal(right, np.float32)
    return rng.integers(0, 256, left, np.uint8), rng.integers(-127, 128, right, np.int8)


def product_graph(weights: NDArray[Any]) -> bytes:
    """Write an ONNX graph that multiplies its input ``left`` with constant weights.

    Parameters
    ----------
    weights : ndarray of float32 or int8, (inner, columns)
        Float32 weights take float32 rows. Int8 weights take uint8 rows, with a scale per column,
        as a graph in quantise–dequantise form has them: run times multiply that in integers.

    Returns
    -------
    bytes
        The model, serialised.
    """
    if weights.dtype == np.float32:
        nodes = [node("MatMul", ["left", "weights"], ["product"])]
        tensors = {"weights": weights}
        element = "float32"
    else:
        nodes = [
            node("DequantizeLinear", ["left", "scale", "zero"], ["rows"]),
            node("DequantizeLinear", ["weights", "scales"], ["columns"], axis=1),
            node("MatMul", ["rows", "columns"], ["product"]),
        ]
        tensors = {
            "weights": weights,
            "scales": np.full(weights.shape[1], 0.01, np.float32),
            "scale": np.array(0.02, np.float32),
            "zero": np.array(128, np.uint8),
        }
        element = "uint8"
    left = value("left", element, ["rows", weights.shape[0]])
    out = value("product", "float32", ["rows", weights.shape[1]])
    return model(nodes, tensors, [left], [out])
