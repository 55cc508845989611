"""``clipcal embed``."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    command_line,
    corpus_option,
    device_option,
    json_option,
    print_json,
    say,
)
from clipcal.commands.progress import progress

if TYPE_CHECKING:
    from clipcal.index.embed import EmbedReport
    from clipcal.index.stages import Stages

_MOST = 0.6  # of all work: then a stage is what to do something about


@click.command("embed")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--model",
    metavar="BUNDLE",
    help="A bundle's folder, or the name of an exported model. "
    "[default: the corpus's own; on a new corpus the built-in one]",
)
@corpus_option
@device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the model.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Threads that read and decode images. [default: one per core]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse images of more pixels, before they are decoded. [default: 100000000]",
)
@click.option(
    "--exact-decode",
    is_flag=True,
    help="On a new corpus: decode and resize as the model's reference does, to the last bit. "
    "[default: large images are reduced the cheap way first]",
)
@click.option("--prune", is_flag=True, help="Mark images whose files have vanished as removed.")
@click.option(
    "--check-content",
    is_flag=True,
    help="Read every file again, even where size and times say that it is unchanged.",
)
@json_option
def embed_command(
    sources: tuple[str, ...],
    model: str | None,
    corpus_path: Path,
    device: str,
    threads: int | None,
    workers: int | None,
    max_pixels: int | None,
    exact_decode: bool,
    prune: bool,
    check_content: bool,
    as_json: bool,
) -> None:
    """Embed every image in SOURCE... that is new or changed.

    A SOURCE is a folder, an image, a glob in quotes, or a .txt file with a path a line. What is
    embedded already, wherever it lies, is not embedded again; an interrupted run goes on where
    it was. Images that cannot be read are listed by: clipcal failures

    \b
    Example:
      clipcal embed photos/ 'more/**/*.jpg' --corpus corpus
    """
    from clipcal.errors import SourceError
    from clipcal.index.embed import EmbedOptions, Progress, embed
    from clipcal.index.sources import discover
    from clipcal.index.store import Corpus
    from clipcal.models.identity import ModelIdentity
    from clipcal.models.preprocess import MAX_PIXELS
    from clipcal.models.registry import find_bundle
    from clipcal.models.session import ImageEncoder, open_image_encoder

    opened = Corpus.open(corpus_path).model if Corpus.exists(corpus_path) else None
    bundle = opened.find_bundle() if opened and model is None else find_bundle(model)
    discovery = discover(sources, allow_missing=prune)
    if opened is None and not (discovery.files or discovery.unreadable):
        raise SourceError(
            f"There is no image in {', '.join(sources)}, so no corpus is made. Name a folder, an "
            "image, a glob in quotes or a .txt file with a path a line: clipcal embed photos/"
        )
    if opened is None and model is None:
        say(
            f"Taking the built-in model ({bundle.name}), made for trying clipcal, not for judging "
            "photographs. For those: clipcal export ViT-B-32::openai, "
            "then --model ViT-B-32::openai"
        )

    ran: dict[str, str | None] = {"provider": None, "arithmetic": None}

    @cache
    def open_encoder() -> ImageEncoder:
        encoder = open_image_encoder(bundle, device=device, threads=threads)
        about = f"{encoder.provider}, {encoder.arithmetic}"
        say(f"Embedding with {bundle.name} on {about}.", quiet=as_json)
        if encoder.note:
            say(encoder.note, quiet=as_json)
        ran.update(provider=encoder.provider, arithmetic=encoder.arithmetic)
        return encoder

    if opened is None:
        open_encoder()  # a model that does not run here must not leave a corpus bound to it
    corpus = Corpus.open_or_create(corpus_path, ModelIdentity.of_bundle(bundle))
    options = EmbedOptions(
        workers or 0,
        max_pixels or MAX_PIXELS,
        prune=prune,
        check_content=check_content,
        exact_decode=exact_decode,
    )
    with progress("Embedding", quiet=as_json) as tell:

        def on_progress(now: Progress) -> None:
            tell(now.done, now.total, now.embedded)

        report = embed(
            corpus, discovery, open_encoder, bundle.manifest.preprocessing, options, on_progress
        )
    for ending, count in sorted(report.passed_over.items()):
        say(f"Passed over {count:,} files ending in {ending}: no images.", quiet=as_json)
    if as_json:
        where = {"corpus": str(corpus_path), "model": bundle.name, **ran}
        print_json({**_counts(report), **where})
    else:
        _show(report, corpus_path, pruned=prune, workers=workers)


def _counts(report: EmbedReport) -> dict[str, object]:
    return {
        "embedded": report.embedded,
        "skipped": report.skipped,
        "failed": report.failed,
        "removed": report.removed,
        "seconds": round(report.seconds, 3),
        "images_per_second": round(report.images_per_second, 2),
        "decoding": report.decoding,
        "stages": {stage: round(spent, 3) for stage, spent in asdict(report.stages).items()},
    }


def _show(report: EmbedReport, corpus_path: Path, *, pruned: bool, workers: int | None) -> None:
    removed = f", {report.removed:,} removed" if pruned else ""
    click.echo(
        f"{report.embedded:,} embedded, {report.skipped:,} skipped (their content is embedded), "
        f"{report.failed:,} failed{removed} in {report.seconds:.1f} s "
        f"({report.images_per_second:.1f} images/s)."
    )
    if report.embedded:
        click.echo(_where_time_went(report.stages, workers))
    if report.failed:
        click.echo(f"See why: {command_line('failures', corpus=corpus_path)}")


def _where_time_went(stages: Stages, workers: int | None) -> str:
    """Each stage's share of the work, and what to do about one that is most of it."""
    shares = stages.shares()
    told = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
    most = [stage for stage, share in shares.items() if share >= _MOST]
    return " ".join(
        [f"Time of all threads: {told}.", *(_advice(stage, workers) for stage in most)]
    ).strip()


def _advice(stage: str, workers: int | None) -> str:
    from clipcal.models.runtimes.cores import allowed_cpus

    cores = allowed_cpus()
    if stage == "read":
        return f"Files come slowly; more threads wait for more of them: --workers {4 * cores}"
    if stage == "decode" and workers is not None and workers < cores:
        return f"Decoding is most of the work, and there are more cores: --workers {cores}"
    if stage == "infer":
        return "The model is most of the work. See what would be faster: clipcal bench"
    return ""
