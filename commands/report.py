"""``clipcal report``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from clipcal.commands.common import (
    calibration_option,
    command_line,
    corpus_option,
    device_option,
    json_option,
    keep_inputs,
    keep_what_is_no_page,
    moved_model_option,
    output_option,
    print_json,
    prompt_options,
)


@click.command("report")
@calibration_option("The calibration to report on.")
@prompt_options
@moved_model_option
@click.option("--note", default="", metavar="TEXT", help="A remark to show at the top of the page.")
@output_option("The page to write.", default="report.html")
@corpus_option
@device_option
@json_option
def report_command(
    calibration: Path,
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    note: str,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Write one page about a calibration: what it promises, and the pictures that show it.

    The page is a single file that needs no network. It holds small copies of some of the
    corpus's images; an image whose file is gone or has changed is shown by its name.

    \b
    Example:
      clipcal report -o report.html
      clipcal report --calibration calibration.json --note "Labels of the May audit."
    """
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.report.build import build_report
    from clipcal.calibrate.report.labels import labels_now
    from clipcal.calibrate.report.page import Origin, gather_thumbnails, render, write_page
    from clipcal.calibrate.scoring.under_contract import TextSource, scores_under_contract
    from clipcal.index.store import Corpus

    keep_inputs(output, calibration, prompt_vectors)
    keep_what_is_no_page(output)
    contract = Contract.load(calibration)
    corpus = Corpus.open(corpus_path)
    texts = TextSource(prompt_vectors, model, device)
    scored = scores_under_contract(corpus, contract, prompts=prompts, source=texts)
    labels, source = labels_now(corpus, scored.categories, contract)
    report = build_report(
        scored, labels, contract, unreadable=corpus.count("failed"), source=source
    )
    options = {
        "--calibration": calibration,
        "--prompts": prompts,
        "--prompt-vectors": prompt_vectors,
        "--model": model,
        "--note": note,
        "--output": output,
    }
    typed = [word for option, value in options.items() if value for word in (option, value)]
    origin = Origin(
        note=note,
        calibration=calibration.name,
        sha256=hashlib.sha256(calibration.read_bytes()).hexdigest(),
        command=command_line("report", *typed, corpus=corpus_path),
    )
    write_page(output, render(report, gather_thumbnails(report), origin=origin))
    if as_json:
        counts = {"categories": len(report.categories), "images": report.images}
        print_json({"report": str(output), **counts})
    else:
        click.echo(f"Report on {report.images:,} images written to {output}.")
