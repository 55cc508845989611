"""What an object kind is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from clipcal.demo.drawing import Brush

Draw = Callable[[Brush, Generator], str]  # returns the colour's name, "" where none is said


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """One kind of object that a scene can show.

    Attributes
    ----------
    name
        The kind's name, unique.
    nouns
        How a caption may call it, with article; the first is the usual one.
    draw
        Draws it with a brush and returns its colour's name ("" where captions say no colour).
    categories
        The demo's categories that the object belongs to.
    groups
        Wider words for it, with article ("a weapon", "fruit").
    turn
        Largest rotation, in degrees to either side.
    size
        Smallest and largest extent as fractions of the picture's shorter side.
    """

    name: str
    nouns: tuple[str, ...]
    draw: Draw
    categories: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    turn: float = 12.0
    size: tuple[float, float] = (0.32, 0.62)
