"""``clipcal rescore``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    calibration_option,
    corpus_option,
    device_option,
    json_option,
    keep_inputs,
    moved_model_option,
    output_option,
    print_json,
    print_table,
    prompt_options,
    say,
)

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.decisions.overall import Verdicts


@click.command("rescore")
@calibration_option("The calibration to apply.")
@prompt_options
@moved_model_option
@output_option("The CSV file to write.", default="decisions.csv")
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
    or the level; bands and probabilities, where the calibration has them; and the overall
    verdict, where the prompt set has rules for one or one was fitted. A calibration made with
    another model or prompt set is refused. Where the scores of images that came later are unlike
    those at calibration, a warning says so.

    \b
    Example:
      clipcal rescore --calibration calibration.json -o decisions.csv
    """
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.decisions.columns import more_columns
    from clipcal.calibrate.decisions.rescore import count_decisions, decisions, warn_of, write_csv
    from clipcal.calibrate.decisions.verdicts import overall_verdicts
    from clipcal.calibrate.reference import drift_since, warn_of_drift
    from clipcal.calibrate.scoring.under_contract import (
        TextSource,
        prompt_set_of,
        scores_under_contract,
    )
    from clipcal.index.store import Corpus

    keep_inputs(output, calibration, prompt_vectors)
    if output.suffix.lower() != ".csv":
        raise click.UsageError(f"{output} does not end in .csv, which is what is written.")
    contract = Contract.load(calibration)
    corpus = Corpus.open(corpus_path)
    source = TextSource(prompt_vectors, model, device)
    scored = scores_under_contract(corpus, contract, prompts=prompts, source=source)
    decided = decisions(scored.scores, scored.categories, contract)
    verdicts, missing = overall_verdicts(contract, decided, prompt_set_of(contract, prompts))
    columns = more_columns(scored.scores, scored.categories, contract)
    write_csv(decided, scored.uris, output, verdicts.per_image() if verdicts else None, columns)
    drifts = drift_since(contract, corpus, scored)
    warnings = (*contract.warnings, *warn_of(contract), *missing, *warn_of_drift(drifts))
    for warning in warnings:
        say(f"Warning: {warning}", quiet=as_json)
    counts = count_decisions(decided)
    bands = {column.name: column.counts() for column in columns if column.words}
    if as_json:
        written = {"decisions": str(output), "images": len(scored.uris), "flags": counts}
        beside = {"bands": bands, "drift": {name: asdict(one) for name, one in drifts.items()}}
        about = _about(contract, verdicts)
        print_json({**written, **about, **beside, "warnings": list(warnings)})
        return
    _print_counts(counts, contract, verdicts, bands, len(scored.uris))
    click.echo(f"Decisions on {len(scored.uris):,} images written to {output}.")


def _about(contract: Contract, verdicts: Verdicts | None) -> dict[str, object]:
    """What is known of the thresholds, and the images per verdict."""
    overall = verdicts and {"verdicts": verdicts.counts(), "undecided": verdicts.undecided}
    statuses = {
        category: {level: cut.status for level, cut in cuts.items()}
        for category, cuts in contract.categories.items()
    }
    return {"statuses": statuses, "overall": overall}


def _print_counts(
    counts: dict[str, dict[str, int]],
    contract: Contract,
    verdicts: Verdicts | None,
    bands: dict[str, dict[str, int]],
    images: int,
) -> None:
    rows: list[tuple[str, str, str, int]] = [
        (category, level, contract.categories[category][level].status, number)
        for category, levels in counts.items()
        for level, number in levels.items()
    ]
    rows += [(name, band, "", n) for name, found in bands.items() for band, n in found.items()]
    if verdicts is not None:
        rows += [("overall", name, "", number) for name, number in verdicts.counts().items()]
        rows += [("overall", "undecided", "", verdicts.undecided)] if verdicts.undecided else []
    print_table(
        ("Category", "Decision", "Status", ">Images", ">Share"),
        ((*names, f"{number:,}", f"{number / images:.1%}") for *names, number in rows),
    )
