"""Laws of a corpus whose folder is replaced while it is served: no acknowledged label is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_case import Case, case, folder, template

from clipcal.errors import StoreError
from clipcal.index.judgements import history
from clipcal.index.store import Corpus

__all__ = ["case", "folder", "template"]

LABELS = b"image,category,label\n1/0001.jpg,fire,yes\n"
LABEL = {"item": 1, "category": "fire", "level": "positive"}
GIVEN = {"batch": "batch-after", "rater": "ann", "origin": "given", "labels": [LABEL]}


def replace_corpus(folder: Path, template: Path) -> None:
    shutil.rmtree(folder / "corpus")
    shutil.copytree(template / "corpus", folder / "corpus")


def bring(case: Case, **form: str) -> Any:
    form = {"rater": "carol", "batch": "imported-1", **form}
    return case.client.post("/v1/labels/import", files={"file": ("labels", LABELS)}, data=form)


ASKED: dict[str, Callable[[Case], Any]] = {
    "labels": lambda case: case.post("labels", GIVEN),
    "preview": lambda case: case.post("labels", {**GIVEN, "preview": True}),
    "undo": lambda case: case.post("labels/undo", {"batch": "batch-0000"}),
    "import": bring,
    "undo of an import": lambda case: case.post("labels/undo", {"batch": "imported-1"}),
    "draw": lambda case: case.post("review/rounds", {"images": 5}),
    "fit": lambda case: case.post("calibrations", {"save": True}),
    "items": lambda case: case.get("items"),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_replaced_corpus_is_neither_written_nor_read(
    case: Case, folder: Path, template: Path, what: str
) -> None:
    case.label({1: "positive", 2: "negative"})
    replace_corpus(folder, template)
    reply = ASKED[what](case)
    assert reply.status_code == 503, reply.text
    told = reply.json()["detail"]
    assert "replaced" in told
    assert "clipcal serve" in told
    assert str(folder) not in told
    anew = Corpus.open(folder / "corpus")
    assert history(anew, limit=9) == []
    anew.close()


@pytest.mark.parametrize("connection", ["writing", "apart"])
def test_what_was_written_to_a_corpus_that_is_gone_by_then_is_not_acknowledged(
    case: Case, folder: Path, template: Path, connection: str
) -> None:
    block = getattr(case.context.workspace, connection)()
    block.__enter__()
    replace_corpus(folder, template)
    with pytest.raises(StoreError, match="replaced"):
        block.__exit__(None, None, None)


def test_health_tells_that_the_corpus_was_replaced_or_is_gone(
    case: Case, folder: Path, template: Path
) -> None:
    assert case.get("health").json()["status"] == "ok"
    moved = folder / "elsewhere"
    (folder / "corpus").rename(moved)
    assert "removed" in case.get("health").json()["problem"]
    moved.rename(folder / "corpus")
    assert case.get("health").json()["status"] == "ok"
    replace_corpus(folder, template)
    told = case.get("health").json()
    assert (told["status"], "replaced" in told["problem"]) == ("degraded", True)
