"""Laws of names: many ways to write one, one bundle found, a command where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")
from small_bundle import write_bundle

from clipcal.errors import BundleError
from clipcal.models import registry
from clipcal.models.registry import ModelName, bundle_home, find_bundle, parse_model_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPCAL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return bundle_home()


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ViT-B-32::laion2b_s34b_b79k",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "ViT-B-32__laion2b-s34b-b79k",
        "ViT-B-32::LAION2B-s34b-b79k",
        "ViT-B/32::laion2b_s34b_b79k",
        "open_clip:ViT-B-32::laion2b_s34b_b79k",
        "  ViT-B-32::laion2b_s34b_b79k ",
    ],
)
def test_every_way_to_write_a_name_means_the_same(text: str) -> None:
    assert parse_model_name(text) == ModelName("ViT-B-32", "laion2b_s34b_b79k")


@pytest.mark.parametrize(
    "text", ["ViT-B-32", "ViT-B/32", "open_clip:ViT-B-32", "open_clip:ViT-B/32"]
)
def test_a_name_may_leave_its_weights_open(text: str) -> None:
    assert parse_model_name(text) == ModelName("ViT-B-32", "")


def test_a_repository_of_the_hub_is_kept_whole() -> None:
    name = parse_model_name("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    assert str(name) == "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert "/" not in name.folder
    assert ":" not in name.folder


@pytest.mark.parametrize("text", ["", "  ", "::openai", "open_clip:"])
def test_a_name_without_architecture_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="ARCHITECTURE::WEIGHTS"):
        parse_model_name(text)


@given(
    architecture=st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}(-[A-Za-z0-9]{1,5}){0,3}", fullmatch=True),
    tag=st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,5}){0,3}", fullmatch=True),
)
def test_a_name_survives_being_written_out(architecture: str, tag: str) -> None:
    name = ModelName(architecture, tag)
    assert parse_model_name(str(name)) == name
    assert parse_model_name(name.folder) == name


# --- bundles ----------------------------------------------------------------------------------


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPCAL_HOME", str(tmp_path))
    assert bundle_home() == tmp_path / "bundles"
    monkeypatch.delenv("CLIPCAL_HOME")
    assert bundle_home().parts[-2:] == ("clipcal", "bundles")


def test_a_folder_is_found_as_text_and_as_path(home: Path, tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "mine")
    assert find_bundle(str(made.path)).fingerprint == made.fingerprint
    assert find_bundle(made.path) == made
    assert find_bundle("mine").fingerprint == made.fingerprint
    assert find_bundle("./mine").fingerprint == made.fingerprint


@pytest.mark.parametrize("text", ["./nothing", "/nothing/here", "~nobody-of-this-name/x"])
def test_a_path_that_leads_nowhere_is_told_as_a_path(home: Path, text: str) -> None:
    with pytest.raises(BundleError, match="is not a model bundle"):
        find_bundle(text)


@pytest.mark.parametrize(
    "asked",
    ["ViT-B-32::openai", "open_clip:ViT-B-32/openai", "ViT-B-32", "ViT-B-32-quickgelu::openai"],
)
def test_what_was_exported_is_found_by_its_names(home: Path, asked: str) -> None:
    made = write_bundle(home / "ViT-B-32-quickgelu__openai")
    assert find_bundle(asked) == made


def test_the_very_name_goes_before_its_quickgelu_twin(home: Path) -> None:
    write_bundle(home / "ViT-B-32-quickgelu__openai")
    plain = write_bundle(home / "ViT-B-32__openai")
    assert find_bundle("ViT-B-32::openai") == plain


def test_other_weights_or_architectures_are_never_taken_instead(home: Path) -> None:
    write_bundle(home / "ViT-B-32__laion2b_e16")
    write_bundle(home / "ViT-B-32-256__datacomp_s34b_b86k")
    for asked in ("ViT-B-32::openai", "ViT-B-16", "ViT-B-32-256::openai"):
        with pytest.raises(BundleError, match=f"clipcal export {asked} -o "):
            find_bundle(asked)


def test_several_weights_ask_for_one(home: Path) -> None:
    write_bundle(home / "ViT-B-32__laion2b_e16")
    write_bundle(home / "ViT-B-32-quickgelu__openai")
    with pytest.raises(BundleError, match=r"ViT-B-32-quickgelu::openai, ViT-B-32::laion2b_e16"):
        find_bundle("ViT-B-32")


def test_full_precision_goes_before_half_and_half_is_found_alone(home: Path) -> None:
    half = write_bundle(home / "ViT-B-32-quickgelu__openai-fp16")
    for asked in ("ViT-B-32::openai", "ViT-B-32-quickgelu::openai", "ViT-B-32"):
        assert find_bundle(asked) == half
    full = write_bundle(home / "ViT-B-32-quickgelu__openai")
    for asked in ("ViT-B-32::openai", "ViT-B-32-quickgelu::openai", "ViT-B-32"):
        assert find_bundle(asked) == full


def test_half_precision_is_listed_by_a_name_that_finds_it(home: Path) -> None:
    write_bundle(home / "ViT-B-32__laion2b_e16-fp16")
    write_bundle(home / "ViT-B-32-quickgelu__openai")
    with pytest.raises(BundleError, match=r"ViT-B-32-quickgelu::openai, ViT-B-32::laion2b_e16\."):
        find_bundle("ViT-B-32")


@pytest.mark.parametrize("name", [None, "builtin"])
def test_the_builtin_model_is_the_packaged_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str | None
) -> None:
    made = write_bundle(tmp_path / "packaged")
    monkeypatch.setattr(registry, "BUILTIN_FOLDER", made.path)
    assert find_bundle(name) == made


def test_a_copy_without_the_builtin_model_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "BUILTIN_FOLDER", tmp_path / "absent")
    with pytest.raises(BundleError, match="clipcal export ViT-B-32::openai"):
        find_bundle(None)
