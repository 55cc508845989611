"""Review in odd circumstances: two tabs, a server that hangs, a key held down, a phone."""

from __future__ import annotations

import signal

from page_case import OpenPage, browser, demo_copy, demo_folder, open_page, served, shared
from page_review_case import (
    CATEGORY,
    NO,
    YES,
    answer,
    draw,
    journal,
    press,
    seen,
    sent,
    shown,
    standing,
)
from playwright.sync_api import Page, Route, expect
from served_case import Served, serving

__all__ = ["browser", "demo_copy", "demo_folder", "open_page", "served", "shared"]
NOTHING = "Nothing waits here"
PHONE = (390, 844)
FORBIDDEN = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("The browser keeps nothing.", "SecurityError"); }
})"""
HASTE = 400  # milliseconds: a tap sooner after a new image was meant for the one before


def another_tab(page: Page) -> Page:
    """Open the same address in the same browser once more."""
    other = page.context.new_page()
    other.goto(page.url)
    seen(other)
    return other


def hold(page: Page, key: str, times: int = 10) -> None:
    """Hold a key down, as long as it takes to repeat."""
    for _ in range(times):
        page.keyboard.down(key)
    page.keyboard.up(key)


def test_two_tabs_of_a_rater_ask_nothing_twice_and_lose_nothing(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 8, "smoking")
    one = open_page(shared, "#/review?category=smoking", rater="Gina")
    seen(one)
    other = another_tab(one)
    said = []
    for turn, key in enumerate("yynynnyn"):
        here, there = (one, other) if turn % 2 == 0 else (other, one)
        name = seen(here).inner_text()
        expect(shown(there)).to_have_text(name)
        here.keyboard.press(key)
        said.append((name, {"y": YES, "n": NO}[key]))
        if turn == 7:
            break
        expect(shown(there)).not_to_have_text(name)
    for page in (one, other):
        expect(page.get_by_role("heading", name=NOTHING)).to_be_visible()
    sent(one)
    assert [(label["name"], label["level"]) for label in journal(shared, "Gina")] == said
    assert len({name for name, _ in said}) == 8

    # Each takes back its own.
    one.keyboard.press("u")
    expect(shown(one)).to_have_text(said[6][0])
    sent(one)
    assert standing(journal(shared, "Gina")) == sorted(said[:6] + said[7:])


def test_what_a_closed_tab_did_not_send_another_one_sends(
    served: Served, open_page: OpenPage
) -> None:
    draw(served, 6)
    page = open_page(served, f"#/review?category={CATEGORY}", troubled=True)
    seen(page)
    other = another_tab(page)
    other.wait_for_load_state("networkidle")
    served.process.kill()
    served.process.wait()
    said = answer(page, ["y", "n"])
    expect(other.get_by_text("2 answers not sent yet")).to_be_visible()
    page.close()
    with serving(served.folder, "--port", served.port) as again:
        expect(other.get_by_text("not sent yet")).to_have_count(0)
        sent(other)
        assert [(one["name"], one["level"]) for one in journal(again)] == said


def test_what_one_tab_takes_back_the_other_does_not_miss(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 8, "gore")
    page = open_page(shared, "#/review?category=gore", rater="Hugo", troubled=True)
    seen(page)
    page.route("**/v1/labels", lambda route: route.abort())
    name = press(page, "y")
    expect(page.get_by_text("1 answer not sent yet")).to_be_visible()

    # The other tab sends it too, and is slow: meanwhile it is kept, and taken back.
    held: list[Route] = []
    other = page.context.new_page()
    other.route("**/v1/labels", lambda route: held.append(route))
    with other.expect_request("**/v1/labels"):
        other.goto(page.url)
    page.unroute("**/v1/labels")
    sent(page)
    page.keyboard.press("u")
    expect(shown(page)).to_have_text(name)
    sent(page)
    with other.expect_response("**/v1/labels") as late:
        held[0].continue_()
    assert late.value.status == 409
    other.unroute("**/v1/labels")
    answered = press(other, "n")
    sent(other)
    expect(other.get_by_text("Not kept")).to_have_count(0)
    kept = journal(shared, "Hugo")
    assert [(one["name"], one["level"]) for one in kept] == [(name, YES), (answered, NO)]
    assert standing(kept) == [(answered, NO)]


def test_labels_that_fail_while_all_else_is_answered_are_sent_again_with_pauses(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 4, "smoking")
    page = open_page(shared, "#/review?category=smoking", rater="Iris", troubled=True)
    seen(page)
    tries: list[Route] = []

    def refuse(route: Route) -> None:
        tries.append(route)
        route.abort()

    page.route("**/v1/labels", refuse)
    name = press(page, "y")
    page.wait_for_timeout(6_000)
    assert 1 <= len(tries) <= 8
    page.unroute("**/v1/labels")
    sent(page)
    assert standing(journal(shared, "Iris")) == [(name, YES)]


def test_a_server_that_hangs_and_goes_on_has_each_answer_once(
    served: Served, open_page: OpenPage
) -> None:
    draw(served, 12)
    page = open_page(served, f"#/review?category={CATEGORY}", troubled=True)
    seen(page)
    page.wait_for_load_state("networkidle")
    served.process.send_signal(signal.SIGSTOP)
    try:
        said = answer(page, ["y", "n"])
        waits = page.get_by_role("status").filter(has_text="2 answers not sent yet")
        expect(waits).to_contain_text("The service has not answered yet.")
        expect(waits).to_contain_text("They are kept in this browser")
        # It is sent again to a server that has the first one still before it.
        expect(page.get_by_role("button", name="This service: no connection")).to_be_visible()
        expect(waits).to_contain_text("The service does not answer.")
    finally:
        served.process.send_signal(signal.SIGCONT)
    expect(page.get_by_text("not sent yet")).to_have_count(0)
    said += answer(page, ["y"])
    sent(page)
    assert [(one["name"], one["level"]) for one in journal(served)] == said
    expect(page.get_by_role("button", name="This service: no connection")).to_have_count(0)


def test_a_key_that_is_held_down_acts_once(shared: Served, open_page: OpenPage) -> None:
    draw(shared, 8, "alcohol")
    page = open_page(shared, "#/review?category=alcohol", rater="Ida")
    names = [press(page, key) for key in "yyy"]
    fourth = seen(page).inner_text()
    hold(page, "u")
    expect(shown(page)).to_have_text(names[2])
    seen(page)
    hold(page, "n")
    expect(shown(page)).to_have_text(fourth)
    done = page.get_by_role("status", name="Labelled in this session")
    expect(done).to_have_text("3 done")
    sent(page)
    kept = journal(shared, "Ida")
    assert [one["name"] for one in kept] == [*names, names[2]]
    assert [one["undone"] is None for one in kept] == [True, True, False, True]


def test_a_phone_draws_answers_and_takes_back_by_touch(shared: Served, open_page: OpenPage) -> None:
    page = open_page(shared, "#/review?category=weapons", rater="Jan", size=PHONE)
    expect(page.get_by_role("heading", name=NOTHING)).to_be_visible()
    undo = page.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_be_disabled()
    page.get_by_role("button", name="Draw a round").first.tap()
    asked = page.get_by_role("dialog", name="Draw images for weapons")
    asked.get_by_role("spinbutton", name="How many images").fill("5")
    asked.get_by_role("button", name="Draw", exact=True).tap()
    expect(asked).to_have_count(0)

    answers = page.get_by_role("group", name="Your answer")
    said = []
    for button, level in (("Yes", YES), ("No", NO), ("Yes", YES)):
        name = seen(page).inner_text()
        answering = answers.get_by_role("button", name=button)
        expect(answering).to_be_in_viewport(ratio=1)
        page.wait_for_timeout(HASTE)
        answering.tap()
        expect(shown(page)).not_to_have_text(name)
        said.append((name, level))
    undo.tap()
    expect(shown(page)).to_have_text(said[2][0])
    sent(page)
    kept = journal(shared, "Jan")
    assert [(one["name"], one["level"]) for one in kept] == said
    assert standing(kept) == sorted(said[:2])


def test_a_browser_that_keeps_nothing_labels_all_the_same(
    shared: Served, open_page: OpenPage
) -> None:
    draw(shared, 4, "revealing_clothes")
    page = open_page(shared, "#/review?category=revealing_clothes", rater=None)
    page.context.add_init_script(FORBIDDEN)
    page.reload()
    page.get_by_role("combobox", name="Your name").fill("Kim")
    page.keyboard.press("Enter")
    said = answer(page, ["y", "n"])
    latest = page.get_by_role("list", name="Latest labels")
    expect(latest).to_contain_text(said[1][0])
    expect(latest).not_to_contain_text("not sent yet")
    assert [(one["name"], one["level"]) for one in journal(shared, "Kim")] == said
