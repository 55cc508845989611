"""What the subcommands share: options, progress, tables, and the two ways to show a result."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from clipcal.calibrate.statistics.bounds import Estimate

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

DEFAULT_CORPUS = "corpus"
CALIBRATION = "calibration.json"
# As in clipcal.calibrate.scoring.rules, which takes long to import; a test compares them.
RULES = ("margin", "mean", "max", "softmax-contrast", "sigmoid", "softmax-all")
# As in clipcal.models.runtimes.choice, which loads ONNX Runtime; a test compares them.
DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
WIDER_THAN_ANY_TABLE = 10_000
FOLDED = 30  # a longer text in a left-aligned column may be folded to this width


def corpus_option(function: Decorated) -> Decorated:
    """Add ``--corpus FOLDER``, passed on as a path."""
    return click.option(
        "--corpus",
        "corpus_path",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: os.environ.get("CLIPCAL_CORPUS", DEFAULT_CORPUS),
        show_default="$CLIPCAL_CORPUS or ./corpus",
        help="Folder of the corpus.",
    )(function)


def command_line(*words: str | Path, corpus: Path) -> str:
    """Write the next command as it can be typed, with the corpus where it is not the usual one."""
    usual = os.environ.get("CLIPCAL_CORPUS", DEFAULT_CORPUS)
    place = () if str(corpus) == usual else ("--corpus", str(corpus))
    return shlex.join(["clipcal", *map(str, words), *place])


def json_option(function: Decorated) -> Decorated:
    """Add ``--json``: one JSON object on standard output and nothing else there."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object, for programs."
    )(function)


def device_option(function: Decorated) -> Decorated:
    """Add ``--device``."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where the model runs; auto takes a working GPU (CUDA), else OpenVINO where it is "
        "installed, else ONNX Runtime on the CPU (cpu), and says which.",
    )(function)


def moved_model_option(function: Decorated) -> Decorated:
    """Add ``--model BUNDLE``, for a corpus whose model lies elsewhere now."""
    return click.option(
        "--model", metavar="BUNDLE", help="Where the corpus's model lies now, if it moved."
    )(function)


def calibration_option(what: str, *, optional: bool = False) -> Callable[[Decorated], Decorated]:
    """Add ``--calibration FILE``; where it is optional, the command decides what none means."""
    return click.option(
        "--calibration",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None if optional else CALIBRATION,
        show_default=not optional,
        help=what,
    )


def output_option(what: str, *, default: str | None = None) -> Callable[[Decorated], Decorated]:
    """Add ``-o/--output FILE``, which must be given where there is no default."""
    return click.option(
        "-o",
        "--output",
        required=default is None,
        type=click.Path(path_type=Path, dir_okay=False),
        default=default,
        show_default=default is not None,
        help=what,
    )


def rule_option(function: Decorated) -> Decorated:
    """Add ``--rule NAME``: how similarities become a score."""
    return click.option(
        "--rule",
        type=click.Choice(RULES),
        default=RULES[0],
        show_default=True,
        help="How similarities become a score; all but margin are for comparison with other work.",
    )(function)


def prompt_vectors_option(function: Decorated) -> Decorated:
    """Add ``--prompt-vectors NPZ``."""
    return click.option(
        "--prompt-vectors",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Text vectors made before (prompts encode), so that no text encoder is needed.",
    )(function)


def prompt_options(function: Decorated) -> Decorated:
    """Add ``--prompts SET`` and ``--prompt-vectors NPZ``."""
    prompts = click.option(
        "--prompts",
        metavar="SET",
        help="A packaged prompt set or a TOML, YAML or JSON file. "
        "[default: the calibration's own, else the set this corpus was last calibrated with]",
    )
    return prompts(prompt_vectors_option(function))


def keep_inputs(output: Path, *inputs: Path | None) -> None:
    """Refuse to write a result over a file that it is made from."""
    for file in inputs:
        if file is not None and output.resolve() == file.resolve():
            raise click.UsageError(f"{output} would be overwritten, but it is read. Name another.")


def keep_what_is_no_page(output: Path) -> None:
    """Refuse to write a page over a file that holds something else."""
    if not output.is_file():
        return
    with output.open("rb") as stream:
        start = stream.read(512).removeprefix(b"\xef\xbb\xbf").strip().lower()
    if start and not start.startswith((b"<!doctype html", b"<html")):
        raise click.UsageError(
            f"{output} would be overwritten, but it is no page (HTML). Name another."
        )


def print_json(result: object) -> None:
    """Print `result` as one JSON object on standard output."""
    click.echo(json.dumps(result, ensure_ascii=True, allow_nan=False))


def say(message: str, *, quiet: bool = False) -> None:
    """Tell the person something on standard error."""
    if not quiet:
        Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table on standard output; columns that start with ``>`` are right-aligned.

    Where the terminal is too narrow for it, each row becomes a block of lines under its first
    cell: nothing is cut off. Only long texts in left-aligned columns are folded.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDER_THAN_ANY_TABLE  # a pipe has no screen to fit
    if _least_width(console, columns, cells) > console.width:
        blocks = (line for row in cells for line in _block(columns, row))
        console.print(Text("\n".join([title, *blocks] if title else blocks)), soft_wrap=True)
    else:
        console.print(_table(columns, cells, title))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        justify: Literal["right", "left"] = "right" if right else "left"
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _least_width(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table must be to show every number and every short text in one piece."""
    folded = [
        [
            cell if column.startswith(">") else set_cell_size(cell, min(cell_len(cell), FOLDED))
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    free = console.options.update(max_width=WIDER_THAN_ANY_TABLE)
    return console.measure(_table(columns, folded, ""), options=free).maximum


def _block(columns: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    """Write a row as its first cell, and a line for each other one that is not blank."""
    yield row[0]
    for column, cell in zip(columns[1:], row[1:], strict=True):
        if cell:
            name = column.lstrip(">")
            yield f"  {name}: {cell}" if name else f"  {cell}"


def interval(estimate: Estimate | None, *, digits: int = 2) -> str:
    """Write a statistic with its interval, or a dash."""
    if estimate is None:
        return "–"
    value, low, high = (
        f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def short_path(uri: str) -> str:
    """Write an image's name for people: relative to the working folder where it lies below it."""
    below = os.getcwd() + os.sep
    return uri.removeprefix(below)


def printable(text: str) -> str:
    """Write out control characters and lone surrogates, so that a name cannot break a line."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
