"""Laws of calibrating from what the corpus keeps of labels, and of fitting again as before."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.by_hand import Placed
from clipcal.calibrate.labels.kept_verdicts import keep_verdicts
from clipcal.calibrate.labels.pool import SOURCE, Pool, pool_csv, pooled
from clipcal.calibrate.outlook import outlook_of
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import TextSource
from clipcal.calibrate.trial.what_if import Trial
from clipcal.calibrate.workflow import Calibrated, calibrate_corpus, material_of, plan_of
from clipcal.errors import CalibrationError, FingerprintMismatch, LabelError
from clipcal.index.judgements import Said, judge
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 120
NAMES = ("fire", "water")
SET = '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n'
QUICK = CalibrationPlan(target="recall=0.8", folds=0)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(IMAGES)]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), [o.sha256 for o in outcomes])
    return corpus


@pytest.fixture
def source(tmp_path: Path) -> TextSource:
    texts = TextVectors(("a fire", "the sea"), unit(2, 5), IDENTITY.fingerprint)
    texts.save(tmp_path / "text.npz")
    (tmp_path / "set.toml").write_text(SET)
    return TextSource(file=tmp_path / "text.npz")


@pytest.fixture
def truth() -> np.ndarray:
    noise = np.random.default_rng(3).normal(scale=0.15, size=(IMAGES, 2))
    return unit(IMAGES, 0) @ unit(2, 5).T + noise > 0


@pytest.fixture
def pool(corpus: Corpus, truth: np.ndarray) -> Pool:
    """Labels that came with a file, and what two raters said of some of the images since."""
    rows = {
        f"/photos/{i}.jpg": {
            n: ("positive" if t else "negative") for n, t in zip(NAMES, row, strict=True)
        }
        for i, row in enumerate(truth[:70].tolist())
    }
    corpus.replace_labels(rows)
    for rater, images in (("ann", range(60, 100)), ("bob", range(64, 96, 2))):
        said = [
            Said(corpus.find(f"/photos/{i}.jpg").id, name, "positive" if flag else "negative")
            for i in images
            for name, flag in zip(NAMES, truth[i] ^ (i % 37 == 0), strict=True)
        ]
        judge(corpus, f"batch-{rater}", said, rater=rater, origin="random")
    return pooled(corpus, NAMES, ())


def fit(
    corpus: Corpus, tmp_path: Path, source: TextSource, labels: object, **plan: object
) -> Calibrated:
    return calibrate_corpus(
        corpus,
        labels,
        prompts=str(tmp_path / "set.toml"),
        source=source,
        plan=dataclasses.replace(QUICK, **plan),
    )


def undated(contract: Contract) -> dict[str, object]:
    return contract.model_dump(exclude={"created"})


# --- the pool -------------------------------------------------------------------------------


def test_the_pool_and_its_export_give_the_same_contract(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(SOURCE).write_bytes(pool_csv(corpus, NAMES, ()))
    placed = (Placed("water", None, -0.2),)
    one = fit(corpus, tmp_path, source, pool, placed=placed)
    other = fit(corpus, tmp_path, source, Path(SOURCE), placed=placed)
    assert undated(one.contract) == undated(other.contract)
    assert one.contract.labels.images == 100
    assert one.contract.people  # two raters said something of the same images
    assert one.notes == other.notes


def test_calibrating_from_the_pool_leaves_its_labels_as_they_are(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    before = corpus.labels()
    fit(corpus, tmp_path, source, pool).keep(corpus)
    assert corpus.labels() == before
    again = pooled(corpus, NAMES, ())
    assert again.table.sha256 == pool.table.sha256


def test_an_empty_pool_calibrates_only_what_needs_no_label(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    empty = pooled(corpus, NAMES, ())
    with pytest.raises(CalibrationError, match="needs people's labels"):
        fit(corpus, tmp_path, source, empty)
    placed = (Placed("fire", None, 0.1),)
    for labels in (empty, None):
        done = fit(corpus, tmp_path, source, labels, placed=placed)
        assert done.contract.categories["fire"]["positive"].threshold == 0.1
        assert done.contract.categories["water"]["positive"].status == "no_positives"
    assert fit(corpus, tmp_path, source, empty, target="budget=10").contract.target == "budget=10"


def test_an_overall_verdict_is_fitted_to_verdicts_that_the_corpus_keeps(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    rules = '[overall]\nbad = "positive >= 1"\notherwise = "good"\n'
    (tmp_path / "set.toml").write_text(SET + rules)
    with pytest.raises(LabelError, match=r"column Overall.*--labels FILE\.csv --overall fitted"):
        fit(corpus, tmp_path, source, pool, overall="fitted")
    tried = fit(corpus, tmp_path, source, pool, overall="tried")
    assert tried.contract.overall is None
    assert "No overall verdict is fitted" in tried.notes[-1]
    keep_verdicts(corpus, {"good": np.arange(20), "bad": np.arange(20, 50)})
    for overall in ("fitted", "tried"):
        done = fit(corpus, tmp_path, source, pooled(corpus, NAMES, ()), overall=overall)
        assert done.contract.overall is not None
        assert done.contract.overall.images == 50
        assert done.notes == tried.notes[:-1]


def test_a_pool_read_before_images_went_is_refused(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    corpus.remove(["/photos/3.jpg"])
    with pytest.raises(CalibrationError, match="The corpus changed while its labels were read"):
        fit(corpus, tmp_path, source, pool)
    fit(corpus, tmp_path, source, pooled(corpus, NAMES, ()))


# --- material, trials and outlooks ----------------------------------------------------------


def test_trial_and_outlook_of_the_material_say_what_the_calibration_says(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    prompts, plan = str(tmp_path / "set.toml"), dataclasses.replace(QUICK, holdout=0.2, seed=4)
    contract = calibrate_corpus(corpus, pool, prompts=prompts, source=source, plan=plan).contract
    material = material_of(corpus, pool, prompts=prompts, source=source, plan=plan)
    tried = Trial.of(material, plan, contract)
    for one in outlook_of(material, plan):
        cut = contract.categories[one.category][one.level]
        assert (one.status, one.threshold, one.evidence) == (
            cut.status,
            cut.threshold,
            cut.evidence,
        )
        assert cut.threshold is not None
        seen = tried.at(one.category, one.level, cut.threshold)
        assert (seen.recall, seen.precision, seen.expected) == (
            cut.recall,
            cut.precision,
            cut.expected,
        )
        assert (seen.before, seen.newly, seen.no_longer) == (cut.flags, 0, 0)
        assert seen.sentence == cut.guarantee


def test_a_trial_against_a_contract_of_other_prompts_is_refused(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    contract = fit(corpus, tmp_path, source, pool).contract
    (tmp_path / "other.toml").write_text(SET.replace("the sea", "a fire"))
    material = material_of(
        corpus, pool, prompts=str(tmp_path / "other.toml"), source=source, plan=QUICK
    )
    with pytest.raises(FingerprintMismatch, match="prompts differs"):
        Trial.of(material, QUICK, contract)


def test_a_category_whose_score_is_learned_otherwise_by_now_has_no_threshold_in_force(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path
) -> None:
    contract = fit(corpus, tmp_path, source, pool).contract
    learned = contract.model_copy(update={"heads": {"fire": "of other labels"}})
    material = material_of(
        corpus, pool, prompts=str(tmp_path / "set.toml"), source=source, plan=QUICK
    )
    tried = Trial.of(material, QUICK, learned)
    assert tried.at("fire", "positive", 0.1).before is None
    assert tried.at("water", "positive", 0.1).before is not None


# --- fitting again as before ----------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        {"target": "precision=0.6", "joint": True, "folds": 3, "repeats": 2},
        {"target": "f1", "confidence": 0.8, "seed": 7, "probabilities": "platt"},
        {"bands": "recall=0.8,precision=0.7", "holdout": 0.25},
        {"bands": "recall=0.8,precision=0.7", "placed": (Placed("fire", None, -0.2, 0.31),)},
        {"placed": (Placed("fire", None, 0.05), Placed("water", None, None, 0.4))},
        {"target": "budget=20", "probabilities": "isotonic", "prior_shift": True},
        {"learn": True, "rule": "max"},
    ],
)
def test_a_contract_tells_what_it_was_asked_for(
    corpus: Corpus, source: TextSource, pool: Pool, tmp_path: Path, plan: dict[str, object]
) -> None:
    done = fit(corpus, tmp_path, source, pool, **plan)
    again = fit(corpus, tmp_path, source, pool, **dataclasses.asdict(QUICK) | as_plan(done))
    if "folds" not in plan:  # it was asked to do without, which is not on record
        done, again = (
            dataclasses.replace(d, contract=d.contract.model_copy(update={"crossfit": None}))
            for d in (done, again)
        )
        again = dataclasses.replace(
            again, contract=again.contract.model_copy(update={"people": done.contract.people})
        )
    assert undated(again.contract) == undated(done.contract)


def as_plan(done: Calibrated) -> dict[str, object]:
    found = plan_of(done.contract)
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def test_labels_given_as_a_file_are_found_by_name(
    corpus: Corpus, source: TextSource, truth: np.ndarray, tmp_path: Path
) -> None:
    """The way without a pool stays as it was, beside thresholds that are placed."""
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        rows = [(f"{i}.jpg", *map(int, row)) for i, row in enumerate(truth[:90])]
        csv.writer(stream).writerows([("image", *NAMES), *rows])
    done = fit(
        corpus, tmp_path, source, tmp_path / "human.csv", placed=(Placed("fire", None, -0.3),)
    )
    assert done.contract.categories["fire"]["positive"].by_hand
    assert done.contract.categories["water"]["positive"].status == "certified"
    done.keep(corpus)
    assert len(corpus.labels()) == 90
