"""Laws of labels to and from other tools' files."""

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
from clipcal.calibrate.labels.exchange.files import guess_format, read_exchange, write_exchange
from clipcal.calibrate.labels.exchange.importing import import_labels
from clipcal.calibrate.labels.exchange.label_studio import file_name, labelling_config
from clipcal.calibrate.labels.exchange.naming import relative_names
from clipcal.calibrate.labels.exchange.records import FORMATS, Format, Predicted, Read
from clipcal.calibrate.labels.matching import match_images
from clipcal.calibrate.labels.pool import FILE, pool_csv
from clipcal.errors import LabelError
from clipcal.index.judgements import Said, chosen_rows, judge, standing
from clipcal.index.store import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def read(
    content: object,
    format: Format | None = None,
    *,
    levels: Sequence[str] = (),
    exhaustive: bool = False,
) -> Read:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return read_exchange(
        text.encode() if isinstance(text, str) else text,
        format,
        name="labels.txt",
        categories=CATEGORIES,
        levels=levels,
        rater="me",
        exhaustive=exhaustive,
    )


def said(found: Read) -> list[tuple[str, str, str, str]]:
    return [(one.image, one.category, one.level, one.rater) for one in found.given]


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


# --- Label Studio -----------------------------------------------------------------------------


def task(*annotations: object, **data: object) -> dict[str, object]:
    return {"id": 7, "data": {"image": "a/1.png", **data}, "annotations": list(annotations)}


def annotation(who: object, *results: object, **more: object) -> dict[str, object]:
    return {"id": 1, "completed_by": who, "result": list(results), **more}


def chosen(control: str, *choices: str, kind: str = "choices") -> dict[str, object]:
    value = {kind: list(choices), "x": 10.0}
    return {"from_name": control, "to_name": "image", "type": kind, "value": value}


def test_annotators_are_told_apart_and_who_skipped_says_nothing():
    found = read(
        [
            task(
                annotation(1, chosen("gore", "yes"), ground_truth=True),
                annotation({"id": 2, "email": "b@x.org"}, chosen("sexual_content", "no")),
                annotation(3, chosen("gore", "no"), was_cancelled=True),
                annotation(None, chosen("gore", "no")),
            )
        ]
    )
    assert said(found) == [
        ("a/1.png", "gore", "positive", "user 1"),
        ("a/1.png", "Sexual Content", "negative", "b@x.org"),
        ("a/1.png", "gore", "negative", "me"),
    ]
    assert "1 skipped annotations say nothing." in found.notes


def test_predictions_are_nobodys_labels():
    one = {**task(), "predictions": [{"model_version": "m", "result": [chosen("gore", "yes")]}]}
    assert read([one]).given == ()


def test_json_min_says_the_same():
    shared = {"image": "a/1.png", "id": 7, "created_at": "2026", "lead_time": 1.5}
    found = read(
        [
            {**shared, "annotator": 1, "gore": "yes", "sexual_content": {"choices": ["no"]}},
            {**shared, "annotator": 2, "gore": ["no"], "boxes": [{"rectanglelabels": ["gore"]}]},
            {**shared, "annotator": 3, "choice": {"choices": ["gore", "kitten"]}},
        ]
    )
    assert said(found) == [
        ("a/1.png", "gore", "positive", "user 1"),
        ("a/1.png", "Sexual Content", "negative", "user 1"),
        ("a/1.png", "gore", "positive", "user 3"),
    ]
    assert found.ignored == ("choice: kitten",)
    assert any("contradict themselves" in note and "user 2" in note for note in found.notes)


def test_boxes_and_lists_of_choices_say_what_is_there_and_no_more():
    marked = [
        task(annotation(1, chosen("label", "gore", kind="rectanglelabels"))),
        task(annotation(1, chosen("what", "Sexual Content", "dog")), image="b/1.png"),
        task(annotation(1), image="1.png"),
    ]
    assert said(read(marked)) == [
        ("a/1.png", "gore", "positive", "user 1"),
        ("b/1.png", "Sexual Content", "positive", "user 1"),
    ]
    levels = {(i, c): level for i, c, level, _ in said(read(marked, exhaustive=True))}
    assert levels == {
        ("a/1.png", "gore"): "positive",
        ("a/1.png", "Sexual Content"): "negative",
        ("b/1.png", "gore"): "negative",
        ("b/1.png", "Sexual Content"): "positive",
        ("1.png", "gore"): "negative",
        ("1.png", "Sexual Content"): "negative",
    }


def test_ratings_are_levels_from_one_on():
    rating = {"from_name": "gore", "type": "rating", "value": {"rating": 3}}
    found = read([task(annotation(1, rating))], levels=LEVELS)
    assert [one.level for one in found.given] == ["major"]
    assert any("from 1 on" in note for note in found.notes)
    with pytest.raises(LabelError, match="rating 4 of 'gore'"):
        read([task(annotation(1, {**rating, "value": {"rating": 4}}))], levels=LEVELS)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/3/1a2b3c4d-cat.jpg", "cat.jpg"),
        ("http://host:8080/data/upload/3/1a2b3c4d-my%20cat.jpg", "my cat.jpg"),
        ("/data/local-files/?d=photos/a%2Bb/cat.jpg", "photos/a+b/cat.jpg"),
        ("https://host/photos/my%20cat.jpg?token=1", "/photos/my cat.jpg"),
        ("s3://bucket/photos/cat.jpg", "s3://bucket/photos/cat.jpg"),
        ("photos/100%.jpg", "photos/100%.jpg"),
        ("//[x", "//[x"),
    ],
)
def test_addresses_of_label_studio_are_the_files_that_they_stand_for(address, name):
    assert file_name(address) == name


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


# --- COCO -------------------------------------------------------------------------------------


def coco(*annotations: dict[str, object], **image: object) -> dict[str, object]:
    return {
        "info": {"exhaustive": True},
        "images": [{"id": 1, "file_name": "a/1.png", **image}, {"id": 2, "file_name": "b/1.png"}],
        "categories": [{"id": 1, "name": "Gore"}, {"id": 2, "name": "cat"}],
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations)],
    }


def test_an_image_without_an_annotation_is_unlabelled_unless_the_caller_knows_better():
    file = coco({"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0})
    assert said(read(file)) == [("a/1.png", "gore", "positive", "me")]
    assert [(i, c, level) for i, c, level, _ in said(read(file, exhaustive=True))] == [
        ("a/1.png", "gore", "positive"),
        ("b/1.png", "gore", "negative"),
    ]


def test_what_lvis_calls_absent_is_negative():
    file = coco({"image_id": 2, "category_id": 2}, neg_category_ids=[1])
    found = read(file)
    assert said(found) == [("a/1.png", "gore", "negative", "me")]
    assert found.ignored == ("cat",)


def test_presence_is_no_level_and_absence_beside_it_is_left_out_too():
    file = coco({"image_id": 2, "category_id": 1}, neg_category_ids=[1])
    file["annotations"] += [{"image_id": 1, "category_id": 1, "attributes": {"level": "minor"}}]
    found = read(file, levels=LEVELS)
    assert said(found) == [("a/1.png", "gore", "minor", "me")]
    assert any("2 labels say only whether" in note for note in found.notes)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"image_id": 9, "category_id": 1}, "names the image 9"),
        ({"image_id": 1, "category_id": 9}, "names the category 9"),
        ({"image_id": 1}, "Field required at annotations.0.category_id"),
    ],
)
def test_annotations_that_lead_nowhere_are_refused(annotation, message):
    with pytest.raises(LabelError, match=message):
        read(coco(annotation))


# --- imagefolder ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("file_name,gore\na/1.png,yes\nb/1.png,no\n", ["positive", "negative"]),
        ("file_name,label\na/1.png,gore\nb/1.png,cat\n", ["positive", "negative"]),
        ('{"file_name":"a/1.png","gore":true}\n\n{"file_name":"b/1.png","gore":0}\n', [1, 0]),
        ('{"file_name":"a/1.png","gore":null}\n{"gore":"no","file_name":"b/1.png"}', [0]),
    ],
)
def test_metadata_has_a_column_per_category_or_a_class(text, levels):
    found = read(text)
    assert found.format == "imagefolder"
    words = ["negative", "positive"]
    assert [one.level for one in found.given if one.category == "gore"] == [
        words[level] if isinstance(level, int) else level for level in levels
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"file_name":"a/1.png","labels":["gore","dog"]}\n{"file_name":"b/1.png","labels":[]}\n',
        "file_name,labels\na/1.png,\"['gore', 'dog']\"\nb/1.png,\n",
        "file_name,labels\na/1.png,gore|dog\nb/1.png,\n",
    ],
)
def test_lists_say_what_is_there(text):
    assert said(read(text)) == [("a/1.png", "gore", "positive", "me")]
    assert [one.level for one in read(text, exhaustive=True).given] == ["positive", "negative"]
    assert read(text).ignored == ("dog",)


def test_a_bad_line_is_named():
    with pytest.raises(LabelError, match="line 2: this is no JSON object"):
        read('{"file_name":"a/1.png","gore":"yes"}\n{"file_name"\n')
    with pytest.raises(LabelError, match="line 2"):
        read('{"file_name":"a/1.png","gore":"yes"}\n[1]\n')
    with pytest.raises(LabelError, match="labels.txt:3: 'perhaps'"):
        read('{"file_name":"a","gore":"yes"}\n\n{"file_name":"b","gore":"perhaps"}\n')
    with pytest.raises(LabelError, match="no column 'file_name'"):
        read("image,gore\na,yes\n", "imagefolder")


# --- CSV --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "image,category,label,annotator\na,gore,yes,ann\na,gore,no,bob\na,gore,no, \n",
        "image,gore,annotator\na,yes,ann\na,no,bob\na,no,\n",
    ],
)
def test_every_raters_label_is_read_and_no_majority_is_noted(text):
    found = read(text)
    assert set(said(found)) == {
        ("a", "gore", "positive", "ann"),
        ("a", "gore", "negative", "bob"),
        ("a", "gore", "negative", "me"),
    }
    assert not [note for note in found.notes if "rater" in note]


def test_the_one_rater_of_a_file_keeps_his_name():
    assert said(read("image,gore,rater\na,yes,ann\n")) == [("a", "gore", "positive", "ann")]
    assert said(read("image,gore\na,yes\n")) == [("a", "gore", "positive", "me")]


def test_each_raters_class_says_no_to_every_other_category():
    found = read("image,class,rater\na,gore,ann\na,dog,bob\n")
    assert set(said(found)) == {
        ("a", "gore", "positive", "ann"),
        ("a", "gore", "negative", "bob"),
    }


# --- any format -------------------------------------------------------------------------------


def test_formats_are_guessed_from_the_content():
    assert guess_format(b"\xef\xbb\xbf [\n]", "x") == "label-studio"
    assert guess_format('{"images": []}'.encode("utf-16"), "x") == "coco"
    assert guess_format(b'{"file_name": "a"}\n{', "x") == "imagefolder"
    assert guess_format(b"file_name;gore\n", "x") == "imagefolder"
    assert guess_format(b"image,gore\n", "x") == "csv"
    with pytest.raises(LabelError, match="workbook"):
        guess_format(b"PK\x03\x04", "x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_content(encoding):
    texts = [
        "image,gore\nä.png,yes\n",
        '{"file_name":"ä.png","gore":"yes"}',
        json.dumps([task(annotation(None, chosen("gore", "yes")), image="ä.png")]),
        json.dumps(coco({"image_id": 1, "category_id": 1}, file_name="ä.png")),
    ]
    for text in texts:
        assert said(read(text.encode(encoding))) == [("ä.png", "gore", "positive", "me")]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "{", "[", "null", "[1]", "{}", '"x"', "[" * 100_000, '{"a":' * 100_000),
        *('[{"data": 1}]', '[{"data": {"image": 1}, "annotations": [{"result": []}]}]'),
        *('[{"data": {"image": "a"}, "annotations": [{"result": {}}]}]', '{"images": 1}'),
        *(
            '{"file_name": "\\ud800", "gore": "yes"}',
            "image\n",
            "\x00\x01",
            "image,gore\na,perhaps",
        ),
    ],
)
def test_what_is_not_of_the_format_is_told_in_one_sentence(format, text):
    with pytest.raises(LabelError, match=r"(?s)\. [A-Z].*"):
        read(text.encode(), format)


@pytest.mark.parametrize("format", ["csv", "label-studio", "coco", "imagefolder"])
def test_unknown_levels_are_refused_and_unknown_categories_are_listed(format):
    row = {"file_name": "a/1.png", "image": "a/1.png"}
    files = {
        "csv": lambda category, level: f"image,category,label\na,{category},{level}\na,gore,no\n",
        "label-studio": lambda category, level: [
            task(annotation(1, chosen(category, level))),
            task(annotation(2, chosen("gore", "no"))),
        ],
        "coco": lambda category, level: {
            "images": [{"id": 1, **row}, {"id": 2, **row, "neg_category_ids": [2]}],
            "categories": [{"id": 1, "name": category}, {"id": 2, "name": "gore"}],
            "annotations": [{"image_id": 1, "category_id": 1, "attributes": {"level": level}}],
        },
        "imagefolder": lambda category, level: json.dumps(
            {"file_name": "a", category: level, "gore" if category != "gore" else "x": "no"}
        ),
    }
    with pytest.raises(LabelError, match="'perhaps'"):
        read(files[format]("gore", "perhaps"), format)
    found = read(files[format]("kitten", "no"), format)
    assert {one.category for one in found.given} == {"gore"}
    assert "kitten" in "".join((*found.ignored, *found.notes))


@pytest.mark.parametrize("format", ["csv", "label-studio", "coco"])
def test_a_file_about_other_categories_is_refused(format):
    files = {
        "csv": "image,category,label\na,kitten,yes\n",
        "label-studio": [task(annotation(1, chosen("what", "kitten")))],
        "coco": {**coco({"image_id": 1, "category_id": 2})},
    }
    with pytest.raises(LabelError, match="none of the categories"):
        read(files[format], format)


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
