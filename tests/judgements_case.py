"""A small corpus of made-up vectors of which raters say things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import DIM, IDENTITY

from clipcal.index.judgements import Origin, Said, judge, standing
from clipcal.index.store import Corpus, Outcome

IMAGES = 6  # items 1 to 6; the last two share a row


def filled(path: Path) -> Corpus:
    corpus = Corpus.create(path, IDENTITY)
    vectors = np.random.default_rng(0).normal(size=(IMAGES - 1, DIM)).astype(np.float16)
    rows = [*range(IMAGES - 1), IMAGES - 2]
    outcomes = [Outcome(f"{n}.png", f"hash{row}", row=row) for n, row in enumerate(rows, 1)]
    corpus.commit(outcomes, vectors, [f"hash{n}" for n in range(IMAGES - 1)])
    return corpus


def say(
    corpus: Corpus,
    batch: str,
    item: int,
    level: str | None = "yes",
    *,
    rater: str = "ann",
    origin: Origin = "random",
    category: str = "gore",
) -> bool:
    return judge(corpus, batch, [Said(item, category, level)], rater=rater, origin=origin)


def draw(corpus: Corpus, rows: list[int], category: str = "") -> None:
    drawn = [(row, 0.5, True) for row in rows]
    corpus.add_suggestions(drawn, method="m", seed=0, category=category, frame=IMAGES)


def stands(corpus: Corpus) -> list[tuple[int, str, str | None, str]]:
    return [(j.item, j.category, j.level, j.rater) for j in standing(corpus)]
