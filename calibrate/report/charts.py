"""Geometry of the report's charts: from counts to coordinates; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clipcal.calibrate.report.content import Band, Histogram

WIDTH = 440.0
_SIDE = 8.0
_TOP = 24.0
_TALL, _LOW = 84.0, 34.0
_CAPTION, _AXIS = 18.0, 40.0
_TEXT = 6.6  # about the width of a character of the axis's numbers


@dataclass(frozen=True, slots=True)
class Panel:
    """The bars of one band, above its own base line.

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
class Mark:
    """A number or name at a place on the axis; `anchor` is SVG's text-anchor."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class HistogramChart:
    """A histogram as small charts over one axis.

    Attributes
    ----------
    width, height : float
        Of the drawing, in its own units.
    panels : tuple of Panel
        From top to bottom.
    axis_y : float
        Where the axis lies.
    ticks, thresholds : tuple of Mark
        Numbers on the axis; thresholds with their names.
    """

    width: float
    height: float
    panels: tuple[Panel, ...]
    axis_y: float
    ticks: tuple[Mark, ...]
    thresholds: tuple[Mark, ...]


def draw_histogram(histogram: Histogram) -> HistogramChart:
    """Lay out a histogram, one panel per band, each with a scale of its own.

    Parameters
    ----------
    histogram : Histogram
        Counts and thresholds.

    Returns
    -------
    HistogramChart
        Coordinates in a drawing of 440 units' width.
    """
    rows = len(histogram.thresholds)
    top = _TOP + 13 * max(rows - 1, 0)
    panels = []
    for number, band in enumerate(histogram.bands):
        height = _LOW if number else _TALL
        base = top + _CAPTION + height
        panels.append(_panel(band, top + _CAPTION - 6, base, height))
        top = base + 4
    return HistogramChart(
        width=WIDTH,
        height=top + _AXIS,
        panels=tuple(panels),
        axis_y=top,
        ticks=tuple(
            Mark(_x(value, histogram), text, "middle")
            for value, text in _ticks(histogram.low, histogram.high)
        ),
        thresholds=tuple(
            _threshold(phrase, value, histogram) for phrase, value in histogram.thresholds
        ),
    )


def _panel(band: Band, caption_y: float, base: float, height: float) -> Panel:
    tallest, total = max(band.counts), sum(band.counts)
    note = f"{total:,}; tallest bar {tallest:,}" if total else "none"
    return Panel(band.name, note, caption_y, base, _bars(band.counts, base, height))


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


def _threshold(phrase: str, value: float, histogram: Histogram) -> Mark:
    """Place a threshold's name on the side of its line where there is room."""
    x = _x(value, histogram)
    text = f"{phrase or 'threshold'} {value:.4f}"
    if x + len(text) * _TEXT + 4 < WIDTH:
        return Mark(x, text, "start")
    return Mark(x, text, "end")


def _x(value: float, histogram: Histogram) -> float:
    share = (value - histogram.low) / (histogram.high - histogram.low)
    return round(_SIDE + share * (WIDTH - 2 * _SIDE), 1)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Choose three to nine round numbers between `low` and `high`."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(n * step, f"{n * step:.{digits}f}") for n in numbers]
