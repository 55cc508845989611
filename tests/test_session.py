"""Laws of the encoders: fixed batch sizes, devices that are what they say, clear errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")
from small_bundle import DIM, LENGTH, SIDE, visual_graph, write_bundle, write_manifest

from clipcal.errors import BundleError, ProviderError
from clipcal.models import session
from clipcal.models.bundle import Bundle
from clipcal.models.session import open_image_encoder, open_text_encoder, split_batch

_real_session = session._new_session


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def copy(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "small")


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- embeddings -------------------------------------------------------------------------------


def test_rows_are_float32_of_unit_length(bundle: Bundle) -> None:
    embeddings = open_image_encoder(bundle, device="cpu").encode(noise(5))
    assert embeddings.shape == (5, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 8, 32])
def test_a_row_is_the_same_bits_whatever_shares_its_batch(bundle: Bundle, size: int) -> None:
    encoder = open_image_encoder(bundle, device="cpu", batch_sizes=(size,))
    pixels = noise(32)
    expected = encoder.encode(pixels)
    order = np.random.default_rng(1).permutation(32)
    np.testing.assert_array_equal(encoder.encode(pixels[order]), expected[order])
    strangers = np.concatenate([noise(3, seed=9), pixels[:6], noise(7, seed=8)])
    np.testing.assert_array_equal(encoder.encode(strangers)[3:9], expected[:6])


@pytest.mark.parametrize("size", [4, 32])
def test_splitting_the_work_leaves_the_bits(bundle: Bundle, size: int) -> None:
    encoder = open_image_encoder(bundle, device="cpu", batch_sizes=(size,))
    pixels = noise(45)
    parts = [encoder.encode(part) for part in np.split(pixels, [1, 4, 17, 44])]
    np.testing.assert_array_equal(np.concatenate(parts), encoder.encode(pixels))


def test_batch_sizes_agree_to_rounding(bundle: Bundle) -> None:
    pixels = noise(32)
    one, many = (
        open_image_encoder(bundle, device="cpu", batch_sizes=(size,)).encode(pixels)
        for size in (1, 32)
    )
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_threads_change_no_embedding_beyond_rounding(bundle: Bundle) -> None:
    one, two = (
        open_image_encoder(bundle, device="cpu", threads=count).encode(noise(9)) for count in (1, 2)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_no_images_and_no_sentences_give_no_rows(bundle: Bundle) -> None:
    assert open_image_encoder(bundle, device="cpu").encode(noise(0)).shape == (0, DIM)
    assert open_text_encoder(bundle, device="cpu").encode([]).shape == (0, DIM)


def test_a_sentence_is_embedded_by_its_words(bundle: Bundle) -> None:
    encoder = open_text_encoder(bundle, device="cpu")
    cat, same, dog = encoder.encode(["a photo of a cat", "A  PHOTO of a Cat", "a dog"])
    np.testing.assert_array_equal(cat, same)
    assert abs(float(cat @ dog)) < 0.99


def test_sentences_do_not_depend_on_their_company(bundle: Bundle) -> None:
    encoder = open_text_encoder(bundle, device="cpu")
    alone = encoder.encode(["a knife"])
    among = encoder.encode(["a knife", *(f"a dog {number}" for number in range(40))])
    np.testing.assert_allclose(among[:1], alone, atol=1e-6)


# --- batches ----------------------------------------------------------------------------------


@given(
    count=st.integers(0, 500),
    sizes=st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_only_the_last_batch_is_padded_and_by_less_than_it_holds(
    count: int, sizes: list[int]
) -> None:
    batches = list(split_batch(count, sizes))
    assert set(batches) <= set(sizes)
    assert sum(batches) >= count
    if batches:
        real = count - sum(batches[:-1])
        assert real > 0
        # A batch is half empty at most, unless no size is small enough to avoid it.
        assert 2 * real >= batches[-1] or batches[-1] == sizes[0]


def test_the_graph_only_sees_the_sizes_announced(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Spy(onnxruntime.InferenceSession):  # type: ignore[misc]  # untyped base
        def run(self, names: Any, feed: Any, options: Any = None) -> Any:
            seen.extend(len(rows) for rows in feed.values())
            return super().run(names, feed, options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Spy)
    encoder = open_image_encoder(bundle, device="cpu")
    for count in (1, 2, 7, 9, 31, 33, 70):
        encoder.encode(noise(count))
    assert set(seen) == set(encoder.batch_sizes) == {1, 8, 32}


def test_memory_stays_flat_over_many_batches(bundle: Bundle) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell a process's memory")
    encoder = open_image_encoder(bundle, device="cpu", threads=1)
    batches = [noise(count) for count in (1, 8, 32, 5, 20)]

    def embed_all() -> int:
        for batch in batches * 10:
            encoder.encode(batch)
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    embed_all()
    before = embed_all()
    assert max(embed_all() for _ in range(4)) - before < 8 * 2**20


def test_rows_of_the_wrong_shape_are_a_programming_error(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="the graph takes"):
        open_image_encoder(bundle, device="cpu").encode(noise(2)[:, :16])


def test_a_batch_that_fails_sends_to_the_cpu_only_from_elsewhere(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = open_image_encoder(bundle, device="cpu")
    graph = encoder._graph  # type: ignore[attr-defined]  # the protocol does not show it

    class Full:
        def run(self, *_: Any) -> Any:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(graph, "session", Full())
    with pytest.raises(ProviderError, match=r"out of memory\. Next: a smaller model\.$"):
        encoder.encode(noise(1))
    monkeypatch.setattr(graph, "provider", "CUDAExecutionProvider")
    with pytest.raises(ProviderError, match=r"or --device cpu\.$"):
        encoder.encode(noise(1))


# --- devices ----------------------------------------------------------------------------------


def test_the_cpu_is_called_by_its_name(bundle: Bundle) -> None:
    assert open_image_encoder(bundle, device="cpu").provider == "CPUExecutionProvider"
    assert open_text_encoder(bundle, device="cpu").provider == "CPUExecutionProvider"


def test_an_unknown_device_is_refused_with_the_known_ones(bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match="auto, cpu, cuda"):
        open_image_encoder(bundle, device="tpu")


class Pretender:
    """A session that says which provider it ended up with, whatever was asked."""

    def __init__(self, file: Path, provider: str) -> None:
        self._real = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self._provider = provider

    def get_providers(self) -> list[str]:
        return [self._provider, "CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


Opener = Callable[[Path, Any, list[Any]], Any]


def pretend(monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[[Path], Any]) -> None:
    """Let CUDA look possible; `on_cuda` makes what then really opens."""

    def opener(file: Path, options: Any, providers: list[Any]) -> Any:
        asked = [each if isinstance(each, str) else each[0] for each in providers]
        if "CUDAExecutionProvider" in asked:
            return on_cuda(file)
        return _real_session(file, options, providers)

    monkeypatch.setattr(session, "cuda_obstacle", lambda: None)
    monkeypatch.setattr(session, "_new_session", opener)


def failing(file: Path) -> Any:
    raise RuntimeError("CUDA failure 2: out of memory\nand much more")


def test_auto_takes_cuda_where_it_starts(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, lambda file: Pretender(file, "CUDAExecutionProvider"))
    encoder = open_image_encoder(bundle, device="auto")
    assert encoder.provider == "CUDAExecutionProvider"
    assert encoder.batch_sizes == (1, 8, 32, 128)


@pytest.mark.parametrize("on_cuda", [failing, lambda file: Pretender(file, "CPUExecutionProvider")])
def test_cuda_that_does_not_start_is_an_error_if_asked_for_and_the_cpu_if_not(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[[Path], Any]
) -> None:
    pretend(monkeypatch, on_cuda)
    assert open_image_encoder(bundle, device="auto").provider == "CPUExecutionProvider"
    with pytest.raises(ProviderError, match=r"asked for and is not there: .*--device cpu") as info:
        open_image_encoder(bundle, device="cuda")
    assert "\n" not in str(info.value)


def test_without_a_driver_cuda_names_the_driver(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(session.ctypes, "CDLL", no_library)
    with pytest.raises(ProviderError, match=r"no NVIDIA driver .* Next: .*--device cpu"):
        open_image_encoder(bundle, device="cuda")


def test_a_runtime_for_the_cpu_alone_names_the_extra(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert open_image_encoder(bundle).provider == "CPUExecutionProvider"
    with pytest.raises(ProviderError, match=r"pip install 'clipcal\[gpu\]'"):
        open_text_encoder(bundle, device="cuda")


def test_a_batch_that_fails_tells_size_and_next_step(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted(Pretender):
        def run(self, *_: Any) -> Any:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 9")

    pretend(monkeypatch, lambda file: Exhausted(file, "CUDAExecutionProvider"))
    with pytest.raises(ProviderError, match=r"batch of 8: Failed to allocate .*--device cpu"):
        open_image_encoder(bundle).encode(noise(8))


def test_opening_and_running_write_nothing(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    open_image_encoder(bundle, device="auto").encode(noise(3))
    with contextlib.suppress(ProviderError):
        open_text_encoder(bundle, device="cuda").encode(["a cat"])
    assert capfd.readouterr() == ("", "")


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"this is no graph", b"\x08\x09\x12"])
@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_a_damaged_graph_is_one_clear_line(copy: Bundle, damage: bytes, device: str) -> None:
    copy.visual.write_bytes(damage)
    with pytest.raises(BundleError, match=r"visual.onnx .*clipcal export") as info:
        open_image_encoder(copy, device=device)
    assert "\n" not in str(info.value)


def test_half_a_graph_is_refused(copy: Bundle) -> None:
    whole = copy.visual.read_bytes()
    copy.visual.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="cannot be opened"):
        open_image_encoder(copy, device="cpu")


def test_a_graph_that_does_not_fit_its_manifest_is_refused(copy: Bundle) -> None:
    copy.visual.write_bytes(visual_graph(dim=DIM + 1).SerializeToString())
    with pytest.raises(BundleError, match="does not fit its manifest"):
        open_image_encoder(write_manifest(copy.path), device="cpu")


def test_a_text_graph_in_place_of_the_image_graph_is_refused(copy: Bundle) -> None:
    copy.visual.write_bytes(copy.textual.read_bytes())
    with pytest.raises(BundleError, match=rf"int64.*{LENGTH}"):
        open_image_encoder(copy, device="cpu")
