"""The calibration file, and its refusal to serve what it was not fitted to."""

from __future__ import annotations

import json

import pytest

from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels, check
from clipcal.calibrate.records import Cut, Evaluation, HeldOut
from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.errors import CalibrationError, FingerprintMismatch

FINGERPRINT = Fingerprint(
    model="a" * 64, preprocessing="b" * 64, prompts="c" * 64, score_rule="margin"
)
CUT = Cut(
    status="certified",
    threshold=0.031241,
    objective="recall=0.9",
    n=100,
    positives=61,
    recall=Estimate(0.97, 0.9, 0.99, 61),
    precision=None,
    flags=7,
    guarantee="With 95% confidence …",
    next_step="Apply it to the corpus: clipcal rescore",
)


@pytest.fixture
def contract() -> Contract:
    held = HeldOut(n=9, positives=0, flags=0, recall=None, precision=None, f1=None)
    return Contract(
        created="2024-05-06T07:08:09+00:00",
        clipcal="0.1.0",
        model="ViT-B-32::openai",
        fingerprint=FINGERPRINT,
        prompt_set=KeptPromptSet(name="moderation", sha256="d" * 64, toml=""),
        labels=Labels(name="human.csv", sha256="e" * 64, images=100),
        levels=("negative", "positive"),
        confidence=0.95,
        target="recall=0.9",
        seed=0,
        holdout=Evaluation(
            fraction=0.1,
            images=9,
            clusters=9,
            macro_f1=None,
            macro_over=0,
            categories={"wéapons": {"positive": held}},
        ),
        categories={"wéapons": {"positive": CUT}},
    )


def test_a_contract_is_read_as_it_was_written(contract, tmp_path):
    path = tmp_path / "calibration.json"
    contract.save(path)
    assert Contract.load(path) == contract
    assert json.loads(path.read_text("utf-8"))["categories"]["wéapons"]["positive"]["flags"] == 7
    contract.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.json"]


def test_a_failed_write_leaves_the_old_file(contract, tmp_path, monkeypatch):
    path = tmp_path / "calibration.json"
    contract.save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CalibrationError, match="No space left"):
        contract.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["calibration.json"]


def test_a_folder_that_is_not_there_is_named(contract, tmp_path):
    with pytest.raises(CalibrationError, match=r"absent.*clipcal calibrate"):
        contract.save(tmp_path / "absent" / "calibration.json")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(CalibrationError, match=r"no calibration.*clipcal calibrate --labels"):
        Contract.load(tmp_path / "none.json")
    with pytest.raises(CalibrationError, match="cannot be read"):
        Contract.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("format_version", 1), ("confidence", 1.5), ("surprise", 1), ("levels", ["one"])],
)
def test_a_changed_file_is_refused_by_the_name_of_the_field(contract, tmp_path, field, value):
    path = tmp_path / "calibration.json"
    content = json.loads(contract.model_dump_json()) | {field: value}
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match=field):
        Contract.load(path)


def test_a_threshold_changed_by_hand_is_noticed(contract, tmp_path):
    path = tmp_path / "calibration.json"
    contract.save(path)
    text = path.read_text("utf-8")
    path.write_text(text.replace("0.031241", "0.021241"), "utf-8")
    with pytest.raises(CalibrationError, match=r"changed after it was fitted.*clipcal calibrate"):
        Contract.load(path)
    path.write_text(json.dumps(json.loads(text)), "utf-8")
    assert Contract.load(path) == contract  # another layout of the same content


def test_half_a_file_is_refused(contract, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(contract.sealed()[:-100])
    with pytest.raises(CalibrationError, match="Fit it again: clipcal calibrate"):
        Contract.load(path)


def test_equal_fingerprints_pass():
    check(FINGERPRINT, FINGERPRINT.model_copy())


@pytest.mark.parametrize("field", Fingerprint.model_fields)
def test_a_fingerprint_that_differs_is_refused_by_field_both_values_and_next_command(field):
    other = FINGERPRINT.model_copy(update={field: "0123456789abcdef" * 4})
    with pytest.raises(FingerprintMismatch) as caught:
        check(FINGERPRINT, other)
    message = str(caught.value)
    assert f"({field} differs)" in message
    assert f"{getattr(FINGERPRINT, field)[:12]}" in message
    assert "0123456789ab…" in message
    assert "clipcal calibrate" in message
