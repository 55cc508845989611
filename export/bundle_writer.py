"""From a model's name to a finished bundle, or to nothing at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

import clipcal
from clipcal.errors import BundleError
from clipcal.export import parity
from clipcal.export.graph import OPSET, compact_weights, export_graph
from clipcal.export.openclip import ImageTower, LoadedModel, TextTower, halved, load, resolve
from clipcal.export.tokenizer_file import build_tokenizer, check_ids
from clipcal.models.bundle import (
    MANIFEST,
    TEXTUAL,
    TOKENIZER,
    VISUAL,
    Bundle,
    Manifest,
    Parity,
    fingerprint_of,
    sha256_file,
)
from clipcal.models.registry import HALF_SUFFIX, bundle_home

Precision = Literal["fp32", "fp16"]
GRAPH_SUFFIXES = (".onnx", ".data")
_TOOLS = ("torch", "open_clip_torch", "timm", "onnx", "onnxscript", "tokenizers")


def default_folder(name: str, weights: Path | None = None, precision: Precision = "fp32") -> Path:
    """Return where a bundle goes when no folder is named: where its name is looked up.

    Parameters
    ----------
    name : str
        As for :func:`export_bundle`.
    weights : pathlib.Path, optional
        As for :func:`export_bundle`.
    precision : {"fp32", "fp16"}
        As for :func:`export_bundle`; either has a folder of its own.

    Returns
    -------
    pathlib.Path
        A folder below :func:`clipcal.models.registry.bundle_home`.
    """
    folder = resolve(name, weights).name.folder
    return bundle_home() / (folder + HALF_SUFFIX if precision == "fp16" else folder)


def export_bundle(
    name: str,
    out: Path,
    *,
    weights: Path | None = None,
    tokenizer: Path | None = None,
    precision: Precision = "fp32",
    compact: bool = False,
    seed: int = 0,
    licence: str | None = None,
    images: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Export an open_clip model as a bundle, and check it against torch.

    Parameters
    ----------
    name : str
        Architecture and weights, ``ViT-B-32::openai``; ``::random`` for random weights; or a
        JSON file with an open_clip configuration.
    out : pathlib.Path
        The bundle's folder. It appears whole or not at all.
    weights : pathlib.Path, optional
        A checkpoint (``.pt``, ``.bin``, ``.safetensors``, OpenAI's TorchScript) instead of a
        download.
    tokenizer : pathlib.Path, optional
        A ``tokenizer.json`` instead of the one that the configuration names.
    precision : {"fp32", "fp16"}
        Of weights and arithmetic. The graphs take uint8 and return float32 either way.
    compact : bool
        Store weights as float16 where that loses nothing (see
        :func:`clipcal.export.graph.compact_weights`).
    seed : int
        Seed of random weights.
    licence : str, optional
        Licence of the weights, where it is not known from their publisher.
    images : sequence of pathlib.Path
        Pictures to measure parity on; some are drawn if there are none.
    overwrite : bool
        Replace the bundle that `out` holds.
    progress : callable, optional
        Told each step, as one line of text.

    Returns
    -------
    Bundle
        The bundle, opened.

    Raises
    ------
    BundleError
        If the name is unknown, weights or tokenizer cannot be had or do not fit, or `out` is
        taken.
    ParityFailure
        If a graph differs from torch by more than 1e-4 (fp16: 1e-2, or a cosine below 0.999).
    """
    say = progress or (lambda _: None)
    _check_target(out, overwrite)
    source = resolve(name, weights)
    say(f"Loading {source.name}")
    loaded = load(source, seed)
    config = loaded.text_config
    ids = build_tokenizer(config, loaded.context_length, tokenizer, str(loaded.name))
    check_ids(ids, int(config.get("vocab_size", 49408)), str(loaded.name))
    with _new_folder(out) as folder:
        ids.save(str(folder / TOKENIZER), pretty=False)
        _write_graphs(loaded, folder, precision, compact, say)
        say("Measuring parity with torch")
        found = parity.measure(
            loaded, ids, folder / VISUAL, folder / TEXTUAL, precision=precision, images=images
        )
        _write_manifest(loaded, folder, precision, found, licence or loaded.licence)
    return Bundle.load(out)


def _write_graphs(
    loaded: LoadedModel,
    folder: Path,
    precision: Precision,
    compact: bool,
    say: Callable[[str], None],
) -> None:
    source = halved(loaded) if precision == "fp16" else loaded
    towers: list[tuple[str, str, nn.Module, Tensor]] = [
        (VISUAL, "pixels", ImageTower(source), _example_pixels(loaded)),
        (TEXTUAL, "tokens", TextTower(source), _example_tokens(loaded)),
    ]
    for file, input_name, tower, example in towers:
        say(f"Exporting {file}")
        export_graph(tower, example, input_name, folder / file)
        if compact:
            done, large = compact_weights(folder / file)
            say(f"Stored {done} of {large} weights of {file} as float16 without loss")


def _example_pixels(loaded: LoadedModel) -> Tensor:
    shape = (2, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    return torch.zeros(shape, dtype=torch.uint8)


def _example_tokens(loaded: LoadedModel) -> Tensor:
    return torch.zeros((2, loaded.context_length), dtype=torch.long)


def _write_manifest(
    loaded: LoadedModel, folder: Path, precision: Precision, found: Parity, licence: str | None
) -> None:
    manifest = Manifest(
        name=str(loaded.name),
        dim=_dim(loaded),
        preprocessing=loaded.preprocessing,
        context_length=loaded.context_length,
        logit_scale=loaded.logit_scale,
        logit_bias=loaded.logit_bias,
        precision=precision,
        opset=OPSET,
        architecture=loaded.architecture,
        weights_sha256=loaded.weights_sha256,
        licence=licence,
        parity=found,
        tools={"clipcal": clipcal.__version__, **{tool: version(tool) for tool in _TOOLS}},
        files={file.name: sha256_file(file) for file in sorted(folder.iterdir())},
        fingerprint="",
    )
    manifest = manifest.model_copy(update={"fingerprint": fingerprint_of(manifest)})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


@torch.no_grad()
def _dim(loaded: LoadedModel) -> int:
    return int(TextTower(loaded)(_example_tokens(loaded)).shape[1])


# --- the folder -------------------------------------------------------------------------------


def _check_target(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, before the long work rather than after it."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise BundleError(f"{out} holds something that is not a bundle. Name another: -o FOLDER")
    if not overwrite:
        raise BundleError(f"{out} is a bundle already. Replace it with --force, or name another.")


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its place on success and vanishes otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{os.getpid()}.new"
    folder.mkdir()
    try:
        yield folder
        _put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, out: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    _carry_over(out, folder)
    old = folder.with_suffix(".old")
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:  # an interrupt from the keyboard too
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _carry_over(out: Path, folder: Path) -> None:
    """Keep what people laid beside the bundle that is replaced, such as the model's card."""
    for file in out.iterdir():
        stale = file.suffix in GRAPH_SUFFIXES or (folder / file.name).exists()
        if file.is_file() and not stale:
            shutil.copy2(file, folder / file.name)
