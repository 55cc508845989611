"""Exact products of stored embeddings with a few vectors, in ONNX Runtime.

numpy converts float16 one number at a time, which takes longer than the product itself. A graph
of three nodes converts, multiplies and turns a block while it lies in the processor's cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS: Final = 500  # half a megabyte of CLIP's embeddings, and a divisor of a shard's rows

_FLOAT, _FLOAT16 = 1, 10  # ONNX's numbers for types of elements
_INTEGER = 2  # and for the type of an attribute


class Products:
    """Products with the rows of a matrix, of any number of embeddings at a time.

    Embeddings are multiplied in blocks of one shape, each in the thread that calls, so that what
    comes out for a row depends neither on the number of threads nor on the rows beside it. One
    object serves any number of threads at once.

    Parameters
    ----------
    matrix : Float32[(p, dim)]
        What to multiply with.
    """

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        self._columns = len(matrix)
        self._session = _session(_graph(np.ascontiguousarray(matrix.T, np.float32)))

    def __call__(self, embeddings: NDArray[np.float16]) -> NDArray[np.float32]:
        """Multiply.

        Parameters
        ----------
        embeddings : Float16[(n, dim)]
            Rows.

        Returns
        -------
        Float32[(n, p)]
            The product of every row with every row of the matrix, in float32. Its columns lie
            together in memory: what comes next looks at one after the other.
        """
        out = np.empty((self._columns, len(embeddings)), np.float32)
        for start in range(0, len(embeddings), BLOCK_ROWS):
            block = _whole(embeddings[start : start + BLOCK_ROWS])
            (product,) = self._session.run(None, {"embeddings": block})
            out[:, start : start + BLOCK_ROWS] = product[:, : len(embeddings) - start]
        return out.T


def _whole(block: NDArray[np.float16]) -> NDArray[np.float16]:
    """Fill the last block up: a product of another shape may be summed in another order."""
    if len(block) == BLOCK_ROWS:
        return np.ascontiguousarray(block)
    filled = np.zeros((BLOCK_ROWS, block.shape[1]), np.float16)
    filled[: len(block)] = block
    return filled


def _session(graph: bytes) -> Any:
    import onnxruntime  # takes longer to load than most commands run

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _graph(weights: NDArray[np.float32]) -> bytes:
    """Write ``products = (float32(embeddings) @ weights).T`` as an ONNX file.

    The file is a Protocol Buffer, and this small one is written by hand: the library that writes
    them is needed by nothing else here. The numbers are those of ``onnx.proto3``.
    """
    dim, columns = weights.shape
    to = _field(1, b"to") + _field(3, _FLOAT) + _field(20, _INTEGER)
    cast = _node("Cast", ["embeddings"], "rows") + _field(5, to)
    multiply = _node("MatMul", ["rows", "weights"], "by_row")
    turn = _node("Transpose", ["by_row"], "products")
    tensor = _field(1, dim) + _field(1, columns) + _field(2, _FLOAT)
    tensor += _field(8, b"weights") + _field(9, weights.astype("<f4").tobytes())
    graph = b"".join(_field(1, node) for node in (cast, multiply, turn))
    graph += _field(2, b"products") + _field(5, tensor)
    graph += _field(11, _value("embeddings", _FLOAT16, (BLOCK_ROWS, dim)))
    graph += _field(12, _value("products", _FLOAT, (columns, BLOCK_ROWS)))
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    read = b"".join(_field(1, name.encode()) for name in inputs)
    return read + _field(2, output.encode()) + _field(4, operator.encode())


def _value(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, kind) + _field(2, sizes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """One field: a number as it is, anything else with its length before it."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have the eighth bit set."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
