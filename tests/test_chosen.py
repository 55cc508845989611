"""Laws of labels that were given to images because of their scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import DIM, IDENTITY, unit
from redraws_case import redraws

from clipcal.calibrate.contract import Contract, _seal
from clipcal.calibrate.sampling import history
from clipcal.calibrate.sampling.design import missing_beside_chosen, sample_design
from clipcal.calibrate.sampling.drawn import Drawn, draw_until_kept
from clipcal.calibrate.sampling.pending import pending
from clipcal.calibrate.sampling.suggest import Wish, suggest
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.bounds import recall_threshold
from clipcal.cli import app
from clipcal.errors import DrawOutdated
from clipcal.index.judgements import Origin, Said, judge, standing, undo
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 600
CATEGORIES = ("fire", "water")
NAMES = tuple(f"/photos/{n}.jpg" for n in range(IMAGES))
SCORES = unit(IMAGES, 0)[:, :2].astype(np.float16).astype(np.float32)
POSITIVE = np.random.default_rng(1).normal(0.2, 0.1, IMAGES) < SCORES[:, 0]
SCORED = CorpusScores(NAMES, ("",) * IMAGES, np.arange(IMAGES), CATEGORIES, SCORES)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Item n + 1 points to row n."""
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(name, f"{n:064d}", row=n) for n, name in enumerate(NAMES)]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), [o.sha256 for o in outcomes])
    return corpus


def label(
    corpus: Corpus,
    rows: Iterable[int],
    origin: Origin,
    *categories: str,
    rater: str = "ann",
) -> str:
    """Say of images what is true of them; returns the batch."""
    batch = f"batch {len(corpus.read('SELECT 1 FROM judgements'))} of {rater}"
    said = [
        Said(int(row) + 1, category, "yes" if POSITIVE[row] else "no")
        for row in rows
        for category in categories or ("fire",)
    ]
    assert judge(corpus, batch, said, rater=rater, origin=origin)
    return batch


def draw(corpus: Corpus, images: int, audit: float = 1.0, category: str = "", seed: int = 0) -> int:
    return suggest(corpus, SCORED, None, Wish(images, category, audit, seed=seed)).remember(corpus)


def rows_of(corpus: Corpus, number: int, audit: bool | None = None) -> np.ndarray:
    drawn = [s for s in corpus.suggestions() if s.round == number and audit in (None, s.audit)]
    return np.array([s.row for s in drawn], np.int64)


def near(score: float, count: int) -> np.ndarray:
    return np.sort(np.argsort(np.abs(SCORES[:, 0] - score))[:count])


# --- what a label stands for ------------------------------------------------------------------


def test_a_chosen_label_counts_for_nothing(corpus: Corpus) -> None:
    label(corpus, range(20), "random")
    label(corpus, range(20, 50), "near")
    design = sample_design(corpus, np.arange(50), "fire")
    assert design.weights.tolist() == [1] * 20 + [0] * 30
    assert design.uniform.tolist() == [True] * 20 + [False] * 30
    assert (design.given, design.audit, design.picked, design.late) == (20, 0, 0, 0)
    assert design.chosen == 30


def test_it_is_by_category_that_labels_are_chosen(corpus: Corpus) -> None:
    label(corpus, range(40), "given", "fire")
    label(corpus, range(20, 60), "search", "water")
    fire, water, all_of_it = (
        sample_design(corpus, np.arange(60), name) for name in ("fire", "water", None)
    )
    assert (fire.given, fire.chosen) == (60, 0)
    assert (water.given, water.chosen) == (20, 40)
    assert (all_of_it.given, all_of_it.chosen) == (40, 20)


@pytest.mark.parametrize("audit", [1.0, 0.0])
def test_a_draw_makes_the_labels_count_that_it_takes_in(corpus: Corpus, audit: float) -> None:
    label(corpus, range(300), "flagged", "fire", "water")
    drawn = rows_of(corpus, draw(corpus, 200, audit))
    met = np.intersect1d(drawn, np.arange(300))
    assert 50 < len(met) < 150
    label(corpus, np.setdiff1d(drawn, met), "suggested", "fire", "water")
    rows = np.union1d(drawn, np.arange(300))
    for category in ("fire", None):
        design = sample_design(corpus, rows, category)
        np.testing.assert_array_equal(rows[design.weights > 0], drawn)
        np.testing.assert_array_equal(rows[design.uniform], rows_of(corpus, 1, True))
        assert design.audit == (200 if audit else 0)
        assert design.audit + design.picked == len(drawn)
        assert (design.given, design.chosen) == (0, 300 - len(met))


def test_a_draw_for_another_category_does_not(corpus: Corpus) -> None:
    label(corpus, range(IMAGES), "flagged")
    draw(corpus, 100, category="water")
    assert sample_design(corpus, np.arange(IMAGES), "fire").chosen == IMAGES
    draw(corpus, 100, category="fire")
    assert sample_design(corpus, np.arange(IMAGES), "fire").audit == 100


def test_chosen_images_are_never_given(corpus: Corpus) -> None:
    label(corpus, range(10), "random")
    label(corpus, range(10, 40), "near")
    draw(corpus, 50)
    assert set(corpus.given()) == set(range(10)) - set(rows_of(corpus, 1).tolist())
    assert sample_design(corpus, np.arange(10), "fire").uniform.all()


def test_labels_given_after_some_were_chosen_are_of_the_rest_and_back_nothing(
    corpus: Corpus,
) -> None:
    corpus.replace_labels({NAMES[n]: {"fire": "yes"} for n in range(20)})
    label(corpus, range(20, 50), "near")
    label(corpus, range(50, 80), "random", "fire", "water")
    rows = np.arange(80)
    fire = sample_design(corpus, rows, "fire")
    assert fire.uniform.tolist() == [True] * 20 + [False] * 60
    assert (fire.weights > 0).tolist() == [True] * 20 + [False] * 30 + [True] * 30
    assert (fire.given, fire.late, fire.after_chosen, fire.chosen) == (50, 30, 30, 30)
    assert sample_design(corpus, rows[50:], "water").uniform.all()
    draw(corpus, 300)
    met = rows_of(corpus, 1, True)
    again = sample_design(corpus, rows, "fire")
    np.testing.assert_array_equal(rows[again.uniform], np.union1d(rows[:20], met[met < 80]))
    assert 0 < again.after_chosen == again.late < 30


@pytest.mark.parametrize("word", ["given", "random", "suggested"])
def test_chosen_labels_that_are_undone_and_given_again_back_nothing_until_a_draw(
    corpus: Corpus, word: Origin
) -> None:
    batch = label(corpus, range(300), "near")
    undo(corpus, batch, rater="ann")
    label(corpus, range(300), word)
    design = sample_design(corpus, np.arange(300), "fire")
    assert not design.uniform.any()
    assert design.chosen == 300
    draw(corpus, 200)
    met = rows_of(corpus, 1)
    again = sample_design(corpus, np.arange(300), "fire")
    np.testing.assert_array_equal(np.flatnonzero(again.uniform), met[met < 300])


def test_labels_are_chosen_in_a_category_however_it_is_written(corpus: Corpus) -> None:
    label(corpus, range(20), "random", "Fire")
    label(corpus, range(20, 50), "near", "FIRE")
    label(corpus, range(50, 80), "given", "fire")
    design = sample_design(corpus, np.arange(80), "fire")
    assert design.uniform.tolist() == [True] * 20 + [False] * 60
    assert (design.given, design.late, design.chosen) == (50, 30, 30)
    drawn = suggest(corpus, SCORED, None, Wish(300, "fire", 1.0))
    assert {NAMES.index(one.image) for one in drawn.suggestions}.isdisjoint(range(80))


# --- drawing ----------------------------------------------------------------------------------


def test_chosen_images_are_drawn_like_any_and_are_not_asked_for_again(corpus: Corpus) -> None:
    label(corpus, range(300), "flagged", "fire", "water")
    for audit in (1.0, 0.0):
        drawn = suggest(corpus, SCORED, None, Wish(200, audit=audit))
        asked = {NAMES.index(one.image) for one in drawn.suggestions}
        assert min(asked) >= 300
        number = drawn.remember(corpus)
        among = np.count_nonzero(rows_of(corpus, number) < 300)
        assert drawn.known == among > 0
        assert not drawn.exhausted
        assert len(asked) == len(rows_of(corpus, number)) - among


def test_who_lacks_a_label_in_one_of_the_categories_is_asked_for(corpus: Corpus) -> None:
    label(corpus, range(IMAGES), "flagged", "fire")
    assert len(suggest(corpus, SCORED, None, Wish(30)).suggestions) == 30
    assert suggest(corpus, SCORED, None, Wish(30, "fire")).suggestions == ()


def test_the_audit_sample_is_uniform_whatever_was_chosen(corpus: Corpus) -> None:
    label(corpus, near(0.3, 200), "near")
    label(corpus, np.setdiff1d(np.arange(IMAGES), near(0.3, 250))[:50], "random")
    inside = []
    for seed in range(30):
        drawn = suggest(corpus, SCORED, None, Wish(60, seed=seed))._drawn
        audit = [row for row, _, uniform in drawn if uniform]
        inside.append(np.isin(audit, near(0.3, 200)).mean())
    assert np.mean(inside) == pytest.approx(1 / 3, abs=0.05)


def test_what_waits_is_told_in_an_order_that_labels_do_not_change(corpus: Corpus) -> None:
    draw(corpus, 30)
    draw(corpus, 20, category="fire")
    whole = pending(corpus, "fire")
    assert sorted(whole) == sorted(np.r_[rows_of(corpus, 1), rows_of(corpus, 2)].tolist())
    assert whole[:30] != sorted(whole[:30])
    assert set(whole[:30]) == set(rows_of(corpus, 1).tolist())
    assert pending(corpus, "water") == whole[:30]
    assert pending(corpus) == whole
    label(corpus, whole[::3], "suggested")
    assert pending(corpus, "fire") == [row for row in whole if row not in whole[::3]]
    assert pending(corpus, "water") == whole[:30]
    corpus.remove([NAMES[whole[1]]])
    assert pending(corpus, "fire") == [r for r in whole[2:] if r not in whole[::3]]


def test_a_second_rater_is_asked_for_what_the_first_has_labelled(corpus: Corpus) -> None:
    draw(corpus, 10)
    whole = pending(corpus, "fire")
    corpus.replace_labels({NAMES[whole[0]]: {"fire": "yes"}})
    label(corpus, whole[1:4], "suggested", rater="ann")
    assert pending(corpus, "fire", rater="ann") == whole[4:]
    assert pending(corpus, "fire", rater="bob") == whole[1:]


def test_a_draw_is_remembered_without_a_sheet_as_with_one(corpus: Corpus, tmp_path: Path) -> None:
    assert suggest(corpus, SCORED, None, Wish(20)).remember(corpus) == 1
    kept = suggest(corpus, SCORED, None, Wish(20)).keep(corpus, tmp_path / "sheet.csv")
    assert kept == 2
    assert len(rows_of(corpus, 1)) == len(rows_of(corpus, 2)) == 20


def test_of_two_draws_made_at_once_one_is_kept_and_the_other_is_drawn_again(
    corpus: Corpus, tmp_path: Path
) -> None:
    other = Corpus.open(corpus.path)
    ready = [suggest(one, SCORED, None, Wish(20)) for one in (corpus, other)]
    assert ready[0].remember(corpus) == 1
    sheet = tmp_path / "sheet.csv"
    with pytest.raises(DrawOutdated, match="drew round 1 in the meantime"):
        ready[1].keep(other, sheet)
    assert not sheet.exists()
    assert len(other.rounds()) == 1

    def draw() -> Drawn:
        return ready.pop() if len(ready) > 1 else suggest(other, SCORED, None, Wish(20))

    drawn, number = draw_until_kept(draw, lambda made: made.keep(other, sheet))
    assert number == 2
    rows = [set(rows_of(corpus, n).tolist()) for n in (1, 2)]
    assert rows[0].isdisjoint(rows[1])
    assert {NAMES.index(one.image) for one in drawn.suggestions} == rows[1]


def test_who_never_gets_a_turn_is_told(corpus: Corpus) -> None:
    stale = suggest(corpus, SCORED, None, Wish(20))
    stale.remember(corpus)
    with pytest.raises(DrawOutdated):
        draw_until_kept(lambda: stale, lambda made: made.remember(corpus))
    assert len(corpus.rounds()) == 1


# --- a calibration ----------------------------------------------------------------------------

Calibrate = Callable[..., dict]


@pytest.fixture
def calibrate(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Calibrate with what raters said of images, as a file that was exported would."""
    monkeypatch.chdir(tmp_path)
    texts = np.eye(2, DIM, dtype=np.float32)
    TextVectors(CATEGORIES, texts, IDENTITY.fingerprint).save(Path("text.npz"))
    Path("own.toml").write_text("".join(f'[category.{c}]\nprompts = ["{c}"]\n' for c in CATEGORIES))
    rest = ["--corpus", "corpus", "--prompt-vectors", "text.npz", "--prompts", "own.toml"]

    def run(*words: str, fails: str = "") -> dict:
        with Path("human.csv").open("w") as sheet:
            print("image,fire", file=sheet)
            for one in standing(corpus):
                print(f"{NAMES[one.item - 1]},{one.level}", file=sheet)
        given = ["calibrate", "--labels", "human.csv", "-o", "c.json", "--json", *words, *rest]
        done = CliRunner().invoke(app, given)
        if fails:
            assert fails in str(done.exception)
            return {}
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    return run


def test_a_calibration_leaves_chosen_labels_out_and_says_so(
    corpus: Corpus, calibrate: Calibrate
) -> None:
    label(corpus, range(200), "random")
    before = calibrate("--target", "recall=0.8")
    label(corpus, range(200, 237), "near")
    after = calibrate("--target", "recall=0.8", "--holdout", "0.5")
    assert after["sampling"] == {"given": 200, "audit": 0, "picked": 0, "chosen": 37}
    (note,) = (note for note in after["notes"] if "for their scores" in note)
    assert note.startswith("37 labels were given to images chosen for their scores")
    assert note.endswith("clipcal suggest")
    assert "holdout" in after
    after = calibrate("--target", "recall=0.8")
    assert after["categories"] == before["categories"]
    assert before["categories"]["fire"]["positive"]["status"] == "certified"


def test_labels_of_the_rest_alone_certify_nothing_and_it_is_said_why(
    corpus: Corpus, calibrate: Calibrate
) -> None:
    label(corpus, range(10), "search")
    label(corpus, range(10, 210), "random")
    done = calibrate("--target", "f1")
    assert done["warnings"] == []
    told = "200 images were labelled for 'fire' without a suggestion after others had been"
    assert any(told in note for note in done["notes"])
    calibrate("--target", "recall=0.8", fails=told)


def test_while_an_audit_is_labelled_in_part_its_chosen_images_certify_nothing(
    corpus: Corpus, calibrate: Calibrate
) -> None:
    label(corpus, np.flatnonzero(SCORES[:, 0] > 0.2), "flagged")
    draw(corpus, 250, category="fire")
    waiting = pending(corpus, "fire")
    label(corpus, waiting[:50], "suggested")
    done = calibrate("--target", "recall=0.8")
    assert done["categories"]["fire"]["positive"]["status"] == "insufficient"
    assert any("while others of it were labelled for their scores" in w for w in done["warnings"])
    label(corpus, waiting[50:], "suggested")
    done = calibrate("--target", "recall=0.8")
    assert done["categories"]["fire"]["positive"]["status"] == "certified"
    assert done["warnings"] == []
    assert done["sampling"]["audit"] == 250


def test_a_calibration_from_before_labels_were_chosen_still_loads(
    corpus: Corpus, calibrate: Calibrate
) -> None:
    label(corpus, range(200), "random")
    calibrate()
    content = json.loads(Path("c.json").read_text())
    del content["seal"], content["sampling"]["chosen"]
    Path("old.json").write_text(json.dumps({"seal": _seal(content), **content}))
    sampling = Contract.load(Path("old.json")).sampling
    assert sampling is not None
    assert sampling.chosen == 0


# --- the guarantee, in simulation -------------------------------------------------------------

EMPTY = np.empty(0, np.int64)
REDRAWS = 60
TARGET = 0.8
Plan = Callable[[Corpus, int], None]


def near_then_audit(corpus: Corpus, seed: int) -> None:
    """Label near a threshold that was too high, then an audit sample."""
    label(corpus, near(0.45, 120), "near")
    label(corpus, sorted({*rows_of(corpus, draw(corpus, 150, seed=seed))}), "suggested")


def given_then_near(corpus: Corpus, seed: int) -> None:
    """Label a random sample, then near a threshold that is too high."""
    rng = np.random.default_rng(seed)
    label(corpus, rng.choice(IMAGES, 150, replace=False), "random")
    label(corpus, near(0.45, 120), "near")


def band_then_given(corpus: Corpus, seed: int) -> None:
    """Label just above the lowest positives, then at random from what has no label yet."""
    band = np.flatnonzero((SCORES[:, 0] > LOWEST) & (SCORES[:, 0] < LOWEST + 0.12))
    label(corpus, band, "near")
    rest = np.setdiff1d(np.arange(IMAGES), band)
    label(corpus, np.random.default_rng(seed).choice(rest, 250, replace=False), "random")


def flagged_then_some_of_an_audit(corpus: Corpus, seed: int) -> None:
    """Label all flagged images, then the first third of what an audit sample asks for."""
    label(corpus, np.flatnonzero(SCORES[:, 0] > 0.3), "flagged")
    draw(corpus, 240, seed=seed)
    waiting = pending(corpus, "fire")
    label(corpus, waiting[: len(waiting) // 3], "suggested")


LOWEST = float(np.quantile(SCORES[POSITIVE, 0], 0.05))


def failures(corpus: Corpus, plan: Plan) -> tuple[int, int]:
    """Redraws in which the guarantee does not hold, and in which there is one."""
    broken = certified = 0
    for seed in redraws(corpus, REDRAWS):
        plan(corpus, seed)
        found = corpus.read("SELECT DISTINCT item FROM judgements ORDER BY item")
        rows = np.array([item - 1 for (item,) in found])
        uniform = sample_design(corpus, rows, "fire").uniform & POSITIVE[rows]
        blanks = len(missing_beside_chosen(corpus, rows, "fire"))
        scores = np.r_[SCORES[rows[uniform], 0], np.full(blanks, -np.inf, np.float32)]
        threshold = recall_threshold(scores, TARGET)
        if threshold is not None and np.isfinite(threshold):
            certified += 1
            broken += np.mean(SCORES[POSITIVE, 0] >= threshold) < TARGET
    return broken, certified


@pytest.mark.parametrize(
    ("plan", "certifies"),
    [
        (near_then_audit, True),
        (given_then_near, True),
        (band_then_given, False),
        (flagged_then_some_of_an_audit, False),
    ],
)
def test_the_recall_guarantee_fails_in_5_percent_of_redraws_at_most(
    corpus: Corpus, plan: Plan, certifies: bool
) -> None:
    broken, certified = failures(corpus, plan)
    assert broken <= REDRAWS * 0.05 + 3 * math.sqrt(REDRAWS * 0.05 * 0.95)
    assert (certified > 0.8 * REDRAWS) == certifies


@pytest.mark.parametrize(
    ("plan", "ignored"),
    [
        (near_then_audit, {"chosen_rows": EMPTY, "rows_before_chosen": None}),
        (given_then_near, {"chosen_rows": EMPTY, "rows_before_chosen": None}),
        (band_then_given, {"rows_before_chosen": None}),
        (flagged_then_some_of_an_audit, {"missing_beside_chosen": EMPTY}),
    ],
)
def test_it_is_broken_where_how_they_came_is_ignored(
    corpus: Corpus, plan: Plan, ignored: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels for scores as given; labels of the rest as of all; some of a draw as all of it."""
    for name, answer in ignored.items():
        room = globals() if name in globals() else vars(history)
        monkeypatch.setitem(room, name, lambda *_, answer=answer: answer)
    broken, _ = failures(corpus, plan)
    assert broken > 0.2 * REDRAWS
