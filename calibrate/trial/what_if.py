"""What a threshold would do before anybody saves it: counts, rates, flips, and what may be said.

Scores and labels are gathered once; each question then costs a few passes over one category's
scores. The answers are the very numbers that a contract with that threshold placed by hand would
hold, since the same functions make them; so what is saved is what was seen.

An interval is for one threshold that was fixed in advance. Whoever moves a threshold until its
interval looks good has looked at many, and picked the luckiest: for that threshold the interval
says too much. Only what is certified holds wherever the search ends; see
`clipcal.calibrate.cuts.by_hand`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from clipcal.calibrate.cuts.by_hand import kept, placed_at, refuse_upside_down, upper_placed_at
from clipcal.calibrate.cuts.estimates import count_flags, measure, rates_at
from clipcal.calibrate.cuts.fit import level_phrase, with_upper
from clipcal.calibrate.cuts.sentences import Subject, describe
from clipcal.calibrate.cuts.thresholds import Fitted, Place
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.records import Cut
from clipcal.calibrate.report.curves import spread
from clipcal.calibrate.report.histogram import (
    BINS,
    Histogram,
    Limit,
    axis_of,
    count_groups,
    limits_of,
)
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.trial.answers import (
    EQUAL_COSTS,
    Costs,
    Flips,
    RatesAt,
    WhatIf,
    cost_of,
    nearest,
)
from clipcal.calibrate.trial.ground import Ground, ReadyCut
from clipcal.calibrate.trial.words import what_holds

MOST_POINTS = 200


class Trial(Ground):
    """Thresholds to try on a corpus's scores and labels.

    It takes what a `Ground` takes; see `Trial.of`.

    Notes
    -----
    Safe to ask from several threads: what is kept is only ever made once more.
    """

    @cached_property
    def _histograms(self) -> dict[tuple[str, int], Histogram]:
        return {}

    @cached_property
    def _curves(self) -> dict[Place, tuple[RatesAt, ...]]:
        return {}

    def at(
        self,
        category: str,
        level: str,
        threshold: float,
        upper: float | None = None,
        costs: Costs = EQUAL_COSTS,
    ) -> WhatIf:
        """Tell what a threshold would do.

        Parameters
        ----------
        category, level : str
            Which cut.
        threshold : float
            Where it would be placed.
        upper : float, optional
            From where on images would be blocked.
        costs : Costs
            Of a miss and of a false flag.

        Returns
        -------
        WhatIf
            As a calibration with this threshold placed by hand would say it, at its own
            confidence.

        Raises
        ------
        CalibrationError
            If there is no such category or level, a number is not finite, or `upper` is lower.
        """
        ready = self.cut(category, level)
        fitted = self._placed(ready, threshold, upper)
        cut = self._measured(ready, fitted)
        assert cut.threshold is not None  # it was placed
        assert cut.flags is not None
        before, newly, no_longer = _count_flips(ready, cut.threshold)
        bands = cut.bands
        return WhatIf(
            category=category,
            level=level,
            threshold=cut.threshold,
            upper=None if bands is None else bands.upper,
            images=len(ready.scores),
            flags=cut.flags,
            before=before,
            newly=newly,
            no_longer=no_longer,
            n=cut.n,
            positives=cut.positives,
            recall=cut.recall,
            precision=cut.precision,
            expected=cut.expected,
            cost=cost_of(cut.expected, costs),
            allow=None if bands is None else bands.allow,
            review=None if bands is None else bands.review,
            block=None if bands is None else bands.block,
            upper_precision=None if bands is None else bands.precision,
            wrongly_blocked=None if bands is None else bands.wrongly_blocked,
            certified_up_to=self._certified_up_to(ready.fit),
            certified=cut.status == "certified",
            upper_certified=bands is not None and bands.status == "certified",
            sentence=what_holds(cut, ready.fit, self.goal),
        )

    def flips(self, category: str, level: str, threshold: float, *, limit: int) -> Flips:
        """Find the images that a threshold would decide otherwise than the contract.

        Parameters
        ----------
        category, level : str
            Which cut.
        threshold : float
            Where it would be placed.
        limit : int
            How many images of each kind, at most.

        Returns
        -------
        Flips
            The nearest to the new threshold first.

        Raises
        ------
        CalibrationError
            If there is no such category or level, or the threshold is not finite.
        """
        ready, chosen = self.cut(category, level), kept(threshold)
        flagged = decide(ready.scores, chosen)
        before = np.zeros_like(flagged) if ready.flagged is None else ready.flagged
        return Flips(
            nearest(ready.scores, flagged & ~before, chosen, limit),
            nearest(ready.scores, before & ~flagged, chosen, limit),
        )

    def histogram(self, category: str, bins: int = BINS) -> Histogram:
        """Count the scores of a category: the corpus, and the labelled images by level.

        Parameters
        ----------
        category : str
            The category.
        bins : int
            How many bins of equal width.

        Returns
        -------
        Histogram
            With the contract's thresholds, where there is one.

        Raises
        ------
        CalibrationError
            If there is no such category.
        """
        key = (category, bins)
        if key not in self._histograms:
            self._histograms[key] = self._counted(category, bins)
        return self._histograms[key]

    def curve(self, category: str, level: str) -> tuple[RatesAt, ...]:
        """Return flags, recall and precision at up to 200 thresholds, from low to high.

        Parameters
        ----------
        category, level : str
            Which cut.

        Returns
        -------
        tuple of RatesAt
            At scores of labelled images, where alone the rates change; empty without labels.
            Intervals are pointwise.

        Raises
        ------
        CalibrationError
            If there is no such category or level.
        """
        ready = self.cut(category, level)
        if ready.place not in self._curves:
            sample, confidence = ready.sample, self.goal.confidence
            thresholds = spread(sample.scores, MOST_POINTS) if len(sample) else []
            self._curves[ready.place] = tuple(
                RatesAt(
                    threshold,
                    count_flags(ready.scores, threshold),
                    **rates_at(sample, threshold, confidence),
                )
                for threshold in thresholds
            )
        return self._curves[ready.place]

    def _placed(self, ready: ReadyCut, threshold: float, upper: float | None) -> Fitted:
        fitted = placed_at(ready.fit, ready.sample, threshold, self.goal.target)
        if upper is None:
            return replace(fitted, upper=None)
        above = upper_placed_at(ready.fit.upper, ready.sample, upper, self.goal.block)
        refuse_upside_down(fitted.threshold, above.threshold, f"'{self._category(ready)}'")
        return with_upper(fitted, above)

    def _measured(self, ready: ReadyCut, fitted: Fitted) -> Cut:
        """Measure a placed threshold as a calibration would; only the bootstrap is left out."""
        candidates = self.declared.of(ready.place[0])
        cut = measure(
            fitted, ready.sample, ready.scores, candidates, self.goal, draws=0, planning=False
        )
        about = Subject(
            self._category(ready),
            level_phrase(self.levels, ready.place[1]),
            images=len(self.scores),
            population=self.population,
        )
        return describe(cut, self.goal, about, fitted)

    def _category(self, ready: ReadyCut) -> str:
        return self.categories[ready.place[0]]

    def _certified_up_to(self, fit: Fitted) -> float | None:
        return fit.certified[0] if self.goal.target.kind == "recall" and fit.certified else None

    def _counted(self, category: str, bins: int) -> Histogram:
        column = self.place(category, self.levels[-1])[0]
        scores, codes = self.column(column), self.sample.values[:, column]
        known, limits = codes != UNKNOWN, self._limits(category)
        low, high = axis_of(scores, [limit.value for limit in limits])
        groups = count_groups(
            scores,
            self.sample.scores[known, column],
            codes[known],
            self.levels,
            low=low,
            high=high,
            bins=bins,
        )
        return Histogram(low, high, groups, limits)

    def _limits(self, category: str) -> tuple[Limit, ...]:
        cuts = self.in_force(category)
        phrases = {
            level: level_phrase(self.levels, rank) or ""
            for rank, level in enumerate(self.levels[1:], start=1)
        }
        return tuple(
            limit
            for level, cut in cuts.items()
            if level in phrases
            for limit in limits_of(phrases[level], cut)
        )


def _count_flips(
    ready: ReadyCut, threshold: float
) -> tuple[int, int, int] | tuple[None, None, None]:
    """Count flags by the contract, and the images flagged by one of the two only."""
    if ready.flagged is None:
        return None, None, None
    flagged = decide(ready.scores, threshold)
    both = int(np.count_nonzero(flagged & ready.flagged))
    before = int(np.count_nonzero(ready.flagged))
    return before, int(np.count_nonzero(flagged)) - both, before - both
