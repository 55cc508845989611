"""Laws of ``clipcal serve``: where it listens, whom it lets in, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from service_case import IMAGES, figure, picture, stock

from clipcal.cli import app
from clipcal.commands import serve as serve_module
from clipcal.errors import ProviderError, StoreError
from clipcal.service.server import address_of, bind
from clipcal.service.settings import Settings

__all__ = ["stock"]

TOKEN = "a-token-of-sufficient-length"
Chosen = Callable[..., Settings]


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(serve_module.TOKEN, raising=False)


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["serve", *arguments])


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Call the command, and return what would be served."""
    seen: list[Settings] = []

    def keep(settings: Settings, listener: socket.socket, **_: object) -> None:
        listener.close()
        seen.append(settings)

    monkeypatch.setattr(serve_module, "_serve", keep)

    def call(*arguments: str) -> Settings:
        result = called("--port", "0", *arguments)
        assert result.exit_code == 0, result.output
        return seen[-1]

    return call


# --- tokens -----------------------------------------------------------------------------------


def test_this_machine_needs_no_token(chosen: Chosen) -> None:
    assert chosen().token is None
    assert chosen("--host", "localhost").token is None


def test_elsewhere_a_new_token_is_made(chosen: Chosen) -> None:
    one, other = (chosen("--host", "0.0.0.0").token for _ in range(2))
    assert one is not None
    assert other is not None
    assert one != other
    assert len(one) >= 43  # 32 bytes


def test_a_token_can_be_given(
    chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert chosen("--token-file", str(file)).token == TOKEN
    monkeypatch.setenv(serve_module.TOKEN, f"{TOKEN}-too")
    assert chosen("--host", "0.0.0.0").token == f"{TOKEN}-too"
    assert chosen("--token-file", str(file)).token == TOKEN
    assert chosen("--no-token").token is None


@pytest.mark.parametrize(
    "text", ["", "short", "with a blank in the middle", "\u00fcber" * 8, "x" * 4097]
)
def test_what_is_no_secret_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    assert called("--token-file", str(file)).exit_code == 2
    assert called("--token-file", str(tmp_path / "none")).exit_code == 2


def test_everybody_is_let_in_only_if_it_is_meant(chosen: Chosen) -> None:
    refused = called("--host", "0.0.0.0", "--no-token")
    assert refused.exit_code == 2
    assert "--allow-anyone" in refused.output
    assert chosen("--host", "0.0.0.0", "--no-token", "--allow-anyone").token is None
    assert called("--no-token", "--token-file", "x").exit_code == 2


def test_limits_and_names_are_passed_on(chosen: Chosen) -> None:
    settings = chosen(
        *("--max-upload", "2", "--max-pixels", "1000", "--timeout", "1.5"),
        *("--host-name", "clips.example", "--host-name", "other.example:8443"),
    )
    assert settings.hosts == ("clips.example", "other.example:8443")
    limits = settings.limits
    assert (limits.upload, limits.pixels, limits.seconds) == (2 << 20, 1000, 1.5)


@pytest.mark.parametrize("name", ["https://clips.example", "clips.example/", "a:b", "::1", ""])
def test_what_no_browser_calls_a_host_is_refused_as_a_name(name: str) -> None:
    result = called("--host-name", name)
    assert result.exit_code == 2
    assert "HOST:PORT" in result.output


# --- where it listens -------------------------------------------------------------------------


def test_a_taken_port_is_told() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProviderError, match=rf"127.0.0.1:{port}.*--port 0"):
            bind("127.0.0.1", port)


def test_a_host_of_another_machine_is_told() -> None:
    with pytest.raises(ProviderError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)


def test_the_address_hands_the_token_in() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}/"
        assert address_of(listener, "a+b/c") == f"http://127.0.0.1:{port}/#token=a%2Bb%2Fc"
    with bind("", 0) as everywhere:
        host = address_of(everywhere).removeprefix("http://").rpartition(":")[0]
        assert host not in {"", "0.0.0.0", "[::]"}


def test_there_must_be_a_corpus(tmp_path: Path) -> None:
    result = called("--port", "0", "--corpus", str(tmp_path / "none"))
    assert isinstance(result.exception, StoreError)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "find_spec", lambda name: None if name == "uvicorn" else 1)
    result = called()
    assert isinstance(result.exception, ProviderError)
    assert "uvicorn" in str(result.exception)
    assert "pip install 'clipcal[service]'" in str(result.exception)


# --- a process --------------------------------------------------------------------------------


@pytest.fixture
def process(stock: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start services as processes of their own, on any port."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        files = ["--corpus", "corpus", "--calibration", "calibration.json", "--device", "cpu"]
        command = [sys.executable, "-m", "clipcal.cli", "serve", "--port", "0", *files, *arguments]
        one = subprocess.Popen(
            command, cwd=stock, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(one)
        return one

    yield start
    for one in begun:
        if one.poll() is None:
            one.kill()
        one.communicate()


def told(one: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until it listens, and read what it says of itself."""
    assert one.stdout is not None
    line = one.stdout.readline()
    assert line, one.communicate()[1]
    answer: dict[str, Any] = json.loads(line)
    return answer


def test_it_answers_programs_until_a_signal_and_then_finishes_what_was_begun(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    one = process("--json", "--max-upload", "1")
    about = told(one)
    assert (about["images"], about["labelled"], about["token"]) == (IMAGES, 0, None)
    url = about["url"]
    files = [("images", ("big.png", b"x" * (3 << 20), "image/png"))]
    large = httpx.post(f"{url}v1/embed", files=files, timeout=60)
    assert (large.status_code, large.json()["title"]) == (413, "Content Too Large")
    replies: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: replies.append(_embedded(url)))
    asking.start()
    while asking.is_alive() and not _begun(url):
        pass
    one.send_signal(signal.SIGTERM)
    asking.join(60)
    assert [reply.status_code for reply in replies] == [200]
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out, err) == (0, "", "")


def _embedded(url: str) -> httpx.Response:
    images = [("images", (f"{n}.png", picture(n), "image/png")) for n in range(16)]
    return httpx.post(f"{url}v1/embed", files=images, timeout=60)


def _begun(url: str) -> bool:
    return figure(httpx.get(f"{url}v1/metrics").text, "clipcal_batch_images_count") > 0


def test_the_address_that_is_told_answers_however_the_host_was_written(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    about = told(process("--json", "--host", "127.2", "--no-token", "--allow-anyone"))
    assert about["url"].startswith("http://127.0.0.2:")
    assert httpx.get(f"{about['url']}v1/health").status_code == 200


def test_people_are_told_one_address_with_the_token_and_end_it_by_a_key(
    process: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(serve_module.TOKEN, TOKEN)
    one = process()
    assert one.stderr is not None
    described, address = one.stderr.readline(), one.stderr.readline()
    assert f"{IMAGES} images, 0 of them labelled; calibration.json" in described
    page = next(word for word in address.split() if word.startswith("http"))
    url, _, fragment = page.partition("#")
    assert fragment == f"token={TOKEN}"
    assert httpx.get(f"{url}v1/health").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{url}v1/health", headers=bearer).json()["images"] == IMAGES
    one.send_signal(signal.SIGINT)
    out, rest = one.communicate(timeout=60)
    assert (one.returncode, out, rest) == (0, "", "")
