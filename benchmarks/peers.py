"""What clipcal is compared with: the code paths of others, from files to stored embeddings.

Each takes the same files with the same weights, and returns what it stored, so that embeddings
can be compared before anything is timed. Models are opened beforehand, by all of them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas
import torch
from material import Material
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate

from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus
from clipcal.models.bundle import Bundle
from clipcal.models.identity import ModelIdentity
from clipcal.models.measure import cores
from clipcal.models.session import ImageEncoder, open_image_encoder

Vectors = NDArray[Any]  # (n, dim), in the order of the files
Embedding = Callable[[Sequence[Path], Path], Vectors]  # files, an empty folder → what it stored
BATCH = 32
# clip-retrieval's and fastembed's own defaults.
RETRIEVAL_BATCH, RETRIEVAL_WORKERS = 256, 4
FASTEMBED_BATCH = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """A way from files to stored embeddings.

    Attributes
    ----------
    name : str
        For tables and plots.
    floor : float
        The cosine with torch in float32 that its embeddings must reach to be compared at all.
    run : callable
        Takes files and an empty folder, stores embeddings there and returns them.
    """

    name: str
    floor: float
    run: Embedding


EXACT, SCALED, ROUGH, OTHER, INT8 = 0.99999, 0.998, 0.998, 0.99, 0.97
"""Floors: the same pixels in float32; JPEG decoded at a scale; bfloat16 and float16; a transform
of its own, which rounds sizes otherwise; int8."""


# --- clipcal ----------------------------------------------------------------------------------


def clipcal(
    bundle: Bundle, encoder: ImageEncoder, options: EmbedOptions | None = None
) -> Embedding:
    """``clipcal embed`` with an opened model."""

    def run(files: Sequence[Path], folder: Path) -> Vectors:
        corpus = Corpus.create(folder / "corpus", ModelIdentity.of_bundle(bundle))
        try:
            embed(
                corpus,
                discover([str(file) for file in files]),
                lambda: encoder,
                bundle.manifest.preprocessing,
                EmbedOptions(),
            )
            return corpus.shards.take(np.arange(corpus.rows))
        finally:
            corpus.close()

    return run


def open_clipcal(bundle: Bundle, device: str) -> Embedding:
    """``clipcal embed`` on a device."""
    return clipcal(bundle, open_image_encoder(bundle, device=device))


# --- clip-retrieval ---------------------------------------------------------------------------


class ImageFiles(Dataset[dict[str, Any]]):
    """Files through open_clip's transform, opened by path, with their names."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Any], Any]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.transform(Image.open(self.files[index]))
        return {"image_tensor": image, "image_filename": str(self.files[index])}


def clip_retrieval(
    material: Material, device: str = "cpu", dtype: torch.dtype | None = None
) -> Embedding:
    """clip-retrieval's inference in our words: reader, mapper and writer with its defaults.

    A torch data loader of four processes and batches of 256, pinned; ``encode_image`` without
    gradients, divided by its norm, as float16 to numpy; all rows to one ``.npy`` and names to one
    Parquet file. On a GPU its wrapper of open_clip computes under autocast, and lets float32
    products use TF32. Its stages of logging, which write a file every few seconds, are left out.

    The package itself asks for numpy below 2 and open_clip below 3, so that it cannot be
    installed beside clipcal.
    """
    model = material.loaded.model.to(device)

    def run(files: Sequence[Path], folder: Path) -> Vectors:
        loader = DataLoader(
            ImageFiles(files, material.loaded.transform),
            batch_size=RETRIEVAL_BATCH,
            shuffle=False,
            num_workers=RETRIEVAL_WORKERS,
            pin_memory=device != "cpu",  # without a GPU torch warns and pins nothing
            prefetch_factor=2,
            collate_fn=default_collate,
        )
        rows, names = [], []
        for batch in loader:
            with torch.no_grad(), _autocast(device, dtype):
                features = model.encode_image(batch["image_tensor"].to(device))
            with torch.no_grad():
                features /= features.norm(dim=-1, keepdim=True)
            rows.append(features.cpu().to(torch.float16).numpy())
            names.extend(batch["image_filename"])
        vectors = np.concatenate(rows)
        np.save(folder / "img_emb_0.npy", vectors)
        pandas.DataFrame({"image_path": names}).to_parquet(folder / "metadata_0.parquet")
        return vectors

    return run


def _autocast(device: str, dtype: torch.dtype | None) -> Any:
    return contextlib.nullcontext() if dtype is None else torch.autocast(device, dtype)


# --- fastembed --------------------------------------------------------------------------------


def fastembed(material: Material, parallel: int | None = None) -> Embedding:
    """Run fastembed's own class, session and transform, with its default batch of 16."""
    model = open_fastembed(material)

    def run(files: Sequence[Path], folder: Path) -> Vectors:
        names = [str(file) for file in files]
        vectors = np.stack(list(model.embed(names, FASTEMBED_BATCH, parallel)))
        np.save(folder / "vectors.npy", vectors)
        return vectors

    return run


def open_fastembed(material: Material) -> Any:
    """Open fastembed's model class on the plain graph, without a network."""
    from fastembed.image.onnx_embedding import OnnxImageEmbedding

    return OnnxImageEmbedding(
        "Qdrant/clip-ViT-B-32-vision",  # the description of a model of this layout
        providers=["CPUExecutionProvider"],
        specific_model_path=str(material.fastembed_folder()),
    )


# --- loops as a person writes them ------------------------------------------------------------


def by_hand(transform: Callable[[Any], Any], encode: Callable[[Any], Vectors]) -> Embedding:
    """Decode in threads a little ahead, stack batches of 32, encode, save one ``.npy``."""

    def read(file: Path) -> Any:
        with Image.open(file) as image:
            return transform(image)

    def run(files: Sequence[Path], folder: Path) -> Vectors:
        with ThreadPoolExecutor(cores()) as pool:
            rows = [encode(torch.stack(batch)) for batch in _ahead(pool, read, files)]
        vectors = np.concatenate(rows)
        np.save(folder / "vectors.npy", vectors)
        return vectors

    return run


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Path], Any], files: Sequence[Path]
) -> Iterator[list[Any]]:
    """Batches of 32, the next one being read while one is used."""
    starts = range(0, len(files), BATCH)
    submitted: list[list[Any]] = []
    for start in starts:
        submitted.append([pool.submit(read, file) for file in files[start : start + BATCH]])
        if len(submitted) > 2:
            yield [each.result() for each in submitted.pop(0)]
    for batch in submitted:
        yield [each.result() for each in batch]


def torch_encode(
    material: Material, dtype: torch.dtype, device: str = "cpu"
) -> Callable[[Any], Vectors]:
    """``encode_image`` with all weights and activations in a type."""
    import copy

    model = copy.deepcopy(material.loaded.model).to(device, dtype)

    def encode(images: torch.Tensor) -> Vectors:
        with torch.inference_mode():
            found = model.encode_image(images.to(device, dtype), normalize=True)
        return found.to(torch.float16).cpu().numpy()

    return encode


def plain_encode(file: Path) -> Callable[[Any], Vectors]:
    """ONNX Runtime with its defaults on a plain graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"pixel_values": images.numpy()})[0]


# --- embeddings before timings ----------------------------------------------------------------


def least_cosine(vectors: Vectors, expected: Vectors) -> float:
    """Return the least cosine of two embeddings of one image."""
    left, right = (np.asarray(each, np.float32) for each in (vectors, expected))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float((np.einsum("nd,nd->n", left, right) / norms).min())


def check(peers: Iterable[Peer], files: Sequence[Path], expected: Vectors, folder: Path) -> dict:
    """Compare every peer's embeddings of a few files with the reference.

    Returns
    -------
    dict
        The least cosine by peer.

    Raises
    ------
    SystemExit
        If one is below its floor: what it computes is something else, and no time is compared.
    """
    found = {}
    for number, peer in enumerate(peers):
        place = folder / f"check-{number}"
        place.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            found[peer.name] = least_cosine(peer.run(files, place), expected)
        if found[peer.name] < peer.floor:
            raise SystemExit(
                f"{peer.name}: the least cosine with torch float32 is {found[peer.name]:.5f}, "
                f"below {peer.floor}. Nothing was timed."
            )
    return found
