"""Laws of the queues, of rounds and of the outlook over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from review_case import HOME, IMAGES, Case, case, folder, levelled, template, truth_of

from clipcal.index.store import Corpus
from clipcal.service.routes import review

__all__ = ["case", "folder", "levelled", "template"]


def ids(case: Case, **asked: Any) -> list[int]:
    reply = case.get("review/queue", limit=50, **asked)
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


def draw(case: Case, **wish: Any) -> dict[str, Any]:
    reply = case.post("review/rounds", wish)
    assert reply.status_code == 201, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def calibrate(case: Case) -> None:
    """Label half of the images as they are, and save what is fitted."""
    for category in ("fire", "water"):
        case.label_truth(range(1, 151), category, rater="before")
    reply = case.post("calibrations", {"save": True})
    assert reply.status_code == 200, reply.text


def scores(case: Case, item: int) -> float:
    view = case.context.workspace.view()
    return float(view.scored.column("fire")[view.place(item)])


def test_without_a_draw_nothing_is_suggested_and_the_note_says_how_to_draw(case: Case) -> None:
    reply = case.get("review/queue").json()
    assert (reply["waiting"], reply["items"]) == (0, [])
    assert "/v1/review/rounds" in reply["note"]


def test_what_was_drawn_waits_until_the_rater_has_labelled_it(case: Case) -> None:
    drawn = draw(case, images=20, audit=1)
    assert (drawn["round"], drawn["images"], drawn["audit"], drawn["picked"]) == (1, 20, 20, 0)
    reply = case.get("review/queue", category="fire", rater="ann", limit=50).json()
    assert (reply["origin"], reply["counts"], reply["waiting"]) == ("suggested", True, 20)
    waiting = [item["id"] for item in reply["items"]]
    case.label({waiting[0]: "positive", waiting[3]: "negative"}, origin="suggested")
    left = [item for n, item in enumerate(waiting) if n not in (0, 3)]
    assert ids(case, category="fire", rater="ann") == left
    assert ids(case, category="fire", rater="bob") == waiting


def test_two_raters_see_what_is_suggested_in_one_order(case: Case) -> None:
    draw(case, images=20)
    assert ids(case, rater="ann") == ids(case, rater="bob") != sorted(ids(case, rater="ann"))


def test_a_round_for_a_category_waits_in_that_category(case: Case) -> None:
    draw(case, images=5, category="water")
    assert (len(ids(case, category="water")), ids(case, category="fire")) == (5, [])


def test_two_draws_at_once_draw_no_image_twice(case: Case) -> None:
    def one(seed: int) -> int:
        reply = case.another_client().post(
            "/v1/review/rounds", json={"images": 30, "audit": 0, "seed": seed}
        )
        return int(reply.json()["round"])

    with ThreadPoolExecutor(4) as threads:
        rounds = list(threads.map(one, range(4)))
    assert sorted(rounds) == [1, 2, 3, 4]
    drawn = [one.row for one in case.context.workspace.corpus.suggestions()]
    assert len(drawn) == len(set(drawn)) == 120


def test_a_draw_of_another_process_in_between_is_taken_into_account(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_once, came = review.suggest, []

    def slowly(corpus: Corpus, *more: Any) -> Any:
        drawn = draw_once(corpus, *more)
        if not came:
            came.append(draw_once(corpus, *more).remember(Corpus.open(corpus.path)))
        return drawn

    monkeypatch.setattr(review, "suggest", slowly)
    assert draw(case, images=30, audit=0)["round"] == 2
    drawn = [one.row for one in case.context.workspace.corpus.suggestions()]
    assert len(drawn) == len(set(drawn)) == 60


def test_a_draw_that_finds_nothing_left_says_so(case: Case) -> None:
    draw(case, images=IMAGES, audit=1)
    reply = case.post("review/rounds", {"images": 5})
    assert reply.status_code == 422
    assert "labelled or suggested" in reply.json()["detail"]
    assert "corpus" in reply.json()["detail"]
    assert str(case.settings.corpus) not in reply.json()["detail"]


@pytest.mark.parametrize("order", ["flagged", "near"])
def test_queues_by_score_need_a_threshold(case: Case, order: str) -> None:
    reply = case.get("review/queue", order=order)
    assert reply.status_code == 409
    assert "/v1/calibrations" in reply.json()["detail"]


def test_flagged_images_wait_with_the_highest_score_first(case: Case) -> None:
    calibrate(case)
    reply = case.get("review/queue", order="flagged", category="fire", limit=50).json()
    assert (reply["origin"], reply["counts"]) == ("flagged", False)
    assert "don't count towards a guarantee" in reply["note"]
    found = [item["id"] for item in reply["items"]]
    assert min(found) > 150
    assert [item["decisions"]["fire"]["level"] for item in reply["items"]] == ["positive"] * len(
        found
    )
    own = [scores(case, item) for item in found]
    assert own == sorted(own, reverse=True)


def test_near_images_wait_with_the_nearest_to_the_threshold_first(case: Case) -> None:
    calibrate(case)
    contract = case.context.workspace.view().contract
    assert contract is not None
    threshold = contract.categories["fire"]["positive"].threshold
    assert threshold is not None
    reply = case.get("review/queue", order="near", category="fire", limit=50).json()
    gaps = [abs(scores(case, item["id"]) - threshold) for item in reply["items"]]
    assert gaps == sorted(gaps)
    # The last two images are one content.
    assert reply["waiting"] == IMAGES - 150 - 1


def test_what_anybody_labelled_waits_in_no_queue_by_score(case: Case) -> None:
    calibrate(case)
    first = ids(case, order="near", category="fire")
    case.label({first[0]: "positive"}, rater="bob", origin="near")
    assert ids(case, order="near", category="fire", rater="ann")[0] == first[1]
    undone = case.post("labels/undo", {"batch": "batch-0002", "rater": "bob"})
    assert undone.json()["undone"] == 1
    assert ids(case, order="near", category="fire") == first


def test_labels_of_a_queue_by_score_back_no_guarantee(case: Case) -> None:
    calibrate(case)
    before = case.get("review/outlook", category="fire").json()["cuts"]
    told = truth_of()[:, 0]
    found = ids(case, order="flagged", category="fire")
    levels = {item: "positive" if told[item - 1] else "negative" for item in found}
    case.label(dict(levels), origin="flagged")
    after = case.get("review/outlook", category="fire").json()["cuts"]
    assert after[0]["threshold"] == before[0]["threshold"]
    assert after[0]["sentence"] == before[0]["sentence"]


def test_unknown_names_are_refused(case: Case) -> None:
    for path in ("review/queue", "review/outlook"):
        assert case.get(path, category="smoke").status_code == 422
    assert case.post("review/rounds", {"category": "smoke"}).status_code == 422
    assert case.get("review/outlook", target="beauty").status_code == 422


def test_the_outlook_counts_down_to_the_guarantee_and_then_names_it(case: Case) -> None:
    empty = case.get("review/outlook").json()
    assert [(one["category"], one["status"]) for one in empty["cuts"]] == [
        ("fire", "no_positives"),
        ("water", "no_positives"),
    ]
    lacking = []
    for start in (1, 31, 61):
        case.label_truth(range(start, start + 30))
        (one,) = case.get("review/outlook", category="fire").json()["cuts"]
        lacking.append(one["further_positives"])
    assert lacking[0] > lacking[1]
    case.label_truth(range(91, 241))
    (one,) = case.get("review/outlook", category="fire").json()["cuts"]
    assert (one["status"], one["further_positives"] or 0) == ("certified", 0)
    fitted = case.post("calibrations", {}).json()["calibration"]["cuts"][0]
    assert (one["threshold"], one["positives"]) == (fitted["threshold"], fitted["positives"])


def test_queues_and_rounds_name_no_folder(case: Case) -> None:
    calibrate(case)
    draw(case, images=5)
    for order in ("suggested", "near"):
        assert HOME not in case.get("review/queue", order=order).text
