"""A torch module as an ONNX file: one graph, any batch size, constants folded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from clipcal.export.files import fits_one_file, load, save
from clipcal.export.quiet import quiet

OPSET = 23  # the first with Attention
OUTPUT = "embeddings"
_WORTH_COMPACTING = 1024  # elements; below it a Cast node costs more than it saves


def export_graph(tower: nn.Module, example: Tensor, input_name: str, file: Path) -> None:
    """Write a tower as an ONNX graph with one input, one output and a free batch size.

    Parameters
    ----------
    tower : torch.nn.Module
        Takes one tensor and returns one, rows first.
    example : torch.Tensor
        An input of at least two rows (a single row would be taken for a constant).
    input_name : str
        Name of the graph's input; its output is called ``embeddings``.
    file : pathlib.Path
        Where to write. Weights of more than 2 GB go to ``<file>.data``.
    """
    size = sum(each.nbytes for each in tower.state_dict().values())
    # The exporter prints its steps, and warns and logs about its own internals.
    with quiet(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        program = torch.onnx.export(
            tower.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        assert program is not None  # it is None only for the TorchScript exporter
        _strip_remarks(program.model)
        program.save(str(file), external_data=not fits_one_file(size))


def _strip_remarks(model: ir.Model) -> None:
    """Drop the exporter's notes on every node: source lines and paths of this machine."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    values = [value for node in nodes for value in node.outputs]
    values += [*model.graph.inputs, *model.graph.initializers.values()]
    noted: list[Any] = [model, model.graph, *nodes, *values]
    for each in noted:
        each.metadata_props.clear()
        each.doc_string = None


def compact_weights(file: Path) -> tuple[int, int]:
    """Store weights as float16 wherever that loses nothing; computing stays in float32.

    A weight all of whose values are exactly representable becomes a float16 initializer and a
    Cast, which ONNX Runtime folds away when it opens the graph.

    Parameters
    ----------
    file : pathlib.Path
        A graph, rewritten in place; where its weights still have more than 2 GB, they stay in
        ``<file>.data``.

    Returns
    -------
    tuple of int
        How many weights were compacted, and how many are large enough to matter.
    """
    model = load(file)
    large = [each for each in model.graph.initializer if _is_large(each)]
    halves = {each.name: half for each in large if (half := _exact_half(each)) is not None}
    for initializer in model.graph.initializer:
        if initializer.name in halves:
            stored = f"{initializer.name}.float16"
            cast = helper.make_node("Cast", [stored], [initializer.name], to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
            initializer.CopyFrom(numpy_helper.from_array(halves[initializer.name], stored))
    save(model, file)
    return len(halves), len(large)


def _is_large(initializer: onnx.TensorProto) -> bool:
    is_float = initializer.data_type == onnx.TensorProto.FLOAT
    return is_float and int(np.prod(initializer.dims)) >= _WORTH_COMPACTING


def _exact_half(initializer: onnx.TensorProto) -> np.ndarray | None:
    values = numpy_helper.to_array(initializer)
    with np.errstate(over="ignore"):  # too large for float16: found unequal below
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None
