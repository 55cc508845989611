"""Laws of thresholds over HTTP: what is tried is saved, and is what the command line does."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from review_case import (
    HOME,
    IMAGES,
    Case,
    case,
    closing,
    folder,
    levelled,
    served,
    template,
    truth_of,
)

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import pool_csv
from clipcal.cli import app
from clipcal.index.store import Corpus

__all__ = ["case", "folder", "levelled", "template"]


def label_some(case: Case, images: int = 150) -> None:
    for category in ("fire", "water"):
        case.label_truth(range(1, images + 1), category)


def fit(case: Case, **wish: Any) -> dict[str, Any]:
    reply = case.post("calibrations", wish)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def saved(case: Case, **wish: Any) -> dict[str, Any]:
    present = case.get("calibration").json().get("sha256")
    answer: dict[str, Any] = fit(case, save=True, replaces=present, **wish)["calibration"]
    return answer


def tried(case: Case, **trial: Any) -> dict[str, Any]:
    more = {name: trial.pop(name) for name in ("flips", "bands", "costs") if name in trial}
    reply = case.post("what-if", {"trials": [{"category": "fire", **trial}], **more})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()["results"][0]
    return answer


def cut(calibration: dict[str, Any], category: str = "fire") -> dict[str, Any]:
    (found,) = (one for one in calibration["cuts"] if one["category"] == category)
    return dict(found)


def run(folder: Path, command: str, *options: str) -> dict[str, Any]:
    """Run the command line on the same files; returns what it prints as JSON."""
    files = ("--corpus", str(folder / "corpus"), "--prompt-vectors", str(folder / "text.npz"))
    done = CliRunner().invoke(app, [command, *files, "--json", *options])
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_categories_and_prompt_sets_are_named(case: Case) -> None:
    reply = case.get("categories").json()
    assert [one["name"] for one in reply["categories"]] == ["fire", "water"]
    assert (reply["levels"], reply["images"]) == (["negative", "positive"], IMAGES)
    assert (reply["labelled"], reply["calibration"]) == (0, None)
    case.label({1: "positive", 2: "negative"})
    assert case.get("categories").json()["labelled"] == 2
    sets = case.get("prompts").json()
    assert (sets["own"], "moderation" in sets["packaged"]) == ("two", True)


def test_without_a_calibration_there_is_none_to_see(case: Case) -> None:
    reply = case.get("calibration")
    assert reply.status_code == 404
    assert "/v1/calibrations" in reply.json()["detail"]


def test_without_labels_nothing_is_fitted(case: Case) -> None:
    reply = case.post("calibrations", {"save": True})
    assert reply.status_code == 422
    assert "label" in reply.json()["detail"]
    assert not case.settings.calibration.exists()


def test_what_is_fitted_is_written_only_when_it_is_saved(case: Case) -> None:
    label_some(case)
    assert fit(case)["saved"] is False
    assert not case.settings.calibration.exists()
    assert case.get("calibration").status_code == 404
    calibration = saved(case)
    assert case.get("calibration").json() == calibration
    assert case.get("categories").json()["calibration"] == calibration["sha256"]


@pytest.mark.parametrize(
    ("wish", "options"),
    [
        ({}, ()),
        ({"target": "precision=0.7", "joint": True}, ("--target", "precision=0.7", "--joint")),
        (
            {"bands": "recall=0.8,precision=0.7", "confidence": 0.9},
            ("--bands", "recall=0.8,precision=0.7", "--confidence", "0.9"),
        ),
        (
            {"target": "f1", "placed": [{"category": "fire", "threshold": 0.31}]},
            ("--target", "f1", "--threshold", "fire=0.31"),
        ),
    ],
)
def test_the_saved_file_is_what_the_command_line_writes_from_the_exported_labels(
    case: Case,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    wish: dict[str, Any],
    options: tuple[str, ...],
) -> None:
    label_some(case)
    case.label({1: "positive", 2: "positive", 3: "negative"}, rater="bob")
    saved(case, **wish)
    monkeypatch.chdir(folder)
    corpus = Corpus.open(folder / "corpus")
    Path("reviewed.csv").write_bytes(pool_csv(corpus, ("fire", "water"), ()))
    corpus.close()
    named = ("--labels", "reviewed.csv", "--prompts", str(folder / "two.toml"))
    run(folder, "calibrate", *named, *options, "-o", "by_command.json")
    ours, theirs = Contract.load(case.settings.calibration), Contract.load(Path("by_command.json"))
    again = theirs.model_copy(update={"created": ours.created})
    assert ours.model_dump() == again.model_dump()


def test_a_rescore_decides_as_the_service_does(case: Case, folder: Path) -> None:
    label_some(case)
    saved(case, placed=[{"category": "fire", "threshold": 0.4}])
    written = folder / "decisions.csv"
    run(folder, "rescore", "--calibration", str(case.settings.calibration), "-o", str(written))
    with written.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    decided = case.context.workspace.view().decided
    assert decided is not None
    for column, category in enumerate(decided.categories):
        assert [int(row[category]) for row in rows] == decided.values[:, column].tolist()


def test_a_calibration_that_somebody_else_saved_is_not_overwritten(case: Case) -> None:
    label_some(case)
    first = saved(case)
    kept = case.settings.calibration.read_bytes()
    for replaces in (None, "0" * 64):
        reply = case.post("calibrations", {"save": True, "target": "f1", "replaces": replaces})
        assert reply.status_code == 409
        assert "/v1/calibration" in reply.json()["detail"]
    assert case.settings.calibration.read_bytes() == kept
    second = fit(case, save=True, target="f1", replaces=first["sha256"])["calibration"]
    assert second["sha256"] != first["sha256"]


def test_a_calibration_that_is_gone_is_not_taken_for_the_one_that_was_seen(case: Case) -> None:
    label_some(case)
    first = saved(case)
    case.settings.calibration.unlink()
    reply = case.post("calibrations", {"save": True, "replaces": first["sha256"]})
    assert reply.status_code == 409
    assert not case.settings.calibration.exists()


def test_of_several_who_save_at_once_one_does(case: Case) -> None:
    label_some(case, 60)

    def save(confidence: float) -> int:
        wish = {"save": True, "confidence": confidence}
        return int(case.another_client().post("/v1/calibrations", json=wish).status_code)

    with ThreadPoolExecutor(3) as threads:
        replies = list(threads.map(save, (0.8, 0.85, 0.9)))
    assert sorted(replies) == [200, 409, 409]


def test_saving_leaves_the_labels_as_raters_gave_them(case: Case) -> None:
    label_some(case)
    before = case.get("labels", limit=500).json()
    saved(case)
    assert case.get("labels", limit=500).json() == before
    assert case.context.workspace.corpus.labels() == {}


def test_a_threshold_tried_is_the_threshold_saved(case: Case) -> None:
    label_some(case)
    saved(case)
    told = tried(case, threshold=0.42)
    placed = saved(case, placed=[{"category": "fire", "threshold": 0.42}])
    found = cut(placed)
    assert (found["threshold"], found["by_hand"]) == (0.42, True)
    for name in ("threshold", "n", "positives", "recall", "precision", "flags"):
        assert told[name] == found[name], name
    assert told["certified"] == (found["status"] == "certified")
    assert cut(placed, "water")["by_hand"] is False


def test_the_standing_threshold_flips_nothing(case: Case) -> None:
    label_some(case)
    calibration = saved(case)
    told = tried(case, threshold=cut(calibration)["threshold"], flips=10)
    assert (told["newly"], told["no_longer"], told["newly_items"]) == (0, 0, [])
    assert told["before"] == told["flags"] == cut(calibration)["flags"]
    assert told["recall"] == cut(calibration)["recall"]


def test_flips_are_shown_with_the_nearest_to_the_threshold_first(case: Case) -> None:
    label_some(case)
    standing = cut(saved(case))["threshold"]
    view = case.context.workspace.view()
    scores = view.scored.column("fire")
    higher, lower = np.float32(standing + 0.1), np.float32(standing - 0.1)
    told = tried(case, threshold=float(higher), flips=60)
    gone = np.flatnonzero((scores >= np.float32(standing)) & (scores < higher))
    assert (told["no_longer"], told["newly"]) == (len(gone), 0)
    order = gone[np.argsort(np.abs(scores[gone] - higher), kind="stable")][:60]
    assert [one["id"] for one in told["no_longer_items"]] == view.ids[order].tolist()
    assert len(tried(case, threshold=float(lower), flips=3)["newly_items"]) == 3


def test_with_an_upper_threshold_the_bands_are_counted(case: Case) -> None:
    label_some(case)
    told = tried(case, threshold=0.3, upper=0.6, bands="recall=0.8,precision=0.7")
    scores = case.context.workspace.view().scored.column("fire")
    block = int(np.count_nonzero(scores >= np.float32(0.6)))
    allow = int(np.count_nonzero(scores < np.float32(0.3)))
    assert (told["allow"], told["block"]) == (allow, block)
    assert told["allow"] + told["review"] + told["block"] == IMAGES
    assert told["upper_precision"]["n"] > 0


def test_dearer_misses_cost_more(case: Case) -> None:
    label_some(case)
    cheap = tried(case, threshold=0.5, costs={"miss": 1, "false_flag": 1})["cost"]["value"]
    dear = tried(case, threshold=0.5, costs={"miss": 10, "false_flag": 1})["cost"]["value"]
    assert dear > cheap


def test_what_if_needs_neither_labels_nor_a_calibration(case: Case) -> None:
    told = tried(case, threshold=0.5)
    assert (told["n"], told["before"], told["certified"]) == (0, None, False)


@pytest.mark.parametrize(
    "trial",
    [{"category": "smoke", "threshold": 0}, {"category": "fire", "level": "major", "threshold": 0}],
)
def test_thresholds_of_unknown_cuts_are_refused(case: Case, trial: dict[str, Any]) -> None:
    label_some(case, 30)
    assert case.post("what-if", {"trials": [trial]}).status_code == 422
    assert case.post("calibrations", {"placed": [trial]}).status_code == 422
    where = {name: value for name, value in trial.items() if name != "threshold"}
    assert case.get("curves", **where).status_code == 422


def test_with_several_levels_the_level_must_be_named(levelled: Case) -> None:
    told = truth_of()[:, 0]
    levelled.label({n: "major" if told[n - 1] else "none" for n in range(1, 61)})
    assert levelled.get("curves", category="fire").status_code == 422
    assert levelled.get("curves", category="fire", level="minor").json()["points"]
    body = {"trials": [{"category": "fire", "threshold": 0.5}]}
    assert levelled.post("what-if", body).status_code == 422
    groups = levelled.get("histograms", category="fire").json()["groups"]
    assert [one["level"] for one in groups] == [None, "major", "minor", "none"]


def test_histograms_hold_every_image_and_every_label(case: Case) -> None:
    label_some(case)
    reply = case.get("histograms", category="fire").json()
    counts = {one["level"]: sum(one["counts"]) for one in reply["groups"]}
    positives = int(truth_of()[:150, 0].sum())
    assert counts == {None: IMAGES, "positive": positives, "negative": 150 - positives}
    scores = case.context.workspace.view().scored.column("fire")
    assert reply["low"] < scores.min() < scores.max() < reply["high"]


def test_curves_lose_recall_and_flags_as_the_threshold_rises(case: Case) -> None:
    label_some(case)
    points = case.get("curves", category="fire").json()["points"]
    for name, values in (
        ("threshold", [one["threshold"] for one in points]),
        ("flags", [-one["flags"] for one in points]),
        ("recall", [-one["recall"]["value"] for one in points]),
    ):
        assert values == sorted(values), name


def test_no_reply_names_a_folder_of_the_machine(case: Case, folder: Path) -> None:
    label_some(case, 20)
    texts = [case.post("calibrations", {}).text, case.get("review/outlook").text]
    saved(case)
    texts += [case.get(path).text for path in ("calibration", "categories", "prompts")]
    texts.append(case.post("calibrations", {"save": True, "replaces": None}).text)
    texts.append(
        case.post("what-if", {"trials": [{"category": "fire", "threshold": 0.2}], "flips": 9}).text
    )
    for text in texts:
        assert str(folder) not in text
        assert HOME not in text


def test_the_prompt_set_of_the_calibration_is_tried_and_fitted_again_though_its_file_is_gone(
    case: Case, folder: Path
) -> None:
    label_some(case)
    first = saved(case)
    (folder / "two.toml").unlink()
    for later in closing(served(folder, prompts=None)):
        assert tried(later, threshold=cut(first)["threshold"])["newly"] == 0
        again = saved(later)
        assert cut(again) == {**cut(first), "next_step": cut(again)["next_step"]}
