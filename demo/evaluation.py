"""How well a model tells the demo's categories apart, on scenes that it has never seen."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from clipcal.calibrate.scoring.scores import Scores, category_scores
from clipcal.demo.captions import HELD_OUT_PATTERNS
from clipcal.demo.scenes import draw_scene
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import PromptSet, load_prompt_set
from clipcal.prompts.vectors import TextVectors

Vectors = NDArray[np.floating[Any]]  # (n, dim), rows L2-normalised
EncodeImages = Callable[[Sequence[Image.Image]], Vectors]
EncodeTexts = Callable[[Sequence[str]], Vectors]

PROMPTS = "demo"  # the packaged set


@dataclass(frozen=True, slots=True)
class HeldOutScenes:
    """Scenes drawn as the demo draws them, after a JPEG round trip."""

    images: tuple[Image.Image, ...]
    categories: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """Area under the ROC curve of one category.

    Attributes
    ----------
    positives
        Number of scenes that show the category.
    packaged
        AUC with the prompt set as packaged.
    held_out_patterns
        AUC with each prompt put into sentence patterns that training never used.
    """

    positives: int
    packaged: float
    held_out_patterns: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result per category, and its means."""

    scenes: int
    categories: Mapping[str, CategoryResult]

    def mean(self, which: str) -> float:
        """Return the mean over categories of ``packaged`` or ``held_out_patterns``."""
        return float(np.mean([getattr(result, which) for result in self.categories.values()]))

    def as_json(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON data."""
        return {
            "scenes": self.scenes,
            "mean_auc": {
                which: round(self.mean(which), 4) for which in ("packaged", "held_out_patterns")
            },
            "categories": {
                name: {key: round(value, 4) for key, value in asdict(result).items()}
                for name, result in self.categories.items()
            },
        }

    def table(self) -> str:
        """Return the evaluation as a Markdown table."""
        lines = [
            "| category | positives | AUC, packaged prompts | AUC, unseen sentence patterns |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {name} | {r.positives} | {r.packaged:.3f} | {r.held_out_patterns:.3f} |"
            for name, r in self.categories.items()
        ]
        packaged, held_out = self.mean("packaged"), self.mean("held_out_patterns")
        return "\n".join([*lines, f"| **mean** | | **{packaged:.3f}** | **{held_out:.3f}** |"])


def draw_held_out(n: int, *, seed: int) -> HeldOutScenes:
    """Draw `n` scenes of 384 × 288 pixels and take each through a JPEG file of quality 90."""
    images, categories = [], []
    for index in range(n):
        scene = draw_scene(np.random.default_rng([seed, index]))
        buffer = io.BytesIO()
        scene.image.save(buffer, "JPEG", quality=90)
        images.append(Image.open(buffer).convert("RGB"))
        categories.append(scene.categories)
    return HeldOutScenes(tuple(images), tuple(categories))


def evaluate(
    scenes: HeldOutScenes, encode_images: EncodeImages, encode_texts: EncodeTexts
) -> Evaluation:
    """Measure the AUC of each category of the packaged prompt set.

    Parameters
    ----------
    scenes
        From `draw_held_out`.
    encode_images, encode_texts
        The model: pictures or sentences to L2-normalised vectors.
    """
    packaged = load_prompt_set(PROMPTS)
    embeddings = encode_images(scenes.images)
    sets = [packaged, *(replace(packaged, templates=(p,)) for p in HELD_OUT_PATTERNS)]
    scores = [_scores(embeddings, encode_texts, prompt_set) for prompt_set in sets]
    results = {}
    for column, category in enumerate(packaged.categories):
        present = np.array([category.name in shown for shown in scenes.categories])
        auc = [float(roc_auc_score(present, each[:, column])) for each in scores]
        count = int(present.sum())
        results[category.name] = CategoryResult(count, auc[0], float(np.mean(auc[1:])))
    return Evaluation(len(scenes.images), results)


def _scores(embeddings: Vectors, encode: EncodeTexts, prompt_set: PromptSet) -> Scores:
    """Return the score (n, categories) of every embedding, as ``clipcal score`` gives it."""
    vectors = TextVectors(prompt_set.sentences, np.asarray(encode(prompt_set.sentences)))
    prompts = build(prompt_set, vectors)
    return category_scores(np.asarray(embeddings, np.float32) @ prompts.matrix.T, prompts)
