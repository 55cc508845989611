"""Laws of the house: which way imports point, and what starting up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each folder and the folders it may import; what is not listed may not be imported.
BELOW = {
    "models": {"models"},
    "export": {"models", "export"},
    "prompts": {"models", "prompts"},
    "index": {"models", "index"},
    "calibrate": {"models", "prompts", "index", "calibrate"},
    "demo": {"models", "prompts", "index", "calibrate", "demo"},
    "service": {"models", "prompts", "index", "calibrate", "service"},
    "commands": {
        "models",
        "prompts",
        "index",
        "calibrate",
        "export",
        "demo",
        "service",
        "commands",
    },
    "cli": {"commands"},
}
TORCH = {"torch", "torchvision", "open_clip"}
KEPT_OUT = {
    "calibrate": {"onnxruntime", "faiss", "click", "rich"} | TORCH,
    "index": {"onnxruntime", "click", "rich"} | TORCH,
    "prompts": {"onnxruntime", "faiss", "click", "rich"} | TORCH,
    "models": {"faiss", "click", "rich"} | TORCH,
    "export": {"faiss", "click", "rich"},
    "demo": {"onnxruntime", "faiss", "click", "rich"},
    "service": {"onnxruntime", "faiss", "click", "rich"} | TORCH,
    "commands": {"onnxruntime", "faiss"} | TORCH,
    "cli": {"onnxruntime", "faiss"} | TORCH,
}


def modules(room: str) -> list[Path]:
    return [ROOT / "cli.py"] if room == "cli" else sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", BELOW)
def test_imports_point_downward(room: str) -> None:
    for path in modules(room):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "clipcal" and len(parts) > 1 and parts[1] in BELOW:
                assert parts[1] in BELOW[room], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", KEPT_OUT)
def test_each_room_is_free_of_what_does_not_belong_there(room: str) -> None:
    for path in modules(room):
        allowed = TORCH if path.name == "train.py" else set()  # trains the built-in model
        found = {name.partition(".")[0] for name in imported(path)} & KEPT_OUT[room]
        assert found <= allowed, f"{path.relative_to(ROOT)} imports {found}"


def loaded_by(code: str) -> set[str]:
    """The modules in memory after `code` has run in a process of its own."""
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


HEAVY = {"torch", "onnxruntime", "faiss", "open_clip", "numpy", "sklearn", "scipy", "pyarrow"}


@pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["calibrate", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "from clipcal.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as leave:\n    assert not leave.code"
    )
    assert not loaded_by(code) & HEAVY


def test_calibrating_loads_no_run_time_of_models() -> None:
    rooms = ("cuts.calibration", "decisions.rescore", "contract", "workflow")
    code = "import " + ", ".join(f"clipcal.calibrate.{room}" for room in rooms)
    assert not loaded_by(code) & {"torch", "onnxruntime", "faiss", "click", "rich"}
