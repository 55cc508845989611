"""The two graphs of a bundle, each by the path that knows its tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from clipcal.export.graph import compact_weights, export_graph
from clipcal.export.openclip import ImageTower, LoadedModel, TextTower, halved
from clipcal.models.bundle import TEXTUAL, VISUAL

Precision = Literal["fp32", "fp16"]


def write_towers(
    loaded: LoadedModel,
    folder: Path,
    *,
    precision: Precision = "fp32",
    compact: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Write both towers of a model as ONNX graphs.

    Parameters
    ----------
    loaded : LoadedModel
        The model, in float32.
    folder : pathlib.Path
        Where ``visual.onnx`` and ``textual.onnx`` go.
    precision : {"fp32", "fp16"}
        Of weights and arithmetic. The graphs take uint8 and int64 and return float32 either way.
    compact : bool
        Store weights as float16 where that loses nothing (see
        :func:`clipcal.export.graph.compact_weights`).
    say : callable
        Told each step, as one line of text.

    Returns
    -------
    dict of str to str
        Which path wrote each file: ``clean`` or ``generic``.
    """
    source = halved(loaded) if precision == "fp16" else loaded
    towers: list[tuple[str, str, nn.Module, Tensor]] = [
        (VISUAL, "pixels", ImageTower(source), _example_pixels(loaded)),
        (TEXTUAL, "tokens", TextTower(source), _example_tokens(loaded)),
    ]
    for file, input_name, tower, example in towers:
        say(f"Exporting {file}")
        export_graph(tower, example, input_name, folder / file)
        if compact:
            done, large = compact_weights(folder / file)
            say(f"Stored {done} of {large} weights of {file} as float16 without loss")
    return dict.fromkeys((VISUAL, TEXTUAL), "generic")


def _example_pixels(loaded: LoadedModel) -> Tensor:
    shape = (2, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    return torch.zeros(shape, dtype=torch.uint8)


def _example_tokens(loaded: LoadedModel) -> Tensor:
    return torch.zeros((2, loaded.context_length), dtype=torch.long)
