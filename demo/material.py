"""What the demo works on: drawn scenes as JPEG files, and the labels of simulated raters."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from clipcal.demo.scenes import CATEGORIES, draw_scene

IMAGES = "images"
LABELS = "human.csv"
RECORD = "scenes.json"
RATERS = ("rater 1", "rater 2", "rater 3")


@dataclass(frozen=True, slots=True)
class Material:
    """How much to draw, and how the simulated raters err.

    Attributes
    ----------
    scenes : int
        Number of pictures.
    labelled : int
        How many of them, drawn at random, the raters see.
    seed : int
        Of pictures and raters.
    overlooks : float
        Probability that a rater does not see what is there.
    imagines : float
        Probability that a rater sees what is not there.
    """

    scenes: int = 600
    labelled: int = 450
    seed: int = 2026
    overlooks: float = 0.05
    imagines: float = 0.01


def prepare(folder: Path, material: Material, on_progress: Callable[[int, int, int], None]) -> bool:
    """Draw the scenes and simulate the raters, unless that was done here before.

    Parameters
    ----------
    folder : pathlib.Path
        Gets ``images/`` and ``human.csv``.
    material : Material
        How much.
    on_progress : callable
        Told ``(done, total, drawn)``.

    Returns
    -------
    bool
        Whether anything had to be drawn.
    """
    if _recorded(folder) == asdict(material):
        return False
    _clear(folder)
    truth = _draw(folder / IMAGES, material, on_progress)
    _rate(folder / LABELS, truth, material)
    # Written last: a run that was interrupted before it draws again.
    (folder / RECORD).write_text(json.dumps(asdict(material), indent=2) + "\n")
    return True


def _recorded(folder: Path) -> object:
    try:
        return json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None


def _clear(folder: Path) -> None:
    """Take away what was drawn before, and first the record that says it is whole."""
    (folder / RECORD).unlink(missing_ok=True)
    for scene in (folder / IMAGES).glob("scene_*.jpg"):
        scene.unlink()


def _draw(
    folder: Path, material: Material, on_progress: Callable[[int, int, int], None]
) -> dict[str, frozenset[str]]:
    """Draw every scene; each has a generator of its own, so one does not depend on another."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for number in range(material.scenes):
        scene = draw_scene(np.random.default_rng([material.seed, number]))
        name = f"scene_{number:04d}.jpg"
        scene.image.save(folder / name, quality=90)
        truth[f"{IMAGES}/{name}"] = scene.categories
        on_progress(number + 1, material.scenes, number + 1)
    return truth


def _rate(file: Path, truth: Mapping[str, frozenset[str]], material: Material) -> None:
    """Write one row per image, category and rater, as labelling tools do."""
    rng = np.random.default_rng([material.seed, material.scenes])
    seen = sorted(rng.choice(sorted(truth), size=min(material.labelled, len(truth)), replace=False))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "category", "label", "annotator"))
        for image in seen:
            for category in CATEGORIES:
                for rater in RATERS:
                    answer = _answer(category in truth[image], material, rng)
                    writer.writerow((image, category, answer, rater))


def _answer(present: bool, material: Material, rng: Generator) -> str:
    error = material.overlooks if present else material.imagines
    return "yes" if present != (rng.random() < error) else "no"
