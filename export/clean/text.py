"""open_clip's text transformer as a graph: token ids to L2-normalised embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import open_clip
import torch
from open_clip import transformer as theirs
from torch import nn

from clipcal.export.clean.builder import GraphWriter, blocks, norm, projected, tensor_input
from clipcal.export.clean.familiar import familiar, require
from clipcal.export.clean.parts import (
    Block,
    Linear,
    Norm,
    Weights,
    array,
    read_blocks,
    read_norm,
    read_projection,
)
from clipcal.export.openclip.loading import LoadedModel

_POOLS = ("first", "last", "argmax", "eos")
_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True, slots=True)
class Text:
    """A text tower.

    Attributes
    ----------
    table : ndarray of float32, shape (vocabulary, width)
        The token embeddings.
    positional : ndarray of float32, shape (tokens, width)
        Added to them.
    causal : bool
        Whether a token sees only itself and those before it.
    blocks : list of Block
        The transformer.
    final_norm : Norm
        The last norm.
    pool : str
        Which token is the sentence's: ``first``, ``last``, ``argmax`` (the greatest id), ``eos``
        (the first with the id `eos`).
    eos : int
        Id that ends a sentence, for ``eos``.
    projection : Linear or None
        To the embedding.
    """

    table: Weights
    positional: Weights
    causal: bool
    blocks: list[Block]
    final_norm: Norm
    pool: str
    eos: int
    projection: Linear | None


def write_text(loaded: LoadedModel, file: Path, *, half: bool = False) -> None:
    """Write the text tower of a model; its input is ``tokens`` (batch, context_length).

    Parameters
    ----------
    loaded : LoadedModel
        The model, in float32.
    file : pathlib.Path
        Where to write.
    half : bool
        Weights and arithmetic in float16.

    Raises
    ------
    UnfamiliarTower
        If the tower is anything but open_clip's plain text transformer. Nothing is written then.
    """
    tower = read_text(loaded)
    graph = GraphWriter(half)
    tokens = tensor_input("tokens", ir.DataType.INT64, loaded.context_length)
    x = graph.op("Gather", "tokens.embedded", graph.weight("tokens.table", tower.table), tokens)
    x = graph.op("Add", "tokens.placed", x, graph.weight("tokens.positional", tower.positional))
    pool = _pool(graph, tower, tokens)
    x = blocks(graph, x, tower.blocks, causal=tower.causal, pool=pool)
    x = norm(graph, "final_norm", x, tower.final_norm)
    x = projected(graph, x, tower.projection, tower.table.shape[1])
    graph.save(tokens, x, file)


def read_text(loaded: LoadedModel) -> Text:
    """Read the weights of a text tower, if every part of it is known.

    Parameters
    ----------
    loaded : LoadedModel
        The model.

    Returns
    -------
    Text
        The tower.

    Raises
    ------
    UnfamiliarTower
        If it is anything but open_clip's plain text transformer.
    """
    text, pool, eos = _parts_of(loaded.model)
    require(pool in _POOLS, f"text pools by {pool!r}")
    table = familiar(text.token_embedding, "token_embedding", nn.Embedding)
    require(table.max_norm is None, "token_embedding limits its norms")
    require(table.num_embeddings <= _EXACT_IN_FLOAT32, "token_embedding is too long")
    positional = array(text.positional_embedding)
    require(len(positional) == loaded.context_length, "text has another number of positions")
    return Text(
        table=array(table.weight),
        positional=positional,
        causal=_causal(text.attn_mask, len(positional)),
        blocks=read_blocks(text.transformer, "text.transformer"),
        final_norm=read_norm(text.ln_final, "text.ln_final"),
        pool=pool,
        eos=eos,
        projection=read_projection(text.text_projection, "text.text_projection"),
    )


def _parts_of(model: Any) -> tuple[Any, str, int]:
    """Find the text tower (of ``CLIP`` its parts lie on the model), its pooling and its end."""
    kinds = (open_clip.CLIP, open_clip.CustomTextCLIP, open_clip.CoCa)
    if type(familiar(model, "the model", *kinds)) is open_clip.CLIP:
        return model, model.text_pool_type, model.text_eos_id
    text = familiar(model.text, "text", theirs.TextTransformer)
    require(text.cls_emb is None, "text has a class token")
    require(not text.use_pad_mask, "text masks its padding")
    return text, text.pool_type, text.eos_id


def _causal(mask: torch.Tensor | None, length: int) -> bool:
    if mask is None:
        return False
    causal = torch.full((length, length), -torch.inf).triu(1)
    require(torch.equal(mask.detach().cpu().float(), causal), "text has a mask of its own")
    return True


# --- pooling ----------------------------------------------------------------------------------


def _pool(graph: GraphWriter, tower: Text, tokens: ir.Value) -> Any:
    if tower.pool in ("first", "last"):
        place = 0 if tower.pool == "first" else len(tower.positional) - 1
        index = graph.constant("pooled.place", np.asarray(place, np.int64))
        return lambda name, x: graph.op("Gather", name, x, index, axis=1)
    return partial(_at, graph, _place(graph, tower, tokens))


def _place(graph: GraphWriter, tower: Text, tokens: ir.Value) -> ir.Value:
    """Find the token (batch, 1) that stands for each sentence; the first where several could."""
    if tower.pool == "eos":
        end = graph.constant("pooled.end", np.asarray(tower.eos, np.int64))
        tokens = graph.op("Equal", "pooled.ends", tokens, end)
    # Ids are exact in float32, and ONNX Runtime's CUDA kernel knows no other kind of number.
    numbers = graph.op("Cast", "pooled.numbers", tokens, to=ir.DataType.FLOAT)
    place: ir.Value = graph.op("ArgMax", "pooled.place", numbers, axis=1, keepdims=1)
    return place


def _at(graph: GraphWriter, place: ir.Value, name: str, x: ir.Value) -> ir.Value:
    token: ir.Value = graph.op("GatherND", name, x, place, batch_dims=1)
    return token
