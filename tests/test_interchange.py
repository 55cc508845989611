"""Laws of taking vectors in and giving them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import IDENTITY

from clipcal.errors import FingerprintMismatch, StoreError
from clipcal.index.interchange import export_vectors, import_vectors, read_dim
from clipcal.index.store import Corpus, Outcome
from clipcal.models.identity import ModelIdentity

DIM = 16
MODEL = ModelIdentity.external("some::model", DIM)


def unit(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def write_part(folder: Path, part: int, vectors: np.ndarray, paths: list[str | None]) -> Path:
    (folder / "img_emb").mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    np.save(folder / "img_emb" / f"img_emb_{part:04d}.npy", vectors)
    table = pa.table({"image_path": paths})
    pq.write_table(table, folder / "metadata" / f"metadata_{part:04d}.parquet")
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_part(tmp_path / "in", 0, unit(3), ["a.png", "b.png", "c.png"])
    return write_part(tmp_path / "in", 1, unit(2, 1), ["d.png", "e.png"])


def test_vectors_come_in_and_go_out_to_the_bit(layout: Path, tmp_path: Path) -> None:
    report = import_vectors(layout, tmp_path / "corpus", MODEL)
    assert (report.embedded, report.skipped) == (5, 0)
    assert export_vectors(Corpus.open(tmp_path / "corpus"), tmp_path / "out") == 5
    written = np.load(tmp_path / "out" / "img_emb" / "img_emb_0000.npy")
    np.testing.assert_array_equal(written, np.concatenate([unit(3), unit(2, 1)]))
    table = pq.read_table(tmp_path / "out" / "metadata" / "metadata_0000.parquet")
    assert table["image_path"].to_pylist() == ["a.png", "b.png", "c.png", "d.png", "e.png"]


def test_importing_again_takes_in_only_what_changed(layout: Path, tmp_path: Path) -> None:
    import_vectors(layout, tmp_path / "corpus", MODEL)
    changed = unit(2, 1)
    changed[1] = unit(1, 9)[0]
    write_part(layout, 1, changed, ["d.png", "e.png"])
    report = import_vectors(layout, tmp_path / "corpus", MODEL)
    assert (report.embedded, report.skipped) == (1, 4)
    corpus = Corpus.open(tmp_path / "corpus")
    item = corpus.find("e.png")
    assert item is not None
    np.testing.assert_array_equal(corpus.shards.take(np.array([item.row]))[0], changed[1])
    assert len(corpus.live_rows()) == 5


def test_vectors_of_any_length_are_normalised(tmp_path: Path) -> None:
    write_part(tmp_path / "in", 0, unit(2).astype(np.float32) * 7, ["a", "b"])
    import_vectors(tmp_path / "in", tmp_path / "corpus", MODEL)
    kept = Corpus.open(tmp_path / "corpus").shards.take(np.arange(2)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_that_is_none_is_refused_before_anything_is_written(
    tmp_path: Path, value: float
) -> None:
    vectors = unit(3).astype(np.float32)
    vectors[1] = value
    write_part(tmp_path / "in", 0, vectors, ["a", "b", "c"])
    with pytest.raises(StoreError, match="row 1"):
        import_vectors(tmp_path / "in", tmp_path / "corpus", MODEL)
    assert not (tmp_path / "corpus").exists()


def test_parts_that_do_not_belong_together_are_refused(layout: Path, tmp_path: Path) -> None:
    write_part(layout, 1, unit(2, 1), ["only one"] * 3)
    with pytest.raises(StoreError, match="2 rows but .* has 3"):
        import_vectors(layout, tmp_path / "corpus", MODEL)
    (layout / "metadata" / "metadata_0001.parquet").unlink()
    with pytest.raises(StoreError, match="metadata_0001"):
        import_vectors(layout, tmp_path / "corpus", MODEL)


def test_a_missing_path_is_refused_with_its_row(tmp_path: Path) -> None:
    write_part(tmp_path / "in", 0, unit(2), ["a", None])
    with pytest.raises(StoreError, match="row 1 has no image_path"):
        import_vectors(tmp_path / "in", tmp_path / "corpus", MODEL)


def test_a_folder_of_another_layout_is_told_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="img_emb"):
        read_dim(tmp_path)


def test_vectors_of_another_model_are_refused(layout: Path, tmp_path: Path) -> None:
    import_vectors(layout, tmp_path / "corpus", MODEL)
    with pytest.raises(FingerprintMismatch, match="another::one"):
        import_vectors(layout, tmp_path / "corpus", ModelIdentity.external("another::one", DIM))


def test_export_leaves_out_what_was_removed_and_never_overwrites(tmp_path: Path) -> None:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(n, f"h{n}", row=r) for r, n in enumerate("abc")]
    corpus.commit([*outcomes, Outcome("bad", reason="x")], unit(3), ["ha", "hb", "hc"])
    corpus.remove(["b"])
    assert export_vectors(corpus, tmp_path / "out") == 2
    with pytest.raises(StoreError, match="already"):
        export_vectors(corpus, tmp_path / "out")


def test_a_path_that_stands_for_two_vectors_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path / "in", 0, unit(3), ["a", "b", "a"])
    with pytest.raises(StoreError, match="a stands in"):
        import_vectors(tmp_path / "in", tmp_path / "corpus", MODEL)


def test_contents_survive_a_round_trip_and_copies_stay_images_of_their_own(tmp_path: Path) -> None:
    corpus = Corpus.create(tmp_path / "one", IDENTITY)
    twins = [Outcome(n, "d" * 64, row=0) for n in ("a", "twin")]
    corpus.commit([*twins, Outcome("b", "e" * 64, row=1)], unit(2), ["d" * 64, "e" * 64])
    export_vectors(corpus, tmp_path / "out")
    import_vectors(tmp_path / "out", tmp_path / "two", IDENTITY)
    again = Corpus.open(tmp_path / "two")
    assert [(i.uri, i.sha256) for i in again.items()] == [(i.uri, i.sha256) for i in corpus.items()]
    assert again.rows_by_content().keys() == {"d" * 64, "e" * 64}
    assert import_vectors(tmp_path / "out", tmp_path / "two", IDENTITY).skipped == 3
