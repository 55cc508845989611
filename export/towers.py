"""The two graphs of a bundle, each by the path that knows its tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clipcal.export.clean import UnfamiliarTower, write_text, write_vision
from clipcal.export.graph import compact_weights, export_graph
from clipcal.export.openclip.loading import LoadedModel, halved
from clipcal.export.openclip.modules import ImageTower, TextTower
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
    half = precision == "fp16"
    taken: dict[str, str] = {}
    for file, clean in ((VISUAL, write_vision), (TEXTUAL, write_text)):
        say(f"Exporting {file}")
        try:
            clean(loaded, folder / file, half=half)
            taken[file] = "clean"
        except UnfamiliarTower as unusual:
            say(f"{file} takes the generic path: {unusual}")
            _write_generic(loaded, folder / file, half)
            taken[file] = "generic"
        if compact:
            done, large = compact_weights(folder / file)
            say(f"Stored {done} of {large} weights of {file} as float16 without loss")
    return taken


def _write_generic(loaded: LoadedModel, file: Path, half: bool) -> None:
    source = halved(loaded) if half else loaded
    if file.name == VISUAL:
        export_graph(ImageTower(source), _example_pixels(loaded), "pixels", file)
    else:
        export_graph(TextTower(source), _example_tokens(loaded), "tokens", file)


def _example_pixels(loaded: LoadedModel) -> Tensor:
    shape = (2, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    return torch.zeros(shape, dtype=torch.uint8)


def _example_tokens(loaded: LoadedModel) -> Tensor:
    return torch.zeros((2, loaded.context_length), dtype=torch.long)
