"""The card of an index: what it holds, and by that whether it fits the corpus beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clipcal.errors import FingerprintMismatch, StoreError
from clipcal.index.store import Corpus

Kind = Literal["flat", "ivf", "hnsw"]

INDEX = "index.faiss"
CARD = "index.json"


class IndexCard(BaseModel):
    """What is known of an index, as written to ``index.json`` beside it.

    Attributes
    ----------
    kind : {"flat", "ivf", "hnsw"}
        Exact and without a file, inverted lists, or a navigable graph.
    fingerprint : str
        Of the model whose embeddings it holds.
    rows : int
        How many rows of the shards it holds, from the first.
    chain : str
        What those rows are (:meth:`Corpus.chain`).
    trained_rows : int
        How many rows there were when its lists were laid out.
    search_width : int
        Lists probed (ivf) or candidates kept (hnsw); 0 for flat.
    recall_at_10 : float
        Share of the true ten nearest found, measured against exact search.
    measured_queries : int
        With how many of the corpus's own embeddings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    fingerprint: str
    dim: int
    rows: int
    chain: str
    trained_rows: int
    search_width: int
    recall_at_10: float
    measured_queries: int


def read_card(corpus: Corpus) -> IndexCard | None:
    """Read the card of the index; None where there is no index.

    Raises
    ------
    StoreError
        If the card is damaged.
    FingerprintMismatch
        If the index holds another model's embeddings.
    """
    path = corpus.path / CARD
    try:
        card = IndexCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path} is damaged. Build the index again: clipcal index") from error
    if card.fingerprint != corpus.model.fingerprint:
        raise FingerprintMismatch(
            f"The index in {corpus.path} holds embeddings of another model "
            f"({card.fingerprint[:12]}, the corpus {corpus.model.fingerprint[:12]}). "
            f"Build it again: clipcal index --corpus {corpus.path}"
        )
    return card if card.kind == "flat" or (corpus.path / INDEX).is_file() else None


def covers(card: IndexCard, corpus: Corpus, *, stale: bool) -> bool:
    """Whether an index holds a corpus's rows.

    Parameters
    ----------
    card : IndexCard
        The index.
    corpus : Corpus
        The corpus beside it.
    stale : bool
        Whether the first of its rows will do.

    Returns
    -------
    bool
        False also where it holds as many rows of another history.
    """
    same = corpus.chain(card.rows) == card.chain
    return same and (stale or card.rows == corpus.rows)
