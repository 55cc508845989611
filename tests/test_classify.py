"""Laws of the shares: what the model was trained to give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, softmax

pytest.importorskip("onnx")
from small_bundle import write_bundle

from clipcal.models.bundle import MANIFEST, Bundle
from clipcal.prompts.classify import classify

SENTENCES = ["a cat", "a dog", "a knife"]


def with_bias(folder: Path, bias: float | None) -> Bundle:
    """Write a small bundle whose logits have that bias and a scale of ten."""
    manifest = write_bundle(folder).manifest
    changed = manifest.model_copy(update={"logit_scale": 10.0, "logit_bias": bias})
    (folder / MANIFEST).write_text(changed.model_dump_json())
    return Bundle.load(folder)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def test_without_a_bias_shares_are_the_softmax_over_the_sentences(
    tmp_path: Path, picture: Path
) -> None:
    (found,) = classify(with_bias(tmp_path / "m", None), [picture], SENTENCES, device="cpu")
    cosines = np.array([cosine for _, cosine, _ in found.ranked])
    shares = [share for _, _, share in found.ranked]
    np.testing.assert_allclose(shares, softmax(10 * cosines), rtol=1e-4)
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_with_a_bias_a_share_is_the_sigmoid_of_its_own_logit(tmp_path: Path, picture: Path) -> None:
    bundle = with_bias(tmp_path / "m", -2.0)
    (found,) = classify(bundle, [picture], SENTENCES, device="cpu")
    cosines = np.array([cosine for _, cosine, _ in found.ranked])
    shares = [share for _, _, share in found.ranked]
    np.testing.assert_allclose(shares, expit(10 * cosines - 2), rtol=1e-4)
    ((_, _, alone),) = classify(bundle, [picture], SENTENCES[:1], device="cpu")[0].ranked
    assert alone == pytest.approx({s: p for s, _, p in found.ranked}["a cat"], abs=1e-5)
