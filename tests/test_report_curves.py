"""Laws of the report's curves: every point is a count, and its band is Wilson's."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcal.calibrate.report.build import USUAL_COSTS, costs_of
from clipcal.calibrate.report.curves import (
    MOST_POINTS,
    Costs,
    cheapest_cut,
    threshold_curves,
)
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.bounds import wilson
from clipcal.errors import CalibrationError

# Few distinct scores, so that ties are usual.
labelled = st.lists(
    st.tuples(st.integers(-8, 8).map(lambda i: i / 16), st.booleans()), min_size=2, max_size=60
).filter(lambda rows: 0 < sum(p for _, p in rows) < len(rows))
costs = st.builds(Costs, st.integers(1, 20), st.integers(1, 20))


def arrays(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = zip(*rows, strict=True)
    return np.array(scores, np.float32), np.array(positive)


@given(labelled, st.floats(0.5, 0.99), st.floats(-0.6, 0.6))
def test_every_point_is_counted_and_its_intervals_are_wilsons(
    rows: list[tuple[float, bool]], confidence: float, chosen: float
) -> None:
    scores, positive = arrays(rows)
    curves = threshold_curves(scores, positive, USUAL_COSTS, chosen=[chosen], confidence=confidence)
    assert curves is not None
    assert curves.at(chosen) in curves.points
    for number, point in enumerate(curves.points):
        flagged = [s >= np.float32(point.threshold) for s in scores]
        hits = sum(f and p for f, p in zip(flagged, positive, strict=True))
        assert (point.flags, point.hits) == (sum(flagged), hits)
        assert point.recall == wilson(hits, int(positive.sum()), confidence)
        expected = wilson(hits, sum(flagged), confidence) if any(flagged) else None
        assert point.precision == expected
        for cost in curves.costs:
            misses = curves.positives - hits
            spent = cost.costs.miss * misses + cost.costs.false_flag * (sum(flagged) - hits)
            assert cost.values[number] == pytest.approx(spent / len(rows))


@given(labelled)
def test_the_points_go_from_everything_to_nothing_through_every_score(
    rows: list[tuple[float, bool]],
) -> None:
    scores, positive = arrays(rows)
    curves = threshold_curves(scores, positive, USUAL_COSTS)
    assert curves is not None
    thresholds = [point.threshold for point in curves.points]
    assert thresholds == [*np.unique(scores).tolist(), math.inf]
    flags = [point.flags for point in curves.points]
    assert flags[0] == len(rows)
    assert flags[-1] == 0
    assert flags == sorted(flags, reverse=True)
    recalls = [point.recall.value for point in curves.points]
    assert recalls == sorted(recalls, reverse=True)


@given(labelled, costs)
def test_no_cut_is_cheaper_than_the_cheapest_and_none_so_cheap_is_higher(
    rows: list[tuple[float, bool]], pair: Costs
) -> None:
    scores, positive = arrays(rows)
    spent = {}
    for cut in [*np.unique(scores).tolist(), math.inf]:
        flags = decide(scores, cut)
        mistakes = (
            pair.miss * (~flags & positive).sum() + pair.false_flag * (flags & ~positive).sum()
        )
        spent[cut] = mistakes / len(rows)
    least = min(spent.values())
    best, cost = cheapest_cut(scores, positive, pair)
    assert cost == pytest.approx(least)
    assert best == max(cut for cut, value in spent.items() if value == pytest.approx(least))
    curves = threshold_curves(scores, positive, [pair])
    assert curves is not None
    assert curves.costs[0].least == pytest.approx(min(curves.costs[0].values))
    assert curves.at(best)


def test_where_misses_cost_next_to_nothing_it_is_cheapest_to_flag_nothing() -> None:
    scores, positive = np.array([0.1, 0.2, 0.3], np.float32), np.array([True, False, False])
    assert cheapest_cut(scores, positive, Costs(1, 5)) == (math.inf, pytest.approx(1 / 3))


def test_many_scores_give_few_points_near_each_other_in_score_and_in_rank() -> None:
    rng = np.random.default_rng(0)
    scores = np.r_[rng.normal(0, 0.02, 20_000), rng.normal(0.8, 0.1, 200)].astype(np.float32)
    positive = np.arange(len(scores)) >= 20_000
    started = time.process_time()
    curves = threshold_curves(scores, positive, USUAL_COSTS, chosen=[0.5])
    assert time.process_time() - started < 2
    assert curves is not None
    assert len(curves.points) <= MOST_POINTS + 5
    thresholds = np.array([point.threshold for point in curves.points[:-1]])
    reach = float(scores.max() - scores.min())
    assert thresholds[0] == scores.min()
    assert thresholds[-1] == scores.max()
    # Scores that no point cuts between lie near the point before them.
    for low, high in itertools.pairwise(thresholds):
        between = scores[(scores > low) & (scores < high)]
        assert (between - low <= reach / (MOST_POINTS // 2 - 1)).all()
    flags = np.array([point.flags for point in curves.points])
    assert -np.diff(flags).min() <= 0.03 * len(scores)


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_labels_of_one_kind_have_no_curves(positive: list[bool]) -> None:
    scores = np.zeros(len(positive), np.float32)
    assert threshold_curves(scores, np.array(positive, bool), USUAL_COSTS) is None


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(CalibrationError, match="shape"):
        threshold_curves(np.zeros(3), np.zeros(2, bool), USUAL_COSTS)
    with pytest.raises(CalibrationError, match="NaN"):
        threshold_curves(np.array([np.nan, 1]), np.array([True, False]), USUAL_COSTS)


def test_the_costs_drawn_are_those_asked_for_or_else_usual_ones() -> None:
    assert costs_of("cost=7:2") == (Costs(7, 2),)
    assert str(costs_of("cost=2.5:1")[0]) == "2.5:1"
    assert costs_of("recall=0.9") == USUAL_COSTS
