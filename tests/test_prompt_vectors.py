"""Sentences are encoded once per model, and become a prompt set's matrix."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcal.errors import PromptError
from clipcal.prompts.encode import cache_home, encode_sentences, encode_set
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import Category, PromptSet, load_prompt_set
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
