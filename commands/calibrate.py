"""``clipcal calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    CALIBRATION,
    command_line,
    corpus_option,
    device_option,
    json_option,
    keep_inputs,
    moved_model_option,
    print_json,
    print_table,
    printable,
    prompt_options,
    say,
)
from clipcal.errors import CalibrationError

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract, Cut, Evaluation
    from clipcal.calibrate.labels.table import Match
    from clipcal.calibrate.statistics.bounds import Estimate

MOST_LISTED = 20


def _known_target(text: str) -> str:
    from clipcal.calibrate.thresholds import parse_target

    try:
        return str(parse_target(text))
    except CalibrationError as error:
        raise click.BadParameter(str(error)) from error


@click.command("calibrate")
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="People's labels, as CSV: wide, one class per image, long, or counts.",
)
@prompt_options
@click.option(
    "--target",
    callback=lambda _context, _option, text: _known_target(text),
    default="recall=0.9",
    show_default=True,
    help="recall=R, guaranteed; or f1, the best in the sample.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the guarantee, category by category, and of intervals.",
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the labelled images kept out of the fit, to evaluate it on.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the hold-out.")
@moved_model_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CALIBRATION,
    show_default=True,
    help="The calibration to write.",
)
@corpus_option
@device_option
@json_option
def calibrate_command(
    labels: Path,
    prompts: str | None,
    prompt_vectors: Path | None,
    target: str,
    confidence: float,
    holdout: float,
    seed: int,
    model: str | None,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Fit a threshold per category, and per level, to human labels.

    Images in the label file are found by path, name, stem or SHA-256. Where there are too few
    positives for the guarantee, the table says how many more it takes.

    \b
    Example:
      clipcal calibrate --labels human.csv --prompts moderation --target recall=0.9
      clipcal calibrate --labels human.csv --target f1 --holdout 0.5
    """
    from clipcal.calibrate.workflow import CalibrationPlan, TextSource, calibrate_corpus
    from clipcal.index.store import Corpus

    keep_inputs(output, labels, prompt_vectors)
    corpus = Corpus.open(corpus_path)
    done = calibrate_corpus(
        corpus,
        labels,
        prompts=prompts,
        source=TextSource(prompt_vectors, model, device),
        plan=CalibrationPlan(target, confidence, holdout, seed),
    )
    done.contract.save(output)
    done.keep(corpus)  # only now: a file that cannot be written leaves the corpus as it was
    for note in done.notes:
        say(f"Note: {note}", quiet=as_json)
    _list_unmatched(done.match, labels, quiet=as_json)
    if as_json:
        print_json({**_result(done.contract, done.match, done.notes), "calibration": str(output)})
        return
    _print_cuts(done.contract)
    if done.contract.holdout is not None:
        _print_holdout(done.contract.holdout)
    following = command_line("rescore", "--calibration", output, corpus=corpus_path)
    click.echo(f"\nWritten to {output}. Apply it: {following}")


def _result(contract: Contract, match: Match, notes: tuple[str, ...]) -> dict[str, object]:
    kept_out = {"created", "clipcal", "format_version", "categories"}
    return {
        "categories": {
            category: {level: cut.model_dump(mode="json") for level, cut in cuts.items()}
            for category, cuts in contract.categories.items()
        },
        **contract.model_dump(mode="json", exclude=kept_out),
        "unmatched": list(match.unmatched),
        "ambiguous": {image: list(uris) for image, uris in match.ambiguous},
        "notes": list(notes),
    }


def _list_unmatched(match: Match, labels: Path, *, quiet: bool) -> None:
    """Tell every row that found no image, or several; a long list is cut, with its length."""
    if match.unmatched:
        named = [f"  {printable(image)}" for image in match.unmatched[:MOST_LISTED]]
        more = len(match.unmatched) - len(named)
        tail = [f"  and {more:,} more (--json lists all)"] if more else []
        head = f"{len(match.unmatched):,} images in {labels} are not in the corpus:"
        say("\n".join([head, *named, *tail]), quiet=quiet)
    for image, uris in match.ambiguous[:MOST_LISTED]:
        say(f"{image} in {labels} could be any of: {', '.join(uris)}", quiet=quiet)
    if len(match.ambiguous) > MOST_LISTED:
        more = len(match.ambiguous) - MOST_LISTED
        say(f"and {more:,} more such images (--json lists all)", quiet=quiet)


def _print_cuts(contract: Contract) -> None:
    rows = [
        (
            category,
            *(() if _is_binary(contract) else (level,)),
            cut.status,
            "" if cut.threshold is None else f"{cut.threshold:.4f}",
            f"{cut.positives:,} of {cut.n:,}",
            show(cut.recall),
            show(cut.precision),
            "" if cut.flags is None else f"{cut.flags:,}",
        )
        for category, level, cut in _cuts(contract)
    ]
    level = () if _is_binary(contract) else ("Level",)
    columns = ("Status", ">Threshold", ">Positives", ">Recall", ">Precision", ">Flags")
    title = f"Target {contract.target} at {contract.confidence:.0%} confidence; flags in the corpus"
    print_table(("Category", *level, *columns), rows, title=title)
    for category, level_name, cut in _cuts(contract):
        name = category if _is_binary(contract) else f"{category}, {level_name}"
        click.echo(f"{name}: {cut.guarantee or cut.next_step}")


def _print_holdout(held: Evaluation) -> None:
    rows = [
        (
            category,
            level,
            f"{one.positives:,} of {one.n:,}",
            f"{one.flags:,}",
            *(show(rate) for rate in (one.recall, one.precision, one.f1)),
        )
        for category, levels in held.categories.items()
        for level, one in levels.items()
    ]
    columns = ("Category", "Level", ">Positives", ">Flags", ">Recall", ">Precision", ">F1")
    macro = "none" if held.macro_f1 is None else f"{held.macro_f1:.3f}"
    print_table(columns, rows, title=f"On {held.images:,} labelled images kept out of the fit")
    click.echo(f"Macro F1 over {held.macro_over} cuts: {macro}")


def _cuts(contract: Contract) -> list[tuple[str, str, Cut]]:
    return [
        (category, level, cut)
        for category, cuts in contract.categories.items()
        for level, cut in cuts.items()
    ]


def _is_binary(contract: Contract) -> bool:
    return len(contract.levels) == 2


def show(estimate: Estimate | None) -> str:
    """Write a rate with its interval."""
    if estimate is None:
        return ""
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"
