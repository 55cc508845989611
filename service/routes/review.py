"""What to look at next, and what the labels are worth so far."""

from __future__ import annotations

import threading
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Query

from clipcal.calibrate.sampling.pending import pending
from clipcal.calibrate.sampling.queue import ByScore, Lane, Line, first_places, queue
from clipcal.calibrate.sampling.suggest import Wish, suggest
from clipcal.calibrate.statistics.sampling import Float64
from clipcal.index.chosen import labelled_rows
from clipcal.service.context import Serving
from clipcal.service.present import present_items
from clipcal.service.problems import PROBLEMS, conflict
from clipcal.service.schemas.common import Name
from clipcal.service.schemas.review import (
    DrawRound,
    Order,
    Queue,
    Round,
)
from clipcal.service.view import View
from clipcal.service.workspace import Workspace

router = APIRouter(prefix="/v1", tags=["review"])

_BY_SCORE: Final = (
    "Labels from this queue don't count towards a guarantee: the images were chosen for their "
    "scores. For labels that do, take 'suggested'."
)
_SUGGESTED: Final = (
    "These images were drawn with known chances; labels of those that were drawn at random count "
    "towards a guarantee."
)
_NOTHING_DRAWN: Final = (
    "No image that was drawn waits for a label. Draw some: POST /v1/review/rounds, or: clipcal "
    "suggest."
)
# Two draws at once would each take the other's images for not drawn.
_drawing = threading.Lock()


@router.get(
    "/review/queue",
    operation_id="review_queue",
    summary="Images to look at next.",
    response_model=Queue,
    responses={409: PROBLEMS[409]},
)
def review_queue(
    serving: Serving,
    order: Annotated[
        Order,
        Query(
            description="Drawn to be labelled; flagged, the highest score first; or nearest to a "
            "threshold first."
        ),
    ] = "suggested",
    category: Annotated[Name | None, Query(description="All categories by default.")] = None,
    rater: Annotated[
        Name | None, Query(description="Whoever asks is not shown what he has labelled.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Queue:
    """Line up images that wait for a label, each content once.

    What was *suggested* waits for every rater who has not labelled it, in one random order: two
    raters see the same images, so that their agreement can be told, and whoever stops half way
    has labelled a random half. *Flagged* images, and those *near* a threshold, wait as long as
    nobody has labelled them; they were chosen for their scores, so that their labels back no
    guarantee.
    """
    workspace = serving.workspace
    view = workspace.view()
    if category is not None:
        view.column(category)
    if order == "suggested":
        line = _suggested(workspace, view, category, rater, limit)
    else:
        line = _by_score(workspace, view, order, category, limit)
    counts = order == "suggested"
    return Queue(
        order=order,
        category=category,
        origin=order,
        counts=counts,
        note=(_SUGGESTED if line.waiting else _NOTHING_DRAWN) if counts else _BY_SCORE,
        waiting=line.waiting,
        items=present_items(view, workspace.pool(view), line.places),
    )


@router.post(
    "/review/rounds",
    status_code=201,
    operation_id="draw_round",
    summary="Draw images to label.",
    response_model=Round,
)
def draw_round(serving: Serving, wish: DrawRound) -> Round:
    """Draw images with known chances, and keep the draw: they wait in the suggested queue.

    A share, `audit`, is drawn uniformly: labels of these back guarantees. The others are picked
    where a label tells most, near thresholds; estimates weight them by their chances.
    """
    workspace = serving.workspace
    view = workspace.view()
    if wish.category is not None:
        view.column(wish.category)
    asked = Wish(wish.images, wish.category or "", wish.audit, seed=wish.seed)
    with _drawing:
        drawn = suggest(workspace.corpus, view.scored, view.contract, asked)
        with workspace.writing() as corpus:
            number = drawn.remember(corpus)
    audit = sum(one.audit for one in drawn.suggestions)
    images = len(drawn.suggestions)
    return Round(
        round=number, images=images, audit=audit, picked=images - audit, pending=drawn.pending
    )


def _suggested(
    workspace: Workspace, view: View, category: str | None, rater: str | None, limit: int
) -> Line:
    drawn = np.array(pending(workspace.corpus, category or "", rater), np.int64)
    places = first_places(drawn, view.scored.rows)
    return Line(len(places), places[:limit])


def _by_score(
    workspace: Workspace, view: View, order: ByScore, category: str | None, limit: int
) -> Line:
    names = view.categories if category is None else (category,)
    lanes = [
        Lane(
            view.scored.column(name),
            _thresholds(view, name, order),
            labelled_rows(workspace.corpus, name),
        )
        for name in names
    ]
    if not any(len(lane.thresholds) for lane in lanes):
        raise conflict(
            f"There is no threshold{'' if category is None else f' of {category}'} yet, so that "
            f"nothing is flagged and nothing is near. Label what is suggested, then fit one: POST "
            f"/v1/calibrations, or: clipcal calibrate --labels FILE.csv."
        )
    return queue(order, lanes, view.scored.rows, limit)


def _thresholds(view: View, category: str, order: ByScore) -> Float64:
    """Return a category's thresholds; near counts those from which images are blocked, too."""
    known = {} if view.contract is None else view.contract.categories
    cuts = [*known.get(category, {}).values()]
    edges = [cut.threshold for cut in cuts]
    if order == "near":
        edges += [cut.bands.upper for cut in cuts if cut.bands is not None]
    return np.array([edge for edge in edges if edge is not None], np.float64)
