"""open_clip's own transformers as ONNX graphs written node by node, straight from the weights.

The generic exporter (:mod:`clipcal.export.graph`) repeats what torch does, with every transpose
and every intermediate cast. Here the graph is written as a run time likes to have it: batch first,
one product for queries, keys and values, the operators ``Attention`` and ``LayerNormalization``,
the patch embedding as a matrix product on uint8 pixels, constants folded in double precision, and
after the last attention only the token that is pooled. The result is the same function.

A tower is read module by module (:mod:`.familiar`), and whatever is not known to the last
attribute raises :class:`UnfamiliarTower`: a tower with anything unusual goes the generic way, and
never becomes a wrong graph.

Who computes ``Attention`` (opset 23): ONNX Runtime on the CPU from 1.23 on, in float32 and
float16; on CUDA from 1.25 on, by cuDNN, flash or memory-efficient kernels (1.24 and older leave
the operator to the CPU, which works and is slow); TensorRT's parser from 10.14 on, for a single
output, as here (where it declines, ONNX Runtime gives the node to CUDA); OpenVINO reads it too.
Its ``is_causal`` is used on square attention only, since run times disagree about any other.
"""

from clipcal.export.clean.familiar import UnfamiliarTower
from clipcal.export.clean.text import write_text
from clipcal.export.clean.vision import write_vision

__all__ = ["UnfamiliarTower", "write_text", "write_vision"]
