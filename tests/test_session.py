"""Laws of the encoders: fixed batch sizes, the same bits in any company, clear errors."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from clipcal.models.bundle import Bundle
from clipcal.models.runtimes import choice
from clipcal.models.runtimes.base import GraphFile, Port
from clipcal.models.runtimes.batches import BatchedGraph
from clipcal.models.session import open_image_encoder, open_text_encoder, split_batch

ON_THIS_CPU = [device for device in ("cpu", "openvino") if choice.obstacle(device) is None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def copy(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "small")


@pytest.fixture(params=ON_THIS_CPU)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- embeddings -------------------------------------------------------------------------------


def test_rows_are_float32_of_unit_length(bundle: Bundle, device: str) -> None:
    embeddings = open_image_encoder(bundle, device=device).encode(noise(5))
    assert embeddings.shape == (5, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 8, 32])
def test_a_row_is_the_same_bits_whatever_shares_its_batch(
    bundle: Bundle, device: str, size: int
) -> None:
    encoder = open_image_encoder(bundle, device=device, batch_sizes=(size,))
    pixels = noise(32)
    expected = encoder.encode(pixels)
    order = np.random.default_rng(1).permutation(32)
    np.testing.assert_array_equal(encoder.encode(pixels[order]), expected[order])
    strangers = np.concatenate([noise(3, seed=9), pixels[:6], noise(7, seed=8)])
    np.testing.assert_array_equal(encoder.encode(strangers)[3:9], expected[:6])


@pytest.mark.parametrize("size", [4, 32])
def test_splitting_the_work_leaves_the_bits(bundle: Bundle, device: str, size: int) -> None:
    encoder = open_image_encoder(bundle, device=device, batch_sizes=(size,))
    pixels = noise(45)
    parts = [encoder.encode(part) for part in np.split(pixels, [1, 4, 17, 44])]
    np.testing.assert_array_equal(np.concatenate(parts), encoder.encode(pixels))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_that_encode_at_once_get_the_bits_of_one_that_encodes_alone(
    bundle: Bundle, device: str, threads: int
) -> None:
    encoder = open_image_encoder(bundle, device=device, threads=threads)
    pixels = noise(45)
    starts, counts = range(0, 29, 4), (16, 4, 1)
    alone = {(s, n): encoder.encode(pixels[s : s + n]) for s in starts for n in counts}

    def encode(part: tuple[int, int]) -> bool:
        start, count = part
        together = encoder.encode(pixels[start : start + count])
        return bool(np.array_equal(together, alone[part]))

    with ThreadPoolExecutor(encoder.streams + 2) as pool:
        assert all(pool.map(encode, [*alone] * 5))


def test_batch_sizes_agree_to_rounding(bundle: Bundle, device: str) -> None:
    pixels = noise(32)
    one, many = (
        open_image_encoder(bundle, device=device, batch_sizes=(size,)).encode(pixels)
        for size in (1, 32)
    )
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_threads_change_no_embedding_beyond_rounding(bundle: Bundle, device: str) -> None:
    one, two = (
        open_image_encoder(bundle, device=device, threads=count).encode(noise(9))
        for count in (1, 2)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_no_images_and_no_sentences_give_no_rows(bundle: Bundle, device: str) -> None:
    assert open_image_encoder(bundle, device=device).encode(noise(0)).shape == (0, DIM)
    assert open_text_encoder(bundle, device=device).encode([]).shape == (0, DIM)


def test_a_sentence_is_embedded_by_its_words(bundle: Bundle, device: str) -> None:
    encoder = open_text_encoder(bundle, device=device)
    cat, same, dog = encoder.encode(["a photo of a cat", "A  PHOTO of a Cat", "a dog"])
    np.testing.assert_array_equal(cat, same)
    assert abs(float(cat @ dog)) < 0.99


def test_sentences_do_not_depend_on_their_company(bundle: Bundle, device: str) -> None:
    encoder = open_text_encoder(bundle, device=device)
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
    seen: list[int] = []

    class Spy(onnxruntime.InferenceSession):  # type: ignore[misc]  # untyped base
        def run(self, names: Any, feed: Any, options: Any = None) -> Any:
            seen.extend(len(rows) for rows in feed.values())
            return super().run(names, feed, options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Spy)
    encoder = open_image_encoder(bundle, device="cpu")
    for count in (1, 2, 7, 9, 31, 33, 70):
        encoder.encode(noise(count))
    assert set(seen) == set(encoder.batch_sizes) == {1, 4, 16}


class Summing:
    """A session of two streams that adds up a row; `before` is done before every batch."""

    provider, arithmetic, streams, batch_sizes = "Sum", "float32", 2, (1,)
    ports = (Port("int64", (2,)), Port("float32", (1,)))

    def __init__(self, before: Callable[[Any], object]) -> None:
        self._before = before

    def run(self, rows: Any) -> Any:
        self._before(rows)
        return rows.sum(axis=1, keepdims=True).astype(np.float32)


def batched(before: Callable[[Any], object]) -> BatchedGraph:
    file = GraphFile(Path("sum.onnx"), "", "fp32", (2,), threads=2)
    return BatchedGraph(file, Summing(before), "int64", 1)


def test_the_batches_of_one_caller_run_in_all_streams_and_come_in_order() -> None:
    two = threading.Barrier(2, timeout=20)  # each batch waits for another one beside it
    rows = np.arange(16).reshape(8, 2)
    found = batched(lambda _: two.wait()).run(rows)
    np.testing.assert_array_equal(found[:, 0], rows.sum(axis=1))


def test_a_batch_that_fails_among_others_is_told_and_spoils_no_later_call() -> None:
    def before(rows: Any) -> None:
        if 13 in rows:
            raise RuntimeError("unlucky")

    graph = batched(before)
    rows = np.arange(16).reshape(8, 2)
    with pytest.raises(ProviderError, match="Sum failed on a batch of 1: unlucky"):
        graph.run(rows)
    np.testing.assert_array_equal(graph.run(rows[:6])[:, 0], rows[:6].sum(axis=1))


def test_the_threads_of_an_encoder_end_with_it(bundle: Bundle) -> None:
    before = set(threading.enumerate())
    encoder = open_image_encoder(bundle, device="cpu", threads=2)
    encoder.encode(noise(1))
    assert set(threading.enumerate()) <= before  # one batch needs none
    encoder.encode(noise(40))
    began = set(threading.enumerate()) - before
    assert began
    del encoder
    gc.collect()
    for thread in began:
        thread.join(20)
    assert not any(thread.is_alive() for thread in began)


def test_memory_stays_flat_over_many_batches(bundle: Bundle, device: str) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell a process's memory")
    encoder = open_image_encoder(bundle, device=device, threads=2)
    batches = [noise(count) for count in (1, 16, 33, 5, 20)]

    def embed_all() -> int:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(encoder.encode, batches * 10))
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    embed_all()
    before = embed_all()
    assert max(embed_all() for _ in range(4)) - before < 8 * 2**20


def test_rows_of_the_wrong_shape_are_a_programming_error(bundle: Bundle, device: str) -> None:
    with pytest.raises(ValueError, match="the graph takes"):
        open_image_encoder(bundle, device=device).encode(noise(2)[:, :16])


@pytest.mark.parametrize(
    ("provider", "advice"),
    [
        ("CPUExecutionProvider", "a smaller model."),
        ("CUDAExecutionProvider", "a smaller model, or --device cpu."),
    ],
)
def test_a_batch_that_fails_sends_to_the_cpu_only_from_elsewhere(
    bundle: Bundle, provider: str, advice: str
) -> None:
    class Full:
        batch_sizes: Sequence[int] = (1, 8)

        def run(self, rows: Any) -> Any:
            raise RuntimeError("out of memory\nand much more")

    full = Full()
    full.provider = provider  # type: ignore[attr-defined]  # a parameter cannot be named in the class
    encoder = open_image_encoder(bundle, device="cpu")
    encoder._graph.session = full  # type: ignore[attr-defined]  # the protocol does not show it
    with pytest.raises(ProviderError) as info:
        encoder.encode(noise(5))
    assert str(info.value) == f"{provider} failed on a batch of 8: out of memory. Next: {advice}"


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"this is no graph", b"\x08\x09\x12"])
@pytest.mark.parametrize("device", choice.DEVICES)
def test_a_damaged_graph_is_one_clear_line(
    copy: Bundle, damage: bytes, device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    copy.visual.write_bytes(damage)
    with pytest.raises(BundleError, match=r"visual.onnx .*clipcal export") as info:
        open_image_encoder(copy, device=device)
    assert capfd.readouterr() == ("", "")
    assert "\n" not in str(info.value)


def test_half_a_graph_is_refused(copy: Bundle, device: str) -> None:
    whole = copy.visual.read_bytes()
    copy.visual.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="cannot be opened"):
        open_image_encoder(copy, device=device)


def test_a_graph_that_does_not_fit_its_manifest_is_refused(copy: Bundle, device: str) -> None:
    copy.visual.write_bytes(visual_graph(dim=DIM + 1).SerializeToString())
    with pytest.raises(BundleError, match="does not fit its manifest"):
        open_image_encoder(write_manifest(copy.path), device=device)


def test_a_text_graph_in_place_of_the_image_graph_is_refused(copy: Bundle, device: str) -> None:
    copy.visual.write_bytes(copy.textual.read_bytes())
    with pytest.raises(BundleError, match=rf"int64.*{LENGTH}"):
        open_image_encoder(copy, device=device)
