"""``clipcal prompts``: what is shown can be loaded, and what is encoded can be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from clipcal.commands.prompts import prompts_command
from clipcal.errors import FingerprintMismatch, PromptError
from clipcal.models import registry, session
from clipcal.models.identity import ModelIdentity
from clipcal.models.registry import find_bundle
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import load_prompt_set, packaged_sets, parse_prompt_set
from clipcal.prompts.resolve import text_vectors
from clipcal.prompts.vectors import TextVectors


def run(*arguments: str) -> Result:
    return CliRunner().invoke(prompts_command, list(arguments), catch_exceptions=False)


def test_list_names_every_packaged_set_for_people_and_for_programs() -> None:
    listed = json.loads(run("list", "--json").stdout)["prompt_sets"]
    assert tuple(entry["name"] for entry in listed) == packaged_sets()
    for name in packaged_sets():
        assert name in run("list").stdout


@pytest.mark.parametrize("name", packaged_sets())
def test_show_as_toml_prints_a_file_that_loads_as_the_same_set(name: str) -> None:
    text = run("show", name, "--toml").stdout
    assert parse_prompt_set(text, source="mine.toml", format="toml") == load_prompt_set(name)


def test_show_prints_every_sentence_and_the_hash() -> None:
    moderation = load_prompt_set("moderation")
    shown = json.loads(run("show", "moderation", "--json").stdout)
    assert shown["sha256"] == moderation.sha256
    assert [tuple(c["prompts"]) for c in shown["categories"]] == [
        category.prompts for category in moderation.categories
    ]
    assert "a hand showing the middle finger" in run("show", "moderation").stdout


def test_show_of_a_wrong_file_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[category.gore]\nprompts = 3\n")
    with pytest.raises(PromptError, match=r"my\.toml:2: category 'gore'"):
        run("show", str(file))


def test_encode_writes_vectors_from_which_the_set_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Encoder:
        def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
            rng = np.random.default_rng(len(sentences))
            return rng.normal(size=(len(sentences), 4)).astype(np.float32)

    asked: list[str | None] = []

    def find(name: str | None) -> SimpleNamespace:
        asked.append(name)
        return bundle

    bundle = SimpleNamespace(name="tiny::test", fingerprint="f" * 64)
    monkeypatch.setenv("CLIPCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "find_bundle", find)
    monkeypatch.setattr(session, "open_text_encoder", lambda *_, **__: Encoder())

    output = tmp_path / "vectors.npz"
    ran = run("encode", "moderation", "-o", str(output), "--model", "tiny", "--json")
    told = json.loads(ran.stdout)
    moderation = load_prompt_set("moderation")
    assert asked == ["tiny"]
    assert told["fingerprint"] == bundle.fingerprint
    assert told["vectors"] == len(moderation.sentences)
    vectors = TextVectors.load(output)
    assert (vectors.model, vectors.fingerprint) == (bundle.name, bundle.fingerprint)
    assert build(moderation, vectors).matrix.shape[1] == told["dim"] == 4


def test_encoded_prompts_serve_vectors_imported_under_the_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCAL_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "vectors.npz"
    run("encode", "demo", "-o", str(output), "--device", "cpu")
    builtin = find_bundle(None)
    imported = ModelIdentity.external("builtin::scenes", builtin.manifest.dim)
    demo = load_prompt_set("demo")
    for identity in (imported, ModelIdentity.of_bundle(builtin)):
        taken = text_vectors(demo.sentences, identity, file=output)
        assert build(demo, taken).matrix.shape[1] == builtin.manifest.dim
    with pytest.raises(FingerprintMismatch, match="builtin::scenes"):
        text_vectors(demo.sentences, ModelIdentity.external("another", 128), file=output)


@pytest.mark.parametrize("command", ["list", "show", "encode"])
def test_every_help_has_an_example(command: str) -> None:
    assert f"clipcal prompts {command}" in run(command, "--help").stdout
