"""``clipcal demo``."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import time
from pathlib import Path
from typing import Any

import click

from clipcal.commands.common import json_option, print_json, say
from clipcal.commands.progress import progress


@click.command("demo")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="clipcal-demo",
    show_default=True,
    help="Folder for pictures, corpus, calibration and report.",
)
@click.option("--scenes", type=click.IntRange(150), default=600, show_default=True)
@click.option("--seed", type=int, default=2026, show_default=True)
@json_option
@click.pass_context
def demo_command(
    context: click.Context, folder: Path, scenes: int, seed: int, as_json: bool
) -> None:
    """Do the main job from nothing, offline: pictures in, calibrated decisions out.

    Draws scenes, simulates three raters who label most of them, and then runs the commands of
    a normal day, each of which it shows. Run twice, it embeds nothing again.

    \b
    Example:
      clipcal demo --out clipcal-demo
    """
    from clipcal.demo.material import Material, prepare
    from clipcal.demo.tour import tour

    started = time.perf_counter()
    material = Material(scenes=scenes, labelled=scenes * 3 // 4, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    with progress("Drawing scenes", quiet=as_json) as tell:
        drawn = prepare(folder, material, tell)
    _explain(folder, material.labelled, scenes, drawn, quiet=as_json)
    results = {}
    for number, stop in enumerate(tour(folder), start=1):
        if as_json:
            results[f"{number}_{stop.arguments[0]}"] = _run_for_json(context, stop.arguments)
        else:
            say(f"\n{number}. {stop.why}\n   $ clipcal {shlex.join(stop.arguments)}")
            _run(context, stop.arguments)
    seconds = time.perf_counter() - started
    if as_json:
        report = str(folder / "report.html")
        print_json({"steps": results, "seconds": round(seconds, 1), "report": report})
    else:
        say(f"\nDone in {seconds:.0f} s. Open the report: {folder / 'report.html'}")
        say(f"Or review, label and move thresholds in the browser: {_serve(folder)}")


def _serve(folder: Path) -> str:
    from clipcal.demo.tour import CORPUS

    files = ("--corpus", folder / CORPUS, "--calibration", folder / "calibration.json")
    return shlex.join(["clipcal", "serve", *map(str, files)])


def _explain(folder: Path, labelled: int, scenes: int, drawn: bool, *, quiet: bool) -> None:
    verb = "Drew" if drawn else "Found, drawn before,"
    say(
        f"{verb} {scenes} scenes in {folder / 'images'} and the labels of three SIMULATED raters, "
        f"who overlook and imagine things, for {labelled} of them in {folder / 'human.csv'}.",
        quiet=quiet,
    )


def _run(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run one subcommand as if it had been typed."""
    group = context.find_root().command
    assert isinstance(group, click.Group)  # the root is the application itself
    command = group.get_command(context, arguments[0])
    assert command is not None  # the tour names commands that exist; a test runs them all
    name = f"clipcal {arguments[0]}"
    command.main(args=list(arguments[1:]), prog_name=name, standalone_mode=False)


def _run_for_json(context: click.Context, arguments: tuple[str, ...]) -> Any:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        _run(context, (*arguments, "--json"))
    return json.loads(output.getvalue())
