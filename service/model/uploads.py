"""Images that clients send: their embeddings, and their scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastapi import UploadFile

from clipcal.calibrate.scoring.rules import MARGIN, ScoreRule
from clipcal.calibrate.scoring.scores import Scores, category_scores
from clipcal.errors import ImageError
from clipcal.index.lookup import ids_at, row_of_content
from clipcal.index.queries import stored_vector
from clipcal.index.store import Corpus
from clipcal.prompts.matrix import PromptVectors
from clipcal.service.context import Context
from clipcal.service.gate.problems import too_large, unprocessable
from clipcal.service.model.batching import Vector, Vectors
from clipcal.service.served.view import View

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An image that a client sent.

    Attributes
    ----------
    name : str
        As the client calls it.
    vector : Vector or None
        float32 (dim,), L2-normalised; the stored one where the corpus knows the content.
    item : int or None
        The first item of the corpus with the same content.
    error : str or None
        Why there is no vector.
    """

    name: str
    vector: Vector | None = None
    item: int | None = None
    error: str | None = None

    @property
    def sound(self) -> Vector:
        """The vector.

        Raises
        ------
        Refused
            422, if the image could not be decoded.
        """
        if self.vector is None:
            raise unprocessable(f"{self.name} is no image that can be read: {self.error}.")
        return self.vector


def embed_uploads(serving: Context, files: Sequence[UploadFile]) -> list[Upload]:
    """Embed uploaded images; what the corpus knows is not embedded again.

    Parameters
    ----------
    serving : Context
        The service.
    files : sequence of UploadFile
        The images.

    Returns
    -------
    list of Upload
        In their order; a failure is its own image's alone.

    Raises
    ------
    Refused
        413 if there are too many; 503, 504 as of the encoder.
    BundleError, ProviderError
        If an image is unknown, and there is no model to embed it with.
    """
    most = serving.settings.limits.batch
    if len(files) > most:
        raise too_large(f"There are {len(files)} images, and at most {most} go at once.")
    named = [(name_of(file), file.file.read()) for file in files]
    known = [_known(serving.workspace.corpus, name, data) for name, data in named]
    new = [data for (_, data), upload in zip(named, known, strict=True) if upload is None]
    made = iter(serving.encoder.embed_images(new) if new else [])
    return [
        upload or _embedded(serving, name, next(made))
        for (name, _), upload in zip(named, known, strict=True)
    ]


def name_of(file: UploadFile) -> str:
    """What a client calls an upload, as far as it can be shown."""
    shown = "".join(c for c in file.filename or "" if c.isprintable())
    return shown[:_LONGEST_NAME] or "image"


def score_vectors(view: View, vectors: Vectors) -> Scores:
    """Score images as those of the corpus are scored.

    Parameters
    ----------
    view : View
        The corpus, with its prompts, rule and learned scores.
    vectors : Vectors
        float32 (n, dim), L2-normalised; rounded as the corpus keeps them, so that an image has
        the score that it would have there.

    Returns
    -------
    Float32[(n, c)]
        Scores in the view's categories.
    """
    kept = vectors.astype(np.float16).astype(np.float32)
    plain = score_by(kept, view.vectors, view.rule)
    scores = plain.copy()
    for category, head in (view.contract.heads if view.contract else {}).items():
        column = view.column(category)
        scores[:, column] = head.score(kept, plain[:, column])
    return scores


def score_by(vectors: Vectors, prompts: PromptVectors, rule: ScoreRule = MARGIN) -> Scores:
    """Score images under a prompt set: float32 (n, c)."""
    return category_scores(vectors @ prompts.matrix.T, prompts, rule)


def _known(corpus: Corpus, name: str, data: bytes) -> Upload | None:
    row = row_of_content(corpus, hashlib.sha256(data).hexdigest())
    if row is None:
        return None
    items = ids_at(corpus, row)
    return Upload(name, stored_vector(corpus, row), int(items[0]) if len(items) else None)


def _embedded(serving: Context, name: str, made: Vector | ImageError) -> Upload:
    if isinstance(made, ImageError):
        serving.metrics.rejected("content")
        return Upload(name, error=str(made))
    return Upload(name, made)
