"""``clipcal failures``."""

from __future__ import annotations

from pathlib import Path

import click

from clipcal.commands.common import corpus_option, json_option, print_json, print_table, short_path


@click.command("failures")
@corpus_option
@json_option
def failures_command(corpus_path: Path, as_json: bool) -> None:
    """List the images that could not be embedded, and why.

    They are tried again on every run of: clipcal embed

    \b
    Example:
      clipcal failures --corpus corpus
    """
    from clipcal.index.store import Corpus

    failed = Corpus.open(corpus_path).items("failed")
    if as_json:
        print_json({"failures": [{"uri": i.uri, "reason": i.reason} for i in failed]})
    elif failed:
        print_table(("Image", "Reason"), [(short_path(i.uri), i.reason or "") for i in failed])
        click.echo(f"{len(failed):,} failed. Mend or remove them, then run clipcal embed again.")
    else:
        click.echo("Nothing failed.")
