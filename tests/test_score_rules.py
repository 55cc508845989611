"""Score rules: what they compute, what they are called, and whose constants they take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit, softmax

from clipcal.calibrate.scoring.rules import MARGIN, RULE_NAMES, ScoreRule, rule_for
from clipcal.calibrate.scoring.scores import category_scores, decide
from clipcal.commands import common
from clipcal.errors import CalibrationError, FingerprintMismatch, PromptError
from clipcal.models.identity import ModelIdentity
from clipcal.models.registry import find_bundle
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.promptset import Category, PromptSet
from clipcal.prompts.vectors import TextVectors

SCALE = 40.0
OWN = ("a", "b", "c")
CATEGORIES = (
    Category("first", ("a", "b", "c"), ("d", "e"), "max"),
    Category("second", ("d", "f"), ("a",), "mean"),
    Category("third", ("g",), ("h", "b"), "max"),
)
COMPLETE = (
    MARGIN,
    ScoreRule("mean"),
    ScoreRule("max"),
    ScoreRule("softmax-contrast", SCALE),
    ScoreRule("sigmoid", SCALE, -3.5),
    ScoreRule("softmax-all", SCALE),
)
LOG_ODDS = [rule for rule in COMPLETE if rule.name.startswith("softmax")]


def prompts_of(*categories: Category) -> PromptVectors:
    names = tuple("abcdefgh")
    prompt_set = PromptSet("letters", (), ("{}",), categories)
    return build(prompt_set, TextVectors(names, np.eye(8, dtype=np.float32)))


@pytest.fixture(scope="module")
def prompts() -> PromptVectors:
    return prompts_of(*CATEGORIES)


def cosines(n: int, prompts: PromptVectors, seed: int = 0) -> np.ndarray:
    letters = np.random.default_rng(seed).uniform(-0.4, 0.6, size=(n, 8)).astype(np.float32)
    return letters @ prompts.matrix.T


def log_odds(shares: np.ndarray, mine: np.ndarray) -> np.ndarray:
    return np.log(shares[:, mine].sum(axis=1)) - np.log(shares[:, ~mine].sum(axis=1))


def in_words(rule: ScoreRule, similarities: np.ndarray, prompts: PromptVectors) -> np.ndarray:
    """Score one image at a time, in float64, as the rules are written."""
    x = similarities.astype(float)
    every = np.concatenate([x[:, own] for own, _ in prompts.columns], axis=1)
    ends = np.cumsum([len(c.prompts) for c in prompts.prompt_set.categories])
    scores = []
    for index, (category, (own, against)) in enumerate(
        zip(prompts.prompt_set.categories, prompts.columns, strict=True)
    ):
        pool = np.max if category.pool == "max" else np.mean
        mine = x[:, own]
        if rule.name == "margin":
            scores.append(pool(mine, axis=1) - pool(x[:, against], axis=1))
        elif rule.name == "sigmoid":
            scores.append(SCALE * pool(mine, axis=1) - 3.5)
        elif rule.name == "softmax-contrast":
            shares = softmax(SCALE * np.hstack([mine, x[:, against]]), axis=1)
            is_mine = np.arange(shares.shape[1]) < mine.shape[1]
            scores.append(log_odds(shares, is_mine))
        elif rule.name == "softmax-all":
            columns = np.arange(every.shape[1])
            is_mine = (columns < ends[index]) & (columns >= ends[index] - mine.shape[1])
            scores.append(log_odds(softmax(SCALE * every, axis=1), is_mine))
        else:
            scores.append({"mean": np.mean, "max": np.max}[rule.name](mine, axis=1))
    return np.stack(scores, axis=1)


@pytest.mark.parametrize("rule", COMPLETE, ids=str)
def test_every_rule_is_what_its_equation_says(rule, prompts):
    similarities = cosines(300, prompts)
    scores = category_scores(similarities, prompts, rule)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(in_words(rule, similarities, prompts), rel=1e-4, abs=2e-4)


def test_the_margin_is_what_is_taken_when_nothing_is_said(prompts):
    similarities = cosines(50, prompts)
    plain = category_scores(similarities, prompts)
    assert np.array_equal(plain, category_scores(similarities, prompts, MARGIN))
    assert str(MARGIN) == "margin"


@pytest.mark.parametrize("rule", LOG_ODDS, ids=str)
def test_decisions_on_log_odds_are_those_on_the_shares(rule, prompts):
    similarities = cosines(400, prompts, seed=1)
    scores = category_scores(similarities, prompts, rule)
    shares = 1 / (1 + np.exp(-in_words(rule, similarities, prompts)))
    for share in (0.01, 0.3, 0.5, 0.9, 0.999):
        clear = np.abs(shares - share) > 1e-5
        flags = decide(scores, np.float32(logit(share)))
        assert np.array_equal(flags[clear], (shares >= share)[clear])


@pytest.mark.parametrize("rule", LOG_ODDS, ids=str)
def test_log_odds_keep_the_order_where_shares_have_run_into_one(rule):
    prompts = prompts_of(Category("x", ("a",), ("b",)), Category("y", ("b",), ("a",)))
    letters = np.zeros((50, 8), np.float32)
    letters[:, 0] = np.linspace(0.6, 0.9, 50)
    scores = category_scores(letters @ prompts.matrix.T, prompts, replace(rule, scale=100.0))
    with np.errstate(under="ignore"):
        shares = (1 / (1 + np.exp(-scores[:, 0]))).astype(np.float32)
    assert len(np.unique(shares)) == 1
    assert (np.diff(scores[:, 0]) > 0).all()
    assert (np.diff(scores[:, 1]) < 0).all()


@pytest.mark.parametrize("rule", LOG_ODDS, ids=str)
def test_cosines_of_opposite_ends_give_finite_log_odds(rule, prompts):
    similarities = np.where(np.eye(prompts.matrix.shape[0]) > 0, 1, -1).astype(np.float32)
    assert np.isfinite(category_scores(similarities, prompts, replace(rule, scale=100.0))).all()


@pytest.mark.parametrize("rule", COMPLETE, ids=str)
def test_scores_are_the_same_in_any_cut_of_the_rows(rule, prompts):
    similarities = cosines(9000, prompts)
    whole = category_scores(similarities, prompts, rule)
    pieces = [category_scores(part, prompts, rule) for part in np.split(similarities, [1, 4097])]
    assert np.array_equal(whole, np.concatenate(pieces))


@pytest.mark.parametrize("rule", COMPLETE, ids=str)
def test_only_the_softmax_over_all_lets_categories_depend_on_each_other(rule, prompts):
    similarities = cosines(20, prompts)
    other = similarities.copy()
    other[:, prompts.columns[2].prompts] += 0.2
    before, after = (category_scores(x, prompts, rule) for x in (similarities, other))
    untouched = np.array_equal(before[:, :2], after[:, :2])
    assert untouched == (rule.name != "softmax-all")


@pytest.mark.parametrize("rule", COMPLETE, ids=str)
def test_a_similarity_that_is_nan_is_refused_by_every_rule(rule, prompts):
    similarities = cosines(20, prompts)
    similarities[7, prompts.columns[1].prompts] = np.nan
    with pytest.raises(CalibrationError, match="NaN"):
        category_scores(similarities, prompts, rule)


def test_what_the_prompt_set_lacks_is_said_with_what_to_do():
    alone = prompts_of(Category("bare", ("a",)))
    similarities = cosines(3, alone)
    with pytest.raises(PromptError, match="'bare'.*against.*margin"):
        category_scores(similarities, alone, ScoreRule("softmax-contrast", 100))
    with pytest.raises(PromptError, match="has one.*margin"):
        category_scores(similarities, alone, ScoreRule("softmax-all", 100))
    with pytest.raises(CalibrationError, match="lacks scale"):
        category_scores(similarities, alone, ScoreRule("sigmoid"))


finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e6)


@given(st.sampled_from(RULE_NAMES), positive, finite, st.booleans())
def test_a_rule_is_read_again_from_what_a_contract_says(name, scale, bias, bare):
    takes = ScoreRule(name).takes
    values = {} if bare else {key: {"scale": scale, "bias": bias}[key] for key in takes}
    rule = ScoreRule(name, **values)
    assert ScoreRule.parse(str(rule)) == rule
    assert rule.complete == (not takes or not bare)


def test_rules_are_written_shortly():
    assert str(ScoreRule("softmax-contrast", 100.0)) == "softmax-contrast(scale=100)"
    assert str(ScoreRule("sigmoid", 112.5, -16.25)) == "sigmoid(scale=112.5,bias=-16.25)"
    assert str(ScoreRule("max")) == "max"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "softmax",
        "margin(scale=100)",
        "max(bias=1)",
        "sigmoid(scale=100,scale=90)",
        "sigmoid(scale=many)",
        "softmax-all(scale=0)",
        "softmax-all(scale=-5)",
        "sigmoid(scale=nan,bias=0)",
        "sigmoid(scale=1,bias=inf)",
        "softmax-all(100)",
        "softmax-all(scale=100",
        "softmax-all()x",
    ],
)
def test_what_is_no_rule_is_refused_with_one_that_is(text):
    with pytest.raises(CalibrationError):
        ScoreRule.parse(text)


def test_constants_are_those_of_the_models_bundle():
    bundle = find_bundle("builtin")
    model = ModelIdentity.of_bundle(bundle)
    assert rule_for("softmax-contrast", model) == ScoreRule(
        "softmax-contrast", bundle.manifest.logit_scale
    )
    assert rule_for("softmax-all(scale=7)", model) == ScoreRule("softmax-all", 7)
    with pytest.raises(CalibrationError, match="bias.*margin"):
        rule_for("sigmoid", model)


def test_rules_without_constants_need_no_bundle():
    model = ModelIdentity("gone::model", "f" * 64, "p" * 64, 8, "nowhere")
    assert rule_for("margin", model) is not None
    assert str(rule_for("max", model)) == "max"


def test_imported_vectors_take_the_usual_scale_or_a_bundle_of_their_name():
    builtin = find_bundle("builtin")
    named = ModelIdentity.external(builtin.name, builtin.manifest.dim)
    assert str(rule_for("softmax-contrast", named)) == "softmax-contrast(scale=100)"
    scale = rule_for("softmax-contrast", named, "builtin").scale
    assert scale == builtin.manifest.logit_scale
    other = ModelIdentity.external("someone::else", 8)
    with pytest.raises(FingerprintMismatch, match="someone::else"):
        rule_for("softmax-contrast", other, "builtin")


def test_the_sigmoid_takes_scale_and_bias_of_a_model_that_has_both(monkeypatch):
    bundle = find_bundle("builtin")
    manifest = bundle.manifest.model_copy(update={"logit_scale": 112.5, "logit_bias": -16.25})
    siglip = replace(bundle, manifest=manifest)
    monkeypatch.setattr(ModelIdentity, "find_bundle", lambda _self, _name=None: siglip)
    rule = rule_for("sigmoid", ModelIdentity.of_bundle(bundle))
    assert rule == ScoreRule("sigmoid", 112.5, -16.25)


def test_the_command_line_offers_every_rule():
    assert common.RULES == RULE_NAMES
