"""Sentences with their text vectors, and the files that hold these."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import PromptError
from clipcal.files import replacing
from clipcal.prompts.promptset import fold

Vectors = NDArray[np.float32]  # (n, dim), rows L2-normalised

# Rows whose length is nearer to 1 than this are left as they are, so that saving and loading
# returns the same bytes; float32 cannot normalise much closer.
_UNIT_TOLERANCE = 1e-6
# Two vectors of one sentence may differ by float16 and by the machine, not by more.
_SAME = 1e-2
_NAMED = 3
_ABOUT_MODEL = ("model_id", "fingerprint")
_FINGERPRINT = re.compile("[0-9a-f]{64}")


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
        object.__setattr__(self, "vectors", normalised(vectors))
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


def normalised(vectors: NDArray[Any]) -> Vectors:
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
