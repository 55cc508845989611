"""Label Studio: tasks with annotations and predictions, and the configuration of a project.

As documented in Label Studio's guide under "Label Studio JSON format of annotated tasks" and
"Import pre-annotated data". A category is a control of its own: ``Choices`` with the levels, named
as the category with underscores for spaces.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from xml.etree import ElementTree as Xml

import numpy as np

from clipcal.calibrate.labels.exchange.records import Picture, Predicted, Voice
from clipcal.calibrate.labels.words import BINARY

_IMAGE: Final = "image"  # of a task's data
_OBJECT: Final = "the-image"  # the tag that shows it; no category can be called so by accident


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
