"""What a training step sees: pictures, captions as token numbers, and what is true where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clipcal.demo.captions import (
    PAIR_PATTERNS,
    TRAINING_PATTERNS,
    Caption,
    draw_caption,
    random_caption,
    vocabulary,
)
from clipcal.demo.rendering import RenderedScene
from clipcal.demo.scenes import OBJECTS

FILLER_WORDS = 0.35  # share of captions that get filler words

SHIFT = 1 / 12  # how far a picture is moved at most, as a fraction of its side
CELLS = {name: number + 1 for number, name in enumerate(OBJECTS)}  # 0 means background

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]  # (captions, length), padded with 0


class Vocabulary:
    """The tokens that training captions use, numbered from 0 in the tokenizer's order.

    Position 0 is the padding, 1 the filler that stands for every unseen token, and the last one
    the end of the text, which must stay the largest because CLIP finds it by that.

    Attributes
    ----------
    tokens
        The tokenizer's ids, in ascending order; ``tokens[i]`` has the number ``i + 2``.
    """

    FILLER = 1

    def __init__(self, tokenize: Callable[[str], list[int]], start: int, end: int) -> None:
        self._tokenize = tokenize
        seen = {token for phrase in vocabulary() for token in tokenize(phrase)}
        self.tokens: tuple[int, ...] = (*sorted(seen | {start}), end)
        self._number = {token: i + 2 for i, token in enumerate(self.tokens)}
        self._encoded: dict[str, tuple[int, ...]] = {}
        self.start, self.end = self._number[start], self._number[end]
        patterns = " ".join((*TRAINING_PATTERNS, *PAIR_PATTERNS)).replace("{}", " ")
        self.fillers = (self.FILLER,) * 20 + self.encode(patterns)

    def __len__(self) -> int:
        """Return the number of rows of the compact embedding."""
        return len(self.tokens) + 2

    def encode(self, phrase: str) -> tuple[int, ...]:
        """Return the numbers of a phrase's tokens, without start and end."""
        if phrase not in self._encoded:
            tokens = self._tokenize(phrase)
            self._encoded[phrase] = tuple(self._number[token] for token in tokens)
        return self._encoded[phrase]

    def caption(self, rng: Generator, caption: Caption) -> list[int]:
        """Return a caption's tokens, sometimes with filler words between them."""
        pieces = caption.pattern.split("{}")
        numbers = list(self.encode(pieces[0]))
        for mention, piece in zip(caption.mentions, pieces[1:], strict=True):
            numbers += [*self.encode(mention.text), *self.encode(piece)]
        if rng.random() < FILLER_WORDS:
            for _ in range(int(rng.integers(1, 6))):
                filler = self.fillers[int(rng.integers(len(self.fillers)))]
                at = 0 if rng.random() < 0.5 else len(numbers)
                numbers.insert(at, filler)
        return [self.start, *numbers, self.end]

    def rows_of(self, size: int) -> NDArray[np.int64]:
        """Return each of the tokenizer's `size` tokens' number; unseen ones get the filler's."""
        rows = np.full(size, self.FILLER)
        rows[0] = 0  # the padding
        rows[list(self.tokens)] = np.arange(len(self.tokens)) + 2
        return rows


class Facts:
    """Facts as vectors, so that a batch of captions is checked with two matrix products."""

    def __init__(self, known: Iterable[frozenset[str]]) -> None:
        names = sorted(frozenset().union(*known))
        self.number = {name: i for i, name in enumerate(names)}

    def known(self, scenes: Sequence[frozenset[str]]) -> Floats:
        """Return an array (scenes, facts) of the facts of each scene."""
        rows = np.zeros((len(scenes), len(self.number)), dtype=np.float32)
        for row, known in enumerate(scenes):
            rows[row, [self.number[name] for name in known]] = 1
        return rows

    def mentions(self, captions: Sequence[Caption]) -> Floats:
        """Return an array (2, captions, facts); a caption with one mention repeats it."""
        sought = np.zeros((2, len(captions), len(self.number)), dtype=np.float32)
        for column, caption in enumerate(captions):
            for slot in range(2):
                mention = caption.mentions[min(slot, len(caption.mentions) - 1)]
                known = [self.number[name] for name in mention.any_of if name in self.number]
                sought[slot, column, known] = 1
        return sought


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's material.

    Attributes
    ----------
    scenes
        The scenes, with their pictures.
    tokens
        The captions; the first half or more are drawn for the batch's own scenes.
    known
        Facts of the scenes, (scenes, facts), 0 or 1.
    sought
        Facts that the captions' mentions look for, (2, captions, facts), 0 or 1.
    moves
        How to move each picture: right and down as fractions of `SHIFT`, and -1 to mirror it,
        (scenes, 3).
    """

    scenes: Sequence[RenderedScene]
    tokens: Tokens
    known: Floats
    sought: Floats
    moves: Floats


def _pad(rows: Sequence[Sequence[int]], limit: int) -> Tokens:
    """Pad to the longest row, cutting rows at `limit` but for their end."""
    length = min(limit, max(len(row) for row in rows))
    padded = np.zeros((len(rows), length), dtype=np.int64)
    for i, row in enumerate(rows):
        kept = list(row) if len(row) <= length else [*row[: length - 1], row[-1]]
        padded[i, : len(kept)] = kept
    return padded


def epochs(scenes: Sequence[RenderedScene], rng: Generator) -> Iterator[RenderedScene]:
    """Yield scenes without end, every scene once in an epoch."""
    while True:
        for row in rng.permutation(len(scenes)):
            yield scenes[row]


def cell_labels(scenes: Sequence[RenderedScene], moves: Floats, cells: int) -> NDArray[np.int64]:
    """Name the object in each cell of a grid laid over the moved pictures.

    Parameters
    ----------
    scenes, moves
        The scenes and how their pictures are moved, as in `Batch`.
    cells
        Number of rows and columns of the grid.

    Returns
    -------
    array (scenes, cells, cells)
        Numbers from `CELLS`, 0 where no object covers the cell's centre.
    """
    labels = np.zeros((len(scenes), cells, cells), dtype=np.int64)
    centres = (np.arange(cells) + 0.5) / cells
    for grid, scene, (right, down, side) in zip(labels, scenes, moves, strict=True):
        nearest = np.full((cells, cells), 1.0)
        for name, x, y, radius in scene.places:
            moved = 0.5 + (x + right * SHIFT - 0.5) * side
            across, along = centres - moved, centres - (y + down * SHIFT)
            distance = np.hypot(across[None, :], along[:, None]) / (0.75 * radius)
            # An object that covers no centre still owns the cell that it lies in.
            distance.flat[distance.argmin()] *= 0.5
            grid[distance < nearest] = CELLS[name]
            nearest = np.minimum(nearest, distance)
    return labels


def make_batch(
    scenes: Sequence[RenderedScene], facts: Facts, vocab: Vocabulary, rng: Generator, context: int
) -> Batch:
    """Caption scenes: once each, and half as many captions without regard to them."""
    known = [scene.facts for scene in scenes]
    captions = [draw_caption(rng, of_scene) for of_scene in known]
    captions += [random_caption(rng) for _ in range(len(scenes) // 2)]
    moves = rng.uniform(-1, 1, (len(scenes), 3)).astype(np.float32)
    moves[:, 2] = np.sign(moves[:, 2])
    return Batch(
        scenes,
        _pad([vocab.caption(rng, caption) for caption in captions], context),
        facts.known(known),
        facts.mentions(captions),
        moves,
    )
