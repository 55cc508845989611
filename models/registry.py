"""From the names that people use to bundles on disk."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from clipcal.errors import BundleError
from clipcal.models.bundle import MANIFEST, Bundle

BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent / BUILTIN
# Of the folder of a bundle that is not fp32; a name means the first of them that is there.
SUFFIXES = {"fp32": "", "fp16": "-fp16", "int8": "-int8"}
_QUICKGELU = "-quickgelu"
_HUB = "hf-hub:"


@dataclass(frozen=True, slots=True)
class ModelName:
    """An architecture and the weights trained for it, in open_clip's words.

    Attributes
    ----------
    architecture : str
        As open_clip lists it, for example ``ViT-B-32``; or ``hf-hub:owner/repository``.
    pretrained : str
        The weights' tag, for example ``laion2b_s34b_b79k``; empty where none was named.
    """

    architecture: str
    pretrained: str = ""

    def __str__(self) -> str:
        """Return ``ARCHITECTURE::PRETRAINED``, or the architecture alone."""
        return f"{self.architecture}::{self.pretrained}" if self.pretrained else self.architecture

    @property
    def folder(self) -> str:
        """The folder that a bundle of this name has below :func:`bundle_home`."""
        parts = [part for part in (self.architecture, self.pretrained) if part]
        return "__".join(re.sub(r"[^\w.+-]+", "--", part) for part in parts)


def parse_model_name(text: str) -> ModelName:
    """Understand the usual ways to write a model's name.

    Parameters
    ----------
    text : str
        ``ViT-B-32::laion2b_s34b_b79k``, ``open_clip:ViT-B-32/laion2b_s34b_b79k``,
        ``ViT-B-32__laion2b-s34b-b79k``, ``ViT-B-32``, ``ViT-B/32`` or
        ``hf-hub:owner/repository``.

    Returns
    -------
    ModelName
        The name; a tag in lower case with underscores, as open_clip keeps it.

    Raises
    ------
    BundleError
        If `text` names no architecture.
    """
    text = text.strip()
    if text.startswith(_HUB):
        return ModelName(text)
    architecture, tag = _split(text)
    if not architecture:
        raise BundleError(
            f"{text!r} names no model. Write it as ARCHITECTURE::WEIGHTS, for example "
            "ViT-B-32::openai, or give a bundle's folder."
        )
    return ModelName(architecture.replace("/", "-"), tag.lower().replace("-", "_"))


def _split(text: str) -> tuple[str, str]:
    scheme = text.startswith("open_clip:")
    text = text.removeprefix("open_clip:")
    for separator in ("::", "__"):
        if separator in text:
            architecture, _, tag = text.partition(separator)
            return architecture, tag
    architecture, _, tag = text.rpartition("/")
    # "ViT-B/32" is OpenAI's way to write the patch size, not a tag.
    if scheme and architecture and not tag.isdigit():
        return architecture, tag
    return text, ""


def same_model_name(one: str, other: str) -> bool:
    """Tell whether two names mean one model, however they are written.

    Parameters
    ----------
    one, other : str
        Names as :func:`parse_model_name` takes them.

    Returns
    -------
    bool
        True also where only one of them says ``-quickgelu``: open_clip keeps weights that were
        trained with QuickGELU under a twin architecture, and people leave the suffix out.
    """
    return one == other or _folded(one) == _folded(other)


def _folded(text: str) -> ModelName | str:
    try:
        name = parse_model_name(text)
    except BundleError:
        return text
    return ModelName(name.architecture.removesuffix(_QUICKGELU), name.pretrained)


def bundle_home() -> Path:
    """Return the folder in which ``clipcal export`` keeps bundles when no ``-o`` is given.

    Returns
    -------
    pathlib.Path
        ``$CLIPCAL_HOME/bundles``, or ``clipcal/bundles`` in the platform's data folder. It
        need not exist.
    """
    home = os.environ.get("CLIPCAL_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_data_path("clipcal")
    return base / "bundles"


def find_bundle(name: str | Path | None) -> Bundle:
    """Find the bundle that `name` means.

    Parameters
    ----------
    name : str, pathlib.Path or None
        None or ``"builtin"`` for the packaged model; a bundle's folder; or a model's name
        (:func:`parse_model_name`) that was exported to :func:`bundle_home`. Where it was
        exported in several precisions the name means the most precise; give the folder for
        another.

    Returns
    -------
    Bundle
        The bundle, its manifest checked.

    Raises
    ------
    BundleError
        If there is no such bundle, several fit, or it is damaged.
    """
    if name is None or name == BUILTIN:
        return _builtin()
    if isinstance(name, Path) or name.startswith((".", "~", os.sep)) or Path(name).is_dir():
        return Bundle.load(Path(os.path.expanduser(name)))
    return Bundle.load(_exported(parse_model_name(name)))


def _builtin() -> Bundle:
    if not (BUILTIN_FOLDER / MANIFEST).is_file():
        raise BundleError(
            "This copy of clipcal carries no built-in model. Name another: "
            "clipcal export ViT-B-32::openai, then --model ViT-B-32::openai"
        )
    return Bundle.load(BUILTIN_FOLDER)


def _exported(name: ModelName) -> Path:
    home = bundle_home()
    found = _candidates(home, name)
    if len(found) > 1:
        names = ", ".join(_plain(folder).replace("__", "::") for folder in found)
        raise BundleError(f"{name} was exported with several weights: name one of {names}.")
    if not found:
        raise BundleError(
            f"{name} has not been exported (looked in {home}). Export it first: "
            f"clipcal export {name} -o {home / name.folder}"
        )
    return found[0]


def _candidates(home: Path, name: ModelName) -> list[Path]:
    """List what fits, best first: the very name, else its quickgelu twin, else any weights."""
    # open_clip keeps weights trained with QuickGELU under a twin architecture; people leave
    # the suffix out, and so may a name here.
    twin = ModelName(name.architecture + _QUICKGELU, name.pretrained)
    for wanted in (name, twin):
        for folder in (home / (wanted.folder + suffix) for suffix in SUFFIXES.values()):
            if (folder / MANIFEST).is_file():
                return [folder]
    if name.pretrained:
        return []
    found = {
        file.parent for each in (name, twin) for file in home.glob(f"{each.folder}__*/{MANIFEST}")
    }
    return sorted(folder for folder in found if not found & set(_more_precise(folder)))


def _more_precise(folder: Path) -> Iterator[Path]:
    """Name the folders that hold the same weights more precisely, if they are there."""
    plain = _plain(folder)
    same = [folder.with_name(plain + suffix) for suffix in SUFFIXES.values()]
    return itertools.takewhile(lambda each: each != folder, same)


def _plain(folder: Path) -> str:
    """Return a folder's name without its precision."""
    for suffix in filter(None, SUFFIXES.values()):
        if folder.name.endswith(suffix):
            return folder.name.removesuffix(suffix)
    return folder.name
