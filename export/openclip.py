"""open_clip models as their sources: which one is meant, its weights, its two towers."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.nn import functional

from clipcal.errors import BundleError
from clipcal.export.hub import fetch_file
from clipcal.export.quiet import quiet
from clipcal.models.bundle import Preprocessing
from clipcal.models.registry import ModelName, parse_model_name

RANDOM = "random"
_HUB = "hf-hub:"
_QUICKGELU = "-quickgelu"
_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_CONFIG_FILE = "open_clip_config.json"
_CONFIG_KEYS = {"embed_dim", "vision_cfg", "text_cfg"}
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True, slots=True)
class Source:
    """What to export, before any weight is read.

    Attributes
    ----------
    name : ModelName
        Architecture and weights.
    config : dict
        open_clip's model configuration.
    preprocess : dict
        Mean, std, interpolation and resize mode, as far as they differ from open_clip's own.
    repository : str or None
        Where the hub keeps the weights.
    weights : pathlib.Path or None
        A checkpoint on this machine.
    """

    name: ModelName
    config: dict[str, Any]
    preprocess: dict[str, Any]
    repository: str | None
    weights: Path | None


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


# --- which model ------------------------------------------------------------------------------


def resolve(text: str, weights: Path | None = None) -> Source:
    """Find out which model a name means; nothing large is read or downloaded.

    Parameters
    ----------
    text : str
        A name as :func:`clipcal.models.registry.parse_model_name` takes it; or a JSON file with
        an open_clip configuration, with or without ``::WEIGHTS`` to name its weights.
    weights : pathlib.Path, optional
        A checkpoint on this machine.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    BundleError
        If the architecture, the tag or a file is unknown; the closest names are listed.
    """
    if weights is not None and not weights.is_file():
        raise BundleError(f"There is no weights file {weights}. Check the path of --weights.")
    path, _, tag = text.partition("::")
    if path.endswith(".json"):
        return _from_json(Path(path), tag, weights)
    name = parse_model_name(text)
    if name.architecture.startswith(_HUB):
        return _from_hub(name, weights)
    return _from_tag(name, weights)


def _from_json(file: Path, tag: str, weights: Path | None) -> Source:
    content = _read_config(file)
    config = content.get("model_cfg", content)
    if weights is None and tag != RANDOM:
        raise BundleError(
            f"{file} is a configuration without weights. Add the weights: "
            f"clipcal export {file} --weights FILE"
        )
    name = _named(file.stem, tag, weights)
    return Source(name, config, content.get("preprocess_cfg", {}), None, weights)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{file} cannot be read as an open_clip configuration ({error}). Give a JSON file "
            "with embed_dim, vision_cfg and text_cfg."
        ) from error
    model = content.get("model_cfg", content) if isinstance(content, dict) else {}
    missing = _CONFIG_KEYS - set(model)
    if missing:
        raise BundleError(
            f"{file} is no open_clip configuration: it lacks {', '.join(sorted(missing))}."
        )
    return dict(content)


def _named(architecture: str, tag: str, weights: Path | None) -> ModelName:
    """Name weights by the tag that was given, else by their file."""
    tag = tag or (weights.stem if weights else RANDOM)
    return parse_model_name(f"{architecture}::{tag}")


def _from_hub(name: ModelName, weights: Path | None) -> Source:
    repository = name.architecture.removeprefix(_HUB)
    remedy = (
        f"The configuration of {name} is needed: download {{url}} elsewhere, then: "
        f"clipcal export {_CONFIG_FILE} --weights FILE"
    )
    content = _read_config(fetch_file(repository, [_CONFIG_FILE], remedy))
    config, preprocess = content.get("model_cfg", content), content.get("preprocess_cfg", {})
    return Source(name, config, preprocess, repository, weights)


def _from_tag(name: ModelName, weights: Path | None) -> Source:
    _check_architecture(name.architecture)
    tag = name.pretrained or ("" if weights else _default_tag(name.architecture))
    known = get_pretrained_cfg(name.architecture, tag)
    if not known and weights is None and tag != RANDOM:
        raise BundleError(_unknown_tag(name))
    architecture = _with_its_activation(name.architecture, known, weights)
    config = open_clip.get_model_config(architecture)
    preprocess = known or _shared_preprocess(architecture)
    repository = (known.get("hf_hub") or "").rstrip("/") or None
    return Source(_named(architecture, tag, weights), config, preprocess, repository, weights)


def _check_architecture(architecture: str) -> None:
    known = open_clip.list_models()
    if architecture not in known:
        close = _closest(architecture, known)
        raise BundleError(
            f"open_clip {open_clip.__version__} has no architecture {architecture!r}. "
            f"Did you mean {close}? All: "
            "python -c 'import open_clip; print(open_clip.list_models())'"
        )


def _default_tag(architecture: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if len(tags) == 1 or "openai" in tags:
        return "openai" if "openai" in tags else tags[0]
    if not tags:
        raise BundleError(
            f"open_clip knows no weights for {architecture}. Give a checkpoint: "
            f"clipcal export {architecture} --weights FILE"
        )
    raise BundleError(
        f"Which weights of {architecture}? One of {', '.join(tags)}: "
        f"clipcal export {architecture}::{tags[0]}"
    )


def _unknown_tag(name: ModelName) -> str:
    tags = open_clip.list_pretrained_tags_by_model(name.architecture)
    close = _closest(name.pretrained, tags) if tags else "--weights FILE"
    return (
        f"open_clip {open_clip.__version__} has no weights {name.pretrained!r} for "
        f"{name.architecture}. Did you mean {close}? "
        f"All: {', '.join(tags) or 'none'}. Other weights: --weights FILE"
    )


def _closest(word: str, known: Sequence[str]) -> str:
    lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), list(lower), n=3, cutoff=0.0)
    return " or ".join(lower[each] for each in found)


def _with_its_activation(architecture: str, known: Mapping[str, Any], weights: Path | None) -> str:
    """Choose the QuickGELU twin of an architecture where the weights were trained with it."""
    # An archive of TorchScript without a known tag is OpenAI's own file.
    quick = known.get("quick_gelu", weights is not None and not known and _is_torchscript(weights))
    twin = architecture + _QUICKGELU
    return twin if quick and twin in open_clip.list_models() else architecture


def _shared_preprocess(architecture: str) -> dict[str, Any]:
    """Return the preprocessing of an architecture if all its known weights agree on one."""
    configs = [
        {key: get_pretrained_cfg(architecture, tag).get(key) for key in _PREPROCESS_KEYS}
        for tag in open_clip.list_pretrained_tags_by_model(architecture)
    ]
    agreed = bool(configs) and all(config == configs[0] for config in configs)
    return configs[0] if agreed else {}


# --- its weights ------------------------------------------------------------------------------


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
        licence=_licence(source),
    )


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
        Path(folder, _CONFIG_FILE).write_text(json.dumps(content), "utf-8")
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
            if _is_torchscript(checkpoint):
                checkpoint = _unscripted(checkpoint, Path(folder))
            open_clip.load_checkpoint(model, str(checkpoint))
        except Exception as error:  # unpickling and load_state_dict raise nearly anything
            raise BundleError(
                f"The weights {checkpoint} do not fit {name.architecture} or are damaged: "
                f"{_first_line(error)}. Check the file, or name the architecture that it was "
                "trained with: clipcal export ARCHITECTURE --weights FILE"
            ) from error


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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


def _licence(source: Source) -> str | None:
    """Return the licence that the publisher states, for the families where it is known."""
    if source.repository is None:
        return None
    tag, repository = source.name.pretrained, source.repository
    if repository.startswith("apple/") or "MobileCLIP" in repository:
        return f"Apple's own terms, see https://huggingface.co/{repository}"
    if "SigLIP" in repository:
        return "Apache-2.0"
    if tag in ("metaclip_400m", "metaclip_fullcc"):
        return "CC-BY-NC-4.0"
    return "MIT" if tag == "openai" or repository.startswith("laion/") else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". :")


def halved(loaded: LoadedModel) -> LoadedModel:
    """Return a copy of the model whose weights and arithmetic are float16."""
    return replace(loaded, model=copy.deepcopy(loaded.model).half())
