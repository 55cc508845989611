"""Learned scores: laws of the fits, and no head where there is nothing to gain."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from clipcal.calibrate.heads.fit import (
    MOST_KEYS,
    draw_voters,
    fit_probe,
    fit_tip_adapter,
    probe_path,
)
from clipcal.calibrate.heads.head import Head, encoded, nearness
from clipcal.calibrate.heads.offer import offer_head
from clipcal.calibrate.statistics.auc import auc
from clipcal.calibrate.statistics.resampling import near_copies
from clipcal.errors import CalibrationError

HEADS = TypeAdapter(Head)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def labelled(
    rng: np.random.Generator, n: int, dim: int, *, text: float, hidden: float, share: float = 0.4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, labels and the text's direction; classes differ along it and along another."""
    positive = np.zeros(n, bool)
    positive[: round(n * share)] = True
    x = rng.normal(size=(n, dim))
    x[positive, 0] += text
    x[positive, 1] += hidden
    order = rng.permutation(n)
    return unit(x)[order].astype(np.float32), positive[order], np.eye(dim)[0]


# --- the probe --------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [6, 300])
def test_with_a_great_penalty_the_probe_orders_as_the_text_does(dim):
    x, positive, towards = labelled(np.random.default_rng(0), 100, dim, text=2, hidden=2)
    scores = fit_probe(x, positive, towards, 1e9).score(x, np.zeros(100))
    assert np.corrcoef(scores, x @ towards)[0, 1] > 1 - 1e-9


def test_with_a_great_penalty_the_text_keeps_its_order_even_where_labels_contradict_it():
    x, positive, towards = labelled(np.random.default_rng(0), 100, 6, text=2, hidden=0)
    scores = fit_probe(x, ~positive, towards, 1e9).score(x, np.zeros(100))
    assert np.corrcoef(scores, x @ towards)[0, 1] > 1 - 1e-6


def test_without_a_penalty_the_probe_is_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, positive, towards = labelled(np.random.default_rng(1), 400, 5, text=1, hidden=1, share=0.2)
    oracle = linear_model.LogisticRegression(
        C=1e9, class_weight="balanced", tol=1e-10, max_iter=5000
    ).fit(x, positive)
    (fitted,) = probe_path(x, positive, towards, [1e-9])
    assert fitted.weights == pytest.approx(oracle.coef_[0], rel=1e-3, abs=1e-3)
    assert fitted.intercept == pytest.approx(oracle.intercept_[0], abs=1e-3)


@pytest.mark.parametrize("penalty", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("dim", [5, 80])
def test_with_any_penalty_the_probe_is_ridge_on_what_the_text_does_not_explain(penalty, dim):
    linear_model = pytest.importorskip("sklearn.linear_model")
    n = 60
    x, positive, towards = labelled(np.random.default_rng(2), n, dim, text=1, hidden=2)
    # A column that is scaled up pays less for its share: here that of the text, n / 1000.
    text = x @ towards / np.std(x @ towards)
    columns = np.column_stack([text / math.sqrt(n / 1000), x / math.sqrt(penalty)])
    oracle = linear_model.LogisticRegression(
        C=1, class_weight="balanced", tol=1e-10, max_iter=20_000
    ).fit(columns, positive)
    (fitted,) = probe_path(x, positive, towards, [penalty])
    ours = x @ fitted.weights + fitted.intercept
    assert ours == pytest.approx(oracle.decision_function(columns), abs=2e-3)


@given(st.integers(0, 1000), st.floats(-2, 3))
@settings(max_examples=15, deadline=None)
def test_a_smaller_penalty_never_fits_worse(seed, text):
    x, positive, towards = labelled(np.random.default_rng(seed), 50, 20, text=text, hidden=1)
    signs = np.where(positive, 1, -1)
    weights = np.where(positive, 1 / positive.sum(), 1 / (~positive).sum()) / 2
    losses = [
        weights @ np.logaddexp(0, -signs * (x @ each.weights + each.intercept))
        for each in probe_path(x, positive, towards, [100, 1, 0.01])
    ]
    assert losses[0] >= losses[1] - 1e-4
    assert losses[1] >= losses[2] - 1e-4


def test_twenty_labels_in_many_dimensions_give_a_probe_that_is_better_than_chance():
    rng = np.random.default_rng(3)
    x, positive, towards = labelled(rng, 20, 512, text=8, hidden=8)
    new, truth, _ = labelled(rng, 2000, 512, text=8, hidden=8)
    scores = fit_probe(x, positive, towards, 0.5).score(new, np.zeros(2000))
    assert auc(scores, truth) > auc(new @ towards, truth) - 0.02


def test_a_weight_of_two_is_an_image_twice():
    x, positive, towards = labelled(np.random.default_rng(4), 40, 6, text=1, hidden=1)
    twice = np.random.default_rng(0).random(40) < 0.5
    (weighed,) = probe_path(x, positive, towards, [1e-9], 1.0 + twice)
    (repeated,) = probe_path(
        np.concatenate([x, x[twice]]), np.concatenate([positive, positive[twice]]), towards, [1e-9]
    )
    assert weighed.weights == pytest.approx(repeated.weights, rel=1e-2, abs=1e-2)


# --- Tip-Adapter ------------------------------------------------------------------------------


def test_tip_adapter_is_its_equation():
    rng = np.random.default_rng(5)
    x, positive, towards = labelled(rng, 60, 16, text=1, hidden=1, share=0.25)
    plain = x @ towards
    head = fit_tip_adapter(x, positive, plain, 2.0, 5.0, rng)
    new = unit(rng.normal(size=(30, 16))).astype(np.float32)
    votes = np.zeros((30, 60))
    for i in range(30):
        for k in range(60):
            vote = 1 / positive.sum() if positive[k] else -1 / (~positive).sum()
            votes[i, k] = math.exp(-5 * (1 - float(new[i] @ x[k]))) * vote
    expected = new @ towards / plain.std() + head.parameters["alpha"] * votes.sum(axis=1)
    assert head.score(new, new @ towards) == pytest.approx(expected, abs=1e-4)


def test_without_votes_tip_adapter_orders_as_the_plain_score_does():
    rng = np.random.default_rng(6)
    x, positive, towards = labelled(rng, 60, 16, text=1, hidden=1)
    plain = x @ towards
    scores = fit_tip_adapter(x, positive, plain, 0.0, 5.0, rng).score(x, plain)
    assert np.array_equal(np.argsort(scores), np.argsort(plain))


@pytest.mark.parametrize(("n", "own"), [(100, 30), (1000, 500), (1000, 20), (1000, 950)])
def test_voters_are_few_and_as_even_as_the_labels_allow(n, own):
    positive = np.arange(n) < own
    voters = draw_voters(positive, np.random.default_rng(0))
    assert len(np.unique(voters)) == len(voters) == min(n, MOST_KEYS)
    if n > MOST_KEYS:
        least = min(MOST_KEYS // 2, own, n - own)
        assert min(positive[voters].sum(), (~positive[voters]).sum()) == least


# --- what a head is ---------------------------------------------------------------------------


def some_heads() -> list[tuple[Head, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    x, positive, towards = labelled(rng, 300, 24, text=1, hidden=1)
    plain = (x @ towards).astype(np.float32)
    return [
        (head, x, plain)
        for head in (
            fit_probe(x, positive, towards, 0.1),
            fit_tip_adapter(x, positive, plain, 1.0, 3.0, rng),
        )
    ]


def test_a_head_read_from_json_gives_the_same_scores_bit_for_bit():
    for head, x, plain in some_heads():
        again = HEADS.validate_json(HEADS.dump_json(head))
        assert again == Head(**json.loads(json.dumps(dataclasses.asdict(head))))
        assert again.score(x, plain).tobytes() == head.score(x, plain).tobytes()


def test_scores_do_not_depend_on_the_block_and_six_decimals_tell_them_apart():
    for head, x, plain in some_heads():
        whole = head.score(x, plain)
        assert whole.dtype == np.float32
        single = np.concatenate([head.score(x[i : i + 1], plain[i : i + 1]) for i in range(300)])
        assert whole == pytest.approx(single, abs=1e-5)
        assert 0.1 < whole.std() < 10
        assert np.abs(whole).max() < 20
        assert len(np.unique(np.floor(whole * 1e6))) > 290


def test_more_rows_than_a_block_are_scored_as_few_are():
    for head, x, plain in some_heads():
        many, scores = np.tile(x, (40, 1)), np.tile(plain, 40)
        assert head.score(many, scores) == pytest.approx(
            np.tile(head.score(x, plain), 40), abs=1e-5
        )


def test_half_precision_embeddings_score_alike():
    for head, x, plain in some_heads():
        assert head.score(x.astype(np.float16), plain) == pytest.approx(
            head.score(x, plain), abs=0.02
        )


def test_embeddings_of_another_model_are_refused():
    for head, x, plain in some_heads():
        with pytest.raises(CalibrationError, match="length 24"):
            head.score(x[:, :20], plain)
        with pytest.raises(CalibrationError, match="299 scores"):
            head.score(x, plain[:-1])


def test_a_score_that_is_no_number_is_refused():
    for head, x, plain in some_heads():
        broken = x.copy()
        broken[3, 0] = np.nan
        with pytest.raises(CalibrationError, match="NaN"):
            head.score(broken, plain)


@pytest.mark.parametrize("content", ["!", "AAA=", encoded(np.zeros(5)), None])
def test_a_damaged_head_says_so(content):
    for head, x, plain in some_heads():
        name = next(iter(head.arrays))
        arrays = head.arrays | {name: content} if content else {}
        with pytest.raises(CalibrationError, match=f"damaged: {name}"):
            dataclasses.replace(head, arrays=arrays).score(x, plain)
        with pytest.raises(CalibrationError, match="damaged"):
            dataclasses.replace(head, parameters={}).score(x, plain)


def test_an_embedding_is_nearest_to_itself():
    x = unit(np.random.default_rng(0).normal(size=(20, 8))).astype(np.float32)
    near = nearness(x, x, 4.0)
    assert np.diag(near) == pytest.approx(1, abs=1e-5)
    assert (near.argmax(axis=1) == np.arange(20)).all()


def test_one_class_or_another_models_text_is_refused():
    rng = np.random.default_rng(0)
    x, positive, towards = labelled(rng, 30, 6, text=1, hidden=1)
    with pytest.raises(CalibrationError, match="positives and negatives"):
        fit_probe(x, np.ones(30, bool), towards, 1.0)
    with pytest.raises(CalibrationError, match="positives and negatives"):
        fit_tip_adapter(x, np.zeros(30, bool), np.zeros(30), 1.0, 1.0, rng)
    with pytest.raises(CalibrationError, match="do not fit"):
        fit_probe(x, positive, towards[:-1], 1.0)


# --- whether to have one ----------------------------------------------------------------------


def test_noise_is_offered_no_head():
    offered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, positive, towards = labelled(rng, 40, 4, text=0, hidden=0)
        comparison, head = offer_head(x, positive, towards, x @ towards, np.arange(40), seed)
        assert comparison is not None
        assert (head is not None) is comparison.offered
        offered += comparison.offered
    # At 0.025 each, five or more of 40 come up once in 300.
    assert offered <= 4


def test_noisy_copies_in_every_fold_would_deceive_but_for_clusters():
    rng = np.random.default_rng(0)
    x, positive, towards = labelled(rng, 24, 16, text=0, hidden=0, share=0.5)
    x, positive = np.repeat(x, 5, axis=0), np.repeat(positive, 5)
    of_copies = near_copies(x)
    plain = x @ towards
    whole, none = offer_head(x, positive, towards, plain, of_copies, 0)
    divided, some = offer_head(x, positive, towards, plain, np.arange(120), 0)
    assert none is None
    assert whole.learned.value < 0.75
    assert some is not None
    assert divided.learned.value > 0.95


def test_a_head_that_sees_what_the_text_misses_is_offered_and_does_what_was_said():
    rng = np.random.default_rng(8)
    x, positive, towards = labelled(rng, 200, 16, text=1, hidden=4)
    comparison, head = offer_head(x, positive, towards, x @ towards, np.arange(200), 0)
    assert comparison.offered
    assert comparison.gain.value == pytest.approx(comparison.learned.value - comparison.plain.value)
    new, truth, _ = labelled(rng, 4000, 16, text=1, hidden=4)
    attained = auc(head.score(new, new @ towards), truth)
    assert comparison.learned.low - 0.02 < attained < comparison.learned.high + 0.02
    assert comparison.plain.low < auc(new @ towards, truth) < comparison.plain.high


def test_the_same_seed_makes_the_same_offer():
    rng = np.random.default_rng(9)
    x, positive, towards = labelled(rng, 100, 8, text=1, hidden=4)
    given_labels = (x, positive, towards, x @ towards, np.arange(100))
    assert offer_head(*given_labels, 3) == offer_head(*given_labels, 3)


@pytest.mark.parametrize("copies", [1, 12])
def test_too_few_labels_or_clusters_make_no_comparison(copies):
    rng = np.random.default_rng(0)
    x, positive, towards = labelled(rng, 40, 8, text=1, hidden=4, share=0.1)
    x, positive = np.repeat(x, copies, axis=0), np.repeat(positive, copies)
    clusters = np.repeat(np.arange(40), copies)
    assert offer_head(x, positive, towards, x @ towards, clusters, 0) == (None, None)


def test_labels_scores_and_embeddings_must_be_of_the_same_images():
    rng = np.random.default_rng(0)
    x, positive, towards = labelled(rng, 40, 8, text=1, hidden=4)
    plain, clusters = x @ towards, np.arange(40)
    for wrong in (
        (x[:-1], positive, towards, plain, clusters),
        (x, positive, towards[:-1], plain, clusters),
        (x, positive, towards, plain[:-1], clusters),
        (x, positive, towards, plain, clusters[:-1]),
    ):
        with pytest.raises(CalibrationError, match="do not fit"):
            offer_head(*wrong, 0)


def test_on_real_embeddings_birds_are_told_better_with_labels(shared_data):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = shared_data / "cifar10h-vitb32"
    if not folder.is_dir():
        pytest.skip("the real embeddings (../shared/data/cifar10h-vitb32) are not here")
    x = np.concatenate([np.load(path) for path in sorted((folder / "img_emb").glob("*.npy"))])
    paths = [
        path
        for shard in sorted((folder / "metadata").glob("*.parquet"))
        for path in parquet.read_table(shard)["image_path"].to_pylist()
    ]
    with (folder / "human.csv").open() as file:
        labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
    positive = np.array([labels[path] == "bird" for path in paths])
    with np.load(folder / "text_vectors.npz") as vectors:
        towards = vectors["vectors"][vectors["prompts"].tolist().index("a Bird")]
    plain = (x.astype(np.float32) @ towards).astype(np.float32)
    comparison, head = offer_head(x, positive, towards, plain, near_copies(x), 0)
    assert comparison.plain.value == pytest.approx(0.963, abs=0.01)
    assert comparison.learned.value > 0.985
    assert comparison.offered
    assert head.dim == 512
