"""What was found near something, as it goes over the wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipcal.calibrate.decisions.flagged import NearFlagged
from clipcal.calibrate.labels.pool import Pool
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.index.lookup import ids_by_uri
from clipcal.index.neighbours import Neighbour, search
from clipcal.index.queries import Vector
from clipcal.models.products import Products
from clipcal.service.replies.present import present_items, rounded
from clipcal.service.schemas.common import Item
from clipcal.service.schemas.items import Hit
from clipcal.service.served.view import Places, View

_ROWS_AT_ONCE = 16_384


def nearest(
    view: View, pool: Pool, query: Vector, k: int, *, leave_out: Sequence[int] = ()
) -> list[Hit]:
    """Find the images nearest to a vector.

    Parameters
    ----------
    view : View
        The corpus.
    pool : Pool
        What people say, at the places of this view.
    query : Vector
        float32 (dim,), L2-normalised.
    k : int
        How many.
    leave_out : sequence of int
        Rows of embeddings that must not be found.

    Returns
    -------
    list of Hit
        Best first. An index that lacks the newest images will do.
    """
    found = search(view.corpus, query[np.newaxis], k, leave_out=leave_out, stale=True)[0]
    return _hits(view, pool, found)


def near_flagged_hits(view: View, pool: Pool, found: Sequence[NearFlagged]) -> list[Hit]:
    """Describe what was found near flagged images, each with its flagged one."""
    items = _by_uri(view, pool, [uri for one in found for uri in (one.uri, one.near)])
    return [
        Hit(item=items[one.uri], similarity=rounded(one.similarity), near=items.get(one.near))
        for one in found
        if one.uri in items
    ]


def nearest_labelled(
    view: View, pool: Pool, place: int, category: str, k: int
) -> tuple[list[Hit], list[Hit]]:
    """Find the labelled images nearest to one, by comparing it with all of them.

    Parameters
    ----------
    view : View
        The corpus.
    pool : Pool
        What people say, at the places of this view.
    place : int
        The image; neither it nor its copies are found.
    category : str
        In which category people must have labelled them.
    k : int
        How many of each kind.

    Returns
    -------
    tuple of list of Hit
        Positives, labelled above the lowest level, and negatives, at it; best first.

    Raises
    ------
    Refused
        422, if there is no such category.
    """
    view.column(category)
    values = pool.table.values[:, [name == category for name in pool.table.categories]]
    own, rows = int(view.scored.rows[place]), view.scored.rows
    kinds = [(values > 0).any(axis=1), (values == 0).any(axis=1) & (values != UNKNOWN).all(axis=1)]
    query = view.corpus.shards.take(np.array([own], np.int64)).astype(np.float32)
    query /= np.linalg.norm(query)
    products, found = Products(query), []
    for kind in kinds:
        places = pool.match.rows[kind]
        places = places[rows[places] != own]
        places = places[np.unique(rows[places], return_index=True)[1]]  # of copies the first
        found.append(_best(view, pool, products, places, k))
    return found[0], found[1]


def _best(view: View, pool: Pool, products: Products, places: Places, k: int) -> list[Hit]:
    """The best of some images by their exact products with one query."""
    rows = view.scored.rows[places]
    parts = [
        products(view.corpus.shards.take(rows[start : start + _ROWS_AT_ONCE]))[:, 0]
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    cosines = np.concatenate([np.empty(0, np.float32), *parts])
    order = np.lexsort((places, -cosines))[:k]
    items = present_items(view, pool, places[order].tolist())
    return [
        Hit(item=item, similarity=rounded(min(cosine, 1.0)))
        for item, cosine in zip(items, cosines[order].tolist(), strict=True)
    ]


def _hits(view: View, pool: Pool, found: Sequence[Neighbour]) -> list[Hit]:
    items = _by_uri(view, pool, [one.uri for one in found])
    return [
        Hit(item=items[one.uri], similarity=rounded(one.score)) for one in found if one.uri in items
    ]


def _by_uri(view: View, pool: Pool, uris: Sequence[str]) -> dict[str, Item]:
    """Describe images that are called by their uris; those that the view lacks are left out."""
    ids = ids_by_uri(view.corpus, uris)
    places = view.places(list(ids.values()))
    items = {item.id: item for item in present_items(view, pool, places.tolist())}
    return {uri: items[number] for uri, number in ids.items() if number in items}
