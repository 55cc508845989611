"""Laws of working ahead: order, bounds, several batches at once, and where the time went."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import IDENTITY, PREPROCESSING, TinyEncoder
from PIL import Image

from clipcal.commands.embed import embed_command
from clipcal.errors import StoreError
from clipcal.index.decoding import decoding_of
from clipcal.index.embed import EmbedOptions, EmbedReport, Progress, embed
from clipcal.index.interchange import export_vectors, import_vectors
from clipcal.index.pipeline import Inference, Reader, Room
from clipcal.index.queries import image_query
from clipcal.index.sources import discover
from clipcal.index.stages import Clock, Stages
from clipcal.index.store import Corpus, Outcome
from clipcal.models.preprocess import load_pixels

Run = Callable[..., EmbedReport]
Draw = Callable[..., Path]
SOON = 20  # seconds; only a failure waits so long


def run_with(encoder: TinyEncoder, corpus: Corpus, *sources: Path, **options: int) -> EmbedReport:
    found = discover([str(source) for source in sources])
    return embed(corpus, found, lambda: encoder, PREPROCESSING, EmbedOptions(**options))


def rows(corpus: Corpus) -> np.ndarray:
    return corpus.shards.take(np.arange(corpus.rows))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create(tmp_path / "corpus", IDENTITY)


# --- order and overlap ------------------------------------------------------------------------


class Backwards(TinyEncoder):
    """Lets the second batch finish before the first."""

    streams = 2

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()
        self._calls = 0
        self._second_is_done = threading.Event()

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        with self._turn:
            self._calls += 1
            call = self._calls
        if call == 1:
            assert self._second_is_done.wait(SOON), "the batches did not run at once"
        vectors = super().encode(pixels)
        if call == 2:
            self._second_is_done.set()
        return vectors


def test_batches_run_at_once_and_are_committed_in_the_order_of_the_files(
    run_embed: Run, pictures: Draw, corpus: Corpus, tmp_path: Path
) -> None:
    photos = pictures(22)
    run_embed(photos, corpus="plain")
    assert run_with(Backwards(), corpus, photos).embedded == 22
    np.testing.assert_array_equal(rows(corpus), rows(Corpus.open(tmp_path / "plain")))
    found, plain = corpus.items(), Corpus.open(tmp_path / "plain").items()
    assert [(i.uri, i.row) for i in found] == [(i.uri, i.row) for i in plain]


def test_an_encoder_is_called_by_no_more_threads_than_it_has_streams(
    pictures: Draw, corpus: Corpus
) -> None:
    now, most = [0], [0]

    class Watched(TinyEncoder):
        streams = 2

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            now[0] += 1
            most[0] = max(most[0], now[0])
            time.sleep(0.01)
            now[0] -= 1
            return super().encode(pixels)

    run_with(Watched(), corpus, pictures(40))
    assert most[0] <= 2


def test_reading_ahead_is_bounded_while_the_model_is_busy(
    pictures: Draw, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.index.pipeline.READ_AHEAD", 3)
    monkeypatch.setattr("clipcal.index.pipeline.BATCHES_AHEAD", 1)
    read: list[int] = []
    whole = Reader.read

    def counted(self: Reader, file: object) -> object:
        read.append(1)
        return whole(self, file)  # type: ignore[arg-type]  # passed on

    class Stalled(TinyEncoder):
        def encode(self, pixels: np.ndarray) -> np.ndarray:
            seen = -1
            while self.seen == 0 and seen != len(read):  # until nobody reads any more
                seen = len(read)
                time.sleep(0.2)
            self.most = max(getattr(self, "most", 0), len(read) - self.seen)
            return super().encode(pixels)

    monkeypatch.setattr(Reader, "read", counted)
    encoder = Stalled()
    run_with(encoder, corpus, pictures(60), workers=1)
    # In the model, waiting for it, the one that finds no place, and what lies ready.
    assert encoder.most <= 3 * 4 + (3 + 2) + 1


def test_a_copy_of_a_picture_under_way_is_not_embedded(pictures: Draw, corpus: Corpus) -> None:
    photos = pictures(24)
    for number in range(20):
        shutil.copy(photos / "00_0000.png", photos / f"00_{number:04d}_copy.png")
    encoder = Backwards()
    report = run_with(encoder, corpus, photos)
    assert (report.embedded, report.skipped, encoder.seen) == (24, 20, 24)
    assert len(corpus.uris_at(0)) == 21


def test_a_picture_given_up_takes_its_copies_with_it_however_far_they_lie(
    pictures: Draw, corpus: Corpus
) -> None:
    photos = pictures(30)
    for number in (1, 9, 29):
        shutil.copy(photos / "00_0000.png", photos / f"00_{number:04d}_copy.png")

    class Overflow(TinyEncoder):
        streams = 2

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            vectors = super().encode(pixels)
            first = load_pixels((photos / "00_0000.png").read_bytes(), PREPROCESSING)
            vectors[(pixels == first).all(axis=(1, 2, 3))] = np.inf
            return vectors

    report = run_with(Overflow(), corpus, photos)
    assert (report.embedded, report.skipped, report.failed) == (29, 0, 4)
    assert {i.reason for i in corpus.items("failed")} == {"the model gave no finite embedding"}
    assert np.isfinite(rows(corpus)).all()
    report = run_with(TinyEncoder(), corpus, photos)
    assert (report.embedded, report.skipped, report.failed) == (1, 32, 0)


def test_a_model_that_fails_ends_the_run_with_its_own_error(pictures: Draw, corpus: Corpus) -> None:
    class Broken(TinyEncoder):
        streams = 2

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            raise RuntimeError("out of memory")

    photos = pictures(30)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_with(Broken(), corpus, photos)
    assert corpus.rows == 0
    assert run_with(TinyEncoder(), corpus, photos).embedded == 30


# --- commits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "commits"), [(1000.0, 1), (0.0, 6)])
def test_batches_are_committed_in_groups_and_never_in_parts(
    pictures: Draw, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, seconds: float, commits: int
) -> None:
    monkeypatch.setattr("clipcal.index.commits.COMMIT_SECONDS", seconds)
    told: list[Progress] = []
    found = discover([str(pictures(22))])
    embed(corpus, found, TinyEncoder, PREPROCESSING, EmbedOptions(workers=1), told.append)
    steps = sorted({progress.embedded for progress in told} - {0})
    assert steps[-1] == 22
    assert len(steps) <= commits
    assert all(step % 4 == 0 for step in steps[:-1])
    assert commits == 1 or len(steps) > 1


# --- ending early ------------------------------------------------------------------------------


class Failing(TinyEncoder):
    """Fails on its third batch once the fourth is there."""

    streams = 2

    def __init__(self, photos: Path) -> None:
        super().__init__()
        self._third, self._fourth = (
            load_pixels((photos / name).read_bytes(), PREPROCESSING)
            for name in ("00_0008.png", "00_0012.png")
        )
        self._fourth_is_done = threading.Event()

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        if np.array_equal(pixels[0], self._third):
            assert self._fourth_is_done.wait(SOON)
            raise RuntimeError("out of memory")
        vectors = super().encode(pixels)
        if np.array_equal(pixels[0], self._fourth):
            self._fourth_is_done.set()
        return vectors


def same_corpus(one: Corpus, other: Corpus) -> None:
    np.testing.assert_array_equal(rows(one), rows(other))
    told = [[(i.uri, i.state, i.row) for i in corpus.items()] for corpus in (one, other)]
    assert told[0] == told[1]


def test_a_run_that_fails_keeps_the_batches_before_the_one_that_failed(
    run_embed: Run,
    pictures: Draw,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clipcal.index.commits.COMMIT_SECONDS", 1000.0)
    photos = pictures(22)
    run_embed(photos, corpus="whole")
    with pytest.raises(RuntimeError, match="out of memory"):
        run_with(Failing(photos), corpus, photos)
    assert corpus.rows == 8
    assert run_with(TinyEncoder(), corpus, photos).embedded == 14
    same_corpus(corpus, Corpus.open(tmp_path / "whole"))


def test_what_stops_a_run_is_told_also_where_nothing_more_can_be_committed(
    pictures: Draw, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.index.commits.COMMIT_SECONDS", 1000.0)

    whole = Corpus.commit

    def full(self: Corpus, outcomes: Any, vectors: np.ndarray, contents: Any) -> None:
        if len(vectors):
            raise StoreError("the disk is full")
        whole(self, outcomes, vectors, contents)

    monkeypatch.setattr(Corpus, "commit", full)
    photos = pictures(22)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_with(Failing(photos), corpus, photos)
    assert corpus.rows == 0


@pytest.mark.parametrize("committed", [False, True])
def test_a_run_stopped_while_it_commits_neither_loses_nor_doubles_a_batch(
    run_embed: Run,
    pictures: Draw,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    monkeypatch.setattr("clipcal.index.commits.COMMIT_SECONDS", 0.0)
    photos = pictures(22)
    run_embed(photos, corpus="whole")
    whole, strikes = Corpus.commit, [3]

    def struck(self: Corpus, *given: Any) -> None:
        strikes[0] -= 1
        if strikes[0] or committed:
            whole(self, *given)
        if not strikes[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Corpus, "commit", struck)
    with pytest.raises(KeyboardInterrupt):
        run_with(TinyEncoder(), corpus, photos)
    monkeypatch.undo()
    done = corpus.rows
    assert done % 4 == 0 or done == 22
    assert run_with(TinyEncoder(), corpus, photos).embedded == 22 - done
    same_corpus(corpus, Corpus.open(tmp_path / "whole"))


# --- room for pixels --------------------------------------------------------------------------


def test_images_in_work_share_a_bounded_number_of_pixels() -> None:
    room, lock = Room(10), threading.Lock()
    held, most = [0], [0]

    def hold(pixels: int) -> None:
        with room(pixels):
            with lock:
                held[0] += pixels
                most[0] = max(most[0], held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [3, 4, 5, 6, 1, 10, 2] * 6))
    assert 5 <= most[0] <= 10


def test_an_image_larger_than_the_room_comes_alone() -> None:
    room, entered = Room(10), threading.Event()

    def small() -> None:
        with room(1):
            entered.set()

    with room(1000):
        thread = threading.Thread(target=small)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(SOON)
    thread.join()


# --- one way of decoding in a corpus ----------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """JPEGs large and rough enough that scaled decoding shows."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(3):
        noise = Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8))
        noise.save(folder / f"{number}.jpg")
    return folder


def first_vector(photographs: Path, *, exact: bool) -> np.ndarray:
    data = (photographs / "0.jpg").read_bytes()
    pixels = load_pixels(data, PREPROCESSING, exact=exact)
    return TinyEncoder().encode(pixels[None])[0]


@pytest.mark.parametrize("exact", [True, False])
def test_a_corpus_goes_on_as_it_was_begun(photographs: Path, corpus: Corpus, exact: bool) -> None:
    report = run_with(TinyEncoder(), corpus, photographs / "1.jpg", exact_decode=exact)
    way = "exact" if exact else "scaled"
    assert report.decoding == decoding_of(corpus) == way
    assert run_with(TinyEncoder(), corpus, photographs).decoding == way
    item = corpus.find(str(photographs / "0.jpg"))
    assert item is not None
    stored = corpus.shards.take(np.array([item.row]))[0]
    expected = [first_vector(photographs, exact=e).astype(np.float16) for e in (exact, not exact)]
    np.testing.assert_array_equal(stored, expected[0])
    assert (stored != expected[1]).any()


@pytest.mark.parametrize("exact", [True, False])
def test_a_query_is_decoded_as_its_corpus_is(
    photographs: Path, corpus: Corpus, exact: bool
) -> None:
    run_with(TinyEncoder(), corpus, photographs / "1.jpg", exact_decode=exact)
    image = str(photographs / "0.jpg")
    vector = image_query(corpus, image, lambda: (TinyEncoder(), PREPROCESSING))
    np.testing.assert_array_equal(vector, first_vector(photographs, exact=exact))


def test_embeddings_that_say_nothing_of_their_decoding_are_exact(
    photographs: Path, corpus: Corpus
) -> None:
    assert decoding_of(corpus) is None
    with corpus.writing():  # as an earlier clipcal did, or an import
        vectors = np.ones((1, IDENTITY.dim), np.float16)
        corpus.commit([Outcome("/old.png", "a" * 64, 1, "stamp", 0)], vectors, ["a" * 64])
    assert decoding_of(corpus) == "exact"
    assert run_with(TinyEncoder(), corpus, photographs).decoding == "exact"


def test_exact_decoding_is_refused_where_scaled_embeddings_are(
    photographs: Path, corpus: Corpus
) -> None:
    run_with(TinyEncoder(), corpus, photographs / "1.jpg")
    with pytest.raises(StoreError, match="--exact-decode --corpus NEW"):
        run_with(TinyEncoder(), corpus, photographs, exact_decode=True)
    assert corpus.rows == 1


def test_a_run_that_embeds_nothing_settles_nothing(
    photographs: Path, corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"torn")
    assert run_with(TinyEncoder(), corpus, tmp_path / "broken.jpg").embedded == 0
    report = run_with(TinyEncoder(), corpus, photographs, exact_decode=True)
    assert (report.embedded, report.decoding, decoding_of(corpus)) == (3, "exact", "exact")


def test_imported_embeddings_are_exact_also_after_a_run_that_embedded_nothing(
    run_embed: Run, pictures: Draw, corpus: Corpus, tmp_path: Path
) -> None:
    run_embed(pictures(3), corpus="plain")
    export_vectors(Corpus.open(tmp_path / "plain"), tmp_path / "vectors")
    run_with(TinyEncoder(), corpus, pictures(0, folder="empty"))
    import_vectors(tmp_path / "vectors", corpus.path, IDENTITY)
    assert decoding_of(corpus) == "exact"


# --- where the time went ----------------------------------------------------------------------


def test_every_stage_of_a_run_has_its_seconds(pictures: Draw, corpus: Corpus) -> None:
    class Slow(TinyEncoder):
        streams = 2

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            time.sleep(0.05)
            return super().encode(pixels)

    stages = run_with(Slow(), corpus, pictures(16)).stages
    assert min(stages.read, stages.decode, stages.write) > 0
    assert stages.infer >= 4 * 0.05
    assert sum(stages.shares().values()) == pytest.approx(1)


def test_waiting_for_room_is_no_work(pictures: Draw) -> None:
    clock, file = Clock(), discover([str(pictures(1))]).files[0]
    everything = 2**40

    def decode(data: bytes, *, room: Room) -> np.ndarray:
        with room(everything):
            return np.zeros((1, 1, 3), np.uint8)

    reader = Reader(decode, lambda _: None, clock, workers=1)
    with reader._room(everything):
        thread = threading.Thread(target=reader.read, args=(file,))
        thread.start()
        time.sleep(0.5)
    thread.join()
    assert 0 < clock.stages().decode < 0.4


def test_a_run_that_does_nothing_has_no_shares() -> None:
    assert Stages().shares() == {}


def test_a_clock_adds_up_what_many_threads_tell() -> None:
    clock = Clock()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: clock.add("read", 0.5), range(1000)))
    with pytest.raises(ValueError, match="stop"), clock.of("write"):
        raise ValueError("stop")
    assert clock.stages().read == 500
    assert clock.stages().write > 0


def test_batches_for_the_model_are_its_largest_and_a_few_wait() -> None:
    class Large(TinyEncoder):
        batch_sizes = (1, 4, 16)
        streams = 3

    inference = Inference(Large(), Clock())
    assert (inference.batch_size, inference.most_ahead) == (16, 5)
    inference.close()


def test_the_command_says_how_it_decoded_and_where_the_time_went(
    photographs: Path, tmp_path: Path
) -> None:
    arguments = [str(photographs), "--corpus", str(tmp_path / "c"), "--device", "cpu"]
    done = CliRunner().invoke(embed_command, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["decoding"] == "scaled"
    assert set(told["stages"]) == {"read", "decode", "infer", "write"}
    assert told["stages"]["infer"] > 0
    again = CliRunner().invoke(embed_command, [*arguments, "--exact-decode"])
    assert isinstance(again.exception, StoreError)
    other = [*arguments[:2], str(tmp_path / "other"), *arguments[3:], "--exact-decode"]
    assert "Time of all threads: read " in CliRunner().invoke(embed_command, other).stdout
