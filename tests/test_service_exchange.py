"""Laws of label files over HTTP: what goes out comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from review_case import (
    HOME,
    Case,
    case,
    closing,
    folder,
    levelled,
    make_corpus,
    served,
    template,
)

from clipcal.index.judgements import standing
from clipcal.index.store import Corpus, Outcome

__all__ = ["case", "folder", "levelled", "template"]

FORMATS = ("csv", "label-studio", "coco", "imagefolder")
Cells = dict[tuple[int, str, str], str | None]


@pytest.fixture
def other(template: Path, tmp_path: Path) -> Iterator[Case]:
    """A service on the same images, in which nobody has labelled."""
    home = tmp_path / "other"
    home.mkdir()
    make_corpus(home / "corpus")
    for name in ("two.toml", "text.npz"):
        (home / name).write_bytes((template / name).read_bytes())
    yield from closing(served(home))


def said(case: Case) -> Cells:
    corpus = case.context.workspace.corpus
    return {(one.item, one.category, one.rater): one.level for one in standing(corpus)}


def export(case: Case, format: str, **asked: Any) -> bytes:
    reply = case.get("labels/export", format=format, **asked)
    assert reply.status_code == 200, reply.text
    assert "attachment" in reply.headers["content-disposition"]
    content: bytes = reply.content
    return content


def bring(case: Case, data: bytes, **form: Any) -> Any:
    form = {"rater": "carol", "batch": "imported-1", **form}
    return case.client.post("/v1/labels/import", files={"file": ("labels", data)}, data=form)


def label(case: Case) -> None:
    case.label({1: "positive", 2: "negative", 3: "positive", 299: "positive"}, rater="ann")
    case.label({1: "positive", 2: "positive", 5: "negative"}, rater="bob", origin="near")
    case.label({1: "negative", 7: "positive"}, "water", rater="ann", origin="suggested")


@pytest.mark.parametrize("format", ["csv", "label-studio"])
def test_what_each_rater_says_comes_back(case: Case, other: Case, format: str) -> None:
    label(case)
    reply = bring(other, export(case, format))
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert (told["format"], told["written"], told["new"]) == (format, 9, 9)
    assert (told["unmatched"], told["ambiguous"]) == ([], [])
    assert said(other) == said(case)


@pytest.mark.parametrize("format", ["coco", "imagefolder"])
def test_the_majority_comes_back_as_one_raters(case: Case, other: Case, format: str) -> None:
    label(case)
    assert bring(other, export(case, format)).status_code == 200
    majority = {(1, "fire"), (2, "fire"), (3, "fire"), (299, "fire"), (7, "water")}
    no = {(5, "fire"), (1, "water")}
    wanted = dict.fromkeys(majority, "positive") | dict.fromkeys(no, "negative")
    assert {(i, c): level for (i, c, _), level in said(other).items()} == wanted
    assert {rater for *_, rater in said(other)} == {"carol"}


@pytest.mark.parametrize("format", FORMATS)
def test_files_name_no_folder_and_are_read_again_without_a_change(case: Case, format: str) -> None:
    case.label({1: "positive", 2: "negative"}, rater="carol")
    data = export(case, format)
    assert HOME.encode() not in data
    told = bring(case, data, preview=True).json()
    assert (told["new"], told["changed"], told["same"]) == (0, 0, 2)


def test_images_are_told_apart_whatever_they_are_called(folder: Path, tmp_path: Path) -> None:
    names = [
        *("/pics/a.jpg", "/pics/sub/a.jpg", "/pics/b.jpg", "/pics/ c.jpg", "file:///pics/%E9.jpg"),
        *("https://me:secret@host/d.jpg?key=1", "https://host/d.jpg?key=2", "/pics/e\u0301.jpg"),
    ]
    corpus = Corpus.create(tmp_path / "named", IDENTITY)
    hashes = [
        None if "://host" in name or "@" in name else f"{n:064x}" for n, name in enumerate(names)
    ]
    rows = [
        Outcome(name, sha256, row=n)
        for n, (name, sha256) in enumerate(zip(names, hashes, strict=True))
    ]
    vectors = np.eye(len(names), DIM, dtype=np.float16)
    corpus.commit(rows, vectors, hashes)
    corpus.close()
    (folder / "corpus").rename(tmp_path / "other")
    (tmp_path / "named").rename(folder / "corpus")
    for strange in closing(served(folder)):
        levels = {n: ("positive", "negative")[n % 2] for n in range(1, len(names) + 1)}
        strange.label(dict(levels), rater="carol")
        for format in FORMATS:
            data = export(strange, format)
            assert b"secret" not in data
            assert b"/pics" not in data
            told = bring(strange, data, preview=True).json()
            assert (told["same"], told["unmatched"], told["ambiguous"]) == (8, [], []), format


def test_a_previewed_import_writes_nothing(case: Case, other: Case) -> None:
    label(case)
    told = bring(other, export(case, "csv"), preview=True).json()
    assert (told["preview"], told["new"], told["written"]) == (True, 9, 0)
    assert said(other) == {}


def test_an_import_is_kept_once_and_taken_back_whole(case: Case, other: Case) -> None:
    label(case)
    other.label({1: "negative"}, rater="ann")
    before, data = said(other), export(case, "csv")
    assert bring(other, data).json()["changed"] == 1
    assert bring(other, data).json()["written"] == 0
    undone = other.post("labels/undo", {"batch": "imported-1"})
    assert undone.json() == {"batch": "imported-1", "undone": 9}
    assert said(other) == before


def test_a_file_in_other_levels_is_left_out_and_told_so_in_preview_too(
    levelled: Case,
) -> None:
    levelled.label({2: "minor", 3: "none"}, rater="ann")
    before = said(levelled)
    for preview in (True, False):
        reply = bring(levelled, b"image,fire\n1/0001.jpg,yes\n2/0002.jpg,no\n", preview=preview)
        told = reply.json()
        assert (told["new"], told["changed"], told["written"]) == (0, 0, 0)
        assert any(note.startswith("2 labels are left out: in the") for note in told["notes"])
    assert said(levelled) == before


def test_labels_are_given_in_the_levels_of_those_that_there_are(levelled: Case) -> None:
    assert levelled.get("categories").json()["levels"] == ["none", "minor", "major"]
    with levelled.context.workspace.writing() as corpus:
        corpus.replace_labels({f"{HOME}/0/0000.jpg": {"fire": "positive"}})
    assert levelled.get("categories").json()["levels"] == ["negative", "positive"]
    one = {"item": 2, "category": "fire", "level": "minor"}
    body = {"batch": "of-other-levels", "rater": "ann", "origin": "given", "labels": [one]}
    reply = levelled.post("labels", body)
    assert reply.status_code == 422
    assert "negative, positive" in reply.json()["detail"]
    assert bring(levelled, b"image,fire\n1/0001.jpg,yes\n").json()["written"] == 1
    lines = export(levelled, "csv").decode().split()
    assert [line.split(",")[2] for line in lines[1:]] == ["positive", "positive"]


def test_what_comes_back_without_its_raters_outlasts_no_correction(case: Case) -> None:
    case.label({20: "positive"}, rater="ada")
    data = export(case, "coco")
    told = bring(case, data, rater="bob").json()
    assert (told["same"], told["written"]) == (1, 0)
    case.label({20: "negative"}, rater="ada")
    assert case.get("items/20").json()["labels"] == {"fire": "negative"}


def test_an_import_under_somebody_elses_batch_is_refused(case: Case) -> None:
    case.label({1: "positive"}, batch="imported-1")
    reply = bring(case, b"image,category,label\n1/0001.jpg,fire,yes\n")
    assert reply.status_code == 409


def test_rows_that_match_no_image_are_listed(case: Case) -> None:
    reply = bring(case, b"image,category,label\n1/0001.jpg,fire,yes\ngone.jpg,fire,no\n")
    told = reply.json()
    assert (told["written"], told["unmatched"]) == (1, ["gone.jpg"])
    assert said(case) == {(2, "fire", "carol"): "positive"}


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"{", b"a,b\n1,2\n", b'{"images": 3}'])
def test_what_is_no_label_file_is_a_problem_with_a_sentence(case: Case, data: bytes) -> None:
    reply = bring(case, data)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert "labels" in reply.json()["detail"]


def test_more_labels_than_are_given_at_once_may_come_in_a_file(case: Case) -> None:
    rows = [
        f"{n % 3}/{n:04d}.jpg,{c},yes,{r}"
        for n in range(298)
        for c in ("fire", "water")
        for r in range(10)
    ]
    data = "\n".join(["image,category,label,annotator", *rows]).encode()
    assert bring(case, data).json()["written"] == len(rows) == 5_960


def test_images_that_wait_are_exported_with_how_they_came_to_be_seen(case: Case) -> None:
    for category in ("fire", "water"):
        case.label_truth(range(1, 101), category)
    assert case.post("calibrations", {"save": True}).status_code == 200
    case.post("review/rounds", {"images": 6, "audit": 1})
    for images, origin in (("suggested", "random"), ("flagged", "flagged"), ("near", "near")):
        data = export(
            case, "label-studio", images=images, category="fire", limit=4, predictions=True
        )
        tasks = json.loads(data)
        assert 0 < len(tasks) <= 4
        assert {task["data"]["origin"] for task in tasks} == {origin}
        assert all(task["predictions"] for task in tasks)
        queue = case.get("review/queue", order=images, category="fire", limit=4).json()
        assert [task["data"]["item"] for task in tasks] == [one["id"] for one in queue["items"]]


def test_predictions_need_a_calibration_and_a_format_that_has_room_for_them(case: Case) -> None:
    case.label({1: "positive"})
    assert case.get("labels/export", predictions=True).status_code == 422
    for asked in ({"predictions": True}, {"images": "flagged"}):
        reply = case.get("labels/export", format="label-studio", **asked)
        assert reply.status_code == 409
        assert "/v1/calibrations" in reply.json()["detail"]
    assert case.get("labels/export", images="suggested").status_code == 422
    assert case.get("labels/export", category="smoke").status_code == 422
