"""Laws of an overall verdict that is fitted to people's."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report_cases import contract_of

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.decisions.rescore import Decisions
from clipcal.calibrate.decisions.verdicts import (
    fit_overall,
    given_verdicts,
    overall_verdicts,
    verdict_names,
)
from clipcal.calibrate.records import OverallModel
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.bounds import wilson
from clipcal.errors import CalibrationError, LabelError
from clipcal.prompts.promptset import PromptSet, parse_prompt_set

SET = """
levels = ["none", "minor", "major"]
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
[overall]
bad = "major >= 1"
odd = "minor >= 1"
otherwise = "good"
"""
LEVELS = ("none", "minor", "major")
NAMES = ("fire", "water")
IMAGES = 240


@pytest.fixture
def prompts() -> PromptSet:
    return parse_prompt_set(SET, source="own.toml", format="toml")


@pytest.fixture
def scored() -> CorpusScores:
    scores = np.random.default_rng(0).normal(size=(IMAGES, 2)).astype(np.float32)
    uris = tuple(f"/photos/{i}.jpg" for i in range(IMAGES))
    return CorpusScores(uris, ("",) * IMAGES, np.arange(IMAGES), NAMES, scores)


@pytest.fixture
def given(scored: CorpusScores) -> np.ndarray:
    """People's verdicts: of the sum of both scores, which no rule over categories can tell."""
    return np.digitize(scored.scores.sum(axis=1), [0.0, 1.2])


def sample_of(scored: CorpusScores, rows: np.ndarray, values: np.ndarray | None = None) -> Sample:
    values = np.zeros((len(rows), 2), np.int8) if values is None else values
    fair = np.ones(values.shape)
    number = np.arange(len(rows))
    return Sample(
        scored.scores[rows],
        values,
        rows,
        fair,
        fair > 0,
        number,
        np.ones(len(rows)),
        np.zeros(scored.scores.shape[1], np.int64),
    )


def write(path: Path, given: np.ndarray, words: tuple[str, ...] = ("good", "odd", "bad")) -> Path:
    rows = [(f"{i}.jpg", "none", "none", words[code]) for i, code in enumerate(given)]
    with (path / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", *NAMES, "Overall"), *rows])
    return path / "human.csv"


def fitted(
    files: list[Path],
    prompts: PromptSet,
    scored: CorpusScores,
    sample: Sample,
    levels: tuple[str, ...],
    decided: np.ndarray | None,
) -> OverallModel:
    given = given_verdicts(files, prompts, scored)
    return fit_overall(given, prompts, scored, sample, levels, decided)


def test_verdicts_go_from_the_mildest_to_the_gravest(prompts: PromptSet) -> None:
    assert verdict_names(prompts) == ("good", "odd", "bad")


def test_a_fitted_verdict_is_proportional_odds_and_tells_what_the_rule_cannot(
    prompts: PromptSet, scored: CorpusScores, given: np.ndarray, tmp_path: Path
) -> None:
    sample = sample_of(scored, np.arange(IMAGES))
    # The rule is given the categories' own levels, decided without fault.
    decided = np.digitize(scored.scores, [0.5, 1.0]).astype(np.int8)
    model = fitted([write(tmp_path, given)], prompts, scored, sample, LEVELS, decided)
    assert model.verdicts == ("good", "odd", "bad")
    assert (model.categories, model.images) == (NAMES, IMAGES)
    assert model.agreement is not None
    assert model.agreement.value > 0.95
    assert model.kappa is not None
    assert model.kappa.value > 0.9
    ruled = decided.max(axis=1)  # bad where anything is major, odd where anything is minor
    assert model.rule_agreement == wilson(int((ruled == given).sum()), IMAGES)
    slopes = np.array(model.fit.weights) / np.array(model.fit.scale)
    assert slopes[0] == pytest.approx(slopes[1], rel=0.15)


def test_the_rule_is_judged_on_the_labelled_images_alone_and_an_undecided_one_is_wrong(
    prompts: PromptSet, scored: CorpusScores, given: np.ndarray, tmp_path: Path
) -> None:
    rows = np.arange(0, IMAGES, 2)
    decided = np.full((len(rows), 2), -1, np.int8)
    decided[:30] = 0
    model = fitted(
        [write(tmp_path, given)], prompts, scored, sample_of(scored, rows), LEVELS, decided
    )
    assert model.images == len(rows)
    assert model.rule_agreement == wilson(int((given[rows[:30]] == 0).sum()), len(rows))
    without = fitted(
        [write(tmp_path, given)], prompts, scored, sample_of(scored, rows), LEVELS, None
    )
    assert without.rule_agreement is None
    assert without.agreement == model.agreement


def test_out_of_fold_noise_agrees_no_better_than_the_commonest_verdict(
    prompts: PromptSet, scored: CorpusScores, tmp_path: Path
) -> None:
    noise = np.random.default_rng(9).integers(0, 3, IMAGES)
    sample = sample_of(scored, np.arange(IMAGES))
    model = fitted([write(tmp_path, noise)], prompts, scored, sample, LEVELS, None)
    assert model.agreement is not None
    assert model.agreement.low < 1 / 3 + 0.05
    assert model.kappa is not None
    assert model.kappa.low < 0


@pytest.mark.parametrize("images", [2, 9, 10])
def test_few_images_give_a_model_without_its_agreement(
    prompts: PromptSet, scored: CorpusScores, given: np.ndarray, tmp_path: Path, images: int
) -> None:
    order = np.argsort(scored.scores.sum(axis=1))
    rows = np.sort(np.r_[order[: images // 2], order[-(images - images // 2) :]])
    model = fitted([write(tmp_path, given)], prompts, scored, sample_of(scored, rows), LEVELS, None)
    assert model.images == images
    assert (model.agreement is None) == (images < 10)


def test_one_verdict_alone_cannot_be_fitted_and_that_is_said(
    prompts: PromptSet, scored: CorpusScores, tmp_path: Path
) -> None:
    sample = sample_of(scored, np.arange(IMAGES))
    file = write(tmp_path, np.zeros(IMAGES, int))
    with pytest.raises(CalibrationError, match="clipcal"):
        fitted([file], prompts, scored, sample, LEVELS, None)


@pytest.mark.parametrize("words", [("yes", "no", "perhaps"), ("", "", "")])
def test_a_file_without_verdicts_is_refused_with_those_it_may_hold(
    prompts: PromptSet,
    scored: CorpusScores,
    given: np.ndarray,
    tmp_path: Path,
    words: tuple[str, str, str],
) -> None:
    sample = sample_of(scored, np.arange(IMAGES))
    file = write(tmp_path, given, words)
    with pytest.raises(LabelError, match=r"no column Overall with good, odd, bad.*--overall rule"):
        fitted([file], prompts, scored, sample, LEVELS, None)


def test_a_file_without_the_column_is_refused(
    prompts: PromptSet, scored: CorpusScores, tmp_path: Path
) -> None:
    (tmp_path / "human.csv").write_text("image,fire,water\n0.jpg,none,major\n")
    sample = sample_of(scored, np.arange(IMAGES))
    with pytest.raises(LabelError, match="no column Overall"):
        fitted([tmp_path / "human.csv"], prompts, scored, sample, LEVELS, None)


def test_a_set_without_verdicts_cannot_be_fitted(scored: CorpusScores, tmp_path: Path) -> None:
    bare = parse_prompt_set(SET.split("[overall]")[0], source="own.toml", format="toml")
    file = write(tmp_path, np.zeros(IMAGES, int))
    with pytest.raises(LabelError, match=r"names no overall verdicts.*\[overall\]"):
        fitted([file], bare, scored, sample_of(scored, np.arange(IMAGES)), LEVELS, None)


def test_a_fitted_verdict_takes_the_place_of_the_rule(
    prompts: PromptSet, scored: CorpusScores, given: np.ndarray, tmp_path: Path
) -> None:
    sample = sample_of(scored, np.arange(IMAGES))
    model: OverallModel = fitted([write(tmp_path, given)], prompts, scored, sample, LEVELS, None)
    values = np.zeros((IMAGES, 2), np.int8)  # by the rule all is good
    decided = Decisions(NAMES, LEVELS, scored.scores, np.zeros((2, 2)), values)
    plain = contract_of({}, LEVELS)
    ruled, warnings = overall_verdicts(plain, decided, prompts)
    assert ruled is not None
    assert ruled.counts()["good"] == IMAGES
    assert warnings == ()
    modelled, warnings = overall_verdicts(
        plain.model_copy(update={"overall": model}), decided, prompts
    )
    assert modelled is not None
    assert warnings == ()
    words = np.array(modelled.per_image())
    assert (words == np.array(["good", "odd", "bad"])[given]).mean() > 0.95
    assert sum(modelled.counts().values()) == IMAGES


def test_contradictory_verdicts_on_copies_are_unknown(
    prompts: PromptSet, scored: CorpusScores, given: np.ndarray, tmp_path: Path
) -> None:
    # Images 0 and 1 have one content; people called one of them good and the other bad.
    rows = scored.rows.copy()
    rows[1] = 0
    given[:2] = 0, 2
    copies = CorpusScores(scored.uris, scored.sha256s, rows, NAMES, scored.scores)
    sample = sample_of(scored, np.r_[0, np.arange(2, IMAGES)])
    file = write(tmp_path, given)
    assert fitted([file], prompts, copies, sample, LEVELS, None).images == IMAGES - 2
    given[1] = 0
    file = write(tmp_path, given)
    assert fitted([file], prompts, copies, sample, LEVELS, None).images == IMAGES - 1
