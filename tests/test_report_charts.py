"""Laws of the report's charts: everything lies in its frame and where its value belongs."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.report.axes import Scale, legend, ticks
from clipcal.calibrate.report.charts import draw_histogram
from clipcal.calibrate.report.curves import Costs, threshold_curves
from clipcal.calibrate.report.histogram import Group, Histogram, Limit, Zone
from clipcal.calibrate.report.plots import Plot, draw_costs, draw_rates, draw_reliability
from clipcal.calibrate.statistics.bounds import wilson
from clipcal.calibrate.statistics.probability import ReliabilityBin


@given(
    low=st.floats(-5, 5),
    width=st.floats(1e-4, 10),
    share=st.floats(0.001, 0.999),
    counts=st.lists(st.integers(0, 10**7), min_size=1, max_size=60),
)
def test_charts_stay_in_their_frame(
    low: float, width: float, share: float, counts: list[int]
) -> None:
    groups = (Group("a", tuple(counts)), Group("b", (0,) * len(counts)))
    limit = Limit("minor or above", low + share * width)
    chart = draw_histogram(Histogram(low, low + width, groups, (limit,)))
    assert 3 <= len(chart.ticks) <= 9
    assert all(0 <= mark.at <= chart.width for mark in (*chart.ticks, *chart.limits))
    assert all(low - 1e-9 <= float(t.text) <= low + width + 1e-9 for t in chart.ticks)
    assert len({t.text for t in chart.ticks}) == len(chart.ticks)
    assert [panel.bars.count("M") for panel in chart.panels] == [np.count_nonzero(counts), 0]


labelled = st.lists(
    st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=2, max_size=40
).filter(lambda rows: 0 < sum(p for _, p in rows) < len(rows))


def axis_of(scores: np.ndarray, threshold: float) -> Histogram:
    low, high = min(scores.min(), threshold) - 0.01, max(scores.max(), threshold) + 0.01
    return Histogram(float(low), float(high), (Group("all", (1,)),), ())


def places(path: str) -> list[tuple[float, float]]:
    """Follow a path of upright and level pieces from corner to corner."""
    x = y = 0.0
    corners = []
    for letter, first, second in re.findall(r"([MHVL])(-?[\d.]+)(?: (-?[\d.]+))?", path):
        x = float(first) if letter != "V" else x
        y = float(second or first) if letter != "H" else y
        corners.append((x, y))
    return corners


def inside(plot: Plot) -> bool:
    corners = [c for path in (*plot.lines, *plot.areas) for c in places(path.d)]
    corners += [(dot.x, dot.y) for dot in plot.dots]
    marks = all(0 <= mark.at <= plot.width for mark in plot.x_ticks)
    return marks and all(
        plot.left <= x <= plot.right and plot.top <= y <= plot.bottom for x, y in corners
    )


@given(labelled, st.floats(-1.2, 1.2), st.integers(1, 20))
def test_curves_stay_in_their_frame_and_end_where_nothing_is_flagged(
    rows: list[tuple[float, bool]], threshold: float, miss: int
) -> None:
    scores = np.array([s for s, _ in rows], np.float32)
    positive = np.array([p for _, p in rows])
    curves = threshold_curves(scores, positive, [Costs(miss, 1)], chosen=[threshold])
    assert curves is not None
    axis, limits = axis_of(scores, threshold), [Limit("threshold", threshold)]
    rates, costs = draw_rates(curves, axis, limits), draw_costs(curves, axis, limits)
    assert inside(rates)
    assert inside(costs)
    recall = places(next(line.d for line in rates.lines if line.style == "recall"))
    assert recall[0] == (rates.left, rates.top)  # all are flagged, and found
    assert recall[-1] == (rates.right, rates.bottom)  # none are
    lowest = max(y for _, y in places(costs.lines[-1].d))
    assert costs.dots[0].y == pytest.approx(lowest, abs=0.11)  # y grows downwards


def test_a_step_holds_from_the_score_before_it() -> None:
    scores, positive = np.array([0.0, 1.0], np.float32), np.array([False, True])
    curves = threshold_curves(scores, positive, [Costs(1, 1)], chosen=[0.5])
    assert curves is not None
    axis = Histogram(-1.0, 2.0, (Group("all", (1,)),), ())
    plot = draw_rates(curves, axis, [Limit("threshold", 0.5)])
    x = Scale(-1, 2, plot.left, plot.right)
    corners = places(next(line.d for line in plot.lines if line.style == "precision"))
    # Half of what scores 0 or above is positive, all of what scores above 0.
    middle = (plot.top + plot.bottom) / 2
    assert corners == [
        (plot.left, middle),
        (x(0), middle),
        (x(0), plot.top),
        (x(0.5), plot.top),
        (x(1), plot.top),
    ]
    assert [(dot.x, dot.y) for dot in plot.dots] == [(x(0.5), plot.top)] * 2


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20)), max_size=12))
def test_reliability_draws_each_bin_with_its_interval(rows: list[tuple[float, int]]) -> None:
    bins = [ReliabilityBin(predicted, wilson(seen, 20)) for predicted, seen in rows]
    plot = draw_reliability(bins)
    assert inside(plot)
    assert len(plot.dots) == len(bins)
    whiskers = places(plot.lines[1].d)
    for dot, (_, low), (_, high) in zip(plot.dots, whiskers[::2], whiskers[1::2], strict=True):
        assert high - 0.1 <= dot.y <= low + 0.1
    (start, end) = places(plot.lines[0].d)
    assert start == (plot.left, plot.bottom)
    assert end == (plot.right, plot.top)


def test_shades_cover_the_interval_and_what_is_to_be_reviewed() -> None:
    limits = (Limit("review from", 0.2, 0.1, 0.3), Limit("block from", 0.6))
    histogram = Histogram(0.0, 1.0, (Group("all", (1,)),), limits, (Zone("review", 0.2, 0.6),))
    chart = draw_histogram(histogram)
    x = Scale(0, 1, 8, chart.width - 8)
    assert [(s.style, s.x, round(s.x + s.width, 1)) for s in chart.shades] == [
        ("review", x(0.2), x(0.6)),
        ("interval", x(0.1), x(0.3)),
    ]


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3), st.integers(3, 8))
def test_numbers_on_an_axis_are_round_distinct_and_within_it(
    low: float, width: float, rough: int
) -> None:
    found = ticks(low, low + width, rough)
    assert 1 <= len(found) <= rough + 1
    assert all(low - 1e-6 <= value <= low + width + 1e-6 for value, _ in found)
    assert len({text for _, text in found}) == len(found)
    assert all(math.isclose(float(text), value, abs_tol=1e-9) for value, text in found)


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=6))
def test_a_legend_never_leaves_the_drawing_nor_overlaps(texts: list[str]) -> None:
    keys = legend([("recall", text) for text in texts], 46)
    rows: dict[float, list[tuple[float, float]]] = {}
    for key in keys:
        rows.setdefault(key.y, []).append((key.x, key.x + 24 + 6.3 * len(key.text)))
    for spans in rows.values():
        assert len(spans) == 1 or spans[-1][1] <= 360
        assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))
