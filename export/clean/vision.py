"""open_clip's ``VisionTransformer`` as a graph: uint8 pixels to L2-normalised embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import open_clip
from numpy.typing import NDArray
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
from clipcal.models.bundle import Preprocessing


@dataclass(frozen=True, slots=True)
class Vision:
    """An image tower.

    Attributes
    ----------
    patch : ndarray of float32, shape (width, 3, patch height, patch width)
        The patch embedding.
    grid : tuple of int
        Patches downwards and across.
    class_token : ndarray of float32, shape (width,)
        What the first token starts from.
    positional : ndarray of float32, shape (1 + patches, width)
        Added to class token and patches.
    pre_norm : Norm or None
        Before the blocks.
    blocks : list of Block
        The transformer.
    average : bool
        Whether the patches' mean is the image's vector, rather than the first token.
    norm_first : bool
        Whether the last norm goes over all tokens before they are averaged.
    final_norm : Norm
        The last norm.
    projection : Linear or None
        To the embedding.
    """

    patch: Weights
    grid: tuple[int, int]
    class_token: Weights
    positional: Weights
    pre_norm: Norm | None
    blocks: list[Block]
    average: bool
    norm_first: bool
    final_norm: Norm
    projection: Linear | None


def write_vision(loaded: LoadedModel, file: Path, *, half: bool = False) -> None:
    """Write the image tower of a model; its input is ``pixels`` (batch, height, width, 3).

    In float32 the division by 255 and the normalisation of colours are folded into the patch
    embedding in double precision. In float16 folded weights would be subnormal, so there pixels
    are normalised in float32 before they become float16.

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
        If the tower is anything but a plain ``VisionTransformer``. Nothing is written then.
    """
    tower = read_vision(loaded)
    preprocessing = loaded.preprocessing
    graph = GraphWriter(half)
    pixels = tensor_input("pixels", ir.DataType.UINT8, preprocessing.height, preprocessing.width, 3)
    x = _with_class_token(graph, tower, pixels, _embedded(graph, tower, pixels, preprocessing))
    if tower.average:
        x = _averaged(graph, tower, blocks(graph, x, tower.blocks))
    else:
        x = blocks(graph, x, tower.blocks, pool=partial(_first, graph))
        x = norm(graph, "final_norm", x, tower.final_norm)
    x = projected(graph, x, tower.projection, tower.positional.shape[1])
    graph.save(pixels, x, file)


def read_vision(loaded: LoadedModel) -> Vision:
    """Read the weights of an image tower, if every part of it is known.

    Parameters
    ----------
    loaded : LoadedModel
        The model.

    Returns
    -------
    Vision
        The tower.

    Raises
    ------
    UnfamiliarTower
        If it is anything but a plain ``VisionTransformer``.
    """
    kinds = (open_clip.CLIP, open_clip.CustomTextCLIP, open_clip.CoCa)
    model = familiar(loaded.model, "the model", *kinds)
    visual = familiar(model.visual, "visual", theirs.VisionTransformer)
    require(visual.attn_pool is None, "visual pools by attention")
    require(visual.pool_type in ("tok", "avg"), f"visual pools by {visual.pool_type!r}")
    familiar(visual.patch_dropout, "visual.patch_dropout", theirs.PatchDropout, nn.Identity)
    patch = _patch(visual.conv1)
    positional = array(visual.positional_embedding)
    grid = _grid(patch, loaded.preprocessing)
    require(len(positional) == 1 + grid[0] * grid[1], "visual has another number of positions")
    bare = type(visual.ln_pre) is nn.Identity
    return Vision(
        patch=patch,
        grid=grid,
        class_token=array(visual.class_embedding),
        positional=positional,
        pre_norm=None if bare else read_norm(visual.ln_pre, "visual.ln_pre"),
        blocks=read_blocks(visual.transformer, "visual.transformer"),
        average=visual.pool_type == "avg",
        norm_first=not visual.final_ln_after_pool,
        final_norm=read_norm(visual.ln_post, "visual.ln_post"),
        projection=read_projection(visual.proj, "visual.proj"),
    )


def _patch(module: Any) -> Weights:
    conv = familiar(module, "visual.conv1", nn.Conv2d)
    plain = conv.stride == conv.kernel_size and conv.padding == (0, 0) and conv.dilation == (1, 1)
    require(plain and conv.groups == 1, "visual.conv1 does not cut the image into patches")
    require(conv.bias is None, "visual.conv1 has a bias")
    return array(conv.weight)


def _grid(patch: Weights, preprocessing: Preprocessing) -> tuple[int, int]:
    high, wide = patch.shape[2:]
    whole = preprocessing.height % high == 0 and preprocessing.width % wide == 0
    require(whole, "visual has patches that do not fill the image")
    return preprocessing.height // high, preprocessing.width // wide


# --- patches ----------------------------------------------------------------------------------


def _embedded(
    graph: GraphWriter, tower: Vision, pixels: ir.Value, preprocessing: Preprocessing
) -> ir.Value:
    """Embed the patches: (batch, height, width, 3) to (batch, patches, width)."""
    (down, across), (high, wide) = tower.grid, tower.patch.shape[2:]
    apart = graph.shape("patches.apart", 0, down, high, across, wide * 3)
    x = graph.op("Reshape", "patches.rows", pixels, apart)
    x = graph.op("Transpose", "patches.columns", x, perm=[0, 1, 3, 2, 4])
    flat = graph.shape("patches.flat", 0, down * across, high * wide * 3)
    x = graph.op("Reshape", "patches", x, flat)
    x = graph.op("Cast", "patches.float32", x, to=ir.DataType.FLOAT)
    mean, std = (np.asarray(each, np.float64) for each in (preprocessing.mean, preprocessing.std))
    weight = tower.patch.astype(np.float64).transpose(2, 3, 1, 0)  # rows, columns, colours, width
    positional = tower.positional[1:].astype(np.float64)
    if graph.half:
        x = _normalised_colours(graph, x, mean, std, high * wide)
    else:
        positional -= np.einsum("rcdw,d->w", weight, mean / std)
        weight = weight / (255 * std[:, None])
    product = graph.op(
        "MatMul",
        "patch.product",
        x,
        graph.weight("patch.weight", weight.reshape(-1, weight.shape[3])),
    )
    added = graph.op("Add", "patch", product, graph.weight("patch.positional", positional))
    return norm(graph, "pre_norm", added, tower.pre_norm) if tower.pre_norm else added


def _normalised_colours(
    graph: GraphWriter,
    x: ir.Value,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    count: int,
) -> ir.Value:
    """Normalise patches of `count` pixels in float32, then round them to float16."""
    factor = np.tile(1 / (255 * std), count).astype(np.float32)
    shift = np.tile(-mean / std, count).astype(np.float32)
    x = graph.op("Mul", "patches.scaled", x, graph.constant("patches.factor", factor))
    x = graph.op("Add", "patches.normalised", x, graph.constant("patches.shift", shift))
    rounded: ir.Value = graph.op("Cast", "patches.float16", x, to=ir.DataType.FLOAT16)
    return rounded


def _with_class_token(
    graph: GraphWriter, tower: Vision, pixels: ir.Value, patches: ir.Value
) -> ir.Value:
    """Put the class token before the patches; with its position and norm it is a constant."""
    token = tower.class_token.astype(np.float64) + tower.positional[0]
    if tower.pre_norm:
        centred = token - token.mean()
        token = centred / np.sqrt(np.square(centred).mean() + tower.pre_norm.epsilon)
        token = token * tower.pre_norm.scale + tower.pre_norm.shift
    count = graph.op("Shape", "class_token.count", pixels, start=0, end=1)
    rest = graph.shape("class_token.rest", 1, len(token))
    shape = graph.op("Concat", "class_token.shape", count, rest, axis=0)
    value = graph.weight("class_token.value", token)
    first = graph.op("Expand", "class_token", value, shape)
    tokens: ir.Value = graph.op("Concat", "tokens", first, patches, axis=1)
    return tokens


# --- pooling ----------------------------------------------------------------------------------


def _first(graph: GraphWriter, name: str, x: ir.Value) -> ir.Value:
    index = graph.constant(f"{name}.index", np.asarray(0, np.int64))
    token: ir.Value = graph.op("Gather", name, x, index, axis=1)
    return token


def _averaged(graph: GraphWriter, tower: Vision, x: ir.Value) -> ir.Value:
    if tower.norm_first:
        x = norm(graph, "final_norm", x, tower.final_norm)
    start, end = graph.shape("patches.start", 1), graph.shape("patches.end", len(tower.positional))
    axis = graph.shape("patches.axis", 1)
    x = graph.op("Slice", "without_class_token", x, start, end, axis)
    x = graph.op("ReduceMean", "average", x, axis, keepdims=0)
    return x if tower.norm_first else norm(graph, "final_norm", x, tower.final_norm)
