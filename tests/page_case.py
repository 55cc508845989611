"""A real browser before a real server: what the tests of the page share.

Debian's Chromium is driven by Playwright. Where there is none, these tests are skipped, unless
``CLIPCAL_BROWSER=required`` says that there must be one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from served_case import CLI, Served, serving

SCENES = 200
RATER = "Ada"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Chromium gives no keys to a page that it has not painted yet.
_PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_PATIENCE = 30_000  # milliseconds: a busy machine is no failure
# What the browser says of a request that failed or was refused; the page says it in its own words.
_REFUSED = "Failed to load resource"


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's corpus and calibration, made once for all workers; to be copied, not changed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "demo-for-pages"
    with FileLock(shared / "demo-for-pages.lock"):
        if not (folder / "report.html").exists():
            command = [sys.executable, str(CLI), "demo"]
            options = ["--out", str(folder), "--scenes", str(SCENES)]
            subprocess.run([*command, *options], check=True, capture_output=True, timeout=300)
    return folder


def copy_of(demo: Path, folder: Path) -> Path:
    """Copy what a server writes to; the pictures are read where they are."""
    folder.mkdir()
    shutil.copytree(demo / "corpus", folder / "corpus")
    for name in ("calibration.json", "human.csv", "decisions.csv"):
        shutil.copy(demo / name, folder / name)
    return folder


@pytest.fixture
def demo_copy(demo_folder: Path, tmp_path: Path) -> Path:
    """A copy of the demo, of which the test may do what it likes."""
    return copy_of(demo_folder, tmp_path / "served")


@pytest.fixture
def served(demo_copy: Path) -> Iterator[Served]:
    """A server of the test's own copy of the demo."""
    with serving(demo_copy) as running:
        yield running


@pytest.fixture(scope="module")
def shared(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that tests of a module share: each labels under a name of its own, or not at all."""
    with serving(copy_of(demo_folder, tmp_path_factory.mktemp("pages") / "served")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CLIPCAL_BROWSER") == "required":
            pytest.fail("There is no Chromium. Install it: apt-get install chromium")
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        yield running
        running.close()


class OpenPage(Protocol):
    """Open the page of a server in a browser of its own.

    Parameters
    ----------
    served : Served
        The server.
    route : str
        The address's fragment, such as ``#/review``.
    size : tuple of int
        Of the window, in pixels; below 500 it is a phone, used by touch.
    rater : str, optional
        The name under which labels are given; None where nobody has said.
    troubled : bool
        The test expects that requests fail or are refused. Otherwise that fails it, as do an
        error in the page or a call to another host in any case.
    """

    def __call__(
        self,
        served: Served,
        route: str = "",
        *,
        size: tuple[int, int] = (1280, 800),
        rater: str | None = RATER,
        troubled: bool = False,
    ) -> Page: ...


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open pages, each as another person's browser; what goes wrong in them fails the test."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def open_it(
        served: Served,
        route: str = "",
        *,
        size: tuple[int, int] = (1280, 800),
        rater: str | None = RATER,
        troubled: bool = False,
    ) -> Page:
        width, height = size
        phone = width < 500
        context = browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=phone,
            has_touch=phone,
            reduced_motion="reduce",
        )
        context.set_default_timeout(_PATIENCE)
        contexts.append(context)
        _watch(context, urlsplit(served.url).netloc, wrong, troubled=troubled)
        if rater is not None:
            context.add_init_script(
                f"if (location.host) localStorage.setItem('clipcal.rater', {json.dumps(rater)})"
            )
        page = context.new_page()
        # Chromium learns by one way that file choosers are awaited and by another of the keys that
        # open them: it is told now, since a key would often come first.
        page.on("filechooser", lambda _: None)
        page.goto(f"{served.url}/{route}")
        page.evaluate(_PAINTED)
        return page

    yield open_it
    for context in contexts:
        context.close()
    if wrong:
        pytest.fail("\n".join(wrong))


def _watch(context: BrowserContext, host: str, wrong: list[str], *, troubled: bool) -> None:
    def note_request(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host:
            wrong.append(f"outside request: {url}")

    def note_line(kind: str, text: str) -> None:
        if kind == "error" and not (troubled and text.startswith(_REFUSED)):
            wrong.append(f"console: {text}")

    context.on("request", lambda request: note_request(request.url))
    context.on("console", lambda line: note_line(line.type, line.text))
    context.on("weberror", lambda error: wrong.append(f"error in the page: {error.error}"))
