"""Text vectors survive files, and serve the corpora of their own model only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from clipcal.errors import FingerprintMismatch, PromptError
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.resolve import text_vectors
from clipcal.prompts.vectors import TextVectors

FINGERPRINT = "f" * 64


def refusal(path: Path) -> str:
    with pytest.raises(PromptError) as caught:
        TextVectors.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def written(path: Path, **arrays: Any) -> Path:
    arrays = {"prompts": np.array(["a", "b"]), "vectors": np.eye(2, dtype=np.float32)} | arrays
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


# --- files -----------------------------------------------------------------------------------


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(0.125, 8, width=32),
    )
)
def test_rows_are_normalised_once_and_for_all(rows: NDArray[np.float32]) -> None:
    names = tuple(map(str, range(len(rows))))
    once = TextVectors(names, rows)
    np.testing.assert_allclose(np.linalg.norm(once.vectors, axis=1), 1, atol=1e-6)
    assert TextVectors(names, once.vectors).vectors.tobytes() == once.vectors.tobytes()


@pytest.mark.parametrize("model", [None, "ViT-B-32::openai"])
@pytest.mark.parametrize("fingerprint", [None, FINGERPRINT])
def test_what_was_saved_is_loaded_to_the_byte(
    tmp_path: Path, model: str | None, fingerprint: str | None
) -> None:
    path = tmp_path / "vectors with no ending"
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    saved = TextVectors(("a dog", "ein Hund", "犬"), rows, model, fingerprint)
    saved.save(path)
    loaded = TextVectors.load(path)
    assert loaded.sentences == saved.sentences
    assert (loaded.model, loaded.fingerprint) == (model, fingerprint)
    assert loaded.vectors.tobytes() == saved.vectors.tobytes()
    assert os.listdir(tmp_path) == [path.name]


def test_the_file_holds_plain_arrays_under_the_agreed_names(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    TextVectors(("a",), np.ones((1, 4), np.float32), "ViT-B-32::openai", FINGERPRINT).save(path)
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["fingerprint", "model_id", "prompts", "vectors"]
        assert archive["prompts"].dtype.kind == "U"
        assert archive["vectors"].dtype == np.float32
        assert archive["model_id"].shape == ()
        assert str(archive["model_id"]) == "ViT-B-32::openai"
        assert str(archive["fingerprint"]) == FINGERPRINT


@pytest.mark.parametrize(("module", "step"), [(np, "savez"), (os, "replace")])
def test_a_save_that_fails_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    path = tmp_path / "v.npz"
    TextVectors(("old",), np.ones((1, 2), np.float32)).save(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, step, full)
    with pytest.raises(PromptError, match="No space left"):
        TextVectors(("new",), np.ones((1, 2), np.float32)).save(path)
    assert os.listdir(tmp_path) == ["v.npz"]
    assert TextVectors.load(path).sentences == ("old",)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_foreign_files_of_any_float_and_without_a_model_are_read(
    tmp_path: Path, dtype: Any
) -> None:
    path = written(tmp_path / "v.npz", vectors=np.array([[3, 4], [0, 2]], dtype))
    loaded = TextVectors.load(path)
    assert loaded.model is None
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_allclose(loaded.of("a"), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"vectors": np.eye(3)}, "2 sentences need as many rows"),
        ({"vectors": np.ones(2)}, "shape"),
        ({"vectors": np.array([[1, np.nan], [0, 1]])}, "NaN"),
        ({"vectors": np.array([[1, np.inf], [0, 1]])}, "infinity"),
        ({"vectors": np.array([[1, 1e300], [0, 1]])}, "infinity"),
        ({"vectors": np.array([[1.0, 0], [0, 0]])}, "row 1 is zero"),
        ({"vectors": np.array([["x", "y"], ["z", "w"]])}, "not numbers"),
        ({"vectors": None}, "vectors is not a file"),
        ({"prompts": None}, "prompts is not a file"),
        ({"prompts": np.array([1, 2])}, "`prompts` must be"),
        ({"prompts": np.array([["a", "b"]])}, "`prompts` must be"),
        ({"prompts": np.array(["a", "b"], object)}, "can run code"),
        ({"prompts": np.array(["a", "a"])}, "'a' stands there twice"),
        ({"model_id": np.array(["a", "b"])}, "`model_id` must be"),
        ({"model_id": np.array(3)}, "`model_id` must be"),
        ({"fingerprint": np.array(["a", "b"])}, "`fingerprint` must be"),
        ({"model_id": np.array({"a": 1}, object)}, "can run code"),
    ],
)
def test_a_file_that_holds_anything_else_is_refused(
    tmp_path: Path, arrays: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(written(tmp_path / "v.npz", **arrays))


def test_a_repeated_sentence_with_one_vector_is_accepted(tmp_path: Path) -> None:
    path = written(tmp_path / "v.npz", prompts=np.array(["a", "a"]), vectors=np.ones((2, 3)))
    assert TextVectors.load(path).of("a").shape == (3,)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    assert "no file of text vectors" in refusal(tmp_path / "absent.npz")
    assert "cannot be read" in refusal(tmp_path)
    path = tmp_path / "v.npz"
    np.save(path.with_suffix(".npy"), np.eye(2))
    assert "single array" in refusal(path.with_suffix(".npy"))
    for content in (b"", b"not a zip", b"PK\x03\x04", bytes(200)):
        path.write_bytes(content)
        assert "cannot be read" in refusal(path)


def test_any_damage_to_a_file_gives_a_prompt_error_or_vectors(tmp_path: Path) -> None:
    data = written(tmp_path / "v.npz", model_id=np.array("m")).read_bytes()
    damaged = tmp_path / "damaged.npz"
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 200).tolist():
        flipped = bytearray(data)
        flipped[position] ^= int(rng.integers(1, 256))
        for content in (data[:position], bytes(flipped)):
            damaged.write_bytes(content)
            try:
                vectors = TextVectors.load(damaged)
            except PromptError:
                continue
            assert np.isfinite(vectors.vectors).all()


def test_a_missing_sentence_is_named_with_the_closest_and_the_next_command() -> None:
    vectors = TextVectors(("a photo of a dog", "a car"), np.eye(2, dtype=np.float32))
    assert "a car" in vectors
    with pytest.raises(PromptError) as caught:
        vectors.of("a photo of a dot")
    message = str(caught.value)
    assert "'a photo of a dot' (closest: 'a photo of a dog'" in message
    assert "clipcal prompts encode" in message


def test_case_and_blanks_do_not_hide_a_sentence_but_the_letter_comes_first() -> None:
    vectors = TextVectors(("a Cat", "a cat", "A  Dog"), np.eye(3, dtype=np.float32))
    assert vectors.of("a cat").tolist() == [0, 1, 0]
    assert vectors.of("A CAT").tolist() == [1, 0, 0]
    assert vectors.of("a dog").tolist() == [0, 0, 1]


# --- whose vectors a corpus takes ------------------------------------------------------------

NAME = "ViT-B-32-quickgelu::openai"
EMBEDDED = ModelIdentity(NAME, FINGERPRINT, "p" * 64, 2, "somewhere")
OTHER = "0" * 64


def brought(folder: Path, identity: ModelIdentity, **about: Any) -> TextVectors:
    """Give a corpus of `identity` a file that says `about` its model."""
    file = written(folder / "v.npz", **{key: np.array(text) for key, text in about.items()})
    return text_vectors(["a"], identity, file=file)


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32::openai",
        "ViT-B-32-quickgelu::openai",
        "open_clip:ViT-B-32/openai",
        "ViT-B/32::OpenAI",
    ],
)
def test_imported_embeddings_take_text_vectors_of_the_model_they_are_named_after(
    tmp_path: Path, name: str
) -> None:
    imported = ModelIdentity.external(name, 2)
    for about in ({"model_id": NAME, "fingerprint": FINGERPRINT}, {"model_id": NAME}, {}):
        assert "a" in brought(tmp_path, imported, **about)


@pytest.mark.parametrize("name", ["ViT-B-16::openai", "ViT-B-32::laion2b_e16", "mine", FINGERPRINT])
def test_imported_embeddings_refuse_text_vectors_of_another_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FingerprintMismatch, match=rf"{NAME} \({OTHER[:12]}\)"):
        brought(tmp_path, ModelIdentity.external(name, 2), model_id=NAME, fingerprint=OTHER)


def test_a_fingerprint_alone_serves_embeddings_named_by_it_and_no_others(tmp_path: Path) -> None:
    assert "a" in brought(tmp_path, ModelIdentity.external(OTHER, 2), model_id=OTHER)
    with pytest.raises(FingerprintMismatch, match=OTHER[:12]):
        brought(tmp_path, ModelIdentity.external(NAME, 2), model_id=OTHER)


@pytest.mark.parametrize(
    "about",
    [
        {"model_id": NAME, "fingerprint": FINGERPRINT},
        {"model_id": "renamed", "fingerprint": FINGERPRINT},
        {"model_id": FINGERPRINT},
        {"model_id": "ViT-B-32::openai"},
        {},
    ],
)
def test_embeddings_take_text_vectors_by_fingerprint_else_by_name(
    tmp_path: Path, about: dict[str, str]
) -> None:
    assert "a" in brought(tmp_path, EMBEDDED, **about)


@pytest.mark.parametrize(
    "about",
    [
        {"model_id": NAME, "fingerprint": OTHER},
        {"model_id": OTHER},
        {"model_id": "ViT-B-16::openai"},
        {"model_id": "::"},
    ],
)
def test_the_same_name_does_not_excuse_another_fingerprint(
    tmp_path: Path, about: dict[str, str]
) -> None:
    with pytest.raises(FingerprintMismatch, match="clipcal prompts encode"):
        brought(tmp_path, EMBEDDED, **about)


def test_text_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FingerprintMismatch, match="2 numbers, the corpus of 3"):
        brought(tmp_path, ModelIdentity.external(NAME, 3), model_id=NAME)
