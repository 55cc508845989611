"""Does an exported graph give what torch gives? Measured, on pictures and on random input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from PIL import Image

from clipcal.errors import ImageError, ParityFailure
from clipcal.export.openclip import LoadedModel
from clipcal.models.bundle import Parity, TowerParity
from clipcal.models.preprocess import open_rgb, to_pixels
from clipcal.models.session import cpu_session

BATCH_SIZES = (1, 2, 7)
_GROUP = math.lcm(*BATCH_SIZES)
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
MIN_COSINE = {"fp32": 0.99999, "fp16": 0.999}
_SENTENCES = (
    "a photo of a cat",
    "two people at a table with glasses of beer",
    "a knife lying on a wooden board",
    "",
    "an empty street at night, seen from above",
    "a hand that holds a cigarette " * 20,
    "blood on a white shirt",
)
_GENERATED = ((640, 480), (300, 500), (97, 64), (256, 256))  # width, height

Embeddings = NDArray[np.float32]
Item = TypeVar("Item")


class _Graph:
    """An exported graph as a function of its one input."""

    def __init__(self, file: Path, half: bool) -> None:
        self._session = cpu_session(file, half=half)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, rows: NDArray[np.uint8] | NDArray[np.int64]) -> Embeddings:
        embeddings: Embeddings = self._session.run(None, {self._input: rows})[0]
        return embeddings


def measure(
    loaded: LoadedModel,
    tokenizer: tokenizers.Tokenizer,
    visual: Path,
    textual: Path,
    *,
    precision: str = "fp32",
    images: Sequence[Path] = (),
) -> Parity:
    """Compare both exported graphs with the torch model.

    Pictures go through open_clip's own preprocessing on torch's side and through
    :mod:`clipcal.models.preprocess` on the other, so that the whole path is compared. Pictures,
    sentences, random pixels and random token ids all pass the graphs in batches of 1, of 2 and of
    7; where there are too few to fill a batch they come again. No more than 14 pictures are held
    at once.

    Parameters
    ----------
    loaded : LoadedModel
        The torch model, in float32.
    tokenizer : tokenizers.Tokenizer
        The bundle's tokenizer.
    visual, textual : pathlib.Path
        The exported graphs.
    precision : {"fp32", "fp16"}
        Decides the tolerance.
    images : sequence of pathlib.Path
        Pictures to compare on; some are drawn if there are none.

    Returns
    -------
    Parity
        Greatest absolute difference and smallest cosine of either tower.

    Raises
    ------
    ImageError
        If a picture cannot be read.
    ParityFailure
        If a tower leaves the tolerance.
    """
    pictures: Sequence[Path | Image.Image] = images or draw_pictures()
    kind = "given" if images else "generated"
    half = precision == "fp16"
    images_in, sentences_in = _Graph(visual, half), _Graph(textual, half)
    parity = Parity(
        visual=_visual(loaded, images_in, pictures, f"{len(pictures)} {kind} pictures"),
        textual=_textual(loaded, sentences_in, tokenizer),
        tolerance=TOLERANCE[precision],
    )
    for tower, found in (("image", parity.visual), ("text", parity.textual)):
        _judge(f"{tower} tower of {loaded.name}", found, precision)
    return parity


def draw_pictures() -> list[Image.Image]:
    """Draw pictures with edges, gradients and noise, in several aspect ratios.

    Returns
    -------
    list of PIL.Image.Image
        RGB pictures; always the same.
    """
    rng = np.random.default_rng(0)
    return [_picture(rng, width, height) for width, height in _GENERATED]


def _picture_of(path: Path) -> Image.Image:
    try:
        return open_rgb(path.read_bytes())
    except (OSError, ImageError) as error:
        raise ImageError(f"{path} cannot be used to measure parity: {error}") from error


def _picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / rng.uniform(3, 60) + columns / rng.uniform(3, 60)) for _ in range(3)]
    field = 127 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 3))
    field[height // 4 : height // 2, width // 3 : width // 2] = rng.uniform(0, 255, 3)
    return Image.fromarray(field.clip(0, 255).astype(np.uint8))


def _visual(
    loaded: LoadedModel,
    graph: _Graph,
    pictures: Sequence[Path | Image.Image],
    described: str,
) -> TowerParity:
    rng = np.random.default_rng(1)
    shape = (_GROUP, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    groups = itertools.chain(
        (_prepared(loaded, group) for group in _groups(pictures)),
        [(_normalised(noise, loaded), noise)],
    )
    pairs = [
        pair
        for tensors, pixels in groups
        for pair in _at_every_size(_embed_images(loaded, tensors), graph, pixels)
    ]
    return _compare(pairs, f"{described} by open_clip's preprocessing; random pixels")


def _textual(loaded: LoadedModel, graph: _Graph, tokenizer: tokenizers.Tokenizer) -> TowerParity:
    sentences = [sentence for group in _groups(_SENTENCES) for sentence in group]
    encodings = tokenizer.encode_batch(sentences)
    real = np.asarray([encoding.ids for encoding in encodings], np.int64)
    rng = np.random.default_rng(2)
    noise = rng.integers(0, real.max() + 1, (_GROUP, loaded.context_length), dtype=np.int64)
    pairs = [
        pair
        for ids in (real, noise)
        for pair in _at_every_size(_embed_tokens(loaded, ids), graph, ids)
    ]
    return _compare(pairs, f"{len(_SENTENCES)} sentences; random token ids")


def _groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Deal the items into groups that every batch size divides, the last filled from the first."""
    for start in range(0, len(items), _GROUP):
        yield [items[number % len(items)] for number in range(start, start + _GROUP)]


def _at_every_size(
    expected: Embeddings, graph: _Graph, rows: NDArray[np.uint8] | NDArray[np.int64]
) -> Iterator[tuple[Embeddings, Embeddings]]:
    """Run the graph on batches of each size, and pair what it gives with what torch gave."""
    for size in BATCH_SIZES:
        for start in range(0, len(rows), size):
            yield expected[start : start + size], graph(rows[start : start + size])


def _prepared(
    loaded: LoadedModel, group: Sequence[Path | Image.Image]
) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """Preprocess pictures by open_clip for torch, and by clipcal for the graph."""
    opened = [_picture_of(each) if isinstance(each, Path) else each for each in group]
    tensors = torch.stack([loaded.transform(picture) for picture in opened])
    return tensors, np.stack([to_pixels(picture, loaded.preprocessing) for picture in opened])


def _normalised(pixels: NDArray[np.uint8], loaded: LoadedModel) -> torch.Tensor:
    return torch.stack([loaded.transform.transforms[-1](_scaled(each)) for each in pixels])


def _scaled(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@torch.no_grad()
def _embed_images(loaded: LoadedModel, images: torch.Tensor) -> Embeddings:
    features: torch.Tensor = loaded.model.encode_image(images, normalize=True)
    return features.numpy()


@torch.no_grad()
def _embed_tokens(loaded: LoadedModel, tokens: NDArray[np.int64]) -> Embeddings:
    features: torch.Tensor = loaded.model.encode_text(torch.from_numpy(tokens), normalize=True)
    return features.numpy()


def _compare(pairs: Sequence[tuple[Embeddings, Embeddings]], inputs: str) -> TowerParity:
    # A NaN on either side must not pass for a small difference.
    errors = [np.nan_to_num(np.abs(a - b), nan=np.inf).max() for a, b in pairs]
    cosines = [np.nan_to_num(np.sum(a * b, axis=1), nan=-1.0).min() for a, b in pairs]
    return TowerParity(
        max_abs_error=float(max(errors)),
        min_cosine=float(min(cosines)),
        batch_sizes=BATCH_SIZES,
        inputs=inputs,
    )


def _judge(what: str, found: TowerParity, precision: str) -> None:
    tolerance, least = TOLERANCE[precision], MIN_COSINE[precision]
    if found.max_abs_error > tolerance or found.min_cosine < least:
        raise ParityFailure(
            f"The exported {what} differs from torch by up to {found.max_abs_error:.2g} "
            f"(tolerance {tolerance:g}; smallest cosine {found.min_cosine:.6f}), so no bundle was "
            f"written. This is torch {torch.__version__}; next: pip install -U torch onnxscript"
        )
