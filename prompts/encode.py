"""Sentences to text vectors, kept once per model, and text vectors to the rows of a prompt set."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock
import numpy as np
import platformdirs
from numpy.typing import NDArray

from clipcal.errors import PromptError
from clipcal.files import replacing
from clipcal.prompts.promptset import Category, PromptSet, fold

if TYPE_CHECKING:
    from clipcal.models.session import TextEncoder

Vectors = NDArray[np.float32]  # (n, dim), rows L2-normalised

# Rows whose length is nearer to 1 than this are left as they are, so that saving and loading
# returns the same bytes; float32 cannot normalise much closer.
_UNIT_TOLERANCE = 1e-6
# Two vectors of one sentence may differ by float16 and by the machine, not by more.
_SAME = 1e-2
_NAMED = 3
_ABOUT_MODEL = ("model_id", "fingerprint")
_FINGERPRINT = re.compile("[0-9a-f]{64}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TextVectors:
    """Sentences with their text vectors, of one model.

    Attributes
    ----------
    sentences : tuple of str
        n sentences as the text encoder saw them, templates filled in.
    vectors : numpy.ndarray
        float32 (n, dim); rows are L2-normalised on construction.
    model : str or None
        The model's name; None where a foreign file does not say.
    fingerprint : str or None
        Of the model's bundle; None where the vectors were made without one.

    Raises
    ------
    PromptError
        If the shapes disagree, a vector is zero or not finite, or a sentence has two vectors.
    """

    sentences: tuple[str, ...]
    vectors: Vectors
    model: str | None = None
    fingerprint: str | None = None
    _rows: Mapping[str, int] = field(init=False, repr=False)
    _folded: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors)
        if vectors.ndim != 2 or len(vectors) != len(self.sentences):
            raise PromptError(
                f"{len(self.sentences)} sentences need as many rows of numbers; the vectors have "
                f"shape {vectors.shape}"
            )
        object.__setattr__(self, "vectors", _normalised(vectors))
        object.__setattr__(self, "_rows", _first_rows(self.sentences))
        object.__setattr__(self, "_folded", _first_rows([fold(s) for s in self.sentences]))
        self._refuse_two_vectors_for_one_sentence()

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def __contains__(self, sentence: object) -> bool:
        """Tell whether `sentence` has a vector, to the letter."""
        return sentence in self._rows

    def of(self, sentence: str) -> NDArray[np.float32]:
        """Look up the vector (dim,) of one sentence.

        Where the sentence itself is not there, one that differs in case or blanks only serves:
        CLIP's tokenizer makes the same tokens of both.

        Raises
        ------
        PromptError
            If the sentence has no vector; the message names the closest ones that have.
        """
        self.require([sentence])
        number = self._rows.get(sentence, self._folded[fold(sentence)])
        row: NDArray[np.float32] = self.vectors[number]
        return row

    def require(self, sentences: Sequence[str], *, prompt_set: str = "SET") -> None:
        """Make sure that :meth:`of` finds every sentence.

        Raises
        ------
        PromptError
            If one has none; the message names it, the closest ones present, and what to do.
        """
        missing = [sentence for sentence in sentences if fold(sentence) not in self._folded]
        if missing:
            named = "; ".join(self._with_closest(sentence) for sentence in missing[:_NAMED])
            rest = len(missing) - _NAMED
            raise PromptError(
                f"{len(missing)} of {len(sentences)} sentences have no text vector: {named}"
                f"{f'; and {rest} more' if rest > 0 else ''}. Encode them with the same model: "
                f"clipcal prompts encode {prompt_set} -o VECTORS.npz"
            )

    def save(self, path: Path) -> None:
        """Write ``.npz`` with the arrays ``prompts`` and ``vectors``, and whose they are.

        Where they are known, ``model_id`` is the model's name and ``fingerprint`` its bundle's,
        one text each. The file appears whole or not at all.

        Parameters
        ----------
        path : pathlib.Path
            Where; taken as it is, without an ending added.

        Raises
        ------
        PromptError
            If the file cannot be written.
        """
        arrays: dict[str, Any] = {"prompts": np.array(self.sentences, dtype=str)}
        arrays["vectors"] = self.vectors
        for key, said in (("model_id", self.model), ("fingerprint", self.fingerprint)):
            if said is not None:
                arrays[key] = np.array(said)
        try:
            with replacing(path) as part, part.open("wb") as stream:
                np.savez(stream, **arrays)
        except OSError as error:
            raise PromptError(f"The text vectors cannot be written to {path}: {error}") from error

    @classmethod
    def load(cls, path: Path) -> TextVectors:
        """Read what :meth:`save` or another program wrote.

        Parameters
        ----------
        path : pathlib.Path
            A ``.npz`` with the arrays ``prompts`` (n text entries), ``vectors`` (n, dim) of any
            floating type and, optionally, ``model_id`` and ``fingerprint`` (one text each). A
            ``model_id`` of 64 hexadecimal digits is taken for a fingerprint.

        Returns
        -------
        TextVectors
            Rows normalised, float32.

        Raises
        ------
        PromptError
            If the file is missing, damaged, or holds anything else; nothing in it is executed.
        """
        arrays = _read_arrays(path)
        try:
            sentences = _texts(arrays["prompts"])
            return cls(sentences, arrays["vectors"], *_said_of_model(arrays))
        except PromptError as error:
            raise PromptError(f"{path} holds no text vectors that can be used: {error}") from None

    def _with_closest(self, sentence: str) -> str:
        close = difflib.get_close_matches(sentence, self._rows, n=2, cutoff=0.5)
        return f"{sentence!r}" + (f" (closest: {', '.join(map(repr, close))})" if close else "")

    def _refuse_two_vectors_for_one_sentence(self) -> None:
        if len(self._rows) == len(self.sentences):
            return
        first = [self._rows[sentence] for sentence in self.sentences]
        differ = np.abs(self.vectors - self.vectors[first]).max(axis=1) > _SAME
        if differ.any():
            sentence = self.sentences[int(np.argmax(differ))]
            raise PromptError(f"the sentence {sentence!r} stands there twice, with two vectors")


class Columns(NamedTuple):
    """Where the similarities with one category's sentences stand."""

    prompts: slice
    against: slice


@dataclass(frozen=True, slots=True, eq=False)
class PromptVectors:
    """A prompt set as a matrix.

    Attributes
    ----------
    prompt_set : PromptSet
        The set.
    matrix : numpy.ndarray
        float32 (p, dim), rows L2-normalised: one per sentence of each category, which is the
        mean over the templates.
    columns : tuple of Columns
        For each category the slices of its prompts and of its contrasts among the p columns of
        ``embeddings @ matrix.T``.
    model : str or None
        The model of the text vectors, as their file says.
    """

    prompt_set: PromptSet
    matrix: Vectors
    columns: tuple[Columns, ...]
    model: str | None = None


def build(prompt_set: PromptSet, vectors: TextVectors) -> PromptVectors:
    r"""Average the templates of every sentence into one vector.

    For the templates :math:`T` and the normalised text vectors :math:`t`, the row of a sentence
    :math:`s` is :math:`\sum_{T} t(T(s))`, normalised: the prompt ensembling of Radford et al.,
    "Learning Transferable Visual Models From Natural Language Supervision" (2021), section 3.1.4.

    Parameters
    ----------
    prompt_set : PromptSet
        The set.
    vectors : TextVectors
        At least the set's sentences, expanded by its templates.

    Returns
    -------
    PromptVectors
        Matrix and columns.

    Raises
    ------
    PromptError
        If a sentence has no vector, or the templates of one cancel out.
    """
    vectors.require(prompt_set.sentences, prompt_set=prompt_set.name)
    sentences = [s for c in prompt_set.categories for s in (*c.prompts, *c.against)]
    sums = [sum(map(vectors.of, prompt_set.expand(sentence))) for sentence in sentences]
    columns = tuple(_columns(prompt_set.categories))
    return PromptVectors(prompt_set, _normalised(np.array(sums)), columns, vectors.model)


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


# --- vectors ---------------------------------------------------------------------------------


def _normalised(vectors: NDArray[Any]) -> Vectors:
    """Check that rows are finite and not zero, and bring them to unit length, as float32."""
    if vectors.dtype.kind not in "fiu":
        raise PromptError(f"the vectors are not numbers, but of type {vectors.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        rows = vectors.astype(np.float32)
    if not np.isfinite(rows).all():
        raise PromptError("a vector holds NaN or infinity")
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not norms.all():
        raise PromptError(f"the vector in row {int(np.argmin(norms))} is zero")
    norms[np.abs(norms - 1) <= _UNIT_TOLERANCE] = 1
    normalised: Vectors = (rows / norms).astype(np.float32)
    return normalised


def _first_rows(sentences: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, sentence in enumerate(sentences):
        rows.setdefault(sentence, row)
    return rows


def _columns(categories: Sequence[Category]) -> Iterator[Columns]:
    start = 0
    for category in categories:
        middle = start + len(category.prompts)
        end = middle + len(category.against)
        yield Columns(slice(start, middle), slice(middle, end))
        start = end


# --- files -----------------------------------------------------------------------------------


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is a single array, not a .npz of `prompts` and `vectors`")
            with archive:
                wanted = ["prompts", "vectors", *({*_ABOUT_MODEL} & set(archive.files))]
                return {key: archive[key] for key in wanted}
    except FileNotFoundError:
        raise PromptError(
            f"There is no file of text vectors {path}. Make one: "
            f"clipcal prompts encode SET -o {path}"
        ) from None
    except Exception as error:  # a damaged zip or header raises nearly anything
        raise PromptError(
            f"{path} cannot be read as text vectors: {_why_unreadable(error)}. Make the file "
            f"again: clipcal prompts encode SET -o {path}"
        ) from error


def _why_unreadable(error: Exception) -> str:
    why = " ".join(str(error).split()) or type(error).__name__
    if "allow_pickle" in why:
        return (
            "it is no .npz, or holds Python objects, which are not read because they can run "
            "code (save texts with dtype=str)"
        )
    return why


def _texts(array: NDArray[Any]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise PromptError(
            f"`prompts` must be one row of text (dtype str), got shape {array.shape} of "
            f"{array.dtype}"
        )
    return tuple(array.tolist())


def _said_of_model(arrays: Mapping[str, NDArray[Any]]) -> tuple[str | None, str | None]:
    """Read the model's name and fingerprint, as far as they are there."""
    name, fingerprint = (_text(key, arrays.get(key)) for key in _ABOUT_MODEL)
    if fingerprint is None and name is not None and _FINGERPRINT.fullmatch(name):
        return None, name
    return name, fingerprint


def _text(key: str, array: NDArray[Any] | None) -> str | None:
    if array is None:
        return None
    if array.size != 1 or array.dtype.kind != "U":
        raise PromptError(f"`{key}` must be one text, got shape {array.shape} of {array.dtype}")
    return str(array.item())


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
