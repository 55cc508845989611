r"""Thresholds that a person places, and what may be claimed of them.

A person places a threshold after having looked at everything: the labels, the curves, the images
that would flip. So nothing may be claimed that rests on the threshold having been chosen before.
What may be claimed is what holds for *all* thresholds that a calibration certifies at once:

*Recall.* The fitted threshold :math:`t^*` is a tolerance limit: with the confidence asked for,
it lies at or below the quantile of the positives' scores that the recall asks for. In that same
event every :math:`t \le t^*` does too, since what flags more misses less. So any threshold up to
:math:`t^*` keeps the guarantee, however it was picked, with the same evidence and confidence.
Above :math:`t^*` nothing is certified: that the recall seen there is high is what a person who
looked for such a place would find in any sample.

*Precision.* The certified thresholds are some of finitely many that were declared without labels,
and with the confidence asked for *all* of them hold (see
`clipcal.calibrate.statistics.precision`). So any of these may be picked after looking. Precision
need not rise with the threshold, so that one beside them, higher or lower, is not certified.

*Guarantees that hold together* keep their shares of the risk: a threshold placed by hand gives up
its own guarantee or keeps it, and takes none from the others.

Every other target guarantees nothing, placed or fitted.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from clipcal.calibrate.cuts.sample import CutSample
from clipcal.calibrate.cuts.targets import Target
from clipcal.calibrate.cuts.thresholds import Fitted, Place, backing_at
from clipcal.errors import CalibrationError

DECIMALS = 6  # as `stored` rounds
_HALF_A_STEP = 0.5 / 10**DECIMALS


@dataclass(frozen=True, slots=True)
class Placed:
    """One category's thresholds as a person places them.

    Attributes
    ----------
    category : str
        The category.
    level : str or None
        Which level begins there; None only for yes or no, where there is one.
    threshold : float or None
        Images that score at or above it are flagged; None where it is fitted.
    upper : float or None
        From where on images are blocked, with three bands; None where none is placed.
    """

    category: str
    level: str | None
    threshold: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Edges:
    """Where a person placed the thresholds of one cut; None where that was left to the fit."""

    threshold: float | None = None
    upper: float | None = None


Placements = Mapping[Place, Edges]


def kept(threshold: float) -> float:
    """Round a threshold as a contract keeps it, to six decimals.

    Raises
    ------
    CalibrationError
        If it is infinite or no number.
    """
    if not math.isfinite(threshold):
        raise CalibrationError(
            f"A threshold of {threshold} divides no scores. Place it among them, as in: "
            f"clipcal calibrate --labels FILE.csv --threshold alcohol=0.07"
        )
    return round(float(threshold), DECIMALS)


def parse_placed(thresholds: Sequence[str], uppers: Sequence[str] = ()) -> tuple[Placed, ...]:
    """Read thresholds as they are written on the command line.

    Parameters
    ----------
    thresholds, uppers : sequence of str
        ``CATEGORY=T`` or ``CATEGORY:LEVEL=T`` each.

    Returns
    -------
    tuple of Placed
        One per category and level, in the order in which they are first named.

    Raises
    ------
    CalibrationError
        If one is written otherwise, or the same one is placed twice.
    """
    given = [(_pair(text, "threshold"), text, "threshold") for text in thresholds]
    given += [(_pair(text, "upper"), text, "upper") for text in uppers]
    values: dict[tuple[str, str | None], dict[str, float]] = {}
    for (name, value), text, option in given:
        if option in values.setdefault(name, {}):
            raise CalibrationError(
                f"Two values are given for {_named(*name)}. Give one: --{option} {text}"
            )
        values[name][option] = value
    return tuple(
        Placed(*name, threshold=some.get("threshold"), upper=some.get("upper"))
        for name, some in values.items()
    )


def _pair(text: str, option: str) -> tuple[tuple[str, str | None], float]:
    name, equals, number = text.rpartition("=")
    category, colon, level = name.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not equals or not category.strip() or not math.isfinite(value) or (colon and not level):
        raise CalibrationError(
            f"'{text}' places no threshold. Write CATEGORY=T, or CATEGORY:LEVEL=T where there are "
            f"several levels, as in: --{option} alcohol=0.07"
        )
    return (category.strip(), level.strip() if colon else None), kept(value)


def options_of(placed: Sequence[Placed]) -> str:
    """Write thresholds as options of ``clipcal calibrate``, as a shell takes them."""
    return "".join(
        f" --{field} {shlex.quote(f'{_written(one.category, one.level)}={value:.12g}')}"
        for one in placed
        for field, value in (("threshold", one.threshold), ("upper", one.upper))
        if value is not None
    )


def find_places(
    placed: Sequence[Placed], categories: Sequence[str], levels: Sequence[str]
) -> dict[Place, Edges]:
    """Find the cuts that a person placed.

    Parameters
    ----------
    placed : sequence of Placed
        What was placed.
    categories : sequence of str
        Names of the columns.
    levels : sequence of str
        From low to high.

    Returns
    -------
    dict of (int, int) to Edges
        By column and rank.

    Raises
    ------
    CalibrationError
        If there is no such category or level, a level is needed and not named, one cut is
        placed twice, or a threshold lies above the one from which on images are blocked.
    """
    places: dict[Place, Edges] = {}
    for one in placed:
        place = _find(one, categories, levels)
        if place in places:
            raise CalibrationError(
                f"{_named(one.category, one.level)} is placed twice. Place it once, as in: "
                f"clipcal calibrate --labels FILE.csv{options_of((one,))}"
            )
        edges = Edges(*(None if x is None else kept(x) for x in (one.threshold, one.upper)))
        refuse_upside_down(edges.threshold, edges.upper, _named(one.category, one.level))
        places[place] = edges
    return places


def _find(one: Placed, categories: Sequence[str], levels: Sequence[str]) -> Place:
    category, level = _split(_written(one.category, one.level), categories)
    if category not in categories:
        raise CalibrationError(
            f"There is no category {category!r} to place a threshold in; there are "
            f"{', '.join(categories)}. Name one: --threshold {shlex.quote(categories[0])}=0.07"
        )
    column, above = categories.index(category), levels[1:]
    if level is None and len(above) == 1:
        return column, 1
    if level not in above:
        fact = "has several levels" if level is None else f"has no level {level!r}"
        raise CalibrationError(
            f"{category!r} {fact}; a threshold begins one of {', '.join(above)}. Name it, as "
            f"in: --threshold {shlex.quote(f'{category}:{above[0]}=0.07')}"
        )
    return column, levels.index(level)


def _split(written: str, categories: Sequence[str]) -> tuple[str, str | None]:
    """Tell category and level apart; a category's own name may hold a colon."""
    if written in categories:
        return written, None
    category, colon, level = written.rpartition(":")
    return (category, level) if colon else (written, None)


def refuse_upside_down(threshold: float | None, upper: float | None, name: str) -> None:
    """Raise CalibrationError if images would be blocked that score too low to be reviewed."""
    if threshold is None or upper is None or threshold <= upper:
        return
    raise CalibrationError(
        f"{name} would be blocked from {upper:g} on and reviewed from {threshold:g} on, which is "
        f"higher. Place the upper threshold at or above the other, as in: "
        f"clipcal calibrate --threshold CATEGORY={upper:g} --upper CATEGORY={threshold:g}"
    )


def placed_at(fit: Fitted, cut: CutSample, threshold: float, target: Target) -> Fitted:
    """Put a person's threshold in the place of the fitted one.

    Parameters
    ----------
    fit : Fitted
        As fitted, before levels were put in order; it tells which thresholds are certified.
    cut : CutSample
        The labels that it was fitted to.
    threshold : float
        Where the person places it.
    target : Target
        What the fit was to attain.

    Returns
    -------
    Fitted
        ``certified`` where the guarantee of the fit holds there too, for which see this module's
        introduction; else ``estimated``. It is at `threshold` as `kept`.
    """
    chosen = kept(threshold)
    if target.kind == "recall" and fit.certified and chosen <= fit.certified[0]:
        return replace(fit, status="certified", threshold=chosen, lowered=False, by_hand=True)
    if target.kind == "precision":
        for one in fit.certified:
            if abs(one - chosen) <= _HALF_A_STEP:
                return _at_certified(fit, cut, one)
    return replace(fit, status="estimated", threshold=chosen, lowered=False, by_hand=True)


def _at_certified(fit: Fitted, cut: CutSample, threshold: float) -> Fitted:
    backing = backing_at(cut, threshold)
    return replace(
        fit,
        status="certified",
        threshold=threshold,
        evidence=backing,
        lowered=False,
        by_hand=True,
    )


def upper_placed_at(
    upper: Fitted | None, cut: CutSample, threshold: float, block: Target | None
) -> Fitted:
    """Put a person's upper threshold in the place of the fitted one, or where none was fitted.

    Parameters
    ----------
    upper : Fitted or None
        As fitted; None where no bands were asked for.
    cut : CutSample
        The labels.
    threshold : float
        Where the person places it.
    block : Target or None
        The precision that was asked for; None where no bands were.

    Returns
    -------
    Fitted
        As from `placed_at`.
    """
    if upper is None or block is None:
        return Fitted("estimated", kept(threshold), by_hand=True)
    return placed_at(upper, cut, threshold, block)


def refuse_crossing(
    fits: Mapping[Place, Fitted], categories: Sequence[str], levels: Sequence[str]
) -> None:
    """Refuse placed thresholds that cross another of the same category.

    A placed threshold is never moved. The fit moves its own where that keeps what is certified
    of them; where it cannot, the person has to place both.

    Parameters
    ----------
    fits : mapping of (int, int) to Fitted
        All cuts, the fitted ones in order as far as they go.
    categories, levels : sequence of str
        Names.

    Raises
    ------
    CalibrationError
        If a higher level would begin below a lower one, or images would be blocked that score
        too low to be reviewed; the message names both.
    """
    for column, category in enumerate(categories):
        cuts = [
            (_named(category, None if len(levels) == 2 else level), fits[column, rank])
            for rank, level in enumerate(levels[1:], start=1)
        ]
        lower = [_edge(f"the threshold of {name}", fit) for name, fit in cuts]
        upper = [_edge(f"the upper threshold of {name}", fit.upper) for name, fit in cuts]
        for rising in (lower, upper, *zip(lower, upper, strict=True)):
            _refuse_falling([edge for edge in rising if edge is not None])


class _Edge(NamedTuple):
    name: str
    at: float
    by_hand: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.at:g}, {'placed' if self.by_hand else 'fitted'})"


def _edge(name: str, fit: Fitted | None) -> _Edge | None:
    if fit is None or fit.threshold is None:
        return None
    return _Edge(name, fit.threshold, fit.by_hand)


def _refuse_falling(rising: Sequence[_Edge]) -> None:
    """Refuse neighbours that fall, where one of them was placed."""
    for one, other in itertools.pairwise(rising):
        if one.at > other.at and (one.by_hand or other.by_hand):
            raise CalibrationError(
                f"So placed, {one} lies above {other}, and the two must not cross. Move the one "
                f"that is placed, or place both: clipcal calibrate --threshold CATEGORY:LEVEL=T "
                f"--upper CATEGORY:LEVEL=T"
            )


def _written(category: str, level: str | None) -> str:
    return category if level is None else f"{category}:{level}"


def _named(category: str, level: str | None) -> str:
    return f"'{_written(category, level)}'"
