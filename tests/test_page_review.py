"""Journeys through Review: labels by key, taken back, kept once, whatever happens to the server."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

from page_case import (
    RATER,
    OpenPage,
    browser,
    copy_of,
    demo_copy,
    demo_folder,
    open_page,
    served,
    shared,
)
from page_review_case import (
    ANSWERS,
    CATEGORY,
    NO,
    YES,
    Said,
    answer,
    draw,
    journal,
    press,
    seen,
    sent,
    shown,
    standing,
)
from playwright.sync_api import Route, expect
from served_case import Served, serving

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "served", "shared"]


def exported(served: Served) -> list[Said]:
    """What the command line writes of what the rater says in the category."""
    served.cli("labels", "export", "-o", "reviewed.csv", "--relative")
    with (served.folder / "reviewed.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["annotator"] == RATER]
    assert {row["category"] for row in rows} == {CATEGORY}
    return sorted((row["image"], row["label"]) for row in rows)


def test_what_is_labelled_by_key_and_taken_back_is_what_the_corpus_keeps(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(served, f"#/review?category={CATEGORY}", rater=None)
    page.get_by_role("combobox", name="Your name").fill(RATER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing waits here")).to_be_visible()

    page.keyboard.press("d")
    page.get_by_role("spinbutton", name="How many images").fill("24")
    page.get_by_role("slider", name="Share at random").press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Is this: {CATEGORY}?")).to_be_visible()

    said = answer(page, [*ANSWERS] * 3 + ["y", "n"])
    expect(page.get_by_role("status", name="Labelled in this session")).to_have_text("20 done")
    undone = said[18:]
    for name, _ in reversed(undone):
        page.keyboard.press("u")
        expect(shown(page)).to_have_text(name)
    expect(page.get_by_role("status", name="Labelled in this session")).to_have_text("18 done")
    sent(page)
    kept = journal(served)
    assert [(one["name"], one["level"]) for one in kept] == said
    assert [one["undone"] is None for one in kept] == [True] * 18 + [False] * 2
    assert exported(served) == sorted(said[:18])

    # Once more, and otherwise than before.
    again = answer(page, ["n", "y"])
    assert [name for name, _ in again] == [name for name, _ in undone]
    sent(page)
    kept = journal(served)
    assert [(one["name"], one["level"]) for one in kept] == said + again
    assert standing(kept) == exported(served) == sorted(said[:18] + again)
    assert {one["origin"] for one in kept} == {"suggested"}


def test_what_the_labels_guarantee_is_told_anew_as_they_come_in(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 10)
    page = open_page(shared, f"#/review?category={CATEGORY}", rater="Cleo")
    guarantee = page.get_by_role("region", name="Guarantees")

    def outlook() -> str:
        (cut,) = shared.get("review/outlook", category=CATEGORY)["cuts"]
        sentence: str = cut["sentence"]
        return sentence.replace("threshold -", "threshold −")

    before = outlook()
    assert "more positive" in before
    expect(guarantee).to_contain_text(before)
    answer(page, ["y"])
    sent(page)
    certified = outlook()
    assert "is certified" in certified
    expect(guarantee).to_contain_text(certified)
    expect(page.get_by_role("status").filter(has_text=certified).first).to_be_visible()

    page.keyboard.press("u")
    expect(guarantee).to_contain_text(before)


def test_what_is_skipped_waits_and_gets_no_label(shared: Served, open_page: OpenPage) -> None:
    draw(shared, 3, "gore")
    page = open_page(shared, "#/review?category=gore", rater="Dora")
    skipped = press(page, "s")
    ((second, _),) = answer(page, ["n"])
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="Only what you skipped is left")).to_be_visible()
    sent(page)
    assert [one["name"] for one in journal(shared, "Dora")] == [second]

    page.get_by_role("button", name="Show them again").press("Enter")
    expect(shown(page)).to_have_text(skipped)
    seen(page)
    page.keyboard.press("y")
    sent(page)
    assert standing(journal(shared, "Dora")) == sorted([(second, NO), (skipped, YES)])


def test_labels_near_the_threshold_say_that_they_do_not_count(
    shared: Served, open_page: OpenPage
) -> None:
    page = open_page(shared, "#/review?category=weapons", rater="Emil")
    expect(page.get_by_role("heading", name="Nothing waits here")).to_be_visible()
    page.keyboard.press("q")
    page.keyboard.press("q")
    expect(page.get_by_role("radio", name="Near the threshold")).to_be_checked()
    expect(page.get_by_text("doesn't count", exact=True)).to_be_visible()
    note = shared.get("review/queue", order="near", category="weapons")["note"]
    expect(page.get_by_text(note)).to_be_visible()
    before = shared.get("review/outlook", category="weapons")["cuts"]
    answer(page, ["y", "y"])
    sent(page)
    assert [one["origin"] for one in journal(shared, "Emil")] == ["near", "near"]
    (after,) = shared.get("review/outlook", category="weapons")["cuts"]
    assert (after["status"], after["further_positives"]) == (
        before[0]["status"],
        before[0]["further_positives"],
    )


LEVELS = """
name = "drinks"
levels = ["none", "minor", "major"]

[category.drinks]
prompts = ["a glass of beer", "a bottle of wine"]
against = ["a street", "a beach"]
"""


def test_levels_are_answered_by_their_numbers(demo_copy: Path, open_page: OpenPage) -> None:
    (demo_copy / "drinks.toml").write_text(LEVELS, encoding="utf-8")
    (demo_copy / "calibration.json").unlink()
    with serving(demo_copy, "--prompts", "drinks.toml") as served:
        draw(served, 6, "drinks")
        page = open_page(served, "#/review?category=drinks", troubled=True)
        expect(page.get_by_role("heading", name="How much of this: drinks?")).to_be_visible()
        names = [press(page, key) for key in "1323"]
        sent(page)
        kept = journal(served)
    levels = ["none", "major", "minor", "major"]
    assert [(one["name"], one["level"]) for one in kept] == list(zip(names, levels, strict=True))


def test_two_people_who_label_at_once_lose_nothing(shared: Served, open_page: OpenPage) -> None:
    draw(shared, 14, "smoking")
    ann, bob = (
        open_page(shared, "#/review?category=smoking", rater=rater) for rater in ("Ann", "Bob")
    )
    said: dict[str, list[Said]] = {"Ann": [], "Bob": []}
    for key, other in zip([*ANSWERS] * 2, [*ANSWERS][::-1] * 2, strict=True):
        said["Ann"] += answer(ann, [key])
        said["Bob"] += answer(bob, [other])
    for page in (ann, bob):
        sent(page)
    for rater, wanted in said.items():
        assert [(one["name"], one["level"]) for one in journal(shared, rater)] == wanted
    # Both see the same images, so that their agreement can be told.
    assert [name for name, _ in said["Ann"]] == [name for name, _ in said["Bob"]]


def test_labels_that_the_server_could_not_take_are_kept_and_come_to_it_once(
    served: Served, open_page: OpenPage
) -> None:
    draw(served, 10)
    page = open_page(served, f"#/review?category={CATEGORY}", troubled=True)
    expect(shown(page)).not_to_be_empty()

    lost: list[int] = []

    def lose_the_reply(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    # The server keeps it, and the page never hears of it.
    page.route("**/v1/labels", lose_the_reply, times=1)
    said = answer(page, ["y"])
    sent(page)
    assert lost == [201]
    assert len(journal(served)) == 1

    served.process.kill()
    served.process.wait()
    said += answer(page, ["n", "y"])
    expect(page.get_by_role("status").get_by_text("2 answers not sent yet")).to_be_visible()
    expect(page.get_by_role("button", name="This service: no connection")).to_be_visible()
    with serving(served.folder, "--port", served.port) as again:
        expect(page.get_by_text("not sent yet")).to_have_count(0)
        sent(page)
        assert [(one["name"], one["level"]) for one in journal(again)] == said

        # Nor is one lost that was on its way when the page was closed.
        again.process.send_signal(signal.SIGSTOP)
        said += answer(page, ["y"])
        expect(page.get_by_role("list", name="Latest labels")).to_contain_text("not sent yet")
        context = page.context
        page.close()
        again.process.send_signal(signal.SIGCONT)
        page = context.new_page()
        page.goto(f"{again.url}/#/review?category={CATEGORY}")
        expect(shown(page)).not_to_be_empty()
        sent(page)
        assert [(one["name"], one["level"]) for one in journal(again)] == said


def test_a_press_too_many_and_a_picture_not_seen_answer_nothing(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 6, "alcohol")
    page = open_page(shared, "#/review?category=alcohol", rater="Finn")
    first = seen(page).inner_text()
    page.wait_for_timeout(400)
    page.get_by_role("button", name="Yes").dblclick()
    expect(shown(page)).not_to_have_text(first)
    sent(page)
    assert [one["name"] for one in journal(shared, "Finn")] == [first]

    page.route("**/picture*", lambda route: None)
    page.reload()
    expect(shown(page)).not_to_be_empty()
    page.keyboard.press("y")
    expect(page.get_by_text("The picture is still coming.")).to_be_visible()
    assert len(journal(shared, "Finn")) == 1
    page.keyboard.press("s")
    expect(page.get_by_text("The picture is still coming.")).to_have_count(0)


def test_answers_to_one_corpus_are_not_sent_to_another(
    served: Served, demo_folder: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    draw(served, 6)
    page = open_page(served, f"#/review?category={CATEGORY}", troubled=True)
    seen(page)
    served.process.kill()
    served.process.wait()
    answer(page, ["y", "n"])
    with serving(copy_of(demo_folder, tmp_path / "another"), "--port", served.port) as another:
        moved = page.get_by_role("heading", name="Another corpus is served here now")
        expect(moved).to_be_visible()
        page.get_by_role("button", name="Review the new one").click()
        expect(page.get_by_text("2 answers belong to another corpus")).to_be_visible()
        assert journal(another) == []
    with serving(served.folder, "--port", served.port) as again:
        page.reload()
        sent(page)
        assert len(journal(again)) == 2
