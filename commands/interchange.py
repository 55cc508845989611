"""``clipcal import-vectors`` and ``clipcal export-vectors``."""

from __future__ import annotations

from pathlib import Path

import click

from clipcal.commands.common import corpus_option, json_option, print_json


@click.command("import-vectors")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--model-id", metavar="NAME", help="The name of the model that made the vectors.")
@click.option(
    "--model",
    metavar="BUNDLE",
    help="The bundle of the model that made the vectors, where it is at hand: sentences and "
    "images can then be embedded with it.",
)
@corpus_option
@json_option
def import_vectors_command(
    folder: Path, model_id: str | None, model: str | None, corpus_path: Path, as_json: bool
) -> None:
    """Take vectors made elsewhere into the corpus.

    FOLDER is in clip-retrieval's layout: img_emb/img_emb_*.npy and metadata/metadata_*.parquet.

    \b
    Example:
      clipcal import-vectors embeddings/ --model-id ViT-B-32::openai
    """
    from clipcal.index.interchange import import_vectors, read_dim
    from clipcal.models.identity import ModelIdentity
    from clipcal.models.registry import find_bundle

    if (model_id is None) == (model is None):
        raise click.UsageError("Say whose vectors these are: --model-id NAME or --model BUNDLE.")
    if model_id is not None:
        identity = ModelIdentity.external(model_id, read_dim(folder))
    else:
        identity = ModelIdentity.of_bundle(find_bundle(model))
    report = import_vectors(folder, corpus_path, identity)
    if as_json:
        counts = {"embedded": report.embedded, "skipped": report.skipped, "failed": 0}
        print_json({**counts, "seconds": round(report.seconds, 3)})
        return
    click.echo(
        f"{report.embedded:,} vectors of {identity.name} taken in, {report.skipped:,} were there."
    )


@click.command("export-vectors")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@corpus_option
@json_option
def export_vectors_command(folder: Path, corpus_path: Path, as_json: bool) -> None:
    """Write the embeddings in clip-retrieval's layout.

    \b
    Example:
      clipcal export-vectors embeddings/
    """
    from clipcal.index.interchange import export_vectors
    from clipcal.index.store import Corpus

    count = export_vectors(Corpus.open(corpus_path), folder)
    if as_json:
        print_json({"exported": count, "folder": str(folder)})
        return
    click.echo(f"{count:,} vectors written to {folder}.")
