"""Label files as people write them, and the images that they mean."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.calibrate.labels import sheet as sheet_module
from clipcal.calibrate.labels.overall import read_overall
from clipcal.calibrate.labels.table import LabelTable, match_images, read_labels
from clipcal.errors import LabelError

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data is not at ../shared/data")


@pytest.fixture
def write(tmp_path: Path):
    def write_file(content: str | bytes, name: str = "human.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def as_dict(table: LabelTable) -> dict[str, dict[str, str | None]]:
    names = dict(enumerate(table.levels)) | {-1: None}
    return {
        image: {c: names[v] for c, v in zip(table.categories, row.tolist(), strict=True)}
        for image, row in zip(table.images, table.values, strict=True)
    }


# --- the kinds of file ----------------------------------------------------------------------


def test_wide_levels_are_read_and_other_columns_are_ignored(write):
    path = write(
        "Image,Sexual Content,Gore,Overall,Explanation\n"
        'p1,minor,no,questionable,"A couple, cuddling"\n'
        "p2,none,major,inappropriate,no\n"
    )
    table = read_labels(path)
    assert table.levels == ("none", "minor", "major")
    assert as_dict(table) == {
        "p1": {"Sexual Content": "minor", "Gore": "none"},
        "p2": {"Sexual Content": "none", "Gore": "major"},
    }
    assert table.ignored_columns == ("Overall", "Explanation")
    assert table.values.dtype == np.int8
    assert len(table.sha256) == 64


@pytest.mark.parametrize(
    ("yes", "no"),
    [("1", "0"), ("yes", "no"), ("TRUE", "FALSE"), ("Y", "n"), ("1.0", "0.0"), ("positive", "no")],
)
def test_every_way_to_say_yes_and_no_is_the_same_label(write, yes, no):
    table = read_labels(write(f"image,blood,knife\na,{yes},{no}\nb,{no},{yes}\nc,,{no}\n"))
    assert table.levels == ("negative", "positive")
    assert table.values.tolist() == [[1, 0], [0, 1], [-1, 0]]


def test_blank_beside_marks_is_no_but_beside_answers_is_unknown(write):
    marked = read_labels(write("image,blood,knife\na,x,\nb,,X\n"))
    assert marked.values.tolist() == [[1, 0], [0, 1]]
    assert any("blank" in note for note in marked.notes)
    answered = read_labels(write("image,blood,knife\na,x,\nb,no,X\n"))
    assert answered.values.tolist() == [[1, -1], [0, 1]]


@pytest.mark.parametrize("header", ["image,label", "file,label", "Path;Class"])
def test_in_a_file_of_classes_every_other_category_is_negative(write, header):
    sign = ";" if ";" in header else ","
    rows = "".join(f"{image}{sign}{name}\n" for image, name in [("a", "cat"), ("b", "dog")])
    table = read_labels(write(f"{header}\n{rows}"))
    assert as_dict(table) == {
        "a": {"cat": "positive", "dog": "negative"},
        "b": {"cat": "negative", "dog": "positive"},
    }


def test_classes_without_a_category_are_noted_and_negative(write):
    path = write("file,label,original_name\na,fire,1\nb,normal,2\nc,,3\n")
    table = read_labels(path, categories=["Fire"])
    assert table.categories == ("Fire",)
    assert table.values.tolist() == [[1], [0], [-1]]
    assert any("normal" in note for note in table.notes)


def test_long_files_take_the_majority_and_the_higher_level_of_a_tie(write):
    path = write(
        "image,category,label,annotator\n"
        "a,gore,none,ann\na,gore,major,bob\na,gore,none,cyd\n"
        "b,gore,none,ann\nb,gore,minor,bob\n"
        "c,attire,major,ann\n"
    )
    table = read_labels(path)
    assert as_dict(table) == {
        "a": {"attire": None, "gore": "none"},
        "b": {"attire": None, "gore": "minor"},
        "c": {"attire": "major", "gore": None},
    }
    (tie,) = (note for note in table.notes if "higher level: b (gore)" in note)
    assert tie.startswith("1 tie of raters")
    assert "--raters dawid-skene" in tie


def test_one_rater_twice_has_one_voice(write):
    rows = "a,gore,yes,ann\n" * 3 + "a,gore,no,bob\na,gore,no,cyd\n"
    table = read_labels(write("image,category,label,annotator\n" + rows))
    assert table.values.tolist() == [[0]]


def test_several_raters_of_a_wide_file_are_counted(write):
    table = read_labels(write("image,rater,gore\na,1,yes\na,2,yes\na,3,no\nb,1,no\n"))
    assert as_dict(table) == {"a": {"gore": "positive"}, "b": {"gore": "negative"}}


def test_several_raters_of_a_file_of_classes_are_counted(write):
    table = read_labels(
        write("image,label,annotator\na,cat,1\na,cat,2\na,dog,3\nb,dog,1\nb,cat,2\n")
    )
    assert table.values.tolist() == [[1, 0], [-1, -1]]


def test_counts_give_the_majority_class_and_a_tie_is_unknown(write):
    table = read_labels(write("image,cat,dog,owl\na,48,1,0\nb,20,20,3\nc,0,1,50\nd,0,0,0\n"))
    assert table.values.tolist() == [[1, 0, 0], [-1, -1, 0], [0, 0, 1], [-1, -1, -1]]


def test_ratings_on_a_scale_of_numbers_are_refused_rather_than_taken_for_counts(write):
    with pytest.raises(LabelError, match=r"human\.csv:2: '5'"):
        read_labels(write("image,gore,attire\na,5,4\nb,1,1\nc,0,3\n"))


def test_row_numbers_and_totals_are_no_classes(write):
    table = read_labels(write(",image,cat,dog,Total\n0,a,9,1,10\n1,b,2,8,10\n"))
    assert table.categories == ("cat", "dog")
    assert table.values.tolist() == [[1, 0], [0, 1]]


def test_counts_weigh_classes_that_are_no_category(write):
    path = write("image,cat,dog\na,3,48\nb,40,2\n")
    assert read_labels(path, categories=["cat"]).values.tolist() == [[0], [1]]


def test_levels_written_as_numbers_are_levels_not_counts(write):
    table = read_labels(
        write("image,gore,attire\na,0,2\nb,1,0\n"), levels=("none", "minor", "major")
    )
    assert table.levels == ("none", "minor", "major")
    assert table.values.tolist() == [[0, 2], [1, 0]]


def test_yes_and_no_for_a_set_with_levels_stays_yes_and_no(write):
    table = read_labels(write("image,gore\na,yes\nb,no\n"), levels=("none", "minor", "major"))
    assert table.levels == ("negative", "positive")
    assert any("apart" in note for note in table.notes)
    low = read_labels(write("image,gore\na,no\nb,no\n"), levels=("none", "minor", "major"))
    assert low.levels == ("none", "minor", "major")


# --- how people's programs write ------------------------------------------------------------

PLAIN = "image,Hand Signs,gore\nbüro/1.jpg,yes,no\n2.jpg,no,yes\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("cp1252"),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        ("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n")).encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n,,\n").encode(),
        PLAIN.replace(",", " , ").encode(),
        b'"image","Hand Signs","gore"\n"b\xc3\xbcro/1.jpg","yes","no"\n"2.jpg","no","yes"\n',
    ],
)
def test_every_encoding_delimiter_and_quoting_reads_the_same(write, content):
    table = read_labels(write(content), categories=["hand_signs", "Gore"])
    assert table.images == ("büro/1.jpg", "2.jpg")
    assert table.categories == ("hand_signs", "Gore")
    assert table.values.tolist() == [[1, 0], [0, 1]]


def test_repeated_rows_merge_and_contradictions_are_unknown(write):
    table = read_labels(write("image,gore,knife\na,yes,no\na,yes,yes\na,,no\nb,no,no\n"))
    assert as_dict(table) == {
        "a": {"gore": "positive", "knife": None},
        "b": {"gore": "negative", "knife": "negative"},
    }
    assert any("contradict" in note and "a (knife)" in note for note in table.notes)


def test_an_image_of_two_classes_is_unknown_for_both(write):
    table = read_labels(write("image,label\na,cat\na,dog\na,cat\nb,owl\nb,owl\n"))
    assert as_dict(table)["a"] == {"cat": None, "dog": None, "owl": "negative"}
    assert as_dict(table)["b"]["owl"] == "positive"


@pytest.mark.parametrize(
    "cell",
    ['"gore, Attire"', '"[""gore""]"', "\"['gore', 'dog']\"", "gore|dog", '"{""gore"": true}"'],
)
def test_an_image_with_a_list_for_its_class_is_unknown_and_not_without_them(write, cell):
    rows = ["image,class,rater", f"a.jpg,{cell},ann", "a.jpg,dog,bob", "b.jpg,gore,ann"]
    table = read_labels(write("\n".join(rows)), categories=["gore", "attire"])
    assert as_dict(table) == {"a.jpg": {"gore": None}, "b.jpg": {"gore": "positive"}}
    assert any("several classes in one cell" in n and "a.jpg" in n for n in table.notes)
    assert table.votes is None or set(table.votes.image.tolist()) == {1}


def test_a_class_that_has_a_comma_in_its_name_is_one_class(write):
    rows = ["image,class", 'a.jpg,"beer, wine"', 'b.jpg,"cat, tabby"']
    table = read_labels(write("\n".join(rows)), categories=["beer, wine"])
    assert table.values.tolist() == [[1], [0]]


def test_an_unknown_label_names_its_line_itself_and_the_known_ones(write):
    path = write('image,gore,Explanation\na,minor,"two\nlines"\n\nb,majr,\n')
    with pytest.raises(LabelError, match=r"human\.csv:5: 'majr' .*'gore'.*none.*minor.*major"):
        read_labels(path)


def test_rows_without_an_image_are_noted(write):
    table = read_labels(write("image,gore\na,yes\n,no\nb,no\n"))
    assert table.images == ("a", "b")
    assert any("human.csv:3" in note for note in table.notes)


def test_categories_that_the_file_lacks_are_noted(write):
    table = read_labels(write("image,gore\na,yes\n"), categories=["knife", "gore"])
    assert table.categories == ("gore",)
    assert any("knife" in note for note in table.notes)


def test_a_single_column_of_answers_serves_the_single_category(write):
    table = read_labels(write("image,label\na,1\nb,0\n"), categories=["fire"])
    assert table.categories == ("fire",)
    assert table.values.tolist() == [[1], [0]]
    assert any("'label'" in note for note in table.notes)


@pytest.mark.parametrize("name", ["positive", "Present", "answer", "human", "Value"])
def test_every_general_name_serves_the_single_category(write, name):
    table = read_labels(write(f"image,{name}\na,1\nb,0\n"), categories=["fire"])
    assert table.values.tolist() == [[1], [0]]


@pytest.mark.parametrize("name", ["smoke", "reviewed", "blurred"])
def test_a_single_column_about_something_else_is_refused_with_the_remedy(write, name):
    with pytest.raises(LabelError, match=rf"'{name}'.*'fire'.*rename the column"):
        read_labels(write(f"image,{name}\na,1\nb,0\n"), categories=["fire"])
    assert read_labels(write(f"image,{name}\na,1\nb,0\n")).categories == (name,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,gore\na,yes\n", ["name, gore", "image", "file"]),
        ("", ["no labels"]),
        ("image,gore\n", ["no labels"]),
        (b"PK\x03\x04rest", ["workbook", "CSV"]),
        (b"\x00" + bytes(range(256)) * 2, ["no text file", "CSV"]),
        ("image,gore\na,yes,surplus\n", ["human.csv:2", "3 cells"]),
        ('image,gore\na,"yes\nb,no\n', ["human.csv:2", "quotes"]),
        ("image,gore,Gore\na,yes,no\n", ["two columns"]),
        ("image,gore\n,yes\n,no\n", ["no row names an image"]),
        ("image,width\na,100\n", ["no column of labels", "width"]),
    ],
)
def test_a_file_that_cannot_be_read_says_what_is_there_and_what_is_needed(write, content, words):
    with pytest.raises(LabelError) as caught:
        read_labels(write(content))
    assert all(word in str(caught.value) for word in [*words, "run the same command"])


@pytest.mark.parametrize(
    "content",
    [
        "image,gore,attire\na,yes,no\n",
        "image,label\na,gore\nb,attire\n",
        "image,gore,attire\na,3,40\n",
        "image,category,label\na,gore,yes\na,attire,no\n",
    ],
)
def test_no_category_in_the_file_shows_both_lists(write, content):
    with pytest.raises(LabelError, match=r"gore.*attire.*knife.*blood"):
        read_labels(write(content), categories=["knife", "blood"])


def test_a_missing_file_is_a_label_error(tmp_path):
    with pytest.raises(LabelError, match="nowhere"):
        read_labels(tmp_path / "nowhere.csv")


@given(
    st.lists(
        st.lists(st.text(' \t\u00a0ab,"\n', max_size=4), min_size=2, max_size=4),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 5),
    st.sampled_from([0, 10**9]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=300, deadline=None)
def test_a_sheet_is_what_the_csv_module_reads_row_by_row(
    tmp_path_factory, rows, at_once, large, quoting, ending
):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=quoting, lineterminator=ending)
    writer.writerow(["image", "x", "y", "z"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("sheets") / "human.csv"
    path.write_bytes(stream.getvalue().encode())
    expected, line = [], 1
    reader = csv.reader(io.StringIO(stream.getvalue(), newline=""), skipinitialspace=True)
    for record in reader:
        cells = [cell.strip() for cell in record]
        if any(cells):
            expected.append((line, [*cells, "", "", "", ""][:4]))
        line = reader.line_num + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheet_module, "_ROWS_AT_ONCE", at_once)
        patch.setattr(sheet_module, "_LARGE", large)
        if len(expected) == 1:
            with pytest.raises(LabelError, match="no labels"):
                sheet_module.read_sheet(path)
            return
        sheet = sheet_module.read_sheet(path)
    found = [[column[row] for column in sheet.columns] for row in range(len(sheet.lines))]
    assert [(sheet.lines[row], cells) for row, cells in enumerate(found)] == expected[1:]
    for column in sheet.columns:
        assert list(column.counts()) == list(dict.fromkeys(column[i] for i in range(len(found))))


@given(st.text('a ,\t"\n\r;', max_size=30), st.sampled_from(["", "\n", "sep=;\n", "\ufeff"]))
@settings(max_examples=500, deadline=None)
def test_the_fast_way_to_read_gives_what_the_slow_one_gives_or_gives_up(text, before):
    whole, delimiter = sheet_module._delimiter(f"{before}image,x\n{text}")
    plain = sheet_module._read_plain(whole, delimiter)
    if plain is None:
        return
    records = sheet_module._records(whole, delimiter, Path("human.csv"))
    header = tuple(cell.strip() for cell in next(records)[1])
    columns, lines = sheet_module._columns(records, header, Path("human.csv"))
    assert plain[0] == header
    assert plain[2].tolist() == lines.tolist()
    assert [c.words for c in plain[1]] == [c.words for c in columns]
    assert [c.codes.tolist() for c in plain[1]] == [c.codes.tolist() for c in columns]


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("image,x\na,yes\nb,no\n", True),
        ('image,x\r\n"a, ""b""",yes\r\n,\r\n"b",""\r\n', True),
        ('image,x\na, "yes"\n', False),
        ('image,x\n"a\nb",yes\n', False),
        ("image,x\na,yes\n\nb,no\n", False),
        ("image,x\na\nb,no\n", False),
        ('image,x\na",yes\nb,"no\n', False),
    ],
)
def test_the_fast_way_is_taken_by_plain_files_only(text, fast):
    assert (sheet_module._read_plain(text, ",") is not None) is fast


def test_order_of_rows_changes_no_label(write):
    rows = ["a,yes,no", "b,no,", "a,yes,yes", "c,,yes"]
    one = as_dict(read_labels(write("image,x1,x2\n" + "\n".join(rows))))
    other = as_dict(read_labels(write("image,x1,x2\n" + "\n".join(reversed(rows)))))
    assert one == other


def test_a_hundred_thousand_rows_are_read_in_seconds(write):
    path = write("image,a,b,c\n" + "".join(f"{i}.jpg,yes,no,\n" for i in range(100_000)))
    start = time.process_time()
    assert len(read_labels(path).images) == 100_000
    assert time.process_time() - start < 4  # unloaded it takes a sixth of that


@needs_data
def test_the_published_study_has_eight_posts_and_six_dimensions():
    table = read_labels(DATA / "posts" / "human_annotations.csv")
    assert table.categories == (
        *("Attire", "Sexual Content", "Gestures"),
        *("Substances", "Violence", "Gore"),
    )
    assert len(table.images) == 8
    assert (table.values == 2).sum(axis=0).tolist() == [2, 2, 1, 1, 1, 1]


@needs_data
def test_counts_of_raters_give_the_majority_file():
    folder = DATA / "cifar10h-vitb32"
    human = read_labels(folder / "human.csv")
    counts = read_labels(folder / "rater_counts.csv", categories=human.categories)
    assert counts.images == human.images
    assert np.array_equal(counts.values, human.values)


# --- the overall verdict --------------------------------------------------------------------

VERDICTS = ("appropriate", "questionable", "inappropriate")


def test_verdicts_are_read_in_their_order_whatever_their_case(write):
    path = write("image,gore,Overall\na,no,Questionable\nb,no,\nc,no, APPROPRIATE \n")
    images, codes = read_overall(path, VERDICTS)
    assert images == read_labels(path).images == ("a", "b", "c")
    assert codes.tolist() == [1, -1, 0]
    assert codes.dtype == np.int8


def test_contradictory_verdicts_are_unknown_and_raters_have_a_majority(write):
    alone = write("image,Overall\na,appropriate\na,questionable\nb,inappropriate\n")
    assert read_overall(alone, VERDICTS)[1].tolist() == [-1, 2]
    raters = write(
        "image,rater,Overall\na,1,appropriate\na,2,questionable\n"
        "b,1,appropriate\nb,2,appropriate\nb,3,inappropriate\n"
    )
    assert read_overall(raters, VERDICTS)[1].tolist() == [1, 0]


@pytest.mark.parametrize("content", ["image,gore\na,yes\n", "image,gore,overall\na,yes,3\n"])
def test_a_file_without_verdicts_has_none(write, content):
    assert read_overall(write(content), VERDICTS) is None


def test_an_unknown_verdict_among_known_ones_names_its_line(write):
    path = write("image,Overall\na,appropriate\nb,questionabel\n")
    with pytest.raises(LabelError, match=r"human\.csv:3: 'questionabel' .*'Overall'.*appropriate"):
        read_overall(path, VERDICTS)


# --- matching -------------------------------------------------------------------------------

CORPUS = ("/data/x/images/00001.png", "/data/x/images/00002.png", "/data/y/images/00002.png")
HASHES = tuple(f"{i:064x}" for i in range(3))


@pytest.mark.parametrize(
    "image",
    [
        "/data/x/images/00001.png",
        "images/00001.png",
        "./images/00001.png",
        "images\\00001.png",
        "C:\\people\\data\\x\\images\\00001.png",
        "file:///data/x/images/00001.png",
        "00001.png",
        "IMAGES/00001.PNG",
        "00001",
        "elsewhere/00001.jpg",
        HASHES[0],
        HASHES[0].upper(),
    ],
)
def test_an_image_is_found_by_uri_path_name_stem_or_content(image):
    match = match_images([image], CORPUS, HASHES)
    assert match.rows.tolist() == [0]
    assert match.unmatched == match.ambiguous == ()


def test_an_encoded_uri_is_its_path():
    assert match_images(["my pics/é 1.png"], ["file:///a/my%20pics/%C3%A9%201.png"], [""]).rows == 0
    assert match_images(["file:///b/a%20b.png"], ["b/a b.png"], [""]).rows.tolist() == [0]
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    assert match_images([composed], [decomposed], [""]).rows.tolist() == [0]


def test_the_end_of_a_path_counts_by_whole_components():
    match = match_images(["es/00001.png"], ["/data/images/a.png", "/notes/00001x.png"], ["", ""])
    assert match.unmatched == ("es/00001.png",)
    assert match.rows.tolist() == [-1]


def test_different_images_are_listed_and_never_guessed():
    match = match_images(["00002.png", "x/images/00002.png"], CORPUS, HASHES)
    assert match.rows.tolist() == [-1, 1]
    assert match.ambiguous == (("00002.png", CORPUS[1:]),)


def test_copies_of_one_content_are_no_ambiguity():
    match = match_images(["00002.png"], CORPUS, [HASHES[0], HASHES[1], HASHES[1]])
    assert match.rows.tolist() == [1]
    without_hashes = match_images(["00002.png"], CORPUS, ["", "", ""])
    assert without_hashes.rows.tolist() == [-1]


def test_the_case_as_written_goes_first():
    match = match_images(["a.png", "A.png", "a.PNG"], ["x/A.png", "x/a.png"], ["", "1"])
    assert match.rows.tolist() == [1, 0, -1]
    assert [image for image, _ in match.ambiguous] == ["a.PNG"]


def test_a_name_claimed_from_two_folders_is_not_guessed():
    match = match_images(["train/1.png", "test/1.png"], ["corpus/test/1.png"], [""])
    assert match.rows.tolist() == [-1, 0]
    assert match.ambiguous == (("train/1.png", ("corpus/test/1.png",)),)


@given(st.permutations(range(len(CORPUS))))
def test_the_order_of_the_corpus_changes_no_match(order):
    images = ["00001", "y/images/00002.png", "00002", "none"]
    plain = match_images(images, CORPUS, HASHES)
    mixed = match_images(images, [CORPUS[i] for i in order], [HASHES[i] for i in order])
    found = [-1 if row < 0 else order[row] for row in mixed.rows.tolist()]
    assert found == plain.rows.tolist()
    assert mixed.unmatched == plain.unmatched


def test_a_hundred_thousand_images_are_matched_in_seconds():
    uris = [f"/data/{i % 100}/IMG_{i:06d}.JPG" for i in range(100_000)]
    images = [f"img_{i:06d}" for i in range(100_000)]
    start = time.process_time()
    assert (match_images(images, uris, [""] * len(uris)).rows == np.arange(100_000)).all()
    assert time.process_time() - start < 6  # unloaded it takes a fifth of that
