"""A journey through Explore: found by words, opened, selected and labelled by key, taken back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from page_case import RATER, OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import Locator, Page, expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]
CATEGORY = "weapons"


def images(page: Page) -> Locator:
    """The images of the sheet, each a button with its name and what is known of it."""
    return page.get_by_role("list", name="Images").get_by_role("button")


def expect_names(page: Page, names: Sequence[str]) -> None:
    """Wait until the sheet begins with the images of these names, in this order."""
    for place, name in enumerate(names):
        label = re.compile(rf"{re.escape(name)}(,|$)")
        expect(images(page).nth(place)).to_have_attribute("aria-label", label)


def test_filters_show_what_the_service_lists(shared: Served, open_page: OpenPage) -> None:
    page = open_page(shared, "#/explore")
    page.get_by_role("combobox", name="Category").select_option(CATEGORY)
    page.get_by_role("combobox", name="Decision").select_option("Flagged")
    page.get_by_role("combobox", name="Order").select_option("Highest score")
    listed = shared.get("items", category=CATEGORY, band="flagged", order="-score", limit=200)
    total = listed["total"]
    assert 3 < total < 200
    wanted = [one["name"] for one in listed["items"]]
    expect(images(page)).to_have_count(total)
    expect(page.get_by_role("status").filter(has_text=f"{total} images")).to_be_visible()
    expect_names(page, wanted)
    # Another person's browser, at the same address, shows the same.
    other = open_page(shared, page.url.partition("/")[2].partition("/")[2].partition("/")[2])
    expect(images(other)).to_have_count(total)
    expect_names(other, wanted)


def test_images_are_found_opened_labelled_together_and_taken_back_by_key(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    expect(images(page).first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("a knife")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="like “a knife”")).to_be_visible()
    found = [hit["item"] for hit in shared.get("search", text="a knife", k=4)["hits"]]
    expect_names(page, [one["name"] for one in found])

    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    details = page.get_by_role("complementary", name="Image")
    expect(details.get_by_role("heading", name=found[0]["name"])).to_be_visible()
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()

    for key in ("x", "ArrowRight", "x", "ArrowRight", "x"):
        page.keyboard.press(key)
    expect(page.get_by_text("3 images selected")).to_be_visible()
    chosen = found[:3]
    page.keyboard.press("l")
    dialog = page.get_by_role("dialog", name="Label 3 images")
    dialog.get_by_role("combobox", name="Category").select_option(CATEGORY)
    dialog.get_by_role("radio", name="positive").press("Space")
    expect(dialog.get_by_role("status")).to_have_text("3 new, 0 changed, 0 the same as before.")
    expect(dialog).to_contain_text("don't count toward a guarantee")
    assert shared.get("labels", rater=RATER)["labels"] == []
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    kept = shared.get("labels", rater=RATER)["labels"]
    assert sorted(one["item"] for one in kept) == sorted(one["id"] for one in chosen)
    assert {(one["category"], one["level"], one["origin"]) for one in kept} == {
        (CATEGORY, "positive", "search")
    }

    page.keyboard.press("u")
    expect(page.get_by_role("status").filter(has_text="Undone: 3 labels")).to_be_visible()
    assert all(one["undone"] for one in shared.get("labels", rater=RATER)["labels"])


def test_two_batches_are_taken_back_one_by_one_however_fast_it_is_asked(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore", rater="Grace")
    expect(images(page).first).to_be_visible()
    for place in (2, 4):
        images(page).nth(place).evaluate("image => image.focus()")
        page.keyboard.press("l")
        dialog = page.get_by_role("dialog", name="Label 1 image")
        dialog.get_by_role("radio", name="positive").press("Space")
        dialog.get_by_role("button", name="Keep these labels").click()
        expect(dialog).to_be_hidden()
    # What has the focus is what is labelled, however it came to have it.
    known = [one["id"] for one in shared.get("items", limit=5)["items"]]
    kept = shared.get("labels", rater="Grace")["labels"]
    assert {one["item"] for one in kept} == {known[2], known[4]}

    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(page.get_by_role("status").get_by_text("Undone: 1 label")).to_have_count(2)
    assert all(one["undone"] for one in shared.get("labels", rater="Grace")["labels"])
