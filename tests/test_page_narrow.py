"""What the page shows on small phones, and enlarged four times: nothing is cut off."""

from __future__ import annotations

import pytest
from page_case import OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]
SMALL = (320, 568)
PHONE = (390, 844)
CATEGORY = "alcohol"


WIDE = "wide => document.documentElement.scrollWidth === wide"  # what is drawn late included


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        ("#/classify", "main button"),
        (f"#/review?category={CATEGORY}&queue=near", ".review-scores tbody tr"),
        (f"#/review?category={CATEGORY}&queue=flagged", ".review-scores tbody tr"),
        (f"#/thresholds?category={CATEGORY}", ".handle"),
        ("#/explore", ".cell"),
        (f"#/explore?category={CATEGORY}&open=1", ".panel .scores tbody tr"),
    ],
)
def test_no_page_is_wider_than_a_small_phone(
    shared: Served, open_page: OpenPage, route: str, shown: str
) -> None:
    page = open_page(shared, route, size=SMALL)
    expect(page.locator(shown).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.wait_for_function(WIDE, arg=SMALL[0])
    last = page.get_by_role("navigation").get_by_role("link").last
    box = last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= SMALL[0]


@pytest.mark.parametrize("size", [SMALL, PHONE])
def test_all_that_is_told_of_a_change_before_it_is_saved_is_seen_on_a_phone(
    shared: Served, open_page: OpenPage, size: tuple[int, int]
) -> None:
    page = open_page(shared, f"#/thresholds?category={CATEGORY}", size=size)
    expect(page.locator(".handle")).to_be_visible()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+s")
    offered = page.get_by_role("dialog", name="Save these thresholds?")
    change = offered.get_by_role("row", name=CATEGORY)
    expect(change).to_contain_text("by hand")
    frame = offered.locator(".dialog-body").bounding_box()
    assert frame is not None
    cells = change.locator("th, td").all()
    assert len(cells) == len(offered.get_by_role("columnheader").all())
    for cell in cells:
        box = cell.bounding_box()
        assert box is not None
        assert frame["x"] <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]
