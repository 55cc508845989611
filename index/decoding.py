"""A corpus has one way of decoding: embeddings of two ways differ a little from each other."""

from __future__ import annotations

from typing import Literal, cast

from clipcal.errors import StoreError
from clipcal.index.store import Corpus

Decoding = Literal["scaled", "exact"]
KEY = "decoding"


def decoding_of(corpus: Corpus) -> Decoding | None:
    """How the images of a corpus are decoded.

    Parameters
    ----------
    corpus : Corpus
        Any corpus.

    Returns
    -------
    {"scaled", "exact"} or None
        As :func:`clipcal.models.preprocess.load_pixels` does by default, or with ``exact``, which
        is also the way of embeddings older than the choice and of imported ones; None while
        there are no embeddings and nothing is settled.
    """
    noted = corpus.noted(KEY)
    if noted is not None:
        return cast(Decoding, noted)
    return "exact" if corpus.rows else None


def settle_decoding(corpus: Corpus, *, exact: bool) -> Decoding:
    """Choose how a corpus decodes, for good once it holds embeddings, and note it there.

    Parameters
    ----------
    corpus : Corpus
        Held for writing.
    exact : bool
        Whether exact decoding is asked for; what is settled is not changed by not asking, and
        by asking only while there are no embeddings.

    Returns
    -------
    {"scaled", "exact"}
        The way of this corpus.

    Raises
    ------
    StoreError
        If exact decoding is asked for and the corpus holds embeddings of scaled decoding.
    """
    settled = decoding_of(corpus)
    if exact and settled == "scaled" and corpus.rows:
        raise StoreError(
            f"{corpus.path} decodes scaled, and --exact-decode asks for the reference's pixels; a "
            "corpus has one way. Leave --exact-decode away, or embed into a new corpus: "
            "clipcal embed SOURCE --exact-decode --corpus NEW"
        )
    chosen: Decoding = "exact" if exact else settled or "scaled"
    if corpus.noted(KEY) != chosen:
        corpus.note(KEY, chosen)
    return chosen
