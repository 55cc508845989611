"""open_clip models with their weights, whatever file these came in."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor

from clipcal.errors import BundleError
from clipcal.export.hub import fetch_file
from clipcal.export.openclip.source import CONFIG_FILE, RANDOM, Source, is_torchscript, licence_of
from clipcal.export.quiet import quiet
from clipcal.models.bundle import Preprocessing
from clipcal.models.registry import ModelName

_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An open_clip model with its weights, in float32 and evaluation mode.

    Attributes
    ----------
    name : ModelName
        Architecture and weights.
    model : torch.nn.Module
        The model.
    preprocessing : Preprocessing
        What its image tower expects.
    transform : callable
        open_clip's own preprocessing: a Pillow image to a tensor (3, height, width).
    text_config : dict
        ``text_cfg`` of the configuration.
    context_length : int
        Token ids per sentence.
    architecture : str
        SHA-256 of the canonical JSON of the configuration.
    weights_sha256 : str
        SHA-256 of the weights, whatever file they came in.
    licence : str or None
        Licence of the weights, where it is known.
    """

    name: ModelName
    model: Any
    preprocessing: Preprocessing
    transform: Any
    text_config: dict[str, Any]
    context_length: int
    architecture: str
    weights_sha256: str
    licence: str | None

    @property
    def logit_scale(self) -> float:
        """The factor between a cosine and a logit."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def logit_bias(self) -> float | None:
        """SigLIP's bias of a logit."""
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias.detach())


def load(source: Source, seed: int = 0) -> LoadedModel:
    """Build the model and read its weights.

    Parameters
    ----------
    source : Source
        The model, from :func:`resolve`.
    seed : int
        Seed of the weights when their tag is ``random``.

    Returns
    -------
    LoadedModel
        The model, in float32 and evaluation mode.

    Raises
    ------
    BundleError
        If the weights cannot be had, or do not fit the architecture.
    """
    checkpoint = _checkpoint(source)
    model = _build(source, seed)
    if checkpoint is not None:
        _fill(model, checkpoint, source.name)
    model.eval()
    preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
    text_config = dict(source.config["text_cfg"])
    return LoadedModel(
        name=source.name,
        model=model,
        preprocessing=_preprocessing(preprocess),
        transform=image_transform_v2(preprocess, is_train=False),
        text_config=text_config,
        context_length=int(text_config.get("context_length", 77)),
        architecture=_hash_config(source.config),
        weights_sha256=hash_weights(model.state_dict()),
        licence=licence_of(source),
    )


def halved(loaded: LoadedModel) -> LoadedModel:
    """Return a copy of the model whose weights and arithmetic are float16."""
    return replace(loaded, model=copy.deepcopy(loaded.model).half())


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """Hash names, dtypes, shapes and bytes of weights, in the order of their names.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        A state dictionary.

    Returns
    -------
    str
        64 hexadecimal digits; the same for the same weights from any kind of file.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _checkpoint(source: Source) -> Path | None:
    if source.weights is not None or source.name.pretrained == RANDOM:
        return source.weights
    remedy = (
        f"The weights of {source.name} are needed: download {{url}} elsewhere, then: "
        f"clipcal export {source.name} --weights FILE"
    )
    return fetch_file(str(source.repository), _WEIGHT_FILES, remedy)


def _build(source: Source, seed: int) -> Any:
    with tempfile.TemporaryDirectory() as folder, quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        content = {"model_cfg": source.config, "preprocess_cfg": source.preprocess}
        Path(folder, CONFIG_FILE).write_text(json.dumps(content), "utf-8")
        try:
            model = open_clip.create_model(
                f"local-dir:{folder}", load_weights=False, pretrained_text=False
            )
        except Exception as error:  # whatever a wrong configuration makes a constructor raise
            raise BundleError(
                f"open_clip {open_clip.__version__} cannot build {source.name.architecture}: "
                f"{_first_line(error)}. Check its configuration."
            ) from error
    return model


def _fill(model: Any, checkpoint: Path, name: ModelName) -> None:
    with tempfile.TemporaryDirectory() as folder, quiet():
        try:
            if is_torchscript(checkpoint):
                checkpoint = _unscripted(checkpoint, Path(folder))
            open_clip.load_checkpoint(model, str(checkpoint))
        except Exception as error:  # unpickling and load_state_dict raise nearly anything
            raise BundleError(
                f"The weights {checkpoint} do not fit {name.architecture} or are damaged: "
                f"{_first_line(error)}. Check the file, or name the architecture that it was "
                "trained with: clipcal export ARCHITECTURE --weights FILE"
            ) from error


def _unscripted(file: Path, folder: Path) -> Path:
    """Take the weights out of an archive of TorchScript, as OpenAI publishes them."""
    script = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]  # torch's
    state = script.state_dict()
    about = ("input_resolution", "context_length", "vocab_size")
    kept = {key: value for key, value in state.items() if key not in about}
    torch.save(kept, folder / "weights.pt")
    return folder / "weights.pt"


def _preprocessing(config: PreprocessCfg) -> Preprocessing:
    size = config.size
    height, width = (size, size) if isinstance(size, int) else size
    return Preprocessing(
        height=height,
        width=width,
        resize_mode=config.resize_mode,
        # open_clip takes bicubic for everything that is not bilinear.
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        mean=_three(config.mean),
        std=_three(config.std),
        fill=config.fill_color,
    )


def _three(values: float | Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = [values] * 3 if isinstance(values, (int, float)) else values
    return red, green, blue


def _hash_config(config: Mapping[str, Any]) -> str:
    # Whether a tower once started from other weights does not change what it computes.
    vision = {k: v for k, v in config["vision_cfg"].items() if k != "timm_model_pretrained"}
    text = {k: v for k, v in config["text_cfg"].items() if k != "hf_model_pretrained"}
    canonical = {**config, "vision_cfg": vision, "text_cfg": text}
    return hashlib.sha256(
        json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". :")
