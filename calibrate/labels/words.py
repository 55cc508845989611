"""The words that people use for labels, and the levels that they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNKNOWN = -1
BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")

MARK_WORDS = frozenset(["x", "✓", "✔"])
YES_WORDS = frozenset(["yes", "y", "true", "t", "1", "positive", "pos", "present"])
POSITIVE_WORDS = MARK_WORDS | YES_WORDS
NEGATIVE_WORDS = frozenset(["no", "n", "none", "false", "f", "0", "negative", "neg", "absent"])
UNKNOWN_WORDS = frozenset(["", "nan", "na", "n/a", "null", "?", "unknown", "unsure"])

_WHOLE_AS_FLOAT = re.compile(r"(\d+)\.0+")


@dataclass(frozen=True, slots=True)
class Scale:
    """The levels that cells may name, and the words that name them."""

    levels: tuple[str, ...]
    codes: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> str:
        """The words in the order of the levels, for messages."""
        words = sorted((code, word) for word, code in self.codes.items() if code >= 0)
        return ", ".join(word for _, word in words)


def word_of(cell: str) -> str:
    """Reduce a cell to a word: no case, and 1.0 (as pandas writes it beside blanks) is 1."""
    whole = _WHOLE_AS_FLOAT.fullmatch(cell)
    return whole[1] if whole else cell.casefold()


def _vocabulary(levels: Sequence[str]) -> dict[str, int]:
    """Return the words for levels: their names, their indices, and yes and no where they fit."""
    codes = dict.fromkeys(NEGATIVE_WORDS, 0)
    if len(levels) == 2:
        codes |= dict.fromkeys(POSITIVE_WORDS, 1)
    codes |= {str(index): index for index in range(len(levels))}
    return codes | {level.casefold(): index for index, level in enumerate(levels)}


def kept_codes(levels: Sequence[str]) -> dict[str, int]:
    """Return the words of labels that a corpus keeps, and which of `levels` they name.

    Where there are several levels, yes names none of them, and no does not either: kept without
    yes, it would make what is labelled look rarer than it is.
    """
    names = {level.casefold(): index for index, level in enumerate(levels)}
    if len(levels) > 2:
        return names
    return dict.fromkeys(NEGATIVE_WORDS, 0) | dict.fromkeys(POSITIVE_WORDS, 1) | names


def scale_of(words: set[str], levels: Sequence[str]) -> Scale:
    """Choose between levels and yes/no from the words that occur."""
    notes: list[str] = []
    if not levels and words & set(LADDER[1:]):
        levels = LADDER
        notes.append(f"The levels are taken to be {' < '.join(LADDER)}.")
    elif len(levels) > 2 and _only_yes_no(words, levels):
        notes.append(f"The labels are yes or no; they do not tell {', '.join(levels)} apart.")
        levels = BINARY
    levels = tuple(levels) or BINARY
    codes = dict.fromkeys(UNKNOWN_WORDS, UNKNOWN) | _vocabulary(levels)
    answers = words - UNKNOWN_WORDS
    if answers and answers <= MARK_WORDS - {level.casefold() for level in levels}:
        codes[""] = 0
        notes.append("The cells are marked or blank; a blank cell is taken as no.")
    return Scale(levels, codes, tuple(notes))


def _only_yes_no(words: set[str], levels: Sequence[str]) -> bool:
    """Tell whether the words say yes somewhere and name no level above the lowest."""
    named = {level.casefold() for level in levels}
    answers = words - UNKNOWN_WORDS - named
    higher = words & (named - {levels[0].casefold()})
    return (
        not higher
        and bool(answers & POSITIVE_WORDS)
        and (answers <= POSITIVE_WORDS | NEGATIVE_WORDS)
    )


def answer_words(levels: Sequence[str]) -> frozenset[str]:
    """Return every word that could be a label, whether of the levels or yes and no."""
    return UNKNOWN_WORDS.union(_vocabulary(levels or LADDER), _vocabulary(BINARY))
