"""``clipcal rescore``."""

from __future__ import annotations

from pathlib import Path

import click

from clipcal.commands.common import (
    CALIBRATION,
    corpus_option,
    device_option,
    json_option,
    print_json,
    print_table,
    prompt_options,
)


@click.command("rescore")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CALIBRATION,
    show_default=True,
    help="The calibration to apply.",
)
@prompt_options
@click.option("--model", metavar="BUNDLE", help="Where the corpus's model lies now, if it moved.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="decisions.csv",
    show_default=True,
    help="The CSV file to write.",
)
@corpus_option
@device_option
@json_option
def rescore_command(
    calibration: Path,
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Apply a calibration to every image of the corpus.

    The CSV has the image and, per category, its score, the threshold, and the decision: 1 or 0,
    or the level. A calibration made with another model or prompt set is refused.

    \b
    Example:
      clipcal rescore --calibration calibration.json -o decisions.csv
    """
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.rescore import count_decisions, decisions, write_csv
    from clipcal.calibrate.workflow import TextSource, scores_under_contract
    from clipcal.index.store import Corpus

    contract = Contract.load(calibration)
    source = TextSource(prompt_vectors, model, device)
    scored = scores_under_contract(
        Corpus.open(corpus_path), contract, prompts=prompts, source=source
    )
    decided = decisions(scored.scores, scored.categories, contract)
    write_csv(decided, scored.uris, output)
    counts = count_decisions(decided)
    if as_json:
        print_json({"decisions": str(output), "images": len(scored.uris), "flags": counts})
        return
    rows = [
        (category, level, f"{number:,}", f"{number / len(scored.uris):.1%}")
        for category, levels in counts.items()
        for level, number in levels.items()
    ]
    print_table(("Category", "Decision", ">Images", ">Share"), rows)
    click.echo(f"Decisions on {len(scored.uris):,} images written to {output}.")
