"""``clipcal calibrate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipcal.commands.common import (
    CALIBRATION,
    command_line,
    corpus_option,
    device_option,
    json_option,
    keep_inputs,
    moved_model_option,
    output_option,
    print_json,
    printable,
    prompt_options,
    rule_option,
    say,
)
from clipcal.commands.reviewed import export_then_calibrate, judged_images
from clipcal.errors import CalibrationError, ClipcalError

if TYPE_CHECKING:
    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.labels.matching import Match

MOST_LISTED = 20
USUAL_BANDS = "recall=0.9,precision=0.9"


def _checked(check: Callable[[str], object]) -> Callable[[Any, Any, str | None], str | None]:
    """Make a wrong value a wrong call."""

    def callback(_context: Any, _option: Any, text: str | None) -> str | None:
        try:
            if text is not None:
                check(text)
        except CalibrationError as error:
            raise click.BadParameter(str(error)) from error
        return text

    return callback


def _is_target(text: str) -> object:
    from clipcal.calibrate.cuts.targets import parse_target

    return parse_target(text)


def _are_bands(text: str) -> object:
    from clipcal.calibrate.cuts.targets import parse_bands

    return parse_bands(text)


def _placed(_context: Any, option: Any, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Make a threshold that is none a wrong call."""
    from clipcal.calibrate.cuts.by_hand import parse_placed

    try:
        parse_placed(*((texts, ()) if option.name == "thresholds" else ((), texts)))
    except CalibrationError as error:
        raise click.BadParameter(str(error)) from error
    return texts


@click.command("calibrate")
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="People's labels, as CSV: wide, one class per image, long, or counts; given again for "
    "more files. Only --target budget=N and --threshold do without.",
)
@prompt_options
@click.option(
    "--target",
    callback=_checked(_is_target),
    default="recall=0.9",
    show_default=True,
    help="recall=R or precision=P, guaranteed; f1, fbeta=B or cost=FN:FP, the best in the sample; "
    "budget=N, so many flags; levels, the cut-points of ordered levels.",
)
@click.option(
    "--bands",
    callback=_checked(_are_bands),
    is_flag=False,
    flag_value=USUAL_BANDS,
    metavar="[recall=R,precision=P]",
    help="Three bands in place of --target: allow below a threshold with that recall, block "
    f"above one with that precision, review between them. [{USUAL_BANDS}]",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    callback=_placed,
    metavar="CATEGORY[:LEVEL]=T",
    help="Place a threshold by hand instead of fitting it; given again for more. A recall stays "
    "guaranteed at or below the threshold that would be fitted, and nothing is above it.",
)
@click.option(
    "--upper",
    "uppers",
    multiple=True,
    callback=_placed,
    metavar="CATEGORY[:LEVEL]=T",
    help="Place by hand the threshold from which on images are blocked; those between the two "
    "are reviewed.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the guarantee, cut by cut, and of intervals.",
)
@click.option("--joint", is_flag=True, help="All guarantees are to hold together, not each alone.")
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the labelled images kept out of every fit, to evaluate thresholds on.",
)
@click.option(
    "--folds",
    type=click.IntRange(0, 100),
    default=5,
    show_default=True,
    help="Parts for cross-fitting: each is decided by thresholds fitted to the others. 0: none.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of divisions and draws.")
@rule_option
@click.option(
    "--raters",
    type=click.Choice(["majority", "dawid-skene"]),
    default="majority",
    show_default=True,
    help="How several raters' labels become one; dawid-skene learns how reliable each is.",
)
@click.option(
    "--probabilities",
    type=click.Choice(["auto", "platt", "isotonic", "beta", "temperature"]),
    help="Also fit probabilities; temperature is for one class per image.",
)
@click.option(
    "--prior-shift",
    is_flag=True,
    help="Adjust --probabilities to how frequent positives seem to be in the corpus.",
)
@click.option(
    "--learn",
    is_flag=True,
    help="Learn scores from one half of the labels, used where they are better out of fold; "
    "thresholds are fitted to the other half.",
)
@click.option(
    "--overall",
    type=click.Choice(["rule", "fitted"]),
    default="rule",
    show_default=True,
    help="The overall verdict: by the prompt set's rule, or fitted to the column Overall.",
)
@moved_model_option
@output_option("The calibration to write.", default=CALIBRATION)
@corpus_option
@device_option
@json_option
def calibrate_command(
    labels: tuple[Path, ...],
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    output: Path,
    corpus_path: Path,
    device: str,
    as_json: bool,
    thresholds: tuple[str, ...],
    uppers: tuple[str, ...],
    **plan: Any,
) -> None:
    """Fit a threshold per category, and per level, to human labels.

    Images in the label file are found by path, name, stem or SHA-256. Where there are too few
    labels for the guarantee, the table says how many more it takes. A threshold placed by hand
    names its level where there are several, and keeps a guarantee only where that holds whatever
    was looked at.

    \b
    Example:
      clipcal calibrate --labels human.csv --prompts moderation --target recall=0.9
      clipcal calibrate --labels human.csv --target precision=0.8 --joint
      clipcal calibrate --labels human.csv --bands recall=0.95,precision=0.9
      clipcal calibrate --labels human.csv --target cost=5:1 --probabilities auto
      clipcal calibrate --labels human.csv --threshold alcohol=0.07 --upper alcohol=0.2
    """
    from clipcal.calibrate.cuts.by_hand import parse_placed
    from clipcal.calibrate.plan import CalibrationPlan
    from clipcal.calibrate.scoring.under_contract import TextSource
    from clipcal.calibrate.workflow import calibrate_corpus
    from clipcal.commands.calibration_tables import print_calibration
    from clipcal.index.store import Corpus

    _refuse_ignored(plan)
    placed = parse_placed(thresholds, uppers)
    needed = plan["bands"] or not plan["target"].strip().lower().startswith("budget")
    if needed and not labels and not placed:
        raise click.UsageError(
            "Missing option '--labels': only --target budget=N and --threshold do without "
            f"people's labels.{_kept(corpus_path)}"
        )
    keep_inputs(output, *labels, prompt_vectors, Path(prompts) if prompts else None)
    corpus = Corpus.open(corpus_path)
    done = calibrate_corpus(
        corpus,
        labels,
        prompts=prompts,
        source=TextSource(prompt_vectors, model, device),
        plan=CalibrationPlan(**plan, placed=placed),
    )
    done.contract.save(output)
    done.keep(corpus)  # only now: a file that cannot be written leaves the corpus as it was
    for warning in done.contract.warnings:
        say(f"Warning: {warning}", quiet=as_json)
    for note in done.notes:
        say(f"Note: {note}", quiet=as_json)
    _list_unmatched(done.match, labels, quiet=as_json)
    if as_json:
        print_json({**_result(done.contract, done.match, done.notes), "calibration": str(output)})
        return
    print_calibration(done.contract)
    vectors = () if prompt_vectors is None else ("--prompt-vectors", prompt_vectors)
    following = command_line("rescore", "--calibration", output, *vectors, corpus=corpus_path)
    click.echo(f"\nWritten to {output}. Apply it: {following}")


def _kept(corpus_path: Path) -> str:
    """Say how to calibrate with what raters said, where the corpus knows of any."""
    from clipcal.index.store import Corpus

    try:
        images = judged_images(Corpus.open(corpus_path))
    except ClipcalError:  # the call is wrong whatever is in that folder
        return ""
    if not images:
        return ""
    judged = "1 image" if images == 1 else f"{images:,} images"
    return f" Raters have judged {judged}; to use that: {export_then_calibrate(corpus_path)}"


def _refuse_ignored(plan: dict[str, Any]) -> None:
    """Make options that would have no effect a wrong call."""
    target = click.get_current_context().get_parameter_source("target")
    if plan["bands"] and target is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("Give one of --target and --bands: bands have targets of their own.")
    guaranteed = plan["bands"] or plan["target"].strip().lower().startswith(("recall", "precision"))
    if plan["joint"] and not guaranteed:
        raise click.UsageError(
            f"--joint makes guarantees hold together, and {plan['target']} has none. Give it with "
            f"--target recall=R or precision=P, or with --bands."
        )
    if plan["prior_shift"] and plan["probabilities"] in (None, "temperature"):
        raise click.UsageError(
            "--prior-shift adjusts probabilities of single categories: give it with "
            "--probabilities auto, platt, isotonic or beta."
        )


def _result(contract: Contract, match: Match, notes: tuple[str, ...]) -> dict[str, object]:
    # Long arrays, which the file itself holds, would bury the rest.
    kept_out = {"created", "clipcal", "format_version", "categories", "reference", "heads"}
    return {
        "categories": {
            category: {level: cut.model_dump(mode="json") for level, cut in cuts.items()}
            for category, cuts in contract.categories.items()
        },
        **contract.model_dump(mode="json", exclude=kept_out),
        "heads": {category: head.kind for category, head in contract.heads.items()},
        "unmatched": list(match.unmatched),
        "ambiguous": {image: list(uris) for image, uris in match.ambiguous},
        "notes": list(notes),
    }


def _list_unmatched(match: Match, files: Sequence[Path], *, quiet: bool) -> None:
    """Tell every row that found no image, or several; a long list is cut, with its length."""
    labels = ", ".join(str(file) for file in files)
    if match.unmatched:
        named = [f"  {printable(image)}" for image in match.unmatched[:MOST_LISTED]]
        more = len(match.unmatched) - len(named)
        tail = [f"  and {more:,} more (--json lists all)"] if more else []
        head = f"{len(match.unmatched):,} images in {labels} are not in the corpus:"
        say("\n".join([head, *named, *tail]), quiet=quiet)
    for image, uris in match.ambiguous[:MOST_LISTED]:
        say(f"{image} in {labels} could be any of: {', '.join(uris)}", quiet=quiet)
    if len(match.ambiguous) > MOST_LISTED:
        more = len(match.ambiguous) - MOST_LISTED
        say(f"and {more:,} more such images (--json lists all)", quiet=quiet)
