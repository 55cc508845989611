"""Laws of turning an image into the vector to search with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import IDENTITY, PREPROCESSING, TinyEncoder

from clipcal.errors import ImageError, SourceError
from clipcal.index.embed import EmbedReport
from clipcal.index.queries import image_query, stored_vector
from clipcal.index.store import Corpus, Outcome


def refuse() -> tuple[TinyEncoder, object]:
    raise AssertionError("the model was opened for an image that the corpus knows")


@pytest.fixture
def corpus(
    run_embed: Callable[..., EmbedReport], pictures: Callable[..., Path], tmp_path: Path
) -> Corpus:
    run_embed(pictures(4))
    return Corpus.open(tmp_path / "corpus")


def test_a_known_image_is_not_embedded_again(corpus: Corpus, tmp_path: Path) -> None:
    item = corpus.items("embedded")[2]
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(item.uri).read_bytes())
    for name in (item.uri, str(copy)):
        np.testing.assert_array_equal(image_query(corpus, name, refuse), stored_vector(corpus, 2))
    Path(item.uri).unlink()
    np.testing.assert_array_equal(image_query(corpus, item.uri, refuse), stored_vector(corpus, 2))


def test_a_file_that_changed_is_embedded_as_it_is_now(
    corpus: Corpus, pictures: Callable[..., Path], encoder: TinyEncoder
) -> None:
    target = Path(corpus.items("embedded")[0].uri)
    target.write_bytes(next(pictures(1, folder="new", seed=9).iterdir()).read_bytes())
    vector = image_query(corpus, str(target), lambda: (encoder, PREPROCESSING))
    assert not np.allclose(vector, stored_vector(corpus, 0), atol=1e-3)


def test_an_imported_image_answers_with_its_vector_even_where_its_file_is_there(
    tmp_path: Path, pictures: Callable[..., Path]
) -> None:
    picture = str(next(pictures(1).iterdir()))
    corpus = Corpus.create(tmp_path / "in", dataclasses.replace(IDENTITY, bundle=None))
    corpus.commit([Outcome(picture, row=0)], np.ones((1, IDENTITY.dim), np.float16), [None])
    assert np.linalg.norm(image_query(corpus, picture, refuse)) == pytest.approx(1)


def test_what_is_neither_known_nor_a_file_is_told(corpus: Corpus) -> None:
    with pytest.raises(SourceError, match="neither in the corpus"):
        image_query(corpus, "nowhere.png", refuse)


def test_a_file_that_is_no_image_is_told(
    corpus: Corpus, encoder: TinyEncoder, tmp_path: Path
) -> None:
    (tmp_path / "letter.png").write_text("dear sir")
    with pytest.raises(ImageError):
        image_query(corpus, str(tmp_path / "letter.png"), lambda: (encoder, PREPROCESSING))
