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
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, sync_playwright
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


@pytest.fixture
def served(demo_folder: Path, tmp_path: Path) -> Iterator[Served]:
    """A server of a copy of the demo, of which the test may do what it likes."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copytree(demo_folder / "corpus", folder / "corpus")
    for name in ("calibration.json", "human.csv"):
        shutil.copy(demo_folder / name, folder / name)
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CLIPCAL_BROWSER") == "required":
            pytest.fail("There is no Chromium. Install it: apt-get install chromium")
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[Callable[..., Page]]:
    """Open a page of the served demo; errors in it, and calls to other hosts, fail the test."""
    wrong: list[str] = []
    contexts = []
    host = urlsplit(served.url).netloc

    def note_request(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host:
            wrong.append(f"outside request: {url}")

    def open_it(
        route: str = "", *, size: tuple[int, int] = (1280, 800), rater: str | None = RATER
    ) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error in the page: {error}"))
        page.on("request", lambda request: note_request(request.url))
        if rater is not None:
            page.add_init_script(f"localStorage.setItem('clipcal.rater', {json.dumps(rater)})")
        page.goto(f"{served.url}/{route}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not wrong
