"""Geometry of the report's histogram: from counts to coordinates; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipcal.calibrate.report.axes import TEXT, WIDTH, Mark, Scale, ticks
from clipcal.calibrate.report.histogram import Group, Histogram, Limit

_SIDE = 8.0
_TOP = 24.0
_TALL, _LOW = 84.0, 34.0
_CAPTION, _AXIS, _NAME = 18.0, 40.0, 13.0


@dataclass(frozen=True, slots=True)
class Panel:
    """The bars of one group, above its own base line.

    Attributes
    ----------
    name, note : str
        What is counted, and the scale: the count of the tallest bar.
    caption_y, base_y : float
        Where the caption stands, and the base line.
    bars : str
        SVG path of all bars.
    """

    name: str
    note: str
    caption_y: float
    base_y: float
    bars: str


@dataclass(frozen=True, slots=True)
class Shade:
    """An upright band from `x` on, `width` wide."""

    x: float
    width: float
    style: str


@dataclass(frozen=True, slots=True)
class HistogramChart:
    """A histogram as small charts over one axis.

    Attributes
    ----------
    width, height : float
        Of the drawing, in its own units.
    shades : tuple of Shade
        Behind the bars: what is to be reviewed, and the thresholds' intervals.
    panels : tuple of Panel
        From top to bottom.
    axis_y : float
        Where the axis lies.
    ticks, limits : tuple of Mark
        Numbers on the axis; thresholds with their names.
    """

    width: float
    height: float
    shades: tuple[Shade, ...]
    panels: tuple[Panel, ...]
    axis_y: float
    ticks: tuple[Mark, ...]
    limits: tuple[Mark, ...]


def draw_histogram(histogram: Histogram) -> HistogramChart:
    """Lay out a histogram, one panel per group, each with a scale of its own.

    Parameters
    ----------
    histogram : Histogram
        Counts and thresholds.

    Returns
    -------
    HistogramChart
        Coordinates in a drawing as wide as the others.
    """
    scale = Scale(histogram.low, histogram.high, _SIDE, WIDTH - _SIDE)
    top = _TOP + _NAME * max(len(histogram.limits) - 1, 0)
    panels = []
    for number, group in enumerate(histogram.groups):
        height = _LOW if number else _TALL
        base = top + _CAPTION + height
        panels.append(_panel(group, top + _CAPTION - 6, base, height))
        top = base + 4
    return HistogramChart(
        width=WIDTH,
        height=top + _AXIS,
        shades=_shades(histogram, scale),
        panels=tuple(panels),
        axis_y=top,
        ticks=tuple(Mark(scale(v), text) for v, text in ticks(histogram.low, histogram.high)),
        limits=tuple(_limit(limit, scale) for limit in histogram.limits),
    )


def _shades(histogram: Histogram, scale: Scale) -> tuple[Shade, ...]:
    zones = [(zone.low, zone.high, "review") for zone in histogram.zones]
    intervals = [
        (limit.low, limit.high, "interval")
        for limit in histogram.limits
        if limit.low is not None and limit.high is not None
    ]
    return tuple(
        Shade(scale(low), round(scale(high) - scale(low), 1), style)
        for low, high, style in (*zones, *intervals)
    )


def _panel(group: Group, caption_y: float, base: float, height: float) -> Panel:
    tallest, total = max(group.counts), sum(group.counts)
    note = f"{total:,}; tallest bar {tallest:,}" if total else "none"
    return Panel(group.name, note, caption_y, base, _bars(group.counts, base, height))


def _bars(counts: Sequence[int], base: float, height: float) -> str:
    """Draw the bars as one path, each at least one unit high, so that one image is seen."""
    step = (WIDTH - 2 * _SIDE) / len(counts)
    scale = height / max(max(counts), 1)
    return "".join(
        f"M{_SIDE + place * step + 0.4:.1f} {base:.1f}v-{max(1.0, count * scale):.1f}"
        f"h{step - 0.8:.1f}V{base:.1f}z"
        for place, count in enumerate(counts)
        if count
    )


def _limit(limit: Limit, scale: Scale) -> Mark:
    """Place a threshold's name on the side of its line where there is more room."""
    x = scale(limit.value)
    anchor = "start" if x + len(limit.name) * TEXT < WIDTH and x <= WIDTH / 2 else "end"
    return Mark(x, f"{limit.name} {limit.value:.4f}", anchor)
