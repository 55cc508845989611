"""Axes that the report's charts share: places, round numbers, legends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A telephone shows the drawings at their own size, so that the letters stay legible there.
WIDTH = 360.0
TEXT = 6.3  # about the width of a character
ROW = 15.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A number or name at a place on an axis; `anchor` is SVG's text-anchor."""

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight map from values to places in the drawing.

    Attributes
    ----------
    low, high : float
        Ends of the axis, ``low < high``.
    start, end : float
        Where they lie; ``start > end`` on an axis that rises up the page.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place a value; what lies beyond an end is drawn at it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: a short line in the `style` of what it names."""

    x: float
    y: float
    style: str
    text: str


def ticks(low: float, high: float, rough: int = 8) -> list[tuple[float, str]]:
    """Choose round numbers from `low` to `high`, about `rough` of them at most."""
    step = round_step((high - low) / rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(n * step, f"{n * step:.{digits}f}") for n in numbers]


def round_step(rough: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)


def legend(entries: Sequence[tuple[str, str]], left: float) -> tuple[Key, ...]:
    """Lay out style and text of each entry, as many to a row as there is room for."""
    keys: list[Key] = []
    x, y = left, 11.0
    for style, text in entries:
        width = 24 + TEXT * len(text)
        if keys and x + width > WIDTH:
            x, y = left, y + ROW
        keys.append(Key(x, y, style, text))
        x += width + 14
    return tuple(keys)
