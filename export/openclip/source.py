"""Which open_clip model a name means: its configuration, and where its weights are."""

from __future__ import annotations

import difflib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

from clipcal.errors import BundleError
from clipcal.export.hub import fetch_file
from clipcal.models.registry import ModelName, parse_model_name

RANDOM = "random"
CONFIG_FILE = "open_clip_config.json"
_HUB = "hf-hub:"
_QUICKGELU = "-quickgelu"
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


def licence_of(source: Source) -> str | None:
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


def is_torchscript(file: Path) -> bool:
    """Whether a file is an archive of TorchScript, as OpenAI publishes its weights."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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
        f"clipcal export {CONFIG_FILE} --weights FILE"
    )
    content = _read_config(fetch_file(repository, [CONFIG_FILE], remedy))
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
    quick = known.get("quick_gelu", weights is not None and not known and is_torchscript(weights))
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
