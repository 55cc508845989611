"""``clipcal doctor``."""

from __future__ import annotations

from dataclasses import asdict

import click

from clipcal.commands.common import json_option, print_json, print_table


@click.command("doctor")
@click.option("--model", metavar="BUNDLE", help="The model to time. [default: the built-in one]")
@click.option("--require-gpu", is_flag=True, help="Fail where the model cannot run on a GPU.")
@json_option
def doctor_command(model: str | None, require_gpu: bool, as_json: bool) -> None:
    """Say what runs on this machine: packages, GPU, and the speed of a model.

    \b
    Example:
      clipcal doctor --require-gpu
    """
    from clipcal.models.doctor import examine
    from clipcal.models.registry import find_bundle

    found = examine(find_bundle(model), device="cuda" if require_gpu else "auto")
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        ("Python", f"{found.python} on {found.system}, {found.cores} cores"),
        *((name, number or "not installed") for name, number in found.packages.items()),
        ("GPU", "CUDA runs" if found.gpu is None else f"no: {found.gpu}"),
        ("Model", f"{found.model} on {found.provider}: {found.images_per_second:.0f} images/s"),
    ]
    print_table(("What", "Found"), rows)
