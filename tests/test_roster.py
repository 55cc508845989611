"""Laws of what is kept of the embedded items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipcal.index import roster
from clipcal.index.store import Corpus, Outcome
from clipcal.models.identity import ModelIdentity


def outcomes(count: int, start: int = 0) -> list[Outcome]:
    return [Outcome(f"/p/{n}", f"{n:064x}", 1, "", n) for n in range(start, start + count)]


def test_the_roster_is_what_the_database_tells_after_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "WORTH_KEEPING", 1)
    corpus = Corpus.create(tmp_path / "corpus", ModelIdentity.external("m", 4))
    for step in range(3):
        vectors = np.ones((5, 4), np.float16)
        corpus.commit(outcomes(5, 5 * step), vectors, [None] * 5)
        for _ in range(2):  # read from the database, then from what is kept
            kept, told = roster.roster(corpus, keep=True), corpus.embedded()
            np.testing.assert_array_equal(np.stack(kept), np.stack(told))
    corpus.remove(["/p/3"])
    assert 3 not in roster.roster(corpus)[1]
    assert len(list(corpus.path.glob("roster-*.npy"))) == 1


def test_a_roster_that_was_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "WORTH_KEEPING", 1)
    corpus = Corpus.create(tmp_path / "corpus", ModelIdentity.external("m", 4))
    corpus.commit(outcomes(5), np.ones((5, 4), np.float16), [None] * 5)
    roster.roster(corpus, keep=True)
    (file,) = corpus.path.glob("roster-*.npy")
    file.write_bytes(file.read_bytes()[:-9])
    assert roster.roster(corpus)[1].tolist() == [0, 1, 2, 3, 4]


def test_who_only_reads_the_roster_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "WORTH_KEEPING", 1)
    corpus = Corpus.create(tmp_path / "corpus", ModelIdentity.external("m", 4))
    corpus.commit(outcomes(5), np.ones((5, 4), np.float16), [None] * 5)
    assert roster.roster(corpus)[1].tolist() == [0, 1, 2, 3, 4]
    assert not list(corpus.path.glob("roster-*.npy"))
