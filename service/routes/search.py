"""Searching the corpus: by a sentence, an image, or what is flagged."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile

from clipcal.calibrate.decisions.flagged import near_flagged
from clipcal.index.queries import Vector, stored_vector
from clipcal.service.context import Context, Serving
from clipcal.service.gate.problems import PROBLEMS, conflict, unprocessable
from clipcal.service.model.uploads import embed_uploads
from clipcal.service.replies.found import near_flagged_hits, nearest
from clipcal.service.schemas.common import Name
from clipcal.service.schemas.items import Found

router = APIRouter(prefix="/v1", tags=["search"])

Most = Annotated[int, Query(ge=1, le=200, description="How many to find.")]


@router.get(
    "/search",
    operation_id="search",
    summary="Search by a sentence, near an image of the corpus, or near what is flagged.",
    response_model=Found,
    responses={404: PROBLEMS[404], 409: PROBLEMS[409]},
)
def search(
    serving: Serving,
    text: Annotated[
        str | None, Query(max_length=500, description="What the image should show.")
    ] = None,
    flagged: Annotated[
        Name | None, Query(description="A category: unflagged images near those flagged in it.")
    ] = None,
    item: Annotated[
        int | None, Query(ge=1, le=2**53, description="An id: images near this one.")
    ] = None,
    k: Most = 24,
) -> Found:
    """Find images; exactly one of `text`, `flagged` and `item` says by what.

    What lies near flagged images without being flagged is what a threshold may have missed.
    """
    if sum(way is not None for way in (text, flagged, item)) != 1:
        raise unprocessable("Give exactly one of text, flagged and item.")
    if flagged is not None:
        return _near_flagged(serving, flagged, k)
    if item is not None:
        return _near_item(serving, item, k)
    return _by_text(serving, str(text), k)


@router.post(
    "/search",
    operation_id="search_by_image",
    summary="Search by an image that is uploaded.",
    response_model=Found,
)
def search_by_image(
    serving: Serving,
    image: Annotated[UploadFile, File(description="An image file.")],
    k: Annotated[int, Form(ge=1, le=200, description="How many to find.")] = 24,
) -> Found:
    """Find what looks like an image. One whose content the corpus holds is not embedded again."""
    view = serving.workspace.view()
    (upload,) = embed_uploads(serving, [image])
    hits = nearest(view, serving.workspace.pool(view), upload.sound, k)
    return Found(query=upload.name, hits=hits)


def _near_flagged(serving: Context, category: str, k: int) -> Found:
    view = serving.workspace.view()
    view.column(category)
    if view.contract is None:
        raise conflict(
            "There is no calibration, so nothing is flagged. Give labels and fit one: "
            "POST /v1/calibrations."
        )
    found = near_flagged(view.corpus, view.scored, view.contract, category, k)
    hits = near_flagged_hits(view, serving.workspace.pool(view), found.results)
    return Found(query=category, hits=hits, flagged=found.flagged)


def _near_item(serving: Context, item: int, k: int) -> Found:
    view = serving.workspace.view()
    place = view.place(item)
    row = int(view.scored.rows[place])
    query = stored_vector(view.corpus, row)
    hits = nearest(view, serving.workspace.pool(view), query, k, leave_out=[row])
    return Found(query=view.names(view.scored.uris[place]), hits=hits)


def _by_text(serving: Context, text: str, k: int) -> Found:
    if not text.strip():
        raise unprocessable("The text is empty. Write what the image should show.")
    view = serving.workspace.view()
    query: Vector = serving.encoder.embed_sentences([text])[0]
    return Found(query=text, hits=nearest(view, serving.workspace.pool(view), query, k))
