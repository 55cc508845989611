"""The two towers of an open_clip model as modules of torch, from pixels or token ids to vectors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.nn import functional

from clipcal.export.openclip.loading import LoadedModel


class ImageTower(nn.Module):
    """uint8 (n, height, width, 3) to L2-normalised float32 (n, dim)."""

    mean: Tensor
    std: Tensor

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.model = _fused(loaded.model)
        self.dtype = next(loaded.model.parameters()).dtype
        preprocessing = loaded.preprocessing
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels; the arithmetic is that of open_clip's ToTensor and Normalize."""
        scaled = pixels.permute(0, 3, 1, 2).float() / 255
        images = ((scaled - self.mean) / self.std).to(self.dtype)
        return functional.normalize(self.model.encode_image(images, normalize=False).float(), dim=1)


class TextTower(nn.Module):
    """Token ids (n, context_length) to L2-normalised float32 (n, dim)."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.model: Any = loaded.model

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids."""
        return functional.normalize(self.model.encode_text(tokens, normalize=False).float(), dim=1)


def _fused(model: Any) -> Any:
    """Merge the training-time branches that some trunks (MobileCLIP's FastViT) are made of."""
    trunk = getattr(model.visual, "trunk", None)
    if trunk is None or not any(hasattr(each, "reparameterize") for each in trunk.modules()):
        return model
    fused = copy.deepcopy(model)
    fused.visual.trunk = reparameterize_model(fused.visual.trunk, inplace=True)
    return fused
