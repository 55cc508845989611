"""What the page shows on small phones, and enlarged four times: nothing is cut off."""

from __future__ import annotations

import pytest
from page_case import OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import Page, expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]
SMALL = (320, 568)
CATEGORY = "alcohol"


def width(page: Page) -> int:
    """How many pixels wide the page is, seen or not."""
    wide: int = page.evaluate("document.documentElement.scrollWidth")
    return wide


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
    assert width(page) == SMALL[0]
    last = page.get_by_role("navigation").get_by_role("link").last
    box = last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= SMALL[0]
