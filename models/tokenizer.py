"""Sentences to token ids, by the ``tokenizer.json`` that an exported model carries.

Cleaning, padding and truncation are all inside that file, so that nothing about them is
decided here: the ids are those of the tokenizer with which the model was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from clipcal.errors import BundleError
from clipcal.models.bundle import TOKENIZER

Tokens = NDArray[np.int64]  # (n, context_length)


class Tokenizer:
    """A bundle's tokenizer; every sentence becomes one row of `context_length` ids.

    Attributes
    ----------
    context_length : int
        Length of a row. Longer sentences lose their end, shorter ones are padded.
    """

    def __init__(self, backend: tokenizers.Tokenizer, context_length: int) -> None:
        self._backend = backend
        self.context_length = context_length

    @classmethod
    def load(cls, path: Path, context_length: int) -> Tokenizer:
        """Read a tokenizer from a bundle's folder or from the file itself.

        Parameters
        ----------
        path : pathlib.Path
            A bundle, or a ``tokenizer.json``.
        context_length : int
            Number of ids that the text tower takes.

        Returns
        -------
        Tokenizer
            The tokenizer.

        Raises
        ------
        BundleError
            If the file is missing or damaged, or does not pad and truncate to
            `context_length`.
        """
        file = path / TOKENIZER if path.is_dir() else path
        backend = _read(file)
        lengths = {
            "pads": (backend.padding or {}).get("length"),
            "truncates": (backend.truncation or {}).get("max_length"),
        }
        for verb, length in lengths.items():
            if length != context_length:
                raise BundleError(
                    f"{file} {verb} to {length} ids, the model takes {context_length}. "
                    f"Export the bundle again: clipcal export NAME -o {file.parent}"
                )
        return cls(backend, context_length)

    def encode(self, sentences: Sequence[str]) -> Tokens:
        """Turn sentences into token ids.

        Parameters
        ----------
        sentences : sequence of str
            Any text; an empty sentence is allowed.

        Returns
        -------
        numpy.ndarray
            int64, shape (n, context_length).
        """
        encodings = self._backend.encode_batch(list(sentences))
        ids = np.asarray([encoding.ids for encoding in encodings], dtype=np.int64)
        return ids.reshape(len(sentences), self.context_length)


def _read(file: Path) -> tokenizers.Tokenizer:
    if not file.is_file():
        raise BundleError(
            f"There is no tokenizer at {file}. Export the bundle again: "
            f"clipcal export NAME -o {file.parent}"
        )
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for every kind of damage
        raise BundleError(
            f"{file} cannot be read as a tokenizer ({_first_line(error)}). Export the bundle "
            f"again: clipcal export NAME -o {file.parent}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
