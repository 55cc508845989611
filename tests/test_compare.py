"""Laws of comparing people's judgements with predicted ones, and of telling how raters agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix, precision_score, recall_score

from clipcal.calibrate.comparison.compare import compare_files
from clipcal.calibrate.comparison.records import Comparison
from clipcal.calibrate.decisions.rescore import Decisions, write_csv
from clipcal.cli import app
from clipcal.errors import LabelError

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data is not at ../shared/data")
POSTS = DATA / "posts" / "human_annotations.csv"
VOC = DATA / "voc2000" / "labels.csv"

HUMAN = (
    "Image,Attire,Gore,Overall,Explanation\n"
    "p1,no,no,appropriate,\np2,minor,major,inappropriate,bad\np3,major,no,questionable,\n"
)


@pytest.fixture
def write(tmp_path: Path):
    def write_file(content: str, name: str = "human.csv") -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def compare(write):
    def compare_texts(human: str, predicted: str, **options: object) -> Comparison:
        return compare_files(write(human), write(predicted, "predicted.csv"), **options)

    return compare_texts


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def mismatches(compared: Comparison) -> dict[str, tuple[str, ...]]:
    return {one.image: one.mismatched for one in compared.images}


# --- ratings --------------------------------------------------------------------------------


def test_exactly_the_dimensions_that_differ_are_mismatched(compare):
    compared = compare(HUMAN, HUMAN.replace("p2,minor,major", "p2,no,minor"))
    assert compared.kind == "ratings"
    assert mismatches(compared) == {"p1": (), "p2": ("Attire", "Gore"), "p3": ()}
    assert compared.accuracy.value == pytest.approx(4 / 6)
    assert compared.accuracy.n == 6
    assert compared.dimensions["Gore"].confusion == ((2, 0, 0), (0, 0, 0), (0, 1, 0))
    assert compared.dimensions["Gore"].levels == ("none", "minor", "major")


levels = st.sampled_from(["no", "minor", "major", ""])
rows = st.lists(st.tuples(levels, levels, levels, levels), min_size=1, max_size=15)


@given(rows, st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_numbers_are_those_of_scikit_learn_whatever_the_order(tmp_path_factory, cells, random):
    folder = tmp_path_factory.mktemp("compare")
    cells = [*cells, ("minor", "major", "minor", "no")]  # that levels can be told
    human = [f"i{place},{a},{b}" for place, (a, b, _, _) in enumerate(cells)]
    predicted = [f"i{place},{d},{c}" for place, (_, _, c, d) in enumerate(cells)]
    random.shuffle(predicted)
    (folder / "h.csv").write_text("image,attire,gore\n" + "\n".join(human))
    (folder / "p.csv").write_text("image,Gore,Attire\n" + "\n".join(predicted))
    compared = compare_files(folder / "h.csv", folder / "p.csv")
    order = ["no", "minor", "major"]
    pooled = []
    for name, pick in (("attire", lambda c: (c[0], c[2])), ("gore", lambda c: (c[1], c[3]))):
        both = [pair for pair in map(pick, cells) if all(pair)]
        pooled += both
        found = compared.dimensions[name]
        assert found.n == len(both)
        a, b = ([order.index(pair[side]) for pair in both] for side in (0, 1))
        assert np.array_equal(found.confusion, confusion_matrix(a, b, labels=range(3)))
        assert found.agreement.value == pytest.approx(np.mean(np.equal(a, b)))
        if len(set(a)) > 1 and len(set(b)) > 1:
            expected = cohen_kappa_score(a, b, labels=range(3), weights="quadratic")
            assert found.kappa.value == pytest.approx(expected)
        else:
            assert found.kappa is None
    assert compared.accuracy.n == len(pooled)
    assert compared.accuracy.value == pytest.approx(np.mean([a == b for a, b in pooled]))
    for image, missed in mismatches(compared).items():
        a, b, c, d = cells[int(image[1:])]
        differ = [("attire", a, c), ("gore", b, d)]
        assert list(missed) == [name for name, x, y in differ if x and y and x != y]


@needs_data
def test_the_published_study_agrees_with_itself_and_differs_where_it_was_changed(tmp_path):
    same = compare_files(POSTS, POSTS)
    assert set(mismatches(same).values()) == {()}
    assert same.accuracy.value == same.kappa.value == same.overall_agreement.value == 1
    assert same.accuracy.low == pytest.approx(0.676, abs=1e-3)  # eight images are few
    changed = tmp_path / "clip.csv"
    text = POSTS.read_text(encoding="utf-8")
    text = text.replace("post1,no,minor", "post1,major,no").replace(
        "post4,no,no,no,no,no,no,appropriate", "post4,no,no,no,no,no,no,Questionable"
    )
    changed.write_text(text, encoding="utf-8")
    compared = compare_files(POSTS, changed)
    assert mismatches(compared)["post1"] == ("Attire", "Sexual Content")
    assert compared.accuracy.value == pytest.approx(46 / 48)
    assert compared.overall_agreement.value == pytest.approx(7 / 8)
    fourth = next(one for one in compared.images if one.image == "post4")
    assert (fourth.mismatched, fourth.overall_match) == ((), False)
    assert fourth.predicted_overall == "questionable"  # as the file writes it first


def test_overall_verdicts_are_any_words_without_regard_to_case(compare):
    one = "image,gore,Overall\na,yes,Keep\nb,no,throw away\nc,no,\n"
    other = "image,gore,overall\na,yes,KEEP\nb,no,sell\nc,no,keep\n"
    compared = compare(one, other)
    assert [image.overall_match for image in compared.images] == [True, False, None]
    assert compared.overall_agreement.n == 2
    assert compare(one, "image,gore\na,yes\nb,no\n").overall_agreement is None


def test_what_rescore_writes_is_read_and_its_scores_are_left_out(write, tmp_path):
    values = np.array([[0, 2], [-1, 0], [2, 0]], np.int8)
    decided = Decisions(
        ("Attire", "Gore"),
        ("none", "minor", "major"),
        np.array([[0.1, 0.9], [0.2, 0.3], [0.0, 1.0]], np.float32),
        np.array([[0.5, 0.5], [0.7, np.inf]]),
        values,
    )
    path = tmp_path / "decisions.csv"
    uris = ["/data/pics/p1.jpg", "/data/pics/p2.jpg", "/data/pics/p9.jpg"]
    write_csv(decided, uris, path, ["inappropriate", None, "appropriate"])
    compared = compare_files(write(HUMAN), path)
    assert mismatches(compared) == {"p1": ("Gore",), "p2": ("Gore",)}
    assert list(compared.dimensions) == ["Attire", "Gore"]
    assert compared.dimensions["Attire"].n == 1
    assert [one.overall_match for one in compared.images] == [False, None]
    assert compared.unmatched == ("p3",)
    assert compared.only_predicted == 1


def test_decisions_of_yes_and_no_are_compared_with_classes(compare):
    compared = compare(
        "image,label\na,cat\nb,dog\nc,dog\n",
        "image,cat_score,cat_threshold,cat,dog_score,dog_threshold,dog\n"
        "a,0.3,0.1,1,0.0,0.2,0\nb,0.3,0.1,1,0.3,0.2,1\nc,0.0,0.1,0,0.3,0.2,1\n",
    )
    assert compared.kind == "ratings"
    assert mismatches(compared) == {"a": (), "b": ("cat",), "c": ()}


def test_levels_against_yes_or_no_are_compared_as_yes_or_no(compare):
    compared = compare(HUMAN, "image,attire,gore\np1,0,1\np2,1,1\np3,1,0\n")
    assert mismatches(compared) == {"p1": ("Gore",), "p2": (), "p3": ()}
    assert any("yes or no" in note for note in compared.notes)


def test_a_file_in_which_everything_is_no_has_the_levels_of_the_other(compare):
    compared = compare(HUMAN, "image,attire,gore\np1,no,no\np2,no,no\np3,no,no\n")
    assert mismatches(compared) == {"p1": (), "p2": ("Attire", "Gore"), "p3": ("Attire",)}
    assert compared.dimensions["Gore"].levels == ("none", "minor", "major")


def test_a_file_that_says_the_same_of_every_image_leaves_kappa_unknown(compare):
    human = "image,gore,knife\na,yes,yes\nb,no,no\nc,no,yes\n"
    compared = compare(human, "image,gore,knife\na,no,yes\nb,no,no\nc,no,yes\n")
    assert compared.dimensions["gore"].kappa is None
    assert compared.dimensions["knife"].kappa.value == 1
    assert -1 <= compared.dimensions["knife"].kappa.low < 1
    assert compared.kappa is not None


def test_levels_can_be_named(compare):
    text = "image,heat\na,cold\nb,hot\nc,warm\n"
    compared = compare(text, text.replace("warm", "hot"), levels=("cold", "warm", "hot"))
    assert compared.dimensions["heat"].confusion == ((1, 0, 0), (0, 0, 1), (0, 0, 1))


# --- images ---------------------------------------------------------------------------------


def test_images_are_matched_as_label_files_are_and_the_others_listed(compare):
    human = "image,gore\np1,yes\nx/2.jpg,no\n3,yes\n4,no\n"
    predicted = (
        "image,gore\n/a/p1.png,yes\n/b/x/2.jpg,yes\n/c/3.jpg,no\n/d/3.jpg,yes\n/e/5.jpg,no\n"
    )
    compared = compare(human, predicted)
    assert mismatches(compared) == {"p1": (), "x/2.jpg": ("gore",)}
    assert compared.unmatched == ("4",)
    assert compared.ambiguous == ("3",)
    assert compared.only_predicted == 3


def test_one_predicted_image_serves_one_human_label_only(compare):
    compared = compare("image,gore\n1.jpg,yes\n1.png,no\n2,no\n", "image,gore\n1,yes\n2,no\n")
    assert mismatches(compared) == {"2": ()}
    assert compared.ambiguous == ("1.jpg", "1.png")


def test_several_raters_are_compared_by_their_majority(compare):
    human = "image,rater,gore\na,1,no\na,2,yes\na,3,yes\nb,1,no\nb,2,no\n"
    compared = compare(human, "image,gore\na,no\nb,no\n")
    assert mismatches(compared) == {"a": ("gore",), "b": ()}


@pytest.mark.parametrize(
    ("human", "predicted", "words"),
    [
        (HUMAN, "image,Attire\nq1,no\nq2,minor\n", ["no image in common", "p1", "q1"]),
        (HUMAN, "image,heat,rain\np1,no,minor\n", ["no dimension in common", "Gore", "heat"]),
        ("image,gore\na,yes\nb,\n", "image,gore\na,\nb,no\n", ["blank"]),
        ("image,label\na,cat\nb,\n", "image,label\na,\nb,dog\n", ["blank"]),
    ],
)
def test_nothing_in_common_is_an_error_that_shows_both(compare, human, predicted, words):
    with pytest.raises(LabelError) as caught:
        compare(human, predicted)
    assert all(word in str(caught.value) for word in [*words, "clipcal compare"])


# --- classes --------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    "arguments",
    [
        (VOC, "--human", "human", "--predicted", "clip"),
        (VOC, VOC, "--human", "human", "--predicted", "clip"),
        (VOC, VOC),
        (VOC,),
    ],
)
def test_the_published_classes_give_the_published_accuracy(arguments):
    found = json.loads(run("compare", *arguments, "--json").stdout)
    assert found["kind"] == "classes"
    assert found["accuracy"] == pytest.approx(0.793)
    assert found["worst"] == "chair"
    top = found["confusions"][0]
    assert (top["human"], top["predicted"]) == ("chair", "person")


@needs_data
def test_the_numbers_of_each_class_are_those_of_scikit_learn():
    with VOC.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    human, clip = [row["human"] for row in table], [row["clip"] for row in table]
    compared = compare_files(VOC)
    assert compared.kappa.value == pytest.approx(cohen_kappa_score(human, clip))
    for name, found in compared.dimensions.items():
        one = {"labels": [name], "average": "macro"}
        assert found.agreement.value == pytest.approx(recall_score(human, clip, **one))
        assert found.precision.value == pytest.approx(precision_score(human, clip, **one))
        assert sum(found.confusion.values()) == 2000
    names = sorted({*human, *clip})
    table = confusion_matrix(human, clip, labels=names)
    for one in compared.confusions:
        assert one.n == table[names.index(one.human), names.index(one.predicted)]
    assert sum(one.n for one in compared.confusions) == table.sum() - np.trace(table)


def test_classes_are_the_same_without_regard_to_case_and_separators(compare):
    compared = compare(
        "image,label\na,TV Monitor\nb,cat\nc,\nd,cat\n",
        "image,label\na,tv_monitor\nb,dog\nc,cat\nd,Cat\n",
    )
    assert mismatches(compared) == {"a": (), "b": ("class",), "c": (), "d": ()}
    assert [one.overall_match for one in compared.images] == [True, False, None, True]
    assert [one.predicted_overall for one in compared.images] == ["TV Monitor", "dog", "cat", "cat"]
    assert compared.accuracy.n == 3
    assert compared.dimensions["dog"].agreement is None
    assert compared.dimensions["cat"].n == 2
    assert any("1 images have no class" in note for note in compared.notes)


def test_a_named_column_of_yes_and_no_is_read_as_two_classes(compare):
    text = "image,fire,model\na,1,1\nb,0,1\nc,0,0\n"
    compared = compare(text, text, human_column="Fire", predicted_column="model")
    assert compared.accuracy.value == pytest.approx(2 / 3)
    assert [(c.human, c.predicted) for c in compared.confusions] == [("0", "1")]


def test_a_column_that_is_not_there_is_named_with_those_that_are(compare):
    text = "image,human,clip\na,cat,dog\n"
    with pytest.raises(LabelError, match=r"no column 'clap'.*human, clip"):
        compare(text, text, predicted_column="clap")


def test_one_set_of_judgements_is_not_compared_with_itself(write):
    with pytest.raises(LabelError, match="two are compared"):
        compare_files(write(HUMAN))
    with pytest.raises(LabelError, match="two are compared"):
        compare_files(write("image,label\na,cat\nb,dog\n"))


# --- the commands ---------------------------------------------------------------------------


def test_the_difference_table_is_written_and_told(write, tmp_path):
    human, clip = write(HUMAN), write(HUMAN.replace("p2,minor,major,in", "p2,no,no,"), "clip.csv")
    table = tmp_path / "differences.csv"
    done = run("compare", human, clip, "-o", table)
    assert done.exit_code == 0
    assert "1 of 3 images differ" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if "p2" in line] == [
        ["p2", "Attire", "minor", "none"],
        ["p2", "Gore", "major", "none"],
        ["p2", "overall", "inappropriate", "appropriate"],
    ]
    assert table.read_text(encoding="utf-8").splitlines() == [
        "image,dimension,human,predicted",
        "p2,Attire,minor,none",
        "p2,Gore,major,none",
        "p2,overall,inappropriate,appropriate",
    ]
    result = json.loads(run("compare", human, clip, "--json").stdout)
    assert result["images"][1] == {
        "image": "p2",
        "mismatched": ["Attire", "Gore"],
        "human": ["minor", "major"],
        "predicted": ["none", "none"],
        "overall_match": False,
        "human_overall": "inappropriate",
        "predicted_overall": "appropriate",
    }
    assert set(result["dimensions"]["Gore"]["agreement"]) == {"value", "low", "high", "n"}
    assert result["dimensions"]["Gore"]["confusion"] == [[2, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert result["overall_agreement"] == pytest.approx(2 / 3)
    assert result["intervals"]["overall_agreement"]["value"] == result["overall_agreement"]


def test_classes_differ_in_one_row_each_and_files_without_verdicts_name_none(write, tmp_path):
    human = write("image,label\na,cat\nb,dog\n")
    table = tmp_path / "differences.csv"
    run("compare", human, write("image,label\na,cat\nb,cat\n", "clip.csv"), "-o", table)
    assert table.read_text(encoding="utf-8").splitlines()[1:] == ["b,class,dog,cat"]
    human = write("image,gore\na,yes\nb,no\n")
    told = run("compare", human, write("image,gore\na,no\nb,no\n", "clip.csv")).stdout
    assert "verall" not in told
    same = write("image,gore\na,yes\nb,no\n", "same.csv")
    assert "0 of 2 images differ.\n" in run("compare", human, same).stdout


def test_an_input_is_never_overwritten(write):
    human = write(HUMAN)
    assert run("compare", human, human, "-o", human).exit_code == 2
    assert run("agreement", human, "-o", human).exit_code == 2
    assert human.read_text() == HUMAN


RATINGS = (
    "image,annotator,gore,attire\n"
    "a,1,no,no\na,2,no,no\na,3,major,no\nb,1,major,minor\nb,2,no,minor\nb,3,minor,minor\n"
    "c,1,major,major\nc,2,major,major\nc,3,major,major\nd,1,no,no\n"
)


def test_disputed_images_are_listed_the_most_disputed_first(write, tmp_path):
    path, table = write(RATINGS), tmp_path / "adjudicate.csv"
    found = json.loads(run("agreement", path, "-o", table, "--json").stdout)
    assert found["raters"] == 3
    assert (found["categories"]["gore"]["images"], found["categories"]["gore"]["ratings"]) == (3, 9)
    assert found["categories"]["attire"]["alpha"]["value"] == 1
    assert (
        found["categories"]["gore"]["kappa"]["low"] < found["categories"]["gore"]["kappa"]["high"]
    )
    assert [(one["image"], one["category"]) for one in found["disputed"]] == [
        ("b", "gore"),
        ("a", "gore"),
    ]
    assert found["disputed"][0]["entropy"] == pytest.approx(np.log2(3))
    assert found["disputed"][1]["against"] == pytest.approx(1 / 3)
    assert table.read_text(encoding="utf-8").splitlines() == [
        "image,category,none,minor,major,majority",
        "b,gore,1,1,1,major",
        "a,gore,2,0,1,none",
    ]


def test_agreement_is_told_in_tables(write):
    done = run("agreement", write(RATINGS), "--levels", "none,minor,major")
    assert done.exit_code == 0
    assert "Human ceiling" in done.stdout
    assert "Ceiling's kappa" in done.stdout
    assert "Most disputed" in done.stdout
    unanimous = run("agreement", write("image,rater,gore\na,1,yes\na,2,yes\nb,1,no\nb,2,no\n"))
    assert "Nobody disagrees" in unanimous.stdout


@pytest.mark.parametrize(
    "content",
    [
        "image,gore\na,yes\nb,no\n",
        "image,label\na,cat\nb,dog\n",
        "image,rater,gore\na,1,yes\nb,2,no\n",
    ],
)
def test_one_rating_per_image_is_an_error_with_the_remedy(write, content):
    done = run("agreement", write(content))
    assert done.exit_code == 1
    assert isinstance(done.exception, LabelError)
    assert "one rating per image" in str(done.exception)
    assert "annotator" in str(done.exception)


@needs_data
def test_counts_of_raters_have_an_agreement_but_no_pairs():
    path = DATA / "cifar10h-vitb32" / "rater_counts.csv"
    found = json.loads(run("agreement", path, "--json").stdout)
    cat = found["categories"]["cat"]
    assert cat["kappa"] is found["raters"] is None
    assert 0.8 < cat["alpha"]["low"] < cat["alpha"]["high"] < 0.95
    assert cat["ceiling"]["value"] > 0.95
