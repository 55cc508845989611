"""``clipcal export``."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from clipcal.commands.common import json_option, print_json, say
from clipcal.errors import ProviderError, SourceError

if TYPE_CHECKING:
    from clipcal.models.bundle import Bundle

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
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16 halves the size and is for GPUs; its parity is looser (cosine >= 0.999).",
)
@click.option("--compact", is_flag=True, help="Store weights as float16 where nothing is lost.")
@click.option("--seed", default=0, show_default=True, help="Of the weights of NAME::random.")
@click.option("--licence", help="Licence of the weights, for the manifest, where it is not known.")
@click.option(
    "--verify",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Measure parity on these pictures or folders; may be repeated.",
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
    force: bool,
    as_json: bool,
) -> None:
    """Make a model bundle (ONNX) from an open_clip model.

    NAME is an architecture of open_clip, WEIGHTS one of its tags (or "random"); or NAME is a JSON
    file with an open_clip configuration. Both towers are compared with torch; where they differ
    by more than 1e-4 no bundle is written.

    \b
    Example:
      clipcal export ViT-B-32::openai -o vit-b-32
      clipcal export ViT-B-32::laion2b_s34b_b79k --weights open_clip_model.safetensors
    """
    started = time.monotonic()
    _check_extra()
    chosen = cast(Literal["fp32", "fp16"], precision)
    # The exporters of torch print as they please; standard output is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        from clipcal.export.bundle_writer import default_folder, export_bundle

        bundle = export_bundle(
            name,
            out or default_folder(name, weights, chosen),
            weights=weights,
            tokenizer=tokenizer,
            precision=chosen,
            compact=compact,
            seed=seed,
            licence=licence,
            images=_pictures(images),
            overwrite=force,
            progress=say,
        )
    _show(bundle, time.monotonic() - started, as_json)


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


def _show(bundle: Bundle, seconds: float, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        print_json(
            {
                "bundle": str(bundle.path),
                "name": bundle.name,
                "fingerprint": bundle.fingerprint,
                "dim": manifest.dim,
                "parity": manifest.parity.model_dump(mode="json"),
                "seconds": round(seconds, 2),
            }
        )
        return
    parity = manifest.parity
    click.echo(
        f"{bundle.name} is in {bundle.path}: {manifest.dim} dimensions, {manifest.precision}.\n"
        f"It differs from torch by at most {parity.visual.max_abs_error:.1e} (images) and "
        f"{parity.textual.max_abs_error:.1e} (sentences); allowed: {parity.tolerance:g}.\n"
        f"Next: clipcal embed photos/ --model {bundle.path}"
    )
