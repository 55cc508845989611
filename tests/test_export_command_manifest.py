"""Laws of manifests and folders that outlive a version: what was exported stays what it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnx")
from small_bundle import write_bundle

from clipcal.models.bundle import (
    MANIFEST,
    TOKENIZER,
    Bundle,
    Manifest,
    Precision,
    Preprocessing,
    fingerprint_of,
)
from clipcal.models.registry import bundle_home, find_bundle, parse_model_name
from clipcal.models.verification import Parity, QuantisationRecord, TowerParity

TOWER = TowerParity(max_abs_error=0.0, min_cosine=1.0, batch_sizes=(1,), inputs="none")
ADDED = ("graphs", "quantisation", "decisions")
# Of the manifest below, as the version computed them that knew fp32 and fp16 only.
GOLDEN: dict[Precision, str] = {
    "fp32": "661d651c5995390063c22e0328bd5fa9e35ce04c7210f488dc5dee74e78a777f",
    "fp16": "7fc35c3c51157b23a008543a465430bc55ee436a61262726316edcc03d6a6b63",
}


def manifest(precision: Precision, quantisation: QuantisationRecord | None = None) -> Manifest:
    return Manifest(
        name="golden::test",
        dim=48,
        preprocessing=Preprocessing(
            height=32, width=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
        ),
        context_length=77,
        logit_scale=100.0,
        opset=20,
        architecture="a" * 64,
        weights_sha256="b" * 64,
        parity=Parity(visual=TOWER, textual=TOWER, tolerance=1e-4),
        tools={},
        files={TOKENIZER: "c" * 64},
        precision=precision,
        quantisation=quantisation,
        fingerprint="",
    )


def quantised(digest: str, layers: int = 48) -> QuantisationRecord:
    return QuantisationRecord(
        layers=layers,
        in_float=(),
        smoothed=0,
        min_cosine=0.995,
        mean_cosine=0.999,
        digest=digest,
        pictures="128 given pictures",
    )


@pytest.mark.parametrize("precision", GOLDEN)
def test_fingerprints_of_fp32_and_fp16_stay_what_they_were(precision: Precision) -> None:
    assert fingerprint_of(manifest(precision)) == GOLDEN[precision]


def test_int8_is_another_model_where_its_ranges_are_others_and_only_there() -> None:
    one, other = quantised("1" * 64), quantised("2" * 64)
    said_otherwise = quantised("1" * 64, layers=47)
    found = [fingerprint_of(manifest("int8", each)) for each in (one, other, said_otherwise)]
    assert found[0] == found[2] != found[1]
    assert not set(found) & set(GOLDEN.values())


def test_a_manifest_without_the_newer_fields_is_read(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "old")
    content = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    for field in ADDED:
        del content[field]
    (bundle.path / MANIFEST).write_text(json.dumps(content), "utf-8")
    found = Bundle.load(bundle.path)
    assert found.fingerprint == bundle.fingerprint
    assert (found.manifest.graphs, found.manifest.quantisation, found.manifest.decisions) == (
        {},
        None,
        None,
    )


def test_a_name_means_the_most_precise_bundle_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCAL_HOME", str(tmp_path))
    plain = bundle_home() / parse_model_name("ViT-B-32::openai").folder
    for suffix in ("", "-fp16", "-int8"):
        write_bundle(plain.with_name(plain.name + suffix))
    for suffix in ("", "-fp16", "-int8"):
        expected = plain.with_name(plain.name + suffix)
        for name in ("ViT-B-32::openai", "ViT-B-32"):
            assert find_bundle(name).path == expected
        shutil.rmtree(expected)
