"""One corpus on which a guarantee is simulated: what was said and drawn is forgotten each time."""

from __future__ import annotations

from collections.abc import Iterator

from clipcal.index.store import Corpus

TABLES = ("judgements", "chosen", "before_chosen", "suggestions", "given", "rounds")


def redraws(corpus: Corpus, count: int) -> Iterator[int]:
    """Yield the number of each redraw, over a corpus of which nobody has said anything."""
    corpus.read("PRAGMA synchronous = OFF")
    for number in range(count):
        with corpus.transaction() as database:
            for table in TABLES:
                database.execute(f"DELETE FROM {table}")
        yield number
