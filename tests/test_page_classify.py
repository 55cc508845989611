"""A journey through Classify: an image, a few descriptions, and what the model makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from page_case import OpenPage, browser, demo_folder, open_page, shared
from playwright.sync_api import Locator, Page, expect
from served_case import Served

__all__ = ["browser", "demo_folder", "open_page", "shared"]
DESCRIPTIONS = "a glass of beer, a knife, a beach, a cigarette, an empty street, a glass of milk"
TOP = 5


def choose(page: Page, *files: Path) -> None:
    """Choose files by key, as from the folder of a person's computer."""
    expect(page.get_by_role("button", name="Choose images")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("o")
    chooser.value.set_files([str(file) for file in files])


def result(page: Page) -> Locator:
    return page.get_by_role("region", name="Result")


def ranked(page: Page) -> list[tuple[str, float, float]]:
    """The sentences that are shown, each with its share and its cosine."""
    found = []
    for row in result(page).get_by_role("row").all()[1:]:
        share, cosine = row.get_by_role("cell").all_inner_texts()
        sentence = row.get_by_role("rowheader").inner_text()
        percent = float(share.rstrip("%").lstrip("<>"))
        found.append((sentence, percent / 100, float(cosine.replace("−", "-"))))
    return found


def test_the_page_the_api_and_the_command_line_say_the_same_of_an_image(
    shared: Served, demo_folder: Path, open_page: OpenPage
) -> None:
    picture = demo_folder / "images" / "scene_0007.jpg"
    page = open_page(shared, "#/classify")
    page.get_by_role("combobox", name="How many to show").select_option(f"Top {TOP}")
    page.keyboard.press("Escape")
    choose(page, picture)
    words = page.get_by_role("textbox", name="Descriptions, separated by commas")
    words.fill(DESCRIPTIONS)
    words.press("Enter")

    expect(page.get_by_role("img", name=picture.name)).to_be_visible()
    expect(result(page).get_by_role("row", name="a glass of milk")).to_be_visible()
    shown = ranked(page)

    sentences = [word.strip() for word in DESCRIPTIONS.split(",")]
    told = shared.upload("classify", picture, sentences="\n".join(sentences), top=str(TOP))
    wanted = [(one["sentence"], one["share"], one["score"]) for one in told["sentences"]]
    assert len(wanted) == TOP
    assert shown == as_shown(told["sentences"], "sentence")

    printed = shared.cli(
        "classify", str(picture), "--labels", DESCRIPTIONS, "-n", str(TOP), "--json"
    )
    assert shown == as_shown(json.loads(printed)["results"][0]["labels"], "label")


def as_shown(told: list[dict[str, Any]], name: str) -> list[object]:
    """What the page has to show: a share in three figures, a cosine in three digits."""
    assert len(told) == TOP
    return [
        (
            one[name],
            pytest.approx(one["share"], rel=0.006, abs=0.001),
            pytest.approx(one["score"], abs=6e-4),
        )
        for one in told
    ]


def test_a_broken_file_is_told_as_such_and_the_next_image_is_classified(
    shared: Served, demo_folder: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is no picture")
    page = open_page(shared, "#/classify", troubled=True)
    choose(page, broken, demo_folder / "images" / "scene_0003.jpg")
    told = result(page).get_by_role("alert")
    expect(told).to_contain_text("not an image")
    expect(told).to_contain_text(broken.name)
    expect(result(page).get_by_role("table")).to_have_count(0)

    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("option", name="scene_0003.jpg")).to_have_attribute(
        "aria-selected", "true"
    )
    expect(result(page).get_by_role("table")).to_be_visible()
    expect(result(page).get_by_role("alert")).to_have_count(0)


def test_with_the_served_prompt_set_the_calibration_decides(
    shared: Served, demo_folder: Path, open_page: OpenPage
) -> None:
    picture = demo_folder / "images" / "scene_0000.jpg"
    page = open_page(shared, "#/classify")
    expect(page.get_by_role("radio", name="Descriptions")).to_be_checked()
    page.keyboard.press("m")
    expect(page.get_by_role("radio", name="Prompt set")).to_be_checked()
    choose(page, picture)
    expect(result(page).get_by_role("table")).to_be_visible()
    item = shared.get("items", limit=1)["items"][0]
    assert item["name"] == picture.name
    for name, decision in item["decisions"].items():
        row = result(page).get_by_role("row", name=name)
        expect(row).to_contain_text(f"{decision['score']:.3f}".replace("-", "−"))
        flagged = "flagged" if decision["level"] == "positive" else "not flagged"
        expect(row.get_by_role("cell").last).to_have_text(flagged)
