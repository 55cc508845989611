"""Laws of a service whose files were damaged or deleted: people label on; asking mends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_case import Case, case, closing, folder, served, template
from test_service_labels import body, said

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import OverallModel
from clipcal.calibrate.statistics.ordinal import OrdinalFit

__all__ = ["case", "folder", "template"]

GETS = (
    "health",
    "metrics",
    "openapi.json",
    "categories",
    "prompts",
    "calibration",
    "items",
    "items?category=fire&order=score",
    "items/3",
    "items/3/neighbours?category=fire",
    "items/3/picture",
    "failures",
    "search?item=3",
    "labels",
    "labels/export",
    "labels/export?format=label-studio&images=all",
    "raters",
    "review/queue",
    "review/outlook",
    "histograms?category=fire",
    "curves?category=fire",
)


def calibrated(case: Case) -> Contract:
    case.label_truth(range(1, 151))
    reply = case.post("calibrations", {"save": True})
    assert reply.status_code == 200, reply.text
    return Contract.load(case.settings.calibration)


def damage(case: Case, how: str) -> None:
    contract, file = calibrated(case), case.settings.calibration
    if how == "damaged":
        file.write_text("{")
    else:
        other = contract.fingerprint.model_copy(update={"model": "e" * 64})
        contract.model_copy(update={"fingerprint": other}).save(file)


# --- a calibration that cannot be applied -----------------------------------------------------


@pytest.mark.parametrize(("how", "why"), [("damaged", "damaged"), ("another's", "the model")])
def test_under_a_calibration_that_cannot_be_applied_people_label_on(
    case: Case, how: str, why: str
) -> None:
    damage(case, how)
    health = case.get("health")
    assert health.status_code == 200
    told = health.json()
    assert (told["status"], told["images"], told["calibration"]) == ("degraded", 300, None)
    assert why in told["problem"]
    assert str(case.settings.corpus.parent) not in told["problem"]
    page = case.get("metrics").text
    assert "clipcal_corpus_images 300.0" in page
    assert "clipcal_corpus_labelled 150.0" in page
    assert case.post("labels", body(preview=True)).status_code == 200
    assert case.post("labels", body(batch="meanwhile", rater="bob")).status_code == 201
    assert said(case.settings.corpus)[7, "fire", "bob"] == "positive"
    assert case.get("labels", rater="bob").json()["labels"][0]["item"] == 7
    assert case.get("raters").json()["raters"] == ["ann", "bob"]
    assert case.get("labels/export").status_code == 200
    assert case.post("labels/undo", {"batch": "meanwhile", "rater": "bob"}).json()["undone"] == 1


@pytest.mark.parametrize(
    "path",
    ["calibration", "categories", "items", "review/outlook", "labels/export?images=flagged"],
)
def test_what_needs_the_calibration_says_why_there_is_nothing(case: Case, path: str) -> None:
    damage(case, "damaged")
    reply = case.client.get(f"/v1/{path}")
    assert (reply.status_code, "is damaged" in reply.json()["detail"]) == (503, True)


def test_a_calibration_that_is_mended_is_served_at_once(case: Case) -> None:
    contract, file = calibrated(case), case.settings.calibration
    file.write_text("{")
    assert case.get("health").json()["status"] == "degraded"
    contract.save(file)
    told = case.get("health").json()
    assert (told["status"], told["problem"]) == ("ok", None)
    assert case.get("calibration").status_code == 200


# --- an overall verdict -----------------------------------------------------------------------


def test_a_calibration_with_a_fitted_verdict_can_be_fitted_again_without_it(case: Case) -> None:
    contract, file = calibrated(case), case.settings.calibration
    fit = OrdinalFit((1.0, 1.0), (0.5,), (0.0, 0.0), (1.0, 1.0), 1.0)
    model = OverallModel(verdicts=("fine", "not"), categories=("fire", "water"), fit=fit, images=9)
    contract.model_copy(update={"overall": model}).save(file)
    assert case.get("items/1").json()["overall"] in ("fine", "not")
    view = case.get("calibration").json()
    reply = case.post("calibrations", {"save": True, "replaces": view["sha256"]})
    assert reply.status_code == 200, reply.text
    assert "No overall verdict is fitted" in " ".join(reply.json()["notes"])
    assert Contract.load(file).overall is None
    again = case.post("calibrations", {}).json()
    assert "verdict" not in " ".join(again["notes"])


# --- asking -----------------------------------------------------------------------------------


def lying(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file, when it was written, and what is in it; SQLite's own memory is left out."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.endswith("-shm")
    }


def test_asking_writes_nothing_even_where_what_is_derived_was_deleted(folder: Path) -> None:
    for asked in closing(served(folder)):
        calibrated(asked)
        asked.settings.calibration.unlink()
        derived = [*folder.glob("corpus/scores/*"), *folder.glob("corpus/roster-*")]
        assert len(derived) > 1
        for file in derived:
            file.unlink()
        before = lying(folder)
        for path in GETS:
            assert asked.client.get(f"/v1/{path}").status_code in (200, 404), path
        assert lying(folder) == before
