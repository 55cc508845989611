"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clipcal import __version__
from clipcal.calibrate.report import label_words, words
from clipcal.calibrate.report.charts import draw_histogram
from clipcal.calibrate.report.content import Report
from clipcal.calibrate.report.plots import draw_costs, draw_rates, draw_reliability
from clipcal.calibrate.report.thumbnails import make_thumbnail
from clipcal.errors import CalibrationError
from clipcal.files import writing
from clipcal.index.pictures import SmallPicture

TEMPLATES = Path(__file__).parent / "templates"

# With more cuts than these the deep parts of the page are folded at first.
MOST_UNFOLDED = 12


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page comes from, so that an auditor can make it again.

    Attributes
    ----------
    note : str
        A remark at the top, such as who labelled.
    calibration, sha256 : str
        The calibration's file, and its hash.
    command : str
        What was typed to make the page.
    """

    note: str = ""
    calibration: str = ""
    sha256: str = ""
    command: str = ""


def gather_thumbnails(report: Report) -> dict[int, SmallPicture]:
    """Make the small pictures that a report shows, each content once.

    Parameters
    ----------
    report : Report
        Names the images.

    Returns
    -------
    dict of int to SmallPicture
        By the row of the embedding; what cannot be read any more is not in it.
    """
    made: dict[int, SmallPicture] = {}
    tried: set[str] = set()
    for shown in report.shown():
        if shown.row in made or shown.uri in tried:
            continue
        tried.add(shown.uri)
        thumbnail = make_thumbnail(shown.uri, shown.sha256)
        if thumbnail is not None:
            made[shown.row] = thumbnail
    return made


def render(
    report: Report, thumbnails: Mapping[int, SmallPicture], *, origin: Origin | None = None
) -> str:
    """Write the page.

    Parameters
    ----------
    report : Report
        What it shows.
    thumbnails : mapping of int to SmallPicture
        Small pictures by row; an image without one is shown by its name.
    origin : Origin, optional
        A remark, and how the page was made.

    Returns
    -------
    str
        HTML; the same for the same input.
    """
    cuts = [part.cut for _, part in report.cuts()]
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            contract=report.contract,
            thumbnails=thumbnails,
            origin=origin or Origin(),
            cuts=cuts,
            unfolded=len(cuts) <= MOST_UNFOLDED,
            words=words,
            label_words=label_words,
            version=__version__,
        )
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
    with writing(path, CalibrationError, "The report", "clipcal report -o FILE.html") as part:
        part.write_text(page, encoding="utf-8", newline="\n")


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
        percent=words.percent,
        count=lambda number: f"{number:,}",
        score=lambda value: f"{value:.4f}",
        interval=words.interval,
        span=words.span,
        file_name=_file_name,
        draw_histogram=draw_histogram,
        draw_rates=draw_rates,
        draw_costs=draw_costs,
        draw_reliability=draw_reliability,
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
