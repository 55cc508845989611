"""Everything that is claimed of GPUs, in one command: parity, the model, the stages, the whole.

Run: ``python benchmarks/gpu.py FOLDER`` on a machine with a CUDA device. Weights are random and
nothing is fetched. Where there is no such device it says what is missing, and exits with 1.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import model
import peers
import runs
import torch
from embedding import contender, reference
from material import Material
from peers import EXACT, ROUGH, SCALED, Peer

from clipcal.commands.common import print_table
from clipcal.errors import ProviderError
from clipcal.index.measure import measure_stages
from clipcal.models.measure import encoder_rate
from clipcal.models.session import ImageEncoder, cuda_obstacle, open_image_encoder

CHECKED = 64
BASE = "clip-retrieval's path, its own precision"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What the products of a bundle are made of, for its share of the ceiling.
KINDS = {"fp32": "float32", "fp16": "float16"}


def obstacle() -> str | None:
    """Say what is missing for this benchmark; None where nothing is."""
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without it"
        return f"torch {torch.__version__} finds no CUDA device ({built})"
    missing = cuda_obstacle()
    return None if missing is None else f"ONNX Runtime cannot use CUDA: {missing}"


def open_encoders(
    material: Material, devices: Sequence[str]
) -> tuple[dict[str, tuple[str, ImageEncoder]], dict[str, str]]:
    """Open every precision on every device; of those that cannot run, return why."""
    opened, absent = {}, {}
    for precision in KINDS:
        for device in devices:
            name = f"clipcal {precision}, {device}"
            try:
                encoder = open_image_encoder(material.bundle(precision), device=device)
            except ProviderError as error:
                absent[name] = str(error)
            else:
                opened[name] = (precision, encoder)
    return opened, absent


def all_peers(
    material: Material, encoders: Mapping[str, tuple[str, ImageEncoder]], device: str
) -> list[Peer]:
    """Return clipcal with each encoder, and clip-retrieval's path in three precisions."""
    own = [
        Peer(
            name,
            SCALED if precision == "fp32" else ROUGH,
            peers.clipcal(material.bundle(precision), encoder),
        )
        for name, (precision, encoder) in encoders.items()
    ]
    return [
        *own,
        _retrieval(BASE, material, device, _own_dtype(device)),
        _retrieval("clip-retrieval's path, float16", material, device, torch.float16),
        _retrieval("clip-retrieval's path, float32", material, device, None),
    ]


def _retrieval(name: str, material: Material, device: str, dtype: torch.dtype | None) -> Peer:
    floor = EXACT if dtype is None and device == "cpu" else ROUGH  # on a GPU it takes TF32
    return Peer(name, floor, peers.clip_retrieval(material, device, dtype))


def _own_dtype(device: str) -> torch.dtype | None:
    """Return what clip-retrieval's wrapper of open_clip computes in."""
    if device == "cpu":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def by_model(
    material: Material,
    encoders: Mapping[str, tuple[str, ImageEncoder]],
    options: argparse.Namespace,
    device: str,
) -> dict[str, Any]:
    """Images a second of the model alone, as shares of the matrix products' speed in torch."""
    torch.backends.cuda.matmul.allow_tf32 = False  # clipcal's float32 is float32
    products = model.vit_products(material, options.batch)
    ceilings = {
        name: options.batch / model.torch_ceiling(products, dtype, options.seconds, device)
        for name, dtype in DTYPES.items()
    }
    rows = []
    for name, (precision, encoder) in encoders.items():
        preprocessing = material.loaded.preprocessing
        found = encoder_rate(encoder, preprocessing, seconds=options.seconds, batch=options.batch)
        share = found.median / ceilings[KINDS[precision]]
        rows.append({"name": name, "kind": KINDS[precision], "rate": asdict(found), "share": share})
    return {"batch": options.batch, "ceilings": ceilings, "contenders": rows}


def measure(options: argparse.Namespace, place: Path, device: str) -> dict[str, Any]:
    """Check embeddings, then time the model, the stages and the whole."""
    files = runs.picture_files(options.folder, options.images, place / "images")
    material = Material.of(options.architecture, options.work or place / "work", files)
    some = files[:CHECKED]
    expected = reference(material, some, place / "reference")
    devices = ("cuda", "tensorrt") if device == "cuda" else (device,)
    encoders, absent = open_encoders(material, devices)
    contenders = all_peers(material, encoders, device)
    cosines = peers.check(contenders, some, expected, place)
    dim = expected.shape[1]
    stages = measure_stages(some, material.loaded.preprocessing, dim=dim, seconds=1e9)
    ready = [contender(peer, files) for peer in contenders]
    timings = runs.interleaved(ready, len(files), options.repeats)
    return {
        "benchmark": "gpu",
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "least_cosine": cosines,
        "absent": absent,
        "model": by_model(material, encoders, options, device),
        "stages_ms_on_one_core": asdict(stages),
        "base": BASE,
        "contenders": runs.against(timings, BASE),
    }


def show(result: Mapping[str, Any], title: str) -> None:
    """Print the model, the stages and the whole."""
    part = result["model"]
    print_table(
        ("The model alone", ">images/s", ">share of its ceiling"),
        [
            *(
                (
                    row["name"],
                    f"{row['rate']['median']:.0f}",
                    f"{row['share']:.0%} of {row['kind']}",
                )
                for row in part["contenders"]
            ),
            *((f"products, {name}", f"{rate:.0f}", "") for name, rate in part["ceilings"].items()),
        ],
        title=f"batch {part['batch']}",
    )
    rows = [(name, f"{each:.2f}") for name, each in result["stages_ms_on_one_core"].items()]
    print_table(("Stage, one core", ">ms an image"), rows)
    runs.show_against(result["contenders"], result["base"], title)
    print_table(
        ("Contender", ">least cosine with torch float32"),
        [(name, f"{cosine:.6f}") for name, cosine in result["least_cosine"].items()],
    )
    for name, reason in result["absent"].items():
        print(f"{name} did not run: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the call, measure, print the tables."""
    parser = runs.parser(__doc__, images=4096)
    parser.add_argument(
        "folder", type=Path, help="images; copies of different content make up the number"
    )
    parser.add_argument("--batch", type=int, default=128, help="of the model alone")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each timing of the model")
    # The same code on a machine without a GPU, for a test.
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    runs.add_model_options(parser)
    options = parser.parse_args(arguments)
    missing = obstacle() if options.device == "cuda" else None
    if missing is not None:
        raise SystemExit(f"No GPU to measure on: {missing}.")
    torch.backends.cuda.matmul.allow_tf32 = True  # as clip-retrieval's wrapper sets it
    with tempfile.TemporaryDirectory() as place:
        result = measure(options, Path(place), options.device)
    show(result, f"{options.architecture}, {options.images} files to stored embeddings")
    runs.keep(options.json, options, result)


if __name__ == "__main__":
    main()
