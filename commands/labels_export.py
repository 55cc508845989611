"""``clipcal labels export``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from clipcal.commands.common import (
    CALIBRATION,
    calibration_option,
    command_line,
    corpus_option,
    device_option,
    json_option,
    keep_inputs,
    moved_model_option,
    output_option,
    print_json,
    prompt_options,
    say,
)

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.labels.exchange.exporting import Export
    from clipcal.calibrate.labels.exchange.records import Format, Predicted
    from clipcal.calibrate.labels.pool import Names
    from clipcal.calibrate.sampling.queue import ByScore
    from clipcal.calibrate.scoring.corpus_scores import CorpusScores
    from clipcal.calibrate.scoring.under_contract import TextSource
    from clipcal.index.judgements import Origin
    from clipcal.index.store import Corpus
    from clipcal.prompts.promptset import PromptSet

# As in clipcal.calibrate.labels.exchange.records, which loads numpy; a test compares them.
FORMATS = ("csv", "label-studio", "coco", "imagefolder")
SUFFIXES = {".csv": "csv", ".jsonl": "imagefolder"}
SELECTIONS = ("labelled", "suggested", "flagged", "near", "all")


@click.command("export")
@output_option("The file to write.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="What to write.  [default: by the suffix, .csv or .jsonl (imagefolder)]",
)
@click.option(
    "--images",
    "selection",
    type=click.Choice(SELECTIONS),
    default="labelled",
    show_default=True,
    help="Which images: those that have labels; what suggest drew, what is flagged or what lies "
    "near a threshold and has no label yet; or all.",
)
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="At most so many suggested, flagged or near images.",
)
@click.option(
    "--category", "chosen", multiple=True, metavar="NAME", help="In which.  [default: all]"
)
@calibration_option(
    "Whose thresholds flag, and whose decisions Label Studio gets as predictions.  "
    f"[default: {CALIBRATION} for flagged and near, else none]",
    optional=True,
)
@click.option(
    "--prefix",
    metavar="TEXT",
    default="",
    help="Put before each image's path below the common folder, such as "
    "/data/local-files/?d=photos/ for Label Studio.",
)
@click.option(
    "--relative",
    is_flag=True,
    help="In a CSV file, write paths below the common folder.  [default: whole paths]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the labelling configuration of a Label Studio project (XML).",
)
@prompt_options
@moved_model_option
@corpus_option
@device_option
@json_option
def export_command(
    output: Path,
    file_format: str | None,
    selection: str,
    number: int,
    chosen: tuple[str, ...],
    calibration: Path | None,
    prefix: str,
    relative: bool,
    config: Path | None,
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Write images with their labels.

    CSV and Label Studio keep what each rater says; COCO and imagefolder hold the majority's label.
    Calibrating from the CSV file is calibrating from all that the corpus knows.

    \b
    Example:
      clipcal labels export -o reviewed.csv
      clipcal labels export --format label-studio --images flagged -o tasks.json
    """
    from clipcal.calibrate.labels.exchange.exporting import export
    from clipcal.calibrate.labels.exchange.files import write_exchange
    from clipcal.calibrate.labels.exchange.label_studio import labelling_config
    from clipcal.calibrate.scoring.under_contract import TextSource
    from clipcal.index.store import Corpus

    chosen_format = _format(file_format, output, config)
    keep_inputs(output, calibration, prompt_vectors, config)
    corpus = Corpus.open(corpus_path)
    source = TextSource(prompt_vectors, model, device)
    known = _known(corpus, selection, calibration, prompts, source)
    categories = _categories(known.prompt_set, chosen)
    done = export(
        corpus,
        categories,
        known.levels,
        names=_names(corpus, chosen_format, prefix, relative=relative),
        items=_items(corpus, selection, known, categories, number, of_one=len(chosen) == 1),
    )
    predicted = _predicted(known, done, chosen_format)
    data = write_exchange(
        chosen_format, done.pictures, categories, done.levels, predicted=predicted
    )
    _write(output, data)
    if config is not None:
        _write(config, labelling_config(categories, done.levels).encode("utf-8"))
    written = {"output": str(output), "config": None if config is None else str(config)}
    if as_json:
        counts = {"images": len(done.pictures), "labels": done.labels}
        about = {"format": chosen_format, "predictions": predicted is not None}
        print_json({**written, **counts, **about, "notes": done.notes})
        return
    for note in done.notes:
        say(f"Note: {note}")
    click.echo(f"{len(done.pictures):,} images with {done.labels:,} labels written to {output}.")
    _print_next(chosen_format, output, corpus_path, prefix)


@dataclass(frozen=True, slots=True)
class _Known:
    """The prompt set, the levels of the labels, and a calibration with the scores under it."""

    prompt_set: PromptSet
    levels: tuple[str, ...]
    calibrated: tuple[Contract, CorpusScores] | None = None


def _format(named: str | None, output: Path, config: Path | None) -> Format:
    found = named or SUFFIXES.get(output.suffix.lower())
    if found is None:
        raise click.UsageError(
            f"The suffix of {output} does not tell the format. Name it: --format "
            f"{'|'.join(FORMATS)}"
        )
    if config is not None and found != "label-studio":
        raise click.UsageError("--config goes with --format label-studio.")
    return cast("Format", found)


def _known(
    corpus: Corpus,
    selection: str,
    calibration: Path | None,
    prompts: str | None,
    source: TextSource,
) -> _Known:
    """Load the calibration where one is needed, and score the corpus under it."""
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.scoring.under_contract import (
        choose_prompt_set,
        prompt_set_of,
        scores_under_contract,
    )

    if calibration is None and selection not in ("flagged", "near"):
        prompt_set = choose_prompt_set(corpus, prompts)
        return _Known(prompt_set, _levels(corpus, prompt_set, None))
    contract = Contract.load(calibration or Path(CALIBRATION))
    prompt_set = prompt_set_of(contract, prompts)
    scored = scores_under_contract(corpus, contract, prompts=prompts, source=source)
    return _Known(prompt_set, _levels(corpus, prompt_set, contract), (contract, scored))


def _levels(corpus: Corpus, prompt_set: PromptSet, contract: Contract | None) -> tuple[str, ...]:
    from clipcal.calibrate.labels.scale import spoken_levels

    names = [category.name for category in prompt_set.categories]
    return spoken_levels(corpus, names, prompt_set.levels, contract)


def _categories(prompt_set: PromptSet, chosen: Sequence[str]) -> list[str]:
    names = [category.name for category in prompt_set.categories]
    lacking = [name for name in chosen if name not in names]
    if lacking:
        raise click.UsageError(
            f"There is no category {lacking[0]!r}; there are: {', '.join(names)}."
        )
    return [name for name in names if name in chosen] if chosen else names


def _names(corpus: Corpus, file_format: Format, prefix: str, *, relative: bool) -> Names:
    """Decide what the file calls images."""
    from urllib.parse import quote

    from clipcal.calibrate.labels.exchange.naming import relative_names
    from clipcal.index.names import cell_name
    from clipcal.index.roster import roster
    from clipcal.index.texts import ItemTexts

    if file_format == "csv" and not relative and not prefix:
        return cell_name
    ids, rows = roster(corpus)
    uris = list(ItemTexts(corpus, "uri", ids))
    hashed = file_format == "csv" and not prefix
    short = relative_names(uris, list(ItemTexts(corpus, "sha256", ids, rows)) if hashed else None)
    address = "://" in prefix or "?" in prefix
    shown: Callable[[str], str] = quote if address else str
    return lambda uri: prefix + shown(short(uri))


def _items(
    corpus: Corpus,
    selection: str,
    known: _Known,
    categories: Sequence[str],
    number: int,
    *,
    of_one: bool,
) -> dict[int, Origin] | None:
    """Choose the images; None is those that have labels."""
    from clipcal.calibrate.labels.exchange.selecting import (
        every_image,
        images_by_score,
        suggested_images,
    )

    if selection == "all":
        return every_image(corpus)
    if selection == "suggested":
        found = suggested_images(corpus, categories[0] if of_one else "")
        return dict(islice(found.items(), number))
    if selection == "labelled" or known.calibrated is None:
        return None
    contract, scored = known.calibrated
    order = cast("ByScore", selection)
    return images_by_score(corpus, order, scored, contract, categories, number)


def _predicted(known: _Known, done: Export, file_format: Format) -> Predicted | None:
    from clipcal.calibrate.labels.exchange.exporting import predict

    if known.calibrated is None or file_format != "label-studio":
        return None
    contract, scored = known.calibrated
    return predict(scored, contract, done.places, done.categories)


def _write(path: Path, data: bytes) -> None:
    from clipcal.errors import LabelError
    from clipcal.files import writing

    with writing(path, LabelError, "The labels", "clipcal labels export -o FILE") as part:
        part.write_bytes(data)


def _print_next(file_format: Format, output: Path, corpus: Path, prefix: str) -> None:
    if file_format == "csv":
        following = command_line("calibrate", "--labels", output, corpus=corpus)
    else:
        following = command_line("labels", "import", "EXPORTED", corpus=corpus)
    if file_format == "label-studio" and not prefix:
        say("Note: Label Studio shows images by address: --prefix puts one before their paths.")
    click.echo(f"Next: {following}")
