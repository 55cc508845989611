"""``clipcal prompts``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipcal.commands.common import device_option, json_option, print_json, print_table, say

if TYPE_CHECKING:
    from clipcal.models.session import TextEncoder
    from clipcal.prompts.promptset import PromptSet


@click.group("prompts")
def prompts_command() -> None:
    """List, show and encode prompt sets.

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
