"""Laws of taking a corpus from labels to decisions, with vectors that a test makes up."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.flagged import near_flagged
from clipcal.calibrate.decisions.rescore import count_decisions, decisions, write_csv
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.score_file import write_scores
from clipcal.calibrate.scoring.corpus_scores import score_corpus, similarities
from clipcal.calibrate.scoring.rules import ScoreRule
from clipcal.calibrate.scoring.scores import category_scores
from clipcal.calibrate.scoring.under_contract import (
    TextSource,
    choose_prompt_set,
    prompt_vectors,
    scores_under_contract,
)
from clipcal.calibrate.workflow import Calibrated, calibrate_corpus
from clipcal.errors import BundleError, CalibrationError, FingerprintMismatch, PromptError
from clipcal.index.neighbours import refresh_index
from clipcal.index.shards import Shards
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

SET = """
name = "two"
[category.fire]
prompts = ["a fire", "flames"]
against = ["a lamp"]
[category.water]
prompts = ["the sea"]
"""
SENTENCES = ("a fire", "flames", "a lamp", "the sea")
IMAGES = 240


def add(corpus: Corpus, count: int, seed: int) -> None:
    start = corpus.rows
    names = [f"/photos/{row}.jpg" for row in range(start, start + count)]
    outcomes = [Outcome(n, f"{row:064d}", row=row) for row, n in enumerate(names, start)]
    corpus.commit(outcomes, unit(count, seed).astype(np.float16), [o.sha256 for o in outcomes])


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    add(corpus, IMAGES, seed=0)
    return corpus


@pytest.fixture
def source(tmp_path: Path) -> TextSource:
    TextVectors(SENTENCES, unit(4, seed=5), IDENTITY.fingerprint).save(tmp_path / "text.npz")
    (tmp_path / "two.toml").write_text(SET)
    return TextSource(file=tmp_path / "text.npz")


@pytest.fixture
def labels(tmp_path: Path, corpus: Corpus, source: TextSource) -> Path:
    """Labels of 200 images, near what the scores say, and of one image that is not there."""
    scored = scores(corpus, tmp_path, source)
    noise = np.random.default_rng(3).normal(scale=0.1, size=scored.shape)
    truth = scored[:200] + noise[:200] > 0.1
    rows = [(f"{n}.jpg", *("yes" if t else "no" for t in row)) for n, row in enumerate(truth)]
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "Fire", "Water"), *rows, ("gone.jpg", "no", "no")])
    return tmp_path / "human.csv"


def scores(corpus: Corpus, tmp_path: Path, source: TextSource) -> np.ndarray:
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    return score_corpus(corpus, prompt_vectors(corpus, prompt_set, source)).scores


@pytest.fixture
def calibrated(corpus: Corpus, labels: Path, source: TextSource, tmp_path: Path) -> Calibrated:
    prompts = str(tmp_path / "two.toml")
    done = calibrate_corpus(corpus, labels, prompts=prompts, source=source)
    done.keep(corpus)
    return done


def test_scores_are_the_margins_of_the_stored_embeddings(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    stored = corpus.shards.take(np.arange(IMAGES)).astype(np.float64)
    cosines = stored @ unit(4, seed=5).astype(np.float64).T
    fire = np.maximum(cosines[:, 0], cosines[:, 1]) - cosines[:, 2]
    expected = np.stack([fire, cosines[:, 3]], axis=1)
    np.testing.assert_allclose(scores(corpus, tmp_path, source), expected, atol=1e-6)


def test_a_rescore_equals_brute_force(
    corpus: Corpus, calibrated: Calibrated, source: TextSource, tmp_path: Path
) -> None:
    scored = scores_under_contract(corpus, calibrated.contract, source=source)
    decided = decisions(scored.scores, scored.categories, calibrated.contract)
    write_csv(decided, scored.uris, tmp_path / "decisions.csv")
    with (tmp_path / "decisions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == list(scored.uris)
    for column, name in enumerate(("fire", "water")):
        threshold = calibrated.contract.categories[name]["positive"].threshold
        assert threshold is not None
        flags = [int(score >= np.float32(threshold)) for score in scored.scores[:, column]]
        assert [int(row[name]) for row in rows] == flags
        assert count_decisions(decided)[name]["positive"] == sum(flags)
        assert calibrated.contract.categories[name]["positive"].flags == sum(flags)


def test_the_contract_says_what_it_was_fitted_to(
    corpus: Corpus, calibrated: Calibrated, tmp_path: Path
) -> None:
    contract = calibrated.contract
    assert contract.labels.images == 200
    assert calibrated.match.unmatched == ("gone.jpg",)
    assert contract.fingerprint.model == corpus.model.fingerprint
    contract.save(tmp_path / "calibration.json")
    assert Contract.load(tmp_path / "calibration.json") == contract
    assert {c["positive"].status for c in contract.categories.values()} == {"certified"}
    kept = corpus.labels()
    assert len(kept) == 200
    assert set(kept["/photos/0.jpg"]) == {"fire", "water"}


def test_a_foreign_prompt_set_is_refused(
    corpus: Corpus, calibrated: Calibrated, source: TextSource, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text(SET.replace("a lamp", "the sea"))
    with pytest.raises(FingerprintMismatch, match="prompts differs"):
        scores_under_contract(
            corpus, calibrated.contract, prompts=str(tmp_path / "other.toml"), source=source
        )


def test_a_foreign_model_is_refused(
    calibrated: Calibrated, source: TextSource, tmp_path: Path
) -> None:
    other = dataclasses.replace(IDENTITY, fingerprint="0" * 64)
    corpus = Corpus.create(tmp_path / "other", other)
    add(corpus, 3, seed=1)
    with pytest.raises(FingerprintMismatch, match="model differs"):
        scores_under_contract(
            corpus, calibrated.contract, prompts=str(tmp_path / "two.toml"), source=source
        )


def test_text_vectors_of_another_model_are_refused(
    corpus: Corpus, labels: Path, tmp_path: Path
) -> None:
    TextVectors(SENTENCES, unit(4, seed=5), "another").save(tmp_path / "foreign.npz")
    foreign = TextSource(file=tmp_path / "foreign.npz")
    with pytest.raises(FingerprintMismatch, match="another"):
        calibrate_corpus(corpus, labels, prompts=str(tmp_path / "two.toml"), source=foreign)


def test_a_sentence_without_a_vector_is_named(corpus: Corpus, labels: Path, tmp_path: Path) -> None:
    TextVectors(SENTENCES[:3], unit(3, seed=5), None).save(tmp_path / "few.npz")
    few = TextSource(file=tmp_path / "few.npz")
    with pytest.raises(PromptError, match="the sea"):
        calibrate_corpus(corpus, labels, prompts=str(tmp_path / "two.toml"), source=few)


def test_imported_vectors_without_text_vectors_tell_what_is_missing(
    tmp_path: Path, labels: Path
) -> None:
    external = dataclasses.replace(IDENTITY, bundle=None, fingerprint="e" * 64)
    corpus = Corpus.create(tmp_path / "imported", external)
    add(corpus, 3, seed=1)
    with pytest.raises(BundleError, match="--prompt-vectors"):
        calibrate_corpus(corpus, labels, prompts=str(tmp_path / "two.toml"))


def test_a_new_threshold_touches_no_embedding(
    corpus: Corpus,
    labels: Path,
    calibrated: Calibrated,
    source: TextSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an embedding was read")

    monkeypatch.setattr(Shards, "block", refuse)
    monkeypatch.setattr(Shards, "take", refuse)
    again = calibrate_corpus(corpus, labels, source=source, plan=CalibrationPlan(target="f1"))
    assert again.contract.target == "f1"
    scores_under_contract(corpus, again.contract, source=source)


@pytest.mark.parametrize("more", [1, 50, 700])
def test_scores_extended_by_new_images_are_those_computed_afresh(
    corpus: Corpus, source: TextSource, tmp_path: Path, more: int
) -> None:
    first = scores(corpus, tmp_path, source)
    add(corpus, more, seed=9)
    grown = scores(corpus, tmp_path, source)
    np.testing.assert_array_equal(grown[:IMAGES], first)
    (cache,) = (corpus.path / "scores").iterdir()
    cache.unlink()
    np.testing.assert_array_equal(grown, scores(corpus, tmp_path, source))


def test_who_only_reads_scores_takes_what_is_kept_and_writes_nothing(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    vectors = prompt_vectors(corpus, prompt_set, source, keep=False)
    unkept = score_corpus(corpus, vectors, keep=False)
    assert not (corpus.path / "scores").exists()
    score_corpus(corpus, vectors)
    (cache,) = (corpus.path / "scores").iterdir()
    os.utime(cache, (1, 1))
    for more in (0, 50):  # all rows are kept; some are
        add(corpus, more, seed=9)
        again = score_corpus(corpus, vectors, keep=False)
        np.testing.assert_array_equal(again.scores[:IMAGES], unkept.scores)
        assert len(again.scores) == IMAGES + more
        assert [(f, f.stat().st_mtime) for f in (corpus.path / "scores").iterdir()] == [(cache, 1)]


def test_scores_of_every_rule_and_prompt_set_are_kept_apart(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    vectors = prompt_vectors(corpus, prompt_set, source)
    (tmp_path / "mean.toml").write_text(
        SET.replace("[category.water]", 'pool = "mean"\n[category.water]')
    )
    means = prompt_vectors(corpus, choose_prompt_set(corpus, str(tmp_path / "mean.toml")), source)
    asked = [(vectors, "margin"), (vectors, "max"), (means, "margin"), (vectors, "mean")]
    found = [score_corpus(corpus, v, ScoreRule.parse(rule)).scores for v, rule in asked]
    again = [score_corpus(corpus, v, ScoreRule.parse(rule)).scores for v, rule in asked]
    for one, (kept, (v, rule)) in enumerate(zip(again, asked, strict=True)):
        cosines = similarities(corpus, v, np.arange(IMAGES))
        np.testing.assert_array_equal(kept, category_scores(cosines, v, ScoreRule.parse(rule)))
        assert not any(np.array_equal(kept, other) for other in found[:one])


def test_copies_share_the_scores_of_their_row(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    before = scores(corpus, tmp_path, source)
    corpus.commit([Outcome("/photos/twin.jpg", f"{7:064d}", row=7)], unit(0, 0), [])
    after = scores(corpus, tmp_path, source)
    np.testing.assert_array_equal(after, np.vstack([before, before[7]]))


def test_images_are_named_as_the_corpus_names_them(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    corpus.remove(["/photos/3.jpg"])
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    scored = score_corpus(corpus, prompt_vectors(corpus, prompt_set, source))
    items = corpus.items("embedded")
    for texts, expected in (
        (scored.uris, [item.uri for item in items]),
        (scored.sha256s, [item.sha256 for item in items]),
    ):
        assert list(texts) == expected == [texts[i] for i in range(len(texts))]
        assert (texts[2:9], texts[-3:], texts[5:5]) == (expected[2:9], expected[-3:], [])
        assert (texts[::-50], texts[-1]) == (expected[::-50], expected[-1])
    with pytest.raises(IndexError):
        scored.uris[len(items)]


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY torn"])
def test_a_damaged_cache_is_made_again(
    corpus: Corpus, source: TextSource, tmp_path: Path, damage: bytes
) -> None:
    before = scores(corpus, tmp_path, source)
    (cache,) = (corpus.path / "scores").iterdir()
    cache.write_bytes(damage)
    np.testing.assert_array_equal(scores(corpus, tmp_path, source), before)


def test_removed_images_are_not_scored(corpus: Corpus, source: TextSource, tmp_path: Path) -> None:
    corpus.remove(["/photos/0.jpg"])
    assert len(scores(corpus, tmp_path, source)) == IMAGES - 1


def test_neighbours_of_flagged_images_are_the_unflagged_ones_nearest_to_any(
    corpus: Corpus, calibrated: Calibrated, source: TextSource
) -> None:
    refresh_index(corpus)
    scored = scores_under_contract(corpus, calibrated.contract, source=source)
    found = near_flagged(corpus, scored, calibrated.contract, "fire", 5)
    threshold = calibrated.contract.categories["fire"]["positive"].threshold
    flagged = scored.column("fire") >= np.float32(threshold)
    stored = corpus.shards.take(scored.rows).astype(np.float32)
    nearness = (stored[~flagged] @ stored[flagged].T).max(axis=1)
    best = np.argsort(-nearness)[:5]
    expected = [np.array(scored.uris)[~flagged][i] for i in best]
    assert found.flagged == flagged.sum()
    assert [result.uri for result in found.results] == expected
    assert [result.similarity for result in found.results] == pytest.approx(nearness[best])


def test_a_category_that_is_not_there_is_answered_with_those_that_are(
    corpus: Corpus, calibrated: Calibrated, source: TextSource
) -> None:
    scored = scores_under_contract(corpus, calibrated.contract, source=source)
    with pytest.raises(CalibrationError, match="fire, water"):
        near_flagged(corpus, scored, calibrated.contract, "smoke", 5)


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_scores_are_written_for_other_programs(
    corpus: Corpus,
    source: TextSource,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    monkeypatch.setattr("clipcal.calibrate.score_file._ROWS_AT_ONCE", 70)
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    scored = score_corpus(corpus, prompt_vectors(corpus, prompt_set, source))
    write_scores(tmp_path / name, scored)
    read = pyarrow.csv.read_csv if name.endswith("csv") else pyarrow.parquet.read_table
    table = read(tmp_path / name)
    assert table.column_names == ["image", "fire_score", "water_score"]
    assert table["image"].to_pylist() == list(scored.uris)
    np.testing.assert_allclose(table["fire_score"].to_numpy(), scored.column("fire"), atol=1e-6)


def test_scores_are_refused_in_a_format_that_is_none(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    prompt_set = choose_prompt_set(corpus, str(tmp_path / "two.toml"))
    scored = score_corpus(corpus, prompt_vectors(corpus, prompt_set, source))
    with pytest.raises(CalibrationError, match=r"\.parquet"):
        write_scores(tmp_path / "scores.xls", scored)


def test_scores_cached_for_other_rows_are_not_taken(
    corpus: Corpus, source: TextSource, tmp_path: Path
) -> None:
    before = scores(corpus, tmp_path, source)
    corpus.close()
    for file in corpus.path.glob("corpus.db*"):
        file.unlink()
    other = Corpus.create(corpus.path, IDENTITY)
    add(other, IMAGES, seed=77)
    after = scores(other, tmp_path, source)
    assert not np.allclose(before, after)
    for cache in (corpus.path / "scores").iterdir():
        cache.unlink()
    np.testing.assert_allclose(after, scores(other, tmp_path, source), atol=1e-6)
