"""What a sentence is worth, which to keep, and that a choice is judged on what it has not seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import DIM, IDENTITY
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clipcal.calibrate.prompt_check import check_prompts
from clipcal.calibrate.prompt_choice import FEWEST, Labelled, _without_one, choose, try_choice
from clipcal.calibrate.sampling.tuned import remember_tuned, tuned_rows
from clipcal.calibrate.scoring.under_contract import TextSource
from clipcal.calibrate.sentence_check import check_categories
from clipcal.cli import app
from clipcal.errors import CalibrationError
from clipcal.index.judgements import Said, judge
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import Category, PromptSet, load_prompt_set
from clipcal.prompts.vectors import TextVectors

LEVELS = ("none", "minor", "major")
SET = """
name = "scene"
levels = ["none", "minor", "major"]
[category.fire]
prompts = ["a fire", "flames", "a calm lake"]
against = ["a lamp", "a street"]
pool = "mean"
[category.rare]
prompts = ["a comet", "a comet tail"]
[category.lone]
prompts = ["the sea"]
"""


def made_up(
    rng: np.random.Generator,
    *,
    n: int = 300,
    share: float = 0.2,
    good: int = 3,
    idle: int = 0,
    contrasts: int = 2,
    harm: bool = False,
    pool: str = "mean",
) -> Labelled:
    """Images with a common ground that contrasts take away; idle sentences know nothing."""
    positive = rng.random(n) < share
    ground = rng.normal(0, 0.05, n)
    rows = [0.03 * positive + ground + rng.normal(0, 0.02, n) for _ in range(good)]
    rows += [ground + rng.normal(0, 0.02, n) for _ in range(idle)]
    if harm:
        rows.append(0.05 - 0.1 * positive + ground + rng.normal(0, 0.05, n))
    own = len(rows)
    rows += [ground + rng.normal(0, 0.02, n) for _ in range(contrasts)]
    return Labelled(0.2 + np.array(rows, np.float32), own, pool, positive, np.arange(n))


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from(["max", "mean"]), st.integers(0, 99))
def test_leaving_one_out_is_scoring_by_the_others(own, contrasts, pool, seed):
    rng = np.random.default_rng(seed)
    cosines = rng.integers(0, 4, (own + contrasts, 30)).astype(np.float32)
    labelled = Labelled(cosines, own, pool, np.arange(30) < 9, np.arange(30))
    kept = rng.random(own + contrasts) < 0.7
    kept[rng.integers(own)] = True
    if kept.sum() == 1:
        return
    candidates, scores = _without_one(labelled, np.flatnonzero(kept))
    for candidate, found in zip(candidates, scores, strict=True):
        rest = kept.copy()
        rest[candidate] = False
        assert found == pytest.approx(labelled.scores(rest), abs=1e-5)
    droppable = kept.copy()
    droppable[:own] &= kept[:own].sum() > 1
    assert np.array_equal(candidates, np.flatnonzero(droppable))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_a_sentence_that_hurts_is_dropped_and_the_rest_is_kept(pool):
    rng = np.random.default_rng(0)
    labelled = made_up(rng, harm=True, pool=pool)
    kept = choose(labelled, rng)
    assert not kept[3]
    trial = try_choice(labelled, rng)
    assert trial.gain.low > 0
    assert trial.chosen.value > trial.plain.value


def test_very_many_images_are_drawn_from_and_judged_in_full():
    rng = np.random.default_rng(1)
    labelled = made_up(rng, n=12_000, share=0.4, harm=True, contrasts=1)
    trial = try_choice(labelled, rng)
    assert trial.chosen.n == 12_000
    assert trial.gain.low > 0
    assert not choose(labelled, rng)[3]


def test_at_least_one_own_prompt_is_always_kept():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labelled = made_up(rng, n=60, share=0.4, good=0, idle=3, contrasts=3)
        assert choose(labelled, rng)[:3].any()


def test_a_choice_among_sentences_that_know_nothing_is_worth_nothing():
    seen, unseen = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labelled = made_up(rng, n=80, share=0.3, good=0, idle=8, contrasts=8)
        unseen.append(try_choice(labelled, rng).chosen.value)
        seen.append(roc_auc_score(labelled.positive, labelled.scores(choose(labelled, rng))))
    assert np.mean(seen) > 0.57
    assert abs(np.mean(unseen) - 0.5) < 0.05


def test_copies_of_an_image_are_on_one_side_of_every_division():
    told, untold = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        few = made_up(rng, n=60, share=0.4, good=0, idle=6, contrasts=6)
        copies = Labelled(
            np.tile(few.cosines, 4), few.own, few.pool, np.tile(few.positive, 4), np.arange(240)
        )
        untold.append(try_choice(copies, rng).chosen.value)
        known = Labelled(copies.cosines, few.own, few.pool, copies.positive, np.tile(range(60), 4))
        told.append(try_choice(known, rng).chosen.value)
    assert np.mean(untold) > np.mean(told) + 0.05
    assert np.mean(told) < 0.56


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_among_equally_good_sentences_a_choice_is_seldom_recommended(pool):
    surely = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        surely += try_choice(made_up(rng, n=150, good=3, pool=pool), rng).gain.low > 0
    assert surely <= 3


def test_where_nothing_is_dropped_nothing_changes():
    rng = np.random.default_rng(3)
    n = 200
    positive = rng.random(n) < 0.3
    clear = np.stack([positive + rng.normal(0, 0.6, n), rng.normal(0, 0.6, n) - positive])
    labelled = Labelled(clear.astype(np.float32), 1, "max", positive, np.arange(n))
    assert choose(labelled, rng).all()
    trial = try_choice(labelled, rng)
    assert trial.chosen == trial.plain
    assert trial.gain.value == 0


def test_too_few_images_of_a_class_are_refused():
    rng = np.random.default_rng(0)
    labelled = made_up(rng, n=100, share=0.04)
    assert labelled.supply < FEWEST
    with pytest.raises(CalibrationError, match="scarcer class"):
        try_choice(labelled, rng)


def checked(labelled: Labelled, values: np.ndarray | None = None, **options: object):
    names = tuple(f"s{i}" for i in range(len(labelled.cosines)))
    category = Category("only", names[: labelled.own], names[labelled.own :], labelled.pool)
    texts = np.random.default_rng(1).normal(size=(len(names), 8)).astype(np.float32)
    prompts = build(PromptSet("x", (), ("{}",), (category,)), TextVectors(names, texts))
    given_values = labelled.positive.astype(np.int8)[:, None] if values is None else values
    found = check_categories(
        labelled.cosines.T, given_values, labelled.clusters, prompts, **options
    )
    return found[0], prompts


def test_a_sentence_is_judged_alone_and_by_what_is_left_without_it():
    labelled = made_up(np.random.default_rng(4), n=120)
    check, prompts = checked(labelled)
    cosines, y = prompts.matrix @ prompts.matrix.T, labelled.positive
    assert check.area.value == pytest.approx(roc_auc_score(y, labelled.scores(labelled.everything)))
    for place, sentence in enumerate(check.sentences):
        own = place < labelled.own
        sign = 1 if own else -1
        assert sentence.side == ("prompt" if own else "against")
        assert sentence.alone.value == pytest.approx(
            roc_auc_score(y, sign * labelled.cosines[place])
        )
        rest = labelled.everything
        rest[place] = False
        without = roc_auc_score(y, labelled.scores(rest))
        assert sentence.without.value == pytest.approx(without)
        assert sentence.change.value == pytest.approx(without - check.area.value)
        same_side = [p for p in range(5) if (p < labelled.own) == own and p != place]
        most_like = max(same_side, key=lambda p: cosines[place, p])
        assert sentence.nearest == f"s{most_like}"
        assert sentence.cosine == pytest.approx(cosines[place, most_like])


def test_sentences_that_surely_hurt_or_help_are_called_so():
    harmed, _ = checked(made_up(np.random.default_rng(0), harm=True))
    assert harmed.sentences[3].verdict == "hurts"
    helped, _ = checked(made_up(np.random.default_rng(0), contrasts=1))
    assert helped.sentences[-1].verdict == "helps"


def test_the_same_seed_gives_the_same_check():
    labelled = made_up(np.random.default_rng(5), n=150, idle=2)
    assert checked(labelled, seed=7)[0] == checked(labelled, seed=7)[0]


def test_one_class_alone_gives_no_area_and_no_choice():
    labelled = made_up(np.random.default_rng(6), n=40, share=0)
    check, _ = checked(labelled)
    assert check.area is None
    assert check.choice is None
    assert all(s.alone is None and s.change is None for s in check.sentences)
    assert "0 positive and 40 negative" in check.advice


def test_an_image_without_a_label_counts_for_nothing():
    labelled = made_up(np.random.default_rng(7), n=150)
    hidden = np.arange(150) % 5 == 0
    values = np.where(hidden, -1, labelled.positive).astype(np.int8)[:, None]
    assert checked(labelled, values)[0] == checked(labelled[~hidden])[0]


# --- the corpus and the command ------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of made-up vectors, a prompt set with a sentence that hurts, vectors and labels."""
    rng = np.random.default_rng(0)
    texts = np.eye(DIM, dtype=np.float32)[:8]
    names = ("a fire", "flames", "a calm lake", "a lamp", "a street", "a comet", "a comet tail")
    TextVectors((*names, "the sea"), texts, IDENTITY.fingerprint).save(tmp_path / "text.npz")
    level = rng.choice(3, 240, p=[0.7, 0.2, 0.1])
    vectors = rng.normal(0, 0.15, (240, DIM))
    vectors[:, :2] += 0.25 * level[:, None]
    vectors[:, 2] -= 0.5 * level
    vectors[:, 8:] += 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(240)]
    with_corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    with_corpus.commit(outcomes, vectors.astype(np.float16), [o.sha256 for o in outcomes])
    with_corpus.close()
    (tmp_path / "set.toml").write_text(SET)
    rows = [[f"{i}.jpg", LEVELS[each], "none"] for i, each in enumerate(level)]
    write(tmp_path / "human.csv", [["image", "fire", "rare"], *rows])
    return tmp_path


def write(file: Path, rows: list[list[str]]) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def run(folder: Path) -> Run:
    rest = ["--corpus", str(folder / "corpus"), "--prompt-vectors", str(folder / "text.npz")]

    def command(*arguments: object) -> Result:
        words = [str(folder / a) if isinstance(a, Path) else str(a) for a in arguments]
        return CliRunner().invoke(app, ["prompts", "check", *words, *rest], catch_exceptions=False)

    return command


CALL = (Path("set.toml"), "--labels", Path("human.csv"))


def test_the_check_tells_all_of_every_sentence_as_json(run):
    found = json.loads(run(*CALL, "--json").stdout)
    fire, rare, lone = (found["categories"][name] for name in ("fire", "rare", "lone"))
    assert [s["sentence"] for s in fire["sentences"]][2] == "a calm lake"
    assert fire["sentences"][2]["verdict"] == "hurts"
    assert fire["choice"]["recommended"]
    assert "a calm lake" in fire["choice"]["dropped"]
    assert rare["choice"] is None
    assert "0 positive and 240 negative" in rare["advice"]
    assert "clipcal suggest --category rare" in rare["advice"]
    assert lone["n"] == 0
    assert lone["advice"] == "No image has a label in it."
    assert found["trimmed"]["name"] == "scene-trimmed"
    assert found["output"] is None
    assert found["images"] == 240


def test_positives_are_the_lowest_level_above_none_and_higher(run, folder):
    with (folder / "human.csv").open() as stream:
        above = sum(row["fire"] != "none" for row in csv.DictReader(stream))
    assert json.loads(run(*CALL, "--json").stdout)["categories"]["fire"]["positives"] == above


def test_labels_of_images_chosen_for_their_scores_are_noted(run, folder):
    before = json.loads(run(*CALL, "--json").stdout)["notes"]
    corpus = Corpus.open(folder / "corpus")
    items = [corpus.find(f"/photos/{i}.jpg").id for i in range(9)]
    for batch, category, some in (("some", "fire", items), ("more", "rare", items[:3])):
        said = [Said(item, category, "none") for item in some]
        judge(corpus, batch, said, rater="ann", origin="near")
    *others, note = json.loads(run(*CALL, "--json").stdout)["notes"]
    assert others == before
    assert note.startswith("12 labels are of images chosen for their scores")
    assert "differ from the corpus's" in note


def test_people_read_a_row_per_sentence_and_what_follows(run):
    shown = run(*CALL).stdout
    assert all(sentence in shown for sentence in ("a fire", "a calm lake", "a street", "the sea"))
    assert "hurts" in shown
    assert "Drop 'a calm lake'" in shown
    assert "-o trimmed.toml" in shown


def test_the_trimmed_set_is_written_and_what_it_was_chosen_on_is_remembered(run, folder):
    result = run(*CALL, "-o", Path("better.toml"))
    assert "a guarantee needs labels of other images" in result.stdout
    better = load_prompt_set(folder / "better.toml")
    assert "a calm lake" not in better.categories[0].prompts
    assert better.categories[1:] == load_prompt_set(folder / "set.toml").categories[1:]
    found = json.loads(run(*CALL, "--json").stdout)
    assert found["trimmed"]["sha256"] == better.sha256
    rows = tuned_rows(Corpus.open(folder / "corpus"), better.sha256)
    assert rows.tolist() == list(range(240))


def test_labels_that_the_set_was_chosen_on_before_are_remembered_too(folder):
    corpus = Corpus.open(folder / "corpus")
    source = TextSource(folder / "text.npz")
    found = check_prompts(corpus, str(folder / "set.toml"), folder / "human.csv", source=source)
    remember_tuned(corpus, found.prompt_set.sha256, [7, 900])
    found.remember(corpus)
    found.remember(corpus)
    assert tuned_rows(corpus, found.trimmed.sha256).tolist() == [*range(240), 900]
    assert tuned_rows(corpus, found.prompt_set.sha256).tolist() == [7, 900]


def test_where_no_choice_surely_pays_nothing_is_written(run, folder):
    (folder / "good.toml").write_text(
        '[category.fire]\nprompts = ["a fire", "flames"]\npool = "mean"\n'
    )
    result = run(
        Path("good.toml"), "--labels", Path("human.csv"), "-o", Path("better.toml"), "--json"
    )
    found = json.loads(result.stdout)
    assert found["output"] is None
    assert found["trimmed"] is None
    assert not (folder / "better.toml").exists()
    told = run(Path("good.toml"), "--labels", Path("human.csv")).stdout
    assert "Keep good as it is" in told


def test_labels_of_other_images_are_an_error_that_says_so(folder, run):
    write(folder / "human.csv", [["image", "fire"], ["elsewhere.jpg", "major"]])
    with pytest.raises(CalibrationError, match=r"None of the 1 images.*elsewhere\.jpg"):
        run(*CALL)


def test_what_is_read_is_never_written_over(run):
    result = run(*CALL, "-o", Path("set.toml"))
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr


def test_help_has_an_example_and_json(run):
    shown = run("--help").stdout
    assert "clipcal prompts check moderation --labels human.csv" in shown
    assert "--json" in shown
