"""What is asked in a dialog belongs to its page; what is being written is finished all the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_case import (
    OpenPage,
    browser,
    demo_copy,
    demo_folder,
    open_page,
    served,
    shared,
)
from playwright.sync_api import Locator, Page, Route, expect
from served_case import Served, serving

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "served", "shared"]
CATEGORY = "alcohol"
TOKEN = "a-token-for-tests-that-is-long-enough"
# By its route: the key that opens a dialog there, and what that is called.
DIALOGS = {
    "review": ("d", re.compile("^Draw images")),
    "thresholds": ("f", "Fit all thresholds to the labels"),
    "explore": ("l", "Label 1 image"),
}


def on(page: Page, route: str) -> None:
    """Wait until the page of a route is there, and takes keys."""
    expect(page).to_have_title(re.compile(f"^{route.title()} "))
    expect(page.get_by_role("main")).not_to_have_attribute("aria-busy", "true")


def ask(page: Page, route: str) -> Locator:
    """Open the dialog of a page by its key."""
    on(page, route)
    if route == "explore":
        images = page.get_by_role("list", name="Images")
        expect(images.get_by_role("listitem").first).to_be_visible()
    key, name = DIALOGS[route]
    page.keyboard.press(key)
    asked = page.get_by_role("dialog", name=name)
    expect(asked).to_be_visible()
    return asked


def go(page: Page, route: str) -> None:
    page.keyboard.press("g")
    page.keyboard.press(route[0])
    on(page, route)


@pytest.mark.parametrize("route", DIALOGS)
def test_a_dialog_is_cancelled_when_another_page_is_shown(
    route: str, shared: Served, open_page: OpenPage
) -> None:
    posted: list[str] = []
    page = open_page(shared, "#/classify")
    page.on("request", lambda request: request.method == "POST" and posted.append(request.url))
    on(page, "classify")
    go(page, route)
    ask(page, route)
    page.go_back()
    on(page, "classify")
    expect(page.get_by_role("dialog")).to_have_count(0)
    # The page that is shown has its keys, and no other.
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("Type descriptions")
    expect(keys).not_to_contain_text("Skip this image")
    page.go_forward()
    on(page, route)
    expect(page.get_by_role("dialog")).to_have_count(0)
    ask(page, route)
    assert all(url.endswith("/what-if") for url in posted)


def test_one_step_back_closes_the_dialog_and_the_image_that_it_is_about(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    images = page.get_by_role("list", name="Images")
    images.get_by_role("button", name="scene_0003.jpg").click()
    panel = page.get_by_role("complementary")
    expect(panel).to_be_visible()
    ask(page, "explore")
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(panel).to_be_hidden()
    expect(images).to_be_visible()


def test_what_is_being_saved_is_saved_though_another_page_is_shown(
    served: Served, open_page: OpenPage
) -> None:
    before = served.get("calibration")["sha256"]
    page = open_page(served, "#/classify")
    on(page, "classify")
    go(page, "thresholds")
    slider = page.get_by_role("slider", name=f"Threshold of {CATEGORY}", exact=True)
    expect(slider).to_be_visible()
    page.keyboard.press("Shift+ArrowRight")
    changes = page.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("1 change, not saved")
    placed = slider.get_attribute("aria-valuenow") or ""
    page.keyboard.press("Control+s")
    offered = page.get_by_role("dialog", name="Save these thresholds?")
    expect(offered).to_be_visible()

    held: list[Route] = []
    page.route("**/v1/calibrations", lambda route: held.append(route))
    with page.expect_request("**/v1/calibrations"):
        offered.get_by_role("button", name="Save the calibration").press("Enter")
    page.go_back()
    on(page, "classify")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert served.get("calibration")["sha256"] == before
    (saving,) = held
    saving.continue_()
    expect(page.get_by_text("The calibration is saved.")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert served.get("calibration")["sha256"] != before

    go(page, "thresholds")
    expect(slider).to_have_attribute("aria-valuenow", placed)
    expect(changes).to_be_hidden()


def test_what_would_be_saved_is_not_offered_on_another_page(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(served, "#/classify")
    on(page, "classify")
    go(page, "thresholds")
    expect(page.get_by_role("slider", name=f"Threshold of {CATEGORY}")).to_be_visible()
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_role("region", name="Changes")).to_contain_text("1 change, not saved")
    held: list[Route] = []
    page.route("**/v1/calibrations", lambda route: held.append(route))
    with page.expect_request("**/v1/calibrations"):
        page.keyboard.press("Control+s")
    working = page.get_by_text("Working out what changes…")
    expect(working).to_be_visible()
    page.go_back()
    on(page, "classify")
    held[0].continue_()
    expect(working).to_have_count(0)
    go(page, "thresholds")
    expect(page.get_by_role("region", name="Changes")).to_contain_text("1 change, not saved")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_token_is_asked_for_whichever_page_is_shown(
    demo_copy: Path, open_page: OpenPage
) -> None:
    (demo_copy / "token").write_text(TOKEN, encoding="utf-8")
    with serving(demo_copy, "--token-file", "token") as served:
        page = open_page(served, "#/review", troubled=True)
        asked = page.get_by_role("dialog", name="This service needs a token")
        expect(asked).to_be_visible()
        page.evaluate("location.hash = '#/thresholds'")
        expect(page.get_by_role("link", name="Thresholds")).to_have_attribute(
            "aria-current", "page"
        )
        expect(asked).to_have_count(1)
        asked.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(asked).to_have_count(0)
        on(page, "thresholds")
        expect(page.get_by_role("slider", name=f"Threshold of {CATEGORY}")).to_be_visible()
