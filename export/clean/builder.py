"""A small writer of ONNX graphs, and the pieces that both towers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from clipcal.export.clean.parts import Block, Linear, Norm, Weights
from clipcal.export.files import fits_one_file
from clipcal.export.graph import OPSET, OUTPUT

_IR_VERSION = 10
_QUICK = 1.702  # OpenAI's factor in x·sigmoid(1.702·x)
_SMALLEST_NORM = 1e-12  # torch.nn.functional.normalize divides by no less


class GraphWriter:
    """Collects nodes and weights in order; every name is a path such as ``blocks.3.qkv.weight``.

    Attributes
    ----------
    half : bool
        Whether weights are kept, and so computed with, in float16.
    """

    def __init__(self, half: bool) -> None:
        self.half = half
        self._nodes: list[ir.Node] = []
        self._weights: dict[str, ir.Value] = {}

    def op(
        self,
        kind: str,
        name: str,
        *inputs: ir.Value,
        outputs: Sequence[str] = (),
        **attributes: Any,
    ) -> Any:
        """Add a node; return its output, or its outputs where several are named."""
        values = [ir.Value(name=each) for each in outputs or [name]]
        node = ir.node(kind, inputs, attributes=attributes, outputs=values, name=name)
        self._nodes.append(node)
        return values if outputs else values[0]

    def weight(self, name: str, values: Weights | NDArray[np.float64]) -> ir.Value:
        """Add a weight in the precision of the graph."""
        return self.constant(
            name, values.astype(np.float16 if self.half else np.float32, copy=False)
        )

    def constant(self, name: str, values: NDArray[Any]) -> ir.Value:
        """Add a constant as it is."""
        tensor = ir.tensor(values, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(values.shape))
        value.const_value = tensor
        self._weights[name] = value
        return value

    def shape(self, name: str, *sizes: int) -> ir.Value:
        """Add a shape; 0 stands for the size that the tensor has, -1 for what is left."""
        return self.constant(name, np.asarray(sizes, np.int64))

    def save(self, inputs: ir.Value, embeddings: ir.Value, file: Path) -> None:
        """Write the graph; weights of more than 2 GB go to ``<file>.data``."""
        graph = ir.Graph(
            [inputs],
            [embeddings],
            nodes=self._nodes,
            initializers=list(self._weights.values()),
            opset_imports={"": OPSET},
            name=file.stem,
        )
        size = sum(each.const_value.nbytes for each in self._weights.values() if each.const_value)
        model = ir.Model(graph, ir_version=_IR_VERSION, producer_name="clipcal")
        ir.save(model, file, external_data=None if fits_one_file(size) else f"{file.name}.data")


def tensor_input(name: str, dtype: ir.DataType, *shape: int) -> ir.Value:
    """Describe the graph's input: rows of one shape, as many as there are.

    Parameters
    ----------
    name : str
        Its name.
    dtype : onnx_ir.DataType
        Its type.
    *shape : int
        Shape of a row.

    Returns
    -------
    onnx_ir.Value
        The input, (batch, *shape).
    """
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(["batch", *shape]))


def norm(graph: GraphWriter, name: str, x: ir.Value, weights: Norm) -> ir.Value:
    """Add a layer normalisation over the last axis; its sums are float32 in either precision.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    name : str
        Path of the node.
    x : onnx_ir.Value
        Rows of `width`.
    weights : Norm
        Scale and shift.

    Returns
    -------
    onnx_ir.Value
        Same shape as `x`.
    """
    scale = graph.weight(f"{name}.scale", weights.scale)
    shift = graph.weight(f"{name}.shift", weights.shift)
    value: ir.Value = graph.op(
        "LayerNormalization", name, x, scale, shift, axis=-1, epsilon=weights.epsilon
    )
    return value


def linear(graph: GraphWriter, name: str, x: ir.Value, weights: Linear) -> ir.Value:
    """Add a matrix product and its bias.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    name : str
        Path of the layer: its weights are ``<name>.weight`` and ``<name>.bias``.
    x : onnx_ir.Value
        Rows of inputs.
    weights : Linear
        Weight and bias.

    Returns
    -------
    onnx_ir.Value
        Rows of outputs, called `name` (without a bias ``<name>.product``).
    """
    weight = graph.weight(f"{name}.weight", weights.weight)
    product: ir.Value = graph.op("MatMul", f"{name}.product", x, weight)
    if weights.bias is None:
        return product
    value: ir.Value = graph.op("Add", name, product, graph.weight(f"{name}.bias", weights.bias))
    return value


def projected(graph: GraphWriter, x: ir.Value, projection: Linear | None, width: int) -> ir.Value:
    """Add what ends both towers: the projection, where there is one, and the L2 normalisation.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    x : onnx_ir.Value
        (batch, width).
    projection : Linear or None
        To the length of an embedding.
    width : int
        Of the tower, and of an embedding where nothing projects it.

    Returns
    -------
    onnx_ir.Value
        (batch, dim), float32, called ``embeddings``.
    """
    if projection is not None:
        x, width = linear(graph, "projection", x, projection), projection.weight.shape[1]
    return normalised(graph, x, width)


def normalised(graph: GraphWriter, x: ir.Value, dim: int) -> ir.Value:
    """Add the L2 normalisation of each row, in float32, as ``functional.normalize`` means it.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    x : onnx_ir.Value
        (batch, dim).
    dim : int
        Length of an embedding.

    Returns
    -------
    onnx_ir.Value
        (batch, dim), float32, called ``embeddings``.
    """
    if graph.half:
        x = graph.op("Cast", "embedding.float32", x, to=ir.DataType.FLOAT)
    axis = graph.shape("length.axis", 1)
    length = graph.op("ReduceL2", "length", x, axis, keepdims=1)
    least = graph.constant("length.least", np.asarray(_SMALLEST_NORM, np.float32))
    value: ir.Value = graph.op("Div", OUTPUT, x, graph.op("Max", "length.positive", length, least))
    value.type = ir.TensorType(ir.DataType.FLOAT)
    value.shape = ir.Shape(["batch", dim])
    return value


# --- blocks -----------------------------------------------------------------------------------


def blocks(
    graph: GraphWriter,
    x: ir.Value,
    weights: Sequence[Block],
    *,
    causal: bool = False,
    pool: Any = None,
) -> ir.Value:
    """Add residual attention blocks, called ``blocks.0`` and so on.

    Parameters
    ----------
    graph : GraphWriter
        Where to.
    x : onnx_ir.Value
        (batch, tokens, width).
    weights : sequence of Block
        Their weights.
    causal : bool
        Whether a token sees only itself and those before it.
    pool : callable, optional
        Takes a name and tokens (batch, tokens, width), gives the one token of each row
        (batch, width) that matters. What follows the last attention is computed for it alone.

    Returns
    -------
    onnx_ir.Value
        (batch, tokens, width), or (batch, width) where there is `pool`.
    """
    for number, each in enumerate(weights):
        last = number == len(weights) - 1
        x = _block(graph, f"blocks.{number}", x, each, causal, pool if last else None)
    return x


def _block(
    graph: GraphWriter, name: str, x: ir.Value, weights: Block, causal: bool, pool: Any
) -> ir.Value:
    attended = _attention(graph, name, x, weights, causal)
    if pool is not None:
        x, attended = pool(f"{name}.residual", x), pool(f"{name}.attended", attended)
    y = linear(graph, f"{name}.out", attended, weights.out)
    x = graph.op("Add", f"{name}.after_attention", x, _scaled(graph, y, weights.after_attention))
    y = norm(graph, f"{name}.norm_2", x, weights.norm_2)
    y = linear(graph, f"{name}.expand", y, weights.expand)
    y = linear(graph, f"{name}.contract", _activated(graph, name, y, weights), weights.contract)
    value: ir.Value = graph.op("Add", f"{name}.after_mlp", x, _scaled(graph, y, weights.after_mlp))
    return value


def _attention(
    graph: GraphWriter, name: str, x: ir.Value, weights: Block, causal: bool
) -> ir.Value:
    y = linear(graph, f"{name}.qkv", norm(graph, f"{name}.norm_1", x, weights.norm_1), weights.qkv)
    three = [f"{name}.{each}" for each in ("query", "key", "value")]
    query, key, value = graph.op("Split", f"{name}.split", y, outputs=three, axis=2, num_outputs=3)
    attended: ir.Value = graph.op(
        "Attention",
        f"{name}.attention",
        *(query, key, value),
        q_num_heads=weights.heads,
        kv_num_heads=weights.heads,
        is_causal=int(causal),
    )
    return attended


def _scaled(graph: GraphWriter, y: ir.Value, factors: Weights | None) -> ir.Value:
    if factors is None:
        return y
    scaled: ir.Value = graph.op(
        "Mul", f"{y.name}.scaled", y, graph.weight(f"{y.name}.scale", factors)
    )
    return scaled


def _activated(graph: GraphWriter, name: str, y: ir.Value, weights: Block) -> ir.Value:
    name = f"{name}.activation"
    if weights.activation != "quick_gelu":
        kind = "tanh" if weights.activation == "gelu_tanh" else "none"
        smooth: ir.Value = graph.op("Gelu", name, y, approximate=kind)
        return smooth
    factor = graph.weight(f"{name}.factor", np.asarray(_QUICK))
    gate = graph.op("Sigmoid", f"{name}.gate", graph.op("Mul", f"{name}.steeper", y, factor))
    quick: ir.Value = graph.op("Mul", name, y, gate)
    return quick
