"""Uploaded images: embedded, compared with sentences, scored and decided."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile

from clipcal.calibrate.scoring.scores import Scores
from clipcal.errors import ImageError
from clipcal.models.decode import ImageFile
from clipcal.prompts.classify import shares
from clipcal.prompts.matrix import build
from clipcal.prompts.promptset import load_prompt_set, packaged_sets
from clipcal.prompts.vectors import TextVectors
from clipcal.service.context import Context, Serving
from clipcal.service.gate.problems import PROBLEMS, unprocessable
from clipcal.service.model.batching import Vector
from clipcal.service.model.uploads import (
    Upload,
    embed_uploads,
    score_by,
    score_vectors,
)
from clipcal.service.replies.present import DIGITS, decisions_on, overall, rounded
from clipcal.service.schemas.encode import (
    Classified,
    Embedded,
    Embeddings,
    RankedSentence,
    Scored,
    ScoredImage,
)
from clipcal.service.served.view import View, judge_scores

router = APIRouter(prefix="/v1", tags=["encode"])

MOST_SENTENCES: Final = 200
LONGEST_SENTENCE: Final = 500  # characters
STORED: Final = "stored embedding"
_EMBEDDING_DIGITS: Final = 8

Images = Annotated[list[UploadFile], File(description="Image files.", min_length=1)]


@router.post(
    "/embed",
    operation_id="embed_images",
    summary="Embed images.",
    response_model=Embeddings,
    responses={409: PROBLEMS[409]},
)
def embed_images(images: Images, serving: Serving) -> Embeddings:
    """Embed images with the corpus's model; an image that cannot be read has an `error`.

    Where the corpus holds the same content, `item` names it, and its stored embedding is given.
    """
    model = serving.workspace.corpus.model
    return Embeddings(
        model=model.name,
        fingerprint=model.fingerprint,
        dim=model.dim,
        results=[_embedded(upload) for upload in embed_uploads(serving, images)],
    )


@router.post(
    "/classify",
    operation_id="classify_image",
    summary="Compare an image with sentences, or with a prompt set.",
    response_model=Classified,
    responses={409: PROBLEMS[409]},
)
def classify_image(
    image: Annotated[UploadFile, File(description="An image file.")],
    serving: Serving,
    sentences: Annotated[
        str,
        Form(
            description="Sentences, separated by commas or new lines.",
            examples=["a glass of beer, a glass of water"],
        ),
    ] = "",
    prompts: Annotated[
        str,
        Form(description="Or a prompt set: a packaged one, or the one that is served."),
    ] = "",
    top: Annotated[int, Form(ge=1, le=MOST_SENTENCES)] = 10,
) -> Classified:
    """Compare an image with sentences, best first, or score it in the categories of a prompt set.

    `score` is the cosine, `share` what the model makes of it among the sentences given; neither
    is a calibrated probability. The scores of a prompt set are those that thresholds are set on.
    """
    begun = time.perf_counter()
    asked = _sentences(sentences)
    if bool(asked) == bool(prompts):
        raise unprocessable("Give `sentences`, or else the name of a prompt set as `prompts`.")
    (upload,) = embed_uploads(serving, [image])
    width, height = _size(serving, image)
    ranked = _ranked(serving, upload.sound, asked)[:top] if asked else []
    categories = _categories(serving, upload.sound, prompts) if prompts else {}
    return Classified(
        name=upload.name,
        width=width,
        height=height,
        model=serving.workspace.corpus.model.name,
        provider=serving.encoder.status.provider or STORED,
        milliseconds=round(1000 * (time.perf_counter() - begun), 3),
        sentences=ranked,
        prompts=prompts or None,
        categories=categories,
    )


@router.post(
    "/score",
    operation_id="score_images",
    summary="Score images, and decide by the calibration.",
    response_model=Scored,
    responses={409: PROBLEMS[409]},
)
def score_images(images: Images, serving: Serving) -> Scored:
    """Score images as those of the corpus, and apply the calibration, where there is one.

    An image that the corpus holds has the very score that it has there.
    """
    view = serving.workspace.view()
    uploads = embed_uploads(serving, images)
    return Scored(
        calibration=view.calibration,
        prompts=view.prompt_set.name,
        results=_scored(view, uploads),
    )


def _embedded(upload: Upload) -> Embedded:
    vector = upload.vector
    return Embedded(
        name=upload.name,
        embedding=None if vector is None else np.round(vector, _EMBEDDING_DIGITS).tolist(),
        item=upload.item,
        error=upload.error,
    )


# --- classify ---------------------------------------------------------------------------------


def _sentences(written: str) -> list[str]:
    """Read the sentences, each once.

    Raises
    ------
    Refused
        422, if there are too many, or one is too long.
    """
    found = list(dict.fromkeys(filter(None, map(str.strip, re.split(r"[,\r\n]", written)))))
    if len(found) > MOST_SENTENCES:
        raise unprocessable(f"There are {len(found)} sentences; at most {MOST_SENTENCES} will do.")
    if any(len(sentence) > LONGEST_SENTENCE for sentence in found):
        raise unprocessable(f"A sentence has more than {LONGEST_SENTENCE} characters.")
    return found


def _size(serving: Context, image: UploadFile) -> tuple[int, int]:
    """Width and height, upright."""
    image.file.seek(0)
    try:
        return ImageFile(
            image.file.read(), max_pixels=serving.settings.limits.pixels
        ).upright_size()
    except ImageError as error:
        raise unprocessable(f"The image cannot be read: {error}.") from error


def _ranked(serving: Context, vector: Vector, sentences: list[str]) -> list[RankedSentence]:
    cosines = serving.encoder.embed_sentences(sentences) @ vector
    among = shares(cosines, serving.encoder.bundle.manifest)
    return [
        RankedSentence(sentence=sentences[i], score=rounded(cosines[i]), share=rounded(among[i]))
        for i in np.argsort(-cosines, kind="stable").tolist()
    ]


def _categories(serving: Context, vector: Vector, prompts: str) -> dict[str, float]:
    """Score an image in the categories of a prompt set that is named, never of a file's path."""
    view = serving.workspace.view()
    if prompts == view.prompt_set.name:
        scores, names = score_vectors(view, vector[None]), list(view.categories)
    elif prompts in packaged_sets():
        scores, names = _packaged(serving, vector, prompts)
    else:
        raise unprocessable(
            f"There is no prompt set {prompts!r} here. Name {view.prompt_set.name!r}, which is "
            f"served, or a packaged one: {', '.join(packaged_sets())}."
        )
    return {name: round(float(score), DIGITS) for name, score in zip(names, scores[0], strict=True)}


def _packaged(serving: Context, vector: Vector, prompts: str) -> tuple[Scores, list[str]]:
    chosen = load_prompt_set(prompts)
    sentences = tuple(chosen.sentences)
    vectors = build(chosen, TextVectors(sentences, serving.encoder.embed_sentences(sentences)))
    return score_by(vector[None], vectors), [category.name for category in chosen.categories]


# --- score ------------------------------------------------------------------------------------


def _scored(view: View, uploads: list[Upload]) -> list[ScoredImage]:
    sound = [upload for upload in uploads if upload.vector is not None]
    if not sound:
        return [_failed(upload) for upload in uploads]
    scores = score_vectors(view, np.stack([upload.sound for upload in sound]))
    _take_stored(view, sound, scores)
    judged = judge_scores(scores, view.categories, view.contract, view.prompt_set)
    places = iter(range(len(sound)))
    return [
        _failed(upload)
        if upload.vector is None
        else ScoredImage(
            name=upload.name,
            item=upload.item,
            decisions=decisions_on(judged, place := next(places)),
            overall=overall(judged, place),
        )
        for upload in uploads
    ]


def _take_stored(view: View, uploads: list[Upload], scores: Scores) -> None:
    """Put the corpus's own scores in: products of another shape differ in their last bits."""
    for number, upload in enumerate(uploads):
        if upload.item is not None:
            for place in view.places([upload.item]):  # none, if the view is older than the item
                scores[number] = view.scored.scores[place]


def _failed(upload: Upload) -> ScoredImage:
    return ScoredImage(name=upload.name, error=upload.error)
