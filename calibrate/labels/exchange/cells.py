"""From what a file says, word by word, to labels of the prompt set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clipcal.calibrate.labels.exchange.fitting import into_scale
from clipcal.calibrate.labels.exchange.records import ABSENT, PRESENT, Asked, Format, Given, Read
from clipcal.calibrate.labels.frame import some
from clipcal.calibrate.labels.words import UNKNOWN, Scale, scale_of, word_of
from clipcal.errors import LabelError
from clipcal.index.judgements import CHOSEN, Origin


class Cell(NamedTuple):
    """What one rater says of one image in one category.

    Attributes
    ----------
    where : str
        The place in the file, for messages.
    image, sha256 : str
        As in `Given`.
    category : str
        As the prompt set calls it.
    word : str
        The level as written.
    rater : str
        Who says it; empty where the file does not name him.
    origin : Origin
        How he came to see the image.
    bare : bool
        Whether the file says only that the category is there, or is not.
    """

    where: str
    image: str
    sha256: str
    category: str
    word: str
    rater: str
    origin: Origin
    bare: bool = False


class Looked(NamedTuple):
    """That somebody looked at an image; the fields are those of `Cell`."""

    where: str
    image: str
    sha256: str
    rater: str
    origin: Origin


def absent(cells: Sequence[Cell], looked: Iterable[Looked], among: Iterable[str]) -> list[Cell]:
    """Say of whoever looked at an image that what he did not mark is not there.

    Parameters
    ----------
    cells : sequence of Cell
        What was marked.
    looked : iterable of Looked
        Who looked at what.
    among : iterable of str
        The categories that were looked for.

    Returns
    -------
    list of Cell
        What was not marked.
    """
    marked = {(cell.image, cell.sha256, cell.rater, cell.category) for cell in cells}
    among = list(among)
    return [
        Cell(one.where, one.image, one.sha256, category, ABSENT, one.rater, one.origin, True)
        for one in looked
        for category in among
        if (one.image, one.sha256, one.rater, category) not in marked
    ]


def settle(cells: Sequence[Cell], asked: Asked, format: Format, ignored: Counter[str]) -> Read:
    """Turn words into levels, and several equal words of one rater into one label.

    Parameters
    ----------
    cells : sequence of Cell
        What the file says.
    asked : Asked
        The prompt set.
    format : Format
        The file's.
    ignored : Counter
        What is named like a category and is none, and how often.

    Returns
    -------
    Read
        The labels. Where a rater says two things of one image and category, neither counts, and a
        note names them. Where a file says of a category only that it is there, and its other
        labels have several levels, nobody knows which one; then neither its presence nor its
        absence counts. What the corpus has no level for is left out, and noted.

    Raises
    ------
    LabelError
        If a word is no level; or there is nothing in these categories, but in others.
    """
    if ignored and not cells:
        raise LabelError(
            f"{asked.name} has labels for none of the categories. It has: "
            f"{some(list(ignored), 20)}. The categories are: {', '.join(asked.categories)}. Rename "
            f"them, or choose the prompt set that they belong to with --prompts SET, then run the "
            f"same command again."
        )
    scale = scale_of({word_of(cell.word) for cell in cells}, asked.levels)
    kept, bare = _without_bare(cells, scale)
    levels = _levels(kept, scale, asked)
    given, torn = _once(zip(kept, levels, strict=True), asked.rater)
    given, unfit = into_scale(given, scale.levels, asked)
    notes = (*scale.notes, *_on_bare(bare, scale), *_on_torn(torn), *unfit, *_on_ignored(ignored))
    return Read(format, given, notes, tuple(ignored))


def _without_bare(cells: Sequence[Cell], scale: Scale) -> tuple[list[Cell], int]:
    """Leave out what is only there, or is not, where no level is known by that."""
    clear = PRESENT in scale.codes or not any(cell.bare and cell.word == PRESENT for cell in cells)
    kept = [cell for cell in cells if clear or not cell.bare]
    return kept, len(cells) - len(kept)


def _levels(cells: Sequence[Cell], scale: Scale, asked: Asked) -> list[str | None]:
    """Look up the level of each cell; None is unknown."""
    found: list[str | None] = []
    for cell in cells:
        code = scale.codes.get(word_of(cell.word))
        if code is None:
            raise LabelError(
                f"{asked.name}, {cell.where}: '{cell.word}' for the category '{cell.category}' is "
                f"not a known label. Known are: {scale.known}. Correct it, or choose the prompt "
                f"set that it belongs to with --prompts SET, then run the same command again."
            )
        found.append(None if code == UNKNOWN else scale.levels[code])
    return found


def _once(
    pairs: Iterable[tuple[Cell, str | None]], rater: str
) -> tuple[tuple[Given, ...], list[str]]:
    """Return one label per image, category and rater, and name those that contradict themselves.

    What names no rater is the given one's.
    """
    found: dict[tuple[str, str, str, str], tuple[Cell, set[str]]] = {}
    for cell, level in pairs:
        if level is not None:
            key = (cell.image, cell.sha256, cell.category, cell.rater)
            known = found.setdefault(key, (cell, set()))
            known[1].add(level)
            if cell.origin in CHOSEN:  # it was seen for its score, if any place says so
                found[key] = (cell, known[1])
    given = tuple(
        Given(
            cell.image,
            cell.category,
            level,
            cell.rater or rater,
            cell.origin,
            cell.sha256,
            named=bool(cell.rater),
        )
        for cell, levels in found.values()
        if len(levels) == 1
        for level in levels
    )
    torn = [
        f"{cell.image} ({cell.category}, {cell.rater or rater})"
        for cell, levels in found.values()
        if len(levels) > 1
    ]
    return given, torn


def _on_bare(bare: int, scale: Scale) -> tuple[str, ...]:
    if not bare:
        return ()
    return (
        f"{bare:,} labels say only whether a category is there, not which of "
        f"{', '.join(scale.levels)} it is; they are left out.",
    )


def _on_torn(torn: Sequence[str]) -> tuple[str, ...]:
    return (f"Labels that contradict themselves are left out: {some(torn)}.",) if torn else ()


def _on_ignored(ignored: Counter[str]) -> tuple[str, ...]:
    if not ignored:
        return ()
    named = [f"{name} ({count:,})" for name, count in ignored.most_common()]
    return (f"No category is named {some(named, 10)}.",)
