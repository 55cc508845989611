"""Laws of large label files: what is told of them is bounded, and costs little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DIM
from review_case import HOME, Case, case, closing, folder, served, template

from clipcal.index.store import Corpus, Outcome
from clipcal.service.gate import paths

__all__ = ["case", "folder", "template"]

HEADING = "image,category,label"


def bring(case: Case, *rows: str, **form: Any) -> Any:
    form = {"rater": "carol", "batch": "imported-1", **form}
    data = "\n".join((HEADING, *rows)).encode()
    return case.client.post("/v1/labels/import", files={"file": ("labels", data)}, data=form)


def test_of_many_unknown_names_the_first_are_listed_and_all_are_counted(case: Case) -> None:
    gone = [f"gone/{n:05d}.jpg" for n in range(3_000)]
    told = bring(case, *(f"{name},fire,yes" for name in gone), preview=True).json()
    assert told["unmatched"] == gone[:200]
    assert (told["unmatched_count"], told["ambiguous_count"]) == (3_000, 0)


def test_names_that_could_be_several_images_are_counted(folder: Path) -> None:
    corpus = Corpus.open(folder / "corpus")
    vectors = np.eye(220, DIM, dtype=np.float16) + np.float16(0.01)
    contents = [f"{n:064x}" for n in range(1_000, 1_220)]
    others = [
        Outcome(f"{HOME}/9/{n % 3}/{n:04d}.jpg", sha256, row=corpus.rows + n)
        for n, sha256 in enumerate(contents)
    ]
    corpus.commit(others, vectors, contents)
    corpus.close()
    for later in closing(served(folder)):
        rows = [f"{n:04d}.jpg,fire,yes" for n in range(230)]
        told = bring(later, *rows, preview=True).json()
    assert (told["ambiguous_count"], told["unmatched_count"]) == (220, 0)
    assert told["ambiguous"] == [f"{n:04d}.jpg" for n in range(200)]


def test_an_endless_name_is_not_sent_back_whole(case: Case) -> None:
    (told,) = bring(case, f"{'x' * 100_000},fire,yes", preview=True).json()["unmatched"]
    assert len(told) == 1_000


def test_where_files_lie_is_looked_up_once_however_many_names_are_hidden(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, resolve = [], Path.resolve

    def counted(path: Path, *given: Any, **named: Any) -> Path:
        looked.append(path)
        return resolve(path, *given, **named)

    monkeypatch.setattr(Path, "resolve", counted)
    hide = paths.hiding_places(case.settings)
    told = [hide(f"{case.settings.corpus}/{n}.jpg") for n in range(500)]
    assert told == [f"corpus/{n}.jpg" for n in range(500)]
    assert len(looked) < 10
