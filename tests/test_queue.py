"""Laws of the queues by score, against what a loop would do."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipcal.calibrate.sampling.queue import Lane, first_places, queue
from clipcal.errors import CalibrationError

NOTHING = np.empty(0, np.int64)


def lane(scores: list[float], thresholds: list[float], labelled: list[int] | None = None) -> Lane:
    return Lane(
        np.array(scores, np.float32),
        np.array(thresholds),
        np.array(labelled or [], np.int64),
    )


def places(order: Literal["flagged", "near"], *lanes: Lane, limit: int = 99) -> list[int]:
    rows = np.arange(len(lanes[0].scores))
    return queue(order, lanes, rows, limit).places.tolist()


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[list[float]], list[np.ndarray]]:
    """Scores on a coarse grid, so that ties and hits of a threshold are frequent."""
    contents = draw(st.integers(1, 12))
    rows = draw(arrays(np.int64, draw(st.integers(1, 20)), elements=st.integers(0, contents - 1)))
    columns = draw(st.integers(1, 3))
    grid = st.integers(-4, 4).map(lambda n: n / 4)
    by_row = draw(arrays(np.float32, (contents, columns), elements=grid))
    thresholds = [sorted(draw(st.lists(grid, max_size=2, unique=True))) for _ in range(columns)]
    labelled = [
        np.array(sorted(draw(st.sets(st.integers(0, contents + 2)))), np.int64)
        for _ in range(columns)
    ]
    return by_row[rows], rows, thresholds, labelled


def expected(
    order: str,
    scores: np.ndarray,
    rows: np.ndarray,
    thresholds: list[list[float]],
    labelled: list[np.ndarray],
) -> list[int]:
    turn: dict[int, tuple[float, int]] = {}
    for place, row in enumerate(rows.tolist()):
        calls = []
        for column, limits in enumerate(thresholds):
            score = float(scores[place, column])
            spread = float(scores[:, column].std(dtype=np.float64)) or 1.0
            if not limits or row in labelled[column]:
                continue
            if order == "near":
                calls.append(min(abs(score - limit) for limit in limits) / spread)
            elif score >= limits[0]:
                calls.append((limits[0] - score) / spread)
        if calls and row not in turn:
            turn[row] = (min(calls), place)
    return [place for _, place in sorted(turn.values())]


@given(corpora(), st.sampled_from(["flagged", "near"]), st.integers(0, 25))
def test_a_queue_is_what_a_loop_over_all_images_would_line_up(
    corpus: tuple[np.ndarray, np.ndarray, list[list[float]], list[np.ndarray]],
    order: Literal["flagged", "near"],
    limit: int,
) -> None:
    scores, rows, thresholds, labelled = corpus
    lanes = [
        Lane(np.ascontiguousarray(scores[:, c]), np.array(thresholds[c]), labelled[c])
        for c in range(len(thresholds))
    ]
    line = queue(order, lanes, rows, limit)
    wanted = expected(order, scores, rows, thresholds, labelled)
    assert line.waiting == len(wanted)
    assert line.places.tolist() == wanted[:limit]


def test_flagged_images_come_with_the_highest_score_first() -> None:
    assert places("flagged", lane([0.1, 0.9, 0.5, 0.7], [0.5])) == [1, 3, 2]


def test_nearness_is_to_the_nearest_of_several_thresholds() -> None:
    assert places("near", lane([0.0, 0.31, 0.72, 0.5], [0.3, 0.7])) == [1, 2, 3, 0]


def test_what_anybody_labelled_does_not_wait_nor_do_its_copies() -> None:
    rows = np.array([4, 2, 4, 7])
    line = queue("near", [lane([0.5, 0.4, 0.5, 0.1], [0.5], [4])], rows, 9)
    assert line.places.tolist() == [1, 3]


def test_exact_copies_wait_once() -> None:
    line = queue("near", [lane([0.5, 0.4, 0.5], [0.5])], np.array([3, 1, 3]), 9)
    assert (line.waiting, line.places.tolist()) == (2, [0, 1])


def test_an_image_labelled_in_one_category_waits_for_the_other() -> None:
    one, other = lane([0.9, 0.1], [0.5], [0]), lane([0.6, 0.1], [0.5])
    assert places("flagged", one, other) == [0]


def test_nothing_waits_without_a_threshold() -> None:
    assert queue("near", [lane([0.1, 0.9], [])], np.arange(2), 9).waiting == 0


@pytest.mark.parametrize("order", ["flagged", "near"])
def test_a_score_that_is_no_number_is_not_left_out_in_silence(
    order: Literal["flagged", "near"],
) -> None:
    with pytest.raises(CalibrationError, match="NaN"):
        places(order, lane([0.1, float("nan")], [0.5]))


def test_contents_that_are_gone_have_no_place() -> None:
    wanted = np.array([9, 2, 5, 0])
    assert first_places(wanted, np.array([2, 0, 2, 5])).tolist() == [0, 3, 1]
    assert first_places(wanted, NOTHING).tolist() == []
