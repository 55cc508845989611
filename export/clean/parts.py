"""The weights of a transformer, read out of torch's modules as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from open_clip import transformer as theirs
from torch import Tensor, nn

from clipcal.export.clean.familiar import LINEARS, NORMS, familiar, require, sequence

Weights = NDArray[np.float32]
Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation: scale and shift (width,)."""

    scale: Weights
    shift: Weights
    epsilon: float


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix product: weight (inputs, outputs) and, where there is one, bias (outputs,)."""

    weight: Weights
    bias: Weights | None


@dataclass(frozen=True, slots=True)
class Block:
    """A residual attention block; `after_attention` and `after_mlp` are LayerScale's factors."""

    norm_1: Norm
    qkv: Linear
    heads: int
    out: Linear
    after_attention: Weights | None
    norm_2: Norm
    expand: Linear
    activation: Activation
    contract: Linear
    after_mlp: Weights | None


def array(tensor: Tensor) -> Weights:
    """Return a parameter as float32, without a copy where it is float32 already.

    Parameters
    ----------
    tensor : torch.Tensor
        A parameter or buffer.

    Returns
    -------
    numpy.ndarray
        Its values.
    """
    values: Weights = tensor.detach().cpu().float().numpy()
    return values


def read_blocks(module: Any, where: str) -> list[Block]:
    """Read the blocks of open_clip's ``Transformer``.

    Parameters
    ----------
    module : object
        The transformer.
    where : str
        Its place in the model, for messages.

    Returns
    -------
    list of Block
        At least one block.

    Raises
    ------
    UnfamiliarTower
        If anything in it is not known.
    """
    transformer = familiar(module, where, theirs.Transformer)
    names = [str(number) for number in range(len(transformer.resblocks))]
    require(bool(names), f"{where} has no block")
    blocks = sequence(transformer.resblocks, f"{where}.resblocks", nn.ModuleList, names)
    return [_block(block, f"{where}.resblocks.{number}") for number, block in enumerate(blocks)]


def read_norm(module: Any, where: str) -> Norm:
    """Read a layer normalisation over the last axis, with scale and shift.

    Parameters
    ----------
    module : object
        The module.
    where : str
        Its place in the model, for messages.

    Returns
    -------
    Norm
        Its weights.

    Raises
    ------
    UnfamiliarTower
        If it is of another kind, or lacks scale or shift.
    """
    norm = familiar(module, where, *NORMS)
    require(len(norm.normalized_shape) == 1, f"{where} goes over several axes")
    require(norm.weight is not None and norm.bias is not None, f"{where} has no scale or no shift")
    return Norm(array(norm.weight), array(norm.bias), float(norm.eps))


def read_linear(module: Any, where: str) -> Linear:
    """Read a linear layer.

    Parameters
    ----------
    module : object
        The module.
    where : str
        Its place in the model, for messages.

    Returns
    -------
    Linear
        Its weights.

    Raises
    ------
    UnfamiliarTower
        If it is of another kind.
    """
    linear = familiar(module, where, *LINEARS)
    return Linear(array(linear.weight).T, None if linear.bias is None else array(linear.bias))


def read_projection(value: Any, where: str) -> Linear | None:
    """Read the last projection, which open_clip keeps as a parameter, as a layer, or not at all.

    Parameters
    ----------
    value : object
        What the tower has under this name.
    where : str
        Its place in the model, for messages.

    Returns
    -------
    Linear or None
        Its weights.

    Raises
    ------
    UnfamiliarTower
        If it is none of these.
    """
    if value is None or type(value) is nn.Parameter:
        return None if value is None else Linear(array(value), None)
    return read_linear(value, where)


def _block(module: Any, where: str) -> Block:
    block = familiar(module, where, theirs.ResidualAttentionBlock)
    attention = _attention(block.attn, f"{where}.attn")
    expand, activation, contract = sequence(
        block.mlp, f"{where}.mlp", nn.Sequential, ("c_fc", "gelu", "c_proj")
    )
    return Block(
        norm_1=read_norm(block.ln_1, f"{where}.ln_1"),
        qkv=Linear(array(attention.in_proj_weight).T, _optional(attention.in_proj_bias)),
        heads=int(attention.num_heads),
        out=read_linear(attention.out_proj, f"{where}.attn.out_proj"),
        after_attention=_layer_scale(block.ls_1, f"{where}.ls_1"),
        norm_2=read_norm(block.ln_2, f"{where}.ln_2"),
        expand=read_linear(expand, f"{where}.mlp.c_fc"),
        activation=_activation(activation, f"{where}.mlp.gelu"),
        contract=read_linear(contract, f"{where}.mlp.c_proj"),
        after_mlp=_layer_scale(block.ls_2, f"{where}.ls_2"),
    )


def _attention(module: Any, where: str) -> Any:
    attention = familiar(module, where, nn.MultiheadAttention)
    require(attention.in_proj_weight is not None, f"{where} has no packed weight")
    plain = attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    require(plain and attention.batch_first, f"{where} attends to more than its tokens")
    return attention


def _activation(module: Any, where: str) -> Activation:
    if type(familiar(module, where, theirs.QuickGELU, nn.GELU)) is theirs.QuickGELU:
        return "quick_gelu"
    require(module.approximate in ("none", "tanh"), f"{where} approximates otherwise")
    return "gelu" if module.approximate == "none" else "gelu_tanh"


def _layer_scale(module: Any, where: str) -> Weights | None:
    scale = familiar(module, where, theirs.LayerScale, nn.Identity)
    return None if type(scale) is nn.Identity else array(scale.gamma)


def _optional(tensor: Tensor | None) -> Weights | None:
    return None if tensor is None else array(tensor)
