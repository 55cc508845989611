"""The demo, and the README's commands, as a newcomer runs them."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clipcal.demo.material import RATERS, Material, prepare
from clipcal.demo.scenes import CATEGORIES, draw_scene
from clipcal.prompts.promptset import load_prompt_set

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    done = run("demo", "--scenes", "160", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "clipcal-demo", done.stdout + done.stderr


def test_the_demo_does_the_whole_job_and_shows_its_commands(demo: tuple[Path, str]) -> None:
    folder, said = demo
    for command in ("embed", "index", "calibrate", "rescore", "search", "report"):
        assert f"$ clipcal {command}" in said
    assert "SIMULATED" in said
    assert "160 embedded" in said
    with (folder / "decisions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 160
    for category in CATEGORIES:
        assert {row[category] for row in rows} <= {"0", "1", ""}
        float(rows[0][f"{category}_score"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(category in page for category in CATEGORIES)


def test_the_demo_run_twice_embeds_nothing_again(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    done = run("demo", "--scenes", "160", "--json", cwd=folder.parent)
    steps = json.loads(done.stdout)["steps"]
    assert (steps["1_embed"]["embedded"], steps["1_embed"]["skipped"]) == (0, 160)


def test_the_demo_raters_err_as_often_as_is_said(tmp_path: Path) -> None:
    material = Material(scenes=120, labelled=90, seed=3, overlooks=0.2, imagines=0.05)
    assert prepare(tmp_path, material, lambda *_: None)
    assert not prepare(tmp_path, material, lambda *_: None)
    with (tmp_path / "human.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["image"] for row in rows}) == 90
    assert len(rows) == 90 * len(CATEGORIES) * len(RATERS)
    errors = {True: [], False: []}  # type: dict[bool, list[bool]]
    for row in rows:
        number = int(re.findall(r"\d+", row["image"])[0])
        present = row["category"] in draw_scene(np.random.default_rng([3, number])).categories
        errors[present].append((row["label"] == "yes") != present)
    assert np.mean(errors[True]) == pytest.approx(0.2, abs=0.08)
    assert np.mean(errors[False]) == pytest.approx(0.05, abs=0.02)


def test_fewer_scenes_leave_none_of_the_old_ones_and_no_other_file_is_touched(
    tmp_path: Path,
) -> None:
    prepare(tmp_path, Material(scenes=6, labelled=4), lambda *_: None)
    (tmp_path / "images" / "mine.jpg").write_bytes(b"mine")
    prepare(tmp_path, Material(scenes=4, labelled=3), lambda *_: None)
    names = sorted(file.name for file in (tmp_path / "images").iterdir())
    assert names == ["mine.jpg", *(f"scene_{number:04d}.jpg" for number in range(4))]


def test_a_drawing_that_was_interrupted_is_drawn_again(tmp_path: Path) -> None:
    material = Material(scenes=6, labelled=4)
    prepare(tmp_path, material, lambda *_: None)

    def interrupt(done: int, total: int, drawn: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Material(scenes=5, labelled=4), interrupt)
    assert prepare(tmp_path, material, lambda *_: None)
    assert len(list((tmp_path / "images").iterdir())) == 6


def test_the_readmes_normal_day_works_as_written(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(5)
    names = [category.name for category in load_prompt_set("moderation").categories]
    lines = ["image," + ",".join(names)]
    for number in range(60):
        draw_scene(rng, size=(128, 96)).image.save(tmp_path / "photos" / f"{number}.jpg")
        levels = rng.choice(["no", "minor", "major"], len(names), p=[0.6, 0.2, 0.2])
        lines.append(f"{number}.jpg,{','.join(levels)}")
    (tmp_path / "human.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for command in commands_under("## A normal day"):
        done = run(*shlex.split(command, comments=True)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (tmp_path / "decisions.csv").is_file()
    assert (tmp_path / "report.html").is_file()


def test_the_readmes_first_commands_set_up_what_they_need() -> None:
    main, tests = re.findall(r"<!-- the (?:main job|tests) -->\n```sh\n(.+)\n```", README)
    assert main.startswith("python3 -m venv")
    assert main.endswith("cli.py demo")
    assert "torch" not in main
    assert "export" not in main
    assert tests.startswith("python3 -m venv")
    assert "pytest" in tests


def commands_under(heading: str) -> list[str]:
    block = README.split(heading)[1].split("```sh\n")[1].split("```")[0]
    return [line for line in block.splitlines() if line.startswith("clipcal ")]
