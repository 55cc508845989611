"""A tower's graph with its products in int8, in the form that run times fuse.

Activations pass a ``QuantizeLinear`` and a ``DequantizeLinear``, weights are stored as integers
behind a ``DequantizeLinear``: ONNX Runtime and OpenVINO both compute what stands between in
integers. A matrix product gives float, so that the residual stream is never rounded; a
convolution's output is rounded too, since neither run time has an int8 convolution that gives
float.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from clipcal.export.int8.arithmetic import PIXELS, Range, as_int8, weight_scales
from clipcal.export.int8.smoothing import Smoothing
from clipcal.export.int8.tower import Floats, Product, Tower

_QUIET = frozenset({"Relu", "Clip"})  # a convolution's output is rounded behind these


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What becomes of a tower.

    Attributes
    ----------
    taken
        Range of the activation of each product that becomes int8, by the product's name.
    given
        Range of the output of each convolution that becomes int8, by the product's name.
    smoothing
        By the activation's name.
    """

    taken: Mapping[str, Range]
    given: Mapping[str, Range]
    smoothing: Mapping[str, Smoothing]


def rounded_output(tower: Tower, product: Product) -> str:
    """Return the tensor that a convolution's output is rounded at: behind its activation."""
    node = tower.only_consumer(product.output)
    if node is not None and node.op_type in _QUIET:
        return str(node.output[0])
    return product.output


def rewrite(tower: Tower, plan: Plan) -> tuple[onnx.ModelProto, str]:
    """Write a tower's graph as planned.

    Parameters
    ----------
    tower : Tower
        The tower, which is left as it is.
    plan : Plan
        What becomes of it.

    Returns
    -------
    tuple of onnx.ModelProto and str
        The graph; and the SHA-256 of what decides its embeddings beyond the tower's weights.
    """
    writer = _Writer(tower, plan)
    for node in tower.graph.node:
        writer.add(node)
    return writer.model(), writer.digest.hexdigest()


@dataclass(slots=True)
class _Writer:
    tower: Tower
    plan: Plan
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[str, onnx.TensorProto] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)  # tensors that this class added
    instead: dict[str, str] = field(default_factory=dict)  # tensor → what its takers take
    mark: str = "/"
    digest: Any = field(default_factory=hashlib.sha256)
    _products: dict[int, Product] = field(default_factory=dict)
    _norms: dict[int, Smoothing] = field(default_factory=dict)
    _values: dict[int, Smoothing] = field(default_factory=dict)
    _biases: dict[str, Smoothing] = field(default_factory=dict)
    _outputs: dict[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        while self.tower.names_holding(self.mark):
            self.mark += "/"
        self._products = {id(each.node): each for each in self.tower.products}
        for each in self.plan.smoothing.values():
            if each.node is not None:
                folded = self._norms if each.place == "norm" else self._values
                folded[id(each.node)] = each
            if each.bias:
                self._biases[each.bias] = each
        for product in self.tower.products:
            if product.name in self.plan.given:
                name = rounded_output(self.tower, product)
                self._outputs[name] = self.plan.given[product.name]

    # --- nodes ---

    def add(self, node: onnx.NodeProto) -> None:
        product = self._products.get(id(node))
        if product is not None and product.name in self.plan.taken:
            self._integer(product)
        elif product is not None:
            self._float(product)
        elif id(node) in self._norms:
            self._norm(node, self._norms[id(node)])
        else:
            self._copy(node)
        for name in node.output:
            if name in self._outputs:
                self.instead[name] = self._through_integers(name, self._outputs[name])

    def _copy(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            copy.input[place] = self._bias(name, node) or self.instead.get(name, name)
        self.nodes.append(copy)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        self.present.add(output)
        return output

    def _name(self, name: str, what: str) -> str:
        """Name what is added beside a tensor, as nothing in the graph is named."""
        return f"{name}{self.mark}{what}"

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.made[name] = numpy_helper.from_array(
            np.ascontiguousarray(value).reshape(value.shape), name
        )
        return name

    # --- products ---

    def _integer(self, product: Product) -> None:
        taken, name = self.plan.taken[product.name], product.output
        weight = self._weight(product)
        if product.kind == "Conv":
            self._convolution(product, weight, taken)
            return
        activation = self._activation(product, taken)
        scales = weight_scales(weight)
        self._note(taken.scale, taken.zero, scales)
        stored = self._stored(name, as_int8(weight, scales), scales, axis=1)
        biased = product.kind == "Gemm" and product.bias
        self._node("MatMul", [activation, stored], self._name(name, "product") if biased else name)
        if biased:
            self._node("Add", [self._name(name, "product"), product.bias], name)

    def _convolution(self, product: Product, weight: Floats, taken: Range) -> None:
        name, given = product.output, self.plan.given[product.name]
        bias = self.tower.constant(product.bias) if product.bias else None
        scales = weight_scales(weight, bias, taken.scale)
        self._note(taken.scale, taken.zero, scales, given.scale, given.zero)
        inputs = [self._activation(product, taken)]
        inputs.append(self._stored(name, as_int8(weight, scales), scales, axis=0))
        if bias is not None:
            units = scales * taken.scale
            whole = np.rint(bias.astype(np.float64) / units).astype(np.int32)
            inputs.append(self._stored(self._name(name, "bias"), whole, units, axis=0))
        copy = onnx.NodeProto()
        copy.CopyFrom(product.node)
        del copy.input[:]
        copy.input.extend(inputs)
        self.nodes.append(copy)

    def _float(self, product: Product) -> None:
        """Copy a product that stays float; what was folded into its neighbours, fold here."""
        weight = self._weight(product, in_float=True)
        self._note()
        if weight is product.weight:
            self._copy(product.node)
            return
        stored = self._constant(self._name(product.output, "weight"), weight)
        inputs = [self.instead.get(product.activation, product.activation), stored]
        biased = product.kind == "Gemm" and product.bias
        name = product.output
        self._node("MatMul", inputs, self._name(name, "product") if biased else name)
        if biased:
            self._node("Add", [self._name(name, "product"), product.bias], name)

    def _weight(self, product: Product, *, in_float: bool = False) -> Floats:
        weight = product.weight
        before = self.plan.smoothing.get(product.activation)
        if before is not None and not (in_float and before.place == "pass"):
            weight = weight * before.factors[:, None]
        behind = self._values.get(id(product.node))
        if behind is not None:
            weight = weight / _spread(behind, weight.shape[1])
        return weight

    def _stored(self, name: str, integers: NDArray[Any], scales: Floats, axis: int) -> str:
        inputs = [
            self._constant(self._name(name, "int8"), integers),
            self._constant(self._name(name, "scales"), scales),
            self._constant(self._name(name, "zeros"), np.zeros(len(scales), integers.dtype)),
        ]
        return self._node("DequantizeLinear", inputs, self._name(name, "weight"), axis=axis)

    # --- activations ---

    def _activation(self, product: Product, taken: Range) -> str:
        name = product.activation
        if product.pixels:
            return self._pixels(name)
        smoothing = self.plan.smoothing.get(name)
        if smoothing is not None and smoothing.place == "pass":
            return self._through_integers(self._smoothed(name, smoothing), taken)
        if name in self.instead:  # rounded already, where it was made
            return self.instead[name]
        return self._through_integers(name, taken)

    def _pixels(self, name: str) -> str:
        """Take the pictures' own integers; nothing is rounded."""
        cast = self.tower.producer[name]
        if cast.op_type != "Cast":
            return self._through_integers(name, PIXELS)
        return self._dequantized(str(cast.input[0]), name, PIXELS)

    def _smoothed(self, name: str, smoothing: Smoothing) -> str:
        output = self._name(name, "smoothed")
        if output not in self.present:
            inverse = self._constant(self._name(name, "smoothing"), 1 / smoothing.factors)
            self._note(smoothing.factors)
            self._node("Mul", [self.instead.get(name, name), inverse], output)
        return output

    def _through_integers(self, name: str, taken: Range) -> str:
        integers = self._name(name, "uint8")
        if integers not in self.present:
            self._node("QuantizeLinear", [name, *self._range(name, taken)], integers)
        return self._dequantized(integers, name, taken)

    def _dequantized(self, integers: str, name: str, taken: Range) -> str:
        output = self._name(name, "rounded")
        if output not in self.present:
            self._node("DequantizeLinear", [integers, *self._range(name, taken)], output)
        return output

    def _range(self, name: str, taken: Range) -> list[str]:
        scale = self._constant(self._name(name, "scale"), np.asarray(taken.scale))
        return [scale, self._constant(self._name(name, "zero"), np.asarray(taken.zero))]

    # --- folding ---

    def _norm(self, node: onnx.NodeProto, smoothing: Smoothing) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[0] = self.instead.get(node.input[0], node.input[0])
        self._note(smoothing.factors)
        for place, name in enumerate(node.input[1:], start=1):
            if name:
                value = self.tower.constant(str(name))
                assert value is not None  # so chosen
                stored = self._name(node.output[0], str(place))
                copy.input[place] = self._constant(stored, value / smoothing.factors)
        self.nodes.append(copy)

    def _bias(self, name: str, node: onnx.NodeProto) -> str:
        """Return the folded bias that stands behind the product of an attention's values."""
        found, value = self._biases.get(name), self.tower.constant(name)
        if found is None or found.node is None or value is None:
            return ""
        if found.node.output[0] not in node.input:  # the same constant in another place
            return ""
        folded = value / _spread(found, value.shape[-1])
        return self._constant(self._name(node.output[0], "bias"), folded)

    # --- the whole ---

    def _note(self, *values: Any) -> None:
        """Add a product or a smoothing to the digest; its place in the graph names it."""
        self.digest.update(bytes([len(values)]))
        for value in map(np.asarray, values):
            self.digest.update(value.size.to_bytes(8, "little") + value.tobytes())

    def model(self) -> onnx.ModelProto:
        nodes = _needed(self.nodes, [str(each.name) for each in self.tower.graph.output])
        used = {str(name) for node in nodes for name in node.input}
        kept = [each for each in self.tower.graph.initializer if each.name in used]
        graph = helper.make_graph(
            nodes,
            self.tower.graph.name,
            list(self.tower.graph.input),
            list(self.tower.graph.output),
            [*kept, *(each for name, each in self.made.items() if name in used)],
        )
        source = self.tower.model
        return helper.make_model(
            graph, opset_imports=list(source.opset_import), ir_version=source.ir_version
        )


def _spread(smoothing: Smoothing, columns: int) -> Floats:
    """Return a value's factor for each column of the product that makes values among others."""
    spread = np.ones(columns, np.float32)
    spread[smoothing.offset : smoothing.offset + len(smoothing.factors)] = smoothing.factors
    return spread


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            needed |= _inner_names(node)
    return kept[::-1]


def _inner_names(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node's inner graphs may take from outside."""
    graphs = [each.g for each in node.attribute if each.type == onnx.AttributeProto.GRAPH]
    inner = [each for graph in graphs for each in graph.node]
    return {name for each in inner for name in {*each.input, *_inner_names(each)}}
