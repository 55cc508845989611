"""Which modules of open_clip are known to the last attribute, and so can be written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from open_clip import transformer as parts
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

_EVERY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = tuple(sorted(name for name in _EVERY_MODULE if "forward" in name and "hooks" in name))
_PREPROCESSING = {"preprocess_cfg", "image_mean", "image_std"}
_LINEAR = {"in_features", "out_features", "weight", "bias"}
_NORM = {"normalized_shape", "eps", "elementwise_affine", "weight", "bias"}

# Everything that an instance of each kind may carry: submodules, parameters, buffers, attributes.
# A name that is not listed may change what the module computes.
KNOWN: dict[type, set[str]] = {
    open_clip.CLIP: {
        *("visual", "transformer", "token_embedding", "positional_embedding", "ln_final"),
        *("text_projection", "attn_mask", "text_pool_type", "text_eos_id", "context_length"),
        *("vocab_size", "logit_scale", "logit_bias", "output_dict"),
    },
    open_clip.CustomTextCLIP: {
        *("visual", "text", "context_length", "vocab_size"),
        *("logit_scale", "logit_bias", "output_dict"),
    },
    open_clip.CoCa: {
        *("visual", "text", "text_decoder", "context_length", "pad_id"),
        *("logit_scale", "logit_bias"),
    },
    parts.VisionTransformer: {
        *("conv1", "class_embedding", "positional_embedding", "patch_dropout", "ln_pre"),
        *("transformer", "attn_pool", "attn_pool_contrastive", "attn_pool_type", "ln_post"),
        *("proj", "pool_type", "final_ln_after_pool"),
        *("image_size", "patch_size", "grid_size", "output_dim", "output_tokens"),
        *_PREPROCESSING,
    },
    parts.TextTransformer: {
        *("token_embedding", "positional_embedding", "cls_emb", "transformer", "ln_final"),
        *("text_projection", "attn_mask", "pool_type", "eos_id", "pad_id", "use_pad_mask"),
        *("correct_cls_mask", "num_pos", "context_length", "vocab_size", "width", "heads"),
        *("output_dim", "output_tokens"),
    },
    parts.Transformer: {"resblocks", "width", "layers", "batch_first", "grad_checkpointing"},
    parts.ResidualAttentionBlock: {"ln_1", "attn", "ls_1", "ln_2", "mlp", "ls_2"},
    parts.PatchDropout: {"prob", "exclude_first_token"},
    parts.LayerScale: {"gamma", "inplace"},
    parts.QuickGELU: set(),
    parts.LayerNorm: _NORM,
    parts.LayerNormFp32: _NORM,
    nn.LayerNorm: _NORM,
    nn.GELU: {"approximate"},
    nn.Identity: set(),
    nn.Linear: _LINEAR,
    NonDynamicallyQuantizableLinear: _LINEAR,
    nn.Embedding: {
        *("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type"),
        *("scale_grad_by_freq", "sparse", "weight"),
    },
    nn.MultiheadAttention: {
        *("embed_dim", "kdim", "vdim", "_qkv_same_embed_dim", "num_heads", "head_dim", "dropout"),
        *("batch_first", "in_proj_weight", "in_proj_bias", "out_proj", "add_zero_attn"),
        *("bias_k", "bias_v", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    },
    nn.Conv2d: {
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
        *("groups", "padding_mode", "transposed", "output_padding", "weight", "bias"),
        "_reversed_padding_repeated_twice",
    },
}
NORMS = (parts.LayerNorm, parts.LayerNormFp32, nn.LayerNorm)
LINEARS = (nn.Linear, NonDynamicallyQuantizableLinear)


class UnfamiliarTower(Exception):  # noqa: N818  # no failure: the generic path follows
    """A tower is not of the shape that the clean graphs know; the text says what is unusual."""


def familiar(module: Any, where: str, *kinds: type) -> Any:
    """Return a module if it is exactly of one of the kinds and carries nothing unknown.

    Parameters
    ----------
    module : object
        What stands at this place of the tower.
    where : str
        The place, for the message.
    *kinds : type
        Kinds that may stand there; subclasses are strangers.

    Returns
    -------
    object
        The module.

    Raises
    ------
    UnfamiliarTower
        If it is of another kind, has a hook, or has an attribute, parameter or submodule that
        this version does not know.
    """
    kind = type(module)
    require(kind in kinds, f"{where} is a {kind.__name__}")
    require(not any(vars(module)[hooks] for hooks in _HOOKS), f"{where} has a hook")
    unknown = _names(module) - KNOWN[kind]
    require(not unknown, f"{where} has {', '.join(sorted(unknown))}")
    return module


def sequence(module: Any, where: str, kind: type, names: Sequence[str]) -> list[Any]:
    """Return the members of a plain container, if they are exactly the expected ones.

    Parameters
    ----------
    module : object
        The container.
    where : str
        Its place, for the message.
    kind : type
        ``nn.Sequential`` or ``nn.ModuleList``.
    names : sequence of str
        Names of the members, in order.

    Returns
    -------
    list of object
        The members.

    Raises
    ------
    UnfamiliarTower
        If it is of another kind, has a hook or other members.
    """
    require(type(module) is kind, f"{where} is a {type(module).__name__}")
    require(not any(vars(module)[hooks] for hooks in _HOOKS), f"{where} has a hook")
    members = vars(module)["_modules"]
    same = list(members) == list(names) and _names(module) == set(names)
    require(same, f"{where} has other members")
    return list(members.values())


def require(fact: bool, otherwise: str) -> None:
    """Refuse a tower unless a fact holds.

    Parameters
    ----------
    fact : bool
        What must hold.
    otherwise : str
        What is unusual if it does not.

    Raises
    ------
    UnfamiliarTower
        If the fact does not hold.
    """
    if not fact:
        raise UnfamiliarTower(otherwise)


def _names(module: nn.Module) -> set[str]:
    own = vars(module)
    members = {name for kind in ("_modules", "_parameters", "_buffers") for name in own[kind]}
    return (set(own) - _EVERY_MODULE) | members
