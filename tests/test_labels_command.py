"""Laws of ``clipcal labels``: in, out, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.labels.exchange import records
from clipcal.calibrate.labels.pool import pool_csv
from clipcal.cli import app
from clipcal.commands.labels import ORIGINS
from clipcal.commands.labels_export import FORMATS
from clipcal.index.judgements import Said, chosen_rows, judge, standing
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 60
SET = '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n'

Run = Callable[..., Result]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    contents = [f"{row:064x}" for row in range(IMAGES)]
    outcomes = [
        Outcome(f"/photos/{row % 2}/{row}.png", contents[row], row=row) for row in range(IMAGES)
    ]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), contents)
    return corpus


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command to run on the corpus, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    TextVectors(("a fire", "the sea"), unit(2, 5), IDENTITY.fingerprint).save(Path("text.npz"))
    Path("own.toml").write_text(SET)
    corpus.note("prompts", str(Path("own.toml").resolve()))
    return lambda *words: CliRunner().invoke(app, [*map(str, words), "--corpus", "corpus"])


def say(corpus: Corpus, *items: int, level: str = "positive", rater: str = "ann") -> None:
    said = [Said(item, "fire", level) for item in items]
    judge(corpus, f"{rater}{items}", said, rater=rater, origin="random")


def told(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def stands(corpus: Corpus) -> set[tuple[int, str, str | None, str]]:
    return {(j.item, j.category, j.level, j.rater) for j in standing(corpus)}


def calibrated(run: Run) -> None:
    """Calibrate on labels that follow the scores, but for the first ten images."""
    near = unit(IMAGES, 0) @ unit(2, 5)[0] > 0.1
    rows = [f"/photos/{n % 2}/{n}.png,{'yes' if near[n] else 'no'}" for n in range(10, IMAGES)]
    Path("human.csv").write_text("\n".join(["image,fire", *rows]))
    done = run("calibrate", "--labels", "human.csv", "--prompt-vectors", "text.npz")
    assert done.exit_code == 0, done.output


def test_the_exported_csv_is_the_pool(run: Run, corpus: Corpus) -> None:
    say(corpus, 1, 2)
    say(corpus, 2, level="negative", rater="bob")
    done = told(run("labels", "export", "-o", "reviewed.csv", "--json"))
    assert (done["images"], done["labels"], done["format"]) == (2, 3, "csv")
    data = Path("reviewed.csv").read_bytes()
    assert data == pool_csv(corpus, ("fire", "water"), ())
    assert told(run("labels", "import", "reviewed.csv", "--json"))["same"] == 3


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("a.csv", ["--relative"]),
        ("a.csv", ["--prefix", "https://host/photos/"]),
        ("a.json", ["--format", "label-studio", "--prefix", "/data/local-files/?d=photos/"]),
        ("a.json", ["--format", "coco"]),
        ("a.jsonl", []),
    ],
)
def test_what_is_exported_names_no_folder_of_the_machine_and_comes_back(
    run: Run, corpus: Corpus, output: str, words: list[str]
) -> None:
    say(corpus, 1, 2, 4)
    assert run("labels", "export", "-o", output, *words).exit_code == 0
    assert "/photos/0" not in Path(output).read_text().replace("https://host/photos/", "")
    done = told(run("labels", "import", output, "--rater", "ann", "--json"))
    assert (done["same"], done["new"], done["unmatched"]) == (3, 0, [])


def test_an_import_is_listed_and_undone(run: Run, corpus: Corpus) -> None:
    say(corpus, 1, level="negative")
    Path("a.csv").write_text("image,fire,annotator\n0.png,yes,ann\n2.png,no,bob\n99.png,no,bob\n")
    dry = told(run("labels", "import", "a.csv", "--dry-run", "--json"))
    assert (dry["new"], dry["changed"], dry["written"]) == (1, 1, 0)
    shown = run("labels", "import", "a.csv")
    assert "1 images are not in the corpus: 99.png." in shown.output
    assert (1, "fire", "positive", "ann") in stands(corpus)
    batch = shown.output.split("labels undo ")[1].split()[0]
    listed = told(run("labels", "history", "--json"))["batches"]
    assert [one["rater"] for one in listed] == ["bob", "ann", "ann"]
    assert batch in run("labels", "history", "-n", 1).output
    assert told(run("labels", "undo", batch, "--rater", "bob", "--json"))["undone"] == 1
    assert "1 labels" in run("labels", "undo", batch).output
    assert stands(corpus) == {(1, "fire", "negative", "ann")}
    assert "undone already" in run("labels", "undo", batch).output
    assert "labels history" in str(run("labels", "undo", "nothing").exception)


def test_labels_of_images_seen_for_their_scores_are_told_as_such(run: Run, corpus: Corpus) -> None:
    Path("a.csv").write_text("image,fire\n0.png,yes\n")
    run("labels", "import", "a.csv", "--origin", "flagged")
    assert chosen_rows(corpus, "fire").tolist() == [0]


def test_label_studio_gets_what_is_flagged_with_predictions_and_a_config(
    run: Run, corpus: Corpus
) -> None:
    calibrated(run)
    words = ["--images", "flagged", "--category", "fire", "--prompt-vectors", "text.npz"]
    out = ["--format", "label-studio", "-o", "tasks.json", "--config", "project.xml"]
    done = told(run("labels", "export", *words, *out, "--json"))
    tasks = json.loads(Path("tasks.json").read_text())
    assert (done["images"], done["predictions"], done["labels"]) == (len(tasks), True, 0)
    assert 0 < len(tasks) <= 10
    for task in tasks:
        assert task["data"]["origin"] == "flagged"
        assert task["data"]["item"] <= 10  # the others have labels
        (prediction,) = task["predictions"]
        assert [result["value"]["choices"] for result in prediction["result"]] == [["positive"]]
        assert prediction["score"] >= 0
    scores = [task["predictions"][0]["score"] for task in tasks]
    assert scores == sorted(scores, reverse=True)
    assert 'name="fire"' in Path("project.xml").read_text()
    assert 'name="water"' not in Path("project.xml").read_text()


def test_what_was_suggested_is_exported_in_the_order_to_label_it_in(
    run: Run, corpus: Corpus
) -> None:
    run("suggest", "-n", 8, "--prompts", "own.toml", "--prompt-vectors", "text.npz")
    out = ["--format", "label-studio", "-o", "tasks.json", "--images", "suggested"]
    assert run("labels", "export", *out).exit_code == 0
    data = [task["data"] for task in json.loads(Path("tasks.json").read_text())]
    uniform = {one.row for one in corpus.suggestions() if one.audit}
    assert len(data) == 8
    assert {one["item"] - 1 for one in data if one["origin"] == "random"} == uniform
    assert run("labels", "export", *out, "-n", 3).exit_code == 0
    first = [task["data"] for task in json.loads(Path("tasks.json").read_text())]
    assert first == data[:3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "-o", "a.json"], "Name it: --format"),
        (["export", "-o", "a.csv", "--config", "b.xml"], "--config goes with"),
        (["export", "-o", "a.csv", "--category", "smoke"], "there are: fire, water"),
        (["import", "a.csv", "--rater", " "], "--rater needs a name"),
        (["import"], "Missing argument"),
    ],
)
def test_wrong_calls_are_told(run: Run, words: list[str], message: str) -> None:
    done = run("labels", *words)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["export", "-o", "nowhere/a.csv"], "cannot be written"),
        (["export", "-o", "a.csv", "--images", "suggested"], "clipcal suggest"),
        (["export", "-o", "a.csv", "--images", "near"], "calibration.json"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_next_command(
    run: Run, words: list[str], message: str
) -> None:
    done = run("labels", *words)
    assert done.exit_code == 1
    assert message in str(done.exception)


def test_the_options_are_those_of_the_library() -> None:
    assert FORMATS == records.FORMATS
    assert ORIGINS == records.ORIGINS
