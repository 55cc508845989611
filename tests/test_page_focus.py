"""The focus in Explore: where the sheet is another, it is on what came, not nowhere."""

from __future__ import annotations

from page_case import OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import Locator, Page, expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]


def images(page: Page) -> Locator:
    return page.get_by_role("list", name="Images").get_by_role("button")


def like(page: Page) -> Locator:
    """What is said of a search for neighbours."""
    return page.get_by_role("status").filter(has_text="like scene")


def test_the_focus_in_the_sheet_is_on_its_first_image_when_another_has_come(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    expect(images(page).first).to_be_visible()
    images(page).nth(3).focus()
    page.keyboard.press("n")
    expect(like(page)).to_be_visible()
    expect(images(page).first).to_be_focused()

    page.keyboard.press("ArrowRight")
    expect(images(page).nth(1)).to_be_focused()
    page.go_back()
    expect(like(page)).to_have_count(0)
    expect(images(page).first).to_be_focused()


def test_the_focus_goes_to_the_sheet_when_what_had_it_goes(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    expect(images(page).first).to_be_visible()
    images(page).nth(3).press("Enter")
    details = page.get_by_role("complementary", name="Image")
    details.get_by_role("button", name="Neighbours").press("Enter")
    expect(details).to_be_hidden()
    expect(like(page)).to_be_visible()
    expect(images(page).first).to_be_focused()

    page.get_by_role("button", name="Back to all").press("Enter")
    expect(like(page)).to_have_count(0)
    expect(images(page).first).to_be_focused()


def test_the_focus_is_in_the_sheet_when_the_selection_is_cleared(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    expect(images(page).first).to_be_visible()
    images(page).nth(2).focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Clear", exact=True).press("Enter")
    expect(page.get_by_text("1 image selected")).to_have_count(0)
    expect(images(page).nth(2)).to_be_focused()


def test_a_sheet_that_comes_takes_no_focus_from_a_filter(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/explore")
    expect(images(page).first).to_be_visible()
    told = images(page).first.get_attribute("aria-label")
    category = page.get_by_role("combobox", name="Category")
    category.focus()
    category.select_option(index=1)
    expect(images(page).first).not_to_have_attribute("aria-label", told or "")
    expect(category).to_be_focused()
