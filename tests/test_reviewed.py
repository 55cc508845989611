"""Laws of the way from what raters said to a calibration: each command names the next one."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import SOURCE, pooled
from clipcal.cli import app
from clipcal.index.judgements import Origin, Said, judge
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 80
SET = '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n'
TEXT = ("--prompt-vectors", "text.npz", "--prompts", "set.toml")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Be in a folder with a corpus, and run commands there as they are typed."""
    monkeypatch.chdir(tmp_path)
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(IMAGES)]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), [o.sha256 for o in outcomes])
    corpus.close()
    TextVectors(("a fire", "the sea"), unit(2, 5), IDENTITY.fingerprint).save(Path("text.npz"))
    Path("set.toml").write_text(SET)
    return lambda *words: CliRunner().invoke(app, words)


def say(images: range, origin: Origin = "random") -> None:
    corpus = Corpus.open(Path("corpus"))
    said = [
        Said(corpus.find(f"/photos/{i}.jpg").id, name, ("negative", "positive")[(i + shift) % 2])
        for i in images
        for shift, name in enumerate(("fire", "water"))
    ]
    judge(corpus, f"batch {images}", said, rater="ann", origin=origin)


def typed(told: str) -> list[list[str]]:
    """Return the commands in what was told, as words."""
    found = re.findall(r"clipcal (?:labels export|calibrate --labels)[^,\n]*", told)
    return [shlex.split(command)[1:] for command in found]


def test_calibrate_without_labels_names_the_way_from_what_raters_said(run: Run) -> None:
    assert "reviewed.csv" not in run("calibrate", *TEXT).output
    say(range(30))
    refused = run("calibrate", *TEXT)
    assert refused.exit_code == 2
    assert "Raters have judged 30 images" in refused.output
    export, calibrate = typed(refused.output.split("to use that: ")[1])
    assert run(*export, "--prompts", "set.toml").exit_code == 0
    assert run(*calibrate, *TEXT, "--target", "f1").exit_code == 0
    kept = Contract.load(Path("calibration.json")).labels
    assert (kept.name, kept.images) == (SOURCE, 30)
    assert pooled(Corpus.open(Path("corpus")), ("fire", "water"), ()).table.sha256 == kept.sha256


def test_calibrate_without_labels_and_corpus_is_a_wrong_call(run: Run) -> None:
    refused = run("calibrate", "--corpus", "nowhere")
    assert refused.exit_code == 2
    assert "--labels" in refused.output


def test_a_sheet_is_calibrated_with_beside_what_raters_said(run: Run) -> None:
    say(range(30))
    drawn = run("suggest", "-n", "10", "--audit", "1", "-o", "sheet.csv", *TEXT)
    assert drawn.exit_code == 0, drawn.output
    with Path("sheet.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    with Path("sheet.csv").open("w", newline="") as stream:
        filled = [[cell or ("yes", "no")[i % 2] for cell in row] for i, row in enumerate(rows)]
        csv.writer(stream).writerows([header, *filled])
    export, calibrate = typed(drawn.output)
    assert run(*export, "--prompts", "set.toml").exit_code == 0
    done = run(*calibrate, *TEXT, "--target", "f1")
    assert done.exit_code == 0, done.output
    assert Contract.load(Path("calibration.json")).labels.images == 30 + len(rows)


def test_the_table_says_what_it_does_not_count(run: Run) -> None:
    say(range(30))
    say(range(40, 49), origin="flagged")
    assert run("labels", "export", "-o", SOURCE, "--prompts", "set.toml").exit_code == 0
    done = run("calibrate", "--labels", SOURCE, "--target", "f1", *TEXT)
    assert "9 labelled images, chosen for their scores, count in nothing yet." in done.stdout
