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

from clipcal.errors import ParityFailure
from clipcal.export.openclip.loading import LoadedModel
from clipcal.export.pictures import Picture, draw_pictures, opened
from clipcal.models.bundle import Precision
from clipcal.models.preprocess import to_pixels
from clipcal.models.session import cpu_session
from clipcal.models.verification import Parity, TowerParity

BATCH_SIZES = (1, 2, 7)
_GROUP = math.lcm(*BATCH_SIZES)
_GROUPS_IN_EVERY_SIZE = 3  # a graph that minds the size of its batch does so on any picture
MIN_COSINE: dict[Precision, float] = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.99}
TOLERANCE: dict[Precision, float] = {
    "fp32": 1e-4,
    "fp16": 1e-2,
    # No number of two unit vectors differs by more than the vectors: the cosine is what decides.
    "int8": math.sqrt(2 * (1 - MIN_COSINE["int8"])),
}
_SENTENCES = (
    "a photo of a cat",
    "two people at a table with glasses of beer",
    "a knife lying on a wooden board",
    "",
    "an empty street at night, seen from above",
    "a hand that holds a cigarette " * 20,
    "blood on a white shirt",
)

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
    precision: Precision = "fp32",
    images: Sequence[Path] = (),
) -> Parity:
    """Compare both exported graphs with the torch model.

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
    pictures: Sequence[Picture] = images or draw_pictures()
    described = f"{len(pictures)} {'given' if images else 'generated'} pictures"
    return Parity(
        visual=measure_images(loaded, visual, pictures, described, precision),
        textual=measure_sentences(loaded, tokenizer, textual, precision),
        tolerance=TOLERANCE[precision],
    )


def measure_images(
    loaded: LoadedModel,
    visual: Path,
    pictures: Sequence[Picture],
    described: str,
    precision: Precision,
) -> TowerParity:
    """Compare an exported image tower with torch.

    Pictures go through open_clip's own preprocessing on torch's side and through
    :mod:`clipcal.models.preprocess` on the other, so that the whole path is compared. Random
    pixels and at least the first 28 pictures pass the graph in batches of 1, of 2 and of 7, all
    others in batches of 7; where there are too few to fill a batch they come again. No more than
    14 pictures are held at once. In int8 there are no random pixels: activations have the ranges
    of pictures, which noise is none of.

    Parameters
    ----------
    loaded : LoadedModel
        The torch model, in float32.
    visual : pathlib.Path
        The exported graph.
    pictures : sequence
        Files or Pillow images; for int8 none that its ranges come from.
    described : str
        The pictures in words, for the record.
    precision : {"fp32", "fp16", "int8"}
        Decides the tolerance.

    Returns
    -------
    TowerParity
        Greatest absolute difference and smallest cosine.

    Raises
    ------
    ImageError
        If a picture cannot be read.
    ParityFailure
        If the tower leaves the tolerance.
    """
    graph = _Graph(visual, precision == "fp16")
    found = _visual(loaded, graph, pictures, described, noise=precision != "int8")
    _judge(f"image tower of {loaded.name}", found, precision)
    return found


def measure_sentences(
    loaded: LoadedModel, tokenizer: tokenizers.Tokenizer, textual: Path, precision: Precision
) -> TowerParity:
    """Compare an exported text tower with torch, on sentences and on random token ids.

    Parameters
    ----------
    loaded : LoadedModel
        The torch model, in float32.
    tokenizer : tokenizers.Tokenizer
        The bundle's tokenizer.
    textual : pathlib.Path
        The exported graph.
    precision : {"fp32", "fp16"}
        Decides the tolerance.

    Returns
    -------
    TowerParity
        Greatest absolute difference and smallest cosine.

    Raises
    ------
    ParityFailure
        If the tower leaves the tolerance.
    """
    found = _textual(loaded, _Graph(textual, precision == "fp16"), tokenizer)
    _judge(f"text tower of {loaded.name}", found, precision)
    return found


def _visual(
    loaded: LoadedModel,
    graph: _Graph,
    pictures: Sequence[Picture],
    described: str,
    *,
    noise: bool,
) -> TowerParity:
    prepared = (_prepared(loaded, group) for group in _groups(pictures))
    groups = itertools.chain([_noise(loaded)] if noise else [], prepared)
    pairs = [
        pair
        for number, (tensors, pixels) in enumerate(groups)
        for pair in _in_batches(
            _embed_images(loaded, tensors),
            graph,
            pixels,
            BATCH_SIZES if number < _GROUPS_IN_EVERY_SIZE else BATCH_SIZES[-1:],
        )
    ]
    random = "; random pixels" if noise else ""
    return _compare(pairs, f"{described} by open_clip's preprocessing{random}")


def _noise(loaded: LoadedModel) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    shape = (_GROUP, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return _normalised(pixels, loaded), pixels


def _textual(loaded: LoadedModel, graph: _Graph, tokenizer: tokenizers.Tokenizer) -> TowerParity:
    sentences = [sentence for group in _groups(_SENTENCES) for sentence in group]
    encodings = tokenizer.encode_batch(sentences)
    real = np.asarray([encoding.ids for encoding in encodings], np.int64)
    rng = np.random.default_rng(2)
    noise = rng.integers(0, real.max() + 1, (_GROUP, loaded.context_length), dtype=np.int64)
    pairs = [
        pair
        for ids in (real, noise)
        for pair in _in_batches(_embed_tokens(loaded, ids), graph, ids, BATCH_SIZES)
    ]
    return _compare(pairs, f"{len(_SENTENCES)} sentences; random token ids")


def _groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Deal the items into groups that every batch size divides, the last filled from the first."""
    for start in range(0, len(items), _GROUP):
        yield [items[number % len(items)] for number in range(start, start + _GROUP)]


def _in_batches(
    expected: Embeddings,
    graph: _Graph,
    rows: NDArray[np.uint8] | NDArray[np.int64],
    sizes: Sequence[int],
) -> Iterator[tuple[Embeddings, Embeddings]]:
    """Run the graph on batches of each size, and pair what it gives with what torch gave."""
    for size in sizes:
        for start in range(0, len(rows), size):
            yield expected[start : start + size], graph(rows[start : start + size])


def _prepared(
    loaded: LoadedModel, group: Sequence[Picture]
) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """Preprocess pictures by open_clip for torch, and by clipcal for the graph."""
    images = [opened(each) for each in group]
    tensors = torch.stack([loaded.transform(image) for image in images])
    return tensors, np.stack([to_pixels(image, loaded.preprocessing) for image in images])


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


def _judge(what: str, found: TowerParity, precision: Precision) -> None:
    tolerance, least = TOLERANCE[precision], MIN_COSINE[precision]
    if found.max_abs_error > tolerance or found.min_cosine < least:
        raise ParityFailure(
            f"The exported {what} differs from torch by up to {found.max_abs_error:.2g} "
            f"(tolerance {tolerance:.2g}; smallest cosine {found.min_cosine:.6f}, least allowed "
            f"{least:g}), so it is refused. {_next_step(precision)}"
        )


def _next_step(precision: Precision) -> str:
    if precision == "int8":
        return (
            "Let more pictures like yours set its ranges: --verify photos/; "
            "or take --precision auto"
        )
    if precision == "fp16":
        return (
            "float16 ends at 65,504, and a tower that goes beyond it overflows; "
            "take --precision fp32, or int8 on CPUs"
        )
    return f"This is torch {torch.__version__}; next: pip install -U torch onnxscript"
