"""What mistakes cost: what is typed is what is counted with, or it is said that it is not."""

from __future__ import annotations

from page_case import OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]
CATEGORY = "alcohol"


def test_what_is_no_cost_is_said_to_be_none_and_the_last_one_counts(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, f"#/thresholds?category={CATEGORY}")
    costs = page.get_by_role("region", name="Costs")
    cheapest = costs.locator(".cheapest")
    miss = costs.get_by_role("spinbutton", name="A miss costs")
    wrong = costs.get_by_role("alert").filter(has_text="from 0")
    expect(cheapest).to_contain_text("lowest cost")
    for_one = cheapest.inner_text()

    miss.fill("5")
    expect(cheapest).not_to_have_text(for_one)
    for_five = cheapest.inner_text()
    for no_cost in ("-1", "", "2000000000"):
        miss.fill(no_cost)
        expect(miss).to_have_attribute("aria-invalid", "true")
        expect(wrong).to_contain_text("still counted as 5")
        expect(cheapest).to_have_text(for_five)

    miss.fill("1")
    expect(wrong).to_have_count(0)
    expect(miss).not_to_have_attribute("aria-invalid", "true")
    expect(cheapest).to_have_text(for_one)
