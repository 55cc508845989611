"""The model alone, pixels in memory, beside the matrix products that it is made of.

Run: ``python benchmarks/model.py``. The ceiling is what the same products take back to back, in
the fastest library at hand for each kind of number: images/s = 1 / Σ (2·M·K·N / flop/s), over
the products of activations with weights. No run time can be above it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import peers
import runs
import torch
from material import Material

from clipcal.commands.common import print_table
from clipcal.errors import ProviderError
from clipcal.models.ceiling import Product, ceilings
from clipcal.models.measure import encode_at_once, profile, some_pixels
from clipcal.models.session import open_image_encoder

BASE = "torch float32"
LEAST_RUNS = 3
MOST_STREAMS = 4  # batches in a run at least, so that every encoder's streams divide them
Work = tuple[Callable[[], object], int]  # one call, and how many batches it takes
Opener = Callable[[Material, int], Work]


def _clipcal(precision: str, device: str) -> Opener:
    def opened(material: Material, batch: int) -> Work:
        bundle = material.bundle(precision)
        encoder = open_image_encoder(bundle, device=device, batch_sizes=(batch,))
        pixels = some_pixels(bundle.manifest.preprocessing, batch)
        pool = ThreadPoolExecutor(encoder.streams)
        return lambda: encode_at_once(pool, encoder, pixels), encoder.streams

    return opened


def _torch(dtype: torch.dtype) -> Opener:
    def opened(material: Material, batch: int) -> Work:
        encode = peers.torch_encode(material, dtype)
        images = _normalised(material, batch)
        return lambda: encode(images), 1

    return opened


def _plain(graph: Callable[[Material], Path]) -> Opener:
    def opened(material: Material, batch: int) -> Work:
        encode = peers.plain_encode(graph(material))
        images = _normalised(material, batch)
        return lambda: encode(images), 1

    return opened


def _fastembed(material: Material, batch: int) -> Work:
    session = peers.open_fastembed(material).model
    images = _normalised(material, batch).numpy()
    return lambda: session.run(None, {"pixel_values": images}), 1


def _normalised(material: Material, batch: int) -> torch.Tensor:
    shape = material.loaded.preprocessing
    return torch.randn(batch, 3, shape.height, shape.width)


# key → name, kind of its products, how it is opened
CONTENDERS: dict[str, tuple[str, str, Opener]] = {
    "clipcal-fp32-cpu": ("clipcal fp32, ONNX Runtime", "float32", _clipcal("fp32", "cpu")),
    "clipcal-fp32-openvino": ("clipcal fp32, OpenVINO", "float32", _clipcal("fp32", "openvino")),
    "clipcal-int8-cpu": ("clipcal int8, ONNX Runtime", "int8", _clipcal("int8", "cpu")),
    "clipcal-int8-openvino": ("clipcal int8, OpenVINO", "int8", _clipcal("int8", "openvino")),
    "torch-fp32": (BASE, "float32", _torch(torch.float32)),
    "torch-bf16": ("torch bfloat16", "bfloat16", _torch(torch.bfloat16)),
    "fastembed": ("fastembed's session", "float32", _fastembed),
    "onnx-fp32": ("ONNX Runtime, plain graph", "float32", _plain(Material.plain)),
    "onnx-int8": ("ONNX Runtime, plain, dynamic int8", "int8", _plain(Material.plain_int8)),
}


# --- the ceiling ------------------------------------------------------------------------------


def vit_products(material: Material, batch: int) -> list[Product]:
    """Return the four products of every layer of a vision transformer, M = batch × tokens."""
    tower = material.loaded.model.visual
    if not hasattr(tower, "transformer"):
        raise SystemExit("The ceiling is written for vision transformers; take ViT-B-32-quickgelu.")
    rows = batch * tower.positional_embedding.shape[0]
    width = tower.positional_embedding.shape[1]
    wide = tower.transformer.resblocks[0].mlp.c_fc.out_features
    layer = [
        Product(rows, width, 3 * width),
        Product(rows, width, width),
        Product(rows, width, wide),
        Product(rows, wide, width),
    ]
    return layer * len(tower.transformer.resblocks)


def torch_ceiling(
    products: Iterable[Product], dtype: torch.dtype, seconds: float, device: str = "cpu"
) -> float:
    """Seconds that torch takes for all products once, each a median."""
    counts = Counter(products)
    share = seconds / len(counts)
    return sum(count * _torch_median(each, dtype, share, device) for each, count in counts.items())


def _torch_median(product: Product, dtype: torch.dtype, seconds: float, device: str) -> float:
    left = torch.randn(product.rows, product.inner, device=device).to(dtype)
    right = torch.randn(product.inner, product.columns, device=device).to(dtype)
    times: list[float] = []
    torch.matmul(left, right)
    while len(times) < LEAST_RUNS or sum(times) < seconds:
        _wait(device)
        started = time.perf_counter()
        torch.matmul(left, right)
        _wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def measured_ceilings(material: Material, batch: int, seconds: float) -> list[dict[str, Any]]:
    """Images a second that the products alone allow, by kind and library."""
    products = vit_products(material, batch)
    flop = sum(each.flop for each in products)
    found = [(c.kind, c.library, c.seconds) for c in ceilings(products, seconds=seconds)]
    for kind, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        found.append((kind, "torch", torch_ceiling(products, dtype, seconds / 4)))
    return [
        {
            "kind": kind,
            "library": library,
            "batch": batch,
            "images_per_second": batch / taken,
            "gflop_per_second": flop / taken / 1e9,
        }
        for kind, library, taken in found
    ]


def best(found: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the highest ceiling of each kind, images a second."""
    highest: dict[str, float] = {}
    for each in found:
        kind = str(each["kind"])
        highest[kind] = max(highest.get(kind, 0.0), float(each["images_per_second"]))
    return highest


# --- all of it --------------------------------------------------------------------------------


def measure_batch(
    material: Material, keys: Sequence[str], batch: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Time all contenders on one size of batch, and the ceiling of that size beside them."""
    ready, absent = [], {}
    batches = max(MOST_STREAMS, options.images // batch)
    for key in keys:
        name, _, opener = CONTENDERS[key]
        try:
            ready.append(_repeated(name, *opener(material, batch), batches))
        except (ProviderError, ImportError) as error:
            absent[name] = str(error)
    timings = runs.interleaved(ready, batch * batches, options.repeats)
    found = measured_ceilings(material, batch, options.seconds)
    highest = best(found)
    kinds = {name: kind for name, kind, _ in CONTENDERS.values()}
    base = BASE if any(each.name == BASE for each in timings) else timings[0].name
    rows = runs.against(timings, base)
    for row in rows:
        ceiling = highest[kinds[row["name"]]]
        row["kind"] = kinds[row["name"]]
        row["share_of_ceiling"] = row["images_per_second"]["median"] / ceiling
    return {"batch": batch, "ceilings": found, "contenders": rows, "base": base, "absent": absent}


def _repeated(name: str, once: Callable[[], object], at_once: int, batches: int) -> runs.Contender:
    """Take as many batches through, whether one or several at a time."""
    if batches % at_once:
        raise SystemExit(f"{name} takes {at_once} batches at a time: choose --images otherwise.")

    def work() -> None:
        for _ in range(batches // at_once):
            once()

    return runs.Contender(name, work)


def profiles(material: Material, keys: Sequence[str], batch: int) -> dict[str, Any]:
    """Where ONNX Runtime's time goes, by operator, for the graphs among the contenders."""
    graphs: dict[str, tuple[Path, np.ndarray]] = {}
    for precision in ("fp32", "int8"):
        if any(key.startswith(f"clipcal-{precision}") for key in keys):
            bundle = material.bundle(precision)
            pixels = some_pixels(bundle.manifest.preprocessing, batch)
            graphs[f"clipcal {precision}"] = (bundle.visual, pixels)
    images = _normalised(material, batch).numpy()
    if "onnx-fp32" in keys:
        graphs["plain"] = (material.plain(), images)
    if "onnx-int8" in keys:
        graphs["plain, dynamic int8"] = (material.plain_int8(), images)
    found = {name: asdict(profile(file, rows)) for name, (file, rows) in graphs.items()}
    for each in found.values():
        del each["products"]
    return found


def show(result: Mapping[str, Any]) -> None:
    """Print a table for each size of batch, the ceilings and the profiles."""
    for part in result["batches"]:
        print_table(
            ("Contender", ">images/s", ">spread", ">share of its ceiling"),
            [
                (
                    row["name"],
                    f"{row['images_per_second']['median']:.1f}",
                    f"{row['images_per_second']['low']:.1f}–{row['images_per_second']['high']:.1f}",
                    f"{row['share_of_ceiling']:.0%} of {row['kind']}",
                )
                for row in part["contenders"]
            ],
            title=f"batch {part['batch']}",
        )
        print_table(
            ("Products alone", ">images/s", ">GFLOP/s"),
            [
                (
                    f"{each['kind']}, {each['library']}",
                    f"{each['images_per_second']:.1f}",
                    f"{each['gflop_per_second']:.0f}",
                )
                for each in part["ceilings"]
            ],
        )
    for name, each in result["profiles"].items():
        shares = [(op, f"{share:.1%}") for op, share in each["shares"].items() if share >= 0.01]
        print_table(("Operator", ">share of time"), shares, title=name)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the call, measure, print the tables."""
    parser = runs.parser(__doc__, images=64)
    parser.add_argument("--batches", type=_numbers, default=[1, 8, 16, 32])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(CONTENDERS))
    parser.add_argument("--seconds", type=float, default=8.0, help="for the ceilings of a batch")
    parser.add_argument(
        "--calibration-images", type=Path, help="pictures that int8 is calibrated on"
    )
    runs.add_model_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        given = options.calibration_images
        files = runs.picture_files(given, 64, place / "images") if given else []
        material = Material.of(options.architecture, options.work or place / "work", files)
        result = {
            "benchmark": "model",
            "batches": [
                measure_batch(material, options.peers, batch, options) for batch in options.batches
            ],
            "profiles": profiles(material, options.peers, max(options.batches)),
        }
    show(result)
    runs.keep(options.json, options, result)


if __name__ == "__main__":
    main()
