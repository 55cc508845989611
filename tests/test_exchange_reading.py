"""Laws of reading other tools' label files: what they say, and what they do not."""

from __future__ import annotations

import json

import pytest
from exchange_case import LEVELS, coco, read, said

from clipcal.calibrate.labels.exchange.files import guess_format
from clipcal.calibrate.labels.exchange.label_studio_reading import file_name
from clipcal.calibrate.labels.exchange.records import FORMATS
from clipcal.errors import LabelError

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


# --- COCO -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("header", "format"),
    [
        ("image_file_name,gore", "csv"),
        ("image,file_name_of_the_mask,gore", "csv"),
        ('image,"gore, as in file_name",x', "csv"),
        ('"file_name","gore"', "imagefolder"),
        ("gore\t File_Name ", "imagefolder"),
        ("sep=;\r\nfile_name;gore", "imagefolder"),
        ("\n\ngore|file_name", "imagefolder"),
    ],
)
def test_a_sheet_is_an_imagefolders_where_a_whole_heading_says_so(header, format):
    assert guess_format(f"{header}\na,b\n".encode(), "x") == format
    assert guess_format(header.encode("utf-16"), "x") == format


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
