"""The text vectors of a corpus's model: from a file that was brought, or from its text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import FingerprintMismatch
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.encode import encode_sentences
from clipcal.prompts.promptset import PromptSet
from clipcal.prompts.vectors import TextVectors

if TYPE_CHECKING:
    from clipcal.models.session import TextEncoder

DEFAULT_SETS = {"builtin": "demo"}
OTHERWISE = "moderation"


def default_set(identity: ModelIdentity) -> str:
    """Name the packaged prompt set that suits a model: the built-in one knows only the demo's."""
    return DEFAULT_SETS.get(identity.bundle or "", OTHERWISE)


def text_vectors(
    sentences: Sequence[str],
    identity: ModelIdentity,
    *,
    file: Path | None = None,
    model: str | None = None,
    device: str = "auto",
    keep: bool = True,
) -> TextVectors:
    """Find the text vectors of `sentences` in the space of a corpus's model.

    Parameters
    ----------
    sentences : sequence of str
        Sentences as the text encoder sees them, templates filled in.
    identity : ModelIdentity
        The corpus's model.
    file : pathlib.Path, optional
        Text vectors made before; then no text encoder is needed.
    model : str, optional
        Where the model's bundle lies now, if it moved.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        Where the text encoder runs.
    keep : bool
        As for :func:`clipcal.prompts.encode.encode_sentences`.

    Returns
    -------
    TextVectors
        At least the sentences asked for, where there is no `file`; the file's content otherwise.

    Raises
    ------
    FingerprintMismatch
        If the file holds vectors of another model.
    BundleError
        If the model's bundle is not at hand.
    """
    if file is not None:
        return _load_for(identity, file)

    def open_encoder() -> TextEncoder:
        from clipcal.models.session import open_text_encoder

        return open_text_encoder(identity.find_bundle(model), device=device)

    return encode_sentences(sentences, identity.fingerprint, open_encoder, keep=keep)


def set_vectors(
    prompt_set: PromptSet,
    identity: ModelIdentity,
    *,
    file: Path | None = None,
    model: str | None = None,
    device: str = "auto",
    keep: bool = True,
) -> TextVectors:
    """Find the text vectors of every sentence of a prompt set; see :func:`text_vectors`."""
    return text_vectors(
        prompt_set.sentences, identity, file=file, model=model, device=device, keep=keep
    )


def sentence_vector(
    sentence: str,
    identity: ModelIdentity,
    *,
    file: Path | None = None,
    model: str | None = None,
    device: str = "auto",
) -> NDArray[np.float32]:
    """Find the text vector (dim,) of one sentence; see :func:`text_vectors`."""
    found = text_vectors([sentence], identity, file=file, model=model, device=device)
    vector: NDArray[np.float32] = found.of(sentence)
    return vector


def _load_for(identity: ModelIdentity, file: Path) -> TextVectors:
    vectors = TextVectors.load(file)
    if not identity.may_be(vectors.model, vectors.fingerprint):
        raise FingerprintMismatch(
            f"{file} holds text vectors of the model {_whose(vectors)}, the corpus embeddings of "
            f"{identity.name} ({identity.fingerprint[:12]}). Encode the prompts with the corpus's "
            f"model: clipcal prompts encode SET -o {file}"
        )
    if vectors.vectors.shape[1] != identity.dim:
        raise FingerprintMismatch(
            f"{file} holds vectors of {vectors.vectors.shape[1]} numbers, the corpus of "
            f"{identity.dim}: they are of different models."
        )
    return vectors


def _whose(vectors: TextVectors) -> str:
    short = (vectors.fingerprint or "")[:12]
    return f"{vectors.model} ({short})" if vectors.model and short else vectors.model or short
