"""What the service works on: a corpus, a calibration and labels that others may change meanwhile.

Other processes embed, label and calibrate while the service runs. Each request asks for the view
of the moment; one is built only where something has changed, by the first who asks.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import Pool, pooled
from clipcal.calibrate.scoring.under_contract import PROMPTS_NOTE
from clipcal.errors import CorpusBusy
from clipcal.index.judgements import judged_mark
from clipcal.index.lookup import change, labels_hash
from clipcal.index.neighbours import refresh_index
from clipcal.index.store import Corpus
from clipcal.service.once import Newest
from clipcal.service.pictures import Pictures
from clipcal.service.settings import Settings
from clipcal.service.view import View, build_view

Stamp = tuple[int, int, int] | None  # of a file: modified, size, inode; None where there is none
_PLANS: Final = 4


class Workspace:
    """The corpus, what its images score, and what people say of them.

    Parameters
    ----------
    settings : Settings
        Which corpus and which calibration.

    Attributes
    ----------
    settings : Settings
        As they were given.
    corpus : Corpus
        For reading only, from any thread.
    pictures : Pictures
        Small pictures of its images.

    Raises
    ------
    StoreError
        If there is no corpus, or it is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.corpus = Corpus.open(settings.corpus)
        self.pictures = Pictures(settings.limits.pixels)
        self._writer: Corpus | None = None
        self._writing = threading.RLock()
        self._calibrations: Newest[tuple[str, Contract] | None] = Newest()
        self._views: Newest[View] = Newest()
        self._labels: Newest[str] = Newest()
        self._pools: Newest[Pool] = Newest(2)
        self._refresh_index()

    @contextmanager
    def writing(self) -> Iterator[Corpus]:
        """A connection to write through, for one thread at a time.

        What it writes is committed by the functions that write; embedding in another process
        goes on beside it.
        """
        with self._writing:
            if self._writer is None:
                self._writer = Corpus.open(self.settings.corpus)
            yield self._writer

    def view(self) -> View:
        """The corpus as it is now.

        Raises
        ------
        ClipcalError
            If the corpus is empty, or the calibration cannot be read or is not of this corpus.
        """
        calibration, contract = self._calibration() or (None, None)
        version = (self.corpus.mark(), self.corpus.rows, calibration, self._prompts())
        return self._views.get(
            version,
            lambda: build_view(self.corpus, self.settings, version, contract, calibration),
        )

    def pool(self, view: View | None = None) -> Pool:
        """What people say of the images now.

        Parameters
        ----------
        view : View, optional
            At whose places the labelled images are told; by default those of the view of now.
        """
        seen = view or self.view()
        version = (seen.version, judged_mark(self.corpus), self._labels_kept())
        categories = seen.categories
        levels = seen.prompt_set.levels
        return self._pools.get(
            version, lambda: pooled(self.corpus, categories, levels, ids=seen.ids)
        )

    def close(self) -> None:
        """Close the corpus, once nothing of it is read any more."""
        self.corpus.close()
        if self._writer is not None:
            self._writer.close()

    def _calibration(self) -> tuple[str, Contract] | None:
        """The hash of the calibration's file, and its content; None where there is no file."""
        path = self.settings.calibration
        return self._calibrations.get(_stamp(path), lambda: _load(path))

    def _prompts(self) -> Hashable:
        """What tells whether the prompt set that is served without a calibration has changed."""
        chosen = self.settings.prompts or self.corpus.noted(PROMPTS_NOTE)
        return chosen and (chosen, _stamp(Path(chosen)))

    def _labels_kept(self) -> str:
        """Name the labels that came with a file; they are read again only after a change."""
        return self._labels.get(change(self.corpus), lambda: labels_hash(self.corpus))

    def _refresh_index(self) -> None:
        """Bring the index up to the corpus, unless another process writes or nobody may."""
        with suppress(CorpusBusy, OSError), self.writing() as corpus:
            if corpus.rows:
                refresh_index(corpus)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load(path: Path) -> tuple[str, Contract] | None:
    """Read a contract and its hash, of the same bytes although another process may replace it."""
    while (before := _stamp(path)) is not None:
        contract, content = Contract.load(path), path.read_bytes()
        if _stamp(path) == before:
            return hashlib.sha256(content).hexdigest(), contract
    return None
