"""The wheel carries everything: the built-in model, the prompt sets, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installer would lay it down."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / "site")
    return target / "site"


def run(unpacked: Path, code: str, folder: Path) -> str:
    """Run code with the wheel's package before the checkout's, away from the checkout."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_lies_under_one_name(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"clipcal"}
    assert not list(unpacked.rglob("__pycache__"))


def test_the_wheel_runs_the_command_line_with_its_model_and_prompts(
    unpacked: Path, tmp_path: Path
) -> None:
    where = run(unpacked, "import clipcal; print(clipcal.__file__)", tmp_path)
    assert where.strip().startswith(str(unpacked))
    listed = run(unpacked, "from clipcal.cli import main; main(['prompts', 'list'])", tmp_path)
    assert "moderation" in listed
    assert "demo" in listed
    output = run(unpacked, "from clipcal.cli import main; main(['doctor', '--json'])", tmp_path)
    assert "images_per_second" in output


def test_the_built_in_model_is_small_enough_to_ship() -> None:
    builtin = ROOT / "models" / "builtin"
    assert sum(file.stat().st_size for file in builtin.iterdir()) <= 15_000_000
