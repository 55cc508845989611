"""``clipcal prompts``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipcal.commands.common import (
    command_line,
    corpus_option,
    device_option,
    interval,
    json_option,
    keep_inputs,
    moved_model_option,
    print_json,
    print_table,
    printable,
    prompt_vectors_option,
    say,
)

if TYPE_CHECKING:
    from clipcal.calibrate.prompt_check import PromptCheck
    from clipcal.calibrate.sentence_check import CategoryCheck, SentenceCheck
    from clipcal.index.store import Corpus
    from clipcal.models.session import TextEncoder
    from clipcal.prompts.promptset import PromptSet


@click.group("prompts")
def prompts_command() -> None:
    """List, show, encode and check prompt sets.

    A SET is the name of a packaged one or a file: TOML, YAML or JSON.

    \b
    Example:
      clipcal prompts list
    """


@prompts_command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the prompt sets that come with clipcal.

    \b
    Example:
      clipcal prompts list
    """
    from clipcal.prompts.promptset import load_prompt_set, packaged_sets

    found = [load_prompt_set(name) for name in packaged_sets()]
    if as_json:
        print_json({"prompt_sets": [_summary(prompt_set) for prompt_set in found]})
        return
    rows = [
        (s.name, ", ".join(c.name for c in s.categories), " < ".join(s.levels), _count(s))
        for s in found
    ]
    print_table(("Name", "Categories", "Levels", ">Sentences"), rows)


@prompts_command.command("show")
@click.argument("name", metavar="SET")
@click.option("--toml", "as_toml", is_flag=True, help="Print the set as TOML, to start one's own.")
@json_option
def show_command(name: str, as_toml: bool, as_json: bool) -> None:
    """Show every sentence of a prompt set, and check it.

    \b
    Example:
      clipcal prompts show moderation
      clipcal prompts show moderation --toml > mine.toml
    """
    from clipcal.prompts.promptset import load_prompt_set

    if as_toml and as_json:
        raise click.UsageError("Give one of --toml and --json.")
    prompt_set = load_prompt_set(name)
    if as_json:
        print_json(_in_full(prompt_set))
    elif as_toml:
        click.echo(prompt_set.to_toml(), nl=False)
    else:
        _show(prompt_set)


@prompts_command.command("encode")
@click.argument("name", metavar="SET")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="VECTORS.npz",
    help="Where the arrays prompts, vectors, model_id and fingerprint go.",
)
@click.option(
    "--model",
    metavar="BUNDLE",
    help="A bundle's folder, or the name of an exported model. [default: the built-in one]",
)
@device_option
@json_option
def encode_command(name: str, output: Path, model: str | None, device: str, as_json: bool) -> None:
    """Turn the sentences of a prompt set into text vectors, kept in a file.

    With the file, scores need no text encoder: clipcal calibrate --prompt-vectors VECTORS.npz

    \b
    Example:
      clipcal prompts encode moderation -o vectors.npz --model bundles/vit-b-32
    """
    from clipcal.models.registry import find_bundle
    from clipcal.prompts.encode import encode_set
    from clipcal.prompts.promptset import load_prompt_set

    prompt_set = load_prompt_set(name)
    bundle = find_bundle(model)

    def open_encoder() -> TextEncoder:
        from clipcal.models.session import open_text_encoder

        return open_text_encoder(bundle, device=device)

    vectors = encode_set(prompt_set, bundle.fingerprint, open_encoder, name=bundle.name)
    vectors.save(output)
    say(f"{len(vectors.sentences):,} sentences of {prompt_set.name}: {output}", quiet=as_json)
    if as_json:
        written = {"output": str(output), "vectors": len(vectors.sentences), "dim": vectors.dim}
        model_of = {"model": bundle.name, "fingerprint": bundle.fingerprint}
        print_json(
            written | model_of | {"prompt_set": prompt_set.name, "sha256": prompt_set.sha256}
        )


@prompts_command.command("check")
@click.argument("name", metavar="SET")
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="People's labels, as CSV: wide, one class per image, long, or counts.",
)
@prompt_vectors_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="IMPROVED.toml",
    help="Where the trimmed set goes, if dropping sentences surely pays.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of every interval, category by category.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of folds.")
@moved_model_option
@corpus_option
@device_option
@json_option
def check_command(
    name: str,
    labels: Path,
    prompt_vectors: Path | None,
    output: Path | None,
    confidence: float,
    seed: int,
    model: str | None,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Measure on labelled images which sentences of a prompt set help, and which hurt.

    For every sentence: the area under the ROC curve of its similarity alone (turned around for
    contrasts), the sentence most like it, and what its category's area changes by without it.
    Sentences are then chosen, and the choice is judged on images that it has not seen; it is
    recommended only where it surely pays there.

    \b
    Example:
      clipcal prompts check moderation --labels human.csv
      clipcal prompts check mine.toml --labels human.csv -o trimmed.toml
    """
    from clipcal.calibrate.prompt_check import check_prompts
    from clipcal.calibrate.scoring.under_contract import TextSource
    from clipcal.index.store import Corpus

    if output is not None:
        keep_inputs(output, labels, prompt_vectors, Path(name))
    corpus = Corpus.open(corpus_path)
    source = TextSource(prompt_vectors, model, device)
    checked = check_prompts(corpus, name, labels, source=source, confidence=confidence, seed=seed)
    written = None if output is None else _write_trimmed(checked, output, corpus)
    for note in _notes_on(checked):
        say(f"Note: {note}", quiet=as_json)
    if as_json:
        print_json(_check_in_full(checked) | {"output": str(written) if written else None})
        return
    for category in checked.categories:
        _show_check(category)
    _say_what_follows(checked, name, labels, written, corpus_path)


def _write_trimmed(checked: PromptCheck, output: Path, corpus: Corpus) -> Path | None:
    """Write the trimmed set if there is one; what it was chosen on is remembered before."""
    from clipcal.errors import PromptError
    from clipcal.files import writing

    if checked.trimmed is None:
        return None
    checked.remember(corpus)
    again = "clipcal prompts check SET -o FILE.toml"
    with writing(output, PromptError, "The trimmed set", again) as part:
        part.write_bytes(checked.trimmed.to_toml().encode())
    return output


def _notes_on(checked: PromptCheck) -> list[str]:
    match = checked.match
    notes = list(checked.notes)
    if match.unmatched:
        notes.append(
            f"{len(match.unmatched):,} images in {checked.labels} are not in the corpus, such as "
            f"{printable(match.unmatched[0])} (--json lists all)."
        )
    if match.ambiguous:
        notes.append(
            f"{len(match.ambiguous):,} could be any of several images, such as "
            f"{printable(match.ambiguous[0][0])} (--json lists all)."
        )
    return notes


def _check_in_full(checked: PromptCheck) -> dict[str, Any]:
    trimmed = checked.trimmed
    return {
        "prompt_set": checked.prompt_set.name,
        "sha256": checked.prompt_set.sha256,
        "labels": {"name": checked.labels, "sha256": checked.labels_sha256},
        "images": checked.images,
        "confidence": checked.confidence,
        "seed": checked.seed,
        "categories": {
            each.category: asdict(each)
            | {"sentences": [asdict(s) | {"verdict": s.verdict} for s in each.sentences]}
            for each in checked.categories
        },
        "trimmed": None if trimmed is None else _in_full(trimmed),
        "unmatched": list(checked.match.unmatched),
        "ambiguous": {image: list(uris) for image, uris in checked.match.ambiguous},
        "notes": list(checked.notes),
    }


def _show_check(checked: CategoryCheck) -> None:
    title = f"{checked.category}: {checked.positives:,} of {checked.n:,} images are positive"
    rows = [
        (
            s.side,
            s.sentence,
            interval(s.alone),
            _change(s),
            "" if s.verdict == "unsure" else s.verdict,
            "" if s.nearest is None else f"{s.cosine:.2f} {s.nearest}",
        )
        for s in checked.sentences
    ]
    columns = ("", "Sentence", ">AUC alone", ">Change without it", "", "Nearest")
    print_table(columns, rows, title=title)
    area = f"AUC as it is: {interval(checked.area)}. " if checked.area else ""
    click.echo(f"{area}{checked.advice}\n")


def _change(checked: SentenceCheck) -> str:
    change = checked.change
    if change is None:
        return ""
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def _say_what_follows(
    checked: PromptCheck, name: str, labels: Path, written: Path | None, corpus: Path
) -> None:
    if written is not None:
        words = ("calibrate", "--prompts", written, "--labels", "OTHER.csv")
        click.echo(
            f"Written to {written}. It was chosen on these labels: a guarantee needs labels of "
            f"other images. Calibrate on those: {command_line(*words, corpus=corpus)}"
        )
    elif checked.trimmed is not None:
        again = ("prompts", "check", name, "--labels", labels, "-o", "trimmed.toml")
        click.echo(f"Write the trimmed set: {command_line(*again, corpus=corpus)}")
    else:
        click.echo(f"Keep {checked.prompt_set.name} as it is: no choice of sentences surely pays.")


def _summary(prompt_set: PromptSet) -> dict[str, Any]:
    return {
        "name": prompt_set.name,
        "categories": [category.name for category in prompt_set.categories],
        "levels": list(prompt_set.levels),
        "sentences": len(prompt_set.sentences),
        "sha256": prompt_set.sha256,
    }


def _in_full(prompt_set: PromptSet) -> dict[str, Any]:
    return _summary(prompt_set) | {
        "templates": list(prompt_set.templates),
        "categories": [asdict(category) for category in prompt_set.categories],
        "overall": dict(prompt_set.overall),
    }


def _count(prompt_set: PromptSet) -> str:
    return f"{len(prompt_set.sentences):,}"


def _show(prompt_set: PromptSet) -> None:
    rows = []
    for category in prompt_set.categories:
        title = f"{category.name} ({category.pool})"
        sides = [("prompt", s) for s in category.prompts] + [
            ("against", s) for s in category.against
        ]
        for number, (side, sentence) in enumerate(sides):
            rows.append(("" if number else title, side, sentence))
    print_table(("Category (pool)", "", "Sentence"), rows, title=prompt_set.name)
    click.echo(f"Templates: {', '.join(prompt_set.templates)}")
    if prompt_set.levels:
        click.echo(f"Levels: {' < '.join(prompt_set.levels)}")
    for verdict, rule in prompt_set.overall.items():
        click.echo(f"Overall, {verdict}: {rule}")
    click.echo(f"{_count(prompt_set)} sentences to encode; SHA-256 {prompt_set.sha256[:12]}")
