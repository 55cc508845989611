"""Text vectors survive files, are made once per model, and become a prompt set's matrix."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
from clipcal.prompts.encode import cache_home, encode_sentences, encode_set
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import Category, PromptSet, load_prompt_set
from clipcal.prompts.resolve import text_vectors
from clipcal.prompts.vectors import TextVectors

FINGERPRINT = "f" * 64
SET = PromptSet(
    "test",
    (),
    ("{}", "a {}"),
    (Category("animals", ("dog", "cat"), ("car",)), Category("cars", ("car",), ())),
)


class FakeEncoder:
    """A text encoder that draws each sentence's vector from a seed of its letters."""

    dim = 8
    provider = "Fake"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.opened = 0

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        self.seen += sentences
        drawn = [np.random.default_rng(list(s.encode())).normal(size=self.dim) for s in sentences]
        return np.array(drawn, np.float32)

    def open(self) -> FakeEncoder:
        self.opened += 1
        return self


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def encode(encoder: FakeEncoder, tmp_path: Path) -> Callable[..., TextVectors]:
    return partial(
        encode_sentences, fingerprint=FINGERPRINT, open_encoder=encoder.open, cache=tmp_path
    )


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


# --- a prompt set's matrix -------------------------------------------------------------------


def test_each_sentence_is_the_normalised_mean_over_the_templates(encoder: FakeEncoder) -> None:
    vectors = TextVectors(SET.sentences, encoder.encode(SET.sentences), "model")
    built = build(SET, vectors)
    rows = []
    for word in ("dog", "cat", "car", "car"):
        mean = (vectors.of(word) + vectors.of(f"a {word}")) / 2
        rows.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(built.matrix, rows, atol=1e-6)
    assert built.matrix.dtype == np.float32
    assert built.prompt_set is SET
    assert built.model == "model"


def test_columns_cut_the_matrix_into_prompts_and_contrasts(encoder: FakeEncoder) -> None:
    built = build(SET, TextVectors(SET.sentences, encoder.encode(SET.sentences)))
    (dogs_and_cats, car), (cars, nothing) = built.columns
    assert (dogs_and_cats, car, cars) == (slice(0, 2), slice(2, 3), slice(3, 4))
    assert built.matrix[nothing].shape == (0, 8)
    np.testing.assert_array_equal(built.matrix[car], built.matrix[cars])


def test_one_template_leaves_the_vectors_as_they_are(encoder: FakeEncoder) -> None:
    plain = PromptSet("p", (), ("{}",), (Category("a", ("x", "y")),))
    vectors = TextVectors(("x", "y"), encoder.encode(["x", "y"]))
    np.testing.assert_array_equal(build(plain, vectors).matrix, vectors.vectors)


def test_a_set_whose_sentences_lack_vectors_is_refused() -> None:
    vectors = TextVectors(("dog", "a dog"), np.eye(2, dtype=np.float32))
    with pytest.raises(PromptError) as caught:
        build(SET, vectors)
    message = str(caught.value)
    assert message.startswith("4 of 6 sentences have no text vector: 'cat'")
    assert "and 1 more" in message
    assert "clipcal prompts encode test -o" in message


def test_templates_that_cancel_out_are_refused() -> None:
    opposed = PromptSet("p", (), ("{}", "no {}"), (Category("a", ("x",)),))
    with pytest.raises(PromptError, match="zero"):
        build(opposed, TextVectors(("x", "no x"), np.array([[1.0, 0], [-1, 0]], np.float32)))


def test_real_text_vectors_of_a_foreign_file_serve_a_prompt_set(shared_data: Path) -> None:
    path = shared_data / "cifar10h-vitb32" / "text_vectors.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    vectors = TextVectors.load(path)
    assert vectors.model is None
    assert vectors.vectors.shape == (500, 512)
    names = ("airplane", "cat", "dog", "deer", "frog", "horse", "truck", "bird", "car")
    categories = tuple(Category(name, (f"a {name}",)) for name in names)
    built = build(PromptSet("cifar", (), ("{}",), categories), vectors)
    similar = built.matrix @ built.matrix.T
    np.testing.assert_allclose(np.diag(similar), 1, atol=1e-5)
    off = similar - 2 * np.eye(len(names))
    assert names[int(np.argmax(off[names.index("cat")]))] == "dog"


# --- encoding and its cache ------------------------------------------------------------------


def test_only_what_is_missing_is_encoded_and_the_model_is_opened_only_then(
    encode: Callable[..., TextVectors], encoder: FakeEncoder
) -> None:
    first = encode(["x", "y", "x"])
    assert first.sentences == ("x", "y")
    assert (first.model, first.fingerprint) == (None, FINGERPRINT)
    second = encode(["z", "y"])
    assert encoder.seen == ["x", "y", "z"]
    assert second.sentences == ("z", "y")
    np.testing.assert_array_equal(second.of("y"), first.of("y"))
    encode(["y", "x", "z"])
    assert encoder.opened == 2


def test_the_cache_tells_cases_apart(
    encode: Callable[..., TextVectors], encoder: FakeEncoder
) -> None:
    encode(["Turkey"])
    encode(["turkey"])
    assert encoder.seen == ["Turkey", "turkey"]


def test_a_set_is_encoded_with_all_its_sentences(encoder: FakeEncoder, tmp_path: Path) -> None:
    vectors = encode_set(SET, FINGERPRINT, encoder.open, cache=tmp_path)
    assert vectors.sentences == SET.sentences
    assert build(SET, vectors).matrix.shape == (4, 8)


def test_models_do_not_share_a_cache(encoder: FakeEncoder, tmp_path: Path) -> None:
    for fingerprint in ("1" * 64, "2" * 64):
        encode_sentences(["x"], fingerprint, encoder.open, cache=tmp_path)
    assert encoder.seen == ["x", "x"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 damaged"])
def test_a_damaged_cache_is_made_again_with_a_note(
    encode: Callable[..., TextVectors],
    encoder: FakeEncoder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: bytes,
) -> None:
    encode(["x"])
    (tmp_path / "text" / f"{FINGERPRINT}.npz").write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        encode(["x"])
    assert "made again" in caplog.text
    assert encoder.seen == ["x", "x"]
    encode(["x"])
    assert encoder.seen == ["x", "x"]


def test_a_cache_file_of_another_model_is_not_believed(
    encode: Callable[..., TextVectors], encoder: FakeEncoder, tmp_path: Path
) -> None:
    file = tmp_path / "text" / f"{FINGERPRINT}.npz"
    file.parent.mkdir()
    TextVectors(("x",), np.ones((1, 8), np.float32), fingerprint="0" * 64).save(file)
    encode(["x"])
    assert encoder.seen == ["x"]


@pytest.mark.parametrize("blocked", ["file", "permission"])
def test_a_cache_that_cannot_be_written_costs_a_note_only(
    encoder: FakeEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture, blocked: str
) -> None:
    cache = tmp_path / "cache"
    if blocked == "file":
        cache.write_text("not a folder")
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    else:
        cache.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with caplog.at_level(logging.WARNING):
        vectors = encode_sentences(["x"], FINGERPRINT, encoder.open, cache=cache)
    assert vectors.sentences == ("x",)
    assert "not cached" in caplog.text


def test_who_only_reads_the_cache_writes_nothing(encoder: FakeEncoder, tmp_path: Path) -> None:
    encode = partial(encode_sentences, fingerprint=FINGERPRINT, open_encoder=encoder.open)
    unkept = encode(["x"], cache=tmp_path / "none", keep=False)
    assert not (tmp_path / "none").exists()
    kept = encode(["x"], cache=tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    again = encode(["x", "y"], cache=tmp_path, keep=False)
    assert encoder.seen == ["x", "x", "y"]
    np.testing.assert_array_equal(unkept.vectors, kept.vectors)
    np.testing.assert_array_equal(again.of("x"), kept.of("x"))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_encoders_at_work_at_once_lose_no_sentence(tmp_path: Path, encoder: FakeEncoder) -> None:
    def encode_one(number: int) -> TextVectors:
        sentences = [f"sentence {number}", "shared"]
        return encode_sentences(sentences, FINGERPRINT, encoder.open, cache=tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(encode_one, range(16)))
    held = TextVectors.load(tmp_path / "text" / f"{FINGERPRINT}.npz")
    assert sorted(held.sentences) == sorted([*(f"sentence {n}" for n in range(16)), "shared"])
    assert encoder.seen.count("shared") == 1


def test_an_encoder_that_returns_nan_fills_no_cache(tmp_path: Path) -> None:
    class Broken(FakeEncoder):
        def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
            return np.full((len(sentences), self.dim), np.nan, np.float32)

    with pytest.raises(PromptError, match="The text encoder returned"):
        encode_sentences(["x"], FINGERPRINT, Broken, cache=tmp_path)
    assert not list(tmp_path.rglob("*.npz"))


def test_no_sentences_are_refused(encode: Callable[..., TextVectors]) -> None:
    with pytest.raises(PromptError, match="no sentence"):
        encode([])


def test_the_cache_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: FakeEncoder
) -> None:
    monkeypatch.setenv("CLIPCAL_CACHE", str(tmp_path / "here"))
    assert cache_home() == tmp_path / "here"
    encode_sentences(["x"], FINGERPRINT, encoder.open)
    assert (tmp_path / "here" / "text" / f"{FINGERPRINT}.npz").is_file()


@pytest.mark.parametrize("name", ["demo", "moderation"])
def test_packaged_sets_encode_and_build(name: str, encoder: FakeEncoder, tmp_path: Path) -> None:
    prompt_set = load_prompt_set(name)
    built = build(prompt_set, encode_set(prompt_set, FINGERPRINT, encoder.open, cache=tmp_path))
    count = sum(len(c.prompts) + len(c.against) for c in prompt_set.categories)
    assert built.matrix.shape == (count, 8)
