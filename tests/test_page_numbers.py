"""Numbers below zero have one sign on the page, whoever wrote the sentence that they stand in."""

from __future__ import annotations

import re

from page_case import OpenPage, browser, demo_copy, demo_folder, open_page, served
from playwright.sync_api import expect
from served_case import Served

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "served"]
HYPHEN = re.compile(r"(?<!\w)-\d")


def test_a_threshold_below_zero_has_the_same_sign_in_sentences(
    served: Served, open_page: OpenPage
) -> None:
    replaces = served.get("calibration")["sha256"]
    asked = {"target": "recall=0.8", "confidence": 0.8, "replaces": replaces, "save": True}
    fitted = served.post("calibrations", asked)["calibration"]["cuts"]
    below = next(cut for cut in fitted if cut["guarantee"] and cut["threshold"] < 0)
    assert HYPHEN.search(below["guarantee"])

    page = open_page(served, f"#/review?category={below['category']}")
    guarantees = page.get_by_role("region", name="Guarantees")
    expect(guarantees).to_contain_text(f"threshold −{-below['threshold']:.4f}")
    assert not HYPHEN.search(guarantees.text_content() or "")

    page.goto(f"{served.url}/#/thresholds?category={below['category']}")
    promise = page.get_by_role("status").filter(has_text="guaranteed")
    expect(promise).to_contain_text(f"score at or above −{-below['threshold']:.6f}")
    assert not HYPHEN.search(promise.inner_text())
