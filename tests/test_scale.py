"""Laws of levels: labels of a corpus are in one scale, and no file or label turns it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract, Cut
from clipcal.calibrate.labels.exchange.files import read_exchange
from clipcal.calibrate.labels.exchange.records import Read
from clipcal.calibrate.labels.pool import pooled
from clipcal.calibrate.labels.scale import spoken_levels
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import TextSource
from clipcal.calibrate.workflow import calibrate_corpus
from clipcal.cli import app
from clipcal.index.judgements import Said, judge, standing
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.vectors import TextVectors

IMAGES = 240
BINARY = ("negative", "positive")
LEVELS = ("none", "minor", "major")
SET = 'levels = ["none", "minor", "major"]\n[category.fire]\nprompts = ["a fire"]\n'
PLAN = CalibrationPlan(target="recall=0.8", folds=0)

Run = Callable[..., Result]


# --- what a file says -------------------------------------------------------------------------


def read(content: object, scale: Sequence[str], levels: Sequence[str] = LEVELS) -> Read:
    text = content if isinstance(content, str) else json.dumps(content)
    return read_exchange(
        text.encode(),
        None,
        name="labels.txt",
        categories=("gore", "fire"),
        levels=levels,
        rater="me",
        scale=scale,
    )


BOXES = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "gore"}],
    "annotations": [{"image_id": n, "category_id": 1, "bbox": [0, 0, 1, 1]} for n in (1, 2)],
}
CHOICES = [
    {"image": "a.png", "annotator": 1, "what": {"choices": ["gore"]}},
    {"image": "b.png", "annotator": 1, "what": {"choices": ["gore", "fire"]}},
]
YES_OR_NO = [
    BOXES,
    CHOICES,
    '{"file_name":"a.png","labels":["gore"]}\n{"file_name":"b.png","labels":["gore"]}\n',
    "image,gore\na.png,yes\nb.png,no\n",
    "image,category,label,rater\na.png,gore,positive,ann\nb.png,gore,0,bob\n",
    "image,class\na.png,gore\nb.png,dog\n",
]


@pytest.mark.parametrize("content", YES_OR_NO)
def test_yes_and_no_are_no_labels_where_levels_are_several(content):
    found = read(content, LEVELS)
    assert found.given == ()
    (note,) = (note for note in found.notes if "left out" in note)
    assert (
        "labels are left out: in the levels negative, positive, while labels of this corpus are "
        "none, minor, major. "
    ) in note
    assert int(note.split()[0]) == len(read(content, BINARY).given) >= 2


@pytest.mark.parametrize("scale", [BINARY, ("clean", "dirty")])
@pytest.mark.parametrize("content", YES_OR_NO)
def test_two_levels_are_yes_and_no_whatever_they_are_called(content, scale):
    levels = () if scale == BINARY else scale
    found = read(content, scale, levels)
    told = {(one.image, one.category): one.level for one in found.given}
    assert told["a.png", "gore"] == scale[1]
    assert told["b.png", "gore"] in scale


def test_several_levels_are_no_labels_where_they_are_two():
    found = read("image,category,label\na.png,gore,minor\nb.png,gore,none\n", BINARY)
    assert found.given == ()
    (note,) = (note for note in found.notes if "left out" in note)
    assert note.startswith(
        "2 labels are left out: in the levels none, minor, major, while labels of this corpus "
        "are negative, positive. "
    )
    one = read("image,category,label\na.png,gore,minor\n", BINARY, ())
    assert any(note.startswith("1 label is left out") for note in one.notes)


@pytest.mark.parametrize("word", ["no", "none", "0", "negative"])
@pytest.mark.parametrize(("scale", "levels"), [(BINARY, LEVELS), (LEVELS, LEVELS), (LEVELS, ())])
def test_a_file_that_says_only_no_fits_every_scale(word, scale, levels):
    found = read(f"image,category,label\na.png,gore,{word}\nb.png,gore,\n", scale, levels)
    assert [one.level for one in found.given] == [scale[0]]


# --- what a guarantee comes to ----------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A corpus whose higher scores are mostly minor or major, and of which a file says so."""
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    contents = [f"{row:064x}" for row in range(IMAGES)]
    outcomes = [Outcome(f"/photos/{row}.png", contents[row], row=row) for row in range(IMAGES)]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), contents)
    corpus.note("prompts", str(tmp_path / "own.toml"))
    (tmp_path / "own.toml").write_text(SET)
    TextVectors(("a fire",), unit(1, 5), IDENTITY.fingerprint).save(tmp_path / "text.npz")
    noise = np.random.default_rng(3).normal(scale=0.1, size=IMAGES)
    level = np.digitize(unit(IMAGES, 0) @ unit(1, 5)[0] + noise, [0.15, 0.35])
    corpus.replace_labels(
        {f"/photos/{row}.png": {"fire": LEVELS[level[row]]} for row in range(IMAGES)}
    )
    return corpus


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [*map(str, words), "--corpus", "corpus"])


def fitted(corpus: Corpus, folder: Path) -> Contract:
    """Calibrate from all that the corpus knows."""
    prompts = load_prompt_set(str(folder / "own.toml"))
    pool = pooled(corpus, ("fire",), spoken_levels(corpus, ("fire",), prompts.levels))
    source = TextSource(file=folder / "text.npz")
    return calibrate_corpus(corpus, pool, prompts=prompts, source=source, plan=PLAN).contract


def promised(contract: Contract) -> dict[str, Cut]:
    """All that a contract says of each level, but for the command that comes next."""
    cuts = contract.categories["fire"].items()
    return {level: cut.model_copy(update={"next_step": ""}) for level, cut in cuts}


def lowest_positives(corpus: Corpus, number: int) -> list[int]:
    """Items that the file says are minor or major, the lowest scores first."""
    scores = unit(IMAGES, 0) @ unit(1, 5)[0]
    labels = corpus.labels()
    rows = [int(n) for n in np.argsort(scores) if labels[f"/photos/{n}.png"]["fire"] != "none"]
    return [row + 1 for row in rows[:number]]


def boxes(items: Sequence[int]) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": f"{n - 1}.png"} for n in items],
            "categories": [{"id": 1, "name": "fire"}],
            "annotations": [{"image_id": n, "category_id": 1} for n in items],
        }
    )


def sheet(items: Sequence[int]) -> str:
    return "\n".join(["image,fire", *(f"{n - 1}.png,yes" for n in items), "0.png,no"])


@pytest.mark.parametrize(("name", "written"), [("boxes.json", boxes), ("answers.csv", sheet)])
def test_a_file_of_yes_and_no_leaves_every_guarantee_as_it_was(
    run: Run, corpus: Corpus, tmp_path: Path, name: str, written: Callable[[Sequence[int]], str]
) -> None:
    before = fitted(corpus, tmp_path)
    assert {cut.status for cut in promised(before).values()} == {"certified"}
    (tmp_path / name).write_text(written(lowest_positives(corpus, 4)))
    for words in (["--dry-run"], []):
        done = run("labels", "import", name, *words)
        assert done.exit_code == 0, done.output
        assert "labels are left out: in the levels negative, positive" in done.output
        assert "kept" not in done.output.replace("nothing new to keep", "")
    assert standing(corpus) == []
    assert promised(fitted(corpus, tmp_path)) == promised(before)
    run("labels", "export", "-o", "reviewed.csv")
    source = TextSource(file=tmp_path / "text.npz")
    again = calibrate_corpus(corpus, tmp_path / "reviewed.csv", source=source, plan=PLAN).contract
    assert promised(again) == promised(before)


def test_judgements_in_other_levels_leave_every_guarantee_that_a_file_backs(
    corpus: Corpus, tmp_path: Path
) -> None:
    before = fitted(corpus, tmp_path)
    said = [Said(item, "fire", "positive") for item in lowest_positives(corpus, 4)]
    judge(corpus, "older", said, rater="file", origin="given")
    assert promised(fitted(corpus, tmp_path)) == promised(before)


@pytest.mark.parametrize("number", [1, 4, 200])
def test_images_of_which_only_that_is_known_weaken_every_guarantee(
    run: Run, corpus: Corpus, tmp_path: Path, number: int
) -> None:
    before = promised(fitted(corpus, tmp_path))
    items = lowest_positives(corpus, number)
    labels = corpus.labels()
    for item in items:
        del labels[f"/photos/{item - 1}.png"]
    corpus.replace_labels(labels)
    said = [Said(item, "fire", "positive") for item in items]
    judge(corpus, "older", said, rater="ann", origin="given")
    after = fitted(corpus, tmp_path)
    for level, cut in promised(after).items():
        promise = before[level].threshold
        certain = cut.status == "certified"
        assert not certain or (cut.threshold is not None and cut.threshold <= promise)
    assert sum(f"{len(items):,} images" in warning for warning in after.warnings) == 1
    shown = run("labels", "export", "-o", "reviewed.csv")
    assert "count there as left blank" in shown.output or number == 1
    source = TextSource(file=tmp_path / "text.npz")
    again = calibrate_corpus(corpus, tmp_path / "reviewed.csv", source=source, plan=PLAN).contract
    assert promised(again) == promised(after)


def test_one_row_in_other_levels_takes_nothing_from_a_corpus_of_yes_and_no(
    run: Run, corpus: Corpus, tmp_path: Path
) -> None:
    flags = {
        uri: {"fire": "negative" if row["fire"] == "none" else "positive"}
        for uri, row in corpus.labels().items()
    }
    corpus.replace_labels(flags)
    before = fitted(corpus, tmp_path)
    assert before.levels == BINARY
    (tmp_path / "bob.csv").write_text("image,category,label,rater\n100.png,fire,minor,Bob\n")
    done = run("labels", "import", "bob.csv", "--json")
    told = json.loads(done.stdout)
    assert (told["written"], told["new"]) == (0, 0)
    assert "1 label is left out" in told["files"][0]["notes"][-1]
    assert fitted(corpus, tmp_path).model_dump(exclude={"created"}) == before.model_dump(
        exclude={"created"}
    )
    judge(corpus, "older", [Said(101, "fire", "minor")], rater="Bob", origin="given")
    assert promised(fitted(corpus, tmp_path)) == promised(before)


# --- what leaves and comes back ---------------------------------------------------------------


def test_who_is_named_in_the_file_is_not_who_is_named_beside_it():
    shared = {"image": "a.png", "gore": "none"}
    found = read([{**shared, "annotator": {"email": "me"}}, {**shared, "image": "b.png"}], LEVELS)
    assert [(one.rater, one.named) for one in found.given] == [("me", True), ("me", False)]
    sheet = read("image,category,label,rater\na.png,gore,none,me\nb.png,gore,none,\n", LEVELS)
    assert [(one.rater, one.named) for one in sheet.given] == [("me", True), ("me", False)]


@pytest.mark.parametrize("output", ["labels.json", "metadata.jsonl"])
def test_what_is_exported_without_raters_is_no_second_voice_when_it_comes_back(
    run: Run, corpus: Corpus, output: str
) -> None:
    corpus.replace_labels({})
    judge(corpus, "a", [Said(20, "fire", "minor")], rater="Ada", origin="given")
    words = ["--format", "coco"] if output.endswith(".json") else []
    assert run("labels", "export", "-o", output, *words).exit_code == 0
    told = json.loads(run("labels", "import", output, "--json").stdout)
    assert (told["same"], told["written"]) == (1, 0)
    judge(corpus, "b", [Said(20, "fire", "none")], rater="Ada", origin="given")
    table = pooled(corpus, ("fire",), LEVELS).table
    assert table.values.tolist() == [[0]]
    told = json.loads(run("labels", "import", output, "--json").stdout)
    assert (told["new"], told["written"]) == (1, 1)


def test_a_rater_whom_the_file_names_is_a_voice_of_his_own(run: Run, corpus: Corpus) -> None:
    judge(corpus, "a", [Said(20, "fire", "minor")], rater="Ada", origin="given")
    Path("bob.csv").write_text("image,category,label,rater\n19.png,fire,minor,Bob\n")
    told = json.loads(run("labels", "import", "bob.csv", "--rater", "Bob", "--json").stdout)
    assert (told["new"], told["raters"]) == (1, ["Bob"])
