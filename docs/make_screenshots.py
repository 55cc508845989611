"""Takes the pictures of the pages: ``python docs/make_screenshots.py``.

Makes the demo in a temporary folder, serves it, and looks at it with Debian's Chromium. Look at
the pictures before they are kept.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TARGET = Path(__file__).with_name("pages")
CLI = Path(__file__).resolve().parents[1] / "cli.py"
COLOURS = 256  # so that a file is a third as large
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
DESKTOP, PHONE = (1280, 800), (390, 844)


def classify(page: Page, folder: Path) -> None:
    """Drop a scene, and compare it with a few descriptions."""
    page.get_by_role("textbox", name="Descriptions").fill(
        "a glass of beer, a bottle of wine, a glass of water, pills, a cigarette, a knife, a flower"
    )
    page.locator("input[type=file]").first.set_input_files(folder / "images" / "scene_0002.jpg")
    page.wait_for_timeout(2500)


def review(page: Page, _: Path) -> None:
    """Label a few images, so that there is something to undo."""
    page.wait_for_timeout(2000)
    for key in ("1", "0", "1"):
        page.keyboard.press(key)
        page.wait_for_timeout(900)
    page.wait_for_timeout(1500)


def thresholds(page: Page, _: Path) -> None:
    """Move a threshold a little."""
    page.wait_for_timeout(2500)
    page.get_by_role("slider").first.focus()
    for _step in range(4):
        page.keyboard.press("Shift+ArrowRight")
        page.wait_for_timeout(300)
    page.wait_for_timeout(2500)


def explore(page: Page, _: Path) -> None:
    """Open the details of an image."""
    page.wait_for_timeout(2500)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)


SHOTS: dict[str, tuple[str, Callable[[Page, Path], None]]] = {
    "classify": ("#/classify", classify),
    "review": ("#/review?category=alcohol&queue=near", review),
    "thresholds": ("#/thresholds?category=drugs", thresholds),
    "explore": ("#/explore?category=alcohol&order=-score", explore),
}


def take(browser: Browser, url: str, folder: Path) -> None:
    """Take every picture: as wide as a desk in light, as narrow as a phone in the dark."""
    for size, scheme, ending in ((DESKTOP, "light", ""), (PHONE, "dark", "-phone")):
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        context.add_init_script("localStorage.setItem('clipcal.rater', 'Ada')")
        for name, (route, prepare) in SHOTS.items():
            page = context.new_page()
            page.goto(f"{url}/{route}")
            prepare(page, folder)
            picture = Image.open(io.BytesIO(page.screenshot()))
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(TARGET / f"{name}{ending}.png", optimize=True)
            page.close()


def main() -> None:
    """Make, serve, look."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        subprocess.run([sys.executable, str(CLI), "demo", "--out", str(folder)], check=True)
        serve = [sys.executable, str(CLI), "serve", "--port", "0", "--json"]
        server = subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"].rstrip("/")
            with sync_playwright() as playwright:
                chromium = playwright.chromium
                browser = chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS))
                take(browser, url, folder)
                browser.close()
        finally:
            server.terminate()
            server.wait(timeout=30)


if __name__ == "__main__":
    main()
