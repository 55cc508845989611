"""The study on real images and raters: its laws hold anew, and its page says what is computed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPLITS = 12


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cifar10h", DOCS / "make_cifar10h.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for the names of their types
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(maker: ModuleType, shared_data: Path) -> Any:
    folder = shared_data / "cifar10h-vitb32"
    if not folder.is_dir():
        pytest.skip("the real embeddings (../shared/data/cifar10h-vitb32) are not here")
    return maker.study(folder, SPLITS)


def chance_of_error(share: float, cells: float, times: float = 4) -> float:
    """Return how far a share among so many may be counted from where it is."""
    return times * float(np.sqrt(share * (1 - share) / cells))


def test_a_certified_recall_is_broken_within_its_risk_and_a_naive_one_often(
    maker: ModuleType, made: Any
) -> None:
    for outcome in made.recall:
        broken, _ = maker.share_of(outcome.broken, outcome.certified)
        assert broken <= 0.05 + chance_of_error(0.05, max(outcome.certified.sum(), 1), 2)
        assert maker.share_of(outcome.naive_broken)[0] > 0.25
    pooled = [outcome.broken.mean() for outcome in made.recall]
    assert np.mean(pooled) <= 0.05


def test_what_is_counted_agrees_with_what_is_computed_from_the_draw(
    maker: ModuleType, made: Any
) -> None:
    for outcome in made.recall:
        given = maker.chance(made.data, outcome)[0].mean()
        cells = outcome.certified.size
        assert abs(outcome.certified.mean() - given) <= chance_of_error(given, cells) + 1e-9
        for naive, marks, among in (
            (False, outcome.broken, outcome.certified),
            (True, outcome.naive_broken, np.ones_like(outcome.certified)),
        ):
            exact = maker.exact(made.data, outcome, naive=naive)
            counted = maker.share_of(marks, among)[0]
            assert abs(counted - exact) <= chance_of_error(exact, among.sum()), outcome


def test_the_exact_share_of_broken_recalls_never_exceeds_the_risk(
    maker: ModuleType, made: Any
) -> None:
    for outcome in made.recall:
        given, broken = maker.chance(made.data, outcome)
        assert (broken <= 0.05 * given).all()


def test_joint_recalls_and_precisions_hold_within_their_risk(maker: ModuleType, made: Any) -> None:
    for outcome in (*made.joint, *made.precision):
        whole = maker.any_of(outcome.broken) if outcome.goal.joint else outcome.broken
        assert whole.mean() <= 0.05 + chance_of_error(0.05, whole.size, 2)
    single = {(one.draw, one.rate): one for one in made.recall}
    for outcome in made.joint:
        alone = single[outcome.draw, outcome.rate]
        assert not (outcome.certified & ~alone.certified).any()


def test_people_agree_more_than_thresholds_do_with_them(made: Any) -> None:
    data = made.data
    majority = data.sample.values.argmax(axis=1)
    most = data.tally.max(axis=1)
    np.testing.assert_array_equal(data.tally[np.arange(len(most)), majority], most)
    assert np.mean(data.sample.scores.argmax(axis=1) == data.truth) == pytest.approx(0.9, abs=0.01)
    for people in data.contract.people.values():
        assert people.machine_kappa.value < people.ceiling_kappa.value
    assert made.macro.mean() == pytest.approx(0.81, abs=0.02)


def table(page: str, first: str) -> dict[str, list[str]]:
    """Read the cells of a page's first table that begins so, by the first one of a row."""
    lines = page[page.index(f"| {first}") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in (rows[0], *rows[2:])}


def headings(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("#")]


def test_the_committed_page_says_what_is_computed(maker: ModuleType, made: Any) -> None:
    again = "run: python docs/make_cifar10h.py FOLDER"
    committed, fresh = (DOCS / "cifar10h.md").read_text(encoding="utf-8"), maker.page(made)
    assert headings(committed) == headings(fresh), again
    kept = table(committed, "class")
    assert list(kept) == ["class", *maker.CLASSES]
    for name, row in table(fresh, "class").items():
        assert kept[name][:2] == row[:2], again  # positives and thresholds
    prose = [line for line in committed.splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 100


def test_the_figure_shows_every_class_and_is_small(maker: ModuleType, made: Any) -> None:
    committed = (DOCS / maker.FIGURE).read_text(encoding="utf-8")
    assert len(committed) < 150_000
    for drawing in (committed, maker.figure(made)):
        assert set(maker.CLASSES) <= {each.text for each in ElementTree.fromstring(drawing).iter()}
