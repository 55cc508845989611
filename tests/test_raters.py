"""Laws of several raters: what each of them said is kept, and good ones count for more."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.calibrate.labels.table import LabelTable, read_labels
from clipcal.calibrate.statistics.raters import dawid_skene, most_probable
from clipcal.errors import LabelError

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data is not at ../shared/data")


@pytest.fixture
def write(tmp_path: Path):
    def write_file(content: str) -> Path:
        path = tmp_path / "human.csv"
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


def said(table: LabelTable) -> set[tuple[str, str, str, str]]:
    """Every vote by its names: image, category, rater, level."""
    votes = table.votes
    assert votes is not None
    names = [*votes.raters, ""]  # -1 is the last
    return {
        (table.images[i], table.categories[c], names[r], table.levels[v])
        for i, c, r, v in zip(
            *(part.tolist() for part in (votes.image, votes.category, votes.rater, votes.level)),
            strict=True,
        )
    }


# --- what each rater said -------------------------------------------------------------------

LONG = (
    "image,category,label,annotator\n"
    "a,gore,none,ann\na,gore,major,bob\na,attire,minor,ann\nb,gore,none,ann\nb,gore,,bob\n"
)
WIDE = "image,annotator,gore,attire\na,ann,none,minor\na,bob,major,\nb,ann,none,\nb,bob,,\n"


@pytest.mark.parametrize("content", [LONG, WIDE])
def test_each_answer_is_kept_with_its_rater(write, content):
    assert said(read_labels(write(content))) == {
        ("a", "gore", "ann", "none"),
        ("a", "gore", "bob", "major"),
        ("a", "attire", "ann", "minor"),
        ("b", "gore", "ann", "none"),
    }


def test_a_choice_of_class_is_a_yes_for_it_and_a_no_for_every_other_category(write):
    path = write("image,label,annotator\na,cat,ann\na,dog,bob\nb,owl,bob\n")
    table = read_labels(path, categories=["cat", "dog"])
    assert said(table) == {
        *{("a", "cat", "ann", "positive"), ("a", "dog", "ann", "negative")},
        *{("a", "cat", "bob", "negative"), ("a", "dog", "bob", "positive")},
        *{("b", "cat", "bob", "negative"), ("b", "dog", "bob", "negative")},
    }


def test_counts_are_votes_without_names(write):
    table = read_labels(write("image,cat,dog,owl\na,4,1,0\nb,0,2,3\n"), categories=["owl", "cat"])
    votes = table.votes
    assert votes is not None
    assert votes.raters == ()
    assert (votes.rater == -1).all()
    assert table.categories == ("owl", "cat")
    assert votes.tally(0, 2, 2).tolist() == [[5, 0], [2, 3]]
    assert votes.tally(1, 2, 2).tolist() == [[1, 4], [5, 0]]


def test_a_rater_who_contradicts_himself_has_said_nothing(write):
    wide = read_labels(write("image,rater,gore\na,1,yes\na,1,no\na,2,yes\na,3,no\n"))
    assert said(wide) == {("a", "gore", "2", "positive"), ("a", "gore", "3", "negative")}
    classes = read_labels(write("image,label,rater\na,cat,1\na,dog,1\na,owl,2\n"))
    assert said(classes) == {
        ("a", "owl", "1", "negative"),
        *{("a", "cat", "2", "negative"), ("a", "dog", "2", "negative")},
        ("a", "owl", "2", "positive"),
    }


@pytest.mark.parametrize(
    "content",
    [
        "image,gore\na,yes\nb,no\n",
        "image,label\na,cat\nb,dog\n",
        "image,gore,rater\na,yes,ann\nb,no,ann\n",
        "image,label,rater\na,cat,ann\nb,dog,ann\n",
    ],
)
def test_one_rater_makes_no_votes(write, content):
    assert read_labels(write(content)).votes is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(["yes", "no"])),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=50, deadline=None)
def test_the_majority_of_the_votes_is_the_label(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("votes") / "human.csv"
    every = [*rows, ("z", "x", "no"), ("z", "y", "no")]  # two raters at least
    path.write_text("image,rater,gore\n" + "".join(f"{i},{r},{v}\n" for i, r, v in every))
    table = read_labels(path)
    assert table.votes is not None
    tally = table.votes.tally(0, len(table.images), 2)
    expected = np.where(tally.sum(axis=1) == 0, -1, tally[:, 1] >= tally[:, 0])
    assert table.values[:, 0].tolist() == expected.tolist()


@needs_data
def test_votes_on_ten_classes_are_those_of_the_published_counts():
    path = DATA / "cifar10h-vitb32" / "rater_counts.csv"
    table = read_labels(path)
    assert table.votes is not None
    rows = [line.split(",") for line in path.read_text().splitlines()]
    yes = np.array([row[1:] for row in rows[1:]], np.int64)
    for column, name in enumerate(rows[0][1:]):
        tally = table.votes.tally(table.categories.index(name), len(table.images), 2)
        assert (tally[:, 1] == yes[:, column]).all()
        assert (tally.sum(axis=1) == yes.sum(axis=1)).all()


# --- Dawid and Skene ------------------------------------------------------------------------


def by_hand(votes, n_images, n_raters, n_levels, rounds=300):
    """The same estimate, one number at a time."""
    mine = [[(r, v) for i, r, v in votes if i == image] for image in range(n_images)]
    p = [[sum(v == t for _, v in own) / len(own) for t in range(n_levels)] for own in mine]
    for _ in range(rounds):
        seen = [1 / n_levels + sum(q[t] for q in p) for t in range(n_levels)]
        prior = [s / (1 + n_images) for s in seen]
        error = {}
        for r in range(n_raters):
            for t in range(n_levels):
                said = [
                    sum(p[i][t] for i, rater, v in votes if rater == r and v == level)
                    for level in range(n_levels)
                ]
                for level in range(n_levels):
                    error[r, t, level] = (said[level] + 1 / n_levels) / (sum(said) + 1)
        for i, own in enumerate(mine):
            raw = [prior[t] * math.prod(error[r, t, v] for r, v in own) for t in range(n_levels)]
            p[i] = [value / sum(raw) for value in raw]
    return p


def test_the_estimate_is_that_of_the_formulas_worked_by_hand():
    rng = np.random.default_rng(5)
    votes = [(i, r, int(rng.integers(3))) for i in range(8) for r in range(4) if (i + r) % 5]
    votes += [(i, r, i % 3) for i in range(8) for r in (4, 5)]
    image, rater, level = np.array(votes).T
    posterior = dawid_skene(image, rater, level, 8, 6, 3)
    assert posterior == pytest.approx(np.array(by_hand(votes, 8, 6, 3)), abs=1e-4)


def simulated(seed, accuracies, images=400, levels=3):
    """Return the truth, and votes of raters who are right that often."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(levels, images, p=[0.6, 0.3, 0.1])
    right = rng.random((images, len(accuracies))) < accuracies
    wrong = (truth[:, None] + rng.integers(1, levels, right.shape)) % levels
    level = np.where(right, truth[:, None], wrong)
    image, rater = (index.ravel() for index in np.indices(level.shape))
    return truth, image, rater, level.ravel()


def majority_of(image, level, images, levels=3):
    tally = np.bincount(image * levels + level, minlength=images * levels).reshape(-1, levels)
    return levels - 1 - np.argmax(tally[:, ::-1], axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_bad_raters_are_discounted_and_the_truth_found_more_often(seed):
    truth, image, rater, level = simulated(seed, [0.95, 0.9, 0.4, 0.4, 0.35])
    posterior = dawid_skene(image, rater, level, 400, 5, 3)
    found = (posterior.argmax(axis=1) == truth).mean()
    plain = (majority_of(image, level, 400) == truth).mean()
    assert found > plain + 0.03


def test_equal_raters_do_no_worse_than_the_majority():
    found, plain = [], []
    for seed in range(10):
        truth, image, rater, level = simulated(seed, [0.75] * 5)
        posterior = dawid_skene(image, rater, level, 400, 5, 3)
        found.append((posterior.argmax(axis=1) == truth).mean())
        plain.append((majority_of(image, level, 400) == truth).mean())
    assert np.mean(found) >= np.mean(plain)


def test_probabilities_are_probabilities_and_nothing_is_impossible():
    _, image, rater, level = simulated(0, [0.99, 0.99, 0.99], images=50)
    posterior = dawid_skene(image, rater, level, 51, 3, 3)  # one image without votes
    assert posterior.sum(axis=1) == pytest.approx(1)
    assert (posterior > 0).all()
    assert posterior[50] == pytest.approx(posterior[:50].mean(axis=0), abs=0.02)


def test_a_tie_marks_every_level_of_it():
    assert most_probable(np.array([[0.5, 0.5], [0.2, 0.8]])).tolist() == [
        [True, True],
        [False, True],
    ]


def rows_of(image, rater, level, words):
    return "".join(
        f"{i},{r},{words[v]}\n"
        for i, r, v in zip(image.tolist(), rater.tolist(), level.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("column", "words"),
    [("gore", ("none", "minor", "major")), ("label", ("cat", "dog", "owl"))],
)
def test_a_file_with_bad_raters_is_aggregated_better_and_says_what_changed(write, column, words):
    truth, image, rater, level = simulated(3, [0.95, 0.9, 0.4, 0.4, 0.35])
    path = write(f"image,rater,{column}\n" + rows_of(image, rater, level, words))

    def wrong(table):
        if column == "gore":
            return (table.values[:, 0] != truth).sum()
        return (table.values != np.eye(3)[truth]).any(axis=1).sum()

    plain = read_labels(path, levels=() if column == "label" else words)
    better = read_labels(path, levels=() if column == "label" else words, aggregate="dawid-skene")
    assert wrong(better) < wrong(plain)
    changed = (plain.values != better.values).any(axis=1).sum()
    assert any(f"changed {changed} of 400" in note for note in better.notes)
    assert better.votes is not None


@pytest.mark.parametrize(
    "content",
    [
        "image,cat,dog,owl\na,4,1,0\nb,0,2,3\n",
        "image,gore\na,yes\nb,no\n",
        "image,gore,rater\na,yes,ann\nb,no,ann\n",
    ],
)
def test_raters_who_cannot_be_told_apart_are_refused_with_the_remedy(write, content):
    with pytest.raises(LabelError, match=r"annotator.*--raters majority"):
        read_labels(write(content), aggregate="dawid-skene")
