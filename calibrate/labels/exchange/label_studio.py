"""Label Studio: tasks with annotations and predictions, and the configuration of a project.

As documented in Label Studio's guide under "Label Studio JSON format of annotated tasks", "Import
pre-annotated data" and "Export annotations" (JSON and JSON_MIN).

A category is a control of its own: ``Choices`` with the levels, named as the category with
underscores for spaces. People's own projects may instead have one control whose choices, or whose
boxes, are named as categories; that says which categories are there, and no more.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as Xml

import numpy as np
from pydantic import BaseModel, TypeAdapter

from clipcal.calibrate.labels.exchange.cells import Cell, Looked, absent, settle
from clipcal.calibrate.labels.exchange.json_file import read_json, shaped
from clipcal.calibrate.labels.exchange.records import (
    PRESENT,
    Asked,
    Picture,
    Predicted,
    Read,
    Voice,
    origin_of,
)
from clipcal.calibrate.labels.formats import CLASS_NAMES
from clipcal.calibrate.labels.frame import IMAGE_NAMES
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.words import BINARY
from clipcal.errors import LabelError

_WHAT: Final = "list of Label Studio's tasks"
_IMAGE: Final = "image"  # of a task's data
_OBJECT: Final = "the-image"  # the tag that shows it; no category can be called so by accident
_UPLOADED: Final = re.compile(r"(?:^|/)upload/\d+/[0-9a-f]{8}-([^/]+)$")
_CHOICE_KEYS: Final = {*CLASS_NAMES, "choice", "choices", "labels", "tags", "categories"}


class _Result(BaseModel):
    """What one control says."""

    from_name: str = ""
    type: str = ""
    value: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class _Annotation(BaseModel):
    """What one person says of a task, or did before skipping it."""

    completed_by: int | str | dict[str, Any] | None = None
    result: list[_Result] | None = None
    was_cancelled: bool | None = None


class _Task(BaseModel):
    """A task as JSON has it."""

    data: dict[str, Any]
    annotations: list[_Annotation] | None = None


_LIST: Final = TypeAdapter(list[dict[str, Any]])
_TASK: Final = TypeAdapter(_Task)


def read_label_studio(data: bytes, asked: Asked) -> Read:
    """Read the annotations of an export, JSON or JSON_MIN; predictions are nobody's labels.

    Parameters
    ----------
    data : bytes
        The file.
    asked : Asked
        What is wanted.

    Returns
    -------
    Read
        What each annotator says. Skipped tasks say nothing. Of a control that is named as a
        category the choice is the level, and a rating counts the levels from 1. Other choices
        and boxes that are named as categories say that these are there.

    Raises
    ------
    LabelError
        If the file is no such list, a task names no image, a level is unknown, or there is
        nothing about the categories but about others.
    """
    tasks = read_json(data, asked.name, _LIST, _WHAT)
    reader = _Reader(asked)
    for number, task in enumerate(tasks, start=1):
        where = f"task {number}"
        if isinstance(task.get("data"), dict):
            reader.task(shaped(task, asked.name, where, _TASK, _WHAT), where)
        else:
            reader.flat(task, where)
    cells = reader.cells
    if asked.exhaustive:
        cells = [*cells, *absent(cells, reader.looked, dict.fromkeys(c.category for c in cells))]
    read = settle(cells, asked, "label-studio", reader.ignored)
    return replace(read, notes=(*read.notes, *reader.notes))


def write_label_studio(
    pictures: Sequence[Picture], categories: Sequence[str], predicted: Predicted | None = None
) -> bytes:
    """Write tasks, with an annotation per rater and a prediction per picture.

    Label Studio refuses annotators that it does not know, so that raters' names are kept in each
    result's ``meta`` and not in ``completed_by``. A prediction's score is its margin (see
    `Predicted`): sorted by it, what is flagged comes first.

    Parameters
    ----------
    pictures : sequence of Picture
        The images.
    categories : sequence of str
        The prompt set's.
    predicted : Predicted, optional
        What a calibration says of the pictures.

    Returns
    -------
    bytes
        JSON in UTF-8, a task a line.
    """
    predictions = None if predicted is None else _predictions(predicted)
    controls = {category: control_name(category) for category in categories}
    tasks = []
    for place, picture in enumerate(pictures):
        task = {"data": _task_data(picture), "annotations": _annotations(picture, controls)}
        if predictions is not None:
            task["predictions"] = predictions(place)
        tasks.append(json.dumps(task, ensure_ascii=False))
    return ("[\n" + ",\n".join(tasks) + "\n]\n").encode("utf-8")


def labelling_config(categories: Sequence[str], levels: Sequence[str]) -> str:
    """Write the labelling configuration of a project: the image, and a choice per category.

    Parameters
    ----------
    categories, levels : sequence of str
        The prompt set's; no levels are yes and no.

    Returns
    -------
    str
        XML, for Settings > Labeling Interface > Code.
    """
    view = Xml.Element("View")
    Xml.SubElement(view, "Image", name=_OBJECT, value=f"${_IMAGE}", zoom="true")
    for category in categories:
        Xml.SubElement(view, "Header", value=category)
        about = {"name": control_name(category), "toName": _OBJECT, "choice": "single"}
        choices = Xml.SubElement(view, "Choices", {**about, "showInline": "true"})
        for level in levels or BINARY:
            Xml.SubElement(choices, "Choice", value=level)
    Xml.indent(view)
    return Xml.tostring(view, encoding="unicode") + "\n"


def control_name(category: str) -> str:
    """Name the control of a category: without blanks."""
    return re.sub(r"\s+", "_", category)


# --- reading ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """Gathers what tasks say."""

    asked: Asked
    cells: list[Cell] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    ratings: int = 0
    skipped: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed or left out."""
        ladder = " < ".join(self.asked.levels or BINARY)
        rated = f"{self.ratings:,} ratings are read as {ladder}, from 1 on."
        skipped = f"{self.skipped:,} skipped annotations say nothing."
        return (*((rated,) if self.ratings else ()), *((skipped,) if self.skipped else ()))

    def task(self, task: _Task, where: str) -> None:
        """Take what each annotator says of a task."""
        for annotation in task.annotations or ():
            if annotation.was_cancelled:
                self.skipped += 1
                continue
            who = _person(annotation.completed_by) or self.asked.rater
            seen = self._looked(task.data, where, who)
            results = annotation.result or []
            kept = results[0].meta if results else None  # our own exports name the rater there
            self.looked.append(_as_kept(seen, kept, self.asked))
            for result in results:
                value = (result.value or {}).get(result.type)
                said = self._said(result.from_name, result.type, value)
                self._keep(_as_kept(seen, result.meta, self.asked), said)

    def flat(self, task: Mapping[str, Any], where: str) -> None:
        """Take what an annotator says, in a task of JSON_MIN."""
        if task.get("was_cancelled"):
            self.skipped += 1
            return
        seen = self._looked(task, where, _person(task.get("annotator")) or self.asked.rater)
        self.looked.append(seen)
        for control, value in task.items():
            named = self.asked.category(control) is not None
            for kind, part in _parts(value):
                if named or (kind != "rating" and (kind or name_key(control) in _CHOICE_KEYS)):
                    self._keep(seen, self._said(control, kind or "choices", part))

    def _keep(self, seen: Looked, said: Iterable[tuple[str, str, bool]]) -> None:
        where, image, sha256, rater, origin = seen
        self.cells += [
            Cell(where, image, sha256, category, word, rater, origin, bare)
            for category, word, bare in said
        ]

    def _said(self, control: str, kind: str, value: object) -> Iterator[tuple[str, str, bool]]:
        """Yield category, word, and whether that is all, for what one control says."""
        category = self.asked.category(control)
        if category and kind == "rating":
            self.ratings += 1
            yield category, self._rated(control, value), False
            return
        words = [value] if isinstance(value, str) else value
        words = [w for w in words if isinstance(w, str)] if isinstance(words, list) else []
        if not words and control:
            self.ignored[control] += 1
        for word in words:
            named = self.asked.category(word)
            if category and kind == "choices" and named != category:
                yield category, word, False
            elif named:
                yield named, PRESENT, True
            else:
                self.ignored[f"{control}: {word}"] += 1

    def _rated(self, control: str, value: object) -> str:
        levels = self.asked.levels or BINARY
        if isinstance(value, int) and 1 <= value <= len(levels):
            return levels[value - 1]
        raise LabelError(
            f"{self.asked.name}: the rating {value} of '{control}' is none of 1 to {len(levels)}, "
            f"which stand for {', '.join(levels)}. Use Choices with these levels: clipcal labels "
            f"export --format label-studio --config FILE.xml"
        )

    def _looked(self, data: Mapping[str, Any], where: str, who: str) -> Looked:
        """Tell which image a task is about."""
        keys = {name_key(key): value for key, value in data.items() if isinstance(value, str)}
        image = next((keys[name] for name in IMAGE_NAMES if keys.get(name)), None)
        if image is None:
            raise LabelError(
                f"{self.asked.name}, {where}: no field names its image. Name it 'image' in the "
                f"project's data, export again, then run the same command again."
            )
        origin = origin_of(data.get("origin"), self.asked)
        return Looked(where, file_name(image), keys.get("sha256", ""), who, origin)


def file_name(address: str) -> str:
    """Return the path that an address of Label Studio's stands for.

    Uploaded files are called ``…/upload/PROJECT/HASH-NAME``, those of local storage
    ``…/data/local-files/?d=PATH``; of other web addresses it is the path.

    Parameters
    ----------
    address : str
        As in a task's data.

    Returns
    -------
    str
        A path, or a name, as `match_images` takes it.
    """
    uploaded = _UPLOADED.search(address)
    if uploaded:
        return unquote(uploaded[1])
    try:
        parts = urlsplit(address)
    except ValueError:  # such as a path with a bracket after two slashes
        return address
    if parts.path.endswith("/local-files/"):
        return "".join(parse_qs(parts.query).get("d", [address])[:1])
    return unquote(parts.path) if parts.scheme in ("http", "https") else address


def _as_kept(seen: Looked, meta: Mapping[str, Any] | None, asked: Asked) -> Looked:
    """Take rater and origin as our own export wrote them down, where it did."""
    rater, origin = (meta or {}).get("rater"), (meta or {}).get("origin")
    if isinstance(rater, str) and rater.strip():
        seen = seen._replace(rater=rater.strip())
    return seen if origin is None else seen._replace(origin=origin_of(origin, asked))


def _person(who: object) -> str:
    """Name an annotator; empty where the file does not."""
    if isinstance(who, dict):
        return str(who.get("email") or "").strip() or _person(who.get("id"))
    return f"user {who}" if isinstance(who, int) else who.strip() if isinstance(who, str) else ""


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield kind and value of what JSON_MIN writes for one control; no kind for plain text."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        yield ("rating", value) if isinstance(value, int) else ("", value)
    elif isinstance(value, dict):
        yield from ((kind, value[kind]) for kind in ("choices", "rating") if kind in value)
    elif isinstance(value, list):
        words = [one for one in value if isinstance(one, str)]
        yield from [("", words)] if words else []
        boxes = [one for one in value if isinstance(one, dict)]
        yield from ((k, v) for box in boxes for k, v in box.items() if k.endswith("labels"))


# --- writing ----------------------------------------------------------------------------------


def _task_data(picture: Picture) -> dict[str, object]:
    known = {"sha256": picture.sha256} if picture.sha256 else {}
    return {_IMAGE: picture.name, "item": picture.item, **known, "origin": picture.origin}


def _annotations(picture: Picture, controls: Mapping[str, str]) -> list[dict[str, object]]:
    """Make one annotation of what each rater says."""
    raters = dict.fromkeys(voice.rater for voice in picture.voices)
    return [
        {
            "was_cancelled": False,
            "ground_truth": False,
            "result": [
                _result(controls[voice.category], voice.level, **_meta(voice))
                for voice in picture.voices
                if voice.rater == rater
            ],
        }
        for rater in raters
    ]


def _meta(voice: Voice) -> dict[str, object]:
    return {"meta": {"rater": voice.rater, "origin": voice.origin}}


def _result(control: str, level: str, **more: object) -> dict[str, object]:
    return {
        "id": control,
        "from_name": control,
        "to_name": _OBJECT,
        "type": "choices",
        "value": {"choices": [level]},
        **more,
    }


def _predictions(predicted: Predicted) -> Callable[[int], list[dict[str, object]]]:
    """Return what makes the predictions of a picture from its place."""
    controls = [control_name(category) for category in predicted.categories]
    scores = predicted.scores.astype(np.float64).round(6)

    def predictions(place: int) -> list[dict[str, object]]:
        codes = predicted.values[place].tolist()
        result = [
            _result(control, predicted.levels[code], score=score)
            for control, code, score in zip(controls, codes, scores[place].tolist(), strict=True)
            if code >= 0
        ]
        margin = float(predicted.margins[place])
        known = {} if math.isnan(margin) else {"score": round(margin, 6)}
        return [{"model_version": predicted.version, **known, "result": result}]

    return predictions
