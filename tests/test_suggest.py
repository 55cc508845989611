"""Laws of suggesting images to label, from the corpus to the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.table import read_labels
from clipcal.calibrate.sampling.design import sample_design
from clipcal.calibrate.sampling.history import History
from clipcal.calibrate.sampling.suggest import Drawn, Wish, suggest
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.cli import app
from clipcal.commands.suggest import _next_step
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 300
NAMES = tuple(f"/photos/{i}.jpg" for i in range(2 * IMAGES))


def grow(corpus: Corpus, count: int, seed: int = 0) -> None:
    start = corpus.rows
    outcomes = [Outcome(NAMES[i], f"{i:064d}", row=i) for i in range(start, start + count)]
    corpus.commit(outcomes, unit(count, seed).astype(np.float16), [o.sha256 for o in outcomes])


def scores_of(corpus: Corpus) -> CorpusScores:
    rows = np.arange(corpus.rows)
    scores = corpus.shards.take(rows)[:, :2].astype(np.float32)
    uris = NAMES[: corpus.rows]
    return CorpusScores(uris, ("",) * len(uris), rows, ("fire", "water"), scores)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    grow(corpus, IMAGES)
    return corpus


def draw(corpus: Corpus, images: int = 40, **wish: object) -> Drawn:
    """Draw and keep a round."""
    drawn = suggest(corpus, scores_of(corpus), None, Wish(images, **wish))  # type: ignore[arg-type]  # by name
    drawn.keep(corpus, corpus.path / f"{len(corpus.rounds())}.csv")
    return drawn


def label(corpus: Corpus, rows: object, *categories: str) -> None:
    """Add labels to those that the corpus knows."""
    known = corpus.labels()
    for row in np.asarray(rows).tolist():
        known.setdefault(NAMES[row], {}).update(dict.fromkeys(categories or ("fire",), "positive"))
    corpus.replace_labels(known)


def rows_of(corpus: Corpus, number: int, audit: bool | None = None) -> np.ndarray:
    drawn = [s for s in corpus.suggestions() if s.round == number and audit in (None, s.audit)]
    return np.array([s.row for s in drawn], np.int64)


# --- what the labels stand for ----------------------------------------------------------------


def test_without_rounds_every_label_counts_alike_and_backs_guarantees(corpus: Corpus) -> None:
    design = sample_design(corpus, np.array([7, 3, 11]))
    assert design.weights.tolist() == [1, 1, 1]
    assert design.uniform.all()
    assert (design.given, design.audit, design.picked, design.late) == (3, 0, 0, 0)
    assert sample_design(corpus, np.empty(0, np.int64)).weights.tolist() == []


def test_only_what_was_not_picked_for_its_score_backs_guarantees(corpus: Corpus) -> None:
    label(corpus, range(10))
    draw(corpus, 40, audit=0.25)
    audit, picked = rows_of(corpus, 1, True), rows_of(corpus, 1, False)
    rows = np.concatenate([np.arange(10), audit, picked])
    design = sample_design(corpus, rows)
    assert design.uniform.tolist() == [True] * 20 + [False] * 30
    assert (design.given, design.audit, design.picked) == (10, 10, 30)
    assert len(set(np.round(design.weights[:20], 9))) == 1
    assert design.weights.mean() == pytest.approx(1)


def test_what_is_not_labelled_yet_is_told(corpus: Corpus) -> None:
    draw(corpus, 40)
    audit, picked = rows_of(corpus, 1, True), rows_of(corpus, 1, False)
    whole = sample_design(corpus, rows_of(corpus, 1))
    assert (whole.notes, whole.warnings, whole.waiting.tolist()) == ((), (), [])
    some = sample_design(corpus, np.concatenate([audit[:15], picked[:10]]))
    assert [note.split(" images")[0] for note in some.notes] == ["10 of 20"]
    assert (some.waiting.tolist(), some.drawn) == (np.sort(audit[15:]).tolist(), 20)
    assert sample_design(corpus, audit[:15], asked=audit).waiting.tolist() == []


def test_what_was_given_is_not_suggested(corpus: Corpus) -> None:
    label(corpus, range(100))
    drawn = draw(corpus, 150)
    assert not {s.image for s in drawn.suggestions} & set(NAMES[:100])
    assert corpus.given() == dict.fromkeys(range(100), 1)


def test_a_round_labelled_or_not_is_not_suggested_again(corpus: Corpus) -> None:
    first = draw(corpus, 60, audit=0.0)
    again = draw(corpus, 60, audit=0.0)
    assert again.pending == 60
    assert not {s.image for s in first.suggestions} & {s.image for s in again.suggestions}
    label(corpus, rows_of(corpus, 1), "fire", "water")
    assert draw(corpus, 10, audit=0.0).pending == 60


def test_a_picked_image_that_the_audit_meets_joins_it_at_no_cost(corpus: Corpus) -> None:
    draw(corpus, 200, audit=0.0)
    picked = rows_of(corpus, 1)
    label(corpus, picked, "fire", "water")
    drawn = draw(corpus, 50, audit=1.0)
    audit = rows_of(corpus, 2, True)
    met = np.intersect1d(audit, picked)
    assert len(audit) == 50
    assert drawn.known == len(met) > 0
    assert len(drawn.suggestions) == 50
    assert sum(s.audit for s in drawn.suggestions) == 50 - len(met)
    assert {s.inclusion for s in corpus.suggestions() if s.audit} == {50 / IMAGES}
    design = sample_design(corpus, picked)
    np.testing.assert_array_equal(picked[design.uniform], met)


def test_the_audit_sample_is_uniform_whatever_was_picked_before(tmp_path: Path) -> None:
    """Per image how often it is in the audit sample of two rounds, against its probability."""
    seen, repeats = np.zeros(40), 60
    for seed in range(repeats):
        corpus = Corpus.create(tmp_path / str(seed), IDENTITY)
        grow(corpus, 40)
        for _ in range(2):
            drawn = suggest(corpus, scores_of(corpus), None, Wish(20, seed=seed))
            drawn.keep(corpus, corpus.path / f"{drawn.pending}.csv")
        seen[History.of(corpus, None).audits()] += 1
    chi_square = ((seen - repeats / 2) ** 2 / (repeats / 4)).sum() * 39 / 40
    assert 16 < chi_square < 73  # 39 degrees of freedom: beyond these in one of 1,000


def test_labels_without_a_suggestion_after_picks_back_no_guarantee(corpus: Corpus) -> None:
    draw(corpus, 20)
    rest = np.setdiff1d(np.arange(IMAGES), rows_of(corpus, 1))[:30]
    rows = np.concatenate([rows_of(corpus, 1), rest])
    design = sample_design(corpus, rows)
    assert design.late == 30
    assert not design.uniform[20:].any()
    assert (design.weights[20:] > 0).all()
    assert any("back no guarantee" in warning for warning in design.warnings)
    label(corpus, rows)
    draw(corpus, 20)
    met = np.intersect1d(rest, rows_of(corpus, 2, True))
    assert sample_design(corpus, rows).late == 30 - len(met)


def test_labels_without_a_suggestion_after_audits_alone_are_as_good_as_given(
    corpus: Corpus,
) -> None:
    draw(corpus, 20, audit=1.0)
    rest = np.setdiff1d(np.arange(IMAGES), rows_of(corpus, 1))[:30]
    design = sample_design(corpus, np.concatenate([rows_of(corpus, 1), rest]))
    assert design.uniform.all()
    assert design.weights.tolist() == [1] * 50


def test_a_round_for_one_category_says_nothing_of_another(corpus: Corpus) -> None:
    draw(corpus, 60, category="fire")
    rows = rows_of(corpus, 1)
    label(corpus, rows, "fire")
    drawn = draw(corpus, 240, category="", audit=0.0)
    assert {s.image for s in drawn.suggestions} & {NAMES[row] for row in rows}
    assert sample_design(corpus, rows_of(corpus, 2), "water").picked == 240
    fire, water = (sample_design(corpus, rows, name) for name in ("fire", "water"))
    assert fire.audit == 30
    assert water.audit == 0


def test_what_came_after_the_first_draw_backs_no_guarantee(corpus: Corpus) -> None:
    draw(corpus, 40)
    grow(corpus, IMAGES, seed=9)
    draw(corpus, 100)
    rows = np.unique([s.row for s in corpus.suggestions()])
    design = sample_design(corpus, rows)
    assert design.uniform[rows < IMAGES].sum() < design.audit
    assert not design.uniform[rows >= IMAGES].any()
    assert any("300 of 600 images were embedded after" in told for told in design.warnings)
    share = design.weights[rows < IMAGES].sum() / design.weights.sum()
    assert share == pytest.approx(0.5, abs=0.25)


def test_removed_images_are_no_part_of_what_labels_stand_for(corpus: Corpus) -> None:
    draw(corpus, 40)
    corpus.remove(NAMES[:150])
    history = History.of(corpus, None)
    assert min(history.audits()) >= 150
    assert all(draw.population == 150 for draw in history.pick_draws())


@pytest.mark.parametrize("seed", range(6))
def test_what_could_not_be_drawn_is_told_again_from_what_is_kept(corpus: Corpus, seed: int) -> None:
    """Whatever the history, a round's frame is the corpus less what was known before it."""
    rng = np.random.default_rng(seed)
    for number in range(1, 6):
        label(corpus, rng.choice(corpus.rows, 8, replace=False), *rng.choice(["fire", "water"], 1))
        category = str(rng.choice(["", "", "fire", "water"]))
        draw(corpus, 24, category=category, audit=float(rng.choice([0, 0.5, 1])), seed=seed)
        if rng.random() < 0.6:
            label(corpus, rows_of(corpus, number), *([category] if category else ["fire", "water"]))
        if rng.random() < 0.3:
            grow(corpus, 20, seed=number)
    frames = {r.number: r.frame for r in corpus.rounds()}
    for name in (None, "fire", "water"):
        history = History.of(corpus, name)
        for r, told in zip(history.rounds, history.pick_draws(), strict=True):
            known = np.concatenate([np.empty(0, np.int64), *told.known])
            assert len(np.unique(known)) == len(known)
            assert not np.isin(told.rows, known).any()
            assert frames[r.number] == told.population - len(known)


def test_weighted_rates_of_suggested_images_are_those_of_the_corpus(tmp_path: Path) -> None:
    """Two rounds, the second picked over what the first left; weighted against plain rates."""
    weighted, plain = [], []
    for seed in range(40):
        corpus = Corpus.create(tmp_path / str(seed), IDENTITY)
        grow(corpus, IMAGES)
        fire = corpus.shards.take(np.arange(IMAGES))[:, 0] > 0.35
        for number in (1, 2):
            wish = Wish(30, "fire", audit=0.4, seed=seed)
            drawn = suggest(corpus, scores_of(corpus), None, wish)
            drawn.keep(corpus, corpus.path / f"{number}.csv")
            label(corpus, rows_of(corpus, number))
        rows = np.unique([s.row for s in corpus.suggestions()])
        weights = sample_design(corpus, rows, "fire").weights
        weighted.append((weights * fire[rows]).sum() / weights.sum())
        plain.append(fire[rows].mean())
    error = np.std(weighted) / 40**0.5
    assert np.mean(weighted) == pytest.approx(fire.mean(), abs=4 * error)
    assert np.mean(plain) - fire.mean() > 8 * error


# --- what is drawn ----------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_and_the_next_round_draws_anew(corpus: Corpus) -> None:
    one, two = (suggest(corpus, scores_of(corpus), None, Wish(seed=3)) for _ in range(2))
    assert one.suggestions == two.suggestions
    one.keep(corpus, corpus.path / "one.csv")
    other = suggest(corpus, scores_of(corpus), None, Wish(seed=3))
    assert not {s.image for s in one.suggestions} & {s.image for s in other.suggestions}


def test_copies_are_suggested_once(corpus: Corpus) -> None:
    scored = scores_of(corpus)
    doubled = CorpusScores(
        (*scored.uris, *(f"/copy{uri}" for uri in scored.uris)),
        scored.sha256s * 2,
        np.tile(scored.rows, 2),
        scored.categories,
        np.tile(scored.scores, (2, 1)),
    )
    drawn = suggest(corpus, doubled, None, Wish(IMAGES))
    assert sorted(s.image for s in drawn.suggestions) == sorted(scored.uris)


def test_when_nothing_is_left_it_is_said(corpus: Corpus) -> None:
    drawn = draw(corpus, 2 * IMAGES)
    assert len(drawn.suggestions) == IMAGES
    assert drawn.exhausted
    with pytest.raises(CalibrationError, match="are labelled or suggested"):
        draw(corpus)


def test_a_sheet_that_exists_is_never_written_over(corpus: Corpus, tmp_path: Path) -> None:
    sheet = tmp_path / "to_label.csv"
    sheet.write_text("image,fire\na,yes\n")
    drawn = suggest(corpus, scores_of(corpus), None)
    with pytest.raises(CalibrationError, match="may hold labels"):
        drawn.keep(corpus, sheet)
    assert sheet.read_text() == "image,fire\na,yes\n"
    assert corpus.rounds() == []


def test_a_sheet_that_cannot_be_written_keeps_nothing(corpus: Corpus, tmp_path: Path) -> None:
    drawn = suggest(corpus, scores_of(corpus), None)
    with pytest.raises(CalibrationError, match="cannot be written"):
        drawn.keep(corpus, tmp_path / "nowhere" / "to_label.csv")
    assert corpus.rounds() == []


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(category="smoke"), "fire, water"),
        (Wish(method="importance"), "Without a threshold"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(corpus: Corpus, wish: Wish, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        suggest(corpus, scores_of(corpus), None, wish)


# --- the command ------------------------------------------------------------------------------

SET = '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n'

Run = Callable[..., Result]


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command to run on the corpus, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    TextVectors(("a fire", "the sea"), unit(2, 5), IDENTITY.fingerprint).save(Path("text.npz"))
    Path("own.toml").write_text(SET)
    rest = ["--corpus", "corpus", "--prompt-vectors", "text.npz", "--prompts", "own.toml"]
    return lambda *words: CliRunner().invoke(app, [*map(str, words), *rest])


def fill(sheet: Path, corpus: Corpus, *earlier: Path) -> Path:
    """Answer every cell as the embeddings say; rows of earlier sheets come first."""
    texts = unit(2, 5)
    rows: list[list[str]] = [["image", "fire", "water"]]
    for file in (*earlier, sheet):
        with file.open(newline="") as stream:
            for image, *_ in list(csv.reader(stream))[1:]:
                row = NAMES.index(image)
                near = corpus.shards.take(np.array([row]))[0].astype(float) @ texts.T > 0.1
                rows.append([image, *("yes" if one else "no" for one in near)])
    with Path("human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return Path("human.csv")


def test_from_nothing_to_a_calibration_by_two_sheets(run: Run, corpus: Corpus) -> None:
    first = run("suggest", "-n", 120, "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert (told["round"], told["audit"], told["picked"]) == (1, 60, 60)
    assert told["method"] == "stratified"
    assert {s["threshold"] for s in told["suggestions"]} == {None}
    table = run("calibrate", "--labels", fill(Path("to_label.csv"), corpus), "--json")
    assert table.exit_code == 0, table.output
    second = run("suggest", "-n", 40, "-o", "second.csv", "--json")
    told = json.loads(second.stdout)
    assert (told["round"], told["method"], told["pending"]) == (2, "importance", 0)
    assert told["audit"] + told["picked"] == len(told["suggestions"]) == 40
    assert told["audit"] + told["known"] == 20
    kept = {s.row: s.inclusion for s in corpus.suggestions() if s.round == 2}
    for one in told["suggestions"]:
        assert kept[NAMES.index(one["image"])] == one["inclusion"]
        assert one["category"] in ("fire", "water")
        assert isinstance(one["threshold"], float)
    both = fill(Path("second.csv"), corpus, Path("to_label.csv"))
    assert run("calibrate", "--labels", both, "--json").exit_code == 0


def test_picked_images_lie_nearer_to_the_threshold_than_others(run: Run, corpus: Corpus) -> None:
    run("suggest", "-n", 120)
    run("calibrate", "--labels", fill(Path("to_label.csv"), corpus))
    told = json.loads(
        run("suggest", "-n", 100, "--category", "fire", "-o", "second.csv", "--json").stdout
    )
    distance = {True: [], False: []}
    for one in told["suggestions"]:
        distance[one["audit"]].append(abs(one["score"] - one["threshold"]))
    assert np.mean(distance[False]) < 0.8 * np.mean(distance[True])
    assert Path("second.csv").read_text().splitlines()[0] == "image,fire"


def test_the_sheet_is_a_label_file_with_blank_cells(run: Run) -> None:
    assert run("suggest", "-n", 20).exit_code == 0
    header, *rows = (line.split(",") for line in Path("to_label.csv").read_text().splitlines())
    assert header == ["image", "fire", "water"]
    assert len(rows) == 20
    assert {tuple(row[1:]) for row in rows} == {("", "")}
    text = Path("to_label.csv").read_text().replace(f"{rows[0][0]},,", f"{rows[0][0]},yes,no")
    Path("half.csv").write_text(text)
    table = read_labels(Path("half.csv"), categories=["fire", "water"], levels=())
    assert (table.values >= 0).sum() == 2


def test_a_sheet_that_waits_is_warned_of(run: Run) -> None:
    run("suggest", "-n", 30)
    again = run("suggest", "-n", 30, "-o", "second.csv")
    assert "30 of the images suggested before have no label yet" in " ".join(again.stderr.split())
    assert "clipcal calibrate --labels second.csv" in again.stdout
    assert run("suggest", "-n", 30).exit_code != 0


def test_a_later_sheet_is_calibrated_with_beside_the_labels_there_are(tmp_path: Path) -> None:
    labels = SimpleNamespace(name="human.csv, round1.csv")
    contract = cast(Contract, SimpleNamespace(labels=labels, levels=("none", "minor", "major")))
    told = _next_step(Path("round2.csv"), tmp_path, contract, first=False)
    assert "--labels human.csv --labels round1.csv --labels round2.csv" in told
    assert "none, minor, major" in told


def test_a_calibration_that_was_named_must_be_there(run: Run) -> None:
    missing = run("suggest", "--calibration", "none.json")
    assert missing.exit_code != 0
    assert not Path("to_label.csv").exists()


def test_the_calibration_is_never_written_over(run: Run) -> None:
    assert run("suggest", "-o", "calibration.json").exit_code == 2
