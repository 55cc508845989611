"""The embedding pipeline: read and decode in threads, infer in batches, commit in order.

Files are handled in a fixed order and every batch but the last is full, so a run that was
interrupted and started again makes the same batches, and the same bytes, as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import ImageError
from clipcal.index.shards import Embeddings
from clipcal.index.sources import (
    Discovery,
    SourceFile,
    Unreadable,
    covered,
    has_vanished,
    path_of,
    stamp_of,
    uri_of,
)
from clipcal.index.store import Corpus, Outcome
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import MAX_PIXELS, load_pixels

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder

Pixels = NDArray[np.uint8]  # (height, width, 3)

READ_AHEAD = 64
BOOKKEEPING_BATCH = 256
NOT_FINITE = "the model gave no finite embedding"
MAX_BYTES = 2**30
LARGE_BYTES = 2**26  # of larger files, one is in memory at a time


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    done: int
    total: int
    embedded: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What a run did.

    Attributes
    ----------
    embedded : int
        Images that went through the model.
    skipped : int
        Files that needed no embedding: unchanged, or of a content that is embedded already.
    failed : int
        Files that cannot be embedded; their rows hold the reason.
    removed : int
        Items marked as removed because their files have vanished.
    passed_over : dict
        Files left out because of their ending, by ending.
    seconds : float
        Wall time.
    """

    embedded: int
    skipped: int
    failed: int
    removed: int
    passed_over: Mapping[str, int]
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images embedded per second of wall time."""
        return self.embedded / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to run the pipeline.

    Attributes
    ----------
    workers : int
        Threads that read and decode; 0 takes one per core, at most eight.
    max_pixels : int
        Images of more pixels are refused before they are decoded.
    prune : bool
        Whether items whose files have vanished from the sources are marked as removed.
    check_content : bool
        Whether files that look unchanged (size and times) are read and hashed all the same.
    """

    workers: int = 0
    max_pixels: int = MAX_PIXELS
    prune: bool = False
    check_content: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read: known content has a row, new content has pixels."""

    sha256: str
    size: int
    stamp: str
    row: int | None
    pixels: Pixels | None


@dataclass(slots=True)
class _Batch:
    """Outcomes that wait for the commit, and the pixels that wait for the model.

    `unsettled` counts the outcomes since the last commit.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    contents: list[str | None] = field(default_factory=list)
    unsettled: int = 0


def embed(
    corpus: Corpus,
    discovery: Discovery,
    open_encoder: Callable[[], ImageEncoder],
    preprocessing: Preprocessing,
    options: EmbedOptions,
    on_progress: Callable[[Progress], None] | None = None,
) -> EmbedReport:
    """Embed every file of `discovery` that is new or changed.

    Parameters
    ----------
    corpus : Corpus
        Where embeddings and failures go.
    discovery : Discovery
        The files.
    open_encoder : callable
        Opens the model's image encoder; called only if there is something to embed.
    preprocessing : Preprocessing
        The model's.
    options : EmbedOptions
        Threads, limits and pruning.
    on_progress : callable, optional
        Told after every commit how far the run has come.

    Returns
    -------
    EmbedReport
        Counts and times. Files that failed do not stop a run; their reasons are in the corpus.

    Raises
    ------
    StoreError
        If another process is writing to the corpus.
    """
    started = time.perf_counter()
    with corpus.writing():
        number = corpus.start_run(json.dumps(discovery.sources))
        run = _Run(corpus, discovery, open_encoder, preprocessing, options, on_progress)
        run.record_unreadable()
        run.embed_all()
        _forget_mended(corpus, discovery)
        removed = _prune(corpus, discovery) if options.prune else 0
        counts = run.embedded, run.skipped, run.failed
        corpus.finish_run(number, embedded=counts[0], skipped=counts[1], failed=counts[2])
    return EmbedReport(*counts, removed, discovery.passed_over, time.perf_counter() - started)


class _Run:
    """One pass over the files of a discovery."""

    def __init__(
        self,
        corpus: Corpus,
        discovery: Discovery,
        open_encoder: Callable[[], ImageEncoder],
        preprocessing: Preprocessing,
        options: EmbedOptions,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.corpus = corpus
        self.discovery = discovery
        self.preprocessing = preprocessing
        self.options = options
        self.embedded = self.skipped = self.failed = 0
        self._open_encoder = open_encoder
        self._encoder: ImageEncoder | None = None
        self._on_progress = on_progress
        self._known = {} if options.check_content else corpus.known_files()
        self._rows = corpus.rows_by_content()
        self._next_row = corpus.rows
        self._batch = _Batch()
        self._large = threading.Lock()

    def record_unreadable(self) -> None:
        """Give every path that cannot be read its failed row."""
        for unreadable in self.discovery.unreadable:
            self._fail(unreadable)
        self._flush()

    def embed_all(self) -> None:
        """Take every file through the pipeline."""
        todo = [file for file in self.discovery.files if not self._is_unchanged(file)]
        self.skipped = len(self.discovery.files) - len(todo)
        self._tell()
        for file, result in self._read_ahead(todo):
            self._accept(file, result)
        self._flush()

    def _is_unchanged(self, file: SourceFile) -> bool:
        return self._known.get(file.uri) == (file.size, file.stamp)

    def _read_ahead(
        self, files: Iterable[SourceFile]
    ) -> Iterator[tuple[SourceFile, _Read | Unreadable]]:
        """Results in the order of `files`, read and decoded by threads a little ahead."""
        workers = self.options.workers or min(os.cpu_count() or 1, 8)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        waiting: deque[tuple[SourceFile, Future[_Read | Unreadable]]] = deque()
        source = iter(files)
        try:
            for file in islice(source, READ_AHEAD + 2 * workers):
                waiting.append((file, pool.submit(self._read, file)))
            while waiting:
                file, future = waiting.popleft()
                yield file, future.result()
                for following in islice(source, 1):
                    waiting.append((following, pool.submit(self._read, following)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, file: SourceFile) -> _Read | Unreadable:
        """Read, hash and, where the content is new, decode one file. Runs in a thread."""
        if file.size > MAX_BYTES:
            limit = f"over the limit of {MAX_BYTES / 2**30:.0f} GiB"
            return Unreadable(file.uri, f"the file has {file.size / 2**30:.1f} GiB, {limit}")
        with self._large if file.size > LARGE_BYTES else nullcontext():
            return self._read_whole(file)

    def _read_whole(self, file: SourceFile) -> _Read | Unreadable:
        try:
            with open(file.path, "rb") as stream:
                status = os.fstat(stream.fileno())
                data = stream.read()
        except OSError as error:
            return Unreadable(file.uri, (error.strerror or str(error)).lower())
        sha256 = hashlib.sha256(data).hexdigest()
        row = self._rows.get(sha256)
        try:
            pixels = self._decode(data) if row is None else None
        except ImageError as error:
            return Unreadable(file.uri, str(error))
        return _Read(sha256, len(data), stamp_of(status), row, pixels)

    def _decode(self, data: bytes) -> Pixels:
        return load_pixels(data, self.preprocessing, max_pixels=self.options.max_pixels)

    def _accept(self, file: SourceFile, result: _Read | Unreadable) -> None:
        if isinstance(result, Unreadable):
            self._fail(result)
        else:
            self._link(file, result)
        self._batch.unsettled += 1
        if self._is_full():
            self._flush()
        elif self._batch.unsettled >= BOOKKEEPING_BATCH:
            self._settle()

    def _is_full(self) -> bool:
        """Whether the pixels make a whole batch for the model."""
        waiting = len(self._batch.pixels)
        return waiting > 0 and waiting == max(self._opened_encoder().batch_sizes)

    def _settle(self) -> None:
        """Commit what does not wait for the model; the pixels stay, so that batches are full."""
        batch, first = self._batch, self._next_row - len(self._batch.pixels)
        settled = [o for o in batch.outcomes if o.row is None or o.row < first]
        batch.outcomes = [o for o in batch.outcomes if o.row is not None and o.row >= first]
        batch.unsettled = 0
        if settled:
            self.corpus.commit(settled, self._infer([]), [])
        self._tell()

    def _opened_encoder(self) -> ImageEncoder:
        if self._encoder is None:
            self._encoder = self._open_encoder()
        return self._encoder

    def _link(self, file: SourceFile, read: _Read) -> None:
        """Point the item at its embedding: one there is, or the next row to be made."""
        row = self._rows.get(read.sha256)  # asked again: a twin may have come just before
        if row is None and read.pixels is None:  # its twin was given up since it was read
            self._fail(Unreadable(file.uri, NOT_FINITE))
            return
        if row is None:
            row = self._next_row
            self._next_row += 1
            self._rows[read.sha256] = row
            self._batch.pixels.append(cast(Pixels, read.pixels))
            self._batch.contents.append(read.sha256)
        else:
            self.skipped += 1
        self._batch.outcomes.append(Outcome(file.uri, read.sha256, read.size, read.stamp, row))

    def _fail(self, unreadable: Unreadable) -> None:
        self.failed += 1
        self._batch.outcomes.append(Outcome(unreadable.uri, reason=unreadable.reason))

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.outcomes:
            return
        vectors = self._infer(batch.pixels)
        self.embedded += len(vectors)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            self._give_up(batch, vectors, bad.tolist())
        self.corpus.commit(batch.outcomes, vectors, batch.contents)
        self._tell()

    def _give_up(self, batch: _Batch, vectors: Embeddings, bad: list[int]) -> None:
        """Turn images without a finite embedding into failures; their rows stay, unused."""
        first = self._next_row - len(vectors)
        for at in bad:
            vectors[at] = 0
            del self._rows[batch.contents[at] or ""]
            batch.contents[at] = None
        rows = {first + at for at in bad}
        lost = [i for i, outcome in enumerate(batch.outcomes) if outcome.row in rows]
        for i in lost:
            batch.outcomes[i] = Outcome(batch.outcomes[i].uri, reason=NOT_FINITE)
        self.embedded -= len(bad)
        self.skipped -= len(lost) - len(bad)
        self.failed += len(lost)

    def _infer(self, pixels: list[Pixels]) -> Embeddings:
        if not pixels:
            return np.empty((0, self.corpus.model.dim), np.float16)
        return self._opened_encoder().encode(np.stack(pixels)).astype(np.float16)

    def _tell(self) -> None:
        if self._on_progress is not None:
            done = self.embedded + self.skipped + self.failed
            total = len(self.discovery.files) + len(self.discovery.unreadable)
            counts = self.embedded, self.skipped, self.failed
            self._on_progress(Progress(done, total, *counts))


def _forget_mended(corpus: Corpus, discovery: Discovery) -> None:
    """Drop the failed rows of folders that could be read this time, and the like."""
    unreadable = {found.uri for found in discovery.unreadable}
    mended = {uri_of(path) for path in discovery.mended} - unreadable
    corpus.remove([item.uri for item in corpus.items("failed") if item.uri in mended])


def _prune(corpus: Corpus, discovery: Discovery) -> int:
    """Mark what the sources reach but is gone, and failures of which nothing is left."""
    items = {item.uri: item for item in corpus.items() if item.state != "removed"}
    failed = {uri for uri, item in items.items() if item.state == "failed"}
    here = {file.uri for file in discovery.files}
    candidates = (failed | set(covered(items, discovery))) - here
    vanished = [uri for uri in sorted(candidates) if has_vanished(path_of(uri))]
    corpus.remove(vanished)
    return len(vanished)
