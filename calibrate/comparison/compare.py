"""Two files of judgements of the same images, people's and a machine's, side by side.

The files hold either ratings (a level in each of several dimensions, and perhaps an overall
verdict) or one class per image. What both know is compared; what only one knows is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clipcal.calibrate.comparison.classes import compare_classes
from clipcal.calibrate.comparison.ratings import compare_ratings
from clipcal.calibrate.comparison.records import Comparison
from clipcal.calibrate.comparison.sides import paired_images, read_side
from clipcal.errors import LabelError

PREDICTED_NAMES = ("predicted", "prediction", "clip")


def compare_files(
    human: Path,
    predicted: Path | None = None,
    *,
    human_column: str | None = None,
    predicted_column: str | None = None,
    levels: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare people's judgements of images with predicted ones.

    Images are matched between the files as those of label files are with a corpus: by path,
    by name, by stem. Of a file that ``clipcal rescore`` wrote, the decisions are compared.

    Parameters
    ----------
    human, predicted : pathlib.Path
        The files; without the second, both are columns of the first.
    human_column, predicted_column : str, optional
        The columns that hold the class of each image.
    levels : sequence of str
        Level names from low to high; empty means that the files decide.
    seed : int
        Of the draws for intervals.

    Returns
    -------
    Comparison
        Differences and agreement.

    Raises
    ------
    LabelError
        If a file cannot be read, or the two have no image or nothing about the images in
        common.
    """
    ours = read_side(human, human_column, (), levels)
    usual = PREDICTED_NAMES if ours.reading.classes else ()
    theirs = read_side(predicted or human, predicted_column, usual, levels)
    if predicted is None and theirs.column in (None, ours.column):
        raise LabelError(
            f"{human} holds one set of judgements, and two are compared. Name the other file, or "
            f"both columns: clipcal compare {human.name} --human COLUMN --predicted COLUMN"
        )
    paired = paired_images(ours, theirs)
    if ours.reading.classes and theirs.reading.classes:
        return compare_classes(ours, theirs, paired, seed)
    return compare_ratings(ours, theirs, paired, seed)
