"""An image tower's graph as the pass reads it: its products with constant weights, who feeds whom.

Nothing here goes by names: exporters name nodes as they like.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Floats = NDArray[np.float32]
Kind = Literal["MatMul", "Gemm", "Conv"]

# A weight is still constant behind these: stored as float16, transposed, reshaped.
_FOLDABLE = frozenset({"Cast", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze"})
# Values pass these unchanged, only their places differ.
_SHAPES_ONLY = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A matrix product or convolution of an activation with a constant weight.

    Attributes
    ----------
    name
        The node's name, or its output's where it has none.
    kind
        ``Gemm`` stands for one without scaling and without a transposed activation.
    node
        The node in the graph.
    activation
        Name of the tensor that is multiplied.
    weight
        (inputs, outputs); of a convolution (outputs, inputs of a group, height, width).
    pixels
        Whether the activation holds whole numbers from 0 to 255, as pictures do.
    """

    name: str
    kind: Kind
    node: onnx.NodeProto
    activation: str
    weight: Floats
    pixels: bool

    @property
    def output(self) -> str:
        """Name of the product's tensor."""
        return str(self.node.output[0])

    @property
    def bias(self) -> str:
        """Name of the bias tensor, or an empty one."""
        return str(self.node.input[2]) if len(self.node.input) > 2 else ""


class Tower:
    """A graph with one input and one output, indexed by tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self.input = str(model.graph.input[0].name)
        self._initializers = {str(each.name): each for each in self.graph.initializer}
        self.producer: dict[str, onnx.NodeProto] = {
            str(name): node for node in self.graph.node for name in node.output
        }
        self.consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers[str(name)].append(node)
        self._outputs = {str(each.name) for each in self.graph.output}
        self.products = [found for node in self.graph.node if (found := self._product(node))]

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a tensor's value where it does not depend on the input."""
        if name in self._initializers:
            return np.asarray(numpy_helper.to_array(self._initializers[name]))
        node = self.producer.get(name)
        if node is None or node.op_type not in _FOLDABLE | {"Constant"}:
            return None
        inputs = {str(each): self.constant(str(each)) for each in node.input if each}
        if any(value is None for value in inputs.values()):
            return None
        found: list[Any] = list(ReferenceEvaluator(node, opsets={"": self.opset}).run(None, inputs))
        return np.asarray(found[0])

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max(int(each.version) for each in self.model.opset_import if each.domain == "")

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that takes a tensor, where there is one and the tensor is no output."""
        nodes = self.consumers[name]
        return nodes[0] if len(nodes) == 1 and name not in self._outputs else None

    def is_output(self, name: str) -> bool:
        """Say whether the graph gives this tensor."""
        return name in self._outputs

    def names_holding(self, text: str) -> bool:
        """Say whether the name of any tensor holds a text."""
        return any(text in name for name in (*self._initializers, *self.producer, self.input))

    def _product(self, node: onnx.NodeProto) -> Product | None:
        if node.domain or node.op_type not in ("MatMul", "Gemm", "Conv"):
            return None
        activation, weight = str(node.input[0]), self.constant(str(node.input[1]))
        if weight is None or weight.dtype != np.float32 or self.constant(activation) is not None:
            return None
        kind = cast("Kind", node.op_type)
        if kind == "Gemm":
            weight = _plain_gemm(node, weight)
        if weight is None or weight.ndim != (4 if kind == "Conv" else 2):
            return None
        if kind == "Conv" and not _explicit_padding(node):
            return None
        return Product(
            name=str(node.name or node.output[0]),
            kind=kind,
            node=node,
            activation=activation,
            weight=weight,
            pixels=self._holds_pixels(activation),
        )

    def _holds_pixels(self, name: str) -> bool:
        node = self.producer.get(name)
        while node is not None and node.op_type in _SHAPES_ONLY:
            node = self.producer.get(str(node.input[0]))
        return node is not None and node.op_type == "Cast" and self._is_uint8(str(node.input[0]))

    def _is_uint8(self, name: str) -> bool:
        node = self.producer.get(name)
        while node is not None and node.op_type in _SHAPES_ONLY:
            name = str(node.input[0])
            node = self.producer.get(name)
        kind = self.graph.input[0].type.tensor_type.elem_type
        return name == self.input and kind == onnx.TensorProto.UINT8


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _plain_gemm(node: onnx.NodeProto, weight: NDArray[Any]) -> NDArray[Any] | None:
    found = attributes(node)
    scaled = found.get("alpha", 1.0) != 1.0 or found.get("beta", 1.0) != 1.0
    if scaled or found.get("transA", 0):
        return None
    return weight.T if found.get("transB", 0) else weight


def _explicit_padding(node: onnx.NodeProto) -> bool:
    return bool(attributes(node).get("auto_pad", b"NOTSET") == b"NOTSET")
