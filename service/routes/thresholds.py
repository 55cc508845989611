"""Thresholds, tried before anything is saved."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from clipcal.calibrate.trial.answers import Costs, WhatIf
from clipcal.calibrate.trial.what_if import Trial
from clipcal.service.context import Serving
from clipcal.service.replies.present import present_items
from clipcal.service.schemas.calibration import (
    CurvePoint,
    CurveView,
    HistogramGroup,
    HistogramView,
    Tried,
    TryThreshold,
    WhatIfReply,
    WhatIfRequest,
)
from clipcal.service.schemas.common import Item, Name
from clipcal.service.served.asked import require_level
from clipcal.service.served.plans import plan_varied, standing_plan
from clipcal.service.served.view import View
from clipcal.service.served.workspace import Workspace

router = APIRouter(prefix="/v1", tags=["thresholds"])


@router.post(
    "/what-if",
    operation_id="what_if",
    summary="Try thresholds.",
    response_model=WhatIfReply,
)
def what_if(serving: Serving, asked: WhatIfRequest) -> WhatIfReply:
    """Tell what thresholds would do to the corpus, by cached scores; nothing is written.

    Rates are those that a calibration with these thresholds would hold, with intervals for
    thresholds that were fixed in advance: one picked because its interval looks good is promised
    nothing, unless `certified` says so.
    """
    workspace = serving.workspace
    view = workspace.view()
    plan = plan_varied(
        view,
        target=asked.target,
        bands=asked.bands,
        confidence=asked.confidence,
        joint=asked.joint,
    )
    trial = workspace.trial(plan, view)
    costs = Costs(asked.costs.miss, asked.costs.false_flag)
    start = time.perf_counter()
    results = [_tried(workspace, view, trial, one, costs, asked.flips) for one in asked.trials]
    spent = time.perf_counter() - start
    return WhatIfReply(results=results, milliseconds=round(1000 * spent, 3))


@router.get(
    "/histograms",
    operation_id="histogram",
    summary="Scores of a category in bins.",
    response_model=HistogramView,
)
def histogram(serving: Serving, category: Annotated[Name, Query()]) -> HistogramView:
    """Count the scores of the corpus and, by level, of the images that people labelled."""
    workspace = serving.workspace
    view = workspace.view()
    view.column(category)
    trial = workspace.trial(standing_plan(view), view)
    found = trial.histogram(category)
    levels = [None, *reversed(trial.levels)]  # the corpus comes first, then the highest level
    groups = [
        HistogramGroup(name=group.name, level=level, counts=list(group.counts))
        for group, level in zip(found.groups, levels, strict=True)
    ]
    return HistogramView(category=category, low=found.low, high=found.high, groups=groups)


@router.get(
    "/curves",
    operation_id="curve",
    summary="Recall and precision along the thresholds.",
    response_model=CurveView,
)
def curve(
    serving: Serving,
    category: Annotated[Name, Query()],
    level: Annotated[
        Name | None, Query(description="Unnamed where there is but one threshold.")
    ] = None,
) -> CurveView:
    """Tell rates, with an interval for each threshold by itself, at up to 200 thresholds."""
    workspace = serving.workspace
    view = workspace.view()
    at = require_level(view, category, level)
    points = workspace.trial(standing_plan(view), view).curve(category, at)
    return CurveView(
        category=category, level=at, points=[CurvePoint.model_validate(one) for one in points]
    )


def _tried(
    workspace: Workspace, view: View, trial: Trial, one: TryThreshold, costs: Costs, flips: int
) -> Tried:
    level = require_level(view, one.category, one.level)
    found = trial.at(one.category, level, one.threshold, one.upper, costs)
    newly, no_longer = _flipped(workspace, view, trial, found, flips)
    told = {name: getattr(found, name) for name in Tried.model_fields if hasattr(found, name)}
    return Tried.model_validate({**told, "newly_items": newly, "no_longer_items": no_longer})


def _flipped(
    workspace: Workspace, view: View, trial: Trial, found: WhatIf, limit: int
) -> tuple[list[Item], list[Item]]:
    """Describe images that would flip, those nearest to the threshold first."""
    if limit == 0:
        return [], []
    flips = trial.flips(found.category, found.level, found.threshold, limit=limit)
    pool = workspace.pool(view)
    return present_items(view, pool, flips.newly), present_items(view, pool, flips.no_longer)
