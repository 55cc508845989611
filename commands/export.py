"""``clipcal export``."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from clipcal.commands.common import json_option, print_json, print_table, say
from clipcal.errors import ParityFailure, ProviderError, SourceError

if TYPE_CHECKING:
    from clipcal.commands.decision_check import CalibratedDecisions
    from clipcal.export.bundle_writer import Choice
    from clipcal.export.trials import Trial
    from clipcal.models.bundle import Bundle

MAX_FLIPS = 0.01
_OF_TRIALS = (
    "precision",
    "passed",
    "taken",
    "verdict",
    "provider",
    "arithmetic",
    "images_per_second",
    "min_cosine",
)

_NEEDED = (
    "torch",
    "torchvision",
    "open_clip",
    "timm",
    "huggingface_hub",
    "onnx",
    "onnx_ir",
    "onnxscript",
)
_file = click.Path(path_type=Path, dir_okay=False)


@click.command("export")
@click.argument("name", metavar="NAME[::WEIGHTS]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="BUNDLE",
    help="Folder of the bundle.  [default: where --model NAME finds it]",
)
@click.option("--weights", type=_file, help="A checkpoint on this machine: no download.")
@click.option("--tokenizer", type=_file, help="The model's tokenizer.json: no download.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    default="fp32",
    show_default=True,
    help="fp16 halves the size and is for GPUs (cosine >= 0.999 with torch); int8 is for CPUs and "
    "for images (cosine >= 0.99; sentences, embedded once, stay in fp32); auto tries them on this "
    "machine and takes the fastest that passes.",
)
@click.option("--compact", is_flag=True, help="Store weights as float16 where nothing is lost.")
@click.option("--seed", default=0, show_default=True, help="Of the weights of NAME::random.")
@click.option("--licence", help="Licence of the weights, for the manifest, where it is not known.")
@click.option(
    "--verify",
    "images",
    metavar="IMAGES",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Measure parity on these pictures or folders; may be repeated. For int8 up to 128 of "
    "them, at most half, set the ranges of activations, and the others are measured on.",
)
@click.option(
    "--calibration",
    type=_file,
    help="A calibration fitted with the fp32 bundle of this model: its decisions on the pictures "
    "of --verify must stay what they are.",
)
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="The share of images whose level may be another, in any category of --calibration; "
    f"beyond it no bundle is written.  [default: {MAX_FLIPS}]",
)
@click.option("--force", is_flag=True, help="Replace the bundle that is there.")
@json_option
def export_command(
    name: str,
    out: Path | None,
    weights: Path | None,
    tokenizer: Path | None,
    precision: str,
    compact: bool,
    seed: int,
    licence: str | None,
    images: tuple[Path, ...],
    calibration: Path | None,
    max_flips: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a model bundle (ONNX) from an open_clip model.

    NAME is an architecture of open_clip, WEIGHTS one of its tags (or "random"); or NAME is a JSON
    file with an open_clip configuration. Both towers are compared with torch; where they differ
    by more than 1e-4, or what --precision allows, no bundle is written.

    Without -o each precision has a folder of its own, and --model NAME means the most precise
    one that is there; the last line that is printed names the folder.

    \b
    Example:
      clipcal export ViT-B-32::openai -o vit-b-32
      clipcal export ViT-B-32::laion2b_s34b_b79k --weights open_clip_model.safetensors
      clipcal export ViT-B-32::openai --precision auto --verify photos/ --calibration c.json
    """
    started = time.monotonic()
    _check_calls(images, calibration, max_flips)
    _check_extra()
    decisions = _decisions(calibration, MAX_FLIPS if max_flips is None else max_flips)
    trials: list[Trial] = []
    try:
        # The exporters of torch print as they please; standard output is for the result.
        with contextlib.redirect_stdout(sys.stderr):
            from clipcal.export.bundle_writer import export_bundle

            bundle = export_bundle(
                name,
                out,
                weights=weights,
                tokenizer=tokenizer,
                precision=cast("Choice", precision),
                compact=compact,
                seed=seed,
                licence=licence,
                images=_pictures(images),
                decisions=decisions,
                overwrite=force,
                progress=say,
                tried=trials.append,
            )
    except ParityFailure:
        # What flips tells why: with --json, whose object is for what was written, to people.
        with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
            _print_decisions(decisions, None)
        raise
    _show(bundle, trials, decisions, time.monotonic() - started, as_json)


def _check_calls(
    images: tuple[Path, ...], calibration: Path | None, max_flips: float | None
) -> None:
    if calibration is not None and not images:
        raise click.UsageError("--calibration is applied to pictures: name some with --verify.")
    if max_flips is not None and calibration is None:
        raise click.UsageError(
            "--max-flips is about the decisions of a calibration: name it with --calibration, and "
            "pictures with --verify."
        )


def _decisions(calibration: Path | None, max_flips: float) -> CalibratedDecisions | None:
    if calibration is None:
        return None
    from clipcal.commands.decision_check import CalibratedDecisions

    return CalibratedDecisions(calibration, max_flips)


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise ProviderError(
            f"Export needs {', '.join(missing)}, not installed here: pip install 'clipcal[export]'"
        )


def _pictures(paths: tuple[Path, ...]) -> list[Path]:
    found = [file for path in paths for file in _pictures_in(path)]
    if paths and not found:
        raise SourceError(f"There is no picture in {', '.join(map(str, paths))}.")
    return found


def _pictures_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from clipcal.index.sources import IMAGE_SUFFIXES

    return sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)


def _show(
    bundle: Bundle,
    trials: list[Trial],
    decisions: CalibratedDecisions | None,
    seconds: float,
    as_json: bool,
) -> None:
    if as_json:
        print_json(_as_dict(bundle, trials, decisions, seconds))
        return
    if trials:
        _print_trials(trials, decisions)
    _print_decisions(decisions, bundle.manifest.precision)
    manifest = bundle.manifest
    click.echo(
        f"{bundle.name} is in {bundle.path}: {manifest.dim} dimensions, {manifest.precision}.\n"
        f"{_parity_in_words(bundle)}\n"
        f"Next: clipcal embed photos/ --model {bundle.path}"
    )


def _parity_in_words(bundle: Bundle) -> str:
    parity = bundle.manifest.parity
    if bundle.manifest.precision == "int8":
        return (
            f"Its image embeddings have a cosine of at least {parity.visual.min_cosine:.4f} with "
            f"torch's; sentences stay in fp32 and differ by at most "
            f"{parity.textual.max_abs_error:.1e}."
        )
    return (
        f"It differs from torch by at most {parity.visual.max_abs_error:.1e} (images) and "
        f"{parity.textual.max_abs_error:.1e} (sentences); allowed: {parity.tolerance:g}."
    )


def _as_dict(
    bundle: Bundle, trials: list[Trial], decisions: CalibratedDecisions | None, seconds: float
) -> dict[str, Any]:
    manifest = bundle.manifest.model_dump(mode="json")
    kept = ("dim", "precision", "parity", "graphs", "quantisation", "decisions")
    compared = decisions.found if decisions else {}
    return {
        "bundle": str(bundle.path),
        "name": bundle.name,
        "fingerprint": bundle.fingerprint,
        **{key: manifest[key] for key in kept},
        "compared": {precision: asdict(found) for precision, found in compared.items()},
        "trials": [
            {**{key: getattr(each, key) for key in _OF_TRIALS}, "flips": _flips(each, decisions)}
            for each in trials
        ],
        "seconds": round(seconds, 2),
    }


def _flips(trial: Trial, decisions: CalibratedDecisions | None) -> float | None:
    """Return the share of images that flips in the worst category, where it was measured."""
    found = decisions.found.get(trial.precision) if decisions else None
    return None if found is None else found.worst.share.value


def _print_trials(trials: list[Trial], decisions: CalibratedDecisions | None) -> None:
    print_table(
        ("Precision", "By", ">Images/s", ">Cosine", ">Flips", "Verdict"),
        (
            (
                each.precision,
                f"{each.provider}, {each.arithmetic}" if each.provider else "–",
                _number(each.images_per_second, ".1f"),
                _number(each.min_cosine, ".5f"),
                _number(_flips(each, decisions), ".2%"),
                each.verdict,
            )
            for each in trials
        ),
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _print_decisions(decisions: CalibratedDecisions | None, taken: str | None) -> None:
    """Show what was compared: of the precision that was taken, and wherever something flips."""
    if decisions is None:
        return
    from clipcal.commands.decision_check import print_decisions

    for precision, found in decisions.found.items():
        if precision == taken or found.worst.flips:
            print_decisions(precision, found, decisions.max_flips)
