"""Laws of keeping what people say of images."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipcal.errors import BatchTaken, StoreError
from clipcal.index.chosen import labelled_rows, rows_before_chosen, taken_back_rows
from clipcal.index.judgements import (
    Judgement,
    Origin,
    Said,
    chosen_rows,
    history,
    item_at,
    judge,
    judged_mark,
    labelled_items,
    raters,
    standing,
    undo,
)
from clipcal.index.schema import SCHEMA_VERSION, VERSIONS
from clipcal.index.store import Corpus, Outcome

IMAGES = 6  # items 1 to 6; the last two share a row


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def filled(path: Path) -> Corpus:
    corpus = Corpus.create(path, IDENTITY)
    vectors = np.random.default_rng(0).normal(size=(IMAGES - 1, DIM)).astype(np.float16)
    rows = [*range(IMAGES - 1), IMAGES - 2]
    outcomes = [Outcome(f"{n}.png", f"hash{row}", row=row) for n, row in enumerate(rows, 1)]
    corpus.commit(outcomes, vectors, [f"hash{n}" for n in range(IMAGES - 1)])
    return corpus


def say(
    corpus: Corpus,
    batch: str,
    item: int,
    level: str | None = "yes",
    *,
    rater: str = "ann",
    origin: Origin = "random",
    category: str = "gore",
) -> bool:
    return judge(corpus, batch, [Said(item, category, level)], rater=rater, origin=origin)


def draw(corpus: Corpus, rows: list[int], category: str = "") -> None:
    drawn = [(row, 0.5, True) for row in rows]
    corpus.add_suggestions(drawn, method="m", seed=0, category=category, frame=IMAGES)


def stands(corpus: Corpus) -> list[tuple[int, str, str | None, str]]:
    return [(j.item, j.category, j.level, j.rater) for j in standing(corpus)]


# --- the journal ------------------------------------------------------------------------------


def test_the_newest_stands_for_each_rater_and_cell(corpus: Corpus) -> None:
    assert say(corpus, "a", 1, "yes")
    assert say(corpus, "b", 1, "no", rater="bob")
    assert judge(
        corpus, "c", [Said(1, "gore", "no"), Said(2, "fire", "yes")], rater="ann", origin="given"
    )
    assert stands(corpus) == [
        (1, "gore", "no", "bob"),
        (1, "gore", "no", "ann"),
        (2, "fire", "yes", "ann"),
    ]
    assert raters(corpus) == ["ann", "bob"]
    assert labelled_items(corpus).tolist() == [1, 2]
    assert labelled_items(corpus, "fire").tolist() == [2]


def test_what_is_taken_back_leaves_nothing_standing(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, None)
    assert stands(corpus) == []
    undo(corpus, "b", rater="ann")
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_undone_is_undone_once_and_what_was_said_before_stands_again(corpus: Corpus) -> None:
    say(corpus, "a", 1, "yes")
    judge(corpus, "b", [Said(1, "gore", "no"), Said(2, "gore", "no")], rater="ann", origin="random")
    done = undo(corpus, "b", rater="ann")
    assert [(j.item, j.level, j.batch) for j in done] == [(1, "no", "b"), (2, "no", "b")]
    assert all(j.undone for j in done)
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    mark = judged_mark(corpus)
    assert undo(corpus, "b", rater="ann") == ()
    assert judged_mark(corpus) == mark
    assert [j.batch for j in history(corpus)] == ["b", "b", "a"]
    assert history(corpus)[:2] == list(reversed(done))


def test_saying_it_twice_keeps_it_once(corpus: Corpus) -> None:
    assert say(corpus, "a", 1, "yes") is True
    mark = judged_mark(corpus)
    assert say(corpus, "a", 1, "yes") is False
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    assert judged_mark(corpus) == mark


def test_a_batch_of_other_labels_or_that_was_undone_is_not_said_under_its_name(
    corpus: Corpus,
) -> None:
    say(corpus, "a", 1, "yes")
    mark = judged_mark(corpus)
    both = [Said(1, "gore", "yes"), Said(2, "gore", "yes")]
    for other in ([Said(1, "gore", "no")], both, []):
        with pytest.raises(BatchTaken, match="'a' was kept with other labels"):
            judge(corpus, "a", other, rater="ann", origin="random")
    with pytest.raises(BatchTaken, match="with other labels"):
        say(corpus, "a", 1, "yes", origin="flagged")
    assert judged_mark(corpus) == mark
    undo(corpus, "a", rater="ann")
    with pytest.raises(BatchTaken, match="'a' was undone"):
        say(corpus, "a", 1, "yes")
    assert stands(corpus) == []


def test_a_batch_of_another_rater_is_neither_added_to_nor_undone(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    with pytest.raises(BatchTaken, match="those of ann, not of bob"):
        say(corpus, "a", 2, rater="bob")
    with pytest.raises(StoreError, match="those of ann, not of bob"):
        undo(corpus, "a", rater="bob")
    with pytest.raises(StoreError, match="Nothing was said as 'b'"):
        undo(corpus, "b", rater="ann")
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_an_unknown_image_is_named_and_nothing_of_the_batch_is_kept(corpus: Corpus) -> None:
    both = [Said(1, "gore", "yes"), Said(99, "gore", "yes")]
    with pytest.raises(StoreError, match="no image 99"):
        judge(corpus, "a", both, rater="ann", origin="random")
    corpus.commit([Outcome("torn.png", reason="torn")], np.ones((0, DIM), "f2"), [])
    torn = corpus.find("torn.png")
    assert torn is not None
    with pytest.raises(StoreError, match=f"image {torn.id} has no embedding"):
        judge(corpus, "a", [*both[:1], Said(torn.id, "gore", "no")], rater="ann", origin="random")
    assert history(corpus) == []
    assert judged_mark(corpus) == ""


def test_every_change_leaves_another_mark(corpus: Corpus) -> None:
    marks = [judged_mark(corpus)]
    for batch in "abc":
        say(corpus, batch, 1)
        marks.append(judged_mark(corpus))
    undo(corpus, "c", rater="ann")
    marks.append(judged_mark(corpus))
    assert marks[0] == ""
    assert len(set(marks)) == 5
    items = corpus.mark()
    say(corpus, "d", 1)
    assert corpus.mark() == items


def test_history_is_read_page_by_page(corpus: Corpus) -> None:
    for n in range(6):
        say(corpus, f"{n}", 1, rater="ann" if n % 2 else "bob")
    assert [j.batch for j in history(corpus, limit=2)] == ["5", "4"]
    assert [j.batch for j in history(corpus, limit=2, before=history(corpus)[1].id)] == ["3", "2"]
    assert [j.batch for j in history(corpus, rater="bob")] == ["4", "2", "0"]


def test_a_judgement_is_of_the_content_that_was_seen(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    corpus.commit([Outcome("1.png", "other", row=IMAGES - 1)], np.ones((1, DIM), "f2"), ["other"])
    assert stands(corpus) == []
    assert labelled_items(corpus).tolist() == []
    corpus.commit([Outcome("1.png", "hash0", row=0)], np.ones((0, DIM), "f2"), [])
    assert stands(corpus) == [(1, "gore", "yes", "ann")]
    corpus.commit([Outcome("1.png", reason="torn")], np.ones((0, DIM), "f2"), [])
    assert stands(corpus) == [(1, "gore", "yes", "ann")]


def test_items_are_found_by_id(corpus: Corpus) -> None:
    found = item_at(corpus, 2)
    assert found is not None
    assert (found.id, found.uri, found.row) == (2, "2.png", 1)
    assert item_at(corpus, 99) is None


_ACTS = st.one_of(
    st.tuples(
        st.just("judge"),
        st.sampled_from(["ann", "bob"]),
        st.lists(
            st.tuples(
                st.integers(1, 2),
                st.sampled_from(["gore", "fire"]),
                st.sampled_from(["no", "yes", None]),
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    st.tuples(st.just("undo"), st.integers(0, 12), st.none()),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(_ACTS, max_size=12))
def test_what_stands_is_what_a_list_of_sayings_says(
    acts: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against a plain list of what was said, from which batches are struck."""
    said: list[tuple[int, str, int, str, str | None]] = []
    whose: dict[int, str] = {}
    with closing(filled(tmp_path_factory.mktemp("model") / "corpus")) as corpus:
        for number, (act, who, what) in enumerate(acts):
            if act == "judge":
                whose[number] = who
                judge(corpus, f"{number}", [Said(*w) for w in what], rater=who, origin="random")
                said += [(number, who, *w) for w in what]
            elif who in whose:
                undo(corpus, f"{who}", rater=whose[who])
                said = [each for each in said if each[0] != who]
        newest = {(item, category, who): level for _, who, item, category, level in said}
        expected = {key: level for key, level in newest.items() if level is not None}
        found = standing(corpus)
        assert {(j.item, j.category, j.rater): j.level for j in found} == expected
        assert len(found) == len(expected)
        assert [j.id for j in found] == sorted(j.id for j in found)
        assert labelled_items(corpus).tolist() == sorted({item for item, _, _ in expected})


# --- chosen for their scores ------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["flagged", "near", "search"])
def test_what_was_seen_for_its_score_is_chosen_unless_it_had_a_label(
    corpus: Corpus, origin: Origin
) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}})
    draw(corpus, [1])
    say(corpus, "a", 2, origin="suggested")
    for item in (1, 2, 3):
        say(corpus, f"b{item}", item, "no", origin=origin)
    assert chosen_rows(corpus, "gore").tolist() == chosen_rows(corpus).tolist() == [2]
    assert chosen_rows(corpus, "fire").tolist() == []
    say(corpus, "c", 3, "yes", rater="bob", origin="random")
    assert chosen_rows(corpus, "gore").tolist() == [2]


@pytest.mark.parametrize("origin", ["given", "random", "suggested"])
def test_what_was_seen_for_another_reason_is_not_chosen(corpus: Corpus, origin: Origin) -> None:
    draw(corpus, [0])
    say(corpus, "a", 1, origin=origin)
    say(corpus, "b", 2, None, origin="flagged")
    assert chosen_rows(corpus).tolist() == []


def test_what_is_said_to_be_suggested_and_was_not_is_chosen(corpus: Corpus) -> None:
    draw(corpus, [0])
    draw(corpus, [1], "Gore")
    draw(corpus, [2], "fire")
    for item in (1, 2, 3, 4):
        say(corpus, f"{item}", item, origin="suggested")
    assert chosen_rows(corpus, "gore").tolist() == [2, 3]
    draw(corpus, [3])
    say(corpus, "again", 4, "no", origin="suggested")
    assert chosen_rows(corpus, "gore").tolist() == [2, 3]


def test_a_category_is_one_however_it_is_written(corpus: Corpus) -> None:
    corpus.replace_labels({"1.png": {"Sexual Content": "no"}})
    say(corpus, "a", 2, category="sexual-content")
    for item in (1, 2, 3):
        say(corpus, f"b{item}", item, origin="near", category="SEXUAL_content")
    say(corpus, "c", 4, category="Sexual Content")
    for name in ("sexual content", "SexualContent"):
        assert chosen_rows(corpus, name).tolist() == [2]
        before = rows_before_chosen(corpus, name)
        assert before is not None
        assert before.tolist() == [0, 1]
        assert labelled_rows(corpus, name).tolist() == [0, 1, 2, 3]
        assert labelled_rows(corpus, name, chosen=False).tolist() == [0, 1, 3]
        assert labelled_items(corpus, name).tolist() == [1, 2, 3, 4]
    say(corpus, "d", 4, None, category="sexual content")
    assert labelled_rows(corpus, "Sexual Content").tolist() == [0, 1, 2]
    assert taken_back_rows(corpus, "sexual_content").tolist() == [3]


def test_copies_of_a_labelled_image_are_not_chosen_and_those_of_a_chosen_one_are(
    corpus: Corpus,
) -> None:
    say(corpus, "a", IMAGES - 1)
    say(corpus, "b", IMAGES, origin="flagged")
    assert chosen_rows(corpus).tolist() == []
    say(corpus, "c", IMAGES, origin="flagged", category="fire")
    assert chosen_rows(corpus, "fire").tolist() == [IMAGES - 2]


@pytest.mark.parametrize("back", ["undo", "take back"])
def test_an_image_without_a_label_any_more_stays_chosen(corpus: Corpus, back: str) -> None:
    def goes(batch: str, item: int, rater: str) -> None:
        if back == "undo":
            undo(corpus, batch, rater=rater)
        else:
            say(corpus, f"not {batch}", item, None, rater=rater, origin="flagged")

    say(corpus, "a", 1, origin="flagged")
    say(corpus, "b", 1, origin="flagged", rater="bob")
    for batch, rater in (("a", "ann"), ("b", "bob")):
        goes(batch, 1, rater)
        assert chosen_rows(corpus).tolist() == [0]
    say(corpus, "c", 1, origin="given")
    assert chosen_rows(corpus).tolist() == [0]
    assert labelled_rows(corpus, "gore", chosen=False).tolist() == []


@pytest.mark.parametrize("back", ["undo", "take back"])
def test_a_label_left_over_from_looking_at_scores_makes_its_image_chosen(
    corpus: Corpus, back: str
) -> None:
    say(corpus, "a", 1, origin="random")
    say(corpus, "b", 1, origin="flagged", rater="bob")
    assert chosen_rows(corpus).tolist() == []
    if back == "undo":
        undo(corpus, "a", rater="ann")
    else:
        say(corpus, "c", 1, None)
    assert chosen_rows(corpus).tolist() == [0]


def test_who_corrects_a_random_image_takes_it_out_of_no_sample(corpus: Corpus) -> None:
    say(corpus, "a", 1, "yes", origin="random")
    say(corpus, "b", 1, "no", origin="flagged")
    assert stands(corpus) == [(1, "gore", "no", "ann")]
    assert chosen_rows(corpus).tolist() == []


def test_what_was_labelled_before_the_first_was_chosen_is_known(corpus: Corpus) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}, "5.png": {"fire": "no"}})
    say(corpus, "a", 2)
    assert rows_before_chosen(corpus, "gore") is None
    say(corpus, "b", 3, origin="near")
    for item in (4, 5):
        say(corpus, f"c{item}", item, origin="given" if item == 4 else "near")
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [0, 1]
    assert rows_before_chosen(corpus, "fire") is None
    assert chosen_rows(corpus).tolist() == [2, 4]


def test_labels_of_files_and_raters_are_told_by_content_with_the_chosen_or_without(
    corpus: Corpus,
) -> None:
    corpus.replace_labels({"1.png": {"gore": "yes"}, "3.png": {"fire": "no"}})
    say(corpus, "a", 2)
    for item in (3, 6):
        say(corpus, f"b{item}", item, origin="search")
    assert labelled_rows(corpus).tolist() == [0, 1, 2, 4]
    assert labelled_rows(corpus, "gore").tolist() == [0, 1, 2, 4]
    assert labelled_rows(corpus, "gore", chosen=False).tolist() == [0, 1]
    assert labelled_rows(corpus, chosen=False).tolist() == [0, 1, 2]
    say(corpus, "c", 4, rater="bob")
    assert labelled_rows(corpus, "gore", rater="bob").tolist() == [0, 3]


def test_labels_of_the_rest_are_known_as_such_even_if_the_chosen_are_undone(
    corpus: Corpus,
) -> None:
    say(corpus, "before", 2)
    say(corpus, "chosen", 1, origin="flagged")
    undo(corpus, "chosen", rater="ann")
    say(corpus, "since", 3)
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [1]


# --- taken back -------------------------------------------------------------------------------


def test_a_label_that_its_rater_took_back_is_known_until_one_of_the_two_is_undone(
    corpus: Corpus,
) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, "no", rater="bob")
    say(corpus, "c", 1, None)
    say(corpus, "d", 2, None)
    assert taken_back_rows(corpus, "gore").tolist() == taken_back_rows(corpus).tolist() == [0]
    assert taken_back_rows(corpus, "fire").tolist() == []
    undo(corpus, "c", rater="ann")
    assert taken_back_rows(corpus).tolist() == []
    say(corpus, "e", 1, None)
    assert taken_back_rows(corpus).tolist() == [0]
    undo(corpus, "a", rater="ann")
    assert taken_back_rows(corpus).tolist() == []
    say(corpus, "f", 3)
    say(corpus, "g", 3, None)
    say(corpus, "h", 3, "no")
    assert taken_back_rows(corpus).tolist() == []


def test_what_was_taken_back_had_a_label_before_the_first_was_chosen(corpus: Corpus) -> None:
    say(corpus, "a", 1)
    say(corpus, "b", 1, None)
    say(corpus, "c", 2, origin="near")
    before = rows_before_chosen(corpus, "gore")
    assert before is not None
    assert before.tolist() == [0]
    say(corpus, "d", 2, None)
    assert taken_back_rows(corpus, "gore").tolist() == [0, 1]
    assert taken_back_rows(corpus, "gore", chosen=False).tolist() == [0]


# --- corpora of earlier versions --------------------------------------------------------------


@pytest.fixture(params=[1, 2])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "corpus.db")) as database:
        for script in VERSIONS[: request.param]:
            database.executescript(script)
        database.execute("INSERT INTO meta VALUES ('model', ?)", (IDENTITY.to_json(),))
        database.execute("INSERT INTO vectors VALUES (0, 'hash')")
        database.execute("INSERT INTO items (uri, state, row) VALUES ('a', 'embedded', 0)")
        database.execute("INSERT INTO labels VALUES (1, 'gore', 'major')")
        database.execute(f"PRAGMA user_version = {request.param}")
        database.commit()
    return folder


def test_an_old_corpus_keeps_what_is_said(old: Path) -> None:
    with closing(Corpus.open(old)) as corpus:
        assert corpus.read("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert standing(corpus) == []
        assert say(corpus, "a", 1, "minor", origin="near")
        assert corpus.labels() == {"a": {"gore": "major"}}
        assert chosen_rows(corpus).tolist() == []
    with closing(Corpus.open(old)) as corpus:
        assert stands(corpus) == [(1, "gore", "minor", "ann")]


def test_an_old_corpus_that_can_only_be_read_has_no_judgements(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("clipcal.index.database._configure", refuse)
    monkeypatch.setattr("clipcal.index.database.os.access", lambda *_: False)
    with closing(Corpus.open(old)) as corpus:
        assert standing(corpus) == history(corpus) == raters(corpus) == []
        assert judged_mark(corpus) == ""
        assert chosen_rows(corpus, "gore").tolist() == []
        assert rows_before_chosen(corpus, "gore") is None
        assert taken_back_rows(corpus).tolist() == []
        assert labelled_items(corpus, "gore").tolist() == [1]
        assert labelled_rows(corpus, "gore").tolist() == [0]
        assert labelled_rows(corpus, "fire", chosen=False).tolist() == []
        assert labelled_items(corpus, "fire").tolist() == []
        with pytest.raises(StoreError, match="cannot be used now"):
            say(corpus, "a", 1)


# --- several at once, and the end of one ------------------------------------------------------

_RATER = """
import sys
from pathlib import Path
from clipcal.index.judgements import Said, judge
from clipcal.index.store import Corpus

path, rater, count = sys.argv[1:]
corpus = Corpus.open(Path(path))
for number in range(int(count)):
    batch = f"{rater}-{number}"
    judge(corpus, batch, [Said(1 + number % 6, "gore", str(number))], rater=rater, origin="random")
    print(batch, flush=True)
"""


def rate(path: Path, rater: str, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _RATER, str(path), rater, str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_that_judge_at_once_nothing_is_lost(corpus: Corpus) -> None:
    with (
        corpus.writing(),
        rate(corpus.path, "ann", 200) as ann,
        rate(corpus.path, "bob", 200) as bob,
    ):
        assert (ann.wait(60), bob.wait(60)) == (0, 0)
    kept = history(corpus, limit=1000)
    assert len(kept) == len({j.batch for j in kept}) == 400
    newest = {(1 + n % 6, who): str(n) for who in ("ann", "bob") for n in range(200)}
    assert {(j.item, j.rater): j.level for j in standing(corpus)} == newest


def test_of_threads_that_judge_at_once_nothing_is_lost(corpus: Corpus) -> None:
    def work(rater: str) -> None:
        with closing(Corpus.open(corpus.path)) as own:
            for n in range(50):
                assert say(own, f"{rater}{n}", 1 + n % 6, rater=rater)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ["ann", "bob", "cem", "dan"]))
    assert len(history(corpus, limit=1000)) == 200


def test_what_was_acknowledged_outlives_a_kill(corpus: Corpus) -> None:
    with rate(corpus.path, "ann", 1_000_000) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    with closing(Corpus.open(corpus.path)) as again:
        kept: list[Judgement] = history(again, limit=1_000_000)
    assert set(seen) <= {j.batch for j in kept}
    assert len(kept) <= len(seen) + 1


_ASK_AT_ONCE = """
import sys, threading
from pathlib import Path
from clipcal.index.chosen import labelled_rows
from clipcal.index.store import Corpus

corpus = Corpus.open(Path(sys.argv[1]))

def compare_names():  # SQLite calls back into Python
    for _ in range(80):
        labelled_rows(corpus, "fire")

def ask():
    for _ in range(400):
        corpus.noted("prompts"), corpus.knows(3)

threads = [threading.Thread(target=work) for work in (compare_names, compare_names, ask, ask)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("answered")
"""


def test_threads_that_ask_one_corpus_at_once_never_wait_for_each_other_forever(
    corpus: Corpus,
) -> None:
    said = [Said(item.id, "fire", "yes") for item in corpus.items()] * 300
    judge(corpus, "many", said, rater="ann", origin="given")
    command = [sys.executable, "-c", _ASK_AT_ONCE, str(corpus.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "answered\n", done.stderr
