"""Sentences to text vectors, each only once per model and machine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import platformdirs

from clipcal.errors import PromptError
from clipcal.prompts.promptset import PromptSet
from clipcal.prompts.vectors import TextVectors

if TYPE_CHECKING:
    from clipcal.models.session import TextEncoder

_log = logging.getLogger(__name__)


def cache_home() -> Path:
    """Name the folder of what can be made again: $CLIPCAL_CACHE, or the platform's own."""
    chosen = os.environ.get("CLIPCAL_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("clipcal")


def encode_set(
    prompt_set: PromptSet,
    fingerprint: str,
    open_encoder: Callable[[], TextEncoder],
    *,
    name: str | None = None,
    cache: Path | None = None,
) -> TextVectors:
    """Encode every sentence of a prompt set; see :func:`encode_sentences`."""
    return encode_sentences(prompt_set.sentences, fingerprint, open_encoder, name=name, cache=cache)


def encode_sentences(
    sentences: Sequence[str],
    fingerprint: str,
    open_encoder: Callable[[], TextEncoder],
    *,
    name: str | None = None,
    cache: Path | None = None,
    keep: bool = True,
) -> TextVectors:
    """Encode sentences, each only once per model and machine.

    Parameters
    ----------
    sentences : sequence of str
        Sentences as the encoder shall see them, templates filled in.
    fingerprint : str
        The model's; the name of its file in the cache.
    open_encoder : callable
        Opens the model's text encoder; called only where a sentence is not in the cache.
    name : str, optional
        The model's name, for a file that other programs read.
    cache : pathlib.Path, optional
        Folder of the cache; :func:`cache_home` where none is given.
    keep : bool
        Whether what is encoded now is kept; else the cache is read only.

    Returns
    -------
    TextVectors
        The distinct sentences, in their order.

    Raises
    ------
    BundleError, ProviderError
        If the encoder cannot be opened.
    PromptError
        If what the encoder returns is unusable.

    Notes
    -----
    A cache that is damaged or cannot be written costs time and a note in the log, not the result.
    """
    wanted = tuple(dict.fromkeys(sentences))
    file = (cache or cache_home()) / "text" / f"{fingerprint}.npz"
    # Files appear whole, so that reading one needs no lock.
    with _locked(file) if keep else contextlib.nullcontext(False) as writable:
        held = _read_cache(file, fingerprint)
        missing = [s for s in wanted if held is None or s not in held]
        if missing:
            held = _joined(held, _encoded(missing, fingerprint, open_encoder), file)
            if writable:
                _write_cache(held, file)
    if held is None:
        raise PromptError("There is no sentence to encode: the prompt set is empty.")
    return TextVectors(wanted, np.array([held.of(s) for s in wanted]), name, fingerprint)


# --- the cache -------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Hold the lock of a cache file, so that two processes do not encode or write at once.

    Yields
    ------
    bool
        Whether the cache can be written.
    """
    lock = filelock.FileLock(file.with_name(f"{file.name}.lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        _log.warning("Text vectors are not cached: %s cannot be written (%s)", file.parent, error)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _read_cache(file: Path, fingerprint: str) -> TextVectors | None:
    if not file.exists():
        return None
    try:
        held = TextVectors.load(file)
    except PromptError as error:
        _log.warning("The cached text vectors are made again: %s", error)
        return None
    if held.fingerprint != fingerprint:
        _log.warning("The cached text vectors are made again: %s is of another model", file)
        return None
    return held


def _write_cache(held: TextVectors, file: Path) -> None:
    try:
        held.save(file)
    except PromptError as error:
        _log.warning("Text vectors are not cached: %s", error)


def _encoded(
    sentences: Sequence[str], fingerprint: str, open_encoder: Callable[[], TextEncoder]
) -> TextVectors:
    try:
        vectors = open_encoder().encode(sentences)
        return TextVectors(tuple(sentences), vectors, fingerprint=fingerprint)
    except PromptError as error:
        raise PromptError(f"The text encoder returned what cannot be used: {error}") from error


def _joined(held: TextVectors | None, new: TextVectors, file: Path) -> TextVectors:
    if held is None:
        return new
    if held.dim != new.dim:
        raise PromptError(
            f"{file} holds vectors of {held.dim} numbers, the model makes {new.dim}. Delete it; "
            "it is made again."
        )
    vectors = np.concatenate([held.vectors, new.vectors])
    return TextVectors(held.sentences + new.sentences, vectors, fingerprint=new.fingerprint)
