"""``clipcal suggest``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

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
    print_table,
    prompt_options,
    say,
    short_path,
)
from clipcal.commands.reviewed import export_then_calibrate, judged_images

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.sampling.suggest import Drawn, Method

MOST_LISTED = 40


@click.command("suggest")
@click.option(
    "-n",
    "--images",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="How many images to label.",
)
@click.option(
    "--category", default="", metavar="NAME", help="Label in one category. [default: all]"
)
@calibration_option(
    f"Whose thresholds to look near.  [default: {CALIBRATION}, where there is one]", optional=True
)
@click.option(
    "--audit",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share drawn uniformly at random: of what is suggested only these back a guarantee.",
)
@click.option(
    "--method",
    type=click.Choice(["importance", "stratified"]),
    help="How the others are picked: near thresholds, or over all scores.  "
    "[default: importance, where there is a threshold]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw.")
@prompt_options
@moved_model_option
@output_option("The sheet to fill in; it must not exist yet.", default="to_label.csv")
@corpus_option
@device_option
@json_option
def suggest_command(
    images: int,
    category: str,
    calibration: Path | None,
    audit: float,
    method: Method | None,
    seed: int,
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Name images to label next.

    One part is an audit sample, drawn uniformly. The other is picked where a label tells most,
    each image with a known probability, which the corpus keeps: calibrate weights by it. The
    sheet has an empty column per category and its rows are shuffled, so that whoever stops half
    way has labelled a random half.

    \b
    Example:
      clipcal suggest -n 40
      clipcal suggest -n 200 --category Violence --audit 1 -o round2.csv
    """
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.sampling.drawn import draw_until_kept
    from clipcal.calibrate.sampling.suggest import Wish, suggest
    from clipcal.calibrate.scoring.under_contract import (
        TextSource,
        score_with,
        scores_under_contract,
    )
    from clipcal.index.store import Corpus

    named = calibration or Path(CALIBRATION)
    keep_inputs(output, named, prompt_vectors)
    corpus = Corpus.open(corpus_path)
    source = TextSource(prompt_vectors, model, device)
    contract = Contract.load(named) if calibration is not None or named.exists() else None
    if contract is None:
        scored = score_with(corpus, prompts, source)
    else:
        scored = scores_under_contract(corpus, contract, prompts=prompts, source=source)
    wish = Wish(images, category, audit, method, seed)
    first, judged = not corpus.labels(), judged_images(corpus) > 0
    drawn, number = draw_until_kept(
        lambda: suggest(corpus, scored, contract, wish), lambda made: made.keep(corpus, output)
    )
    notes = _notes(drawn, contract, images)
    for note in notes:
        say(note, quiet=as_json)
    if as_json:
        print_json({**_result(drawn, notes), "round": number, "output": str(output)})
        return
    _print_suggestions(drawn)
    click.echo(f"{len(drawn.suggestions):,} images to label (round {number}) written to {output}.")
    click.echo(_next_step(output, corpus_path, contract, first=first, judged=judged))


def _result(drawn: Drawn, notes: list[str]) -> dict[str, object]:
    audit = sum(one.audit for one in drawn.suggestions)
    return {
        "suggestions": [asdict(one) for one in drawn.suggestions],
        "audit": audit,
        "picked": len(drawn.suggestions) - audit,
        "known": drawn.known,
        "pending": drawn.pending,
        "frame": drawn.frame,
        "method": drawn.method,
        "seed": drawn.wish.seed,
        "categories": list(drawn.categories),
        "notes": notes,
    }


def _notes(drawn: Drawn, contract: Contract | None, images: int) -> list[str]:
    """What to know before labelling."""
    notes = []
    if drawn.pending:
        notes.append(
            f"Warning: {drawn.pending:,} of the images suggested before have no label yet, and are "
            f"not suggested again. Label them and run clipcal calibrate; estimates do without them "
            f"until then."
        )
    if drawn.known:
        notes.append(
            f"Note: labelled or suggested before, so that no new label is needed: {drawn.known:,} "
            f"of the images drawn."
        )
    if len(drawn.suggestions) < images and drawn.exhausted:
        notes.append(
            f"Note: no more than {len(drawn.suggestions):,} images are neither labelled nor "
            f"suggested."
        )
    return notes + _needs(drawn, contract)


def _needs(drawn: Drawn, contract: Contract | None) -> list[str]:
    """What the guarantees that were asked for still need."""
    if contract is None:
        return []
    audit = sum(one.audit for one in drawn.suggestions)
    return [
        f"{category}{'' if len(contract.levels) == 2 else f', {level}'}: a guarantee of "
        f"{cut.objective} needs about {cut.further_labels:,} more labelled images, drawn "
        f"uniformly (--audit 1); of these here {audit:,} are."
        for category in drawn.categories
        for level, cut in contract.categories.get(category, {}).items()
        if cut.further_labels
    ]


def _print_suggestions(drawn: Drawn) -> None:
    several = len(drawn.categories) > 1
    rows = [
        (
            short_path(one.image),
            *((one.category,) if several else ()),
            f"{one.score:.4f}",
            "" if one.threshold is None else f"{one.threshold:.4f}",
            "audit" if one.audit else "picked",
            f"{one.inclusion:.2g}",
        )
        for one in drawn.suggestions[:MOST_LISTED]
    ]
    category = ("Category",) if several else ()
    print_table(("Image", *category, ">Score", ">Threshold", "Why", ">Inclusion"), rows)
    if len(drawn.suggestions) > MOST_LISTED:
        click.echo(f"and {len(drawn.suggestions) - MOST_LISTED:,} more")


def _next_step(
    output: Path, corpus: Path, contract: Contract | None, *, first: bool, judged: bool = False
) -> str:
    answers = (
        "yes or no" if contract is None or len(contract.levels) == 2 else ", ".join(contract.levels)
    )
    fill = f"Fill in every cell ({answers}; a blank is unknown)"
    if judged:  # no label file that was calibrated with has what raters said since
        return f"{fill}, then run: {export_then_calibrate(corpus, output)}"
    if first:
        return f"{fill}, then run: {command_line('calibrate', '--labels', output, corpus=corpus)}"
    # Whoever labelled in a long file cannot add the rows of a sheet, which is wide, to it.
    labels = contract.labels.name if contract is not None else "FILE.csv"
    files = [word for name in labels.split(", ") for word in ("--labels", name)]
    following = command_line("calibrate", *files, "--labels", output, corpus=corpus)
    return f"{fill}, then run: {following}"
