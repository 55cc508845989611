"""Small ONNX graphs as bytes, without the package onnx, which the base install does not have.

A protobuf message is a row of (field number, content); the numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 21
_IR_VERSION = 10
_INTEGER = 2  # the kind of an attribute
_ELEMENTS = {"float32": 1, "uint8": 2, "int8": 3, "float16": 10}  # TensorProto.DataType


def model(
    nodes: Sequence[bytes],
    tensors: Mapping[str, NDArray[Any]],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
) -> bytes:
    """Put a model together.

    Parameters
    ----------
    nodes : sequence of bytes
        From :func:`node`, in the order in which they run.
    tensors : mapping
        Constants by name.
    inputs, outputs : sequence of bytes
        From :func:`value`.

    Returns
    -------
    bytes
        What a run time opens.
    """
    graph = b"".join(_field(1, each) for each in nodes) + _field(2, b"graph")
    graph += b"".join(_field(5, _tensor(name, each)) for name, each in tensors.items())
    graph += b"".join(_field(11, each) for each in inputs)
    graph += b"".join(_field(12, each) for each in outputs)
    opset = _field(1, b"") + _field(2, OPSET)
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, opset)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **numbers: int) -> bytes:
    """Write an operator with its attributes, which are whole numbers."""
    attributes = b"".join(
        _field(5, _field(1, name.encode()) + _field(3, value) + _field(20, _INTEGER))
        for name, value in numbers.items()
    )
    names = [(1, name) for name in inputs] + [(2, name) for name in outputs] + [(4, operator)]
    return b"".join(_field(number, name.encode()) for number, name in names) + attributes


def value(name: str, element: str, shape: Sequence[str | int]) -> bytes:
    """Write an input or an output; a side that is free has a name instead of a size."""
    dims = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode()))
        for size in shape
    )
    kind = _field(1, _field(1, _ELEMENTS[element]) + _field(2, dims))
    return _field(1, name.encode()) + _field(2, kind)


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    kind = _field(2, _ELEMENTS[values.dtype.name])
    content = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    return dims + kind + _field(8, name.encode()) + _field(9, content)


def _field(number: int, content: int | bytes) -> bytes:
    """Write a field: a number as it is, all else after its length."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Write a number in groups of seven bits, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
