"""Laws of drift since a calibration, of cached near copies, and of the seal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from report_cases import corpus as corpus_case
from report_cases import full

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.near import clusters_of
from clipcal.calibrate.records import Reference
from clipcal.calibrate.reference import FEWEST_NEW, drift_since, reference_of, warn_of_drift
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.errors import CalibrationError
from clipcal.index.shards import Shards
from clipcal.index.store import Corpus, Outcome

IMAGES = 400
NAMES = ("fire", "water")


def unit(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIM))
    vectors[:, 0] += shift
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def add(corpus: Corpus, vectors: np.ndarray) -> None:
    start = corpus.rows
    numbers = range(start, start + len(vectors))
    outcomes = [Outcome(f"/p/{n}.jpg", f"{n:064d}", row=n) for n in numbers]
    corpus.commit(outcomes, vectors.astype(np.float16), [o.sha256 for o in outcomes])


def scored(corpus: Corpus) -> CorpusScores:
    """The first two numbers of the embeddings as scores."""
    items = corpus.items("embedded")
    rows = np.array([item.row for item in items])
    scores = corpus.shards.take(rows)[:, :2].astype(np.float32)
    return CorpusScores(tuple(i.uri for i in items), ("",) * len(rows), rows, NAMES, scores)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    add(corpus, unit(IMAGES, 0))
    return corpus


@pytest.fixture
def contract_with() -> Callable[[Reference | None], Contract]:
    """A contract of which only the reference matters."""
    return lambda reference: Contract.model_construct(reference=reference)


# --- drift ----------------------------------------------------------------------------------


def test_the_corpus_of_the_calibration_has_not_drifted(corpus, contract_with) -> None:
    contract = contract_with(reference_of(corpus, scored(corpus)))
    assert drift_since(contract, corpus, scored(corpus)) == {}
    assert warn_of_drift({}) == ()


def test_fewer_than_thirty_new_images_say_nothing(corpus, contract_with) -> None:
    contract = contract_with(reference_of(corpus, scored(corpus)))
    add(corpus, unit(FEWEST_NEW - 1, 1, shift=9))
    assert drift_since(contract, corpus, scored(corpus)) == {}
    add(corpus, unit(1, 2, shift=9))
    assert drift_since(contract, corpus, scored(corpus))["fire"].n == FEWEST_NEW == 30


def test_new_images_of_another_kind_are_warned_of_by_the_name_of_the_category(
    corpus, contract_with
) -> None:
    contract = contract_with(reference_of(corpus, scored(corpus)))
    add(corpus, unit(200, 1, shift=3))
    drifts = drift_since(contract, corpus, scored(corpus))
    assert drifts["fire"].drifted
    assert drifts["fire"].n == 200
    warning = warn_of_drift(drifts)[0]
    assert warning.startswith("fire: the scores of 200 images")
    assert "clipcal suggest --audit 1" in warning


def test_new_images_like_the_old_ones_raise_no_warning(corpus, contract_with) -> None:
    contract = contract_with(reference_of(corpus, scored(corpus)))
    for seed in range(1, 6):
        add(corpus, unit(200, seed))
        drifts = drift_since(contract, corpus, scored(corpus))
        assert set(drifts) == set(NAMES)
        assert warn_of_drift(drifts) == ()
    assert drifts["fire"].n == 1000  # only those that came after


def test_in_another_corpus_every_image_is_new(corpus, contract_with, tmp_path: Path) -> None:
    contract = contract_with(reference_of(corpus, scored(corpus)))
    other = Corpus.create(tmp_path / "other", IDENTITY)
    add(other, unit(IMAGES + 50, 5, shift=3))
    drifts = drift_since(contract, other, scored(other))
    assert drifts["fire"].n == IMAGES + 50
    assert drifts["fire"].drifted


def test_a_contract_without_reference_tells_no_drift(corpus, contract_with) -> None:
    assert drift_since(contract_with(None), corpus, scored(corpus)) == {}


def test_a_reference_holds_every_categorys_ends_in_order(corpus) -> None:
    reference = reference_of(corpus, scored(corpus))
    assert (reference.rows, reference.images) == (IMAGES, IMAGES)
    for column, name in enumerate(NAMES):
        quantiles = reference.quantiles[name]
        scores = scored(corpus).scores[:, column]
        assert list(quantiles) == sorted(quantiles)
        assert quantiles[0] == pytest.approx(scores.min(), abs=1e-6)
        assert quantiles[-1] == pytest.approx(scores.max(), abs=1e-6)


# --- near copies ----------------------------------------------------------------------------


@pytest.fixture
def with_copies(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "copies", IDENTITY)
    first = unit(50, 0)
    noisy = first[:10] + np.random.default_rng(1).normal(scale=0.002, size=(10, DIM))
    add(corpus, np.vstack([first, noisy]).astype(np.float32))
    return corpus


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("an embedding was read")


def test_near_copies_are_found_once_and_then_known(
    with_copies: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(60)
    first = clusters_of(with_copies, rows)
    assert (first[50:] == first[:10]).all()
    assert len(np.unique(first)) == 50
    monkeypatch.setattr(Shards, "take", refuse)
    np.testing.assert_array_equal(clusters_of(with_copies, rows), first)


@pytest.mark.parametrize("change", ["corpus", "rows", "order"])
def test_what_is_known_of_other_rows_is_not_taken(
    with_copies: Corpus, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    rows = np.arange(60)
    clusters_of(with_copies, rows)
    if change == "corpus":
        add(with_copies, unit(3, 9))
    wanted = {"corpus": rows, "rows": rows[:55], "order": rows[::-1].copy()}[change]
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "take", refuse)
        with pytest.raises(AssertionError, match="was read"):
            clusters_of(with_copies, wanted)
    found = clusters_of(with_copies, wanted)
    places = {row: place for place, row in enumerate(wanted.tolist())}
    for image in range(5):
        assert found[places[50 + image]] == found[places[image]]


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY torn"])
def test_a_damaged_file_of_near_copies_is_made_again(with_copies: Corpus, damage: bytes) -> None:
    rows = np.arange(60)
    first = clusters_of(with_copies, rows)
    (file,) = (with_copies.path / "scores").glob("near-*.npy")
    file.write_bytes(damage)
    np.testing.assert_array_equal(clusters_of(with_copies, rows), first)


def test_no_rows_are_no_clusters(with_copies: Corpus) -> None:
    assert clusters_of(with_copies, np.arange(0)).tolist() == []


# --- the seal -------------------------------------------------------------------------------


def leaves(content: object, path: tuple[str | int, ...] = ()):
    """Yield the place of every number, word and truth value."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:2]):
            yield from leaves(value, (*path, index))
    elif content is not None:
        yield path, content


def other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    return f"{value} " if isinstance(value, str) else value + type(value)(1)  # type: ignore[operator]  # a number, but which kind is not known


def test_whatever_is_changed_by_hand_the_seal_notices(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    whole = full(corpus_case()[2])
    whole.save(file)
    assert Contract.load(file) == whole
    text = file.read_text("utf-8")
    places = list(leaves(json.loads(text)))
    assert len(places) > 200
    for path, value in places:
        content = json.loads(text)
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = other(value)
        file.write_text(json.dumps(content), "utf-8")
        with pytest.raises(CalibrationError, match="clipcal calibrate"):
            Contract.load(file)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"seal"', "{}", "", "\x00", "{]"])
def test_what_is_no_calibration_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(CalibrationError, match="clipcal calibrate"):
        Contract.load(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CalibrationError, match="clipcal calibrate"):
        Contract.load(file)


def test_a_calibration_without_its_seal_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(full(corpus_case()[2]).model_dump_json())
    with pytest.raises(CalibrationError, match="seal"):
        Contract.load(file)
