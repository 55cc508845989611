"""What the two files differ in, as a table."""

from __future__ import annotations

from pathlib import Path

from clipcal.calibrate.comparison.records import Comparison, Difference
from clipcal.calibrate.labels.overall import OVERALL
from clipcal.errors import LabelError
from clipcal.files import writing_rows


def write_differences(comparison: Comparison, path: Path) -> None:
    """Write the difference table as CSV in UTF-8, whole or not at all.

    The columns are ``image``, ``dimension``, ``human`` and ``predicted``; a row for each dimension
    in which an image differs, and one called ``overall`` where the overall verdicts do.

    Parameters
    ----------
    comparison : Comparison
        What to write.
    path : pathlib.Path
        The file; its folder must exist.

    Raises
    ------
    LabelError
        If it cannot be written.
    """
    again = "clipcal compare HUMAN.csv PREDICTED.csv -o FILE.csv"
    with writing_rows(path, LabelError, "The differences", again) as write:
        write([("image", "dimension", "human", "predicted")])
        for one in comparison.images:
            write((one.image, *said) for said in differences(one, comparison.kind))


def differences(image: Difference, kind: str = "ratings") -> list[tuple[str, str, str]]:
    """List in what an image differs: the dimension, what people say, and what is predicted.

    Parameters
    ----------
    image : Difference
        One image.
    kind : {"ratings", "classes"}
        As `Comparison` has it; of classes there is no verdict besides.

    Returns
    -------
    list of (str, str, str)
        The overall verdict, called ``overall``, is the last.
    """
    said = list(zip(image.mismatched, image.human, image.predicted, strict=True))
    if kind == "ratings" and image.overall_match is False:
        said.append((OVERALL, image.human_overall or "", image.predicted_overall or ""))
    return said
