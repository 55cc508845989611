"""The built-in model tells scenes apart that it has never seen, in words it has never read."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clipcal.calibrate.scoring.scores import category_scores
from clipcal.demo.captions import (
    HELD_OUT_PATTERNS,
    PAIR_PATTERNS,
    PLACE_PATTERNS,
    TRAINING_PATTERNS,
)
from clipcal.demo.scenes import draw_scene
from clipcal.models.preprocess import load_pixels
from clipcal.models.registry import find_bundle
from clipcal.models.session import open_image_encoder, open_text_encoder
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import PromptSet, load_prompt_set
from clipcal.prompts.vectors import TextVectors

SCENES = 500
SEED = 777_001  # training uses other seeds

# Sentence patterns that never occurred in training.
UNSEEN_PATTERNS = (
    "one can see {} here",
    "this shows {}",
    "somebody left {} in the picture",
    "{}, drawn by a computer",
    "an illustration featuring {}",
    "what I notice is {}",
    "{} was found at the scene",
    "the camera captured {}",
    "my favourite photo includes {}",
    "a view where {} appears",
)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Embeddings of unseen scenes, and what each shows."""

    embeddings: np.ndarray
    categories: tuple[frozenset[str], ...]


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    bundle = find_bundle("builtin")
    pixels, shown = [], []
    for number in range(SCENES):
        scene = draw_scene(np.random.default_rng([SEED, number]))
        file = io.BytesIO()
        scene.image.save(file, "JPEG", quality=90)
        pixels.append(load_pixels(file.getvalue(), bundle.manifest.preprocessing))
        shown.append(scene.categories)
    embeddings = open_image_encoder(bundle, device="cpu").encode(np.stack(pixels))
    return HeldOut(embeddings, tuple(shown))


def mean_auc(held_out: HeldOut, prompt_set: PromptSet) -> float:
    """Mean area under the ROC curve over the categories of a prompt set."""
    encoder = open_text_encoder(find_bundle("builtin"), device="cpu")
    sentences = prompt_set.sentences
    prompts = build(prompt_set, TextVectors(sentences, encoder.encode(sentences), None))
    scores = category_scores(held_out.embeddings @ prompts.matrix.T, prompts)
    aucs = []
    for column, category in enumerate(prompt_set.categories):
        present = [category.name in shown for shown in held_out.categories]
        assert sum(present) >= 20, f"too few scenes with {category.name} to judge by"
        aucs.append(roc_auc_score(present, scores[:, column]))
    return float(np.mean(aucs))


def test_categories_are_told_apart_with_the_packaged_prompts(held_out: HeldOut) -> None:
    assert mean_auc(held_out, load_prompt_set("demo")) >= 0.95


def test_categories_are_told_apart_in_sentences_never_trained_on(held_out: HeldOut) -> None:
    packaged = load_prompt_set("demo")
    aucs = [
        mean_auc(held_out, dataclasses.replace(packaged, templates=(pattern,)))
        for pattern in UNSEEN_PATTERNS
    ]
    assert np.mean(aucs) >= 0.90


def test_the_unseen_patterns_share_no_wording_with_training() -> None:
    def bare(patterns: Sequence[str]) -> set[str]:
        return {pattern.replace("{}", "").strip(" .,").lower() for pattern in patterns}

    trained = bare((*TRAINING_PATTERNS, *PAIR_PATTERNS, *PLACE_PATTERNS))
    assert not bare(UNSEEN_PATTERNS) & trained


def test_the_unseen_patterns_are_those_that_training_holds_out() -> None:
    assert UNSEEN_PATTERNS == HELD_OUT_PATTERNS


def test_the_bundle_is_whole_and_says_what_it_is() -> None:
    bundle = find_bundle("builtin")
    bundle.verify()
    assert bundle.manifest.licence == "MIT"
    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert "photograph" in card
    for category in load_prompt_set("demo").categories:
        assert category.name in card
