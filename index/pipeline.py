"""Files to pixels and pixels to embeddings, each by threads of its own that work ahead.

Decoding and inference share the cores of a CPU without waiting for each other: a few decoded
images lie ready for the model, and a few finished batches for the disk. Queues are bounded in
images and the images in work by their pixels, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import ImageError
from clipcal.index.shards import Embeddings
from clipcal.index.sources import SourceFile, Unreadable, stamp_of
from clipcal.index.stages import Clock
from clipcal.models.runtimes.cores import allowed_cpus

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder

Pixels = NDArray[np.uint8]  # (height, width, 3)

READ_AHEAD = 64
MAX_BYTES = 2**30
LARGE_BYTES = 2**26  # of larger files, one is in memory at a time
MOST_PIXELS = 2**26  # decoded at once, by all threads: 256 MB in Pillow, and as much to turn them
BATCHES_AHEAD = 2  # that wait for the model, beyond those that it works on


class Decode(Protocol):
    """Bytes of a file to pixels; `room` is asked before any pixel is decoded."""

    def __call__(self, data: bytes, *, room: Room) -> Pixels:
        """Decode, or raise ImageError."""


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was read: known content has a row, new content has pixels."""

    sha256: str
    size: int
    stamp: str
    row: int | None
    pixels: Pixels | None


class Room:
    """A number of pixels that may be decoded at once; an image that needs more comes alone.

    Parameters
    ----------
    pixels : int
        How many.
    waited : callable, optional
        Told the seconds that a thread waited for room, before it goes on.
    """

    def __init__(self, pixels: int, waited: Callable[[float], object] | None = None) -> None:
        self._free = self._all = pixels
        self._waited = waited
        self._changed = threading.Condition()

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        """Wait for room for `pixels`, and hold it during the block."""
        wanted, asked = min(pixels, self._all), time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            if self._waited is not None:
                self._waited(time.perf_counter() - asked)
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


class Reader:
    """Reads, hashes and decodes files in threads, a little ahead of who takes the results.

    Parameters
    ----------
    decode : callable
        Bytes to pixels.
    row_of : callable
        The row of a content (SHA-256) that needs no decoding, or None. Called from threads.
    clock : Clock
        Told the time of reading and decoding.
    workers : int
        Threads; 0 takes one per CPU that this process may use, of which a core can have two.
    """

    def __init__(
        self,
        decode: Decode,
        row_of: Callable[[str], int | None],
        clock: Clock,
        workers: int = 0,
    ) -> None:
        self._decode = decode
        self._row_of = row_of
        self._clock = clock
        # Both threads of a core: one decodes while the other waits for memory.
        self._workers = workers or allowed_cpus()
        self._large = threading.Lock()
        self._room = Room(MOST_PIXELS, waited=lambda spent: clock.add("decode", -spent))

    def results(
        self, files: Iterable[SourceFile]
    ) -> Iterator[tuple[SourceFile, Read | Unreadable]]:
        """What became of each of `files`, in their order."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        waiting: deque[tuple[SourceFile, Future[Read | Unreadable]]] = deque()
        source = iter(files)
        try:
            for file in islice(source, READ_AHEAD + 2 * self._workers):
                waiting.append((file, pool.submit(self.read, file)))
            while waiting:
                file, future = waiting.popleft()
                yield file, future.result()
                for following in islice(source, 1):
                    waiting.append((following, pool.submit(self.read, following)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def read(self, file: SourceFile) -> Read | Unreadable:
        """Read, hash and, where the content is new, decode one file."""
        if file.size > MAX_BYTES:
            limit = f"over the limit of {MAX_BYTES / 2**30:.0f} GiB"
            return Unreadable(file.uri, f"the file has {file.size / 2**30:.1f} GiB, {limit}")
        with self._large if file.size > LARGE_BYTES else nullcontext():
            return self._read_whole(file)

    def _read_whole(self, file: SourceFile) -> Read | Unreadable:
        try:
            with self._clock.of("read"):
                with open(file.path, "rb") as stream:
                    status = os.fstat(stream.fileno())
                    data = stream.read()
                sha256 = hashlib.sha256(data).hexdigest()
        except OSError as error:
            return Unreadable(file.uri, (error.strerror or str(error)).lower())
        row = self._row_of(sha256)
        try:
            pixels = self._decoded(data) if row is None else None
        except ImageError as error:
            return Unreadable(file.uri, str(error))
        return Read(sha256, len(data), stamp_of(status), row, pixels)

    def _decoded(self, data: bytes) -> Pixels:
        with self._clock.of("decode"):
            return self._decode(data, room=self._room)


class Inference:
    """Runs an encoder on batches, as many at once as it has streams.

    Parameters
    ----------
    encoder : ImageEncoder
        The model's.
    clock : Clock
        Told the time in the model.
    """

    def __init__(self, encoder: ImageEncoder, clock: Clock) -> None:
        self.batch_size = max(encoder.batch_sizes)
        self.most_ahead = encoder.streams + BATCHES_AHEAD
        self._encoder = encoder
        self._clock = clock
        self._pool = ThreadPoolExecutor(encoder.streams, thread_name_prefix="infer")

    def submit(self, pixels: list[Pixels]) -> Future[Embeddings]:
        """Embed a batch in a thread: float16 (n, dim), rows L2-normalised."""
        return self._pool.submit(self._infer, pixels)

    def _infer(self, pixels: list[Pixels]) -> Embeddings:
        with self._clock.of("infer"):
            return self._encoder.encode(np.stack(pixels)).astype(np.float16)

    def close(self) -> None:
        """Begin nothing more; what an encoder works on it finishes by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
