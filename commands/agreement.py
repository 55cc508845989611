"""``clipcal agreement``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    interval,
    json_option,
    keep_inputs,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from clipcal.calibrate.labels.disputes import Dispute
    from clipcal.calibrate.labels.table import LabelTable
    from clipcal.calibrate.statistics.agreement.category import CategoryAgreement

SHOWN = 10


@click.command("agreement")
@click.argument("labels", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--levels",
    metavar="NAMES",
    help="Level names from low to high, as in none,minor,major.  [default: the file decides]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A CSV file for everything on which raters disagree.",
)
@json_option
def agreement_command(labels: Path, levels: str | None, output: Path | None, as_json: bool) -> None:
    """Tell how far raters agree with each other, and on which images they do not.

    The file has several ratings per image: a row for each with a column 'annotator', or counts
    per class. Alpha is Krippendorff's, ordinal; kappa is the mean of pairs of raters, with
    quadratic weights; the human ceiling is how often one rater agrees with the majority of the
    others, which is what thresholds can be asked for. All have 95 % intervals over images.

    \b
    Example:
      clipcal agreement ratings.csv --levels none,minor,major -o adjudicate.csv
    """
    from clipcal.calibrate.labels.disputes import disputes, write_disputes
    from clipcal.calibrate.labels.table import read_labels
    from clipcal.errors import LabelError

    if output is not None:
        keep_inputs(output, labels)
    table = read_labels(labels, levels=level_names(levels))
    found = _rated(table)
    if not found:
        raise LabelError(
            f"{labels} has one rating per image, and agreement needs two of the same image. Add "
            f"a row for each rater's answer, with a column 'annotator', then run: "
            f"clipcal agreement {labels}"
        )
    disputed = disputes(table)
    if output is not None:
        write_disputes(disputed, table.levels, output)
    if as_json:
        print_json(_as_json(table, found, disputed, output))
        return
    for note in table.notes:
        say(f"Note: {note}")
    _print(table, found, disputed)
    if output is not None:
        click.echo(f"{len(disputed):,} disputed labels written to {output}.")


def level_names(levels: str | None) -> tuple[str, ...]:
    """Read ``--levels``."""
    names = tuple(name.strip() for name in (levels or "").split(",") if name.strip())
    if levels is not None and len({name.casefold() for name in names}) < max(2, len(names)):
        raise click.UsageError("--levels needs two or more different names, from low to high.")
    return names


def _rated(table: LabelTable) -> dict[str, CategoryAgreement]:
    """Measure each category that has images with several ratings."""
    from clipcal.calibrate.statistics.agreement.category import rate_agreement

    if table.votes is None:
        return {}
    found = {}
    for column, category in enumerate(table.categories):
        votes = table.votes.of(column)
        size = (len(table.images), len(table.levels))
        found[category] = rate_agreement(votes.image, votes.rater, votes.level, *size)
    return {category: rated for category, rated in found.items() if rated.images}


def _as_json(
    table: LabelTable,
    found: dict[str, CategoryAgreement],
    disputed: list[Dispute],
    output: Path | None,
) -> dict[str, object]:
    measured = ("images", "ratings", "alpha", "kappa", "ceiling", "ceiling_kappa")
    return {
        "labels": table.source,
        "levels": table.levels,
        "raters": len(table.votes.raters) if table.votes and table.votes.raters else None,
        "categories": {
            name: {field: asdict(rated)[field] for field in measured}
            for name, rated in found.items()
        },
        "disputed": [
            {**asdict(one), "votes": dict(zip(table.levels, one.votes, strict=True))}
            for one in disputed
        ],
        "adjudicate": str(output) if output else None,
        "notes": table.notes,
    }


def _print(table: LabelTable, found: dict[str, CategoryAgreement], disputed: list[Dispute]) -> None:
    measured = ("alpha", "kappa", "ceiling", "ceiling_kappa")
    heads = (
        "Category",
        ">Images",
        ">Ratings",
        ">Alpha",
        ">Kappa",
        ">Human ceiling",
        ">Ceiling's kappa",
    )
    print_table(
        heads,
        (
            (
                name,
                f"{rated.images:,}",
                f"{rated.ratings:,}",
                *(interval(getattr(rated, field), digits=3) for field in measured),
            )
            for name, rated in found.items()
        ),
    )
    if not disputed:
        click.echo("Nobody disagrees.")
        return
    print_table(
        ("Image", "Category", *(f">{level}" for level in table.levels), "Majority", ">Against"),
        (
            (
                one.image,
                one.category,
                *map(str, one.votes),
                one.majority or "–",
                f"{one.against:.0%}",
            )
            for one in disputed[:SHOWN]
        ),
        title="Most disputed",
    )
    if len(disputed) > SHOWN:
        click.echo(
            f"… and {len(disputed) - SHOWN:,} more: clipcal agreement LABELS.csv -o FILE.csv"
        )
