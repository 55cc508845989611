"""Laws of the service's core: what is told of images, of errors, and of itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from service_case import (
    IMAGES,
    THRESHOLDS,
    Service,
    figure,
    is_problem,
    picture,
    running,
    service,
    settings_of,
    start,
    stock,
)

from clipcal.calibrate.scoring.scores import decide
from clipcal.errors import (
    StoreError,
)
from clipcal.index.store import Corpus
from clipcal.models.decode import ImageFile, open_rgb
from clipcal.models.registry import find_bundle

__all__ = ["service", "start", "stock"]

SENTENCES = "a glass of beer, a street\na knife"


def with_a_tail(image: Path) -> bytes:
    """The same picture as another content: bytes after the end of a JPEG mean nothing."""
    return image.read_bytes() + b"\0"


# --- images -----------------------------------------------------------------------------------


def test_an_upload_of_a_corpus_image_is_known_and_has_its_stored_embedding(
    service: Service,
) -> None:
    reply = service.send("embed", service.photos[3].read_bytes()).json()
    (found,) = reply["results"]
    corpus = service.context.workspace.corpus
    stored = corpus.shards.take(np.array([3]))[0].astype(np.float32)
    assert (found["item"], found["error"]) == (4, None)
    np.testing.assert_allclose(found["embedding"], stored / np.linalg.norm(stored), atol=1e-7)
    assert (reply["model"], reply["dim"]) == (corpus.model.name, corpus.model.dim)


def test_the_same_pixels_are_embedded_as_the_corpus_did(service: Service) -> None:
    corpus = service.context.workspace.corpus
    files = [with_a_tail(photo) for photo in service.photos]
    results = service.send("embed", *files).json()["results"]
    assert [found["item"] for found in results] == [None] * IMAGES
    made = np.array([found["embedding"] for found in results])
    np.testing.assert_allclose(made, corpus.shards.take(np.arange(IMAGES)), atol=5e-4)


def test_an_upload_has_the_score_and_the_decision_of_its_copy_in_the_corpus(
    service: Service,
) -> None:
    view = service.context.workspace.view()
    known = service.send("score", *(photo.read_bytes() for photo in service.photos)).json()
    again = service.send("score", *(with_a_tail(photo) for photo in service.photos)).json()
    assert known["calibration"] == view.calibration
    for place, (one, other) in enumerate(zip(known["results"], again["results"], strict=True)):
        assert one["item"] == view.ids[place]
        for column, category in enumerate(view.categories):
            score = float(view.scored.scores[place, column])
            assert one["decisions"][category]["score"] == round(score, 6)
            assert other["decisions"][category]["score"] == pytest.approx(score, abs=2e-3)


def test_decisions_are_those_of_the_thresholds(service: Service) -> None:
    reply = service.send("score", *(picture(seed) for seed in range(8))).json()
    for found in reply["results"]:
        for category, decision in found["decisions"].items():
            threshold = THRESHOLDS.get(category)
            if threshold is None:
                assert (decision["level"], decision["threshold"]) == (None, None)
            else:
                flagged = bool(decide(np.array([decision["score"]]), threshold)[0])
                assert decision["level"] == ("positive" if flagged else "negative")
                assert decision["threshold"] == threshold


def test_without_a_calibration_there_are_scores_and_no_decisions(stock: Path) -> None:
    with running(settings_of(stock, calibration=stock / "none.json")) as bare:
        reply = bare.send("score", picture()).json()
    assert (reply["calibration"], reply["prompts"]) == (None, "demo")
    for decision in reply["results"][0]["decisions"].values():
        assert decision["score"] is not None
        assert (decision["level"], decision["threshold"]) == (None, None)


@pytest.mark.parametrize("path", ["embed", "score"])
def test_a_broken_image_fails_alone(service: Service, path: str) -> None:
    before = service.client.get("/v1/metrics").text
    sound, broken, last = service.send(path, picture(1), b"no image", picture(2)).json()["results"]
    assert (sound["error"], last["error"]) == (None, None)
    assert "not an image" in broken["error"]
    assert not broken.get("decisions")
    assert not broken.get("embedding")
    after = service.client.get("/v1/metrics").text
    rejected = 'clipcal_uploads_rejected_total{reason="content"}'
    assert figure(after, rejected) == figure(before, rejected) + 1


def test_more_images_than_go_at_once_are_refused(start: Callable[..., Service]) -> None:
    service = start(limits={"batch": 2})
    assert service.send("embed", picture(), picture()).status_code == 200
    assert "at most 2" in is_problem(service.send("embed", *[picture()] * 3), 413)


# --- classify ---------------------------------------------------------------------------------


def test_sentences_come_best_first_with_cosines_and_shares(service: Service) -> None:
    data = {"sentences": SENTENCES, "top": "2"}
    reply = service.send("classify", picture(5), field="image", **data).json()
    encoder = service.context.encoder
    (vector,) = encoder.embed_images([picture(5)])
    sentences = ["a glass of beer", "a street", "a knife"]
    cosines = encoder.embed_sentences(sentences) @ vector
    shares = softmax(cosines * find_bundle("builtin").manifest.logit_scale)
    order = np.argsort(-cosines)[:2]
    assert [one["sentence"] for one in reply["sentences"]] == [sentences[i] for i in order]
    assert [one["score"] for one in reply["sentences"]] == pytest.approx(cosines[order], abs=1e-5)
    assert [one["share"] for one in reply["sentences"]] == pytest.approx(shares[order], abs=1e-4)
    assert (reply["width"], reply["height"]) == (96, 64)
    assert reply["provider"] == "CPUExecutionProvider"
    assert (reply["prompts"], reply["categories"]) == (None, {})


def test_the_size_is_as_a_viewer_shows_it(service: Service) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (60, 40)).save(stream, "JPEG", exif=turned)
    data = {"sentences": "a street"}
    reply = service.send("classify", stream.getvalue(), field="image", **data).json()
    assert (reply["width"], reply["height"]) == (40, 60)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_header_tells_the_size_of_the_decoded_image(format: str, orientation: int) -> None:
    turned = Image.Exif()
    turned[0x0112] = orientation
    stream = io.BytesIO()
    Image.new("RGB", (60, 40)).save(stream, format, exif=turned)
    assert ImageFile(stream.getvalue()).upright_size() == open_rgb(stream.getvalue()).size


def test_the_served_prompt_set_scores_as_thresholds_are_set_on(service: Service) -> None:
    photo = service.photos[0].read_bytes()
    data = {"prompts": "demo"}
    reply = service.send("classify", photo, field="image", **data).json()
    scored = service.send("score", photo).json()["results"][0]
    assert reply["prompts"] == "demo"
    assert reply["categories"] == pytest.approx(
        {category: one["score"] for category, one in scored["decisions"].items()}, abs=1e-5
    )


def test_a_packaged_prompt_set_can_be_named(service: Service) -> None:
    reply = service.send("classify", picture(), field="image", prompts="moderation").json()
    assert reply["prompts"] == "moderation"
    assert len(reply["categories"]) > 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "Give `sentences`"),
        ({"sentences": " , \n"}, "Give `sentences`"),
        ({"sentences": "a cat", "prompts": "demo"}, "or else"),
        ({"prompts": "/etc/passwd"}, "demo, moderation"),
        ({"prompts": "../corpus"}, "demo, moderation"),
        ({"sentences": ",".join(f"thing {n}" for n in range(201))}, "at most 200"),
        ({"sentences": "a" * 501}, "500 characters"),
        ({"sentences": "a", "top": "0"}, "form.top|body.top"),
    ],
)
def test_what_cannot_be_classified_is_refused(
    service: Service, data: dict[str, str], said: str
) -> None:
    detail = is_problem(service.send("classify", picture(), field="image", **data), 422)
    assert any(part in detail for part in said.split("|"))


def test_a_file_that_is_no_image_is_refused(service: Service) -> None:
    reply = service.send("classify", b"<svg/>", field="image", sentences="a cat")
    assert "markup" in is_problem(reply, 422)


# --- what is counted and told -----------------------------------------------------------------


def test_health_tells_what_computes_only_once_it_does(stock: Path) -> None:
    with running(settings_of(stock)) as service:
        before = service.client.get("/v1/health").json()
        assert (before["status"], before["provider"], before["images"]) == ("ok", None, IMAGES)
        after = service.client.get("/v1/health", params={"probe": True}).json()
        assert (after["provider"], after["arithmetic"]) == ("CPUExecutionProvider", "float32")
        assert after["calibration"] == service.context.workspace.view().calibration


def test_a_model_that_is_not_there_is_told_and_the_rest_goes_on(
    stock: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "nowhere" / "bundle"
    with running(settings_of(stock, model=str(gone))) as service:
        health = service.client.get("/v1/health", params={"probe": True}).json()
        assert health["status"] == "degraded"
        assert "bundle" in health["problem"]
        assert str(tmp_path) not in health["problem"]
        assert str(tmp_path) not in is_problem(service.send("embed", picture()), 503)
        known = service.send("score", service.photos[0].read_bytes()).json()
        assert known["results"][0]["item"] == 1


def test_metrics_count_requests_by_their_template_and_images_by_batch(
    start: Callable[..., Service],
) -> None:
    service = start()
    service.send("embed", picture(1), picture(2))
    service.client.get("/v1/health")
    service.client.get("/v1/no/such/thing")
    service.client.request("BREW", "/v1/health")
    page = service.client.get("/v1/metrics").text
    request = "clipcal_requests_total{{method={},route={},status={}}}".format
    assert figure(page, request('"POST"', '"/v1/embed"', '"200"')) == 1
    assert figure(page, request('"GET"', '"/v1/health"', '"200"')) == 1
    assert figure(page, request('"GET"', '"other"', '"404"')) == 1
    assert figure(page, request('"other"', '"/v1/health"', '"405"')) == 1
    assert figure(page, "clipcal_images_embedded_total") == 2
    assert figure(page, "clipcal_corpus_images") == IMAGES
    assert 'model="builtin::scenes"' in page


def test_two_services_in_a_process_count_apart(start: Callable[..., Service]) -> None:
    one, other = start(), start()
    one.send("embed", picture())
    assert figure(other.client.get("/v1/metrics").text, "clipcal_images_embedded_total") == 0


# --- the document, the page -------------------------------------------------------------------


def test_every_operation_is_documented(service: Service) -> None:
    document = service.client.get("/v1/openapi.json").json()
    names = []
    for path, methods in document["paths"].items():
        assert path.startswith("/v1/")
        for operation in methods.values():
            names.append(operation["operationId"])
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]
            problem = operation["responses"]["422"]["content"]
            assert list(problem) == ["application/problem+json"]
            assert {"200", "401", "413", "503", "504"} & set(operation["responses"])
    assert len(set(names)) == len(names)
    assert {"health", "embed_images", "classify_image", "score_images"} <= set(names)
    assert {"Problem", "FieldError"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_page_is_served_and_asked_about_before_it_is_used_again(service: Service) -> None:
    index = service.client.get("/")
    assert index.headers["content-type"].startswith("text/html")
    assert index.headers["cache-control"] == "no-cache"
    script = service.client.get("/page/js/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    kept = {"if-none-match": script.headers["etag"]}
    assert service.client.get("/page/js/app.js", headers=kept).status_code == 304


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py"])
def test_nothing_beside_the_page_is_served(service: Service, path: str) -> None:
    is_problem(service.client.get(path), 404)


def test_there_must_be_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        running(settings_of(tmp_path)).__enter__()


def test_nothing_is_written_by_asking(start: Callable[..., Service]) -> None:
    service = start()
    corpus = service.settings.corpus

    def state() -> tuple[object, ...]:
        opened = Corpus.open(corpus)
        try:
            return opened.rows, opened.mark(), opened.items()
        finally:
            opened.close()

    before = state()
    service.send("embed", picture(7))
    service.send("score", picture(7))
    service.send("classify", picture(7), field="image", sentences="a cat")
    assert state() == before
