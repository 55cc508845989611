"""A small corpus of made-up vectors, between whose likes labels are carried, and reading files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import DIM, IDENTITY

from clipcal.calibrate.labels.exchange.files import read_exchange
from clipcal.calibrate.labels.exchange.records import Format, Read
from clipcal.index.store import Corpus, Outcome

CATEGORIES = ("gore", "Sexual Content")
LEVELS = ("none", "minor", "major")
NAMES = ("a/1.png", "b/1.png", "1.png", "b/2 .png ", 'ü/3,"x".png', "b/c/4.png")


def corpus_of(path: Path, uris: Sequence[str], rows: Sequence[int]) -> Corpus:
    """Embed images of the contents 0, 1, 2 …; equal numbers are copies."""
    corpus = Corpus.create(path, IDENTITY)
    contents = [f"{row:064x}" for row in range(max(rows) + 1)]
    vectors = np.random.default_rng(0).normal(size=(len(contents), DIM)).astype(np.float16)
    outcomes = [Outcome(uri, contents[row], row=row) for uri, row in zip(uris, rows, strict=True)]
    corpus.commit(outcomes, vectors, contents)
    return corpus


def filled(path: Path, folder: str = "/photos", names: Sequence[str] = NAMES) -> Corpus:
    """Every item of another content; the same names lie in another folder."""
    return corpus_of(path, [f"{folder}/{name}" for name in names], range(len(names)))


def read(
    content: object,
    format: Format | None = None,
    *,
    levels: Sequence[str] = (),
    exhaustive: bool = False,
) -> Read:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return read_exchange(
        text.encode() if isinstance(text, str) else text,
        format,
        name="labels.txt",
        categories=CATEGORIES,
        levels=levels,
        rater="me",
        exhaustive=exhaustive,
    )


def said(found: Read) -> list[tuple[str, str, str, str]]:
    return [(one.image, one.category, one.level, one.rater) for one in found.given]


def coco(*annotations: dict[str, object], **image: object) -> dict[str, object]:
    return {
        "info": {"exhaustive": True},
        "images": [{"id": 1, "file_name": "a/1.png", **image}, {"id": 2, "file_name": "b/1.png"}],
        "categories": [{"id": 1, "name": "Gore"}, {"id": 2, "name": "cat"}],
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations)],
    }
