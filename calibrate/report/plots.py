"""Geometry of the report's curves: from rates, costs and probabilities to coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipcal.calibrate.report.axes import ROW, WIDTH, Key, Mark, Scale, legend, ticks
from clipcal.calibrate.report.curves import CostCurve, CurvePoint, Curves
from clipcal.calibrate.report.histogram import Histogram, Limit
from clipcal.calibrate.report.words import percent
from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.calibrate.statistics.probability import ReliabilityBin

_LEFT, _RIGHT = 46.0, WIDTH - 16
_TALL, _AXIS = 150.0, 40.0
_SHARES = tuple((share / 4, f"{25 * share}%") for share in range(5))
_COST_TICKS = 6

Vertex = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Path:
    """A line or an area, drawn in a `style`."""

    style: str
    d: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point, with a name that a pointer or a reader of the screen finds."""

    x: float
    y: float
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with two axes.

    Attributes
    ----------
    width, height, left, right, top, bottom : float
        Of the drawing, and where its frame lies.
    x_name, y_name : str
        What the axes count.
    x_ticks, y_ticks : tuple of Mark
        Numbers on them.
    keys : tuple of Key
        The legend, above the frame.
    areas, lines : tuple of Path
        Areas lie behind lines.
    dots : tuple of Dot
        In front of both.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_name: str
    y_name: str
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    keys: tuple[Key, ...]
    areas: tuple[Path, ...]
    lines: tuple[Path, ...]
    dots: tuple[Dot, ...]


def draw_rates(curves: Curves, axis: Histogram, limits: Sequence[Limit]) -> Plot:
    """Lay out recall and precision against the threshold, with their bands.

    Parameters
    ----------
    curves : Curves
        The rates.
    axis : Histogram
        Whose axis to share.
    limits : sequence of Limit
        The cut's thresholds.

    Returns
    -------
    Plot
        Both as steps, since nothing happens between two scores.
    """
    keys = legend([("recall", "recall"), ("precision", "precision"), *_limit_keys(limits)], _LEFT)
    frame = _Frame(keys, axis.low, axis.high, 1.0)
    recall = [(point.threshold, point.recall) for point in curves.points]
    precision = [(p.threshold, p.precision) for p in curves.points if p.precision is not None]
    return frame.plot(
        y_name="share",
        y_ticks=_SHARES,
        areas=[Path("recall", frame.band(recall)), Path("precision", frame.band(precision))],
        lines=[
            *frame.limits(limits),
            Path("recall", frame.steps([(t, rate.value) for t, rate in recall])),
            Path("precision", frame.steps([(t, rate.value) for t, rate in precision])),
        ],
        dots=[dot for limit in limits for dot in _rate_dots(frame, curves.at(limit.value))],
    )


def draw_costs(curves: Curves, axis: Histogram, limits: Sequence[Limit]) -> Plot:
    """Lay out what mistakes cost per labelled image, and where that is least.

    Parameters
    ----------
    curves : Curves
        The costs.
    axis : Histogram
        Whose axis to share.
    limits : sequence of Limit
        The cut's thresholds.

    Returns
    -------
    Plot
        One line per pair of costs.
    """
    names = [(f"cost-{i}", _least(cost)) for i, cost in enumerate(curves.costs)]
    keys = legend([*names, *_limit_keys(limits)], _LEFT)
    highest = max(max(cost.values) for cost in curves.costs)
    frame = _Frame(keys, axis.low, axis.high, highest * 1.04)
    thresholds = [point.threshold for point in curves.points]
    return frame.plot(
        y_name="cost per labelled image",
        y_ticks=ticks(0, highest * 1.04, _COST_TICKS),
        areas=[],
        lines=[
            *frame.limits(limits),
            *(
                Path(f"cost-{i}", frame.steps(list(zip(thresholds, cost.values, strict=True))))
                for i, cost in enumerate(curves.costs)
            ),
        ],
        dots=[
            Dot(frame.x(cost.best), frame.y(cost.least), f"cost-{i}", _least(cost))
            for i, cost in enumerate(curves.costs)
        ],
    )


def draw_reliability(bins: Sequence[ReliabilityBin]) -> Plot:
    """Lay out what was predicted against what was seen.

    Parameters
    ----------
    bins : sequence of ReliabilityBin
        From low to high probability.

    Returns
    -------
    Plot
        Points with intervals; on the diagonal probabilities are right.
    """
    entries = [("seen", "seen, with interval"), ("diagonal", "as predicted")]
    frame = _Frame(legend(entries, _LEFT), 0.0, 1.0, 1.0)
    whiskers = "".join(
        f"M{frame.x(b.predicted)} {frame.y(b.seen.low)}V{frame.y(b.seen.high)}" for b in bins
    )
    diagonal = f"M{frame.x(0)} {frame.y(0)}L{frame.x(1)} {frame.y(1)}"
    return frame.plot(
        x_name="predicted probability",
        x_ticks=_SHARES,
        y_name="positives seen",
        y_ticks=_SHARES,
        areas=[],
        lines=[Path("diagonal", diagonal), Path("seen", whiskers)],
        dots=[
            Dot(
                frame.x(b.predicted),
                frame.y(b.seen.value),
                "seen",
                f"predicted {percent(b.predicted)}, seen {percent(b.seen.value)} of {b.seen.n:,}",
            )
            for b in bins
        ],
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the parts of a plot lie, below its legend."""

    keys: tuple[Key, ...]
    low: float
    high: float
    most: float

    @property
    def top(self) -> float:
        return self.keys[-1].y + ROW

    @property
    def bottom(self) -> float:
        return self.top + _TALL

    def x(self, value: float) -> float:
        return Scale(self.low, self.high, _LEFT, _RIGHT)(value)

    def y(self, value: float) -> float:
        return Scale(0.0, self.most, self.bottom, self.top)(value)

    def steps(self, points: Sequence[Vertex]) -> str:
        return _path(self._corners(points))

    def band(self, points: Sequence[tuple[float, Estimate]]) -> str:
        """Outline the intervals: along their upper ends, and back along the lower ones."""
        upper = self._corners([(t, rate.high) for t, rate in points])
        lower = self._corners([(t, rate.low) for t, rate in points])
        return _path([*upper, *reversed(lower)]) + "z"

    def limits(self, limits: Sequence[Limit]) -> list[Path]:
        return [
            Path("limit", f"M{self.x(limit.value)} {self.top}V{self.bottom}") for limit in limits
        ]

    def _corners(self, points: Sequence[Vertex]) -> list[Vertex]:
        """Turn values at thresholds into steps: each holds from the threshold before it on."""
        corners = [(_LEFT, self.y(points[0][1]))]
        for threshold, value in points:
            corners += [(corners[-1][0], self.y(value)), (self.x(threshold), self.y(value))]
        return corners

    def plot(
        self,
        *,
        x_name: str = "threshold",
        x_ticks: Iterable[tuple[float, str]] | None = None,
        y_name: str,
        y_ticks: Iterable[tuple[float, str]],
        areas: Sequence[Path],
        lines: Sequence[Path],
        dots: Sequence[Dot],
    ) -> Plot:
        x_ticks = ticks(self.low, self.high, 7) if x_ticks is None else x_ticks
        return Plot(
            width=WIDTH,
            height=self.bottom + _AXIS,
            left=_LEFT,
            right=_RIGHT,
            top=self.top,
            bottom=self.bottom,
            x_name=x_name,
            y_name=y_name,
            x_ticks=tuple(Mark(self.x(value), text) for value, text in x_ticks),
            y_ticks=tuple(Mark(self.y(value), text, "end") for value, text in y_ticks),
            keys=self.keys,
            areas=tuple(areas),
            lines=tuple(lines),
            dots=tuple(dots),
        )


def _path(corners: Sequence[Vertex]) -> str:
    """Write a line of upright and level pieces as an SVG path."""
    x, y = corners[0]
    parts = [f"M{x:g} {y:g}"]
    for next_x, next_y in corners[1:]:
        if next_x != x:
            parts.append(f"H{next_x:g}")
        if next_y != y:
            parts.append(f"V{next_y:g}")
        x, y = next_x, next_y
    return "".join(parts)


def _limit_keys(limits: Sequence[Limit]) -> list[tuple[str, str]]:
    return [("limit", f"{limit.name} {limit.value:.4f}") for limit in limits]


def _rate_dots(frame: _Frame, point: CurvePoint) -> list[Dot]:
    rates = [("recall", point.recall), ("precision", point.precision)]
    return [
        Dot(frame.x(point.threshold), frame.y(rate.value), name, f"{name} {percent(rate.value)}")
        for name, rate in rates
        if rate is not None
    ]


def _least(cost: CostCurve) -> str:
    where = "nothing flagged" if cost.best == math.inf else f"{cost.best:.4f}"
    return f"{cost.costs}: least {cost.least:.3g} at {where}"
