"""Calibrations as they go over the wire, and how one is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.plan import plan_of
from clipcal.calibrate.records import Bands, Cut
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.workflow import Calibrated
from clipcal.errors import StoreError
from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.problems import UnusableCalibrationError, conflict, overloaded
from clipcal.service.replies.sentences import Hide
from clipcal.service.schemas.calibration import BandsView, CalibrationView, CutView
from clipcal.service.schemas.common import Amount, Rate
from clipcal.service.served.workspace import Workspace

_LOCK: Final = "calibration.lock"
_PATIENCE: Final = 10.0  # seconds; others hold the lock for as long as writing a file takes


def calibration_view(contract: Contract, sha256: str, hide: Hide) -> CalibrationView:
    """Describe a contract.

    Parameters
    ----------
    contract : Contract
        The calibration.
    sha256 : str
        Of its file.
    hide : callable
        What its sentences go through.

    Returns
    -------
    CalibrationView
        With every cut.
    """
    return CalibrationView(
        sha256=sha256,
        created=contract.created,
        model=contract.model,
        prompts=contract.prompt_set.name,
        levels=list(contract.levels),
        confidence=contract.confidence,
        target=contract.target,
        bands=plan_of(contract).bands,
        joint=contract.joint,
        labelled=contract.labels.images,
        cuts=[
            _cut_view(category, level, cut, hide)
            for category, cuts in contract.categories.items()
            for level, cut in cuts.items()
        ],
        warnings=[hide(warning) for warning in contract.warnings],
    )


def file_hash(contract: Contract) -> str:
    """SHA-256 of the file that saving a contract makes."""
    return hashlib.sha256(contract.sealed().encode() + b"\n").hexdigest()


def save(workspace: Workspace, done: Calibrated, replaces: str | None, attempt: Attempt) -> None:
    """Put a calibration in the place of the one that the client saw, and of no other.

    Parameters
    ----------
    workspace : Workspace
        Whose calibration it becomes.
    done : Calibrated
        What was fitted.
    replaces : str or None
        SHA-256 of the file that may be replaced; None where there must be none.
    attempt : Attempt
        The request that asks for it.

    Raises
    ------
    Refused
        409, if there is another one by now; 503, if others keep on saving; 504, if the request was
        given up meanwhile, and then nothing is saved.
    StoreError, CalibrationError
        If the corpus or the calibration's file cannot be written.
    """
    path = workspace.settings.calibration
    with _alone(workspace), workspace.writing() as corpus:
        require_unchanged(path, replaces)
        attempt.hold()
        done.contract.save(path)
        done.keep(corpus)


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Keep others off who may serve the same corpus."""
    lock = FileLock(workspace.corpus.path / _LOCK)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise overloaded("Another process saves a calibration. Save again in a moment.") from error
    except OSError as error:
        raise StoreError(
            f"{workspace.corpus.path} cannot be written to ({error.strerror}), and no calibration "
            f"was saved. Whoever runs the service must let it write there; then save again."
        ) from error
    try:
        yield
    finally:
        lock.release()


def require_unchanged(path: Path, replaces: str | None) -> None:
    """Refuse to replace a file that is not the one whose hash is given, or cannot be read."""
    present = _hash_of(path)
    if present != replaces:
        fact = "is gone" if present is None else f"is another one by now ({present[:12]}…)"
        seen = "There is a calibration by now" if replaces is None else f"The calibration {fact}"
        raise conflict(
            f"{seen}, and nothing was overwritten. Look at it (GET /v1/calibration), then save "
            f"again with its hash in `replaces`."
        )


def rate(estimate: Estimate | None) -> Rate | None:
    """Describe a rate."""
    return None if estimate is None else Rate.model_validate(estimate)


def amount(quantity: Range | None) -> Amount | None:
    """Describe a quantity."""
    return None if quantity is None else Amount.model_validate(quantity)


def _hash_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableCalibrationError(
            f"The calibration {path} cannot be read ({error.strerror}), and none was saved. "
            f"Whoever runs the service must let it read the file; then save again."
        ) from error


def _cut_view(category: str, level: str, cut: Cut, hide: Hide) -> CutView:
    return CutView(
        category=category,
        level=level,
        status=cut.status,
        objective=cut.objective,
        threshold=cut.threshold,
        by_hand=cut.by_hand,
        n=cut.n,
        positives=cut.positives,
        recall=rate(cut.recall),
        precision=rate(cut.precision),
        flags=cut.flags,
        bands=None if cut.bands is None else _bands_view(cut.bands, hide),
        guarantee=cut.guarantee,
        next_step=hide(cut.next_step),
    )


def _bands_view(bands: Bands, hide: Hide) -> BandsView:
    return BandsView(
        status=bands.status,
        upper=bands.upper,
        by_hand=bands.by_hand,
        allow=bands.allow,
        review=bands.review,
        block=bands.block,
        precision=rate(bands.precision),
        guarantee=bands.guarantee,
        next_step=hide(bands.next_step),
    )
