"""``clipcal labels``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import click

from clipcal.commands.common import (
    command_line,
    corpus_option,
    json_option,
    print_json,
    print_table,
    printable,
    say,
)
from clipcal.commands.labels_export import FORMATS, export_command

if TYPE_CHECKING:
    from clipcal.calibrate.labels.exchange.importing import Imported
    from clipcal.calibrate.labels.exchange.records import Format, Read
    from clipcal.index.judgements import Judgement, Origin

# As in clipcal.calibrate.labels.exchange.records, which loads numpy; a test compares them.
ORIGINS = ("given", "random", "suggested", "flagged", "near", "search")
MOST_NAMED = 5


@click.group("labels")
def labels_command() -> None:
    """Bring labels in and out, and undo what was said.

    The corpus keeps what people judge, beside the labels that it was last calibrated with. Formats:
    csv (any label file; written with a row per image, category and rater), label-studio (JSON and
    JSON_MIN), coco, and imagefolder (Hugging Face's metadata.csv or metadata.jsonl).

    \b
    Example:
      clipcal labels export --format label-studio --images suggested -o tasks.json
    """


labels_command.add_command(export_command)


# --- import -----------------------------------------------------------------------------------


@labels_command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["auto", *FORMATS]),
    default="auto",
    show_default=True,
    help="What the files are; auto tells it from their content.",
)
@click.option(
    "--rater",
    default="file",
    show_default=True,
    metavar="NAME",
    help="Who gave the labels whose rater the file does not name.",
)
@click.option(
    "--origin",
    type=click.Choice(ORIGINS),
    default="given",
    show_default=True,
    help="How raters came to see the images, where the file does not tell. What was seen for its "
    "score (flagged, near, search) backs no guarantee until a draw takes it in.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="What a file of marks (COCO, boxes, lists) does not mark is absent.  "
    "[default: unlabelled]",
)
@click.option(
    "--prompts",
    metavar="SET",
    help="Whose categories and levels to read.  [default: the set of the last calibration]",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@corpus_option
@json_option
def import_command(
    files: tuple[Path, ...],
    file_format: str,
    rater: str,
    origin: Origin,
    exhaustive: bool,
    prompts: str | None,
    dry_run: bool,
    corpus_path: Path,
    as_json: bool,
) -> None:
    """Take in the labels of files, as what their raters say.

    Images are found by path, by name or by the hash of their content. What a rater said before of
    the same image and category is replaced; undo brings it back.

    \b
    Example:
      clipcal labels import project-1.json --dry-run
      clipcal labels import coco.json --exhaustive --rater ann
    """
    from clipcal.calibrate.labels.exchange.files import read_exchange
    from clipcal.calibrate.labels.exchange.importing import import_labels
    from clipcal.calibrate.labels.scale import spoken_levels
    from clipcal.calibrate.labels.sheet import read_bytes
    from clipcal.calibrate.scoring.under_contract import choose_prompt_set
    from clipcal.index.store import Corpus

    if not rater.strip():
        raise click.UsageError("--rater needs a name.")
    corpus = Corpus.open(corpus_path)
    wanted = choose_prompt_set(corpus, prompts)
    categories = [category.name for category in wanted.categories]
    scale = spoken_levels(corpus, categories, wanted.levels)
    found = [
        read_exchange(
            read_bytes(file),
            None if file_format == "auto" else cast("Format", file_format),
            name=str(file),
            categories=categories,
            levels=wanted.levels,
            rater=rater,
            scale=scale,
            origin=origin,
            exhaustive=exhaustive,
        )
        for file in files
    ]
    given = [one for read in found for one in read.given]
    batch = f"import-{uuid4().hex[:8]}"
    done = import_labels(corpus, given, batch=batch, levels=scale, dry_run=dry_run)
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run, "files": _files(files, found)})
        return
    for file, read in zip(files, found, strict=True):
        for note in read.notes:
            say(f"Note: {file}: {note}")
    _print_import(done, corpus_path, dry_run=dry_run)


def _files(files: Sequence[Path], found: Sequence[Read]) -> list[dict[str, object]]:
    return [
        {
            "file": str(file),
            "format": read.format,
            "labels": len(read.given),
            "notes": read.notes,
            "ignored": read.ignored,
        }
        for file, read in zip(files, found, strict=True)
    ]


def _print_import(done: Imported, corpus: Path, *, dry_run: bool) -> None:
    for problem, names in (
        ("are not in the corpus", done.unmatched),
        ("could be several images", [name for name, _ in done.ambiguous]),
        ("have another content than was labelled", done.altered),
        ("have two different labels of one rater, and keep neither", done.torn),
    ):
        if names:
            say(f"Warning: {len(names):,} images {problem}: {_some(names)}.")
    if done.by_name:
        say(f"Note: {len(done.by_name):,} images were found by name alone: {_some(done.by_name)}.")
    counts = [(fate, f"{getattr(done, fate):,}") for fate in ("new", "changed", "same")]
    print_table(("Labels", ">Number"), counts)
    if dry_run:
        click.echo("Nothing is written: this was a dry run.")
    elif done.written:
        undo = command_line("labels", "undo", done.batch, corpus=corpus)
        click.echo(f"{done.written:,} labels kept. To take them back: {undo}")
    else:
        click.echo("There was nothing new to keep.")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return printable(", ".join(names[:MOST_NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


# --- undo and history -------------------------------------------------------------------------


@labels_command.command("undo")
@click.argument("batch")
@click.option("--rater", metavar="NAME", help="Undo only what this rater said.")
@corpus_option
@json_option
def undo_command(batch: str, rater: str | None, corpus_path: Path, as_json: bool) -> None:
    """Take back what was said at once, such as an import; what was said before stands again.

    \b
    Example:
      clipcal labels undo import-1a2b3c4d
    """
    from clipcal.calibrate.labels.exchange.importing import undo_import
    from clipcal.index.store import Corpus

    undone = undo_import(Corpus.open(corpus_path), batch, rater=rater)
    if as_json:
        print_json({"batch": batch, "undone": len(undone)})
    elif undone:
        click.echo(f"{len(undone):,} labels of {batch} are undone.")
    else:
        click.echo(f"{batch} is undone already.")


@labels_command.command("history")
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="At most so many batches.",
)
@click.option("--rater", metavar="NAME", help="Only what this rater said.")
@corpus_option
@json_option
def history_command(number: int, rater: str | None, corpus_path: Path, as_json: bool) -> None:
    """List what was said, batch by batch, the newest first.

    \b
    Example:
      clipcal labels history --rater ann
    """
    from clipcal.calibrate.labels.exchange.importing import journal
    from clipcal.index.store import Corpus

    said = journal(Corpus.open(corpus_path), rater)
    found = list(islice(_batches(said), number))
    if as_json:
        print_json({"batches": [asdict(one) for one in found]})
        return
    print_table(
        ("Batch", "Rater", "Origin", "Given", ">Labels", ">Undone"),
        (
            (one.batch, one.rater, one.origin, one.given, f"{one.labels:,}", f"{one.undone:,}")
            for one in found
        ),
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was said at once."""

    batch: str
    rater: str
    origin: Origin
    given: str
    labels: int
    undone: int


def _batches(said: Iterator[Judgement]) -> Iterator[_Batch]:
    for batch, some in groupby(said, key=lambda one: one.batch):
        labels = list(some)
        first, undone = labels[0], sum(one.undone is not None for one in labels)
        yield _Batch(batch, first.rater, first.origin, first.given, len(labels), undone)
