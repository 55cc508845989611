"""Journeys through Thresholds: moved by key, seen before anything is saved, applied as shown."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from page_case import OpenPage, browser, demo_copy, demo_folder, open_page, served
from playwright.sync_api import Locator, Page, expect
from served_case import Served

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "served"]
CATEGORY = "alcohol"
MOST_SHOWN = 24


def handle(page: Page) -> Locator:
    return page.get_by_role("slider", name=f"Threshold of {CATEGORY}", exact=True)


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def threshold(page: Page) -> float:
    return float(handle(page).get_attribute("aria-valuenow") or "nan")


def flips(page: Page, name: str) -> set[str]:
    """The names of the images that would change sides."""
    images = page.get_by_role("list", name=name, exact=True).get_by_role("link").all()
    return {image.get_attribute("aria-label") or "" for image in images}


def raise_threshold(page: Page, served: Served) -> dict[str, Any]:
    """Raise the threshold by keys, until the page shows what the service says of it."""
    expect(handle(page)).to_be_visible()
    before = threshold(page)
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(handle(page)).not_to_have_attribute("aria-valuenow", str(before))
    assert threshold(page) > before
    trial = {"category": CATEGORY, "threshold": threshold(page)}
    (told,) = served.post("what-if", {"trials": [trial], "flips": MOST_SHOWN})["results"]
    assert 0 < told["no_longer"] <= MOST_SHOWN
    moved = f"{told['newly']} newly, {told['no_longer']} no longer"
    expect(tile(page, "Flags")).to_contain_text(moved)
    expect(
        page.get_by_role("heading", name=f"No longer flagged: {told['no_longer']}")
    ).to_be_visible()
    result: dict[str, Any] = told
    return result


def flagged(folder: Path) -> set[str]:
    """The names of the images that the decisions of the command line flag."""
    with (folder / "decisions.csv").open(encoding="utf-8", newline="") as stream:
        return {Path(row["image"]).name for row in csv.DictReader(stream) if row[CATEGORY] == "1"}


def offer_to_save(page: Page) -> Locator:
    """Ask to save by key; returns the dialog that shows what would change."""
    page.keyboard.press("Control+s")
    offered = page.get_by_role("dialog", name="Save these thresholds?")
    expect(offered.get_by_role("row", name=CATEGORY)).to_contain_text("by hand")
    return offered


def test_what_is_shown_before_saving_is_what_the_command_line_decides_after_it(
    served: Served, open_page: OpenPage
) -> None:
    calibration = served.folder / "calibration.json"
    saved = calibration.read_bytes()
    flagged_before = flagged(served.folder)
    page = open_page(served, f"#/thresholds?category={CATEGORY}")
    expect(tile(page, "Flags")).to_contain_text("0 newly, 0 no longer")
    recall = tile(page, "Recall").inner_text()

    told = raise_threshold(page, served)
    expect(tile(page, "Flags")).to_contain_text(f"{told['flags']}")
    expect(tile(page, "Recall")).not_to_have_text(recall)
    expect(page.get_by_role("region", name="Changes")).to_contain_text("1 change, not saved")
    newly, no_longer = flips(page, "Newly flagged"), flips(page, "No longer flagged")
    assert (len(newly), len(no_longer)) == (told["newly"], told["no_longer"])
    offered = offer_to_save(page)
    assert calibration.read_bytes() == saved
    offered.get_by_role("button", name="Save the calibration").press("Enter")
    expect(page.get_by_role("region", name="Changes")).to_be_hidden()
    assert calibration.read_bytes() != saved

    decided = json.loads(served.cli("rescore", "--json", "-o", "decisions.csv"))
    assert decided["flags"][CATEGORY] == {"positive": told["flags"]}
    flagged_after = flagged(served.folder)
    assert len(flagged_after) == told["flags"]
    assert flagged_after == (flagged_before | newly) - no_longer
    assert (newly & flagged_before, no_longer - flagged_before) == (set(), set())

    # The command line makes the same calibration of the same labels.
    served.cli("labels", "export", "-o", "reviewed.csv")
    placed = f"{CATEGORY}:positive={told['threshold']}"
    served.cli("calibrate", "--labels", "reviewed.csv", "--threshold", placed, "-o", "theirs.json")
    ours = json.loads(calibration.read_text(encoding="utf-8"))
    theirs = json.loads((served.folder / "theirs.json").read_text(encoding="utf-8"))
    for contract in (ours, theirs):
        del contract["created"], contract["seal"]
    assert ours == theirs


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(
    served: Served, open_page: OpenPage
) -> None:
    calibration = served.folder / "calibration.json"
    page = open_page(served, f"#/thresholds?category={CATEGORY}", troubled=True)
    told = raise_threshold(page, served)
    offered = offer_to_save(page)
    seen = served.get("calibration")
    wish = {"target": "recall=0.8", "save": True, "replaces": seen["sha256"]}
    served.post("calibrations", wish)
    theirs = calibration.read_bytes()

    offered.get_by_role("button", name="Save the calibration").press("Enter")
    conflict = page.get_by_role("dialog", name="Somebody else saved a calibration")
    expect(conflict).to_be_visible()
    assert calibration.read_bytes() == theirs
    conflict.get_by_role("button", name="Load theirs").press("Enter")
    # Theirs is what is changed now, and what was placed by hand stays placed.
    (cut,) = [one for one in served.get("calibration")["cuts"] if one["category"] == CATEGORY]
    expect(page.get_by_role("region", name="Changes")).to_contain_text(
        f"{cut['threshold']:.4f} → {told['threshold']:.4f}".replace("-", "−")
    )
    assert calibration.read_bytes() == theirs


def test_a_typed_threshold_is_held_within_bounds_and_outlives_a_reload(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(served, f"#/thresholds?category={CATEGORY}")
    expect(handle(page)).to_be_visible()
    page.keyboard.press("b")
    block = page.get_by_role("slider", name=f"Upper threshold of {CATEGORY}")
    expect(block).to_be_visible()
    ends = [
        float(block.get_attribute(name) or "nan") for name in ("aria-valuemin", "aria-valuenow")
    ]
    typed = page.get_by_role("spinbutton", name="Threshold", exact=True)
    save = page.get_by_role("button", name="Save…")
    before = threshold(page)

    typed.fill(str(ends[1] + 1))
    expect(typed).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert").filter(has_text="from")).to_be_visible()
    expect(save).to_be_disabled()
    assert threshold(page) == before
    typed.fill(str(round(sum(ends) / 2, 6)))
    expect(save).to_be_enabled()
    placed = threshold(page)
    assert ends[0] < placed < ends[1]

    page.reload()
    expect(page.get_by_role("region", name="Changes")).to_contain_text("1 change, not saved")
    assert threshold(page) == placed


def test_the_focus_stays_where_a_category_is_chosen_and_a_change_is_offered_once(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(served, f"#/thresholds?category={CATEGORY}")
    expect(handle(page)).to_be_visible()
    other = page.get_by_role("navigation", name="Categories").get_by_role("button").nth(2)
    other.press("Enter")
    expect(other).to_have_attribute("aria-current", "true")
    expect(other).to_be_focused()
    expect(page.get_by_role("slider")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+s")
    page.keyboard.press("Control+s")
    expect(page.get_by_role("dialog").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("dialog")).to_have_count(1)
