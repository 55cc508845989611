"""Laws of searching over HTTP."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from service_case import (
    IMAGES,
    Service,
    figure,
    is_problem,
    picture,
    running,
    service,
    start,
    stock,
)

from clipcal.calibrate.decisions.flagged import near_flagged
from clipcal.index.card import CARD
from clipcal.index.store import Corpus, Outcome
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.resolve import sentence_vector
from clipcal.prompts.vectors import TextVectors
from clipcal.service.settings import Settings

__all__ = ["service", "start", "stock"]


def found(service: Service, **asked: Any) -> dict[str, Any]:
    reply = service.client.get("/v1/search", params=asked)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def told(answer: dict[str, Any]) -> list[tuple[int, float]]:
    return [(hit["item"]["id"], hit["similarity"]) for hit in answer["hits"]]


def nearest(service: Service, query: np.ndarray, k: int) -> list[tuple[int, Any]]:
    """What is nearest to a vector, by a product with every embedding."""
    view = service.context.workspace.view()
    similar = view.corpus.shards.take(view.scored.rows).astype(np.float64) @ query
    best = np.argsort(-similar, kind="stable")[:k]
    return [(int(view.ids[n]), pytest.approx(float(similar[n]), abs=1e-5)) for n in best]


def row(service: Service, place: int) -> np.ndarray:
    view = service.context.workspace.view()
    vector = view.corpus.shards.take(view.scored.rows[[place]])[0].astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def test_a_sentence_finds_what_its_vector_is_nearest_to(service: Service) -> None:
    corpus = service.context.workspace.corpus
    answer = found(service, text="a glass of beer", k=5)
    vector = sentence_vector("a glass of beer", corpus.model).astype(np.float64)
    assert told(answer) == nearest(service, vector, 5)
    assert (answer["query"], answer["flagged"]) == ("a glass of beer", None)


def test_an_image_of_the_corpus_finds_what_is_like_it_but_not_itself(service: Service) -> None:
    answer = found(service, item=4, k=6)
    assert told(answer) == nearest(service, row(service, 3), 7)[1:]
    assert answer["query"] == "03.jpg"


def test_an_uploaded_image_of_the_corpus_finds_itself_first_and_is_not_embedded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("its embedding is stored")

    monkeypatch.setattr(type(service.context.encoder), "embed_images", refuse)
    reply = service.send("search", service.photos[5].read_bytes(), field="image", k=4)
    assert told(reply.json()) == nearest(service, row(service, 5), 4)


def test_an_upload_that_is_no_image_is_refused_and_counted(service: Service) -> None:
    counted = 'clipcal_uploads_rejected_total{reason="content"}'
    before = figure(service.client.get("/v1/metrics").text, counted)
    assert "0.png" in is_problem(service.send("search", b"none", field="image"), 422)
    assert figure(service.client.get("/v1/metrics").text, counted) == before + 1


def test_another_image_finds_what_its_embedding_is_nearest_to(service: Service) -> None:
    image = picture(seed=77)
    (vector,) = service.context.encoder.embed_images([image])
    assert isinstance(vector, np.ndarray)
    reply = service.send("search", image, field="image", k=4)
    assert told(reply.json()) == nearest(service, vector.astype(np.float64), 4)


def test_a_photo_made_smaller_finds_the_photo(service: Service) -> None:
    small = io.BytesIO()
    Image.open(service.photos[6]).resize((120, 90)).save(small, "PNG")
    reply = service.send("search", small.getvalue(), field="image", k=1)
    assert reply.json()["hits"][0]["item"]["name"] == "06.jpg"


def test_near_flagged_finds_unflagged_images_and_names_the_flagged_ones(service: Service) -> None:
    view = service.context.workspace.view()
    assert view.contract is not None
    expected = near_flagged(view.corpus, view.scored, view.contract, "alcohol", 5)
    answer = found(service, flagged="alcohol", k=5)
    assert answer["flagged"] == expected.flagged > 0
    assert [hit["item"]["name"] for hit in answer["hits"]] == [
        Path(one.uri).name for one in expected.results
    ]
    for hit, one in zip(answer["hits"], expected.results, strict=True):
        assert hit["item"]["decisions"]["alcohol"]["level"] == "negative"
        assert hit["near"]["decisions"]["alcohol"]["level"] == "positive"
        assert hit["near"]["name"] == Path(one.near).name


def test_a_flagged_image_that_is_removed_meanwhile_keeps_its_name(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    view = start().context.workspace.view()
    assert view.contract is not None
    flagged = [n for n, score in enumerate(view.scored.column("alcohol")) if score >= 0.0]
    other = Corpus.open(tmp_path / "served" / "corpus")
    other.remove([view.scored.uris[place] for place in flagged])  # the scores are those of before
    found = near_flagged(view.corpus, view.scored, view.contract, "alcohol", 5)
    assert {one.near for one in found.results} <= {view.scored.uris[place] for place in flagged}
    assert found.results


def test_what_is_embedded_meanwhile_is_found(start: Callable[..., Service], tmp_path: Path) -> None:
    started = start()
    assert len(told(found(started, item=1, k=200))) == IMAGES - 1
    other = Corpus.open(tmp_path / "served" / "corpus")
    twin = other.shards.take(np.array([0]))
    other.commit([Outcome("/new.jpg", "d" * 64, 1, "", other.rows)], twin, ["d" * 64])
    first = found(started, item=1, k=200)["hits"][0]
    assert (first["item"]["id"], round(first["similarity"], 3)) == (IMAGES + 1, 1.0)


def test_searching_goes_on_while_another_process_writes(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    corpus = Corpus.open(tmp_path / "served" / "corpus")
    (corpus.path / CARD).unlink(missing_ok=True)
    with corpus.writing():
        started = start()
        reply = started.client.get("/v1/search", params={"item": 1})
        assert "clipcal index" in is_problem(reply, 503)  # there was never an index
    assert len(found(start(), item=1)["hits"]) == IMAGES - 1


@pytest.mark.parametrize(
    ("asked", "status", "fact"),
    [
        ({}, 422, "exactly one"),
        ({"text": "a", "item": 1}, 422, "exactly one"),
        ({"text": "  "}, 422, "empty"),
        ({"text": "a" * 501}, 422, "text"),
        ({"item": 99}, 404, "99"),
        ({"flagged": "nope"}, 422, "alcohol, smoking"),
        ({"flagged": "gore"}, 422, "no threshold"),
        ({"item": 1, "k": 201}, 422, "k"),
    ],
)
def test_what_cannot_be_searched_is_a_problem(
    service: Service, asked: dict[str, Any], status: int, fact: str
) -> None:
    assert fact in is_problem(service.client.get("/v1/search", params=asked), status)


def test_what_is_no_image_is_a_problem(service: Service) -> None:
    reply = service.send("search", b"no image", field="image")
    assert "not an image" in is_problem(reply, 422)


def test_without_a_calibration_nothing_is_near_flagged(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "served" / "calibration.json").unlink()
    reply = start().client.get("/v1/search", params={"flagged": "gore"})
    assert "no calibration" in is_problem(reply, 409)


@pytest.fixture
def imported(tmp_path: Path) -> Settings:
    """Vectors that were made elsewhere, and those of the prompts; there is no model."""
    rng = np.random.default_rng(3)
    corpus = Corpus.create(tmp_path / "served" / "corpus", ModelIdentity.external("far", 8))
    vectors = rng.normal(size=(9, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    outcomes = [Outcome(f"https://me:secret@host/{n}.jpg?key=1", row=n) for n in range(9)]
    corpus.commit(outcomes, unit, [None] * 9)
    sentences = (*load_prompt_set("demo").sentences, "something else")
    texts = rng.normal(size=(len(sentences), 8)).astype(np.float32)
    TextVectors(sentences, texts, "far").save(tmp_path / "vectors.npz")
    return Settings(
        tmp_path / "served" / "corpus",
        tmp_path / "none.json",
        prompts="demo",
        prompt_vectors=tmp_path / "vectors.npz",
    )


def test_imported_vectors_are_searched_by_sentences_that_were_brought(imported: Settings) -> None:
    with running(imported) as started:
        hit = found(started, text="something else", k=1)["hits"][0]["item"]
        assert hit["name"].startswith("https://host/")
        assert (hit["picture"], "secret" in hit["name"]) == (False, False)
        reply = started.client.get("/v1/search", params={"text": "nobody encoded this"})
        assert "--prompt-vectors" in is_problem(reply, 503)
        assert str(imported.corpus.parent) not in reply.text
        assert len(found(started, item=1)["hits"]) == 8
        reply = started.send("search", picture(), field="image")
        assert "--prompt-vectors" in is_problem(reply, 503)
