"""From a model's name to a finished bundle, or to nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from clipcal.export.candidates import Job
from clipcal.export.folder import check_target, clear_remains, put_in_place, workshop
from clipcal.export.openclip.loading import load
from clipcal.export.openclip.source import resolve
from clipcal.export.pictures import choose_pictures
from clipcal.export.tokenizer_file import build_tokenizer, check_ids
from clipcal.export.trials import DecisionCheck, Trial, checked, fastest
from clipcal.models.bundle import Bundle, Precision
from clipcal.models.registry import SUFFIXES, bundle_home

Choice = Precision | Literal["auto"]


def default_folder(name: str, weights: Path | None = None, precision: Precision = "fp32") -> Path:
    """Return where a bundle goes when no folder is named: where its name is looked up.

    Parameters
    ----------
    name : str
        As for :func:`export_bundle`.
    weights : pathlib.Path, optional
        As for :func:`export_bundle`.
    precision : {"fp32", "fp16", "int8"}
        Each has a folder of its own.

    Returns
    -------
    pathlib.Path
        A folder below :func:`clipcal.models.registry.bundle_home`.
    """
    return bundle_home() / (resolve(name, weights).name.folder + SUFFIXES[precision])


def export_bundle(
    name: str,
    out: Path | None = None,
    *,
    weights: Path | None = None,
    tokenizer: Path | None = None,
    precision: Choice = "fp32",
    compact: bool = False,
    seed: int = 0,
    licence: str | None = None,
    images: Sequence[Path] = (),
    decisions: DecisionCheck | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
    tried: Callable[[Trial], None] | None = None,
) -> Bundle:
    """Export an open_clip model as a bundle, and check it against torch.

    Parameters
    ----------
    name : str
        Architecture and weights, ``ViT-B-32::openai``; ``::random`` for random weights; or a
        JSON file with an open_clip configuration.
    out : pathlib.Path, optional
        The bundle's folder, which appears whole or not at all; by default that of the precision
        (:func:`default_folder`), for ``auto`` of the one that is taken.
    weights : pathlib.Path, optional
        A checkpoint (``.pt``, ``.bin``, ``.safetensors``, OpenAI's TorchScript) instead of a
        download.
    tokenizer : pathlib.Path, optional
        A ``tokenizer.json`` instead of the one that the configuration names.
    precision : {"fp32", "fp16", "int8", "auto"}
        Of weights and arithmetic; in int8 of the image tower's alone. The graphs take uint8 and
        return float32 whatever it is. ``auto`` takes the fastest that passes, a less precise one
        only where it is at least 1.1 times as fast.
    compact : bool
        Store weights as float16 where that loses nothing (see
        :func:`clipcal.export.graph.compact_weights`).
    seed : int
        Seed of random weights.
    licence : str, optional
        Licence of the weights, where it is not known from their publisher.
    images : sequence of pathlib.Path
        Pictures to measure parity on and, for int8, the ranges of activations (never the same
        ones); some are drawn if there are none. Those that cannot be read are left out, what is
        there twice counts once, and of more than 4,000 so many serve.
    decisions : DecisionCheck, optional
        Compares calibrated decisions with those of fp32, on `images`.
    overwrite : bool
        Replace the bundle that `out` holds.
    progress : callable, optional
        Told each step, as one line of text.
    tried : callable, optional
        Told what became of each precision that ``auto`` tried, once it has chosen.

    Returns
    -------
    Bundle
        The bundle, opened.

    Raises
    ------
    BundleError
        If the name is unknown, weights or tokenizer cannot be had or do not fit, the tower cannot
        be quantised, or `out` is taken.
    ImageError
        If there are `images` and none can be read.
    FingerprintMismatch
        If the calibration of `decisions` is for another model.
    ParityFailure
        If a graph differs from torch by more than 1e-4 (fp16: 1e-2, or a cosine below 0.999;
        int8: a cosine below 0.99), or too many decisions flip.
    """
    say = progress or (lambda _: None)
    source = resolve(name, weights)
    plain = bundle_home() / source.name.folder
    clear_remains(out or plain)
    for place in _places(plain, out, precision):
        check_target(place, overwrite)
    say(f"Loading {source.name}")
    loaded = load(source, seed)
    ids = build_tokenizer(loaded.text_config, loaded.context_length, tokenizer, str(loaded.name))
    check_ids(ids, int(loaded.text_config.get("vocab_size", 49408)), str(loaded.name))
    pictures = choose_pictures(images, ranges=precision in ("int8", "auto"), say=say)
    with workshop(out or plain) as folder:
        job = Job(loaded, ids, pictures, folder, compact, licence, say)
        made = _chosen(job, precision, decisions, tried or (lambda _: None))
        target = out or _with_suffix(plain, made.manifest.precision)
        put_in_place(made.path, target)
    return Bundle.load(target)


def _places(plain: Path, out: Path | None, precision: Choice) -> list[Path]:
    """List every folder that the bundle may go to."""
    if out is not None:
        return [out]
    precisions: Sequence[str] = tuple(SUFFIXES) if precision == "auto" else [precision]
    return [_with_suffix(plain, each) for each in precisions]


def _with_suffix(plain: Path, precision: str) -> Path:
    return plain.with_name(plain.name + SUFFIXES[precision])


def _chosen(
    job: Job,
    precision: Choice,
    decisions: DecisionCheck | None,
    tried: Callable[[Trial], None],
) -> Bundle:
    if precision != "auto":
        return checked(job, precision, decisions)
    trials = fastest(job, decisions)
    for trial in trials:
        tried(trial)
    return next(each.bundle for each in trials if each.taken and each.bundle is not None)
