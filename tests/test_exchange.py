"""Laws of labels that leave a corpus as a file, and come back from it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from exchange_case import CATEGORIES, LEVELS, NAMES, filled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipcal.calibrate.labels.exchange.exporting import export
from clipcal.calibrate.labels.exchange.files import read_exchange, write_exchange
from clipcal.calibrate.labels.exchange.importing import import_labels
from clipcal.calibrate.labels.exchange.label_studio import labelling_config
from clipcal.calibrate.labels.exchange.naming import relative_names
from clipcal.calibrate.labels.exchange.records import Format, Predicted
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.pool import pool_csv
from clipcal.calibrate.labels.voices import FILE
from clipcal.errors import LabelError
from clipcal.index.judgements import Said, chosen_rows, judge, standing
from clipcal.index.store import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def stands(corpus: Corpus) -> set[tuple[int, str, str | None, str]]:
    return {(j.item, j.category, j.level, j.rater) for j in standing(corpus)}


# --- round trips ------------------------------------------------------------------------------

judgements = st.lists(
    st.tuples(
        st.integers(1, len(NAMES)),
        st.sampled_from(CATEGORIES),
        st.sampled_from(LEVELS),
        st.sampled_from(["ann", "bob", "ö, 'x'"]),
    ),
    max_size=10,
)
folders = st.sampled_from(["/photos", "/elsewhere/of mine"])


def carried(
    corpus: Corpus, other: Corpus, format: Format, categories: Sequence[str] = CATEGORIES
) -> None:
    """Export from one corpus, and import in another of the same images."""
    with_hash = [f"{row:064x}" for row in range(len(NAMES))] if format == "csv" else None
    uris = [f"/photos/{name}" for name in NAMES]
    done = export(corpus, categories, LEVELS, names=relative_names(uris, with_hash))
    data = write_exchange(format, done.pictures, categories, done.levels)
    if not done.pictures:
        return
    found = read_exchange(
        data, None, name="x", categories=categories, levels=LEVELS, rater="majority"
    )
    assert found.format == format
    result = import_labels(other, found.given, batch="all")
    lost = (result.unmatched, result.ambiguous, result.altered, result.torn)
    assert lost == ((), (), (), ())
    assert result.written == len(found.given)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoken=judgements, format=st.sampled_from(["csv", "label-studio"]), folder=folders)
def test_what_every_rater_says_comes_through(tmp_path_factory, spoken, format, folder):
    place = tmp_path_factory.mktemp("trip")
    corpus, other = filled(place / "one"), filled(place / "two", folder)
    for number, (item, category, level, rater) in enumerate(spoken):
        judge(corpus, str(number), [Said(item, category, level)], rater=rater, origin="given")
    carried(corpus, other, format)
    assert stands(other) == stands(corpus)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoken=judgements, format=st.sampled_from(["coco", "imagefolder"]), folder=folders)
def test_the_majority_comes_through_where_a_file_has_one_label_per_cell(
    tmp_path_factory, spoken, format, folder
):
    place = tmp_path_factory.mktemp("trip")
    corpus, other = filled(place / "one"), filled(place / "two", folder)
    votes: dict[tuple[int, str], dict[str, int]] = {}
    for number, (item, category, level, rater) in enumerate(spoken):
        judge(corpus, str(number), [Said(item, category, level)], rater=rater, origin="given")
        votes.setdefault((item, category), {})[rater] = LEVELS.index(level)
    carried(corpus, other, format)
    expected = set()
    for (item, category), by in votes.items():
        ranks = list(by.values())
        most = max(ranks, key=lambda rank: (ranks.count(rank), rank))
        expected.add((item, category, LEVELS[most], "majority"))
    assert stands(other) == expected


def test_the_pools_file_in_another_corpus_gives_the_same_file(tmp_path, corpus):
    corpus.replace_labels({f"/photos/{NAMES[0]}": {"gore": "major"}})
    judge(corpus, "a", [Said(2, "gore", "none")], rater="ann", origin="given")
    other = filled(tmp_path / "other", "/elsewhere")
    carried(corpus, other, "csv")
    short = relative_names([f"/photos/{name}" for name in NAMES])
    long = relative_names([f"/elsewhere/{name}" for name in NAMES])
    assert pool_csv(corpus, CATEGORIES, LEVELS, names=short) == pool_csv(
        other, CATEGORIES, LEVELS, names=long
    )
    assert (1, "gore", "major", FILE) in stands(other)


@pytest.mark.parametrize("format", ["csv", "label-studio", "coco", "imagefolder"])
def test_labels_that_were_chosen_for_their_scores_stay_so(tmp_path, corpus, format):
    judge(corpus, "a", [Said(1, "gore", "major")], rater="ann", origin="flagged")
    judge(corpus, "b", [Said(2, "gore", "none")], rater="ann", origin="random")
    other = filled(tmp_path / "other")
    carried(corpus, other, format)
    assert chosen_rows(other, "gore").tolist() == [0]


def test_the_csv_of_all_labels_is_the_pools(corpus):
    judge(
        corpus, "a", [Said(2, "gore", "major"), Said(1, "gore", "none")], rater="ann", origin="near"
    )
    done = export(corpus, CATEGORIES, LEVELS, names=str)
    assert write_exchange("csv", done.pictures, CATEGORIES, done.levels) == pool_csv(
        corpus, CATEGORIES, LEVELS
    )
    assert (done.labels, done.places.tolist()) == (2, [0, 1])


def test_images_without_labels_are_exported_on_demand(corpus):
    done = export(corpus, CATEGORIES, LEVELS, names=str, items={3: "flagged", 1: "random"})
    assert [(p.item, p.origin, p.voices) for p in done.pictures] == [
        (3, "flagged", ()),
        (1, "random", ()),
    ]
    with pytest.raises(LabelError, match="no embedded image 99"):
        export(corpus, CATEGORIES, LEVELS, names=str, items={99: "random"})


# --- what Label Studio takes ------------------------------------------------------------------


def test_a_task_has_its_image_and_predictions_that_label_studio_takes(corpus):
    judge(corpus, "a", [Said(1, "Sexual Content", "minor")], rater="ann", origin="near")
    done = export(corpus, CATEGORIES, LEVELS, names=str, items={1: "random", 2: "flagged"})
    predicted = Predicted(
        version="v1",
        categories=CATEGORIES,
        levels=LEVELS,
        scores=np.array([[0.5, -0.25], [0.1, 0.0]], np.float32),
        values=np.array([[2, -1], [0, 1]], np.int8),
        margins=np.array([0.25, np.nan]),
    )
    first, second = json.loads(
        write_exchange("label-studio", done.pictures, CATEGORIES, LEVELS, predicted=predicted)
    )
    assert second["data"] == {
        "image": "/photos/b/1.png",
        "item": 2,
        "sha256": f"{1:064x}",
        "origin": "flagged",
    }
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("v1", 0.25)
    assert [(r["from_name"], r["value"], r["score"]) for r in prediction["result"]] == [
        ("gore", {"choices": ["major"]}, 0.5)
    ]
    assert "score" not in second["predictions"][0]
    # Label Studio refuses annotators that it does not know.
    assert "completed_by" not in first["annotations"][0]
    (result,) = first["annotations"][0]["result"]
    assert result["meta"] == {"rater": "ann", "origin": "near"}
    assert second["annotations"] == []


def test_the_labelling_config_has_a_control_for_every_name_in_the_tasks(corpus):
    judge(corpus, "a", [Said(1, name, "minor") for name in CATEGORIES], rater="ann", origin="near")
    view = ElementTree.fromstring(labelling_config(CATEGORIES, LEVELS))
    controls = {
        one.get("name"): [choice.get("value") for choice in one] for one in view.iter("Choices")
    }
    done = export(corpus, CATEGORIES, LEVELS, names=str)
    (one,) = json.loads(write_exchange("label-studio", done.pictures, CATEGORIES, LEVELS))
    (image,) = view.iter("Image")
    for result in one["annotations"][0]["result"]:
        assert controls[result["from_name"]] == list(LEVELS)
        assert result["to_name"] == image.get("name")
    assert str(image.get("value")).removeprefix("$") in one["data"]


# --- names ------------------------------------------------------------------------------------

parts = st.sampled_from(["a", "b", "A", "1.png", "2.png", " x ", "ü", "u\u0308"])
paths = st.lists(st.lists(parts, min_size=1, max_size=4).map("/".join), min_size=1, unique=True)


@given(paths=paths, root=st.sampled_from(["/", "/r/", "/r/s t/", "file:///r/"]))
def test_relative_names_lead_back_to_their_images(paths, root):
    uris = [root + path for path in paths]
    contents = [f"{number:064x}" for number in range(len(uris))]
    names = relative_names(uris, contents)
    match = match_images([names(uri) for uri in uris], uris, contents)
    assert match.rows.tolist() == list(range(len(uris)))


def test_relative_names_tell_no_folder():
    names = relative_names(["/home/me/photos/a/1.png", "/home/me/photos/2.png"])
    assert names("/home/me/photos/a/1.png") == "a/1.png"
    assert names("/home/me/photos/2.png") == "2.png"


def test_a_file_of_names_with_signs_is_read_back(corpus):
    judge(corpus, "a", [Said(n, "gore", "major") for n in range(1, 7)], rater="a,b", origin="near")
    data = pool_csv(corpus, CATEGORIES, LEVELS)
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert {row["annotator"] for row in rows} == {"a,b"}
    found = read_exchange(data, None, name="x", categories=CATEGORIES, levels=LEVELS, rater="me")
    assert import_labels(corpus, found.given, batch="b").same == 6
