"""How long labels, thresholds and everything said of them take.

Run: ``python benchmarks/calibration.py --images 1000000 --labelled 100000``. Draws scores and
labels at random, writes the label file to a temporary folder, and prints medians over repeats as
JSON, in seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.fit import fit_cuts
from clipcal.calibrate.cuts.sample import Sample, gather
from clipcal.calibrate.cuts.targets import Goal, parse_target
from clipcal.calibrate.cuts.thresholds import declare
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.table import LabelTable, read_labels
from clipcal.calibrate.scoring.scores import Scores

CATEGORIES = tuple(f"category {number}" for number in range(7))
TARGETS = ("recall=0.9", "precision=0.8", "f1", "cost=5:1", "budget=500")


def drawn(images: int) -> tuple[Scores, Scores]:
    """Scores (images, 7), and who is positive: one in ten, and likelier the higher the score."""
    rng = np.random.default_rng(0)
    truth = (rng.random((images, len(CATEGORIES))) < 0.1).astype(np.float32)
    noise = rng.standard_normal(truth.shape, np.float32)
    return 0.02 * (1.5 * truth + noise).astype(np.float32), truth


def write_labels(path: Path, truth: Scores, rows: np.ndarray) -> None:
    """Write a wide label file of some images."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", *CATEGORIES])
        for row in rows.tolist():
            writer.writerow([f"photos/{row:07d}.jpg", *truth[row].astype(int).tolist()])


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `repeats` runs after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(median(times), 4)


def thresholds(
    sample: Sample, scores: Scores, levels: tuple[str, ...], repeats: int
) -> dict[str, float]:
    """Seconds to fit all thresholds anew, by target."""
    goals = {target: Goal(parse_target(target)) for target in TARGETS}
    return {
        target: timed(
            lambda goal=goal: fit_cuts(sample, goal, declare(scores, goal, len(sample)), levels),
            repeats,
        )
        for target, goal in goals.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labelled", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    scores, truth = drawn(options.images)
    rows = np.random.default_rng(1).permutation(options.images)[: options.labelled]
    uris = [f"/data/photos/{row:07d}.jpg" for row in range(options.images)]
    result: dict[str, object] = {"images": options.images, "labelled": options.labelled}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "human.csv"
        write_labels(file, truth, rows)
        result["reading"] = timed(lambda: read_labels(file), options.repeats)
        table: LabelTable = read_labels(file)
    sha256s = [""] * len(uris)
    result["matching"] = timed(lambda: match_images(table.images, uris, sha256s), 1)
    match = match_images(table.images, uris, sha256s)
    sample, _ = gather(scores, CATEGORIES, table, match)
    result["thresholds"] = thresholds(sample, scores, table.levels, options.repeats)
    few = sample[np.arange(min(1000, len(sample)))]
    result["thresholds, 1,000 labels"] = thresholds(few, scores, table.levels, options.repeats)
    goal = Goal(parse_target("recall=0.9"))
    result["all that is said of them, 1,000 labels"] = timed(
        lambda: calibrate(
            few, goal, scores, CATEGORIES, table.levels, evaluating=Evaluating(folds=5)
        ),
        options.repeats,
    )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
