"""Laws of the columns beside decisions: bands and probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels
from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.probabilities import (
    MapChoice,
    class_temperature,
    probabilities,
    with_probabilities,
)
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, parse_target
from clipcal.calibrate.decisions.columns import BANDS, band_codes, more_columns
from clipcal.calibrate.records import Bands, Cut
from clipcal.calibrate.statistics.probability import ClassTemperature
from clipcal.errors import CalibrationError

BINARY = ("negative", "positive")
LADDER = ("none", "minor", "major")
F1 = Goal(parse_target("f1"))
MAPS: list[MapChoice] = ["platt", "beta", "isotonic", "auto"]


def sample_of(scores: np.ndarray, values: np.ndarray) -> Sample:
    n, fair = len(values), np.ones(values.shape)
    scores = scores.astype(np.float32)
    return Sample(
        scores,
        values.astype(np.int8),
        np.arange(n),
        fair,
        fair > 0,
        np.arange(n),
        np.ones(n),
        np.zeros(scores.shape[1], np.int64),
    )


def random_case(seed: int, n: int = 240, levels: int = 3) -> Sample:
    rng = np.random.default_rng(seed)
    values = rng.binomial(levels - 1, rng.uniform(0.2, 0.6), (n, 2))
    return sample_of(values * rng.uniform(0.3, 1.5) + rng.normal(size=(n, 2)), values)


def contract_of(
    cuts: dict[str, dict[str, Cut]],
    levels: tuple[str, ...],
    temperature: ClassTemperature | None = None,
) -> Contract:
    return Contract(
        created="",
        clipcal="",
        model="",
        fingerprint=Fingerprint(model="", preprocessing="", prompts="", score_rule=""),
        prompt_set=KeptPromptSet(name="", sha256="", toml=""),
        labels=Labels(name="", sha256="", images=0),
        levels=levels,
        confidence=0.95,
        target="f1",
        seed=0,
        temperature=temperature,
        categories=cuts,
    )


def fitted(
    sample: Sample, choice: MapChoice, levels: tuple[str, ...] = LADDER, **more: bool
) -> tuple[Contract, tuple[str, ...]]:
    done = calibrate(sample, F1, sample.scores, ("a", "b"), levels, evaluating=Evaluating(draws=0))
    cuts, notes = with_probabilities(done.cuts, sample, sample.scores, choice, **more)
    return contract_of(cuts, levels), notes


# --- probabilities --------------------------------------------------------------------------


@given(st.integers(0, 5000), st.sampled_from(MAPS[:3]), st.booleans())
@settings(max_examples=25)
def test_probabilities_rise_with_the_score_and_fall_with_the_level(
    seed: int, choice: MapChoice, shift: bool
) -> None:
    contract, _ = fitted(random_case(seed), choice, prior_shift=shift)
    grid = np.repeat(np.linspace(-6, 8, 400)[:, None], 2, axis=1).astype(np.float32)
    columns = {c.name: c.values for c in more_columns(grid, ("a", "b"), contract)}
    for values in columns.values():
        assert ((values >= 0) & (values <= 1)).all()
        assert (np.diff(values) >= 0).all()
    for category in "ab":
        if {f"{category}_minor_probability", f"{category}_major_probability"} <= set(columns):
            minor, major = (columns[f"{category}_{x}_probability"] for x in ("minor", "major"))
            assert (major <= minor).all()


def test_a_yes_or_no_column_bears_the_categorys_name_alone() -> None:
    sample = random_case(1, levels=2)
    contract, notes = fitted(sample, "platt", BINARY)
    names = [column.name for column in more_columns(sample.scores, ("a", "b"), contract)]
    assert names == ["a_probability", "b_probability"]
    assert notes == ()


def test_a_platt_column_is_its_equation() -> None:
    sample = random_case(1, levels=2)
    contract, _ = fitted(sample, "platt", BINARY)
    (column, _) = more_columns(sample.scores, ("a", "b"), contract)
    kept = contract.categories["a"]["positive"].probability
    assert kept is not None
    slope, intercept, centre, scale = kept.map.parameters
    logits = slope * (sample.scores[:, 0].astype(np.float64) - centre) / scale + intercept
    np.testing.assert_allclose(column.values, 1 / (1 + np.exp(-logits)), rtol=1e-6)
    mean = float(np.mean(1 / (1 + np.exp(-logits))))
    assert kept.labelled_prevalence == pytest.approx(mean)


@pytest.mark.parametrize("choice", MAPS)
def test_too_few_labels_give_a_note_or_a_map_but_no_crash(choice: MapChoice) -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((12, 2), int)
    values[:3, 0] = 1  # the other category has no positive at all
    contract, notes = fitted(sample_of(rng.normal(size=(12, 2)), values), choice, BINARY)
    assert contract.categories["b"]["positive"].probability is None
    kept = contract.categories["a"]["positive"].probability
    if choice == "isotonic":
        assert kept is None
        assert [note.startswith("a, positive: no probabilities.") for note in notes] == [True]
    else:
        assert kept is not None
        assert kept.quality is None  # no fold could have both sides
        assert notes == ()


def test_a_shift_of_prevalence_moves_the_mean_towards_the_corpuss() -> None:
    # Positives make up half of the labels and a twentieth of the corpus.
    rng = np.random.default_rng(4)
    truth = np.r_[np.zeros(19_000), np.ones(1_000)]
    corpus = (1.5 * truth + rng.normal(size=20_000)).astype(np.float32)
    chosen = np.r_[rng.choice(19_000, 500, False), 19_000 + rng.choice(1_000, 500, False)]
    sample = sample_of(corpus[chosen, None], truth[chosen, None])
    done = calibrate(sample, F1, corpus[:, None], "a", BINARY, evaluating=Evaluating(draws=0))
    (plain, _), (shifted, _) = (
        with_probabilities(done.cuts, sample, corpus[:, None], "platt", prior_shift=shift)
        for shift in (False, True)
    )
    before, after = (c["a"]["positive"].probability for c in (plain, shifted))
    assert before is not None
    assert after is not None
    assert before.corpus_prevalence is None
    assert after.corpus_prevalence == pytest.approx(0.05, abs=0.02)
    assert after.labelled_prevalence == pytest.approx(0.5, abs=0.01)
    means = [float(probabilities(one, corpus).mean()) for one in (before, after)]
    assert means[0] > 0.2
    assert means[1] == pytest.approx(after.corpus_prevalence, abs=0.002)


# --- one class per image --------------------------------------------------------------------


def test_class_probabilities_add_up_and_order_classes_as_scores_do() -> None:
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 3, 200)
    values = np.eye(3, dtype=int)[classes]
    sample = sample_of(0.2 * (values + rng.normal(scale=0.7, size=values.shape)), values)
    temperature = class_temperature(sample, ("a", "b", "c"))
    assert temperature.quality is not None
    cuts = {name: {"positive": Cut(**CUT)} for name in "abc"}
    columns = more_columns(sample.scores, "abc", contract_of(cuts, BINARY, temperature))
    assert [c.name for c in columns] == ["a_probability", "b_probability", "c_probability"]
    table = np.stack([c.values for c in columns], axis=1)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(table.argmax(axis=1), sample.scores.argmax(axis=1))
    by_hand = np.exp(sample.scores.astype(np.float64) / temperature.temperature)
    np.testing.assert_allclose(table, by_hand / by_hand.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, 1], [0, 1]]),
        np.array([[0, 0], [0, 1]]),
        np.empty((0, 2), int),
        np.array([[-1, 1]]),
    ],
)
def test_a_temperature_takes_exactly_one_class_per_image(values: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match=r"exactly one .* --probabilities auto"):
        class_temperature(sample_of(np.zeros(values.shape), values), ("a", "b"))


# --- bands ----------------------------------------------------------------------------------

CUT = {"status": "estimated", "threshold": 0.5, "objective": "recall=0.9", "next_step": ""}
CUT |= {"n": 9, "positives": 3}


def banded(lower: float | None, upper: float | None) -> Cut:
    numbers = {"allow": 0, "review": 0, "block": 0, "next_step": "", "objective": ""}
    bands = Bands(status="certified" if upper else "insufficient", upper=upper, **numbers)
    status = "certified" if lower else "insufficient"
    return Cut(**{**CUT, "status": status, "threshold": lower, "bands": bands})


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (0.2, 0.8, ["allow", "review", "review", "block", "block"]),
        (0.2, None, ["allow", "review", "review", "review", "review"]),
        (None, 0.8, ["review", "review", "review", "block", "block"]),
        (None, None, ["review"] * 5),
        (0.8, 0.8, ["allow", "allow", "allow", "block", "block"]),
    ],
)
def test_bands_allow_below_review_between_and_block_from_the_upper_on(
    lower: float | None, upper: float | None, expected: list[str]
) -> None:
    scores = np.array([0.1, 0.2, 0.5, 0.8, 0.9], np.float32)
    cut = banded(lower, upper)
    assert [BANDS[code] for code in band_codes(scores, cut)] == expected
    two = contract_of({"a": {"minor": cut, "major": cut}}, LADDER)
    columns = more_columns(scores[:, None], ("a",), two)
    assert [column.name for column in columns] == ["a_minor_band", "a_major_band"]
    assert columns[0].counts() == {band: expected.count(band) for band in BANDS}


def test_an_uncertified_threshold_allows_nothing_unseen() -> None:
    scores = np.array([0.1, 0.5, 0.9], np.float32)
    cut = banded(0.2, 0.8).model_copy(update={"status": "insufficient"})
    assert [BANDS[code] for code in band_codes(scores, cut)] == ["review", "review", "block"]


def test_a_contract_without_more_has_no_more_columns() -> None:
    plain = contract_of({"a": {"positive": Cut(**CUT)}}, BINARY)
    assert more_columns(np.zeros((3, 1), np.float32), ("a",), plain) == []
