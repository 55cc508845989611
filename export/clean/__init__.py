"""open_clip's own transformers as ONNX graphs written node by node, straight from the weights.

The generic exporter (:mod:`clipcal.export.graph`) repeats what torch does, with every transpose
and every intermediate cast. Here the graph is written as a run time likes to have it: batch first,
one product for queries, keys and values, the operators ``Attention`` and ``LayerNormalization``,
the patch embedding as a matrix product on uint8 pixels, constants folded in double precision, and
after the last attention only the token that is pooled. The result is the same function.

A tower is read module by module (:mod:`.familiar`), and whatever is not known to the last
attribute raises :class:`UnfamiliarTower`: a tower with anything unusual goes the generic way, and
never becomes a wrong graph.
"""

from clipcal.export.clean.familiar import UnfamiliarTower
from clipcal.export.clean.text import write_text
from clipcal.export.clean.vision import write_vision

__all__ = ["UnfamiliarTower", "write_text", "write_vision"]
