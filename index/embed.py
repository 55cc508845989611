"""Embedding: what is new goes through the model, and every file's outcome into the corpus.

Files are handled in a fixed order and every batch but the last is full, so a run that was
interrupted and started again makes the same batches, and the same bytes, as one that was not.
Batches are made and committed in that order, whatever order the model finishes them in; a run that
ends early commits those that are finished before it does.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from clipcal.index.commits import Finished, Writer
from clipcal.index.decoding import Decoding, settle_decoding
from clipcal.index.pipeline import Decode, Inference, Pixels, Read, Reader
from clipcal.index.shards import Embeddings
from clipcal.index.sources import (
    Discovery,
    SourceFile,
    Unreadable,
    covered,
    has_vanished,
    path_of,
    uri_of,
)
from clipcal.index.stages import Clock, Stages
from clipcal.index.store import Corpus, Outcome
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import MAX_PIXELS, load_pixels

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder

BOOKKEEPING_BATCH = 256


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
    decoding : {"scaled", "exact"}
        How images were decoded: the corpus's one way.
    stages : Stages
        Where the time went, summed over threads.
    """

    embedded: int
    skipped: int
    failed: int
    removed: int
    passed_over: Mapping[str, int]
    seconds: float
    decoding: Decoding = "scaled"
    stages: Stages = field(default_factory=Stages)

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
        Threads that read and decode; 0 takes one per core.
    max_pixels : int
        Images of more pixels are refused before they are decoded.
    prune : bool
        Whether items whose files have vanished from the sources are marked as removed.
    check_content : bool
        Whether files that look unchanged (size and times) are read and hashed all the same.
    exact_decode : bool
        Whether images are decoded and resized exactly as the reference does. A corpus that was
        begun so goes on so without being asked.
    """

    workers: int = 0
    max_pixels: int = MAX_PIXELS
    prune: bool = False
    check_content: bool = False
    exact_decode: bool = False


@dataclass(slots=True)
class _Batch:
    """Pixels that wait for the model, or are there, and outcomes that wait for the commit.

    `unsettled` counts the outcomes since the batch was begun or bookkeeping was last committed;
    `first` is the row that comes after those of the batches before it.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    unsettled: int = 0
    first: int = 0
    vectors: Future[Embeddings] | None = None

    @property
    def is_done(self) -> bool:
        """Whether its embeddings are there, if it has any."""
        return self.vectors is None or self.vectors.done()

    @property
    def has_failed(self) -> bool:
        """Whether it is done but there will be no embeddings."""
        future = self.vectors
        return future is not None and (future.cancelled() or future.exception(0) is not None)


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
        If another process is writing to the corpus, or exact decoding is asked for and the
        corpus was begun with scaled decoding.
    """
    started = time.perf_counter()
    with corpus.writing():
        decoding = settle_decoding(corpus, exact=options.exact_decode)
        number = corpus.start_run(json.dumps(discovery.sources))
        decode = partial(
            load_pixels,
            preprocessing=preprocessing,
            max_pixels=options.max_pixels,
            exact=decoding == "exact",
        )
        run = _Run(corpus, discovery, open_encoder, decode, options, on_progress)
        run.record_unreadable()
        run.embed_all()
        _forget_mended(corpus, discovery)
        removed = _prune(corpus, discovery) if options.prune else 0
        counts = run.counts()
        corpus.finish_run(number, embedded=counts[0], skipped=counts[1], failed=counts[2])
    seconds = time.perf_counter() - started
    stages = run.clock.stages()
    return EmbedReport(*counts, removed, discovery.passed_over, seconds, decoding, stages)


class _Run:
    """One pass over the files of a discovery.

    The calling thread deals files into batches and commits; reading and inferring have threads.
    """

    def __init__(
        self,
        corpus: Corpus,
        discovery: Discovery,
        open_encoder: Callable[[], ImageEncoder],
        decode: Decode,
        options: EmbedOptions,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.clock = Clock()
        self._corpus = corpus
        self._discovery = discovery
        self._options = options
        self._open_encoder = open_encoder
        self._on_progress = on_progress
        self._rows = corpus.rows_by_content()
        self._next_row = corpus.rows
        self._unchanged = 0
        self._reader = Reader(decode, self._rows.get, self.clock, options.workers)
        self._writer = Writer(corpus, self.clock, self._tell)
        self._inference: Inference | None = None
        self._batch = _Batch()
        self._flying: deque[_Batch] = deque()

    def counts(self) -> tuple[int, int, int]:
        """How many files were embedded, skipped and failed, as far as committed."""
        done = self._writer
        return done.embedded, self._unchanged + done.skipped, done.failed

    def record_unreadable(self) -> None:
        """Give every path that cannot be read its failed row."""
        self._writer.record([_failure(found) for found in self._discovery.unreadable])

    def embed_all(self) -> None:
        """Take every file through the pipeline."""
        todo = self._changed_files()
        self._unchanged = len(self._discovery.files) - len(todo)
        self._tell()
        try:
            for file, result in self._reader.results(todo):
                self._accept(file, result)
                self._collect()
                self._writer.commit_if_due()
            self._launch()
            self._finish_all()
        except BaseException:
            with suppress(Exception):  # why the run ends is what to tell
                self._save_finished()
            raise
        finally:
            if self._inference is not None:
                self._inference.close()

    def _changed_files(self) -> list[SourceFile]:
        if self._options.check_content:
            return self._discovery.files
        known = self._corpus.known_files()
        return [f for f in self._discovery.files if known.get(f.uri) != (f.size, f.stamp)]

    def _accept(self, file: SourceFile, result: Read | Unreadable) -> None:
        """Put a file into the batch, and let the batch go when it is full."""
        batch = self._batch
        if isinstance(result, Unreadable):
            batch.outcomes.append(_failure(result))
        else:
            row = self._row_for(result)
            outcome = Outcome(file.uri, result.sha256, result.size, result.stamp, row)
            batch.outcomes.append(outcome)
        batch.unsettled += 1
        if batch.pixels and len(batch.pixels) == self._model().batch_size:
            self._launch()
        elif batch.unsettled >= BOOKKEEPING_BATCH:
            self._settle()

    def _row_for(self, read: Read) -> int:
        """The row of a content: one there is or that is under way, or the next to be made."""
        row = self._rows.get(read.sha256)  # asked again: a twin may have come just before
        if row is None:
            row = self._rows[read.sha256] = self._next_row
            self._next_row += 1
            self._batch.pixels.append(cast(Pixels, read.pixels))
            self._batch.contents.append(read.sha256)
        return row

    def _model(self) -> Inference:
        if self._inference is None:
            self._inference = Inference(self._open_encoder(), self.clock)
        return self._inference

    def _launch(self) -> None:
        """Hand the batch to the model, and wait while too many are under way."""
        batch, self._batch = self._batch, _Batch()
        batch.first = self._next_row - len(batch.pixels)
        if batch.pixels:
            batch.vectors = self._model().submit(batch.pixels)
            batch.pixels = []
        if batch.outcomes:
            self._flying.append(batch)
        while self._inference and len(self._flying) > self._inference.most_ahead:
            self._finish_first()

    def _collect(self) -> None:
        """Take in the batches that are done, in their order."""
        while self._flying and self._flying[0].is_done:
            self._finish_first()

    def _finish_first(self) -> None:
        batch = self._flying.popleft()
        nothing = np.empty((0, self._corpus.model.dim), np.float16)
        vectors = nothing if batch.vectors is None else batch.vectors.result()
        self._writer.add(Finished(batch.first, batch.outcomes, batch.contents, vectors))

    def _save_finished(self) -> None:
        """Commit what is finished of a run that cannot go on, and wait for nothing."""
        while self._flying and self._flying[0].is_done and not self._flying[0].has_failed:
            self._finish_first()
        self._writer.save()

    def _finish_all(self) -> None:
        """Wait for every batch that is under way, and commit."""
        while self._flying:
            self._finish_first()
            self._writer.commit_if_due()
        self._writer.commit()

    def _settle(self) -> None:
        """Commit what does not wait for the model; the pixels stay, so that batches are full."""
        self._finish_all()
        batch, first = self._batch, self._next_row - len(self._batch.pixels)
        settled = [o for o in batch.outcomes if o.row is None or o.row < first]
        batch.outcomes = [o for o in batch.outcomes if o.row is not None and o.row >= first]
        batch.unsettled = 0
        self._writer.record(settled)

    def _tell(self) -> None:
        if self._on_progress is not None:
            counts = self.counts()
            total = len(self._discovery.files) + len(self._discovery.unreadable)
            self._on_progress(Progress(sum(counts), total, *counts))


def _failure(found: Unreadable) -> Outcome:
    return Outcome(found.uri, reason=found.reason)


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
