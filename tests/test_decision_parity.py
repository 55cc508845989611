"""Laws of decision parity: what flips is counted, over images, and shown from the threshold on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from planted_contract import Thresholds, planted_contract, prompt_set

pytest.importorskip("onnx")
from small_bundle import write_bundle

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decision_parity import (
    NEAREST,
    DecisionParity,
    Side,
    compare_decisions,
    images_to_show,
    require_reference,
)
from clipcal.calibrate.heads.head import Head, encoded
from clipcal.calibrate.statistics.bounds import clopper_pearson
from clipcal.commands import decision_check
from clipcal.commands.decision_check import CalibratedDecisions
from clipcal.errors import CalibrationError, FingerprintMismatch, ParityFailure
from clipcal.models.bundle import Bundle, Precision, fingerprint_of
from clipcal.models.identity import ModelIdentity
from clipcal.models.session import open_text_encoder
from clipcal.models.verification import DecisionRecord
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.promptset import PromptSet
from clipcal.prompts.vectors import TextVectors

TWO = prompt_set(
    """
levels = ["none", "minor", "major"]
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
"""
)
ONE = prompt_set('[category.fire]\nprompts = ["a fire"]\nagainst = ["the sea"]\n')
LEVELS = ("none", "minor", "major")
NONE: Thresholds = {"fire": {"minor": None, "major": None}, "water": {"minor": None, "major": None}}


def vectors(chosen: PromptSet) -> PromptVectors:
    """Text vectors along the axes: a cosine with the first sentence is the first number."""
    rows = np.eye(len(chosen.sentences), 3, dtype=np.float32)
    return build(chosen, TextVectors(chosen.sentences, rows))


def images(*cosines: tuple[float, float]) -> np.ndarray:
    """Embeddings with these cosines with both sentences."""
    both = np.array(cosines)
    rest = np.sqrt(1 - np.square(both).sum(axis=1, keepdims=True))
    return np.hstack([both, rest]).astype(np.float32)


def compare(before: np.ndarray, after: np.ndarray, contract: Contract) -> DecisionParity:
    text = vectors(contract.prompt_set.parse())
    names = [f"{number}.jpg" for number in range(len(before))]
    return compare_decisions(names, Side(before, text), Side(after, text), contract)


def contract_for(thresholds: Thresholds, **more: object) -> Contract:
    return planted_contract(TWO, {**NONE, **thresholds}, levels=LEVELS, **more)


# --- counting ---------------------------------------------------------------------------------


def test_the_same_embeddings_decide_the_same_and_the_interval_says_how_little_that_is() -> None:
    some = images((0.1, 0.2), (0.3, 0.4), (0.5, 0.1))
    (fire,) = compare(some, some, contract_for({"fire": {"minor": 0.3, "major": 0.4}})).categories
    assert fire.flips == 0
    assert fire.shift == 0
    assert fire.share.low == 0
    assert fire.share.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert [cut.flips for cut in fire.cuts] == [0, 0]


def test_an_image_whose_score_crosses_a_threshold_flips() -> None:
    before = images((0.10, 0), (0.32, 0), (0.60, 0))
    after = images((0.12, 0), (0.28, 0), (0.65, 0))
    (fire,) = compare(before, after, contract_for({"fire": {"minor": 0.3}})).categories
    (cut,) = fire.cuts
    assert (fire.category, fire.flips, cut.level, cut.flips) == ("fire", 1, "minor", 1)
    assert fire.share == clopper_pearson(1, 3)
    assert fire.shift == pytest.approx(0.05, abs=1e-3)
    assert [(near.image, near.flipped) for near in cut.nearest] == [
        ("1.jpg", True),
        ("0.jpg", False),
        ("2.jpg", False),
    ]
    assert cut.nearest[0].reference == pytest.approx(0.32, abs=1e-3)
    assert cut.nearest[0].candidate == pytest.approx(0.28, abs=1e-3)


def test_an_image_that_crosses_two_thresholds_is_one_flip_of_the_category() -> None:
    before, after = images((0.1, 0), (0.1, 0)), images((0.5, 0), (0.1, 0))
    found = compare(before, after, contract_for({"fire": {"minor": 0.2, "major": 0.4}}))
    (fire,) = found.categories
    assert [cut.flips for cut in fire.cuts] == [1, 1]
    assert (fire.flips, fire.share.value, fire.share.n) == (1, 0.5, 2)


def test_categories_are_counted_each_by_itself_and_the_worst_is_named() -> None:
    before, after = images((0.1, 0.1), (0.1, 0.1)), images((0.1, 0.5), (0.1, 0.5))
    found = compare(before, after, contract_for({"fire": {"minor": 0.3}, "water": {"minor": 0.3}}))
    assert [(each.category, each.flips) for each in found.categories] == [("fire", 0), ("water", 2)]
    assert found.worst.category == "water"


def test_what_has_no_threshold_decides_nothing() -> None:
    some = images((0.1, 0.2))
    found = compare(some, some, contract_for({"water": {"major": 0.3}}))
    assert [each.category for each in found.categories] == ["water"]
    assert [cut.level for cut in found.categories[0].cuts] == ["major"]
    with pytest.raises(CalibrationError, match=r"no threshold.*clipcal calibrate"):
        compare(some, some, contract_for({}))


def test_every_flip_is_listed_nearest_first_and_others_only_fill_up() -> None:
    scores = [0.3 + 0.01 * number for number in (7, 3, 5, 1, 2, 6, 4)]
    before = images(*((score, 0.0) for score in scores), (0.25, 0))
    after = images(*((0.1, 0.0) for _ in scores), (0.25, 0))
    (fire,) = compare(before, after, contract_for({"fire": {"minor": 0.3}})).categories
    nearest = fire.cuts[0].nearest
    assert len(nearest) == len(scores) > NEAREST
    assert [near.reference for near in nearest] == sorted(near.reference for near in nearest)
    assert all(near.flipped for near in nearest)


@given(
    scores=st.lists(st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)), min_size=1, max_size=30),
    thresholds=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)).map(sorted),
)
def test_flips_do_not_depend_on_which_side_is_called_the_reference(
    scores: list[tuple[float, float]], thresholds: list[float]
) -> None:
    before = images(*((first, 0.0) for first, _ in scores))
    after = images(*((second, 0.0) for _, second in scores))
    low, high = (round(each, 6) for each in thresholds)
    contract = contract_for({"fire": {"minor": low, "major": high}})
    (one,), (other,) = (
        compare(*sides, contract).categories for sides in ((before, after), (after, before))
    )
    assert (one.flips, one.share, one.shift) == (other.flips, other.share, other.shift)
    assert max(cut.flips for cut in one.cuts) <= one.flips <= sum(cut.flips for cut in one.cuts)


def test_embeddings_count_as_a_corpus_stores_them() -> None:
    before = images((0.3, 0))
    after = np.nextafter(before, np.float32(0))  # the same in float16
    threshold = float(before.astype(np.float16)[0, 0])
    (fire,) = compare(before, after, contract_for({"fire": {"minor": threshold}})).categories
    assert (fire.flips, fire.shift) == (0, 0)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_as_many_images_as_are_named_show_a_share_and_one_less_does_not(share: float) -> None:
    needed = images_to_show(share)
    assert needed is not None
    assert clopper_pearson(0, needed).high <= share < clopper_pearson(0, needed - 1).high


def test_no_number_of_images_shows_that_nothing_ever_flips() -> None:
    assert images_to_show(0) is None
    assert images_to_show(1) == 1


# --- rules and heads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "threshold"), [("margin", 0.1), ("max", 0.3), ("softmax-contrast(scale=100)", 10.0)]
)
def test_scores_follow_the_rule_of_the_contract(rule: str, threshold: float) -> None:
    contract = planted_contract(ONE, {"fire": {"positive": threshold}}, rule=rule)
    before, after = images((0.32, 0.2), (0.5, 0.2)), images((0.28, 0.2), (0.5, 0.2))
    (fire,) = compare(before, after, contract).categories
    assert fire.flips == 1
    assert fire.cuts[0].nearest[0].image == "0.jpg"


def test_a_learned_score_takes_the_place_of_the_rules() -> None:
    direction = encoded(np.array([0, 0, 1], np.float32))
    head = Head("probe", 3, {"direction": direction}, {"intercept": 0.0})
    learned = planted_contract(ONE, {"fire": {"positive": 0.9}}, heads={"fire": head})
    before, after = images((0.1, 0.1)), images((0.5, 0.5))
    (fire,) = compare(before, after, learned).categories
    assert fire.flips == 1  # by the rule both are 0
    assert fire.cuts[0].nearest[0].reference == pytest.approx(np.sqrt(0.98), abs=1e-3)


def test_different_images_are_refused() -> None:
    contract = contract_for({"fire": {"minor": 0.3}})
    with pytest.raises(CalibrationError, match="same images"):
        compare(images((0.1, 0)), images((0.1, 0), (0.2, 0)), contract)
    with pytest.raises(CalibrationError, match="at least one"):
        compare(images((0.1, 0))[:0], images((0.1, 0))[:0], contract)


# --- whose contract ---------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


def fitted_with(bundle: Bundle, **other: str) -> Contract:
    identity = ModelIdentity.of_bundle(bundle)
    own = {"model": identity.fingerprint, "preprocessing": identity.preprocessing}
    return planted_contract(ONE, {"fire": {"positive": 0.1}}, **{**own, **other})


def test_a_contract_of_the_fp32_bundle_is_accepted(bundle: Bundle) -> None:
    require_reference(fitted_with(bundle), bundle)


def test_what_differs_is_named(bundle: Bundle) -> None:
    half = fingerprint_of(bundle.manifest.model_copy(update={"precision": "fp16"}))
    for other, said in (
        ({"model": "0" * 64}, "the model differs"),
        ({"preprocessing": "0" * 64}, "preprocessing differs"),
        ({"model": half}, "precision differs"),
    ):
        with pytest.raises(FingerprintMismatch, match=rf"{said}.*clipcal calibrate"):
            require_reference(fitted_with(bundle, **other), bundle)


# --- what would serve -------------------------------------------------------------------------


class Served:
    """An image encoder that gives every image the same embedding."""

    batch_sizes, streams, note = (4,), 1, None
    provider, arithmetic = "TensorrtExecutionProvider", "tf32"

    def __init__(self, row: np.ndarray) -> None:
        self.row, self.dim = row, len(row)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return np.tile(self.row, (len(pixels), 1))


Check = Callable[[Precision, float], DecisionRecord]


@pytest.fixture
def check(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Compare a precision whose embeddings are the reference's times a number."""
    fire, sea = open_text_encoder(bundle, device="cpu").encode(ONE.sentences)
    row = (fire - sea) / np.linalg.norm(fire - sea)
    fitted_with(bundle).save(tmp_path / "calibration.json")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        Image.new("RGB", (40, 40), "red").save(file)

    def compared(precision: Precision, times: float) -> DecisionRecord:
        monkeypatch.setattr(
            decision_check,
            "open_image_encoder",
            lambda _, device="auto": Served(row if device == "cpu" else row * np.float32(times)),
        )
        manifest = bundle.manifest.model_copy(update={"precision": precision})
        decisions = CalibratedDecisions(tmp_path / "calibration.json", 0.5)
        return decisions.compare(bundle, replace(bundle, manifest=manifest), files)

    return compared


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_flips_too_much_is_refused(check: Check, precision: Precision) -> None:
    assert check(precision, 1).categories["fire"].flips == 0
    with pytest.raises(ParityFailure, match=f"{precision} decides 3 of 3.*Take --precision fp32"):
        check(precision, -1)


def test_fp32_is_never_refused_for_what_a_run_time_makes_of_it(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("fp32", -1).categories["fire"].flips == 3
    said = capsys.readouterr().err
    assert "3 of 3 images" in said
    assert "in tf32" in said
    assert "--device cpu" in said


@pytest.mark.parametrize(
    ("precision", "advice"),
    [("fp16", "--precision fp32"), ("int8", "--precision fp32"), ("fp32", "clipcal doctor")],
)
def test_embeddings_that_are_no_numbers_are_refused_as_such(
    check: Check, precision: Precision, advice: str
) -> None:
    with pytest.raises(ParityFailure, match=f"{precision} gives no finite embedding of 3 of 3"):
        check(precision, float("nan"))
    with pytest.raises(ParityFailure, match=advice):
        check(precision, float("inf"))
