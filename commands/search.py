"""``clipcal search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    calibration_option,
    corpus_option,
    device_option,
    json_option,
    moved_model_option,
    print_json,
    print_table,
    say,
    short_path,
)
from clipcal.errors import CorpusBusy

if TYPE_CHECKING:
    from clipcal.calibrate.decisions.flagged import FlaggedSearch
    from clipcal.index.neighbours import Neighbour
    from clipcal.index.queries import Vector
    from clipcal.index.store import Corpus


@click.command("search")
@click.option("--image", metavar="FILE", help="Find what looks like this image.")
@click.option("--text", metavar="SENTENCE", help="Find what this sentence describes.")
@click.option(
    "--flagged", metavar="CATEGORY", help="Find unflagged images near those that were flagged."
)
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many to find.")
@calibration_option("The thresholds that say what is flagged (with --flagged).")
@moved_model_option
@click.option(
    "--prompt-vectors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Text vectors in which the sentence is looked up, or with which flags are computed.",
)
@corpus_option
@device_option
@json_option
def search_command(
    image: str | None,
    text: str | None,
    flagged: str | None,
    k: int,
    calibration: Path,
    model: str | None,
    prompt_vectors: Path | None,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Find the images nearest to an image, a sentence, or what a calibration flagged.

    With --flagged, images that are flagged themselves are left out: what is found is what the
    threshold may have missed.

    \b
    Example:
      clipcal search --image photos/one.jpg -k 5
      clipcal search --text "a glass of beer"
      clipcal search --flagged Violence
    """
    from clipcal.index.neighbours import refresh_index
    from clipcal.index.store import Corpus

    if sum(way is not None for way in (image, text, flagged)) != 1:
        raise click.UsageError("Give exactly one of --image, --text and --flagged.")
    if text is not None and not text.strip():
        raise click.UsageError('--text is empty. Write: --text "a glass of beer"')
    corpus = Corpus.open(corpus_path)
    try:
        refresh_index(corpus)
    except CorpusBusy:
        say("Another clipcal is writing to the corpus: its newest images are not searched.")
    if flagged is not None:
        found = _near_flagged(corpus, flagged, k, calibration, prompt_vectors, model, device)
        _show_flagged(found, flagged, as_json)
        return
    if image is not None:
        query = _image_query(corpus, image, model, device)
    else:
        query = _text_query(corpus, str(text), model, prompt_vectors, device)
    _show(_nearest(corpus, query, k), as_json)


def _near_flagged(
    corpus: Corpus,
    category: str,
    k: int,
    calibration: Path,
    prompt_vectors: Path | None,
    model: str | None,
    device: str,
) -> FlaggedSearch:
    # What calibrates takes longer to load than a search takes, which needs none of it.
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.decisions.flagged import near_flagged
    from clipcal.calibrate.scoring.under_contract import TextSource, scores_under_contract

    contract = Contract.load(calibration)
    source = TextSource(prompt_vectors, model, device)
    scored = scores_under_contract(corpus, contract, source=source)
    return near_flagged(corpus, scored, contract, category, k)


def _image_query(corpus: Corpus, image: str, model: str | None, device: str) -> Vector:
    from clipcal.index.queries import image_query
    from clipcal.models.bundle import Preprocessing
    from clipcal.models.session import ImageEncoder, open_image_encoder

    def open_model() -> tuple[ImageEncoder, Preprocessing]:
        bundle = corpus.model.find_bundle(model)
        return open_image_encoder(bundle, device=device), bundle.manifest.preprocessing

    return image_query(corpus, image, open_model)


def _text_query(
    corpus: Corpus, text: str, model: str | None, prompt_vectors: Path | None, device: str
) -> Vector:
    from clipcal.prompts.resolve import sentence_vector

    return sentence_vector(text, corpus.model, file=prompt_vectors, model=model, device=device)


def _nearest(corpus: Corpus, query: Vector, k: int) -> list[Neighbour]:
    from clipcal.index.neighbours import search

    return search(corpus, query[None], k, stale=True)[0]


def _show_flagged(found: FlaggedSearch, category: str, as_json: bool) -> None:
    if as_json:
        results = [
            {"uri": f.uri, "score": round(f.similarity, 6), "near": f.near} for f in found.results
        ]
        print_json({"results": results, "flagged": found.flagged, "category": category})
    elif found.results:
        rows = [
            (f"{f.similarity:.2f}", short_path(f.uri), short_path(f.near)) for f in found.results
        ]
        title = f"Not flagged, but near one of the {found.flagged:,} flagged as {category}"
        print_table((">Score", "Image", "Near"), rows, title=title)
    else:
        click.echo(f"{found.flagged:,} images are flagged as {category}; nothing is near them.")


def _show(found: list[Neighbour], as_json: bool) -> None:
    if as_json:
        print_json({"results": [{"uri": n.uri, "score": round(n.score, 6)} for n in found]})
    elif not found:
        click.echo("Nothing to find: every image of the corpus was removed.")
    else:
        print_table((">Score", "Image"), [(f"{n.score:.2f}", short_path(n.uri)) for n in found])
