"""What the tests of Review share: images are drawn, answered by key, and found in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from page_case import RATER
from playwright.sync_api import Locator, Page, expect
from served_case import Served

CATEGORY = "drugs"  # one more positive certifies its recall
YES, NO = "positive", "negative"
# Every key that answers, in turn.
ANSWERS = {"y": YES, "n": NO, "1": YES, "0": NO, "ArrowRight": YES, "ArrowLeft": NO}
NOTHING_WAITS = "() => !Object.keys(localStorage).some((key) => key.startsWith('clipcal.outbox.'))"
Said = tuple[str, str]  # the image's name and the level


def draw(served: Served, images: int, category: str = CATEGORY) -> None:
    """Draw a round at random, as a colleague may have done."""
    served.post("review/rounds", {"category": category, "images": images, "audit": 1.0})


def stage(page: Page) -> Locator:
    return page.get_by_role("figure", name="Image")


def shown(page: Page) -> Locator:
    """The name of the image that is asked about."""
    return stage(page).get_by_role("link")


def seen(page: Page) -> Locator:
    """The name of the image that is asked about, once its picture has come."""
    expect(shown(page)).not_to_be_empty()
    expect(stage(page)).not_to_have_attribute("aria-busy", "true")
    return shown(page)


def press(page: Page, key: str) -> str:
    """Press a key that goes on to another image; returns the name of the one before."""
    name = seen(page).inner_text()
    page.keyboard.press(key)
    expect(shown(page)).not_to_have_text(name)
    return name


def answer(page: Page, keys: Sequence[str]) -> list[Said]:
    """Answer one image after the other; returns what was said."""
    return [(press(page, key), ANSWERS[key]) for key in keys]


def sent(page: Page) -> None:
    """Wait until nothing is on its way any more."""
    page.wait_for_function(NOTHING_WAITS)


def journal(served: Served, rater: str = RATER) -> list[dict[str, Any]]:
    """All that a rater said, the oldest first."""
    labels: list[dict[str, Any]] = served.get("labels", rater=rater, limit=500)["labels"]
    return labels[::-1]


def standing(labels: list[dict[str, Any]]) -> list[Said]:
    return sorted((one["name"], one["level"]) for one in labels if one["undone"] is None)
