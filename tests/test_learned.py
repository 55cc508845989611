"""Laws of calibrating on learned scores: which labels they saw, and what the contract keeps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.heads.learned import direction, learn
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import (
    TextSource,
    choose_prompt_set,
    prompt_vectors,
    scores_under_contract,
)
from clipcal.calibrate.workflow import Calibrated, calibrate_corpus
from clipcal.cli import app
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.matrix import PromptVectors
from clipcal.prompts.vectors import TextVectors

IMAGES = 260
SET = """
[category.fire]
prompts = ["a fire"]
against = ["a lamp"]
[category.water]
prompts = ["the sea"]
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(IMAGES)]
    vectors = unit(IMAGES, 0).astype(np.float16)
    corpus.commit(outcomes, vectors, [o.sha256 for o in outcomes])
    return corpus


@pytest.fixture
def source(tmp_path: Path) -> TextSource:
    sentences = ("a fire", "a lamp", "the sea")
    TextVectors(sentences, unit(3, 5), IDENTITY.fingerprint).save(tmp_path / "text.npz")
    (tmp_path / "own.toml").write_text(SET)
    # Fire is what the embedding's first number says, which the sentences know nothing of;
    # water is noise.
    fire = unit(IMAGES, 0)[:, 0] > 0.05
    water = np.random.default_rng(8).random(IMAGES) < 0.5
    rows = [(f"{i}.jpg", int(f), int(w)) for i, (f, w) in enumerate(zip(fire, water, strict=True))]
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "fire", "water"), *rows])
    return TextSource(file=tmp_path / "text.npz")


@pytest.fixture
def vectors(corpus: Corpus, source: TextSource, tmp_path: Path) -> PromptVectors:
    return prompt_vectors(corpus, choose_prompt_set(corpus, str(tmp_path / "own.toml")), source)


@pytest.fixture
def calibrated(corpus: Corpus, source: TextSource, tmp_path: Path) -> Calibrated:
    plan = CalibrationPlan(target="recall=0.8", learn=True, folds=0)
    prompts = str(tmp_path / "own.toml")
    return calibrate_corpus(
        corpus, tmp_path / "human.csv", prompts=prompts, source=source, plan=plan
    )


def test_a_score_that_sees_what_the_sentences_miss_is_used_and_noise_is_not(
    calibrated: Calibrated,
) -> None:
    contract = calibrated.contract
    assert list(contract.heads) == ["fire"]
    assert contract.comparisons["fire"].offered
    assert not contract.comparisons["water"].offered
    assert contract.comparisons["fire"].learned.value > contract.comparisons["fire"].plain.value
    assert any("is used, for: fire" in note for note in calibrated.notes)


def test_thresholds_are_fitted_to_the_labels_that_were_not_learned_from(
    calibrated: Calibrated,
) -> None:
    rest = np.zeros(IMAGES, np.bool_)
    rest[np.random.default_rng(0).permutation(IMAGES)[: IMAGES // 2]] = True
    assert any(f"the other {rest.sum()}" in note for note in calibrated.notes)
    fire = unit(IMAGES, 0)[:, 0] > 0.05
    for category in calibrated.contract.categories.values():
        assert category["positive"].n == rest.sum()
    assert calibrated.contract.categories["fire"]["positive"].positives == fire[rest].sum()


def test_the_contract_gives_the_same_learned_scores_when_it_is_loaded(
    corpus: Corpus, source: TextSource, calibrated: Calibrated, tmp_path: Path
) -> None:
    calibrated.contract.save(tmp_path / "c.json")
    loaded = Contract.load(tmp_path / "c.json")
    before, after = (
        scores_under_contract(corpus, contract, source=source).scores
        for contract in (calibrated.contract, loaded)
    )
    np.testing.assert_array_equal(before, after)
    cut = loaded.categories["fire"]["positive"]
    assert cut.flags == (after[:, 0] >= np.float32(cut.threshold)).sum()
    plain = loaded.model_copy(update={"heads": {}})
    untouched = scores_under_contract(corpus, plain, source=source).scores
    np.testing.assert_array_equal(untouched[:, 1], after[:, 1])
    assert not np.allclose(untouched[:, 0], after[:, 0])


def labelled(vectors: PromptVectors, values: np.ndarray) -> tuple[Sample, np.ndarray]:
    embeddings = unit(len(values), 0)
    cosines = embeddings @ vectors.matrix.T
    scores = np.stack([cosines[:, 0] - cosines[:, 1], cosines[:, 2]], axis=1)
    fair = np.ones(values.shape)
    number = np.arange(len(values))
    sample = Sample(
        scores,
        values.astype(np.int8),
        number,
        fair,
        fair > 0,
        number,
        np.ones(len(number)),
        np.zeros(scores.shape[1], np.int64),
    )
    return sample, embeddings


def test_what_was_left_for_thresholds_is_not_looked_at(vectors: PromptVectors) -> None:
    fire = unit(IMAGES, 0)[:, 0] > 0.05
    values = np.stack([fire, ~fire], axis=1)
    sample, embeddings = labelled(vectors, values)
    true = learn(sample, embeddings, vectors, ("fire", "water"), seed=3)
    lies = values.copy()
    lies[true.rest] = ~lies[true.rest]
    torn = embeddings.copy()
    torn[true.rest] = 0.25
    other, _ = labelled(vectors, lies)
    lied = learn(other, torn, vectors, ("fire", "water"), seed=3)
    assert true.heads
    assert lied.heads.keys() == true.heads.keys()
    assert lied.comparisons == true.comparisons
    for name, head in true.heads.items():
        np.testing.assert_array_equal(
            head.score(embeddings, sample.scores[:, 0]),
            lied.heads[name].score(embeddings, sample.scores[:, 0]),
        )
    np.testing.assert_array_equal(lied.rest, true.rest)


@pytest.mark.parametrize("images", [0, 1])
def test_too_few_labels_to_divide_say_what_it_takes(vectors: PromptVectors, images: int) -> None:
    sample, embeddings = labelled(vectors, np.zeros((images, 2)))
    with pytest.raises(CalibrationError, match=r"one half.*leave out --learn"):
        learn(sample, embeddings, vectors, ("fire", "water"))


def test_few_labels_learn_nothing_and_leave_the_prompts_own_scores(vectors: PromptVectors) -> None:
    sample, embeddings = labelled(vectors, np.tile([[0, 1], [1, 0]], (4, 1)))
    learned = learn(sample, embeddings, vectors, ("fire", "water"))
    assert learned.heads == learned.comparisons == {}
    assert learned.rest.sum() == 4


def test_a_direction_is_prompts_less_contrasts(vectors: PromptVectors) -> None:
    texts = unit(3, 5)
    np.testing.assert_allclose(direction(vectors, 0), texts[0] - texts[1], atol=1e-6)
    np.testing.assert_allclose(direction(vectors, 1), texts[2], atol=1e-6)


@pytest.fixture
def run(corpus: Corpus, source: TextSource, tmp_path: Path) -> Callable[..., Result]:
    rest = ["--corpus", str(tmp_path / "corpus"), "--prompt-vectors", str(source.file)]

    def command(*arguments: object) -> Result:
        words = [str(tmp_path / a) if isinstance(a, Path) else str(a) for a in arguments]
        return CliRunner().invoke(app, [*words, *rest])

    return command


def test_a_rescore_uses_the_learned_scores(run: Callable[..., Result], tmp_path: Path) -> None:
    named = ("--labels", Path("human.csv"), "--prompts", Path("own.toml"), "-o", Path("c.json"))
    told = run("calibrate", *named, "--learn", "--json", "--folds", "0", "--target", "f1")
    assert told.exit_code == 0, told.output
    assert list(json.loads(told.stdout)["heads"]) == ["fire"]
    assert run("rescore", "--calibration", Path("c.json"), "-o", Path("d.csv")).exit_code == 0
    with (tmp_path / "d.csv").open(newline="") as stream:
        flags = [int(row["fire"]) for row in csv.DictReader(stream)]
    fire = unit(IMAGES, 0)[:, 0] > 0.05
    assert (np.array(flags) == fire).mean() > 0.85
