"""Laws of labels over HTTP: what is acknowledged is kept, once, and can be taken back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from review_case import HOME, IMAGES, Case, case, closing, folder, levelled, served, template

from clipcal.index.judgements import Said, history, judge, standing
from clipcal.index.store import Corpus
from clipcal.service.settings import Limits

__all__ = ["case", "folder", "levelled", "template"]
ROOT = Path(__file__).resolve().parents[1]


def said(corpus: Path) -> dict[tuple[int, str, str], str | None]:
    """What stands in a corpus, read by somebody else."""
    opened = Corpus.open(corpus)
    try:
        return {(one.item, one.category, one.rater): one.level for one in standing(opened)}
    finally:
        opened.close()


def body(**more: Any) -> dict[str, Any]:
    one = {"item": 7, "category": "fire", "level": "positive"}
    return {"batch": "some-batch", "rater": "ann", "origin": "random", "labels": [one], **more}


def test_a_label_is_in_the_corpus_when_it_is_acknowledged(case: Case) -> None:
    reply = case.post("labels", body())
    assert reply.status_code == 201
    kept = {"batch": "some-batch", "preview": False, "again": False}
    assert reply.json() == {**kept, "new": 1, "changed": 0, "same": 0}
    assert said(case.settings.corpus) == {(7, "fire", "ann"): "positive"}


def test_the_same_batch_is_kept_once_however_often_it_is_sent(case: Case) -> None:
    case.post("labels", body())
    for _ in range(2):
        reply = case.post("labels", body())
        assert (reply.status_code, reply.json()["again"]) == (201, True)
    assert said(case.settings.corpus) == {(7, "fire", "ann"): "positive"}
    assert len(case.get("labels").json()["labels"]) == 1


def test_a_batch_that_was_kept_with_other_labels_or_was_undone_is_refused(case: Case) -> None:
    case.post("labels", body())
    other = body(labels=[{"item": 8, "category": "fire", "level": "negative"}])
    reply = case.post("labels", other)
    assert (reply.status_code, "some-batch" in reply.json()["detail"]) == (409, True)
    assert said(case.settings.corpus) == {(7, "fire", "ann"): "positive"}
    case.post("labels/undo", {"batch": "some-batch", "rater": "ann"})
    assert case.post("labels", body()).status_code == 409
    assert said(case.settings.corpus) == {}


def test_a_batch_is_its_raters(case: Case) -> None:
    case.post("labels", body())
    for reply in (
        case.post("labels", body(rater="bob")),
        case.post("labels", body(rater="bob", preview=True)),
        case.post("labels/undo", {"batch": "some-batch", "rater": "bob"}),
    ):
        assert reply.status_code == 409
        assert "ann" in reply.json()["detail"]


def test_what_is_meant_for_another_corpus_is_refused_and_this_one_s_name_lasts(
    case: Case, folder: Path
) -> None:
    here = case.get("categories").json()["corpus"]
    assert here == case.get("health").json()["corpus"] != ""
    other = "0" * 32
    for reply in (
        case.post("labels", body(corpus=other)),
        case.post("labels", body(corpus=other, preview=True)),
    ):
        assert (reply.status_code, "another corpus" in reply.json()["detail"]) == (409, True)
    assert said(case.settings.corpus) == {}
    assert case.post("labels", body(corpus=here)).status_code == 201
    undo = {"batch": "some-batch", "rater": "ann"}
    assert case.post("labels/undo", {**undo, "corpus": other}).status_code == 409
    assert case.post("labels/undo", {**undo, "corpus": here}).json()["undone"] == 1
    for again in closing(served(folder)):
        assert again.get("health").json()["corpus"] == here


def test_new_changed_and_same_are_told_against_what_this_rater_says(case: Case) -> None:
    case.label({1: "positive", 2: "positive", 3: "positive"})
    case.label({4: "positive"}, rater="bob")
    again = {1: "positive", 2: "negative", 3: None, 4: "positive", 5: None}
    told = case.label(dict(again), preview=True)
    assert (told["new"], told["changed"], told["same"]) == (1, 2, 2)
    kept = case.label(dict(again))
    assert (kept["new"], kept["changed"], kept["same"]) == (1, 2, 2)


def test_a_preview_writes_nothing(case: Case) -> None:
    reply = case.post("labels", body(preview=True))
    assert (reply.status_code, reply.json()["preview"]) == (200, True)
    assert said(case.settings.corpus) == {}
    assert case.get("labels").json()["labels"] == []


def test_of_one_cell_the_last_label_of_a_batch_counts(case: Case) -> None:
    labels = [{"item": 7, "category": "fire", "level": v} for v in ("positive", "negative")]
    assert case.post("labels", body(labels=labels)).json()["new"] == 1
    assert said(case.settings.corpus) == {(7, "fire", "ann"): "negative"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"item": 9999}, "9999"),
        ({"category": "Fire"}, "fire, water"),
        ({"level": "major"}, "negative, positive"),
    ],
)
def test_what_is_unknown_is_refused_whole_and_what_is_known_is_named(
    case: Case, wrong: dict[str, Any], named: str
) -> None:
    good = {"item": 7, "category": "fire", "level": "positive"}
    for preview in (True, False):
        reply = case.post("labels", body(labels=[good, {**good, **wrong}], preview=preview))
        assert reply.status_code == 422
        assert reply.headers["content-type"] == "application/problem+json"
        assert named in reply.json()["detail"]
    assert said(case.settings.corpus) == {}


def test_levels_are_those_of_the_prompt_set(levelled: Case) -> None:
    levelled.label({1: "minor", 2: "none"})
    assert levelled.post("labels", body()).status_code == 422


def test_more_labels_than_the_limit_are_refused(folder: Path) -> None:
    for strict in closing(served(folder, limits=Limits(labels=2))):
        labels = [{"item": n, "category": "fire", "level": None} for n in (1, 2, 3)]
        reply = strict.post("labels", body(labels=labels))
        assert (reply.status_code, "2" in reply.json()["detail"]) == (413, True)


def test_undoing_brings_back_what_was_said_before(case: Case) -> None:
    case.label({7: "negative"})
    case.post("labels", body())
    undone = case.post("labels/undo", {"batch": "some-batch", "rater": "ann"})
    assert undone.json() == {"batch": "some-batch", "undone": 1}
    assert said(case.settings.corpus) == {(7, "fire", "ann"): "negative"}
    again = case.post("labels/undo", {"batch": "some-batch", "rater": "ann"})
    assert (again.status_code, again.json()["undone"]) == (200, 0)


def test_a_batch_that_nobody_gave_cannot_be_undone(case: Case) -> None:
    reply = case.post("labels/undo", {"batch": "never-given", "rater": "ann"})
    assert reply.status_code == 404


def test_the_history_pages_through_everything_the_newest_first(case: Case) -> None:
    for item in range(1, 8):
        case.label({item: "positive"}, rater="bob" if item == 4 else "ann")
    case.post("labels/undo", {"batch": "batch-0006", "rater": "ann"})
    first = case.get("labels", limit=4).json()
    rest = case.get("labels", limit=4, before=first["before"]).json()
    assert [one["item"] for one in first["labels"] + rest["labels"]] == [7, 6, 5, 4, 3, 2, 1]
    assert rest["before"] is None
    assert [one["undone"] is not None for one in first["labels"]] == [True, False, False, False]
    assert [one["item"] for one in case.get("labels", rater="bob").json()["labels"]] == [4]
    assert HOME not in case.get("labels").text
    assert case.get("raters").json() == {"raters": ["ann", "bob"]}


def test_two_clients_at_once_lose_no_label(case: Case) -> None:
    def work(rater: str) -> set[str]:
        client, acknowledged = case.another_client(), set()
        for item in range(1, 201):
            one = {"item": item, "category": "fire", "level": "positive"}
            batch = f"{rater}-{item:06d}"
            sent = body(batch=batch, rater=rater, labels=[one])
            if client.post("/v1/labels", json=sent).status_code == 201:
                acknowledged.add(batch)
        return acknowledged

    with ThreadPoolExecutor(2) as threads:
        ann, bob = threads.map(work, ("ann", "bob"))
    assert (len(ann), len(bob)) == (200, 200)
    wanted = {(item, "fire", who) for item in range(1, 201) for who in ("ann", "bob")}
    assert set(said(case.settings.corpus)) == wanted


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve the corpus of a folder in a process of its own; yields it and its address."""
    files = {"--corpus": "corpus", "--prompts": "two.toml", "--prompt-vectors": "text.npz"}
    options = [word for name, file in files.items() for word in (name, str(folder / file))]
    command = [sys.executable, str(ROOT / "cli.py"), "serve", *options, "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


def give_until_killed(
    url: str, rater: str, acknowledged: dict[str, int], enough: threading.Event
) -> None:
    """Give one label after the other until nobody answers; note those that were acknowledged."""
    for n in range(5_000):
        batch, item = f"{rater}-{n:06d}", n % IMAGES + 1
        label = {"item": item, "category": "fire", "level": ("negative", "positive")[n % 2]}
        request = urllib.request.Request(
            f"{url}v1/labels",
            json.dumps(body(batch=batch, rater=rater, labels=[label])).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                assert reply.status == 201
                reply.read()
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return
        acknowledged[batch] = item
        if len(acknowledged) >= 60:
            enough.set()


def test_a_service_killed_while_people_label_loses_nothing_that_it_acknowledged(
    folder: Path,
) -> None:
    acknowledged: dict[str, int] = {}
    enough = threading.Event()
    with started(folder) as (process, url):
        people = [
            threading.Thread(target=give_until_killed, args=(url, who, acknowledged, enough))
            for who in ("ann", "bob")
        ]
        for one in people:
            one.start()
        waited = enough.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert waited
    for one in people:
        one.join(30)
    opened = Corpus.open(folder / "corpus")
    kept = {one.batch: one.item for one in history(opened, limit=10_000)}
    opened.close()
    assert len(acknowledged) >= 60
    assert acknowledged.items() <= kept.items()
    # What was not acknowledged may be there; of each rater no more than the one on its way.
    assert len(kept) - len(acknowledged) <= 2


def test_what_stands_of_some_images_is_what_stands_of_all_filtered(case: Case) -> None:
    corpus = case.context.workspace.corpus
    with case.context.workspace.writing() as writer:
        for n, rater in enumerate(("ann", "bob", "ann")):
            some = [
                Said(item, "fire", ("positive", None)[item % 2 * n // 2]) for item in range(1, 9)
            ]
            judge(writer, f"batch-{n}-{rater}", some, rater=rater, origin="random")
    every = standing(corpus)
    assert standing(corpus, [3, 4, IMAGES]) == [one for one in every if one.item in (3, 4)]
    assert standing(corpus, []) == []
