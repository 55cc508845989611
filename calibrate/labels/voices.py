"""What raters say of cells and what a file said of them, and which of it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.words import kept_codes
from clipcal.index.judgements import Judgement, Origin

FILE: Final = "file"  # the rater of labels that came with a file

# What one rater says of one cell: the item, the index of the category, the rater (`FILE` where a
# file says it), the level, and how the rater came to see it. Plain tuples, since there may be a
# hundred thousand.
PoolLabel = tuple[int, int, str, str, Origin]


def voices_of(
    judged: Sequence[Judgement],
    filed: Sequence[tuple[int, str, str]],
    categories: Sequence[str],
    levels: Sequence[str],
) -> tuple[list[PoolLabel], int]:
    """Bring together what is said in some categories, and count what is said in others.

    Names that differ only as `name_key` lets them are one category; of what a rater said under
    two of them, the newer counts.

    Parameters
    ----------
    judged : sequence of Judgement
        What raters say now, the oldest first.
    filed : sequence of (int, str, str)
        The labels that came with a file: item, category and level.
    categories, levels : sequence of str
        Those that count.

    Returns
    -------
    voices : list of PoolLabel
        What raters say, and the file of each cell of which no rater says anything in these levels.
        What is in other levels has none.
    strange : int
        How many are in other categories.
    """
    columns = {name_key(category): column for column, category in enumerate(categories)}
    spoken = {one.category for one in judged} | {category for _, category, _ in filed}
    column_of = {
        name: columns.get(name_key(name), -number) for number, name in enumerate(spoken, start=1)
    }
    meant = _meant({str(one.level) for one in judged} | {one[2] for one in filed}, levels)
    said = {
        (one.item, column_of[one.category], one.rater.strip()): (meant[str(one.level)], one.origin)
        for one in judged
    }
    settled = {key[:2] for key, (level, _) in said.items() if level or key[1] < 0}
    for item, category, word in filed:
        cell = (item, column_of[category])
        if cell not in settled:
            said[(*cell, FILE)] = (meant[word], "given")
    known = [(*key, *rest) for key, rest in said.items() if key[1] >= 0]
    return known, len(said) - len(known)


def _meant(words: Iterable[str], levels: Sequence[str]) -> dict[str, str]:
    """Look up the level that each word means; empty where it means none."""
    codes = kept_codes(levels)
    names = [*levels, ""]  # -1 is the last
    return {word: names[codes.get(word.casefold(), -1)] for word in words}


def heard(voices: Sequence[PoolLabel]) -> list[PoolLabel]:
    """Leave out voices without a level where another one of the same cell has one."""
    clear = {one[:2] for one in voices if level_of(one)}
    return [one for one in voices if level_of(one) or one[:2] not in clear]


def level_of(voice: PoolLabel) -> str:
    """Return the level that a voice names; empty where the corpus has none such."""
    return voice[3]
