"""Category scores and decisions."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipcal.calibrate.scoring.scores import category_scores, decide
from clipcal.errors import CalibrationError
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.promptset import Category, PromptSet
from clipcal.prompts.vectors import TextVectors

CATEGORIES = (
    Category("most", ("a", "b"), ("c", "d"), "max"),
    Category("average", ("b", "c", "d"), ("a",), "mean"),
    Category("plain", ("a", "d"), (), "max"),
)


@pytest.fixture(scope="module")
def prompts() -> PromptVectors:
    names = ("a", "b", "c", "d")
    prompt_set = PromptSet("test", (), ("{}",), CATEGORIES, {})
    return build(prompt_set, TextVectors(names, np.eye(4, dtype=np.float32), None))


def test_a_score_is_the_margin_of_own_prompts_over_own_contrasts(prompts):
    cosines = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    a, b, c, d = cosines.T
    expected = [
        np.maximum(a, b) - np.maximum(c, d),
        (b + c + d) / 3 - a,
        np.maximum(a, d),
    ]
    scores = category_scores(cosines @ prompts.matrix.T, prompts)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(np.stack(expected, axis=1), abs=1e-6)


def test_no_category_depends_on_another(prompts):
    cosines = np.random.default_rng(1).normal(size=(20, prompts.matrix.shape[0]))
    other = cosines.copy()
    other[:, prompts.columns[0].prompts] += 1
    before, after = (category_scores(s.astype(np.float32), prompts) for s in (cosines, other))
    assert np.array_equal(before[:, 1:], after[:, 1:])
    assert not np.array_equal(before[:, 0], after[:, 0])


def test_similarities_of_another_width_or_with_nan_are_refused(prompts):
    width = prompts.matrix.shape[0]
    with pytest.raises(CalibrationError, match="shape"):
        category_scores(np.zeros((3, width + 1), np.float32), prompts)
    with pytest.raises(CalibrationError, match="NaN"):
        category_scores(np.full((3, width), np.nan, np.float32), prompts)
    assert category_scores(np.zeros((0, width), np.float32), prompts).shape == (0, 3)


@given(
    arrays(np.float32, st.tuples(st.integers(0, 2100), st.integers(0, 4)), elements=st.just(0.5)),
    st.data(),
)
def test_an_image_is_flagged_exactly_at_or_above_its_threshold(scores, data):
    scores = scores + np.arange(scores.size, dtype=np.float32).reshape(scores.shape) % 3
    limits = np.array(
        data.draw(st.lists(st.sampled_from([0.5, 1.0, 1.5, 9.0]), min_size=4, max_size=4))
    )[: scores.shape[1]]
    expected = np.array(
        [[score >= limit for score, limit in zip(row, limits, strict=True)] for row in scores]
    ).reshape(scores.shape)
    for given_scores in (scores, np.asfortranarray(scores), np.repeat(scores, 2, axis=0)[::2]):
        assert np.array_equal(decide(given_scores, limits), expected)


@given(st.integers(-1_999_999, 1_999_999), st.integers(-3, 3))
def test_scores_written_with_shortest_digits_decide_alike_when_read_again(micro, steps):
    threshold = micro / 1e6
    score = np.float32(threshold)
    for _ in range(abs(steps)):
        score = np.nextafter(score, np.float32(np.copysign(9, steps)))
    line = io.StringIO()
    csv.writer(line).writerow([score, threshold])
    read, limit = (float(cell) for cell in line.getvalue().split(","))
    assert decide(np.array([score]), threshold)[0] == (read >= limit)


def test_thresholds_that_do_not_fit_or_are_nan_are_refused():
    scores = np.zeros((5, 3), np.float32)
    with pytest.raises(CalibrationError, match="thresholds"):
        decide(scores, [0.1, 0.2])
    with pytest.raises(CalibrationError, match="NaN"):
        decide(scores, [0.1, 0.2, np.nan])
    with pytest.raises(CalibrationError, match="NaN"):
        decide(np.full((5, 3), np.nan, np.float32), 0.1)
