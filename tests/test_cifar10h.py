"""The whole road on real embeddings and real raters: import, calibrate, re-score, compare."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from clipcal.index.store import Corpus

ROOT = Path(__file__).resolve().parents[1]
# The text vectors are those of Open Images' names; "ship" has none, and "boat" stands in.
NAMES = {"automobile": "a Car", "ship": "a Boat"}
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def clipcal(folder: Path, *arguments: str) -> Any:
    """Run a command and read its JSON."""
    command = [sys.executable, str(ROOT / "cli.py"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Path:
    folder = shared_data / "cifar10h-vitb32"
    if not folder.is_dir():
        pytest.skip("the real embeddings (../shared/data/cifar10h-vitb32) are not here")
    return folder


@pytest.fixture(scope="module")
def work(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vectors imported, a prompt set, and half of the raters' labels."""
    folder = tmp_path_factory.mktemp("cifar10h")
    names = NAMES | {name: f"a {name.capitalize()}" for name in CLASSES if name not in NAMES}
    (folder / "classes.json").write_text(json.dumps({name: [names[name]] for name in CLASSES}))
    with (real / "human.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    order = np.random.default_rng(0).permutation(len(rows) - 1)
    for name, half in (("half.csv", order[::2]), ("other.csv", order[1::2])):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([rows[0], *(rows[1 + i] for i in sorted(half))])
    report = clipcal(folder, "import-vectors", str(real), "--model-id", "ViT-B-32::openai")
    assert report["embedded"] == 500
    return folder


def calibrate(work: Path, real: Path, target: str) -> Any:
    vectors = ("--prompt-vectors", str(real / "text_vectors.npz"))
    prompts = ("--prompts", "classes.json")
    return clipcal(
        work, "calibrate", "--labels", "half.csv", "--target", target, *prompts, *vectors
    )


def decisions(work: Path, real: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decisions and labels (n, classes) on the half that was kept out."""
    vectors = ("--prompt-vectors", str(real / "text_vectors.npz"))
    clipcal(work, "rescore", "-o", "decisions.csv", *vectors)
    with (work / "decisions.csv").open(encoding="utf-8", newline="") as stream:
        decided = {row["image"]: row for row in csv.DictReader(stream)}
    assert len(decided) == 500
    with (work / "other.csv").open(encoding="utf-8", newline="") as stream:
        labels = {row["image"]: row["label"] for row in csv.DictReader(stream)}
    flags = [[int(decided[image][name]) for name in CLASSES] for image in labels]
    truth = [[int(label == name) for name in CLASSES] for label in labels.values()]
    return np.array(flags), np.array(truth)


def test_best_f1_on_half_of_the_labels_holds_on_the_other_half(work: Path, real: Path) -> None:
    result = calibrate(work, real, "f1")
    assert set(result["categories"]) == set(CLASSES)
    assert all(cuts["positive"]["status"] == "estimated" for cuts in result["categories"].values())
    flags, truth = decisions(work, real)
    assert f1_score(truth, flags, average="macro") == pytest.approx(0.8, abs=0.05)


def test_a_guarantee_is_given_only_where_there_are_enough_positives(work: Path, real: Path) -> None:
    cuts = {
        name: levels["positive"]
        for name, levels in calibrate(work, real, "recall=0.9")["categories"].items()
    }
    for cut in cuts.values():
        assert (cut["status"] == "certified") == (cut["positives"] >= 29)
        assert (cut["guarantee"] is None) == (cut["status"] != "certified")
    flags, truth = decisions(work, real)
    recalls = [flags[truth[:, c] == 1, c].mean() for c in range(len(CLASSES))]
    certified = [cuts[name]["status"] == "certified" for name in CLASSES]
    assert np.mean(np.array(recalls)[certified]) >= 0.9


def test_thresholds_lie_where_real_cosines_lie(work: Path, real: Path) -> None:
    cuts = calibrate(work, real, "f1")["categories"].values()
    thresholds = [cut["positive"]["threshold"] for cut in cuts]
    assert 0.22 < min(thresholds) < max(thresholds) < 0.27


def test_neighbours_of_a_real_image_start_with_itself(work: Path) -> None:
    item = Corpus.open(work / "corpus").items("embedded")[0]
    found = clipcal(work, "search", "--image", item.uri, "-k", "3")["results"]
    assert found[0]["uri"] == item.uri
    assert found[0]["score"] == pytest.approx(1, abs=1e-3)
    assert found[1]["score"] < 0.999


def test_another_models_text_vectors_are_refused(work: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(10, 512))
    np.savez(tmp_path / "v.npz", prompts=np.array(CLASSES), vectors=vectors, model_id="else::where")
    command = [sys.executable, str(ROOT / "cli.py"), "rescore", "--prompt-vectors"]
    done = subprocess.run(
        [*command, str(tmp_path / "v.npz")], capture_output=True, text=True, cwd=work, check=False
    )
    assert done.returncode == 1
    assert "else::where" in done.stderr
