"""Laws of the shared encoder: fuller batches under load, and nobody pays for another's failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM
from service_case import picture, settings_of

from clipcal.errors import ImageError, ProviderError
from clipcal.models.identity import ModelIdentity
from clipcal.models.registry import find_bundle
from clipcal.prompts.vectors import TextVectors
from clipcal.service.gate.problems import Refused
from clipcal.service.model.batching import Batches
from clipcal.service.model.encoder import SENTENCES_KEPT, SharedEncoder
from clipcal.service.settings import Limits, Settings


class Stand:
    """Stands in for a model: doubles numbers, and waits where it is told to."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.free = threading.Event()
        self.entered = threading.Semaphore(0)
        self.free.set()

    def __call__(self, numbers: list[int]) -> np.ndarray:
        self.calls.append(len(numbers))
        self.entered.release()
        assert self.free.wait(30)
        if -1 in numbers:
            raise ProviderError("the model failed")
        return np.array([[2 * number] * DIM for number in numbers], np.float32)


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def batches(stand: Stand) -> Iterator[Batches[int]]:
    made = Batches(stand, largest=8, threads=1, waiting=20)
    yield made
    stand.free.set()
    made.close()


def occupy(batches: Batches[int], stand: Stand) -> None:
    """Hold the only thread on a batch of its own."""
    stand.free.clear()
    batches.submit([0])
    assert stand.entered.acquire(timeout=30)


def test_who_comes_alone_waits_for_nobody(batches: Batches[int], stand: Stand) -> None:
    (future,) = batches.submit([3])
    assert future.result(30)[0] == 6
    assert stand.calls == [1]


def test_what_waits_together_runs_together_and_each_gets_its_own(
    batches: Batches[int], stand: Stand
) -> None:
    occupy(batches, stand)
    futures = [batches.submit([number])[0] for number in range(1, 13)]
    assert batches.waiting == 12
    stand.free.set()
    assert [int(future.result(30)[0]) for future in futures] == [2 * n for n in range(1, 13)]
    assert stand.calls == [1, 8, 4]


def test_a_full_queue_is_refused_whole(batches: Batches[int], stand: Stand) -> None:
    occupy(batches, stand)
    batches.submit(range(18))
    with pytest.raises(Refused) as refused:
        batches.submit([1, 2, 3])
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    assert batches.waiting == 18
    batches.submit([1, 2])


def test_what_is_taken_back_is_not_encoded(batches: Batches[int], stand: Stand) -> None:
    occupy(batches, stand)
    left, kept = batches.submit([1, 2])
    assert left.cancel()
    stand.free.set()
    assert kept.result(30)[0] == 4
    assert stand.calls == [1, 1]


def test_a_failure_is_told_to_those_who_wait_for_it_and_the_work_goes_on(
    batches: Batches[int], stand: Stand
) -> None:
    occupy(batches, stand)
    futures = batches.submit([-1, 1])
    stand.free.set()
    for future in futures:
        with pytest.raises(ProviderError, match="the model failed"):
            future.result(30)
    assert batches.submit([5])[0].result(30)[0] == 10


def test_a_model_that_answers_too_little_is_a_failure_too() -> None:
    made = Batches(lambda numbers: np.zeros((1, DIM), np.float32), largest=8, threads=1, waiting=9)
    try:
        for future in made.submit([1, 2]):
            with pytest.raises(ValueError, match="shorter"):
                future.result(30)
        assert made.submit([1])[0].result(30).shape == (DIM,)
    finally:
        made.close()


def test_closing_ends_the_threads_and_refuses_what_waits(stand: Stand) -> None:
    made = Batches(stand, largest=8, threads=2, waiting=20, name="closing")
    stand.free.clear()
    running = []
    for number in (1, 2):
        running += made.submit([number])
        assert stand.entered.acquire(timeout=30)
    (waiting,) = made.submit([3])
    closing = threading.Thread(target=made.close)
    closing.start()
    with pytest.raises(Refused, match="ending"):
        waiting.result(30)
    stand.free.set()
    closing.join(30)
    assert [int(future.result(30)[0]) for future in running] == [2, 4]
    assert not [t for t in threading.enumerate() if t.name.startswith("closing")]
    with pytest.raises(Refused, match="ending"):
        made.submit([4])


# --- the encoder ------------------------------------------------------------------------------


class CountingEncoder:
    """Stands in for an image encoder: means of colours, counted, held up at will."""

    dim = 3
    provider = "Counting"
    arithmetic = "float32"
    note = None
    batch_sizes = (1, 8)
    streams = 1

    def __init__(self) -> None:
        self.stand = Stand()

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        self.stand([0] * len(pixels))
        means = pixels.mean(axis=(1, 2)).astype(np.float32) + 1
        return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> CountingEncoder:
    """Put the counting encoder in the place of every model's."""
    made = CountingEncoder()
    monkeypatch.setattr("clipcal.models.session.open_image_encoder", lambda *_, **__: made)
    return made


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[..., SharedEncoder]]:
    """Make shared encoders of the built-in model, with limits by their names."""
    made: list[SharedEncoder] = []

    def make(**limits: float) -> SharedEncoder:
        settings = settings_of(tmp_path, limits=Limits(**limits))  # type: ignore[arg-type]  # some are whole numbers
        identity = ModelIdentity.of_bundle(find_bundle("builtin"))
        made.append(SharedEncoder(settings, identity, exact=False))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_concurrent_clients_share_batches_and_get_what_they_would_get_alone(
    counting: CountingEncoder, share: Callable[..., SharedEncoder]
) -> None:
    encoder, images = share(), [picture(seed) for seed in range(24)]
    alone = [encoder.embed_images([image])[0] for image in images]
    counting.stand.calls.clear()
    counting.stand.free.clear()
    with ThreadPoolExecutor(24) as clients:
        asked = [clients.submit(encoder.embed_images, [image]) for image in images]
        until = time.monotonic() + 30
        while encoder.waiting + sum(counting.stand.calls) < 24 and time.monotonic() < until:
            time.sleep(0.01)
        counting.stand.free.set()
        together = [one.result(30)[0] for one in asked]
    np.testing.assert_array_equal(together, alone)
    assert sum(counting.stand.calls) == 24
    assert len(counting.stand.calls) <= 4


def test_an_image_that_cannot_be_read_fails_alone(
    counting: CountingEncoder, share: Callable[..., SharedEncoder]
) -> None:
    first, broken, last = share().embed_images([picture(1), b"no image", picture(2)])
    assert isinstance(broken, ImageError)
    assert not isinstance(first, ImageError)
    assert not isinstance(last, ImageError)
    assert share().embed_images([b""])[0].args == ("zero bytes",)


def test_images_over_the_limit_are_not_decoded(
    counting: CountingEncoder, share: Callable[..., SharedEncoder]
) -> None:
    (error,) = share(pixels=1000).embed_images([picture(size=(40, 30))])
    assert "over the limit" in str(error)
    assert counting.stand.calls == []


def test_who_gives_up_takes_back_what_has_not_begun_and_others_go_on(
    counting: CountingEncoder, share: Callable[..., SharedEncoder]
) -> None:
    encoder = share(seconds=0.5)
    counting.stand.free.clear()
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(encoder.embed_images, [picture(1)])
        assert counting.stand.entered.acquire(timeout=30)
        second = clients.submit(encoder.embed_images, [picture(2)])
        for late in (first, second):
            with pytest.raises(Refused) as refused:
                late.result(30)
            assert refused.value.status == 504
    counting.stand.free.set()
    assert len(encoder.embed_images([picture(3)])) == 1
    assert sum(counting.stand.calls) == 2  # the one that had begun, and the last


def test_a_model_is_opened_once_and_by_need(
    monkeypatch: pytest.MonkeyPatch, share: Callable[..., SharedEncoder]
) -> None:
    opened, made = [], CountingEncoder()

    def slowly(*_: object, **__: object) -> CountingEncoder:
        opened.append(threading.get_ident())
        time.sleep(0.05)
        return made

    monkeypatch.setattr("clipcal.models.session.open_image_encoder", slowly)
    encoder = share()
    assert encoder.status.provider is None
    with ThreadPoolExecutor(6) as clients:
        list(clients.map(lambda seed: encoder.embed_images([picture(seed)]), range(6)))
    assert len(opened) == 1
    assert encoder.status.provider == "Counting"


def test_a_model_that_could_not_be_opened_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, share: Callable[..., SharedEncoder]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ProviderError("there is no such device")

    encoder = share()
    monkeypatch.setattr("clipcal.models.session.open_image_encoder", broken)
    with pytest.raises(ProviderError):
        encoder.open()
    assert encoder.status.problem == "there is no such device"
    monkeypatch.setattr(
        "clipcal.models.session.open_image_encoder", lambda *_, **__: CountingEncoder()
    )
    encoder.open()
    assert (encoder.status.problem, encoder.status.provider) == (None, "Counting")


# --- sentences --------------------------------------------------------------------------------


class CountingTexts:
    """Stands in for a text encoder: a vector by a sentence's length."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, sentences: list[str]) -> np.ndarray:
        self.seen += sentences
        angles = np.array([len(sentence) for sentence in sentences])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> CountingTexts:
    """Put the counting text encoder in the place of every model's."""
    made = CountingTexts()
    monkeypatch.setattr("clipcal.models.session.open_text_encoder", lambda *_, **__: made)
    return made


def test_a_sentence_is_encoded_once_and_rows_are_in_the_order_asked(
    texts: CountingTexts, share: Callable[..., SharedEncoder]
) -> None:
    encoder = share()
    first = encoder.embed_sentences(["a", "bb", "a"])
    np.testing.assert_array_equal(first[0], first[2])
    again = encoder.embed_sentences(["ccc", "bb"])
    np.testing.assert_array_equal(again[1], first[1])
    assert texts.seen == ["a", "bb", "ccc"]


def test_the_sentences_kept_are_bounded(
    texts: CountingTexts, share: Callable[..., SharedEncoder]
) -> None:
    encoder = share()
    encoder.embed_sentences(["first"])
    encoder.embed_sentences([f"{number}" for number in range(SENTENCES_KEPT)])
    encoder.embed_sentences(["first"])
    assert texts.seen.count("first") == 2


def test_sentences_touch_no_file(
    texts: CountingTexts,
    share: Callable[..., SharedEncoder],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CLIPCAL_CACHE", str(tmp_path / "cache"))
    share().embed_sentences(["a sentence"])
    assert not (tmp_path / "cache").exists()


def test_vectors_that_were_brought_need_no_model(tmp_path: Path) -> None:
    vectors = np.eye(2, DIM, dtype=np.float32)
    file = tmp_path / "vectors.npz"
    TextVectors(("a cat", "a dog"), vectors, model="tiny::test").save(file)
    settings = Settings(tmp_path / "corpus", prompt_vectors=file)
    encoder = SharedEncoder(settings, ModelIdentity.external("tiny::test", DIM), exact=True)
    np.testing.assert_array_equal(encoder.embed_sentences(["a dog", "a cat"]), vectors[::-1])
    encoder.close()
