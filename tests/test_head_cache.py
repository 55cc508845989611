"""Laws of learned scores kept beside the corpus: the same bits, and no embedding read twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY, unit

from clipcal.calibrate.heads.head import Head, encoded
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.under_contract import with_heads
from clipcal.index.shards import Shards
from clipcal.index.store import Corpus, Outcome


def embed(corpus: Corpus, count: int, start: int = 0) -> None:
    outcomes = [
        Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(start, start + count)
    ]
    corpus.commit(outcomes, unit(count, start).astype(np.float16), [o.sha256 for o in outcomes])


def scored(rows: int, seed: int = 3) -> CorpusScores:
    scores = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    uris = tuple(f"/photos/{i}.jpg" for i in range(rows))
    return CorpusScores(uris, ("",) * rows, np.arange(rows), ("fire", "water"), scores)


def tip(seed: int = 7) -> Head:
    arrays = {"keys": encoded(unit(5, seed)), "values": encoded(np.linspace(-1, 1, 5))}
    return Head("tip_adapter", DIM, arrays, {"scale": 1.0, "alpha": 2.0, "beta": 3.0})


def probe() -> Head:
    return Head("probe", DIM, {"direction": encoded(unit(1, 9)[0])}, {"intercept": 0.1})


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    embed(corpus, 40)
    return corpus


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry each time that the embeddings are gone through."""
    counted: list[int] = []
    plain = Shards.blocks

    def blocks(shards: Shards, rows: int, **options: int) -> object:
        counted.append(rows)
        return plain(shards, rows, **options)

    monkeypatch.setattr(Shards, "blocks", blocks)
    return counted


def test_a_second_call_reads_no_embedding_and_gives_the_same_bits(
    corpus: Corpus, reads: list[int]
) -> None:
    heads = {"water": tip(), "fire": probe()}
    first = with_heads(scored(40), corpus, heads)
    assert reads == [40]
    again = with_heads(scored(40), corpus, heads)
    assert reads == [40]
    assert again.scores.tobytes() == first.scores.tobytes()
    directly = tip().score(unit(40, 0).astype(np.float16), scored(40).column("water"))
    np.testing.assert_allclose(first.column("water"), directly, atol=1e-5)


def test_new_rows_other_heads_and_other_plain_scores_make_it_anew(
    corpus: Corpus, reads: list[int]
) -> None:
    before = with_heads(scored(40), corpus, {"fire": tip()})
    other = with_heads(scored(40), corpus, {"fire": tip(8)})
    elsewhere = with_heads(scored(40), corpus, {"water": tip()})
    shifted = with_heads(scored(40, seed=4), corpus, {"fire": tip()})
    embed(corpus, 10, start=40)
    grown = with_heads(scored(50), corpus, {"fire": tip()})
    assert reads == [40, 40, 40, 40, 50]
    assert not np.array_equal(before.scores, other.scores)
    assert np.array_equal(elsewhere.column("fire"), scored(40).column("fire"))
    assert not np.array_equal(before.scores, shifted.scores)
    assert len(grown.scores) == 50


def test_a_category_in_another_order_gets_its_own_head(corpus: Corpus, reads: list[int]) -> None:
    one = with_heads(scored(40), corpus, {"fire": tip(), "water": probe()})
    other = with_heads(scored(40), corpus, {"water": probe(), "fire": tip()})
    np.testing.assert_array_equal(one.scores, other.scores)


def test_a_damaged_cache_is_made_again(corpus: Corpus, reads: list[int]) -> None:
    first = with_heads(scored(40), corpus, {"fire": tip()})
    (file,) = (corpus.path / "scores").glob("head-*.npy")
    for content in (b"", file.read_bytes()[:-7], b"\x93NUMPY no array"):
        file.write_bytes(content)
        again = with_heads(scored(40), corpus, {"fire": tip()})
        np.testing.assert_array_equal(again.scores, first.scores)
    assert reads == [40] * 4


def test_a_corpus_that_cannot_be_written_to_works_uncached(
    corpus: Corpus, reads: list[int]
) -> None:
    (corpus.path / "scores").write_text("no folder")  # binds the administrator as well
    first = with_heads(scored(40), corpus, {"fire": tip()})
    again = with_heads(scored(40), corpus, {"fire": tip()})
    assert reads == [40, 40]
    np.testing.assert_array_equal(again.scores, first.scores)


def test_who_only_reads_takes_what_is_kept_and_writes_nothing(
    corpus: Corpus, reads: list[int]
) -> None:
    heads = {"fire": tip()}
    unkept = with_heads(scored(40), corpus, heads, keep=False)
    assert not (corpus.path / "scores").exists()
    with_heads(scored(40), corpus, heads)
    (file,) = (corpus.path / "scores").glob("head-*.npy")
    os.utime(file, (1, 1))
    again = with_heads(scored(40), corpus, heads, keep=False)
    assert again.scores.tobytes() == unkept.scores.tobytes()
    assert reads == [40, 40]
    assert file.stat().st_mtime == 1


def test_only_the_latest_heads_are_kept(corpus: Corpus) -> None:
    for seed in range(7):
        with_heads(scored(40), corpus, {"fire": tip(seed)})
    assert len(list((corpus.path / "scores").glob("head-*.npy"))) == 4


def test_a_part_of_the_corpus_is_scored_by_its_rows(corpus: Corpus) -> None:
    whole = with_heads(scored(40), corpus, {"fire": tip()})
    rows = np.arange(0, 40, 3)
    some = replace(
        scored(40),
        uris=tuple(f"/photos/{i}.jpg" for i in rows),
        sha256s=("",) * len(rows),
        rows=rows,
        scores=scored(40).scores[rows],
    )
    np.testing.assert_array_equal(
        with_heads(some, corpus, {"fire": tip()}).scores, whole.scores[rows]
    )
