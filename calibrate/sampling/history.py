"""What was drawn to be labelled so far, and what had labels without being drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.sampling import Draw, Float64, Int64
from clipcal.index.chosen import chosen_rows, labelled_rows, rows_before_chosen
from clipcal.index.names import name_key
from clipcal.index.store import Corpus, Round


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The draws so far, of images that are still in the corpus.

    Attributes
    ----------
    live : Int64[(N,)]
        The corpus, ascending.
    rounds : tuple of Round
        The draws that count.
    following : int
        The number of the round to come.
    first_pick : int
        The first round of any category that picked for scores; `following` if none did.
    extent : dict
        By round of any category, how many embeddings there were.
    start : int or None
        How many there were at the first round of any category; None where there was none.
    audit_of, given_of : dict
        Rows by round.
    picked_of : dict
        Rows and inclusion probabilities by round.
    suggested, recorded : Int64[(k,)]
        Rows ever suggested, in any category; and rows found labelled without.
    chosen : Int64[(k,)]
        Rows that are labelled for their scores, and in none of the draws.
    before : Int64[(k,)] or None
        Rows that had a label in the category before the first was chosen in it; None where none
        was, or all categories are asked for.
    """

    live: Int64
    rounds: tuple[Round, ...]
    following: int
    first_pick: int
    extent: dict[int, int]
    start: int | None
    audit_of: dict[int, Int64]
    picked_of: dict[int, tuple[Int64, Float64]]
    given_of: dict[int, Int64]
    suggested: Int64
    recorded: Int64
    chosen: Int64
    before: Int64 | None

    @classmethod
    def of(cls, corpus: Corpus, category: str | None, live: Int64 | None = None) -> History:
        """Read the draws that count for a category; all of them where it is None."""
        live = corpus.live_rows() if live is None else live
        every = corpus.rounds()
        drawn = corpus.suggestions()
        rows = np.array([one.row for one in drawn], np.int64)
        number = np.array([one.round for one in drawn], np.int64)
        inclusion = np.array([one.inclusion for one in drawn], np.float64)
        audit = np.array([one.audit for one in drawn], np.bool_)
        alive = np.isin(rows, live)
        given = corpus.given()
        recorded = np.array(list(given), np.int64)
        found_in = np.array(list(given.values()), np.int64)
        rounds = tuple(r for r in every if category is None or covers(r, category))
        own = {r.number: alive & (number == r.number) for r in rounds}
        drawn_for_it = rows[np.isin(number, list(own))]
        following = max((r.number for r in every), default=0) + 1
        picking = [r.number for r in every if r.picked]
        return cls(
            live=live,
            rounds=rounds,
            following=following,
            first_pick=min(picking, default=following),
            extent={r.number: r.rows for r in every},
            start=every[0].rows if every else None,
            audit_of={n: rows[at & audit] for n, at in own.items()},
            picked_of={n: (rows[at & ~audit], inclusion[at & ~audit]) for n, at in own.items()},
            given_of={n: _among(recorded[found_in == n], live) for n in sorted({*found_in})},
            suggested=np.unique(rows),
            recorded=recorded,
            chosen=without(_chosen(corpus, category), drawn_for_it),
            before=None if category is None else rows_before_chosen(corpus, category),
        )

    def audits(self, numbers: Sequence[int] | None = None) -> Int64:
        """Return the audit sample, or that of some rounds."""
        chosen = self.audit_of if numbers is None else numbers
        return union(*(self.audit_of[number] for number in chosen))

    def uniform(self, unseen: Int64) -> Int64:
        """Return the uniform sample; `unseen` are labels that no round knows of yet."""
        return union(
            without(unseen, self.late(self.following, unseen)),
            self.given_from_start(),
            self.audits(),
        )

    def from_the_start(self, rows: Int64) -> NDArray[np.bool_]:
        """Tell which rows were there at the first draw: of later ones too few may be drawn.

        That is the first draw for any category: labels that it found may be of another's.
        """
        return np.ones(len(rows), np.bool_) if self.start is None else rows < self.start

    def known_before(self, number: int, scope: str | None, audits: bool) -> tuple[Int64, ...]:
        """Return, in parts without overlap, what a draw could not give.

        `scope` is the category of the draw: images suggested for another category alone can be
        drawn again. `audits` says whether the round's own audit sample and what it found
        labelled come before the draw.
        """
        earlier = [
            r.number
            for r in self.rounds
            if r.number < number and (scope is None or covers(r, scope))
        ]
        drawn = [*earlier, number] if audits else earlier
        past = number if audits else number - 1
        sample = union(self.given_from_start(past), self.audits(drawn))
        late = [self.late(n, rows) for n, rows in self.given_of.items() if n <= past]
        parts: list[Int64] = []
        seen = sample[:0]
        for part in (sample, *(self.picked_of[n][0] for n in earlier), *late):
            parts.append(without(part, seen))
            seen = union(seen, part)
        return tuple(part for part in parts if len(part))

    def sample_draw(self, sample: Int64) -> Iterator[Draw]:
        """Yield the uniform sample as a draw, era by era where the corpus grew in between."""
        edges = np.array([r.rows for r in self.rounds], np.int64)
        era, sample_era = (np.searchsorted(edges, x, side="right") for x in (self.live, sample))
        images = np.bincount(era, minlength=len(edges) + 1)
        drawn = np.bincount(sample_era, minlength=len(edges) + 1)
        if len(sample):
            inclusion = (drawn / np.maximum(images, 1))[sample_era]
            yield Draw(sample, inclusion, int(images[drawn > 0].sum()))

    def pick_draws(self) -> Iterator[Draw]:
        """Yield what each round picked for its scores."""
        for r in self.rounds:
            rows, inclusion = self.picked_of[r.number]
            known = self.known_before(r.number, r.category, audits=True)
            yield Draw(rows, inclusion, self._population(r.number), known)

    def late_draws(self, unseen: Int64) -> Iterator[Draw]:
        """Yield what was labelled without a suggestion after images were picked or chosen."""
        for number, found in (*self.given_of.items(), (self.following, unseen)):
            rows = self.late(number, found)
            known = self.known_before(number, None, audits=False)
            population = self._population(number)
            rest = population - sum(map(len, known))
            if len(rows):
                yield Draw(rows, np.full(len(rows), len(rows) / rest), population, known)

    def notes(self, rows: Int64) -> Iterator[str]:
        """Yield what estimates leave out."""
        picked = union(*(rows for rows, _ in self.picked_of.values()))
        pending = len(picked) - np.isin(rows, picked).sum()
        if pending:
            yield (
                f"{pending:,} of {len(picked):,} images picked for their scores have no label, "
                f"and estimates do without them."
            )

    def warnings(self, late: int) -> Iterator[str]:
        """Yield what limits guarantees."""
        if late:
            yield (
                f"{late:,} images were labelled without a suggestion after others had been "
                f"picked; they count in estimates and back no guarantee. For labels that do: "
                f"clipcal suggest --audit 1 -n 100"
            )
        newer = int((~self.from_the_start(self.live)).sum())
        if newer:
            yield (
                f"{newer:,} of {len(self.live):,} images were embedded after the first draw of "
                f"images to label; guarantees speak of the other {len(self.live) - newer:,} only. "
                f"For one of all images, put them in a corpus of their own: "
                f"clipcal embed FOLDER --corpus NEW, then: "
                f"clipcal suggest --corpus NEW --audit 1 -n 100"
            )

    def _population(self, number: int) -> int:
        """Return how many images there were when a round was drawn."""
        extent = self.extent.get(number)
        return len(self.live) if extent is None else int(np.count_nonzero(self.live < extent))

    def given_from_start(self, last: int | None = None) -> Int64:
        """Return what was found labelled before anything was picked, up to a round."""
        until = self.first_pick if last is None else min(last, self.first_pick)
        found = ((n, rows) for n, rows in self.given_of.items() if n <= until)
        return union(*(without(rows, self.late(n, rows)) for n, rows in found))

    def after_chosen(self, unseen: Int64) -> Int64:
        """Return what was labelled after images had been chosen, and before any was picked."""
        found = (*self.given_of.items(), (self.following, unseen))
        return union(*(self.late(n, rows) for n, rows in found if n <= self.first_pick))

    def late(self, number: int, rows: Int64) -> Int64:
        """Return which rows that a round found labelled are of what was left over only."""
        if number > self.first_pick:
            return rows
        return rows[:0] if self.before is None else without(rows, self.before)


def covers(drawn: Round, category: str) -> bool:
    """Tell whether a round was drawn to be labelled in a category, or in all."""
    return not drawn.category or name_key(drawn.category) == name_key(category)


def union(*parts: Int64) -> Int64:
    """Return the rows that are in any part, ascending."""
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def without(rows: Int64, others: Int64) -> Int64:
    """Return the rows that are not among others, in their order."""
    return rows[~np.isin(rows, others)]


def _chosen(corpus: Corpus, category: str | None) -> Int64:
    chosen = chosen_rows(corpus, category)
    return chosen if category else without(chosen, labelled_rows(corpus, chosen=False))


def _among(rows: Int64, live: Int64) -> Int64:
    """Return the rows that are live, ascending; unlike an intersection it sorts no corpus."""
    return np.unique(rows[np.isin(rows, live)])
