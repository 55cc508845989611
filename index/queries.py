"""What to search for: an image becomes a vector, from the corpus where it is known there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcal.errors import ImageError, SourceError
from clipcal.index.decoding import decoding_of
from clipcal.index.sources import uri_of
from clipcal.index.store import Corpus
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import load_pixels

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder

Vector = NDArray[np.float32]  # (dim,), L2-normalised


def image_query(
    corpus: Corpus,
    name: str,
    open_model: Callable[[], tuple[ImageEncoder, Preprocessing]],
) -> Vector:
    """Find the embedding of an image.

    Parameters
    ----------
    corpus : Corpus
        The corpus; what it knows is not embedded again.
    name : str
        A URI of the corpus or a file.
    open_model : callable
        Opens the corpus's model; called only for content that the corpus does not hold.

    Returns
    -------
    Vector
        float32 (dim,), L2-normalised.

    Raises
    ------
    SourceError
        If it is neither in the corpus nor a file that can be read.
    ImageError
        If the file is no image.
    """
    row = _known_row(corpus, name)
    if row is not None:
        return stored_vector(corpus, row)
    try:
        with open(name, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise SourceError(
            f"{name} is neither in the corpus {corpus.path} nor a readable file "
            f"({(error.strerror or str(error)).lower()}). Name an image or a URI of the corpus."
        ) from error
    row = corpus.rows_by_content().get(hashlib.sha256(data).hexdigest())
    if row is not None:
        return stored_vector(corpus, row)
    encoder, preprocessing = open_model()
    try:
        pixels = load_pixels(data, preprocessing, exact=decoding_of(corpus) == "exact")
    except ImageError as error:
        raise ImageError(f"{name} cannot be searched with: {error}. Name an image.") from error
    vector: Vector = encoder.encode(pixels[np.newaxis])[0]
    return vector


def stored_vector(corpus: Corpus, row: int) -> Vector:
    """The embedding in `row`, as float32 and of length one to float32's precision."""
    vector = corpus.shards.take(np.array([row], np.int64))[0].astype(np.float32)
    unit: Vector = vector / np.linalg.norm(vector)
    return unit


def _known_row(corpus: Corpus, name: str) -> int | None:
    """The row of the item called `name`; none where its file is there and may have changed."""
    path = os.path.abspath(name)
    for uri in (name, uri_of(path)):
        item = corpus.find(uri)
        if item is not None and item.state != "failed":
            imported = item.sha256 is None
            return item.row if imported or not os.path.exists(path) else None
    return None
