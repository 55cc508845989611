"""Laws of keeping what several people say at once, and what was said before a process ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from judgements_case import filled, say

from clipcal.index.judgements import Judgement, Said, history, judge, standing
from clipcal.index.store import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


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
