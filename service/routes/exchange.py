"""Label files: to and from spreadsheets and labelling tools."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from clipcal.calibrate.labels.exchange.exporting import export
from clipcal.calibrate.labels.exchange.files import (
    FILE_NAMES,
    MEDIA_TYPES,
    read_exchange,
    write_exchange,
)
from clipcal.calibrate.labels.exchange.importing import import_labels
from clipcal.index.judgements import labelled_items
from clipcal.service.context import Serving, Trying
from clipcal.service.gate.problems import PROBLEMS, unprocessable
from clipcal.service.replies.exchange import (
    export_names,
    import_notes,
    listed,
    predicted,
    selected,
)
from clipcal.service.replies.sentences import hiding
from clipcal.service.schemas.common import Name
from clipcal.service.schemas.labels import (
    Batch,
    ExchangeFormat,
    LabelsImported,
    Origin,
    Selection,
)
from clipcal.service.served.asked import require_owner

router = APIRouter(prefix="/v1", tags=["labels"])


@router.get(
    "/labels/export",
    operation_id="export_labels",
    summary="Labels as a file.",
    response_class=Response,
    responses={
        200: {
            "description": "The file",
            "content": {kind.partition(";")[0]: {"schema": {}} for kind in MEDIA_TYPES.values()},
        },
        409: PROBLEMS[409],
    },
)
def export_labels(
    serving: Serving,
    trying: Trying,
    format: Annotated[ExchangeFormat, Query()] = "csv",
    images: Annotated[
        Selection,
        Query(description="Those with labels; those that wait for one; or all."),
    ] = "labelled",
    category: Annotated[Name | None, Query(description="All categories by default.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=100_000, description="At most so many of those that wait.")
    ] = 200,
    predictions: Annotated[
        bool, Query(description="With what the calibration says, for Label Studio.")
    ] = False,
) -> Response:
    """Write images with their labels, as a label file or for another tool.

    CSV and Label Studio keep what each rater says; COCO and imagefolder hold one label per image
    and category, the majority's. Images are called by their names below the corpus's folder.
    """
    workspace = serving.workspace
    decided = predictions or images in ("flagged", "near")
    view = workspace.view() if decided else workspace.labelling()
    if category is not None:
        view.column(category)
    if predictions and format != "label-studio":
        raise unprocessable(f"Predictions go with format=label-studio; {format} has none.")
    categories = view.categories if category is None else (category,)
    with serving.tasks.turn(trying):
        items = selected(view, images, category, limit)
        meant = labelled_items(view.corpus).tolist() if items is None else items
        names = export_names(view, meant)
        done = export(view.corpus, categories, view.levels, names=names, items=items)
        told = predicted(view, done.places, categories) if predictions else None
        data = write_exchange(format, done.pictures, categories, done.levels, predicted=told)
    attached = {"Content-Disposition": f'attachment; filename="{FILE_NAMES[format]}"'}
    return Response(data, headers=attached, media_type=MEDIA_TYPES[format])


@router.post(
    "/labels/import",
    operation_id="import_labels",
    summary="Take in the labels of a file.",
    response_model=LabelsImported,
    responses={409: PROBLEMS[409]},
)
def import_file(
    serving: Serving,
    trying: Trying,
    file: Annotated[UploadFile, File(description="CSV, Label Studio, COCO or imagefolder.")],
    rater: Annotated[Name, Form(description="Who gave labels whose rater the file does not name.")],
    batch: Annotated[Batch, Form(description="With which all of it can be undone.")],
    format: Annotated[
        ExchangeFormat | None, Form(description="Guessed from the content by default.")
    ] = None,
    origin: Annotated[
        Origin, Form(description="How raters came to see the images, where the file tells not.")
    ] = "given",
    exhaustive: Annotated[
        bool, Form(description="Whether what a file of marks does not mark is absent.")
    ] = False,
    preview: Annotated[
        bool, Form(description="Tell what would happen, and write nothing.")
    ] = False,
) -> LabelsImported:
    """Keep the labels of a file as what their raters say.

    Images are found by path, by name, or by the hash of their content; those that are not found
    are counted, and the first of them listed. The same batch is kept once however often it is
    sent; another file under its name is refused.
    """
    view = serving.workspace.labelling()
    with serving.tasks.turn(trying):
        read = read_exchange(
            file.file.read(),
            format,
            name=PurePath(file.filename or "").name or "the file",
            categories=view.categories,
            levels=view.prompt_set.levels,
            rater=rater,
            scale=view.levels,
            origin=origin,
            exhaustive=exhaustive,
        )
        with serving.workspace.apart() as corpus:
            require_owner(corpus, batch, {one.rater for one in read.given})
            done = import_labels(
                corpus,
                read.given,
                batch=batch,
                levels=view.levels,
                dry_run=preview,
                begin=trying.hold,
            )
    serving.metrics.kept(done.written)
    hide = hiding(serving.settings, view)
    return LabelsImported(
        batch=batch,
        preview=preview,
        format=read.format,
        written=done.written,
        new=done.new,
        changed=done.changed,
        same=done.same,
        raters=list(done.raters),
        unmatched=listed(done.unmatched, hide),
        unmatched_count=len(done.unmatched),
        ambiguous=listed([name for name, _ in done.ambiguous], hide),
        ambiguous_count=len(done.ambiguous),
        notes=[hide(note) for note in (*read.notes, *import_notes(done))],
    )
