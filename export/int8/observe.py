"""What the products of a tower are given on real pictures: ranges per channel, and samples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from clipcal.export.files import save
from clipcal.export.int8.tower import Floats, Product, Tower, attributes
from clipcal.models.session import cpu_session

SAMPLES = 384  # rows of a product's activation that its error is estimated on
_FEWEST_PER_PICTURE = 4


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one tensor.

    Attributes
    ----------
    lowest, highest
        (pictures, channels): the extremes over all axes but the last, whose places are the
        channels of a matrix product.
    shape
        Its shape for one picture.
    """

    lowest: Floats
    highest: Floats
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Observations:
    """What was seen of a tower's products.

    Attributes
    ----------
    tensors
        By the tensor's name.
    pictures
        How many there were.
    rows
        By the product's name: (samples, inputs), rows of its activation; of a convolution
        windows of it, (samples, inputs, height, width).
    """

    tensors: dict[str, Observation]
    pictures: int
    rows: dict[str, Floats]


def observe(
    tower: Tower, results: list[str], pixels: NDArray[np.uint8], probe: Path
) -> Observations:
    """Run a tower on pictures, one at a time, and note what its products take and give.

    Parameters
    ----------
    tower : Tower
        The tower.
    results : list of str
        Further tensors whose range is wanted.
    pixels : numpy.ndarray
        (n, height, width, 3).
    probe : pathlib.Path
        Where a copy of the graph that also gives these tensors may be written.

    Returns
    -------
    Observations
        Extremes of every channel, and at least `SAMPLES` rows of each activation where it has
        as many, evenly spaced over pictures and positions, the first position always among them:
        it is the class token in many towers.
    """
    names = list(dict.fromkeys([*(each.activation for each in tower.products), *results]))
    save_with_outputs(tower.model, names, probe)
    session = cpu_session(probe)
    seen: dict[str, list[Observation]] = defaultdict(list)
    rows: dict[str, list[Floats]] = defaultdict(list)
    count = max(_FEWEST_PER_PICTURE, -(-SAMPLES // len(pixels)))
    for picture in pixels:
        values = session.run(names, {tower.input: picture[None]})
        found = dict(zip(names, values, strict=True))
        for name in names:
            seen[name].append(_observation(found[name]))
        for product in tower.products:
            rows[product.name].append(_sample(product, found[product.activation], count))
    return Observations(
        {name: _joined(each) for name, each in seen.items()},
        len(pixels),
        {name: np.concatenate(each) for name, each in rows.items()},
    )


def save_with_outputs(model: onnx.ModelProto, names: list[str], file: Path) -> None:
    """Write a copy of a graph that gives further tensors."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {each.name for each in probe.graph.output}
    for name in names:
        if name not in present:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            probe.graph.output.append(value)
    save(probe, file)


def _observation(values: Floats) -> Observation:
    others = tuple(range(values.ndim - 1))
    lowest, highest = values.min(axis=others), values.max(axis=others)
    return Observation(lowest[None], highest[None], values.shape)


def _joined(seen: list[Observation]) -> Observation:
    lowest = np.concatenate([each.lowest for each in seen])
    highest = np.concatenate([each.highest for each in seen])
    return Observation(lowest, highest, seen[0].shape)


def _sample(product: Product, values: Floats, count: int) -> Floats:
    if product.kind == "Conv":
        return _windows(product, values, count)
    rows = values.reshape(-1, values.shape[-1])
    places = np.unique(np.linspace(0, len(rows) - 1, count).astype(int))
    return np.ascontiguousarray(rows[places])


def _windows(product: Product, values: Floats, count: int) -> Floats:
    """Take evenly spaced windows of a padded (1, inputs, height, width) activation."""
    found = attributes(product.node)
    height, width = product.weight.shape[2:]
    step = found.get("strides", [1, 1])
    spread = found.get("dilations", [1, 1])
    top, left, bottom, right = found.get("pads", [0, 0, 0, 0])
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    reach = (spread[0] * (height - 1) + 1, spread[1] * (width - 1) + 1)
    every = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    every = every[:, :: step[0], :: step[1], :: spread[0], :: spread[1]]
    rows, columns = every.shape[1:3]
    places = np.unique(np.linspace(0, rows * columns - 1, count).astype(int))
    return np.ascontiguousarray(every[:, places // columns, places % columns].swapaxes(0, 1))
