"""What tests share: a small stand-in for a model, drawn pictures, and the folder of real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from clipcal.index.embed import EmbedOptions, EmbedReport, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus
from clipcal.models.bundle import Preprocessing
from clipcal.models.identity import ModelIdentity

DIM = 16
PREPROCESSING = Preprocessing(
    height=32, width=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), resize_mode="shortest"
)
IDENTITY = ModelIdentity("tiny::test", "f" * 64, "p" * 64, DIM, "nowhere")


def unit(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Draw vectors of length one: float32 (count, DIM); a shift sends them all one way."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIM)) + shift
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class TinyEncoder:
    """An image encoder without a model: a fixed random projection of a coarse picture."""

    dim = DIM
    provider = "Tiny"
    batch_sizes = (4,)
    streams = 1

    def __init__(self) -> None:
        self.seen = 0
        self._weights = np.random.default_rng(7).normal(size=(8 * 8 * 3, DIM))

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        self.seen += len(pixels)
        coarse = pixels.reshape(len(pixels), 8, 4, 8, 4, 3).mean(axis=(2, 4)) / 255 - 0.5
        vectors = coarse.reshape(len(pixels), -1) @ self._weights
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / norms).astype(np.float32)


hypothesis.settings.register_profile("house", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("house")


@pytest.fixture
def encoder() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Draw `count` different small pictures into a folder below the test's own."""

    def draw(count: int, *, folder: str = "photos", seed: int = 0) -> Path:
        target = tmp_path / folder
        target.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        for number in range(count):
            array = rng.integers(0, 256, (5, 7, 3), np.uint8)
            picture = Image.fromarray(array).resize((60, 45), Image.Resampling.BICUBIC)
            picture.save(target / f"{seed:02d}_{number:04d}.png")
        return target

    return draw


@pytest.fixture
def run_embed(tmp_path: Path, encoder: TinyEncoder) -> Callable[..., EmbedReport]:
    """Embed sources into the test's corpus with the stand-in model."""

    def run(*sources: Path | str, corpus: str = "corpus", **options: object) -> EmbedReport:
        opened = Corpus.open_or_create(tmp_path / corpus, IDENTITY)
        try:
            found = discover([str(s) for s in sources], allow_missing=bool(options.get("prune")))
            chosen = EmbedOptions(**options)  # type: ignore[arg-type]  # passed on by name
            return embed(opened, found, lambda: encoder, PREPROCESSING, chosen)
        finally:
            opened.close()

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return folder
