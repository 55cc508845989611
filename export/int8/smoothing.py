"""Outlier channels: made smaller in the activation and larger in the weight, or the reverse.

Some channels of a CLIP tower carry values a hundred times those of the others. One scale for a
whole activation would then leave a handful of steps to all the rest. SmoothQuant (Xiao et al.
2023, eq. 4) divides channel j by ``s_j = max|X_j|^a / max|W_j|^(1 - a)`` and multiplies row j of
the weight by it, which changes no product. Here ``s_j`` is a power of two, so that it changes no
bit of the float graph either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from clipcal.export.int8.arithmetic import Range, relative_error
from clipcal.export.int8.observe import Observations
from clipcal.export.int8.tower import Floats, Product, Tower, attributes

# 0 smooths nothing; 0.5 shares the spread evenly; larger leaves more of it to the weight.
_STRENGTHS = (0.5, 0.65, 0.8)
# A Mul of its own costs a pass over the activation: only where the squared error falls so much.
_WORTH_A_PASS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Smoothing:
    """What an activation is divided by before it is multiplied.

    Attributes
    ----------
    factors
        (inputs,): powers of two.
    place
        ``norm``: in gain and shift of the normalisation that gives the activation. ``values``: in
        the columns and bias of the product that gives the values of an attention. ``pass``: in a
        multiplication of its own.
    node
        The normalisation; the product of the values.
    bias
        Name of the bias behind the product of the values, or an empty one.
    offset
        First of the product's columns that are values.
    """

    factors: Floats
    place: Literal["norm", "values", "pass"]
    node: onnx.NodeProto | None = None
    bias: str = ""
    offset: int = 0


def choose_smoothing(tower: Tower, seen: Observations) -> dict[str, Smoothing]:
    """Choose the smoothing of each activation, by the error of the products that take it.

    Parameters
    ----------
    tower : Tower
        The tower.
    seen : Observations
        What its products are given.

    Returns
    -------
    dict of str to Smoothing
        By the activation's name. Activations that are better left alone are missing, and so are
        those that a convolution takes too: its channels are others.
    """
    taken_by: defaultdict[str, list[Product]] = defaultdict(list)
    for product in tower.products:
        taken_by[product.activation].append(product)
    found = {
        name: _chosen(tower, seen, name, products)
        for name, products in taken_by.items()
        if not any(each.kind == "Conv" or each.pixels for each in products)
    }
    return {name: each for name, each in found.items() if each is not None}


def _chosen(
    tower: Tower, seen: Observations, name: str, products: list[Product]
) -> Smoothing | None:
    plain = np.ones(len(products[0].weight), np.float32)
    options = [plain, *(_factors(seen, name, products, each) for each in _STRENGTHS)]
    errors = [_error(seen, name, products, each) for each in options]
    best = int(np.argmin(errors))
    if (options[best] == 1).all():
        return None
    place = _fold(tower, name, products, options[best])
    if place.place == "pass" and errors[best] > _WORTH_A_PASS * errors[0]:
        return None
    return place


def _factors(seen: Observations, name: str, products: list[Product], strength: float) -> Floats:
    """Return the nearest powers of two, scaled so that their median is one."""
    observed = seen.tensors[name]
    activation = np.maximum(np.abs(observed.lowest), np.abs(observed.highest)).max(axis=0)
    weight = np.max([np.abs(each.weight).max(axis=1) for each in products], axis=0)
    known = (activation > 0) & (weight > 0)
    if not known.any():
        return np.ones(len(weight), np.float32)
    exponents = np.zeros(len(weight))
    logs = strength * np.log2(activation[known]) - (1 - strength) * np.log2(weight[known])
    exponents[known] = np.rint(logs - np.median(logs))
    return np.exp2(exponents).astype(np.float32)


def _error(seen: Observations, name: str, products: list[Product], factors: Floats) -> float:
    taken = activation_range(seen, name, factors)
    errors = [
        relative_error(seen.rows[each.name] / factors, each.weight * factors[:, None], taken)
        for each in products
    ]
    return sum(errors)


def activation_range(seen: Observations, name: str, factors: Floats | None = None) -> Range:
    """Return the range of an activation, smoothed where factors are given."""
    observed, by = seen.tensors[name], np.float32(1) if factors is None else factors
    return Range.spanning((observed.lowest / by).min(axis=1), (observed.highest / by).max(axis=1))


def _fold(tower: Tower, name: str, products: list[Product], factors: Floats) -> Smoothing:
    producer = tower.producer.get(name)
    alone = len(tower.consumers[name]) == len(products) and not tower.is_output(name)
    if producer is not None and alone:
        if _is_norm(tower, producer):
            return Smoothing(factors, "norm", producer)
        if producer.op_type == "Attention" and (found := _values(tower, producer, factors)):
            return found
    return Smoothing(factors, "pass")


def _is_norm(tower: Tower, node: onnx.NodeProto) -> bool:
    over_last = attributes(node).get("axis", -1) == -1
    return (
        node.op_type == "LayerNormalization"
        and over_last
        and all(tower.constant(str(each)) is not None for each in node.input[1:] if each)
    )


def _values(tower: Tower, attention: onnx.NodeProto, factors: Floats) -> Smoothing | None:
    """Trace the values of an attention back to the product that makes them, channel by channel.

    Attention mixes positions, not channels: its output's channel j is a weighted mean of the
    values' channel j, as long as every head has values of its own.
    """
    found = attributes(attention)
    if len(attention.input) < 3 or found.get("q_num_heads", 0) != found.get("kv_num_heads", 1):
        return None
    name, offset = str(attention.input[2]), 0
    node = tower.producer.get(name)
    if node is not None and node.op_type == "Split" and tower.only_consumer(name) is not None:
        offset = len(factors) * list(node.output).index(name)
        if attributes(node).get("axis", 0) not in (-1, 2) or not _even(tower, node):
            return None
        name = str(node.input[0])
        node = tower.producer.get(name)
    return _behind_product(tower, name, factors, offset)


def _even(tower: Tower, split: onnx.NodeProto) -> bool:
    sizes = tower.constant(str(split.input[1])) if len(split.input) > 1 else None
    return sizes is None or len(set(sizes.tolist())) == 1


def _behind_product(tower: Tower, name: str, factors: Floats, offset: int) -> Smoothing | None:
    node, bias = tower.producer.get(name), ""
    if tower.only_consumer(name) is None or node is None:
        return None
    if node.op_type == "Add":
        made = [str(each) for each in node.input if tower.constant(str(each)) is None]
        given = [str(each) for each in node.input if tower.constant(str(each)) is not None]
        if len(made) != 1 or tower.only_consumer(made[0]) is None:
            return None
        bias, node = given[0], tower.producer.get(made[0])
    width = _columns(tower, node)
    if node is None or width is None or (bias and _length(tower, bias) != width):
        return None
    return Smoothing(factors, "values", node, bias, offset)


def _columns(tower: Tower, node: onnx.NodeProto | None) -> int | None:
    """Return the columns of a node that is a product of matrices; None of any other."""
    found = [each for each in tower.products if each.kind == "MatMul" and each.node is node]
    return int(found[0].weight.shape[1]) if found else None


def _length(tower: Tower, name: str) -> int:
    value = tower.constant(name)
    return int(value.shape[-1]) if value is not None and value.ndim else 1
