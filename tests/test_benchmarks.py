"""Laws of the benchmarks: fair rounds, results without folders' names, figures to scale."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).resolve().parents[1] / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    import runs

    return runs


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    import plots

    return plots


# --- rounds -----------------------------------------------------------------------------------


def test_every_round_times_each_once_and_the_order_turns(runs: ModuleType) -> None:
    order: list[str] = []
    contenders = [runs.Contender(name, lambda name=name: order.append(name)) for name in "abc"]
    timings = runs.interleaved(contenders, 4, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert [len(each.seconds) for each in timings] == [3, 3, 3]


def test_ratios_are_taken_within_a_round(runs: ModuleType) -> None:
    base, other = runs.Timing("base", 8, (2.0, 4.0, 8.0)), runs.Timing("x", 8, (1.0, 2.0, 2.0))
    row = runs.against([base, other], "base")[1]
    assert row["times_as_fast"] == {"median": 2.0, "low": 2.0, "high": 4.0, "all": [2.0, 2.0, 4.0]}
    assert row["images_per_second"] == {"median": 4.0, "low": 4.0, "high": 8.0}


def test_a_result_names_machine_date_and_versions_but_no_folder(
    runs: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "result.json"
    options = argparse.Namespace(folder=tmp_path / "photos", repeats=3, work=tmp_path, json=file)
    runs.keep(file, options, {"benchmark": "x"})
    found = json.loads(file.read_text())
    assert found["call"] == {"folder": "photos", "repeats": 3}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["machine"]["date"])
    assert "numpy" in found["machine"]["packages"]
    assert str(tmp_path) not in file.read_text()


# --- figures ----------------------------------------------------------------------------------


def write_result(folder: Path) -> None:
    spread = {"median": 2.0, "low": 1.5, "high": 3.0}
    contenders = [
        {"name": "clipcal <fp32>", "images_per_second": spread, "times_as_fast": spread},
        {
            "name": "base",
            "images_per_second": {"median": 1.0, "low": 1.0, "high": 1.0},
            "times_as_fast": {"median": 1.0, "low": 1.0, "high": 1.0},
        },
    ]
    machine = {"processor": "A & B", "cores": 2, "date": "2026-01-02"}
    call = {"architecture": "ViT-B-32"}
    result = {"benchmark": "embedding", "machine": machine, "call": call, "base": "base"}
    (folder / "embedding.json").write_text(json.dumps({**result, "contenders": contenders}))


def test_bars_are_as_long_as_their_values(plots: ModuleType, tmp_path: Path) -> None:
    write_result(tmp_path)
    plots.main([str(tmp_path)])
    root = ElementTree.parse(tmp_path / "embedding.svg").getroot()
    _, *bars = root.iter(f"{SVG}rect")  # the first is the paper
    widths = [float(bar.get("width", "")) for bar in bars]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "clipcal <fp32>" in words
    assert "A & B, 2 cores, 2026-01-02" in words


@pytest.mark.parametrize("least", [0.003, 0.2, 1.0, 7.0, 60.0, 12345.0])
def test_the_axis_has_round_steps(plots: ModuleType, least: float) -> None:
    step = plots._round_step(least)
    assert least * 0.99 <= step <= 2.5 * least * 1.01
    assert f"{step:.0e}"[0] in "125"


def test_committed_results_can_be_drawn(plots: ModuleType) -> None:
    files = list((HERE / "results").glob("*.json"))
    assert files
    for file in files:
        result = json.loads(file.read_text("utf-8"))
        for figure in plots.figures(result):
            ElementTree.fromstring(plots.draw(figure, result["machine"]))


def test_every_section_of_a_large_corpus_is_drawn(plots: ModuleType) -> None:
    seconds = {"median": 0.2, "low": 0.1, "high": 0.4}
    result = {
        "benchmark": "rescoring",
        "call": {"rows": 1000, "dim": 8, "prompts": 5},
        "scoring": {"plain_numpy": seconds, "new_prompt_set": seconds},
        "neighbours": {"exact": seconds},
        "approximate": {"hnsw": {"p50_s": 0.001, "p95_s": 0.002, "recall_at_10": 0.97}},
    }
    drawn = {figure.name: figure for figure in plots.figures(result)}
    assert set(drawn) == {"scoring", "neighbours", "indexes"}
    assert [bar.value for bar in drawn["indexes"].bars] == [200, 1]
    assert "0.970" in drawn["indexes"].bars[1].words


# --- the GPU's benchmark ----------------------------------------------------------------------


def benchmark(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("open_clip")
    pytest.importorskip("pandas")
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent / "src"), "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )


def test_without_a_gpu_its_benchmark_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("gpu.py", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip().startswith("No GPU to measure on: torch")
    assert "Traceback" not in done.stderr


def test_the_benchmark_of_the_gpu_runs_as_written(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """All of its code but the device, which is the CPU here."""
    config, file = tmp_path / "tiny.json", tmp_path / "gpu.json"
    config.write_text(json.dumps(TINY))
    few = ("--images", "4", "--repeats", "1", "--batch", "2", "--seconds", "0.01")
    model = ("--architecture", str(config), "--device", "cpu", "--json", str(file))
    done = benchmark("gpu.py", str(pictures(4)), *few, *model)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    names = {each["name"] for each in found["contenders"]}
    assert {"clipcal fp32, cpu", "clipcal fp16, cpu", found["base"]} <= names
    assert all(cosine > 0.998 for cosine in found["least_cosine"].values())
    assert found["model"]["ceilings"]["float16"] > 0
