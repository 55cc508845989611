"""Laws of reading several label files as one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.labels.merge import merge_tables
from clipcal.calibrate.labels.table import LabelTable, read_labels
from clipcal.errors import LabelError


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory):
    folder, number = tmp_path_factory.mktemp("labels"), count()

    def read_text(content: str, name: str = "") -> LabelTable:
        path: Path = folder / (name or f"{next(number)}.csv")
        path.write_text(content)
        return read_labels(path)

    return read_text


def labels(table: LabelTable) -> dict[tuple[str, str], int]:
    return {
        (image, category): int(table.values[i, j])
        for i, image in enumerate(table.images)
        for j, category in enumerate(table.categories)
        if table.values[i, j] >= 0
    }


def ballots(table: LabelTable) -> list[tuple[str, str, str, int]]:
    votes = table.votes
    assert votes is not None
    codes = zip(votes.image, votes.category, votes.rater, votes.level, strict=True)
    return sorted(
        (table.images[i], table.categories[c], votes.raters[r], int(level))
        for i, c, r, level in codes
    )


ANSWERS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["yes", "no", ""]), min_size=1)


@given(st.lists(ANSWERS, min_size=1, max_size=4))
def test_an_image_is_one_and_has_the_label_on_which_all_files_agree(read, files):
    texts = ["image,gore,knife\n" + "".join(f"{i},{a},no\n" for i, a in f.items()) for f in files]
    merged = merge_tables([read(text) for text in texts])
    assert sorted(merged.images) == sorted({image for file in files for image in file})
    for image in merged.images:
        said = {file[image] for file in files if file.get(image)}
        expected = {"yes": 1, "no": 0}[said.pop()] if len(said) == 1 else None
        assert labels(merged).get((image, "gore")) == expected
        assert labels(merged)[image, "knife"] == 0


def test_contradictions_between_files_are_named_with_image_category_and_files(read):
    one = read("image,gore\na,yes\nb,no\n", "one.csv")
    two = read("image,gore,knife\na,no,yes\nb,no,no\n", "two.csv")
    merged = merge_tables([one, two])
    assert labels(merged) == {("b", "gore"): 0, ("a", "knife"): 1, ("b", "knife"): 0}
    assert [n for n in merged.notes if "a (gore; one.csv, two.csv)" in n and "unknown" in n]


def test_a_file_that_is_given_twice_is_read_once_and_noted(read):
    text = "image,annotator,gore\na,ann,yes\na,bob,no\na,cyd,yes\n"
    once, twice = read(text, "one.csv"), read(text, "copy.csv")
    merged = merge_tables([once, twice, once])
    assert labels(merged) == labels(once)
    assert ballots(merged) == ballots(once)
    assert sum("is read once" in note for note in merged.notes) == 2


def test_a_rater_has_one_vote_on_a_label_however_many_files_hold_it(read):
    one = read("image,annotator,gore\na,ann,yes\na,bob,no\na,cyd,yes\nb,ann,yes\n")
    two = read("image,annotator,gore\na,ann,yes\na,bob,yes\na,dan,yes\nb,cyd,yes\n")
    merged = merge_tables([one, two])
    assert ballots(merged) == [
        *(("a", "gore", rater, 1) for rater in ("ann", "cyd", "dan")),
        ("b", "gore", "ann", 1),
        ("b", "gore", "cyd", 1),
    ]
    assert [note for note in merged.notes if "bob on a (gore)" in note]


def test_anonymous_votes_all_count(read):
    counts = "image,cat,dog,owl\na,4,1,0\nb,0,2,3\n"
    one, two = read(counts), read(counts.replace("b,0,2,3", "b,0,1,4"))
    merged = merge_tables([one, two])
    assert one.votes is not None
    assert two.votes is not None
    assert merged.votes is not None
    assert len(merged.votes.image) == len(one.votes.image) + len(two.votes.image)
    assert set(merged.votes.rater.tolist()) == {-1}


def test_levels_that_differ_are_refused(read):
    with pytest.raises(LabelError, match="same words in both"):
        merge_tables([read("image,gore\na,yes\n"), read("image,gore\na,minor\n")])
