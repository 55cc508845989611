"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clipcal import __version__
from clipcal.calibrate.contract import Cut
from clipcal.calibrate.report.charts import draw_histogram
from clipcal.calibrate.report.content import Report
from clipcal.calibrate.report.thumbnails import Thumbnail, make_thumbnail
from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.errors import CalibrationError
from clipcal.files import replacing

TEMPLATES = Path(__file__).parent / "templates"

# Symbol and words: a status is never told by its colour alone.
STATUSES = {
    "certified": ("✔", "certified", "The guarantee holds, under the assumptions it names."),
    "estimated": ("≈", "estimated", "Chosen by the sample; nothing is guaranteed."),
    "insufficient": (
        "▲",
        "insufficient",
        "Too few positives for a guarantee; the threshold attains the target in the sample only.",
    ),
    "no_positives": ("○", "no positives", "No image is labelled positive: there is no threshold."),
    "no_negatives": ("○", "no negatives", "No image is labelled negative: there is no threshold."),
}

KINDS = {
    "top": "Flagged, highest scores",
    "above": "Flagged, just above the threshold",
    "below": "Not flagged, just below the threshold",
    "missed": "Missed: labelled positive, not flagged",
    "false_flags": "False flags: labelled negative, flagged",
    "unlabelled_top": "No label yet, highest scores",
}


def gather_thumbnails(report: Report) -> dict[int, Thumbnail]:
    """Make the small pictures that a report shows, each content once.

    Parameters
    ----------
    report : Report
        Names the images.

    Returns
    -------
    dict of int to Thumbnail
        By the row of the embedding; what cannot be read any more is not in it.
    """
    made: dict[int, Thumbnail] = {}
    tried: set[str] = set()
    for shown in report.shown():
        if shown.row in made or shown.uri in tried:
            continue
        tried.add(shown.uri)
        thumbnail = make_thumbnail(shown.uri, shown.sha256)
        if thumbnail is not None:
            made[shown.row] = thumbnail
    return made


def render(report: Report, thumbnails: Mapping[int, Thumbnail], *, note: str = "") -> str:
    """Write the page.

    Parameters
    ----------
    report : Report
        What it shows.
    thumbnails : mapping of int to Thumbnail
        Small pictures by row; an image without one is shown by its name.
    note : str
        A remark at the top, such as where the labels come from.

    Returns
    -------
    str
        HTML; the same for the same input.
    """
    template = _environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        contract=report.contract,
        thumbnails=thumbnails,
        note=" ".join(note.split()),
        statuses=STATUSES,
        kinds=KINDS,
        version=__version__,
    )


def write_page(path: Path, page: str) -> None:
    """Write the page so that a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    page : str
        HTML.

    Raises
    ------
    CalibrationError
        If it cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CalibrationError(
            f"The report cannot be written to {path} ({error.strerror}). Name a file in a folder "
            f"that can be written to: clipcal report -o FILE.html"
        ) from error


def percent(share: float) -> str:
    """Write a share with three digits; what only rounds to all or nothing is not called so."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.3g}%"


def interval(rate: Estimate) -> str:
    """Write the ends of an interval, as in 88.9–99.6%."""
    return f"{percent(rate.low).rstrip('%')}–{percent(rate.high)}"


def claim(cut: Cut, confidence: float) -> str:
    """Say in a few words what is guaranteed, or what a guarantee lacks.

    Parameters
    ----------
    cut : Cut
        The cut.
    confidence : float
        Of its guarantee.

    Returns
    -------
    str
        For a table; the contract has it as a sentence with its assumptions.
    """
    name, _, value = cut.objective.partition("=")
    match cut.status:
        case "certified":
            rate = f" ≥ {percent(float(value))}" if value else ""
            return f"{name}{rate} with {percent(confidence)} confidence"
        case "estimated":
            if cut.lowered:
                return "none: lowered to a higher level's threshold"
            return f"none: best {'F1' if name == 'f1' else name} in the sample"
        case "insufficient":
            return f"not yet: {cut.further_positives:,} more positives needed"
        case "no_positives" | "no_negatives":
            needed = cut.further_positives
            return f"not yet: {needed:,} positives needed" if needed else "not yet"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters.update(
        percent=percent,
        count=lambda number: f"{number:,}",
        score=lambda value: f"{value:.4f}",
        interval=interval,
        claim=claim,
        file_name=_file_name,
        draw_histogram=draw_histogram,
    )
    return environment


def _visible(value: object) -> object:
    """Write out control characters and lone surrogates, which could hide or reorder a name."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in value
    )


def _file_name(uri: str) -> str:
    return uri.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or uri
