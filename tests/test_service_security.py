"""Laws of who may ask: tokens, hosts, origins, and what a browser is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from service_case import Service, is_problem, picture, service, start, stock
from starlette.websockets import WebSocketDisconnect

from clipcal.service.gate.security import cookie_of, is_loopback, same

__all__ = ["service", "start", "stock"]

TOKEN = "a-token-of-sufficient-length"
BEARER = {"authorization": f"Bearer {TOKEN}"}
COOKIE, KEPT = cookie_of(TOKEN)


@pytest.fixture
def guarded(start: Callable[..., Service]) -> Service:
    return start(token=TOKEN)


# --- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer a-token-of-sufficient-lengt"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer \u00fcber"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": f"{COOKIE}=" + "0" * 64},
        {"cookie": f"clipcal_token={KEPT}"},
        {"cookie": '"; ;=,'},
    ],
)
@pytest.mark.parametrize("path", ["/v1/health", "/v1/metrics", "/v1/openapi.json", "/v1/nothing"])
def test_without_the_token_nothing_of_the_api_is_told(
    guarded: Service, path: str, headers: dict[str, str]
) -> None:
    sent = {key: value.encode("latin-1") for key, value in headers.items()}
    reply = guarded.client.get(path, headers=sent)
    is_problem(reply, 401)
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_the_token_opens(guarded: Service) -> None:
    assert guarded.client.get("/v1/health", headers=BEARER).status_code == 200
    lower = {"authorization": f"bearer {TOKEN}"}
    assert guarded.client.get("/v1/openapi.json", headers=lower).status_code == 200


def test_every_operation_but_the_session_needs_the_token(guarded: Service) -> None:
    document = guarded.client.get("/v1/openapi.json", headers=BEARER).json()
    for path, methods in document["paths"].items():
        for method in methods:
            if path != "/v1/session":
                address = path.replace("{item}", "1")
                is_problem(guarded.client.request(method.upper(), address), 401)


def test_the_page_itself_needs_none(guarded: Service) -> None:
    assert guarded.client.get("/").status_code == 200
    assert guarded.client.get("/page/js/app.js").status_code == 200


def test_a_browser_gets_a_cookie_that_is_not_the_token(guarded: Service) -> None:
    reply = guarded.client.post("/v1/session", json={"token": TOKEN})
    assert reply.json() == {"needed": True}
    told = reply.headers["set-cookie"]
    for part in (f"{COOKIE}={KEPT}", "HttpOnly", "SameSite=strict", "Path=/"):
        assert part in told
    assert TOKEN not in told
    assert guarded.client.get("/v1/health").status_code == 200


def test_a_wrong_token_gets_no_cookie(guarded: Service) -> None:
    reply = guarded.client.post("/v1/session", json={"token": "another"})
    is_problem(reply, 401)
    assert "set-cookie" not in reply.headers
    assert guarded.client.get("/v1/health").status_code == 401


@pytest.mark.parametrize(
    "kept",
    [
        f"{COOKIE}={KEPT}; {COOKIE}=another",
        f"{COOKIE}=another; {COOKIE}={KEPT}",
        f"a[b]=1; {COOKIE}={KEPT}",
        f'"; =; {{"a": 1}}; \u00fc=\u00fc; {COOKIE}={KEPT}; last',
    ],
)
def test_cookies_of_other_applications_lock_nobody_out(guarded: Service, kept: str) -> None:
    sent = {"cookie": kept.encode("latin-1")}
    assert guarded.client.get("/v1/health", headers=sent).status_code == 200


def test_services_of_one_machine_leave_each_others_sessions_alone(
    start: Callable[..., Service],
) -> None:
    one, other = start(token=TOKEN), start(token=f"{TOKEN}-too")
    other.client.cookies = one.client.cookies  # of one browser, which keeps them by host
    for each in (one, other):
        each.client.post("/v1/session", json={"token": each.settings.token})
    assert [each.client.get("/v1/health").status_code for each in (one, other)] == [200, 200]


@pytest.mark.parametrize("given", ["\ud800", f"{TOKEN}\udfff", "\u00fc", "x" * 100_000])
def test_whatever_is_handed_in_as_a_token_is_refused_with_a_problem(
    guarded: Service, given: str
) -> None:
    kind = {"content-type": "application/json"}
    body = json.dumps({"token": given})  # httpx's own would not write half a character
    reply = guarded.client.post("/v1/session", content=body, headers=kind)
    is_problem(reply, 401 if given == "\u00fc" else 422)
    assert not same(given, TOKEN)


def test_where_no_token_is_needed_none_is_kept(service: Service) -> None:
    reply = service.client.post("/v1/session", json={"token": ""})
    assert reply.json() == {"needed": False}
    assert "set-cookie" not in reply.headers


def test_a_body_is_not_read_without_the_token(guarded: Service) -> None:
    def body() -> Any:
        raise AssertionError("it was read")
        yield b""

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "5"}
    is_problem(guarded.client.post("/v1/embed", content=body(), headers=headers), 401)


# --- hosts ------------------------------------------------------------------------------------


def asked_as(service: Service, host: str, **more: str) -> int:
    """Ask by a name of the service, and return the status."""
    reply = service.client.get("/v1/health", headers={"host": host, **more})
    if reply.status_code != 200:
        is_problem(reply, reply.status_code)
    return int(reply.status_code)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "LocalHost:80"]
)
def test_this_machine_is_known_by_its_names(service: Service, host: str) -> None:
    assert asked_as(service, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "10.0.0.1", "localhost.evil.example", "", "["]
)
def test_a_name_that_was_made_to_point_here_is_refused(service: Service, host: str) -> None:
    assert asked_as(service, host) == 421


def test_further_names_can_be_given(start: Callable[..., Service]) -> None:
    service = start(hosts=("Clips.example",))
    assert asked_as(service, "clips.example") == 200
    assert asked_as(service, "other.example") == 421


def test_a_service_for_everybody_is_asked_by_any_name_with_a_token(
    start: Callable[..., Service],
) -> None:
    service = start(host="0.0.0.0", token=TOKEN)
    assert asked_as(service, "any.example", **BEARER) == 200


def test_a_service_for_everybody_without_a_token_is_asked_by_numbers_only(
    start: Callable[..., Service],
) -> None:
    service = start(host="0.0.0.0")
    assert asked_as(service, "192.168.1.7:8765") == 200
    assert asked_as(service, "evil.example") == 421


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.7", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(("host", "bound"), [("127.2", "127.0.0.2"), ("files.lan", "10.0.0.9")])
def test_a_service_is_asked_by_the_number_that_it_is_bound_to(
    start: Callable[..., Service], host: str, bound: str
) -> None:
    service = start(host=host, bound=bound)
    assert [asked_as(service, name) for name in (host, bound)] == [200, 200]
    assert asked_as(service, "10.0.0.10") == 421


def test_all_numbers_are_known_however_that_was_written(start: Callable[..., Service]) -> None:
    service = start(host="0", bound="0.0.0.0")
    assert asked_as(service, "192.168.1.7:8765") == 200
    assert asked_as(service, "evil.example") == 421


# --- origins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8765"},  # the client asks 127.0.0.1:8765
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_not_ask(service: Service, headers: dict[str, str]) -> None:
    is_problem(service.client.post("/v1/session", json={"token": ""}, headers=headers), 403)
    is_problem(service.client.get("/v1/health", headers=headers), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_our_own_page_and_programs_may_ask(service: Service, headers: dict[str, str]) -> None:
    reply = service.client.post("/v1/session", json={"token": ""}, headers=headers)
    assert reply.status_code == 200


def from_page(service: Service, origin: str, **more: str) -> int:
    """Ask as a page of that origin does, and return the status."""
    headers = {"origin": origin, **more}
    reply = service.client.post("/v1/session", json={"token": ""}, headers=headers)
    if reply.status_code != 200:
        is_problem(reply, reply.status_code)
    return int(reply.status_code)


@pytest.mark.parametrize(
    ("name", "origin", "status"),
    [
        ("clips.example", "https://clips.example", 200),
        ("clips.example", "http://clips.example", 200),
        ("Clips.example", "https://clips.example:443", 200),
        ("clips.example", "https://other.example", 403),
        ("clips.example", "http://clips.example:9999", 403),
        ("clips.example", "http://clips.example:443", 403),
        ("clips.example", "ftp://clips.example", 403),
        ("clips.example:8443", "https://clips.example:8443", 200),
        ("clips.example:8443", "https://clips.example", 403),
        ("clips.example:8443", "https://clips.example:9999", 403),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]:8443", 200),
        ("2001:db8::7", "https://[2001:db8::7]", 200),
        ("2001:db8::7", "https://[2001:db8::7]:8443", 403),
    ],
)
def test_a_page_behind_a_proxy_may_ask_by_the_name_and_port_that_were_given(
    start: Callable[..., Service], name: str, origin: str, status: int
) -> None:
    service = start(hosts=(name,))
    assert from_page(service, origin, **{"sec-fetch-site": "same-origin"}) == status


def test_what_listens_at_another_port_of_a_named_host_is_another_site(
    start: Callable[..., Service],
) -> None:
    service = start(host="0.0.0.0", token=TOKEN, hosts=("images.example.org",))
    host = {"host": "images.example.org:8765"}
    cookie = {"cookie": f"{COOKIE}={KEPT}"}
    mine, other = "http://images.example.org:8765", "http://images.example.org:9999"
    for origin, status in ((mine, 422), (other, 403)):  # an empty form is no import
        headers = {**host, **cookie, "origin": origin}
        is_problem(service.client.post("/v1/labels/import", headers=headers), status)
    assert asked_as(service, "images.example.org:8765", **cookie) == 200


def test_a_host_without_a_port_has_the_schemes_own(start: Callable[..., Service]) -> None:
    service = start(hosts=("clips.example:1",))
    for host, origin, status in [
        ("clips.example", "https://clips.example", 200),
        ("clips.example:443", "https://clips.example", 200),
        ("clips.example", "https://clips.example:8443", 403),
    ]:
        assert from_page(service, origin, host=host) == status


def test_a_cookie_does_not_let_another_site_in(guarded: Service) -> None:
    guarded.client.post("/v1/session", json={"token": TOKEN})
    evil = {"origin": "https://evil.example"}
    is_problem(guarded.client.post("/v1/session", json={"token": TOKEN}, headers=evil), 403)


def test_other_origins_are_told_nothing_by_preflight(service: Service) -> None:
    asking = {"access-control-request-method": "POST"}
    reply = service.client.options("/v1/embed", headers=asking)
    is_problem(reply, 405)
    assert not [name for name in reply.headers if name.startswith("access-control")]


# --- what a browser is told -------------------------------------------------------------------


def test_every_answer_says_what_a_browser_may_do_with_it(service: Service) -> None:
    replies = [
        service.client.get("/"),
        service.client.get("/v1/health"),
        service.client.get("/v1/nothing"),
        service.client.get("/v1/health", headers={"host": "evil.example"}),
        service.send("embed", b"no image"),
    ]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"


def test_what_failed_unforeseen_is_hardened_too_and_tells_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret of the machine")

    monkeypatch.setattr(service.context.encoder, "embed_images", fail)
    reply = service.send("embed", picture(77))
    assert "secret" not in is_problem(reply, 500)
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_answers_of_the_api_are_not_kept(service: Service) -> None:
    assert service.client.get("/v1/health").headers["cache-control"] == "no-store"


def test_a_websocket_is_not_opened(service: Service) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        service.client.websocket_connect("ws://127.0.0.1:8765/v1/health"),
    ):
        pass
