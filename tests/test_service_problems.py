"""Laws of problems and limits: what went wrong is told, and nothing of the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service_case import (
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

from clipcal.errors import (
    BatchTaken,
    BundleError,
    CalibrationError,
    ClipcalError,
    CorpusBusy,
    DrawOutdated,
    FingerprintMismatch,
    LabelError,
    PromptError,
    ProviderError,
    SourceError,
    StoreError,
)
from clipcal.service.gate.paths import without_paths
from clipcal.service.settings import Settings

__all__ = ["service", "start", "stock"]

# --- problems ---------------------------------------------------------------------------------


def test_an_unknown_address_and_a_wrong_method_are_problems(service: Service) -> None:
    is_problem(service.client.get("/v1/nothing"), 404)
    is_problem(service.client.get("/nothing"), 404)
    is_problem(service.client.get("/page/nothing.js"), 404)
    reply = service.client.delete("/v1/health")
    is_problem(reply, 405)
    assert reply.headers["allow"] == "GET"
    is_problem(service.client.get("/v1/health/"), 404)


def test_a_request_that_is_not_as_documented_names_the_fields(service: Service) -> None:
    reply = service.client.get("/v1/health", params={"probe": "perhaps"})
    is_problem(reply, 422)
    assert [error["where"] for error in reply.json()["errors"]] == ["query.probe"]
    is_problem(service.client.post("/v1/session", content=b"{"), 422)
    is_problem(service.client.post("/v1/embed"), 422)


def test_a_parameter_that_is_not_there_is_refused(service: Service) -> None:
    reply = service.client.get("/v1/health?prob=true&probe=false&=x")
    is_problem(reply, 422)
    assert [error["where"] for error in reply.json()["errors"]] == ["query.prob", "query."]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LabelError, 422),
        (PromptError, 422),
        (CalibrationError, 422),
        (SourceError, 404),
        (FingerprintMismatch, 409),
        (CorpusBusy, 503),
        (DrawOutdated, 503),
        (BatchTaken, 409),
        (StoreError, 503),
        (ProviderError, 503),
        (BundleError, 503),
        (ClipcalError, 500),
        (ZeroDivisionError, 500),
    ],
)
def test_every_kind_of_error_has_its_status_and_tells_no_path(
    stock: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: int
) -> None:
    where = stock / "corpus"

    def fail(*_: object) -> None:
        raise error(f"it happened in {where}/corpus.db, see /var/secret/place.txt")

    with running(settings_of(stock)) as service:
        monkeypatch.setattr(service.context.encoder, "embed_images", fail)
        reply = service.send("embed", picture())
    detail = is_problem(reply, status)
    assert str(stock) not in detail
    assert "/var/secret" not in detail
    assert ("corpus.db" in detail) == (status != 500)
    assert ("retry-after" in reply.headers) == (error in (CorpusBusy, DrawOutdated))


def test_beside_a_command_the_client_is_told_what_does_the_same_over_http(
    stock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CalibrationError("Label more: clipcal suggest --audit 1 -n 100")

    with running(settings_of(stock)) as service:
        monkeypatch.setattr(service.context.encoder, "embed_images", fail)
        detail = is_problem(service.send("embed", picture()), 422)
    assert detail.endswith("-n 100. Over HTTP: POST /v1/review/rounds.")


def test_paths_become_names() -> None:
    settings = Settings(Path("/data/My Photos/corpus"), calibration=Path("/x/cal.json"))
    told = "see /data/My Photos/corpus and '/x/cal.json', /a/b/c.png or /v1/items; --corpus NEW a/b"
    assert without_paths(told, settings) == (
        "see corpus and 'cal.json', c.png or /v1/items; --corpus NEW a/b"
    )


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("cannot read file:///home/ann/a%20b/c.png: gone", "cannot read c.png: gone"),
        ("file://host/share/c.png and file:/srv/c.png", "c.png and c.png"),
        (r"no C:\Users\ann\c.png, nor D:/x/c.png", "no c.png, nor c.png"),
        (r"'C:\\Users\\ann\\c.png' is no image", "'c.png' is no image"),
        (r"on \\host\share\c.png or //host/share/c.png", "on c.png or c.png"),
        ("in /home/ann/My Photos/old ones/a b.png is", "in a b.png is"),
        ("'/home/ann/Photos, old. new/c.png' is", "'c.png' is"),
        ("\"/home/ann's/c.png\" and /srv/ann's own/c.png", '"c.png" and c.png'),
        ("/secret.toml; (/srv/c.png) =/srv/c.png", "secret.toml; (c.png) =c.png"),
        ("~/photos/c.png, ~ann/c.png, /srv/photos/ and /srv", "c.png, c.png, photos/ and srv"),
        ("see /srv/c.png. Next: clipcal embed a/b", "see c.png. Next: clipcal embed a/b"),
        ("n/a and/or ../up, https://host/a/b, s3://a/b, 1 / 2, /v1", None),
    ],
)
def test_where_files_lie_is_not_told_however_it_is_written(message: str, told: str | None) -> None:
    assert without_paths(message, Settings(Path("."))) == (told or message)


# --- limits -----------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_before_it_is_read(
    start: Callable[..., Service],
) -> None:
    service, sent = start(limits={"upload": 100_000}), []
    multipart = {"content-type": "multipart/form-data; boundary=x"}

    def body() -> Any:
        for number in range(50):
            sent.append(number)
            yield b"x" * 10_000

    told = service.client.post(
        "/v1/embed", content=body(), headers={**multipart, "content-length": "500000"}
    )
    assert "--max-upload" in is_problem(told, 413)
    untold = service.client.post("/v1/embed", content=body(), headers=multipart)
    is_problem(untold, 413)
    page = service.client.get("/v1/metrics").text
    assert figure(page, 'clipcal_uploads_rejected_total{reason="size"}') == 2


def test_a_request_that_takes_too_long_is_given_up_while_others_are_answered(
    start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, going_on = start(limits={"seconds": 0.3}), threading.Event()
    ended: list[bool] = []

    def wait(*_: object) -> list[object]:
        ended.append(going_on.wait(30))
        return []

    monkeypatch.setattr(service.context.encoder, "embed_images", wait)
    reply = service.send("embed", picture())
    assert "0.3 seconds" in is_problem(reply, 504)
    assert not ended  # nobody waited for the thread
    assert service.client.get("/v1/health").status_code == 200
    going_on.set()


def test_too_many_waiting_images_are_refused_for_a_moment(start: Callable[..., Service]) -> None:
    service = start(limits={"waiting": 1})
    reply = service.send("embed", picture(1), picture(2))
    is_problem(reply, 503)
    assert reply.headers["retry-after"] == "1"
    assert service.send("embed", picture(1)).status_code == 200
