"""Laws of what is promised while thresholds are tried: no more than saving them would promise."""

from __future__ import annotations

from typing import Any

import pytest
from review_case import Case, case, folder, template

__all__ = ["case", "folder", "template"]

LABELLED = range(1, 201)
CATEGORIES = ("fire", "water")


@pytest.fixture
def labelled(case: Case) -> Case:
    for category in CATEGORIES:
        case.label_truth(LABELLED, category)
    return case


def fitted(case: Case, **wish: Any) -> dict[str, dict[str, Any]]:
    """Fit a calibration; returns its cuts by category."""
    reply = case.post("calibrations", wish)
    assert reply.status_code == 200, reply.text
    return {cut["category"]: cut for cut in reply.json()["calibration"]["cuts"]}


def tried(case: Case, category: str, at: dict[str, Any], **plan: Any) -> dict[str, Any]:
    reply = case.post("what-if", {"trials": [{"category": category, **at}], **plan})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()["results"][0]
    return answer


def placed_by(cut: dict[str, Any]) -> dict[str, Any]:
    bands = cut["bands"] or {}
    return {"threshold": cut["threshold"], "upper": bands.get("upper")}


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        {"target": "recall=0.8"},
        {"target": "precision=0.7", "confidence": 0.9},
        {"bands": "recall=0.8,precision=0.7"},
    ],
)
def test_what_is_tried_promises_what_is_saved_and_no_more(
    labelled: Case, asked: dict[str, Any], joint: bool
) -> None:
    together = fitted(labelled, **asked, joint=joint, save=True)
    alone = fitted(labelled, **asked, joint=not joint)
    for found in (together, alone):
        at = {category: placed_by(found[category]) for category in CATEGORIES}
        placed = [{"category": category, **edges} for category, edges in at.items()]
        kept = fitted(labelled, **asked, joint=joint, placed=placed)
        for category, cut in kept.items():
            told = tried(labelled, category, at[category])
            above = (cut["bands"] or {}).get("status")
            assert told["certified"] == (cut["status"] == "certified")
            assert told["upper_certified"] == (above == "certified")


def test_guarantees_that_hold_together_certify_less_than_each_by_itself(labelled: Case) -> None:
    together = fitted(labelled, target="recall=0.8", joint=True, save=True)
    alone = fitted(labelled, target="recall=0.8")
    for category in CATEGORIES:
        at = {"threshold": alone[category]["threshold"]}
        told = tried(labelled, category, at)
        assert not told["certified"]
        assert tried(labelled, category, at, joint=False)["certified"]
        assert told["certified_up_to"] == together[category]["threshold"]
        assert tried(labelled, category, {"threshold": told["certified_up_to"]})["certified"]


def test_what_is_left_out_is_asked_for_as_in_the_calibration_that_is_served(
    labelled: Case,
) -> None:
    fitted(labelled, target="recall=0.7", confidence=0.9, joint=True, save=True)
    at = {"threshold": 0.3}
    named = {"target": "recall=0.7", "confidence": 0.9, "joint": True}
    assert tried(labelled, "fire", at) == tried(labelled, "fire", at, **named)
    for part in ({"target": "recall=0.9"}, {"confidence": 0.95}, {"joint": False}):
        told, whole = tried(labelled, "fire", at, **part), {**named, **part}
        assert told == tried(labelled, "fire", at, **whole)
        assert told["certified_up_to"] != tried(labelled, "fire", at)["certified_up_to"]
