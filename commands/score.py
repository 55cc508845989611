"""``clipcal score``."""

from __future__ import annotations

from pathlib import Path

import click

from clipcal.commands.common import (
    corpus_option,
    device_option,
    json_option,
    moved_model_option,
    output_option,
    print_json,
    prompt_options,
)


@click.command("score")
@prompt_options
@moved_model_option
@output_option("A .csv or .parquet file.")
@corpus_option
@device_option
@json_option
def score_command(
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Write every image's score in every category.

    A score is not a probability. To decide by it: clipcal calibrate

    \b
    Example:
      clipcal score --prompts moderation -o scores.csv
    """
    from clipcal.calibrate.score_file import write_scores
    from clipcal.calibrate.scoring.under_contract import TextSource, score_with
    from clipcal.index.store import Corpus

    corpus = Corpus.open(corpus_path)
    scored = score_with(corpus, prompts, TextSource(prompt_vectors, model, device))
    write_scores(output, scored)
    if as_json:
        counts = {"images": len(scored.uris), "categories": list(scored.categories)}
        print_json({"scores": str(output), **counts})
        return
    click.echo(
        f"{len(scored.uris):,} images × {len(scored.categories)} categories written to {output}."
    )
