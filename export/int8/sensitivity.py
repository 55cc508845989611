"""Which products of a tower become int8, and which of them should rather stay float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clipcal.export.int8.arithmetic import PIXELS, Range, relative_error
from clipcal.export.int8.observe import Observations
from clipcal.export.int8.rewrite import Plan, rounded_output
from clipcal.export.int8.smoothing import Smoothing, activation_range
from clipcal.export.int8.tower import Floats, Product, Tower

# Of all multiplications: a product of less gains nothing and only adds its error. Nor does one of
# a single row a picture: ONNX Runtime multiplies that in float.
_WORTH_QUANTISING = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The products that may become int8.

    Attributes
    ----------
    tower
        The tower.
    products
        The greatest error first.
    taken, given
        Ranges of their activations and, of convolutions, of their outputs, by their names.
    smoothing
        By the activation's name.
    """

    tower: Tower
    products: tuple[Product, ...]
    taken: Mapping[str, Range]
    given: Mapping[str, Range]
    smoothing: Mapping[str, Smoothing]

    @classmethod
    def of(cls, tower: Tower, seen: Observations, smoothing: Mapping[str, Smoothing]) -> Candidates:
        """Estimate the error of each product worth quantising, on its sampled activations."""
        products = _worth_quantising(tower, seen)
        taken = {each.name: _taken(each, seen, smoothing) for each in products}
        given = {
            each.name: activation_range(seen, rounded_output(tower, each))
            for each in products
            if each.kind == "Conv"
        }
        errors = {
            each.name: _error(tower, each, seen, smoothing, taken[each.name], given.get(each.name))
            for each in products
        }
        products.sort(key=lambda each: errors[each.name], reverse=True)
        return cls(tower, tuple(products), taken, given, smoothing)

    def ordered(self, losses: Mapping[str, float]) -> Candidates:
        """Return the same with the products of the greatest measured losses first."""
        products = sorted(self.products, key=lambda each: losses.get(each.name, -1), reverse=True)
        return replace(self, products=tuple(products))

    def plan(self, in_float: int) -> Plan:
        """Return the plan that leaves so many of the worst products in float."""
        return self._only(self.products[in_float:])

    def alone(self, product: Product) -> Plan:
        """Return the plan in which a single product becomes int8."""
        return self._only((product,))

    def _only(self, products: Sequence[Product]) -> Plan:
        names = {each.name for each in products}
        return Plan(
            {name: each for name, each in self.taken.items() if name in names},
            {name: each for name, each in self.given.items() if name in names},
            self.smoothing,
        )


def _worth_quantising(tower: Tower, seen: Observations) -> list[Product]:
    work = {each.name: _work(tower, each, seen) for each in tower.products}
    least = _WORTH_QUANTISING * sum(work.values())
    return [
        each
        for each in tower.products
        if work[each.name] >= least and len(seen.rows[each.name]) > seen.pictures
    ]


def _work(tower: Tower, product: Product, seen: Observations) -> int:
    """Return the multiplications that a product costs for one picture."""
    if product.kind == "Conv":
        output = seen.tensors[rounded_output(tower, product)].shape
        return math.prod(output) * math.prod(product.weight.shape[1:])
    return math.prod(seen.tensors[product.activation].shape) * int(product.weight.shape[1])


def _factors(product: Product, smoothing: Mapping[str, Smoothing]) -> Floats | None:
    found = smoothing.get(product.activation)
    return None if found is None else found.factors


def _taken(product: Product, seen: Observations, smoothing: Mapping[str, Smoothing]) -> Range:
    if product.pixels:
        return PIXELS
    return activation_range(seen, product.activation, _factors(product, smoothing))


def _error(
    tower: Tower,
    product: Product,
    seen: Observations,
    smoothing: Mapping[str, Smoothing],
    taken: Range,
    given: Range | None,
) -> float:
    rows, weight = seen.rows[product.name], product.weight
    factors = _factors(product, smoothing)
    if factors is not None:
        rows, weight = rows / factors, weight * factors[:, None]
    bias = tower.constant(product.bias) if given is not None and product.bias else None
    return relative_error(rows, weight, taken, given, bias)
