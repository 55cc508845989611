"""Laws of guarantees from labels that are no random sample of the whole corpus."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit
from scipy.stats import ks_2samp

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.sampling.design import backing_blanks
from clipcal.calibrate.sampling.likeness import unlikeness
from clipcal.calibrate.sampling.tuned import remember_tuned
from clipcal.cli import app
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.vectors import TextVectors

IMAGES = 500
SET = """
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
"""
NAMES = ("fire", "water")
Run = Callable[..., Result]


TEXTS = unit(2, 5)
SCORES = unit(IMAGES, 0) @ TEXTS.T
TRUTH = np.random.default_rng(1).normal(0.1, 0.08, SCORES.shape) < SCORES


def grow(path: Path, vectors: np.ndarray) -> None:
    corpus = Corpus.open_or_create(path, IDENTITY)
    numbers = range(corpus.rows, corpus.rows + len(vectors))
    outcomes = [Outcome(f"/photos/{n}.jpg", f"{n:064d}", row=n) for n in numbers]
    corpus.commit(outcomes, vectors.astype(np.float16), [o.sha256 for o in outcomes])
    corpus.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    grow(Path("corpus"), unit(IMAGES, 0))
    TextVectors(("a fire", "the sea"), TEXTS, IDENTITY.fingerprint).save(Path("text.npz"))
    Path("own.toml").write_text(SET)
    rest = ["--corpus", "corpus", "--prompt-vectors", "text.npz", "--prompts", "own.toml"]
    return lambda *words: CliRunner().invoke(app, [*map(str, words), *rest])


def audited(run: Run, images: int = 200) -> list[int]:
    """Draw images at random to be labelled."""
    done = run("suggest", "-n", images, "--audit", 1, "-o", "sheet.csv")
    assert done.exit_code == 0, (done.output, done.exception)
    with Path("sheet.csv").open(newline="") as stream:
        return [int(Path(image).stem) for image, *_ in list(csv.reader(stream))[1:]]


def write(rows: Iterable[int], blank: dict[str, set[int]] | None = None) -> None:
    """Label images as people would, but for cells left blank."""
    with Path("human.csv").open("w", newline="") as stream:
        sheet = csv.writer(stream)
        sheet.writerow(("image", *NAMES))
        for row in rows:
            words = ("yes" if one else "no" for one in TRUTH[row])
            cells = zip(NAMES, words, strict=True)
            left = blank or {}
            sheet.writerow(
                (f"{row}.jpg", *("" if row in left.get(n, ()) else word for n, word in cells))
            )


def calibrate(run: Run, *more: object) -> Result:
    return run("calibrate", "--labels", "human.csv", "--folds", 0, "-o", "c.json", *more)


def told(done: Result) -> dict:
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


# --- a corpus that grew -----------------------------------------------------------------------


def test_a_guarantee_of_a_corpus_that_grew_names_the_images_that_it_speaks_of(run: Run) -> None:
    write(audited(run))
    before = told(calibrate(run, "--target", "recall=0.8", "--json"))
    assert before["warnings"] == []
    grow(Path("corpus"), unit(900, 8, shift=-2))
    after = told(calibrate(run, "--target", "recall=0.8", "--json"))
    for category in NAMES:
        cut = after["categories"][category]["positive"]
        assert cut["status"] == "certified"
        assert "the 500 images that were in the corpus when the first were" in cut["guarantee"]
        assert "the 500 images" not in before["categories"][category]["positive"]["guarantee"]
    assert "900 of 1,400 images were embedded after" in after["warnings"][0]
    assert len(after["warnings"]) == 1
    assert list(Contract.load(Path("c.json")).warnings) == after["warnings"]


def test_where_nothing_is_guaranteed_its_limits_are_notes_or_nothing(run: Run) -> None:
    rows = audited(run)
    grow(Path("corpus"), unit(40, 8))
    write(rows[:150])
    found = told(calibrate(run, "--target", "f1", "--json"))
    assert found["warnings"] == []
    assert any("40 of 540 images were embedded after" in note for note in found["notes"])
    found = told(run("calibrate", "--target", "budget=20", "-o", "b.json", "--json"))
    assert (found["warnings"], found["notes"]) == ([], [])
    found = told(calibrate(run, "--target", "recall=0.5", "--json"))
    assert [warning.split(" images")[0] for warning in found["warnings"]] == [
        "50 of 200",
        "40 of 540",
    ]


def test_the_first_draw_for_any_category_bounds_the_guarantees_of_all(run: Run) -> None:
    run("suggest", "-n", 100, "--category", "fire", "-o", "fire.csv")
    grow(Path("corpus"), unit(900, 8))
    assert run("suggest", "-n", 100, "--audit", 1, "-o", "all.csv").exit_code == 0
    corpus = Corpus.open(Path("corpus"))
    drawn = {one.row for one in corpus.suggestions() if one.round == 2}
    inside = sum(row < IMAGES for row in drawn)
    nothing = np.empty(0, np.int64)
    for cells in ((np.array(sorted(drawn)), nothing), (nothing, np.array(sorted(drawn)))):
        assert len(backing_blanks(corpus, *cells, "water")) == inside < len(drawn)


def test_warnings_are_told_by_calibrate_and_again_by_rescore(run: Run) -> None:
    write(audited(run))
    grow(Path("corpus"), unit(40, 8))
    done = calibrate(run)
    assert "Warning: 40 of 540 images were embedded after" in " ".join(done.stderr.split())
    again = run("rescore", "--calibration", "c.json", "-o", "d.csv")
    assert "Warning: 40 of 540 images were embedded after" in " ".join(again.stderr.split())
    listed = told(run("rescore", "--calibration", "c.json", "-o", "d.csv", "--json"))["warnings"]
    assert "40 of 540 images were embedded after" in listed[0]


# --- labels that are visibly no random sample -------------------------------------------------


@pytest.mark.parametrize("asked", [("--target", "precision=0.5"), ("--bands",)])
def test_labels_unlike_the_corpus_guarantee_no_precision(run: Run, asked: tuple[str, ...]) -> None:
    highest = np.argsort(SCORES[:, 0])[-150:]
    assert abs(np.corrcoef(SCORES.T)[0, 1]) < 0.3
    write(highest)
    done = told(calibrate(run, *asked, "--json"))
    assert "The images labelled for 'fire' are unlike the corpus (KS 0.7" in done["warnings"][0]
    assert "clipcal suggest --audit 1 -n 100" in done["warnings"][0]
    fire = done["categories"]["fire"]["positive"]
    assert fire["status"] == "insufficient"
    assert fire["guarantee"] is None
    assert asked != ("--bands",) or fire["bands"]["status"] != "certified"


def test_a_recall_from_labels_unlike_the_corpus_stands_with_a_warning(run: Run) -> None:
    positives = np.flatnonzero(TRUTH[:, 0])
    write({*positives.tolist(), *range(60)})
    done = told(calibrate(run, "--target", "recall=0.8", "--json"))
    assert done["categories"]["fire"]["positive"]["status"] == "certified"
    (warning,) = (each for each in done["warnings"] if "'fire'" in each)
    assert "random sample of all positives" in warning


def test_where_all_labels_are_unlike_the_corpus_a_precision_is_refused(run: Run) -> None:
    Path("own.toml").write_text('[category.fire]\nprompts = ["a fire"]\n')
    write(np.argsort(SCORES[:, 0])[-150:])
    done = calibrate(run, "--target", "precision=0.5")
    assert done.exit_code == 1
    assert "unlike the corpus" in str(done.exception)
    assert (
        "clipcal calibrate --labels human.csv --prompts own.toml --prompt-vectors text.npz "
        "--target f1" in str(done.exception)
    )
    assert "Rates estimated" in told(calibrate(run, "--target", "f1", "--json"))["warnings"][0]


def test_random_samples_are_not_called_unlike() -> None:
    rng = np.random.default_rng(0)
    corpus = rng.normal(size=3_000)
    drawn = [unlikeness(rng.choice(corpus, 100, replace=False), corpus, 0.05) for _ in range(400)]
    assert sum(found is not None for found in drawn) <= 30
    rough = np.round(corpus)
    drawn = [unlikeness(rng.choice(rough, 100, replace=False), rough, 0.05) for _ in range(400)]
    assert sum(found is not None for found in drawn) <= 20


def test_the_distance_is_that_of_kolmogorov_and_smirnov_and_few_labels_have_none() -> None:
    rng = np.random.default_rng(0)
    corpus, labelled = rng.normal(size=500), rng.normal(2, size=40)
    assert unlikeness(labelled, corpus) == pytest.approx(ks_2samp(labelled, corpus).statistic)
    assert unlikeness(labelled[:19], corpus) is None
    assert unlikeness(labelled, corpus[:0]) is None
    many = rng.normal(size=300_000)
    assert unlikeness(labelled, many) == pytest.approx(
        ks_2samp(labelled, many, method="asymp").statistic, abs=0.01
    )


# --- blank cells ------------------------------------------------------------------------------


def test_an_audit_image_left_blank_counts_as_a_possible_miss(run: Run) -> None:
    rows = audited(run)
    write(rows)
    full = told(calibrate(run, "--target", "recall=0.8", "--json"))
    positive = [row for row in rows if TRUTH[row, 0]]
    left = set(sorted(positive, key=lambda row: SCORES[row, 0])[:12])
    write(rows, {"fire": left})
    done = told(calibrate(run, "--target", "recall=0.8", "--json"))
    assert len(done["warnings"]) == 1
    assert "12 images of the audit sample are listed without a label" in done["warnings"][0]
    assert "'fire'" in done["warnings"][0]
    cuts = [x["categories"]["fire"]["positive"] for x in (full, done)]
    assert cuts[1]["status"] != "certified" or cuts[1]["threshold"] <= cuts[0]["threshold"]
    assert done["categories"]["water"] == full["categories"]["water"]


def test_rows_left_blank_count_as_misses_and_not_as_labels(run: Run) -> None:
    rows = audited(run)
    left = set(rows[:30])
    write(rows, {"fire": left, "water": left})
    done = told(calibrate(run, "--target", "recall=0.5", "--json"))
    assert done["sampling"] == {"given": 0, "audit": 170, "picked": 0, "chosen": 0}
    assert done["labels"]["images"] == 170
    assert [warning.split(" are listed")[0] for warning in done["warnings"]] == [
        "30 images of the audit sample"
    ] * 2


def test_blank_cells_of_images_that_nobody_drew_are_no_misses(run: Run) -> None:
    write(range(200), {"fire": set(range(20))})
    assert told(calibrate(run, "--target", "recall=0.8", "--json"))["warnings"] == []


def test_a_sheet_without_any_label_is_no_positives_and_changes_no_labels(run: Run) -> None:
    rows = audited(run)
    write(rows, {name: set(rows) for name in NAMES})
    done = told(calibrate(run, "--target", "recall=0.8", "--json"))
    assert {done["categories"][name]["positive"]["status"] for name in NAMES} == {"no_positives"}
    assert done["labels"]["images"] == 0
    assert done["warnings"] == []


# --- tuned prompts ----------------------------------------------------------------------------


def test_labels_that_chose_the_prompts_are_known_with_a_byte_more(run: Run) -> None:
    corpus = Corpus.open(Path("corpus"))
    remember_tuned(corpus, load_prompt_set("own.toml").sha256, range(200))
    corpus.close()
    write(range(200))
    Path("human.csv").write_text(Path("human.csv").read_text() + "\n")
    done = calibrate(run, "--target", "recall=0.8")
    assert done.exit_code == 1
    assert "chosen on these very labels" in str(done.exception)
    write(range(300))
    some = told(calibrate(run, "--target", "recall=0.5", "--json"))
    for column, name in enumerate(NAMES):
        cut = some["categories"][name]["positive"]
        assert cut["evidence"] == TRUTH[200:300, column].sum()


# --- what is kept out, and what would be ignored ----------------------------------------------


def test_probabilities_are_fitted_to_what_is_not_held_out(run: Run) -> None:
    write(range(400))
    options = ("--holdout", "0.5", "--probabilities", "platt", "--json")
    done = told(calibrate(run, *options))
    for name in NAMES:
        cut = done["categories"][name]["positive"]
        assert cut["n"] == 200
        assert cut["probability"]["quality"]["n"] == 200


@pytest.mark.parametrize(
    "words",
    [
        ("--bands", "--target", "recall=0.9"),
        ("--bands", "--target", "f1"),
        ("--prior-shift",),
        ("--prior-shift", "--probabilities", "temperature"),
    ],
)
def test_options_that_would_be_ignored_are_a_wrong_call(run: Run, words: tuple[str, ...]) -> None:
    write(range(200))
    done = calibrate(run, *words)
    assert done.exit_code == 2
    assert "--bands" in done.stderr or "--prior-shift" in done.stderr
    assert not Path("c.json").exists()
