"""What holds on every page: keys, themes, phones, and who is let in."""

from __future__ import annotations

from pathlib import Path

from page_case import OpenPage, browser, demo_copy, demo_folder, open_page, shared
from playwright.sync_api import Page, Route, expect
from served_case import Served, serving

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "shared"]
# By its route: something that is there once the page is.
PAGES = {
    "classify": ("radiogroup", "Compare with"),
    "review": ("radiogroup", "Queue"),
    "thresholds": ("slider", "Threshold of alcohol"),
    "explore": ("list", "Images"),
}
TOKEN = "a-token-for-tests-that-is-long-enough"


def arrived(page: Page, name: str) -> None:
    """Wait until a page is there."""
    role, label = PAGES[name]
    expect(page.get_by_role(role, name=label)).to_be_visible()  # type: ignore[arg-type]  # a Literal of roles
    page.wait_for_load_state("networkidle")


def test_every_page_is_reached_by_keys_and_shows_its_own(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    arrived(page, "explore")
    shown = set()
    for name in PAGES:
        page.keyboard.press("g")
        page.keyboard.press(name[0])
        arrived(page, name)
        page.keyboard.press("?")
        keys = page.get_by_role("dialog", name="Keys")
        for heading in ("This page", "Everywhere"):
            expect(keys.get_by_role("heading", name=heading)).to_be_visible()
        shown.add(keys.inner_text())
        page.keyboard.press("Escape")
        expect(keys).to_be_hidden()
    assert len(shown) == len(PAGES)


def test_a_page_that_is_left_before_it_came_leaves_no_trace(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/classify")
    arrived(page, "classify")
    held: list[Route] = []
    page.route("**/v1/calibration", lambda route: held.append(route))
    with page.expect_request("**/v1/calibration"):
        page.keyboard.press("g")
        page.keyboard.press("t")
    page.keyboard.press("g")
    page.keyboard.press("r")
    arrived(page, "review")
    address = page.url
    (late,) = held
    with page.expect_response("**/v1/calibration"):
        late.continue_()
    arrived(page, "review")
    expect(page).to_have_title("Review · clipcal")
    assert page.url == address
    expect(page.get_by_role("slider")).to_have_count(0)
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("Skip this image")
    expect(keys).not_to_contain_text("Raise the threshold")


def test_the_service_is_told_of_once_and_a_stray_file_opens_nothing(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/classify")
    arrived(page, "classify")
    page.get_by_role("button", name="This service:").dblclick()
    expect(page.get_by_role("dialog", name="This service")).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("dialog")).to_have_count(1)
    stray = """name => {
        const data = new DataTransfer();
        data.items.add(new File(["-"], "stray.jpg", { type: "image/jpeg" }));
        const what = { dataTransfer: data, bubbles: true, cancelable: true };
        return !document.querySelector("header").dispatchEvent(new DragEvent(name, what));
    }"""
    assert [page.evaluate(stray, name) for name in ("dragover", "drop")] == [True, True]


def test_no_page_is_wider_than_a_phone(shared: Served, open_page: OpenPage) -> None:
    page = open_page(shared, size=(390, 844))
    for name in PAGES:
        page.goto(f"{shared.url}/#/{name}")
        arrived(page, name)
        for width, height in ((390, 844), (360, 640)):
            page.set_viewport_size({"width": width, "height": height})
            # What is drawn follows the window's size only when that has been told.
            page.wait_for_function("w => document.documentElement.scrollWidth <= w", arg=width)


def test_a_theme_is_chosen_and_stays(shared: Served, open_page: OpenPage) -> None:
    page = open_page(shared, "#/explore")
    ground = "getComputedStyle(document.body).backgroundColor"
    page.get_by_role("button", name="Theme: auto").press("Enter")
    expect(page.get_by_role("button", name="Theme: light")).to_be_focused()
    light = page.evaluate(ground)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) != light
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) != light


def test_a_service_with_a_token_lets_in_who_has_it(demo_copy: Path, open_page: OpenPage) -> None:
    (demo_copy / "token").write_text(TOKEN, encoding="utf-8")
    with serving(demo_copy, "--token-file", "token") as served:
        page = open_page(served, "#/explore", troubled=True)
        asked = page.get_by_role("dialog", name="This service needs a token")
        expect(asked).to_have_count(1)
        asked.get_by_label("Token").fill("not-the-token-at-all")
        page.keyboard.press("Enter")
        expect(asked.get_by_role("alert")).to_contain_text("not the token")
        asked.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(asked).to_be_hidden()
        arrived(page, "explore")
        page.reload()
        arrived(page, "explore")

        other = open_page(served, f"#token={TOKEN}")
        arrived(other, "explore")
        assert TOKEN not in other.url
        assert other.evaluate("document.cookie") == ""
        other.go_back()
        assert TOKEN not in other.url
