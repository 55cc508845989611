"""``clipcal classify``."""

from __future__ import annotations

from pathlib import Path

import click

from clipcal.commands.common import device_option, json_option, print_json, print_table


@click.command("classify")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--labels", required=True, metavar="A,B,C", help="Sentences, separated by commas.")
@click.option("--model", metavar="BUNDLE", help="A bundle's folder or name. [default: built-in]")
@click.option("-n", "top", type=click.IntRange(1), help="Show only the best N sentences.")
@device_option
@json_option
def classify_command(
    images: tuple[str, ...],
    labels: str,
    model: str | None,
    top: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Compare images with a few sentences, without a corpus.

    Shown are cosines and shares. A share is the softmax over the sentences given, so it depends
    on which those are; with a model that has a bias (SigLIP) it is the sigmoid of each sentence
    by itself. Neither is a calibrated probability. To decide by: clipcal calibrate

    \b
    Example:
      clipcal classify photo.jpg --labels "a beer glass, a glass of water, a tree"
    """
    from clipcal.models.registry import find_bundle
    from clipcal.prompts.classify import classify

    sentences = list(dict.fromkeys(s.strip() for s in labels.split(",") if s.strip()))
    if not sentences:
        raise click.UsageError('--labels names no sentence. Write: --labels "a cat, a dog"')
    results = classify(find_bundle(model), [Path(i) for i in images], sentences, device=device)
    if as_json:
        ranked = [
            {
                "image": str(r.image),
                "error": r.error,
                "labels": [
                    {"label": label, "score": round(score, 6), "share": round(share, 6)}
                    for label, score, share in r.ranked[:top]
                ],
            }
            for r in results
        ]
        print_json({"results": ranked})
    else:
        rows = [
            (str(r.image), label, f"{score:.3f}", f"{share:.1%}")
            for r in results
            for label, score, share in r.ranked[:top]
        ]
        failed = [(str(r.image), r.error, "", "") for r in results if r.error]
        print_table(("Image", "Sentence", ">Score", ">Share"), rows + failed)
    if all(r.error for r in results):
        raise click.exceptions.Exit(1)
