"""From image files to stored embeddings: clipcal against open_clip with torch's data loader.

Run: ``python benchmarks/embedding.py FOLDER --architecture ViT-B-32-quickgelu``. Both embed the
same files with the same (random) weights, interleaved; what counts is the ratio within a run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import open_clip
import torch
from PIL import Image

from clipcal.export.bundle_writer import export_bundle
from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus
from clipcal.models.bundle import Bundle
from clipcal.models.identity import ModelIdentity
from clipcal.models.session import open_image_encoder


class Files(torch.utils.data.Dataset):  # type: ignore[type-arg]  # torch has no parameter here
    """Image files through open_clip's own transform, as clip-retrieval reads them."""

    def __init__(self, paths: list[str], transform: object) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]))


def by_torch(paths: list[str], model: torch.nn.Module, transform: object) -> float:
    """Images per second of the plain loop: data loader, encode, normalise, save."""
    started = time.perf_counter()
    loader = torch.utils.data.DataLoader(Files(paths, transform), batch_size=32, num_workers=2)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        rows = [model.encode_image(batch, normalize=True).half().numpy() for batch in loader]
        np.save(Path(folder) / "img_emb_0000.npy", np.concatenate(rows))
    return len(paths) / (time.perf_counter() - started)


def by_clipcal(folder: str, bundle: Bundle) -> float:
    """Images per second of the pipeline, opening the model included."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as target:
        corpus = Corpus.create(Path(target) / "corpus", ModelIdentity.of_bundle(bundle))
        report = embed(
            corpus,
            discover([folder]),
            lambda: open_image_encoder(bundle, device="cpu"),
            bundle.manifest.preprocessing,
            EmbedOptions(),
        )
    return report.embedded / (time.perf_counter() - started)


def main() -> None:
    """Parse the call, measure both in turn, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--architecture", default="ViT-B-32-quickgelu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model, _, transform = open_clip.create_model_and_transforms(options.architecture)
    paths = [file.path for file in discover([options.folder]).files]
    with tempfile.TemporaryDirectory() as target:
        bundle = export_bundle(f"{options.architecture}::random", Path(target) / "bundle")
        pairs = [
            (by_torch(paths, model.eval(), transform), by_clipcal(options.folder, bundle))
            for _ in range(options.repeats)
        ]
    figures = {
        "images": len(paths),
        "torch_images_per_second": round(median(t for t, _ in pairs), 2),
        "clipcal_images_per_second": round(median(c for _, c in pairs), 2),
        "ratio": round(median(c / t for t, c in pairs), 3),
        "ratios": [round(c / t, 3) for t, c in pairs],
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
