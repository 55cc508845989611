"""Graphs on disk, beyond the 2 GiB of a protobuf too."""

from __future__ import annotations

from pathlib import Path

import onnx

from clipcal.errors import BundleError

# A protobuf cannot exceed 2 GiB; beyond that weights go to a second file beside the graph.
SINGLE_FILE_LIMIT = 2_000_000_000


def fits_one_file(weights: int) -> bool:
    """Say whether a graph whose weights have so many bytes is a single file."""
    return weights <= SINGLE_FILE_LIMIT


def load(file: Path) -> onnx.ModelProto:
    """Read a graph with its weights, from a second file too.

    Raises
    ------
    BundleError
        If the file is missing or no graph.
    """
    try:
        model: onnx.ModelProto = onnx.load(file)
    except Exception as error:  # protobuf's exceptions and onnx's share no base but this
        raise BundleError(
            f"{file} cannot be read as an ONNX graph ({error}). Make sure that its disk has room, "
            f"then write it again: clipcal export"
        ) from error
    return model


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write a graph; weights of more than 2 GB go to ``<file>.data``. `model` may be changed."""
    data = file.with_name(f"{file.name}.data")
    data.unlink(missing_ok=True)  # onnx would append to it
    if fits_one_file(sum(len(each.raw_data) for each in model.graph.initializer)):
        onnx.save(model, file)
    else:
        onnx.save(model, file, save_as_external_data=True, location=data.name)
