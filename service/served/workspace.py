"""What the service works on: a corpus, a calibration and labels that others may change meanwhile.

Other processes embed, label and calibrate while the service runs. Each request asks for the view
of the moment; one is built only where something has changed, by the first who asks.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import Pool, pooled
from clipcal.calibrate.labels.scale import spoken_levels
from clipcal.calibrate.material import Material
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import PROMPTS_NOTE, TextSource
from clipcal.calibrate.trial.what_if import Trial
from clipcal.calibrate.workflow import material_of
from clipcal.errors import CalibrationError, ClipcalError, CorpusBusy, FingerprintMismatch
from clipcal.index.lookup import change
from clipcal.index.neighbours import refresh_index
from clipcal.index.store import Corpus
from clipcal.service.gate.problems import UnusableCalibrationError, overloaded
from clipcal.service.served.once import Newest
from clipcal.service.served.original import Original
from clipcal.service.served.pictures import Pictures
from clipcal.service.served.view import View, build_view
from clipcal.service.settings import Settings

Stamp = tuple[int, int, int] | None  # of a file: modified, size, inode; None where there is none
LARGE: Final = 200_000  # images, from which on a view is not made anew after every commit
STAYS: Final = 5.0  # seconds that it stays while another process embeds
_PLANS: Final = 4
_IDENTITY: Final = "identity"


@dataclass(frozen=True, slots=True)
class _Recent:
    """A view of many images, which took a while to build."""

    view: View
    applied: Hashable
    until: float

    def serves(self, applied: Hashable) -> bool:
        """Whether it will do although images may have come: not under another calibration."""
        return self.applied == applied and time.monotonic() < self.until


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
        self._original = Original(settings.corpus)
        self.corpus = Corpus.open(settings.corpus)
        self.pictures = Pictures(settings.limits.pixels)
        self._writer: Corpus | None = None
        self._writing = threading.RLock()
        self._calibrations: Newest[tuple[str, Contract] | None] = Newest()
        self._views: Newest[View] = Newest()
        self._recent: _Recent | None = None
        self._scales: Newest[tuple[str, ...]] = Newest()
        self._pools: Newest[Pool] = Newest(2)
        self._materials: Newest[Material] = Newest(_PLANS)
        self._trials: Newest[Trial] = Newest(_PLANS)
        self._identify()
        self._refresh_index()
        with suppress(ClipcalError):  # whoever asks is told
            self._now(keep=True)

    @property
    def identity(self) -> str:
        """What tells this corpus from another one served here later; "" where none can be kept."""
        return self.corpus.noted(_IDENTITY) or ""

    @contextmanager
    def writing(self) -> Iterator[Corpus]:
        """A connection to write through, for one thread at a time.

        What it writes is committed by the functions that write; embedding in another process
        goes on beside it.

        Raises
        ------
        StoreError
            If the corpus was replaced since the service was started: before the block, or after
            it, for what was written then is lost.
        """
        with self._writing, self._original.kept():
            if self._writer is None:
                self._writer = Corpus.open(self.settings.corpus)
            yield self._writer

    @contextmanager
    def apart(self) -> Iterator[Corpus]:
        """A connection of its own to write through, for what may take longer than labelling can.

        Raises
        ------
        StoreError
            As of `writing`.
        """
        with self._original.kept(), closing(Corpus.open(self.settings.corpus)) as corpus:
            yield corpus

    def view(self) -> View:
        """The corpus as it is now; one of many images may be some seconds old.

        Nothing is written for it, so that who only asks changes no file.

        Raises
        ------
        UnusableCalibrationError
            If the calibration cannot be read, or is not of this corpus.
        ClipcalError
            If the corpus is empty, has no text vectors, or was replaced.
        """
        return self._now(keep=False)

    def labelling(self) -> View:
        """The view, without the calibration where that cannot be applied: labels need none.

        Raises
        ------
        ClipcalError
            If the corpus is empty, or has no text vectors.
        """
        try:
            return self.view()
        except UnusableCalibrationError:
            return self._speaking(self._view(None, None, keep=False))

    def _now(self, *, keep: bool) -> View:
        applied = None
        try:
            applied = self._calibration()
            return self._speaking(self._view(*(applied or (None, None)), keep=keep))
        except (CalibrationError, FingerprintMismatch) as error:
            if applied is None and isinstance(error, FingerprintMismatch):
                raise  # of text vectors
            raise UnusableCalibrationError(str(error)) from error

    def _view(self, calibration: str | None, contract: Contract | None, *, keep: bool) -> View:
        self._original.require()
        applied = (calibration, self._prompts())
        recent = self._recent
        if recent is not None and recent.serves(applied):
            return recent.view
        version = (self.corpus.mark(), self.corpus.rows, *applied)
        view = self._views.get(
            version,
            lambda: build_view(
                self.corpus, self.settings, version, contract, calibration, keep=keep
            ),
        )
        if len(view.ids) >= LARGE:
            self._recent = _Recent(view, applied, time.monotonic() + STAYS)
        return view

    def _speaking(self, view: View) -> View:
        """The view in the levels of the labels, which may have come since it was built."""
        if view.contract is not None:
            return view
        levels = self._scales.get(
            self._labelled(view),
            lambda: spoken_levels(self.corpus, view.categories, view.prompt_set.levels),
        )
        return replace(view, levels=levels)

    def pool(self, view: View | None = None) -> Pool:
        """What people say of the images now.

        Parameters
        ----------
        view : View, optional
            At whose places the labelled images are told; by default those of the view of now.
        """
        seen = view or self.view()
        return self._pools.get(
            self._labelled(seen),
            lambda: pooled(self.corpus, seen.categories, seen.levels, ids=seen.ids),
        )

    def material(self, plan: CalibrationPlan, view: View | None = None) -> Material:
        """What a calibration would be made from now; its places are those of the view.

        Parameters
        ----------
        plan : CalibrationPlan
            What is asked for.
        view : View, optional
            The view of now, where the caller has one.

        Raises
        ------
        LabelError, CalibrationError
            If the labels cannot give what is asked for.
        Refused
            503, if images came or went in the meantime.
        """
        seen = view or self.view()
        return self._materials.get(
            (self._labelled(seen), plan), lambda: self._gather(seen, self.pool(seen), plan)
        )

    def trial(self, plan: CalibrationPlan, view: View | None = None) -> Trial:
        """Thresholds to be tried against the calibration that is applied; see `material`."""
        seen = view or self.view()
        version = (self._labelled(seen), plan)
        return self._trials.get(
            version, lambda: Trial.of(self.material(plan, seen), plan, seen.contract)
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

    def _labelled(self, view: View) -> Hashable:
        """What tells whether labels, or draws of images to label, have changed."""
        return view.version, view.levels, change(self.corpus)

    def _gather(self, view: View, pool: Pool, plan: CalibrationPlan) -> Material:
        settings = self.settings
        found = material_of(
            self.corpus,
            pool,
            prompts=view.prompt_set,
            source=TextSource(settings.prompt_vectors, settings.model, settings.device),
            plan=plan,
            scored=view.plain if plan.rule == str(view.rule) else None,
            keep=False,
        )
        if not np.array_equal(found.scored.rows, view.scored.rows):
            raise overloaded("Images came or went meanwhile. Ask again.")
        return found

    def _identify(self) -> None:
        """Give the corpus an identity, unless it has one or nobody may write."""
        with suppress(ClipcalError, OSError), self.writing() as corpus:
            if not self.identity:
                corpus.note(_IDENTITY, uuid.uuid4().hex)

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
