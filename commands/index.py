"""``clipcal index``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import click

from clipcal.commands.common import corpus_option, json_option, print_json


@click.command("index")
@click.option(
    "--kind",
    type=click.Choice(["auto", "flat", "ivf", "hnsw"]),
    default="auto",
    show_default=True,
    help="flat is exact; ivf and hnsw are faster on large corpora, their recall is measured.",
)
@click.option("--rebuild", is_flag=True, help="Build it anew even where it could be extended.")
@corpus_option
@json_option
def index_command(kind: str, rebuild: bool, corpus_path: Path, as_json: bool) -> None:
    """Build the index of nearest neighbours, or bring it up to the corpus.

    What is new is added; the index is only built anew when it cannot be extended.

    \b
    Example:
      clipcal index --kind hnsw
    """
    from clipcal.index.neighbours import refresh_index
    from clipcal.index.store import Corpus

    wanted = None if kind == "auto" else cast(Literal["flat", "ivf", "hnsw"], kind)
    card = refresh_index(Corpus.open(corpus_path), kind=wanted, rebuild=rebuild)
    if as_json:
        print_json(card.model_dump(mode="json"))
        return
    exact = "exact" if card.kind == "flat" else f"recall@10 {card.recall_at_10:.3f} as measured"
    click.echo(f"The index ({card.kind}, {exact}) holds {card.rows:,} embeddings.")
