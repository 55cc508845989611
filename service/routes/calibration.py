"""The calibration that is served, and how another takes its place."""

from __future__ import annotations

from fastapi import APIRouter

from clipcal.calibrate.cuts.by_hand import Placed
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import TextSource
from clipcal.calibrate.workflow import Calibrated, calibrate_corpus
from clipcal.prompts.promptset import packaged_sets
from clipcal.service.context import Context, Serving, Trying
from clipcal.service.gate.problems import PROBLEMS, not_found
from clipcal.service.replies.calibrations import (
    calibration_view,
    file_hash,
    require_unchanged,
    save,
)
from clipcal.service.replies.sentences import hiding
from clipcal.service.schemas.calibration import (
    CalibrationView,
    CategoriesReply,
    FitCalibration,
    Fitted,
    PlacedThreshold,
    PromptSets,
)
from clipcal.service.schemas.common import CategoryInfo
from clipcal.service.served.asked import require_level
from clipcal.service.served.plans import plan_for
from clipcal.service.served.view import View

router = APIRouter(prefix="/v1", tags=["calibration"])


@router.get(
    "/categories",
    operation_id="list_categories",
    summary="What images are scored for.",
    response_model=CategoriesReply,
)
def list_categories(serving: Serving) -> CategoriesReply:
    """Name the categories with their sentences, and the levels from low to high."""
    view = serving.workspace.view()
    return CategoriesReply(
        prompts=view.prompt_set.name,
        levels=list(view.levels),
        categories=[
            CategoryInfo(name=one.name, prompts=list(one.prompts), against=list(one.against))
            for one in view.prompt_set.categories
        ],
        images=len(view.ids),
        labelled=len(serving.workspace.pool(view).match.rows),
        calibration=view.calibration,
        corpus=serving.workspace.identity,
    )


@router.get(
    "/prompts",
    operation_id="list_prompts",
    summary="The prompt sets that images can be classified with.",
    response_model=PromptSets,
)
def list_prompts(serving: Serving) -> PromptSets:
    """Name the prompt set that is served, and those that come with clipcal."""
    view = serving.workspace.view()
    return PromptSets(own=view.prompt_set.name, packaged=list(packaged_sets()))


@router.get(
    "/calibration",
    operation_id="get_calibration",
    summary="The calibration that is applied.",
    response_model=CalibrationView,
    responses={404: PROBLEMS[404]},
)
def get_calibration(serving: Serving) -> CalibrationView:
    """Tell every threshold, and what is known and promised of it."""
    view = serving.workspace.view()
    if view.contract is None or view.calibration is None:
        raise not_found(
            "There is no calibration yet. Label images that /v1/review/queue suggests, then fit "
            "one: POST /v1/calibrations, or: clipcal calibrate --labels FILE.csv"
        )
    return calibration_view(view.contract, view.calibration, hiding(serving.settings, view))


@router.post(
    "/calibrations",
    operation_id="fit_calibration",
    summary="Fit thresholds to the labels so far.",
    response_model=Fitted,
    responses={409: PROBLEMS[409]},
)
def fit_calibration(serving: Serving, trying: Trying, wish: FitCalibration) -> Fitted:
    """Fit a calibration as `clipcal calibrate` does; it is applied once it is saved.

    Thresholds that are `placed` are taken as they are, and only what holds of them is promised;
    the others are fitted. To save, name in `replaces` the hash of the calibration that you saw: one
    that somebody else saved meanwhile is not overwritten.
    """
    view = serving.workspace.view()
    plan = plan_for(view, _asked(view, wish))
    if wish.save:
        require_unchanged(serving.settings.calibration, wish.replaces)
    with serving.fits.turn(trying):
        done = _fit(serving, view, plan)
    if wish.save:
        save(serving.workspace, done, wish.replaces, trying)
    hide = hiding(serving.settings, view)
    told = calibration_view(done.contract, file_hash(done.contract), hide)
    return Fitted(saved=wish.save, calibration=told, notes=[hide(note) for note in done.notes])


def _fit(serving: Context, view: View, plan: CalibrationPlan) -> Calibrated:
    settings, workspace = serving.settings, serving.workspace
    source = TextSource(settings.prompt_vectors, settings.model, settings.device)
    return calibrate_corpus(
        workspace.corpus,
        workspace.pool(view),
        prompts=settings.prompts or view.prompt_set,
        source=source,
        plan=plan,
    )


def _asked(view: View, wish: FitCalibration) -> CalibrationPlan:
    return CalibrationPlan(
        target=wish.target,
        bands=wish.bands,
        confidence=wish.confidence,
        joint=wish.joint,
        placed=tuple(_placed(view, one) for one in wish.placed),
    )


def _placed(view: View, one: PlacedThreshold) -> Placed:
    level = require_level(view, one.category, one.level)
    return Placed(one.category, level, one.threshold, one.upper)
