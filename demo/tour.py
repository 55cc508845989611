"""The commands of the demo: a normal day's work, in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipcal.demo.material import IMAGES, LABELS

CORPUS = "corpus"
SHOWN_CATEGORY = "weapons"


@dataclass(frozen=True, slots=True)
class Stop:
    """One command of the tour.

    Attributes
    ----------
    why : str
        What it is for, in a sentence.
    arguments : tuple of str
        What stands behind ``clipcal`` on the command line.
    """

    why: str
    arguments: tuple[str, ...]


def tour(folder: Path) -> tuple[Stop, ...]:
    """List the commands that take the material in `folder` to a report.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``images/`` and ``human.csv``.

    Returns
    -------
    tuple of Stop
        Commands that also work when typed by hand.
    """
    corpus = ("--corpus", str(folder / CORPUS))
    calibration = ("--calibration", str(folder / "calibration.json"))
    return (
        Stop(
            "Embed the pictures. What was embedded before is skipped.",
            ("embed", str(folder / IMAGES), "--prune", *corpus),
        ),
        Stop("Index them for searches.", ("index", *corpus)),
        Stop(
            "Fit a threshold per category to the raters' labels: with 95% confidence, "
            "at least 90% of what they would flag is flagged.",
            (
                *("calibrate", "--labels", str(folder / LABELS), "--prompts", "demo"),
                *("--target", "recall=0.9", "-o", str(folder / "calibration.json"), *corpus),
            ),
        ),
        Stop(
            "Apply the thresholds to every picture, labelled or not.",
            ("rescore", *calibration, "-o", str(folder / "decisions.csv"), *corpus),
        ),
        Stop(
            f"Look at the unflagged neighbours of what was flagged as {SHOWN_CATEGORY}.",
            ("search", "--flagged", SHOWN_CATEGORY, "-k", "5", *calibration, *corpus),
        ),
        Stop(
            "Find pictures by a sentence.",
            ("search", "--text", "a glass of beer", "-k", "5", *corpus),
        ),
        Stop(
            "Write a page with pictures about all of it.",
            (
                *("report", *calibration, "-o", str(folder / "report.html")),
                *("--note", "The pictures are drawn and the raters are simulated.", *corpus),
            ),
        ),
    )
