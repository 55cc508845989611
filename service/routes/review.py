"""What to look at next, and what the labels are worth so far."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from clipcal.calibrate.outlook import outlook_of
from clipcal.calibrate.sampling.drawn import Drawn, draw_until_kept
from clipcal.calibrate.sampling.suggest import Wish, suggest
from clipcal.calibrate.sampling.waiting import line_up
from clipcal.service.context import Serving, Trying
from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.problems import PROBLEMS, conflict
from clipcal.service.replies.present import present_items
from clipcal.service.schemas.common import Name, Rater
from clipcal.service.schemas.review import (
    CutOutlook,
    DrawRound,
    Order,
    OutlookReply,
    Queue,
    Round,
)
from clipcal.service.served.plans import plan_varied
from clipcal.service.served.view import View
from clipcal.service.served.workspace import Workspace

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
        Rater | None, Query(description="Whoever asks is not shown what he has labelled.")
    ] = None,
    offset: Annotated[
        int, Query(ge=0, le=2**31, description="How many to pass over, as those put off.")
    ] = 0,
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
    counts = order == "suggested"
    if not counts:
        _require_threshold(view, category)
    line = line_up(
        workspace.corpus,
        view.scored,
        view.contract,
        order,
        category=category,
        rater=rater,
        limit=offset + limit,
    )
    return Queue(
        order=order,
        category=category,
        origin=order,
        counts=counts,
        note=(_SUGGESTED if line.waiting else _NOTHING_DRAWN) if counts else _BY_SCORE,
        waiting=line.waiting,
        items=present_items(view, workspace.pool(view), line.places[offset : offset + limit]),
    )


@router.post(
    "/review/rounds",
    status_code=201,
    operation_id="draw_round",
    summary="Draw images to label.",
    response_model=Round,
)
def draw_round(serving: Serving, trying: Trying, wish: DrawRound) -> Round:
    """Draw images with known chances, and keep the draw: they wait in the suggested queue.

    A share, `audit`, is drawn uniformly: labels of these back guarantees. The others are picked
    where a label tells most, near thresholds; estimates weight them by their chances.
    """
    workspace = serving.workspace
    view = workspace.view()
    if wish.category is not None:
        view.column(wish.category)
    asked = Wish(wish.images, wish.category or "", wish.audit, seed=wish.seed)
    with serving.draws.turn(trying):
        drawn, number = draw_until_kept(
            lambda: suggest(workspace.corpus, view.scored, view.contract, asked),
            lambda made: _keep(workspace, made, trying),
        )
    audit = sum(one.audit for one in drawn.suggestions)
    images = len(drawn.suggestions)
    return Round(
        round=number, images=images, audit=audit, picked=images - audit, pending=drawn.pending
    )


@router.get(
    "/review/outlook",
    operation_id="outlook",
    summary="What the labels certify by now, and what is lacking.",
    response_model=OutlookReply,
)
def tell_outlook(
    serving: Serving,
    trying: Trying,
    target: Annotated[
        str | None,
        Query(max_length=100, description="As the calibration's by default; else recall=0.9."),
    ] = None,
    bands: Annotated[str | None, Query(max_length=100)] = None,
    confidence: Annotated[float | None, Query(ge=0.5, lt=1)] = None,
    category: Annotated[Name | None, Query()] = None,
) -> OutlookReply:
    """Tell of every cut what the labels so far certify, and how many more it takes.

    It says what a calibration with these labels would say of status, threshold and further labels,
    without fitting one: no interval, no cross-fitting. Labels are read anew after each that is
    given, which takes about a tenth of a second, and half a second where there are a million
    images.
    """
    workspace = serving.workspace
    view = workspace.view()
    if category is not None:
        view.column(category)
    plan = plan_varied(view, target=target, bands=bands, confidence=confidence)
    with serving.tasks.turn(trying):
        found = outlook_of(workspace.material(plan, view), plan)
    return OutlookReply(
        target=plan.bands or plan.target,
        confidence=plan.confidence,
        labelled=len(workspace.pool(view).match.rows),
        cuts=[CutOutlook.model_validate(one) for one in found if category in (None, one.category)],
    )


def _keep(workspace: Workspace, drawn: Drawn, trying: Attempt) -> int:
    with workspace.writing() as corpus:
        trying.hold()
        return drawn.remember(corpus)


def _require_threshold(view: View, category: str | None) -> None:
    names = view.categories if category is None else (category,)
    if all(view.lowest_threshold(name) is None for name in names):
        of = "" if category is None else f" of {category!r}"
        raise conflict(
            f"There is no threshold{of} yet, so that nothing is flagged and nothing lies near one. "
            f"Label what is suggested, then fit one: POST /v1/calibrations"
        )
