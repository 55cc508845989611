"""The published study of eight posts, whole levels of which have no image: small data is usual."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import DIM, IDENTITY, TinyEncoder

from clipcal.calibrate.contract import Contract
from clipcal.cli import app
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.vectors import TextVectors

POSTS = 8
CATEGORIES = ("Attire", "Sexual Content", "Gestures", "Substances", "Violence", "Gore")
Run = Callable[..., Result]


@pytest.fixture
def labels(shared_data: Path) -> Path:
    return shared_data / "posts" / "human_annotations.csv"


@pytest.fixture
def run(
    labels: Path,
    tmp_path: Path,
    pictures: Callable[..., Path],
    run_embed: Callable[..., object],
    encoder: TinyEncoder,
) -> Run:
    """A corpus of eight drawn pictures named as the posts are, and a command to run on it."""
    folder = pictures(POSTS)
    for number, picture in enumerate(sorted(folder.iterdir()), start=1):
        picture.rename(folder / f"post{number}.png")
    run_embed(folder)
    assert encoder.seen == POSTS
    sentences = load_prompt_set("moderation").sentences
    vectors = np.random.default_rng(0).normal(size=(len(sentences), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    TextVectors(tuple(sentences), vectors, IDENTITY.fingerprint).save(tmp_path / "text.npz")
    rest = ["--corpus", str(tmp_path / "corpus"), "--prompt-vectors", str(tmp_path / "text.npz")]

    def command(name: str, *arguments: object) -> Result:
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, [name, *words, *rest])

    return command


def calibrate(run: Run, labels: Path, tmp_path: Path, *more: object) -> Contract:
    named = ("--labels", labels, "--prompts", "moderation", "-o", tmp_path / "c.json")
    done = run("calibrate", *named, *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return Contract.load(tmp_path / "c.json")


def given(labels: Path) -> dict[str, list[str]]:
    with labels.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == POSTS
    return {category: [row[category].strip().lower() for row in rows] for category in CATEGORIES}


TARGETS = [
    *("recall=0.9", "recall=0.95", "precision=0.8", "precision=0.5", "f1", "fbeta=2"),
    *("cost=5:1", "cost=1:20", "budget=2", "budget=500", "levels"),
]


@pytest.mark.parametrize("target", TARGETS)
def test_eight_posts_are_calibrated_without_a_promise(
    run: Run, labels: Path, tmp_path: Path, target: str
) -> None:
    contract = calibrate(run, labels, tmp_path, "--target", target)
    assert contract.labels.images == POSTS
    assert set(contract.categories) == set(CATEGORIES)
    people = given(labels)
    for category, cuts in contract.categories.items():
        assert list(cuts) == ["minor", "major"]
        expected = {
            "minor": sum(word in {"minor", "major"} for word in people[category]),
            "major": people[category].count("major"),
        }
        for level, cut in cuts.items():
            assert cut.status in {"insufficient", "no_positives", "no_negatives", "estimated"}
            assert cut.guarantee is None
            assert (cut.n, cut.positives) == (POSTS, expected[level])
            if target.startswith("budget"):
                assert cut.status in {"estimated", "insufficient"}
                assert (cut.flags or 0) <= int(target.split("=")[1])
            else:
                assert (cut.status == "no_positives") == (cut.positives == 0)
            assert "clipcal " in cut.next_step
            if cut.status == "insufficient":
                assert (
                    cut.further_labels
                    or "do not tell how many more" in cut.next_step
                    or ("No score divides the levels" in cut.next_step)
                )
    done = run("rescore", "--calibration", tmp_path / "c.json", "-o", tmp_path / "d.csv")
    assert done.exit_code == 0, (done.output, done.exception)
    assert len((tmp_path / "d.csv").read_text().splitlines()) == POSTS + 1


@pytest.mark.parametrize(
    "more",
    [
        ("--overall", "fitted"),
        ("--probabilities", "auto"),
        ("--probabilities", "isotonic"),
        ("--probabilities", "platt", "--prior-shift"),
        ("--probabilities", "beta"),
        ("--learn",),
        ("--bands",),
        ("--bands", "recall=0.8,precision=0.6", "--joint"),
        ("--joint",),
        ("--joint", "--target", "precision=0.6"),
        ("--holdout", "0.5"),
        ("--holdout", "0.5", "--overall", "fitted"),
        ("--folds", "0"),
        ("--folds", "100"),
        ("--raters", "dawid-skene"),
        ("--learn", "--bands", "--joint", "--probabilities", "auto", "--overall", "fitted"),
        ("--target", "f1", "--learn", "--holdout", "0.3", "--probabilities", "auto"),
    ],
    ids=" ".join,
)
def test_eight_posts_survive_everything_that_can_be_asked(
    run: Run, labels: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    if "dawid-skene" in more:  # with one rating per image there is nothing to learn of raters
        named = ("--labels", labels, "--prompts", "moderation", "-o", tmp_path / "c.json")
        done = run("calibrate", *named, *more)
        assert done.exit_code in {0, 1}
        return
    contract = calibrate(run, labels, tmp_path, *more)
    statuses = {cut.status for cuts in contract.categories.values() for cut in cuts.values()}
    assert statuses <= {"insufficient", "no_positives", "no_negatives", "estimated"}
    for cuts in contract.categories.values():
        for cut in cuts.values():
            if cut.bands is not None:
                assert cut.bands.block == 0
                assert cut.bands.status != "certified"
    assert not contract.heads
    if "fitted" in more:
        assert contract.overall is not None
        assert contract.overall.verdicts == ("appropriate", "questionable", "inappropriate")
    told = run("rescore", "--calibration", tmp_path / "c.json", "-o", tmp_path / "d.csv", "--json")
    assert told.exit_code == 0, (told.output, told.exception)
    result = json.loads(told.stdout)
    assert result["images"] == POSTS
    assert result["drift"] == {}
    if "fitted" in more:
        assert sum(result["overall"]["verdicts"].values()) == POSTS


def test_what_eight_posts_lack_is_told_in_numbers(run: Run, labels: Path, tmp_path: Path) -> None:
    contract = calibrate(run, labels, tmp_path, "--target", "recall=0.9")
    people = given(labels)
    for category, cuts in contract.categories.items():
        positives = sum(word in {"minor", "major"} for word in people[category])
        cut = cuts["minor"]
        assert cut.further_positives == 29 - positives
        if positives:
            assert cut.further_labels is not None
            assert cut.further_labels >= cut.further_positives


def test_a_table_of_eight_posts_is_readable(run: Run, labels: Path, tmp_path: Path) -> None:
    named = ("--labels", labels, "--prompts", "moderation", "-o", tmp_path / "c.json")
    done = run("calibrate", *named)
    assert done.exit_code == 0
    for category in CATEGORIES:
        assert category.split()[0] in done.stdout
    assert "certified" not in done.stdout
    assert "the corpus holds 8. Add images: clipcal embed FOLDER" in done.stdout
