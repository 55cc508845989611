"""Laws of the command line: help, exit codes, JSON, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from clipcal.cli import COMMANDS, app

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    context = click.Context(app)
    command = app.get_command(context, name)
    assert command is not None
    leaves = [[leaf] for leaf in command.commands] if isinstance(command, click.Group) else [[]]
    for leaf in leaves:
        result = CliRunner().invoke(app, [name, *leaf, "--help"], prog_name="clipcal")
        assert result.exit_code == 0
        assert "Example:" in result.output, leaf
        assert f"clipcal {name}" in result.output
        assert "--json" in result.output


def test_the_overview_names_every_command() -> None:
    output = run("--help").stdout
    assert all(
        name in output and entry.summary.split()[0] in output for name, entry in COMMANDS.items()
    )


def test_the_reference_is_what_the_commands_say() -> None:
    script = ROOT / "docs" / "make_cli_reference.py"
    made = subprocess.run([sys.executable, str(script), "--print"], capture_output=True, check=True)
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == made.stdout.decode(), "run: python docs/make_cli_reference.py"


def test_the_installed_script_does_what_the_file_does() -> None:
    script = Path(sys.executable).with_name("clipcal")
    if not script.is_file():
        pytest.skip("clipcal is not installed in this environment")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("embed",),
        ("search",),
        ("search", "--text", "a", "--image", "b"),
        ("calibrate",),
        ("embed", "photos", "--workers", "none"),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_what_is_right(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistyped_command_is_answered_with_the_right_one() -> None:
    assert "'calibrate'" in run("calibrat").stderr


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("failures",), "There is no corpus"),
        (("embed", "nowhere"), "nowhere does not exist"),
        (("search", "--text", "a"), "There is no corpus"),
        (("embed", ".", "--model", "nothing/here"), "clipcal export"),
        (("rescore",), "There is no calibration"),
        (("prompts", "show", "nothing"), "moderation"),
    ],
)
def test_failed_work_exits_with_1_and_one_line(
    arguments: tuple[str, ...], fact: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("Error: ")
    assert fact in done.stderr


def test_json_is_one_object_on_standard_output(
    tmp_path: Path, pictures: Callable[..., Path]
) -> None:
    photos = pictures(5)
    (photos / "broken.png").write_bytes(b"")
    corpus = str(tmp_path / "corpus")
    embedded = json.loads(run("embed", str(photos), "--corpus", corpus, "--json").stdout)
    assert {k: embedded[k] for k in ("embedded", "skipped", "failed")} == {
        "embedded": 5,
        "skipped": 0,
        "failed": 1,
    }
    assert embedded["seconds"] > 0
    assert embedded["images_per_second"] > 0
    failures = json.loads(run("failures", "--corpus", corpus, "--json").stdout)["failures"]
    assert [Path(f["uri"]).name for f in failures] == ["broken.png"]
    card = json.loads(run("index", "--corpus", corpus, "--json").stdout)
    assert (card["kind"], card["rows"]) == ("flat", 5)
    one = next(photos.glob("*0003.png"))
    found = json.loads(run("search", "--image", str(one), "--corpus", corpus, "--json").stdout)
    assert found["results"][0] == {"uri": str(one), "score": pytest.approx(1, abs=1e-3)}
    assert len(found["results"]) == 5


def test_the_corpus_can_be_named_by_the_environment(
    tmp_path: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCAL_CORPUS", str(tmp_path / "elsewhere"))
    assert run("embed", str(pictures(2)), cwd=tmp_path).returncode == 0
    assert (tmp_path / "elsewhere" / "corpus.db").is_file()


def test_classify_ranks_the_sentences_and_reports_what_it_cannot_read(
    tmp_path: Path, pictures: Callable[..., Path]
) -> None:
    picture = next(pictures(1).iterdir())
    (tmp_path / "bad.jpg").write_bytes(b"no")
    done = run(
        "classify", str(picture), str(tmp_path / "bad.jpg"), "--labels", "a knife, a tree", "--json"
    )
    assert done.returncode == 0
    good, bad = json.loads(done.stdout)["results"]
    assert sorted(entry["label"] for entry in good["labels"]) == ["a knife", "a tree"]
    assert sum(entry["share"] for entry in good["labels"]) == pytest.approx(1, abs=1e-4)
    assert bad["labels"] == []
    assert "not an image" in bad["error"]


def test_doctor_says_what_runs_and_insists_on_a_gpu_only_when_asked() -> None:
    found = json.loads(run("doctor", "--json").stdout)
    assert found["images_per_second"] > 0
    insisting = run("doctor", "--require-gpu")
    if found["gpu"] is None:
        assert insisting.returncode == 0
    else:
        assert insisting.returncode == 1
        assert insisting.stderr.startswith("Error: CUDA was asked for")
