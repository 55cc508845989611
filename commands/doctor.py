"""``clipcal doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import json_option, print_json, print_table

if TYPE_CHECKING:
    from clipcal.models.doctor import Examination, Timed


@click.command("doctor")
@click.option("--model", metavar="BUNDLE", help="The model to time. [default: the built-in one]")
@click.option("--require-gpu", is_flag=True, help="Fail where the model cannot run on a GPU.")
@json_option
def doctor_command(model: str | None, require_gpu: bool, as_json: bool) -> None:
    """Say what runs on this machine: packages, GPU, and a model's speed on every run time.

    \b
    Example:
      clipcal doctor
      clipcal doctor --model ViT-B-32-quickgelu --require-gpu
    """
    from clipcal.models.doctor import examine
    from clipcal.models.registry import find_bundle

    found = examine(find_bundle(model), device="cuda" if require_gpu else "auto")
    if as_json:
        print_json(asdict(found))
    else:
        print_table(("What", "Found"), _rows(found))


def _rows(found: Examination) -> Iterator[tuple[str, str]]:
    yield "Python", f"{found.python} on {found.system}, {found.cores} cores"
    yield "Processor", ", ".join((found.processor, *found.cpu_features))
    for package, number in found.packages.items():
        yield package, number or "not installed"
    if found.openvino:
        yield "OpenVINO computes", ", ".join(found.openvino)
    for each in found.run_times:
        yield f"--device {each.device}", _written(each)
    speed = f"{found.images_per_second:.0f} images/s"
    yield "Model", f"{found.model} on {found.provider}: {speed}"
    if found.note:
        yield "Note", found.note


def _written(timed: Timed) -> str:
    if timed.images_per_second is None:
        return f"no: {timed.missing}"
    batches = "1 batch" if timed.streams == 1 else f"{timed.streams} batches"
    return f"{timed.images_per_second:.0f} images/s, {timed.arithmetic}, {batches} at once"
