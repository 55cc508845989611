"""Labels: given, taken back, fetched and brought.

What is acknowledged is on the disk: a reply to a label is sent once its transaction is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response

from clipcal.calibrate.labels.exchange.importing import undo_import
from clipcal.errors import LabelError
from clipcal.index.judgements import (
    Judgement,
    Said,
    history,
    judge,
    rater_of,
    raters,
    standing,
    undo,
)
from clipcal.index.lookup import items_by_id
from clipcal.index.reading import Reading
from clipcal.service.context import Context, Serving
from clipcal.service.gate.problems import PROBLEMS, not_found
from clipcal.service.schemas.common import Rater
from clipcal.service.schemas.labels import (
    GiveLabels,
    KeptLabel,
    LabelHistory,
    LabelsKept,
    LabelsUndone,
    Raters,
    UndoLabels,
)
from clipcal.service.served.asked import (
    require_corpus,
    require_labels,
    require_number,
    require_owner,
)
from clipcal.service.served.view import View

router = APIRouter(prefix="/v1", tags=["labels"])

Levels = Mapping[tuple[int, str], str | None]  # by item and category


@router.get(
    "/labels",
    operation_id="list_labels",
    summary="Labels as they were given, the newest first.",
    response_model=LabelHistory,
)
def list_labels(
    serving: Serving,
    rater: Annotated[Rater | None, Query(description="Whose; everybody's by default.")] = None,
    before: Annotated[
        int | None, Query(ge=1, le=2**53, description="Only older ones than this id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> LabelHistory:
    """List what raters said, what they have undone since included; the next page is `before`."""
    view, corpus = serving.workspace.labelling(), serving.workspace.corpus
    said = history(corpus, rater=rater, limit=limit, before=before)
    items = items_by_id(corpus, {one.item for one in said})
    labels = [_kept_label(one, view.names(items[one.item].uri)) for one in said]
    return LabelHistory(labels=labels, before=said[-1].id if len(said) == limit else None)


@router.post(
    "/labels",
    status_code=201,
    operation_id="give_labels",
    summary="Give labels, all or none.",
    response_model=LabelsKept,
    responses={
        200: {"model": LabelsKept, "description": "A preview: nothing is written"},
        409: PROBLEMS[409],
    },
)
def give_labels(serving: Serving, given: GiveLabels, response: Response) -> LabelsKept:
    """Keep what a rater says; it is on the disk when the reply comes.

    Sent again, a batch is not kept again: a client that got no reply sends the same batch until it
    gets one. Other labels under its name are refused, and so is it once it was undone. What the
    rater said before of the same image and category is replaced, and stands again when the batch is
    undone.
    """
    require_number(serving.settings, len(given.labels))
    require_corpus(given.corpus, serving.workspace.identity)
    levels = {(one.item, one.category): one.level for one in given.labels}
    if given.preview:
        response.status_code = 200
        return _previewed(serving, given, levels)
    view = serving.workspace.labelling()
    with serving.workspace.writing() as corpus:
        if require_owner(corpus, given.batch, {given.rater}) is None:
            _check_labels(view, levels)
        counts = _counts(corpus, levels, given.rater)
        said = [Said(item, category, level) for (item, category), level in levels.items()]
        again = not judge(corpus, given.batch, said, rater=given.rater, origin=given.origin)
    serving.metrics.kept(0 if again else len(said))
    return LabelsKept(batch=given.batch, preview=False, again=again, **counts)


@router.post(
    "/labels/undo",
    operation_id="undo_labels",
    summary="Take a batch of labels back.",
    response_model=LabelsUndone,
    responses={404: PROBLEMS[404], 409: PROBLEMS[409]},
)
def undo_labels(serving: Serving, batch: UndoLabels) -> LabelsUndone:
    """Undo all labels of a batch; what the rater said before stands again."""
    require_corpus(batch.corpus, serving.workspace.identity)
    with serving.workspace.writing() as corpus:
        owner = rater_of(corpus, batch.batch)
        if owner is not None:
            require_owner(corpus, batch.batch, {batch.rater or owner})
            undone = undo(corpus, batch.batch, rater=owner)
            return LabelsUndone(batch=batch.batch, undone=len(undone))
    return LabelsUndone(batch=batch.batch, undone=_undo_import(serving, batch))


@router.get(
    "/raters",
    operation_id="list_raters",
    summary="Everybody who has labelled.",
    response_model=Raters,
)
def list_raters(serving: Serving) -> Raters:
    """List the names of everybody who has given a label, in alphabetical order."""
    return Raters(raters=raters(serving.workspace.corpus))


def _check_labels(view: View, levels: Levels) -> None:
    require_labels(view, [(*cell, level) for cell, level in levels.items()])


def _undo_import(serving: Context, batch: UndoLabels) -> int:
    """Undo what a file brought; 404 where there is nothing of that name."""
    with serving.workspace.apart() as corpus:
        try:
            return len(undo_import(corpus, batch.batch, rater=batch.rater))
        except LabelError as error:
            raise not_found(
                f"No labels were given as {batch.batch!r}. /v1/labels lists those that were."
            ) from error


def _previewed(serving: Context, given: GiveLabels, levels: Levels) -> LabelsKept:
    corpus = serving.workspace.corpus
    again = require_owner(corpus, given.batch, {given.rater}) is not None
    _check_labels(serving.workspace.labelling(), levels)
    counts = _counts(corpus, levels, given.rater)
    return LabelsKept(batch=given.batch, preview=True, again=again, **counts)


def _counts(corpus: Reading, levels: Levels, rater: str) -> dict[str, int]:
    """Count what is new to what the rater says, what changes it, and what does not."""
    says = {
        (one.item, one.category): one.level
        for one in standing(corpus, {item for item, _ in levels})
        if one.rater == rater
    }
    new = sum(cell not in says and level is not None for cell, level in levels.items())
    same = sum(says.get(cell) == level for cell, level in levels.items())
    return {"new": new, "changed": len(levels) - new - same, "same": same}


def _kept_label(said: Judgement, name: str) -> KeptLabel:
    return KeptLabel(
        id=said.id,
        batch=said.batch,
        item=said.item,
        name=name,
        category=said.category,
        level=said.level,
        rater=said.rater,
        origin=said.origin,
        given=said.given,
        undone=said.undone,
    )
