"""Images of the corpus: listed, looked at, and what lies near them."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Header, Path, Query, Response

from clipcal.calibrate.labels.voices import FILE
from clipcal.index.judgements import standing
from clipcal.index.lookup import failures, ids_at, items_by_id, labels_of
from clipcal.index.queries import stored_vector
from clipcal.index.records import Item as CorpusItem
from clipcal.service.context import Context, Serving
from clipcal.service.gate.paths import without_paths
from clipcal.service.gate.problems import PROBLEMS, not_found
from clipcal.service.replies.found import nearest, nearest_labelled
from clipcal.service.replies.present import present_items
from clipcal.service.schemas.common import Name
from clipcal.service.schemas.items import (
    Failure,
    Failures,
    ItemDetail,
    Items,
    Judged,
    Neighbours,
)
from clipcal.service.served.listing import Band, ItemOrder, Labelled, Question, list_places

router = APIRouter(prefix="/v1", tags=["items"])

ItemId = Annotated[int, Path(ge=1, le=2**53, description="An id from /v1/items.")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="How many to pass over.")]
_CACHING = "private, no-cache"  # asked for again each time, and answered 304


class Side(IntEnum):
    """Greatest width and height of a picture, in pixels."""

    SMALL = 160
    MEDIUM = 320
    LARGE = 640
    HUGE = 1280


@router.get(
    "/items",
    operation_id="list_items",
    summary="Images by decision, band and label, a page at a time.",
    response_model=Items,
    responses={409: PROBLEMS[409]},
)
def list_items(
    serving: Serving,
    category: Annotated[
        Name | None, Query(description="In which category; by default in any.")
    ] = None,
    level: Annotated[Name | None, Query(description="Decided to be at this level.")] = None,
    band: Annotated[
        Band | None, Query(description="In this band; or at any level above the lowest, or not.")
    ] = None,
    labelled: Annotated[
        Labelled | None,
        Query(description="With any label, with none, above the lowest level, or at it."),
    ] = None,
    order: Annotated[
        ItemOrder,
        Query(
            description="By id; by score, the lowest first, or with - the highest; or what is "
            "nearest to the lowest threshold. All but id need a category."
        ),
    ] = "id",
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Items:
    """List the embedded images that fit all that is asked for."""
    view = serving.workspace.view()
    pool = serving.workspace.pool(view)
    question = Question(category, level, band, labelled, order)
    if category is not None:
        view.column(category)
    total, places = list_places(view, pool, question, offset, limit)
    return Items(total=total, offset=offset, items=present_items(view, pool, places.tolist()))


@router.get(
    "/items/{item}",
    operation_id="get_item",
    summary="One image, with all that is known of it.",
    response_model=ItemDetail,
    responses={404: PROBLEMS[404]},
)
def get_item(serving: Serving, item: ItemId) -> ItemDetail:
    """Tell an image's decisions, labels, content, copies, and what each rater says of it."""
    view = serving.workspace.view()
    pool, place = serving.workspace.pool(view), view.place(item)
    (brief,) = present_items(view, pool, [place])
    known = _item(serving, item)
    copies = ids_at(view.corpus, int(view.scored.rows[place])).tolist()
    return ItemDetail(
        **dict(brief),
        sha256=known.sha256,
        size=known.size,
        copies=[other for other in copies if other != item],
        judgements=_said(serving, item),
    )


@router.get(
    "/items/{item}/picture",
    operation_id="get_picture",
    summary="An image's picture, made small.",
    response_class=Response,
    responses={
        200: {
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A JPEG, upright, in the image's own shape, never enlarged",
        },
        304: {"description": "The picture is the one that the client has"},
        404: PROBLEMS[404],
    },
)
async def get_picture(
    serving: Serving,
    item: ItemId,
    size: Annotated[Side, Query(description="Greatest width and height.")] = Side.MEDIUM,
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Show an image, if its file still is what was embedded."""
    pictures = serving.workspace.pictures

    def make() -> Response:
        known = _item(serving, item)
        tag = f'"{known.sha256}-{size:d}"'
        headers = {"ETag": tag, "Cache-Control": _CACHING}
        data = pictures.of(known, size)
        if if_none_match is not None and tag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    # With threads of their own, so that a sheet of pictures takes none from other requests.
    return await anyio.to_thread.run_sync(make, limiter=pictures.threads)


@router.get(
    "/items/{item}/neighbours",
    operation_id="get_neighbours",
    summary="The images nearest to one.",
    response_model=Neighbours,
    responses={404: PROBLEMS[404]},
)
def get_neighbours(
    serving: Serving,
    item: ItemId,
    k: Annotated[int, Query(ge=1, le=50, description="How many of each kind.")] = 12,
    category: Annotated[
        Name | None,
        Query(description="Also those nearest that people have labelled in this category."),
    ] = None,
) -> Neighbours:
    """Find what looks like an image; it and its exact copies are left out."""
    view = serving.workspace.view()
    pool, place = serving.workspace.pool(view), view.place(item)
    labelled = ([], []) if category is None else nearest_labelled(view, pool, place, category, k)
    row = int(view.scored.rows[place])
    found = nearest(view, pool, stored_vector(view.corpus, row), k, leave_out=[row])
    positives, negatives = labelled
    return Neighbours(
        item=item, category=category, nearest=found, positives=positives, negatives=negatives
    )


@router.get(
    "/failures",
    operation_id="list_failures",
    summary="Images that could not be embedded, and why.",
    response_model=Failures,
)
def list_failures(
    serving: Serving,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Failures:
    """List images that could not be read or decoded when they were last embedded."""
    corpus, names = serving.workspace.corpus, serving.workspace.view().names
    return Failures(
        total=corpus.count("failed"),
        offset=offset,
        failures=[
            Failure(
                id=one.id,
                name=names(one.uri),
                reason=without_paths(names.hide(one.reason or ""), serving.settings),
            )
            for one in failures(corpus, offset, limit)
        ],
    )


def _item(serving: Context, item: int) -> CorpusItem:
    found = items_by_id(serving.workspace.corpus, [item]).get(item)
    if found is None:
        raise not_found(f"There is no image {item} in the corpus. Take an id from /v1/items.")
    return found


def _said(serving: Context, item: int) -> list[Judged]:
    """What each rater says of an image; a file's label counts where nobody judged the cell."""
    corpus = serving.workspace.corpus
    said = [
        Judged(category=one.category, level=str(one.level), rater=one.rater, given=one.given)
        for one in standing(corpus, [item])
    ]
    judged = {one.category for one in said}
    return said + [
        Judged(category=category, level=level, rater=FILE)
        for category, level in labels_of(corpus, item).items()
        if category not in judged
    ]
