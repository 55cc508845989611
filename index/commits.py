"""What is committed of a run: batches in their order, in groups, and what became of each file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from clipcal.index.shards import Embeddings
from clipcal.index.stages import Clock
from clipcal.index.store import Corpus, Outcome

COMMIT_SECONDS = 1.0  # a commit waits for the disk, whatever its size
NOT_FINITE = "the model gave no finite embedding"


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch that has been through the model.

    Attributes
    ----------
    first : int
        The row of its first embedding: that after the batch before it.
    outcomes : list of Outcome
        Of the files up to the batch's last picture; their rows are in this batch or before it.
    contents : list of str
        SHA-256 of the file behind each of `vectors`.
    vectors : Embeddings
        float16 (n, dim).
    """

    first: int
    outcomes: list[Outcome]
    contents: list[str]
    vectors: Embeddings


@dataclass(slots=True)
class Writer:
    """Commits what is finished, and counts it.

    Attributes
    ----------
    corpus : Corpus
        Held for writing.
    clock : Clock
        Told the time of writing.
    on_commit : callable
        Called after every commit.
    embedded, skipped, failed : int
        Files committed so far, as in the report.
    """

    corpus: Corpus
    clock: Clock
    on_commit: Callable[[], None]
    embedded: int = 0
    skipped: int = 0
    failed: int = 0
    _waiting: list[Finished] = field(default_factory=list)
    _void: set[int] = field(default_factory=set)
    _last: float = field(default_factory=time.perf_counter)

    def add(self, batch: Finished) -> None:
        """Take the next batch; it is committed with others, about once a second."""
        self._waiting.append(batch)

    def commit_if_due(self) -> None:
        """Commit what waits, unless the last commit was just now."""
        if self._waiting and time.perf_counter() - self._last >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Commit all that waits; what fails to be committed goes on waiting."""
        if self._waiting:
            self._write_together(self._waiting)
            self._waiting = []
            self.on_commit()

    def save(self) -> None:
        """Commit what waits, as far as it comes next, and tell nobody; for a run that was stopped.

        It can have been stopped between any two steps, so that batches wait that are committed
        already, or the one before them is lost. Only rows tell.
        """
        following, rows = [], self.corpus.rows
        for batch in self._waiting:
            if batch.first == rows:
                following.append(batch)
                rows += len(batch.vectors)
        self._waiting = []
        if following:
            self._write_together(following)

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Commit outcomes whose rows, if any, are committed already."""
        self._write(outcomes, np.empty((0, self.corpus.model.dim), np.float16), [], 0)
        self.on_commit()

    def _write_together(self, batches: Sequence[Finished]) -> None:
        contents: list[str | None] = [c for batch in batches for c in batch.contents]
        vectors = np.concatenate([batch.vectors for batch in batches])
        good = len(vectors) - self._give_up(vectors, contents)
        self._write([o for batch in batches for o in batch.outcomes], vectors, contents, good)

    def _give_up(self, vectors: Embeddings, contents: list[str | None]) -> int:
        """Void the rows without a finite embedding, for copies too. Returns how many.

        The rows stay, unused; their contents are not named, so that another run tries again.
        """
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
        first = self.corpus.rows if bad else 0
        for at in bad:
            vectors[at] = 0
            self._void.add(first + at)
            contents[at] = None
        return len(bad)

    def _write(
        self,
        outcomes: Sequence[Outcome],
        vectors: Embeddings,
        contents: list[str | None],
        good: int,
    ) -> None:
        told = [Outcome(o.uri, reason=NOT_FINITE) if o.row in self._void else o for o in outcomes]
        with self.clock.of("write"):
            self.corpus.commit(told, vectors, contents)
        failed = sum(outcome.row is None for outcome in told)
        self.embedded += good
        self.failed += failed
        self.skipped += len(told) - failed - good
        self._last = time.perf_counter()
