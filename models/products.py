"""Exact products of stored embeddings with a few vectors, in ONNX Runtime.

numpy converts float16 one number at a time, which takes longer than the product itself. A graph
of three nodes converts, multiplies and turns a block while it lies in the processor's cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clipcal.models.onnx_bytes import model, node, value

BLOCK_ROWS: Final = 500  # half a megabyte of CLIP's embeddings, and a divisor of a shard's rows

_FLOAT = 1  # ONNX's number for float32


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
    """Write ``products = (float32(embeddings) @ weights).T`` as an ONNX file."""
    dim, columns = weights.shape
    nodes = [
        node("Cast", ["embeddings"], ["rows"], to=_FLOAT),
        node("MatMul", ["rows", "weights"], ["by_row"]),
        node("Transpose", ["by_row"], ["products"]),
    ]
    taken = value("embeddings", "float16", (BLOCK_ROWS, dim))
    given = value("products", "float32", (columns, BLOCK_ROWS))
    return model(nodes, {"weights": weights}, [taken], [given])
