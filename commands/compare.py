"""``clipcal compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.agreement import level_names
from clipcal.commands.common import (
    interval,
    json_option,
    keep_inputs,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from clipcal.calibrate.comparison.records import Comparison

SHOWN = 20
MOST = 10


@click.command("compare")
@click.argument("human", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("predicted", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--human", "human_column", metavar="COLUMN", help="The column with people's class of an image."
)
@click.option(
    "--predicted",
    "predicted_column",
    metavar="COLUMN",
    help="The column with the predicted class of an image.",
)
@click.option(
    "--levels",
    metavar="NAMES",
    help="Level names from low to high, as in none,minor,major.  [default: the files decide]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A CSV file for the differences, image by image.",
)
@json_option
def compare_command(
    human: Path,
    predicted: Path | None,
    human_column: str | None,
    predicted_column: str | None,
    levels: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare people's judgements with predicted ones, image by image.

    The files hold ratings (a column per dimension with levels or yes and no, and perhaps one
    called Overall) or one class per image; PREDICTED may be what clipcal rescore wrote, and may
    be left out where both are columns of one file. Images are matched by path, name or stem.

    \b
    Example:
      clipcal compare human.csv decisions.csv -o differences.csv
      clipcal compare labels.csv --human human --predicted clip
    """
    from clipcal.calibrate.comparison.compare import compare_files
    from clipcal.calibrate.comparison.table import differences, write_differences

    if output is not None:
        keep_inputs(output, human, predicted)
    compared = compare_files(
        human,
        predicted,
        human_column=human_column,
        predicted_column=predicted_column,
        levels=level_names(levels),
    )
    if output is not None:
        write_differences(compared, output)
    if as_json:
        print_json(_result(compared) | {"differences": str(output) if output else None})
        return
    _say_notes(compared)
    if compared.kind == "classes":
        _print_classes(compared)
    else:
        _print_ratings(compared)
    if output is not None:
        different = sum(bool(differences(one, compared.kind)) for one in compared.images)
        click.echo(f"Differences of {different:,} images written to {output}.")


def _result(compared: Comparison) -> dict[str, object]:
    """Give the three rates as numbers, and their intervals beside them."""
    result = asdict(compared)
    rates = {name: result[name] for name in ("accuracy", "kappa", "overall_agreement")}
    numbers = {name: rate and rate["value"] for name, rate in rates.items()}
    return result | numbers | {"intervals": rates}


def _say_notes(compared: Comparison) -> None:
    lost = {"have no counterpart": compared.unmatched, "could be several": compared.ambiguous}
    for fact, images in lost.items():
        if images:
            rest = f" and {len(images) - MOST:,} more" if len(images) > MOST else ""
            say(f"Warning: these images {fact}: {', '.join(images[:MOST])}{rest}.")
    if compared.only_predicted:
        say(f"Note: {compared.only_predicted:,} predicted images have no human label.")
    for note in compared.notes:
        say(f"Note: {note}")


def _print_ratings(compared: Comparison) -> None:
    from clipcal.calibrate.comparison.records import Dimension
    from clipcal.calibrate.comparison.table import differences

    differing = [(one.image, said) for one in compared.images if (said := differences(one))]
    rows = [(image, *said) for image, several in differing[:SHOWN] for said in several]
    title = f"{len(differing):,} of {len(compared.images):,} images differ"
    if rows:
        print_table(("Image", "Dimension", "Human", "Predicted"), rows, title=title)
    else:
        click.echo(f"{title}.")
    if len(differing) > SHOWN:
        click.echo(f"… and {len(differing) - SHOWN:,} more; -o FILE.csv writes all.")
    print_table(
        ("Dimension", ">Images", ">Agreement", ">Kappa"),
        [
            (name, f"{one.n:,}", interval(one.agreement), interval(one.kappa))
            for name, one in compared.dimensions.items()
            if isinstance(one, Dimension)
        ]
        + [
            (
                "all",
                f"{len(compared.images):,}",
                interval(compared.accuracy),
                interval(compared.kappa),
            )
        ],
    )
    if compared.overall_agreement is not None:
        click.echo(f"Overall verdict: {interval(compared.overall_agreement)} agree.")


def _print_classes(compared: Comparison) -> None:
    from clipcal.calibrate.comparison.records import ClassAgreement

    click.echo(
        f"Accuracy {interval(compared.accuracy, digits=3)} over {compared.accuracy.n:,} images; "
        f"kappa {interval(compared.kappa, digits=3)}."
    )
    recalls = [
        (one.agreement.value, name, one)
        for name, one in compared.dimensions.items()
        if isinstance(one, ClassAgreement) and one.agreement is not None
    ]
    print_table(
        ("Class", ">Images", ">Recall", ">Precision"),
        (
            (name, f"{one.n:,}", interval(one.agreement), interval(one.precision))
            for _, name, one in sorted(recalls, key=lambda row: (row[0], -row[2].n))[:MOST]
        ),
        title="Lowest recall",
    )
    print_table(
        ("Human", "Predicted", ">Images"),
        ((one.human, one.predicted, f"{one.n:,}") for one in compared.confusions[:MOST]),
        title="Most frequent confusions",
    )
